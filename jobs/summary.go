package jobs

import (
	"encoding/json"
	"fmt"

	"duebell/internal/civil"
	"duebell/internal/money"
	"duebell/internal/policy"
	"duebell/jobs/text"
	"duebell/store"
)

// maxListed is how many reminders a summary lists for programs; it counts all of them.
const maxListed = 50

// summaryData is what an officer's summary says for programs.
type summaryData struct {
	Count   int           `json:"count"`
	Overdue int           `json:"overdue"`
	Loans   int           `json:"loans"`
	Items   []summaryLine `json:"items"` // the first ones
}

type summaryLine struct {
	LoanID   string     `json:"loan_id"`
	Borrower string     `json:"borrower"`
	Kind     string     `json:"kind"`
	DueDate  civil.Date `json:"due_date"`
	Amount   string     `json:"amount"`
	Currency string     `json:"currency"`
}

// summary makes one notification of everything that a run has for an officer.
func summary(officer store.Person, items []store.SummaryItem) (store.Draft, error) {
	data := summaryData{Count: len(items)}
	loans := map[string]bool{}
	for i, item := range items {
		loans[item.LoanID] = true
		if item.Kind == policy.KindOverdue {
			data.Overdue++
		}
		if i < maxListed {
			data.Items = append(data.Items, summaryLine{item.LoanID, item.BorrowerName, item.Kind, item.DueDate,
				money.Decimal(item.Amount, item.Digits), item.Currency})
		}
	}
	data.Loans = len(loans)
	title, body, err := text.Render(policy.KindSummary, officer.Locale, text.Vars{Name: officer.Name, Count: len(items)})
	if err != nil {
		return store.Draft{}, err
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return store.Draft{}, fmt.Errorf("encode data: %w", err)
	}
	return store.Draft{Recipient: officer.ID, Kind: policy.KindSummary, Title: title, Body: body, Data: encoded}, nil
}
