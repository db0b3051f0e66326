package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The load: some 15 calls a second.
const (
	borrowers    = 18
	officers     = 2
	applications = 24
	announcers   = 3
	statusEvery  = 3500 * time.Millisecond // of an application
	messageEvery = 900 * time.Millisecond  // of whoever announces
	loanEvery    = 1200 * time.Millisecond
	firstLoans   = 16
	maxStories   = 60 // at once
)

// calendar is what the policy and the people's zones are made from: the real clock holds, so noon is taken where it is noon.
type calendar struct {
	base, east, dark *time.Location
	sendAt           time.Time // in base; elsewhere the same time on the wall
}

func newCalendar(now time.Time, sendIn time.Duration) calendar {
	ahead := 12 - now.UTC().Hour()
	dark := ahead + 10 // 22:00 to 23:00 there
	if dark > 14 {
		dark -= 24
	}
	c := calendar{base: fixed(ahead), east: fixed(min(ahead+2, 14)), dark: fixed(dark)}
	c.sendAt = now.Add(sendIn).In(c.base).Truncate(time.Minute).Add(time.Minute)
	return c
}

// fixed is a zone of the tz database so many hours east of Greenwich; its names have the sign of POSIX.
func fixed(hours int) *time.Location {
	name := "Etc/GMT"
	if hours != 0 {
		name = fmt.Sprintf("Etc/GMT%+d", -hours)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

// sends is when reminders of today go out to somebody.
func (c calendar) sends(p *person) time.Time {
	t := c.sendAt
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, p.zone)
}

// offsets are the rules of the policy: a date that many days ago (ahead, if negative) is reminded of today.
var offsets = []int{-7, -3, -1, 0, 1, 7}

func kindOf(offset int) string {
	switch {
	case offset < 0:
		return "repayment.upcoming"
	case offset == 0:
		return "repayment.due_today"
	}
	return "repayment.overdue"
}

func (c calendar) writePolicy(folder string) (path string, err error) {
	path = filepath.Join(folder, "policy.yaml")
	text := fmt.Sprintf(`reminders:
  - {kind: repayment.upcoming, at: [-7d, -3d, -1d]}
  - {kind: repayment.due_today, at: 0d}
  - {kind: repayment.overdue, at: [1d, 7d]}
send_at: %q
max_late: 2d
quiet_hours: {from: "21:00", to: "08:00"}
schedule:
  - {job: reminder.run, cron: "@every 2s"}
`, c.sendAt.Format("15:04"))
	return path, os.WriteFile(path, []byte(text), 0o644)
}

func (c calendar) people() []*person {
	var list []*person
	for i := range borrowers {
		p := &person{id: fmt.Sprintf("u%02d", i), zone: c.base}
		switch {
		case i == 0:
			p.zone, p.night = c.dark, true
		case i%2 == 0:
			p.zone = c.east
		}
		list = append(list, p)
	}
	for i := range officers {
		list = append(list, &person{id: fmt.Sprintf("o%d", i), zone: c.base, officer: true})
	}
	return list
}

// today is the date on a person's wall, some days later.
func (p *person) today(days int) string {
	return time.Now().In(p.zone).AddDate(0, 0, days).Format(time.DateOnly)
}

// load is what the loan system says during a run. Its choices come from the seed too, but how fast the programs answer
// decides how many there are.
type load struct {
	*lender
	seed    uint64
	stories sync.WaitGroup // loans whose story goes on
	slots   chan struct{}

	mu    sync.Mutex
	loans int
}

func newLoad(l *lender, seed uint64) *load {
	return &load{lender: l, seed: seed, slots: make(chan struct{}, maxStories)}
}

func (l *load) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(l.seed, 1000+stream)) }

// prepare makes the people, and some loans that are there from the start.
func (l *load) prepare(ctx context.Context) error {
	for _, p := range l.ledger.people {
		if _, ok := l.call(ctx, http.MethodPut, "/v1/users/"+p.id, object{"name": "Ada " + p.id, "time_zone": p.zone.String(), "locale": "en"}, time.Time{}); !ok {
			return fmt.Errorf("no user %s", p.id)
		}
	}
	r := l.random(1)
	for range firstLoans {
		l.begin(ctx, ctx, r)
	}
	return nil
}

// run says things until saying ends; then it waits for the answers to what was said, until ctx ends.
func (l *load) run(saying, ctx context.Context) {
	var all sync.WaitGroup
	for i := range applications {
		all.Go(func() { l.applications(saying, ctx, i) })
	}
	for i := range announcers {
		all.Go(func() { l.announce(saying, ctx, i) })
	}
	all.Go(func() {
		r := l.random(2)
		for rest(saying, spread(r, loanEvery)) {
			l.begin(saying, ctx, r)
		}
	})
	all.Wait()
	l.stories.Wait()
}

func spread(r *rand.Rand, d time.Duration) time.Duration {
	return d/2 + time.Duration(r.Int64N(int64(d)))
}

// applications is one application after the other.
func (l *load) applications(saying, ctx context.Context, number int) {
	r := l.random(100 + uint64(number))
	for n := 1; saying.Err() == nil; n++ {
		l.application(saying, ctx, r, fmt.Sprintf("a%02d.%d", number, n))
	}
}

// application goes from step to step; each is posted when the last was acknowledged, so their order is known. It ends: what is forgotten
// of it is told with no later step.
func (l *load) application(saying, ctx context.Context, r *rand.Rand, name string) {
	borrower := one(r, l.ledger.people[:borrowers])
	from := "draft"
	steps := 2 + r.IntN(7)
	for n := 1; n <= steps && rest(saying, spread(r, statusEvery)); n++ {
		e := &event{id: fmt.Sprintf("%s-%d", name, n), kind: "status", chain: name, recipients: []string{borrower.id}}
		notify := []string{}
		if r.IntN(5) == 0 {
			if other := one(r, l.ledger.people); other != borrower {
				notify = append(notify, other.id)
				e.recipients = append(e.recipients, other.id)
			}
		}
		way := r.IntN(20)
		e.once = way == 0
		e.bySQL = way < 4 && way > 0 && l.in.shape.form == formServices
		l.tell(ctx, e, "/v1/status-changes", object{"id": e.id, "application_id": name, "borrower_id": borrower.id, "from": from, "to": e.id,
			"occurred_at": time.Now().UTC().Format(time.RFC3339), "notify": notify})
		from = e.id
	}
}

// announce sends messages to a third of the people, one after the other.
func (l *load) announce(saying, ctx context.Context, number int) {
	r := l.random(200 + uint64(number))
	name := fmt.Sprintf("m%d", number)
	for n := 1; rest(saying, spread(r, messageEvery)); n++ {
		e := &event{id: fmt.Sprintf("%s-%d", name, n), kind: "message", chain: name}
		for range 1 + r.IntN(3) {
			p := l.ledger.people[number+announcers*r.IntN(len(l.ledger.people)/announcers)]
			if len(e.recipients) == 0 || e.recipients[len(e.recipients)-1] != p.id && e.recipients[0] != p.id {
				e.recipients = append(e.recipients, p.id)
			}
		}
		e.once = r.IntN(20) == 0
		l.tell(ctx, e, "/v1/notifications", object{"id": e.id, "user_ids": e.recipients, "kind": "bank.news", "title": "News " + e.id, "body": "Read it.",
			"data": object{"event": e.id}})
	}
}

// begin makes a loan with something due around today, and then something happens to it, or not.
func (l *load) begin(saying, ctx context.Context, r *rand.Rand) {
	select {
	case l.slots <- struct{}{}:
	default:
		return // enough of them wait for answers
	}
	l.mu.Lock()
	l.loans++
	number := l.loans
	l.mu.Unlock()
	own := rand.New(rand.NewPCG(r.Uint64(), uint64(number)))
	l.stories.Go(func() {
		defer func() { <-l.slots }()
		l.story(saying, ctx, number, own)
	})
}

const amount = 10000 // cents

func (l *load) story(saying, ctx context.Context, number int, r *rand.Rand) {
	borrower := one(r, l.ledger.people[:borrowers])
	x := &loan{id: fmt.Sprintf("L%03d", number), borrower: borrower.id, parties: map[string]string{}, open: amount}
	parties := []object{}
	add := func(p *person, role string) {
		if p == borrower || p.night || x.parties[p.id] != "" {
			return
		}
		x.parties[p.id] = role
		parties = append(parties, object{"user_id": p.id, "role": role,
			"notify": []string{"repayment.upcoming", "repayment.due_today", "repayment.overdue", "repayment.rescheduled"}})
	}
	if !borrower.night { // whose date may be another
		if r.IntN(3) == 0 {
			add(one(r, l.ledger.people[:borrowers]), "co_borrower")
		}
		if r.IntN(3) == 0 {
			officer := one(r, l.ledger.people[borrowers:])
			add(officer, "officer")
			x.officer = officer.id
		}
	}
	offset := one(r, offsets)
	first := &date{day: borrower.today(-offset), offset: offset}
	x.dates = []*date{first}
	l.ledger.addLoan(x)

	head := func(status string) object {
		return object{"borrower_id": x.borrower, "product": "Home loan", "currency": "EUR", "status": status, "parties": parties}
	}
	schedule := func(day string) []object {
		return []object{
			{"number": 1, "due_date": day, "amount_due": cents(amount), "amount_paid": "0.00"},
			{"number": 2, "due_date": borrower.today(45), "amount_due": cents(amount), "amount_paid": "0.00"},
		}
	}
	if _, ok := l.call(ctx, http.MethodPut, "/v1/loans/"+x.id, head("active"), time.Now()); !ok {
		return
	}
	first.since = time.Now()
	if _, ok := l.call(ctx, http.MethodPut, "/v1/loans/"+x.id+"/installments", schedule(first.day), time.Now()); !ok {
		return
	}
	x.mu.Lock()
	x.ready = true
	x.mu.Unlock()
	l.in.history.note("loan %s of %s due %s (offset %d), parties %v", x.id, x.borrower, first.day, offset, x.parties)

	story := r.IntN(8)
	if !rest(saying, time.Duration(r.Int64N(int64(15*time.Second)))) {
		return
	}
	pay := func(id string, part int64) {
		acked, ok := l.call(ctx, http.MethodPost, "/v1/payments", object{"id": id, "loan_id": x.id, "installment": 1, "amount": cents(part),
			"paid_at": time.Now().UTC().Format(time.RFC3339Nano)}, time.Time{})
		if !ok {
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.open -= part
		if x.open == 0 {
			first.gone = append(first.gone, span{from: acked})
		}
		l.in.history.note("loan %s: payment %s of %s acknowledged", x.id, id, cents(part))
	}
	switch story {
	case 0: // nothing
	case 1:
		pay("p-"+x.id, amount)
	case 2:
		pay("p-"+x.id, amount/4)
	case 3:
		pay("p-"+x.id+"-1", amount/2)
		pay("p-"+x.id+"-2", amount/2)
	case 4: // paid, and taken back
		pay("p-"+x.id, amount)
		rest(saying, time.Duration(r.Int64N(int64(8*time.Second))))
		x.mu.Lock()
		if n := len(first.gone); n > 0 {
			first.gone[n-1].to = time.Now()
		}
		x.mu.Unlock()
		if _, ok := l.call(ctx, http.MethodPost, "/v1/payments/p-"+x.id+"/reverse", object{}, time.Time{}); ok {
			x.mu.Lock()
			x.open = amount
			x.mu.Unlock()
			l.in.history.note("loan %s: payment reversed", x.id)
		}
	case 5: // closed
		if acked, ok := l.call(ctx, http.MethodPut, "/v1/loans/"+x.id, head("closed"), time.Now()); ok {
			x.mu.Lock()
			x.closed = true
			first.gone = append(first.gone, span{from: acked})
			x.mu.Unlock()
			l.in.history.note("loan %s: closed", x.id)
		}
	default: // moved to another day that is reminded of today
		other := one(r, offsets)
		if other == offset {
			return
		}
		second := &date{day: borrower.today(-other), offset: other, since: time.Now()}
		x.mu.Lock()
		x.dates, x.moved = append(x.dates, second), true
		x.mu.Unlock()
		if acked, ok := l.call(ctx, http.MethodPut, "/v1/loans/"+x.id+"/installments", schedule(second.day), time.Now()); ok {
			x.mu.Lock()
			first.gone = append(first.gone, span{from: acked})
			x.mu.Unlock()
			l.in.history.note("loan %s: moved from %s to %s", x.id, first.day, second.day)
		}
	}
}
