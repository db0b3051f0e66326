package program

import (
	"context"
	"net"
	"net/http"
	"time"

	"duebell/docs"
	"duebell/internal/dashboard"
	"duebell/internal/ops"
	"duebell/jobs"
	"duebell/jobs/ingest"
)

// Scheduler is what goes in: the ingest API, the relay, the cron and the operators' pages.
type Scheduler struct {
	parts    *Parts
	jobs     *jobs.Scheduler
	handler  http.Handler
	listener net.Listener
}

// NewScheduler listens, so that the address is known; Run serves.
func NewScheduler(ctx context.Context, p *Parts) (*Scheduler, error) {
	rules, err := readPolicy(p.Config.PolicyFile)
	if err != nil {
		return nil, err
	}
	s := &Scheduler{parts: p}
	s.jobs = jobs.NewScheduler(jobs.SchedulerOptions{
		DB: p.Store, Redis: p.Redis.Client, Clock: p.Clock, Policy: rules, Log: p.Log, Metrics: p.metrics,
	})
	health := p.health()
	health.Add("policy", s.jobs.Ready)

	queues := jobs.NewQueueReader(p.Redis.Client)
	p.Registry.MustRegister(jobs.NewQueueCollector(queues))
	mux := ops.NewMux(health, p.Registry, p.Config.Pprof)
	mux.Handle("/v1/", ingest.New(ingest.Options{
		Store: p.Store, Verifier: p.Verifier, Claimed: s.jobs.Relay.Claimed, Nudge: s.jobs.Relay.Nudge,
		Revoked: func(_ context.Context, userID string, _ time.Time) { p.Publisher.Revoked(userID) },
		Queues:  func(ctx context.Context) (any, error) { return queues.Sizes(ctx) },
		Log:     p.Log, Registry: p.Registry, MaxBody: p.Config.MaxBodyBytes, MaxImport: p.Config.MaxImportBytes,
		MaxPerSecond: p.Config.MaxIngestRequestsPerSecond,
	}))
	pages := dashboard.New(dashboard.Options{
		Redis: p.Redis.Client, Write: p.Config.AsynqmonWrite, Log: p.Log,
		Authorize: func(ctx context.Context, token string) (time.Time, error) {
			t, err := p.Verifier.Service(ctx, token, ingest.ScopeAdmin)
			return t.ExpiresAt, err
		},
	})
	mux.Handle(dashboard.Root, pages)
	mux.Handle(dashboard.Root+"/", pages)
	serveSpecs(mux)
	s.handler = p.requests.Wrap(mux)

	s.listener, err = ops.Listen(ctx, p.Config.SchedulerAddr)
	return s, err
}

// Addr is where it listens.
func (s *Scheduler) Addr() net.Addr { return s.listener.Addr() }

// Next and Idle drive a simulated clock in steps: when the next tick is, and whether nothing is left to do before it.
func (s *Scheduler) Next(now time.Time) time.Time { return s.jobs.Next(now) }

// Idle: see Next.
func (s *Scheduler) Idle(ctx context.Context) bool { return s.jobs.Idle(ctx) }

// Run serves until ctx ends: first no call comes in any more, then the relay and the cron stop.
func (s *Scheduler) Run(ctx context.Context) error {
	return inOrder(ctx,
		service{"ingest API", func(ctx context.Context) error {
			return ops.ServeListener(ctx, s.listener, s.handler, s.parts.Log, s.parts.Config.ShutdownTimeout)
		}},
		service{"scheduler", s.parts.whenPrepared(s.jobs.Run)},
	)
}

func serveSpecs(mux *http.ServeMux) {
	serve := func(path string, spec []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/yaml")
			_, _ = w.Write(spec) // the client may be gone
		})
	}
	serve("/openapi.yaml", docs.OpenAPI)
	serve("/asyncapi.yaml", docs.AsyncAPI)
}
