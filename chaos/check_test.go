package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// world is a small run that went well; each test breaks one thing of it.
type world struct {
	*checker
	start time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	h, err := newHistory(t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close() })
	start := time.Now().Add(-time.Minute)
	cal := newCalendar(start, 0)
	cal.sendAt = start.In(cal.base)
	ada, bob := &person{id: "ada", zone: cal.base}, &person{id: "bob", zone: cal.base, officer: true}
	first := &date{day: ada.today(0), since: start}
	at := start.Add(20 * time.Second)
	l := &ledger{
		people: []*person{ada, bob},
		events: []*event{
			{id: "a-1", kind: "status", chain: "a", recipients: []string{"ada"}, posted: at, acked: at},
			{id: "a-2", kind: "status", chain: "a", recipients: []string{"ada"}, posted: at, acked: at},
			{id: "a-3", kind: "status", chain: "a", recipients: []string{"ada"}, posted: at, once: true},
		},
		loans: []*loan{{id: "L", borrower: "ada", parties: map[string]string{"bob": "officer"}, officer: "bob", ready: true,
			dates: []*date{first}, open: amount}},
		wishes: map[string]map[string]*wish{"ada": {"n1": {read: at}}},
	}
	r := &rows{
		notifications: []*record{
			{id: "n1", recipient: "ada", kind: "application.status_changed", data: eventData{To: "a-1"}, read: true, createdRev: 1, rev: 4},
			{id: "n2", recipient: "ada", kind: "application.status_changed", data: eventData{To: "a-2"}, createdRev: 2, rev: 2},
			{id: "n3", recipient: "ada", kind: "repayment.due_today", data: eventData{LoanID: "L", DueDate: first.day}, createdRev: 3, rev: 3},
			{id: "n4", recipient: "bob", kind: "repayment.summary", data: eventData{Count: 1}, createdRev: 1, rev: 1},
		},
		inboxes: map[string]inbox{"ada": {rev: 4, unread: 2, unseen: 3, total: 3}, "bob": {rev: 1, unread: 1, unseen: 1, total: 1}},
		keys:    map[string]string{"status:a-1:ada": "n1", "status:a-2:ada": "n2"},
		sent: []decision{
			{loan: "L", day: first.day, recipient: "ada", kind: "repayment.due_today", notification: "n3", at: at.UnixMicro()},
			{loan: "L", day: first.day, recipient: "bob", kind: "repayment.due_today", at: at.UnixMicro()},
		},
		open:   map[string]int64{"L": amount},
		status: map[string]string{"L": "active"},
	}
	s := &screen{name: "ada/0", user: "ada", chain: newChain()}
	s.chain.rev, s.chain.counts = 4, counts{2, 3, 3}
	for _, n := range r.notifications[:3] {
		i := item{ID: n.id, Data: n.data, CreatedRev: n.createdRev, Rev: n.rev}
		if n.read {
			i.ReadAt = &at
		}
		s.chain.items[n.id] = i
		if e := n.data.event(); e != "" {
			s.chain.told[e] = map[string]bool{n.id: true}
		}
	}
	return &world{&checker{ledger: l, rows: r, screens: []*screen{s}, calendar: cal, until: start.Add(time.Minute), found: newFindings(h)}, start}
}

func TestCheckFindsNothingInARunThatWentWell(t *testing.T) {
	w := newWorld(t)
	w.check()
	if len(w.found.lines) > 0 {
		t.Errorf("found %s", strings.Join(w.found.lines, "\n"))
	}
}

func TestAWrongClockExcusesWhatItShows(t *testing.T) {
	w := newWorld(t)
	at := time.UnixMicro(w.rows.sent[0].at)
	day := w.ledger.loans[0].dates[0]
	day.gone = []span{{from: at.Add(-time.Second), to: at.Add(30 * time.Second)}}
	ahead := wrongClock{program: "worker-1", by: 2 * time.Second, from: at.Add(-3 * time.Second)}
	w.wrong = []wrongClock{ahead}
	w.check()
	if len(w.found.lines) > 0 {
		t.Errorf("a clock was ahead, and it found %q", w.found.lines)
	}
	ahead.to = at.Add(-2500 * time.Millisecond) // it was right again before
	w.wrong = []wrongClock{ahead}
	w.check()
	if w.found.of(broken) == 0 {
		t.Error("no clock was wrong, and it found nothing")
	}
}

func TestCheckFindsWhatIsBroken(t *testing.T) {
	day := func(w *world) *date { return w.ledger.loans[0].dates[0] }
	for name, c := range map[string]struct {
		kind  string
		spoil func(w *world)
	}{
		"an acknowledged event wasn't told": {lost, func(w *world) {
			w.ledger.events = append(w.ledger.events, &event{id: "x", kind: "message", recipients: []string{"bob"}, acked: w.start})
		}},
		"one that was told twice": {doubled, func(w *world) { w.rows.notifications[1].data.To = "a-1" }},
		"one that wasn't acknowledged came twice": {doubled, func(w *world) {
			w.rows.notifications[0].data.To, w.rows.notifications[1].data.To = "a-3", "a-3"
		}},
		"one that nobody posted":      {doubled, func(w *world) { w.rows.notifications[1].data.To = "z" }},
		"one that told somebody else": {doubled, func(w *world) { w.rows.notifications[3].data.To = "a-1" }},
		"the order isn't kept":        {gap, func(w *world) { w.rows.notifications[0].createdRev = 3; w.rows.notifications[2].createdRev = 1 }},
		"a counter is wrong":          {gap, func(w *world) { w.rows.inboxes["bob"] = inbox{rev: 1, unread: 2, unseen: 1, total: 1} }},
		"a screen stopped":            {lost, func(w *world) { w.screens[0].chain.rev = 3 }},
		"a screen misses an item":     {lost, func(w *world) { delete(w.screens[0].chain.items, "n3") }},
		"a screen got it as two":      {doubled, func(w *world) { w.screens[0].chain.told["a-1"]["n9"] = true }},
		"a screen shows more":         {doubled, func(w *world) { w.screens[0].chain.items["n9"] = item{ID: "n9"} }},
		"a screen shows a wrong state": {gap, func(w *world) {
			i := w.screens[0].chain.items["n1"]
			i.ReadAt = nil
			w.screens[0].chain.items["n1"] = i
		}},
		"a screen shows wrong counts":      {gap, func(w *world) { w.screens[0].chain.counts.Unread++ }},
		"what was read is unread":          {lost, func(w *world) { w.ledger.wishes["ada"]["n2"] = &wish{read: w.start} }},
		"what was deleted is there":        {lost, func(w *world) { w.ledger.wishes["ada"]["n2"] = &wish{deleted: w.start} }},
		"a reminder wasn't sent":           {broken, func(w *world) { w.rows.sent = w.rows.sent[1:] }},
		"a reminder was sent twice":        {doubled, func(w *world) { w.rows.sent = append(w.rows.sent, w.rows.sent[0]) }},
		"a reminder is in no inbox":        {lost, func(w *world) { w.rows.notifications[2].data.LoanID = "M" }},
		"a reminder of what was paid":      {broken, func(w *world) { day(w).gone = []span{{from: w.start}} }},
		"a reminder before its time":       {broken, func(w *world) { w.rows.sent[0].at = w.start.Add(-2 * time.Minute).UnixMicro() }},
		"a reminder at night":              {broken, func(w *world) { w.ledger.people[0].night = true }},
		"a reminder by another rule":       {broken, func(w *world) { day(w).offset = 1 }},
		"a paid one that isn't resolved":   {broken, func(w *world) { w.ledger.loans[0].open = 0; w.rows.open["L"] = 0 }},
		"a payment is lost":                {lost, func(w *world) { w.ledger.loans[0].open = amount / 2 }},
		"a loan isn't closed":              {lost, func(w *world) { w.rows.status["L"] = "closed" }},
		"a summary leaves something out":   {lost, func(w *world) { w.rows.notifications[3].data.Count = 0 }},
		"a summary says something twice":   {doubled, func(w *world) { w.rows.notifications[3].data.Count = 2 }},
		"nobody heard of a date's move":    {lost, func(w *world) { w.ledger.loans[0].moved = true }},
		"something is parked":              {lost, func(w *world) { w.rows.backlog.Parked = 1 }},
		"it wasn't quiet and says that it": {broken, func(w *world) { w.rows.notifications[1].quiet = true }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.spoil(w)
			w.check()
			if w.found.of(c.kind) == 0 {
				t.Errorf("found %q, no %s among them", w.found.lines, c.kind)
			}
		})
	}
}
