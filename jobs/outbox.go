package jobs

import (
	"context"
	"time"
)

// The outbox is measured each measureEvery, or more rarely where that takes more than a part of the time in measureShare: behind a million
// reminders that have come each must be counted. Alerts rest on it, so the pause is never longer than measurePause.
const (
	measureEvery = 5 * time.Second
	measureShare = 100
	measurePause = 20 * time.Second
)

// watchOutbox keeps the gauges of what waits until ctx ends. An age that grows is the first sign that nothing is told.
func (s *Scheduler) watchOutbox(ctx context.Context) {
	for ctx.Err() == nil {
		start := time.Now()
		looking, cancel := context.WithTimeout(ctx, lookTimeout)
		backlog, err := s.db.Backlog(looking)
		cancel()
		if err == nil {
			age := 0.0
			if backlog.OldestPending != nil {
				age = max(0, s.db.Now().Sub(*backlog.OldestPending).Seconds())
			}
			s.metrics.outboxPending.Set(float64(backlog.OutboxPending))
			s.metrics.outboxAge.Set(age)
			s.metrics.dueNow.Set(float64(backlog.DueNow))
			for what, n := range map[string]int64{"reminder": backlog.DueParked, "outbox": backlog.OutboxParked} {
				s.metrics.parked.WithLabelValues(what).Set(float64(n))
			}
		} else if ctx.Err() == nil {
			s.log.Debug("outbox not measured", "error", err)
		}
		sleep(ctx, restAfter(time.Since(start), err))
	}
}

// restAfter is how long to wait behind a measurement that took so long. One that failed says nothing of how much there is to count.
func restAfter(took time.Duration, err error) time.Duration {
	if err != nil {
		return measureEvery
	}
	return min(max(measureEvery, measureShare*took), measurePause)
}
