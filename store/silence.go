package store

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// A connection that has idled for longer than trusted has pingTimeout to show that it is alive, before another is used.
	trusted     = 250 * time.Millisecond
	pingTimeout = 3 * time.Second
	// silenceMargin is how much longer than statement_timeout a server may be silent.
	silenceMargin = 5 * time.Second
)

// endSilence keeps calls from waiting for ever for a server that is silent: frozen, or behind something that has forgotten the
// connection and acknowledges what is sent to it. A server that lives answers each statement before statement_timeout, if only
// that it has ended it. Where that is off, so is this.
func endSilence(config *pgx.ConnConfig) {
	limit := statementTimeout(config.RuntimeParams["statement_timeout"])
	if limit <= 0 {
		return
	}
	limit += silenceMargin
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: conn, limit: limit}, nil
	}
}

// statementTimeout reads what PostgreSQL takes for a time: milliseconds, or a number with a unit. 0: none, or not understood.
func statementTimeout(text string) time.Duration {
	if ms, err := strconv.Atoi(text); err == nil {
		return time.Duration(ms) * time.Millisecond
	}
	d, err := time.ParseDuration(text) // ms, s and h are the same; min and d aren't
	if err != nil {
		return 0
	}
	return d
}

// impatientConn ends reads and writes that take longer than limit, unless the driver has set a deadline of its own.
type impatientConn struct {
	net.Conn
	limit time.Duration

	mu  sync.Mutex
	set bool // a deadline of the driver's holds
}

func (c *impatientConn) Read(p []byte) (int, error) {
	c.arm(c.Conn.SetReadDeadline)
	return c.Conn.Read(p)
}

func (c *impatientConn) Write(p []byte) (int, error) {
	c.arm(c.Conn.SetWriteDeadline)
	return c.Conn.Write(p)
}

func (c *impatientConn) arm(deadline func(time.Time) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.set {
		_ = deadline(time.Now().Add(c.limit)) // fails only on a closed connection, as what follows will
	}
}

// SetDeadline is what the driver interrupts a call with when its context ends.
func (c *impatientConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = !t.IsZero()
	return c.Conn.SetDeadline(t)
}

// pingBriefly looks after a connection that has idled. The driver's own ping would wait as long as the
// call that wants the connection; one that fails here is closed, which the driver then finds out at once.
func pingBriefly(ctx context.Context, p stdlib.ShouldPingParams) bool {
	if p.IdleDuration <= trusted {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return p.Conn.Ping(ctx) != nil
}
