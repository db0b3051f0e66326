package jobs

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"duebell/store"
)

// words counts those that woke somebody.
type words struct{ atomic.Int64 }

func (w *words) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *words) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *words) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "blpop" && err == nil {
			w.Add(1)
		}
		return err
	}
}

// TestAnIdleWorkerIsWoken: by the relay, for what it enqueues. What nobody says a word about is found as well.
func TestAnIdleWorkerIsWoken(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		heard := new(words)
		w.redis.Client.AddHook(heard)
		w.scheduler()
		w.start(NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: time.Second, LazyPoll: fast}).Run)
		n := 0
		w.eventually("a word of the relay wakes the worker", func() bool {
			n++
			w.change(fmt.Sprintf("c%d", n), fmt.Sprintf("A-%d", n), "pending", "approved")
			w.settle()
			return heard.Load() > 0
		})

		quiet := store.StatusChange{ID: "quiet", ApplicationID: "A-quiet", BorrowerID: "ana", To: "approved", OccurredAt: w.db.Now()}
		w.do(w.db.AddStatusChanges(t.Context(), []store.StatusChange{quiet})[0].Err)
		_, err := asynq.NewClientFromRedisClient(w.redis.Client).Enqueue(NewStatusNotify(claimTaskID(store.ClaimStatus, "A-quiet", 1, time.Now()), []string{"A-quiet"}))
		w.do(err)
		w.settle()
		if got := len(w.inbox("ana")); got != n+1 {
			t.Errorf("%d notifications, want %d", got, n+1)
		}
	})
}
