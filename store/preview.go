package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// PreviewQuery says whose coming reminders to work out: everybody's, or those of a loan or a person.
type PreviewQuery struct {
	LoanID    string
	Recipient string
	Until     time.Time
	Limit     int // of items; default 1000
}

// PreviewItem is a reminder that goes out with the first run from At on, if the book doesn't change and no cap holds it.
type PreviewItem struct {
	At        time.Time  `json:"at"`
	LoanID    string     `json:"loan_id"`
	DueDate   civil.Date `json:"due_date"`
	Recipient string     `json:"recipient"`
	Role      string     `json:"role"`
	Kind      string     `json:"kind"`
	Offset    int        `json:"offset_days"`
	Days      int        `json:"days"` // due date minus the recipient's day at At
	Amount    int64      `json:"amount"`
	Currency  string     `json:"currency"`
	Digits    int        `json:"digits"`
	TimeZone  string     `json:"time_zone"`
}

// Preview works out the reminders that will go out until query.Until, the earliest first.
func (db *DB) Preview(ctx context.Context, query PreviewQuery) ([]PreviewItem, error) {
	limit := query.Limit
	if limit <= 0 {
		limit = 1000
	}
	var items []PreviewItem
	err := db.read(ctx, func(q queryer) error {
		now := db.Now()
		loans, err := q.previewLoans(ctx, query)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(loans, loansATime) {
			b, err := db.readLoans(ctx, q, chunk, unlocked)
			if err != nil {
				return err
			}
			if b.pv.Version == 0 {
				return nil
			}
			list, err := q.watched(ctx, b)
			if err != nil {
				return err
			}
			for _, w := range list {
				if query.Recipient == "" || query.Recipient == w.recipient {
					items = w.preview(items, b.pv.Policy, now, query.Until)
				}
			}
			if len(items) > 2*limit { // of a large book only the earliest are kept
				items = earliest(items, limit)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	return earliest(items, limit), nil
}

// previewLoans are the loans with anything to look at until then.
func (q queryer) previewLoans(ctx context.Context, query PreviewQuery) ([]string, error) {
	if query.LoanID != "" {
		return []string{query.LoanID}, nil
	}
	var loans []string
	if query.Recipient != "" {
		err := q.all(ctx, &loans, `
			SELECT id FROM loans WHERE borrower_id = ?
			UNION
			SELECT loan_id FROM loan_parties WHERE user_id = ?
			ORDER BY 1`, query.Recipient, query.Recipient)
		return loans, err
	}
	err := q.all(ctx, &loans, `
		SELECT DISTINCT loan_id
		FROM due_reminders
		WHERE next_at <= ? AND parked_at IS NULL
		ORDER BY loan_id`, stamp(query.Until))
	return loans, err
}

// preview plays a subject's time forward.
func (w watched) preview(items []PreviewItem, p *policy.Policy, now, until time.Time) []PreviewItem {
	s := w.subject
	s.Sent = maps.Clone(s.Sent)
	if s.Sent == nil {
		s.Sent = make(map[policy.Rule]bool)
	}
	at, _ := p.Look(s, now)
	if !at.IsZero() && at.Before(now) {
		at = now
	}
	for !at.IsZero() && !at.After(until) {
		v := p.Judge(s, at)
		if v.Send != nil {
			s.Sent[*v.Send] = true
			items = append(items, PreviewItem{At: at, LoanID: w.loan.ID, DueDate: w.date, Recipient: w.recipient, Role: w.role,
				Kind: v.Send.Kind, Offset: v.Send.Offset, Days: v.Days, Amount: w.live.open, Currency: w.loan.Currency,
				Digits: w.loan.Digits, TimeZone: w.person.Zone.String()})
		}
		at = v.Next
	}
	return items
}

func earliest(items []PreviewItem, limit int) []PreviewItem {
	slices.SortStableFunc(items, func(a, b PreviewItem) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.LoanID, b.LoanID), a.DueDate.Compare(b.DueDate),
			cmp.Compare(a.Recipient, b.Recipient))
	})
	return items[:min(limit, len(items))]
}
