PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO goose_db_version VALUES(1,0,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(2,1,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(3,2,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(4,3,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(5,4,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(6,5,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(7,6,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(8,7,1,'2026-11-30 07:18:07');
INSERT INTO goose_db_version VALUES(9,8,1,'2026-11-30 07:18:07');
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES('clock','real');
INSERT INTO meta VALUES('epoch','htheyz3k');
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
INSERT INTO users VALUES('ada','Ada','ada@example.com','UTC','en',NULL,NULL,1,1,1796023087629792,1796023088594207);
INSERT INTO users VALUES('bob','Bob',NULL,'Europe/Prague','cs',NULL,NULL,0,0,1796023087663082,1796023087663082);
INSERT INTO users VALUES('eve','Eve',NULL,'UTC','en',NULL,NULL,0,0,1796023087694440,1796023087694440);
CREATE TABLE preferences (
  user_id    TEXT NOT NULL PRIMARY KEY,
  doc        TEXT NOT NULL CHECK (json_valid(doc)),
  updated_at TIMESTAMP NOT NULL
);
INSERT INTO preferences VALUES('ada','{"quiet_hours":{"from":"22:00","to":"07:00"}}',1796023088594207);
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
, schedule_run TEXT);
INSERT INTO loans VALUES('L1','ada','Home loan','EUR',2,'active',NULL,NULL,0,1,1796023087714833,0,1796023087714833,1796023087781888,NULL);
INSERT INTO loans VALUES('L2','ada','Car loan','EUR',2,'active',NULL,NULL,0,1,1796023087754287,0,1796023087754287,1796023087814171,NULL);
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
INSERT INTO installments VALUES('L1',1,'2026-11-30',10000,0,10000,10000);
INSERT INTO installments VALUES('L1',2,'2026-12-30',10000,0,10000,10000);
INSERT INTO installments VALUES('L2',1,'2026-11-29',10000,0,10000,0);
INSERT INTO installments VALUES('L2',2,'2026-12-29',10000,0,10000,10000);
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
INSERT INTO payments VALUES(1,'p1','L2',1,10000,1796023088000000,1796023088209202,1,NULL,0,'c4a6eb8e7ff492c317e9168f935b7b572edc69fd696d5b4eff409858241f3b7b');
CREATE TABLE applications (
  id      TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  attempt INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO applications VALUES('a1',0);
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
INSERT INTO status_changes VALUES(1,'s1','a1','ada','step 1','step 2','as planned',1796023088000000,'["bob"]','8cc4f0a88eccd13fac178ad5d5c501c55ea8280ca7abe5fb62207129ee161c3f',1796023088243759,1796023088243761,1796023088252584,NULL,NULL,NULL);
INSERT INTO status_changes VALUES(2,'s2','a1','ada','step 2','step 3','as planned',1796023088000000,'["bob"]','dc96627fc0897befef81cf2b170e0f535e96b8610261750462ed6011b8e1fc8a',1796023088277803,1796023088277806,1796023088280143,NULL,NULL,NULL);
INSERT INTO status_changes VALUES(3,'s3','a1','ada','step 3','step 4','as planned',1796023088000000,'["bob"]','50d8565337b889bca8922bed6967f7217712dbeeff2059f1cc018ecd859ef2cb',1796023088315497,1796023088315500,1796023088317524,NULL,NULL,NULL);
INSERT INTO status_changes VALUES(4,'s4','a1','ada','step 4','step 5',NULL,1796023091000000,'["bob"]',NULL,1796023091000000,NULL,NULL,NULL,NULL,NULL);
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
INSERT INTO notification_requests VALUES(1,'n1','{"user_ids":["ada","bob"],"kind":"bank.news","title":"News","body":"Read it.","data":{"n":1}}','d8967113ecc6608870dd9ff5d024062b1530b041d9df24606cc10aa8ce6b73f7',1796023088351616,0,1796023088351629,1796023088360181,NULL,NULL,NULL);
CREATE TABLE ticks (
  job         TEXT NOT NULL,
  at          TIMESTAMP NOT NULL,
  created_at  TIMESTAMP NOT NULL,
  attempt     INTEGER NOT NULL DEFAULT 0,
  enqueued_at TIMESTAMP,
  done_at     TIMESTAMP,
  skipped     BOOLEAN NOT NULL DEFAULT FALSE, due BIGINT NOT NULL DEFAULT 0, settled BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (job, at)
);
INSERT INTO ticks VALUES('reminder.run',1796023088000000,1796023088000777,1,1796023088004036,1796023088073741,0,0,0);
INSERT INTO ticks VALUES('reminder.run',1796023089000000,1796023089002837,1,1796023089002995,1796023089073749,0,0,0);
INSERT INTO ticks VALUES('reminder.run',1796023090000000,1796023090001817,1,1796023090001951,1796023090051408,0,0,0);
INSERT INTO ticks VALUES('reminder.run',1796023091000000,1796023091000868,1,1796023091000985,1796023091013012,0,0,0);
CREATE TABLE policies (
  version      BIGINT NOT NULL PRIMARY KEY,
  hash         TEXT NOT NULL,
  source       TEXT NOT NULL,
  rules        TEXT NOT NULL CHECK (json_valid(rules)),
  activated_at TIMESTAMP NOT NULL
);
INSERT INTO policies VALUES(1,'89cd0e805a1d0aafeda33217f07e7dd32bf8736e47c4eb902d843b82912b1add',replace('reminders:\n  - {kind: repayment.upcoming, at: [-3d]}\n  - {kind: repayment.due_today, at: 0d}\n  - {kind: repayment.overdue, at: [1d]}\nsend_at: "00:00"\nmax_late: 2d\nschedule:\n  - {job: reminder.run, cron: "@every 1s"}\n','\n',char(10)),'[{"kind":"repayment.upcoming","offset":-3,"since":null},{"kind":"repayment.due_today","offset":0,"since":null},{"kind":"repayment.overdue","offset":1,"since":null}]',1796023087519047);
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
INSERT INTO due_reminders VALUES('L1','2026-11-30','ada','borrower',1796108400000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L1','2026-11-30','eve','officer',1796083200000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L1','2026-12-30','ada','borrower',1798354800000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L1','2026-12-30','eve','officer',1798588800000000,NULL,NULL);
INSERT INTO due_reminders VALUES('L2','2026-12-29','ada','borrower',1798268400000000,NULL,NULL);
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
INSERT INTO decisions VALUES(1,'L1','2026-11-30','eve','repayment.due_today',0,'sent','',10000,'EUR',2,'UTC','2026-11-30T07:18:08+00:00',1,NULL,1796023088048546);
INSERT INTO decisions VALUES(2,'L2','2026-11-29','ada','repayment.overdue',1,'sent','',10000,'EUR',2,'UTC','2026-11-30T07:18:08+00:00',1,'06h2pmbkp0paa3p9xac5wws4gm',1796023088048546);
INSERT INTO decisions VALUES(3,'L2','2026-11-29','ada','repayment.upcoming',-3,'suppressed','before_start',10000,'EUR',2,'UTC','2026-11-30T07:18:08+00:00',1,NULL,1796023088048546);
INSERT INTO decisions VALUES(4,'L2','2026-11-29','ada','repayment.due_today',0,'suppressed','before_start',10000,'EUR',2,'UTC','2026-11-30T07:18:08+00:00',1,NULL,1796023088048546);
INSERT INTO decisions VALUES(5,'L1','2026-11-30','ada','repayment.due_today',0,'sent','',10000,'EUR',2,'UTC','2026-11-30T07:18:08+00:00',1,'06h2pmbkp242mcanfkj3gw5ckm',1796023088048546);
INSERT INTO decisions VALUES(6,'L1','2026-11-30','ada','repayment.upcoming',-3,'suppressed','before_start',10000,'EUR',2,'UTC','2026-11-30T07:18:08+00:00',1,NULL,1796023088048546);
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
INSERT INTO inboxes VALUES('ada',10,0,0,2,4,4,'2026-11-30',2);
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
INSERT INTO notifications VALUES('06h2pmbkp0paa3p9xac5wws4gm','ada','repayment.overdue','Payment of €100.00 is 1 day overdue','Hello Ada, the payment of €100.00 for Car loan (no. L2) was due on 29 November 2026 and is 1 day overdue.',X'7b226c6f616e5f6964223a224c32222c226475655f64617465223a22323032362d31312d3239222c2264617973223a2d312c22616d6f756e74223a223130302e3030222c2263757272656e6379223a22455552222c22696e7374616c6c6d656e7473223a5b315d7d','/loans/L2',0,1796023088048546,NULL,NULL,1796023088209202,NULL,1,3);
INSERT INTO notifications VALUES('06h2pmbkp242mcanfkj3gw5ckm','ada','repayment.due_today','Payment of €100.00 is due today','Hello Ada, the payment of €100.00 for Home loan (no. L1) is due today, 30 November 2026.',X'7b226c6f616e5f6964223a224c31222c226475655f64617465223a22323032362d31312d3330222c2264617973223a302c22616d6f756e74223a223130302e3030222c2263757272656e6379223a22455552222c22696e7374616c6c6d656e7473223a5b315d7d','/loans/L1',0,1796023088048546,NULL,NULL,NULL,NULL,2,2);
INSERT INTO notifications VALUES('06h2pmbkrpzw6eae2ggve3g7yg','eve','repayment.summary','1 repayment needs attention','Hello Eve, 1 repayment on the loans in your care needs attention.',X'7b22636f756e74223a312c226f766572647565223a302c226c6f616e73223a312c226974656d73223a5b7b226c6f616e5f6964223a224c31222c22626f72726f776572223a22416461222c226b696e64223a2272657061796d656e742e6475655f746f646179222c226475655f64617465223a22323032362d31312d3330222c22616d6f756e74223a223130302e3030222c2263757272656e6379223a22455552227d5d7d',NULL,0,1796023088069395,NULL,NULL,NULL,NULL,1,1);
INSERT INTO notifications VALUES('06h2pmbmfgt9nerrb3fdzav43w','ada','application.status_changed','Application a1: step 2','Hello Ada, the status of application a1 is now: step 2. Before: step 1. Reason: as planned',X'7b226170706c69636174696f6e5f6964223a226131222c2266726f6d223a22737465702031222c22746f223a22737465702032222c22726561736f6e223a22617320706c616e6e6564222c226f636375727265645f6174223a22323032362d31312d33305430373a31383a30385a227d','/applications/a1',0,1796023088252584,NULL,NULL,NULL,NULL,4,4);
INSERT INTO notifications VALUES('06h2pmbmfktagky7k8rxxhpfn4','bob','application.status_changed','Žádost a1: step 2','Dobrý den, Bob, stav žádosti a1 je nyní: step 2. Předtím: step 1. Důvod: as planned',X'7b226170706c69636174696f6e5f6964223a226131222c2266726f6d223a22737465702031222c22746f223a22737465702032222c22726561736f6e223a22617320706c616e6e6564222c226f636375727265645f6174223a22323032362d31312d33305430373a31383a30385a227d','/applications/a1',0,1796023088252584,NULL,NULL,NULL,NULL,1,1);
INSERT INTO notifications VALUES('06h2pmbmk2xwq9kz4ezb47h9xg','ada','application.status_changed','','',NULL,NULL,0,1796023088280143,NULL,NULL,NULL,1796023088558632,5,10);
INSERT INTO notifications VALUES('06h2pmbmk32j0emmb0w3nywptc','bob','application.status_changed','Žádost a1: step 3','Dobrý den, Bob, stav žádosti a1 je nyní: step 3. Předtím: step 2. Důvod: as planned',X'7b226170706c69636174696f6e5f6964223a226131222c2266726f6d223a22737465702032222c22746f223a22737465702033222c22726561736f6e223a22617320706c616e6e6564222c226f636375727265645f6174223a22323032362d31312d33305430373a31383a30385a227d','/applications/a1',0,1796023088280143,NULL,NULL,NULL,NULL,2,2);
INSERT INTO notifications VALUES('06h2pmbmqms2kxvdxj3x2p3m54','ada','application.status_changed','Application a1: step 4','Hello Ada, the status of application a1 is now: step 4. Before: step 3. Reason: as planned',X'7b226170706c69636174696f6e5f6964223a226131222c2266726f6d223a22737465702033222c22746f223a22737465702034222c22726561736f6e223a22617320706c616e6e6564222c226f636375727265645f6174223a22323032362d31312d33305430373a31383a30385a227d','/applications/a1',0,1796023088317524,NULL,1796023088530522,NULL,NULL,6,9);
INSERT INTO notifications VALUES('06h2pmbmqny51w8929v1ta7kzm','bob','application.status_changed','Žádost a1: step 4','Dobrý den, Bob, stav žádosti a1 je nyní: step 4. Předtím: step 3. Důvod: as planned',X'7b226170706c69636174696f6e5f6964223a226131222c2266726f6d223a22737465702033222c22746f223a22737465702034222c22726561736f6e223a22617320706c616e6e6564222c226f636375727265645f6174223a22323032362d31312d33305430373a31383a30385a227d','/applications/a1',0,1796023088317524,NULL,NULL,NULL,NULL,3,3);
INSERT INTO notifications VALUES('06h2pmbmx2mbjtye0k46dpcd78','ada','bank.news','News','Read it.',X'7b226e223a317d',NULL,0,1796023088360181,1796023088501126,NULL,NULL,NULL,7,8);
INSERT INTO notifications VALUES('06h2pmbmx33f70cgwzshxafz64','bob','bank.news','News','Read it.',X'7b226e223a317d',NULL,0,1796023088360181,NULL,NULL,NULL,NULL,4,4);
CREATE TABLE notification_keys (
  key             TEXT NOT NULL PRIMARY KEY,
  notification_id TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO notification_keys VALUES('status:s1:ada','06h2pmbmfgt9nerrb3fdzav43w');
INSERT INTO notification_keys VALUES('status:s1:bob','06h2pmbmfktagky7k8rxxhpfn4');
INSERT INTO notification_keys VALUES('status:s2:ada','06h2pmbmk2xwq9kz4ezb47h9xg');
INSERT INTO notification_keys VALUES('status:s2:bob','06h2pmbmk32j0emmb0w3nywptc');
INSERT INTO notification_keys VALUES('status:s3:ada','06h2pmbmqms2kxvdxj3x2p3m54');
INSERT INTO notification_keys VALUES('status:s3:bob','06h2pmbmqny51w8929v1ta7kzm');
INSERT INTO notification_keys VALUES('request:n1:ada','06h2pmbmx2mbjtye0k46dpcd78');
INSERT INTO notification_keys VALUES('request:n1:bob','06h2pmbmx33f70cgwzshxafz64');
CREATE TABLE reminders_sent (
  loan_id         TEXT NOT NULL,
  due_date        TEXT NOT NULL,
  recipient       TEXT NOT NULL,
  kind            TEXT NOT NULL,
  offset_days     INTEGER NOT NULL,
  notification_id TEXT,
  PRIMARY KEY (loan_id, due_date, recipient, kind, offset_days)
) WITHOUT ROWID;
CREATE TABLE imports (
  resource   TEXT NOT NULL,
  id         TEXT NOT NULL CHECK (length(id) BETWEEN 1 AND 128),
  attempt    BIGINT NOT NULL DEFAULT 1,
  lines      BIGINT NOT NULL DEFAULT 0,
  sum        TEXT NOT NULL DEFAULT '',
  accepted   BIGINT NOT NULL DEFAULT 0,
  rejected   BIGINT NOT NULL DEFAULT 0,
  errors     TEXT NOT NULL DEFAULT '[]',
  complete   BOOLEAN NOT NULL DEFAULT FALSE,
  updated_at TIMESTAMP NOT NULL, run TEXT,
  PRIMARY KEY (resource, id)
) WITHOUT ROWID;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('goose_db_version',9);
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
CREATE INDEX notifications_changed ON notifications (recipient, rev, id);
CREATE UNIQUE INDEX notifications_created ON notifications (recipient, created_rev);
CREATE INDEX status_changes_told ON status_changes (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;
CREATE INDEX notification_requests_told ON notification_requests (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;
CREATE INDEX imports_updated ON imports (updated_at);
CREATE INDEX notification_keys_notification ON notification_keys (notification_id);
CREATE UNIQUE INDEX decisions_rule ON decisions (loan_id, due_date, recipient, kind, offset_days, CASE outcome WHEN 'sent' THEN 0 ELSE id END);
COMMIT;
