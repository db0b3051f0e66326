package socket

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// epolls says whether TCP connections are descriptors in epoll loops.
func (s *Server) epolls() bool { return haveEpoll && s.cfg.TLS == nil && s.cfg.Loops > 0 }

// acceptFrom accepts connections until accepting ends or ln fails. life is the handshakes' context.
func (s *Server) acceptFrom(life, accepting context.Context, ln net.Listener) error {
	if tcp, ok := ln.(*net.TCPListener); ok && s.epolls() {
		return s.acceptDescriptors(life, accepting, tcp)
	}
	return s.acceptStreams(life, accepting, ln)
}

// roomForOne waits until the server may have another connection; false if ctx ends before.
func (s *Server) roomForOne(ctx context.Context) bool {
	for s.sockets.Load() >= int64(s.cfg.MaxConns) {
		if !pause(ctx, 10*time.Millisecond) {
			return false
		}
	}
	return ctx.Err() == nil
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// judge answers an upgrade request whose header is whole. Its goroutine is the reader of c meanwhile; over: it is to
// end c. request is c's own.
func (s *Server) judge(ctx context.Context, c *Conn, request []byte, end int) (over bool) {
	h, upgrade, refused := parseUpgrade(request[:end], s.cfg.MaxHeaders, s.cfg.proxyHeader())
	if refused != nil {
		c.refuse(refused)
		return false
	}
	if !upgrade {
		s.toWeb(c, request)
		return false
	}
	h.RemoteAddr, h.TLS = c.RemoteAddr(), s.cfg.TLS != nil
	h.Client = s.addresses.client(h.RemoteAddr.Addr(), h.Forwarded)
	if s.waiting.Add(1) > int64(s.cfg.MaxPending) {
		s.waiting.Add(-1)
		c.refuse(serverBusy)
		return false
	}
	ctx, cancel := context.WithDeadline(ctx, s.at(c.seen.Load()+s.ticks.handshake))
	defer cancel()
	if why := s.addresses.enter(h.Client); why != entered {
		h.Crowded = true
		s.turnAway(&c.loop.count, h.Client, why)
	}
	verdict, refused := s.ask(ctx, &h)
	s.waiting.Add(-1)
	accepted := refused == nil && verdict.Status == 0 && verdict.CloseCode == 0
	if !accepted && !h.Crowded {
		s.addresses.leave(h.Client)
	}
	var buf [256]byte
	switch {
	case refused != nil:
		c.refuse(refused)
	case verdict.Status != 0:
		c.refuse(verdict.refusal())
	case verdict.CloseCode != 0:
		c.dismiss(appendSwitch(buf[:0], &h, verdict.Protocol), verdict.CloseCode, verdict.CloseReason)
	case h.Crowded:
		c.refuse(addressCrowded)
	default:
		s.addresses.settle(h.RemoteAddr.Addr())
		if h.Client != h.RemoteAddr.Addr() {
			c.setRemote(netip.AddrPortFrom(h.Client, 0))
		}
		return c.admit(appendSwitch(buf[:0], &h, verdict.Protocol), verdict.Value, request[end:])
	}
	return false
}

// ask gets the handler's verdict, when it is one of the handshakes' turn.
func (s *Server) ask(ctx context.Context, h *Handshake) (verdict Verdict, refused *refusal) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return verdict, serverBusy
	}
	refused = serverFailed
	defer s.recovered()
	verdict = s.handler.Accept(ctx, h)
	if s.draining() {
		return verdict, serverDrains
	}
	return verdict, nil
}

// at is the instant of a tick.
func (s *Server) at(tick uint32) time.Time { return s.started.Add(time.Duration(tick) * s.tick) }

// refuse answers with an HTTP status and ends the connection. What the client still sends is read and dropped for a while:
// unread bytes would make the kernel reset the connection and the answer with it.
func (c *Conn) refuse(r *refusal) {
	c.loop.count.refused.Add(1)
	c.loop.server.log.Debug("handshake refused", "remote", c.RemoteAddr(), "status", r.status, "code", r.code)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flags |= flagArmed
	c.part(stateEnding, 0, "")
	c.put(r.response())
	c.parted()
	c.arm()
}

// dismiss accepts the upgrade only to close it.
func (c *Conn) dismiss(response []byte, code int, reason string) {
	c.loop.count.refused.Add(1)
	reason = cut(reason, maxControlSize-2)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flags |= flagArmed
	c.part(stateClosing, code, reason)
	c.put(appendClose(response, code, reason))
	c.parted()
	c.arm()
}

// admit opens the connection: from here on the handler knows it. rest is what came after the request.
func (c *Conn) admit(response []byte, value any, rest []byte) (over bool) {
	s := c.loop.server
	c.value = value
	c.limitUnsent()
	c.mu.Lock()
	c.flags |= flagOpened
	c.state.Store(stateOpening)
	c.put(response)
	c.mu.Unlock()
	s.conns.Add(1)
	c.loop.count.opened.Add(1)

	now := s.now()
	c.seen.Store(now)
	c.credit = s.maxCredit
	func() {
		defer c.recovered()
		s.handler.Open(c)
		if len(rest) > 0 {
			c.receive(rest, now)
		}
	}()
	if c.over() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The reader after this one sees all that was written up to the store.
	state := c.state.Load()
	if state == stateOpening {
		state = stateOpen
		c.ping = now + 1 + rand.Uint32N(s.ticks.ping) // spread, so that a crowd that came together isn't pinged together
	}
	c.state.Store(state)
	c.flags |= flagArmed
	due := c.ping
	if frame := c.frameDue.Load(); state == stateOpen && frame != 0 && before(frame, due) {
		due = frame
	}
	c.loop.wheel.schedule(c, due)
	c.arm()
	return false
}

// put sends what belongs before any frame; mu is held.
func (c *Conn) put(b []byte) {
	if n, ok := c.try(b); ok && n < len(b) {
		c.keep(append([]byte(nil), b[n:]...))
	}
}

// recovered is to be deferred around calls of the handler for c.
func (c *Conn) recovered() {
	if p := recover(); p != nil {
		c.loop.server.panicked(p)
		c.fail(CodeInternal, "internal error")
	}
}
