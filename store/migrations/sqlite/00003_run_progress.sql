-- +goose Up

-- Of a long run: the reminders that were due when it began, and those that were looked at since.
ALTER TABLE ticks ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ticks ADD COLUMN settled BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE ticks DROP COLUMN settled;
ALTER TABLE ticks DROP COLUMN due;
