-- +goose Up

-- What a notification was made for is looked up when somebody asks why it came.
CREATE INDEX notification_keys_notification ON notification_keys (notification_id);

-- +goose Down
DROP INDEX notification_keys_notification;
