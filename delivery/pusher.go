package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"duebell/delivery/socket"
	"duebell/internal/auth"
	"duebell/internal/ops"
	"duebell/internal/ratelimit"
)

const socketPath = "/v1/ws"

// Store is what a pusher needs of the database: a *store.DB.
type Store interface {
	chainStore
	inboxStore
	Ready(ctx context.Context) error
}

// Options of New. Store, Redis, Verifier and Log are needed; zero limits and times get the defaults of .env.example.
type Options struct {
	Store    Store
	Redis    redis.UniversalClient
	Verifier *auth.Verifier
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: no metrics
	Requests *ops.Requests         // goes around the inbox API; nil: nothing does
	Pages    http.Handler          // serves every path that isn't the APIs'; nil: nothing does

	// AllowedOrigins are scheme://host[:port] of pages that may use the APIs, beside those of the same host.
	AllowedOrigins []string
	// TrustedProxies are believed what they write into X-Forwarded-For of where a client is.
	TrustedProxies []netip.Prefix
	ReadForwarded  bool        // what they write is RFC 7239's Forwarded; X-Forwarded-For isn't read then
	TLS            *tls.Config // nil: TLS ends in front

	PingInterval     time.Duration
	PongTimeout      time.Duration
	HandshakeTimeout time.Duration
	SweepInterval    time.Duration // in which all connected inboxes are compared with the database
	DrainWindow      time.Duration // over which clients are told to reconnect at the end
	ShutdownTimeout  time.Duration // for what is left after it

	MaxHandshakes        int
	MaxMessageBytes      int
	MaxMessagesPerSecond int
	MaxRequestsPerSecond int // of a user: to the inbox API, and sockets opened; twice as many in a burst
	MaxConnectsPerSecond int // of an address that has a limit: connections, and requests without a good token
	MaxSessionsPerUser   int // of all pushers together
	// MaxConnectionsPerAddress is of this pusher, an IPv6 /64 as one; 0: 1,000, and no limit for private addresses.
	MaxConnectionsPerAddress int
	CatchUpLimit             int   // changed notifications beyond which a client starts afresh
	MaxBodyBytes             int64 // of a request to the inbox API
	// Readers is how many sessions read the store at once; the connections of the database are shared with the inbox API.
	Readers int
	// Loops is how many epoll loops carry the sockets; 0: by processors, negative: a goroutine for each connection.
	Loops int
	// Uring lets frames go out by io_uring, many with one system call, where the kernel does.
	Uring bool
}

func (o Options) withDefaults() Options {
	duration := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	duration(&o.PingInterval, 25*time.Second)
	duration(&o.PongTimeout, 8*time.Second)
	duration(&o.HandshakeTimeout, 5*time.Second)
	duration(&o.SweepInterval, 5*time.Second)
	duration(&o.DrainWindow, 10*time.Second)
	duration(&o.ShutdownTimeout, 5*time.Second)
	number := func(n *int, fallback int) {
		if *n <= 0 {
			*n = fallback
		}
	}
	number(&o.MaxSessionsPerUser, 20)
	number(&o.MaxRequestsPerSecond, 100)
	number(&o.CatchUpLimit, 1000)
	number(&o.Readers, 4)
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 1 << 20
	}
	return o
}

// Pusher serves the socket, the event stream and the inbox API.
type Pusher struct {
	options  Options
	log      *slog.Logger
	store    Store
	verifier *auth.Verifier
	origins  map[string]bool
	metrics  *pusherMetrics

	// What each user may do now. Sockets are apart: a revoked token still opens one, for as long as it takes to look.
	calls, opens *ratelimit.Limiter[string]

	hub        *hub
	catchUp    *catchUp
	protocol   *protocol
	subscriber *subscriber
	census     *census
	sweeper    *sweeper
	server     *socket.Server
	draining   atomic.Bool
}

// New makes a pusher, which works once Run runs.
func New(options Options) *Pusher {
	options = options.withDefaults()
	p := &Pusher{options: options, log: options.Log, store: options.Store, verifier: options.Verifier,
		origins: make(map[string]bool), hub: newHub(),
		calls: ratelimit.New[string](options.MaxRequestsPerSecond, 2*options.MaxRequestsPerSecond),
		opens: ratelimit.New[string](options.MaxRequestsPerSecond, 2*options.MaxRequestsPerSecond)}
	for _, origin := range options.AllowedOrigins {
		p.origins[strings.ToLower(origin)] = true
	}
	p.metrics = newPusherMetrics(options.Registry, func() float64 { return float64(p.hub.len()) })
	p.catchUp = newCatchUp(p.store, p.log, p.metrics, options.CatchUpLimit, int(options.PingInterval/time.Second), p.end)
	p.protocol = newProtocol(p.store, p.verifier, p.log, p.metrics, p.hub, p.end)
	p.sweeper = newSweeper(p.hub, p.store, p.log, p.metrics, options.SweepInterval, p.catchUp.behind, p.end)
	p.subscriber = newSubscriber(options.Redis, p.log, p.metrics, runtime.GOMAXPROCS(0))
	p.subscriber.deliver = p.deliver
	p.subscriber.revoked = p.sweeper.look
	p.subscriber.missed = p.sweeper.miss
	p.census = newCensus(options.Redis, p.log, p.metrics, p.hub, options.MaxSessionsPerUser, p.subscriber.name, p.subscriber.others, p.end)
	p.subscriber.census = p.census.hear
	p.server = socket.NewServer(socket.Config{
		Log: p.log, Path: socketPath, TLS: options.TLS, Loops: options.Loops, Uring: options.Uring,
		PingInterval: options.PingInterval, PongTimeout: options.PongTimeout, HandshakeTimeout: options.HandshakeTimeout,
		MaxHandshakes: options.MaxHandshakes, MaxMessageBytes: options.MaxMessageBytes,
		MaxMessagesPerSecond: options.MaxMessagesPerSecond,
		MaxConnectsPerSecond: options.MaxConnectsPerSecond,
		MaxPerAddress:        options.MaxConnectionsPerAddress, TrustedProxies: options.TrustedProxies, ReadForwarded: options.ReadForwarded,
	}, socketHandler{p}, p.handler())
	p.subscriber.batch = p.server.NewBatch
	register(options.Registry, p.server)
	return p
}

// Ready is nil while sessions get what happens; else it says in plain words what is missing.
func (p *Pusher) Ready(ctx context.Context) error {
	if p.draining.Load() {
		return errors.New("this pusher is going away")
	}
	return errors.Join(p.store.Ready(ctx), p.subscriber.ready(), p.verifier.Ready(ctx))
}

// Run serves on the listener until ctx is done; then it sends the clients away within DrainWindow, gives requests
// ShutdownTimeout, and returns nil. It closes the listener. An error means that it had to stop.
func (p *Pusher) Run(ctx context.Context, listener net.Listener) error {
	// What sessions live on ends after them.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { p.subscriber.run(background) })
	group.Go(func() { p.catchUp.run(background, p.options.Readers) })
	group.Go(func() { p.protocol.run(background) })
	group.Go(func() { p.sweeper.run(background) })
	group.Go(func() { p.sweeper.expire(background) })
	group.Go(func() { p.census.run(background) })
	group.Go(func() {
		new(memory).run(background, func() {
			p.calls.Forget()
			p.opens.Forget()
		})
	})
	defer group.Wait()
	defer stop()

	served := make(chan error, 1)
	go func() { served <- p.server.Serve(background, listener) }()
	select {
	case err := <-served: // nil never comes before Drain
		return errors.Join(fmt.Errorf("serve sockets: %w", err), p.server.Shutdown(background))
	case <-ctx.Done():
	}
	p.log.Info("sending the clients away", "sessions", p.hub.len(), "window", p.options.DrainWindow)
	p.server.Drain()
	p.drain(background, p.options.DrainWindow)
	ending, cancel := context.WithTimeout(background, p.options.ShutdownTimeout)
	defer cancel()
	if err := p.server.Shutdown(ending); err != nil {
		p.log.Warn("connections were cut off at the end", "error", err)
	}
	<-served
	return nil
}

// every does something at each interval until ctx is done.
func every(ctx context.Context, interval time.Duration, do func(now time.Time)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			do(now)
		}
	}
}

// deliver hands what came from Redis to the sessions.
func (p *Pusher) deliver(c *change, by *socket.Batch) (written int) {
	return p.hub.deliver(c, by, p.missedFrame)
}

func (p *Pusher) missedFrame(s *session) { p.catchUp.behind(s, catchupGap) }

// open brings a session to life, whose output is set. It joins the hub first; only then the store is read.
func (p *Pusher) open(s *session) {
	s.opened = uint32(time.Since(processStarted) / openedUnit)
	if oldest := p.hub.join(s, p.options.MaxSessionsPerUser); oldest != nil {
		p.metrics.overLimit.WithLabelValues(overHere).Inc()
		p.end(oldest, closeTooMany, tooManySessions)
	}
	p.census.join(s.recipient)
	p.catchUp.start(s)
}

// writable is told that a session's output takes frames again.
func (p *Pusher) writable(s *session) {
	start, catchUp := s.writable()
	if start {
		p.catchUp.start(s)
	}
	if catchUp {
		p.catchUp.behind(s, catchupSlow)
	}
}

// end closes a session from this side.
func (p *Pusher) end(s *session, code int, reason string) {
	if !s.finish() {
		return
	}
	p.hub.leave(s)
	p.metrics.ended.WithLabelValues(strconv.Itoa(code)).Inc()
	s.out.close(code, reason)
}

// gone is told that a session's connection has ended.
func (p *Pusher) gone(s *session) {
	if s.finish() {
		p.hub.leave(s)
	}
}
