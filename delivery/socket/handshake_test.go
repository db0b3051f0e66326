package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHandshake(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		t.Run("TellsTheHandlerWhatWasSent", func(t *testing.T) {
			got := make(chan string, 1)
			s := start(t, p, Config{}, &app{accept: func(_ context.Context, h *Handshake) Verdict {
				parts := []string{h.Path, h.Query, h.Host, h.Origin, h.Authorization, h.Protocols, h.Forwarded, h.UserAgent,
					strings.Join(slices.Collect(h.Offers()), "+"), h.RemoteAddr.Addr().String()}
				got <- strings.Join(parts, "|")
				if h.TLS != p.tls || h.RemoteAddr.Port() == 0 {
					t.Errorf("TLS %v, address %v", h.TLS, h.RemoteAddr)
				}
				return Verdict{Protocol: "b.v1"}
			}}, nil)
			c := s.dial(t)
			c.send([]byte("GET /v1/ws?rev=4&epoch=k%203 HTTP/1.1\r\nhost: h:1\r\nUPGRADE: h2c, WebSocket\r\nConnection:Upgrade\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://o\r\nAuthorization: Bearer x\r\n" +
				"Sec-WebSocket-Protocol: a,\tb.v1\r\nSec-WebSocket-Protocol: c\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n" +
				"User-Agent: test\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
			r := c.wantUpgrade()
			const want = "/v1/ws|rev=4&epoch=k%203|h:1|https://o|Bearer x|a,\tb.v1, c|1.2.3.4, 5.6.7.8|test|a+b.v1+c|127.0.0.1"
			if g := <-got; g != want {
				t.Errorf("got  %s\nwant %s", g, want)
			}
			if v := r.Header.Get("Sec-WebSocket-Protocol"); v != "b.v1" {
				t.Errorf("selected %q", v)
			}
			if v, ok := r.Header["Sec-Websocket-Extensions"]; ok {
				t.Errorf("negotiated %q", v)
			}
			c.echo("hi")
		})

		t.Run("SelectsOnlyWhatWasOffered", func(t *testing.T) {
			s := start(t, p, Config{}, &app{accept: func(context.Context, *Handshake) Verdict { return Verdict{Protocol: "b"} }}, nil)
			for offer, want := range map[string]string{"": "", "a": "", "bb, a": "", "a, b": "b", "B": ""} {
				c := s.dial(t)
				c.send([]byte(upgradeRequest + "Sec-WebSocket-Protocol: " + offer + "\r\n\r\n"))
				if got := c.wantUpgrade().Header.Get("Sec-WebSocket-Protocol"); got != want {
					t.Errorf("offered %q: selected %q", offer, got)
				}
			}
		})

		t.Run("RefusesWithAProblem", func(t *testing.T) {
			s := start(t, p, Config{}, &app{
				accept: func(context.Context, *Handshake) Verdict {
					return Verdict{Status: 401, Code: "unauthorized", Message: "the token has \"expired\""}
				},
				open:  func(*Conn) { t.Error("opened") },
				close: func(*Conn, int, string) { t.Error("closed") },
			}, nil)
			c := s.dial(t)
			c.send([]byte(upgradeRequest + "\r\n"))
			c.send(text1("sent too early")) // must not make the kernel reset the answer
			wantProblem(t, c, 401, "unauthorized")
			c.wantEnd()
			eventually(t, "the socket is given back", func() bool { return s.sockets.Load() == 0 })
		})

		t.Run("AcceptsToCloseWithACode", func(t *testing.T) {
			s := start(t, p, Config{}, &app{
				accept: func(context.Context, *Handshake) Verdict {
					return Verdict{Protocol: "a", CloseCode: 4403, CloseReason: "not from here"}
				},
				open:  func(*Conn) { t.Error("opened") },
				close: func(*Conn, int, string) { t.Error("closed") },
			}, nil)
			c := s.connect(t, "Sec-WebSocket-Protocol: a\r\n")
			c.wantClose(4403)
			c.send(closing(4403, ""))
			c.wantEnd()
			eventually(t, "the socket is given back", func() bool { return s.sockets.Load() == 0 })
		})

		t.Run("KeepsWhatCameWithTheRequest", func(t *testing.T) {
			order := make(chan string, 3)
			s := start(t, p, Config{}, &app{
				open: func(c *Conn) {
					order <- "open"
					c.Write(AppendText(nil, []byte("hello")))
				},
				message: func(c *Conn, text []byte) {
					order <- string(text)
					c.Write(AppendText(nil, text))
				},
			}, nil)
			c := s.dial(t)
			frame := text1("whole")
			half := text1("half of it comes later")
			c.send(bytes.Join([][]byte{[]byte(upgradeRequest), []byte("\r\n"), frame, half[:9]}, nil))
			c.wantUpgrade()
			c.wantText("hello")
			c.wantText("whole")
			c.send(half[9:])
			c.wantText("half of it comes later")
			if a, b := <-order, <-order; a != "open" || b != "whole" {
				t.Errorf("order: %s, %s", a, b)
			}
		})

		t.Run("ComesInPieces", func(t *testing.T) {
			s := start(t, p, Config{}, new(app), nil)
			c := s.dial(t)
			for _, b := range []byte(upgradeRequest + "\r\n") {
				c.send([]byte{b})
			}
			c.wantUpgrade()
			c.echo("hi")
		})

		t.Run("IsBad", func(t *testing.T) {
			s := start(t, p, Config{MaxHeaderBytes: 2000}, &app{accept: func(_ context.Context, h *Handshake) Verdict {
				t.Errorf("accepted %+v", h)
				return Verdict{}
			}}, nil)
			replace := func(old, new string) string {
				if !strings.Contains(upgradeRequest, old) {
					t.Fatalf("no %q in the request", old)
				}
				return strings.Replace(upgradeRequest, old, new, 1) + "\r\n"
			}
			add := func(header string) string { return upgradeRequest + header + "\r\n" }
			for name, c := range map[string]struct {
				request string
				status  int
			}{
				"HTTP10":              {replace("HTTP/1.1", "HTTP/1.0"), 400},
				"SpaceInTarget":       {replace("/v1/ws ", "/v1/ws x "), 400},
				"NoHost":              {replace("Host: example.org\r\n", ""), 400},
				"EmptyHost":           {replace("example.org", ""), 400},
				"TwoHosts":            {add("Host: b\r\n"), 400},
				"NoConnection":        {replace("Connection: keep-alive, Upgrade\r\n", ""), 400},
				"ConnectionClose":     {replace("keep-alive, Upgrade", "close"), 400},
				"NoKey":               {replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400},
				"ShortKey":            {replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400},
				"KeyNotBase64":        {replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q=="), 400},
				"TwoKeys":             {add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400},
				"OldVersion":          {replace("Version: 13", "Version: 8"), 426},
				"NoVersion":           {replace("Sec-WebSocket-Version: 13\r\n", ""), 426},
				"Body":                {add("Content-Length: 5\r\n"), 400},
				"ChunkedBody":         {add("Transfer-Encoding: chunked\r\n"), 400},
				"TwoAuthorizations":   {add("Authorization: a\r\nAuthorization: b\r\n"), 400},
				"TwoOrigins":          {add("Origin: a\r\nOrigin: b\r\n"), 400},
				"BareLF":              {strings.ReplaceAll(upgradeRequest, "\r\n", "\n") + "\n", 400},
				"FoldedLine":          {add("X-A: b\r\n c\r\n"), 400},
				"SpaceBeforeColon":    {add("Origin : a\r\n"), 400},
				"NoColon":             {add("Origin\r\n"), 400},
				"EmptyName":           {add(": x\r\n"), 400},
				"ControlCharacter":    {add("Origin: a\x00b\r\n"), 400},
				"BareCR":              {add("Origin: a\rb\r\n"), 400},
				"SixtyFiveHeaders":    {upgradeRequest + strings.Repeat("A: b\r\n", 60) + "\r\n", 431},
				"LongLine":            {add("Origin: " + strings.Repeat("x", 2000) + "\r\n"), 431},
				"LongLineWithoutEnd":  {upgradeRequest + "Origin: " + strings.Repeat("x", 5000), 431},
				"LongQueryWithoutEnd": {"GET /v1/ws?" + strings.Repeat("x", 5000), 431},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					c1 := s.dial(t)
					c1.send([]byte(c.request))
					wantProblem(t, c1, c.status, "")
					c1.wantEnd()
				})
			}
		})

		t.Run("PanicIsAnAnswer", func(t *testing.T) {
			s := start(t, p, Config{}, &app{accept: func(context.Context, *Handshake) Verdict { panic("expected by the test") }}, nil)
			c := s.dial(t)
			c.send([]byte(upgradeRequest + "\r\n"))
			wantProblem(t, c, 500, "internal")
			c.wantEnd()
		})
	})
}

// wantProblem expects a refusal; an empty code stands for any.
func wantProblem(t *testing.T, c *client, status int, code string) {
	t.Helper()
	r := c.response()
	body, err := io.ReadAll(r.Body)
	var p struct {
		Title, Detail, Code string
		Status              int
	}
	if r.StatusCode != status || r.Header.Get("Content-Type") != "application/problem+json" || err != nil || json.Unmarshal(body, &p) != nil {
		t.Fatalf("got %v %s %v, want a problem with %d", r, body, err, status)
	}
	if p.Status != status || p.Title != http.StatusText(status) || p.Detail == "" || code != "" && p.Code != code || p.Code == "" {
		t.Fatalf("got %s, want %d %q", body, status, code)
	}
	if status == 426 && r.Header.Get("Sec-WebSocket-Version") != "13" || status == 401 && r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("a header is missing: %v", r.Header)
	}
}

// What nobody should send, and many do.
func TestHostileHandshakes(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		t.Run("TwoHundredThousandHeaders", func(t *testing.T) {
			s := start(t, p, Config{}, new(app), nil)
			c := s.dial(t)
			go func() { // ends with an error once the server has had enough
				_, _ = c.Write([]byte(upgradeRequest + strings.Repeat("A: b\r\n", 200_000) + "\r\n"))
			}()
			wantProblem(t, c, 431, "header_too_large")
			s.connect(t).echo("hi")
		})

		t.Run("SlowRequestsEndInTime", func(t *testing.T) {
			s := start(t, p, Config{HandshakeTimeout: 300 * time.Millisecond}, new(app), nil)
			started := time.Now()
			silent, half, slow := s.dial(t), s.dial(t), s.dial(t)
			if p.tls { // only the handshake of TLS makes the dialled connection one
				silent.send(nil)
			}
			half.send([]byte(upgradeRequest))
			stop := make(chan struct{})
			go func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						if _, err := slow.Write([]byte((upgradeRequest)[i%10 : i%10+1])); err != nil {
							return
						}
					}
				}
			}()
			slow.send([]byte(upgradeRequest))
			for _, c := range []*client{silent, half, slow} {
				_, _ = io.ReadAll(c.r) // the end may be a reset: something was on its way
			}
			close(stop)
			if took := time.Since(started); took < 200*time.Millisecond {
				t.Errorf("ended after %v", took)
			}
			eventually(t, "all are ended", func() bool { return s.sockets.Load() == 0 })
		})

		t.Run("TheOldestUnfinishedGivesWay", func(t *testing.T) {
			s := start(t, p, Config{MaxPending: 8, HandshakeTimeout: time.Minute}, new(app), nil)
			var halves []*client
			for range 40 {
				c := s.dial(t)
				if p.tls {
					go func() { _, _ = c.Write([]byte("GET /v1/ws")) }() // blocks in the handshake of TLS when given up
				} else {
					c.send([]byte("GET /v1/ws"))
				}
				halves = append(halves, c)
			}
			eventually(t, "some are given up", func() bool { return s.sockets.Load() <= 8 })
			s.connect(t).echo("hi")
			_, _ = io.ReadAll(halves[0].r)
		})

		t.Run("OnlySoManyAreJudgedAtOnce", func(t *testing.T) {
			var now, most atomic.Int32
			release := make(chan struct{})
			s := start(t, p, Config{MaxHandshakes: 2}, &app{accept: func(ctx context.Context, _ *Handshake) Verdict {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-release
				return Verdict{}
			}}, nil)
			var clients []*client
			for range 6 {
				c := s.dial(t)
				c.send([]byte(upgradeRequest + "\r\n"))
				clients = append(clients, c)
			}
			eventually(t, "two are judged and four wait", func() bool { return now.Load() == 2 && s.waiting.Load() == 6 })
			close(release)
			for _, c := range clients {
				c.wantUpgrade()
				c.echo("hi")
			}
			if m := most.Load(); m != 2 {
				t.Errorf("%d at once", m)
			}
		})

		t.Run("JudgementHasADeadline", func(t *testing.T) {
			s := start(t, p, Config{MaxHandshakes: 1, HandshakeTimeout: 2 * time.Second}, &app{accept: func(ctx context.Context, _ *Handshake) Verdict {
				<-ctx.Done()
				return Verdict{Status: 503, Code: "slow", Message: "the store is slow"}
			}}, nil)
			first, second := s.dial(t), s.dial(t)
			first.send([]byte(upgradeRequest + "\r\n"))
			second.send([]byte(upgradeRequest + "\r\n"))
			wantProblem(t, first, 503, "")
			wantProblem(t, second, 503, "")
		})

		t.Run("WhatComesDuringTheJudgementWaits", func(t *testing.T) {
			judging, release := make(chan struct{}), make(chan struct{})
			s := start(t, p, Config{}, &app{accept: func(context.Context, *Handshake) Verdict {
				close(judging)
				<-release
				return Verdict{}
			}}, nil)
			c := s.dial(t)
			c.send([]byte(upgradeRequest)) // in two pieces, so that the loop has the first
			eventually(t, "the first piece is there", func() bool { return s.limits.held.Load() > 0 || s.path.loops != 2 })
			c.send([]byte("\r\n"))
			<-judging
			c.send(text1("early"))
			time.Sleep(20 * time.Millisecond) // for a loop that would read it
			close(release)
			c.wantUpgrade()
			c.wantText("early")
		})

		t.Run("ClientsComeAndGoDuringTheJudgement", func(t *testing.T) {
			judging, release := make(chan struct{}), make(chan struct{})
			closed := make(chan int, 1)
			s := start(t, p, Config{}, &app{
				accept: func(context.Context, *Handshake) Verdict {
					close(judging)
					<-release
					return Verdict{}
				},
				open:  func(c *Conn) { c.Write(AppendText(nil, []byte("hello"))) },
				close: func(_ *Conn, code int, _ string) { closed <- code },
			}, nil)
			c := s.dial(t)
			c.send([]byte(upgradeRequest + "\r\n"))
			<-judging
			_ = c.Close()
			close(release)
			if code := within(t, "close", closed); code != 1006 {
				t.Errorf("closed with %d", code)
			}
		})
	})
}

func TestMaxConnsHoldsNewOnesBack(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{MaxConns: 3}, new(app), nil)
		var clients []*client
		for range 3 {
			clients = append(clients, s.connect(t))
		}
		late := s.dial(t)
		time.Sleep(30 * time.Millisecond) // nothing signals that nothing happens
		if n := s.sockets.Load(); n != 3 {
			t.Fatalf("%d sockets", n)
		}
		clients[0].send(closing(1000, ""))
		late.send([]byte(upgradeRequest + "\r\n"))
		late.wantUpgrade()
		late.echo("hi")
	})
}

// The same port serves net/http.
func TestOtherRequestsAreNetHTTPs(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{MaxWebConns: 5}, new(app), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("body: %v", err)
			}
			if (r.TLS != nil) != p.tls {
				t.Errorf("TLS: %v", r.TLS)
			}
			_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
		}))
		want := func(c *client, want string) {
			t.Helper()
			r := c.response()
			if body, err := io.ReadAll(r.Body); err != nil || r.StatusCode != 200 || string(body) != want {
				t.Fatalf("got %d %q %v, want %q", r.StatusCode, body, err, want)
			}
		}
		c := s.dial(t)
		for _, request := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /v1/wsx HTTP/1.1\r\nHost: a\r\n\r\n"} {
			c.send([]byte(request)) // keep-alive
			want(c, strings.TrimSuffix(strings.SplitN(request, "HTTP", 2)[0], " ")+" ")
		}
		s.connect(t).echo("hi") // a fresh connection beside it

		c = s.dial(t)
		c.send([]byte("GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n"))
		want(c, "GET /v1/ws ")

		c = s.dial(t)
		long := "POST /v1/ws?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
		for _, b := range []byte(long) {
			c.send([]byte{b})
		}
		want(c, "POST /v1/ws?x=1 hello")

		// An HTTP/1.0 request isn't kept alive, and gives its socket back.
		eventually(t, "room", func() bool { return s.web.open.Load() <= 4 })
		before := s.web.open.Load()
		c = s.dial(t)
		c.send([]byte("GET /old HTTP/1.0\r\n\r\n"))
		want(c, "GET /old ")
		c.wantEnd()
		eventually(t, "the socket is given back", func() bool { return s.web.open.Load() == before })

		for s.web.open.Load() < 5 {
			c = s.dial(t)
			c.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
			want(c, "GET / ")
		}
		c = s.dial(t)
		c.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		wantProblem(t, c, 503, "unavailable")
		s.connect(t).echo("still there")
	})
}
