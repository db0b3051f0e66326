package main

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// subject is what a reminder is about.
type subject struct{ loan, day, recipient string }

// loans: no reminder was sent twice, too early, at night, or for what was paid, closed or moved before; each that had to be
// was; and those in inboxes say whether they are still true.
func (c *checker) loans() {
	sent := map[subject][]decision{}
	for _, d := range c.rows.sent {
		s := subject{d.loan, d.day, d.recipient}
		sent[s] = append(sent[s], d)
	}
	reminders, moves, summed := map[subject][]*record{}, map[subject][]*record{}, map[string]int{}
	for _, n := range c.rows.notifications {
		switch {
		case n.kind == "repayment.summary":
			summed[n.recipient] += n.data.Count
		case n.kind == "repayment.rescheduled" && !n.deleted:
			s := subject{n.data.LoanID, n.data.From, n.recipient}
			moves[s] = append(moves[s], n)
		case strings.HasPrefix(n.kind, "repayment.") && !n.deleted:
			s := subject{n.data.LoanID, n.data.DueDate, n.recipient}
			reminders[s] = append(reminders[s], n)
		}
	}
	known := map[string]*loan{}
	for _, l := range c.ledger.loans {
		known[l.id] = l
		c.book(l)
		for i, d := range l.dates {
			told := false // somebody was reminded of it by a notification
			for _, p := range c.recipients(l) {
				s := subject{l.id, d.day, p.id}
				c.subject(l, d, p, sent[s], reminders[s], i == len(l.dates)-1)
				delete(reminders, s)
				if i == 0 && l.moved && p.id != l.officer {
					c.moved(s, sent[s], moves[s])
					told = told || len(sent[s]) > 0
				}
			}
			if !told && i == 0 && slices.ContainsFunc(c.rows.requests, func(r requestRow) bool {
				return strings.HasPrefix(r.id, "duebell:rescheduled:"+l.id+":")
			}) {
				c.found.add(broken, "loan %s: people are told that %s has moved, and nobody was reminded of it", l.id, d.day)
			}
		}
	}
	for s := range reminders {
		c.found.add(broken, "%s was reminded of %s of loan %s, which is not to be told to him", s.recipient, s.day, s.loan)
	}
	lines := map[string]int{}
	for _, d := range c.rows.sent {
		l := known[d.loan]
		if l == nil {
			c.found.add(broken, "a reminder of the unknown loan %s was sent", d.loan)
			continue
		}
		if l.officer == d.recipient {
			lines[d.recipient]++
		}
	}
	for _, p := range c.ledger.people {
		if p.officer && lines[p.id] != summed[p.id] {
			kind := lost
			if summed[p.id] > lines[p.id] {
				kind = doubled
			}
			c.found.add(kind, "the summaries of %s count %d reminders, %d were decided", p.id, summed[p.id], lines[p.id])
		}
	}
}

// book: the database has what the loan system was told that it has.
func (c *checker) book(l *loan) {
	if !l.ready {
		return
	}
	status := "active"
	if l.closed {
		status = "closed"
	}
	if got := c.rows.status[l.id]; got != status {
		c.found.add(lost, "loan %s is %q, acknowledged was %q", l.id, got, status)
	}
	if got, there := c.rows.open[l.id]; !there || got != l.open {
		c.found.add(lost, "of loan %s %s is open (there: %v), by what was acknowledged %s", l.id, cents(got), there, cents(l.open))
	}
}

func (c *checker) recipients(l *loan) []*person {
	list := []*person{c.ledger.person(l.borrower)}
	for _, id := range slices.Sorted(maps.Keys(l.parties)) {
		list = append(list, c.ledger.person(id))
	}
	return list
}

// longest is how long a transaction may take that decides: decided_at is its begin, and a worker may be frozen within. So one that
// begins before a date is open again may rightly find it open.
const longest = 20 * time.Second

// subject checks what one person was told about one date. last: the loan's date is this one now.
func (c *checker) subject(l *loan, d *date, p *person, sent []decision, got []*record, last bool) {
	h := c.found.history
	at := func(micro int64) string { return h.at(time.UnixMicro(micro)) }
	officer := p.id == l.officer
	if !officer {
		switch {
		case len(got) > len(sent):
			c.found.add(doubled, "%s has %d reminders of %s of loan %s, %d were decided", p.id, len(got), d.day, l.id, len(sent))
		case len(got) < len(sent)-c.deletedOf(sent):
			c.found.add(lost, "%s has %d reminders of %s of loan %s, %d were decided", p.id, len(got), d.day, l.id, len(sent))
		}
	}
	if len(sent) > 1 {
		c.found.add(doubled, "%s was reminded %d times of %s of loan %s", p.id, len(sent), d.day, l.id)
	}
	sends := c.calendar.sends(p)
	for _, x := range sent {
		when := time.UnixMicro(x.at)
		if x.kind != kindOf(d.offset) || x.offset != d.offset {
			c.found.add(broken, "%s of loan %s: %s got %s %dd, today is %s %dd", d.day, l.id, p.id, x.kind, x.offset, kindOf(d.offset), d.offset)
		}
		if p.night {
			c.found.add(broken, "%s of loan %s: %s was reminded at night, at %s", d.day, l.id, p.id, at(x.at))
		}
		if when.Before(sends) {
			c.found.add(broken, "%s of loan %s: %s was reminded at %s, before %s", d.day, l.id, p.id, at(x.at), h.at(sends))
		}
		for _, gone := range d.gone {
			wasOpen := func(t time.Time) bool {
				return !t.After(gone.from) || !gone.to.IsZero() && !t.Before(gone.to.Add(-longest))
			}
			if !slices.ContainsFunc(really(when, c.wrong), wasOpen) {
				c.found.add(broken, "%s of loan %s: %s was reminded at %s, and nothing was open since %s", d.day, l.id, p.id, at(x.at), h.at(gone.from))
			}
		}
		if n := c.byID[x.notification]; n != nil && !n.deleted && l.ready && n.resolved == (last && l.live()) {
			c.found.add(broken, "%s of loan %s: the reminder %s of %s is resolved: %v", d.day, l.id, n.id, p.id, n.resolved)
		}
	}
	if l.ready && last && l.live() && !p.night && sends.Before(c.until) && len(sent) == 0 {
		c.found.add(broken, "%s of loan %s: %s was never reminded, due at %s, made at %s", d.day, l.id, p.id, h.at(sends), h.at(d.since))
	}
}

func (c *checker) deletedOf(sent []decision) (n int) {
	for _, x := range sent {
		if r := c.byID[x.notification]; r != nil && r.deleted {
			n++
		}
	}
	return n
}

// moved: who was reminded of a date that moved hears of it once, and nobody else does.
func (c *checker) moved(s subject, sent []decision, got []*record) {
	want := min(len(sent), 1)
	if c.anyDeleted(s, "repayment.rescheduled") {
		return
	}
	switch {
	case len(got) > want:
		c.found.add(doubled, "%s was told %d times that %s of loan %s has moved, and reminded of it %d times", s.recipient, len(got), s.day, s.loan, len(sent))
	case len(got) < want:
		c.found.add(lost, "%s was never told that %s of loan %s has moved", s.recipient, s.day, s.loan)
	}
}

// anyDeleted says whether somebody deleted something of a kind: a tombstone has no words that say about what.
func (c *checker) anyDeleted(s subject, kind string) bool {
	return slices.ContainsFunc(c.byRecipient[s.recipient], func(n *record) bool { return n.deleted && n.kind == kind })
}
