package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// AddPayment takes money that arrived on a loan. The same payment again isn't created and changes nothing; ErrConflict if
// it differs.
func (db *DB) AddPayment(ctx context.Context, p Payment) (created bool, err error) {
	err = one(db.importing(ctx, "payments", ImportOptions{AllOrNothing: true},
		func(ctx context.Context, tx *Tx) ([]Rejected, error) {
			rejected, added, err := db.addPayments(ctx, tx, []Payment{p})
			created = len(added) > 0
			return rejected, err
		}))
	return created && err == nil, err
}

// ImportPayments is AddPayment for many rows. Rows that were there already are no errors.
func (db *DB) ImportPayments(ctx context.Context, rows []Payment, opt ImportOptions) ([]Rejected, error) {
	return db.importing(ctx, "payments", opt, func(ctx context.Context, tx *Tx) ([]Rejected, error) {
		rejected, _, err := db.addPayments(ctx, tx, rows)
		return rejected, err
	})
}

// addPayments answers the ids of what is new.
func (db *DB) addPayments(ctx context.Context, tx *Tx, rows []Payment) (rejected []Rejected, added map[string]bool, err error) {
	b, err := db.lockLoans(ctx, tx, pluck(rows, func(p Payment) string { return p.LoanID }))
	if err != nil {
		return nil, nil, err
	}
	hashes, err := tx.paymentHashes(ctx, rows)
	if err != nil {
		return nil, nil, err
	}
	var fresh []Payment
	index := make(map[string]int)
	for i, p := range rows {
		if hash, known := hashes[p.ID]; known {
			if hash != p.BodyHash {
				rejected = append(rejected, Rejected{i, ErrConflict})
			}
			continue
		}
		l := b.loans[p.LoanID]
		switch {
		case l == nil:
			err = &FieldError{"loan_id", "no loan with this id: PUT /v1/loans/… first"}
		case p.Installment != 0 && !slices.ContainsFunc(l.installments, func(in Installment) bool { return in.Number == p.Installment }):
			err = &FieldError{"installment", fmt.Sprintf("the loan has no installment %d", p.Installment)}
		default:
			hashes[p.ID], index[p.ID] = p.BodyHash, i
			fresh = append(fresh, p)
			continue
		}
		rejected = append(rejected, Rejected{i, err})
	}
	if added, err = tx.insertPayments(ctx, b, fresh); err != nil {
		return nil, nil, err
	}
	if len(added) < len(fresh) { // another transaction was faster
		if hashes, err = tx.paymentHashes(ctx, fresh); err != nil {
			return nil, nil, err
		}
		for _, p := range fresh {
			if !added[p.ID] && hashes[p.ID] != p.BodyHash {
				rejected = append(rejected, Rejected{index[p.ID], ErrConflict})
			}
		}
	}
	for _, p := range fresh {
		if added[p.ID] {
			b.loans[p.LoanID].figures = true
		}
	}
	return rejected, added, db.derive(ctx, tx, b)
}

// paymentHashes are the body hashes of those payments that are known.
func (tx *Tx) paymentHashes(ctx context.Context, rows []Payment) (map[string]string, error) {
	hashes := make(map[string]string)
	err := tx.each(ctx, func(row scanner) error {
		var id, hash string
		err := row.Scan(&id, &hash)
		hashes[id] = hash
		return err
	}, `SELECT id, body_hash FROM payments WHERE `+tx.in("id"), tx.list(pluck(rows, func(p Payment) string { return p.ID })))
	if err != nil {
		return nil, fmt.Errorf("look for payments: %w", err)
	}
	return hashes, nil
}

// insertPayments inserts what isn't there, in the order given, and says what that was. A payment counts unless it is
// dated within figures that came with an as_of.
func (tx *Tx) insertPayments(ctx context.Context, b *book, rows []Payment) (map[string]bool, error) {
	added := make(map[string]bool, len(rows))
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v",
			col("id", "text", pluck(chunk, func(p Payment) string { return p.ID })),
			col("loan_id", "text", pluck(chunk, func(p Payment) string { return p.LoanID })),
			col("installment", "integer", pluck(chunk, func(p Payment) *int {
				if p.Installment == 0 {
					return nil
				}
				return &p.Installment
			})),
			col("amount", "bigint", pluck(chunk, func(p Payment) int64 { return p.Amount })),
			col("paid_at", "timestamptz", pluck(chunk, func(p Payment) time.Time { return stamp(p.PaidAt) })),
			col("received_at", "timestamptz", pluck(chunk, func(Payment) time.Time { return tx.now })),
			col("counted", "boolean", pluck(chunk, func(p Payment) bool {
				l := b.loans[p.LoanID]
				return !l.scheduleDated || stamp(p.PaidAt).After(l.scheduleAsOf)
			})),
			col("body_hash", "text", pluck(chunk, func(p Payment) string { return p.BodyHash })))
		var ids []string
		err := tx.all(ctx, &ids, `
			INSERT INTO payments (id, loan_id, installment, amount, paid_at, received_at, counted, body_hash)
			SELECT v.id, v.loan_id, v.installment, v.amount, v.paid_at, v.received_at, v.counted, v.body_hash
			FROM `+v+` WHERE true
			ON CONFLICT (id) DO NOTHING
			RETURNING id`, args...)
		if err != nil {
			return nil, fmt.Errorf("insert payments: %w", err)
		}
		for _, id := range ids {
			added[id] = true
		}
	}
	return added, nil
}

// ReversePayment takes a payment back, for good. changed is false if it was reversed before; ErrNotFound if it isn't
// known. A payment that the schedule's figures include is added back to them until the next schedule comes.
func (db *DB) ReversePayment(ctx context.Context, id string) (changed bool, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		changed = false
		var loanID string
		if err := tx.get(ctx, &loanID, `SELECT loan_id FROM payments WHERE id = ?`, id); err != nil {
			return err
		}
		b, err := db.lockLoans(ctx, tx, []string{loanID})
		if err != nil {
			return err
		}
		n, err := tx.exec(ctx, `
			UPDATE payments
			SET reversed_at = ?, reversal_counted = NOT counted
			WHERE id = ? AND reversed_at IS NULL`, tx.now, id)
		if err != nil || n == 0 {
			return err
		}
		changed = true
		b.loans[loanID].figures = true
		return db.derive(ctx, tx, b)
	})
	if err != nil {
		return false, fmt.Errorf("reverse payment: %w", err)
	}
	return changed, nil
}
