package store

import (
	"context"
	"fmt"
	"time"
)

// RunProgress is how far a run of reminders has come that is long enough to be watched.
type RunProgress struct {
	Job     string    `json:"job"`
	At      time.Time `json:"at"`      // of its tick
	Due     int64     `json:"due"`     // the reminders that were due when it began
	Settled int64     `json:"settled"` // those that were looked at since, by all workers
}

// AnyDue says whether a reminder is due that isn't parked, also one that somebody else has just locked.
func (db *DB) AnyDue(ctx context.Context) (bool, error) {
	// The first of the index. Asked for any row by an instant that it doesn't know beforehand, PostgreSQL expects to meet one at
	// once and reads the whole queue where none is due.
	var first instant
	err := db.query().each(ctx, func(row scanner) error { return row.Scan(&first) }, `SELECT min(next_at) FROM due_reminders WHERE parked_at IS NULL`)
	if err != nil {
		return false, fmt.Errorf("look for due reminders: %w", err)
	}
	return !first.IsZero() && !first.After(db.Now()), nil
}

// BeginProgress notes on a tick how many reminders are due beside those that its run has settled.
func (db *DB) BeginProgress(ctx context.Context, job string, at time.Time, settled int) error {
	_, err := db.progress(ctx, job, at, `settled = settled + ?, due = settled + ? + (
		SELECT count(*) FROM due_reminders WHERE next_at <= ? AND parked_at IS NULL)`, settled, settled, db.Now())
	return err
}

// Progress adds to what a tick's run has settled and says that the run is alive: until some time after it the tick isn't
// enqueued anew. It answers what all workers have settled of it so far; 0 if it is done.
func (db *DB) Progress(ctx context.Context, job string, at time.Time, settled int) (all int64, err error) {
	return db.progress(ctx, job, at, `settled = settled + ?`, settled)
}

func (db *DB) progress(ctx context.Context, job string, at time.Time, set string, args ...any) (all int64, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		all = 0
		return tx.each(ctx, func(row scanner) error { return row.Scan(&all) },
			`UPDATE ticks SET enqueued_at = ?, `+set+` WHERE job = ? AND at = ? AND done_at IS NULL RETURNING settled`,
			append(append([]any{wallNow()}, args...), job, stamp(at))...)
	})
	if err != nil {
		return 0, fmt.Errorf("note the progress of a run: %w", err)
	}
	return all, nil
}

// Runs are the runs that are under way and long enough to be watched, the oldest first.
func (db *DB) Runs(ctx context.Context) ([]RunProgress, error) {
	var runs []RunProgress
	err := db.query().each(ctx, func(row scanner) error {
		var r RunProgress
		var at instant
		err := row.Scan(&r.Job, &at, &r.Due, &r.Settled)
		r.At = at.Time
		runs = append(runs, r)
		return err
	}, `SELECT job, at, due, settled FROM ticks WHERE done_at IS NULL AND due > 0 ORDER BY at, job`)
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return runs, nil
}
