package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// stream is a connection with goroutines: one that reads and, while there is something to send, one that writes.
type stream struct {
	conn    net.Conn   // TLS, or raw
	raw     net.Conn   // closing it never blocks and ends all calls on conn
	pumping bool       // the writing goroutine runs; Conn.mu
	calls   sync.Mutex // calls of the handler, which come from two goroutines here
}

const streamReadBuffer = 4 << 10

// acceptStreams is acceptFrom for connections with goroutines.
func (s *Server) acceptStreams(life, accepting context.Context, ln net.Listener) error {
	for {
		if !s.roomForOne(accepting) {
			return net.ErrClosed
		}
		raw, err := ln.Accept()
		switch {
		case err == nil:
			s.adoptStream(life, raw)
		case errors.Is(err, net.ErrClosed) || accepting.Err() != nil:
			return net.ErrClosed
		default: // out of descriptors or memory: others may give some back
			s.log.Warn("cannot accept connections at the moment", "error", err)
			if !pause(accepting, 50*time.Millisecond) {
				return net.ErrClosed
			}
		}
	}
}

func (s *Server) adoptStream(ctx context.Context, raw net.Conn) {
	c := &Conn{loop: s.loops[len(s.loops)-1], fd: -1, stream: &stream{conn: raw, raw: raw}}
	if s.cfg.TLS != nil {
		c.stream.conn = tls.Server(raw, s.cfg.TLS)
	}
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		c.setRemote(a.AddrPort())
	} else {
		c.setRemote(netip.AddrPort{})
	}
	if peer := c.RemoteAddr().Addr(); !s.addresses.arrive(peer) {
		s.turnAway(&c.loop.count, peer, crowded)
		_ = raw.Close()
		return
	}
	now := s.now()
	c.seen.Store(now)
	s.sockets.Add(1)
	c.loop.count.accepted.Add(1)
	if oldest := c.loop.wheel.await(c, now+s.ticks.handshake, s.cfg.MaxPending); oldest != nil {
		c.loop.count.evicted.Add(1)
		oldest.hang()
	}
	s.readers.Add(1)
	s.accepting.Add(1) // the caller is counted, so nobody waits yet
	go func() {
		defer s.readers.Done()
		defer c.end()
		if s.openStream(ctx, c) {
			c.readStream()
		}
	}()
}

// openStream does the handshakes; false: the connection is over or handed on.
func (s *Server) openStream(ctx context.Context, c *Conn) bool {
	defer s.accepting.Done()
	c.stream.calls.Lock() // nothing is told to the handler before Open has returned
	defer c.stream.calls.Unlock()
	cut := context.AfterFunc(ctx, c.hang)
	if t, ok := c.stream.conn.(*tls.Conn); ok && t.HandshakeContext(ctx) != nil {
		cut()
		return false
	}
	header := make([]byte, 0, 2<<10)
	where, end := undecided, 0
	for where == undecided || where == toUpgrade && end == 0 {
		if len(header) == s.cfg.MaxHeaderBytes {
			cut()
			if c.loop.wheel.settle(c) {
				c.refuse(headerTooLarge)
			}
			return true
		}
		if len(header) == cap(header) {
			grown := make([]byte, len(header), min(2*cap(header), s.cfg.MaxHeaderBytes))
			copy(grown, header)
			header = grown
		}
		n, err := c.stream.conn.Read(header[len(header):min(cap(header), s.cfg.MaxHeaderBytes)])
		if n == 0 && err != nil {
			cut()
			return false
		}
		searched := len(header)
		header = header[:searched+n]
		if where = routeOf(header, s.prefix); where == toUpgrade {
			end = headerEnd(header, searched)
		}
	}
	if !cut() || !c.loop.wheel.settle(c) {
		return false
	}
	if where == toWeb {
		s.toWeb(c, header)
	} else if s.judge(ctx, c, header, end) {
		return false
	}
	return c.state.Load() != stateDead // handed on
}

// readStream is the goroutine of an accepted, or a refused, connection until its end.
func (c *Conn) readStream() {
	buf := make([]byte, streamReadBuffer)
	for {
		n, err := c.stream.conn.Read(buf)
		if n > 0 {
			c.stream.calls.Lock()
			func() {
				defer c.recovered()
				c.receive(buf[:n], c.loop.server.now())
			}()
			c.stream.calls.Unlock()
		}
		if err != nil || c.over() {
			return
		}
	}
}

// startPump has a goroutine send what is left; mu is held.
func (c *Conn) startPump() {
	if !c.stream.pumping {
		c.stream.pumping = true
		c.loop.server.readers.Add(1) // the reader hasn't ended, or mu's holder had seen it
		go c.pump()
	}
}

// pump writes until nothing is left.
func (c *Conn) pump() {
	defer c.loop.server.readers.Done()
	c.mu.Lock()
	for b := c.out.head(); b != nil; b = c.out.head() {
		c.mu.Unlock()
		n, err := c.stream.conn.Write(b)
		c.mu.Lock()
		if c.out == nil { // ended meanwhile
			c.mu.Unlock()
			return
		}
		if err != nil {
			c.hang()
			c.mu.Unlock() // pumping stays: nothing can be sent any more
			return
		}
		c.flags &^= flagStalled
		c.out.sent(n)
	}
	c.stream.pumping = false
	next := c.flushed()
	c.mu.Unlock()
	switch next {
	case invite:
		c.stream.calls.Lock()
		defer c.stream.calls.Unlock()
		if c.open() {
			defer c.recovered()
			c.loop.server.handler.Writable(c)
		}
	case shut:
		if half, ok := c.stream.conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the deadline ends what can't be shut
		}
	case hangUp:
		c.hang()
	}
}
