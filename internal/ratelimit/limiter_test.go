package ratelimit

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at is a limiter whose time the test sets.
func at[K comparable](perSecond, burst int) (*Limiter[K], *time.Duration) {
	l, now := New[K](perSecond, burst), new(time.Duration)
	l.now = func() time.Duration { return *now }
	return l, now
}

func TestBurstThenRate(t *testing.T) {
	l, now := at[string](10, 20)
	for i := range 20 {
		if _, ok := l.Allow("a"); !ok {
			t.Fatalf("the burst ended at %d", i)
		}
	}
	if wait, ok := l.Allow("a"); ok || wait != 100*time.Millisecond {
		t.Errorf("after the burst: %v, wait %v", ok, wait)
	}
	if _, ok := l.Allow("b"); !ok {
		t.Error("another pays for it")
	}
	*now += 100 * time.Millisecond
	if _, ok := l.Allow("a"); !ok {
		t.Error("nothing after the wait")
	}
	if _, ok := l.Allow("a"); ok {
		t.Error("two for one wait")
	}
	*now += time.Hour
	for i := range 20 {
		if _, ok := l.Allow("a"); !ok {
			t.Fatalf("after a rest the burst ended at %d", i)
		}
	}
}

// However the calls fall, it allows what a token bucket that forgets nothing allows.
func TestAsATokenBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond, burst := rapid.IntRange(1, 50).Draw(t, "per second"), rapid.IntRange(1, 50).Draw(t, "burst")
		l, now := at[int](perSecond, burst)
		every := time.Second / time.Duration(perSecond)
		type bucket struct{ tokens, at time.Duration } // tokens in the time that they take
		buckets := map[int]*bucket{}
		for range rapid.IntRange(1, 300).Draw(t, "calls") {
			*now += time.Duration(rapid.Int64Range(0, int64(4*every)).Draw(t, "pause"))
			if rapid.IntRange(0, 30).Draw(t, "rest") == 0 {
				*now += time.Duration(rapid.Int64Range(0, int64(3*l.burst)).Draw(t, "long pause"))
			}
			if rapid.IntRange(0, 10).Draw(t, "forget") == 0 {
				l.Forget()
			}
			key := rapid.IntRange(0, 3).Draw(t, "key")
			b := buckets[key]
			if b == nil {
				b = &bucket{tokens: l.burst, at: *now}
				buckets[key] = b
			}
			b.tokens, b.at = min(b.tokens+*now-b.at, l.burst), *now
			want := b.tokens >= every
			if wait, ok := l.Peek(key); ok != want || !ok && wait != every-b.tokens {
				t.Fatalf("looked at: %v, wait %v", ok, wait)
			}
			if want {
				b.tokens -= every
			}
			wait, ok := l.Allow(key)
			if ok != want {
				t.Fatalf("allowed: %v, want %v", ok, want)
			}
			if !ok && wait != every-b.tokens {
				t.Fatalf("wait %v, want %v", wait, every-b.tokens)
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	l, now := at[int](1000, 1000)
	for i := range 5 * maxKeys {
		l.Allow(i)
		if n := len(l.young) + len(l.old); n > 2*maxKeys {
			t.Fatalf("%d keys are kept", n)
		}
	}
	*now += 3 * time.Second
	l.Allow(-1)
	*now += time.Second
	l.Allow(-2)
	if n := len(l.young) + len(l.old); n != 2 {
		t.Errorf("%d keys are kept after a rest", n)
	}
	*now += 2 * time.Second
	l.Forget()
	if n := len(l.young) + len(l.old); n != 0 {
		t.Errorf("%d keys are kept, although their buckets are full", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := New[string](1<<20, 1<<20)
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprint("user", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		l.Allow(keys[i%len(keys)])
	}
}
