package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection: little, since there are many.
type conn struct {
	opening *opening // nil once the session stands
	part    []byte   // of a frame whose rest hasn't come
	rev     int64    // where the last frame ended
	live    bool
}

func (l *loop) complain(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "client: "+format+"\n", args...)
}

func (l *loop) event(fd int, events uint32, now time.Time) {
	c := &l.conns[fd]
	if c.opening != nil && events&unix.EPOLLOUT != 0 {
		if _, ok := l.open(fd, c, nil); !ok {
			l.end(fd, c)
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLRDHUP|unix.EPOLLERR) == 0 {
		return
	}
	for {
		n, err := unix.Read(fd, l.buffer)
		if err == unix.EAGAIN {
			return
		}
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil || !l.received(fd, c, l.buffer[:n], now) {
			l.end(fd, c)
			return
		}
		if n < len(l.buffer) {
			return // level-triggered: the rest says so
		}
	}
}

func (l *loop) end(fd int, c *conn) {
	if c.opening != nil {
		l.failed++
		l.flight--
	} else {
		l.dead++
	}
	*c = conn{}
	_ = unix.Close(fd)
}

func (l *loop) send(fd int, b []byte) bool {
	n, err := unix.Write(fd, b)
	return err == nil && n == len(b) // the first bytes on a socket, and pongs
}

// received takes frames apart. Not ok: the connection is to be closed.
func (l *loop) received(fd int, c *conn, b []byte, now time.Time) bool {
	if c.opening != nil {
		var ok bool
		if b, ok = l.open(fd, c, b); !ok {
			return false
		}
	}
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	for {
		opcode, payload, rest, whole := frame(b)
		if !whole {
			break
		}
		b = rest
		switch opcode {
		case 1:
			l.message(fd, c, payload, now)
		case 9:
			if !l.send(fd, masked(nil, 10, payload)) {
				return false
			}
		case 8:
			if l.dead == 0 && len(payload) >= 2 {
				l.complain("closed with %d %s", binary.BigEndian.Uint16(payload), payload[2:])
			}
			return false
		}
	}
	if len(b) == 0 {
		c.part = nil
	} else {
		c.part = append([]byte(nil), b...)
	}
	return true
}

// frame is the first of some bytes of a server.
func frame(b []byte) (opcode byte, payload, rest []byte, whole bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	head, size := 2, int(b[1]&0x7f)
	switch size {
	case 126:
		if len(b) < 4 {
			return 0, nil, nil, false
		}
		head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return 0, nil, nil, false
		}
		head, size = 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	if len(b) < head+size {
		return 0, nil, nil, false
	}
	return b[0] & 0x0f, b[head : head+size], b[head+size:], true
}

// sentAt stands in each published message, followed by nanoseconds since 1970. A status change has its time in the
// application's id, since its data are fixed.
var (
	sentAt    = []byte(`"sent_at":`)
	appliedAt = []byte(`"application_id":"` + applicationPrefix)
)

func (l *loop) message(fd int, c *conn, payload []byte, now time.Time) {
	if c.opening != nil {
		l.stands(c)
	}
	if l.speech.ping != nil { // alone, or as one of the lines of a message
		for line := range bytes.Lines(payload) {
			if bytes.Equal(bytes.TrimSpace(line), l.speech.ping) {
				l.send(fd, masked(nil, 1, l.speech.pong))
			}
		}
	}
	if l.speech.chained {
		l.link(c, payload)
	}
	for {
		i := bytes.Index(payload, l.speech.marker)
		if i < 0 {
			return
		}
		payload = payload[i+len(l.speech.marker):]
		at := digits(payload)
		if at <= l.marked.UnixNano() {
			continue
		}
		if l.speech.single {
			if l.seen[at] {
				l.counts.Doubled++
				continue
			}
			l.seen[at] = true
		}
		l.counts.Messages++
		l.times.add(time.Duration(now.UnixNano() - at))
	}
}

var (
	fromField = []byte(`"from":`)
	revField  = []byte(`"rev":`)
)

// link checks that a frame of changes goes on where the last one ended. Both numbers stand before the items.
func (l *loop) link(c *conn, payload []byte) {
	rev := bytes.Index(payload, revField)
	if rev < 0 {
		return
	}
	if from := bytes.Index(payload, fromField); from >= 0 && from < rev {
		if c.live && digits(payload[from+len(fromField):]) != c.rev {
			l.counts.Broken++
		}
		c.live = true
		c.rev = digits(payload[rev+len(revField):])
	}
}

func digits(b []byte) (n int64) {
	for _, d := range b {
		if d < '0' || d > '9' {
			break
		}
		n = n*10 + int64(d-'0')
	}
	return n
}
