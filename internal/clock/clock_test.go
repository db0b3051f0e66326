package clock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 8, 6, 0, 0, 0, time.UTC)

func wait(t *testing.T, c Clock, until time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Wait(ctx, until); err != nil {
		t.Fatalf("wait for %s: %v at %s", until, err, c.Now())
	}
	if now := c.Now(); now.Before(until) {
		t.Fatalf("woke at %s, before %s", now, until)
	}
}

func clocks() map[string]Clock {
	return map[string]Clock{"real": Real(), "simulated": NewSimulated(start, 3600)}
}

func TestNowIsUTCInMicrosecondsAndNeverGoesBack(t *testing.T) {
	for name, c := range clocks() {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					last := c.Now()
					for range 2000 {
						now := c.Now()
						if now.Before(last) || now.Location() != time.UTC || now.Nanosecond()%1000 != 0 {
							t.Errorf("%s after %s", now, last)
							return
						}
						last = now
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestWait(t *testing.T) {
	for name, c := range clocks() {
		t.Run(name, func(t *testing.T) {
			wait(t, c, c.Now().Add(-time.Hour))
			wait(t, c, c.Now())
			wait(t, c, c.Now().Add(20*time.Millisecond))

			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(5*time.Millisecond, cancel)
			if err := c.Wait(ctx, c.Now().AddDate(20, 0, 0)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if err := c.Wait(ctx, c.Now().Add(-time.Hour)); !errors.Is(err, context.Canceled) {
				t.Errorf("with a context that has ended: got %v", err)
			}
		})
	}
}

func TestRealClockThatIsSetBack(t *testing.T) {
	c := new(realClock)
	at := func(offset time.Duration) time.Duration { return c.at(start.Add(offset)).Sub(start) }
	for _, s := range []struct{ system, want time.Duration }{
		{0, 0},
		{time.Minute, time.Minute},
		{time.Minute - time.Second, time.Minute}, // NTP: stands still
		{time.Minute + time.Second, time.Minute + time.Second},
		{-time.Hour, -time.Hour}, // set by hand
		{-time.Hour + time.Second, -time.Hour + time.Second},
	} {
		if got := at(s.system); got != s.want {
			t.Errorf("system at %s: got %s, want %s", s.system, got, s.want)
		}
	}
}

func TestWrongClockIsSetByItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "offset")
	set := func(by string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(by), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Wrong(file); err == nil {
		t.Error("a file that isn't there was accepted")
	}
	set("soon")
	if _, err := Wrong(file); err == nil {
		t.Error("a file without a duration was accepted")
	}
	set("90m\n")
	c, err := Wrong(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"90m", "-2h", "0s", "1h"} {
		set(by)
		want, _ := time.ParseDuration(by)
		if got := time.Until(c.Now()); (got - want).Abs() > time.Minute {
			t.Errorf("set to %s: it is %s ahead", by, got)
		}
	}
	set("") // in the middle of being written
	if got := time.Until(c.Now()); (got - time.Hour).Abs() > time.Minute {
		t.Errorf("without a duration it is %s ahead, want 1h as before", got)
	}
}

func TestSimulatedSpeed(t *testing.T) {
	wall := time.Now()
	c := NewSimulated(start, 3600)
	wait(t, c, start.Add(3*time.Minute)) // 50 ms
	if took := time.Since(wall); took < 50*time.Millisecond || took > 30*time.Second {
		t.Errorf("3 minutes took %s", took)
	}
}

func TestFreeClockJumps(t *testing.T) {
	c := NewSimulated(start, 1)
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		wait(t, c, start.AddDate(0, 0, 2))
	}()
	if err := c.Jump(context.Background(), start.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	<-woken
	if now := c.Now(); now.Before(start.AddDate(0, 0, 3)) || now.After(start.AddDate(0, 0, 3).Add(time.Minute)) {
		t.Errorf("it is %s", now)
	}
	before := c.Now()
	if err := c.Jump(context.Background(), start); err != nil || c.Now().Before(before) {
		t.Errorf("a jump back: %v, %s", err, c.Now())
	}
}

// schedule is a cron of one job that takes a while for each of its instants, as Drive sees it.
type schedule struct {
	every time.Duration
	mu    sync.Mutex
	done  time.Time // everything due by then is done
	seen  []time.Time
}

func (s *schedule) next(now time.Time) time.Time { return now.Truncate(s.every).Add(s.every) }

func (s *schedule) idle(c Clock) func(context.Context) bool {
	return func(context.Context) bool {
		now := c.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.next(s.done).After(now)
	}
}

// run waits for each instant, and reports when the clock doesn't stand still meanwhile.
func (s *schedule) run(ctx context.Context, t *testing.T, c Clock, work time.Duration) {
	for at := s.next(s.done); c.Wait(ctx, at) == nil; at = s.next(at) {
		if now := c.Now(); !now.Equal(at) {
			t.Errorf("woke at %s for %s", now, at)
		}
		time.Sleep(work)
		if now := c.Now(); !now.Equal(at) {
			t.Errorf("the clock went on to %s while %s was being worked on", now, at)
		}
		s.mu.Lock()
		s.seen = append(s.seen, at)
		s.done = at
		s.mu.Unlock()
	}
}

func drive(t *testing.T, c *Simulated, s *schedule, work time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.run(ctx, t, c, work) })
	wg.Go(func() {
		if err := c.Drive(ctx, s.next, s.idle(c)); !errors.Is(err, context.Canceled) {
			t.Errorf("Drive: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func (s *schedule) check(t *testing.T, from time.Time, least int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) < least {
		t.Fatalf("%d instants, want %d", len(s.seen), least)
	}
	for i, at := range s.seen {
		if want := from.Add(time.Duration(i+1) * s.every); !at.Equal(want) {
			t.Fatalf("instant %d is %s, want %s", i, at, want)
		}
	}
}

func TestDrivenClockHaltsOnEachInstantUntilItsWorkIsDone(t *testing.T) {
	c := NewSimulated(start, 1e6) // a step alone is nearly three hours: eleven instants
	s := &schedule{every: 15 * time.Minute, done: start}
	drive(t, c, s, 3*time.Millisecond)
	wait(t, c, start.Add(3*time.Hour))
	s.check(t, start, 11)
}

func TestDrivenClockJumpsFromInstantToInstant(t *testing.T) {
	c := NewSimulated(start, 1) // by itself the jump would take three days
	s := &schedule{every: time.Hour, done: start}
	drive(t, c, s, 0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !c.isDriven() {
		time.Sleep(time.Millisecond)
	}
	if err := c.Jump(ctx, start.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	s.check(t, start, 71)
	if now := c.Now(); now.After(start.AddDate(0, 0, 3).Add(time.Minute)) {
		t.Errorf("jumped on to %s", now)
	}
}

func (c *Simulated) isDriven() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.driven
}

func TestDrivenClockPaces(t *testing.T) {
	wall := time.Now()
	c := NewSimulated(start, 3600)
	s := &schedule{every: 24 * time.Hour, done: start.Add(-time.Hour)}
	drive(t, c, s, 0)
	wait(t, c, start.Add(5*time.Minute)) // 83 ms
	if took := time.Since(wall); took < 70*time.Millisecond {
		t.Errorf("5 minutes took %s", took)
	}
}

func TestDrivenClockStandsStillWhileThereIsWork(t *testing.T) {
	c := NewSimulated(start, 1e6)
	var busy atomic.Bool
	busy.Store(true)
	var asked atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.Drive(ctx, func(time.Time) time.Time { return time.Time{} },
			func(context.Context) bool { asked.Add(1); return !busy.Load() })
	})
	defer wg.Wait()
	defer cancel()
	for asked.Load() < 1 {
		time.Sleep(time.Millisecond)
	}
	before := c.Now()
	for asked.Load() < 10 {
		time.Sleep(time.Millisecond)
	}
	if now := c.Now(); !now.Equal(before) {
		t.Errorf("went on from %s to %s", before, now)
	}
	busy.Store(false)
	wait(t, c, before.Add(time.Hour)) // and without any instant ahead it runs
}

func TestSpeedLimits(t *testing.T) {
	for _, speed := range []float64{0, -1, 1e9, MinSpeed / 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("speed %v accepted", speed)
				}
			}()
			NewSimulated(start, speed)
		}()
	}
}
