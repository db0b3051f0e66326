-- +goose Up

-- Whoever writes installments or rows of the due queue holds their loan, so that it is there; a foreign key looked once more for each row, which was
-- most of what an import took. What goes with a loan that somebody deletes still goes.

-- Rather come again than have everybody wait behind a back-up that reads these tables.
SET LOCAL lock_timeout = '500ms';
LOCK TABLE loans, due_reminders, installments IN ACCESS EXCLUSIVE MODE;
ALTER TABLE due_reminders DROP CONSTRAINT due_reminders_loan_id_fkey;
ALTER TABLE installments DROP CONSTRAINT installments_loan_id_fkey;

-- Which import stored a loan's schedule last, so that it doesn't replace it by another part of it.
ALTER TABLE loans ADD COLUMN schedule_run text COLLATE "C";
ALTER TABLE imports ADD COLUMN run text COLLATE "C";

-- +goose StatementBegin
CREATE FUNCTION loans_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  DELETE FROM due_reminders WHERE loan_id IN (SELECT id FROM gone);
  DELETE FROM installments WHERE loan_id IN (SELECT id FROM gone);
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER loans_deleted AFTER DELETE ON loans REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION loans_deleted();

-- +goose Down
ALTER TABLE imports DROP COLUMN run;
ALTER TABLE loans DROP COLUMN schedule_run;
DROP TRIGGER loans_deleted ON loans;
DROP FUNCTION loans_deleted();
ALTER TABLE installments ADD CONSTRAINT installments_loan_id_fkey FOREIGN KEY (loan_id) REFERENCES loans (id) ON DELETE CASCADE;
ALTER TABLE due_reminders ADD CONSTRAINT due_reminders_loan_id_fkey FOREIGN KEY (loan_id) REFERENCES loans (id) ON DELETE CASCADE;
