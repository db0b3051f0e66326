package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"duebell/internal/policy"
	"duebell/store"
)

const (
	// applicationPrefix begins the applications' ids; the time at which a change was to be sent follows.
	applicationPrefix = "at-"
	// arriveIn is how long after the last call everything must have arrived.
	arriveIn = 30 * time.Second
	// quietFor is how long the programs are watched while nothing happens.
	quietFor = 20 * time.Second
	// unanswered calls at once end the benchmark: nothing answers any more.
	unanswered = 5000
)

// latencyOptions are those of latency; zero: what the benchmark is about.
type latencyOptions struct {
	sessions, book, rate int
	duration             time.Duration
}

// latency is how long a status change takes from the call of the ingest API to the frame that the borrower's client has read: on the
// three programs and a second worker, and again while the workers run over a book whose installments are all due.
func latency(ctx context.Context, r *rig, o latencyOptions) (any, error) {
	sessions, book := cmp.Or(o.sessions, 2000), cmp.Or(o.book, 1_000_000)
	db, err := r.synced(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	s, err := store.Open(ctx, r.database, store.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	rules, err := policy.Parse([]byte(runPolicy), "bench")
	if err != nil {
		return nil, err
	}
	version, _, err := s.ActivatePolicy(ctx, rules)
	if err != nil {
		return nil, err
	}
	if err := makeBook(ctx, db, version.Version, book, book); err != nil {
		return nil, fmt.Errorf("make the book: %w", err)
	}
	file, remove, err := policyFile(runPolicy)
	if err != nil {
		return nil, err
	}
	defer remove()
	l := &latencyRig{rig: r, db: db, sessions: sessions, rate: cmp.Or(o.rate, 500)}
	defer l.stop()
	if err := l.start(ctx, "POLICY_FILE="+file); err != nil {
		return nil, err
	}
	fmt.Printf("a book of %d installments that are due, %d borrowers with loans on-line\n", book, sessions)

	idle, err := l.idle(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := l.during(ctx, 3*time.Second, nil); err != nil { // what is made at first use
		return nil, err
	}
	fmt.Printf("\n%-12s %8s %7s %8s %8s %8s %10s %10s   %s\n", "", "sent", "/s", "p50 ms", "p99 ms", "max ms", "API p50", "API p99", "% of a core")
	calm, err := l.during(ctx, o.duration, nil)
	if err != nil {
		return nil, err
	}
	calm.print("nothing else")

	tick := time.Now()
	if _, err := s.AddTick(ctx, policy.JobReminderRun, tick); err != nil {
		return nil, err
	}
	if err := l.begun(ctx, tick); err != nil {
		return nil, err
	}
	busy, err := l.during(ctx, o.duration, func() (bool, error) {
		var running bool
		err := db.QueryRowContext(ctx, `SELECT done_at IS NULL FROM ticks ORDER BY at DESC LIMIT 1`).Scan(&running)
		return running, err
	})
	if err != nil {
		return nil, err
	}
	busy.print("during a run")
	var settled, due int64
	if err := db.QueryRowContext(ctx, `SELECT settled, due FROM ticks ORDER BY at DESC LIMIT 1`).Scan(&settled, &due); err != nil {
		return nil, err
	}
	fmt.Printf("the run had settled %d of %d by then\n", settled, due)
	return map[string]float64{"p50_ms": calm.p50, "p99_ms": calm.p99, "p99_during_run_ms": busy.p99, "idle_cpu_pct": idle}, nil
}

// latencyRig is the programs and their clients.
type latencyRig struct {
	*rig
	db        *sql.DB
	sessions  int
	rate      int // status changes a second
	programs  []*target
	scheduler *target
	client    *clientProcess
	token     string
	calls     *http.Client
}

func (l *latencyRig) stop() {
	if l.client != nil {
		l.client.stop()
	}
	for _, t := range l.programs {
		t.stop()
	}
}

// start starts them, the programs with these variables too, and has the clients connect.
func (l *latencyRig) start(ctx context.Context, env ...string) (err error) {
	var pusher *target
	for _, p := range []struct {
		name, host string
		to         **target
	}{{"scheduler", "127.4.0.1", &l.scheduler}, {"worker", "127.4.0.1", nil}, {"worker", "127.4.1.1", nil}, {"pusher", "127.4.0.1", &pusher}} {
		t, err := l.program(p.name, p.host, env...)
		l.programs = append(l.programs, t)
		if err != nil {
			return err
		}
		if p.to != nil {
			*p.to = t
		}
	}
	if l.token, err = l.rig.token("duebell:ingest"); err != nil {
		return err
	}
	l.calls = &http.Client{Timeout: arriveIn, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	if err := l.lend(ctx); err != nil {
		return err
	}
	if l.client, err = startClient(); err != nil {
		return err
	}
	a, err := l.client.do(order{Do: "connect", Address: pusher.address, Source: "127.4.0.2", Speech: "status", Count: l.sessions})
	if err == nil && a.Connected < l.sessions {
		err = fmt.Errorf("%d connections failed", a.Failed)
	}
	return err
}

// lend imports borrowers, each with a loan that has installments ahead.
func (l *latencyRig) lend(ctx context.Context) error {
	var users, loans, installments strings.Builder
	for n := range l.sessions {
		fmt.Fprintf(&users, `{"id":"%s","name":"Borrower %d","time_zone":"Europe/Prague","locale":"en"}`+"\n", userName(n), n)
		fmt.Fprintf(&loans, `{"id":"B%d","borrower_id":"%s","product":"Car loan","currency":"EUR","status":"active"}`+"\n", n, userName(n))
		for number := 1; number <= 6; number++ {
			fmt.Fprintf(&installments, `{"loan_id":"B%d","number":%d,"due_date":"%s","amount_due":"250.00","amount_paid":"0"}`+"\n",
				n, number, time.Now().AddDate(0, number, n%20).Format(time.DateOnly))
		}
	}
	for _, part := range []struct{ name, rows string }{{"users", users.String()}, {"loans", loans.String()}, {"installments", installments.String()}} {
		if err := l.call(ctx, "/v1/import/"+part.name, "application/x-ndjson", part.rows); err != nil {
			return err
		}
	}
	return nil
}

func (l *latencyRig) call(ctx context.Context, path, media, body string) error {
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+l.scheduler.address+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+l.token)
	request.Header.Set("Content-Type", media)
	response, err := l.calls.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("POST %s: %s: %s", path, response.Status, said)
	}
	return err
}

// idle is the most that one of the programs takes of a core while nothing happens, in per cent.
func (l *latencyRig) idle(ctx context.Context) (highest float64, err error) {
	time.Sleep(5 * time.Second) // after the connects
	before, err := l.cpu()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(quietFor):
	}
	after, err := l.cpu()
	if err != nil {
		return 0, err
	}
	fmt.Print("at rest:")
	for i, t := range l.programs {
		percent := (after[i] - before[i]).Seconds() / quietFor.Seconds() * 100
		highest = max(highest, percent)
		fmt.Printf(" %s %.1f %%", t.name, percent)
	}
	fmt.Println(" of a core")
	return hundredths(highest), nil
}

func (l *latencyRig) cpu() ([]time.Duration, error) {
	list := make([]time.Duration, len(l.programs))
	for i, t := range l.programs {
		u, err := t.usage()
		if err != nil {
			return nil, err
		}
		list[i] = u.cpu
	}
	return list, nil
}

// begun waits until a run is well under way.
func (l *latencyRig) begun(ctx context.Context, tick time.Time) error {
	for time.Since(tick) < time.Minute {
		var settled int64
		err := l.db.QueryRowContext(ctx, `SELECT settled FROM ticks ORDER BY at DESC LIMIT 1`).Scan(&settled)
		if err != nil {
			return err
		}
		if settled > 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("the run hasn't begun")
}

// took is what status changes took.
type took struct {
	sent          int
	rate          float64
	p50, p99, max float64 // ms, from the time at which a call was to be made to the frame
	api           histogram
	cores         string
}

func (t *took) print(name string) {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	fmt.Printf("%-12s %8d %7.0f %8.1f %8.1f %8.1f %10.1f %10.1f   %s\n", name, t.sent, t.rate, t.p50, t.p99, t.max,
		ms(t.api.quantile(0.5)), ms(t.api.quantile(0.99)), t.cores)
}

// during sends status changes for so long, and while going says so where it is given. Each call has its time, whatever became of
// the calls before: so a pause of the programs counts for all that should have been sent in it. All must arrive once.
func (l *latencyRig) during(ctx context.Context, duration time.Duration, going func() (bool, error)) (*took, error) {
	if _, err := l.client.do(order{Do: "mark"}); err != nil {
		return nil, err
	}
	cpuBefore, err := l.cpu()
	if err != nil {
		return nil, err
	}
	result := new(took)
	var mutex sync.Mutex
	var failure error
	open := make(chan struct{}, unanswered)
	var calls sync.WaitGroup
	start := time.Now().Add(10 * time.Millisecond)
	looked := start
	for ; ; result.sent++ {
		at := start.Add(time.Duration(result.sent) * time.Second / time.Duration(l.rate))
		if at.Sub(start) >= duration {
			break
		}
		time.Sleep(time.Until(at))
		if going != nil && time.Since(looked) > time.Second {
			looked = time.Now()
			if on, err := going(); err != nil || !on {
				if err != nil {
					return nil, err
				}
				break
			}
		}
		mutex.Lock()
		err := failure
		mutex.Unlock()
		if err = errors.Join(err, ctx.Err()); err != nil {
			calls.Wait()
			return nil, err
		}
		select {
		case open <- struct{}{}:
		default:
			mutex.Lock()
			defer mutex.Unlock()
			return nil, fmt.Errorf("after %.1f s %d calls are not answered, those that were took %.0f ms (median): more than the machine holds",
				time.Since(start).Seconds(), unanswered, float64(result.api.quantile(0.5))/1000)
		}
		borrower := rand.IntN(l.sessions)
		calls.Go(func() {
			err := l.change(ctx, at, borrower)
			mutex.Lock()
			defer mutex.Unlock()
			<-open
			if err != nil && failure == nil { // the others mostly say the same
				failure = err
			}
			result.api.add(time.Since(at))
		})
	}
	lasted := time.Since(start)
	calls.Wait()
	if failure != nil {
		return nil, failure
	}
	cpuAfter, err := l.cpu()
	if err != nil {
		return nil, err
	}
	a, err := l.arrived(ctx, result.sent)
	if err != nil {
		return nil, err
	}
	_, h := total([]answer{a})
	ms := func(us int64) float64 { return hundredths(float64(us) / 1000) }
	result.p50, result.p99, result.max = ms(h.quantile(0.5)), ms(h.quantile(0.99)), ms(h.Max)
	result.rate = float64(result.sent) / lasted.Seconds()
	var cores []string
	for i, t := range l.programs {
		cores = append(cores, fmt.Sprintf("%s %.0f", t.name, (cpuAfter[i]-cpuBefore[i]).Seconds()/lasted.Seconds()*100))
	}
	result.cores = strings.Join(cores, ", ")
	return result, nil
}

// change posts one change of an application of its own.
func (l *latencyRig) change(ctx context.Context, at time.Time, borrower int) error {
	body := make([]byte, 0, 256)
	id := func(prefix string) {
		body = strconv.AppendInt(append(body, prefix...), at.UnixNano(), 10)
	}
	id(`{"id":"c-`)
	id(`","application_id":"` + applicationPrefix)
	body = append(body, `","borrower_id":"`+userName(borrower)+`","from":"under_review","to":"approved","occurred_at":"`...)
	body = at.UTC().AppendFormat(body, time.RFC3339)
	return l.call(ctx, "/v1/status-changes", "application/json", string(append(body, `"}`...)))
}

// arrived waits until the clients have everything, once.
func (l *latencyRig) arrived(ctx context.Context, sent int) (a answer, err error) {
	for deadline := time.Now().Add(arriveIn); ; {
		if a, err = l.client.do(order{Do: "report"}); err != nil {
			return a, err
		}
		if a.Messages >= int64(sent) || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(settle) // what comes twice comes late
	if a, err = l.client.do(order{Do: "report"}); err != nil {
		return a, err
	}
	if a.Messages != int64(sent) || a.Doubled > 0 || a.Broken > 0 || a.Dead > 0 {
		return a, fmt.Errorf("of %d changes %d arrived, %d of them again; %d frames broke their chain, %d sessions ended", sent, a.Messages, a.Doubled, a.Broken, a.Dead)
	}
	var waiting int
	if err := l.db.QueryRowContext(ctx, `SELECT count(*) FROM status_changes WHERE done_at IS NULL`).Scan(&waiting); err != nil {
		return a, err
	}
	if waiting > 0 {
		return a, fmt.Errorf("%d changes of the outbox aren't done", waiting)
	}
	return a, nil
}

func hundredths(v float64) float64 { return math.Round(v*100) / 100 }
