package main

import (
	"sync"
	"time"
)

// person is somebody with an inbox.
type person struct {
	id      string
	zone    *time.Location
	officer bool
	night   bool // it is night there during the whole run: no reminder, and everything else is quiet
}

// event is something that the loan system says: a status change or a message.
type event struct {
	id         string
	kind       string // status or message
	chain      string // of events in their order: an application, or whoever sends messages
	recipients []string
	once       bool // never repeated, so that it may be unknown whether it came
	bySQL      bool // inserted into the outbox by the loan system itself

	posted time.Time
	acked  time.Time // zero: no answer said so
}

// span is a time in which a date was surely not open: from an answer until the next call that opens it again was first made.
type span struct{ from, to time.Time } // to is zero: to the end

// date is a due date of a loan.
type date struct {
	day    string // YYYY-MM-DD
	offset int    // of the rule whose reminder day is today: today minus the date
	gone   []span
	since  time.Time // when the call that made it was first made
}

// loan is what the loan system holds of a loan. Its first installment is due around today; its story changes it.
type loan struct {
	id       string
	borrower string
	parties  map[string]string // by user: the role
	officer  string            // "": none

	mu     sync.Mutex
	ready  bool // its schedule was acknowledged
	dates  []*date
	open   int64 // of the first installment, in cents
	closed bool
	moved  bool // from dates[0] to dates[1]
}

func (l *loan) live() bool { return l.open > 0 && !l.closed }

// wish is what a person wanted of a notification, and was told is done. What was wanted back again since is left open.
type wish struct {
	read, archived, deleted time.Time
	maybeUnread, maybeBack  bool
}

// ledger is what was asked for and what was acknowledged.
type ledger struct {
	people []*person

	mu     sync.Mutex
	events []*event // in the order in which they were first posted, within a chain
	loans  []*loan
	wishes map[string]map[string]*wish // by person and notification
	calls  int                         // acknowledged ones, of all kinds
}

func (l *ledger) addEvent(e *event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *ledger) addLoan(x *loan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loans = append(l.loans, x)
}

// acknowledged counts a call and runs fn, if given, under the lock.
func (l *ledger) acknowledged(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if fn != nil {
		fn()
	}
}

// wish changes what a person wants of notifications.
func (l *ledger) wish(user string, ids []string, fn func(*wish)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wishes == nil {
		l.wishes = map[string]map[string]*wish{}
	}
	if l.wishes[user] == nil {
		l.wishes[user] = map[string]*wish{}
	}
	for _, id := range ids {
		w := l.wishes[user][id]
		if w == nil {
			w = new(wish)
			l.wishes[user][id] = w
		}
		fn(w)
	}
}

func (l *ledger) person(id string) *person {
	for _, p := range l.people {
		if p.id == id {
			return p
		}
	}
	return nil
}
