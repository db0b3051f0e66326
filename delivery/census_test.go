package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"duebell/internal/redisconn"
	"duebell/internal/testenv"
)

// pushers are some that share a database and a Redis and know of each other.
func pushers(t *testing.T, n int, change func(*Options)) []*rig {
	t.Helper()
	dbURL, redisURL := testenv.SQLite(t), testenv.RedisServer(t).URL
	var all []*rig
	for range n {
		all = append(all, start(t, dbURL, redisURL, change))
	}
	for _, r := range all {
		eventually(t, "they have heard of each other", r.subscriber.others)
	}
	return all
}

// later waits until a session that is opened now counts as younger than those before.
func later() { time.Sleep(2 * openedUnit) }

func TestSessionsOfAUserOnAllPushers(t *testing.T) {
	t.Parallel()
	const limit = 3
	all := pushers(t, 3, func(o *Options) { o.MaxSessionsPerUser = limit })
	open := func(user string, on ...int) (clients []*client) {
		for _, i := range on {
			c := all[i].connect(t, newReplica(all[i].db, user))
			c.waitType("hello")
			clients = append(clients, c)
			later()
		}
		return clients
	}
	sessions := func(user string) (n int) {
		for _, r := range all {
			n += len(r.hub.of(user, nil))
		}
		return n
	}

	t.Run("TheOldestGoes", func(t *testing.T) {
		for _, on := range [][]int{{0, 1, 2, 0}, {1, 0, 0, 2, 2}, {0, 0, 1, 1, 2, 2, 0}} {
			user := fmt.Sprint("many", on)
			clients := open(user, on...)
			tooMany := len(clients) - limit
			for i, c := range clients[:tooMany] {
				if code := c.waitClose(); code != closeTooMany {
					t.Errorf("%v: session %d was closed with %d", on, i, code)
				}
			}
			r := all[on[len(on)-1]]
			if err := tell(t.Context(), r.db, 1, user); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients[tooMany:] {
				c.waitRev(1)
			}
			if left := sessions(user); left != limit {
				t.Errorf("%v: %d sessions are left", on, left)
			}
		}
		closed := 0.0
		for _, r := range all {
			closed += r.metric(t, "duebell_user_sessions_over_limit_total")
		}
		if closed != 1+2+4 {
			t.Errorf("%v are counted as closed", closed)
		}
	})

	t.Run("NobodyIsClosedWhileOneComesAndGoes", func(t *testing.T) {
		stay := open("mobile", 0, 1)
		for i := range 12 {
			c := all[i%3].connect(t, newReplica(all[i%3].db, "mobile"))
			c.waitType("hello")
			if i%2 == 0 {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond) // to meet the counts at all their stages
			}
			c.conn.CloseNow()
			eventually(t, "its end is noticed", func() bool { return sessions("mobile") <= len(stay) })
		}
		// A count that has begun ends within two waits; nothing tells of one that decides to do nothing.
		time.Sleep(2*censusWait + 5*censusTick)
		if err := tell(t.Context(), all[0].db, 1, "mobile"); err != nil {
			t.Fatal(err)
		}
		for _, c := range stay {
			c.waitRev(1)
		}
	})

	t.Run("APusherThatIsGoneDoesNotCount", func(t *testing.T) {
		open("moved", 2, 2, 2)
		mute := all[2]
		if err := mute.options.Redis.Close(); err != nil { // it can say nothing any more, like one that was killed
			t.Fatal(err)
		}
		clients := open("moved", 0, 1, 0)
		time.Sleep(2*censusWait + 5*censusTick)
		if err := tell(t.Context(), all[0].db, 1, "moved"); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			c.waitRev(1)
		}
	})
}

func TestSessionsFromBeforeAnotherPusherCameCount(t *testing.T) {
	t.Parallel()
	dbURL, redisURL := testenv.SQLite(t), testenv.RedisServer(t).URL
	limit := func(o *Options) { o.MaxSessionsPerUser = 2 }
	first := start(t, dbURL, redisURL, limit)
	var clients []*client
	for range 2 {
		c := first.connect(t, newReplica(first.db, "u"))
		c.waitType("hello")
		clients = append(clients, c)
		later()
	}
	first.census.mu.Lock()
	if n := len(first.census.joined); first.subscriber.others() || n > 0 {
		t.Errorf("it would ask about %d users, alone as it is", n)
	}
	first.census.mu.Unlock()
	second := start(t, dbURL, redisURL, limit)
	clients = append(clients, second.connect(t, newReplica(second.db, "u"))) // at once: before they know of each other
	if code := clients[0].waitClose(); code != closeTooMany {
		t.Errorf("closed with %d", code)
	}
	mustTell(t, second.db, 1, "u")
	clients[1].waitRev(1)
	clients[2].waitRev(1)
}

func TestEachPusherComesToTheSameCount(t *testing.T) {
	for range 300 {
		limit, n := 1+rand.IntN(6), 1+rand.IntN(4)
		censuses := make([]*census, n)
		var all []*session
		for i := range censuses {
			censuses[i] = &census{hub: newHub(), limit: limit, name: fmt.Sprint("p", i)}
		}
		at := uint32(1000)
		where := map[*session]int{}
		for range rand.IntN(12) {
			at += uint32(rand.IntN(2)) // some at the same time
			s := newSession("u", time.Now(), time.Now().Add(time.Hour))
			s.opened = at
			where[s] = rand.IntN(n)
			censuses[where[s]].hub.join(s, 100)
			all = append(all, s)
		}
		kept := slices.Clone(all)
		for i, c := range censuses {
			elsewhere := map[string][]int64{}
			for j, other := range censuses {
				payload := appendCensusUser(appendCensusHead(nil, censusAnswers, other.name), "u", other.hub.of("u", nil))
				if m := readCensus(string(payload)); i != j && m.next() {
					elsewhere[m.from] = slices.Clone(m.opened)
				}
			}
			places := c.places("u", elsewhere)
			for _, p := range places[min(limit, len(places)):] {
				if p.here == nil {
					continue
				}
				if where[p.here] != i {
					t.Fatal("it isn't its own")
				}
				kept = slices.DeleteFunc(kept, func(k *session) bool { return k == p.here })
			}
		}
		if len(kept) != min(limit, len(all)) {
			t.Fatalf("%d of %d are kept, where %d are allowed", len(kept), len(all), limit)
		}
		for _, s := range all[:max(len(all)-limit, 0)] {
			if slices.Contains(kept, s) && s.opened < all[max(len(all)-limit, 0)].opened {
				t.Fatal("an old one was kept for a younger one")
			}
		}
	}
}

func TestOnlySessionsOfTwoCountsPushOthersOut(t *testing.T) {
	conn, err := redisconn.Open(t.Context(), "embedded", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := conn.Client.Subscribe(t.Context(), censusChannel)
	defer asked.Close()
	if _, err := asked.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	type count struct {
		there  []int // when the other pusher's sessions were opened; nil: it says nothing
		closed int   // of the two here, by then
	}
	for name, counts := range map[string][]count{ // after the first one, of a younger session there, which was opened at 900
		"there still":                     {{[]int{900}, 1}},
		"it has ended meanwhile":          {{[]int{}, 0}},
		"its pusher has died":             {{nil, 0}},
		"one after the other":             {{[]int{950}, 0}, {[]int{990}, 0}, {[]int{}, 0}},
		"another instead, which stays":    {{[]int{950}, 0}, {[]int{950}, 1}},
		"one comes between the counts":    {{[]int{950, 900}, 1}, {[]int{950, 900}, 2}},
		"a second one at the same moment": {{[]int{900, 900}, 1}, {[]int{900, 900}, 2}},
	} {
		h := newHub()
		var closed []*session
		counting := newCensus(conn.Client, quiet(), newPusherMetrics(nil, nil), h, 2, "p", func() bool { return true },
			func(s *session, code int, _ string) {
				if code != closeTooMany {
					t.Errorf("%s: closed with %d", name, code)
				}
				closed = append(closed, s)
				h.leave(s)
			})
		counting.alone, counting.nextAt = false, time.Now().Add(time.Hour)
		oldest, newer := newSession("u", time.Now(), time.Now().Add(time.Hour)), newSession("u", time.Now(), time.Now().Add(time.Hour))
		oldest.opened, newer.opened = 100, 200
		h.join(oldest, 10)
		h.join(newer, 10)
		message := func(kind byte, opened []int) string {
			var sessions []*session
			for _, at := range opened {
				sessions = append(sessions, &session{opened: uint32(at)})
			}
			return string(appendCensusUser(appendCensusHead(nil, kind, "other"), "u", sessions))
		}
		said := func() censusReader {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), waitTime)
			defer cancel()
			m, err := asked.ReceiveMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			r := readCensus(m.Payload)
			if r.from != "p" || !r.next() || r.recipient != "u" || len(r.opened) != 2-len(closed) {
				t.Fatalf("%s: said %q", name, m.Payload)
			}
			return r
		}

		now := time.Now()
		counting.read(message(censusAsks, []int{900}), now)
		counting.turn(t.Context(), now)
		if said().asks {
			t.Errorf("%s: it asks instead of answering", name)
		}
		now = now.Add(censusWait)
		counting.turn(t.Context(), now)
		for i, c := range counts {
			if !said().asks {
				t.Errorf("%s: it doesn't ask again", name)
			}
			before := len(closed)
			if c.there != nil {
				counting.read(message(censusAnswers, c.there), now)
			}
			counting.turn(t.Context(), now.Add(censusWait/2))
			if len(closed) > before {
				t.Errorf("%s: it doesn't wait for the others", name)
			}
			now = now.Add(censusWait)
			counting.turn(t.Context(), now)
			if want := []*session{oldest, newer}[:c.closed]; !slices.Equal(closed, want) {
				t.Fatalf("%s: after count %d, %d sessions were closed", name, 2+i, len(closed))
			}
		}
		if n := len(counting.counts); n > 0 {
			t.Errorf("%s: %d counts are left", name, n)
		}
	}
}

func FuzzReadCensus(f *testing.F) {
	f.Add(string(appendCensusUser(appendCensusHead(nil, censusAsks, "p"), "u1", []*session{{opened: 3}, {opened: 1}})))
	f.Add("\x01b\x01p\x01u\xff\xff\xff\xff\x7f")
	f.Fuzz(func(t *testing.T, payload string) {
		m := readCensus(payload)
		for m.next() {
			if len(m.opened) > len(payload) || slices.ContainsFunc(m.opened, func(at int64) bool { return at < 0 }) {
				t.Fatalf("%d sessions of %q", len(m.opened), m.recipient)
			}
		}
	})
}

// BenchmarkCensus is what a connect costs the pusher that it comes to, the message to Redis included, and every other one.
func BenchmarkCensus(b *testing.B) {
	const crowd = 2000 // connects in a tick
	h := newHub()
	var names []string
	for i := range crowd {
		names = append(names, fmt.Sprintf("user-%d", i))
		h.join(newSession(names[i], time.Now(), time.Now().Add(time.Hour)), 10)
	}
	metrics := newPusherMetrics(prometheus.NewRegistry(), func() float64 { return 0 })
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		url = "embedded"
	}
	conn, err := redisconn.Open(b.Context(), url, quiet())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	always := func() bool { return true }
	newOne := func(client redis.UniversalClient, h *hub) *census {
		c := newCensus(client, quiet(), metrics, h, 20, "p", always, nil)
		c.alone, c.nextAt = false, time.Now().Add(time.Hour)
		return c
	}
	b.Run("asks", func(b *testing.B) {
		c := newOne(conn.Client, h)
		b.ReportAllocs()
		for n := 0; n < b.N; n += crowd {
			for _, name := range names {
				c.join(name)
			}
			c.turn(context.Background(), time.Now())
		}
	})
	b.Run("is asked", func(b *testing.B) {
		payload := appendCensusHead(nil, censusAsks, "other")
		for i := range crowd {
			payload = appendCensusUser(payload, fmt.Sprintf("stranger-%d", i), h.of(names[0], nil))
		}
		c := newOne(conn.Client, h)
		b.ReportAllocs()
		for n := 0; n < b.N; n += crowd {
			c.read(string(payload), time.Now())
		}
	})
}
