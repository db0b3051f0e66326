-- +goose Up

-- Facts about this database: epoch (a restored database gets a new one), clock (real or simulated), clock_now.
CREATE TABLE meta (
  key   text COLLATE "C" PRIMARY KEY,
  value text NOT NULL
);

-- People: borrowers, guarantors and officers alike.
CREATE TABLE users (
  id         text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  name       text NOT NULL,
  email      text,
  time_zone  text NOT NULL,
  locale     text NOT NULL,
  as_of      timestamptz,
  erased_at  timestamptz,
  -- changed counts the changes that move this person's reminders; the due queue follows up to number derived.
  changed    bigint NOT NULL DEFAULT 0,
  derived    bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX users_behind ON users (id) WHERE derived < changed;

CREATE TABLE preferences (
  user_id    text COLLATE "C" PRIMARY KEY,
  doc        jsonb NOT NULL,
  updated_at timestamptz NOT NULL
);

-- Tokens of a user that were issued before not_before are refused (wall time, never the simulated clock).
CREATE TABLE revocations (
  user_id    text COLLATE "C" PRIMARY KEY,
  not_before timestamptz NOT NULL
);

CREATE TABLE loans (
  id             text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  borrower_id    text COLLATE "C" NOT NULL,
  product        text NOT NULL,
  currency       text NOT NULL,
  digits         smallint NOT NULL CHECK (digits BETWEEN 0 AND 6),
  status         text NOT NULL CHECK (status IN ('active', 'closed', 'written_off', 'rescheduled', 'charged_off', 'paused')),
  as_of          timestamptz,
  -- The last as_of that a schedule came with, and whether the present figures did.
  schedule_as_of timestamptz,
  schedule_dated boolean NOT NULL DEFAULT false,
  -- The policy that this loan's part of the due queue was derived from.
  policy_version bigint NOT NULL DEFAULT 0,
  -- Reminder days before the first import are not sent, unless it was a back-fill.
  started_at     timestamptz NOT NULL,
  backfill       boolean NOT NULL DEFAULT false,
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL
);
CREATE INDEX loans_borrower ON loans (borrower_id);
CREATE INDEX loans_policy ON loans (policy_version, id) WHERE status = 'active';

CREATE TABLE loan_parties (
  loan_id text COLLATE "C" NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  user_id text COLLATE "C" NOT NULL,
  role    text NOT NULL CHECK (role IN ('co_borrower', 'guarantor', 'officer')),
  notify  jsonb NOT NULL,
  PRIMARY KEY (loan_id, user_id, role)
);
CREATE INDEX loan_parties_user ON loan_parties (user_id);

-- Amounts are minor units of the loan's digits. outstanding is what the loan system said at schedule_as_of;
-- open is what is left of it after the payments since.
CREATE TABLE installments (
  loan_id     text COLLATE "C" NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  number      integer NOT NULL CHECK (number > 0),
  due_date    date NOT NULL,
  amount_due  bigint NOT NULL CHECK (amount_due >= 0),
  amount_paid bigint NOT NULL CHECK (amount_paid >= 0),
  outstanding bigint NOT NULL CHECK (outstanding >= 0),
  open        bigint NOT NULL CHECK (open >= 0),
  PRIMARY KEY (loan_id, number)
);

-- counted: dated after the schedule's figures, so taken off them. seq is the order of arrival.
CREATE TABLE payments (
  id          text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  loan_id     text COLLATE "C" NOT NULL,
  installment integer,
  amount      bigint NOT NULL CHECK (amount > 0),
  paid_at     timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  counted     boolean NOT NULL,
  reversed_at timestamptz,
  -- The reversal is dated after figures that still include the payment: it is added back.
  reversal_counted boolean NOT NULL DEFAULT false,
  body_hash   text NOT NULL
);
CREATE INDEX payments_loan ON payments (loan_id, paid_at, seq);

-- One row an application: its lock puts the changes of one application in order. attempt counts how often it was
-- handed to the queue.
CREATE TABLE applications (
  id      text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  attempt integer NOT NULL DEFAULT 0
);

-- The outbox of status changes. A caller inside the loan system's own transaction inserts id, application_id,
-- borrower_id, from_status, to_status, reason, occurred_at and notify (a JSON array of more people's ids); everything
-- else is ours. So these are all the grants that such a caller needs:
--   GRANT INSERT (id, application_id, borrower_id, from_status, to_status, reason, occurred_at, notify)
--     ON status_changes TO loan_system;
-- enqueued_at is real time, also where the policy runs on a simulated clock.
CREATE TABLE status_changes (
  id             text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  seq            bigint NOT NULL DEFAULT 0,
  application_id text COLLATE "C" NOT NULL CHECK (length(application_id) BETWEEN 1 AND 128),
  borrower_id    text COLLATE "C" NOT NULL CHECK (length(borrower_id) BETWEEN 1 AND 128),
  from_status    text NOT NULL CHECK (length(from_status) <= 64),
  to_status      text NOT NULL CHECK (length(to_status) BETWEEN 1 AND 64),
  reason         text CHECK (length(reason) <= 2000),
  occurred_at    timestamptz NOT NULL,
  notify         jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(notify) = 'array'),
  body_hash      text,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  enqueued_at    timestamptz,
  done_at        timestamptz,
  parked_at      timestamptz,
  error          text
);
CREATE SEQUENCE status_changes_seq;
CREATE INDEX status_changes_pending ON status_changes (application_id, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX status_changes_claim ON status_changes (enqueued_at, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX status_changes_parked ON status_changes (parked_at) WHERE parked_at IS NOT NULL;

-- The application's row is locked first and the number drawn after it, so that seq is the order in which the
-- changes of one application commit.
-- +goose StatementBegin
CREATE FUNCTION status_changes_arrive() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO applications (id) VALUES (NEW.application_id) ON CONFLICT (id) DO NOTHING;
  PERFORM 1 FROM applications WHERE id = NEW.application_id FOR UPDATE;
  NEW.seq := nextval('status_changes_seq');
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER status_changes_arrive BEFORE INSERT ON status_changes
  FOR EACH ROW EXECUTE FUNCTION status_changes_arrive();

-- A wake-up only: the relay's poll is the truth.
-- +goose StatementBegin
CREATE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('duebell_outbox', '');
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER status_changes_wake AFTER INSERT ON status_changes
  FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();

-- The outbox of everything else that is told: POST /v1/notifications and what the book itself has to say
-- (a due date that moved). body holds the request.
CREATE TABLE notification_requests (
  id          text COLLATE "C" PRIMARY KEY,
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  body        json NOT NULL,
  body_hash   text NOT NULL,
  created_at  timestamptz NOT NULL,
  attempt     integer NOT NULL DEFAULT 0,
  enqueued_at timestamptz,
  done_at     timestamptz,
  parked_at   timestamptz,
  error       text
);
CREATE INDEX notification_requests_claim ON notification_requests (enqueued_at, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX notification_requests_pending ON notification_requests (seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX notification_requests_parked ON notification_requests (parked_at) WHERE parked_at IS NOT NULL;
CREATE TRIGGER notification_requests_wake AFTER INSERT ON notification_requests
  FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();

-- A cron tick is an instant, and an instant happens once.
CREATE TABLE ticks (
  job         text COLLATE "C" NOT NULL,
  at          timestamptz NOT NULL,
  created_at  timestamptz NOT NULL,
  attempt     integer NOT NULL DEFAULT 0,
  enqueued_at timestamptz,
  done_at     timestamptz,
  skipped     boolean NOT NULL DEFAULT false,
  PRIMARY KEY (job, at)
);
CREATE INDEX ticks_pending ON ticks (at) WHERE done_at IS NULL;

-- rules: the instant at which each rule (kind + offset) came into force; null for those of the first policy.
CREATE TABLE policies (
  version      bigint PRIMARY KEY,
  hash         text NOT NULL,
  source       text NOT NULL,
  rules        jsonb NOT NULL,
  activated_at timestamptz NOT NULL
);

-- The due queue: when a recipient's next reminder for what is open on a date of a loan must be looked at. Only holders
-- of the loan's lock write it.
CREATE TABLE due_reminders (
  loan_id        text COLLATE "C" NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  due_date       date NOT NULL,
  recipient      text COLLATE "C" NOT NULL,
  role           text NOT NULL,
  next_at        timestamptz NOT NULL,
  parked_at      timestamptz,
  error          text,
  PRIMARY KEY (loan_id, due_date, recipient)
);
CREATE INDEX due_reminders_next ON due_reminders (next_at, loan_id) WHERE parked_at IS NULL;
CREATE INDEX due_reminders_parked ON due_reminders (loan_id) WHERE parked_at IS NOT NULL;

-- What was decided on each reminder and why: append-only, the proof of contact and of refraining from it.
CREATE TABLE decisions (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  loan_id         text COLLATE "C" NOT NULL,
  due_date        date NOT NULL,
  recipient       text COLLATE "C" NOT NULL,
  kind            text NOT NULL,
  offset_days     integer NOT NULL,
  outcome         text NOT NULL CHECK (outcome IN ('sent', 'held', 'suppressed')),
  reason          text NOT NULL DEFAULT '',
  amount          bigint NOT NULL,
  currency        text NOT NULL,
  digits          smallint NOT NULL,
  time_zone       text NOT NULL,
  local_time      text NOT NULL,
  policy_version  bigint NOT NULL,
  notification_id text COLLATE "C",
  decided_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX decisions_sent_once ON decisions (loan_id, due_date, recipient, kind, offset_days) WHERE outcome = 'sent';
CREATE INDEX decisions_subject ON decisions (loan_id, due_date, recipient, id);

-- What an officer's next summary has to list.
CREATE TABLE summary_items (
  recipient       text COLLATE "C" NOT NULL,
  loan_id         text COLLATE "C" NOT NULL,
  due_date        date NOT NULL,
  kind            text NOT NULL,
  offset_days     integer NOT NULL,
  amount          bigint NOT NULL,
  currency        text NOT NULL,
  digits          smallint NOT NULL,
  created_at      timestamptz NOT NULL,
  PRIMARY KEY (recipient, loan_id, due_date, kind, offset_days)
);

-- A recipient's counters. Whoever changes anything in an inbox locks its row first and adds to rev.
-- cap_day and cap_count: reminders sent on that calendar day of the person.
CREATE TABLE inboxes (
  recipient text COLLATE "C" PRIMARY KEY,
  rev       bigint NOT NULL DEFAULT 0,
  floor_rev bigint NOT NULL DEFAULT 0,
  seen_rev  bigint NOT NULL DEFAULT 0,
  unread    bigint NOT NULL DEFAULT 0 CHECK (unread >= 0),
  unseen    bigint NOT NULL DEFAULT 0 CHECK (unseen >= 0),
  total     bigint NOT NULL DEFAULT 0 CHECK (total >= 0),
  cap_day   date,
  cap_count integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE notifications (
  id          text COLLATE "C" PRIMARY KEY,
  recipient   text COLLATE "C" NOT NULL,
  kind        text NOT NULL,
  title       text NOT NULL,
  body        text NOT NULL,
  data        json,
  url         text,
  quiet       boolean NOT NULL,
  created_at  timestamptz NOT NULL,
  read_at     timestamptz,
  archived_at timestamptz,
  resolved_at timestamptz,
  deleted_at  timestamptz,
  created_rev bigint NOT NULL,
  rev         bigint NOT NULL
);
CREATE INDEX notifications_changed ON notifications (recipient, rev, id);
CREATE UNIQUE INDEX notifications_created ON notifications (recipient, created_rev);

-- Who was told what: the keys that make a retried task harmless. Kept outside of what retention prunes.
CREATE TABLE notification_keys (
  key             text COLLATE "C" PRIMARY KEY,
  notification_id text COLLATE "C" NOT NULL
);

-- +goose Down
DROP TABLE notification_keys, notifications, inboxes, summary_items, decisions, due_reminders, policies, ticks,
  notification_requests, status_changes, applications, payments, installments, loan_parties, loans, revocations,
  preferences, users, meta;
DROP SEQUENCE status_changes_seq;
DROP FUNCTION status_changes_arrive(), outbox_wake();
