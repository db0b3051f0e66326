package demo

import (
	"cmp"
	"slices"
	"sync"

	"duebell/internal/civil"
)

// ledger is what the loan system knows about its loans at the moment.
type ledger struct {
	mu    sync.Mutex
	loans map[string]*account
}

type account struct {
	loan     *loan
	status   string
	schedule []installment
}

// put takes what a step says. Steps come in the order of their loan.
func (g *ledger) put(s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.loans == nil {
		g.loans = map[string]*account{}
	}
	a, ok := g.loans[s.loan.ID]
	if !ok {
		if s.head == nil { // a status of the application before there is a loan
			return
		}
		a = &account{loan: s.loan}
		g.loans[s.loan.ID] = a
	}
	switch {
	case s.head != nil:
		a.status = s.head.Status
	case s.schedule != nil:
		a.schedule = slices.Clone(s.schedule)
	case s.paid > 0:
		a.pay(s.payment.Installment, s.paid)
	}
}

// pay takes an amount off an installment.
func (a *account) pay(number int, amount int64) {
	for i := range a.schedule {
		if in := &a.schedule[i]; in.Number == number {
			in.Outstanding -= min(amount, in.Outstanding)
			in.Paid += amount
		}
	}
}

// debt is an open installment of a borrower's active loan.
type debt struct {
	loan *loan
	installment
	last bool // nothing else of the loan is open
}

// next is what a borrower should pay next: what is due next, from today on, or else what was due last. False if nothing is open.
func (g *ledger) next(borrower string, today civil.Date) (debt, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []debt
	for _, a := range g.loans {
		if a.loan.Borrower.ID != borrower || a.status != active {
			continue
		}
		open := 0
		for _, in := range a.schedule {
			if in.Outstanding > 0 {
				all = append(all, debt{loan: a.loan, installment: in})
				open++
			}
		}
		if open == 1 {
			all[len(all)-1].last = true
		}
	}
	if len(all) == 0 {
		return debt{}, false
	}
	return slices.MinFunc(all, func(a, b debt) int {
		late := func(d debt) int {
			if d.DueDate.Before(today) {
				return 1
			}
			return 0
		}
		order := a.DueDate.Compare(b.DueDate)
		if late(a) == 1 {
			order = -order
		}
		return cmp.Or(cmp.Compare(late(a), late(b)), order, cmp.Compare(a.loan.ID, b.loan.ID), cmp.Compare(a.Number, b.Number))
	}), true
}
