package store

import (
	"context"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// watched is a live date of a loan and one person who is told about it.
type watched struct {
	subjectKey
	loan    *bookLoan
	live    liveDate
	role    string
	person  *Person
	subject policy.Subject
}

// subject is what policy judges: a due date of a loan as it now is, and a person who is told.
func (l *bookLoan) subject(date civil.Date, open bool, r recipient, p *Person, rec *record, pv PolicyVersion) policy.Subject {
	s := policy.Subject{DueDate: date, Zone: p.Zone, Quiet: p.Quiet, Open: open, Active: l.Status == LoanActive,
		Kinds: r.kinds, OptedOut: p.optedOutAs(r.role, pv), StartDay: civil.Of(l.startedAt.In(p.Zone)), Backfill: l.backfill,
		Since: pv.sinceDays(p.Zone)}
	for kind, since := range p.Overruled {
		if s.Overruled == nil {
			s.Overruled = make(map[string]civil.Date)
		}
		s.Overruled[kind] = civil.Of(since.In(p.Zone))
	}
	if rec != nil {
		s.Sent, s.Recorded = rec.sent, rec.recorded
	}
	return s
}

// watched lists all live dates of a book with everybody who is told about them, by loan, date and role.
func (q queryer) watched(ctx context.Context, b *book) ([]watched, error) {
	var ids []string
	var from []dateKey
	for _, id := range b.ids {
		l := b.loans[id]
		if dates := l.live().dates(); len(dates) > 0 {
			from = append(from, dateKey{id, dates[0]})
		}
		for _, r := range l.recipients() {
			ids = append(ids, r.id)
		}
	}
	records := make(map[subjectKey]*record)
	people, err := q.peopleByID(ctx, ids, unlocked, b.pv, q.readRecords(records, from)...)
	if err != nil {
		return nil, err
	}
	var list []watched
	for _, id := range b.ids {
		l := b.loans[id]
		live := l.live()
		for _, date := range live.dates() {
			for _, r := range l.recipients() {
				person := people[r.id]
				if !person.Known {
					continue
				}
				key := subjectKey{l.ID, date, r.id}
				list = append(list, watched{key, l, live[date], r.role, person,
					l.subject(date, true, r, person, records[key], b.pv)})
			}
		}
	}
	return list, nil
}

// eachLoans hands out all loans there are, some hundreds at a time, each time with a snapshot of its own and its now.
func (db *DB) eachLoans(ctx context.Context, fn func(q queryer, b *book, now time.Time) error) error {
	last := ""
	for {
		var ids []string
		err := db.read(ctx, func(q queryer) error {
			now := db.Now()
			err := q.all(ctx, &ids, `SELECT id FROM loans WHERE id > ? ORDER BY id LIMIT ?`, last, loansATime)
			if err != nil || len(ids) == 0 {
				return err
			}
			b, err := db.readLoans(ctx, q, ids, unlocked)
			if err != nil {
				return err
			}
			return fn(q, b, now)
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		last = ids[len(ids)-1]
	}
}
