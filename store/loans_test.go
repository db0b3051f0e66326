package store

import (
	"testing"

	"duebell/internal/testenv"
)

func (w *world) sql(query string, args ...any) {
	w.t.Helper()
	_, err := w.writer.ExecContext(w.t.Context(), query, args...)
	w.ok(err)
}

// What an operator deletes by SQL leaves nothing behind that a program would trip over.
func TestALoanIsDeletedWithAllOfIt(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann")
		for _, id := range []string{"L1", "L2", "L3"} {
			w.loan(id, "ann")
			w.schedule(id, owes(1, "2026-03-10", 10000), owes(2, "2026-04-10", 10000))
		}
		w.sql(`DELETE FROM loans WHERE id IN ('L1', 'L3')`)
		for _, table := range []string{"installments", "due_reminders"} {
			if left := w.lines(t, `SELECT DISTINCT loan_id FROM `+table); len(left) != 1 || left[0] != "L2" {
				t.Errorf("%s has rows of %v", table, left)
			}
		}
		w.noDrift()
		w.set("2026-03-07T09:00:00Z")
		w.run()
		if told := w.told("ann"); len(told) != 1 {
			t.Errorf("ann was told %v", told)
		}
	})
}

// A row of the queue whose loan a restore has left out is dropped, and keeps nobody else's reminder back.
func TestARowWithoutItsLoan(t *testing.T) {
	w := setup(t, testenv.Postgres(t), "2026-03-01T12:00:00Z")
	w.user("ann")
	w.loan("L2", "ann")
	w.schedule("L2", owes(1, "2026-03-10", 10000))
	w.sql(`INSERT INTO due_reminders (loan_id, due_date, recipient, role, next_at)
		SELECT 'L1', due_date, recipient, role, next_at FROM due_reminders`)
	w.set("2026-03-07T09:00:00Z")
	w.run()
	if told := w.told("ann"); len(told) != 1 {
		t.Errorf("ann was told %v", told)
	}
	if left := w.lines(t, `SELECT loan_id FROM due_reminders WHERE loan_id = 'L1'`); len(left) > 0 {
		t.Error("the row is still there")
	}
}
