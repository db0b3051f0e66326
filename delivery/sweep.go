package delivery

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// sweepBatch is how many recipients are compared by one read of the store.
	sweepBatch = 500
	// sweepPause is the least time between two reads of a round: 20,000 recipients a second, so 100,000 in five.
	sweepPause = 25 * time.Millisecond
	// maxUrgent is how many recipients wait to be compared at once; beyond it everything is.
	maxUrgent = 1024
	// expiryInterval is how often tokens that have expired are looked for.
	expiryInterval = 250 * time.Millisecond
)

// sweeper compares what sessions have with what the store has, all of them within an interval, and makes those read the
// store that lack something: it finds changes whose message was lost, a store that was restored, and tokens that were
// revoked.
type sweeper struct {
	hub      *hub
	store    chainStore
	log      *slog.Logger
	metrics  *pusherMetrics
	interval time.Duration
	behind   func(s *session, reason string)
	end      func(s *session, code int, reason string)

	missed atomic.Uint64 // shards whose messages were lost, a bit each
	urgent chan string   // recipients to look at now
	wake   chan struct{}

	at       int // the next hub shard of the round
	suspects []suspect
	sessions []*session // reused
}

// suspect is a session that had less than the store. Mostly the message is still on its way, so it is looked at again.
type suspect struct {
	session *session
	rev     int64
	since   time.Time
}

func newSweeper(h *hub, db chainStore, log *slog.Logger, metrics *pusherMetrics, interval time.Duration,
	behind func(*session, string), end func(*session, int, string)) *sweeper {
	return &sweeper{
		hub: h, store: db, log: log, metrics: metrics, interval: interval, behind: behind, end: end,
		urgent: make(chan string, maxUrgent),
		wake:   make(chan struct{}, 1),
	}
}

// miss has the sessions of a shard compared at once, or all for -1. It never blocks.
func (w *sweeper) miss(shard int) {
	if shard < 0 {
		w.missed.Store(^uint64(0))
	} else {
		w.missed.Or(1 << shard)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// look has the sessions of a recipient compared at once. It never blocks.
func (w *sweeper) look(recipient string) {
	select {
	case w.urgent <- recipient:
	default:
		w.miss(-1)
	}
}

// grace is how long a message may take before the sweep does its work.
func (w *sweeper) grace() time.Duration { return min(w.interval/25, 200*time.Millisecond) }

// run sweeps until ctx is done.
func (w *sweeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case recipient := <-w.urgent:
			w.compareUrgent(ctx, recipient)
		case <-w.wake:
			w.compareMissed(ctx)
		case <-timer.C:
		}
		now := time.Now()
		w.resolve(now)
		if !now.Before(next) {
			next = now.Add(w.compareNext(ctx))
		}
		wait := time.Until(next)
		if len(w.suspects) > 0 {
			wait = min(wait, time.Until(w.suspects[0].since.Add(w.grace())))
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// compareNext goes on with the round, and returns how long to wait before the next step.
func (w *sweeper) compareNext(ctx context.Context) time.Duration {
	batch := w.sessions[:0]
	for len(batch) < sweepBatch && w.at < hubShards {
		batch = w.hub.all(w.at, batch)
		w.at++
	}
	w.compare(ctx, batch, false)
	if w.at == hubShards {
		w.at = 0
	}
	// A round ends somewhat early: what it finds takes a little to heal.
	steps := w.hub.len()/sweepBatch + 1
	return max(w.interval*9/10/time.Duration(steps), sweepPause)
}

// compareUrgent looks at one recipient, and at whoever else waits.
func (w *sweeper) compareUrgent(ctx context.Context, recipient string) {
	batch := w.hub.of(recipient, w.sessions[:0])
	for len(batch) < sweepBatch {
		select {
		case recipient = <-w.urgent:
			batch = w.hub.of(recipient, batch)
			continue
		default:
		}
		break
	}
	w.compare(ctx, batch, false)
}

// compareMissed looks at all sessions of the shards whose messages were lost.
func (w *sweeper) compareMissed(ctx context.Context) {
	missed := w.missed.Swap(0)
	for shard := range hubShards {
		if missed&(1<<(shard%shards)) == 0 {
			continue
		}
		if !w.compare(ctx, w.hub.all(shard, w.sessions[:0]), true) {
			w.missed.Or(1 << (shard % shards)) // the round, or the next loss, comes back to it
		}
	}
}

// compare reads the revs of the sessions' recipients and acts on what differs. Sessions of one recipient stand together.
// With lost set, nobody waits for messages that may be on their way. It returns false if the store can't be read.
func (w *sweeper) compare(ctx context.Context, sessions []*session, lost bool) bool {
	w.sessions = sessions
	defer clear(sessions)
	ok := true
	for len(sessions) > 0 {
		n := 0
		var recipients []string
		for ; n < len(sessions); n++ {
			recipient := sessions[n].recipient
			if len(recipients) > 0 && recipients[len(recipients)-1] == recipient {
				continue
			}
			if len(recipients) == sweepBatch {
				break
			}
			recipients = append(recipients, recipient)
		}
		ok = w.compareWith(ctx, sessions[:n], recipients, lost) && ok
		sessions = sessions[n:]
	}
	return ok
}

func (w *sweeper) compareWith(ctx context.Context, sessions []*session, recipients []string, lost bool) bool {
	// Before the store is read: it can't have less than a session had already, unless it was restored.
	before := make([]cursor, len(sessions))
	for i, s := range sessions {
		if at, isLive := s.reached(); isLive {
			before[i] = at
		}
	}
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	epoch, revs, notBefore, err := w.store.Revs(reading, recipients)
	if err != nil {
		if ctx.Err() == nil {
			w.metrics.storeErrors.Inc()
			w.log.Warn("the sweep can't read the database", "error", err)
		}
		return false
	}
	at := 0
	for i, s := range sessions {
		if recipients[at] != s.recipient {
			at++
		}
		if s.revoked(notBefore[at]) {
			w.end(s, closeToken, "the token was revoked")
			continue
		}
		now, isLive := s.reached()
		if !isLive {
			continue
		}
		switch {
		case now.epoch != epoch, before[i].rev > revs[at]:
			w.fallBehind(s, catchupRestored)
		case now.rev >= revs[at]:
		case lost:
			w.fallBehind(s, catchupMissed)
		default:
			w.suspects = append(w.suspects, suspect{s, revs[at], time.Now()})
		}
	}
	return true
}

func (w *sweeper) fallBehind(s *session, reason string) {
	if s.fallBehind() {
		w.metrics.heals.Inc()
		w.behind(s, reason)
	}
}

// resolve looks again at suspects whose grace is over.
func (w *sweeper) resolve(now time.Time) {
	n := 0
	for ; n < len(w.suspects) && now.Sub(w.suspects[n].since) >= w.grace(); n++ {
		suspect := &w.suspects[n]
		if at, isLive := suspect.session.reached(); isLive && at.rev < suspect.rev {
			w.fallBehind(suspect.session, catchupSweep)
		}
	}
	w.suspects = pop(w.suspects, n)
}

// expire ends sessions whose token has expired, until ctx is done.
func (w *sweeper) expire(ctx context.Context) {
	every(ctx, expiryInterval, func(now time.Time) {
		for _, s := range w.hub.expired(now, nil) {
			w.end(s, closeToken, "the token has expired")
		}
	})
}
