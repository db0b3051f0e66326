package delivery

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"duebell/delivery/socket"
)

// hubShards is a multiple of shards, so that a hub shard belongs to one of them.
const hubShards = 4 * shards

// hub knows which sessions a recipient has on this pusher. A recipient is one map entry, which points to its newest session;
// older ones hang behind it. No session's lock is held while a hub lock is taken.
type hub struct {
	shards [hubShards]hubShard
	count  atomic.Int64
}

type hubShard struct {
	mu      sync.RWMutex
	newest  map[string]*session
	soonest int64 // no token of the shard expires before; microseconds since 1970
}

func newHub() *hub {
	h := new(hub)
	for i := range h.shards {
		h.shards[i].newest = make(map[string]*session)
		h.shards[i].soonest = math.MaxInt64
	}
	return h
}

func (h *hub) shard(recipient string) *hubShard { return &h.shards[hashOf(recipient)%hubShards] }

// len is the number of sessions.
func (h *hub) len() int { return int(h.count.Load()) }

// join adds a session. If its recipient has more than limit then, it returns the one that was opened first.
func (h *hub) join(s *session, limit int) (tooMany *session) {
	shard := h.shard(s.recipient)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	h.count.Add(1)
	shard.soonest = min(shard.soonest, s.expires.Load())
	before := shard.newest[s.recipient]
	if before != nil {
		s.recipient = before.recipient // one copy of the name
	}
	s.next = before
	shard.newest[s.recipient] = s
	n, oldest := 0, s
	for at := s; at != nil; at = at.next {
		n, oldest = n+1, at
	}
	if n > limit {
		return oldest
	}
	return nil
}

// leave takes a session out; it may be called again.
func (h *hub) leave(s *session) {
	shard := h.shard(s.recipient)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	newest := shard.newest[s.recipient]
	if newest == s {
		if s.next == nil {
			delete(shard.newest, s.recipient)
		} else {
			shard.newest[s.recipient] = s.next
		}
	} else {
		before := newest
		for before != nil && before.next != s {
			before = before.next
		}
		if before == nil {
			return
		}
		before.next = s.next
	}
	s.next = nil
	h.count.Add(-1)
	if len(shard.newest) == 0 {
		shard.soonest = math.MaxInt64
	}
}

// of appends the sessions of a recipient to dst.
func (h *hub) of(recipient string, dst []*session) []*session {
	shard := h.shard(recipient)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	for s := shard.newest[recipient]; s != nil; s = s.next {
		dst = append(dst, s)
	}
	return dst
}

// all appends the sessions of one hub shard to dst; those of a recipient stand together.
func (h *hub) all(shard int, dst []*session) []*session {
	hs := &h.shards[shard]
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	for _, newest := range hs.newest {
		for s := newest; s != nil; s = s.next {
			dst = append(dst, s)
		}
	}
	return dst
}

// deliver hands a change to all sessions of its recipient, to sockets by the batch, and to behind those that have to read
// the store. It returns how many it was written to.
func (h *hub) deliver(c *change, by *socket.Batch, behind func(*session)) (written int) {
	var few [8]*session // most recipients have one
	for _, s := range h.of(c.recipient, few[:0]) {
		wrote, behindNow := s.deliver(c, by)
		if wrote {
			written++
		}
		if behindNow {
			behind(s)
		}
	}
	return written
}

// renewed is told of a session whose token has changed.
func (h *hub) renewed(s *session) {
	shard := h.shard(s.recipient)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.soonest = min(shard.soonest, s.expires.Load())
}

// expired appends the sessions whose token has expired to dst. Only shards in which one may have are looked through.
func (h *hub) expired(now time.Time, dst []*session) []*session {
	at := now.UnixMicro()
	for i := range h.shards {
		shard := &h.shards[i]
		shard.mu.Lock()
		if shard.soonest <= at {
			soonest := int64(math.MaxInt64)
			for _, newest := range shard.newest {
				for s := newest; s != nil; s = s.next {
					if expires := s.expires.Load(); expires <= at {
						dst = append(dst, s)
					} else {
						soonest = min(soonest, expires)
					}
				}
			}
			shard.soonest = soonest
		}
		shard.mu.Unlock()
	}
	return dst
}
