package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// web is net/http on the same port: a listener that yields connections whose first bytes were read already.
type web struct {
	socket *Server
	server http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	ended  sync.WaitGroup
	open   atomic.Int64
}

func newWeb(s *Server, rest http.Handler) *web {
	if rest == nil {
		rest = http.NotFoundHandler()
	}
	w := &web{socket: s, conns: make(chan net.Conn, 256), closed: make(chan struct{})}
	w.server = http.Server{
		Handler:           rest,
		ReadHeaderTimeout: s.cfg.HandshakeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // what clients do wrong
	}
	if s.cfg.TLS != nil { // net/http doesn't see TLS behind its connections
		w.server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, tlsState{}, c)
		}
		w.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(tlsState{}).(*webConn); ok {
				if t, ok := c.Conn.(*tls.Conn); ok {
					state := t.ConnectionState()
					r.TLS = &state
				}
			}
			rest.ServeHTTP(rw, r)
		})
	}
	return w
}

type tlsState struct{}

func (w *web) start() {
	w.ended.Go(func() {
		if err := w.server.Serve(w); !errors.Is(err, http.ErrServerClosed) {
			w.socket.log.Error("net/http ended", "error", err)
		}
	})
}

// shutdown waits for requests in progress until ctx ends, then cuts them off.
func (w *web) shutdown(ctx context.Context) error {
	err := w.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, w.server.Close())
	}
	w.ended.Wait()
	for {
		select {
		case c := <-w.conns:
			_ = c.Close()
		default:
			return err
		}
	}
}

// toWeb hands a connection on, with what was read of it, or refuses it. It never waits: net/http takes connections faster
// than they come, and one that it doesn't is closed.
func (s *Server) toWeb(c *Conn, read []byte) {
	if s.web.open.Load() >= int64(s.cfg.MaxWebConns) {
		c.refuse(serverBusy)
		return
	}
	peer := c.RemoteAddr().Addr()
	if why := s.addresses.enter(peer); why != entered {
		s.turnAway(&c.loop.count, peer, why)
		c.refuse(addressCrowded)
		return
	}
	conn, err := c.handOver()
	s.addresses.settle(peer)
	if err != nil {
		s.log.Warn("cannot hand a connection to net/http", "error", err)
		s.addresses.leave(peer)
		s.sockets.Add(-1)
		return
	}
	s.web.open.Add(1)
	handed := &webConn{Conn: conn, read: read, socket: s, peer: peer}
	select {
	case <-s.web.closed:
		_ = handed.Close()
	case s.web.conns <- handed:
		c.loop.count.web.Add(1)
	default:
		_ = handed.Close()
	}
}

// handOver takes the connection out of this package's hands.
func (c *Conn) handOver() (net.Conn, error) {
	if c.stream == nil {
		return c.detach()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Store(stateDead)
	c.loop.wheel.remove(c)
	return c.stream.conn, nil
}

// Accept is net.Listener's.
func (w *web) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (w *web) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// Addr is net.Listener's; nobody asks.
func (w *web) Addr() net.Addr { return &net.TCPAddr{} }

// webConn gives back what was read before it reads on.
type webConn struct {
	net.Conn
	read   []byte
	socket *Server
	peer   netip.Addr
	once   sync.Once
}

func (c *webConn) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite lets net/http end an answer to a client that still sends.
func (c *webConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *webConn) Close() error {
	c.once.Do(func() {
		c.socket.web.open.Add(-1)
		c.socket.sockets.Add(-1)
		c.socket.addresses.leave(c.peer)
	})
	return c.Conn.Close()
}
