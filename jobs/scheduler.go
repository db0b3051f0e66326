package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"duebell/internal/clock"
	"duebell/internal/policy"
	"duebell/store"
)

// SchedulerOptions of NewScheduler. DB and Redis are required.
type SchedulerOptions struct {
	DB    *store.DB
	Redis redis.UniversalClient // stays the caller's
	Clock clock.Clock           // nil: the real one. The store must have the same.
	// Policy is activated before the first tick, if it isn't already; nil: the active one stays.
	Policy  *policy.Policy
	Log     *slog.Logger
	Metrics *Metrics // nil: nobody looks
}

// Scheduler is what goes in: the relay and the cron. Any number may run at once.
type Scheduler struct {
	Relay *Relay
	Cron  *Cron

	db      *store.DB
	clock   clock.Clock
	policy  *policy.Policy
	queues  *QueueReader
	log     *slog.Logger
	metrics *Metrics
	ready   sync.Once
	begun   chan struct{} // closed when the policy is active
}

// NewScheduler makes a scheduler. Run starts it.
func NewScheduler(opt SchedulerOptions) *Scheduler {
	s := &Scheduler{db: opt.DB, clock: opt.Clock, policy: opt.Policy, queues: NewQueueReader(opt.Redis), log: opt.Log,
		metrics: opt.Metrics, begun: make(chan struct{})}
	if s.clock == nil {
		s.clock = clock.Real()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(nil)
	}
	s.Relay = newRelay(opt.DB, asynq.NewClientFromRedisClient(opt.Redis), s.queues, s.log, s.metrics)
	s.Cron = newCron(opt.DB, s.clock, s.log, s.metrics, s.Relay.Nudge)
	return s
}

// Run works until ctx ends. The database and Redis may be down meanwhile, also at the start.
func (s *Scheduler) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() {
		if s.activate(ctx) {
			_ = s.Cron.Run(ctx)
		}
	})
	work.Go(func() { s.watchOutbox(ctx) })
	err := s.Relay.Run(ctx)
	work.Wait()
	return err
}

// Ready says why nothing goes in yet, or nil.
func (s *Scheduler) Ready(context.Context) error {
	select {
	case <-s.begun:
		return nil
	default:
		return errors.New("the policy is not active yet")
	}
}

// activate makes the policy the active one, as soon as the database lets it. False: ctx has ended.
func (s *Scheduler) activate(ctx context.Context) bool {
	for ctx.Err() == nil {
		err := s.tryActivate(ctx)
		if err == nil {
			s.ready.Do(func() { close(s.begun) })
			return true
		}
		if ctx.Err() == nil {
			s.log.Warn("policy not activated; trying again", "error", err)
		}
		sleep(ctx, time.Second)
	}
	return false
}

func (s *Scheduler) tryActivate(ctx context.Context) error {
	if s.policy == nil {
		_, err := s.db.ActivePolicy(ctx)
		return err
	}
	version, changed, err := s.db.ActivatePolicy(ctx, s.policy)
	if err != nil {
		return fmt.Errorf("activate policy: %w", err)
	}
	if changed {
		s.log.Info("policy activated", "version", version.Version)
	}
	for _, entry := range s.policy.Schedule {
		if tickTask(entry.Job, time.Time{}, 0) == nil {
			s.log.Info("a job of the policy's schedule has nothing to do in this version", "job", entry.Job)
		}
	}
	return nil
}
