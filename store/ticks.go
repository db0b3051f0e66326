package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Tick is an instant at which a job was due by its schedule. Job, At and Attempt together never come twice, so they make
// a task id.
type Tick struct {
	Job     string
	At      time.Time
	Attempt int
}

// AddTick notes that a job is due. added is false if that was known: an instant happens once, however many schedulers
// see it.
func (db *DB) AddTick(ctx context.Context, job string, at time.Time) (added bool, err error) {
	return db.addTick(ctx, job, at, false)
}

// SkipTick notes an instant that passed and that nobody shall make up for: LastTick knows it, ClaimTicks doesn't.
func (db *DB) SkipTick(ctx context.Context, job string, at time.Time) (added bool, err error) {
	return db.addTick(ctx, job, at, true)
}

func (db *DB) addTick(ctx context.Context, job string, at time.Time, skipped bool) (added bool, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		var done *time.Time
		if skipped {
			done = &tx.now
		}
		n, err := tx.exec(ctx, `
			INSERT INTO ticks (job, at, created_at, done_at, skipped)
			VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (job, at) DO NOTHING`, job, stamp(at), tx.now, done, skipped)
		added = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("add tick: %w", err)
	}
	return added, nil
}

// LastTick is the last known instant of a job up to an instant, zero if there is none. Later ones may be known: a scheduler whose
// clock was ahead has added them, and until they come the others still do.
func (db *DB) LastTick(ctx context.Context, job string, upTo time.Time) (time.Time, error) {
	var at instant
	err := db.query().get(ctx, &at, `SELECT at FROM ticks WHERE job = ? AND at <= ? ORDER BY at DESC LIMIT 1`, job, stamp(upTo))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return time.Time{}, fmt.Errorf("read last tick: %w", err)
	}
	return at.Time, nil
}

// ClaimTicks hands out ticks to be enqueued, oldest first: those that weren't yet, and those that were longer than
// retryAfter ago (of real time) and aren't done.
func (db *DB) ClaimTicks(ctx context.Context, retryAfter time.Duration) ([]Tick, error) {
	var ticks []Tick
	now := wallNow()
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		ticks = nil
		// What another scheduler is just claiming is left to it.
		return tx.each(ctx, func(row scanner) error {
			var t Tick
			var at instant
			err := row.Scan(&t.Job, &at, &t.Attempt)
			t.At = at.Time
			ticks = append(ticks, t)
			return err
		}, `
			UPDATE ticks
			SET enqueued_at = ?, attempt = attempt + 1
			WHERE (job, at) IN (
				SELECT job, at
				FROM ticks
				WHERE done_at IS NULL AND (enqueued_at IS NULL OR enqueued_at < ?)`+tx.skipLocked()+`)
			RETURNING job, at, attempt`, now, now.Add(-retryAfter))
	})
	if err != nil {
		return nil, fmt.Errorf("claim ticks: %w", err)
	}
	slices.SortFunc(ticks, func(a, b Tick) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Job, b.Job)) })
	return ticks, nil
}

// UnclaimTicks gives ticks back that couldn't be enqueued.
func (db *DB) UnclaimTicks(ctx context.Context, ticks []Tick) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		for _, t := range ticks { // a handful
			_, err := tx.exec(ctx, `UPDATE ticks SET enqueued_at = NULL WHERE job = ? AND at = ? AND done_at IS NULL`,
				t.Job, stamp(t.At))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give ticks back: %w", err)
	}
	return nil
}

// TickDone says that a tick's job has run to its end: there is nothing left of it to do. A second time changes nothing.
func (db *DB) TickDone(ctx context.Context, job string, at time.Time) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `UPDATE ticks SET done_at = ? WHERE job = ? AND at = ? AND done_at IS NULL`,
			tx.now, job, stamp(at))
		return err
	})
	if err != nil {
		return fmt.Errorf("finish tick: %w", err)
	}
	return nil
}

// TickPending says whether there is that tick and it isn't done.
func (db *DB) TickPending(ctx context.Context, job string, at time.Time) (bool, error) {
	var pending bool
	err := db.query().get(ctx, &pending, `SELECT EXISTS (SELECT 1 FROM ticks WHERE job = ? AND at = ? AND done_at IS NULL)`, job, stamp(at))
	if err != nil {
		return false, fmt.Errorf("look for a tick: %w", err)
	}
	return pending, nil
}

// PendingTicks is how many ticks aren't done.
func (db *DB) PendingTicks(ctx context.Context) (int, error) {
	var n int
	if err := db.query().get(ctx, &n, `SELECT count(*) FROM ticks WHERE done_at IS NULL`); err != nil {
		return 0, fmt.Errorf("count ticks: %w", err)
	}
	return n, nil
}

// PruneTicks deletes finished ticks from before an instant, except the last of each job.
func (db *DB) PruneTicks(ctx context.Context, before time.Time) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `
			DELETE FROM ticks
			WHERE done_at IS NOT NULL AND at < ? AND at < (SELECT max(t.at) FROM ticks AS t WHERE t.job = ticks.job)`,
			stamp(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("prune ticks: %w", err)
	}
	return nil
}
