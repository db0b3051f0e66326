package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/policy"
	"duebell/store"
)

// runBatch is how many rows of the due queue one transaction decides.
const runBatch = 500

// reminderRun decides on every reminder that is due by now. It works until a look claims nothing: other runs may work
// beside it, each on other loans. Each batch is committed by itself, so a run that is interrupted has lost nothing.
func (w *Worker) reminderRun(ctx context.Context, task *asynq.Task) error {
	tick, err := readTick(task)
	if err != nil {
		return err
	}
	start, total := time.Now(), 0
	for {
		claimed, err := w.db.RunDue(ctx, w.batch, w.decide)
		if err != nil {
			return fmt.Errorf("run due reminders: %w", err)
		}
		if claimed == 0 {
			break
		}
		total += claimed
		w.metrics.claimed.Add(float64(claimed))
	}
	summaries, err := w.db.FlushSummaries(ctx, summary)
	if err != nil {
		return fmt.Errorf("write summaries: %w", err)
	}
	w.metrics.notifications.WithLabelValues("summary").Add(float64(summaries))
	if err := w.db.TickDone(ctx, tick.Job, tick.At); err != nil {
		return fmt.Errorf("finish tick of %s: %w", tick.Job, err)
	}
	if total > 0 {
		w.log.Info("reminders run", "looked_at", total, "summaries", summaries, "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// decide is the pure decide with what it decided counted. A batch that fails is decided again in halves, so the counts can be
// too high then; the log of decisions is exact.
func (w *Worker) decide(pv store.PolicyVersion, now time.Time, rows []store.DueRow) []store.Outcome {
	outcomes := decide(pv, now, rows)
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
			w.metrics.decisions.WithLabelValues(string(d.Outcome), reason).Inc()
		}
	}
	return outcomes
}
