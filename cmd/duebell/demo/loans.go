package demo

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/money"
)

// customer is a borrower of the cast as the lender's back office and his own page show him.
type customer struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	TimeZone    string           `json:"time_zone"`
	Locale      string           `json:"locale"`
	Today       civil.Date       `json:"today"` // where he is
	Currency    string           `json:"currency"`
	Outstanding string           `json:"outstanding"` // of loans that are active
	Overdue     string           `json:"overdue"`
	Next        *dueRow          `json:"next"` // what "pay" pays; null if nothing is open
	Loans       []loanView       `json:"loans"`
	Application *applicationView `json:"application"` // the one that the button moves on; null before it was pressed
}

// loanView is a loan that has begun.
type loanView struct {
	ID          string  `json:"id"`
	Product     string  `json:"product"`
	Status      string  `json:"status"`
	Total       string  `json:"total"`
	Paid        string  `json:"paid"`
	Outstanding string  `json:"outstanding"`
	Open        int     `json:"open"` // installments
	Next        *dueRow `json:"next"` // the oldest open one
}

// dueRow is an open installment.
type dueRow struct {
	LoanID  string     `json:"loan_id"`
	Product string     `json:"product"`
	Number  int        `json:"number"`
	DueDate civil.Date `json:"due_date"`
	Amount  string     `json:"amount"` // what is open of it
	Days    int        `json:"days"`   // to its due date; negative: overdue
}

type applicationView struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

func newDueRow(l *loan, in installment, today civil.Date) *dueRow {
	return &dueRow{l.ID, l.Product, in.Number, in.DueDate, money.Decimal(in.Outstanding, digits), in.DueDate.Sub(today)}
}

// loans answers the customers, or with ?user= the one.
func (d *Demo) loans(w http.ResponseWriter, r *http.Request) {
	wanted := cast[:borrowers]
	if r.URL.Query().Has("user") {
		m, err := known(r.URL.Query().Get("user"))
		if err != nil || m.Role != "borrower" {
			answer(w, http.StatusNotFound, map[string]string{"error": "no borrower of the cast has this id"})
			return
		}
		wanted = []member{m}
	}
	now := d.opt.Clock.Now()
	list := make([]customer, len(wanted))
	for i, m := range wanted {
		var err error
		if list[i], err = d.customer(m, now); err != nil {
			answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
	}
	answer(w, http.StatusOK, map[string]any{"now": now, "customers": list})
}

func (d *Demo) customer(m member, now time.Time) (customer, error) {
	zone, err := civil.LoadZone(m.TimeZone)
	if err != nil {
		return customer{}, err
	}
	c := customer{ID: m.ID, Name: m.Name, TimeZone: m.TimeZone, Locale: m.Locale, Today: civil.Of(now.In(zone)), Currency: currency, Loans: []loanView{}}
	var outstanding, overdue int64
	for _, a := range d.ledger.of(m.ID) {
		v, open, late := a.view(c.Today)
		c.Loans = append(c.Loans, v)
		if a.status == active {
			outstanding, overdue = outstanding+open, overdue+late
		}
	}
	c.Outstanding, c.Overdue = money.Decimal(outstanding, digits), money.Decimal(overdue, digits)
	if next, ok := d.ledger.next(m.ID, c.Today); ok {
		c.Next = newDueRow(next.loan, next.installment, c.Today)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, ok := d.applications[m.ID]; ok && a.stage >= 0 {
		c.Application = &applicationView{a.id(m.ID), stages[a.stage]}
	}
	return c, nil
}

// view is the loan with what is open, and what of that is late.
func (a account) view(today civil.Date) (v loanView, open, late int64) {
	v = loanView{ID: a.loan.ID, Product: a.loan.Product, Status: a.status}
	var total, paid int64
	for _, in := range a.schedule {
		total, paid, open = total+in.Due, paid+in.Paid, open+in.Outstanding
		if in.Outstanding == 0 {
			continue
		}
		v.Open++
		if in.DueDate.Before(today) {
			late += in.Outstanding
		}
		if v.Next == nil || in.DueDate.Before(v.Next.DueDate) {
			v.Next = newDueRow(a.loan, in, today)
		}
	}
	v.Total, v.Paid, v.Outstanding = money.Decimal(total, digits), money.Decimal(paid, digits), money.Decimal(open, digits)
	return v, open, late
}

// of is a copy of a borrower's loans: active ones first, and of those what is due first; then by id.
func (g *ledger) of(borrower string) []account {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []account
	for _, a := range g.loans {
		if a.loan.Borrower.ID == borrower {
			list = append(list, account{a.loan, a.status, slices.Clone(a.schedule)})
		}
	}
	slices.SortFunc(list, func(a, b account) int {
		rank := func(a account) int {
			if a.status == active {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.firstOpen().Compare(b.firstOpen()), cmp.Compare(a.loan.ID, b.loan.ID))
	})
	return list
}

// firstOpen is the date of the oldest open installment, or the last of all dates.
func (a account) firstOpen() civil.Date {
	first := civil.Date{Year: 9999, Month: time.December, Day: 31}
	for _, in := range a.schedule {
		if in.Outstanding > 0 && in.DueDate.Before(first) {
			first = in.DueDate
		}
	}
	return first
}
