-- +goose Up

-- Who claims a row in the transaction that writes it enqueues it itself, and PostgreSQL lets transactions that notify commit only
-- one after the other. So the wake-up is for rows that nobody has claimed.
DROP TRIGGER status_changes_wake ON status_changes;
CREATE TRIGGER status_changes_wake AFTER INSERT ON status_changes
  FOR EACH ROW WHEN (NEW.enqueued_at IS NULL) EXECUTE FUNCTION outbox_wake();
DROP TRIGGER notification_requests_wake ON notification_requests;
CREATE TRIGGER notification_requests_wake AFTER INSERT ON notification_requests
  FOR EACH ROW WHEN (NEW.enqueued_at IS NULL) EXECUTE FUNCTION outbox_wake();

-- Its statements keep the plan that a session made for them first, perhaps while the table was small.
ALTER FUNCTION status_changes_arrive() SET enable_seqscan = off;

-- +goose Down
ALTER FUNCTION status_changes_arrive() RESET enable_seqscan;
DROP TRIGGER status_changes_wake ON status_changes;
CREATE TRIGGER status_changes_wake AFTER INSERT ON status_changes
  FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();
DROP TRIGGER notification_requests_wake ON notification_requests;
CREATE TRIGGER notification_requests_wake AFTER INSERT ON notification_requests
  FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();
