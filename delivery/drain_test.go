package delivery

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"duebell/internal/testenv"
	"duebell/store"
)

// crowdEnv makes this test binary the process of the crowd: where it goes, as JSON.
const crowdEnv = "DUEBELL_TEST_CROWD"

// crowdOrders says what a crowd does: that many people connect to From, and to To when they are sent away.
type crowdOrders struct {
	People   int
	From, To string // host:port
}

func personName(i int) string { return fmt.Sprintf("person%d", i) }

// crowdReport is what became of them, a person each.
type crowdReport struct {
	Moved   int
	Revs    []int64
	Items   []int   // notifications that came
	Told    []int64 // reconnect_ms of goaway
	LateMS  []int64 // from the time that it was told to the close
	AwayMS  []int64 // from the close to the next hello
	Trouble []string
}

// TestCrowd is no test: it is the crowd's process, so that the sockets of both ends are not in one.
func TestCrowd(t *testing.T) {
	text := os.Getenv(crowdEnv)
	if text == "" {
		t.Skip("runs only as the other process of another test")
	}
	var orders crowdOrders
	if err := json.Unmarshal([]byte(text), &orders); err != nil {
		t.Fatal(err)
	}
	c := &crowd{t: t, orders: orders, chains: make([]chain, orders.People)}
	c.report.Told, c.report.LateMS, c.report.AwayMS = make([]int64, orders.People), make([]int64, orders.People), make([]int64, orders.People)
	connected := make(chan struct{}, orders.People)
	failed := make(chan string, 1)
	atOnce := make(chan struct{}, 100)
	for i := range orders.People {
		select {
		case atOnce <- struct{}{}:
		case trouble := <-failed:
			t.Fatal(trouble)
		}
		go func() {
			err := c.person(i, func() { <-atOnce; connected <- struct{}{} })
			trouble := fmt.Sprintf("%s: %v", personName(i), err)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.report.Trouble = append(c.report.Trouble, trouble)
			select {
			case failed <- trouble:
			default:
			}
		}()
	}
	for range orders.People {
		select {
		case <-connected:
		case trouble := <-failed:
			t.Fatal(trouble)
		}
	}
	fmt.Println("connected")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); { // each line asks for a report
		c.mu.Lock()
		c.report.Revs, c.report.Items = nil, nil
		for i := range c.chains {
			c.report.Revs = append(c.report.Revs, c.chains[i].rev)
			c.report.Items = append(c.report.Items, len(c.chains[i].items))
			if err := c.chains[i].err; err != nil {
				c.report.Trouble = append(c.report.Trouble, fmt.Sprintf("%s: %v", personName(i), err))
			}
		}
		c.report.Trouble = c.report.Trouble[:min(len(c.report.Trouble), 10)]
		err := json.NewEncoder(os.Stdout).Encode(c.report)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

type crowd struct {
	t      *testing.T
	orders crowdOrders

	mu     sync.Mutex
	chains []chain
	report crowdReport
}

// person follows an inbox, on one pusher and then on the other, and returns only if something is wrong.
func (c *crowd) person(i int, connected func()) error {
	token := tokenAt(c.t, personName(i), time.Now().Add(-time.Minute), time.Hour)
	l, err := dialLight(c.orders.From, "", token)
	if err != nil {
		return err
	}
	if m, err := l.next(); err != nil {
		return err
	} else if c.take(i, m); m.Type != "hello" {
		return fmt.Errorf("%s instead of hello", m.Type)
	}
	connected()
	var told time.Time
	var wait time.Duration
	for {
		m, err := l.next()
		if err != nil {
			if closed, ok := errors.AsType[closedError](err); !ok || closed.code != closeRestarting || told.IsZero() {
				return fmt.Errorf("%w; told to go away: %v", err, !told.IsZero())
			}
			l.Close()
			break
		}
		if m.Type == "goaway" {
			told, wait = time.Now(), time.Duration(m.ReconnectMS)*time.Millisecond
		} else {
			c.take(i, m)
		}
	}
	closed := time.Now()
	c.mu.Lock()
	query := c.chains[i].query()
	c.mu.Unlock()
	if l, err = dialLight(c.orders.To, query, token); err != nil {
		return fmt.Errorf("coming back: %w", err)
	}
	defer l.Close()
	for first := true; ; first = false {
		m, err := l.next()
		if err != nil {
			return fmt.Errorf("after coming back: %w", err)
		}
		c.take(i, m)
		if first {
			c.mu.Lock()
			c.report.Moved++
			c.report.Told[i], c.report.LateMS[i], c.report.AwayMS[i] = wait.Milliseconds(), (closed.Sub(told) - wait).Milliseconds(), time.Since(closed).Milliseconds()
			c.mu.Unlock()
		}
	}
}

func (c *crowd) take(i int, m clientMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chains[i].take(m)
}

// reads counts what sessions read from the store.
type reads struct {
	Store
	starts, people, catchUps atomic.Int64
}

func (r *reads) Heads(ctx context.Context, recipients []string) (string, []store.Head, error) {
	if len(recipients) > 0 {
		r.starts.Add(1)
		r.people.Add(int64(len(recipients)))
	}
	return r.Store.Heads(ctx, recipients)
}

func (r *reads) Changes(ctx context.Context, recipient string, afterRev int64, afterID string, limit int) (store.Page, error) {
	r.catchUps.Add(1)
	return r.Store.Changes(ctx, recipient, afterRev, afterID, limit)
}

func (r *reads) ChangedRows(ctx context.Context, recipient string, afterRev int64, max int) (int, error) {
	r.catchUps.Add(1)
	return r.Store.ChangedRows(ctx, recipient, afterRev, max)
}

// All clients of a pusher that stops come back to another one, while notifications go on. DUEBELL_TEST_DRAIN=19000 does it
// with as many as one pusher has.
func TestDrainMovesACrowd(t *testing.T) {
	people, window := 2000, 4*time.Second
	if n, err := strconv.Atoi(os.Getenv("DUEBELL_TEST_DRAIN")); err == nil {
		people, window = n, 10*time.Second
	}
	dbURL, redisURL := testenv.Postgres(t), testenv.RedisServer(t).URL
	// The load is this machine's, so nobody is dropped for being slow.
	patient := func(o *Options) {
		o.HandshakeTimeout, o.PingInterval, o.PongTimeout = time.Minute, time.Minute, 50*time.Second
	}
	counting := new(reads)
	from := start(t, dbURL, redisURL, func(o *Options) { patient(o); o.DrainWindow = window })
	to := start(t, dbURL, redisURL, func(o *Options) { patient(o); counting.Store, o.Store = o.Store, counting })

	orders, err := json.Marshal(crowdOrders{people, from.addr(), to.addr()})
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrowd$", "-test.timeout=10m")
	process.Env = append(os.Environ(), crowdEnv+"="+string(orders))
	process.Stderr = os.Stderr
	in, err1 := process.StdinPipe()
	out, err2 := process.StdoutPipe()
	if err := errors.Join(err1, err2, process.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = process.Wait() }()
	lines := bufio.NewReaderSize(out, 1<<20)
	if line, err := lines.ReadString('\n'); err != nil || line != "connected\n" {
		rest, _ := lines.ReadString(0) // it has ended
		t.Fatalf("the crowd says %s%s", line, rest)
	}
	ask := func() (report crowdReport) {
		t.Helper()
		if _, err := io.WriteString(in, "report\n"); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if err == nil {
			err = json.Unmarshal([]byte(line), &report)
		}
		if err != nil {
			t.Fatalf("no report of the crowd: %v", err)
		}
		if len(report.Trouble) > 0 {
			t.Fatalf("trouble: %q", report.Trouble)
		}
		return report
	}

	// Whatever happens, happens on.
	telling, stop := context.WithCancel(t.Context())
	told := make([]int, people)
	var working sync.WaitGroup
	working.Go(func() {
		for at := 0; telling.Err() == nil; {
			var names []string
			for range 10 {
				names = append(names, personName(at))
				told[at]++
				at = (at + 7) % people // 7 and the usual numbers of people share no divisor: all get some
			}
			if err := tell(t.Context(), to.db, 1, names...); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	drained := make(chan struct{})
	began := time.Now()
	go func() { from.stop(); close(drained) }()
	<-drained
	took := time.Since(began)
	var report crowdReport
	deadline := time.Now().Add(2 * time.Minute)
	for report = ask(); report.Moved < people; report = ask() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d came back", report.Moved, people)
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	working.Wait()
	for ; !slices.Equal(report.Items, told); report = ask() {
		if time.Now().After(deadline) {
			for i := range told {
				if report.Items[i] != told[i] {
					t.Fatalf("%s got %d notifications of %d", personName(i), report.Items[i], told[i])
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}

	var fifths [5]int
	for i := range people {
		ms := report.Told[i]
		if ms < 0 || ms >= window.Milliseconds() {
			t.Fatalf("told to come back in %d ms; the window is %s", ms, window)
		}
		fifths[ms*5/window.Milliseconds()]++
	}
	for _, n := range fifths {
		if n < people/10 {
			t.Errorf("they come back in fifths of %v: not spread", fifths)
			break
		}
	}
	// Who was told to wait is let go at that time, give or take what this machine needs.
	if late := slices.Max(report.LateMS); late > 5000 {
		t.Errorf("somebody was kept for %d ms longer than told", late)
	}
	if took > window+30*time.Second {
		t.Errorf("the pusher needed %s to stop", took)
	}
	starts, everybody, catchUps := counting.starts.Load(), counting.people.Load(), counting.catchUps.Load()
	if everybody > int64(people+people/20) || starts+catchUps > int64(people+people/20) {
		t.Errorf("%d people cost %d reads for %d hellos, and %d to catch up", people, starts, everybody, catchUps)
	}
	slices.Sort(report.AwayMS)
	t.Logf("%d people, %s: back in fifths of the window %v, %d ms between close and hello (p99 %d), %d reads for their hellos, %d to catch up, %d notifications meanwhile",
		people, took.Round(time.Millisecond), fifths, report.AwayMS[people/2], report.AwayMS[people*99/100], starts, catchUps, sum(told))
}

func sum(numbers []int) (all int) {
	for _, n := range numbers {
		all += n
	}
	return all
}
