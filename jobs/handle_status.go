package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/gather"
	"duebell/internal/policy"
	"duebell/jobs/text"
	"duebell/store"
)

// statusNotify tells all pending status changes of some applications, together with those of the tasks that come meanwhile. One
// that fails doesn't keep the others from being told; those told already aren't told again when the task is retried.
func (w *Worker) statusNotify(ctx context.Context, task *asynq.Task) error {
	keys, err := readKeys(task)
	if err != nil {
		return err
	}
	_, err = w.status.Do(ctx, keys)
	return err
}

// tellTasks tells what some tasks are about.
func (w *Worker) tellTasks(ctx context.Context, tasks [][]string) []gather.Result[struct{}] {
	w.urgent.Store(time.Now().UnixNano())
	told, err := w.db.TellApplications(ctx, slices.Concat(tasks...), tellStatus)
	w.metrics.notifications.WithLabelValues(TypeStatusNotify).Add(float64(told))
	return slices.Repeat([]gather.Result[struct{}]{{Err: err}}, len(tasks))
}

// statusData is what a notification of a status change says for programs.
type statusData struct {
	ApplicationID string    `json:"application_id"`
	From          string    `json:"from"`
	To            string    `json:"to"`
	Reason        string    `json:"reason,omitempty"`
	OccurredAt    time.Time `json:"occurred_at"`
}

// tellStatus makes the notifications of one status change. It is never held: who is in quiet hours gets it without a sound.
func tellStatus(c store.StatusChange, people map[string]store.Person, now time.Time) ([]store.Draft, error) {
	data, err := json.Marshal(statusData{c.ApplicationID, c.From, c.To, c.Reason, c.OccurredAt})
	if err != nil {
		return nil, fmt.Errorf("encode data: %w", err)
	}
	var drafts []store.Draft
	for _, id := range c.Recipients() {
		person := people[id]
		if person.Erased || person.OptedOut[policy.KindStatusChanged] {
			continue
		}
		title, body, err := text.Render(policy.KindStatusChanged, person.Locale, text.Vars{
			Name: person.Name, ApplicationID: c.ApplicationID, From: c.From, To: c.To, Reason: c.Reason,
		})
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, store.Draft{Recipient: id, Kind: policy.KindStatusChanged, Title: title, Body: body, Data: data,
			URL: link("applications", c.ApplicationID), Quiet: quiet(person, now)})
	}
	return drafts, nil
}

// quiet says whether it is in a person's quiet hours now.
func quiet(p store.Person, now time.Time) bool {
	return p.Quiet.Contains(now.In(zone(p)))
}

func zone(p store.Person) *time.Location {
	if p.Zone == nil {
		return time.UTC
	}
	return p.Zone
}
