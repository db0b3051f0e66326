package redisconn

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// ageEvery is how often the keys of an embedded server get older. miniredis has no clock of its own: without this nothing
// expires, and a lock of a dead process is held for ever.
const ageEvery = time.Second

// server is a miniredis on a loopback port, with a password, since other users of the machine can reach the port.
type server struct {
	redis    *miniredis.Miniredis
	password string
	stop     context.CancelFunc
	stopped  chan struct{}
}

func startServer(ctx context.Context) (*server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &server{redis: miniredis.NewMiniRedis(), password: rand.Text(), stopped: make(chan struct{})}
	s.redis.RequireAuth(s.password)
	if err := s.redis.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the embedded server: %w", err)
	}
	ctx, s.stop = context.WithCancel(context.Background())
	go s.age(ctx)
	return s, nil
}

func (s *server) target() target {
	return target{addrs: []string{s.redis.Addr()}, password: s.password}
}

// age moves the time to live of all keys on by the real time that has passed.
func (s *server) age(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(ageEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := time.Now()
			s.redis.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (s *server) close() {
	s.stop()
	<-s.stopped
	s.redis.Close()
}
