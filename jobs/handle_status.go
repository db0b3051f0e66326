package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/policy"
	"duebell/jobs/text"
	"duebell/store"
)

// statusNotify tells all pending status changes of some applications. One that fails doesn't keep the others from being
// told; those told already aren't told again when the task is retried.
func (w *Worker) statusNotify(ctx context.Context, task *asynq.Task) error {
	return w.each(ctx, task, func(ctx context.Context, application string) (int, error) {
		return w.db.TellApplication(ctx, application, tellStatus)
	})
}

// each tells everything that a task names.
func (w *Worker) each(ctx context.Context, task *asynq.Task, tell func(ctx context.Context, key string) (int, error)) error {
	keys, err := readKeys(task)
	if err != nil {
		return err
	}
	var failed error
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return errors.Join(failed, err)
		}
		told, err := tell(ctx, key)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("tell %s: %w", key, err))
			continue
		}
		w.metrics.notifications.WithLabelValues(task.Type()).Add(float64(told))
	}
	return failed
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
