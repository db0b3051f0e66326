package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in microseconds, 32 steps to each doubling: at most 3 % off.
type histogram struct {
	Counts [steps * 32]uint32 `json:"-"`
	Total  int64
	Max    int64 // µs
}

const steps = 32

func (h *histogram) add(d time.Duration) {
	us := max(d.Microseconds(), 0)
	h.Max = max(h.Max, us)
	h.Total++
	h.Counts[bucket(us)]++
}

func bucket(us int64) int {
	if us < steps {
		return int(us)
	}
	shift := bits.Len64(uint64(us)) - 6 // keeps five bits below the first
	return min((shift+1)*steps+int(us>>shift)-steps, steps*32-1)
}

// floor is the least that goes into a bucket.
func floor(bucket int) int64 {
	if bucket < steps {
		return int64(bucket)
	}
	shift := bucket/steps - 1
	return int64(bucket%steps+steps) << shift
}

// quantile is in microseconds; 0 without a value.
func (h *histogram) quantile(q float64) int64 {
	rest := int64(q * float64(h.Total))
	for i, n := range h.Counts {
		if rest -= int64(n); rest < 0 {
			return floor(i + 1)
		}
	}
	return h.Max
}
