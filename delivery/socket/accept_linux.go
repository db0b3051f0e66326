package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// acceptDescriptors accepts connections without net.Conn: the listener's options are inherited, so a connection costs one
// accept4 and, as its request is mostly there already, one read until it is judged.
func (s *Server) acceptDescriptors(life, accepting context.Context, ln *net.TCPListener) error {
	// net's own access to a listener's descriptor has no waiting for connections, that of a file has. It is closed with ln.
	file, err := ln.File()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	defer context.AfterFunc(accepting, func() { _ = file.Close() })()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) { setOptions(int(fd)) }); err != nil {
		return err
	}
	buf := make([]byte, s.cfg.MaxHeaderBytes)
	for {
		var failed error
		err := raw.Read(func(listener uintptr) bool {
			for {
				if !s.roomForOne(accepting) {
					failed = net.ErrClosed
					return true
				}
				fd, sa, err := unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				switch err {
				case nil:
					s.adopt(life, fd, remoteOf(sa), buf)
				case unix.EAGAIN:
					return false
				case unix.ECONNABORTED, unix.EINTR:
				default:
					failed = os.NewSyscallError("accept4", err)
					return true
				}
			}
		})
		if accepting.Err() != nil || failed == net.ErrClosed {
			return net.ErrClosed
		}
		if err != nil {
			return err
		}
		// Out of descriptors or memory: others may give some back.
		s.log.Warn("cannot accept connections at the moment", "error", failed)
		if !pause(accepting, 50*time.Millisecond) {
			return net.ErrClosed
		}
	}
}

// setOptions sets what accepted connections inherit: small frames go out at once.
func setOptions(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// limitUnsent bounds what the kernel keeps for a client that doesn't read, which could be megabytes. Connections of net/http
// need not have it; they don't inherit it either.
func limitUnsent(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
}

func remoteOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// adopt makes a connection of a descriptor. buf is the accepting goroutine's.
func (s *Server) adopt(ctx context.Context, fd int, remote netip.AddrPort, buf []byte) {
	n := s.nextLoop.Add(1)
	if !s.addresses.arrive(remote.Addr()) {
		s.turnAway(&s.loops[int(n)%(len(s.loops)-1)].count, remote.Addr(), crowded)
		closeDescriptor(fd)
		return
	}
	c := &Conn{loop: s.loops[int(n)%(len(s.loops)-1)], fd: int32(fd), generation: uint16(n)}
	c.setRemote(remote)
	now := s.now()
	c.seen.Store(now)
	s.sockets.Add(1)
	c.loop.count.accepted.Add(1)
	if !s.table.set(fd, c) {
		closeDescriptor(fd)
		s.addresses.settle(remote.Addr())
		s.sockets.Add(-1)
		return
	}
	if n, err := receiveFrom(fd, buf); n > 0 {
		if s.header(ctx, c, buf[:n], false) {
			return
		}
	} else if err != unix.EAGAIN { // gone again
		c.end()
		return
	}
	if oldest := c.loop.wheel.await(c, now+s.ticks.handshake, max(s.cfg.MaxPending/(len(s.loops)-1), 1)); oldest != nil {
		c.loop.count.evicted.Add(1)
		oldest.mu.Lock()
		oldest.hang()
		oldest.mu.Unlock()
	}
	c.awaitHeader()
}

// readHeader is the loop's part of a handshake: events of a connection that isn't judged yet.
func (l *loop) readHeader(ctx context.Context, c *Conn) {
	s := l.server
	c.mu.Lock() // what the accepting goroutine did to c comes before
	fd := int(c.fd)
	c.mu.Unlock()
	have := 0
	if c.in != nil {
		have = len(c.in.raw)
	}
	n, err := receiveFrom(fd, l.buf[:s.cfg.MaxHeaderBytes-have])
	if err == unix.EAGAIN {
		c.awaitHeader()
		return
	}
	if err != nil || n == 0 {
		c.end()
		return
	}
	if !s.header(ctx, c, l.buf[:n], true) {
		c.awaitHeader()
	}
}

// header takes bytes of a header. decided: they say where the connection belongs, and it isn't the caller's any more. pending:
// it is on the wheel.
func (s *Server) header(ctx context.Context, c *Conn, data []byte, pending bool) (decided bool) {
	all, searched := data, 0
	if c.in != nil {
		all, searched = c.in.raw, len(c.in.raw)
	}
	keep := func() bool {
		if c.in == nil {
			c.in = new(inbound)
		}
		raw, ok := s.limits.grow(c.in.raw, len(data), s.cfg.MaxHeaderBytes)
		if ok {
			c.in.raw = append(raw, data...)
			all = c.in.raw
		}
		return ok
	}
	if c.in != nil && !keep() {
		return s.decide(c, pending, func() { c.refuse(serverBusy) })
	}
	where, end := routeOf(all, s.prefix), 0
	if where == toUpgrade {
		end = headerEnd(all, searched)
	}
	if where == undecided || where == toUpgrade && end == 0 {
		switch {
		case len(all) >= s.cfg.MaxHeaderBytes:
			return s.decide(c, pending, func() { c.refuse(headerTooLarge) })
		case c.in == nil && !keep():
			return s.decide(c, pending, func() { c.refuse(serverBusy) })
		}
		return false
	}
	return s.decide(c, pending, func() {
		own := slices.Clone(all)
		s.limits.release(&c.in)
		switch {
		case where == toWeb:
			s.toWeb(c, own)
		case !s.enter():
			c.refuse(serverDrains)
		default:
			go func() {
				defer s.accepting.Done()
				if s.judge(ctx, c, own, end) {
					c.end()
				}
			}()
		}
	})
}

// decide does what a header asks for, unless the connection was given up before.
func (s *Server) decide(c *Conn, pending bool, do func()) bool {
	if pending && !c.loop.wheel.settle(c) {
		c.end()
		return true
	}
	do()
	return true
}

// awaitHeader asks for one event, so that nobody is told of the connection while it is judged.
func (c *Conn) awaitHeader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		c.register(unix.EPOLLIN | unix.EPOLLONESHOT)
	}
}

// detach turns the descriptor into a net.Conn; the connection is dead for this package then.
func (c *Conn) detach() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags&flagRegistered != 0 {
		// Closing isn't enough: net.FileConn duplicates the descriptor, and the set would go on reporting the old one.
		_ = unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_DEL, int(c.fd), nil)
	}
	c.state.Store(stateDead)
	c.loop.wheel.remove(c)
	c.loop.server.table.set(int(c.fd), nil)
	f := os.NewFile(uintptr(c.fd), "")
	c.fd = -1
	conn, err := net.FileConn(f)
	return conn, errors.Join(err, f.Close())
}
