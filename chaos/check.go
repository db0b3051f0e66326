package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// checker compares what was acknowledged with what the rows and the screens have. It is pure, so that tests can show it
// what is wrong.
type checker struct {
	ledger   *ledger
	rows     *rows
	screens  []*screen
	calendar calendar
	wrong    []wrongClock // of programs that decide
	until    time.Time    // what was due before must have been sent
	found    *findings

	byID        map[string]*record
	byRecipient map[string][]*record
	byEvent     map[string]map[string][]*record // by event and recipient
}

func (c *checker) check() {
	c.byID, c.byRecipient, c.byEvent = map[string]*record{}, map[string][]*record{}, map[string]map[string][]*record{}
	for _, n := range c.rows.notifications {
		c.byID[n.id] = n
		c.byRecipient[n.recipient] = append(c.byRecipient[n.recipient], n)
		if e := n.data.event(); e != "" && !n.deleted {
			if c.byEvent[e] == nil {
				c.byEvent[e] = map[string][]*record{}
			}
			c.byEvent[e][n.recipient] = append(c.byEvent[e][n.recipient], n)
		}
	}
	c.events()
	c.order()
	c.counters()
	c.devices()
	c.wishes()
	c.loans()
	if n := c.rows.backlog.Parked; n > 0 {
		c.found.add(lost, "%d rows are parked", n)
	}
}

// events: what was acknowledged is there once for each recipient; what wasn't, at most once; and nothing else is.
func (c *checker) events() {
	known := map[string]*event{}
	for _, e := range c.ledger.events {
		known[e.id] = e
		for _, r := range e.recipients {
			n := c.notification(e, r)
			there := c.byEvent[e.id][r]
			if len(there) > 1 {
				c.found.add(doubled, "%s told %s %d times: %s", e.id, r, len(there), c.story(e))
			}
			if !e.acked.IsZero() && (n == nil || len(there) == 0 && !n.deleted) {
				c.found.add(lost, "%s was never told to %s: %s", e.id, r, c.story(e))
			}
			for _, s := range c.screens {
				if s.user != r {
					continue
				}
				switch seen := len(s.chain.told[e.id]); {
				case seen > 1:
					c.found.add(doubled, "screen %s got %s as %d notifications", s.name, e.id, seen)
				case seen == 0 && n != nil && !n.deleted && s.chain.resets == 0:
					c.found.add(lost, "screen %s never got %s: %s", s.name, e.id, c.story(e))
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.byEvent)) {
		e := known[id]
		for _, r := range slices.Sorted(maps.Keys(c.byEvent[id])) {
			if e == nil || !slices.Contains(e.recipients, r) {
				c.found.add(doubled, "%s told %s, which nobody asked for", id, r)
			}
		}
	}
	for _, n := range c.rows.notifications {
		if p := c.ledger.person(n.recipient); p != nil && n.quiet != p.night && !n.deleted {
			c.found.add(broken, "notification %s to %s has quiet %v", n.id, n.recipient, n.quiet)
		}
	}
}

// notification is the row that tells an event to somebody, by the key that makes a retry harmless; nil if there is none.
func (c *checker) notification(e *event, recipient string) *record {
	prefix := "status:"
	if e.kind == "message" {
		prefix = "request:"
	}
	n := c.byID[c.rows.keys[prefix+e.id+":"+recipient]]
	if n == nil || n.recipient != recipient {
		return nil
	}
	return n
}

func (c *checker) story(e *event) string {
	h := c.found.history
	if e.acked.IsZero() {
		return fmt.Sprintf("posted at %s, not acknowledged", h.at(e.posted))
	}
	return fmt.Sprintf("posted at %s, acknowledged at %s, once %v, by SQL %v", h.at(e.posted), h.at(e.acked), e.once, e.bySQL)
}

// order: events of one chain, each posted after the last was acknowledged, stand in an inbox in that order.
func (c *checker) order() {
	type place struct {
		chain, recipient string
	}
	last := map[place]*event{}
	rev := map[place]int64{}
	for _, e := range c.ledger.events {
		if e.acked.IsZero() {
			continue
		}
		for _, r := range e.recipients {
			n := c.notification(e, r)
			if n == nil {
				continue
			}
			at := place{e.chain, r}
			if n.createdRev <= rev[at] {
				c.found.add(gap, "%s was told %s at rev %d, %s before it at rev %d", r, e.id, n.createdRev, last[at].id, rev[at])
			}
			last[at], rev[at] = e, n.createdRev
		}
	}
}

// counters: those of the inbox are what counting its rows gives, and revs are 1, 2, 3…
func (c *checker) counters() {
	for _, name := range slices.Sorted(maps.Keys(c.rows.inboxes)) {
		have := c.rows.inboxes[name]
		want := inbox{rev: have.rev, seenRev: have.seenRev}
		created := map[int64]bool{}
		for _, n := range c.byRecipient[name] {
			if created[n.createdRev] {
				c.found.add(doubled, "%s has two notifications of rev %d", name, n.createdRev)
			}
			created[n.createdRev] = true
			if n.rev > have.rev || n.createdRev > n.rev {
				c.found.add(gap, "%s is at rev %d, its notification %s at %d, created at %d", name, have.rev, n.id, n.rev, n.createdRev)
			}
			if n.deleted || n.archived {
				continue
			}
			want.total++
			if !n.read && !n.resolved {
				want.unread++
			}
			if n.createdRev > have.seenRev {
				want.unseen++
			}
		}
		if have != want {
			c.found.add(gap, "the inbox of %s counts %+v, its rows are %+v", name, have, want)
		}
	}
}

// devices: each shows what the database has.
func (c *checker) devices() {
	for _, s := range c.screens {
		have, box := s.chain, c.rows.inboxes[s.user]
		if have.resets > 0 {
			continue // a finding already
		}
		if have.rev != box.rev {
			c.found.add(lost, "screen %s is at rev %d of %d", s.name, have.rev, box.rev)
			continue
		}
		if want := (counts{box.unread, box.unseen, box.total}); have.counts != want {
			c.found.add(gap, "screen %s shows %+v, the inbox has %+v at rev %d", s.name, have.counts, want, box.rev)
		}
		seen := map[string]bool{}
		for _, n := range c.byRecipient[s.user] {
			seen[n.id] = true
			i, shown := have.items[n.id]
			switch {
			case n.deleted && shown:
				c.found.add(gap, "screen %s shows %s, which is deleted", s.name, n.id)
			case n.deleted:
			case !shown:
				c.found.add(lost, "screen %s doesn't show %s (%s) of rev %d", s.name, n.id, n.title, n.createdRev)
			case (i.ReadAt != nil) != n.read, (i.ArchivedAt != nil) != n.archived, (i.ResolvedAt != nil) != n.resolved, i.Title != n.title:
				c.found.add(gap, "screen %s shows %s as read %v, archived %v, resolved %v, %q; it is %v, %v, %v, %q", s.name, n.id,
					i.ReadAt != nil, i.ArchivedAt != nil, i.ResolvedAt != nil, i.Title, n.read, n.archived, n.resolved, n.title)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(have.items)) {
			if !seen[id] {
				c.found.add(doubled, "screen %s shows %s, which isn't in the inbox", s.name, id)
			}
		}
	}
}

// wishes: what a person was told is done, is done.
func (c *checker) wishes() {
	for _, user := range slices.Sorted(maps.Keys(c.ledger.wishes)) {
		for _, id := range slices.Sorted(maps.Keys(c.ledger.wishes[user])) {
			w, n := c.ledger.wishes[user][id], c.byID[id]
			h := c.found.history
			switch {
			case n == nil:
				c.found.add(lost, "%s had %s, which is gone", user, id)
			case n.deleted:
			case !w.deleted.IsZero():
				c.found.add(lost, "%s deleted %s at %s, and it is there", user, id, h.at(w.deleted))
			case !w.read.IsZero() && !w.maybeUnread && !n.read:
				c.found.add(lost, "%s read %s at %s, and it is unread", user, id, h.at(w.read))
			case !w.archived.IsZero() && !w.maybeBack && !n.archived:
				c.found.add(lost, "%s archived %s at %s, and it is not", user, id, h.at(w.archived))
			}
		}
	}
}
