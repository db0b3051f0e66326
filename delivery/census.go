package delivery

import (
	"cmp"
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// censusChannel carries what pushers tell each other about how many sessions users have.
const censusChannel = "duebell:census"

const (
	// censusTick is how long questions and answers wait, so that those of a crowd of connects travel together.
	censusTick = 100 * time.Millisecond
	// censusWait is how long the answers of the others are waited for.
	censusWait = 500 * time.Millisecond
	// censusRest is between two looks at whether there is something to do that nobody has told of.
	censusRest = time.Second
	// censusRound is in which all users here are asked about once more, since messages may have been lost, in so many steps:
	// each is a message that wakes all pushers.
	censusRound = 10 * time.Minute
	censusSteps = 16
	// When the first other pushers are heard of, all users here are asked about, some this many sessions a tick.
	censusHurry = 2000

	maxCensusUsers    = 100_000 // to be asked about, or being counted; the next round comes to the others
	maxCensusMessages = 1024    // that have come and wait
)

// census holds users to their number of sessions over all pushers together: the oldest are closed. Nothing is kept in
// Redis, so nothing has to be put right there when a pusher dies: the hubs are the truth. A pusher asks all others, by one
// message for all users that have connected within a tick, and tells what it has; who has sessions of such a user too
// answers, to everybody. Then each of them can work out alone which sessions are too old, and closes its own. Before it
// does, it asks once more, and counts only sessions that were there both times: those have all been open at one moment,
// while some of a phone that comes and goes may have been counted one after the other. An answer that is lost, or comes
// late, only makes the count too low, so that nobody is closed who should not be. The order is by the pushers' clocks.
type census struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	metrics *pusherMetrics
	hub     *hub
	limit   int
	name    string      // of this pusher
	others  func() bool // whether there are any
	end     func(s *session, code int, reason string)
	heard   chan string
	wake    chan struct{} // there is somebody to ask about

	mu     sync.Mutex
	joined map[string]struct{} // users to ask about

	// Run's own.
	answers  map[string]struct{} // users that others have asked about
	counts   map[string]*userCount
	sessions []*session
	alone    bool
	at       int // the next hub shard of the round
	hurry    int // shards that are left of the round in a hurry
	nextAt   time.Time
}

// userCount is what is known of a user's sessions elsewhere.
type userCount struct {
	elsewhere map[string][]int64 // by pusher: when they were opened, newest first
	due       time.Time
	before    []place // at the last count, when they were too many
}

// place is one session of a user on one of the pushers.
type place struct {
	opened int64 // in milliseconds since 1970
	pusher string
	nth    int      // of those with the same time there
	here   *session // nil elsewhere
}

func newCensus(client redis.UniversalClient, log *slog.Logger, metrics *pusherMetrics, h *hub, limit int, name string,
	others func() bool, end func(*session, int, string)) *census {
	return &census{redis: client, log: log, metrics: metrics, hub: h, limit: limit, name: name, others: others, end: end,
		heard: make(chan string, maxCensusMessages), wake: make(chan struct{}, 1), joined: make(map[string]struct{}),
		answers: make(map[string]struct{}), counts: make(map[string]*userCount), alone: true}
}

// join notes that a user has one session more. It does no I/O.
func (c *census) join(recipient string) {
	if !c.others() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.joined) < maxCensusUsers {
		c.joined[recipient] = struct{}{}
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// hear takes a message of censusChannel. It never blocks.
func (c *census) hear(payload string) {
	select {
	case c.heard <- payload:
	default:
		c.metrics.receiveDropped.Inc()
	}
}

// run counts until ctx is done. It ticks only while there is something to do: every message of the others wakes it anyway.
func (c *census) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	ticking := true
	for {
		select {
		case <-ctx.Done():
			return
		case payload := <-c.heard:
			c.read(payload, time.Now())
		case <-c.wake:
		case now := <-timer.C:
			c.turn(ctx, now)
			ticking = false
			timer.Reset(censusRest)
		}
		if !ticking && c.busy() {
			ticking = true
			timer.Reset(censusTick)
		}
	}
}

// busy says whether the next turn has something to do.
func (c *census) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.joined)+len(c.answers)+len(c.counts)+c.hurry > 0
}

// read notes what another pusher has.
func (c *census) read(payload string, now time.Time) {
	m := readCensus(payload)
	if m.from == c.name {
		return
	}
	for m.next() {
		c.sessions = c.hub.of(m.recipient, c.sessions[:0])
		if len(c.sessions) == 0 {
			continue
		}
		recipient := c.sessions[0].recipient // m's would keep the payload
		if m.asks {
			c.answers[recipient] = struct{}{}
		}
		count := c.counts[recipient]
		if count == nil {
			if len(c.counts) >= maxCensusUsers {
				continue
			}
			count = &userCount{elsewhere: make(map[string][]int64), due: now.Add(censusWait)}
			c.counts[recipient] = count
		}
		count.elsewhere[m.from] = slices.Clone(m.opened)
	}
	clear(c.sessions)
	if m.batch.err != nil {
		c.log.Warn("a census message from Redis can't be read", "error", m.batch.err)
	}
}

// turn asks, answers and decides what is due.
func (c *census) turn(ctx context.Context, now time.Time) {
	c.walk(now)
	asks := make(map[string]struct{})
	c.mu.Lock()
	c.joined, asks = asks, c.joined
	c.mu.Unlock()
	for recipient, count := range c.counts {
		if !now.Before(count.due) && c.decide(recipient, count) {
			count.due = now.Add(censusWait)
			clear(count.elsewhere)
			asks[recipient] = struct{}{}
		}
	}
	if len(asks)+len(c.answers) == 0 {
		return
	}
	if err := c.publish(ctx, asks); err != nil && ctx.Err() == nil {
		c.log.Debug("the other pushers weren't asked about sessions", "error", err)
		for recipient := range asks {
			c.join(recipient)
		}
	}
	clear(c.answers)
}

// walk asks about everybody again, slowly; and in a hurry when there are other pushers that weren't heard of before.
func (c *census) walk(now time.Time) {
	if !c.others() {
		c.alone, c.hurry = true, 0
		return
	}
	if c.alone {
		c.alone, c.hurry = false, hubShards
	}
	if !now.Before(c.nextAt) {
		c.nextAt = now.Add(censusRound / censusSteps)
		for range hubShards / censusSteps {
			c.joinNext()
		}
	}
	for asked := 0; c.hurry > 0 && asked < censusHurry; c.hurry-- {
		asked += c.joinNext()
	}
}

// joinNext asks about the users of the next hub shard.
func (c *census) joinNext() (sessions int) {
	c.sessions = c.hub.all(c.at, c.sessions[:0])
	c.at = (c.at + 1) % hubShards
	for _, s := range c.sessions {
		c.join(s.recipient)
	}
	clear(c.sessions)
	return len(c.sessions)
}

// decide closes the sessions here that are too old. True: there are too many now, and the next count decides of which.
func (c *census) decide(recipient string, count *userCount) (again bool) {
	there := c.places(recipient, count.elsewhere)
	if count.before != nil && len(there) > c.limit {
		stayed := slices.DeleteFunc(slices.Clone(there), func(p place) bool { return !slices.Contains(count.before, p) })
		tooOld := stayed[min(c.limit, len(stayed)):]
		for _, p := range tooOld {
			if p.here != nil {
				c.metrics.overLimit.WithLabelValues(overEverywhere).Inc()
				c.end(p.here, closeTooMany, tooManySessions)
			}
		}
		there = slices.DeleteFunc(there, func(p place) bool { return slices.Contains(tooOld, p) })
	}
	if len(there) > c.limit {
		count.before = there
		return true
	}
	delete(c.counts, recipient)
	return false
}

// places are a user's sessions on all pushers, newest first; the order is the same everywhere.
func (c *census) places(recipient string, elsewhere map[string][]int64) []place {
	var all []place
	add := func(pusher string, opened int64, here *session) { // oldest first
		p := place{opened: opened, pusher: pusher, here: here}
		if n := len(all); n > 0 && all[n-1].pusher == pusher && all[n-1].opened == opened {
			p.nth = all[n-1].nth + 1
		}
		all = append(all, p)
	}
	c.sessions = c.hub.of(recipient, c.sessions[:0])
	for _, s := range slices.Backward(c.sessions) {
		add(c.name, s.openedAt(), s)
	}
	clear(c.sessions)
	for pusher, opened := range elsewhere {
		for _, at := range slices.Backward(opened) {
			add(pusher, at, nil)
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		return -cmp.Or(cmp.Compare(a.opened, b.opened), cmp.Compare(a.pusher, b.pusher), cmp.Compare(a.nth, b.nth))
	})
	return all
}

// publish tells what there is here of the users that are asked about, and of those that others have asked about.
func (c *census) publish(ctx context.Context, asks map[string]struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	pipe := c.redis.Pipeline()
	tell := func(kind byte, recipients map[string]struct{}) {
		var payload []byte
		send := func() {
			if payload != nil {
				pipe.Publish(ctx, censusChannel, payload)
				payload = nil
			}
		}
		for recipient := range recipients {
			c.sessions = c.hub.of(recipient, c.sessions[:0])
			if len(c.sessions) == 0 && kind == censusAsks {
				continue // gone again
			}
			if payload == nil {
				payload = appendCensusHead(nil, kind, c.name)
			}
			payload = appendCensusUser(payload, recipient, c.sessions)
			if len(payload) >= maxMessageBytes {
				send()
			}
		}
		send()
	}
	tell(censusAsks, asks)
	tell(censusAnswers, c.answers)
	clear(c.sessions)
	if pipe.Len() == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	return err
}

// A census message is a version byte, whether it asks or answers, the pusher, and then for each user the name, how many
// sessions, and when each was opened, in milliseconds since 1970, newest first; lengths and numbers are uvarints.
const (
	censusVersion = 1
	censusAsks    = 'a'
	censusAnswers = 'b'
)

func appendCensusHead(dst []byte, kind byte, name string) []byte {
	dst = append(dst, censusVersion, kind)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	return append(dst, name...)
}

func appendCensusUser(dst []byte, recipient string, sessions []*session) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(recipient)))
	dst = append(dst, recipient...)
	dst = binary.AppendUvarint(dst, uint64(len(sessions)))
	for _, s := range sessions {
		dst = binary.AppendUvarint(dst, uint64(s.openedAt()))
	}
	return dst
}

// censusReader takes a census message apart.
type censusReader struct {
	batch     batchReader
	asks      bool
	from      string
	recipient string  // part of the payload
	opened    []int64 // valid until next
}

func readCensus(payload string) censusReader {
	var m censusReader
	if len(payload) < 2 || payload[0] != censusVersion || payload[1] != censusAsks && payload[1] != censusAnswers {
		m.batch.err = errBatch
		return m
	}
	m.asks = payload[1] == censusAsks
	m.batch.rest = payload[2:]
	m.from = m.batch.text()
	return m
}

// next moves on to the next user; false at the end, or when batch.err is set.
func (m *censusReader) next() bool {
	b := &m.batch
	if b.err != nil || b.rest == "" {
		return false
	}
	m.recipient = b.text()
	n := b.number()
	if b.err == nil && n > int64(len(b.rest)) { // each has a byte at least
		b.err = errBatch
	}
	m.opened = m.opened[:0]
	for i := int64(0); i < n && b.err == nil; i++ {
		m.opened = append(m.opened, b.number())
	}
	return b.err == nil
}
