package delivery

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"duebell/internal/redisconn"
	"duebell/internal/testenv"
)

// scaled is a number of a test, or what the environment says in its place.
func scaled(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return usual
}

// One client lets its window close among many who read: they get what happens as fast as before, and when it reads again it
// gets everything in order. DUEBELL_TEST_AMONG=5000 does it among as many.
func TestADeafClientAmongMany(t *testing.T) {
	people := scaled("DUEBELL_TEST_AMONG", 400)
	r := start(t, testenv.Postgres(t), testenv.RedisServer(t).URL, func(o *Options) {
		o.CatchUpLimit, o.PingInterval, o.PongTimeout = 1<<20, time.Minute, 30*time.Second
	})
	chains := make([]chain, people)
	reached := make(chan int64, people)
	var names []string
	var everybody []*light
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() {
		for _, l := range everybody {
			l.Close()
		}
	}()
	for i := range people {
		name := fmt.Sprintf("among%d", i)
		names = append(names, name)
		l, err := dialLight(r.addr(), "", r.token(t, name))
		if err != nil {
			t.Fatal(err)
		}
		everybody = append(everybody, l)
		m, err := l.next()
		if err != nil || m.Type != "hello" {
			t.Fatalf("%v, %v", m, err)
		}
		chains[i].take(m)
		reading.Go(func() {
			for {
				m, err := l.next()
				if err != nil {
					return
				}
				if chains[i].take(m); chains[i].err != nil {
					t.Errorf("%s: %v", name, chains[i].err)
				}
				reached <- m.Rev
			}
		})
	}
	// fanOut is how long a change takes to reach everybody, half of the times.
	rev := int64(0)
	fanOut := func(also ...string) time.Duration {
		t.Helper()
		var took []time.Duration
		for range 9 {
			began := time.Now()
			mustTell(t, r.db, 1, append(also, names...)...)
			rev++
			for range people {
				select {
				case got := <-reached:
					if got != rev {
						t.Fatalf("%d reached instead of %d", got, rev)
					}
				case <-time.After(waitTime):
					t.Fatal("it doesn't reach everybody")
				}
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(lightRequest("", r.token(t, "deaf"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deaf one is in the hub", func() bool { return len(r.hub.of("deaf", nil)) == 1 })
	alone := fanOut()
	isFull := func() bool {
		for _, s := range r.hub.of("deaf", nil) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.state == full
		}
		t.Fatal("the deaf one was sent away")
		return false
	}
	for n := 0; !isFull(); n++ {
		if n == 300 {
			t.Fatal("its socket never fills")
		}
		if err := tellText(t.Context(), r.db, strings.Repeat("long ", 800), 20, "deaf"); err != nil {
			t.Fatal(err)
		}
	}
	beside := fanOut("deaf")
	t.Logf("%d people hear of a change within %v, beside a deaf one within %v", people, alone, beside)
	if beside > 5*alone+time.Second {
		t.Errorf("a change reaches %d people in %v, beside a deaf one in %v", people, alone, beside)
	}

	// It reads again.
	_, heads, err := r.db.Heads(t.Context(), []string{"deaf"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLight(conn)
	if err := l.answered(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(waitTime))
	var deaf chain
	for deaf.rev < heads[0].Rev {
		m, err := l.next()
		if err != nil {
			t.Fatalf("at %d of %d: %v", deaf.rev, heads[0].Rev, err)
		}
		if deaf.take(m); deaf.err != nil {
			t.Fatal(deaf.err)
		}
	}
	if int64(len(deaf.items)) != heads[0].Total {
		t.Errorf("it got %d notifications of %d", len(deaf.items), heads[0].Total)
	}
}

// What connections leave behind is nothing, however they come and go. DUEBELL_TEST_CHURN=100000 does it as often.
func TestChurnLeavesNothingInThePusher(t *testing.T) {
	cycles := scaled("DUEBELL_TEST_CHURN", 5000)
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) {
		o.HandshakeTimeout, o.MaxRequestsPerSecond = time.Second, 1<<20
	})
	tokens := make([]string, 50)
	for i := range tokens {
		tokens[i] = r.token(t, fmt.Sprintf("churn%d", i))
	}
	bad := tokenAt(t, "churn", time.Now().Add(-time.Hour), time.Minute)
	cycle := func(i int) error {
		token := tokens[i%len(tokens)]
		if i%8 == 0 { // half a request
			conn, err := net.Dial("tcp", r.addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			request := lightRequest("", token)
			_, err = conn.Write(request[:len(request)-i%100])
			return err
		}
		if i%8 == 1 {
			if l, err := dialLight(r.addr(), "", bad); err == nil {
				l.Close()
				return errors.New("an expired token is let in")
			}
			return nil
		}
		l, err := dialLight(r.addr(), "?rev=0", token)
		if err != nil {
			return err
		}
		defer l.Close()
		_ = l.SetDeadline(time.Now().Add(waitTime))
		if i%8 == 2 { // gone before hello
			return nil
		}
		if _, err := l.next(); err != nil {
			return fmt.Errorf("hello: %w", err)
		}
		switch i % 8 {
		case 3: // a reset
			return l.Conn.(*net.TCPConn).SetLinger(0)
		case 4: // half a frame
			_, err = l.Write([]byte{0x81, 0xfe, 0x10})
		case 5:
			err = l.say("not a message")
		case 6: // gone before the answer
			err = errors.Join(l.say(`{"type":"seen","ref":"1"}`), l.say(`{"type":"ping","ref":"2"}`))
		default:
			if err = l.frame(ws.OpClose, ws.NewCloseFrameBody(1000, "")); err == nil {
				_, err = io.Copy(io.Discard, l.r)
			}
		}
		return err
	}
	churn := func(n int) {
		t.Helper()
		var working sync.WaitGroup
		for w := range 8 {
			working.Go(func() {
				for i := w; i < n; i += 8 {
					if err := cycle(i + i/8); err != nil { // each worker does all kinds
						t.Errorf("cycle %d: %v", i, err)
						return
					}
				}
			})
		}
		working.Wait()
	}
	type left struct{ heap, goroutines, files, recipients, waiting int }
	count := func() (l left) {
		var stats runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&stats)
		l.heap, l.goroutines = int(stats.HeapObjects), runtime.NumGoroutine()
		if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
			l.files = len(entries)
		}
		for i := range r.hub.shards {
			shard := &r.hub.shards[i]
			shard.mu.RLock()
			l.recipients += len(shard.newest)
			shard.mu.RUnlock()
		}
		r.catchUp.mu.Lock()
		l.waiting += len(r.catchUp.starts) + len(r.catchUp.behinds)
		r.catchUp.mu.Unlock()
		r.protocol.mu.Lock()
		l.waiting += r.protocol.waiting + len(r.protocol.ready)
		r.protocol.mu.Unlock()
		return l
	}
	empty := func() bool {
		return r.hub.len() == 0 && r.server.Conns() == 0 && r.metric(t, "duebell_socket_sockets") == 0
	}
	churn(400) // what is made once is made
	eventually(t, "the first ones are gone", empty)
	before := count()
	churn(cycles)
	eventually(t, "all are gone", empty)
	var after left
	eventually(t, "goroutines, descriptors, hub and queues are as before", func() bool {
		after = count()
		return after.goroutines <= before.goroutines+5 && after.files <= before.files+5 && after.recipients == 0 && after.waiting == 0
	})
	if grown := after.heap - before.heap; grown > cycles/2 { // less than an object a cycle is none of theirs
		t.Errorf("%d cycles leave %d objects on the heap", cycles, grown)
	}
	t.Logf("before %+v, after %+v", before, after)
}

// While this pusher doesn't get round to what comes from Redis, messages are dropped rather than the connection, which
// a library's channel does without a word: a counter says so, and the sessions heal from the store.
func TestAPausedSubscriberHeals(t *testing.T) {
	redisURL := testenv.RedisServer(t).URL
	// No sweep comes to help within the test.
	r := start(t, testenv.SQLite(t), redisURL, func(o *Options) { o.SweepInterval = time.Hour })
	var clients []*client
	for i := range 5 {
		c := r.connect(t, newReplica(r.db, fmt.Sprintf("paused%d", i)))
		c.waitType("hello")
		clients = append(clients, c)
	}
	healthy := func() bool { return r.Ready(t.Context()) == nil }

	conn, err := redisconn.Open(t.Context(), redisURL, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var paused []*hubShard // those who deliver wait for them
	for _, c := range clients {
		if shard := r.hub.shard(c.user); !slices.Contains(paused, shard) {
			paused = append(paused, shard)
			shard.mu.Lock()
		}
	}
	resume := sync.OnceFunc(func() {
		for _, shard := range paused {
			shard.mu.Unlock()
		}
	})
	defer resume()
	told := make(chan error, 1)
	go func() { // each is published, and waits or is dropped
		told <- func() error {
			for range 3 {
				for _, c := range clients {
					if err := tell(t.Context(), r.db, 1, c.user); err != nil {
						return err
					}
				}
			}
			// What else happens in these shards, more than may wait.
			for _, c := range clients {
				batch := appendChange(appendBatchHead(nil, "", time.Now().UnixMicro()), &change{recipient: c.user})
				pipe := conn.Client.Pipeline()
				for range maxReceived + 1000 {
					pipe.Publish(t.Context(), inboxChannel, appendBatch(nil, shardOf(c.user), batch))
				}
				if _, err := pipe.Exec(t.Context()); err != nil {
					return err
				}
			}
			for _, c := range clients {
				if err := tell(t.Context(), r.db, 2, c.user); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	if err := within(t, "all is told", told); err != nil {
		t.Fatal(err)
	}
	eventually(t, "messages are dropped and counted", func() bool { return r.metric(t, "duebell_received_dropped_total") > 0 })
	if !healthy() {
		t.Errorf("the connection to Redis is given up: %v", r.Ready(t.Context()))
	}
	resume()
	for _, c := range clients {
		c.waitRev(5)
		if err := c.compare(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "it is ready", healthy)
	mustTell(t, r.db, 1, clients[0].user)
	clients[0].waitRev(6)
}

// within receives what must come in time.
func within[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(3 * waitTime):
		t.Fatalf("not in time: %s", what)
		panic("unreachable")
	}
}

// Redis cuts off a subscriber that doesn't read; so does whoever is between. It is noticed, and nothing is missed.
func TestASubscriberThatIsCutOffHeals(t *testing.T) {
	redisURL := testenv.RedisServer(t).URL
	r := start(t, testenv.SQLite(t), redisURL, func(o *Options) { o.SweepInterval = time.Hour })
	conn, err := redisconn.Open(t.Context(), redisURL, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := r.connect(t, newReplica(r.db, "cut-off"))
	c.waitType("hello")
	silent := r.silent(t)
	for i := range int64(3) {
		// What is committed while nobody listens is published to nobody.
		mustTell(t, silent, 1, "cut-off")
		if n, err := conn.Client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result(); err != nil || n == 0 {
			t.Fatalf("%d subscribers cut off: %v", n, err)
		}
		c.waitRev(i + 1)
		eventually(t, "it is ready again", func() bool { return r.Ready(t.Context()) == nil })
	}
	if r.metric(t, "duebell_catchups_total") == 0 {
		t.Error("nobody counts it")
	}
}
