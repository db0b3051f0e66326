package delivery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unique"

	"duebell/store"
)

// chainStore is what sessions read: a *store.DB.
type chainStore interface {
	Heads(ctx context.Context, recipients []string) (epoch string, heads []store.Head, err error)
	Revs(ctx context.Context, recipients []string) (epoch string, revs []int64, notBefore []time.Time, err error)
	Changes(ctx context.Context, recipient string, afterRev int64, afterID string, limit int) (store.Page, error)
	ChangedRows(ctx context.Context, recipient string, afterRev int64, max int) (int, error)
}

const (
	// pageRows is how many rows a frame of catching up holds at most (contract).
	pageRows = 100
	// startBatch is how many sessions that have just connected share one read.
	startBatch  = 500
	readTimeout = 5 * time.Second
	// maxTries is how often a session's first read may fail before the client is sent away to come back later: with the
	// pauses between, some three seconds.
	maxTries = 6
)

// catchUp reads the store for sessions: what they start with, and what they have missed. The work waits in two lists that
// hold a session once at most, so they need no other bound.
type catchUp struct {
	store   chainStore
	log     *slog.Logger
	metrics *pusherMetrics
	limit   int // changed rows beyond which a session is reset
	page    int // rows a frame
	pingS   int
	end     func(s *session, code int, reason string)

	mu      sync.Mutex
	arrived *sync.Cond
	starts  []*session
	behinds []*session
	closed  bool
	// Of a store that can't be read.
	pause     time.Duration
	restUntil time.Time
}

func newCatchUp(db chainStore, log *slog.Logger, metrics *pusherMetrics, limit, pingS int, end func(*session, int, string)) *catchUp {
	c := &catchUp{store: db, log: log, metrics: metrics, limit: limit, page: pageRows, pingS: pingS, end: end}
	c.arrived = sync.NewCond(&c.mu)
	return c
}

// start queues a session that has just joined the hub.
func (c *catchUp) start(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts = append(c.starts, s)
	c.arrived.Signal()
}

// behind queues a session whose state has just become behind.
func (c *catchUp) behind(s *session, reason string) {
	c.metrics.catchups.WithLabelValues(reason).Inc()
	c.again(s)
}

func (c *catchUp) again(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behinds = append(c.behinds, s)
	c.arrived.Signal()
}

// run works with some workers until ctx is done.
func (c *catchUp) run(ctx context.Context, workers int) {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closed = true
		c.arrived.Broadcast()
	})
	defer stop()
	var group sync.WaitGroup
	for i := range workers {
		// Half of them look for new sessions first: neither a storm of connects nor one of missed frames starves the other.
		group.Go(func() { c.work(ctx, i%2 == 0) })
	}
	group.Wait()
}

func (c *catchUp) work(ctx context.Context, startsFirst bool) {
	for {
		starts, s := c.take(startsFirst)
		var err error
		switch {
		case s != nil:
			if err = c.advance(ctx, s); err != nil {
				c.again(s)
			}
		case len(starts) > 0:
			if err = c.begin(ctx, starts); err != nil {
				c.retryStarts(starts)
			}
		default:
			return
		}
		if ctx.Err() == nil {
			c.rest(err)
		}
	}
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// rest keeps all workers from a store that has just failed, longer each time.
func (c *catchUp) rest(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.pause = 0
		return
	case time.Now().Before(c.restUntil): // another worker has said so
		return
	}
	c.pause = min(max(2*c.pause, firstPause), lastPause)
	wait := c.pause/2 + rand.N(c.pause)
	c.restUntil = time.Now().Add(wait)
	time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.arrived.Broadcast()
	})
	c.metrics.storeErrors.Inc()
	c.log.Warn("the database can't be read for sessions", "error", err, "again_in", wait)
}

// take waits for work: a batch of sessions to start, or one that is behind; neither at the end.
func (c *catchUp) take(startsFirst bool) (starts []*session, s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && (len(c.starts)+len(c.behinds) == 0 || time.Now().Before(c.restUntil)) {
		c.arrived.Wait()
	}
	if c.closed {
		return nil, nil
	}
	if len(c.starts) > 0 && (startsFirst || len(c.behinds) == 0) {
		n := min(len(c.starts), startBatch)
		starts = slices.Clone(c.starts[:n])
		c.starts = pop(c.starts, n)
		return starts, nil
	}
	s = c.behinds[0]
	c.behinds = pop(c.behinds, 1)
	return nil, s
}

// pop takes n off the front, without holding on to them.
func pop[T any](list []T, n int) []T {
	clear(list[:n])
	if n == len(list) {
		return nil
	}
	return list[n:]
}

// retryStarts queues sessions again whose first read failed, and gives up those for which it did too often.
func (c *catchUp) retryStarts(sessions []*session) {
	for _, s := range sessions {
		s.tries++ // only the worker that holds the session touches it
		if s.tries >= maxTries {
			c.end(s, closeRestarting, "the database can't be reached; come back in a moment")
			continue
		}
		c.start(s)
	}
}

// begin says hello to sessions that have joined the hub: the read comes after that, so whatever is committed later
// reaches them as a message or is in this read.
func (c *catchUp) begin(ctx context.Context, sessions []*session) error {
	recipients := make([]string, len(sessions))
	for i, s := range sessions {
		recipients[i] = s.recipient
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	epoch, heads, err := c.store.Heads(ctx, recipients)
	if err != nil {
		return err
	}
	epoch = shared(epoch)
	for i, s := range sessions {
		c.hello(s, epoch, heads[i])
	}
	return nil
}

// shared makes equal strings one, as the epoch stands in every session.
func shared(epoch string) string { return unique.Make(epoch).Value() }

func (c *catchUp) hello(s *session, epoch string, head store.Head) {
	if s.revoked(head.NotBefore) {
		c.end(s, closeToken, "the token was revoked")
		return
	}
	if reason := s.greet(helloFrame(s.recipient, epoch, head.Counts, c.pingS), epoch, &head); reason != "" {
		c.behind(s, reason)
	}
}

// greet writes hello and makes the session live, or behind: then it returns why it has to read the store.
func (s *session) greet(hello frame, epoch string, head *store.Head) (behindFor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != starting {
		return ""
	}
	switch {
	case !s.resumes:
		s.epoch, s.sent = epoch, head.Rev
	case s.epoch == "", s.epoch == epoch: // a cursor without an epoch is taken as one of the present
		s.epoch = epoch
	}
	if !s.out.write(hello, cursor{s.epoch, s.sent}) {
		s.refused = true // writable queues it for another start
		return ""
	}
	s.state = behind
	s.writeAnswers()
	switch {
	case s.resumes && (s.epoch != epoch || s.sent != head.Rev || s.sent < head.FloorRev):
		return catchupResume
	case s.heard > head.Rev: // told of while the store was read
		return catchupGap
	}
	s.state = live
	return ""
}

// advance reads on for a session that is behind, page by page, until it has what the store has or its socket is full.
func (c *catchUp) advance(ctx context.Context, s *session) error {
	for first := true; ; first = false {
		at, inside, ok := s.startReading()
		if !ok {
			return nil
		}
		after := position{rev: at.rev}
		if inside != (position{}) {
			after = inside
		}
		page, err := c.read(ctx, s.recipient, after)
		if err != nil {
			return err
		}
		step := nextStep(at, &page)
		if first && !step.reset && page.More {
			if step.reset, err = c.tooMuch(ctx, s.recipient, at.rev); err != nil {
				return err
			}
		}
		if step.reset {
			step.to, step.inside, step.last = cursor{page.Epoch, page.Rev}, position{}, true
		}
		var f frame
		switch {
		case step.reset:
			f = resetFrame(page.Epoch, page.Counts)
		case step.to.rev != at.rev || len(step.items)+len(step.removed) > 0:
			f = changesFrame(at.rev, step.to.rev, page.Counts, step.items, step.removed, 0)
		}
		written, more := s.advanced(f, step, page.Rev)
		if written {
			c.metrics.framesSent.Inc()
			if step.reset {
				c.metrics.resets.Inc()
			}
		}
		if !more {
			return nil
		}
	}
}

func (c *catchUp) read(ctx context.Context, recipient string, after position) (store.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return c.store.Changes(ctx, recipient, after.rev, after.id, c.page)
}

func (c *catchUp) tooMuch(ctx context.Context, recipient string, after int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	n, err := c.store.ChangedRows(ctx, recipient, after, c.limit)
	return n > c.limit, err
}

// step is what a page does to a chain.
type step struct {
	to      cursor   // where the frame leads
	inside  position // where the next read starts, if that isn't to
	items   []store.Notification
	removed []string
	last    bool // the page ends at the snapshot's rev
	reset   bool
}

// nextStep says what frame follows from a page that was read for a session at that cursor. Only whole revs move the
// chain: a page that was cut is sent up to the last rev that it surely holds all of, and what is left of it is read
// again. Where one rev fills the page, all of it is sent, the chain stays and the next read goes on inside of the rev.
func nextStep(at cursor, page *store.Page) step {
	switch {
	case page.Epoch != at.epoch, at.rev > page.Rev, at.rev < page.FloorRev:
		return step{reset: true}
	case !page.More:
		return step{to: cursor{at.epoch, page.Rev}, items: page.Items, removed: page.Removed, last: true}
	}
	whole := len(page.Items)
	for whole > 0 && page.Items[whole-1].Rev == page.LastRev {
		whole--
	}
	if whole > 0 {
		// Removed ones may belong to the rev that was cut: hearing of it twice does no harm.
		return step{to: cursor{at.epoch, page.Items[whole-1].Rev}, items: page.Items[:whole], removed: page.Removed}
	}
	return step{to: at, inside: position{page.LastRev, page.LastID}, items: page.Items, removed: page.Removed}
}

// startReading says from where to read. What messages told of before is forgotten: this read will have it.
func (s *session) startReading() (at cursor, inside position, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != behind {
		return cursor{}, position{}, false
	}
	s.heard = 0
	if s.more != nil {
		inside = s.more.inside
	}
	return cursor{s.epoch, s.sent}, inside, true
}

// advanced writes the frame of a step, if there is one, and moves the chain. more: there is more to read.
func (s *session) advanced(f frame, st step, snapshot int64) (written, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != behind {
		return false, false
	}
	if f != nil {
		if !s.out.write(f, st.to) {
			s.state = full
			return false, false
		}
		written = true
	}
	s.epoch, s.sent = shared(st.to.epoch), st.to.rev
	if st.inside != (position{}) || s.more != nil {
		s.extra().inside = st.inside
		s.tidy()
	}
	if !st.last || s.heard > snapshot {
		return written, true
	}
	s.state = live
	return written, false
}
