-- +goose Up

-- The same tables as PostgreSQL has; the notes on what they mean are there. TIMESTAMP columns hold microseconds since
-- 1970 as integers, dates are TEXT 'YYYY-MM-DD' (a column that is declared DATE would be read as a time), JSON is TEXT.

CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE users (
  id         TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  name       TEXT NOT NULL,
  email      TEXT,
  time_zone  TEXT NOT NULL,
  locale     TEXT NOT NULL,
  as_of      TIMESTAMP,
  erased_at  TIMESTAMP,
  changed    BIGINT NOT NULL DEFAULT 0,
  derived    BIGINT NOT NULL DEFAULT 0,
  created_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL
);
CREATE INDEX users_behind ON users (id) WHERE derived < changed;

CREATE TABLE preferences (
  user_id    TEXT NOT NULL PRIMARY KEY,
  doc        TEXT NOT NULL CHECK (json_valid(doc)),
  updated_at TIMESTAMP NOT NULL
);

CREATE TABLE revocations (
  user_id    TEXT NOT NULL PRIMARY KEY,
  not_before TIMESTAMP NOT NULL
) WITHOUT ROWID;

CREATE TABLE loans (
  id             TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  borrower_id    TEXT NOT NULL,
  product        TEXT NOT NULL,
  currency       TEXT NOT NULL,
  digits         INTEGER NOT NULL CHECK (digits BETWEEN 0 AND 6),
  status         TEXT NOT NULL CHECK (status IN ('active', 'closed', 'written_off', 'rescheduled', 'charged_off', 'paused')),
  as_of          TIMESTAMP,
  schedule_as_of TIMESTAMP,
  schedule_dated BOOLEAN NOT NULL DEFAULT FALSE,
  policy_version BIGINT NOT NULL DEFAULT 0,
  started_at     TIMESTAMP NOT NULL,
  backfill       BOOLEAN NOT NULL DEFAULT FALSE,
  created_at     TIMESTAMP NOT NULL,
  updated_at     TIMESTAMP NOT NULL
);
CREATE INDEX loans_borrower ON loans (borrower_id);
CREATE INDEX loans_policy ON loans (policy_version, id) WHERE status = 'active';

CREATE TABLE loan_parties (
  loan_id TEXT NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL,
  role    TEXT NOT NULL CHECK (role IN ('co_borrower', 'guarantor', 'officer')),
  notify  TEXT NOT NULL CHECK (json_valid(notify)),
  PRIMARY KEY (loan_id, user_id, role)
);
CREATE INDEX loan_parties_user ON loan_parties (user_id);

CREATE TABLE installments (
  loan_id     TEXT NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  number      INTEGER NOT NULL CHECK (number > 0),
  due_date    TEXT NOT NULL,
  amount_due  BIGINT NOT NULL CHECK (amount_due >= 0),
  amount_paid BIGINT NOT NULL CHECK (amount_paid >= 0),
  outstanding BIGINT NOT NULL CHECK (outstanding >= 0),
  open        BIGINT NOT NULL CHECK (open >= 0),
  PRIMARY KEY (loan_id, number)
);

CREATE TABLE payments (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 128),
  loan_id     TEXT NOT NULL,
  installment INTEGER,
  amount      BIGINT NOT NULL CHECK (amount > 0),
  paid_at     TIMESTAMP NOT NULL,
  received_at TIMESTAMP NOT NULL,
  counted     BOOLEAN NOT NULL,
  reversed_at TIMESTAMP,
  reversal_counted BOOLEAN NOT NULL DEFAULT FALSE,
  body_hash   TEXT NOT NULL
);
CREATE INDEX payments_loan ON payments (loan_id, paid_at, seq);

CREATE TABLE applications (
  id      TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  attempt INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- seq is drawn by the insert: with one writer that is the order of commits.
CREATE TABLE status_changes (
  seq            INTEGER PRIMARY KEY AUTOINCREMENT,
  id             TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 128),
  application_id TEXT NOT NULL CHECK (length(application_id) BETWEEN 1 AND 128),
  borrower_id    TEXT NOT NULL CHECK (length(borrower_id) BETWEEN 1 AND 128),
  from_status    TEXT NOT NULL CHECK (length(from_status) <= 64),
  to_status      TEXT NOT NULL CHECK (length(to_status) BETWEEN 1 AND 64),
  reason         TEXT CHECK (length(reason) <= 2000),
  occurred_at    TIMESTAMP NOT NULL,
  notify         TEXT NOT NULL DEFAULT '[]' CHECK (json_type(notify) = 'array'),
  body_hash      TEXT,
  created_at     TIMESTAMP NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
  enqueued_at    TIMESTAMP,
  done_at        TIMESTAMP,
  parked_at      TIMESTAMP,
  error          TEXT
);
CREATE INDEX status_changes_pending ON status_changes (application_id, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX status_changes_claim ON status_changes (enqueued_at, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX status_changes_parked ON status_changes (parked_at) WHERE parked_at IS NOT NULL;

-- +goose StatementBegin
CREATE TRIGGER status_changes_arrive BEFORE INSERT ON status_changes
BEGIN
  INSERT INTO applications (id) VALUES (NEW.application_id) ON CONFLICT (id) DO NOTHING;
END;
-- +goose StatementEnd

CREATE TABLE notification_requests (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  body        TEXT NOT NULL CHECK (json_valid(body)),
  body_hash   TEXT NOT NULL,
  created_at  TIMESTAMP NOT NULL,
  attempt     INTEGER NOT NULL DEFAULT 0,
  enqueued_at TIMESTAMP,
  done_at     TIMESTAMP,
  parked_at   TIMESTAMP,
  error       TEXT
);
CREATE INDEX notification_requests_claim ON notification_requests (enqueued_at, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX notification_requests_pending ON notification_requests (seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX notification_requests_parked ON notification_requests (parked_at) WHERE parked_at IS NOT NULL;

CREATE TABLE ticks (
  job         TEXT NOT NULL,
  at          TIMESTAMP NOT NULL,
  created_at  TIMESTAMP NOT NULL,
  attempt     INTEGER NOT NULL DEFAULT 0,
  enqueued_at TIMESTAMP,
  done_at     TIMESTAMP,
  skipped     BOOLEAN NOT NULL DEFAULT FALSE,
  PRIMARY KEY (job, at)
);
CREATE INDEX ticks_pending ON ticks (at) WHERE done_at IS NULL;

CREATE TABLE policies (
  version      BIGINT NOT NULL PRIMARY KEY,
  hash         TEXT NOT NULL,
  source       TEXT NOT NULL,
  rules        TEXT NOT NULL CHECK (json_valid(rules)),
  activated_at TIMESTAMP NOT NULL
);

CREATE TABLE due_reminders (
  loan_id        TEXT NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  due_date       TEXT NOT NULL,
  recipient      TEXT NOT NULL,
  role           TEXT NOT NULL,
  next_at        TIMESTAMP NOT NULL,
  parked_at      TIMESTAMP,
  error          TEXT,
  PRIMARY KEY (loan_id, due_date, recipient)
);
CREATE INDEX due_reminders_next ON due_reminders (next_at, loan_id) WHERE parked_at IS NULL;
CREATE INDEX due_reminders_parked ON due_reminders (loan_id) WHERE parked_at IS NOT NULL;

CREATE TABLE decisions (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  loan_id         TEXT NOT NULL,
  due_date        TEXT NOT NULL,
  recipient       TEXT NOT NULL,
  kind            TEXT NOT NULL,
  offset_days     INTEGER NOT NULL,
  outcome         TEXT NOT NULL CHECK (outcome IN ('sent', 'held', 'suppressed')),
  reason          TEXT NOT NULL DEFAULT '',
  amount          BIGINT NOT NULL,
  currency        TEXT NOT NULL,
  digits          INTEGER NOT NULL,
  time_zone       TEXT NOT NULL,
  local_time      TEXT NOT NULL,
  policy_version  BIGINT NOT NULL,
  notification_id TEXT,
  decided_at      TIMESTAMP NOT NULL
);
CREATE UNIQUE INDEX decisions_sent_once ON decisions (loan_id, due_date, recipient, kind, offset_days) WHERE outcome = 'sent';
CREATE INDEX decisions_subject ON decisions (loan_id, due_date, recipient, id);

CREATE TABLE summary_items (
  recipient       TEXT NOT NULL,
  loan_id         TEXT NOT NULL,
  due_date        TEXT NOT NULL,
  kind            TEXT NOT NULL,
  offset_days     INTEGER NOT NULL,
  amount          BIGINT NOT NULL,
  currency        TEXT NOT NULL,
  digits          INTEGER NOT NULL,
  created_at      TIMESTAMP NOT NULL,
  PRIMARY KEY (recipient, loan_id, due_date, kind, offset_days)
);

CREATE TABLE inboxes (
  recipient TEXT NOT NULL PRIMARY KEY,
  rev       BIGINT NOT NULL DEFAULT 0,
  floor_rev BIGINT NOT NULL DEFAULT 0,
  seen_rev  BIGINT NOT NULL DEFAULT 0,
  unread    BIGINT NOT NULL DEFAULT 0 CHECK (unread >= 0),
  unseen    BIGINT NOT NULL DEFAULT 0 CHECK (unseen >= 0),
  total     BIGINT NOT NULL DEFAULT 0 CHECK (total >= 0),
  cap_day   TEXT,
  cap_count INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE notifications (
  id          TEXT NOT NULL PRIMARY KEY,
  recipient   TEXT NOT NULL,
  kind        TEXT NOT NULL,
  title       TEXT NOT NULL,
  body        TEXT NOT NULL,
  data        TEXT,
  url         TEXT,
  quiet       BOOLEAN NOT NULL,
  created_at  TIMESTAMP NOT NULL,
  read_at     TIMESTAMP,
  archived_at TIMESTAMP,
  resolved_at TIMESTAMP,
  deleted_at  TIMESTAMP,
  created_rev BIGINT NOT NULL,
  rev         BIGINT NOT NULL
);
CREATE INDEX notifications_changed ON notifications (recipient, rev, id);
CREATE UNIQUE INDEX notifications_created ON notifications (recipient, created_rev);

CREATE TABLE notification_keys (
  key             TEXT NOT NULL PRIMARY KEY,
  notification_id TEXT NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE notification_keys;
DROP TABLE notifications;
DROP TABLE inboxes;
DROP TABLE summary_items;
DROP TABLE decisions;
DROP TABLE due_reminders;
DROP TABLE policies;
DROP TABLE ticks;
DROP TABLE notification_requests;
DROP TABLE status_changes;
DROP TABLE applications;
DROP TABLE payments;
DROP TABLE installments;
DROP TABLE loan_parties;
DROP TABLE loans;
DROP TABLE revocations;
DROP TABLE preferences;
DROP TABLE users;
DROP TABLE meta;
