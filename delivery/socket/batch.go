package socket

import "slices"

// batchSize is how many connections a batch holds at once: what one system call writes to takes about 0.2 ms.
const batchSize = 64

// Batch writes frames to many connections with few system calls, where the kernel has io_uring and lets us use it: on
// virtual machines the way in and out of the kernel costs as much as the write itself. Elsewhere, and for connections with
// goroutines, it writes as Conn.Write does. One goroutine uses a Batch at a time; a nil one writes at once.
//
// A connection whose frame hasn't gone out yet is locked by the batch, so nobody else can write to its descriptor, or close
// it. Whoever uses a batch keeps to two rules, since others wait for those locks: it doesn't wait for anything of a
// connection's user that is held while that connection is written to before it has called Release, and it calls Flush
// when it has nothing else to write.
type Batch struct {
	ring   *ring
	staged []staged
}

type staged struct {
	conn  *Conn
	frame []byte
}

// NewBatch makes a batch. Close it.
func (s *Server) NewBatch() *Batch {
	b := &Batch{}
	if !s.cfg.Uring || !s.epolls() {
		return b
	}
	var err error
	if b.ring, err = newRing(batchSize); err != nil {
		s.log.Info("the kernel doesn't give us an io_uring; each write is a system call", "error", err)
		return b
	}
	b.staged = make([]staged, 0, batchSize)
	return b
}

// Close flushes the batch and ends it.
func (b *Batch) Close() {
	b.Flush()
	if b.ring != nil {
		b.ring.close()
		b.ring = nil
	}
}

// Write is Conn.Write, but the frame may go out only at the next Flush. True: taken, unless the connection turns out to be
// broken. The frame must never change, and is kept until then.
func (b *Batch) Write(c *Conn, frame []byte) bool {
	if b == nil || b.ring == nil || c.stream != nil {
		return c.Write(frame)
	}
	if len(b.staged) == cap(b.staged) {
		b.Flush()
	}
	if !c.mu.TryLock() { // perhaps it is one of ours; and nobody is waited for while others wait for those
		b.Flush()
		c.mu.Lock()
	}
	if !c.open() || c.out != nil || c.fd < 0 || len(frame) == 0 {
		defer c.mu.Unlock()
		return c.write(frame)
	}
	b.staged = append(b.staged, staged{c, frame})
	return true
}

// Release flushes the batch if it holds the connection.
func (b *Batch) Release(c *Conn) {
	if b != nil && slices.ContainsFunc(b.staged, func(s staged) bool { return s.conn == c }) {
		b.Flush()
	}
}

// Flush writes what has been taken.
func (b *Batch) Flush() {
	if b == nil || len(b.staged) == 0 {
		return
	}
	b.ring.write(b.staged, func(c *Conn, frame []byte, n int, err error) {
		if err != nil {
			c.hang()
			return
		}
		if n < len(frame) {
			c.keep(frame[n:])
		}
		c.loop.count.written.Add(1)
	})
	for _, s := range b.staged {
		s.conn.mu.Unlock()
	}
	clear(b.staged)
	b.staged = b.staged[:0]
}
