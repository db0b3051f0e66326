package socket

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var testProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}

func TestClientOfAForwardedRequest(t *testing.T) {
	a := newAddresses(&Config{MaxPerAddress: 1, MaxConnectsPerSecond: 1, TrustedProxies: testProxies})
	for _, c := range []struct{ peer, forwarded, want string }{
		{"198.51.100.7", "", "198.51.100.7"},
		{"198.51.100.7", "203.0.113.1", "198.51.100.7"}, // anybody can write that
		{"::ffff:198.51.100.7", "", "198.51.100.7"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "203.0.113.1", "203.0.113.1"},
		{"::ffff:10.0.0.1", "203.0.113.1", "203.0.113.1"},
		{"10.0.0.1", "9.9.9.9, 203.0.113.1", "203.0.113.1"}, // the client wrote the first
		{"10.0.0.1", "9.9.9.9,203.0.113.1,10.2.3.4 , 10.0.0.9", "203.0.113.1"},
		{"10.0.0.1", "9.9.9.9, 203.0.113.1:4711", "203.0.113.1"},
		{"10.0.0.1", "2001:db8:2::5", "2001:db8:2::5"},
		{"10.0.0.1", "[2001:db8:2::5]:443", "2001:db8:2::5"},
		{"10.0.0.1", "[2001:db8:2::5]", "2001:db8:2::5"},
		{"10.0.0.1", "fe80::1%eth0", "fe80::1"},
		{"2001:db8:1::1", "203.0.113.1", "203.0.113.1"},
		{"10.0.0.1", "10.0.0.2", "10.0.0.2"},             // nobody but proxies
		{"10.0.0.1", "203.0.113.1, unknown", "10.0.0.1"}, // the proxy doesn't know
		{"10.0.0.1", "203.0.113.1,", "10.0.0.1"},
		{"10.0.0.1", strings.Repeat(",", 8000), "10.0.0.1"},
	} {
		if got := a.client(netip.MustParseAddr(c.peer), c.forwarded); got.String() != c.want {
			t.Errorf("%s for %.40q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestClientOfARequestWithForwarded(t *testing.T) {
	a := newAddresses(&Config{MaxPerAddress: 1, MaxConnectsPerSecond: 1, TrustedProxies: testProxies, ReadForwarded: true})
	for _, c := range []struct{ peer, forwarded, want string }{
		{"198.51.100.7", "for=203.0.113.1", "198.51.100.7"}, // anybody can write that
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "for=203.0.113.1", "203.0.113.1"},
		{"10.0.0.1", "FOR=203.0.113.1", "203.0.113.1"},
		{"10.0.0.1", `proto=https;for="203.0.113.1:4711" ; by=10.0.0.1;host="a, b;c=d"`, "203.0.113.1"},
		{"10.0.0.1", `for="[2001:db8:2::5]:443";proto=http`, "2001:db8:2::5"},
		{"10.0.0.1", `for="[2001:db8:2::5]"`, "2001:db8:2::5"},
		{"10.0.0.1", "for=9.9.9.9, for=203.0.113.1", "203.0.113.1"}, // the client wrote the first
		{"10.0.0.1", "for=9.9.9.9,for=203.0.113.1;by=10.2.3.4 , for=10.2.3.4,for=10.0.0.9", "203.0.113.1"},
		{"10.0.0.1", "for=10.0.0.2", "10.0.0.2"}, // nobody but proxies
		// What a client wrote changes nothing of what the proxy wrote after it.
		{"10.0.0.1", `for="9.9.9.9, for=203.0.113.1`, "203.0.113.1"},
		{"10.0.0.1", `for="9.9.9.9\", for=203.0.113.1`, "203.0.113.1"},
		{"10.0.0.1", `for="9.9.9.9\, for="203.0.113.1"`, "203.0.113.1"},
		{"10.0.0.1", `;;=",\, for=203.0.113.1;host="x\", for=9.9.9.9;x=\""`, "203.0.113.1"},
		{"10.0.0.1", `for=203.0.113.1;host="x\\"`, "203.0.113.1"},
		// The proxy doesn't say.
		{"10.0.0.1", "for=203.0.113.1, for=unknown", "10.0.0.1"},
		{"10.0.0.1", `for=203.0.113.1, for="_gazonk"`, "10.0.0.1"},
		{"10.0.0.1", "for=203.0.113.1, proto=https", "10.0.0.1"},
		{"10.0.0.1", "for=203.0.113.1,", "10.0.0.1"},
		{"10.0.0.1", "203.0.113.1", "10.0.0.1"},
		{"10.0.0.1", "for=203.0.113.1;for=9.9.9.9", "10.0.0.1"},
		{"10.0.0.1", `for="203.0.113\.1"`, "10.0.0.1"},
		{"10.0.0.1", `for=""203.0.113.1""`, "10.0.0.1"},
		{"10.0.0.1", strings.Repeat(`";,`, 3000), "10.0.0.1"},
	} {
		if got := a.client(netip.MustParseAddr(c.peer), c.forwarded); got.String() != c.want {
			t.Errorf("%s for %.60q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

// Whatever a client writes into the header, what the proxy adds to it decides; and from anybody else nothing is believed.
func FuzzForwarded(f *testing.F) {
	f.Add("9.9.9.9")
	f.Add("9.9.9.9, 10.0.0.3")
	f.Add("for=9.9.9.9;proto=https")
	f.Add(`for="[2001:db8::1]:1", for="10.0.0.1`)
	f.Add(`for="\\\", for=\"`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, wrote string) {
		proxy, stranger := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.7")
		for _, c := range []struct {
			forwarded bool
			adds      []string
		}{
			{false, []string{"203.0.113.1", "203.0.113.1:80", "203.0.113.1, 10.0.0.2"}},
			{true, []string{"for=203.0.113.1", `for="203.0.113.1:80";host="a,;b=\"";proto=https`, `by="[2001:db8:1::1]";for=203.0.113.1, for=10.0.0.2`}},
		} {
			a := newAddresses(&Config{MaxPerAddress: 1, MaxConnectsPerSecond: 1, TrustedProxies: testProxies, ReadForwarded: c.forwarded})
			if got := a.client(stranger, wrote); got != stranger {
				t.Errorf("%v: a stranger is believed to be %s", c, got)
			}
			a.client(proxy, wrote) // a client in the proxies' own network: anything but a crash
			for _, own := range c.adds {
				if got := a.client(proxy, wrote+", "+own); got.String() != "203.0.113.1" {
					t.Errorf("%q before %q: %s", wrote, own, got)
				}
			}
		}
	})
}

func TestAddressesThatCountAsOne(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
	for _, c := range []struct {
		limit         int
		first, second string
		room          bool // for both, where one is allowed
	}{
		{1, "198.51.100.7", "198.51.100.7", false},
		{1, "198.51.100.7", "::ffff:198.51.100.7", false},
		{1, "198.51.100.7", "198.51.100.8", true},
		{1, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", false},
		{1, "2001:db8::1", "2001:db8:0:1::1", true},
		{1, "198.51.100.7", "2001:db8::1", true},
		{1, "127.0.0.1", "127.0.0.1", false},
		{1, "10.0.0.1", "10.0.0.1", false},
		{1, "10.9.0.1", "10.9.0.1", true}, // a proxy itself
		{0, "127.0.0.1", "127.0.0.1", true},
		{0, "::1", "::1", true},
		{0, "192.168.7.7", "192.168.7.7", true},
		{0, "fd00::1", "fd00::1", true},
		{0, "198.51.100.7", "198.51.100.7", false},
		{0, "2001:db8::1", "2001:db8::1", false},
	} {
		a := newAddresses(&Config{MaxPerAddress: c.limit, MaxConnectsPerSecond: 1000, TrustedProxies: proxies})
		a.limit = 1
		first, second := netip.MustParseAddr(c.first), netip.MustParseAddr(c.second)
		if a.enter(first) != entered {
			t.Fatalf("%+v: none may enter", c)
		}
		if !a.arrive(second) {
			t.Errorf("%+v: what has begun has a limit of its own", c)
		}
		a.settle(second)
		if got := a.enter(second) == entered; got != c.room {
			t.Errorf("%+v: got %v", c, got)
		} else if got {
			a.leave(second)
		}
		a.leave(first)
		if a.enter(second) != entered {
			t.Errorf("%+v: no room after the first has left", c)
		}
		a.leave(second)
		if n := a.len(); n != 0 {
			t.Errorf("%+v: %d addresses are kept", c, n)
		}
	}
}

// len is how many addresses have anything.
func (a *addresses) len() (n int) {
	for i := range a.shards {
		a.shards[i].mu.Lock()
		n += len(a.shards[i].counts)
		a.shards[i].mu.Unlock()
	}
	return n
}

func (s *server) crowdedOut() (n uint64) {
	for _, l := range s.everyLoop() {
		n += l.count.crowded.Load()
	}
	return n
}

func (s *server) tooHasty() (n uint64) {
	for _, l := range s.everyLoop() {
		n += l.count.hasty.Load()
	}
	return n
}

func TestConnectionsOfAnAddress(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		const forwarded = "X-Forwarded-For: 9.9.9.9, 203.0.113.1\r\n"

		t.Run("OneMoreIsRefusedUntilOneLeaves", func(t *testing.T) {
			var clients sync.Map
			s := start(t, p, Config{MaxPerAddress: 3, TrustedProxies: local}, &app{accept: func(_ context.Context, h *Handshake) Verdict {
				clients.Store(h.Client.String(), h.RemoteAddr.Addr().String())
				return Verdict{}
			}}, nil)
			var open []*client
			for range 3 {
				open = append(open, s.connect(t, forwarded))
			}
			refused := s.dial(t)
			refused.send([]byte(upgradeRequest + forwarded + "\r\n"))
			r := refused.response()
			if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
				t.Errorf("got %v", r)
			}
			s.connect(t, "X-Forwarded-For: 203.0.113.2\r\n").echo("another address")
			s.connect(t).echo("the proxy itself")
			if peer, ok := clients.Load("203.0.113.1"); !ok || peer != "127.0.0.1" {
				t.Errorf("the handler was told %v", peer)
			}
			if n := s.crowdedOut(); n != 1 {
				t.Errorf("%d are counted as refused", n)
			}
			_ = open[1].Close()
			eventually(t, "it has left", func() bool { return s.Conns() == 4 })
			s.connect(t, forwarded).echo("the next")
			for _, c := range []*client{open[0], open[2]} {
				c.echo("undisturbed")
			}
		})

		t.Run("OneHeaderIsRead", func(t *testing.T) {
			var client atomic.Value
			for _, c := range []struct {
				read       bool
				header     string
				wantClient string
			}{
				{false, forwarded + "Forwarded: for=9.9.9.9\r\n", "203.0.113.1"},
				{true, forwarded + "Forwarded: for=9.9.9.9\r\nforwarded: for=\"203.0.113.8:80\"\r\n", "203.0.113.8"},
				{true, forwarded, "127.0.0.1"},
				{false, "Forwarded: for=9.9.9.9\r\n", "127.0.0.1"},
			} {
				s := start(t, p, Config{TrustedProxies: local, ReadForwarded: c.read}, &app{accept: func(_ context.Context, h *Handshake) Verdict {
					client.Store(h.Client.String())
					return Verdict{}
				}}, nil)
				s.connect(t, c.header).echo("hi")
				if got := client.Load(); got != c.wantClient {
					t.Errorf("%+v: the client is %v", c, got)
				}
			}
		})

		t.Run("OpensThemAtABoundedRate", func(t *testing.T) {
			s := start(t, p, Config{MaxPerAddress: 5, MaxConnectsPerSecond: 1, TrustedProxies: local}, new(app), nil)
			eventually(t, "it is refused, though none stays", func() bool {
				c := s.dial(t)
				c.send([]byte(upgradeRequest + forwarded + "\r\n"))
				r := c.response()
				_ = c.Close()
				return r.StatusCode == http.StatusTooManyRequests && r.Header.Get("Retry-After") != "" && s.tooHasty() > 0
			})
			s.connect(t, "X-Forwarded-For: 203.0.113.2\r\n").echo("another address")
			eventually(t, "after a while it may", func() bool {
				c := s.dial(t)
				defer c.Close()
				c.send([]byte(upgradeRequest + forwarded + "\r\n"))
				return c.response().StatusCode == http.StatusSwitchingProtocols
			})
		})

		t.Run("NobodyButAProxyIsBelieved", func(t *testing.T) {
			s := start(t, p, Config{MaxPerAddress: 2, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, new(app), nil)
			for range 2 {
				s.connect(t, forwarded)
			}
			c := s.dial(t)
			c.send([]byte(upgradeRequest + "X-Forwarded-For: 203.0.113.77\r\n\r\n"))
			wantProblem(t, c, 429, "too_many_connections")
		})

		t.Run("TheHandlerMayRefuseInItsWay", func(t *testing.T) {
			s := start(t, p, Config{MaxPerAddress: 1}, &app{accept: func(_ context.Context, h *Handshake) Verdict {
				if h.Crowded {
					return Verdict{CloseCode: CodeTooMany, CloseReason: "too many of this address"}
				}
				return Verdict{}
			}}, nil)
			first := s.connect(t)
			c := s.connect(t)
			c.wantClose(4429)
			first.echo("undisturbed")
		})

		t.Run("HTTPCountsToo", func(t *testing.T) {
			s := start(t, p, Config{MaxPerAddress: 2}, new(app), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
			get := func() (*client, int) {
				c := s.dial(t)
				c.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
				return c, c.response().StatusCode
			}
			first, status := get()
			if status != 200 {
				t.Fatalf("got %d", status)
			}
			s.connect(t)
			if _, status := get(); status != 429 {
				t.Errorf("got %d", status)
			}
			_ = first.Close()
			eventually(t, "there is room again", func() bool {
				c, status := get()
				_ = c.Close()
				return status == 200
			})
		})

		t.Run("UnfinishedRequestsHaveTheSameLimit", func(t *testing.T) {
			s := start(t, p, Config{MaxPerAddress: 3}, new(app), nil)
			var halves []*client
			for range 3 {
				c := s.dial(t)
				if !p.tls {
					c.send([]byte("GET /v1/ws"))
				}
				halves = append(halves, c)
			}
			eventually(t, "three are there", func() bool { return s.sockets.Load() == 3 })
			one := s.dial(t)
			eventually(t, "a fourth is cut off", func() bool { return s.crowdedOut() == 1 })
			_, _ = one.Read(make([]byte, 1))
			for _, c := range halves {
				_ = c.Close()
			}
			eventually(t, "they are gone", func() bool { return s.sockets.Load() == 0 })
			s.connect(t).echo("hi")
		})

		t.Run("NothingIsKept", func(t *testing.T) {
			var refuse atomic.Bool
			refuse.Store(true)
			s := start(t, p, Config{MaxPerAddress: 100}, &app{accept: func(context.Context, *Handshake) Verdict {
				if refuse.Load() {
					return Verdict{Status: 403, Code: "forbidden", Message: "not you"}
				}
				return Verdict{}
			}}, nil)
			c := s.dial(t)
			c.send([]byte(upgradeRequest + "\r\n"))
			wantProblem(t, c, 403, "forbidden")
			_ = c.Close()
			eventually(t, "it is gone", func() bool { return s.sockets.Load() == 0 })
			refuse.Store(false)
			c = s.connect(t)
			_ = c.Close()
			web := s.dial(t)
			web.send([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
			web.response()
			_ = web.Close()
			half := s.dial(t)
			if !p.tls {
				half.send([]byte("GET /v1/w"))
			}
			_ = half.Close()
			eventually(t, "nothing is counted", func() bool { return s.sockets.Load() == 0 && s.addresses.len() == 0 })
		})
	})
}
