package jobs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/policy"
	"duebell/store"
)

// many gives so many people a reminder that is due at 2026-03-07T08:00:00Z.
func (w *world) many(n int) {
	for i := range n {
		id := fmt.Sprintf("m%03d", i)
		w.user(id, "Europe/Prague", "en")
		w.loan("L"+id, id, "EUR", 2)
		w.due("L"+id, "2026-03-10", 10000)
	}
}

// told is how many of them have it.
func (w *world) told(n int) (told int) {
	for i := range n {
		told += len(w.inbox(fmt.Sprintf("m%03d", i)))
	}
	return told
}

// TestLongRunIsSharedByAllWorkers: each settles a part, everybody is told once, and the officer gets one summary of all.
func TestLongRunIsSharedByAllWorkers(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		const n = 60
		w.many(n)
		w.user("olga", "Europe/Prague", "en")
		for i := range n {
			w.loan(fmt.Sprintf("Lm%03d", i), fmt.Sprintf("m%03d", i), "EUR", 2, store.Party{UserID: "olga", Role: store.RoleOfficer, Notify: policy.Kinds()})
		}
		w.scheduler()
		var mu sync.Mutex
		settled := map[int]int{}
		both := make(chan struct{})
		for i := range 2 {
			worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast})
			worker.batch = 2
			worker.settled = func(rows int) {
				mu.Lock()
				settled[i] += rows
				waits := len(settled) == 1 && settled[i] > rows // after its first batch, with which it asked for help
				if len(settled) == 2 && settled[i] == rows {
					close(both)
				}
				mu.Unlock()
				if waits {
					select {
					case <-both:
					case <-time.After(patience):
					}
				}
			}
			w.start(worker.Run)
		}
		w.eventually("both workers are known", func() bool {
			servers, err := asynq.NewInspectorFromRedisClient(w.redis.Client).Servers()
			takers := 0
			for _, s := range servers {
				if _, takes := s.Queues[QueueReminders]; takes {
					takers++
				}
			}
			return err == nil && takers == 2
		})
		w.till("2026-03-07T08:00:00Z")
		if got := w.told(n); got != n {
			t.Errorf("%d told of %d", got, n)
		}
		if len(w.inbox("olga")) != 1 {
			t.Errorf("the officer has %v", w.kinds("olga"))
		}
		mu.Lock()
		defer mu.Unlock()
		if len(settled) != 2 || settled[0]+settled[1] < n {
			t.Errorf("settled by worker: %v", settled)
		}
	})
}

// TestLongRunAsksAgainForHelp: a worker that comes when a run is under way settles a part of it too.
func TestLongRunAsksAgainForHelp(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		const n = 60
		w.many(n)
		w.scheduler()
		var helped atomic.Bool
		begun := make(chan struct{})
		worker := func() *Worker {
			worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast})
			worker.batch, worker.askAgain = 2, 200*time.Millisecond
			return worker
		}
		first, second := worker(), worker()
		batches := 0
		var mu sync.Mutex
		first.settled = func(int) {
			mu.Lock()
			batches++
			if batches == 3 {
				close(begun) // it has asked, and nobody was there
			}
			mu.Unlock()
			if !helped.Load() {
				time.Sleep(200 * time.Millisecond)
			}
		}
		second.settled = func(int) { helped.Store(true) }
		w.start(first.Run)
		w.at("2026-03-07T08:00:00Z")
		<-begun
		w.start(second.Run)
		w.eventually("the run is done", func() bool {
			runs, err := w.db.Runs(t.Context())
			w.do(err)
			told := w.told(n)
			if len(runs) == 1 && (runs[0].Due != n || runs[0].Settled > int64(told)) {
				t.Fatalf("%+v, and %d are told of %d", runs[0], told, n)
			}
			return told == n
		})
		w.settle()
		if !helped.Load() {
			t.Error("one worker settled it all")
		}
	})
}

// TestPausedRunGoesOnWhereItWas: pausing its queue, as the dashboard does, stops a run that is under way after the batch it is
// in; nobody takes it for lost meanwhile, and its row says how far it is.
func TestPausedRunGoesOnWhereItWas(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		const n = 12
		w.many(n)
		w.retry = 3 * time.Second // after which a run that nobody hears of is enqueued again
		inspector := asynq.NewInspectorFromRedisClient(w.redis.Client)
		w.scheduler()
		worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast})
		worker.batch = 3
		var once sync.Once
		worker.settled = func(int) {
			once.Do(func() {
				if err := inspector.PauseQueue(QueueReminders); err != nil {
					t.Error(err)
				}
				time.Sleep(noteEvery + 100*time.Millisecond) // whoever comes next looks at the queue
			})
		}
		w.start(worker.Run)
		w.at("2026-03-07T08:00:00Z")
		w.eventually("its progress stands in its row", func() bool {
			runs, err := w.db.Runs(t.Context())
			return err == nil && len(runs) == 1 && runs[0].Due == n && runs[0].Settled >= 3 && runs[0].Settled < n
		})
		before := w.told(n)
		attempts := counted(t, w.reg, "duebell_ticks_total", "job", policy.JobReminderRun, "event", "enqueued")
		time.Sleep(w.retry + 2*time.Second)
		if got := w.told(n); got != before || got == n {
			t.Errorf("%d told before the pause, %d in it", before, got)
		}
		if now := counted(t, w.reg, "duebell_ticks_total", "job", policy.JobReminderRun, "event", "enqueued"); now != attempts {
			t.Errorf("the run was enqueued %v times more while it was paused", now-attempts)
		}
		w.do(inspector.UnpauseQueue(QueueReminders))
		w.settle()
		if got := w.told(n); got != n {
			t.Errorf("%d told of %d", got, n)
		}
		if runs, err := w.db.Runs(t.Context()); err != nil || len(runs) != 0 {
			t.Errorf("still under way: %v, %v", runs, err)
		}
	})
}

// TestRunWaitsForRowsThatSomebodyHolds, and doesn't leave them to the next tick.
func TestRunWaitsForRowsThatSomebodyHolds(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		if w.db.Dialect() == store.SQLite {
			t.Skip("there is one writer, for whom everybody waits")
		}
		w.many(3)
		w.at("2026-03-07T08:00:00Z")
		worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats})
		holds, release := make(chan struct{}), make(chan struct{})
		var holding sync.WaitGroup
		holding.Go(func() {
			_, err := w.db.RunDue(t.Context(), 2, func(pv store.PolicyVersion, now time.Time, rows []store.DueRow) []store.Outcome {
				close(holds)
				<-release
				return worker.decide(pv, now, rows)
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-holds
		at := w.db.Now()
		if _, err := w.db.AddTick(t.Context(), policy.JobReminderRun, at); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			done <- worker.reminderRun(context.WithoutCancel(t.Context()), NewReminderRun(policy.JobReminderRun, at, 1))
		}()
		w.eventually("what is free is told", func() bool { return w.told(3) == 1 })
		select {
		case err := <-done:
			t.Errorf("the run ended while two reminders were held: %v", err)
		case <-time.After(4 * heldLook):
		}
		close(release)
		holding.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := w.told(3); got != 3 {
			t.Errorf("%d told", got)
		}
	})
}

// TestARunMakesWayForStatusChanges: while they are told it has one batch under way, and all that it may as soon as they aren't.
func TestARunMakesWayForStatusChanges(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		const n = 60
		w.many(n)
		w.scheduler()
		worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, Poll: fast, LazyPoll: fast})
		worker.batch = 2
		worker.urgent.Store(time.Now().Add(time.Hour).UnixNano()) // always just now
		var mu sync.Mutex
		var inside, most, batches int
		two := make(chan struct{})
		worker.settled = func(int) {
			mu.Lock()
			batches++
			inside++
			most = max(most, inside)
			if batches == 8 {
				if most > 1 {
					t.Errorf("%d batches at once while status changes are told", most)
				}
				worker.urgent.Store(0)
			}
			if inside == worker.claimers() && batches > 8 {
				select {
				case <-two:
				default:
					close(two)
				}
			}
			wait := batches > 8
			mu.Unlock()
			if wait {
				select {
				case <-two:
				case <-time.After(patience):
					t.Error("a run has less under way than it may when no status changes are told")
				}
			} else {
				time.Sleep(5 * time.Millisecond)
			}
			mu.Lock()
			inside--
			mu.Unlock()
		}
		w.start(worker.Run)
		w.till("2026-03-07T08:00:00Z")
		if got := w.told(n); got != n {
			t.Errorf("%d told of %d", got, n)
		}
	})
}
