package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"duebell/internal/config"
	"duebell/internal/ops"
	"duebell/store"
)

// load reads the environment with this command's defaults: a Redis in the process.
func (e env) load(needsAuth bool) (config.Config, error) {
	return config.Load(e.getenv, config.Options{RedisURL: "embedded", NeedsAuth: needsAuth})
}

func isConfig(err error) bool {
	var wrong config.Error
	return errors.As(err, &wrong)
}

func (e env) log(cfg config.Config) *slog.Logger {
	return ops.NewLogger(e.stderr, cfg.LogLevel, cfg.LogFormat).With("program", "duebell")
}

// withStore opens the database for a command that looks at it or writes into it beside the programs. Its present is where a simulated
// clock has been, if the database runs on one.
func (e env) withStore(ctx context.Context, do func(config.Config, *store.DB) error) error {
	cfg, err := e.load(false)
	if err != nil {
		return err
	}
	now := time.Now
	db, err := store.Open(ctx, cfg.DatabaseURL, store.Options{Log: e.log(cfg), Clock: func() time.Time { return now() }})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Ready(ctx); err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	simulated, err := db.ClockNow(ctx)
	if err != nil {
		return err
	}
	if !simulated.IsZero() {
		now = func() time.Time { return simulated }
	}
	return do(cfg, db)
}
