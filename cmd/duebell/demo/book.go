package demo

import (
	"fmt"
	"slices"
	"strings"

	"duebell/internal/policy"
)

const currency = "EUR"

// loan is a scenario as a loan of the book. It differs from the scenario in this:
//
//   - The loan's id is the scenario's with FIN- before it, its product is named after the feature, and borrower, co-borrower,
//     guarantor and officer are invented, always the same ones.
//   - An installment's number is its name in the book and stays with it (see keepNumbers). In Fineract's tables it is a position.
//   - What has no currency is in euro, as all else is.
//   - Snapshots of one business date are some hours apart, in their order (see snapshotAt in story.go).
//   - The tables don't say what status a loan has. It is active from its first snapshot on; closed from the first one on from which
//     nothing is ever open again; and charged off after the last snapshot of those scenarios in which that happens and isn't undone.
type loan struct {
	scenario
	ID         string
	Borrower   person
	Product    string
	Parties    []party
	ChargedOff bool // after the last snapshot
	index      int  // in the book
}

// party is one of a loan's, as the ingest API wants it.
type party struct {
	UserID string   `json:"user_id"`
	Role   string   `json:"role"`
	Notify []string `json:"notify"`
}

// book is all there is before the story begins.
type book struct {
	people []person // everybody, each once
	loans  []*loan
}

// products by feature file, in words that borrowers would use.
var products = map[string]string{
	"Loan.feature":                   "Shopping loan",
	"LoanAccrualTransaction.feature": "Installment loan",
	"LoanCBR.feature":                "Credit line",
	"LoanCharge.feature":             "Personal loan",
	"LoanChargeOff.feature":          "Consumer loan",
	"LoanChargeback.feature":         "Card loan",
	"LoanDownPayment.feature":        "Down payment plan",
	"LoanReAging.feature":            "Renovation loan",
	"LoanReAmortization.feature":     "Study loan",
	"LoanRepayment.feature":          "Car loan",
	"LoanReschedule.feature":         "Flexible loan",
}

// castEvery is which part of the loans belongs to the cast: enough that each of them hears something every few seconds, and
// few enough to read it.
const castEvery = 21

// newBook makes the loan book of the demo.
func newBook() (*book, error) {
	scenarios, err := readScenarios(fineract)
	if err != nil {
		return nil, fmt.Errorf("the demo's loan book: %w", err)
	}
	b := &book{}
	for _, m := range cast {
		b.people = append(b.people, m.person)
	}
	b.people = append(b.people, officers[1:]...)
	add := func(id string) person {
		p := invented(id, len(b.people))
		b.people = append(b.people, p)
		return p
	}
	for i, s := range scenarios {
		keepNumbers(s.Snapshots)
		product, ok := products[s.Feature]
		if !ok {
			return nil, fmt.Errorf("the demo's loan book: no product for %s of %s", s.Feature, s.ID)
		}
		l := &loan{scenario: s, ID: "FIN-" + s.ID, Product: product, index: i}
		if i%castEvery < borrowers {
			l.Borrower = cast[i%castEvery].person
		} else {
			l.Borrower = add("borrower-" + s.ID)
		}
		switch i % 12 {
		case 5:
			l.Parties = append(l.Parties, party{add("co-borrower-" + s.ID).ID, "co_borrower",
				[]string{policy.KindUpcoming, policy.KindDueToday, policy.KindOverdue, policy.KindRescheduled}})
		case 8:
			l.Parties = append(l.Parties, party{add("guarantor-" + s.ID).ID, "guarantor", []string{policy.KindOverdue}})
		}
		l.Parties = append(l.Parties, party{l.officer(), "officer", []string{policy.KindOverdue}})
		title := strings.ToLower(s.Title)
		l.ChargedOff = s.Feature == "LoanChargeOff.feature" && s.Snapshots[len(s.Snapshots)-1].open() > 0 &&
			!strings.Contains(title, "undo") && !strings.Contains(title, "reverted")
		b.loans = append(b.loans, l)
	}
	return b, nil
}

// officer is who is responsible for the loan.
func (l *loan) officer() string { return officers[l.index%len(officers)].ID }

// closes is the first snapshot from which on nothing is open any more; false if something is at the end.
func (l *loan) closes() (index int, ok bool) {
	index = len(l.Snapshots)
	for index > 0 && l.Snapshots[index-1].open() == 0 {
		index--
	}
	return index, index < len(l.Snapshots)
}

// keepNumbers makes a name of an installment's number. A down payment that is put in between shifts the positions of all that
// follow; if the numbers went with them, every one of those borrowers would be told that his due dates have moved. So as long
// as there are as many as before, each keeps the number of its place. If not, what stands on the same date as before (of
// several, what has the same amount) keeps its number; an installment whose date is gone has moved to a date that is new, in
// their order; and all others are new, with numbers that the loan never had.
func keepNumbers(snapshots []snapshot) {
	last := 0
	for _, in := range snapshots[0].Installments {
		last = max(last, in.Number)
	}
	for i := 1; i < len(snapshots); i++ {
		before, now := snapshots[i-1].Installments, snapshots[i].Installments
		if len(before) == len(now) {
			for j := range now {
				now[j].Number = before[j].Number
			}
			continue
		}
		of := make([]int, len(now)) // 0: not known yet
		gone := slices.Clone(before)
		keep := func(same func(old, new installment) bool) {
			for j, in := range now {
				k := slices.IndexFunc(gone, func(old installment) bool { return of[j] == 0 && same(old, in) })
				if k >= 0 {
					of[j] = gone[k].Number
					gone = slices.Delete(gone, k, k+1)
				}
			}
		}
		keep(func(old, new installment) bool { return old.DueDate == new.DueDate && old.Due == new.Due })
		keep(func(old, new installment) bool { return old.DueDate == new.DueDate })
		keep(func(old, new installment) bool { return !on(now, old) && !on(before, new) })
		for j := range now {
			if of[j] == 0 {
				last++
				of[j] = last
			}
			now[j].Number = of[j]
		}
	}
}

// on says whether a list has something on the date of an installment.
func on(list []installment, in installment) bool {
	return slices.ContainsFunc(list, func(other installment) bool { return other.DueDate == in.DueDate })
}

// paidSince are the payments that make the second schedule of the first: nothing but amounts paid went up, and what is open
// went down by the same. False if something else happened too, or nothing at all.
func paidSince(before, now []installment) (paid []installment, ok bool) {
	if len(before) != len(now) {
		return nil, false
	}
	for _, in := range now {
		i := slices.IndexFunc(before, func(old installment) bool { return old.Number == in.Number })
		if i < 0 {
			return nil, false
		}
		old := before[i]
		amount := in.Paid - old.Paid
		if old.DueDate != in.DueDate || old.Due != in.Due || amount < 0 || old.Outstanding-in.Outstanding != amount {
			return nil, false
		}
		if amount > 0 {
			paid = append(paid, installment{Number: in.Number, DueDate: in.DueDate, Paid: amount})
		}
	}
	return paid, len(paid) > 0
}
