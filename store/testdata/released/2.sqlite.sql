PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO goose_db_version VALUES(1,0,1,'2026-11-29 02:23:59');
INSERT INTO goose_db_version VALUES(2,1,1,'2026-11-29 02:23:59');
INSERT INTO goose_db_version VALUES(3,2,1,'2026-11-29 02:23:59');
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES('clock','real');
INSERT INTO meta VALUES('epoch','uhki72hn');
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
INSERT INTO users VALUES('ada','Ada','ada@example.com','UTC','en',NULL,NULL,1,1,1795919040762308,1795919048971162);
INSERT INTO users VALUES('bob','Bob',NULL,'Europe/Prague','cs',NULL,NULL,0,0,1795919040999603,1795919040999603);
INSERT INTO users VALUES('eve','Eve',NULL,'UTC','en',NULL,NULL,0,0,1795919041353692,1795919041353692);
CREATE TABLE preferences (
  user_id    TEXT NOT NULL PRIMARY KEY,
  doc        TEXT NOT NULL CHECK (json_valid(doc)),
  updated_at TIMESTAMP NOT NULL
);
INSERT INTO preferences VALUES('ada','{"quiet_hours":{"from":"22:00","to":"07:00"}}',1795919048971162);
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
INSERT INTO loans VALUES('L1','ada','Home loan','EUR',2,'active',NULL,NULL,0,1,1795919042081982,0,1795919042081982,1795919042880641);
INSERT INTO loans VALUES('L2','ada','Car loan','EUR',2,'active',NULL,NULL,0,1,1795919042387819,0,1795919042387819,1795919044097801);
CREATE TABLE loan_parties (
  loan_id TEXT NOT NULL REFERENCES loans (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL,
  role    TEXT NOT NULL CHECK (role IN ('co_borrower', 'guarantor', 'officer')),
  notify  TEXT NOT NULL CHECK (json_valid(notify)),
  PRIMARY KEY (loan_id, user_id, role)
);
INSERT INTO loan_parties VALUES('L1','eve','officer','["repayment.due_today","repayment.overdue"]');
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
INSERT INTO installments VALUES('L1',1,'2026-11-29',10000,0,10000,10000);
INSERT INTO installments VALUES('L1',2,'2026-12-29',10000,0,10000,10000);
INSERT INTO installments VALUES('L2',1,'2026-11-28',10000,0,10000,0);
INSERT INTO installments VALUES('L2',2,'2026-12-28',10000,0,10000,10000);
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
INSERT INTO payments VALUES(1,'p1','L2',1,10000,1795919044000000,1795919045326041,1,NULL,0,'d1cbcdfce59207234d0caf5425646b17bd251a096b94f8f77c93d7f74ee8ba18');
CREATE TABLE applications (
  id      TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  attempt INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO applications VALUES('a1',3);
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
, pruned_at TIMESTAMP);
INSERT INTO status_changes VALUES(1,'s1','a1','ada','step 1','step 2','as planned',1795919045000000,'["bob"]','ce7d93c26c8d878e1c9e32ec025b5160f8c5d5de6af3e0098382cc7f2ac62b29',1795919046234158,1795919046234161,1795919046268946,NULL,NULL,NULL);
INSERT INTO status_changes VALUES(2,'s2','a1','ada','step 2','step 3','as planned',1795919046000000,'["bob"]','eb69e1a1673555095abb4adbdbe4b0e3f2cd3f428243b28fad1bc0f5cd56a0ca',1795919046551495,1795919046551497,1795919046562073,NULL,NULL,NULL);
INSERT INTO status_changes VALUES(3,'s3','a1','ada','step 3','step 4','as planned',1795919046000000,'["bob"]','5956e0ab96c6e0732860f2eab17a5ca3f7f8951b83e0c571b6f85a2655bf5e4c',1795919046762431,1795919046762434,1795919046791117,NULL,NULL,NULL);
INSERT INTO status_changes VALUES(4,'s4','a1','ada','step 4','step 5',NULL,1795919052000000,'["bob"]',NULL,1795919052000000,NULL,NULL,NULL,NULL,NULL);
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
, pruned_at TIMESTAMP);
INSERT INTO notification_requests VALUES(1,'n1','{"user_ids":["ada","bob"],"kind":"bank.news","title":"News","body":"Read it.","data":{"n":1}}','d8967113ecc6608870dd9ff5d024062b1530b041d9df24606cc10aa8ce6b73f7',1795919047117731,1,1795919047118731,1795919047139844,NULL,NULL,NULL);
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
INSERT INTO ticks VALUES('reminder.run',1795919040000000,1795919040008883,1,1795919040010231,1795919040150678,0);
INSERT INTO ticks VALUES('reminder.run',1795919041000000,1795919041000779,1,1795919041000965,1795919041034348,0);
INSERT INTO ticks VALUES('reminder.run',1795919042000000,1795919042011614,1,1795919042011848,1795919042052319,0);
INSERT INTO ticks VALUES('reminder.run',1795919043000000,1795919043028668,1,1795919043028824,1795919043338477,0);
INSERT INTO ticks VALUES('reminder.run',1795919044000000,1795919044000827,1,1795919044001266,1795919044224401,0);
INSERT INTO ticks VALUES('reminder.run',1795919045000000,1795919045001363,1,1795919045001596,1795919045144628,0);
INSERT INTO ticks VALUES('reminder.run',1795919046000000,1795919046002311,1,1795919046002753,1795919046065256,0);
INSERT INTO ticks VALUES('reminder.run',1795919047000000,1795919047002011,1,1795919047002527,1795919047108848,0);
INSERT INTO ticks VALUES('reminder.run',1795919048000000,1795919048037323,1,1795919048037612,1795919048140876,0);
INSERT INTO ticks VALUES('reminder.run',1795919049000000,1795919049002270,1,1795919049002748,1795919049075910,0);
INSERT INTO ticks VALUES('reminder.run',1795919050000000,1795919050034102,1,1795919050039424,1795919050108273,0);
INSERT INTO ticks VALUES('reminder.run',1795919051000000,1795919051007214,1,1795919051007413,1795919051051260,0);
CREATE TABLE policies (
  version      BIGINT NOT NULL PRIMARY KEY,
  hash         TEXT NOT NULL,
  source       TEXT NOT NULL,
  rules        TEXT NOT NULL CHECK (json_valid(rules)),
  activated_at TIMESTAMP NOT NULL
);
INSERT INTO policies VALUES(1,'89cd0e805a1d0aafeda33217f07e7dd32bf8736e47c4eb902d843b82912b1add',replace('reminders:\n  - {kind: repayment.upcoming, at: [-3d]}\n  - {kind: repayment.due_today, at: 0d}\n  - {kind: repayment.overdue, at: [1d]}\nsend_at: "00:00"\nmax_late: 2d\nschedule:\n  - {job: reminder.run, cron: "@every 1s"}\n','\n',char(10)),'[{"kind":"repayment.upcoming","offset":-3,"since":null},{"kind":"repayment.due_today","offset":0,"since":null},{"kind":"repayment.overdue","offset":1,"since":null}]',1795919039783563);
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
INSERT INTO due_reminders VALUES('L1','2026-11-29','ada','borrower',1795935600000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L1','2026-11-29','eve','officer',1795996800000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L1','2026-12-29','ada','borrower',1798268400000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L1','2026-12-29','eve','officer',1798502400000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L2','2026-12-28','ada','borrower',1798182000000000,NULL,NULL);
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
INSERT INTO decisions VALUES(1,'L1','2026-11-29','eve','repayment.due_today',0,'sent','',10000,'EUR',2,'UTC','2026-11-29T02:24:03+00:00',1,NULL,1795919043174173);
INSERT INTO decisions VALUES(2,'L1','2026-11-29','ada','repayment.due_today',0,'sent','',10000,'EUR',2,'UTC','2026-11-29T02:24:03+00:00',1,'06h2a7etcr7f8fmbggs5f0ajvg',1795919043174173);
INSERT INTO decisions VALUES(3,'L1','2026-11-29','ada','repayment.upcoming',-3,'suppressed','before_start',10000,'EUR',2,'UTC','2026-11-29T02:24:03+00:00',1,NULL,1795919043174173);
INSERT INTO decisions VALUES(4,'L2','2026-11-28','ada','repayment.overdue',1,'sent','',10000,'EUR',2,'UTC','2026-11-29T02:24:04+00:00',1,'06h2a7ey9tqv0hzr4snk6e1bd8',1795919044174437);
INSERT INTO decisions VALUES(5,'L2','2026-11-28','ada','repayment.upcoming',-3,'suppressed','before_start',10000,'EUR',2,'UTC','2026-11-29T02:24:04+00:00',1,NULL,1795919044174437);
INSERT INTO decisions VALUES(6,'L2','2026-11-28','ada','repayment.due_today',0,'suppressed','before_start',10000,'EUR',2,'UTC','2026-11-29T02:24:04+00:00',1,NULL,1795919044174437);
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
INSERT INTO inboxes VALUES('ada',10,0,0,2,4,4,'2026-11-29',2);
INSERT INTO inboxes VALUES('bob',4,0,0,4,4,4,NULL,0);
INSERT INTO inboxes VALUES('eve',1,0,0,1,1,1,NULL,0);
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
INSERT INTO notifications VALUES('06h2a7etcr7f8fmbggs5f0ajvg','ada','repayment.due_today','Payment of €100.00 is due today','Hello Ada, the payment of €100.00 for Home loan (no. L1) is due today, 29 November 2026.','{"loan_id":"L1","due_date":"2026-11-29","days":0,"amount":"100.00","currency":"EUR","installments":[1]}','/loans/L1',0,1795919043174173,NULL,NULL,NULL,NULL,1,1);
INSERT INTO notifications VALUES('06h2a7ev16zzwc8eh1e9mft17w','eve','repayment.summary','1 repayment needs attention','Hello Eve, 1 repayment on the loans in your care needs attention.','{"count":1,"overdue":0,"loans":1,"items":[{"loan_id":"L1","borrower":"Ada","kind":"repayment.due_today","due_date":"2026-11-29","amount":"100.00","currency":"EUR"}]}',NULL,0,1795919043337468,NULL,NULL,NULL,NULL,1,1);
INSERT INTO notifications VALUES('06h2a7ey9tqv0hzr4snk6e1bd8','ada','repayment.overdue','Payment of €100.00 is 1 day overdue','Hello Ada, the payment of €100.00 for Car loan (no. L2) was due on 28 November 2026 and is 1 day overdue.','{"loan_id":"L2","due_date":"2026-11-28","days":-1,"amount":"100.00","currency":"EUR","installments":[1]}','/loans/L2',0,1795919044174437,NULL,NULL,1795919045326041,NULL,2,3);
INSERT INTO notifications VALUES('06h2a7f6fjvmcjd5jfx8ass9w0','ada','application.status_changed','Application a1: step 2','Hello Ada, the status of application a1 is now: step 2. Before: step 1. Reason: as planned','{"application_id":"a1","from":"step 1","to":"step 2","reason":"as planned","occurred_at":"2026-11-29T02:24:05Z"}','/applications/a1',0,1795919046268946,NULL,NULL,NULL,NULL,4,4);
INSERT INTO notifications VALUES('06h2a7f6fjfch2q6w6nyk07ekc','bob','application.status_changed','Žádost a1: step 2','Dobrý den, Bob, stav žádosti a1 je nyní: step 2. Předtím: step 1. Důvod: as planned','{"application_id":"a1","from":"step 1","to":"step 2","reason":"as planned","occurred_at":"2026-11-29T02:24:05Z"}','/applications/a1',0,1795919046268946,NULL,NULL,NULL,NULL,1,1);
INSERT INTO notifications VALUES('06h2a7f7m86kq0pm5cp7m39d20','ada','application.status_changed','','',NULL,NULL,0,1795919046562073,NULL,NULL,NULL,1795919048887763,5,10);
INSERT INTO notifications VALUES('06h2a7f7mav22zqvawy51jr86m','bob','application.status_changed','Žádost a1: step 3','Dobrý den, Bob, stav žádosti a1 je nyní: step 3. Předtím: step 2. Důvod: as planned','{"application_id":"a1","from":"step 2","to":"step 3","reason":"as planned","occurred_at":"2026-11-29T02:24:06Z"}','/applications/a1',0,1795919046562073,NULL,NULL,NULL,NULL,2,2);
INSERT INTO notifications VALUES('06h2a7f8gw4kw1s6y5h9wpkyz4','ada','application.status_changed','Application a1: step 4','Hello Ada, the status of application a1 is now: step 4. Before: step 3. Reason: as planned','{"application_id":"a1","from":"step 3","to":"step 4","reason":"as planned","occurred_at":"2026-11-29T02:24:06Z"}','/applications/a1',0,1795919046791117,NULL,1795919048748884,NULL,NULL,6,9);
INSERT INTO notifications VALUES('06h2a7f8gwx5c95p2m111zemyw','bob','application.status_changed','Žádost a1: step 4','Dobrý den, Bob, stav žádosti a1 je nyní: step 4. Předtím: step 3. Důvod: as planned','{"application_id":"a1","from":"step 3","to":"step 4","reason":"as planned","occurred_at":"2026-11-29T02:24:06Z"}','/applications/a1',0,1795919046791117,NULL,NULL,NULL,NULL,3,3);
INSERT INTO notifications VALUES('06h2a7f9wdxb2ze6nnsdpn4m64','ada','bank.news','News','Read it.','{"n":1}',NULL,0,1795919047139844,1795919048608021,NULL,NULL,NULL,7,8);
INSERT INTO notifications VALUES('06h2a7f9wf6e4cqxqxtkmtawxr','bob','bank.news','News','Read it.','{"n":1}',NULL,0,1795919047139844,NULL,NULL,NULL,NULL,4,4);
CREATE TABLE notification_keys (
  key             TEXT NOT NULL PRIMARY KEY,
  notification_id TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO notification_keys VALUES('request:n1:ada','06h2a7f9wdxb2ze6nnsdpn4m64');
INSERT INTO notification_keys VALUES('request:n1:bob','06h2a7f9wf6e4cqxqxtkmtawxr');
INSERT INTO notification_keys VALUES('status:s1:ada','06h2a7f6fjvmcjd5jfx8ass9w0');
INSERT INTO notification_keys VALUES('status:s1:bob','06h2a7f6fjfch2q6w6nyk07ekc');
INSERT INTO notification_keys VALUES('status:s2:ada','06h2a7f7m86kq0pm5cp7m39d20');
INSERT INTO notification_keys VALUES('status:s2:bob','06h2a7f7mav22zqvawy51jr86m');
INSERT INTO notification_keys VALUES('status:s3:ada','06h2a7f8gw4kw1s6y5h9wpkyz4');
INSERT INTO notification_keys VALUES('status:s3:bob','06h2a7f8gwx5c95p2m111zemyw');
CREATE TABLE reminders_sent (
  loan_id         TEXT NOT NULL,
  due_date        TEXT NOT NULL,
  recipient       TEXT NOT NULL,
  kind            TEXT NOT NULL,
  offset_days     INTEGER NOT NULL,
  notification_id TEXT,
  PRIMARY KEY (loan_id, due_date, recipient, kind, offset_days)
) WITHOUT ROWID;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('goose_db_version',3);
INSERT INTO sqlite_sequence VALUES('decisions',6);
INSERT INTO sqlite_sequence VALUES('payments',1);
INSERT INTO sqlite_sequence VALUES('status_changes',4);
INSERT INTO sqlite_sequence VALUES('notification_requests',1);
CREATE INDEX users_behind ON users (id) WHERE derived < changed;
CREATE INDEX loans_borrower ON loans (borrower_id);
CREATE INDEX loans_policy ON loans (policy_version, id) WHERE status = 'active';
CREATE INDEX loan_parties_user ON loan_parties (user_id);
CREATE INDEX payments_loan ON payments (loan_id, paid_at, seq);
CREATE INDEX status_changes_pending ON status_changes (application_id, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX status_changes_claim ON status_changes (enqueued_at, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX status_changes_parked ON status_changes (parked_at) WHERE parked_at IS NOT NULL;
CREATE TRIGGER status_changes_arrive BEFORE INSERT ON status_changes
BEGIN
  INSERT INTO applications (id) VALUES (NEW.application_id) ON CONFLICT (id) DO NOTHING;
END;
CREATE INDEX notification_requests_claim ON notification_requests (enqueued_at, seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX notification_requests_pending ON notification_requests (seq) WHERE done_at IS NULL AND parked_at IS NULL;
CREATE INDEX notification_requests_parked ON notification_requests (parked_at) WHERE parked_at IS NOT NULL;
CREATE INDEX ticks_pending ON ticks (at) WHERE done_at IS NULL;
CREATE INDEX due_reminders_next ON due_reminders (next_at, loan_id) WHERE parked_at IS NULL;
CREATE INDEX due_reminders_parked ON due_reminders (loan_id) WHERE parked_at IS NOT NULL;
CREATE UNIQUE INDEX decisions_sent_once ON decisions (loan_id, due_date, recipient, kind, offset_days) WHERE outcome = 'sent';
CREATE INDEX decisions_subject ON decisions (loan_id, due_date, recipient, id);
CREATE INDEX notifications_changed ON notifications (recipient, rev, id);
CREATE UNIQUE INDEX notifications_created ON notifications (recipient, created_rev);
CREATE INDEX status_changes_told ON status_changes (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;
CREATE INDEX notification_requests_told ON notification_requests (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;
COMMIT;
