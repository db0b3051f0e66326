package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"duebell/internal/civil"
	"duebell/internal/money"
	"duebell/internal/problem"
	"duebell/store"
)

// installment reads one dated amount due.
func installment(f *fields, digits int) store.Installment {
	var in store.Installment
	in.Number, _ = f.number("number", true, 1, math.MaxInt32)
	in.DueDate = f.date("due_date")
	in.AmountDue, _ = f.amount("amount_due", true, digits)
	in.AmountPaid, _ = f.amount("amount_paid", true, digits)
	var given bool
	if in.Outstanding, given = f.amount("outstanding", false, digits); !given {
		in.Outstanding = max(0, in.AmountDue-in.AmountPaid)
	}
	return in
}

// schedule notes what is wrong with the installments of one loan taken together. at names the path of an element.
func schedule(list []store.Installment, at func(i int) string, bad *problems) {
	first := map[int]int{}
	var due, open int64
	for i, in := range list {
		if j, twice := first[in.Number]; twice && in.Number > 0 {
			bad.add(at(i)+"number", "%d is there already (%s)", in.Number, at(j)+"number")
		} else {
			first[in.Number] = i
		}
		if in.AmountDue > math.MaxInt64-due || in.Outstanding > math.MaxInt64-open {
			bad.add(at(i)+"amount_due", "makes the sum of the schedule too large")
			return
		}
		due, open = due+in.AmountDue, open+in.Outstanding
	}
}

type scheduleAnswer struct {
	LoanID       string              `json:"loan_id"`
	Installments []installmentAnswer `json:"installments"`
	AsOf         *time.Time          `json:"as_of,omitempty"`
}

type installmentAnswer struct {
	Number      int        `json:"number"`
	DueDate     civil.Date `json:"due_date"`
	AmountDue   string     `json:"amount_due"`
	AmountPaid  string     `json:"amount_paid"`
	Outstanding string     `json:"outstanding"`
}

// putInstallments replaces the whole schedule of a loan. The body is an array, so as_of comes in the header.
func (a *api) putInstallments(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	id := pathID(r, nil, &bad)
	raw, err := a.body(r)
	if err != nil {
		return err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return problem.Unprocessable(problem.FieldError{Message: "must be the array of all installments, not " + kindOf(raw)})
	}
	if len(list) > maxSchedule {
		bad.add("", "has %d installments, and at most %d are allowed", len(list), maxSchedule)
	}
	asOf := a.asOf(r, nil, &bad)
	if err := bad.refuse(); err != nil {
		return err
	}

	l, err := a.Store.GetLoan(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return problem.NotFound("there is no loan with this id: PUT /v1/loans/{id} first")
	} else if err != nil {
		return err
	}
	s := store.Schedule{LoanID: id, AsOf: asOf, Installments: make([]store.Installment, len(list))}
	at := func(i int) string { return fmt.Sprintf("[%d].", i) }
	for i, raw := range list {
		f := object(raw, at(i), &bad)
		if isObject(raw) {
			s.Installments[i] = installment(f, l.Digits)
			f.done()
		}
	}
	schedule(s.Installments, at, &bad)
	if err := bad.refuse(); err != nil {
		return err
	}
	if err := a.Store.PutSchedule(r.Context(), s); err != nil {
		return err
	}
	answer := scheduleAnswer{LoanID: id, AsOf: optionalTime(asOf), Installments: make([]installmentAnswer, len(list))}
	for i, in := range s.Installments {
		answer.Installments[i] = installmentAnswer{in.Number, in.DueDate, money.Decimal(in.AmountDue, l.Digits),
			money.Decimal(in.AmountPaid, l.Digits), money.Decimal(in.Outstanding, l.Digits)}
	}
	return write(w, http.StatusOK, answer)
}
