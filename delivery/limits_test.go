package delivery

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"duebell/internal/testenv"
)

// The limit on connections of an address, as clients see it.
func TestConnectionsOfAnAddress(t *testing.T) {
	t.Parallel()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) {
		o.MaxConnectionsPerAddress, o.TrustedProxies = 2, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	from := func(address string, browser bool) (*client, error) {
		options := &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"192.0.2.1, " + address}}}
		if browser {
			options.Subprotocols = []string{subprotocol, bearerPrefix + r.token(t, "u")}
		} else {
			options.HTTPHeader.Set("Authorization", "Bearer "+r.token(t, "u"))
		}
		c, err := r.tryDial(t, "", options)
		if err == nil {
			c.replica = newReplica(r.db, "u")
			go c.read()
		}
		return c, err
	}
	stream := func(address string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/v1/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.token(t, "u"))
		req.Header.Set("X-Forwarded-For", address)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}

	socket, err := from("203.0.113.5", true)
	if err != nil {
		t.Fatal(err)
	}
	socket.waitType("hello")
	streaming := stream("203.0.113.5")
	if streaming.StatusCode != 200 {
		t.Fatalf("the second connection, a stream: %d", streaming.StatusCode)
	}

	// Browsers' scripts see only a close code; who sees the status gets that.
	browser, err := from("203.0.113.5", true)
	if err != nil {
		t.Fatal(err)
	}
	if code := browser.waitClose(); code != closeTooMany || len(browser.received()) > 0 {
		t.Errorf("closed with %d after %v", code, browser.received())
	}
	if _, err := from("203.0.113.5", false); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("got %v", err)
	}
	if res := stream("203.0.113.5"); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("another stream: %d %v", res.StatusCode, res.Header)
	}
	if n := r.metric(t, "duebell_socket_address_limit_total"); n != 3 {
		t.Errorf("%v are counted", n)
	}
	if res := stream("203.0.113.6"); res.StatusCode != 200 {
		t.Errorf("another address: %d", res.StatusCode)
	}
	mustTell(t, r.db, 1, "u")
	socket.waitRev(1)

	streaming.Body.Close()
	eventually(t, "there is room again", func() bool {
		c, err := from("203.0.113.5", false)
		if err == nil {
			c.waitType("hello")
		}
		return err == nil
	})
}

// A user who calls without end is answered 429, and the others neither wait nor are refused.
func TestAUserWhoCallsTooOften(t *testing.T) {
	t.Parallel()
	const perSecond = 20
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.MaxRequestsPerSecond = perSecond })
	mustTell(t, r.db, 1, "calm")
	ask := func(user string) answered { return r.call(t, user, "GET", "/v1/notifications/unread-count", "") }
	// What a calm one waits, beside a user who may call again (alone) and beside many calls that are refused.
	median := func() time.Duration {
		var took []time.Duration
		for range perSecond {
			begun := time.Now()
			if a := ask("calm"); a.status != 200 || a.Unread != 1 {
				t.Fatalf("the calm one: %d %s", a.status, a.text)
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	alone := median()

	var calls sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	begun, stop := time.Now(), make(chan struct{})
	for range 4 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := ask("wild")
				if a.status == 429 {
					if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.Code != "too_many_requests" || err != nil || wait != 1 {
						t.Errorf("refused with %s, Retry-After %q", a.text, a.header.Get("Retry-After"))
						return
					}
				}
				mu.Lock()
				statuses[a.status]++
				mu.Unlock()
			}
		})
	}
	refused := func() int { mu.Lock(); defer mu.Unlock(); return statuses[429] }
	eventually(t, "the wild one is refused", func() bool { return refused() > 5*perSecond })
	time.Sleep(time.Second) // the calm one's own bucket is full again
	beside := median()
	close(stop)
	calls.Wait()
	if most := 2*perSecond + int(time.Since(begun).Seconds()*perSecond) + 1; statuses[200] > most || statuses[200] < 2*perSecond || len(statuses) != 2 {
		t.Errorf("the wild one got %v, at most %d may be answered", statuses, most)
	}
	// Four busy clients share the machine with the calm one; what is held is that it isn't made to wait its turn behind them.
	if beside > alone+time.Second {
		t.Errorf("the calm one waits %s, alone %s", beside, alone)
	}
	if n := r.metric(t, "duebell_inbox_limited_total"); int(n) != statuses[429] {
		t.Errorf("%v are counted of %v", n, statuses)
	}
	eventually(t, "after a rest the wild one is answered", func() bool { return ask("wild").status == 200 })
}

// Tokens that were revoked take nothing from their user.
func TestRevokedTokensDoNotUseUpTheUsersCalls(t *testing.T) {
	t.Parallel()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.MaxRequestsPerSecond = 5 })
	old := tokenAt(t, "ana", time.Now().Add(-time.Hour), 2*time.Hour)
	if err := r.db.Revoke(t.Context(), "ana", time.Now().Add(-30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if a := r.call(t, "", "GET", "/v1/preferences", "", "Authorization", "Bearer "+old); a.status != 401 {
			t.Fatalf("a revoked token: %d", a.status)
		}
	}
	for i := range 10 {
		if a := r.call(t, "ana", "GET", "/v1/preferences", ""); a.status != 200 {
			t.Fatalf("call %d: %d %s", i, a.status, a.text)
		}
	}
}

// Sockets that one user opens without end.
func TestAUserWhoConnectsTooOften(t *testing.T) {
	t.Parallel()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.MaxRequestsPerSecond = 2 })
	dial := func(user string, browser bool) (*client, error) {
		options := &websocket.DialOptions{HTTPHeader: http.Header{}}
		if browser {
			options.Subprotocols = []string{subprotocol, bearerPrefix + r.token(t, user)}
		} else {
			options.HTTPHeader.Set("Authorization", "Bearer "+r.token(t, user))
		}
		c, err := r.tryDial(t, "", options)
		if err == nil {
			go c.read()
		}
		return c, err
	}
	eventually(t, "a program is refused by status", func() bool {
		_, err := dial("wild", false)
		return err != nil && strings.Contains(err.Error(), "429")
	})
	eventually(t, "a browser by a close code", func() bool {
		c, err := dial("wild", true)
		return err == nil && c.waitClose() == closeTooMany
	})
	c, err := dial("calm", true)
	if err != nil {
		t.Fatal(err)
	}
	c.waitType("hello")
	if a := r.call(t, "wild", "GET", "/v1/preferences", ""); a.status != 200 {
		t.Errorf("calls have a limit of their own: %d", a.status)
	}
}

// Who has no good token is limited by address, and takes nothing from those of the same address who have one.
func TestAnAddressWithoutGoodTokens(t *testing.T) {
	t.Parallel()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		o.MaxConnectionsPerAddress, o.MaxConnectsPerSecond = 10, 1
	})
	from := func(address, user string) answered {
		return r.call(t, user, "GET", "/v1/preferences", "", "X-Forwarded-For", "9.9.9.9, "+address)
	}
	var a answered
	for range 15 {
		a = from("203.0.113.5", "")
	}
	if a.status != 429 || a.Code != "too_many_requests" || a.header.Get("Retry-After") == "" {
		t.Errorf("after many: %d %s", a.status, a.text)
	}
	if a := from("203.0.113.5", "ana"); a.status != 200 {
		t.Errorf("a good token of the same address: %d", a.status)
	}
	if a := from("203.0.113.6", ""); a.status != 401 {
		t.Errorf("another address: %d", a.status)
	}
}

// Read messages count as any other: who sends more than a second's and its burst is closed with 4429, and nobody else notices.
func TestReadMessagesObeyTheLimit(t *testing.T) {
	t.Parallel()
	const perSecond = 5
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.MaxMessagesPerSecond = perSecond })
	mustTell(t, r.db, 3, "wild", "calm")
	wild, calm := r.connect(t, newReplica(r.db, "wild")), r.connect(t, newReplica(r.db, "calm"))
	wild.waitType("hello")
	calm.waitType("hello")
	sent := 0
	for ; sent < 1000; sent++ {
		text := `{"type":"read","ids":["` + strconv.Itoa(sent) + `"],"ref":"` + strconv.Itoa(sent) + `"}`
		if err := wild.conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			break
		}
	}
	if code := wild.waitClose(); code != closeTooMany {
		t.Errorf("closed with %d after %d messages", code, sent)
	}
	answers := 0
	for _, kind := range wild.received() {
		if kind == "ok" || kind == "error" {
			answers++
		}
	}
	if answers > 1000/2 {
		t.Errorf("%d messages were answered", answers)
	}
	for n := range perSecond {
		ref := "calm" + strconv.Itoa(n)
		calm.send(`{"type":"read","ids":["nothing"],"ref":"` + ref + `"}`)
		calm.wait("an answer", func(m clientMessage) bool { return m.Ref == ref })
	}
	if calm.err != nil {
		t.Errorf("the calm one was closed: %v", calm.err)
	}
}
