package program

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"duebell/internal/clock"
	"duebell/internal/config"
	"duebell/internal/testenv"
)

// A database that migrates and then can't be written for a while, as one that goes away at a program's start, is waited for.
func TestAProgramWaitsForADatabaseThatGoesAwayAtItsStart(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	cfg := config.Config{DatabaseURL: url + "&lock_timeout=100ms", RedisURL: "embedded", JWTSecret: "a secret of this test, long enough for HS256", ServiceAudience: "duebell-internal", UserClaim: "sub"}
	p, err := Open(t.Context(), "duebell", cfg, slog.New(slog.DiscardHandler), clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO meta (key, value) VALUES ('clock', 'real')`); err != nil {
		t.Fatal(err)
	}
	prepared := make(chan error, 1)
	go func() { prepared <- p.Prepare(t.Context()) }()
	select {
	case err := <-prepared:
		t.Fatalf("it didn't wait: %v", err)
	case <-time.After(time.Second): // ten times its patience for a lock
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-prepared; err != nil {
		t.Error(err)
	}
}
