package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// samples are 180, 10 s apart: half an hour. saw is what a collector leaves: it rises for 70 s and falls back.
func samples(level, perHour, saw, noise float64) []float64 {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]float64, 180)
	for i := range list {
		list[i] = level + perHour*float64(i)/360 + saw*float64(i%7)/7 + noise*random.NormFloat64()
	}
	return list
}

// waves go up and down three times, and seem to rise since they end where they began.
func waves() []float64 {
	list := samples(20<<20, 0, 0, 0)
	for i := range list {
		list[i] -= 10 << 20 * math.Sin(float64(i)/30*math.Pi)
	}
	return list
}

func TestTrend(t *testing.T) {
	const mb = 1 << 20
	for name, test := range map[string]struct {
		samples []float64
		perHour float64
		leaks   bool
	}{
		"nothing moves":                     {samples(20*mb, 0, 0, 0), 0, false},
		"a collector's saw and noise":       {samples(20*mb, 0, 20*mb, 2*mb), 0, false},
		"waves":                             {waves(), 0, false},
		"a leak":                            {samples(20*mb, 6*mb, 0, mb), 6 * mb, true},
		"a leak in a collector's saw":       {samples(20*mb, 12*mb, 20*mb, 2*mb), 12 * mb, true},
		"a tenth of the level isn't one":    {samples(20*mb, 1.5*mb, 0, mb/10), 1.5 * mb, false},
		"a little of next to nothing":       {samples(mb/10, mb/10, 0, mb/1000), mb / 10, false},
		"what gets less":                    {samples(20*mb, -10*mb, 0, mb), -10 * mb, false},
		"less than two samples for a block": {samples(20*mb, 100*mb, 0, 0)[:blocks*2-1], 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := trendOf(test.samples, 10)
			if math.Abs(got.perHour-test.perHour) > max(got.off, 1) {
				t.Errorf("%.0f an hour ± %.0f, not %.0f", got.perHour, got.off, test.perHour)
			}
			if leaks := got.leaks(soakPart, soakLeastHeap, 0.5); leaks != test.leaks {
				t.Errorf("leaks: %v (%+v)", leaks, got)
			}
		})
	}
}
