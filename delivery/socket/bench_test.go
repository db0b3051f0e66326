package socket

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// exchange sends a request and reads an answer of a known length, without allocating.
func exchange(tb testing.TB, c *client, request []byte, answer []byte) {
	if _, err := c.Conn.Write(request); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(c.Conn, answer); err != nil {
		tb.Fatal(err)
	}
}

// hot has the operations of the hot path, each in a function that does it once from the client's bytes to the client's bytes.
func hot(tb testing.TB) map[string]func() {
	shared := AppendText(nil, bytes.Repeat([]byte{'x'}, 200))
	opened := make(chan *Conn, 1)
	s := start(tb, paths[0], Config{MaxMessagesPerSecond: 1 << 30, Uring: true}, &app{
		open:    func(c *Conn) { opened <- c },
		message: func(c *Conn, _ []byte) { c.Write(shared) },
	}, nil)
	c := s.connect(tb)
	conn := <-opened
	batch := s.NewBatch()
	tb.Cleanup(batch.Close)
	if err := c.SetDeadline(time.Time{}); err != nil {
		tb.Fatal(err)
	}
	message, ping, pong := text1(`{"type":"ping","ref":"1"}`), masked(true, ws.OpPing, []byte("12345678")), masked(true, ws.OpPong, nil)
	frame, answer, asked := make([]byte, len(shared)), make([]byte, 10), make([]byte, len(pingFrame))
	return map[string]func(){
		"Message": func() { exchange(tb, c, message, frame) },
		"Ping":    func() { exchange(tb, c, ping, answer) },
		"Write": func() {
			conn.Write(shared)
			if _, err := io.ReadFull(c.Conn, frame); err != nil {
				tb.Fatal(err)
			}
		},
		"Batch": func() {
			if batch.Write(conn, shared); batch.ring != nil && len(batch.staged) != 1 {
				tb.Fatal("it went out at once")
			}
			batch.Flush()
			if _, err := io.ReadFull(c.Conn, frame); err != nil {
				tb.Fatal(err)
			}
		},
		"KeepAlive": func() { // our ping, answered by the client
			conn.mu.Lock()
			now := s.now()
			conn.ping = now
			conn.keepAlive(now)
			conn.mu.Unlock()
			conn.loop.wheel.schedule(conn, now+1000)
			if _, err := io.ReadFull(c.Conn, asked); err != nil {
				tb.Fatal(err)
			}
			if _, err := c.Conn.Write(pong); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	if !haveEpoll {
		t.Skip("only on the epoll path")
	}
	for name, once := range hot(t) {
		once()
		// The runtime and other tests' goroutines that are ending allocate a little now and then.
		if n := testing.AllocsPerRun(2000, once); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkHotPath(b *testing.B) {
	for _, name := range []string{"Message", "Ping", "Write", "Batch", "KeepAlive"} {
		b.Run(name, func(b *testing.B) {
			once := hot(b)[name]
			once()
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkWriteToMany is what a write to one of many connections costs, one by one and in batches.
func BenchmarkWriteToMany(b *testing.B) {
	opened := make(chan *Conn, 1)
	s := start(b, paths[0], Config{Uring: true, PingInterval: time.Hour}, &app{open: func(c *Conn) { opened <- c }}, nil)
	var clients []*client
	var conns []*Conn
	for range 500 {
		clients = append(clients, s.connect(b))
		conns = append(conns, <-opened)
	}
	batch := s.NewBatch()
	defer batch.Close()
	shared := AppendText(nil, bytes.Repeat([]byte{'x'}, 400))
	got := make([]byte, len(shared))
	for _, way := range []struct {
		name  string
		write func(*Conn)
	}{{"OneByOne", func(c *Conn) { c.Write(shared) }}, {"Batch", func(c *Conn) { batch.Write(c, shared) }}} {
		b.Run(way.name, func(b *testing.B) {
			if way.name == "Batch" && batch.ring == nil {
				b.Skip("no io_uring here")
			}
			var spent time.Duration
			n := 0
			for b.Loop() {
				start := time.Now()
				for _, c := range conns {
					way.write(c)
				}
				batch.Flush()
				spent += time.Since(start)
				n += len(conns)
				for _, c := range clients {
					if _, err := io.ReadFull(c.r, got); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "ns/write")
		})
	}
}

// BenchmarkParser is what a message costs without system calls.
func BenchmarkParser(b *testing.B) {
	for _, size := range []int{20, 200, 4000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			frame := text1(string(bytes.Repeat([]byte{'x'}, size)))
			lim := limits{message: 64 << 10, fragments: 64, all: 1 << 20}
			buf := make([]byte, len(frame))
			var in *inbound
			var to sink = nothing{}
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				copy(buf, frame)
				parse(&in, buf, &lim, to)
			}
		})
	}
}

type nothing struct{}

func (nothing) text([]byte) bool               { return true }
func (nothing) control(ws.OpCode, []byte) bool { return true }
func (nothing) fail(int, string)               {}

// BenchmarkConnect is a connection from the client's SYN to the end, both sides in one process.
func BenchmarkConnect(b *testing.B) {
	for _, p := range paths {
		b.Run(p.name, func(b *testing.B) {
			s := start(b, p, Config{}, new(app), nil)
			request, answer := []byte(upgradeRequest+"\r\n"), make([]byte, 129)
			bye := closing(1000, "")
			b.ReportAllocs()
			for b.Loop() {
				c := s.dial(b)
				exchange(b, c, request, answer)
				exchange(b, c, bye, answer[:4])
				_ = c.Close()
			}
		})
	}
}
