package jobs

import (
	"context"
	"time"
)

// Next is the first instant after now at which this scheduler adds a tick; zero if there is none. It is what a driven clock
// stops at.
func (s *Scheduler) Next(now time.Time) time.Time { return s.Cron.Next(now) }

// Idle says whether nothing is left to do for the present instant: every tick up to now was added and done, the outbox is
// empty, and no task waits, runs or will be tried again. It is false while the database or Redis can't be asked. Reminders
// that are due and whose run has not come yet are not work that is left: the policy says when it comes.
func (s *Scheduler) Idle(ctx context.Context) bool {
	if s.Cron.behind(s.clock.Now()) {
		return false
	}
	// The database first: work goes from there to Redis, and whatever a task does is in the database before it ends.
	idle, err := s.db.Idle(ctx)
	if err != nil || !idle {
		return false
	}
	busy, err := s.queues.busy(ctx)
	return err == nil && busy == 0
}
