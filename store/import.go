package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// ImportOptions of a bulk call. The zero value takes the good rows and answers the bad ones.
type ImportOptions struct {
	// Backfill sends the reminder days before a loan's first import too, whatever max_late says: of each date that is
	// open, the last one.
	Backfill bool
	// DryRun checks everything and changes nothing.
	DryRun bool
	// AllOrNothing changes nothing if any row is rejected.
	AllOrNothing bool
}

// Rejected is a row that wasn't taken, and why: a *FieldError, ErrStale or ErrConflict.
type Rejected struct {
	Index int // in the rows that were handed in
	Err   error
}

// errUndone rolls a transaction back whose answer stands.
var errUndone = errors.New("undone on purpose")

// importing runs one bulk call in one transaction. Its rows have the effect of the single calls in the order given.
func (db *DB) importing(ctx context.Context, what string, opt ImportOptions,
	fn func(ctx context.Context, tx *Tx) ([]Rejected, error)) ([]Rejected, error) {
	var rejected []Rejected
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		var err error
		if rejected, err = fn(ctx, tx); err != nil {
			return err
		}
		if opt.DryRun || opt.AllOrNothing && len(rejected) > 0 {
			return errUndone
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUndone) {
		return nil, fmt.Errorf("import %s: %w", what, err)
	}
	slices.SortFunc(rejected, func(a, b Rejected) int { return cmp.Compare(a.Index, b.Index) })
	return rejected, nil
}

// one is the answer of a bulk call with a single row.
func one(rejected []Rejected, err error) error {
	if err == nil && len(rejected) > 0 {
		return rejected[0].Err
	}
	return err
}

// ImportStatusChanges is AddStatusChange for many rows, but leaves the claiming to ClaimOutbox. Rows that were there
// already are no errors.
func (db *DB) ImportStatusChanges(ctx context.Context, rows []StatusChange, opt ImportOptions) ([]Rejected, error) {
	return db.importing(ctx, "status changes", opt, func(ctx context.Context, tx *Tx) ([]Rejected, error) {
		rejected, _, err := tx.addStatusChanges(ctx, rows, false)
		return rejected, err
	})
}
