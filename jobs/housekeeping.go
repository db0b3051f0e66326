package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

const (
	// rederiveEvery is how often the rows are looked for that an activated policy, or a crash between a person's change and
	// its derivation, left stale. A claim checks them too; this is so that they don't wait for one.
	rederiveEvery = 2 * time.Second
	rederiveLimit = 500
	// keepTicks is how long finished ticks stay for whoever wants to know when what ran.
	keepTicks = 30 * 24 * time.Hour
)

// keepHouse derives stale rows of the due queue again until ctx ends.
func (w *Worker) keepHouse(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := w.db.RederiveStale(ctx, rederiveLimit)
		if n > 0 {
			w.metrics.rederived.Add(float64(n))
		}
		switch {
		case err != nil && ctx.Err() == nil:
			w.log.Warn("due queue not derived again; trying later", "error", err)
		case err == nil && n >= rederiveLimit:
			continue
		}
		sleep(ctx, rederiveEvery)
	}
}

// dueCompare reports how far the due queue is from what the book says (0, unless something is broken), and drops old ticks.
func (w *Worker) dueCompare(ctx context.Context, task *asynq.Task) error {
	tick, err := readTick(task)
	if err != nil {
		return err
	}
	drift, err := w.db.CompareDue(ctx)
	if err != nil {
		return fmt.Errorf("compare due queue: %w", err)
	}
	w.metrics.drift.Set(float64(len(drift)))
	for i, d := range drift {
		if i == 20 {
			w.log.Error("more rows of the due queue differ from the book", "count", len(drift))
			break
		}
		w.log.Error("a row of the due queue differs from the book", "row", d)
	}
	if err := w.db.PruneTicks(ctx, tick.At.Add(-keepTicks)); err != nil {
		return err
	}
	if err := w.db.TickDone(ctx, tick.Job, tick.At); err != nil {
		return fmt.Errorf("finish tick of %s: %w", tick.Job, err)
	}
	return nil
}
