package socket

import "sync"

// wheel has every connection of a loop on one of two kinds of lists: those whose header isn't whole by age, the others
// in the slot of the tick at which they are next looked at. What that look does is Conn.visit's matter.
type wheel struct {
	mu    sync.Mutex
	slots []*Conn // heads of lists; slot = tick % len
	next  uint32  // the first tick that hasn't been turned

	// Pending handshakes all have the same time, so their list is in the order of their deadlines.
	oldest, newest *Conn
	pending        int

	size   int           // connections on the lists
	filled chan struct{} // told of the first
}

// Where a connection is linked; guarded by wheel.mu.
const (
	nowhere uint8 = iota
	inPending
	inSlot
	gone // for good: the connection is dead
)

func newWheel(slots int) *wheel {
	return &wheel{slots: make([]*Conn, slots), filled: make(chan struct{}, 1)}
}

// await adds c to the pending ones until the tick due. Beyond max the oldest is taken off and returned.
func (w *wheel) await(c *Conn, due uint32, max int) (evicted *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending >= max {
		evicted = w.oldest
		w.unlink(evicted)
	}
	c.due, c.where = due, inPending
	c.prev, c.next = w.newest, nil
	if w.newest != nil {
		w.newest.next = c
	} else {
		w.oldest = c
	}
	w.newest = c
	w.pending++
	w.added()
	return evicted
}

// settle takes c off the pending ones; false if it isn't there any more: evicted or expired.
func (w *wheel) settle(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.where != inPending {
		return false
	}
	w.unlink(c)
	return true
}

// schedule has c looked at when the tick due is turned. Nothing happens to a connection that was removed.
func (w *wheel) schedule(c *Conn, due uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link(c, due)
}

// hasten is schedule for a time that only matters if it is before the present one.
func (w *wheel) hasten(c *Conn, due uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.where != inSlot || before(due, c.due) {
		w.link(c, due)
	}
}

// remove takes c off for good.
func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(c)
	c.where = gone
}

// expired fills batch with connections that are due by now and moves each to the tick again, where it would be looked at
// if nobody scheduled it otherwise: a connection is never off the wheel before its end. A full batch means there may be more.
func (w *wheel) expired(batch []*Conn, now, again uint32) []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := w.oldest; c != nil && !before(now, c.due) && len(batch) < cap(batch); c = w.oldest {
		w.link(c, again)
		batch = append(batch, c)
	}
	if int32(now-w.next) >= int32(len(w.slots)) { // asleep for a whole turn or more: each slot once is enough
		w.next = now - uint32(len(w.slots)) + 1
	}
	for ; !before(now, w.next); w.next++ {
		for c := w.slots[w.next%uint32(len(w.slots))]; c != nil; {
			following := c.next
			if !before(now, c.due) { // else it is of a later turn
				if len(batch) == cap(batch) {
					return batch
				}
				w.link(c, again)
				batch = append(batch, c)
			}
			c = following
		}
	}
	return batch
}

// all lists what is on the wheel.
func (w *wheel) all() []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	var conns []*Conn
	for c := w.oldest; c != nil; c = c.next {
		conns = append(conns, c)
	}
	for _, head := range w.slots {
		for c := head; c != nil; c = c.next {
			conns = append(conns, c)
		}
	}
	return conns
}

func (w *wheel) link(c *Conn, due uint32) {
	if c.where == gone {
		return
	}
	w.unlink(c)
	if before(due, w.next) {
		due = w.next
	}
	head := &w.slots[due%uint32(len(w.slots))]
	c.due, c.where = due, inSlot
	c.prev, c.next = nil, *head
	if *head != nil {
		(*head).prev = c
	}
	*head = c
	w.added()
}

func (w *wheel) added() {
	if w.size++; w.size == 1 {
		select {
		case w.filled <- struct{}{}:
		default:
		}
	}
}

func (w *wheel) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size == 0
}

func (w *wheel) unlink(c *Conn) {
	switch c.where {
	case inPending:
		if c.prev == nil {
			w.oldest = c.next
		}
		if c.next == nil {
			w.newest = c.prev
		}
		w.pending--
	case inSlot:
		if c.prev == nil {
			w.slots[c.due%uint32(len(w.slots))] = c.next
		}
	default:
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next, c.where = nil, nil, nowhere
	w.size--
}

// before compares ticks that may have wrapped around.
func before(a, b uint32) bool { return int32(a-b) < 0 }
