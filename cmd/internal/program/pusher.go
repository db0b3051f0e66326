package program

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"duebell/delivery"
	"duebell/internal/config"
	"duebell/internal/ops"
)

// Pusher is what goes out: the socket, the event stream and the inbox API on a public address, operators' pages on an internal one.
type Pusher struct {
	parts         *Parts
	pusher        *delivery.Pusher
	operators     http.Handler
	listener, ops net.Listener
}

// NewPusher listens, so that the addresses are known; Run serves. pages, if given, serves every path of the public address that isn't the
// APIs'; without, the specifications are there.
func NewPusher(ctx context.Context, p *Parts, pages ...http.Handler) (*Pusher, error) {
	c := p.Config
	specs := http.NewServeMux()
	serveSpecs(specs)
	for _, h := range pages {
		specs.Handle("/", h)
	}
	opt := delivery.Options{
		Store: p.Store, Redis: p.Redis.Client, Verifier: p.Verifier, Log: p.Log, Registry: p.Registry, Requests: p.requests, Pages: specs,
		AllowedOrigins: c.AllowedOrigins, TrustedProxies: c.TrustedProxies, ReadForwarded: c.TrustedProxiesHeader == config.Forwarded,
		PingInterval: c.PingInterval, PongTimeout: c.PongTimeout, HandshakeTimeout: c.HandshakeTimeout, SweepInterval: c.SweepInterval,
		DrainWindow: c.DrainWindow, ShutdownTimeout: max(c.ShutdownTimeout-c.DrainWindow-endMargin, time.Second),
		MaxHandshakes: c.MaxHandshakes, MaxMessageBytes: c.MaxMessageBytes, MaxMessagesPerSecond: c.MaxMessagesPerSecond,
		Uring: c.PusherIOUring, MaxSessionsPerUser: c.MaxSessionsPerUser, MaxConnectionsPerAddress: c.MaxConnectionsPerAddress,
		MaxRequestsPerSecond: c.MaxRequestsPerSecond, MaxConnectsPerSecond: c.MaxConnectsPerSecond,
		CatchUpLimit: c.CatchUpLimit, MaxBodyBytes: c.MaxBodyBytes,
	}
	if c.PusherTLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.PusherTLSCert, c.PusherTLSKey)
		if err != nil {
			return nil, fmt.Errorf("PUSHER_TLS_CERT and PUSHER_TLS_KEY: %w", err)
		}
		opt.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	u := &Pusher{parts: p, pusher: delivery.New(opt)}
	health := p.health()
	health.Add("delivery", u.pusher.Ready)
	u.operators = ops.NewMux(health, p.Registry, c.Pprof)
	var err error
	if u.listener, err = ops.Listen(ctx, c.PusherAddr); err != nil {
		return nil, err
	}
	u.ops, err = ops.Listen(ctx, c.PusherOpsAddr)
	return u, err
}

// Addr is the public address.
func (u *Pusher) Addr() net.Addr { return u.listener.Addr() }

// OpsAddr is where operators look.
func (u *Pusher) OpsAddr() net.Addr { return u.ops.Addr() }

// Run serves until ctx ends: the clients are sent away, then the operators' pages close.
func (u *Pusher) Run(ctx context.Context) error {
	return inOrder(ctx,
		service{"pusher", u.parts.whenPrepared(func(ctx context.Context) error { return u.pusher.Run(ctx, u.listener) })},
		service{"operators' pages", func(ctx context.Context) error {
			return ops.ServeListener(ctx, u.ops, u.operators, u.parts.Log, endMargin)
		}},
	)
}
