package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// window is how many handshakes a client has under way.
const window = 256

// Of a client's address.
const minPort, maxPort = 1024, 65536

// runClient takes orders from standard input until that ends. It sleeps until something comes: with a million connections
// there are more than fifty clients, and each that looked around twenty times a second would be in the servers' way.
func runClient() error {
	c, err := newLoop()
	if err != nil {
		return err
	}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, unix.Stdin, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		c.poll(-1)
		if !c.ordered {
			continue
		}
		c.ordered = false
		line, err := in.ReadBytes('\n') // the next one comes when this one is answered
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return err
		}
		if err := out.Encode(c.obey(o)); err != nil {
			return err
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
	port   int // the last one

	refusals int
	ordered  bool // standard input, descriptor 0, has something
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

// poll handles what has come, waiting for it for so many milliseconds, or for ever if that is negative.
func (l *loop) poll(wait int) {
	n, err := unix.EpollWait(l.epoll, l.events, wait)
	if err != nil {
		return // a signal
	}
	now := time.Now()
	for _, e := range l.events[:n] {
		if int(e.Fd) == unix.Stdin {
			l.ordered = true
			continue
		}
		l.event(int(e.Fd), e.Events, now)
	}
}
