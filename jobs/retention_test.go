package jobs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"duebell/internal/policy"
	"duebell/store"
)

func parsed(t *testing.T, source string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(source), "test policy")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRetentionRuns: each night what is too old leaves the inboxes, and the same is published as for any other change.
func TestRetentionRuns(t *testing.T) {
	everywhere(t, "2026-03-01T00:00:00Z", func(t *testing.T, w *world) {
		w.policy = parsed(t, `
reminders: [{kind: repayment.due_today, at: 0d}]
send_at: "09:00"
schedule: [{job: reminder.run, cron: "0 * * * *"}]
retention: {notifications: 10d, decisions: 20d}
`)
		_, _, err := w.db.ActivatePolicy(t.Context(), w.policy) // before the book is there, so that no loan has to follow
		w.do(err)
		w.ana()
		w.scheduler()
		w.worker()
		w.till("2026-03-10T08:00:00Z") // nine in Prague
		w.want("ana", "due_today")
		id := w.inbox("ana")[0].ID

		published := make(chan store.Change, 100)
		w.db.SetCommitted(func(changes []store.Change) {
			for _, c := range changes {
				published <- c
			}
		})
		w.till("2026-03-20T04:00:00Z") // nine days and 20 hours later
		w.want("ana", "due_today")
		w.till("2026-03-21T04:00:00Z")
		w.want("ana")
		if c := <-published; c.Recipient != "ana" || fmt.Sprint(c.Removed) != fmt.Sprint([]string{id}) || c.Counts != (store.Counts{Rev: 2}) {
			t.Errorf("published %+v", c)
		}
		if n := counted(t, w.reg, "duebell_pruned_total", "what", "notification"); n != 1 {
			t.Errorf("counted %v", n)
		}
		w.till("2026-04-01T04:00:00Z") // the log and the tombstone
		e, err := w.db.Explain(t.Context(), store.ExplainQuery{LoanID: "eur"})
		if err != nil || len(e.Decisions) != 0 {
			t.Errorf("the log still has %+v, %v", e.Decisions, err)
		}
		if n := counted(t, w.reg, "duebell_pruned_total", "what", "decision"); n == 0 {
			t.Error("no decision was counted")
		}
		if n := counted(t, w.reg, "duebell_pruned_total", "what", "tombstone"); n != 1 {
			t.Errorf("counted %v tombstones", n)
		}
	})
}

// TestRetentionSchedule: by the policy's own entry, else each night, and never where everything is kept.
func TestRetentionSchedule(t *testing.T) {
	const start = "2026-03-01T00:00:00Z"
	for _, test := range []struct{ name, source, want string }{
		{"keeps everything", `reminders: []`, ""},
		{"ages only", `retention: {decisions: 30d}`, "2026-03-01T03:20:00Z"},
		{"an entry of its own", "retention: {notifications: 30d}\nschedule: [{job: retention.run, cron: \"0 5 * * *\"}]", "2026-03-01T05:00:00Z"},
		{"the built-in one", policy.Default().Source(), "2026-03-01T03:20:00Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var at []string
			for _, entry := range schedule(parsed(t, test.source)) {
				if entry.Job == policy.JobRetentionRun {
					at = append(at, entry.Schedule.Next(instant(t, start)).UTC().Format(time.RFC3339))
				}
			}
			if got := strings.Join(at, " "); got != test.want {
				t.Errorf("next at %q, want %q", got, test.want)
			}
		})
	}
}

// TestOneRetentionRunAtATime: while one works, the tick that the relay enqueues again leaves it to it, and stays open.
func TestOneRetentionRunAtATime(t *testing.T) {
	everywhere(t, "2026-03-01T00:00:00Z", func(t *testing.T, w *world) {
		worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Metrics: w.stats})
		at := w.clock.Now()
		if _, err := w.db.AddTick(t.Context(), policy.JobRetentionRun, at); err != nil {
			t.Fatal(err)
		}
		pending := func() int {
			n, err := w.db.PendingTicks(t.Context())
			w.do(err)
			return n
		}
		worker.pruning.Lock()
		w.do(worker.retentionRun(t.Context(), newRetentionRun(policy.JobRetentionRun, at, 1)))
		if pending() != 1 {
			t.Error("a run that did nothing finished the tick")
		}
		worker.pruning.Unlock()
		w.do(worker.retentionRun(t.Context(), newRetentionRun(policy.JobRetentionRun, at, 2)))
		if pending() != 0 {
			t.Error("the tick isn't done")
		}
	})
}
