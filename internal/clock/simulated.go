package clock

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// stepEvery is the wall time between two steps of a driven clock.
	stepEvery = 10 * time.Millisecond
	// pollIdle is how often a driven clock asks again while something is left to do.
	pollIdle = 2 * time.Millisecond
)

// Simulated is a clock that starts where it is told and runs `speed` times as fast as the wall's. Once Drive is called it
// stands still except where Drive moves it.
type Simulated struct {
	speed float64

	mu      sync.Mutex
	base    time.Time // simulated time at wall; the present one while driven
	wall    time.Time // with monotonic reading
	driven  bool
	jump    time.Time     // where Jump wants to be; zero: nowhere
	changed chan struct{} // closed and replaced when time moves other than by itself
}

// MinSpeed and MaxSpeed are the limits of a simulated clock's speed: above, a step would be longer than a day.
const (
	MinSpeed = 0.01
	MaxSpeed = 1e7
)

// NewSimulated starts a clock that runs freely. A speed of 3600 makes an hour of each second; one outside of the limits is
// a mistake of the caller and panics.
func NewSimulated(start time.Time, speed float64) *Simulated {
	if !(speed >= MinSpeed && speed <= MaxSpeed) {
		panic(fmt.Sprintf("clock: speed %v", speed))
	}
	return &Simulated{
		speed:   speed,
		base:    start.UTC().Truncate(time.Microsecond),
		wall:    time.Now(),
		changed: make(chan struct{}),
	}
}

// Now implements Clock.
func (c *Simulated) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Simulated) now() time.Time {
	if c.driven {
		return c.base
	}
	return c.base.Add(c.simulated(time.Since(c.wall))).Truncate(time.Microsecond)
}

// simulated is how much time passes here in a wall's duration.
func (c *Simulated) simulated(wall time.Duration) time.Duration {
	return time.Duration(float64(wall) * c.speed)
}

// Wait implements Clock.
func (c *Simulated) Wait(ctx context.Context, until time.Time) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		rest := until.Sub(c.now())
		changed, driven := c.changed, c.driven
		c.mu.Unlock()
		if rest <= 0 {
			return nil
		}
		var timer <-chan time.Time
		if !driven {
			// A microsecond more, since Now is cut down to one.
			timer = time.After(time.Duration(min(float64(rest)/c.speed, float64(maxSleep))) + time.Microsecond)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer:
		}
	}
}

// Jump moves time forward to an instant and returns when it is there, or with the context's error. A clock that runs freely
// leaps; a driven one still stops at each instant on the way until its work is done, only without pauses between.
func (c *Simulated) Jump(ctx context.Context, to time.Time) error {
	to = to.UTC().Truncate(time.Microsecond)
	c.mu.Lock()
	switch now := c.now(); {
	case !to.After(now):
	case c.driven:
		if to.After(c.jump) {
			c.jump = to
		}
	default:
		c.moveTo(to)
	}
	c.mu.Unlock()
	return c.Wait(ctx, to)
}

// Drive takes over the clock until ctx ends, and returns its error. From then on time passes, at the clock's speed and in
// small steps, only while idle says that nothing is left to do, and it halts exactly on each instant that next names
// until idle says so again. After Drive the clock stands still.
//
// next returns the first instant after now at which something is due, the zero time if nothing ever is. idle must be false
// from the moment that Now is such an instant until everything due by then is done: also before those who wait for the
// instant have woken. So it is asked about what has been done up to Now, not about what is running.
func (c *Simulated) Drive(ctx context.Context, next func(now time.Time) time.Time, idle func(ctx context.Context) bool) error {
	c.mu.Lock()
	c.base, c.driven = c.now(), true
	c.announce()
	c.mu.Unlock()

	for {
		if !idle(ctx) {
			if err := sleep(ctx, pollIdle); err != nil {
				return err
			}
			continue
		}
		now := c.Now()
		due := next(now).UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond) // not before it
		pause := stepEvery
		c.mu.Lock()
		to := now.Add(c.simulated(stepEvery)).Truncate(time.Microsecond)
		if c.jump.After(now) {
			to, pause = c.jump, 0
		}
		if due.After(now) && due.Before(to) {
			to = due
		}
		c.moveTo(to)
		c.mu.Unlock()
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// moveTo sets the time, never back. The caller holds mu.
func (c *Simulated) moveTo(to time.Time) {
	if to.Before(c.now()) {
		return
	}
	c.base, c.wall = to, time.Now()
	c.announce()
}

// announce wakes all that wait, to look again. The caller holds mu.
func (c *Simulated) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}
