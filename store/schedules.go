package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
)

// PutSchedule replaces the whole schedule of a loan. With an AsOf its figures include every payment dated up to then;
// without, every payment that has arrived. ErrStale if an AsOf is older than the last one.
func (db *DB) PutSchedule(ctx context.Context, s Schedule) error {
	return one(db.ImportSchedules(ctx, []Schedule{s}, ImportOptions{AllOrNothing: true}))
}

// ImportSchedules is PutSchedule for many loans.
func (db *DB) ImportSchedules(ctx context.Context, rows []Schedule, opt ImportOptions) ([]Rejected, error) {
	return db.importing(ctx, "installments", opt, func(ctx context.Context, tx *Tx) ([]Rejected, error) {
		b, err := db.lockLoans(ctx, tx, pluck(rows, func(s Schedule) string { return s.LoanID }))
		if err != nil {
			return nil, err
		}
		before, err := tx.schedulesOf(ctx, opt.Run, b.ids)
		if err != nil {
			return nil, err
		}
		var rejected []Rejected
		replaced := make(map[string]bool)
		for i, s := range rows {
			l := b.loans[s.LoanID]
			if opt.Run != "" && (before[s.LoanID] || replaced[s.LoanID]) {
				rejected = append(rejected, Rejected{i, &FieldError{"loan_id", "the rows of a loan must stand together: some of this one's came before, in this import"}})
				continue
			}
			if err := l.takeSchedule(s); err != nil {
				rejected = append(rejected, Rejected{i, err})
				continue
			}
			replaced[s.LoanID] = true
			if opt.Backfill && !l.backfill {
				l.backfill, l.all = true, true
			}
		}
		loans := b.some(func(l *bookLoan) bool { return replaced[l.ID] })
		if err := tx.storeSchedules(ctx, loans, opt.Run); err != nil {
			return nil, err
		}
		return rejected, db.derive(ctx, tx, b)
	})
}

// takeSchedule replaces the schedule in the book. l is nil for a loan that doesn't exist.
func (l *bookLoan) takeSchedule(s Schedule) error {
	if l == nil {
		return &FieldError{"loan_id", "no loan with this id: PUT /v1/loans/… first"}
	}
	if older(s.AsOf, l.scheduleAsOf) {
		return ErrStale
	}
	installments := slices.Clone(s.Installments)
	slices.SortFunc(installments, func(a, b Installment) int { return cmp.Compare(a.Number, b.Number) })
	for i := range installments {
		if i > 0 && installments[i].Number == installments[i-1].Number {
			return &FieldError{"number", fmt.Sprintf("%d is there twice", installments[i].Number)}
		}
	}
	l.installments = installments
	l.scheduleDated = !s.AsOf.IsZero()
	if l.scheduleDated {
		l.scheduleAsOf = stamp(s.AsOf)
	}
	l.figures = true
	return nil
}

// schedulesOf are those of the loans whose schedules came with an import.
func (q queryer) schedulesOf(ctx context.Context, run string, loans []string) (map[string]bool, error) {
	if run == "" {
		return nil, nil
	}
	var ids []string
	if err := q.all(ctx, &ids, `SELECT id FROM loans WHERE `+q.in("id")+` AND schedule_run = ?`, q.list(loans), run); err != nil {
		return nil, fmt.Errorf("look for schedules of an import: %w", err)
	}
	of := make(map[string]bool, len(ids))
	for _, id := range ids {
		of[id] = true
	}
	return of, nil
}

// storeSchedules stores what came with new schedules beside their installments, and counts payments anew.
func (tx *Tx) storeSchedules(ctx context.Context, loans []*bookLoan, run string) error {
	for chunk := range slices.Chunk(loans, tableRows) {
		v, args := tx.table("v",
			col("id", "text", pluck(chunk, func(l *bookLoan) string { return l.ID })),
			col("as_of", "timestamptz", pluck(chunk, func(l *bookLoan) *time.Time { return optionalTime(l.scheduleAsOf) })),
			col("dated", "boolean", pluck(chunk, func(l *bookLoan) bool { return l.scheduleDated })),
			col("backfill", "boolean", pluck(chunk, func(l *bookLoan) bool { return l.backfill })),
			col("now", "timestamptz", pluck(chunk, func(*bookLoan) time.Time { return tx.now })))
		_, err := tx.exec(ctx, `
			UPDATE loans
			SET schedule_as_of = v.as_of, schedule_dated = v.dated, backfill = v.backfill, updated_at = v.now, schedule_run = COALESCE(?, schedule_run)
			FROM `+v+`
			WHERE loans.id = v.id`, append([]any{optional(run)}, args...)...)
		if err != nil {
			return fmt.Errorf("update loans: %w", err)
		}
		// The new figures include what was paid up to their as_of, or whatever is here. What they include and was
		// reversed after their as_of is added back to them.
		const counted = `(v.dated AND paid_at > v.as_of)`
		const addedBack = `(v.dated AND paid_at <= v.as_of AND reversed_at IS NOT NULL AND reversed_at > v.as_of)`
		_, err = tx.exec(ctx, `
			UPDATE payments
			SET counted = `+counted+`, reversal_counted = `+addedBack+`
			FROM `+v+`
			WHERE payments.loan_id = v.id AND (counted <> `+counted+` OR reversal_counted <> `+addedBack+`)`, args...)
		if err != nil {
			return fmt.Errorf("count payments: %w", err)
		}
	}
	return nil
}

// installmentRow is a row of installments.
type installmentRow struct {
	loan string
	Installment
}

// addInstallments adds rows that aren't there yet.
func (tx *Tx) addInstallments(ctx context.Context, rows []installmentRow) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		if err := tx.insertInto(ctx, "add installments", "installments", installmentColumns(chunk)...); err != nil {
			return err
		}
	}
	return nil
}

// putInstallments changes rows that are there.
func (tx *Tx) putInstallments(ctx context.Context, rows []installmentRow) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v", installmentColumns(chunk)...)
		_, err := tx.exec(ctx, `
			UPDATE installments
			SET due_date = v.due_date, amount_due = v.amount_due, amount_paid = v.amount_paid, outstanding = v.outstanding, open = v.open
			FROM `+v+`
			WHERE installments.loan_id = v.loan_id AND installments.number = v.number`, args...)
		if err != nil {
			return fmt.Errorf("put installments: %w", err)
		}
	}
	return nil
}

func installmentColumns(rows []installmentRow) []column {
	return []column{
		col("loan_id", "text", pluck(rows, func(r installmentRow) string { return r.loan })),
		col("number", "integer", pluck(rows, func(r installmentRow) int { return r.Number })),
		col("due_date", "date", pluck(rows, func(r installmentRow) civil.Date { return r.DueDate })),
		col("amount_due", "bigint", pluck(rows, func(r installmentRow) int64 { return r.AmountDue })),
		col("amount_paid", "bigint", pluck(rows, func(r installmentRow) int64 { return r.AmountPaid })),
		col("outstanding", "bigint", pluck(rows, func(r installmentRow) int64 { return r.Outstanding })),
		col("open", "bigint", pluck(rows, func(r installmentRow) int64 { return r.Open })),
	}
}

func (tx *Tx) deleteInstallments(ctx context.Context, rows []installmentRow) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v",
			col("loan_id", "text", pluck(chunk, func(r installmentRow) string { return r.loan })),
			col("number", "integer", pluck(chunk, func(r installmentRow) int { return r.Number })))
		_, err := tx.exec(ctx, `
			DELETE FROM installments
			WHERE (loan_id, number) IN (SELECT v.loan_id, v.number FROM `+v+`)`, args...)
		if err != nil {
			return fmt.Errorf("delete installments: %w", err)
		}
	}
	return nil
}
