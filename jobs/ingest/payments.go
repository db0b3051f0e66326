package ingest

import (
	"errors"
	"math"
	"net/http"
	"time"

	"duebell/internal/money"
	"duebell/internal/problem"
	"duebell/store"
)

// payment reads money that arrived. Its loan must be known, since the loan has the digits.
func payment(f *fields, loans digits) store.Payment {
	p := store.Payment{ID: f.id("id"), LoanID: f.id("loan_id"), PaidAt: f.instant("paid_at", true)}
	p.Installment, _ = f.number("installment", false, 1, math.MaxInt32)
	digits, known := loans.of(p.LoanID)
	if !known {
		digits = money.MaxDigits
		if p.LoanID != "" {
			f.wrong("loan_id", "is not a loan that is known: PUT /v1/loans/{id} first")
		}
	}
	amount, given := f.amount("amount", true, digits)
	if given && amount == 0 {
		f.wrong("amount", "must be more than 0")
	}
	p.Amount = amount
	p.BodyHash = hash(struct {
		Loan        string
		Installment int
		Amount      string
		PaidAt      time.Time
	}{p.LoanID, p.Installment, plainDecimal(amount, digits), p.PaidAt})
	return p
}

type paymentAnswer struct {
	ID          string    `json:"id"`
	LoanID      string    `json:"loan_id"`
	Installment int       `json:"installment,omitempty"`
	Amount      string    `json:"amount"`
	PaidAt      time.Time `json:"paid_at"`
}

func (a *api) postPayment(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	f, err := a.row(r, &bad)
	if err != nil {
		return err
	}
	loans := digits{}
	if err := loans.load(r.Context(), a.Store, []string{f.peek("loan_id")}); err != nil {
		return err
	}
	p := payment(f, loans)
	f.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	isNew, err := a.Store.AddPayment(r.Context(), p)
	if err != nil {
		return err
	}
	return write(w, created(isNew), paymentAnswer{p.ID, p.LoanID, p.Installment, money.Decimal(p.Amount, loans[p.LoanID]), p.PaidAt})
}

// reversePayment takes a payment back. Twice is once.
func (a *api) reversePayment(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	id := pathID(r, nil, &bad)
	if r.ContentLength != 0 { // a body isn't needed; one that is there must be an empty object
		f, err := a.row(r, &bad)
		if err != nil {
			return err
		}
		f.done()
	}
	if err := bad.refuse(); err != nil {
		return err
	}
	_, err := a.Store.ReversePayment(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return problem.NotFound("there is no payment with this id")
	} else if err != nil {
		return err
	}
	return write(w, http.StatusOK, struct {
		ID       string `json:"id"`
		Reversed bool   `json:"reversed"`
	}{id, true})
}
