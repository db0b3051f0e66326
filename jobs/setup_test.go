package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"duebell/internal/civil"
	"duebell/internal/clock"
	"duebell/internal/policy"
	"duebell/internal/redisconn"
	"duebell/internal/testenv"
	"duebell/store"
)

// everywhere runs a test on SQLite with the embedded Redis, and on PostgreSQL with a real one.
func everywhere(t *testing.T, start string, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite+embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, testenv.SQLite(t), "embedded", start, policy.Default()))
	})
	t.Run("postgres+redis", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, testenv.Postgres(t), testenv.Redis(t), start, policy.Default()))
	})
}

// world is a database, a Redis and a clock, on which a test starts schedulers and workers.
type world struct {
	t      *testing.T
	db     *store.DB
	redis  *redisconn.Conn
	clock  *clock.Simulated
	policy *policy.Policy
	log    *slog.Logger
	reg    *prometheus.Registry
	stats  *Metrics
	retry  time.Duration // after which schedulers enqueue again what isn't done; 0: the usual

	mu         sync.Mutex
	schedulers []*Scheduler
	numbers    int
}

// testLog shows what the programs log when a test fails, and everything under -v.
type testLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func newWorld(t *testing.T, databaseURL, redisURL, start string, p *policy.Policy) *world {
	t.Helper()
	out := &testLog{}
	w := &world{t: t, policy: p, reg: prometheus.NewRegistry(), log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	t.Cleanup(func() {
		if t.Failed() {
			out.mu.Lock()
			defer out.mu.Unlock()
			os.Stderr.Write(out.b.Bytes()[max(0, out.b.Len()-20000):])
		}
	})
	w.stats = NewMetrics(w.reg)
	w.clock = clock.NewSimulated(instant(t, start), clock.MinSpeed)
	db, err := store.Open(t.Context(), databaseURL, store.Options{Clock: w.clock.Now, Log: w.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.ActivatePolicy(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.db = db
	if w.redis, err = redisconn.Open(t.Context(), redisURL, w.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.redis.Close() })
	return w
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// running is something that was started; stop ends it and waits for it. It ends with the test too.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
}

func (w *world) start(run func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: w.t, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- run(ctx) }()
	w.t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	r.once.Do(func() {
		r.cancel()
		select {
		case err := <-r.done:
			if err != nil {
				r.t.Errorf("ended with %v", err)
			}
		case <-time.After(patience):
			r.t.Error("didn't end")
		}
	})
}

func (w *world) scheduler() *running {
	s := NewScheduler(SchedulerOptions{DB: w.db, Redis: w.redis.Client, Clock: w.clock, Policy: w.policy, Log: w.log, Metrics: w.stats})
	if w.retry > 0 {
		s.Relay.retryOutbox, s.Relay.retryTicks = w.retry, w.retry
	}
	w.mu.Lock()
	w.schedulers = append(w.schedulers, s)
	w.mu.Unlock()
	r := w.start(s.Run)
	w.eventually("the scheduler knows its schedule", func() bool { return !s.Cron.behind(w.clock.Now()) })
	stop := r.cancel
	r.cancel = func() {
		w.mu.Lock()
		w.schedulers = slices.DeleteFunc(w.schedulers, func(other *Scheduler) bool { return other == s })
		w.mu.Unlock()
		stop()
	}
	return r
}

// recovery is how long Asynq may take to find out that a task in the list of active ones has no worker: 30 s for its lease,
// up to a minute for the next look. It happens not only to killed workers: v0.26 hands a Done that Redis refused to its syncer
// with a context that is over by then, so no later try succeeds.
const recovery = 3 * time.Minute

// patience is for machines that are busy with other tests as well.
const patience = time.Minute

// fast is for tests that go through many ticks.
const fast = 10 * time.Millisecond

func (w *world) worker() *running {
	return w.start(NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats,
		Poll: fast, LazyPoll: fast, ShutdownTimeout: 5 * time.Second}).Run)
}

// idle says whether nothing is left to do, for all schedulers.
func (w *world) idle(ctx context.Context) bool {
	w.mu.Lock()
	schedulers := slices.Clone(w.schedulers)
	w.mu.Unlock()
	for _, s := range schedulers {
		if s.Cron.behind(w.clock.Now()) {
			return false
		}
	}
	return len(schedulers) > 0 && schedulers[0].Idle(ctx) // all see the same database and queues
}

// settle waits until nothing is left to do.
func (w *world) settle() {
	w.t.Helper()
	deadline := time.Now().Add(recovery)
	for !w.idle(w.t.Context()) {
		if time.Now().After(deadline) {
			w.t.Fatalf("in %s not everything is done: %s", recovery, w.left())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// left is what keeps the world from being idle.
func (w *world) left() string {
	stats, err := w.db.Stats(w.t.Context())
	sizes, queueErr := NewQueueReader(w.redis.Client).Sizes(w.t.Context())
	return fmt.Sprintf("%+v %v, %+v %v", stats.Backlog, err, sizes, queueErr)
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("in %s not: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// drive lets the clock stop at each tick from now on.
func (w *world) drive() {
	driven := make(chan struct{})
	began := sync.OnceFunc(func() { close(driven) })
	w.start(func(ctx context.Context) error {
		_ = w.clock.Drive(ctx, func(now time.Time) time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			var first time.Time
			for _, s := range w.schedulers {
				if at := s.Next(now); first.IsZero() || at.Before(first) {
					first = at
				}
			}
			return first
		}, func(ctx context.Context) bool {
			began()
			return w.idle(ctx)
		})
		return nil
	})
	<-driven
}

// at moves the clock to an instant. A driven one does the work of all ticks on the way, and this waits for that of the
// instant itself.
func (w *world) at(s string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), recovery)
	defer cancel()
	if err := w.clock.Jump(ctx, instant(w.t, s)); err != nil {
		w.t.Fatalf("the clock doesn't reach %s: it is %s", s, w.clock.Now())
	}
}

// till moves the clock and waits for what is to be done then.
func (w *world) till(s string) {
	w.t.Helper()
	w.at(s)
	w.settle()
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) user(id, zone, locale string) {
	w.t.Helper()
	w.do(w.db.PutUser(w.t.Context(), store.User{ID: id, Name: strings.ToUpper(id[:1]) + id[1:], TimeZone: zone, Locale: locale}))
}

func (w *world) loan(id, borrower, currency string, digits int, parties ...store.Party) {
	w.t.Helper()
	w.do(w.db.PutLoan(w.t.Context(), store.Loan{ID: id, BorrowerID: borrower, Product: "Car loan", Currency: currency, Digits: digits,
		Status: store.LoanActive, Parties: parties}))
}

// due puts a schedule: date, amount, date, amount…
func (w *world) due(loan string, dates ...any) {
	w.t.Helper()
	s := store.Schedule{LoanID: loan}
	for i := 0; i < len(dates); i += 2 {
		amount := int64(dates[i+1].(int))
		s.Installments = append(s.Installments, store.Installment{Number: i/2 + 1, DueDate: civil.MustParse(dates[i].(string)),
			AmountDue: amount, Outstanding: amount})
	}
	w.do(w.db.PutSchedule(w.t.Context(), s))
}

func (w *world) pay(loan string, amount int64) string {
	w.t.Helper()
	w.numbers++
	id := fmt.Sprintf("p%d", w.numbers)
	_, err := w.db.AddPayment(w.t.Context(), store.Payment{ID: id, LoanID: loan, Amount: amount, PaidAt: w.db.Now(), BodyHash: id})
	w.do(err)
	return id
}

// change is a status change as the ingest API writes it.
func (w *world) change(id, application, from, to string, notify ...string) bool {
	w.t.Helper()
	added := w.db.AddStatusChanges(w.t.Context(), []store.StatusChange{{ID: id, ApplicationID: application, BorrowerID: "ana",
		From: from, To: to, OccurredAt: w.db.Now(), Notify: notify, BodyHash: to}})[0]
	w.do(added.Err)
	w.claimed(added.Created, store.ClaimStatus, application)
	return added.Created
}

func (w *world) request(id string, body map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	w.do(err)
	added := w.db.AddRequests(w.t.Context(), []store.Request{{ID: id, Body: text, BodyHash: id}})[0]
	w.do(added.Err)
	w.claimed(added.Created, store.ClaimRequest, id)
}

// claimed gives a row that was added to a scheduler, if one runs, as the ingest API does.
func (w *world) claimed(added bool, kind, key string) {
	w.mu.Lock()
	schedulers := slices.Clone(w.schedulers)
	w.mu.Unlock()
	if added && len(schedulers) > 0 {
		schedulers[0].Relay.Claimed(store.Claim{Kind: kind, Key: key})
	}
}

// inbox is what a person has, oldest first.
func (w *world) inbox(user string) []store.Notification {
	w.t.Helper()
	list, err := w.db.List(w.t.Context(), store.ListQuery{Recipient: user, Status: "all", Limit: 100})
	w.do(err)
	items := slices.Clone(list.Items)
	slices.Reverse(items)
	return items
}

// kinds is what a person has, in short.
func (w *world) kinds(user string) []string {
	var kinds []string
	for _, n := range w.inbox(user) {
		_, kind, _ := strings.Cut(n.Kind, ".")
		kinds = append(kinds, kind)
	}
	return kinds
}

func (w *world) want(user string, kinds ...string) {
	w.t.Helper()
	if got := w.kinds(user); !slices.Equal(got, kinds) {
		w.t.Errorf("%s has %v, want %v", user, got, kinds)
	}
}

// counted is the value of a counter with these labels, or how often a histogram has observed something.
func counted(t *testing.T, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			matches := true
			for i := 0; i < len(labels); i += 2 {
				matches = matches && slices.ContainsFunc(metric.GetLabel(), func(l *dto.LabelPair) bool {
					return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				})
			}
			if matches {
				total += metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}

// data is what a notification says for programs.
func data(t *testing.T, n store.Notification) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(n.Data, &m); err != nil {
		t.Fatalf("data of %s: %v", n.Kind, err)
	}
	return m
}
