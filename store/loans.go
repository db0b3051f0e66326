package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// PutLoan creates or replaces the head of a loan. Its borrower and parties must be known. ErrStale if l.AsOf is older than
// what is stored. Currency and digits can't change any more once there are amounts.
func (db *DB) PutLoan(ctx context.Context, l Loan) error {
	return one(db.ImportLoans(ctx, []Loan{l}, ImportOptions{AllOrNothing: true}))
}

// GetLoan reads a loan with its parties; ErrNotFound if it isn't there.
func (db *DB) GetLoan(ctx context.Context, id string) (Loan, error) {
	var loan Loan
	err := db.read(ctx, func(q queryer) error {
		b, err := db.readHeads(ctx, q, []string{id}, unlocked)
		if err != nil {
			return err
		}
		if b.loans[id] == nil {
			return ErrNotFound
		}
		loan = b.loans[id].Loan
		return nil
	})
	if err != nil {
		return Loan{}, fmt.Errorf("get loan: %w", err)
	}
	return loan, nil
}

// LoanDigits is how many decimals the amounts of loans have. Loans that aren't known are left out.
func (db *DB) LoanDigits(ctx context.Context, ids []string) (map[string]int, error) {
	digits := make(map[string]int, len(ids))
	q := db.query()
	err := q.each(ctx, func(row scanner) error {
		var id string
		var n int
		err := row.Scan(&id, &n)
		digits[id] = n
		return err
	}, `SELECT id, digits FROM loans WHERE `+q.in("id"), q.list(ids))
	if err != nil {
		return nil, fmt.Errorf("read digits: %w", err)
	}
	return digits, nil
}

// ImportLoans is PutLoan for many rows.
func (db *DB) ImportLoans(ctx context.Context, rows []Loan, opt ImportOptions) ([]Rejected, error) {
	return db.importing(ctx, "loans", opt, func(ctx context.Context, tx *Tx) ([]Rejected, error) {
		rejected, good, err := tx.checkPeople(ctx, rows)
		if err != nil || len(good) == 0 {
			return rejected, err
		}
		first := make(map[string]Loan)
		for _, i := range good {
			if _, known := first[rows[i].ID]; !known {
				first[rows[i].ID] = rows[i]
			}
		}
		ids := slices.Sorted(maps.Keys(first))
		inserted, err := tx.insertLoans(ctx, ids, first, opt.Backfill)
		if err != nil {
			return nil, err
		}
		b, err := db.lockLoans(ctx, tx, ids)
		if err != nil {
			return nil, err
		}
		more, err := tx.putLoans(ctx, b, rows, good, inserted, opt)
		if err != nil {
			return nil, err
		}
		return append(rejected, more...), db.derive(ctx, tx, b)
	})
}

// checkPeople rejects loans that name people who aren't known, and answers the indexes of the others.
func (tx *Tx) checkPeople(ctx context.Context, rows []Loan) (rejected []Rejected, good []int, err error) {
	var ids []string
	for _, l := range rows {
		ids = append(ids, l.BorrowerID)
		for _, p := range l.Parties {
			ids = append(ids, p.UserID)
		}
	}
	var known []string // they are never deleted, so this stays true
	if err := tx.all(ctx, &known, `SELECT id FROM users WHERE `+tx.in("id"), tx.list(ids)); err != nil {
		return nil, nil, fmt.Errorf("look for users: %w", err)
	}
	have := make(map[string]bool, len(known))
	for _, id := range known {
		have[id] = true
	}
	for i, l := range rows {
		field := ""
		if !have[l.BorrowerID] {
			field = "borrower_id"
		}
		for n, p := range l.Parties {
			if field == "" && !have[p.UserID] {
				field = fmt.Sprintf("parties[%d].user_id", n)
			}
		}
		if field != "" {
			rejected = append(rejected, Rejected{i, &FieldError{field, "no user with this id: PUT /v1/users/… first"}})
			continue
		}
		good = append(good, i)
	}
	return rejected, good, nil
}

// insertLoans inserts the heads of those that don't exist, in byte order and before any existing one is locked, and says
// which they were.
func (tx *Tx) insertLoans(ctx context.Context, ids []string, loans map[string]Loan, backfill bool) (map[string]bool, error) {
	var existing []string
	if err := tx.all(ctx, &existing, `SELECT id FROM loans WHERE `+tx.in("id"), tx.list(ids)); err != nil {
		return nil, fmt.Errorf("look for loans: %w", err)
	}
	inserted := make(map[string]bool)
	for chunk := range slices.Chunk(without(ids, existing), tableRows) {
		rows := pluck(chunk, func(id string) Loan { return loans[id] })
		v, args := tx.table("v",
			append(loanColumns(rows),
				col("backfill", "boolean", pluck(rows, func(Loan) bool { return backfill })),
				col("now", "timestamptz", pluck(rows, func(Loan) time.Time { return tx.now })))...)
		var added []string
		err := tx.all(ctx, &added, `
			INSERT INTO loans (id, borrower_id, product, currency, digits, status, as_of, started_at, backfill, created_at,
				updated_at)
			SELECT v.id, v.borrower_id, v.product, v.currency, v.digits, v.status, v.as_of, v.now, v.backfill, v.now, v.now
			FROM `+v+` WHERE true
			ON CONFLICT (id) DO NOTHING
			RETURNING id`, args...)
		if err != nil {
			return nil, fmt.Errorf("insert loans: %w", err)
		}
		for _, id := range added {
			inserted[id] = true
		}
	}
	return inserted, nil
}

func loanColumns(rows []Loan) []column {
	return []column{
		col("id", "text", pluck(rows, func(l Loan) string { return l.ID })),
		col("borrower_id", "text", pluck(rows, func(l Loan) string { return l.BorrowerID })),
		col("product", "text", pluck(rows, func(l Loan) string { return l.Product })),
		col("currency", "text", pluck(rows, func(l Loan) string { return l.Currency })),
		col("digits", "smallint", pluck(rows, func(l Loan) int { return l.Digits })),
		col("status", "text", pluck(rows, func(l Loan) string { return l.Status })),
		col("as_of", "timestamptz", pluck(rows, func(l Loan) *time.Time { return optionalTime(l.AsOf) })),
	}
}

// putLoans takes the good rows into the book, one after the other, and stores what changed.
func (tx *Tx) putLoans(ctx context.Context, b *book, rows []Loan, good []int, inserted map[string]bool, opt ImportOptions) ([]Rejected, error) {
	amounts, err := tx.haveAmounts(ctx, b)
	if err != nil {
		return nil, err
	}
	var rejected []Rejected
	heads, parties := make(map[string]bool), make(map[string]bool) // what is to be stored
	for _, i := range good {
		l, row := b.loans[rows[i].ID], rows[i]
		row.Parties = slices.Clone(row.Parties)
		slices.SortFunc(row.Parties, compareParties)
		switch {
		case older(row.AsOf, l.AsOf):
			rejected = append(rejected, Rejected{i, ErrStale})
			continue
		case amounts[l.ID] && row.Digits != l.Digits:
			rejected = append(rejected, Rejected{i, &FieldError{"digits", fmt.Sprintf(
				"can't change from %d: the loan has amounts. PUT an empty array of installments first", l.Digits)}})
			continue
		case amounts[l.ID] && row.Currency != l.Currency:
			rejected = append(rejected, Rejected{i, &FieldError{"currency", fmt.Sprintf(
				"can't change from %s: the loan has amounts. PUT an empty array of installments first", l.Currency)}})
			continue
		}
		row.AsOf = newest(row.AsOf, l.AsOf)
		if !slices.EqualFunc(row.Parties, l.Parties, sameParty) {
			parties[l.ID] = true
			l.all = true
		}
		if row.BorrowerID != l.BorrowerID || row.Status != l.Status {
			l.all = true
		}
		if opt.Backfill && !l.backfill {
			l.backfill, l.all = true, true
			heads[l.ID] = true
		}
		if inserted[l.ID] {
			l.all = true
		}
		if row.BorrowerID != l.BorrowerID || row.Status != l.Status || row.Product != l.Product ||
			row.Currency != l.Currency || row.Digits != l.Digits || !row.AsOf.Equal(l.AsOf) {
			heads[l.ID] = true
		}
		l.Loan = row
	}
	err = tx.updateLoans(ctx, b.some(func(l *bookLoan) bool { return heads[l.ID] }))
	if err != nil {
		return nil, err
	}
	return rejected, tx.storeParties(ctx, b.some(func(l *bookLoan) bool { return parties[l.ID] }))
}

// haveAmounts are the loans with installments, or payments, whose amounts are in the loan's digits.
func (tx *Tx) haveAmounts(ctx context.Context, b *book) (map[string]bool, error) {
	var ids []string
	err := tx.all(ctx, &ids, `SELECT loan_id FROM installments WHERE `+tx.in("loan_id")+` GROUP BY loan_id`, tx.list(b.ids))
	if err != nil {
		return nil, fmt.Errorf("look for installments: %w", err)
	}
	have := make(map[string]bool, len(ids))
	for _, id := range ids {
		have[id] = true
	}
	return have, nil
}

func (tx *Tx) updateLoans(ctx context.Context, loans []*bookLoan) error {
	for chunk := range slices.Chunk(loans, tableRows) {
		v, args := tx.table("v",
			append(loanColumns(pluck(chunk, func(l *bookLoan) Loan { return l.Loan })),
				col("backfill", "boolean", pluck(chunk, func(l *bookLoan) bool { return l.backfill })),
				col("now", "timestamptz", pluck(chunk, func(*bookLoan) time.Time { return tx.now })))...)
		_, err := tx.exec(ctx, `
			UPDATE loans
			SET borrower_id = v.borrower_id, product = v.product, currency = v.currency, digits = v.digits,
				status = v.status, as_of = v.as_of, backfill = v.backfill, updated_at = v.now
			FROM `+v+`
			WHERE loans.id = v.id`, args...)
		if err != nil {
			return fmt.Errorf("update loans: %w", err)
		}
	}
	return nil
}

// storeParties replaces the parties of loans.
func (tx *Tx) storeParties(ctx context.Context, loans []*bookLoan) error {
	if len(loans) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `DELETE FROM loan_parties WHERE `+tx.in("loan_id"),
		tx.list(pluck(loans, func(l *bookLoan) string { return l.ID })))
	if err != nil {
		return fmt.Errorf("delete parties: %w", err)
	}
	type row struct {
		loan string
		Party
	}
	var rows []row
	for _, l := range loans {
		for _, p := range l.Parties {
			rows = append(rows, row{l.ID, p})
		}
	}
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v",
			col("loan_id", "text", pluck(chunk, func(r row) string { return r.loan })),
			col("user_id", "text", pluck(chunk, func(r row) string { return r.UserID })),
			col("role", "text", pluck(chunk, func(r row) string { return r.Role })),
			col("notify", "jsonb", pluck(chunk, func(r row) string { return stringList(r.Notify) })))
		_, err := tx.exec(ctx, `
			INSERT INTO loan_parties (loan_id, user_id, role, notify)
			SELECT v.loan_id, v.user_id, v.role, v.notify
			FROM `+v, args...)
		if err != nil {
			return fmt.Errorf("insert parties: %w", err)
		}
	}
	return nil
}

func compareParties(a, b Party) int {
	return cmp.Or(cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Role, b.Role))
}

func sameParty(a, b Party) bool {
	return a.UserID == b.UserID && a.Role == b.Role && slices.Equal(a.Notify, b.Notify)
}
