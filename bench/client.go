package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// window is how many handshakes a client has under way.
const window = 256

// runClient takes orders from standard input until that ends.
func runClient() error {
	c, err := newLoop()
	if err != nil {
		return err
	}
	orders := make(chan order)
	go func() {
		defer close(orders)
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			var o order
			if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
				fmt.Fprintln(os.Stderr, "client:", err)
				return
			}
			orders <- o
		}
	}()
	out := json.NewEncoder(os.Stdout)
	for {
		select {
		case o, ok := <-orders:
			if !ok {
				return nil
			}
			a := c.obey(o)
			if err := out.Encode(a); err != nil {
				return err
			}
		default:
			c.poll(50 * time.Millisecond) // for the next order: what comes from the servers wakes it
		}
	}
}

// loop is the connections of a process and what they have received.
type loop struct {
	epoll  int
	events []unix.EpollEvent
	conns  []conn // by file descriptor
	buffer []byte

	speech speech
	marked time.Time      // messages published earlier don't count
	seen   map[int64]bool // single messages since then
	counts answer
	times  histogram
	dead   int
	opened int // handshakes that are done
	failed int
	flight int

	refusals int
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &loop{epoll: epoll, events: make([]unix.EpollEvent, 1024), conns: make([]conn, 32<<10), buffer: make([]byte, 256<<10), seen: make(map[int64]bool)}, nil
}

func (l *loop) obey(o order) answer {
	switch o.Do {
	case "connect":
		return l.connect(o)
	case "mark":
		l.counts, l.times, l.seen = answer{}, histogram{}, make(map[int64]bool)
		l.marked = time.Now()
		return answer{}
	case "report":
		a := l.counts
		a.Dead = l.dead
		a.Max = l.times.Max
		for _, n := range l.times.Counts {
			a.Micros = append(a.Micros, int64(n))
		}
		if u, err := usageOf(os.Getpid()); err == nil {
			a.CPUMillis = u.cpu.Milliseconds()
		}
		return a
	}
	return answer{Error: "no such order: " + o.Do}
}

// poll handles what has come, waiting for it for so long.
func (l *loop) poll(wait time.Duration) {
	n, err := unix.EpollWait(l.epoll, l.events, int(wait.Milliseconds()))
	if err != nil {
		return // a signal
	}
	now := time.Now()
	for _, e := range l.events[:n] {
		l.event(int(e.Fd), e.Events, now)
	}
}
