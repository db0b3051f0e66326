package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"duebell/internal/redisconn"
)

// variable is one name of the environment and how it gets into a Config.
type variable struct {
	name, fallback string
	read           func(value string) error // never shows a value that may be secret
}

// variables are all that Duebell knows, in the order of .env.example.
func (c *Config) variables(o Options) []variable {
	redisURL := o.RedisURL
	if redisURL == "" {
		redisURL = "redis://127.0.0.1:6379/0"
	}
	return []variable{
		{"DATABASE_URL", "sqlite:data/duebell.db", checked(&c.DatabaseURL, databaseURL)},
		{"REDIS_URL", redisURL, checked(&c.RedisURL, redisconn.ParseURL)},

		{"AUTH_JWT_SECRET", "", checked(&c.JWTSecret, secret)},
		{"AUTH_JWT_SECRET_PREVIOUS", "", checked(&c.JWTSecretPrevious, secret)},
		{"AUTH_JWT_PUBLIC_KEY_FILE", "", c.publicKeyFile},
		{"AUTH_JWKS_URL", "", checked(&c.JWKSURL, webURL)},
		{"AUTH_ISSUER", "", text(&c.Issuer)},
		{"AUTH_AUDIENCE", "", text(&c.Audience)},
		{"AUTH_USER_CLAIM", "sub", text(&c.UserClaim)},
		{"AUTH_SERVICE_AUDIENCE", "duebell-internal", text(&c.ServiceAudience)},
		{"ALLOWED_ORIGINS", "", list(&c.AllowedOrigins, origin)},

		{"POLICY_FILE", "", checked(&c.PolicyFile, readableFile)},
		{"SMTP_URL", "", checked(&c.SMTPURL, smtpURL)},
		{"EMAIL_FROM", "", checked(&c.EmailFrom, emailAddress)},
		{"ASYNQMON_WRITE", "false", flag(&c.AsynqmonWrite)},

		{"SCHEDULER_ADDR", "127.0.0.1:8090", checked(&c.SchedulerAddr, listenAddr)},
		{"WORKER_ADDR", "127.0.0.1:8091", checked(&c.WorkerAddr, listenAddr)},
		{"PUSHER_ADDR", ":8080", checked(&c.PusherAddr, listenAddr)},
		{"PUSHER_OPS_ADDR", "127.0.0.1:8092", checked(&c.PusherOpsAddr, listenAddr)},
		{"PUSHER_TLS_CERT", "", checked(&c.PusherTLSCert, readableFile)},
		{"PUSHER_TLS_KEY", "", checked(&c.PusherTLSKey, readableFile)},
		{"TRUSTED_PROXIES", "", list(&c.TrustedProxies, network)},
		{"TRUSTED_PROXIES_HEADER", "X-Forwarded-For", oneOf(&c.TrustedProxiesHeader, "X-Forwarded-For", Forwarded)},
		{"PUSHER_IO_URING", "true", flag(&c.PusherIOUring)},

		{"LOG_LEVEL", "info", level(&c.LogLevel)},
		{"LOG_FORMAT", "", oneOf(&c.LogFormat, "text", "json")},
		{"PPROF", "false", flag(&c.Pprof)},

		{"SHUTDOWN_TIMEOUT", "25s", duration(&c.ShutdownTimeout)},
		{"DRAIN_WINDOW", "10s", duration(&c.DrainWindow)},
		{"PING_INTERVAL", "25s", duration(&c.PingInterval)},
		{"PONG_TIMEOUT", "8s", duration(&c.PongTimeout)},
		{"HANDSHAKE_TIMEOUT", "5s", duration(&c.HandshakeTimeout)},
		{"SWEEP_INTERVAL", "5s", duration(&c.SweepInterval)},

		{"DATABASE_CONNECTIONS", "10", number(&c.DatabaseConnections, 2)},
		{"MAX_HANDSHAKES", "1024", number(&c.MaxHandshakes, 1)},
		{"MAX_MESSAGE_BYTES", "65536", number(&c.MaxMessageBytes, 1024)},
		{"MAX_MESSAGES_PER_SECOND", "50", number(&c.MaxMessagesPerSecond, 1)},
		{"MAX_REQUESTS_PER_SECOND", "100", number(&c.MaxRequestsPerSecond, 1)},
		{"MAX_CONNECTS_PER_SECOND", "100", number(&c.MaxConnectsPerSecond, 1)},
		{"MAX_INGEST_REQUESTS_PER_SECOND", "2000", number(&c.MaxIngestRequestsPerSecond, 1)},
		{"MAX_SESSIONS_PER_USER", "20", number(&c.MaxSessionsPerUser, 1)},
		{"MAX_CONNECTIONS_PER_ADDRESS", "", number(&c.MaxConnectionsPerAddress, 1)},
		{"CATCH_UP_LIMIT", "1000", number(&c.CatchUpLimit, 1)},
		{"MAX_BODY_BYTES", "1048576", number(&c.MaxBodyBytes, 1024)},
		{"MAX_IMPORT_BYTES", "1073741824", number(&c.MaxImportBytes, 1024)},
		{"WORKER_CONCURRENCY", "10", number(&c.WorkerConcurrency, 1)},

		{"TEST_WRONG_CLOCK", "", checked(&c.TestWrongClock, readableFile)},
	}
}

func text(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		return nil
	}
}

// checked stores the value also when it is wrong, so that it isn't missed a second time.
func checked(dst *string, check func(string) error) func(string) error {
	return func(value string) error {
		*dst = value
		return check(value)
	}
}

func flag(dst *bool) func(string) error {
	return func(value string) (err error) {
		if *dst, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		return nil
	}
}

func oneOf(dst *string, allowed ...string) func(string) error {
	return checked(dst, func(value string) error {
		if !slices.Contains(allowed, value) {
			return fmt.Errorf("%q isn't one of %s", value, strings.Join(allowed, ", "))
		}
		return nil
	})
}

func level(dst *slog.Level) func(string) error {
	return func(value string) error {
		levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
		var ok bool
		if *dst, ok = levels[strings.ToLower(value)]; !ok {
			return fmt.Errorf("%q isn't one of debug, info, warn, error", value)
		}
		return nil
	}
}

// maxDuration is beyond any sense for a time-out, and what a missing unit looks like never reaches.
const maxDuration = 24 * time.Hour

func duration(dst *time.Duration) func(string) error {
	return func(value string) (err error) {
		*dst, err = time.ParseDuration(value)
		switch {
		case err != nil:
			return fmt.Errorf("%q isn't a duration: write it with a unit, such as 25s or 1m30s", value)
		case *dst < time.Millisecond || *dst > maxDuration:
			return fmt.Errorf("%s is out of range: from 1ms to %s", value, maxDuration)
		}
		return nil
	}
}

// maxNumber keeps every limit within an int32, for memory that nobody has.
const maxNumber = 1<<31 - 1

func number[N int | int64](dst *N, least int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < least || n > maxNumber {
			return fmt.Errorf("%q isn't a whole number from %d to %d", value, least, maxNumber)
		}
		*dst = N(n)
		return nil
	}
}

// list takes values with commas between.
func list[T any](dst *[]T, parse func(string) (T, error)) func(string) error {
	return func(value string) error {
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			v, err := parse(item)
			if err != nil {
				return err
			}
			*dst = append(*dst, v)
		}
		return nil
	}
}
