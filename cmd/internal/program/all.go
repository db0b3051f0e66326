package program

import (
	"context"
	"net/http"
	"time"

	"duebell/internal/clock"
)

// All is the three programs in one process, with one clock.
type All struct {
	Parts     *Parts
	Scheduler *Scheduler
	Worker    *Worker
	Pusher    *Pusher

	// Step lets a simulated clock move only while nothing is left to do for the present instant.
	Step bool
}

// NewAll listens on every address, so that they are known; Run serves. pages: see NewPusher.
func NewAll(ctx context.Context, p *Parts, pages ...http.Handler) (*All, error) {
	a := &All{Parts: p}
	var err error
	if a.Scheduler, err = NewScheduler(ctx, p); err != nil {
		return nil, err
	}
	if a.Worker, err = NewWorker(ctx, p); err != nil {
		return nil, err
	}
	a.Pusher, err = NewPusher(ctx, p, pages...)
	return a, err
}

// Run serves until ctx ends. extra starts when the database is ready, and is stopped first.
func (a *All) Run(ctx context.Context, extra ...Runner) error {
	var runners []Runner
	for _, r := range extra {
		runners = append(runners, runnerFunc(a.Parts.whenPrepared(r.Run)))
	}
	if sim, ok := a.Parts.Clock.(*clock.Simulated); ok {
		runners = append(runners, runnerFunc(a.Parts.whenPrepared(func(ctx context.Context) error { return a.keepClock(ctx, sim) })))
		if a.Step {
			runners = append(runners, runnerFunc(func(ctx context.Context) error {
				_ = sim.Drive(ctx, a.Scheduler.Next, a.Scheduler.Idle) // ends with ctx only
				return nil
			}))
		}
	}
	return a.Parts.Run(ctx, append(runners, a.Scheduler, a.Worker, a.Pusher)...)
}

// keepClock writes down where the simulated clock is, so that a restart doesn't go back in time.
func (a *All) keepClock(ctx context.Context, sim *clock.Simulated) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMargin)
			defer cancel()
			return a.Parts.Store.SaveClock(ending, sim.Now())
		case <-every.C:
			if err := a.Parts.Store.SaveClock(ctx, sim.Now()); err != nil && ctx.Err() == nil {
				a.Parts.Log.Debug("simulated clock not saved", "error", err)
			}
		}
	}
}

type runnerFunc func(context.Context) error

func (f runnerFunc) Run(ctx context.Context) error { return f(ctx) }
