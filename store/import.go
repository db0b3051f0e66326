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
	// Within makes the rows part of a larger transaction, which its owner gives up if a row is rejected that must not be.
	Within *ImportTx
	// Run names the import, and no other one ever: a schedule that came with it isn't replaced by it. "" replaces any.
	Run string
	// Mark answers how far the import is with these rows, to be stored with them; nil: nobody asks. It may be called more than
	// once. ErrSuperseded if the import is in other hands.
	Mark func(rejected []Rejected) ImportMark
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
	do := func(ctx context.Context, tx *Tx) error {
		var err error
		if rejected, err = fn(ctx, tx); err != nil {
			return err
		}
		if opt.DryRun || opt.AllOrNothing && len(rejected) > 0 {
			return errUndone
		}
		if opt.Mark != nil {
			return tx.markImport(ctx, opt.Mark(rejected))
		}
		return nil
	}
	var err error
	if opt.Within != nil {
		err = do(ctx, opt.Within.tx)
	} else {
		err = db.write(ctx, do)
	}
	if err != nil && !errors.Is(err, errUndone) {
		return nil, fmt.Errorf("import %s: %w", what, err)
	}
	slices.SortFunc(rejected, func(a, b Rejected) int { return cmp.Compare(a.Index, b.Index) })
	return rejected, nil
}

// ImportTx is one transaction for any number of bulk calls.
type ImportTx struct {
	tx    *Tx
	moved []string // people whose reminders follow after the commit
}

// ImportWhole runs fn and commits what bulk calls did Within its transaction, unless fn answers an error: a file that is taken as
// a whole or not at all, however many rows it has. It holds their loans until then. Unlike other transactions it isn't run again
// when the database undid it because of others: fn may be reading what comes only once.
func (db *DB) ImportWhole(ctx context.Context, fn func(ctx context.Context, whole *ImportTx) error) error {
	whole := &ImportTx{}
	tx := &Tx{doubtful: true, once: true}
	err := db.writeOnce(ctx, tx, func(ctx context.Context, tx *Tx) error {
		whole.tx = tx
		return fn(ctx, whole)
	})
	if err != nil {
		return err
	}
	db.tell(tx.changes(), tx.wake)
	db.follow(ctx, whole.moved)
	return nil
}

// one is the answer of a bulk call with a single row.
func one(rejected []Rejected, err error) error {
	if err == nil && len(rejected) > 0 {
		return rejected[0].Err
	}
	return err
}

// ImportStatusChanges is AddStatusChanges, but leaves the claiming to ClaimOutbox. Rows that were there
// already are no errors.
func (db *DB) ImportStatusChanges(ctx context.Context, rows []StatusChange, opt ImportOptions) ([]Rejected, error) {
	return db.importing(ctx, "status changes", opt, func(ctx context.Context, tx *Tx) ([]Rejected, error) {
		added, err := tx.insertStatusChanges(ctx, rows, false, tx.now)
		if err != nil {
			return nil, err
		}
		if len(added) > 0 {
			tx.wakeOutbox()
		}
		return tx.conflicts(ctx, rows, added)
	})
}
