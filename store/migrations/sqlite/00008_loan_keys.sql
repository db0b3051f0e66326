-- +goose Up

-- The same as PostgreSQL has; the notes are there. Foreign keys are cheap here, and stay.
ALTER TABLE loans ADD COLUMN schedule_run TEXT;
ALTER TABLE imports ADD COLUMN run TEXT;

-- +goose Down
ALTER TABLE imports DROP COLUMN run;
ALTER TABLE loans DROP COLUMN schedule_run;
