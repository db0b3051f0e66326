package program

import "context"

// The three programs, as the commands run them.
var (
	SchedulerSpec = Spec{
		Name:  "scheduler",
		About: "takes in what the loan system says and turns it, and cron ticks, into tasks (ingest API, operator API, /asynqmon/)",
		New:   func(ctx context.Context, p *Parts) (Runner, error) { return NewScheduler(ctx, p) },
	}
	WorkerSpec = Spec{
		Name:  "worker",
		About: "turns tasks into persisted notifications and publishes them",
		New:   func(ctx context.Context, p *Parts) (Runner, error) { return NewWorker(ctx, p) },
	}
	PusherSpec = Spec{
		Name:  "pusher",
		About: "delivers notifications to screens: /v1/ws, /v1/stream and the inbox API",
		New:   func(ctx context.Context, p *Parts) (Runner, error) { return NewPusher(ctx, p) },
	}
)
