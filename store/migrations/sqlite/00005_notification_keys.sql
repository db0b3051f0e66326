-- +goose Up

-- The same as PostgreSQL has; the notes are there.
CREATE INDEX notification_keys_notification ON notification_keys (notification_id);

-- +goose Down
DROP INDEX notification_keys_notification;
