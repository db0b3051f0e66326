-- +goose Up

-- The same as PostgreSQL has; the notes are there.
CREATE UNIQUE INDEX decisions_rule ON decisions (loan_id, due_date, recipient, kind, offset_days, CASE outcome WHEN 'sent' THEN 0 ELSE id END);
DROP INDEX decisions_subject;
DROP INDEX decisions_sent_once;

-- +goose Down
CREATE UNIQUE INDEX decisions_sent_once ON decisions (loan_id, due_date, recipient, kind, offset_days) WHERE outcome = 'sent';
CREATE INDEX decisions_subject ON decisions (loan_id, due_date, recipient, id);
DROP INDEX decisions_rule;
