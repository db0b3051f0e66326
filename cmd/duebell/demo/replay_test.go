package demo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/civil"
	"duebell/internal/money"
	"duebell/internal/policy"
	"duebell/internal/redisconn"
	"duebell/internal/testenv"
	"duebell/jobs"
	"duebell/store"
)

// A reminder as the test expects it and as it was sent.
type reminder struct {
	Loan      string
	DueDate   civil.Date
	Recipient string
	Kind      string
	Offset    int
}

type reminded struct {
	at     time.Time
	amount int64
	days   int
}

func (r reminder) String() string {
	return fmt.Sprintf("%s %s %s %+dd to %s", r.Loan, r.DueDate, r.Kind, r.Offset, r.Recipient)
}

// began is when all scenarios begin in the test: in a leap year, so that the clocks change and February has 29 days under way. On their
// own dates they would take three years, and the test three times as long.
var began = civil.MustParse("2024-01-01")

func replayed(l *loan) telling { return telling{days: began.Sub(l.Snapshots[0].Date)} }

// TestReplayOfAllScenarios tells all scenarios, side by side, to a real store and a real worker, and compares every reminder with what
// the files and the policy say in the plainest reading of them.
func TestReplayOfAllScenarios(t *testing.T) {
	t.Parallel()
	b, err := newBook()
	if err != nil {
		t.Fatal(err)
	}
	r := newReplay(t, b)
	r.play()
	sent := r.sent()
	expected, met := expect(t, b)

	t.Run("WhatIsExpectedIsSentOnce", func(t *testing.T) {
		if len(expected) < 2000 {
			t.Errorf("only %d reminders are expected: that tests nothing", len(expected))
		}
		wrong := 0
		for key, want := range expected {
			got, ok := sent[key]
			if !ok || got != want {
				wrong++
				if wrong < 20 {
					t.Errorf("%s: expected %+v, sent %v %+v", key, want, ok, got)
				}
			}
		}
		for key, got := range sent {
			if _, ok := expected[key]; !ok {
				wrong++
				if wrong < 20 {
					t.Errorf("%s: not expected, sent %+v", key, got)
				}
			}
		}
		t.Logf("%d reminders expected, %d sent, %d wrong", len(expected), len(sent), wrong)
	})

	t.Run("OutstandingIsWhatIsShown", func(t *testing.T) {
		// The four rows in which outstanding isn't due minus paid. A part is open in the first: that is what is said. Nothing is in
		// the others, although due minus paid says otherwise: nothing is said.
		if len(met) != 4 {
			t.Fatalf("%d rows have an outstanding that isn't due minus paid, want 4: %v", len(met), met)
		}
		for row, m := range met {
			// That of S264 came 37 days late, after the last reminder's day. It is in the figures below.
			if m.looks == 0 && m.loan != "FIN-S264" {
				t.Errorf("no reminder of %s fell while its row was in force: the test has not met it", row)
			}
			said := 0
			for key, got := range sent {
				if key.Loan != m.loan || key.DueDate != m.dueDate || got.at.Before(m.from) || !got.at.Before(m.until) {
					continue
				}
				said++
				if m.outstanding == 0 || got.amount != m.outstanding {
					t.Errorf("%s says %d, and %d is outstanding", key, got.amount, m.outstanding)
				}
			}
			if m.outstanding > 0 && said == 0 {
				t.Errorf("nobody was told of %s", row)
			}
		}
	})

	t.Run("TheFiguresAreTheLastOnes", func(t *testing.T) {
		sums, _ := readFigures(t, b)
		for _, l := range b.loans {
			e := r.explained[l.ID]
			open := map[civil.Date]int64{}
			for _, in := range e.Installments {
				open[in.DueDate] += in.Open
			}
			last := l.Snapshots[len(l.Snapshots)-1]
			if want := sums[last.Number]; !maps.Equal(open, want) {
				t.Errorf("%s has open %v at the end, want %v", l.ID, open, want)
			}
			closed := last.open() == 0
			if closed != (e.Loan.Status == "closed") || l.ChargedOff != (e.Loan.Status == "charged_off") {
				t.Errorf("%s is %s at the end", l.ID, e.Loan.Status)
			}
		}
	})

	t.Run("NobodyElseIsTold", func(t *testing.T) { r.notifications(sent) })
}

// replay is a store and a worker on a clock that stands still until the test moves it.
type replay struct {
	t     *testing.T
	book  *book
	db    *store.DB
	file  *sql.DB // to see when something is due next
	queue *asynq.Client
	clock atomic.Int64 // Unix, in microseconds
	ticks int

	explained map[string]store.Explanation // by loan, at the end
}

func (r *replay) now() time.Time { return time.UnixMicro(r.clock.Load()).UTC() }

func (r *replay) set(t time.Time) { r.clock.Store(t.UnixMicro()) }

func newReplay(t *testing.T, b *book) *replay {
	t.Helper()
	r := &replay{t: t, book: b, explained: map[string]store.Explanation{}}
	url := testenv.SQLite(t)
	db, err := store.Open(t.Context(), url, store.Options{Clock: r.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r.db = db
	r.must(db.Migrate(t.Context()))
	r.file, err = sql.Open("sqlite", "file:"+strings.TrimPrefix(url, "sqlite:")+"?mode=ro")
	r.must(err)
	t.Cleanup(func() { r.file.Close() })
	redis, err := redisconn.Open(t.Context(), "embedded", slog.New(slog.DiscardHandler))
	r.must(err)
	t.Cleanup(func() { redis.Close() })
	r.queue = asynq.NewClientFromRedisClient(redis.Client)
	worker := jobs.NewWorker(jobs.WorkerOptions{DB: db, Redis: redis.Client, Poll: 20 * time.Millisecond, LazyPoll: 5 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *replay) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("at %s: %v", r.now().Format(time.RFC3339), err)
	}
}

// play tells every step, and before it runs what became due since the one before it.
func (r *replay) play() {
	ctx := r.t.Context()
	var steps []step
	for _, l := range r.book.loans {
		steps = append(steps, l.steps(replayed(l))...)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return a.at.Compare(b.at) })
	r.set(steps[0].at)
	rules, err := policy.Parse([]byte(uncapped()), "policy of the test")
	r.must(err)
	_, _, err = r.db.ActivatePolicy(ctx, rules)
	r.must(err)
	for _, p := range r.book.people {
		r.must(r.db.PutUser(ctx, store.User{ID: p.ID, Name: p.Name, TimeZone: p.TimeZone, Locale: p.Locale}))
	}
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n].at.Equal(steps[0].at) {
			n++
		}
		r.runUntil(steps[0].at)
		r.set(steps[0].at)
		r.write(steps[:n])
		steps = steps[n:]
	}
	r.runUntil(r.now().AddDate(2, 0, 0))
	r.tell()
	if backlog, err := r.db.Backlog(ctx); err != nil || backlog.DueNow > 0 || backlog.DueParked > 0 || backlog.OutboxPending > 0 || backlog.OutboxParked > 0 {
		r.t.Errorf("at the end: %+v, %v", backlog, err)
	}
}

// uncapped is the demo's policy without caps: how a cap holds reminders is the store's own test.
func uncapped() string {
	return strings.Replace(string(PolicyYAML), "caps: {per_person_per_day: 3}\n", "", 1)
}

// every is how often reminders are run: at 00:00 and 12:00 UTC. In all zones of the book that is before the quiet hours of the day on
// which a reminder falls. More often would test no more and take longer.
const every = 12 * time.Hour

// onTheHour is the first run at or after an instant.
func onTheHour(t time.Time) time.Time { return t.UTC().Add(every - 1).Truncate(every) }

// runUntil does every run before an instant at which something is due.
func (r *replay) runUntil(until time.Time) {
	for {
		var next sql.NullInt64 // microseconds
		r.must(r.file.QueryRowContext(r.t.Context(), `SELECT min(next_at) FROM due_reminders WHERE parked_at IS NULL`).Scan(&next))
		if !next.Valid {
			return
		}
		tick := onTheHour(time.UnixMicro(next.Int64))
		if now := onTheHour(r.now()); tick.Before(now) {
			tick = now
		}
		if !tick.Before(until) {
			return
		}
		r.set(tick)
		r.ticks++
		_, err := r.db.AddTick(r.t.Context(), policy.JobReminderRun, tick)
		r.must(err)
		r.enqueue(jobs.NewReminderRun(policy.JobReminderRun, tick, 1))
		r.wait("the run is done", func() bool {
			pending, err := r.db.PendingTicks(r.t.Context())
			r.must(err)
			return pending == 0
		})
	}
}

// tell has the worker do what is in the outbox: all changes of all applications, in their order, and the dates that have moved.
func (r *replay) tell() {
	requests, err := r.db.ClaimOutbox(r.t.Context(), math.MaxInt16, time.Minute)
	r.must(err)
	for _, c := range requests {
		r.enqueue(jobs.NewNotificationSend(c.Key, []string{c.Key}))
	}
	var applications []string
	for _, l := range r.book.loans {
		applications = append(applications, l.steps(replayed(l))[0].change.ApplicationID)
	}
	r.enqueue(jobs.NewStatusNotify("all", applications))
	r.wait("the outbox is empty", func() bool {
		backlog, err := r.db.Backlog(r.t.Context())
		r.must(err)
		return backlog.OutboxPending == 0
	})
}

func (r *replay) enqueue(task *asynq.Task) {
	r.t.Helper()
	_, err := r.queue.EnqueueContext(r.t.Context(), task)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return // an answer that was late, and the client has tried again
	}
	r.must(err)
}

func (r *replay) wait(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("at %s, not within a minute: %s", r.now().Format(time.RFC3339), what)
		}
	}
}

// write tells the store what happens at one instant.
func (r *replay) write(steps []step) {
	var loans []store.Loan
	var schedules []store.Schedule
	var payments []store.Payment
	var changes []store.StatusChange
	for _, s := range steps {
		switch {
		case s.head != nil:
			l := store.Loan{ID: s.head.ID, BorrowerID: s.head.BorrowerID, Product: s.head.Product, Currency: s.head.Currency, Digits: digits,
				Status: s.head.Status, AsOf: *s.head.AsOf}
			for _, p := range s.head.Parties {
				l.Parties = append(l.Parties, store.Party{UserID: p.UserID, Role: p.Role, Notify: p.Notify})
			}
			loans = append(loans, l)
		case s.schedule != nil:
			schedule := store.Schedule{LoanID: s.loan.ID, AsOf: s.at}
			for _, row := range s.loan.rows(s.schedule, nil) {
				schedule.Installments = append(schedule.Installments, store.Installment{Number: row.Number, DueDate: row.DueDate,
					AmountDue: r.cents(row.AmountDue), AmountPaid: r.cents(row.AmountPaid), Outstanding: r.cents(row.Outstanding)})
			}
			schedules = append(schedules, schedule)
		case s.payment != nil:
			p := s.payment
			payments = append(payments, store.Payment{ID: p.ID, LoanID: p.LoanID, Installment: p.Installment, Amount: r.cents(p.Amount),
				PaidAt: p.PaidAt, BodyHash: p.ID})
		default:
			c := s.change
			changes = append(changes, store.StatusChange{ID: c.ID, ApplicationID: c.ApplicationID, BorrowerID: c.BorrowerID, From: c.From,
				To: c.To, OccurredAt: c.OccurredAt, Notify: c.Notify, BodyHash: c.ID})
		}
	}
	written(r, r.db.ImportLoans, loans)
	written(r, r.db.ImportSchedules, schedules)
	written(r, r.db.ImportPayments, payments)
	written(r, r.db.ImportStatusChanges, changes)
}

func written[T any](r *replay, write func(context.Context, []T, store.ImportOptions) ([]store.Rejected, error), rows []T) {
	r.t.Helper()
	if len(rows) == 0 {
		return
	}
	_, err := write(r.t.Context(), rows, store.ImportOptions{AllOrNothing: true})
	r.must(err)
}

func (r *replay) cents(amount string) int64 {
	r.t.Helper()
	minor, err := money.Parse(amount, digits)
	r.must(err)
	return minor
}

// sent is what the log of decisions says was sent. It fails where something was sent twice.
func (r *replay) sent() map[reminder]reminded {
	sent := map[reminder]reminded{}
	for _, l := range r.book.loans {
		e, err := r.db.Explain(r.t.Context(), store.ExplainQuery{LoanID: l.ID})
		r.must(err)
		r.explained[l.ID] = e
		for _, d := range e.Decisions {
			if d.Outcome != string(policy.Sent) {
				continue
			}
			key := reminder{d.LoanID, d.DueDate, d.Recipient, d.Kind, d.Offset}
			if _, twice := sent[key]; twice {
				r.t.Errorf("%s was sent twice", key)
			}
			zone, err := civil.LoadZone(d.TimeZone)
			r.must(err)
			sent[key] = reminded{d.DecidedAt, d.Amount, d.DueDate.Sub(civil.Of(d.DecidedAt.In(zone)))}
		}
	}
	r.t.Logf("%d ticks", r.ticks)
	return sent
}

// notifications compares what people have in their inboxes with what was sent: each reminder once, saying what was decided, and
// nothing else but status changes, new dates of what had moved, and officers' summaries.
func (r *replay) notifications(sent map[reminder]reminded) {
	officer := map[string]bool{}
	for _, o := range officers {
		officer[o.ID] = true
	}
	want := map[string]int{} // by recipient, loan, date and day
	for key, was := range sent {
		if !officer[key.Recipient] {
			want[fmt.Sprint(key.Recipient, key.Loan, key.DueDate, key.Kind, was.days, money.Decimal(was.amount, digits))]++
		}
	}
	got := map[string]int{}
	moved, changes, summaries := 0, 0, 0
	for _, p := range r.book.people {
		zone, err := civil.LoadZone(p.TimeZone)
		r.must(err)
		for n := range r.inbox(p.ID) {
			var data struct {
				LoanID   string     `json:"loan_id"`
				DueDate  civil.Date `json:"due_date"`
				Previous civil.Date `json:"previous_due_date"`
				Days     int        `json:"days"`
				Amount   string     `json:"amount"`
				Currency string     `json:"currency"`
			}
			r.must(json.Unmarshal(n.Data, &data))
			switch n.Kind {
			case policy.KindUpcoming, policy.KindDueToday, policy.KindOverdue:
				got[fmt.Sprint(p.ID, data.LoanID, data.DueDate, n.Kind, data.Days, data.Amount)]++
				if days := data.DueDate.Sub(civil.Of(n.CreatedAt.In(zone))); days != data.Days {
					r.t.Errorf("%s says %d days to %s, where it is %d", n.Title, data.Days, p.ID, days)
				}
				text := n.Title + " " + n.Body
				if shown := money.Format(r.cents(data.Amount), digits, currency, p.Locale); data.Currency != currency || !strings.Contains(text, shown) {
					r.t.Errorf("%q doesn't say %s", text, shown)
				}
				// Other locales have other numerals.
				latin := strings.HasPrefix(p.Locale, "en") || strings.HasPrefix(p.Locale, "es") || strings.HasPrefix(p.Locale, "cs")
				if days := max(data.Days, -data.Days); latin && days > 2 && !strings.Contains(text, strconv.Itoa(days)) {
					r.t.Errorf("%q doesn't say %d", text, days)
				}
			case policy.KindRescheduled:
				moved++
				l := r.book.loans[slices.IndexFunc(r.book.loans, func(l *loan) bool { return l.ID == data.LoanID })]
				if data.Previous == data.DueDate || !slices.ContainsFunc(l.Snapshots, func(s snapshot) bool { return on(replayed(l).schedule(s), installment{DueDate: data.DueDate}) }) {
					r.t.Errorf("%s moved from %s to %s?", l.ID, data.Previous, data.DueDate)
				}
			case policy.KindStatusChanged:
				changes++
			case policy.KindSummary:
				summaries++
				if !officer[p.ID] {
					r.t.Errorf("%s got a summary", p.ID)
				}
			default:
				r.t.Errorf("%s got a %s", p.ID, n.Kind)
			}
		}
	}
	for key, n := range want {
		if got[key] != n {
			r.t.Errorf("%s: %d notifications, want %d", key, got[key], n)
		}
	}
	if len(got) != len(want) {
		r.t.Errorf("%d kinds of reminders in inboxes, want %d", len(got), len(want))
	}
	wantChanges := 0
	for _, l := range r.book.loans {
		for _, s := range l.steps(replayed(l)) {
			if s.change != nil {
				wantChanges += 2 // the borrower and the officer
			}
		}
	}
	if changes != wantChanges || summaries == 0 || moved == 0 {
		r.t.Errorf("%d status changes (want %d), %d summaries, %d moved dates", changes, wantChanges, summaries, moved)
	}
}

// inbox is everything that a person has.
func (r *replay) inbox(who string) func(func(store.Notification) bool) {
	return func(yield func(store.Notification) bool) {
		cursor := ""
		for {
			list, err := r.db.List(r.t.Context(), store.ListQuery{Recipient: who, Status: "all", Limit: 100, Cursor: cursor})
			r.must(err)
			for _, n := range list.Items {
				if !yield(n) {
					return
				}
			}
			if cursor = list.NextCursor; cursor == "" {
				return
			}
		}
	}
}
