package socket

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestHalfFramesDoNotHoldTheOthers(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{FrameTimeout: time.Second, MaxMessagesPerSecond: 100_000}, new(app), nil)
		healthy := s.connect(t)
		measure := func() (median, p99 time.Duration) {
			var took []time.Duration
			for range 200 {
				since := time.Now()
				healthy.echo("hi")
				took = append(took, time.Since(since))
			}
			slices.Sort(took)
			return took[len(took)/2], took[len(took)*99/100]
		}
		alone, worstAlone := measure()
		halves := make([]*client, 30)
		for i := range halves {
			halves[i] = s.connect(t)
			frame := text1(strings.Repeat("x", 300))
			halves[i].send(frame[:1+i*9])
		}
		beside, worstBeside := measure()
		t.Logf("an echo takes %v, 99 of 100 %v; beside half frames %v and %v", alone, worstAlone, beside, worstBeside)
		// Generous, since machines that run tests have other things to do; a loop that waited would take the second.
		if beside > 20*alone+100*time.Millisecond || worstBeside > 20*worstAlone+400*time.Millisecond {
			t.Error("half frames hold others up")
		}
		for _, c := range halves {
			c.wantClose(4408)
			c.wantEnd()
		}
		healthy.echo("still there")
	})
}

func TestHalfRequestsDoNotHoldTheOthers(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{HandshakeTimeout: 3 * time.Second}, new(app), nil)
		healthy := s.connect(t)
		halves := make([]*client, 30) // more than there are loops
		for i := range halves {
			halves[i] = s.dial(t)
			halves[i].send([]byte(upgradeRequest[:5+5*i]))
		}
		for range 20 {
			healthy.echo("hi")
			s.connect(t).echo("newcomer")
		}
		for _, c := range halves {
			if b, err := io.ReadAll(c.r); err != nil && !errors.Is(err, syscall.ECONNRESET) || len(b) > 0 {
				t.Errorf("it gets %.50q, %v instead of the end", b, err)
			}
		}
		eventually(t, "they are forgotten", func() bool { return s.limits.held.Load() == 0 })
		healthy.echo("still there")
	})
}

func TestFloodsAreClosed(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		for name, flood := range map[string]struct {
			first, again []byte
			code         int
		}{
			"AMillionEmptyFragments": {masked(false, ws.OpText, nil), masked(false, ws.OpContinuation, nil), 1008},
			"Pings":                  {nil, masked(true, ws.OpPing, bytes.Repeat([]byte{'x'}, 125)), 4429},
			"Pongs":                  {nil, masked(true, ws.OpPong, nil), 4429},
			"EmptyMessages":          {nil, text1(""), 4429},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := start(t, p, Config{}, new(app), nil)
				c := s.connect(t)
				go func() {
					if _, err := c.Write(flood.first); err != nil {
						return
					}
					block := bytes.Repeat(flood.again, 10_000)
					for range 100 {
						if _, err := c.Write(block); err != nil {
							return
						}
					}
				}()
				for {
					f, err := readFrame(c.r)
					if err != nil {
						t.Fatalf("no close frame: %v", err)
					}
					if f.Header.OpCode == ws.OpClose {
						if code, _ := ws.ParseCloseFrameData(f.Payload); int(code) != flood.code {
							t.Errorf("closed with %d", code)
						}
						break
					}
				}
				eventually(t, "it is gone", func() bool { return s.Conns() == 0 })
			})
		}
	})
}

func TestUnfinishedMessagesAreBoundedTogether(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{MaxBuffered: 200_000}, new(app), nil)
		healthy := s.connect(t)
		frame := text1(strings.Repeat("x", 60_000))
		var clients []*client
		for range 6 {
			c := s.connect(t)
			c.send(frame[:50_000])
			clients = append(clients, c)
		}
		refused := func() (n uint64) {
			for _, l := range s.everyLoop() {
				n += l.count.closedBy[slices.Index(closeCodes[:], 1013)].Load()
			}
			return n
		}
		eventually(t, "some are closed", func() bool { return refused() > 0 })
		if held := s.limits.held.Load(); held > 200_000 || refused() == 6 {
			t.Errorf("%d bytes are held, %d of 6 were closed", held, refused())
		}
		healthy.echo("hi")
		for _, c := range clients {
			_ = c.Close()
		}
		eventually(t, "nothing is held", func() bool { return s.limits.held.Load() == 0 })
	})
}

func TestGarbageEndsOnlyItsConnection(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{}, new(app), nil)
		healthy := s.connect(t)
		random := rand.New(rand.NewPCG(1, 2))
		for range 30 {
			garbage := make([]byte, random.IntN(2000))
			for i := range garbage {
				garbage[i] = byte(random.Uint32())
			}
			c := s.connect(t)
			_, _ = c.Write(garbage)
			_ = c.Close()
			c = s.dial(t)
			_, _ = c.Write(garbage)
			_ = c.Close()
		}
		healthy.echo("hi")
	})
}

func TestChurnLeavesNothing(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		var mu sync.Mutex
		opened, closed := map[*Conn]int{}, map[*Conn]int{}
		total := 2400
		if p.tls {
			total = 80
		}
		s := start(t, p, Config{}, &app{
			open: func(c *Conn) {
				mu.Lock()
				defer mu.Unlock()
				opened[c]++
			},
			close: func(c *Conn, _ int, _ string) {
				mu.Lock()
				defer mu.Unlock()
				closed[c]++
			},
		}, nil)
		cycle := func(i int) {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			if p.tls {
				conn.Close()
				c := s.connect(t)
				c.echo("hi")
				_ = c.Close()
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			switch i % 5 {
			case 0: // nothing is said
				return
			case 1: // half a request
				_, _ = conn.Write([]byte(upgradeRequest))
				return
			}
			_, _ = conn.Write([]byte(upgradeRequest + "\r\n"))
			if i%5 == 2 { // gone before the answer
				return
			}
			buf := make([]byte, 4096)
			if _, err := conn.Read(buf); err != nil {
				t.Error(err)
				return
			}
			if i%5 == 3 { // half a frame
				_, _ = conn.Write([]byte{0x81})
				return
			}
			_, _ = conn.Write(closing(1000, ""))
			_, _ = io.Copy(io.Discard, conn)
		}
		cycle(4) // what is made once is made
		eventually(t, "it is gone", func() bool { return s.sockets.Load() == 0 })
		runtime.GC()
		var work sync.WaitGroup
		for w := range 8 {
			work.Go(func() {
				for i := range total / 8 {
					cycle(i + w)
				}
			})
		}
		work.Wait()
		eventually(t, "all are gone", func() bool { return s.Conns() == 0 && s.sockets.Load() == 0 })
		for _, l := range s.everyLoop() {
			if n := len(l.wheel.all()); n != 0 {
				t.Errorf("%d connections are left on a wheel", n)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(opened) != len(closed) || len(opened) == 0 {
			t.Errorf("%d opened, %d closed", len(opened), len(closed))
		}
		for c, n := range opened {
			if n != 1 || closed[c] != 1 {
				t.Fatalf("opened %d times, closed %d times", n, closed[c])
			}
		}
	})
}

// Not parallel: it counts what the whole process has.
func TestChurnLeavesNoDescriptorsOrGoroutines(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			s := start(t, p, Config{}, new(app), nil)
			cycle := func() {
				c := s.connect(t)
				c.echo("hi")
				_ = c.Close()
				web := s.dial(t)
				web.send([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
				_, _ = io.ReadAll(web.r)
				_ = web.Close()
			}
			cycle()
			eventually(t, "they are gone", func() bool { return s.sockets.Load() == 0 })
			descriptors, goroutines := files(t), runtime.NumGoroutine()
			cycles := 200
			if p.tls {
				cycles = 30
			}
			for range cycles {
				cycle()
			}
			eventually(t, "descriptors and goroutines are as before", func() bool {
				return s.sockets.Load() == 0 && files(t) <= descriptors+1 && runtime.NumGoroutine() <= goroutines+2
			})
		})
	}
}
