package ingest

import (
	"net/http"
	"time"

	"duebell/store"
)

// ownPrefix begins the ids of requests that Duebell makes itself.
const ownPrefix = "duebell:"

// statusChange reads one step of an application.
func statusChange(f *fields) store.StatusChange {
	c := store.StatusChange{
		ID:            f.id("id"),
		ApplicationID: f.id("application_id"),
		BorrowerID:    f.id("borrower_id"),
		To:            f.line("to", true, maxStatus),
		OccurredAt:    f.instant("occurred_at", true),
		Reason:        f.block("reason", false, maxReason),
		Notify:        f.words("notify", maxNotify, checkID),
	}
	// A new application comes from nowhere, and systems write that as "".
	if from, given := f.str("from", true); given && from != "" {
		if err := checkText(from, maxStatus, false); err != nil {
			f.wrong("from", "%v", err)
		}
		c.From = from
	}
	c.BodyHash = hash(struct {
		Application, Borrower, From, To, Reason string
		OccurredAt                              time.Time
		Notify                                  []string
	}{c.ApplicationID, c.BorrowerID, c.From, c.To, c.Reason, c.OccurredAt, c.Notify})
	return c
}

type statusChangeAnswer struct {
	ID            string    `json:"id"`
	ApplicationID string    `json:"application_id"`
	BorrowerID    string    `json:"borrower_id"`
	From          string    `json:"from"`
	To            string    `json:"to"`
	Reason        string    `json:"reason,omitempty"`
	OccurredAt    time.Time `json:"occurred_at"`
	Notify        []string  `json:"notify,omitempty"`
}

func (a *api) postStatusChange(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	f, err := a.row(r, &bad)
	if err != nil {
		return err
	}
	c := statusChange(f)
	f.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	added, err := a.changes.Do(r.Context(), c)
	if err != nil {
		return err
	}
	if added.Created {
		a.Claimed(store.Claim{Kind: store.ClaimStatus, Key: c.ApplicationID})
	}
	return write(w, created(added.Created), statusChangeAnswer{c.ID, c.ApplicationID, c.BorrowerID, c.From, c.To, c.Reason, c.OccurredAt, c.Notify})
}
