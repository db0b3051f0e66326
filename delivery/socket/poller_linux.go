package socket

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const haveEpoll = true

const (
	readBuffer = 64 << 10 // of a loop: what a connection may bring in one turn
	maxEvents  = 256
)

// poller is an epoll set. Only the loop's goroutine reads from descriptors and closes them; writes and epoll_ctl happen
// under the connection's mu, so none of them can meet a descriptor that has become another connection's.
type poller struct {
	epoll int // -1: the loop has no poller, its connections have goroutines
	buf   []byte
}

// table finds a connection by its descriptor. Chunks are made as descriptors come.
type table struct {
	chunks []atomic.Pointer[chunk]
}

type chunk [512]atomic.Pointer[Conn]

func newTable() table {
	return table{chunks: make([]atomic.Pointer[chunk], (maxFiles()+len(chunk{})-1)/len(chunk{}))}
}

// set notes c; false if the descriptor is beyond what the process could open when it started.
func (t *table) set(fd int, c *Conn) bool {
	if fd/len(chunk{}) >= len(t.chunks) {
		return false
	}
	at := &t.chunks[fd/len(chunk{})]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(chunk))
	}
	at.Load()[fd%len(chunk{})].Store(c)
	return true
}

func (t *table) get(fd int) *Conn {
	if ch := t.chunks[fd/len(chunk{})].Load(); ch != nil {
		return ch[fd%len(chunk{})].Load()
	}
	return nil
}

// maxFiles is how many descriptors the process may have.
func maxFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<30))
}

func defaultMaxConns() int {
	files := maxFiles()
	return files - min(files/4, max(200, files/100))
}

// startLoops starts the epoll loops, or the one that keeps the time of connections with goroutines. Connections of
// listeners that aren't TCP have goroutines too, so that one is always there, the last.
func (s *Server) startLoops(ctx context.Context) error {
	if s.epolls() {
		s.table = newTable()
		for range s.cfg.Loops {
			l := s.newLoop()
			epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				for _, l := range s.loops {
					_ = unix.Close(l.epoll)
				}
				s.loops = nil
				return os.NewSyscallError("epoll_create1", err)
			}
			l.epoll, l.buf = epoll, make([]byte, readBuffer)
			s.loops = append(s.loops, l)
		}
		for _, l := range s.loops {
			s.loopsEnded.Go(func() { l.run(ctx) })
		}
	}
	l := s.newLoop()
	l.epoll = -1
	s.loops = append(s.loops, l)
	s.loopsEnded.Go(l.keepTime)
	return nil
}

// run is a loop's goroutine.
func (l *loop) run(ctx context.Context) {
	s := l.server
	events := make([]unix.EpollEvent, maxEvents)
	turned := s.now()
	for {
		n, err := unix.EpollWait(l.epoll, events, l.untilTick())
		if err != nil && err != unix.EINTR {
			panic(fmt.Sprintf("epoll_wait: %v", err)) // only a mistake of ours can cause it
		}
		now := s.now()
		for i := range max(n, 0) {
			e := &events[i]
			c := s.table.get(int(e.Fd))
			if c == nil || c.generation != uint16(e.Pad) {
				continue // of a descriptor that has been closed since
			}
			l.event(ctx, c, e.Events, now)
		}
		if now != turned {
			turned = now
			l.turn(now)
			select {
			case <-s.endLoops:
				for _, c := range l.wheel.all() {
					c.end()
				}
				_ = unix.Close(l.epoll)
				return
			default:
			}
		}
	}
}

// untilTick is the time-out for epoll_wait in milliseconds, rounded up.
func (l *loop) untilTick() int {
	s := l.server
	rest := s.tick - time.Since(s.started)%s.tick
	return int((rest + time.Millisecond - 1) / time.Millisecond)
}

func (l *loop) event(ctx context.Context, c *Conn, events uint32, now uint32) {
	defer c.recovered()
	if c.state.Load() == stateHandshake {
		l.readHeader(ctx, c)
		return
	}
	if events&unix.EPOLLOUT != 0 && c.flush() {
		c.end()
		return
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	n, err := receiveFrom(int(c.fd), l.buf)
	switch {
	case err == unix.EAGAIN:
	case err != nil || n == 0:
		c.end()
	default:
		c.receive(l.buf[:n], now)
		if c.over() {
			c.end()
		}
	}
}

// arm asks for the events that the connection needs now; mu is held.
func (c *Conn) arm() {
	if c.stream != nil || c.fd < 0 || c.flags&flagArmed == 0 {
		return
	}
	wanted := uint32(unix.EPOLLIN)
	if !c.out.idle() {
		wanted |= unix.EPOLLOUT
	}
	if c.flags&flagListens != 0 && (wanted&unix.EPOLLOUT != 0) == (c.flags&flagWantsOut != 0) {
		return
	}
	c.flags = c.flags&^flagWantsOut | flagListens
	if wanted&unix.EPOLLOUT != 0 {
		c.flags |= flagWantsOut
	}
	c.register(wanted)
}

// register adds or changes the connection in the epoll set; mu is held.
func (c *Conn) register(events uint32) {
	op := unix.EPOLL_CTL_MOD
	if c.flags&flagRegistered == 0 {
		op = unix.EPOLL_CTL_ADD
		c.flags |= flagRegistered
	}
	e := unix.EpollEvent{Events: events, Fd: c.fd, Pad: int32(c.generation)}
	if err := unix.EpollCtl(c.loop.epoll, op, int(c.fd), &e); err != nil {
		// Out of memory or of max_user_watches. The wheel ends what is never heard of again.
		c.loop.server.log.Error("epoll_ctl failed", "error", err)
		c.hang()
	}
}

// send writes what the socket takes without waiting: a full one takes nothing. The call never blocks, so the scheduler need
// not hear of it.
func send(fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

// receiveFrom reads what is there; EAGAIN: nothing.
func receiveFrom(fd int, b []byte) (int, error) {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT, 0, 0)
		switch err {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

func shutdownDescriptor(fd int, writeOnly bool) {
	how := unix.SHUT_RDWR
	if writeOnly {
		how = unix.SHUT_WR
	}
	_ = unix.Shutdown(fd, how) // an error means that it is down
}

func closeDescriptor(fd int) { _ = unix.Close(fd) } // nothing to be done about an error
