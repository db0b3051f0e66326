package socket

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"runtime"
	"time"
)

// Config has the limits and time-outs of a Server. Zero values get the defaults that are named here.
type Config struct {
	Log *slog.Logger // slog.Default()
	// Path is where upgrades are accepted; everything else is net/http's. "/v1/ws"
	Path string
	// TLS makes the server speak TLS on its listeners, by goroutines instead of epoll.
	TLS *tls.Config
	// Loops is how many epoll loops share the connections: as many as GOMAXPROCS, 4 at most. Negative: goroutines for each
	// connection, as with TLS and on systems without epoll.
	Loops int
	// Uring lets a Batch write by io_uring, where the kernel does.
	Uring bool

	PingInterval     time.Duration // between pings to a connection: 25 s
	PongTimeout      time.Duration // silence of PingInterval + PongTimeout closes with 4408: 8 s
	HandshakeTimeout time.Duration // from accept to the answer, Handler.Accept included: 5 s
	FrameTimeout     time.Duration // from the first byte of a message to its last: 10 s
	CloseTimeout     time.Duration // for the client's part of the close handshake: 2 s

	// MaxConns bounds the sockets of the server, net/http's included; at the limit new ones wait in the listener's
	// backlog. By default what the process may open less a reserve for databases and files.
	MaxConns    int
	MaxWebConns int // of them net/http's: half
	// MaxPerAddress bounds the connections of one address, those of an IPv6 /64 together: the open ones, and apart from
	// them those whose request isn't whole. 0: 1,000, and none for private and loopback addresses, which may be a proxy's.
	MaxPerAddress int
	// TrustedProxies are the addresses from which X-Forwarded-For is believed. They have no limit of their own.
	TrustedProxies []netip.Prefix
	// ReadForwarded: what they write is RFC 7239's Forwarded. One of the two headers is read, never both: a proxy that writes
	// one lets through what a client wrote into the other.
	ReadForwarded bool
	// MaxConnectsPerSecond bounds how fast an address opens connections, where it has a limit; in a burst twice as many, or as many
	// as it may have: 100
	MaxConnectsPerSecond int
	MaxHandshakes        int // Handler.Accept at once: 1,024
	MaxPending           int // connections whose header isn't whole; a new one ends the oldest: 4,096
	MaxHeaderBytes       int // of a request: 8 KB
	MaxHeaders           int // of an upgrade request: 64

	MaxMessageBytes      int // 64 KB
	MaxFragments         int // frames of one message: 64
	MaxMessagesPerSecond int // messages and control frames of one connection, twice as many in a burst: 50
	// MaxBuffered bounds the bytes of unfinished messages over all connections; who would pass it is closed with
	// 1013. 64 MB
	MaxBuffered int
}

// proxyHeader is what trusted proxies write.
func (c *Config) proxyHeader() string {
	if c.ReadForwarded {
		return "Forwarded"
	}
	return "X-Forwarded-For"
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Path == "" {
		c.Path = "/v1/ws"
	}
	if c.Loops == 0 {
		c.Loops = min(runtime.GOMAXPROCS(0), 4)
	}
	duration := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	duration(&c.PingInterval, 25*time.Second)
	duration(&c.PongTimeout, 8*time.Second)
	duration(&c.HandshakeTimeout, 5*time.Second)
	duration(&c.FrameTimeout, 10*time.Second)
	duration(&c.CloseTimeout, 2*time.Second)
	number := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
		c.TLS.NextProtos = []string{"http/1.1"} // both the upgrade and net/http behind a listener of ours need it
	}
	number(&c.MaxConns, defaultMaxConns())
	number(&c.MaxWebConns, (c.MaxConns+1)/2)
	number(&c.MaxConnectsPerSecond, 100)
	number(&c.MaxHandshakes, 1024)
	number(&c.MaxPending, 4096)
	number(&c.MaxHeaderBytes, 8<<10)
	number(&c.MaxHeaders, 64)
	number(&c.MaxMessageBytes, 64<<10)
	number(&c.MaxFragments, 64)
	number(&c.MaxMessagesPerSecond, 50)
	number(&c.MaxBuffered, 64<<20)
	return c
}

// tick is the resolution of deadlines: fine against the shortest time-out, at most ten turns of the wheel a second.
func (c *Config) tick() time.Duration {
	shortest := min(c.PingInterval, c.PongTimeout, c.HandshakeTimeout, c.FrameTimeout, c.CloseTimeout)
	return min(max(shortest/16, time.Millisecond), 100*time.Millisecond)
}
