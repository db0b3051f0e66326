package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// Redis on a local network answers in milliseconds; what takes seconds is down, and the database has the truth.
	dialTimeout = 2 * time.Second
	ioTimeout   = 3 * time.Second
	// Fewer than the library's five and three: whoever needs Redis right now hears sooner that it is down.
	dialRetries    = 2
	commandRetries = 1
	pingTimeout    = time.Second
)

// Conn is a pool of connections to Redis. Close it once, after everything that uses Client.
type Conn struct {
	// Client goes into asynq's …FromRedisClient too. It reconnects by itself.
	Client redis.UniversalClient
	// Embedded: this is a Redis in the process, which keeps nothing and has no sharded pub/sub.
	Embedded bool

	server *server // nil unless embedded
}

// Open makes a client for a URL as ParseURL accepts. It doesn't wait for the server: Redis may be down at the start, and
// Ping tells. ctx bounds the start of an embedded one.
func Open(ctx context.Context, url string, log *slog.Logger) (*Conn, error) {
	t, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	setLogger(log)
	if t.kind != embedded {
		return &Conn{Client: newClient(t)}, nil
	}
	s, err := startServer(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return &Conn{Client: newClient(s.target()), Embedded: true, server: s}, nil
}

// Ping says within a second why Redis can't be used, or nil.
func (c *Conn) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := c.Client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// Close ends the connections, and the server if it is embedded.
func (c *Conn) Close() error {
	err := c.Client.Close()
	if errors.Is(err, redis.ErrClosed) {
		err = nil
	}
	if c.server != nil {
		c.server.close()
	}
	return err
}

func newClient(t target) redis.UniversalClient {
	// Maintenance notifications are a feature of hosted Redis Enterprise; elsewhere they are a failed command a connection.
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	var secure *tls.Config
	if t.tls {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
		if t.kind == single { // the others find out about more hosts than were named
			secure.ServerName, _, _ = net.SplitHostPort(t.addrs[0])
		}
	}
	switch t.kind {
	case sentinel:
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: t.master, SentinelAddrs: t.addrs, SentinelUsername: t.sentinelUsername, SentinelPassword: t.sentinelPassword,
			Username: t.username, Password: t.password, DB: t.db, TLSConfig: secure,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, DialerRetries: dialRetries, MaxRetries: commandRetries,
			ContextTimeoutEnabled: true,
		})
	case cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: t.addrs, Username: t.username, Password: t.password, TLSConfig: secure,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, DialerRetries: dialRetries, MaxRetries: commandRetries,
			ContextTimeoutEnabled: true, MaintNotificationsConfig: quiet,
		})
	}
	return redis.NewClient(&redis.Options{
		Addr: t.addrs[0], Username: t.username, Password: t.password, DB: t.db, TLSConfig: secure,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, DialerRetries: dialRetries, MaxRetries: commandRetries,
		ContextTimeoutEnabled: true, MaintNotificationsConfig: quiet,
	})
}
