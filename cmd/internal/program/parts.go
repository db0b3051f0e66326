package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"duebell/delivery"
	"duebell/internal/auth"
	"duebell/internal/clock"
	"duebell/internal/config"
	"duebell/internal/ops"
	"duebell/internal/policy"
	"duebell/internal/redisconn"
	"duebell/jobs"
	"duebell/store"
)

// Parts are what the programs share in one process.
type Parts struct {
	Config   config.Config
	Log      *slog.Logger
	Registry *prometheus.Registry
	Store    *store.DB
	Redis    *redisconn.Conn
	Verifier *auth.Verifier
	Clock    clock.Clock

	Publisher *delivery.Publisher

	metrics  *jobs.Metrics
	requests *ops.Requests
	prepared chan struct{} // closed when the database has this program's tables
}

// Open doesn't wait for the database and Redis: they may still be out of reach, which /readyz then tells. clk nil is the
// machine's clock.
func Open(ctx context.Context, name string, cfg config.Config, log *slog.Logger, clk clock.Clock) (*Parts, error) {
	if clk == nil {
		var err error
		if clk, err = systemClock(cfg, log); err != nil {
			return nil, err
		}
	}
	p := &Parts{Config: cfg, Log: log, Clock: clk, Registry: ops.NewRegistry(name), prepared: make(chan struct{})}
	if cfg.SMTPURL != "" {
		log.Warn("SMTP_URL is set, but this version sends no e-mail")
	}
	tokens := cfg.Auth()
	tokens.Log = log
	var err error
	p.Verifier, err = auth.NewVerifier(tokens)
	if err != nil {
		return nil, err
	}
	if p.Redis, err = redisconn.Open(ctx, cfg.RedisURL, log); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.metrics = jobs.NewMetrics(p.Registry)
	p.requests = ops.NewRequests(p.Registry, log)
	p.Publisher = delivery.NewPublisher(p.Redis.Client, log, p.Registry)
	p.Store, err = store.Open(ctx, cfg.DatabaseURL, store.Options{Log: log, Clock: clk.Now, MaxConns: cfg.DatabaseConnections,
		Committed: p.Publisher.Committed})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.Publisher.ReadEpoch(p.Store)
	return p, nil
}

func systemClock(cfg config.Config, log *slog.Logger) (clock.Clock, error) {
	if cfg.TestWrongClock == "" {
		return clock.Real(), nil
	}
	log.Warn("the clock is wrong on purpose: TEST_WRONG_CLOCK is set", "file", cfg.TestWrongClock)
	clk, err := clock.Wrong(cfg.TestWrongClock)
	if err != nil {
		return nil, fmt.Errorf("TEST_WRONG_CLOCK: %w", err)
	}
	return clk, nil
}

// Close lets go of everything that Open took.
func (p *Parts) Close() error {
	var errs []error
	if p.Store != nil {
		errs = append(errs, p.Store.Close())
	}
	if p.Redis != nil {
		errs = append(errs, p.Redis.Close())
	}
	if p.Verifier != nil {
		p.Verifier.Close()
	}
	return errors.Join(errs...)
}

// Prepare brings the database to this program's tables, as soon as it can be reached, and claims it for this kind of clock. Several
// programs may do it at once. The error is final: ctx has ended, or the database is not for this program.
func (p *Parts) Prepare(ctx context.Context) error {
	for {
		err := p.Store.Migrate(ctx)
		if err == nil {
			err = p.claim(ctx)
		}
		switch {
		case err == nil || errors.Is(err, store.ErrOtherClock):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		p.Log.Warn("database not ready; trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(prepareEvery):
		}
	}
}

// whenPrepared starts run once the database has its tables.
func (p *Parts) whenPrepared(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-p.prepared:
			return run(ctx)
		}
	}
}

const prepareEvery = time.Second

func (p *Parts) claim(ctx context.Context) error {
	kind := store.ClockReal
	if _, ok := p.Clock.(*clock.Simulated); ok {
		kind = store.ClockSimulated
	}
	if err := p.Store.UseClock(ctx, kind); err != nil {
		return err
	}
	if !p.Redis.Embedded {
		return nil
	}
	// The queue of the process before went with it; nobody needs to wait until its claims are old.
	return p.Store.UnclaimAll(ctx)
}

// health has the checks that every program needs to be ready.
func (p *Parts) health() *ops.Health {
	h := new(ops.Health)
	h.Add("database", p.Store.Ready)
	h.Add("redis", p.Redis.Ping)
	h.Add("tokens", p.Verifier.Ready)
	return h
}

// readPolicy is the policy that POLICY_FILE names, or the built-in one.
func readPolicy(file string) (*policy.Policy, error) {
	if file == "" {
		return policy.Default(), nil
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("POLICY_FILE: %w", err)
	}
	return policy.Parse(source, file)
}
