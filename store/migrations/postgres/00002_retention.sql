-- +goose Up

-- What stays of a sent reminder when its decision has been pruned: that it went out once is for ever, and a notification
-- that is still in the inbox is resolved through it.
CREATE TABLE reminders_sent (
  loan_id         text COLLATE "C" NOT NULL,
  due_date        date NOT NULL,
  recipient       text COLLATE "C" NOT NULL,
  kind            text NOT NULL,
  offset_days     integer NOT NULL,
  notification_id text COLLATE "C",
  PRIMARY KEY (loan_id, due_date, recipient, kind, offset_days)
);

-- Of what was told the words go, the ids and hashes stay. The indexes have just the rows that still have words.
ALTER TABLE status_changes ADD COLUMN pruned_at timestamptz;
ALTER TABLE notification_requests ADD COLUMN pruned_at timestamptz;
CREATE INDEX status_changes_told ON status_changes (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;
CREATE INDEX notification_requests_told ON notification_requests (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;

-- +goose Down
DROP INDEX notification_requests_told, status_changes_told;
ALTER TABLE notification_requests DROP COLUMN pruned_at;
ALTER TABLE status_changes DROP COLUMN pruned_at;
DROP TABLE reminders_sent;
