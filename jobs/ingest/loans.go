package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"duebell/internal/money"
	"duebell/store"
)

var loanStatuses = []string{store.LoanActive, "closed", "written_off", "rescheduled", "charged_off", "paused"}

// loan reads a loan's row.
func loan(f *fields, id string) store.Loan {
	l := store.Loan{
		ID:         id,
		BorrowerID: f.id("borrower_id"),
		Product:    f.line("product", true, maxProduct),
		Currency:   f.checked("currency", true, checkCurrency),
		Status:     f.choice("status", loanStatuses...),
	}
	digits, given := f.number("digits", false, 0, money.MaxDigits)
	if !given && l.Currency != "" {
		digits, _ = money.ISODigits(l.Currency)
	}
	l.Digits = digits
	for i, raw := range f.list("parties", maxParties) {
		l.Parties = append(l.Parties, party(object(raw, fmt.Sprintf("%sparties[%d].", f.path, i), f.bad)))
	}
	type seat struct{ user, role string }
	seats := map[seat]bool{}
	for i, p := range l.Parties {
		if s := (seat{p.UserID, p.Role}); p.UserID != "" && p.Role != "" {
			if seats[s] {
				f.wrong(fmt.Sprintf("parties[%d]", i), "names the same person in the same role again")
			}
			seats[s] = true
		}
	}
	return l
}

func party(f *fields) store.Party {
	p := store.Party{
		UserID: f.id("user_id"),
		Role:   f.choice("role", store.RoleCoBorrower, store.RoleGuarantor, store.RoleOfficer),
		Notify: f.words("notify", maxNotify, checkKind),
	}
	f.done()
	return p
}

type loanAnswer struct {
	ID         string        `json:"id"`
	BorrowerID string        `json:"borrower_id"`
	Product    string        `json:"product"`
	Currency   string        `json:"currency"`
	Digits     int           `json:"digits"`
	Status     string        `json:"status"`
	Parties    []store.Party `json:"parties"`
	AsOf       *time.Time    `json:"as_of,omitempty"`
}

func (a *api) putLoan(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	f, err := a.row(r, &bad)
	if err != nil {
		return err
	}
	l := loan(f, pathID(r, f, &bad))
	l.AsOf = a.asOf(r, f, &bad)
	f.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	_, err = a.Store.GetLoan(r.Context(), l.ID)
	isNew := errors.Is(err, store.ErrNotFound)
	if err != nil && !isNew {
		return err
	}
	if err := a.Store.PutLoan(r.Context(), l); err != nil {
		return err
	}
	if l.Parties == nil {
		l.Parties = []store.Party{}
	}
	return write(w, created(isNew), loanAnswer{l.ID, l.BorrowerID, l.Product, l.Currency, l.Digits, l.Status, l.Parties, optionalTime(l.AsOf)})
}

// digits knows how many decimals the amounts of some loans have.
type digits map[string]int

// of is a loan's digits; false if the loan isn't known.
func (d digits) of(loanID string) (int, bool) {
	n, ok := d[loanID]
	return n, ok && n >= 0
}

// load looks up the loans that aren't known yet.
func (d digits) load(ctx context.Context, db *store.DB, loanIDs []string) error {
	var missing []string
	for _, id := range loanIDs {
		if _, known := d[id]; !known && checkID(id) == nil {
			missing = append(missing, id)
			d[id] = -1
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := db.LoanDigits(ctx, missing)
	maps.Copy(d, found)
	return err
}
