package socket

import (
	"slices"

	"github.com/gobwas/ws"
)

// streamBuffer is how much a connection with goroutines takes before it is full: what the kernel's send buffer is to one
// without.
const streamBuffer = 64 << 10

var pingFrame = []byte{0x80 | byte(ws.OpPing), 0}

// Write sends one whole frame (AppendText), or several in one slice, to an open connection. It never blocks. True: taken.
// False: an earlier frame is still in flight and nothing was taken, Handler.Writable will be called; or the connection
// isn't open any more, and Handler.Close was or will be.
//
// What the socket didn't take at once is kept without a copy: the bytes must never change afterwards.
func (c *Conn) Write(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(frame)
}

// write is Write; mu is held.
func (c *Conn) write(frame []byte) bool {
	if !c.open() {
		return false
	}
	if c.out != nil && (c.stream == nil || c.out.refused || c.out.size >= streamBuffer) {
		if !c.out.refused {
			c.out.refused = true
			c.loop.count.full.Add(1)
		}
		return false
	}
	n := 0
	if c.out == nil {
		var ok bool
		if n, ok = c.try(frame); !ok {
			return false
		}
	}
	if n < len(frame) {
		c.keep(frame[n:])
	}
	c.loop.count.written.Add(1)
	return true
}

// keep has bytes sent when there is room, behind a pong that waits; mu is held and they never change.
func (c *Conn) keep(rest []byte) {
	if c.out == nil {
		c.out = new(outbound)
	}
	if pong := c.out.control; len(pong) > 0 {
		c.out.queue = append(c.out.queue, pong)
		c.out.size, c.out.control = c.out.size+len(pong), nil
	}
	c.out.queue = append(c.out.queue, rest)
	c.out.size += len(rest)
	c.wake()
}

// say sends a control frame, at once or after what is in flight; mu is held. A pong that waits is replaced by a later one
// (section 5.5.3); a close frame is the last.
func (c *Conn) say(frame []byte, last bool) {
	if c.out.idle() {
		n, ok := c.try(frame)
		if ok && n < len(frame) {
			c.keep(slices.Clone(frame[n:]))
		}
		return
	}
	if !last {
		c.out.control = c.out.control[:0]
	}
	c.out.control = append(c.out.control, frame...)
}

// try gives the socket as much as it takes at once; mu is held. Not ok: the connection is broken, its reader will see it.
func (c *Conn) try(b []byte) (n int, ok bool) {
	if c.stream != nil { // its pump does it
		return 0, true
	}
	if c.fd < 0 {
		return 0, false
	}
	n, err := send(int(c.fd), b)
	if err != nil {
		c.hang()
		return 0, false
	}
	return n, true
}

// head is what is to be sent next: taken frames, then control frames. nil: nothing is left.
func (o *outbound) head() []byte {
	if o == nil {
		return nil
	}
	if len(o.queue) == 0 {
		switch {
		case len(o.control) > 0:
			o.queue = append(o.queue, o.control)
			o.size, o.control = len(o.control), nil
		case o.ping:
			o.queue = append(o.queue, pingFrame)
			o.size, o.ping = len(pingFrame), false
		default:
			return nil
		}
	}
	return o.queue[0]
}

// sent notes that n bytes of head are with the kernel.
func (o *outbound) sent(n int) {
	o.size -= n
	if o.queue[0] = o.queue[0][n:]; len(o.queue[0]) > 0 {
		return
	}
	o.queue[0] = nil
	if o.queue = o.queue[1:]; len(o.queue) == 0 {
		o.queue = nil
	}
}

// What follows when all is sent.
type sequel uint8

const (
	goOn   sequel = iota
	invite        // Handler.Writable
	shut          // the sending side is to be shut
	hangUp        // the connection is to be ended
)

// flushed is for the moment when nothing is left to send; mu is held.
func (c *Conn) flushed() sequel {
	c.flags &^= flagStalled
	switch c.state.Load() {
	case stateOpening, stateOpen:
		refused := c.out != nil && c.out.refused
		c.out = nil
		if refused {
			return invite
		}
	case stateEnding:
		if c.flags&flagHangUp != 0 {
			return hangUp
		}
		if c.flags&flagShut == 0 {
			c.flags |= flagShut
			return shut
		}
	}
	return goOn
}
