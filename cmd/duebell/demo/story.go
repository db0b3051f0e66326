package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/money"
)

// step is one thing that the loan system says about a loan: exactly one of head, schedule, payment and change is set.
type step struct {
	at       time.Time
	loan     *loan
	head     *loanRow // of the loan, with its status
	schedule []installment
	payment  *paymentRow
	paid     int64 // by the payment, in cents
	change   *changeRow
}

// The rows of the ingest API.
type (
	loanRow struct {
		ID         string     `json:"id,omitempty"`
		BorrowerID string     `json:"borrower_id"`
		Product    string     `json:"product"`
		Currency   string     `json:"currency"`
		Status     string     `json:"status"`
		Parties    []party    `json:"parties,omitempty"`
		AsOf       *time.Time `json:"as_of,omitempty"`
	}
	installmentRow struct {
		LoanID      string     `json:"loan_id,omitempty"`
		Number      int        `json:"number"`
		DueDate     civil.Date `json:"due_date"`
		AmountDue   string     `json:"amount_due"`
		AmountPaid  string     `json:"amount_paid"`
		Outstanding string     `json:"outstanding"`
		AsOf        *time.Time `json:"as_of,omitempty"`
	}
	paymentRow struct {
		ID          string    `json:"id"`
		LoanID      string    `json:"loan_id"`
		Installment int       `json:"installment,omitempty"`
		Amount      string    `json:"amount"`
		PaidAt      time.Time `json:"paid_at"`
	}
	changeRow struct {
		ID            string    `json:"id"`
		ApplicationID string    `json:"application_id"`
		BorrowerID    string    `json:"borrower_id"`
		From          string    `json:"from"`
		To            string    `json:"to"`
		OccurredAt    time.Time `json:"occurred_at"`
		Notify        []string  `json:"notify,omitempty"`
	}
)

// head is the loan's own row.
func (l *loan) head(status string, at time.Time) *loanRow {
	return &loanRow{ID: l.ID, BorrowerID: l.Borrower.ID, Product: l.Product, Currency: currency, Status: status, Parties: l.Parties, AsOf: &at}
}

// rows are a schedule as the ingest API wants it.
func (l *loan) rows(schedule []installment, asOf *time.Time) []installmentRow {
	list := make([]installmentRow, len(schedule))
	for i, in := range schedule {
		list[i] = installmentRow{LoanID: l.ID, Number: in.Number, DueDate: in.DueDate, AmountDue: money.Decimal(in.Due, digits),
			AmountPaid: money.Decimal(in.Paid, digits), Outstanding: money.Decimal(in.Outstanding, digits), AsOf: asOf}
	}
	return list
}

// telling is how a loan's story is told: some days and minutes later than in the scenario, and with something in the ids of what
// happens, so that a book can be played again.
type telling struct {
	days    int
	minutes int
	mark    string
}

// date is a date of the scenario.
func (t telling) date(d civil.Date) civil.Date { return d.AddDays(t.days) }

// schedule is a snapshot's, on the dates of this telling.
func (t telling) schedule(s snapshot) []installment {
	list := slices.Clone(s.Installments)
	for i := range list {
		list[i].DueDate = t.date(list[i].DueDate)
	}
	return list
}

// snapshotAt is when the loan system says what a snapshot says: on its business date at five in the morning UTC, three hours later for
// each one before it on the same date.
func (l *loan) snapshotAt(i int, t telling) time.Time {
	nth := 0
	for i-nth > 0 && l.Snapshots[i-nth-1].Date == l.Snapshots[i].Date {
		nth++
	}
	return t.date(l.Snapshots[i].Date).At(5*60, time.UTC).Add(time.Duration(nth)*3*time.Hour + time.Duration(t.minutes)*time.Minute)
}

// The application behind a loan, before and after.
const (
	submitted  = "submitted"
	approved   = "approved"
	disbursed  = "disbursed"
	closed     = "closed"
	chargedOff = "charged_off"
	active     = "active" // the loan
)

// tell says a step to whoever listens.
func (s step) tell(ctx context.Context, to target) error {
	switch {
	case s.head != nil:
		return to.putLoan(ctx, *s.head)
	case s.schedule != nil:
		return to.putSchedule(ctx, s.loan.ID, s.loan.rows(s.schedule, nil), s.at)
	case s.payment != nil:
		return to.addPayment(ctx, *s.payment)
	default:
		return to.addChange(ctx, *s.change)
	}
}

// steps is a loan's whole story, in order. Its application is submitted and approved before the first snapshot and disbursed with
// it; then each snapshot comes as payments, if nothing else happened since the one before it, or as the new schedule.
func (l *loan) steps(t telling) []step {
	var list []step
	status := ""
	change := func(at time.Time, to string) {
		id := fmt.Sprintf("%s%s-%d-%s", l.ID, t.mark, len(list), to)
		list = append(list, step{at: at, loan: l, change: &changeRow{ID: id, ApplicationID: "A-" + l.scenario.ID, BorrowerID: l.Borrower.ID,
			From: status, To: to, OccurredAt: at, Notify: []string{l.officer()}}})
		status = to
	}
	head := func(at time.Time, status string) {
		list = append(list, step{at: at, loan: l, head: l.head(status, at)})
	}

	begin := l.snapshotAt(0, t)
	change(begin.Add(-75*time.Hour), submitted)
	change(begin.Add(-27*time.Hour), approved)
	head(begin, active)
	closing, closes := l.closes()
	for i, s := range l.Snapshots {
		at := l.snapshotAt(i, t)
		if i == 0 {
			list = append(list, step{at: at, loan: l, schedule: t.schedule(s)})
			change(at, disbursed)
		} else if paid, ok := paidSince(l.Snapshots[i-1].Installments, s.Installments); ok {
			for _, p := range paid {
				id := fmt.Sprintf("%s%s-%d-%d", l.ID, t.mark, s.Number, p.Number)
				list = append(list, step{at: at, loan: l, paid: p.Paid, payment: &paymentRow{ID: id, LoanID: l.ID, Installment: p.Number,
					Amount: money.Decimal(p.Paid, digits), PaidAt: at}})
			}
		} else {
			list = append(list, step{at: at, loan: l, schedule: t.schedule(s)})
		}
		if closes && i == closing {
			head(at.Add(10*time.Minute), closed)
			change(at.Add(10*time.Minute), closed)
		}
	}
	if l.ChargedOff {
		at := l.snapshotAt(len(l.Snapshots)-1, t).Add(time.Hour)
		head(at, chargedOff)
		change(at, chargedOff)
	}
	slices.SortStableFunc(list, func(a, b step) int { return a.at.Compare(b.at) })
	return list
}
