package socket

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
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
//
// The set is itself a file that the runtime's poller waits for, so that a loop with nothing to do is a parked goroutine and
// no thread in a system call, from which the scheduler would have to take its processor back each time.
type poller struct {
	epoll  int // -1: the loop has no poller, its connections have goroutines
	file   *os.File
	raw    syscall.RawConn
	until  time.Time // the deadline of the file
	events []unix.EpollEvent
	ready  int // of events
	failed error
	look   func(uintptr) bool // poll, made once
	buf    []byte
}

func (p *poller) open() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		_ = unix.Close(epoll)
		return os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(epoll), "epoll")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // fails if the runtime can't wait for it
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	p.epoll, p.file, p.raw, p.look = epoll, file, raw, p.poll
	p.events, p.buf = make([]unix.EpollEvent, maxEvents), make([]byte, readBuffer)
	return nil
}

// wait returns what is ready, sleeping until there is something or the time has come.
func (p *poller) wait(until time.Time) []unix.EpollEvent {
	if !p.poll(0) {
		if until != p.until {
			p.until = until
			_ = p.file.SetReadDeadline(until) // can't fail: the file is open
		}
		_ = p.raw.Read(p.look) // an error says that the time has come
	}
	if p.failed != nil {
		panic(fmt.Sprintf("epoll_wait: %v", p.failed)) // only a mistake of ours can cause it
	}
	return p.events[:p.ready]
}

// poll looks what is ready now. False: nothing.
func (p *poller) poll(uintptr) bool {
	p.ready, p.failed = 0, nil
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(unsafe.SliceData(p.events))), uintptr(len(p.events)), 0, 0, 0)
		switch err {
		case 0:
			p.ready = int(n)
			return n > 0
		case unix.EINTR:
		default:
			p.failed = err
			return true
		}
	}
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
			if err := l.open(); err != nil {
				for _, l := range s.loops {
					_ = l.file.Close()
				}
				s.loops = nil
				return err
			}
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
	turned := s.now()
	for {
		events := l.wait(s.at(turned + 1))
		now := s.now()
		for i := range events {
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
				_ = l.file.Close()
				return
			default:
			}
		}
	}
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
