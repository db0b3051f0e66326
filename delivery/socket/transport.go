package socket

import (
	"syscall"
)

// unsentLimit is how much a socket takes beyond what is on its way to the client.
const unsentLimit = 32 << 10

// limitUnsent keeps the socket from taking more than it can send.
func (c *Conn) limitUnsent() {
	if c.stream == nil {
		limitUnsent(int(c.fd))
		return
	}
	if conn, ok := c.stream.raw.(syscall.Conn); ok {
		if raw, err := conn.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { limitUnsent(int(fd)) }) // fails only on a closed connection
		}
	}
}

// flush sends what is left, as far as there is room; over: nothing follows, the reader may end the connection.
func (c *Conn) flush() (over bool) {
	c.mu.Lock()
	for b := c.out.head(); b != nil; b = c.out.head() {
		n, ok := c.try(b)
		if n > 0 {
			c.flags &^= flagStalled
			c.out.sent(n)
		}
		if !ok || n < len(b) {
			c.mu.Unlock()
			return false
		}
	}
	next := c.flushed()
	c.arm()
	if next == shut {
		c.shutWrite()
	}
	c.mu.Unlock()
	if next == invite {
		c.loop.server.handler.Writable(c)
	}
	return next == hangUp
}

// wake has what is left sent when there is room; mu is held.
func (c *Conn) wake() {
	if c.stream != nil {
		c.startPump()
		return
	}
	c.arm()
}

// hang makes the reader end the connection; mu is held, or the connection is new.
func (c *Conn) hang() {
	if c.stream != nil {
		_ = c.stream.raw.Close()
	} else if c.fd >= 0 {
		shutdownDescriptor(int(c.fd), false)
	}
}

// shutWrite sends FIN after what is in the socket; mu is held. A stream's pump does that itself.
func (c *Conn) shutWrite() {
	if c.stream == nil && c.fd >= 0 {
		shutdownDescriptor(int(c.fd), true)
	}
}

// drop ends a connection whose time is over; the wheel calls it.
func (c *Conn) drop() {
	if c.stream != nil {
		_ = c.stream.raw.Close()
		return
	}
	c.end() // the wheel turns in the goroutine of the reader
}

// release gives back what belongs to the system; mu is held. The table forgets the descriptor first, since the number may
// be another connection's at once.
func (c *Conn) release() {
	if c.stream != nil {
		_ = c.stream.raw.Close()
		return
	}
	c.loop.server.table.set(int(c.fd), nil)
	closeDescriptor(int(c.fd))
	c.fd = -1
}
