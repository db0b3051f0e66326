package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"duebell/internal/gather"
	"duebell/internal/hops"
	"duebell/store"
)

const (
	// urgentPoll is how long a worker without urgent tasks waits to be woken before it looks by itself: for what was enqueued without a
	// word, as a second try is. lazyPoll is how often it looks for the others, whose wait nobody notices.
	urgentPoll = 100 * time.Millisecond
	lazyPoll   = 100 * time.Millisecond
	// retryPoll is how often tasks whose pause is over are put back. Asynq's pauses are whole seconds.
	retryPoll = time.Second
	maxPause  = 10 * time.Minute
)

// WorkerOptions of NewWorker. DB and Redis are required.
type WorkerOptions struct {
	DB    *store.DB
	Redis redis.UniversalClient // stays the caller's
	Log   *slog.Logger
	// Metrics to count with; nil: nobody looks.
	Metrics *Metrics
	// Concurrency is how many tasks run at once; 0: 16. Reminders take a quarter of that beside the urgent ones, of which more are
	// taken: those of status changes that come meanwhile wait to be told together.
	Concurrency int
	// Poll and LazyPoll are how often an idle worker looks for urgent tasks that nobody has woken it for, and for others; 0: 100 ms.
	Poll, LazyPoll time.Duration
	// ShutdownTimeout is how long running tasks may take to end; 0: 20 s. One that doesn't is put back and runs again.
	ShutdownTimeout time.Duration
}

// Worker does the tasks. Any number may run at once.
type Worker struct {
	db      *store.DB
	redis   redis.UniversalClient
	log     *slog.Logger
	metrics *Metrics
	opt     WorkerOptions

	queues   *QueueReader
	status   *gather.Group[[]string, struct{}] // of applications
	urgent   atomic.Int64                      // when status changes were told last, nanoseconds since 1970
	batch    int                               // rows of the due queue in one transaction
	runs     atomic.Int32                      // of reminders that this worker works for
	askAgain time.Duration                     // how long a run waits for help before it asks again
	settled  func(rows int)                    // tests: after each batch of reminders
	pruning  sync.Mutex
	handlers map[string]func(context.Context, *asynq.Task) error
	running  sync.WaitGroup // of handlers, also of those that Asynq has given up
}

// gatherFrom is how many urgent tasks are taken for each that runs. They cost nothing while they wait.
const gatherFrom = 8

// NewWorker makes a worker. Run starts it.
func NewWorker(opt WorkerOptions) *Worker {
	w := &Worker{db: opt.DB, redis: opt.Redis, log: opt.Log, metrics: opt.Metrics, opt: opt, queues: NewQueueReader(opt.Redis), batch: runBatch, askAgain: askAgain}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.metrics == nil {
		w.metrics = NewMetrics(nil)
	}
	if w.opt.ShutdownTimeout <= 0 {
		w.opt.ShutdownTimeout = 20 * time.Second
	}
	if w.opt.Concurrency <= 0 {
		w.opt.Concurrency = 16
	}
	if w.opt.Poll <= 0 {
		w.opt.Poll = urgentPoll
	}
	if w.opt.LazyPoll <= 0 {
		w.opt.LazyPoll = lazyPoll
	}
	w.status = gather.New(w.tellTasks, gather.Options{AtOnce: min(4, w.opt.Concurrency)})
	w.handlers = map[string]func(context.Context, *asynq.Task) error{
		TypeStatusNotify:     w.statusNotify,
		TypeNotificationSend: w.notificationSend,
		TypeReminderRun:      w.reminderRun,
		TypeReminderHelp:     w.reminderHelp,
		TypeDueCompare:       w.dueCompare,
		TypeRetentionRun:     w.retentionRun,
	}
	return w
}

// Run works until ctx ends and then for the shutdown timeout at most, so that what was begun is finished. It returns an error
// only if it can't start.
func (w *Worker) Run(ctx context.Context) error {
	// Handlers don't end with ctx but with the timeout after it.
	handling, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()

	mux := asynq.NewServeMux()
	mux.Use(w.watch)
	for name, handle := range w.handlers {
		mux.HandleFunc(name, handle)
	}

	urgent := gatherFrom * w.opt.Concurrency
	servers := []*asynq.Server{
		w.server(waitingClient{w.redis, QueueStatus, w.opt.Poll}, handling, afterWait, urgent, map[string]int{QueueStatus: 1}),
		w.server(w.redis, handling, w.opt.LazyPoll, max(2, w.opt.Concurrency/4), map[string]int{QueueReminders: 3, QueueHousekeeping: 1}),
	}
	var work sync.WaitGroup
	stop := func() {
		var stopping sync.WaitGroup
		for _, s := range servers {
			stopping.Go(s.Shutdown)
		}
		stopping.Wait()
		abort()
		work.Wait()
		w.running.Wait()
	}
	for _, s := range servers {
		if err := s.Start(mux); err != nil {
			stop()
			return fmt.Errorf("start worker: %w", err)
		}
	}
	work.Go(func() { w.keepHouse(ctx) })
	<-ctx.Done()
	stop()
	return nil
}

func (w *Worker) server(client redis.UniversalClient, handling context.Context, poll time.Duration, concurrency int, queues map[string]int) *asynq.Server {
	return asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency:              concurrency,
		Queues:                   queues,
		StrictPriority:           len(queues) > 1,
		TaskCheckInterval:        poll,
		DelayedTaskCheckInterval: retryPoll,
		RetryDelayFunc:           retryPause,
		// A task that the shutdown interrupted has not failed.
		IsFailure:       func(err error) bool { return !errors.Is(err, context.Canceled) },
		BaseContext:     func() context.Context { return handling },
		ErrorHandler:    asynq.ErrorHandlerFunc(w.failed),
		Logger:          asynqLog{w.log},
		LogLevel:        asynq.InfoLevel,
		ShutdownTimeout: w.opt.ShutdownTimeout,
	})
}

// retryPause doubles from a second, with jitter, so that what a database outage broke doesn't come back all at once.
func retryPause(n int, _ error, _ *asynq.Task) time.Duration {
	pause := time.Second << min(n, 20)
	pause = min(pause, maxPause)
	return pause + rand.N(pause/2+time.Second)
}

// watch measures each task. A panic is Asynq's to catch, as an error that is tried again.
func (w *Worker) watch(next asynq.Handler) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		w.running.Add(1)
		defer w.running.Done()
		start := time.Now()
		if id, ok := asynq.GetTaskID(ctx); ok && !ticked(task.Type()) {
			if at, ok := claimedAt(id); ok {
				w.metrics.hops.Took(hops.Handle, at)
			}
		}
		result := "panic"
		defer func() {
			w.metrics.tasks.WithLabelValues(task.Type(), result).Inc()
			w.metrics.taskTime.WithLabelValues(task.Type()).Observe(time.Since(start).Seconds())
		}()
		err := next.ProcessTask(ctx, task)
		switch {
		case err == nil:
			if result = "ok"; !ticked(task.Type()) {
				w.metrics.hops.Took(hops.Insert, start)
			}
		case errors.Is(err, asynq.SkipRetry):
			result = "archived"
		default:
			result = "failed"
		}
		return err
	})
}

// failed logs what somebody may have to look at.
func (w *Worker) failed(ctx context.Context, task *asynq.Task, err error) {
	id, _ := asynq.GetTaskID(ctx)
	tried, _ := asynq.GetRetryCount(ctx)
	limit, _ := asynq.GetMaxRetry(ctx)
	log := w.log.With("task", task.Type(), "id", id, "tried", tried+1, "error", err)
	switch {
	case errors.Is(err, context.Canceled):
		log.Info("task interrupted; it runs again")
	case tried >= limit, errors.Is(err, asynq.SkipRetry):
		log.Error("task archived")
	case asynq.IsPanicError(err):
		log.Error("task panicked; it runs again")
	default:
		log.Warn("task failed; it runs again")
	}
}

// asynqLog brings what Asynq says about itself down to its place.
type asynqLog struct{ log *slog.Logger }

func (l asynqLog) say(level slog.Level, args []any) {
	ctx := context.Background()
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "asynq", "message", fmt.Sprint(args...))
	}
}

func (l asynqLog) Debug(args ...any) { l.say(slog.LevelDebug-4, args) }
func (l asynqLog) Info(args ...any)  { l.say(slog.LevelDebug, args) }
func (l asynqLog) Warn(args ...any)  { l.say(slog.LevelWarn, args) }
func (l asynqLog) Error(args ...any) { l.say(slog.LevelWarn, args) }
func (l asynqLog) Fatal(args ...any) { l.say(slog.LevelError, args) } // asynq's own would end the process
