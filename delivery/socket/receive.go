package socket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// receive takes bytes that arrived; the reader calls it. It may write into data.
func (c *Conn) receive(data []byte, now uint32) {
	s := c.loop.server
	if elapsed := now - c.seen.Load(); elapsed > 0 {
		c.seen.Store(now)
		c.credit = min(c.credit+float32(elapsed)*s.creditPerTick, s.maxCredit)
	}
	if state := c.state.Load(); state >= stateEnding {
		return
	}
	begun := parse(&c.in, data, &s.limits, c)
	switch {
	case c.in == nil:
		if c.frameDue.Load() != 0 {
			c.frameDue.Store(0)
		}
	case begun:
		due := max(now+s.ticks.frame, 1)
		c.frameDue.Store(due)
		if c.state.Load() == stateOpen {
			c.loop.wheel.hasten(c, due)
		}
	}
}

// text is called by the parser.
func (c *Conn) text(message []byte) bool {
	if !c.open() {
		return c.state.Load() == stateClosing
	}
	if !c.spend() {
		return false
	}
	c.loop.count.received.Add(1)
	c.loop.server.handler.Message(c, message)
	return c.state.Load() < stateEnding
}

// control is called by the parser.
func (c *Conn) control(op ws.OpCode, payload []byte) bool {
	if op == ws.OpClose {
		c.farewell(payload)
		return false
	}
	if !c.open() {
		return c.state.Load() == stateClosing
	}
	if !c.spend() {
		return false
	}
	if op == ws.OpPing {
		var buf [2 + maxControlSize]byte
		c.mu.Lock()
		if c.open() {
			c.say(append(appendHeader(buf[:0], ws.OpPong, len(payload)), payload...), false)
		}
		c.mu.Unlock()
	}
	return true
}

// fail is called by the parser, and when a limit is passed: the client is told why, the rest of what it sends is dropped.
func (c *Conn) fail(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.open():
		c.leave(stateEnding, code, reason)
	case c.state.Load() == stateClosing: // our close frame is under way already
		c.state.Store(stateEnding)
		c.parted()
	}
}

// spend takes one message from what the connection may send now.
func (c *Conn) spend() bool {
	if c.credit < 1 {
		c.fail(CodeTooMany, "too many messages")
		return false
	}
	c.credit--
	return true
}

// farewell answers the client's close frame, or takes it as the answer to ours.
func (c *Conn) farewell(payload []byte) {
	code, reason := CodeNone, ""
	if len(payload) == 1 {
		c.fail(CodeProtocol, "bad close frame")
		return
	}
	if len(payload) >= 2 {
		code = int(binary.BigEndian.Uint16(payload))
		if !goodCloseCode(code) {
			c.fail(CodeProtocol, "bad close code")
			return
		}
		if !utf8.Valid(payload[2:]) {
			c.fail(CodeNotUTF8, "the close reason is not UTF-8")
			return
		}
		reason = string(payload[2:])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flags |= flagHangUp
	if !c.open() { // ours came first
		c.state.Store(stateEnding)
		c.limitEnd()
		return
	}
	c.part(stateEnding, code, reason)
	var buf [4]byte
	if code == CodeNone {
		c.say(appendHeader(buf[:0], ws.OpClose, 0), true)
	} else {
		c.say(appendClose(buf[:0], code, ""), true)
	}
	c.limitEnd()
}
