package socket

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
)

// window sets how much the client's side of TCP takes while nobody reads. A small one must be widened before much is read
// through it, or that takes seconds.
func (c *client) window(bytes int) {
	conn := c.Conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(bytes); err != nil {
		c.t.Fatal(err)
	}
}

// settled is how long nothing must move before a socket counts as full. The kernel takes a little more when its first probe
// of the closed window (after 200 ms) has made the reader's side tidy its queue.
const settled = 600 * time.Millisecond

// fill writes numbered messages until one isn't taken for as long as quiet says, and says how many were.
func fill(t *testing.T, c *Conn, writable <-chan *Conn, size int, quiet time.Duration) int {
	t.Helper()
	for n := 0; n < 100_000; {
		message := AppendText(nil, numbered(n, size))
		if c.Write(message) {
			n++
			continue
		}
		select {
		case which := <-writable:
			if which != c { // another that was filled before: its window was probed
				continue
			}
			if !c.Write(message) {
				t.Fatal("not taken after Writable")
			}
			n++
		case <-time.After(quiet):
			return n
		}
	}
	t.Fatal("a client that doesn't read takes everything")
	return 0
}

func numbered(n, size int) []byte {
	return []byte(fmt.Sprintf("%d %s", n, strings.Repeat("x", size)))
}

func TestWriteToAClientThatDoesNotRead(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		setup := func(t *testing.T, cfg Config) (s *server, opened, writable chan *Conn) {
			opened, writable = make(chan *Conn, 100), make(chan *Conn, 100)
			return start(t, p, cfg, &app{
				open:     func(c *Conn) { opened <- c },
				writable: func(c *Conn) { writable <- c },
			}, nil), opened, writable
		}

		t.Run("NothingIsLostOrReordered", func(t *testing.T) {
			s, opened, writable := setup(t, Config{})
			for _, size := range []int{10, 3000, 200_000} {
				c := s.connect(t)
				c.window(32 << 10)
				conn := within(t, "open", opened)
				n := fill(t, conn, writable, size, settled)
				if conn.Write(AppendText(nil, []byte("no"))) {
					t.Fatal("taken though the socket is full")
				}
				select {
				case <-writable:
					t.Fatal("writable though nothing was read")
				default:
				}
				c.window(1 << 20)
				for i := range n {
					c.wantText(string(numbered(i, size)))
				}
				if within(t, "writable", writable) != conn {
					t.Error("another connection became writable")
				}
				if !conn.Write(AppendText(nil, []byte("again"))) {
					t.Error("not taken after Writable")
				}
				c.wantText("again")
				c.echo("hi")
				_ = c.Close()
			}
		})

		t.Run("ItsPingsAreAnsweredLater", func(t *testing.T) {
			s, opened, writable := setup(t, Config{})
			c := s.connect(t)
			c.window(32 << 10)
			n := fill(t, within(t, "open", opened), writable, 1000, settled)
			c.send(masked(true, ws.OpPing, []byte("first")))
			c.send(masked(true, ws.OpPing, []byte("second")))
			c.send(text1("not answered: there is no room"))
			eventually(t, "all have arrived", func() bool {
				var n uint64
				for _, l := range s.everyLoop() {
					n += l.count.received.Load()
				}
				return n == 1
			})
			c.window(1 << 20)
			for i := range n {
				c.wantText(string(numbered(i, 1000)))
			}
			f := c.frame() // the latest is enough (section 5.5.3), and what waits stays small
			if f.Header.OpCode != ws.OpPong || string(f.Payload) != "second" {
				t.Errorf("got %v %q", f.Header.OpCode, f.Payload)
			}
		})

		t.Run("ACloseComesAfterTheFrameInFlight", func(t *testing.T) {
			s, opened, writable := setup(t, Config{CloseTimeout: patience})
			c := s.connect(t)
			c.window(32 << 10)
			conn := within(t, "open", opened)
			n := fill(t, conn, writable, 5000, settled)
			conn.Close(4401, "")
			c.window(1 << 20)
			for i := range n {
				c.wantText(string(numbered(i, 5000)))
			}
			c.wantClose(4401)
			c.send(closing(4401, ""))
			c.wantEnd()
			select {
			case <-writable:
				t.Error("writable after Close")
			default:
			}
		})

		t.Run("TheClientsCloseIsAnsweredAfterTheFrameInFlight", func(t *testing.T) {
			s, opened, writable := setup(t, Config{CloseTimeout: patience})
			c := s.connect(t)
			c.window(32 << 10)
			n := fill(t, within(t, "open", opened), writable, 5000, settled)
			c.send(closing(1000, ""))
			c.window(1 << 20)
			for i := range n {
				c.wantText(string(numbered(i, 5000)))
			}
			c.wantClose(1000)
			c.wantEnd()
			eventually(t, "it is gone", func() bool { return s.Conns() == 0 })
		})

		t.Run("WithoutAByteInAnIntervalItIsClosed", func(t *testing.T) {
			s, opened, writable := setup(t, Config{PingInterval: 150 * time.Millisecond, PongTimeout: time.Minute})
			c := s.connect(t)
			c.window(32 << 10)
			conn := within(t, "open", opened)
			fill(t, conn, writable, 5000, 50*time.Millisecond)
			eventually(t, "it is closed", func() bool {
				_, _ = c.Write(masked(true, ws.OpPong, nil))    // alive, but not reading
				conn.Write(AppendText(nil, make([]byte, 5000))) // in case that the kernel has made room since
				return s.Conns() == 0
			})
		})

		t.Run("OthersDoNotNotice", func(t *testing.T) {
			s, opened, writable := setup(t, Config{MaxMessagesPerSecond: 100_000})
			var deaf []*Conn
			for range 8 {
				c := s.connect(t)
				c.window(32 << 10)
				conn := within(t, "open", opened)
				fill(t, conn, writable, 5000, 50*time.Millisecond)
				deaf = append(deaf, conn)
			}
			c := s.connect(t)
			healthy := within(t, "open", opened)
			for i := range 200 {
				for _, d := range deaf {
					d.Write(AppendText(nil, []byte("x"))) // refused, but for what the kernel makes room for meanwhile
				}
				message := fmt.Sprint(i)
				healthy.Write(AppendText(nil, []byte(message)))
				c.wantText(message)
				c.echo("hi")
			}
		})
	})
}

func TestWritesOfManyGoroutinesStayWhole(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		const writers, each = 8, 200
		opened := make(chan *Conn, 1)
		s := start(t, p, Config{}, &app{open: func(c *Conn) { opened <- c }}, nil)
		c := s.connect(t)
		conn := within(t, "open", opened)
		var done sync.WaitGroup
		for w := range writers {
			done.Go(func() {
				for i := range each {
					frame := AppendText(nil, bytes.Repeat([]byte{byte('a' + w)}, 1+i*17))
					for !conn.Write(frame) {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		lengths := map[byte]int{}
		for range writers * each {
			f := c.frame()
			first := f.Payload[0]
			if want := 1 + lengths[first]*17; len(f.Payload) != want || bytes.Count(f.Payload, f.Payload[:1]) != want {
				t.Fatalf("message %d of %c has %d bytes: %.50q", lengths[first], first, len(f.Payload), f.Payload)
			}
			lengths[first]++
		}
		done.Wait()
		c.echo("hi")
	})
}

func TestConnIsSmall(t *testing.T) {
	size := unsafe.Sizeof(Conn{})
	t.Logf("a connection is %d bytes", size)
	if size > 128 {
		t.Errorf("a connection is %d bytes, more than the 128 that doc.go promises", size)
	}
}

// Where frames are taken while others are in flight, a pong goes before those that come after it, and a later ping's replaces it as long as it is
// the last.
func TestAPongKeepsItsPlace(t *testing.T) {
	c := &Conn{loop: new(loop), stream: &stream{pumping: true}}
	c.state.Store(stateOpen)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep([]byte("in flight "))
	c.say([]byte("pong 1 "), false)
	c.say([]byte("pong 2 "), false)
	if !c.write([]byte("message ")) {
		t.Fatal("a message isn't taken")
	}
	c.say([]byte("pong 3 "), false)
	var sent string
	for b := c.out.head(); b != nil; b = c.out.head() {
		sent += string(b)
		c.out.sent(len(b))
	}
	if want := "in flight pong 2 message pong 3 "; sent != want || c.out.size != 0 {
		t.Errorf("sent %q, of which %d bytes are still counted; want %q", sent, c.out.size, want)
	}
}
