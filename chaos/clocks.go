package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// clocks are those of the programs, each of which a file sets.
type clocks struct {
	folder string

	mu    sync.Mutex
	wrong []wrongClock
}

// wrongClock is a time in which a program's clock was wrong.
type wrongClock struct {
	program  string
	by       time.Duration
	from, to time.Time // to is zero: until now
}

func (c *clocks) file(program string) string { return filepath.Join(c.folder, program+".clock") }

// set makes a program's clock wrong by some time; 0: right.
func (c *clocks) set(program string, by time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Noted from before the first look at it until after the last.
	now := time.Now()
	c.wrong = append(c.wrong, wrongClock{program: program, by: by, from: now})
	next := c.file(program) + ".next"
	if err := os.WriteFile(next, []byte(by.String()), 0o644); err != nil {
		return err
	}
	err := os.Rename(next, c.file(program))
	for i := range c.wrong[:len(c.wrong)-1] {
		if w := &c.wrong[i]; w.program == program && w.to.IsZero() {
			w.to = time.Now().Add(standstill)
		}
	}
	return err
}

// standstill is how long a clock that was set back by little stands still, instead of going back.
const standstill = 5 * time.Second

// deciders are the wrong clocks of the programs that decide about reminders.
func (c *clocks) deciders() (list []wrongClock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.wrong {
		if w.by != 0 && !strings.HasPrefix(w.program, "scheduler") && !strings.HasPrefix(w.program, "pusher") {
			list = append(list, w)
		}
	}
	return list
}

// really are the instants at which it may have been when a clock showed at.
func really(at time.Time, wrong []wrongClock) []time.Time {
	list := []time.Time{at}
	for _, w := range wrong {
		t := at.Add(-w.by)
		if !t.Before(w.from) && (w.to.IsZero() || t.Before(w.to)) {
			list = append(list, t)
		}
	}
	return list
}
