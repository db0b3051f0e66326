package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells time and waits for it. Safe for concurrent use.
type Clock interface {
	// Now is in UTC, cut to microseconds (what both databases keep), and never before an earlier Now.
	Now() time.Time
	// Wait returns nil once Now is at or after until, at once if it is already; or the context's error.
	Wait(ctx context.Context, until time.Time) error
}

const (
	// maxSleep is how long Real waits before it looks at the clock again: timers stand still while a machine is suspended.
	maxSleep = 30 * time.Second
	// maxStepBack is how far the system clock may be set back (NTP) before Real goes back with it.
	maxStepBack = 5 * time.Second
)

// Real is the system clock. When that is set back by some seconds, Real stands still until it has caught up; when by
// more, somebody meant it, and Real follows.
func Real() Clock { return &realClock{system: time.Now} }

type realClock struct {
	system func() time.Time

	mu   sync.Mutex
	last time.Time
}

func (c *realClock) Now() time.Time {
	return c.at(c.system())
}

func (c *realClock) at(system time.Time) time.Time {
	now := system.UTC().Truncate(time.Microsecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.last) && c.last.Sub(now) < maxStepBack {
		return c.last
	}
	c.last = now
	return now
}

func (c *realClock) Wait(ctx context.Context, until time.Time) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		rest := until.Sub(c.Now())
		if rest <= 0 {
			return nil
		}
		if err := sleep(ctx, min(rest, maxSleep)); err != nil {
			return err
		}
	}
}

// sleep waits real time.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
