package redisconn

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// warnEvery bounds go-redis, which tells twice a second and connection pool that a server is down.
const warnEvery = 10 * time.Second

// setLogger sends what go-redis logs to log. It has one logger for the process: the last one set counts.
func setLogger(log *slog.Logger) {
	redis.SetLogger(&logger{log: log, warnings: rate.NewLimiter(rate.Every(warnEvery), 1)})
}

type logger struct {
	log      *slog.Logger
	warnings *rate.Limiter
}

// Printf implements go-redis's logger. It is about connections, which heal by themselves, so it warns, now and then.
func (l *logger) Printf(ctx context.Context, format string, v ...any) {
	level := slog.LevelDebug
	if l.warnings.Allow() {
		level = slog.LevelWarn
	}
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "redis client", "message", fmt.Sprintf(format, v...))
	}
}
