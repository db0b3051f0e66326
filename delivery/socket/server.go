package socket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Server accepts WebSocket connections on Config.Path and hands all other requests on the same port to net/http.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	web     *web

	prefix  string // of an upgrade's request line
	started time.Time
	tick    time.Duration
	ticks   struct{ ping, silence, handshake, frame, close uint32 }

	creditPerTick, maxCredit float32

	limits    limits
	addresses *addresses
	warned    atomic.Int64 // when it was logged that an address has too many, since started
	table     table        // connections by descriptor, on the epoll path
	loops     []*loop
	nextLoop  atomic.Uint32
	slots     chan struct{} // Handler.Accept at once
	waiting   atomic.Int64  // handshakes whose header is whole
	sockets   atomic.Int64  // all connections, net/http's included
	conns     atomic.Int64  // open WebSockets

	mu      sync.Mutex
	stopped bool                 // no new connections
	stops   []context.CancelFunc // of accepting and of handshakes; none: nothing runs

	accepting  sync.WaitGroup // goroutines that may open connections
	readers    sync.WaitGroup // goroutines of single connections
	loopsEnded sync.WaitGroup
	endLoops   chan struct{}
}

// loop is what its connections share: a wheel, and on the epoll path a goroutine with a read buffer.
type loop struct {
	server *Server
	wheel  *wheel
	count  counters
	batch  []*Conn // of a turn
	poller
}

// NewServer prepares a server; Serve starts it. rest answers whatever isn't an upgrade on cfg.Path; nil: 404.
func NewServer(cfg Config, h Handler, rest http.Handler) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, handler: h, log: cfg.Log,
		prefix: "GET " + cfg.Path, started: time.Now(), tick: cfg.tick(),
		creditPerTick: float32(float64(cfg.MaxMessagesPerSecond) * cfg.tick().Seconds()),
		maxCredit:     float32(2 * cfg.MaxMessagesPerSecond),
		slots:         make(chan struct{}, cfg.MaxHandshakes),
		endLoops:      make(chan struct{}),
	}
	s.limits.message, s.limits.fragments, s.limits.all = cfg.MaxMessageBytes, cfg.MaxFragments, int64(cfg.MaxBuffered)
	in := func(d time.Duration) uint32 { return uint32(max((d+s.tick-1)/s.tick, 1)) }
	s.ticks.ping = in(cfg.PingInterval)
	s.ticks.silence = in(cfg.PingInterval + cfg.PongTimeout)
	s.ticks.handshake = in(cfg.HandshakeTimeout)
	s.ticks.frame = in(cfg.FrameTimeout)
	s.ticks.close = in(cfg.CloseTimeout)
	s.addresses = newAddresses(&s.cfg)
	s.web = newWeb(s, rest)
	return s
}

// Serve accepts connections from ln until ctx ends or Drain is called; then it closes ln and returns nil. Open connections
// live on until Shutdown. It may be called for several listeners.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	life, err := s.begin(ctx, stop)
	if err != nil {
		_ = ln.Close()
		return err
	}
	defer s.accepting.Done()
	closed := context.AfterFunc(accepting, func() { _ = ln.Close() }) // wakes Accept
	err = s.acceptFrom(life, accepting, ln)
	if closed() {
		_ = ln.Close()
	}
	if accepting.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("accept connections: %w", err)
}

// begin starts what all calls of Serve share before the first and notes how to stop this one. Handshakes get the context it
// returns, which doesn't end with Serve's but with Drain.
func (s *Server) begin(ctx context.Context, stop context.CancelFunc) (life context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, errors.New("the socket server has been drained")
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if len(s.stops) == 0 {
		if err := s.startLoops(life); err != nil {
			cancel()
			return nil, fmt.Errorf("start the socket loops: %w", err)
		}
		s.web.start()
	}
	s.stops = append(s.stops, stop, cancel)
	s.accepting.Add(1)
	return life, nil
}

// enter counts a goroutine that may open a connection; false once the server drains.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.accepting.Add(1)
	return true
}

func (s *Server) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// Drain stops accepting: listeners close, handshakes in progress are refused with 503, open connections go on.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, stop := range s.stops {
		stop()
	}
}

// Shutdown drains, closes every open connection with 1001, waits for the close handshakes and for requests in net/http
// until ctx ends, then ends what is left by force. All goroutines of the server have ended when it returns. The error is
// ctx's if force was needed.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.accepting.Wait() // now there is nobody who opens connections
	s.mu.Lock()
	running := len(s.stops) > 0
	s.stops = nil
	s.mu.Unlock()
	if !running {
		return nil
	}
	webDone := make(chan error, 1)
	go func() { webDone <- s.web.shutdown(ctx) }()
	s.Each(func(c *Conn) { c.Close(CodeGoingAway, "the server is stopping") })
	err := s.emptied(ctx)
	close(s.endLoops)
	s.loopsEnded.Wait()
	s.readers.Wait()
	return errors.Join(err, <-webDone)
}

// emptied waits until the last WebSocket connection has ended.
func (s *Server) emptied(ctx context.Context) error {
	poll := time.NewTicker(s.tick)
	defer poll.Stop()
	for s.conns.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
	return nil
}

// Conns is how many WebSocket connections are open, those in a close handshake included.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// Each calls f for every open connection. Connections that come or go meanwhile may be left out.
func (s *Server) Each(f func(*Conn)) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		for _, c := range l.wheel.all() {
			if c.open() {
				f(c)
			}
		}
	}
}

// now is the present tick.
func (s *Server) now() uint32 { return uint32(time.Since(s.started) / s.tick) }

func (s *Server) newLoop() *loop {
	longest := max(s.ticks.silence, s.ticks.frame, s.ticks.handshake, s.ticks.close)
	return &loop{
		server: s, wheel: newWheel(int(min(longest+2, 1024))), batch: make([]*Conn, 0, 256),
	}
}

// turn looks at the connections that are due.
func (l *loop) turn(now uint32) {
	for {
		l.batch = l.wheel.expired(l.batch[:0], now, now+l.server.ticks.ping)
		for _, c := range l.batch {
			c.visit(now)
		}
		more := len(l.batch) == cap(l.batch)
		clear(l.batch)
		if !more {
			return
		}
	}
}

// keepTime turns the wheel of a loop that has no poller, while there is something on it.
func (l *loop) keepTime() {
	ticker := time.NewTicker(l.server.tick)
	defer ticker.Stop()
	ticking := true
	for {
		select {
		case <-l.server.endLoops:
			for _, c := range l.wheel.all() {
				c.hang()
			}
			return
		case <-l.wheel.filled:
			if !ticking {
				ticker.Reset(l.server.tick)
			}
			ticking = true
			continue
		case <-ticker.C:
			l.turn(l.server.now())
		}
		if ticking = !l.wheel.empty(); !ticking {
			ticker.Stop()
		}
	}
}

// recovered is to be deferred.
func (s *Server) recovered() {
	if p := recover(); p != nil {
		s.panicked(p)
	}
}

func (s *Server) panicked(p any) {
	s.log.Error("the socket handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}
