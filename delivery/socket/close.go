package socket

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Close starts the close handshake with a code that RFC 6455 lets a server send; the reason is cut to 123 bytes. Messages
// that arrive from now on aren't told to the handler; Handler.Close follows when the client has answered or CloseTimeout
// has passed. On a connection that isn't open it does nothing.
func (c *Conn) Close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open() {
		c.leave(stateClosing, code, reason)
	}
}

// leave ends the exchange of messages on an open connection with a close frame of ours; mu is held. In stateEnding the
// client's answer isn't awaited.
func (c *Conn) leave(state uint32, code int, reason string) {
	var buf [2 + maxControlSize]byte
	reason = cut(reason, maxControlSize-2)
	frame := appendClose(buf[:0], code, reason)
	c.part(state, code, reason)
	c.say(frame, true)
	c.parted()
}

// part moves to a state in which the handler's frames aren't taken any more; mu is held.
func (c *Conn) part(state uint32, code int, reason string) {
	c.state.Store(state)
	c.code = uint16(code)
	if c.out == nil {
		c.out = new(outbound)
	}
	c.out.ping, c.out.refused, c.out.reason = false, false, strings.Clone(reason)
}

// parted gives what was begun by part its deadline and, where nothing is left to be sent, its sequel; mu is held.
func (c *Conn) parted() {
	c.limitEnd()
	if c.out.idle() {
		c.follow(c.flushed())
	}
}

// limitEnd has the connection ended by force after CloseTimeout; mu is held.
func (c *Conn) limitEnd() {
	c.ping = c.loop.server.now() + c.loop.server.ticks.close
	if c.flags&flagArmed != 0 { // else start schedules it
		c.loop.wheel.schedule(c, c.ping)
	}
}

// over says that both sides have said all and nothing is left to be sent: the reader can end the connection.
func (c *Conn) over() bool {
	if c.state.Load() != stateEnding {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flags&flagHangUp != 0 && c.out.idle()
}

// follow does what flushed asked for, where that needs no handler; mu is held.
func (c *Conn) follow(next sequel) {
	switch next {
	case shut:
		c.shutWrite()
	case hangUp:
		c.hang()
	}
}

// end is the reader's last act: nobody uses the descriptor after it, and the handler is told.
func (c *Conn) end() {
	c.mu.Lock()
	if c.state.Load() == stateDead {
		c.mu.Unlock()
		return
	}
	opened := c.flags&flagOpened != 0
	code, reason := int(c.code), ""
	if c.out != nil {
		reason = c.out.reason
	}
	if code == 0 {
		code = CodeAbnormal
	}
	c.out = nil
	c.state.Store(stateDead)
	c.loop.wheel.remove(c)
	c.release()
	c.mu.Unlock()

	s := c.loop.server
	s.limits.release(&c.in)
	s.sockets.Add(-1)
	client := c.RemoteAddr().Addr()
	if !opened {
		s.addresses.settle(client)
		return
	}
	s.addresses.leave(client)
	s.conns.Add(-1)
	c.loop.count.closed(code)
	if c.stream != nil {
		c.stream.calls.Lock()
		defer c.stream.calls.Unlock()
	}
	defer s.recovered()
	s.handler.Close(c, code, reason)
}

func appendClose(dst []byte, code int, reason string) []byte {
	dst = appendHeader(dst, ws.OpClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}

// cut shortens s to at most n bytes without cutting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
