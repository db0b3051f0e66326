package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/clock"
	"duebell/internal/cron"
	"duebell/internal/hops"
	"duebell/internal/policy"
	"duebell/store"
)

// jobCompare checks the due queue against a fresh derivation each night. It is ours, no policy names it.
const jobCompare = "due.compare"

const (
	// watchEvery is how often, in real time, a newly activated policy is looked for.
	watchEvery = 15 * time.Second
	// maxMissed bounds the ticks that an entry with misfire: all makes up for at once; older ones are dropped.
	maxMissed = 1000
	// onTime is how late a tick may be and still not count as missed: a scheduler restarts within that.
	onTime = time.Minute
)

// tickTask is the task of a job's tick; nil for a job that has none.
func tickTask(job string, at time.Time, attempt int) *asynq.Task {
	switch job {
	case policy.JobReminderRun:
		return NewReminderRun(job, at, attempt)
	case policy.JobRetentionRun:
		return newRetentionRun(job, at, attempt)
	case jobCompare:
		return newDueCompare(job, at, attempt)
	}
	return nil
}

// Cron writes a row for each instant of the policy's schedule. The row is what makes an instant happen once, whatever
// number of schedulers there are, however late they come.
type Cron struct {
	db      *store.DB
	clock   clock.Clock
	log     *slog.Logger
	metrics *Metrics
	added   func() // after ticks were committed

	mu      sync.Mutex
	entries []policy.Entry
	next    time.Time // the first instant that has not been dealt with; zero: not known yet
	never   bool      // there is none
}

func newCron(db *store.DB, c clock.Clock, log *slog.Logger, metrics *Metrics, added func()) *Cron {
	return &Cron{db: db, clock: c, log: log, metrics: metrics, added: added}
}

// Next is the first instant after now at which something fires; zero if nothing does or the schedule isn't known yet.
func (c *Cron) Next(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return earliest(c.entries, now)
}

// behind says whether an instant up to now has not been dealt with.
func (c *Cron) behind(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.never && !c.next.After(now)
}

// Run adds ticks until ctx ends.
func (c *Cron) Run(ctx context.Context) error {
	began := c.clock.Now()
	for ctx.Err() == nil {
		next, err := c.pass(ctx, began)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("schedule not advanced; trying again", "error", err)
			}
			sleep(ctx, time.Second)
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, watchEvery)
		if next.IsZero() {
			<-bounded.Done()
		} else {
			_ = c.clock.Wait(bounded, next) // its error is the end of one of the contexts
		}
		cancel()
	}
	return nil
}

// pass adds the ticks up to now and returns the instant of the next one.
func (c *Cron) pass(ctx context.Context, began time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	active, err := c.db.ActivePolicy(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the active policy: %w", err)
	}
	entries := schedule(active.Policy)
	now := c.clock.Now()
	jobs := map[string][]policy.Entry{}
	for _, entry := range entries {
		jobs[entry.Job] = append(jobs[entry.Job], entry)
	}
	total := 0
	for job, entries := range jobs {
		last, err := c.db.LastTick(ctx, job, now)
		if err != nil {
			return time.Time{}, fmt.Errorf("read the last tick of %s: %w", job, err)
		}
		if last.IsZero() { // the first start ever: nothing was missed
			last = began.Add(-time.Microsecond)
		}
		due, late := missed(entries, last, now)
		for _, at := range due {
			added, err := c.db.AddTick(ctx, job, at)
			if err != nil {
				return time.Time{}, fmt.Errorf("add tick of %s: %w", job, err)
			}
			if added {
				total++
				c.metrics.ticks.WithLabelValues(job, "added").Inc()
				c.metrics.hops.Of(hops.Tick).Observe(c.clock.Now().Sub(at).Seconds())
			}
		}
		for _, at := range late {
			skipped, err := c.db.SkipTick(ctx, job, at)
			if err != nil {
				return time.Time{}, fmt.Errorf("skip tick of %s: %w", job, err)
			}
			if skipped {
				c.metrics.ticks.WithLabelValues(job, "skipped").Inc()
			}
		}
	}
	next := earliest(entries, now)
	c.mu.Lock()
	c.entries, c.next, c.never = entries, next, next.IsZero()
	c.mu.Unlock()
	if total > 0 {
		c.added()
	}
	return next, nil
}

// missed lists the ticks of one job after last up to now, oldest first. Due are those to do: of each entry the last one, or
// all, or the last one if it is on time. Late are those that an entry with misfire: skip leaves out.
func missed(entries []policy.Entry, last, now time.Time) (due, late []time.Time) {
	for _, entry := range entries {
		if entry.Misfire == policy.MisfireAll {
			due = append(due, latest(entry.Schedule, last, now)...)
			continue
		}
		at, ok := entry.Schedule.Latest(last, now)
		switch {
		case !ok:
		case entry.Misfire == policy.MisfireSkip && now.Sub(at) > onTime:
			late = append(late, at)
		default:
			due = append(due, at)
		}
	}
	slices.SortFunc(due, time.Time.Compare)
	return slices.CompactFunc(due, time.Time.Equal), late
}

// latest is the last ticks after last up to now, maxMissed at most.
func latest(s cron.Schedule, last, now time.Time) []time.Time {
	ticks := s.Missed(last, now, maxMissed)
	for more := ticks; len(more) == maxMissed; {
		more = s.Missed(more[len(more)-1], now, maxMissed)
		ticks = append(ticks, more...)
		ticks = ticks[max(0, len(ticks)-maxMissed):]
	}
	return ticks
}

// schedule is the policy's and our own, without jobs that have nothing to do. A policy that says how long things are kept and
// not when the others are removed has that done each night.
func schedule(p *policy.Policy) []policy.Entry {
	entries := []policy.Entry{{Job: jobCompare, Misfire: policy.MisfireOnce, Schedule: comparing}}
	prunes := p.Retention != (policy.Retention{})
	for _, entry := range p.Schedule {
		if tickTask(entry.Job, time.Time{}, 0) != nil {
			entries = append(entries, entry)
		}
		prunes = prunes && entry.Job != policy.JobRetentionRun
	}
	if prunes {
		entries = append(entries, policy.Entry{Job: policy.JobRetentionRun, Misfire: policy.MisfireOnce, Schedule: pruning})
	}
	return entries
}

var comparing, pruning = nightly("40 2 * * *"), nightly("20 3 * * *")

func nightly(spec string) cron.Schedule {
	s, err := cron.Parse(spec, "UTC")
	if err != nil {
		panic(err)
	}
	return s
}

// earliest is the first instant after now of any entry; zero if there is none.
func earliest(entries []policy.Entry, now time.Time) time.Time {
	var first time.Time
	for _, entry := range entries {
		if at := entry.Schedule.Next(now); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
