package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"

	"duebell/internal/hops"
	"duebell/internal/policy"
	"duebell/store"
)

const (
	// runBatch is how many rows of the due queue one transaction decides.
	runBatch = 500
	// claimers is how many batches a worker has under way for a long run: one waits for the disk while the other works.
	claimers = 3
	// urgentFor is how long a run makes way after status changes were told: it has one batch under way then, and rests after each as
	// long as it took, longestYield at most.
	urgentFor    = 100 * time.Millisecond
	longestYield = 250 * time.Millisecond
	// maxHelpers bounds the tasks by which a long run asks other workers for help. It asks again after askAgain in which nobody did
	// anything: a worker may have come later, or the call was lost.
	maxHelpers = 64
	askAgain   = 10 * time.Second
	// noteEvery is how often a run looks whether its queue was paused, and notes how far it is.
	noteEvery = time.Second
	// heldWait is how long a run waits for rows that somebody else has locked. Whoever holds a lock for longer is frozen, and
	// the database ends it.
	heldWait = time.Minute
	heldLook = 50 * time.Millisecond
	// A worker that gets its own call for help puts it back after passPause, so often at most.
	maxPassed = 50
	passPause = 100 * time.Millisecond
)

// reminderRun decides on every reminder that is due by now. Each batch is committed by itself, so a run that is interrupted
// has lost nothing. A run that finds more than a batch asks all workers to help, each of which claims what no other has.
func (w *Worker) reminderRun(ctx context.Context, task *asynq.Task) error {
	tick, err := readTick(task)
	if err != nil {
		return err
	}
	defer w.runs.Add(-1)
	w.runs.Add(1)
	start := time.Now()
	r := &reminderRun{w: w, tick: tick}
	claimed, err := r.claim(ctx)
	if err != nil {
		return err
	}
	if claimed >= w.batch {
		if err := w.db.BeginProgress(ctx, tick.Job, tick.At, claimed); err != nil {
			return err
		}
		r.long, r.noted, r.alone = true, int64(claimed), time.Now()
		w.askForHelp(ctx, tick)
		err = r.claimAll(ctx, w.claimers())
	} else {
		err = r.claimAll(ctx, 1)
	}
	if err != nil {
		return err
	}
	summaries, err := w.db.FlushSummaries(ctx, summary)
	if err != nil {
		return fmt.Errorf("write summaries: %w", err)
	}
	w.metrics.notifications.WithLabelValues("summary").Add(float64(summaries))
	if err := w.db.TickDone(ctx, tick.Job, tick.At); err != nil {
		return fmt.Errorf("finish tick of %s: %w", tick.Job, err)
	}
	if total := r.total.Load(); total > 0 {
		w.log.Info("reminders run", "looked_at", total, "summaries", summaries, "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// reminderHelp works for another worker's run, until nothing is left of it.
func (w *Worker) reminderHelp(ctx context.Context, task *asynq.Task) error {
	tick, err := readTick(task)
	if err != nil {
		return err
	}
	// Whoever asked for help may be the one who gets its own task, and it does all it can already.
	defer w.runs.Add(-1)
	if w.runs.Add(1) > 1 {
		return w.passOn(ctx, tick)
	}
	start := time.Now()
	r := &reminderRun{w: w, tick: tick, long: true}
	if err := r.claimAll(ctx, w.claimers()); err != nil {
		return err
	}
	if total := r.total.Load(); total > 0 {
		w.log.Info("helped with a run of reminders", "looked_at", total, "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

func (w *Worker) claimers() int {
	if w.db.Dialect() == store.SQLite {
		return 1 // one writer
	}
	return claimers
}

// askForHelp enqueues a task for each other worker that takes reminders. A run that gets no help only takes longer.
func (w *Worker) askForHelp(ctx context.Context, tick tickPayload) {
	servers, err := asynq.NewInspectorFromRedisClient(w.redis).Servers()
	if err != nil {
		w.log.Warn("a long run of reminders finds no other workers", "error", err)
		return
	}
	takers := 0
	for _, s := range servers {
		if _, takes := s.Queues[QueueReminders]; takes {
			takers++
		}
	}
	client := asynq.NewClientFromRedisClient(w.redis)
	parent, _ := asynq.GetTaskID(ctx)
	for n := range min(takers-1, maxHelpers) {
		if _, err := client.EnqueueContext(ctx, newReminderHelp(tick, fmt.Sprintf("%s:help:%d", parent, n))); err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
			w.log.Warn("a long run of reminders gets no help", "error", err)
			return
		}
	}
}

// passOn leaves a call for help to another worker.
func (w *Worker) passOn(ctx context.Context, tick tickPayload) error {
	sleep(ctx, passPause)
	running, err := w.db.TickPending(ctx, tick.Job, tick.At)
	if err != nil || !running || tick.Passed >= maxPassed {
		return err
	}
	tick.Passed++
	id, _ := asynq.GetTaskID(ctx)
	id, _, _ = strings.Cut(id, ":passed:")
	_, err = asynq.NewClientFromRedisClient(w.redis).EnqueueContext(ctx, newReminderHelp(tick, fmt.Sprintf("%s:passed:%d", id, tick.Passed)))
	return err
}

// reminderRun is what one worker does of a run.
type reminderRun struct {
	w     *Worker
	tick  tickPayload
	long  bool // its progress is noted
	total atomic.Int64
	from  store.DueCursor
	ended atomic.Bool // a claim came to the end of the queue

	mu    sync.Mutex
	due   time.Time // for the next note
	noted int64     // of total
	alone time.Time // since when nobody else has done anything; zero: it doesn't ask for help
	help  int64     // what others have done by then
}

// claim settles one batch.
func (r *reminderRun) claim(ctx context.Context) (int, error) {
	if err := r.note(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	n, err := r.w.db.RunDueFrom(ctx, &r.from, r.w.batch, r.w.decide)
	if err != nil {
		return 0, fmt.Errorf("run due reminders: %w", err)
	}
	took := time.Since(start)
	if n > 0 {
		r.w.metrics.hops.Of(hops.Insert).Observe(took.Seconds())
	}
	r.total.Add(int64(n))
	r.w.metrics.claimed.Add(float64(n))
	if r.w.settled != nil && n > 0 {
		r.w.settled(n)
	}
	if n > 0 && r.w.urgentLately() {
		sleep(ctx, min(took, longestYield))
	}
	return n, nil
}

// urgentLately says whether this worker tells status changes at the moment. Their transactions and those of runs share the
// database's processors and disk, and no queue's weight says who comes first there: so a run does less meanwhile.
func (w *Worker) urgentLately() bool { return time.Now().UnixNano()-w.urgent.Load() < int64(urgentFor) }

// claimAll settles batches, some beside each other, until nothing is due: neither here nor in somebody else's hands, who may
// fail with it.
func (r *reminderRun) claimAll(ctx context.Context, beside int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range beside {
		group.Go(func() error {
			var held time.Time
			for {
				for i > 0 && r.w.urgentLately() && ctx.Err() == nil {
					sleep(ctx, urgentFor)
				}
				if i > 0 && r.ended.Load() {
					return nil
				}
				again := r.from.Moved()
				n, err := r.claim(ctx)
				if err != nil {
					return err
				}
				if n == r.w.batch {
					held = time.Time{}
					continue
				}
				// The end of the queue. Before it there is what came in meanwhile and what others have: the first looks after that, since
				// whoever looks there meets all that was settled.
				r.ended.Store(true)
				if i > 0 {
					return nil
				}
				left, err := r.w.db.AnyDue(ctx)
				if err != nil || !left {
					return err
				}
				if n > 0 || again {
					held = time.Time{}
					continue
				}
				switch now := time.Now(); {
				case held.IsZero():
					held = now
				case now.Sub(held) > heldWait:
					r.w.log.Warn("reminders that somebody else has locked are left to the next run", "job", r.tick.Job)
					return nil
				}
				sleep(ctx, heldLook)
			}
		})
	}
	return group.Wait()
}

// note waits while the queue is paused, and tells the tick's row how far a long run has come, so that nobody takes the run for
// lost. It does so once in noteEvery.
func (r *reminderRun) note(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for time.Now().After(r.due) {
		paused, err := r.w.queues.Paused(ctx, QueueReminders)
		if err != nil && ctx.Err() == nil {
			r.w.log.Debug("whether reminders are paused isn't known", "error", err)
		}
		if r.long || paused {
			total := r.total.Load()
			all, err := r.w.db.Progress(ctx, r.tick.Job, r.tick.At, int(total-r.noted))
			if err != nil {
				return err
			}
			r.noted = total
			if !r.alone.IsZero() {
				r.askAgain(ctx, all-total)
			}
		}
		if !paused {
			r.due = time.Now().Add(noteEvery)
			break
		}
		sleep(ctx, noteEvery)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// askAgain asks for help if others have done nothing for a while.
func (r *reminderRun) askAgain(ctx context.Context, others int64) {
	now := time.Now()
	if others == r.help {
		if now.Sub(r.alone) <= r.w.askAgain {
			return
		}
		r.w.askForHelp(ctx, r.tick)
	}
	r.help, r.alone = others, now
}

// decide is the pure decide with what it decided counted. A batch that fails is decided again in halves, so the counts can be
// too high then; the log of decisions is exact.
func (w *Worker) decide(pv store.PolicyVersion, now time.Time, rows []store.DueRow) []store.Outcome {
	outcomes := decide(pv, now, rows)
	type label struct{ outcome, reason string }
	counts := make(map[label]int)
	for i, o := range outcomes {
		if o.Err != nil {
			w.metrics.decisions.WithLabelValues("parked", "error").Inc()
			w.log.Error("reminder parked", "loan", rows[i].LoanID, "due_date", rows[i].DueDate, "recipient", rows[i].Recipient, "error", o.Err)
			continue
		}
		for _, d := range o.Verdict.Decisions {
			reason := d.Reason
			if d.Outcome == policy.Sent {
				reason = "sent"
			}
			counts[label{string(d.Outcome), reason}]++
		}
	}
	for l, n := range counts {
		w.metrics.decisions.WithLabelValues(l.outcome, l.reason).Add(float64(n))
	}
	return outcomes
}
