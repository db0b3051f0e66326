package demo

import (
	"time"

	"duebell/internal/civil"
)

// Start is the instant at which the demo's clock starts: a Monday morning in Europe, four weeks before the clocks change there.
var Start = time.Date(2026, time.March, 2, 7, 0, 0, 0, time.UTC)

// Speed of the demo's clock: six seconds are a day.
const Speed = 24 * 60 * 60 / 6

// The loans of the book begin one after the other from so many days before Start to so many after it. Those that have begun are
// imported as they stand.
const (
	firstBegin = -60
	lastBegin  = 150
)

// telling is when a loan's story is told in the demo. mark goes into its ids.
func (b *book) telling(l *loan, mark string) telling {
	// Neighbours in the features are alike: a stride that has no divisor in common with their number mixes them.
	nth, of := l.index*149%len(b.loans), len(b.loans)
	if member := l.index % castEvery; member < borrowers { // evenly for each of the cast
		of = (of + castEvery - 1) / castEvery
		nth = (l.index/castEvery*7 + member*3) % of
	}
	begin := civil.Of(Start).AddDays(firstBegin + nth*(lastBegin-firstBegin)/of)
	// Each loan has its own minutes, so that not everything happens at once.
	return telling{days: begin.Sub(l.Snapshots[0].Date), minutes: l.index * 37 % 170, mark: mark}
}
