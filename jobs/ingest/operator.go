package ingest

import (
	"net/http"
	"net/url"
	"time"

	"duebell/internal/civil"
	"duebell/store"
)

// revokeSessions refuses every token of a user that was issued before now, and has his open sockets closed.
func (a *api) revokeSessions(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	f, err := a.row(r, &bad)
	if err != nil {
		return err
	}
	id := f.id("user_id")
	f.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	at := time.Now().UTC().Truncate(time.Microsecond) // tokens live in real time, whatever the clock of the book is
	if err := a.Store.Revoke(r.Context(), id, at); err != nil {
		return err
	}
	a.Revoked(r.Context(), id, at)
	return write(w, http.StatusOK, struct {
		UserID    string    `json:"user_id"`
		NotBefore time.Time `json:"not_before"`
	}{id, at})
}

type statusAnswer struct {
	Now time.Time `json:"now"` // of the clock that policy and cron run on
	store.Stats
	Queues any `json:"queues,omitempty"`
}

func (a *api) getStatus(w http.ResponseWriter, r *http.Request) error {
	stats, err := a.Store.Stats(r.Context())
	if err != nil {
		return err
	}
	answer := statusAnswer{Now: a.Store.Now(), Stats: stats}
	if a.Queues != nil {
		if answer.Queues, err = a.Queues(r.Context()); err != nil {
			a.Log.Warn("queues can't be read", "error", err)
			answer.Queues = nil // the database's side is worth having without them
		}
	}
	return write(w, http.StatusOK, answer)
}

// getExplain answers why somebody was told something, or wasn't: ?loan_id=&due_date=&recipient=, or ?notification_id=.
func (a *api) getExplain(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	q := parameters{r.URL.Query(), &bad}
	query := store.ExplainQuery{LoanID: q.id("loan_id"), DueDate: q.date("due_date"), Recipient: q.id("recipient"), NotificationID: q.id("notification_id")}
	if query.LoanID == "" && query.NotificationID == "" && len(bad) == 0 {
		bad.add("loan_id", "is missing: give loan_id or notification_id")
	}
	q.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	explanation, err := a.Store.Explain(r.Context(), query)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, explanation)
}

// maxPreview is how far a preview may look.
const maxPreview = 400 * 24 * time.Hour

// getPreview lists what would go out if the book didn't change: ?loan_id= or ?recipient=, and ?until= or 30 days.
func (a *api) getPreview(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	q := parameters{r.URL.Query(), &bad}
	now := a.Store.Now()
	query := store.PreviewQuery{LoanID: q.id("loan_id"), Recipient: q.id("recipient"), Until: q.instant("until")}
	switch {
	case query.Until.IsZero():
		query.Until = now.Add(30 * 24 * time.Hour)
	case query.Until.Before(now) || query.Until.After(now.Add(maxPreview)):
		bad.add("until", "must be within the next 400 days")
	}
	q.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	items, err := a.Store.Preview(r.Context(), query)
	if err != nil {
		return err
	}
	if items == nil {
		items = []store.PreviewItem{}
	}
	return write(w, http.StatusOK, struct {
		Until time.Time           `json:"until"`
		Items []store.PreviewItem `json:"items"`
	}{query.Until, items})
}

// parameters are those of a query string, taken out like fields.
type parameters struct {
	values url.Values
	bad    *problems
}

func (p parameters) take(name string) string {
	values := p.values[name]
	delete(p.values, name)
	if len(values) > 1 {
		p.bad.add(name, "is given twice")
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (p parameters) id(name string) string {
	s := p.take(name)
	if s != "" {
		if err := checkID(s); err != nil {
			p.bad.add(name, "%v", err)
		}
	}
	return s
}

func (p parameters) date(name string) civil.Date {
	s := p.take(name)
	if s == "" {
		return civil.Date{}
	}
	d, err := civil.Parse(s)
	if err != nil {
		p.bad.add(name, "%v", err)
	}
	return d
}

func (p parameters) instant(name string) time.Time {
	s := p.take(name)
	if s == "" {
		return time.Time{}
	}
	at, err := parseInstant(s)
	if err != nil {
		p.bad.add(name, "%v", err)
	}
	return at
}

func (p parameters) done() {
	for name := range p.values {
		p.bad.add(clip(name, 64), "is not a parameter of this call")
	}
}
