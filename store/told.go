package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// Rescheduled is the body of a request that the book makes itself: a due date that people were reminded of has moved.
// The request's id begins with RescheduledPrefix.
type Rescheduled struct {
	Kind       string     `json:"kind"`     // repayment.rescheduled
	UserIDs    []string   `json:"user_ids"` // who were told of From
	LoanID     string     `json:"loan_id"`
	BorrowerID string     `json:"borrower_id"`
	Product    string     `json:"product"`
	Numbers    []int      `json:"numbers"` // the installments that moved
	From       civil.Date `json:"from"`
	To         civil.Date `json:"to"`
	Amount     int64      `json:"amount"` // open of them, in minor units of Digits
	Currency   string     `json:"currency"`
	Digits     int        `json:"digits"`
}

// RescheduledPrefix begins the ids of requests whose body is a Rescheduled.
const RescheduledPrefix = "duebell:rescheduled:"

// id makes the same move once, however often the schedule says so.
func (r *Rescheduled) id() string {
	return RescheduledPrefix + strings.Join([]string{r.LoanID, strconv.Itoa(r.Numbers[0]), r.From.String(), r.To.String()}, ":")
}

// moves are the due dates that moved under open installments of an active loan, those from one date to another together.
func (l *bookLoan) moves() []*Rescheduled {
	if l.Status != LoanActive {
		return nil
	}
	dates := make(map[int]civil.Date, len(l.stored))
	for _, in := range l.stored {
		dates[in.Number] = in.DueDate
	}
	var list []*Rescheduled
	for _, in := range l.installments {
		was, known := dates[in.Number]
		if !known || was == in.DueDate || in.Open == 0 {
			continue
		}
		i := slices.IndexFunc(list, func(r *Rescheduled) bool { return r.From == was && r.To == in.DueDate })
		if i < 0 {
			i = len(list)
			list = append(list, &Rescheduled{Kind: policy.KindRescheduled, LoanID: l.ID, BorrowerID: l.BorrowerID,
				Product: l.Product, From: was, To: in.DueDate, Currency: l.Currency, Digits: l.Digits})
		}
		list[i].Numbers = append(list[i].Numbers, in.Number)
		list[i].Amount += in.Open
	}
	return list
}

// tell does what a changed book means for those who were reminded: reminders that aren't true any more are resolved
// (and made open again when they are), and whoever was told of a date that moved is told of the new one.
func (d *derivation) tell(ctx context.Context) error {
	spans := make(map[string]span)
	for _, p := range d.parts {
		for _, date := range p.dates {
			if p.toggled(date) {
				spans[p.ID] = spans[p.ID].with(date)
			}
		}
	}
	var moves []*Rescheduled
	for _, id := range d.book.ids {
		for _, m := range d.book.loans[id].moves() {
			moves = append(moves, m)
			spans[id] = spans[id].with(m.From)
		}
	}
	list, err := d.tx.toldOf(ctx, spans)
	if err != nil || len(list) == 0 {
		return err
	}
	d.resolve(list)
	return d.tx.addMoves(ctx, d.book, moves, list)
}

// toggled says whether a date began or ceased to be live.
func (p part) toggled(date civil.Date) bool {
	_, before := p.was[date]
	_, after := p.now[date]
	return before != after
}

// resolve queues the change of the reminders about dates that began or ceased to be live.
func (d *derivation) resolve(list []told) {
	parts := make(map[string]part, len(d.parts))
	for _, p := range d.parts {
		parts[p.ID] = p
	}
	ids := make(map[bool][]string) // by resolved
	recipients := make(map[string]bool)
	for _, t := range list {
		p, ok := parts[t.loan]
		if !ok || !p.toggled(t.date) {
			continue
		}
		_, live := p.now[t.date]
		ids[!live] = append(ids[!live], t.notification)
		recipients[t.recipient] = true
	}
	if len(recipients) == 0 {
		return
	}
	d.tx.atEnd(slices.Collect(maps.Keys(recipients)), func(ctx context.Context) error {
		for _, resolved := range []bool{true, false} {
			if err := d.tx.setResolved(ctx, ids[resolved], resolved); err != nil {
				return err
			}
		}
		return nil
	})
}

// addMoves puts a request into the outbox for each move that somebody has to hear of.
func (tx *Tx) addMoves(ctx context.Context, b *book, moves []*Rescheduled, list []told) error {
	heard := make(map[subjectKey]bool, len(list))
	for _, t := range list {
		heard[t.subjectKey] = true
	}
	var requests []Request
	for _, m := range moves {
		for _, r := range b.loans[m.LoanID].recipients() { // whoever has left the loan isn't told of its new dates
			if heard[subjectKey{m.LoanID, m.From, r.id}] {
				m.UserIDs = append(m.UserIDs, r.id)
			}
		}
		if len(m.UserIDs) == 0 {
			continue
		}
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		requests = append(requests, Request{ID: m.id(), Body: body})
	}
	slices.SortFunc(requests, func(a, b Request) int { return cmp.Compare(a.ID, b.ID) })
	added, err := tx.insertRequests(ctx, requests, false, tx.now)
	if len(added) > 0 {
		tx.wakeOutbox()
	}
	return err
}

// told is a reminder that went into somebody's inbox.
type told struct {
	subjectKey
	notification string
}

// sentSources are the tables that know which reminders went into inboxes. They are read in this order, in which a row goes
// from one to the other.
var sentSources = []string{
	`decisions AS d WHERE d.outcome = 'sent' AND d.notification_id IS NOT NULL`,
	`reminders_sent AS d WHERE d.notification_id IS NOT NULL`,
}

// toldOf reads which reminders went into inboxes about loans, for due dates in their spans.
func (q queryer) toldOf(ctx context.Context, spans map[string]span) ([]told, error) {
	var list []told
	for loans := range slices.Chunk(slices.Sorted(maps.Keys(spans)), tableRows) {
		v, args := q.table("v", col("loan_id", "text", loans),
			col("first", "date", pluck(loans, func(id string) civil.Date { return spans[id].first })),
			col("last", "date", pluck(loans, func(id string) civil.Date { return spans[id].last })))
		for _, sent := range sentSources {
			err := q.each(ctx, func(row scanner) error {
				var t told
				err := row.Scan(&t.loan, &t.date, &t.recipient, &t.notification)
				list = append(list, t)
				return err
			}, `
				SELECT d.loan_id, d.due_date, d.recipient, d.notification_id
				FROM `+v+` CROSS JOIN `+sent+`
					AND d.loan_id = v.loan_id AND d.due_date >= v.first AND d.due_date <= v.last`, args...)
			if err != nil {
				return nil, fmt.Errorf("read what was told: %w", err)
			}
		}
	}
	return list, nil
}

// span is a range of dates, both ends in it.
type span struct{ first, last civil.Date }

// with is the span widened to date; the zero span is empty.
func (s span) with(date civil.Date) span {
	if s.first.IsZero() || date.Before(s.first) {
		s.first = date
	}
	if date.After(s.last) {
		s.last = date
	}
	return s
}
