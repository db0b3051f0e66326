package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// world is a database with a clock that the test sets, and a few hands to work its book with.
type world struct {
	*DB
	t         testing.TB
	committed *committed

	mu  sync.Mutex
	now time.Time
}

const testPolicy = `
reminders:
  - {kind: repayment.upcoming, at: [-7d, -3d, -1d]}
  - {kind: repayment.due_today, at: 0d}
  - {kind: repayment.overdue, at: [1d, 7d, 30d]}
send_at: "09:00"
max_late: 2d
quiet_hours: {from: "21:00", to: "08:00"}
`

// setup is a world at an instant, with testPolicy in force.
func setup(t testing.TB, url, now string) *world {
	t.Helper()
	w := &world{t: t, committed: &committed{}}
	w.set(now)
	db, err := Open(t.Context(), url, Options{Committed: w.committed.add, MaxConns: 16, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w.DB = db
	w.ok(db.Migrate(t.Context()))
	w.activate(testPolicy)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// set moves the clock.
func (w *world) set(now string) {
	w.t.Helper()
	w.setTime(instantOf(w.t, now))
}

func (w *world) setTime(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

func instantOf(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) activate(text string) PolicyVersion {
	w.t.Helper()
	p, err := policy.Parse([]byte(text), "test policy")
	w.ok(err)
	pv, _, err := w.ActivatePolicy(w.t.Context(), p)
	w.ok(err)
	for {
		n, err := w.RederiveStale(w.t.Context(), 100)
		w.ok(err)
		if n == 0 {
			return pv
		}
	}
}

// user creates people in UTC.
func (w *world) user(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.ok(w.PutUser(w.t.Context(), User{ID: id, Name: "Name of " + id, TimeZone: "UTC", Locale: "en"}))
	}
}

// loan creates an active loan in euros.
func (w *world) loan(id, borrower string, parties ...Party) {
	w.t.Helper()
	w.ok(w.PutLoan(w.t.Context(), Loan{ID: id, BorrowerID: borrower, Product: "Car", Currency: "EUR", Digits: 2,
		Status: LoanActive, Parties: parties}))
}

func (w *world) status(id, status string) {
	w.t.Helper()
	l, err := w.GetLoan(w.t.Context(), id)
	w.ok(err)
	l.Status = status
	w.ok(w.PutLoan(w.t.Context(), l))
}

// schedule replaces a loan's installments, without an as_of.
func (w *world) schedule(loan string, installments ...Installment) {
	w.t.Helper()
	w.ok(w.PutSchedule(w.t.Context(), Schedule{LoanID: loan, Installments: installments}))
}

// owes is an installment on which nothing was paid.
func owes(number int, date string, amount int64) Installment {
	return Installment{Number: number, DueDate: civil.MustParse(date), AmountDue: amount, Outstanding: amount}
}

func (w *world) pay(id, loan string, amount int64) {
	w.t.Helper()
	created, err := w.AddPayment(w.t.Context(), Payment{ID: id, LoanID: loan, Amount: amount, PaidAt: w.clock(), BodyHash: id})
	w.ok(err)
	if !created {
		w.t.Fatalf("payment %s isn't new", id)
	}
}

// open is what is open of a loan's installments, by number.
func (w *world) open(loan string) []int64 {
	w.t.Helper()
	b, err := w.readLoans(w.t.Context(), w.query(), []string{loan}, unlocked)
	w.ok(err)
	return pluck(b.loans[loan].installments, func(in Installment) int64 { return in.Open })
}

// judge is a decide function as the programs have it, with the texts that tests look at.
func judge(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
	outcomes := make([]Outcome, len(rows))
	for i, row := range rows {
		v := pv.Policy.Judge(row.Subject, now)
		outcomes[i].Verdict = v
		if v.Send != nil {
			outcomes[i].Send = &Draft{Recipient: row.Recipient, Kind: v.Send.Kind,
				Title: fmt.Sprintf("%s %s %d in %dd", row.LoanID, row.DueDate, row.Open, v.Days), Body: "…"}
		}
	}
	return outcomes
}

// run does what a reminder.run does.
func (w *world) run() {
	w.t.Helper()
	w.ok(w.runAll(w.t.Context()))
}

func (w *world) runAll(ctx context.Context) error {
	for {
		n, err := w.RunDue(ctx, 100, judge)
		if err != nil {
			return err
		}
		if n == 0 {
			_, err := w.FlushSummaries(ctx, func(officer Person, items []SummaryItem) (Draft, error) {
				d := Draft{Recipient: officer.ID, Kind: policy.KindSummary, Body: "…"}
				for _, i := range items {
					d.Title += fmt.Sprintf("[%s of %s %s %d]", i.LoanID, i.BorrowerName, i.DueDate, i.Amount)
				}
				return d, nil
			})
			return err
		}
	}
}

// told are the titles in somebody's inbox, oldest first, with ✓ on those that are resolved.
func (w *world) told(recipient string) []string {
	w.t.Helper()
	page, err := w.Changes(w.t.Context(), recipient, 0, "", 1000)
	w.ok(err)
	titles := make([]string, len(page.Items))
	byCreation := make(map[int64]string)
	var revs []int64
	for _, n := range page.Items {
		title := n.Title
		if n.ResolvedAt != nil {
			title += " ✓"
		}
		byCreation[n.CreatedRev] = title
		revs = append(revs, n.CreatedRev)
	}
	slices.Sort(revs)
	for i, rev := range revs {
		titles[i] = byCreation[rev]
	}
	return titles
}

// decided is the log of a loan as "recipient kind offset outcome reason".
func (w *world) decided(loan string) []string {
	w.t.Helper()
	e, err := w.Explain(w.t.Context(), ExplainQuery{LoanID: loan})
	w.ok(err)
	return pluck(e.Decisions, func(d Decision) string {
		text := fmt.Sprintf("%s %s %s %s", d.Recipient, d.DueDate, policy.Rule{Kind: d.Kind, Offset: d.Offset}, d.Outcome)
		if d.Reason != "" {
			text += " " + d.Reason
		}
		return text
	})
}

// queued is the due queue of a loan as "recipient date at".
func (w *world) queued(loan string) []string {
	w.t.Helper()
	e, err := w.Explain(w.t.Context(), ExplainQuery{LoanID: loan})
	w.ok(err)
	return pluck(e.Due, func(d DueState) string {
		return fmt.Sprintf("%s %s %s", d.Recipient, d.DueDate, d.NextAt.Format(time.RFC3339))
	})
}

// noDrift checks that a fresh derivation finds what is kept, of all loans or of those.
func (w *world) noDrift(loans ...string) {
	w.t.Helper()
	drift, err := w.CompareDue(w.t.Context())
	w.ok(err)
	for _, d := range drift {
		if len(loans) == 0 || slices.Contains(loans, d.LoanID) {
			w.t.Errorf("drift: %+v", d)
		}
	}
}

// fieldOf is the field that an error blames.
func fieldOf(err error) string {
	if field, ok := errors.AsType[*FieldError](err); ok {
		return field.Field
	}
	return fmt.Sprint("not a field error: ", err)
}
