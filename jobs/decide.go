package jobs

import (
	"fmt"
	"strconv"
	"time"

	"duebell/internal/civil"
	"duebell/internal/jsontext"
	"duebell/internal/money"
	"duebell/internal/policy"
	"duebell/jobs/text"
	"duebell/store"
)

// reminderData is what a reminder says for programs. Days is the due date minus the recipient's today: the text says the
// same, whatever the rule's offset.
type reminderData struct {
	LoanID       string     `json:"loan_id"`
	DueDate      civil.Date `json:"due_date"`
	Days         int        `json:"days"`
	Amount       string     `json:"amount"`
	Currency     string     `json:"currency"`
	Installments []int      `json:"installments"`
}

// json is the data as encoding/json would have it.
func (d reminderData) json() []byte {
	b := jsontext.AppendString(append(make([]byte, 0, 192), `{"loan_id":`...), d.LoanID)
	b = jsontext.AppendString(append(b, `,"due_date":`...), d.DueDate.String())
	b = strconv.AppendInt(append(b, `,"days":`...), int64(d.Days), 10)
	b = jsontext.AppendString(append(b, `,"amount":`...), d.Amount)
	b = jsontext.AppendString(append(b, `,"currency":`...), d.Currency)
	b = append(b, `,"installments":[`...)
	for i, number := range d.Installments {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(number), 10)
	}
	return append(b, ']', '}')
}

// decide is what becomes of due reminders now: by the policy, and in the recipient's words. It is pure. A row that can't be
// put into words is parked by itself.
func decide(pv store.PolicyVersion, now time.Time, rows []store.DueRow) []store.Outcome {
	outcomes := make([]store.Outcome, len(rows))
	for i := range rows {
		outcomes[i] = decideOne(pv, now, &rows[i])
	}
	return outcomes
}

func decideOne(pv store.PolicyVersion, now time.Time, row *store.DueRow) (out store.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			out = store.Outcome{Err: fmt.Errorf("decide: panic: %v", p)}
		}
	}()
	out.Verdict = pv.Policy.Judge(row.Subject, now)
	if out.Verdict.Send == nil || row.Role == store.RoleOfficer { // an officer's goes into his summary
		return out
	}
	draft, err := reminder(row, *out.Verdict.Send, out.Verdict.Days)
	if err != nil {
		return store.Outcome{Err: err}
	}
	out.Send = &draft
	return out
}

// reminder puts a rule into words for its recipient.
func reminder(row *store.DueRow, rule policy.Rule, days int) (store.Draft, error) {
	loan := &row.Loan
	title, body, err := text.Render(rule.Kind, row.Person.Locale, text.Vars{
		Name: row.Person.Name, Borrower: borrowerName(row.Recipient, loan.BorrowerID, row.Borrower), Product: loan.Product, LoanID: loan.ID,
		Amount: money.Format(row.Open, loan.Digits, loan.Currency, text.Locale(row.Person.Locale)), DueDate: row.DueDate, Days: days,
	})
	if err != nil {
		return store.Draft{}, err
	}
	data := reminderData{loan.ID, row.DueDate, days, money.Decimal(row.Open, loan.Digits), loan.Currency, row.Numbers}
	return store.Draft{Recipient: row.Recipient, Kind: rule.Kind, Title: title, Body: body, Data: data.json(), URL: link("loans", loan.ID)}, nil
}
