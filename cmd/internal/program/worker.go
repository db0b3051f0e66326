package program

import (
	"context"
	"net"
	"net/http"
	"time"

	"duebell/internal/clock"
	"duebell/internal/ops"
	"duebell/jobs"
)

// Worker does the tasks; its address serves operators only.
type Worker struct {
	parts    *Parts
	jobs     *jobs.Worker
	handler  http.Handler
	listener net.Listener
}

// NewWorker listens, so that the address is known; Run works.
func NewWorker(ctx context.Context, p *Parts) (*Worker, error) {
	w := &Worker{parts: p}
	opt := jobs.WorkerOptions{
		DB: p.Store, Redis: p.Redis.Client, Log: p.Log, Metrics: p.metrics,
		Concurrency: p.Config.WorkerConcurrency, ShutdownTimeout: p.Config.ShutdownTimeout - endMargin,
	}
	if _, ok := p.Clock.(*clock.Simulated); ok {
		opt.LazyPoll = 10 * time.Millisecond // a hundredth of a second may be minutes there
	}
	w.jobs = jobs.NewWorker(opt)
	health := p.health()
	health.Add("policy", func(ctx context.Context) error {
		_, err := p.Store.ActivePolicy(ctx)
		return err
	})
	w.handler = ops.NewMux(health, p.Registry, p.Config.Pprof)
	var err error
	w.listener, err = ops.Listen(ctx, p.Config.WorkerAddr)
	return w, err
}

// Addr is where it listens.
func (w *Worker) Addr() net.Addr { return w.listener.Addr() }

// Run works until ctx ends: what was begun is finished, then the operators' pages close.
func (w *Worker) Run(ctx context.Context) error {
	return inOrder(ctx,
		service{"worker", w.parts.whenPrepared(w.jobs.Run)},
		service{"operators' pages", func(ctx context.Context) error {
			return ops.ServeListener(ctx, w.listener, w.handler, w.parts.Log, endMargin)
		}},
	)
}
