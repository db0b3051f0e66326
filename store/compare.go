package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// Drift is a difference between what is kept and what the book says it should be: a bug, or a hand in the tables.
type Drift struct {
	LoanID    string     `json:"loan_id"`
	DueDate   civil.Date `json:"due_date"`
	Recipient string     `json:"recipient,omitempty"`
	What      string     `json:"what"`
}

// mostDrift is how much of it is reported: more says nothing more.
const mostDrift = 1000

// CompareDue works out afresh what is open, the due queue and which reminders are still true, and answers where what is
// kept differs, up to 1,000 places. It changes nothing. Loans and people that RederiveStale has yet to do are left out.
func (db *DB) CompareDue(ctx context.Context) ([]Drift, error) {
	var drift []Drift
	err := db.eachLoans(ctx, func(q queryer, b *book, now time.Time) error {
		if len(drift) >= mostDrift {
			return nil
		}
		c := &comparison{q: q, book: b, now: now}
		if err := c.run(ctx); err != nil {
			return err
		}
		drift = append(drift, c.drift...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("compare the due queue: %w", err)
	}
	return drift[:min(len(drift), mostDrift)], nil
}

// comparison is the work of CompareDue on some loans.
type comparison struct {
	q     queryer
	book  *book
	now   time.Time
	drift []Drift
}

func (c *comparison) add(key subjectKey, format string, args ...any) {
	c.drift = append(c.drift, Drift{key.loan, key.date, key.recipient, fmt.Sprintf(format, args...)})
}

func (c *comparison) run(ctx context.Context) error {
	if err := c.open(ctx); err != nil {
		return err
	}
	if err := c.queue(ctx); err != nil {
		return err
	}
	return c.resolved(ctx)
}

// open compares what is open of each installment with its payments.
func (c *comparison) open(ctx context.Context) error {
	payments, err := c.q.figurePayments(ctx, c.book.ids)
	if err != nil {
		return err
	}
	for _, id := range c.book.ids {
		l := c.book.loans[id]
		for i, open := range allocate(l.installments, payments[id]) {
			if in := l.installments[i]; in.Open != open {
				c.add(subjectKey{id, in.DueDate, ""}, "installment %d has %d open and should have %d", in.Number, in.Open, open)
			}
		}
	}
	return nil
}

// queue compares the due rows. A row whose time has come may differ: it is looked at with the next run anyway, and time
// alone changes what comes of that. So may one that was held, whose time is when the hold ends.
func (c *comparison) queue(ctx context.Context) error {
	pv := c.book.pv
	if pv.Version == 0 {
		return nil
	}
	rows := make(map[subjectKey]dueRow)
	err := c.q.each(ctx, func(row scanner) error {
		var r dueRow
		var nextAt, parkedAt instant
		err := row.Scan(&r.loan, &r.date, &r.recipient, &r.role, &nextAt, &parkedAt)
		r.nextAt, r.parked = nextAt.Time, !parkedAt.IsZero()
		rows[r.subjectKey] = r
		return err
	}, `
		SELECT loan_id, due_date, recipient, role, next_at, parked_at
		FROM due_reminders
		WHERE `+c.q.in("loan_id"), c.q.list(c.book.ids))
	if err != nil {
		return err
	}
	var behind []string
	err = c.q.all(ctx, &behind, `SELECT id FROM users WHERE derived < changed ORDER BY id`)
	if err != nil {
		return err
	}
	skip := make(map[string]bool, len(behind))
	for _, id := range behind {
		skip[id] = true
	}
	list, err := c.q.watched(ctx, c.book)
	if err != nil {
		return err
	}
	for _, w := range list {
		row, queued := rows[w.subjectKey]
		delete(rows, w.subjectKey)
		if w.loan.policyVersion == pv.Version && !skip[w.recipient] && !row.parked {
			c.row(w, row, queued)
		}
	}
	for key, row := range rows {
		if l := c.book.loans[key.loan]; l.policyVersion == pv.Version && !skip[key.recipient] && !row.parked {
			c.add(key, "is queued for %s, and there is nothing to remind of", row.nextAt.Format(time.RFC3339))
		}
	}
	return nil
}

func (c *comparison) row(w watched, row dueRow, queued bool) {
	next, _ := c.book.pv.Policy.Look(w.subject, c.now)
	next = next.Truncate(time.Microsecond)
	switch {
	case !queued:
		if !next.IsZero() {
			c.add(w.subjectKey, "isn't queued, and should be for %s", next.Format(time.RFC3339))
		}
	case row.role != w.role:
		c.add(w.subjectKey, "is queued as %s, and should be as %s", row.role, w.role)
	case !row.nextAt.After(c.now) || row.nextAt.Equal(next):
	case !next.IsZero() && !next.After(c.now) && c.held(w, row):
	case (next.IsZero() || row.nextAt.Before(next)) && w.recorded(policy.ReasonQuietHours, policy.ReasonCap):
		// It was held, and is over meanwhile: the look when the hold ends finds that.
	default:
		c.add(w.subjectKey, "is queued for %s, and should be for %s", row.nextAt.Format(time.RFC3339), next.Format(time.RFC3339))
	}
}

// held says whether a reminder whose turn it is waits for a later time by rights: the end of quiet hours, or of a day
// that had no room for it.
func (c *comparison) held(w watched, row dueRow) bool {
	v := c.book.pv.Policy.Judge(w.subject, c.now)
	return !v.HeldUntil.IsZero() && row.nextAt.Equal(stamp(v.HeldUntil)) || w.recorded(policy.ReasonCap)
}

// recorded says whether one of the reasons is the last word on any rule.
func (w watched) recorded(reasons ...string) bool {
	for _, reason := range w.subject.Recorded {
		if slices.Contains(reasons, reason) {
			return true
		}
	}
	return false
}

// resolved compares which reminders are marked as no longer true.
func (c *comparison) resolved(ctx context.Context) error {
	compare := func(row scanner) error {
		var key subjectKey
		var resolvedAt instant
		if err := row.Scan(&key.loan, &key.date, &key.recipient, &resolvedAt); err != nil {
			return err
		}
		_, live := c.book.loans[key.loan].live()[key.date]
		switch {
		case live && !resolvedAt.IsZero():
			c.add(key, "a reminder is resolved, and something is open")
		case !live && resolvedAt.IsZero():
			c.add(key, "a reminder isn't resolved, and nothing is open")
		}
		return nil
	}
	for _, sent := range sentSources {
		err := c.q.each(ctx, compare, `
			SELECT s.loan_id, s.due_date, s.recipient, n.resolved_at
			FROM (SELECT * FROM `+sent+` AND `+c.q.in("d.loan_id")+`) AS s JOIN notifications AS n ON n.id = s.notification_id
			WHERE n.deleted_at IS NULL`, c.q.list(c.book.ids))
		if err != nil {
			return err
		}
	}
	return nil
}
