package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
)

// ExplainQuery says what to explain: a loan, narrowed to a date and a person where they are given, or a notification.
type ExplainQuery struct {
	LoanID         string
	DueDate        civil.Date
	Recipient      string
	NotificationID string
}

// Explanation is why somebody was told something, or wasn't.
type Explanation struct {
	// Key is what a notification that is no reminder was made for, like "status:<change id>:<recipient>".
	Key          string        `json:"key,omitempty"`
	Loan         *Loan         `json:"loan"` // nil if there is none of that id
	Installments []Installment `json:"installments"`
	Due          []DueState    `json:"due"`
	Decisions    []Decision    `json:"decisions"` // in order
}

// DueState is a row of the due queue.
type DueState struct {
	DueDate   civil.Date `json:"due_date"`
	Recipient string     `json:"recipient"`
	Role      string     `json:"role"`
	NextAt    time.Time  `json:"next_at"`
	ParkedAt  *time.Time `json:"parked_at,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// Explain reads what is known about a loan's reminders, in one snapshot. For a notification: its reminder's loan, date and
// recipient, or the Key it was made for; ErrNotFound if it is unknown. A loan without a trace has an empty answer.
func (db *DB) Explain(ctx context.Context, query ExplainQuery) (Explanation, error) {
	e := Explanation{Installments: []Installment{}, Due: []DueState{}, Decisions: []Decision{}}
	err := db.read(ctx, func(q queryer) error {
		if query.NotificationID != "" {
			var err error
			if query, e.Key, err = q.aboutNotification(ctx, query.NotificationID); err != nil || e.Key != "" {
				return err
			}
		}
		b, err := db.readLoans(ctx, q, []string{query.LoanID}, unlocked)
		if err != nil {
			return err
		}
		matches := func(date civil.Date, recipient string) bool {
			return (query.DueDate.IsZero() || date == query.DueDate) && (query.Recipient == "" || recipient == query.Recipient)
		}
		if l := b.loans[query.LoanID]; l != nil {
			e.Loan = &l.Loan
			for _, in := range l.installments {
				if query.DueDate.IsZero() || in.DueDate == query.DueDate {
					e.Installments = append(e.Installments, in)
				}
			}
		}
		due, err := q.dueStates(ctx, query.LoanID)
		if err != nil {
			return err
		}
		e.Due = append(e.Due, slices.DeleteFunc(due, func(d DueState) bool { return !matches(d.DueDate, d.Recipient) })...)
		decisions, err := q.decisions(ctx, `loan_id = ?`, query.LoanID)
		if err != nil {
			return err
		}
		e.Decisions = append(e.Decisions, slices.DeleteFunc(decisions, func(d Decision) bool { return !matches(d.DueDate, d.Recipient) })...)
		return nil
	})
	if err != nil {
		return Explanation{}, fmt.Errorf("explain: %w", err)
	}
	return e, nil
}

const keyOfNotificationQuery = `SELECT key FROM notification_keys WHERE notification_id = ?`

// aboutNotification finds the reminder that a notification is, or else the key that it was made for.
func (q queryer) aboutNotification(ctx context.Context, id string) (query ExplainQuery, key string, err error) {
	err = q.get(ctx, &key, keyOfNotificationQuery, id)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return ExplainQuery{}, key, err
	}
	// The log has no index by notification: it is looked for among the recipient's loans.
	var recipient string
	if err := q.get(ctx, &recipient, `SELECT recipient FROM notifications WHERE id = ?`, id); err != nil {
		return ExplainQuery{}, "", err
	}
	list, err := q.decisions(ctx, `recipient = ? AND notification_id = ? AND loan_id IN (
		SELECT id FROM loans WHERE borrower_id = ?
		UNION
		SELECT loan_id FROM loan_parties WHERE user_id = ?)`, recipient, id, recipient, recipient)
	if err != nil {
		return ExplainQuery{}, "", err
	}
	query.Recipient = recipient
	if len(list) == 0 { // or its decision was pruned before it
		err := q.each(ctx, func(row scanner) error { return row.Scan(&query.LoanID, &query.DueDate) }, `
			SELECT loan_id, due_date
			FROM reminders_sent
			WHERE recipient = ? AND notification_id = ? AND loan_id IN (
				SELECT id FROM loans WHERE borrower_id = ?
				UNION
				SELECT loan_id FROM loan_parties WHERE user_id = ?)`, recipient, id, recipient, recipient)
		if err == nil && query.LoanID == "" {
			err = ErrNotFound
		}
		return query, "", err
	}
	query.LoanID, query.DueDate = list[0].LoanID, list[0].DueDate
	return query, "", nil
}

func (q queryer) dueStates(ctx context.Context, loan string) ([]DueState, error) {
	var list []DueState
	err := q.each(ctx, func(row scanner) error {
		var d DueState
		var nextAt, parkedAt instant
		err := row.Scan(&d.DueDate, &d.Recipient, &d.Role, &nextAt, &parkedAt, &d.Error)
		d.NextAt, d.ParkedAt = nextAt.Time, parkedAt.pointer()
		list = append(list, d)
		return err
	}, `
		SELECT due_date, recipient, role, next_at, parked_at, COALESCE(error, '')
		FROM due_reminders
		WHERE loan_id = ?
		ORDER BY due_date, recipient`, loan)
	if err != nil {
		return nil, fmt.Errorf("read due rows: %w", err)
	}
	return list, nil
}

// decisions reads rows of the log, in order.
func (q queryer) decisions(ctx context.Context, condition string, args ...any) ([]Decision, error) {
	var list []Decision
	err := q.each(ctx, func(row scanner) error {
		var d Decision
		var decidedAt instant
		err := row.Scan(&d.ID, &d.LoanID, &d.DueDate, &d.Recipient, &d.Kind, &d.Offset, &d.Outcome, &d.Reason, &d.Amount,
			&d.Currency, &d.Digits, &d.TimeZone, &d.LocalTime, &d.PolicyVersion, &d.NotificationID, &decidedAt)
		d.DecidedAt = decidedAt.Time
		list = append(list, d)
		return err
	}, `
		SELECT id, loan_id, due_date, recipient, kind, offset_days, outcome, reason, amount, currency, digits, time_zone,
			local_time, policy_version, COALESCE(notification_id, ''), decided_at
		FROM decisions
		WHERE `+condition+`
		ORDER BY id`, args...)
	if err != nil {
		return nil, fmt.Errorf("read decisions: %w", err)
	}
	return list, nil
}
