package jobs

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"duebell/internal/hops"
	"duebell/internal/policy"
	"duebell/internal/redisconn"
	"duebell/internal/testenv"
	"duebell/store"
)

func sqliteWorld(t *testing.T, start string) *world {
	t.Helper()
	t.Parallel()
	return newWorld(t, testenv.SQLite(t), "embedded", start, policy.Default())
}

// TestRedisIsDown when a status change and a run come. They stay in the database and arrive when it is back.
func TestRedisIsDown(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	w := newWorld(t, testenv.SQLite(t), server.URL, "2026-03-06T12:00:00Z", policy.Default())
	w.ana()
	w.scheduler()
	w.worker()
	server.Kill()
	for i := range 10 {
		w.change(fmt.Sprintf("c%d", i), fmt.Sprintf("A-%d", i), "", "approved")
	}
	w.at("2026-03-07T08:00:00Z")
	w.eventually("a failed attempt", func() bool { return counted(t, w.reg, "duebell_enqueued_total", "result", "failed") > 0 })
	server.Start()
	w.eventually("all arrived", func() bool { return len(w.inbox("ana")) == 11 })
	w.settle()
}

// TestPanickingTaskIsTriedAgain, and doesn't end the worker.
func TestPanickingTaskIsTriedAgain(t *testing.T) {
	w := sqliteWorld(t, "2026-03-06T12:00:00Z")
	w.ana()
	w.scheduler()
	worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast})
	var calls atomic.Int32
	handle := worker.handlers[TypeStatusNotify]
	worker.handlers[TypeStatusNotify] = func(ctx context.Context, task *asynq.Task) error {
		if calls.Add(1) == 1 {
			panic("on purpose")
		}
		return handle(ctx, task)
	}
	w.start(worker.Run)
	w.change("c1", "A-7", "", "approved")
	w.settle()
	w.want("ana", "status_changed")
	if n := counted(t, w.reg, "duebell_tasks_total", "type", TypeStatusNotify, "result", "panic"); n != 1 {
		t.Errorf("%v panics", n)
	}
}

// TestTaskThatCantSucceedIsArchived at once, for somebody to look at.
func TestTaskThatCantSucceedIsArchived(t *testing.T) {
	w := sqliteWorld(t, "2026-03-06T12:00:00Z")
	w.worker()
	client := asynq.NewClientFromRedisClient(w.redis.Client)
	if _, err := client.Enqueue(asynq.NewTask(TypeStatusNotify, []byte("no JSON")), asynq.Queue(QueueStatus)); err != nil {
		t.Fatal(err)
	}
	inspector := asynq.NewInspectorFromRedisClient(w.redis.Client)
	w.eventually("archived", func() bool {
		info, err := inspector.GetQueueInfo(QueueStatus)
		return err == nil && info.Archived == 1
	})
}

// TestWorkerFinishesWhatItHasBegun when it is told to stop.
func TestWorkerFinishesWhatItHasBegun(t *testing.T) {
	w := sqliteWorld(t, "2026-03-06T12:00:00Z")
	w.ana()
	w.scheduler()
	worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast})
	begun, goOn := make(chan struct{}), make(chan struct{})
	handle := worker.handlers[TypeStatusNotify]
	worker.handlers[TypeStatusNotify] = func(ctx context.Context, task *asynq.Task) error {
		close(begun)
		<-goOn
		return handle(ctx, task)
	}
	r := w.start(worker.Run)
	w.change("c1", "A-7", "", "approved")
	<-begun
	r.cancel()
	time.AfterFunc(50*time.Millisecond, func() { close(goOn) })
	r.stop()
	w.want("ana", "status_changed")
}

// TestStuckTaskEndsWithTheShutdownTimeout and is put back.
func TestStuckTaskEndsWithTheShutdownTimeout(t *testing.T) {
	w := sqliteWorld(t, "2026-03-06T12:00:00Z")
	w.ana()
	w.scheduler()
	worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast,
		ShutdownTimeout: 200 * time.Millisecond})
	begun := make(chan struct{})
	worker.handlers[TypeStatusNotify] = func(ctx context.Context, _ *asynq.Task) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	r := w.start(worker.Run)
	w.change("c1", "A-7", "", "approved")
	<-begun
	start := time.Now()
	r.stop()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("stopping took %s", took)
	}
	w.worker()
	w.settle()
	w.want("ana", "status_changed")
}

// TestOneBadRowIsParked and the others of its batch go out.
func TestOneBadRowIsParked(t *testing.T) {
	everywhere(t, "2026-03-07T08:00:00Z", func(t *testing.T, w *world) {
		for i := range 8 {
			id := fmt.Sprintf("b%d", i)
			w.user(id, "Europe/Prague", "en")
			w.loan("l"+id, id, "EUR", 2)
			w.due("l"+id, "2026-03-10", 10000)
		}
		worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats})
		claimed, err := w.db.RunDue(t.Context(), 100, func(pv store.PolicyVersion, now time.Time, rows []store.DueRow) []store.Outcome {
			outcomes := worker.decide(pv, now, rows)
			for i := range rows {
				if rows[i].Recipient == "b3" {
					outcomes[i] = worker.decide(store.PolicyVersion{}, now, rows[i:i+1])[0] // panics inside
				}
			}
			return outcomes
		})
		if err != nil || claimed != 8 {
			t.Fatalf("claimed %d, %v", claimed, err)
		}
		for i := range 8 {
			if n := len(w.inbox(fmt.Sprintf("b%d", i))); n != 1 && i != 3 || n != 0 && i == 3 {
				t.Errorf("b%d has %d", i, n)
			}
		}
		if backlog, err := w.db.Backlog(t.Context()); err != nil || backlog.DueParked != 1 {
			t.Errorf("parked %d, %v", backlog.DueParked, err)
		}
	})
}

// TestBacklog goes into few tasks, and all of it is told.
func TestBacklog(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		const n = 130
		rows := make([]store.StatusChange, n)
		for i := range rows {
			rows[i] = store.StatusChange{ID: fmt.Sprintf("c%d", i), ApplicationID: fmt.Sprintf("A-%d", i), BorrowerID: "ana", To: "approved",
				OccurredAt: w.db.Now(), BodyHash: "x"}
		}
		if rejected, err := w.db.ImportStatusChanges(t.Context(), rows, store.ImportOptions{}); err != nil || len(rejected) > 0 {
			t.Fatal(err, rejected)
		}
		w.scheduler()
		w.worker()
		w.settle()
		if got := counted(t, w.reg, "duebell_notifications_total"); got != n {
			t.Errorf("%v told", got)
		}
		if tasks := counted(t, w.reg, "duebell_enqueued_total", "type", TypeStatusNotify); tasks > n/2 {
			t.Errorf("%v tasks", tasks)
		}
		if counted(t, w.reg, "duebell_hop_seconds", "hop", hops.Enqueue) == 0 {
			t.Error("what polling finds isn't measured")
		}
		heads, err := w.db.List(t.Context(), store.ListQuery{Recipient: "ana", Status: "all", Limit: 1})
		if err != nil || heads.Counts.Unread != n {
			t.Errorf("unread %d, %v", heads.Counts.Unread, err)
		}
	})
}

// TestNightlyCompareFindsNoDrift in a book that is kept right.
func TestNightlyCompareFindsNoDrift(t *testing.T) {
	w := sqliteWorld(t, "2026-03-06T12:00:00Z")
	w.ana()
	w.scheduler()
	w.worker()
	w.till("2026-03-07T03:00:00Z")
	if n := counted(t, w.reg, "duebell_tasks_total", "type", TypeDueCompare, "result", "ok"); n != 1 {
		t.Errorf("%v comparisons", n)
	}
	drift, err := w.db.CompareDue(t.Context())
	if err != nil || len(drift) > 0 {
		t.Errorf("drift %v, %v", drift, err)
	}
}

// TestTaskWithoutALeaseGetsOne, so that Asynq tries it again: a lease that was lost with its worker would leave it for ever.
// Leases of tasks that are worked on stay as they are.
func TestTaskWithoutALeaseGetsOne(t *testing.T) {
	for name, url := range map[string]func() string{"embedded": func() string { return "embedded" }, "redis": func() string { return testenv.Redis(t) }} {
		t.Run(name, func(t *testing.T) {
			conn, err := redisconn.Open(t.Context(), url(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, c := t.Context(), conn.Client
			if err := c.LPush(ctx, queueKey(QueueStatus, "active"), "orphan", "held").Err(); err != nil {
				t.Fatal(err)
			}
			if err := c.ZAdd(ctx, queueKey(QueueStatus, "lease"), redis.Z{Score: 4711, Member: "held"}).Err(); err != nil {
				t.Fatal(err)
			}
			q := NewQueueReader(c)
			for look, want := range []int{1, 0} {
				if n, err := q.adopt(ctx, QueueStatus); err != nil || n != want {
					t.Errorf("look %d: %d, %v", look, n, err)
				}
			}
			leases, err := c.ZRangeWithScores(ctx, queueKey(QueueStatus, "lease"), 0, -1).Result()
			if err != nil || len(leases) != 2 || leases[0].Score != 4711 || leases[1].Member != "orphan" {
				t.Fatalf("%v, %v", leases, err)
			}
			if left := time.Until(time.Unix(int64(leases[1].Score), 0)); left < -time.Minute || left > taskLease {
				t.Errorf("a lease of %s", left)
			}
			if n, err := q.adopt(ctx, QueueReminders); err != nil || n != 0 {
				t.Errorf("an empty queue: %d, %v", n, err)
			}
		})
	}
}
