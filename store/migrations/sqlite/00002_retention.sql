-- +goose Up

-- The same as PostgreSQL has; the notes are there.
CREATE TABLE reminders_sent (
  loan_id         TEXT NOT NULL,
  due_date        TEXT NOT NULL,
  recipient       TEXT NOT NULL,
  kind            TEXT NOT NULL,
  offset_days     INTEGER NOT NULL,
  notification_id TEXT,
  PRIMARY KEY (loan_id, due_date, recipient, kind, offset_days)
) WITHOUT ROWID;

ALTER TABLE status_changes ADD COLUMN pruned_at TIMESTAMP;
ALTER TABLE notification_requests ADD COLUMN pruned_at TIMESTAMP;
CREATE INDEX status_changes_told ON status_changes (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;
CREATE INDEX notification_requests_told ON notification_requests (done_at) WHERE done_at IS NOT NULL AND pruned_at IS NULL;

-- +goose Down
DROP INDEX notification_requests_told;
DROP INDEX status_changes_told;
ALTER TABLE notification_requests DROP COLUMN pruned_at;
ALTER TABLE status_changes DROP COLUMN pruned_at;
DROP TABLE reminders_sent;
