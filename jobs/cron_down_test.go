package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/policy"
	"duebell/internal/testenv"
	"duebell/store"
)

// Up to three schedulers, each with a connection of its own, come and go at random while a clock leaps around a change of
// some zone's clocks. What stands in the database after that is compared with what a person would say who has a calendar,
// the list of when anybody was there, and the policy.

// downSpecs match what clocks show. They are written down twice, so that the schedule isn't checked by itself.
var downSpecs = []struct {
	cron    string
	matches func(shown time.Time) bool
}{
	{"*/15 * * * *", func(t time.Time) bool { return t.Minute()%15 == 0 }},
	{"0 * * * *", func(t time.Time) bool { return t.Minute() == 0 }},
	{"30 2 * * *", func(t time.Time) bool { return t.Hour() == 2 && t.Minute() == 30 }},
	{"30 1 * * *", func(t time.Time) bool { return t.Hour() == 1 && t.Minute() == 30 }},
	{"0 0 * * *", func(t time.Time) bool { return t.Hour() == 0 && t.Minute() == 0 }},
	{"20 9-17 * * *", func(t time.Time) bool { return t.Hour() >= 9 && t.Hour() <= 17 && t.Minute() == 20 }},
}

// downZones change their clocks two days after the start.
var downZones = []struct{ zone, start string }{
	{"UTC", "2026-03-06T00:00:00Z"},
	{"America/New_York", "2026-03-06T07:00:00Z"},
	{"America/New_York", "2026-10-30T06:00:00Z"},
	{"Europe/Prague", "2026-03-27T01:00:00Z"},
	{"Europe/Prague", "2026-10-23T01:00:00Z"},
	{"Australia/Lord_Howe", "2026-10-01T15:30:00Z"},
	{"America/Santiago", "2026-09-04T04:00:00Z"},
	{"Africa/Cairo", "2026-10-27T21:00:00Z"},
}

// instants watches a clock minute by minute: whenever it shows a later time than ever before, a spec is due that matches
// any of the minutes that it reached or jumped over.
func instants(loc *time.Location, matches func(time.Time) bool, from, till time.Time) []time.Time {
	shows := func(at time.Time) time.Time {
		_, offset := at.In(loc).Zone()
		return at.Add(time.Duration(offset) * time.Second).UTC()
	}
	var list []time.Time
	highest := shows(from.Add(-24 * time.Hour))
	for at := from.Add(-24 * time.Hour); !at.After(till); at = at.Add(time.Minute) {
		due := false
		for highest.Before(shows(at)) {
			highest = highest.Add(time.Minute)
			due = due || matches(highest)
		}
		if due && !at.Before(from) {
			list = append(list, at)
		}
	}
	return list
}

// record is what a person with a calendar says of one job.
type record struct {
	entries []recorded
	due     map[time.Time]bool
	skipped map[time.Time]bool
}

type recorded struct {
	misfire  policy.Misfire
	instants []time.Time
}

func newRecord(entries ...recorded) *record {
	return &record{entries: entries, due: make(map[time.Time]bool), skipped: make(map[time.Time]bool)}
}

// present says that somebody is there at an instant. Nothing counts as missed that lies before the first who came.
func (r *record) present(since, now time.Time) {
	last := r.last(now)
	if last.IsZero() {
		last = since.Add(-1)
	}
	var due, skipped []time.Time
	for _, e := range r.entries {
		var open []time.Time
		for _, at := range e.instants {
			if at.After(last) && !at.After(now) {
				open = append(open, at)
			}
		}
		if len(open) == 0 {
			continue
		}
		newest := open[len(open)-1]
		switch {
		case e.misfire == policy.MisfireAll:
			due = append(due, open...)
		case e.misfire == policy.MisfireSkip && now.Sub(newest) > time.Minute:
			skipped = append(skipped, newest)
		default:
			due = append(due, newest)
		}
	}
	for _, at := range due {
		if !r.skipped[at] {
			r.due[at] = true
		}
	}
	for _, at := range skipped {
		if !r.due[at] {
			r.skipped[at] = true
		}
	}
}

// last is the newest instant up to now that anybody has dealt with.
func (r *record) last(now time.Time) (last time.Time) {
	for _, known := range []map[time.Time]bool{r.due, r.skipped} {
		for at := range known {
			if at.After(last) && !at.After(now) {
				last = at
			}
		}
	}
	return last
}

// handClock stands still until a test moves it. It knows who waits for it.
type handClock struct {
	mu      sync.Mutex
	changed *sync.Cond
	now     time.Time
	waiting map[*handWait]bool
	back    int // how often it was set back
	ended   int
}

type handWait struct {
	ctx   context.Context
	until time.Time
	back  int
}

var errSetBack = errors.New("the clock was set back")

func newHandClock(now time.Time) *handClock {
	c := &handClock{now: now, waiting: make(map[*handWait]bool)}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Wait(ctx context.Context, until time.Time) error {
	defer context.AfterFunc(ctx, c.look)()
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &handWait{ctx, until, c.back}
	c.waiting[w] = true
	defer delete(c.waiting, w)
	c.changed.Broadcast()
	for c.now.Before(until) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.back > w.back {
			return errSetBack // as whoever waits finds out within watchEvery
		}
		c.changed.Wait()
	}
	return ctx.Err()
}

func (c *handClock) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

func (c *handClock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.now) {
		c.back++
	}
	c.now = now
	c.changed.Broadcast()
}

func (c *handClock) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	c.changed.Broadcast()
}

// settled waits until so many have ended or wait for a later instant.
func (c *handClock) settled(started int) bool {
	deadline := time.Now().Add(patience)
	defer time.AfterFunc(patience, c.look).Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		quiet := c.ended
		for w := range c.waiting {
			if c.now.Before(w.until) && w.ctx.Err() == nil && w.back == c.back {
				quiet++
			}
		}
		if quiet == started {
			return true
		}
		if !time.Now().Before(deadline) {
			return false
		}
		c.changed.Wait()
	}
}

// present is a scheduler's cron that runs.
type present struct {
	began  time.Time
	cancel context.CancelFunc
	done   chan error

	mu       sync.Mutex
	lifetime int // writes until it dies; 0: it doesn't
}

// wrote is asked for the time by each of its transactions.
func (p *present) wrote() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lifetime--; p.lifetime == 0 {
		p.cancel()
	}
}

func (p *present) dieAfter(writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifetime = writes
}

// downtime is one run of the test.
type downtime struct {
	t       *testing.T
	url     string
	log     *slog.Logger
	metrics *Metrics
	clock   *handClock
	up      []*present
	started int
}

func (d *downtime) start() {
	p := &present{began: d.clock.Now(), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	db := d.open(func() time.Time {
		p.wrote()
		return d.clock.Now()
	})
	c := newCron(db, d.clock, d.log, d.metrics, func() {})
	d.up = append(d.up, p)
	d.started++
	go func() {
		defer d.clock.end()
		err := c.Run(ctx)
		db.Close()
		p.done <- err
	}()
}

func (d *downtime) open(now func() time.Time) *store.DB {
	db, err := store.Open(context.Background(), d.url, store.Options{Clock: now, Log: d.log, MaxConns: 2})
	if err != nil {
		d.t.Fatal(err)
	}
	return db
}

func (d *downtime) stop(i int) {
	p := d.up[i]
	d.up = slices.Delete(d.up, i, i+1)
	p.cancel()
	select {
	case err := <-p.done:
		if err != nil {
			d.t.Errorf("Run ended with %v", err)
		}
	case <-time.After(patience):
		d.t.Fatal("a scheduler didn't end")
	}
}

func (d *downtime) settle() {
	d.t.Helper()
	if !d.clock.settled(d.started) {
		d.t.Fatalf("in %v the schedulers don't come to rest at %v", patience, d.clock.Now())
	}
}

// earliest is when the first of those who are there came.
func (d *downtime) earliest() time.Time {
	first := d.up[0].began
	for _, p := range d.up {
		if p.began.Before(first) {
			first = p.began
		}
	}
	return first
}

func TestTicksAreThoseOfThePolicyWhoeverIsDown(t *testing.T) {
	t.Parallel()
	// Every run starts with a copy of the same empty database: migrating takes longer than the run.
	empty := emptySQLite(t)
	runs := 30
	if testing.Short() {
		runs = 12
	}
	for seed := range runs {
		t.Run(fmt.Sprintf("sqlite/%d", seed), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			if err := os.WriteFile(path, empty, 0o600); err != nil {
				t.Fatal(err)
			}
			testDowntime(t, "sqlite:"+path, uint64(seed))
		})
	}
	for seed := range 4 {
		t.Run(fmt.Sprintf("postgres/%d", seed), func(t *testing.T) {
			t.Parallel()
			url := testenv.Postgres(t)
			migrate(t, url)
			testDowntime(t, url, 1000+uint64(seed))
		})
	}
}

func migrate(t *testing.T, url string) {
	t.Helper()
	db, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// emptySQLite is the file of a database that has tables and nothing in them.
func emptySQLite(t *testing.T) []byte {
	t.Helper()
	url := testenv.SQLite(t)
	migrate(t, url)
	path := strings.TrimPrefix(url, "sqlite:")
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		t.Fatal("closing the database left something in its log")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func testDowntime(t *testing.T, url string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	where := downZones[random.IntN(len(downZones))]
	begin := instant(t, where.start).Add(time.Duration(random.IntN(60)) * time.Minute)
	end := begin.AddDate(0, 0, 5)
	before := begin.AddDate(0, 0, -2) // the clock may be set back behind the start
	loc, err := time.LoadLocation(where.zone)
	if err != nil {
		t.Fatal(err)
	}

	// A policy of one or two entries. Misfires are mixed only where nobody dies in the middle of a pass.
	misfires := []policy.Misfire{policy.MisfireOnce, policy.MisfireAll, policy.MisfireSkip}
	mortal := random.IntN(3) == 0
	var source strings.Builder
	var entries []recorded
	source.WriteString("schedule:\n")
	for range 1 + random.IntN(2) {
		spec, misfire := downSpecs[random.IntN(len(downSpecs))], misfires[random.IntN(3)]
		if mortal {
			misfire = policy.MisfireAll
		}
		fmt.Fprintf(&source, "  - {job: reminder.run, cron: %q, time_zone: %s, misfire: %s}\n", spec.cron, where.zone, misfire)
		entries = append(entries, recorded{misfire, instants(loc, spec.matches, before, end.Add(48*time.Hour))})
	}
	p, err := policy.Parse([]byte(source.String()), "test policy")
	if err != nil {
		t.Skip("two entries are the same") // the policy doesn't take that
	}
	runs := newRecord(entries...)
	nightly := newRecord(recorded{policy.MisfireOnce, instants(time.UTC, func(t time.Time) bool {
		return t.Hour() == 2 && t.Minute() == 40
	}, before, end.Add(48*time.Hour))})

	var log bytes.Buffer
	var history []string
	note := func(format string, args ...any) { history = append(history, fmt.Sprintf(format, args...)) }
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, from %v\n%s%s\n%s", seed, begin, &source, strings.Join(history, "\n"), &log)
		}
	}()
	reg := prometheus.NewRegistry()
	d := &downtime{t: t, url: url, metrics: NewMetrics(reg), clock: newHandClock(begin),
		log: slog.New(slog.NewTextHandler(&log, nil))} // one writer at a time: the handler locks
	db := d.open(d.clock.Now)
	defer db.Close()
	defer func() {
		for len(d.up) > 0 {
			d.stop(0)
		}
	}()
	if _, _, err := db.ActivatePolicy(t.Context(), p); err != nil {
		t.Fatal(err)
	}

	for now := begin; ; {
		// Who is there has done what is due now; then some go and some come.
		for len(d.up) > 0 && random.IntN(4) == 0 {
			d.stop(random.IntN(len(d.up)))
			note("%v one goes, %d are left", now, len(d.up))
		}
		over := !now.Before(end)
		for len(d.up) < 3 && (random.IntN(3) == 0 || over && len(d.up) == 0) {
			d.start()
			note("%v one comes, %d are there", now, len(d.up))
		}
		d.settle()
		if len(d.up) > 0 {
			runs.present(d.earliest(), now)
			nightly.present(d.earliest(), now)
		}
		if over {
			break
		}
		dying := -1
		if mortal && len(d.up) > 0 && !runs.last(now).IsZero() && random.IntN(4) == 0 {
			dying = random.IntN(len(d.up))
			d.up[dying].dieAfter(1 + random.IntN(6))
		}
		now = later(random, now, entries)
		note("%v it is, with %d", now, len(d.up))
		d.clock.set(now)
		d.settle()
		if dying >= 0 {
			d.stop(dying)
			note("%v one died meanwhile", now)
		}
		if len(d.up) > 0 {
			runs.present(d.earliest(), now)
			nightly.present(d.earliest(), now)
		}
	}

	claimed, err := db.ClaimTicks(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]time.Time)
	for _, tick := range claimed {
		got[tick.Job] = append(got[tick.Job], tick.At)
	}
	compareTicks(t, policy.JobReminderRun, got[policy.JobReminderRun], runs.due)
	if !mortal { // one that died may or may not have added the one of that night
		compareTicks(t, jobCompare, got[jobCompare], nightly.due)
	}
	if n := counted(t, reg, "duebell_ticks_total", "job", policy.JobReminderRun, "event", "skipped"); n != float64(len(runs.skipped)) {
		t.Errorf("%v ticks were skipped, want %d", n, len(runs.skipped))
	}
	last, err := db.LastTick(t.Context(), policy.JobReminderRun, d.clock.Now())
	if want := runs.last(d.clock.Now()); err != nil || !last.Equal(want) {
		t.Errorf("the last tick is %v, want %v: %v", last, want, err)
	}
}

// later is the next instant at which the clock stops: near one at which something fires, as often as anywhere else; and
// sometimes it is set back.
func later(random *rand.Rand, now time.Time, entries []recorded) time.Time {
	switch random.IntN(8) {
	case 0:
		return now.Add(time.Duration(random.IntN(30*3600)) * time.Second)
	case 1:
		return now.Add(-time.Duration(random.IntN(2*3600)) * time.Second)
	case 2, 3:
		return now.Add(time.Duration(1+random.IntN(3*3600)) * time.Second)
	}
	next := now.Add(6 * time.Hour)
	list := entries[random.IntN(len(entries))].instants
	if i := slices.IndexFunc(list, now.Before); i >= 0 {
		next = list[min(i+random.IntN(2), len(list)-1)]
	}
	near := []time.Duration{-time.Microsecond, 0, 0, 0, time.Microsecond, 59 * time.Second, time.Minute, time.Minute + time.Microsecond}
	return next.Add(near[random.IntN(len(near))])
}

func compareTicks(t *testing.T, job string, got []time.Time, want map[time.Time]bool) {
	t.Helper()
	seen := make(map[time.Time]bool)
	for _, at := range got {
		if seen[at] {
			t.Errorf("%s: %v stands there twice", job, at)
		}
		if seen[at] = true; !want[at] {
			t.Errorf("%s: %v is there, and shouldn't be", job, at)
		}
	}
	for at := range want {
		if !seen[at] {
			t.Errorf("%s: %v is missing", job, at)
		}
	}
}
