package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"duebell/internal/policy"
)

const (
	sampleEvery = 10 * time.Second
	// soakFraction of the highest rate that the machine holds is what a soak runs at: nothing queues, so what grows is kept.
	soakFraction = 5
	// comeAndGo is how many sessions come and go between two samples.
	comeAndGo = 100
	// soakOpen calls at once; beyond that the next one waits.
	soakOpen = 256
	// What a process may gain an hour: a tenth of its level. A program that is deployed anew each week must not have to be restarted
	// before, and a machine has room for several times of what these take; less than a tenth an hour isn't told from what
	// caches and pools still fill up with. soakLeastHeap is worth a word for each ten calls of half an hour at a hundred a second, so a
	// leak of a few bytes a call is found; soakLeast, of files and goroutines, is what connection pools come and go by.
	soakPart      = 0.1
	soakLeastHeap = 256 << 10
	soakLeast     = 3
)

// soakPolicy ticks each minute, so that the way of a tick is among what goes on.
const soakPolicy = `reminders: [{kind: repayment.due_today, at: 0d}]
send_at: "00:00"
max_late: 2d
schedule: [{job: reminder.run, cron: "* * * * *"}]
`

// soakRates are tried from below until one isn't held.
var soakRates = []int{10, 25, 50, 100, 200, 400, 600, 800, 1000, 1500}

// soakOptions are those of soak; zero: what it is about.
type soakOptions struct {
	sessions, rate int
	duration       time.Duration
}

// soak has the three programs and a second worker work for long at a fifth of what they hold: status changes, payments, lists read and
// marked as read, ticks, and sessions that come and go. It says what gets more: in the second half, since caches and pools fill up
// in the first one.
func soak(ctx context.Context, r *rig, o soakOptions) (any, error) {
	o.sessions, o.duration = cmp.Or(o.sessions, 2000), cmp.Or(o.duration, time.Hour)
	db, err := r.synced(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rules, err := policy.Parse([]byte(soakPolicy), "soak")
	if err != nil {
		return nil, err
	}
	if _, err := r.activate(ctx, rules); err != nil {
		return nil, err
	}
	file, remove, err := policyFile(soakPolicy)
	if err != nil {
		return nil, err
	}
	defer remove()
	l := &latencyRig{rig: r, db: db, sessions: o.sessions}
	defer l.stop()
	// By its profiles a sample asks a program for a collection.
	if err := l.start(ctx, "POLICY_FILE="+file, "PPROF=true"); err != nil {
		return nil, err
	}
	// What a burst has opened is closed again: a pool that keeps it would be most of the scheduler's files and goroutines.
	l.calls = &http.Client{Timeout: arriveIn, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 5 * time.Second}}
	if o.rate == 0 {
		highest, err := l.highest(ctx)
		if err != nil {
			return nil, err
		}
		o.rate = max(1, highest/soakFraction)
	}
	s := &soaking{latencyRig: l, figures: map[string][]float64{}}
	for _, t := range l.programs {
		name := t.name
		if t.name == "worker" {
			name = "worker " + t.address[:strings.IndexByte(t.address, ':')]
		}
		s.names = append(s.names, name)
		if t.name == "pusher" {
			s.pusher = "http://" + t.address
		}
	}
	fmt.Printf("%.0f minutes of %d status changes a second, %d payments, %d lists read and %d marked as read; %d sessions that stay and %d that come and go each %v\n",
		o.duration.Minutes(), o.rate, o.rate/5, o.rate/5, o.rate/10, o.sessions, comeAndGo, sampleEvery)
	if err := s.work(ctx, o); err != nil {
		return nil, err
	}
	return s.judge(ctx, o)
}

// highest is the highest rate of status changes that is held for 10 s: all of them arrive, and the slowest hundredth within a second,
// so that nothing queues up.
func (l *latencyRig) highest(ctx context.Context) (held int, err error) {
	for _, rate := range soakRates {
		l.rate = rate
		for try := 0; try < tries && held < rate; try++ {
			t, err := l.during(ctx, 10*time.Second, nil)
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if err != nil {
				fmt.Printf("%d status changes a second aren't held: %.200s\n", rate, err.Error())
				if err := l.settled(ctx); err != nil {
					return 0, err
				}
				continue
			}
			fmt.Printf("%d status changes a second: p50 %.1f ms, p99 %.1f ms\n", rate, t.p50, t.p99)
			if t.p99 <= 1000 {
				held = rate
			}
		}
		if held < rate {
			break
		}
	}
	if held == 0 {
		return 0, fmt.Errorf("the machine doesn't hold %d status changes a second", soakRates[0])
	}
	return held, nil
}

// settled waits until the outbox is empty, of what a rate that wasn't held has left too.
func (l *latencyRig) settled(ctx context.Context) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		var waiting int
		if err := l.db.QueryRowContext(ctx, `SELECT count(*) FROM status_changes WHERE done_at IS NULL`).Scan(&waiting); err != nil || waiting == 0 {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return errors.New("the outbox isn't empty after two minutes")
}

// soaking is a soak under way.
type soaking struct {
	*latencyRig
	pusher string
	names  []string // of programs, in their order

	figures map[string][]float64 // samples by name
	order   []string             // of names
	bytes   [2]float64           // of all tables, at the start and at the end
	made    [2]float64           // notifications

	mutex   sync.Mutex
	failed  int
	failure error // the first
	sent    int   // status changes
	late    int
	again   atomic.Int64 // calls that were made once more
}

// work sends calls and takes samples until the time is over, and then waits for what is on its way.
func (s *soaking) work(ctx context.Context, o soakOptions) (err error) {
	if _, err := s.client.do(order{Do: "mark"}); err != nil {
		return err
	}
	if s.bytes[0], s.made[0], err = s.stored(ctx); err != nil {
		return err
	}
	calling, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	var calls sync.WaitGroup
	calls.Go(func() { s.drive(calling, o.rate) })
	err = s.watch(calling)
	stop()
	calls.Wait()
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	if s.failed > 0 {
		return fmt.Errorf("%d calls failed: %w", s.failed, s.failure)
	}
	if err := s.settled(ctx); err != nil {
		return err
	}
	var a answer
	for deadline := time.Now().Add(arriveIn); a.Messages < int64(s.sent) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if a, err = s.client.do(order{Do: "report"}); err != nil {
			return err
		}
	}
	if a.Messages != int64(s.sent) || a.Broken > 0 || a.Dead > 0 {
		return fmt.Errorf("of %d changes %d arrived; %d frames broke their chain, %d sessions ended", s.sent, a.Messages, a.Broken, a.Dead)
	}
	_, h := total([]answer{a})
	fmt.Printf("%d status changes, all arrived: p50 %.1f ms, p99 %.1f ms; %d calls had to wait for others, %d were made again\n", s.sent, float64(h.quantile(0.5))/1000, float64(h.quantile(0.99))/1000, s.late, s.again.Load())
	s.bytes[1], s.made[1], err = s.stored(ctx)
	return err
}

// drive makes the calls, each at its time or, when too many are open, later.
func (s *soaking) drive(ctx context.Context, rate int) {
	open := make(chan struct{}, soakOpen)
	var calls sync.WaitGroup
	defer calls.Wait()
	do := func(call func(ctx context.Context) error) {
		select {
		case open <- struct{}{}:
		default:
			s.late++
			open <- struct{}{}
		}
		calls.Go(func() {
			defer func() { <-open }()
			// What has begun is finished: a call that is cut off may have been heard. One that isn't answered well is made again, as
			// its ids allow: on a busy machine the database may have no time for it.
			ctx := context.WithoutCancel(ctx)
			var err error
			for start := time.Now(); time.Since(start) < arriveIn; time.Sleep(time.Second) {
				if err = call(ctx); err == nil {
					return
				}
				s.again.Add(1)
			}
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.failed++
			s.failure = cmp.Or(s.failure, err)
		})
	}
	start := time.Now()
	for n := 0; ; n++ {
		at := start.Add(time.Duration(n) * time.Second / time.Duration(rate))
		select {
		case <-ctx.Done():
			s.sent = n
			return
		case <-time.After(time.Until(at)):
		}
		at, borrower := time.Now(), rand.IntN(s.sessions) // its time is its id
		do(func(ctx context.Context) error { return s.change(ctx, at, borrower) })
		if n%5 == 0 {
			do(func(ctx context.Context) error { return s.pay(ctx, at, rand.IntN(s.sessions)) })
			do(func(ctx context.Context) error { return s.inbox(ctx, "GET", "?limit=20", borrower) })
		}
		if n%10 == 0 {
			do(func(ctx context.Context) error { return s.inbox(ctx, "POST", "/read-all", rand.IntN(s.sessions)) })
		}
	}
}

func (s *soaking) pay(ctx context.Context, at time.Time, borrower int) error {
	return s.call(ctx, "/v1/payments", "application/json", fmt.Sprintf(`{"id":"p-%d","loan_id":"B%d","amount":"0.01","paid_at":"%s"}`,
		at.UnixNano(), borrower, at.UTC().Format(time.RFC3339)))
}

// inbox calls the pusher's API as a borrower.
func (s *soaking) inbox(ctx context.Context, method, path string, borrower int) error {
	request, err := http.NewRequestWithContext(ctx, method, s.pusher+"/v1/notifications"+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token(borrower))
	if method == "POST" {
		request.Header.Set("Content-Type", "application/json")
		request.Body = io.NopCloser(strings.NewReader("{}"))
	}
	response, err := s.calls.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s /v1/notifications%s: %s: %s", method, path, response.Status, said)
	}
	return err
}

// watch takes samples until the time is over. Between two of them sessions come and go.
func (s *soaking) watch(ctx context.Context) error {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	var visitors *clientProcess
	leave := func() {
		if visitors != nil {
			visitors.stop()
		}
		visitors = nil
	}
	defer leave()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		leave()
		time.Sleep(500 * time.Millisecond) // until the pusher has seen it
		if err := s.sample(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // the last one came too late
			}
			return err
		}
		if n%6 == 0 {
			s.say(n)
		}
		var err error
		if visitors, err = startClient(); err != nil {
			return err
		}
		a, err := visitors.do(order{Do: "connect", Address: strings.TrimPrefix(s.pusher, "http://"), Source: "127.4.0.3", Speech: "status", Count: min(comeAndGo, s.sessions)})
		if err != nil {
			return err
		}
		if a.Failed > 0 {
			return fmt.Errorf("%d sessions that came failed", a.Failed)
		}
	}
}

func (s *soaking) note(name string, value float64) {
	if _, known := s.figures[name]; !known {
		s.order = append(s.order, name)
	}
	s.figures[name] = append(s.figures[name], value)
}

// ofProgram are the figures of a program, by the name that /metrics has for them.
var ofProgram = []struct{ metric, name string }{
	{"go_memstats_heap_alloc_bytes", "heap"}, {"process_resident_memory_bytes", "RSS"}, {"process_open_fds", "files"}, {"go_goroutines", "goroutines"},
}

func (s *soaking) sample(ctx context.Context) error {
	for i, t := range s.programs {
		ops := t.address
		if t.name == "pusher" {
			ops = t.address[:strings.IndexByte(t.address, ':')] + ":8092"
		}
		// A collection first: the heap is then what is in use.
		if _, err := s.get(ctx, "http://"+ops+"/debug/pprof/heap?gc=1"); err != nil {
			return err
		}
		text, err := s.get(ctx, "http://"+ops+"/metrics")
		if err != nil {
			return err
		}
		values := metricsOf(text)
		for _, f := range ofProgram {
			value, ok := values[f.metric]
			if !ok {
				return fmt.Errorf("%s has no %s", s.names[i], f.metric)
			}
			s.note(s.names[i]+" "+f.name, value)
		}
	}
	memory, err := s.redis.InfoMap(ctx, "memory").Result()
	if err != nil {
		return err
	}
	used, err := strconv.ParseFloat(memory["Memory"]["used_memory"], 64)
	if err != nil {
		return err
	}
	s.note("redis memory", used)
	keys, err := s.redis.DBSize(ctx).Result()
	if err != nil {
		return err
	}
	s.note("redis keys", float64(keys))
	rows, err := s.db.QueryContext(ctx, `
		SELECT relname, pg_total_relation_size(relid), n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY relname`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var size, dead float64
	for rows.Next() {
		var table string
		var bytes, n float64
		if err := rows.Scan(&table, &bytes, &n); err != nil {
			return err
		}
		size, dead = size+bytes, dead+n
		s.note("table "+table, bytes)
		s.note("dead "+table, n)
	}
	s.note("tables", size)
	s.note("dead rows", dead)
	return rows.Err()
}

func (s *soaking) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.calls.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return text, err
}

// metricsOf are the values of metrics without labels.
func metricsOf(text []byte) map[string]float64 {
	values := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values
}

// say shows the last sample.
func (s *soaking) say(n int) {
	fmt.Printf("%6.0f min:", (time.Duration(n) * sampleEvery).Minutes())
	last := func(name string) float64 { return s.figures[name][len(s.figures[name])-1] }
	for _, name := range s.names {
		fmt.Printf("  %s %.1f/%.0f MB, %.0f files, %.0f goroutines;", name, last(name+" heap")/1e6, last(name+" RSS")/1e6, last(name+" files"), last(name+" goroutines"))
	}
	fmt.Printf("  redis %.1f MB; tables %.0f MB, %.0f dead rows\n", last("redis memory")/1e6, last("tables")/1e6, last("dead rows"))
}

// stored is how much room the tables take, and how many notifications there are.
func (s *soaking) stored(ctx context.Context) (size, notifications float64, err error) {
	err = s.db.QueryRowContext(ctx, `
		SELECT (SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE schemaname = 'public'), (SELECT count(*) FROM notifications)`).Scan(&size, &notifications)
	return size, notifications, err
}

// judge says how each figure moved, and fails if a program keeps what it should have let go.
func (s *soaking) judge(ctx context.Context, o soakOptions) (any, error) {
	result := map[string]float64{"minutes": hundredths(o.duration.Minutes()), "per_s": float64(o.rate),
		"bytes_per_notification": hundredths((s.bytes[1] - s.bytes[0]) / max(1, s.made[1]-s.made[0]))}
	fmt.Printf("\n%-40s %14s %14s %14s %10s\n", "second half", "level", "an hour", "±", "%")
	var leaks []string
	for _, name := range s.order {
		half := s.figures[name][len(s.figures[name])/2:]
		t := trendOf(half, sampleEvery.Seconds())
		if strings.HasPrefix(name, "dead ") && t.level < 100 || strings.HasPrefix(name, "table ") && t.perHour == 0 {
			continue
		}
		percent := 0.0
		if t.level > 0 {
			percent = t.perHour / t.level * 100
		}
		fmt.Printf("%-40s %14.0f %14.0f %14.0f %10.1f\n", name, t.level, t.perHour, t.off, percent)
		_, figure, _ := strings.Cut(name, " ")
		figure = figure[strings.LastIndexByte(figure, ' ')+1:]
		least := float64(soakLeast)
		switch figure {
		case "heap":
			least = soakLeastHeap
		case "files", "goroutines":
		case "RSS": // it follows the heap, and the kernel's reclaim; said, not judged
			result["rss_pct_h"] = max(result["rss_pct_h"], hundredths(percent))
			continue
		default:
			continue
		}
		result[figure+"_pct_h"] = max(result[figure+"_pct_h"], hundredths(percent))
		if t.leaks(soakPart, least, float64(len(half))*sampleEvery.Hours()) {
			leaks = append(leaks, name)
		}
	}
	fmt.Printf("%.0f notifications, %.0f bytes of tables and indexes each\n", s.made[1]-s.made[0], result["bytes_per_notification"])
	result["leaks"] = float64(len(leaks))
	result["redis_mb"] = hundredths(trendOf(s.figures["redis memory"], 1).level / 1e6)
	if len(leaks) > 0 {
		return result, fmt.Errorf("these grow by more than %.0f %% an hour: %s", soakPart*100, strings.Join(leaks, ", "))
	}
	return result, ctx.Err()
}
