package jobs

import (
	"context"
	"time"
)

// measureEvery is how often the outbox is measured, or more rarely where that takes more than a part of the time in measureShare:
// behind a million reminders that have come each must be counted.
const (
	measureEvery = 5 * time.Second
	measureShare = 100
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
		sleep(ctx, max(measureEvery, measureShare*time.Since(start)))
	}
}
