package main

import "math"

// blocks is how many parts a trend is found from. The means of parts this long don't depend on each other any more, as samples 10 s apart
// do: a collection, a vacuum or a burst is over within one.
const blocks = 6

// ofBlocks is Student's t for 95 % and the degrees of freedom that a line through the blocks leaves.
const ofBlocks = 2.776

// trend is how a figure moved: its mean, what it gained an hour, and by how much that may be off.
type trend struct {
	level, perHour, off float64
}

// trendOf fits a line to samples that are so many seconds apart. Fewer than two for each block have no trend.
func trendOf(samples []float64, apart float64) (t trend) {
	for _, v := range samples {
		t.level += v / float64(len(samples))
	}
	each := len(samples) / blocks
	if each < 2 {
		return t
	}
	samples = samples[len(samples)-each*blocks:]
	var y [blocks]float64
	var mean float64
	for i, v := range samples {
		y[i/each] += v / float64(each)
		mean += v / float64(len(samples))
	}
	const middle = float64(blocks-1) / 2
	var sxx, sxy float64
	for i, v := range y {
		x := float64(i) - middle
		sxx += x * x
		sxy += x * (v - mean)
	}
	slope := sxy / sxx
	var rest float64
	for i, v := range y {
		d := v - mean - slope*(float64(i)-middle)
		rest += d * d
	}
	hour := 3600 / (apart * float64(each)) // blocks
	t.perHour = slope * hour
	t.off = ofBlocks * math.Sqrt(rest/(blocks-2)/sxx) * hour
	return t
}

// leaks says whether a figure grows by more than part of its level an hour, for certain, and by more than least while it was watched
// for so many hours.
func (t trend) leaks(part, least, hours float64) bool {
	sure := t.perHour - t.off
	return sure > part*t.level && sure*hours > least
}
