package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/civil"
	"duebell/internal/money"
	"duebell/internal/policy"
	"duebell/jobs/text"
	"duebell/store"
)

// notificationSend tells what the loan system asked for, or what the book itself has to say.
func (w *Worker) notificationSend(ctx context.Context, task *asynq.Task) error {
	ids, err := readKeys(task)
	if err != nil {
		return err
	}
	var failed error
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return errors.Join(failed, err)
		}
		told, err := w.db.TellRequest(ctx, id, planRequest)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("tell %s: %w", id, err))
			continue
		}
		w.metrics.notifications.WithLabelValues(task.Type()).Add(float64(told))
	}
	return failed
}

// planRequest says whom one request is about and makes its notifications.
func planRequest(r store.Request) (store.Telling, error) {
	if strings.HasPrefix(r.ID, store.RescheduledPrefix) {
		return planRescheduled(r)
	}
	var m struct {
		UserIDs []string        `json:"user_ids"`
		Kind    string          `json:"kind"`
		Title   string          `json:"title"`
		Body    string          `json:"body"`
		Data    json.RawMessage `json:"data"`
		URL     string          `json:"url"`
	}
	if err := json.Unmarshal(r.Body, &m); err != nil {
		return store.Telling{}, fmt.Errorf("read request: %w", err)
	}
	return store.Telling{IDs: m.UserIDs, Tell: func(people map[string]store.Person, now time.Time) ([]store.Draft, error) {
		var drafts []store.Draft
		for _, id := range m.UserIDs {
			person := people[id]
			if person.Erased || person.OptedOut[m.Kind] {
				continue
			}
			drafts = append(drafts, store.Draft{Recipient: id, Kind: m.Kind, Title: m.Title, Body: m.Body, Data: m.Data, URL: m.URL,
				Quiet: quiet(person, now)})
		}
		return drafts, nil
	}}, nil
}

// rescheduledData is what a notification of a moved date says for programs.
type rescheduledData struct {
	LoanID          string     `json:"loan_id"`
	PreviousDueDate civil.Date `json:"previous_due_date"`
	DueDate         civil.Date `json:"due_date"`
	Amount          string     `json:"amount"`
	Currency        string     `json:"currency"`
	Installments    []int      `json:"installments"`
}

// planRescheduled tells whoever was reminded of a date that it has moved.
func planRescheduled(r store.Request) (store.Telling, error) {
	var m store.Rescheduled
	if err := json.Unmarshal(r.Body, &m); err != nil {
		return store.Telling{}, fmt.Errorf("read request: %w", err)
	}
	data, err := json.Marshal(rescheduledData{m.LoanID, m.From, m.To, money.Decimal(m.Amount, m.Digits), m.Currency, m.Numbers})
	if err != nil {
		return store.Telling{}, fmt.Errorf("encode data: %w", err)
	}
	ids := append([]string{m.BorrowerID}, m.UserIDs...)
	return store.Telling{IDs: ids, Tell: func(people map[string]store.Person, now time.Time) ([]store.Draft, error) {
		var drafts []store.Draft
		for _, id := range m.UserIDs {
			person := people[id]
			if person.Erased || person.OptedOut[policy.KindRescheduled] {
				continue
			}
			title, body, err := text.Render(policy.KindRescheduled, person.Locale, text.Vars{
				Name: person.Name, Borrower: borrowerName(id, m.BorrowerID, people[m.BorrowerID].Name), Product: m.Product, LoanID: m.LoanID,
				Amount: money.Format(m.Amount, m.Digits, m.Currency, text.Locale(person.Locale)), DueDate: m.To, PreviousDueDate: m.From,
			})
			if err != nil {
				return nil, err
			}
			drafts = append(drafts, store.Draft{Recipient: id, Kind: policy.KindRescheduled, Title: title, Body: body, Data: data,
				URL: link("loans", m.LoanID), Quiet: quiet(person, now)})
		}
		return drafts, nil
	}}, nil
}

// borrowerName is whose loan it is, for somebody who isn't the borrower.
func borrowerName(recipient, borrower, name string) string {
	if recipient == borrower {
		return ""
	}
	return name
}

// link is the path of something on the lender's own site.
func link(kind, id string) string { return "/" + kind + "/" + url.PathEscape(id) }
