package program_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"duebell/cmd/internal/program"
	"duebell/internal/clock"
	"duebell/internal/config"
	"duebell/internal/ops"
	"duebell/internal/testenv"
)

// oneProcess is scheduler, worker and pusher in this process.
type oneProcess struct {
	lender        *lender
	socket, inbox string
	stop          func()
}

func together(t testing.TB, database, redis string, more ...string) *oneProcess {
	t.Helper()
	env := map[string]string{"DATABASE_URL": database, "REDIS_URL": redis, "AUTH_JWT_SECRET": secret, "POLICY_FILE": policyFile(t),
		"SCHEDULER_ADDR": "127.0.0.1:0", "WORKER_ADDR": "127.0.0.1:0", "PUSHER_ADDR": "127.0.0.1:0", "PUSHER_OPS_ADDR": "127.0.0.1:0", "DRAIN_WINDOW": "1s"}
	for _, pair := range more {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	cfg, err := config.Load(func(name string) string { return env[name] }, config.Options{NeedsAuth: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := ops.NewLogger(testLog{t}, slog.LevelInfo, "text")
	p, err := program.Open(ctx, "duebell", cfg, log, clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	all, err := program.NewAll(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- all.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	t.Cleanup(stop)
	return &oneProcess{
		lender: &lender{t: t, base: "http://" + all.Scheduler.Addr().String()},
		socket: "ws://" + all.Pusher.Addr().String(), inbox: "http://" + all.Pusher.Addr().String(), stop: stop,
	}
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func TestOneProcessOnSQLiteAndEmbeddedRedis(t *testing.T) {
	one := together(t, testenv.SQLite(t), "embedded")
	tellStory(t, one.lender, one.socket, "ada", nil)
}
