package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// ended is what Handler.Close was told.
type ended struct {
	code   int
	reason string
}

func TestClose(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		setup := func(t *testing.T, cfg Config, message func(*Conn, []byte)) (*server, chan *Conn, chan ended) {
			opened, closed := make(chan *Conn, 10), make(chan ended, 10)
			s := start(t, p, cfg, &app{
				open:    func(c *Conn) { opened <- c },
				message: message,
				close:   func(_ *Conn, code int, reason string) { closed <- ended{code, reason} },
			}, nil)
			return s, opened, closed
		}
		wantEnded := func(t *testing.T, s *server, closed chan ended, want ended) {
			t.Helper()
			if got := within(t, "close", closed); got != want {
				t.Errorf("the handler was told %v, want %v", got, want)
			}
			eventually(t, "nothing is left", func() bool { return s.Conns() == 0 && s.sockets.Load() == 0 })
			select {
			case again := <-closed:
				t.Errorf("told again: %v", again)
			default:
			}
		}

		t.Run("ByTheClient", func(t *testing.T) {
			s, _, closed := setup(t, Config{}, nil)
			c := s.connect(t)
			c.send(closing(3001, "enough"))
			c.wantClose(3001)
			c.wantEnd()
			wantEnded(t, s, closed, ended{3001, "enough"})
		})
		t.Run("ByTheClientWithoutACode", func(t *testing.T) {
			s, _, closed := setup(t, Config{}, nil)
			c := s.connect(t)
			c.send(masked(true, ws.OpClose, nil))
			if f := c.frame(); f.Header.OpCode != ws.OpClose || f.Header.Length != 0 {
				t.Errorf("answer: %+v", f)
			}
			c.wantEnd()
			wantEnded(t, s, closed, ended{1005, ""})
		})
		t.Run("ByTheEndOfTCP", func(t *testing.T) {
			s, _, closed := setup(t, Config{}, nil)
			_ = s.connect(t).Close()
			wantEnded(t, s, closed, ended{1006, ""})
		})
		t.Run("ByAReset", func(t *testing.T) {
			s, _, closed := setup(t, Config{}, nil)
			c := s.connect(t)
			conn := c.Conn
			if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
				conn = wrapped.NetConn()
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			wantEnded(t, s, closed, ended{1006, ""})
		})
		t.Run("ByTheServer", func(t *testing.T) {
			var late atomic.Int32
			s, opened, closed := setup(t, Config{CloseTimeout: time.Minute}, func(*Conn, []byte) { late.Add(1) })
			c := s.connect(t)
			conn := within(t, "open", opened)
			conn.Close(4401, "the token has expired "+strings.Repeat("é", 100))
			conn.Close(1000, "only the first counts")
			if conn.Write(AppendText(nil, []byte("too late"))) {
				t.Error("a frame was taken after Close")
			}
			f := c.frame()
			code, reason := ws.ParseCloseFrameData(f.Payload)
			if f.Header.OpCode != ws.OpClose || code != 4401 || len(reason) != 122 || !strings.HasSuffix(reason, "é") {
				t.Errorf("got %d %q (%d bytes)", code, reason, len(reason))
			}
			c.send(text1("still under way")) // dropped
			c.send(masked(true, ws.OpPing, nil))
			c.send(closing(4401, ""))
			c.wantEnd()
			wantEnded(t, s, closed, ended{4401, reason})
			if late.Load() != 0 {
				t.Error("a message was told after Close")
			}
		})
		t.Run("ByTheServerOfAClientThatDoesNotAnswer", func(t *testing.T) {
			s, opened, closed := setup(t, Config{CloseTimeout: 100 * time.Millisecond}, nil)
			c := s.connect(t)
			within(t, "open", opened).Close(4401, "")
			c.wantClose(4401)
			c.wantEnd()
			wantEnded(t, s, closed, ended{4401, ""})
		})
		t.Run("WithinACallOfTheHandler", func(t *testing.T) {
			s, _, closed := setup(t, Config{}, func(c *Conn, text []byte) { c.Close(4400, string(text)) })
			c := s.connect(t)
			c.send(append(text1("bad"), text1("worse")...))
			c.wantClose(4400)
			c.send(closing(4400, ""))
			c.wantEnd()
			wantEnded(t, s, closed, ended{4400, "bad"})
		})
		t.Run("WithinOpen", func(t *testing.T) {
			closed := make(chan ended, 1)
			s := start(t, p, Config{}, &app{
				open:  func(c *Conn) { c.Close(4429, "") },
				close: func(_ *Conn, code int, reason string) { closed <- ended{code, reason} },
			}, nil)
			c := s.connect(t)
			c.wantClose(4429)
			c.send(closing(4429, ""))
			c.wantEnd()
			wantEnded(t, s, closed, ended{4429, ""})
		})
		t.Run("FromBothSidesAtOnce", func(t *testing.T) {
			s, opened, closed := setup(t, Config{}, nil)
			c := s.connect(t)
			conn := within(t, "open", opened)
			var both sync.WaitGroup
			both.Go(func() { conn.Close(4401, "") })
			both.Go(func() { _, _ = c.Write(closing(1000, "")) })
			both.Wait()
			if f := c.frame(); f.Header.OpCode != ws.OpClose {
				t.Errorf("got %v", f)
			}
			c.wantEnd()
			if e := within(t, "close", closed); e.code != 4401 && e.code != 1000 {
				t.Errorf("told %v", e)
			}
		})
		t.Run("AfterAPanicOfTheHandler", func(t *testing.T) {
			s, _, closed := setup(t, Config{}, func(_ *Conn, text []byte) {
				if string(text) == "panic" {
					panic("expected by the test")
				}
			})
			healthy, c := s.connect(t), s.connect(t)
			c.send(text1("panic"))
			c.wantClose(1011)
			c.wantEnd()
			if e := within(t, "close", closed); e.code != 1011 {
				t.Errorf("told %v", e)
			}
			healthy.send(masked(true, ws.OpPing, []byte("alive")))
			if f := healthy.frame(); string(f.Payload) != "alive" {
				t.Errorf("got %v", f)
			}
		})
		t.Run("TooManyMessages", func(t *testing.T) {
			s, _, closed := setup(t, Config{MaxMessagesPerSecond: 1, CloseTimeout: time.Second}, nil)
			for _, one := range [][]byte{text1("x"), masked(true, ws.OpPing, nil), masked(true, ws.OpPong, nil)} {
				c := s.connect(t)
				for range 12 { // two are the burst; the others would be allowed in ten seconds
					c.send(one)
				}
				for {
					if f := c.frame(); f.Header.OpCode == ws.OpClose {
						if code, _ := ws.ParseCloseFrameData(f.Payload); code != 4429 {
							t.Errorf("closed with %d", code)
						}
						break
					}
				}
				c.wantEnd()
				if e := within(t, "close", closed); e.code != 4429 {
					t.Errorf("told %v", e)
				}
			}
		})
		t.Run("AsManyMessagesAsAllowed", func(t *testing.T) {
			s, _, _ := setup(t, Config{MaxMessagesPerSecond: 100}, func(c *Conn, text []byte) { c.Write(AppendText(nil, text)) })
			c := s.connect(t)
			for range 150 {
				c.send(text1("x"))
			}
			for range 150 {
				c.wantText("x")
			}
			time.Sleep(600 * time.Millisecond) // the time is the matter
			for range 60 {
				c.echo("y")
			}
		})
	})
}

func TestKeepAlive(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		t.Run("SilenceIsClosed", func(t *testing.T) {
			t.Parallel()
			closed := make(chan ended, 1)
			s := start(t, p, Config{PingInterval: 200 * time.Millisecond, PongTimeout: 300 * time.Millisecond},
				&app{close: func(_ *Conn, code int, reason string) { closed <- ended{code, reason} }}, nil)
			since := time.Now()
			c := s.connect(t)
			pings := 0
			for {
				f := c.anyFrame()
				if f.Header.OpCode == ws.OpClose {
					if code, _ := ws.ParseCloseFrameData(f.Payload); code != 4408 {
						t.Errorf("closed with %d", code)
					}
					break
				}
				if f.Header.OpCode != ws.OpPing {
					t.Fatalf("got %v", f)
				}
				pings++
			}
			if took := time.Since(since); took < 400*time.Millisecond || pings < 1 || pings > 3 {
				t.Errorf("closed after %v and %d pings", took, pings)
			}
			c.wantEnd()
			if e := within(t, "close", closed); e.code != 4408 {
				t.Errorf("told %v", e)
			}
		})
		t.Run("APongIsLife", func(t *testing.T) {
			t.Parallel()
			s := start(t, p, Config{PingInterval: 150 * time.Millisecond, PongTimeout: time.Second}, new(app), nil)
			c := s.connect(t)
			for range 10 { // longer than silence may take
				if f := c.anyFrame(); f.Header.OpCode != ws.OpPing {
					t.Fatalf("got %v", f)
				}
				c.send(masked(true, ws.OpPong, nil))
			}
			c.send(text1("hi"))
			for {
				if f := c.anyFrame(); f.Header.OpCode == ws.OpText {
					break
				}
			}
		})
		t.Run("AnyByteIsLife", func(t *testing.T) {
			t.Parallel()
			s := start(t, p, Config{PingInterval: 150 * time.Millisecond, PongTimeout: time.Second, FrameTimeout: time.Minute}, new(app), nil)
			c := s.connect(t)
			frame := text1(strings.Repeat("x", 12))
			for _, b := range frame { // takes 1.4 s
				c.send([]byte{b})
				time.Sleep(80 * time.Millisecond)
			}
			for {
				if f := c.anyFrame(); f.Header.OpCode == ws.OpText {
					break
				} else if f.Header.OpCode != ws.OpPing {
					t.Fatalf("got %v", f)
				}
			}
		})
		t.Run("PingsAreSpread", func(t *testing.T) {
			t.Parallel()
			const interval = 2 * time.Second
			s := start(t, p, Config{PingInterval: interval, PongTimeout: patience}, new(app), nil)
			var mu sync.Mutex
			var times []time.Time
			var all sync.WaitGroup
			for range 40 {
				c := s.connect(t)
				all.Go(func() {
					if _, err := readFrame(c.r); err != nil {
						t.Errorf("no ping: %v", err)
					}
					mu.Lock()
					defer mu.Unlock()
					times = append(times, time.Now())
				})
			}
			all.Wait()
			tenths := map[int64]int{}
			for _, at := range times {
				tenths[at.UnixMilli()/(interval/10).Milliseconds()]++
			}
			if len(tenths) < 6 {
				t.Errorf("40 pings came in %d tenths of the interval: %v", len(tenths), tenths)
			}
		})
		t.Run("AMessageMustEnd", func(t *testing.T) {
			t.Parallel()
			s := start(t, p, Config{FrameTimeout: 200 * time.Millisecond}, new(app), nil)
			for name, half := range map[string][]byte{
				"header": {0x81}, "payload": text1("hello")[:8], "fragments": masked(false, ws.OpText, []byte("he")),
			} {
				c := s.connect(t)
				since := time.Now()
				c.send(half)
				c.wantClose(4408)
				c.wantEnd()
				if took := time.Since(since); took < 150*time.Millisecond {
					t.Errorf("%s: closed after %v", name, took)
				}
			}
		})
		t.Run("EachMessageHasItsOwnTime", func(t *testing.T) {
			t.Parallel()
			s := start(t, p, Config{FrameTimeout: 600 * time.Millisecond}, new(app), nil)
			c := s.connect(t)
			// The stream is never between two messages when a piece of it ends.
			stream := text1("m")
			for range 8 {
				next := text1("m")
				c.send(append(stream[:len(stream):len(stream)], next[:3]...))
				stream = next[3:]
				c.wantText("m")
				time.Sleep(100 * time.Millisecond)
			}
		})
	})
}

func TestShutdown(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		t.Run("ClosesWith1001", func(t *testing.T) {
			s := start(t, p, Config{CloseTimeout: patience}, new(app), nil)
			var clients []*client
			for range 20 {
				clients = append(clients, s.connect(t))
			}
			eventually(t, "all are open", func() bool { return s.Conns() == 20 })
			n := 0
			s.Each(func(*Conn) { n++ })
			if n != 20 {
				t.Errorf("Each found %d", n)
			}
			done := make(chan error, 1)
			go func() { done <- s.Shutdown(context.Background()) }()
			for _, c := range clients {
				c.wantClose(1001)
				c.send(closing(1001, ""))
				c.wantEnd()
			}
			if err := within(t, "shutdown", done); err != nil {
				t.Error(err)
			}
		})
		t.Run("DrainOnlyStopsAccepting", func(t *testing.T) {
			s := start(t, p, Config{}, new(app), nil)
			c := s.connect(t)
			half := s.dial(t)
			half.send([]byte(upgradeRequest))
			eventually(t, "both are there", func() bool { return s.sockets.Load() == 2 })
			s.Drain()
			eventually(t, "the port is closed", func() bool {
				conn, err := net.Dial("tcp", s.addr)
				if err == nil {
					_ = conn.Close()
				}
				return err != nil
			})
			_, _ = half.Write([]byte("\r\n"))
			if b, _ := io.ReadAll(half.r); strings.Contains(string(b), "101") {
				t.Errorf("upgraded: %s", b)
			}
			c.echo("still open")
			if err := s.Serve(context.Background(), listen(t)); err == nil {
				t.Error("served again")
			}
		})
		t.Run("TheContextIsTheLimit", func(t *testing.T) {
			closed := make(chan ended, 1)
			s := start(t, p, Config{CloseTimeout: time.Minute}, &app{close: func(_ *Conn, code int, reason string) { closed <- ended{code, reason} }}, nil)
			s.connect(t) // it doesn't answer the close frame
			eventually(t, "it is open", func() bool { return s.Conns() == 1 })
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("shutdown: %v", err)
			}
			if e := within(t, "close", closed); e.code != 1001 {
				t.Errorf("told %v", e)
			}
		})
		t.Run("ServeEndsWithItsContext", func(t *testing.T) {
			s := start(t, p, Config{}, new(app), nil)
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error, 1)
			second := listen(t)
			go func() { served <- s.Serve(ctx, second) }()
			other := &server{Server: s.Server, path: p, addr: second.Addr().String()}
			c := other.connect(t)
			cancel()
			if err := within(t, "serve", served); err != nil {
				t.Error(err)
			}
			c.echo("still open")
			s.connect(t).echo("the other listener too")
		})
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
