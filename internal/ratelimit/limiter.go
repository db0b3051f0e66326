// Package ratelimit bounds how often each of many may do something: a token bucket for everybody who was seen lately, in
// bounded memory.
package ratelimit

import (
	"sync"
	"time"
)

// maxKeys is how many are remembered at least; up to twice as many are.
const maxKeys = 1 << 16

// Limiter has a bucket for each key. It is safe for concurrent use.
type Limiter[K comparable] struct {
	every time.Duration // one more
	burst time.Duration // an empty bucket is full again after it
	keep  time.Duration // how long who was seen is remembered: burst, or longer
	now   func() time.Duration

	mu sync.Mutex
	// A bucket is the instant at which it is full again. One that is full now is as good as none, so those that weren't used
	// for the time of a burst may be forgotten: young takes the place of old then, or when too many have come.
	young, old map[K]time.Duration
	turned     time.Duration
}

// New allows each key so many a second, and burst at once to who was quiet before. Both must be positive.
func New[K comparable](perSecond, burst int) *Limiter[K] {
	start := time.Now()
	every := max(time.Second/time.Duration(perSecond), 1)
	l := &Limiter[K]{every: every, burst: time.Duration(burst) * every, young: make(map[K]time.Duration),
		now: func() time.Duration { return time.Since(start) }}
	l.keep = max(l.burst, time.Second)
	return l
}

// Allow takes one from the bucket of a key. Not ok: it is empty, and there is one again after wait.
func (l *Limiter[K]) Allow(key K) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, wait := l.look(key)
	if wait > 0 {
		return wait, false
	}
	l.young[key] = full
	return 0, true
}

// Peek is what Allow would answer; it takes nothing.
func (l *Limiter[K]) Peek(key K) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, wait = l.look(key)
	return wait, wait == 0
}

// Forget gives back the memory of buckets that are full. Otherwise that waits for the next call.
func (l *Limiter[K]) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
}

// turn forgets who wasn't seen lately. mu is held.
func (l *Limiter[K]) turn() (now time.Duration) {
	now = l.now()
	if age := now - l.turned; age >= l.keep || len(l.young) >= maxKeys {
		if age >= 2*l.keep { // nobody was here for long
			l.young = nil
		}
		l.old, l.young, l.turned = l.young, make(map[K]time.Duration), now
	}
	return now
}

// look says when the bucket is full again once one is taken, or how long there is none to take. mu is held.
func (l *Limiter[K]) look(key K) (full, wait time.Duration) {
	now := l.turn()
	full, seen := l.young[key]
	if !seen {
		full = l.old[key]
	}
	full = max(full, now) + l.every
	return full, max(full-now-l.burst, 0)
}
