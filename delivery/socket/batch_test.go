package socket

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// onEachBatch runs a test with batches that have a ring, on descriptors that haven't one, and on connections with goroutines.
func onEachBatch(t *testing.T, test func(t *testing.T, p path, cfg Config)) {
	t.Parallel()
	for name, c := range map[string]struct {
		path  path
		uring bool
	}{"io_uring": {paths[0], true}, "epoll": {paths[0], false}, "goroutines": {paths[1], true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "io_uring" {
				if r, err := newRing(1); err == nil {
					r.close()
				} else {
					t.Skip("no io_uring here: ", err)
				}
			}
			test(t, c.path, Config{Uring: c.uring, PingInterval: time.Hour})
		})
	}
}

func TestBatch(t *testing.T) {
	onEachBatch(t, func(t *testing.T, p path, cfg Config) {
		opened, closed := make(chan *Conn, 1000), make(chan *Conn, 1000)
		s := start(t, p, cfg, &app{
			open:  func(c *Conn) { opened <- c },
			close: func(c *Conn, _ int, _ string) { closed <- c },
		}, nil)
		b := s.NewBatch()
		defer b.Close()
		if has := b.ring != nil; has != (cfg.Uring && p.loops > 0) {
			t.Fatalf("it has a ring: %v", has)
		}

		t.Run("EveryoneGetsTheirsInOrder", func(t *testing.T) {
			var clients []*client
			var conns []*Conn
			for range 3 * batchSize / 2 { // more than it holds
				clients = append(clients, s.connect(t))
				conns = append(conns, within(t, "open", opened))
			}
			for i := range 5 {
				for n, c := range conns {
					if !b.Write(c, AppendText(nil, fmt.Appendf(nil, "%d for %d", i, n))) {
						t.Fatal("not taken")
					}
					if n%7 == 0 { // while its first may still be held
						b.Release(c)
						c.Write(AppendText(nil, fmt.Appendf(nil, "%d again for %d", i, n)))
					}
				}
			}
			b.Flush()
			for n, c := range clients {
				for i := range 5 {
					c.wantText(fmt.Sprintf("%d for %d", i, n))
					if n%7 == 0 {
						c.wantText(fmt.Sprintf("%d again for %d", i, n))
					}
				}
			}
		})

		t.Run("TwoFramesForOne", func(t *testing.T) {
			c := s.connect(t)
			conn := within(t, "open", opened)
			for i := range 3 {
				if !b.Write(conn, AppendText(nil, numbered(i, 10))) {
					t.Fatal("not taken")
				}
			}
			b.Flush()
			for i := range 3 {
				c.wantText(string(numbered(i, 10)))
			}
		})

		t.Run("TheRestOfAFrameFollows", func(t *testing.T) {
			c := s.connect(t)
			c.window(32 << 10)
			conn := within(t, "open", opened)
			const size = 1_000_000
			n := 0
			for ; b.Write(conn, AppendText(nil, numbered(n, size))); n++ { // until one is in flight
				b.Flush()
			}
			c.window(1 << 20)
			for i := range n {
				c.wantText(string(numbered(i, size)))
			}
			eventually(t, "it takes more", func() bool { return b.Write(conn, AppendText(nil, []byte("taken"))) })
			b.Flush()
			c.wantText("taken")
		})

		// Another connection could have it by the time the frame goes out.
		t.Run("ADescriptorIsNotClosedUnderIt", func(t *testing.T) {
			if b.ring == nil {
				t.Skip("nothing is held without a ring")
			}
			c := s.connect(t)
			conn := within(t, "open", opened)
			if !b.Write(conn, AppendText(nil, []byte("x"))) {
				t.Fatal("not taken")
			}
			c.Conn.Close()
			for wait := time.After(200 * time.Millisecond); wait != nil; {
				select {
				case other := <-closed:
					if other == conn {
						t.Fatal("it has ended")
					}
				case <-wait:
					wait = nil
				}
			}
			b.Flush()
			for within(t, "close", closed) != conn {
			}
		})

		t.Run("ABrokenConnectionHurtsNobody", func(t *testing.T) {
			var clients []*client
			var conns []*Conn
			for range 9 {
				clients = append(clients, s.connect(t))
				conns = append(conns, within(t, "open", opened))
			}
			for i, c := range clients {
				if i%3 == 0 {
					if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset
						t.Fatal(err)
					}
					c.Conn.Close()
				}
			}
			for range 2 { // the first may meet a socket that hasn't heard yet
				for _, c := range conns {
					b.Write(c, AppendText(nil, []byte("x")))
				}
				b.Flush()
			}
			for ended := 0; ended < 3; {
				if slices.Contains(conns, within(t, "close", closed)) {
					ended++
				}
			}
			for i, c := range clients {
				if i%3 != 0 {
					c.wantText("x")
					c.wantText("x")
				}
			}
		})
	})
}

// TestBatchBesideEverythingElse has a batch write while others write to the same connections, close them, and new ones get
// their descriptors: each client gets only what is its own, whole, and the batch's frames in order.
func TestBatchBesideEverythingElse(t *testing.T) {
	onEachBatch(t, func(t *testing.T, p path, cfg Config) {
		type person struct {
			name string
			next int // guarded by mu, as a session's cursor is
			mu   sync.Mutex
		}
		var people sync.Map // *Conn: *person
		var names atomic.Int64
		cfg.MaxMessagesPerSecond = 1 << 30
		s := start(t, p, cfg, &app{
			open: func(c *Conn) {
				who := &person{name: fmt.Sprint("n", names.Add(1))}
				c.Write(AppendText(nil, []byte(who.name)))
				people.Store(c, who)
			},
			message: func(c *Conn, m []byte) { // by the loop, with the lock, as a session answers
				if value, ok := people.Load(c); ok {
					who := value.(*person)
					who.mu.Lock()
					defer who.mu.Unlock()
					c.Write(AppendText(nil, []byte(who.name+" echo")))
				}
			},
			close: func(c *Conn, _ int, _ string) { people.Delete(c) },
		}, nil)
		stop := make(chan struct{})
		var working, reading sync.WaitGroup
		working.Go(func() {
			b := s.NewBatch()
			defer b.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				for key, value := range people.Range {
					c, who := key.(*Conn), value.(*person)
					for range 1 + rand.IntN(2) {
						b.Release(c)
						who.mu.Lock()
						if b.Write(c, AppendText(nil, fmt.Appendf(nil, "%s %d", who.name, who.next))) {
							who.next++
						}
						who.mu.Unlock()
					}
				}
				b.Flush()
			}
		})
		working.Go(func() {
			for {
				for key := range people.Range {
					if rand.IntN(50) == 0 {
						key.(*Conn).Close(1000, "")
					}
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
		var got atomic.Int64
		for range 20 {
			reading.Go(func() {
				for range 15 {
					c := s.connect(t)
					_, name := c.read()
					next := 0
					for alive := true; alive; {
						if rand.IntN(8) == 0 {
							_, _ = c.Write(text1("?"))
						}
						closes, text := c.read()
						want := fmt.Sprintf("%s %d", name, next)
						switch {
						case closes:
							alive = false
						case string(text) == want:
							next++
							got.Add(1)
						case string(text) != string(name)+" echo":
							t.Errorf("%s got %q, not %q", name, text, want)
							alive = false
						}
					}
					c.Close()
				}
			})
		}
		reading.Wait()
		close(stop)
		working.Wait()
		if n := got.Load(); n < 300 {
			t.Errorf("only %d frames came", n)
		}
	})
}

// read returns the text of the next frame, or that there is an end.
func (c *client) read() (ends bool, text []byte) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil || head[0] != 0x81 {
		return true, nil
	}
	text = bytes.Repeat([]byte{0}, int(head[1]&0x7f))
	_, err := io.ReadFull(c.r, text)
	return err != nil, text
}
