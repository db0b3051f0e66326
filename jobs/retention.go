package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"duebell/store"
)

// retentionRun removes what is older than the active policy keeps it. Each batch is committed and published like any other
// change, so a run that is interrupted has lost nothing.
func (w *Worker) retentionRun(ctx context.Context, task *asynq.Task) error {
	tick, err := readTick(task)
	if err != nil {
		return err
	}
	// A first run over years of rows takes longer than the relay waits before it enqueues the tick again. That would do no
	// harm but fill the places of reminder runs; whichever run ends finishes the tick.
	if !w.pruning.TryLock() {
		return nil
	}
	defer w.pruning.Unlock()
	active, err := w.db.ActivePolicy(ctx)
	if err != nil {
		return fmt.Errorf("read the active policy: %w", err)
	}
	start := time.Now()
	var sum store.Pruned
	err = w.db.Prune(ctx, active.Policy.Retention, func(p store.Pruned) {
		sum.Notifications += p.Notifications
		sum.Tombstones += p.Tombstones
		sum.Decisions += p.Decisions
		sum.Told += p.Told
		for what, n := range map[string]int{"notification": p.Notifications, "tombstone": p.Tombstones, "decision": p.Decisions, "told": p.Told} {
			w.metrics.pruned.WithLabelValues(what).Add(float64(n))
		}
	})
	if sum != (store.Pruned{}) {
		w.log.Info("retention run", "notifications", sum.Notifications, "tombstones", sum.Tombstones, "decisions", sum.Decisions,
			"told", sum.Told, "took", time.Since(start).Round(time.Millisecond))
	}
	if err != nil {
		return err
	}
	if err := w.db.TickDone(ctx, tick.Job, tick.At); err != nil {
		return fmt.Errorf("finish tick of %s: %w", tick.Job, err)
	}
	return nil
}
