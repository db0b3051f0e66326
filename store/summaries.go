package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
)

// SummaryItem is a reminder that an officer gets as a line of a summary.
type SummaryItem struct {
	Recipient    string
	LoanID       string
	DueDate      civil.Date
	Kind         string
	Offset       int
	Amount       int64 // open when it was decided, in minor units of Digits
	Currency     string
	Digits       int
	Product      string
	BorrowerID   string
	BorrowerName string // "" if it isn't known
	CreatedAt    time.Time
}

func (tx *Tx) addSummaryItems(ctx context.Context, items []SummaryItem) error {
	for chunk := range slices.Chunk(items, tableRows) {
		v, args := tx.table("v",
			col("recipient", "text", pluck(chunk, func(i SummaryItem) string { return i.Recipient })),
			col("loan_id", "text", pluck(chunk, func(i SummaryItem) string { return i.LoanID })),
			col("due_date", "date", pluck(chunk, func(i SummaryItem) civil.Date { return i.DueDate })),
			col("kind", "text", pluck(chunk, func(i SummaryItem) string { return i.Kind })),
			col("offset_days", "integer", pluck(chunk, func(i SummaryItem) int { return i.Offset })),
			col("amount", "bigint", pluck(chunk, func(i SummaryItem) int64 { return i.Amount })),
			col("currency", "text", pluck(chunk, func(i SummaryItem) string { return i.Currency })),
			col("digits", "smallint", pluck(chunk, func(i SummaryItem) int { return i.Digits })),
			col("created_at", "timestamptz", pluck(chunk, func(SummaryItem) time.Time { return tx.now })))
		err := tx.post(ctx, "insert summary items", `
			INSERT INTO summary_items (recipient, loan_id, due_date, kind, offset_days, amount, currency, digits, created_at)
			SELECT v.recipient, v.loan_id, v.due_date, v.kind, v.offset_days, v.amount, v.currency, v.digits, v.created_at
			FROM `+v+` WHERE true
			ON CONFLICT (recipient, loan_id, due_date, kind, offset_days) DO NOTHING`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// FlushSummaries makes one notification of everything that waits for an officer, for each of them, and says how many
// officers that was. render must not use the store; one that refuses leaves the items where they are, and the others go
// on. It may run at any time and at once; whoever ran RunDue until nothing was left calls it.
func (db *DB) FlushSummaries(ctx context.Context,
	render func(officer Person, items []SummaryItem) (Draft, error)) (officers int, err error) {
	var ids []string
	err = db.query().all(ctx, &ids, `SELECT DISTINCT recipient FROM summary_items ORDER BY recipient`)
	if err != nil {
		return 0, fmt.Errorf("flush summaries: %w", err)
	}
	var failed []error
	for _, id := range ids {
		told, err := db.flushSummary(ctx, id, render)
		if err != nil {
			failed = append(failed, fmt.Errorf("flush summaries: %w", err))
			if ctx.Err() != nil {
				break
			}
		}
		if told {
			officers++
		}
	}
	return officers, errors.Join(failed...)
}

func (db *DB) flushSummary(ctx context.Context, id string, render func(Person, []SummaryItem) (Draft, error)) (told bool, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		told = false
		pv, err := db.activePolicy(ctx, tx.queryer)
		if err != nil {
			return err
		}
		// People before what is theirs, as erasure does it.
		people, err := tx.peopleByID(ctx, []string{id}, forShare, pv)
		if err != nil {
			return err
		}
		// Whoever else flushes this officer waits here and then finds nothing.
		var items []SummaryItem
		err = tx.each(ctx, func(row scanner) error {
			i := SummaryItem{Recipient: id}
			var createdAt instant
			err := row.Scan(&i.LoanID, &i.DueDate, &i.Kind, &i.Offset, &i.Amount, &i.Currency, &i.Digits, &createdAt)
			i.CreatedAt = createdAt.Time
			items = append(items, i)
			return err
		}, `
			SELECT loan_id, due_date, kind, offset_days, amount, currency, digits, created_at
			FROM summary_items
			WHERE recipient = ?
			ORDER BY loan_id, due_date, kind, offset_days`+tx.forUpdate(), id)
		if err != nil || len(items) == 0 {
			return err
		}
		if err := tx.deleteSummaryItems(ctx, items); err != nil {
			return err
		}
		if err := tx.nameBorrowers(ctx, items); err != nil {
			return err
		}
		if !people[id].Known {
			return nil // nobody is there any more
		}
		draft, err := guard(func() (Draft, error) { return render(*people[id], items) })
		if err != nil {
			return err
		}
		told = true
		tx.atEnd([]string{id}, func(ctx context.Context) error {
			_, err := tx.insert(ctx, []Draft{draft})
			return err
		})
		return nil
	})
	return told && err == nil, err
}

func (tx *Tx) deleteSummaryItems(ctx context.Context, items []SummaryItem) error {
	for chunk := range slices.Chunk(items, tableRows) {
		v, args := tx.table("v",
			col("recipient", "text", pluck(chunk, func(i SummaryItem) string { return i.Recipient })),
			col("loan_id", "text", pluck(chunk, func(i SummaryItem) string { return i.LoanID })),
			col("due_date", "date", pluck(chunk, func(i SummaryItem) civil.Date { return i.DueDate })),
			col("kind", "text", pluck(chunk, func(i SummaryItem) string { return i.Kind })),
			col("offset_days", "integer", pluck(chunk, func(i SummaryItem) int { return i.Offset })))
		_, err := tx.exec(ctx, `
			DELETE FROM summary_items
			WHERE (recipient, loan_id, due_date, kind, offset_days) IN (
				SELECT v.recipient, v.loan_id, v.due_date, v.kind, v.offset_days FROM `+v+`)`, args...)
		if err != nil {
			return fmt.Errorf("delete summary items: %w", err)
		}
	}
	return nil
}

// nameBorrowers adds what an officer knows a loan by.
func (tx *Tx) nameBorrowers(ctx context.Context, items []SummaryItem) error {
	type head struct{ product, borrower, name string }
	heads := make(map[string]head)
	err := tx.each(ctx, func(row scanner) error {
		var id string
		var h head
		err := row.Scan(&id, &h.product, &h.borrower, &h.name)
		heads[id] = h
		return err
	}, `
		SELECT l.id, l.product, l.borrower_id, CASE WHEN u.erased_at IS NULL THEN COALESCE(u.name, '') ELSE '' END
		FROM loans AS l LEFT JOIN users AS u ON u.id = l.borrower_id
		WHERE `+tx.in("l.id"), tx.list(pluck(items, func(i SummaryItem) string { return i.LoanID })))
	if err != nil {
		return fmt.Errorf("read borrowers: %w", err)
	}
	for i := range items {
		h := heads[items[i].LoanID]
		items[i].Product, items[i].BorrowerID, items[i].BorrowerName = h.product, h.borrower, h.name
	}
	return nil
}
