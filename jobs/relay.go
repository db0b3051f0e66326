package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"

	"duebell/internal/hops"
	"duebell/store"
)

const (
	// pollEvery is the truth behind all wake-ups: a lost one costs this much.
	pollEvery = time.Second
	// pollGap keeps a burst of wake-ups from asking the database for each row.
	pollGap = 5 * time.Millisecond
	// retryOutbox and retryTicks are how long something may be enqueued and not done before it is enqueued again. Asynq
	// itself takes 60 to 120 s to find out that a worker was killed.
	retryOutbox = 30 * time.Second
	retryTicks  = 60 * time.Second
	// claimLimit is how many rows one look at the outbox takes.
	claimLimit = 1000
	// enqueuers is how many tasks are given to Redis beside each other: Asynq has no batch for it.
	enqueuers = 16
	// enqueueTimeout is for one batch. Redis that is slower is as good as down.
	enqueueTimeout = 3 * time.Second
	// A task carries up to packFew claims when there are few, since what it costs by itself is most of it. Of more than four such, four
	// are made, which are worked on beside each other, of up to packMax claims.
	packFew = 16
	packMax = 200
	// maxQueued is how many urgent tasks may wait before the relay leaves the rest in the outbox.
	maxQueued = 256
	// maxDirect is how many claims may wait to be enqueued without a look at the outbox.
	maxDirect = 4096
	// lookTimeout is for one look at the database, whose connection may be silent for good.
	lookTimeout = 20 * time.Second
	// mendEvery is how often the queues are looked after.
	mendEvery = 10 * time.Second
)

// Relay moves committed rows (status changes, messages, ticks) into Asynq. Any number may run at once.
type Relay struct {
	db      *store.DB
	client  *asynq.Client
	queues  *QueueReader
	log     *slog.Logger
	metrics *Metrics

	retryOutbox, retryTicks time.Duration

	direct chan store.Claim
	wake   chan struct{}
}

func newRelay(db *store.DB, client *asynq.Client, queues *QueueReader, log *slog.Logger, metrics *Metrics) *Relay {
	return &Relay{db: db, client: client, queues: queues, log: log, metrics: metrics,
		retryOutbox: retryOutbox, retryTicks: retryTicks, direct: make(chan store.Claim, maxDirect), wake: make(chan struct{}, 1)}
}

// Nudge makes the relay look at the outbox now. It never blocks.
func (r *Relay) Nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Claimed enqueues a row that its writer has claimed in the same transaction. It never blocks: when too many wait, because
// Redis is down, the row is found again by its age.
func (r *Relay) Claimed(c store.Claim) {
	select {
	case r.direct <- c:
	default:
		r.metrics.enqueued.WithLabelValues(claimType(c.Kind), "overflow").Inc()
	}
}

// Run works until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { r.runDirect(ctx) })
	work.Go(func() { r.mendQueues(ctx) })
	work.Go(func() {
		if err := r.db.Listen(ctx, r.Nudge); err != nil && ctx.Err() == nil {
			r.log.Warn("no wake-ups from the database; polling goes on", "error", err)
		}
	})
	r.runPoll(ctx)
	work.Wait()
	return nil
}

func (r *Relay) runPoll(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		began := time.Now()
		more, err := r.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := pollEvery
		switch {
		case err != nil:
			failed++
			pause = min(time.Duration(failed)*pollEvery, 5*time.Second)
			r.log.Warn("outbox not relayed; trying again", "error", err, "again_in", pause)
		case more:
			failed = 0
			continue
		default:
			failed = 0
		}
		wake := r.wake
		if err != nil {
			wake = nil // wake-ups don't mend anything
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-wake:
			sleep(ctx, pollGap-time.Since(began))
		}
		timer.Stop()
	}
}

// poll enqueues what is claimed by one look at the ticks and the outbox. More says that the outbox held at least that
// many and the queue has room.
func (r *Relay) poll(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := r.relayTicks(ctx); err != nil {
		return false, err
	}
	room, err := r.room(ctx)
	if err != nil || room == 0 {
		return false, err
	}
	claims, err := r.db.ClaimOutbox(ctx, claimLimit, r.retryOutbox)
	if err != nil {
		return false, fmt.Errorf("claim outbox: %w", err)
	}
	if len(claims) == 0 {
		return false, nil
	}
	return len(claims) == claimLimit, r.enqueue(ctx, claims)
}

// room is how many tasks the urgent queue may still take. Without a limit everything that is enqueued and not done within
// retryOutbox would be enqueued again on top.
func (r *Relay) room(ctx context.Context) (int, error) {
	n, err := r.queues.waiting(ctx, QueueStatus)
	if err != nil {
		return 0, fmt.Errorf("look at queue: %w", err)
	}
	return max(0, maxQueued-n), nil
}

func (r *Relay) relayTicks(ctx context.Context) error {
	ticks, err := r.db.ClaimTicks(ctx, r.retryTicks)
	if err != nil {
		return fmt.Errorf("claim ticks: %w", err)
	}
	for i, tick := range ticks {
		task := tickTask(tick.Job, tick.At, tick.Attempt)
		if task == nil { // a job of an earlier version or policy
			if err := r.db.TickDone(ctx, tick.Job, tick.At); err != nil {
				return fmt.Errorf("drop tick of %s: %w", tick.Job, err)
			}
			continue
		}
		if err := r.give(ctx, task); err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return errors.Join(fmt.Errorf("enqueue %s: %w", task.Type(), err), r.db.UnclaimTicks(back, ticks[i:]))
		}
		r.metrics.ticks.WithLabelValues(tick.Job, "enqueued").Inc()
	}
	return nil
}

// runDirect enqueues what writers have claimed, as many at once as have come meanwhile.
func (r *Relay) runDirect(ctx context.Context) {
	for {
		var claims []store.Claim
		select {
		case <-ctx.Done():
			r.giveBack(ctx, r.gather(nil))
			return
		case first := <-r.direct:
			claims = r.gather([]store.Claim{first})
		}
		if err := r.enqueue(ctx, claims); err != nil {
			r.log.Warn("status changes not enqueued; they stay in the outbox", "error", err, "count", len(claims))
			sleep(ctx, pollEvery)
		}
	}
}

func (r *Relay) gather(claims []store.Claim) []store.Claim {
	for len(claims) < claimLimit {
		select {
		case c := <-r.direct:
			claims = append(claims, c)
		default:
			return claims
		}
	}
	return claims
}

// parcel is a task and the claims that it carries.
type parcel struct {
	task   *asynq.Task
	claims []store.Claim
}

// pack makes tasks of claims: a few, or with a backlog as many as it takes.
func pack(claims []store.Claim, now time.Time) []parcel {
	size := min(max(packFew, (len(claims)+3)/4), packMax)
	var parcels []parcel
	for _, kind := range []string{store.ClaimStatus, store.ClaimRequest} {
		of := slices.DeleteFunc(slices.Clone(claims), func(c store.Claim) bool { return c.Kind != kind })
		for part := range slices.Chunk(of, size) {
			keys := make([]string, len(part))
			for i, c := range part {
				keys[i] = c.Key
			}
			id := claimTaskID(kind, part[0].Key, part[0].Attempt, now)
			task := NewStatusNotify(id, keys)
			if kind == store.ClaimRequest {
				task = NewNotificationSend(id, keys)
			}
			parcels = append(parcels, parcel{task, part})
		}
	}
	return parcels
}

// enqueue gives claims to Redis. What it doesn't take goes back into the outbox.
func (r *Relay) enqueue(ctx context.Context, claims []store.Claim) error {
	bounded, cancel := context.WithTimeout(ctx, enqueueTimeout)
	defer cancel()
	start := time.Now()
	parcels := pack(claims, start)
	done := make([]atomic.Bool, len(parcels))
	group, bounded := errgroup.WithContext(bounded) // the first failure ends the others: Redis is down for all
	group.SetLimit(enqueuers)
	for i, p := range parcels {
		group.Go(func() error {
			if err := bounded.Err(); err != nil {
				return err
			}
			if err := r.give(bounded, p.task); err != nil {
				return err
			}
			done[i].Store(true)
			return nil
		})
	}
	err := group.Wait()
	if err == nil {
		r.metrics.hops.Took(hops.Enqueue, start)
		// Nobody may be told before there is something. Without a word it is found a little later.
		if err := r.queues.wake(ctx, QueueStatus, len(parcels)); err != nil && ctx.Err() == nil {
			r.log.Debug("workers not woken", "error", err)
		}
		return nil
	}
	var failed []store.Claim
	for i, p := range parcels {
		if !done[i].Load() {
			failed = append(failed, p.claims...)
		}
	}
	r.giveBack(ctx, failed)
	return fmt.Errorf("enqueue: %w", err)
}

// giveBack returns claims to the outbox, also when the relay is about to stop. Should that fail too, they are claimed again
// by their age.
func (r *Relay) giveBack(ctx context.Context, claims []store.Claim) {
	if len(claims) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := r.db.UnclaimOutbox(ctx, claims); err != nil {
		r.log.Warn("claims not given back; they are taken again by their age", "error", err, "count", len(claims))
	}
}

// give enqueues one task. One that is there already is as good.
func (r *Relay) give(ctx context.Context, task *asynq.Task) error {
	_, err := r.client.EnqueueContext(ctx, task)
	result := "ok"
	switch {
	case errors.Is(err, asynq.ErrTaskIDConflict):
		result, err = "known", nil
	case err != nil:
		result = "failed"
	}
	r.metrics.enqueued.WithLabelValues(task.Type(), result).Inc()
	return err
}

// mendQueues puts back what Asynq doesn't: the names of the queues, which a flushed Redis forgets and its clients write only
// once, and lost leases.
func (r *Relay) mendQueues(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.queues.announce(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("queues not announced", "error", err)
		}
		for _, queue := range Queues() {
			n, err := r.queues.adopt(ctx, queue)
			switch {
			case err != nil && ctx.Err() == nil:
				r.log.Debug("queue not searched for tasks without a lease", "queue", queue, "error", err)
			case n > 0:
				r.log.Warn("tasks that had lost their lease will be tried again", "queue", queue, "count", n)
			}
		}
		sleep(ctx, mendEvery)
	}
}

func claimType(kind string) string {
	if kind == store.ClaimRequest {
		return TypeNotificationSend
	}
	return TypeStatusNotify
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
