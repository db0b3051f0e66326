package delivery

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"duebell/internal/testenv"
	"duebell/store"
)

// silent is the same database opened by a process that publishes nothing: as if every message of it were lost.
func (r *rig) silent(t *testing.T) *store.DB { return openStore(t, r.dbURL, nil) }

// exec changes the database behind everybody's back.
func (r *rig) exec(t *testing.T, statements ...string) {
	t.Helper()
	driver, name := "pgx", r.dbURL
	if file, ok := strings.CutPrefix(r.dbURL, "sqlite:"); ok {
		driver, name = "sqlite", file
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func TestSweep(t *testing.T) {
	const interval = 400 * time.Millisecond
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		r := start(t, dbURL, redisURL, func(o *Options) { o.SweepInterval = interval })
		silent := r.silent(t)

		t.Run("HealsWhatWasNotPublished", func(t *testing.T) {
			c := r.connect(t, newReplica(r.db, "lost"))
			c.waitType("hello")
			before := r.metric(t, "duebell_sweep_heals_total")
			for i := range int64(3) {
				mustTell(t, silent, 1, "lost")
				c.waitRev(i + 1)
			}
			if err := c.compare(); err != nil {
				t.Error(err)
			}
			if r.metric(t, "duebell_sweep_heals_total") < before+3 {
				t.Error("nobody counts what was healed")
			}
		})

		t.Run("RevocationIsFoundWithoutAMessage", func(t *testing.T) {
			c := r.connect(t, newReplica(r.db, "revoked"))
			other := r.connect(t, newReplica(r.db, "not-revoked"))
			c.waitType("hello")
			if err := r.db.Revoke(t.Context(), "revoked", time.Now()); err != nil {
				t.Fatal(err)
			}
			if code := c.waitClose(); code != closeToken {
				t.Errorf("closed with %d", code)
			}
			mustTell(t, r.db, 1, "not-revoked")
			other.waitRev(1)
		})

		t.Run("ARestoredStoreResets", func(t *testing.T) {
			mustTell(t, r.db, 1, "restored")
			mustTell(t, r.db, 1, "restored")
			c := r.connect(t, newReplica(r.db, "restored"))
			c.waitType("hello")
			mustTell(t, r.db, 1, "restored")
			c.waitRev(3)
			r.exec(t, "DELETE FROM notifications WHERE recipient = 'restored' AND rev > 1",
				"UPDATE inboxes SET rev = 1, unread = 1, unseen = 1, total = 1 WHERE recipient = 'restored'")
			if m := c.waitType("reset"); m.Rev != 1 || m.Total != 1 {
				t.Errorf("%+v", m)
			}
			mustTell(t, r.db, 1, "restored")
			c.waitRev(2)
			if err := c.compare(); err != nil {
				t.Error(err)
			}
		})

		t.Run("AnotherEpochResets", func(t *testing.T) {
			mustTell(t, r.db, 1, "epoch")
			c := r.connect(t, newReplica(r.db, "epoch"))
			c.waitType("hello")
			r.exec(t, "UPDATE meta SET value = 'restored' WHERE key = 'epoch'")
			if m := c.waitType("reset"); m.Rev != 1 || m.Epoch != "restored" {
				t.Errorf("%+v", m)
			}
			mustTell(t, r.db, 1, "epoch")
			c.waitRev(2)
			if err := c.compare(); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestAResubscribeHealsAtOnce(t *testing.T) {
	server := testenv.RedisServer(t)
	// No sweep comes to help within the test.
	r := start(t, testenv.SQLite(t), server.URL, func(o *Options) { o.SweepInterval = time.Hour })
	var clients []*client
	for i := range 5 {
		c := r.connect(t, newReplica(r.db, fmt.Sprintf("u%d", i)))
		c.waitType("hello")
		clients = append(clients, c)
	}
	server.Kill()
	eventually(t, "readiness is red", func() bool { return r.Ready(t.Context()) != nil })
	for _, c := range clients {
		mustTell(t, r.db, 2, c.user)
	}
	server.Start()
	for _, c := range clients {
		c.waitRev(2)
		if err := c.compare(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "readiness is green", func() bool { return r.Ready(t.Context()) == nil })
	mustTell(t, r.db, 1, clients[0].user)
	clients[0].waitRev(3)
}

func TestDroppedMessagesAreSweptAtOnce(t *testing.T) {
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.SweepInterval = time.Hour })
	c := r.connect(t, newReplica(r.db, "u"))
	c.waitType("hello")
	// As if workers had fallen far behind.
	r.subscriber.waiting.Add(maxReceivedBytes)
	mustTell(t, r.db, 1, "u")
	c.waitRev(1)
	if r.metric(t, "duebell_received_dropped_total") == 0 {
		t.Error("it came without a drop")
	}
	r.subscriber.waiting.Add(-maxReceivedBytes)
	mustTell(t, r.db, 1, "u")
	c.waitRev(2)
}

func TestSlowReaderGetsEverythingInOrder(t *testing.T) {
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		r := start(t, dbURL, redisURL, func(o *Options) { o.CatchUpLimit = 1 << 20 })
		// A small window, so that less fills it.
		dialer := &net.Dialer{}
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				err = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			return conn, err
		}}
		known := newReplica(r.db, "slow")
		slow, err := r.tryDial(t, "", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport},
			HTTPHeader: http.Header{"Authorization": {"Bearer " + r.token(t, "slow")}}})
		if err != nil {
			t.Fatal(err)
		}
		quick := r.connect(t, newReplica(r.db, "slow"))
		quick.waitType("hello")
		behind := func() bool {
			for _, s := range r.hub.of("slow", nil) {
				s.mu.Lock()
				full := s.state == full
				s.mu.Unlock()
				if full {
					return true
				}
			}
			return false
		}
		for n := 0; !behind(); n++ {
			if n == 300 {
				t.Fatal("the socket never fills")
			}
			if err := tellText(t.Context(), r.db, strings.Repeat("long ", 800), 20, "slow"); err != nil {
				t.Fatal(err)
			}
		}
		mustTell(t, r.db, 90, "slow")
		mustTell(t, r.db, 250, "slow") // more than a frame holds
		_, heads, _ := r.db.Heads(t.Context(), []string{"slow"})
		quick.waitRev(heads[0].Rev) // the other one doesn't wait
		if _, err := r.db.ReadAll(t.Context(), "slow", nil); err != nil {
			t.Fatal(err)
		}
		quick.waitRev(heads[0].Rev + 1)
		slow.replica = known
		go slow.read()
		slow.waitRev(heads[0].Rev + 1)
		mustTell(t, r.db, 1, "slow")
		slow.waitRev(heads[0].Rev + 2)
		for _, c := range []*client{slow, quick} {
			if err := c.compare(); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%d notifications, %d frames to the slow one, %d to the quick one", heads[0].Rev, known.counted(), quick.counted())
	})
}

func TestTooFarBehindIsReset(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		r := start(t, url, "embedded", func(o *Options) { o.CatchUpLimit = 150 })
		known := newReplica(r.db, "far")
		c := r.connect(t, known)
		c.waitType("hello")
		c.conn.CloseNow()
		<-c.ended
		mustTell(t, r.db, 150, "far")
		c = r.connect(t, known)
		c.waitRev(150)
		if known.resets != 0 {
			t.Error("reset at the limit")
		}
		c.conn.CloseNow()
		<-c.ended
		mustTell(t, r.db, 151, "far")
		c = r.connect(t, known)
		c.waitRev(301)
		if known.resets != 1 {
			t.Error("not reset beyond the limit")
		}
		// A read-all is one rev, but changes every row.
		c.conn.CloseNow()
		<-c.ended
		if _, err := r.db.ReadAll(t.Context(), "far", nil); err != nil {
			t.Fatal(err)
		}
		c = r.connect(t, known)
		c.waitRev(302)
		if known.resets != 2 {
			t.Error("not reset by many rows of one rev")
		}
		if err := known.compare(); err != nil {
			t.Error(err)
		}
	})
}

// flakyStore fails while down is set.
type flakyStore struct {
	Store
	down atomic.Bool
}

var errDown = errors.New("the database is down")

func (f *flakyStore) Heads(ctx context.Context, recipients []string) (string, []store.Head, error) {
	if f.down.Load() {
		return "", nil, errDown
	}
	return f.Store.Heads(ctx, recipients)
}

func (f *flakyStore) Changes(ctx context.Context, recipient string, afterRev int64, afterID string, limit int) (store.Page, error) {
	if f.down.Load() {
		return store.Page{}, errDown
	}
	return f.Store.Changes(ctx, recipient, afterRev, afterID, limit)
}

func TestSessionsSurviveADatabaseThatIsDown(t *testing.T) {
	flaky := new(flakyStore)
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { flaky.Store, o.Store = o.Store, flaky })
	known := newReplica(r.db, "u")
	c := r.connect(t, known)
	c.waitType("hello")
	flaky.down.Store(true)
	waiting := r.dial(t, "u", "?rev=0") // no hello yet, and no silence for ever
	go waiting.read()
	s := r.hub.of("u", nil)
	for _, s := range s {
		if s.fallBehind() {
			r.catchUp.behind(s, catchupGap)
		}
	}
	mustTell(t, r.db, 1, "u")
	eventually(t, "the pusher has noticed", func() bool { return r.metric(t, "duebell_pusher_store_errors_total") >= 2 })
	flaky.down.Store(false)
	c.waitRev(1)
	waiting.wait("its changes", func(m clientMessage) bool { return m.Type == "changes" && m.Rev == 1 })

	flaky.down.Store(true)
	late := r.dial(t, "u", "")
	go late.read()
	if code := late.waitClose(); code != closeRestarting {
		t.Errorf("closed with %d", code)
	}
	if a := r.call(t, "u", "GET", "/v1/notifications/unread-count", ""); a.status != 503 {
		t.Errorf("the inbox API: %d", a.status)
	}
	flaky.down.Store(false)
	mustTell(t, r.db, 1, "u")
	c.waitRev(2)
}

func TestDrain(t *testing.T) {
	const window = 600 * time.Millisecond
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		r := start(t, dbURL, redisURL, func(o *Options) { o.DrainWindow = window })
		var clients []*client
		for i := range 40 {
			c := r.connect(t, newReplica(r.db, fmt.Sprintf("u%d", i)))
			c.waitType("hello")
			clients = append(clients, c)
		}
		start := time.Now()
		stopped := make(chan struct{})
		go func() { r.stop(); close(stopped) }()
		last := clients[0]
		for _, c := range clients {
			if c.waitType("goaway").ReconnectMS > last.waitType("goaway").ReconnectMS {
				last = c
			}
		}
		// Who stays on still gets what happens.
		mustTell(t, r.db, 1, last.user)
		last.waitRev(1)
		early, late := 0, 0
		for _, c := range clients {
			ms := c.waitType("goaway").ReconnectMS
			if ms < 0 || ms > window.Milliseconds() {
				t.Errorf("reconnect after %d ms", ms)
			}
			if ms < window.Milliseconds()/2 {
				early++
			} else {
				late++
			}
			if code := c.waitClose(); code != closeRestarting {
				t.Errorf("closed with %d", code)
			}
			if got := strings.Count(strings.Join(c.received(), " "), "goaway"); got != 1 {
				t.Errorf("%d goaways", got)
			}
		}
		if early < 5 || late < 5 {
			t.Errorf("%d in the first half of the window, %d in the second", early, late)
		}
		<-stopped
		if took := time.Since(start); took > window+30*time.Second {
			t.Errorf("it took %s", took)
		}
		if _, err := r.tryDial(t, "", nil); err == nil {
			t.Error("the port still answers")
		}
		if n := r.hub.len(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}
