package socket

import (
	"context"
	"iter"
	"net/netip"
	"strings"
	"time"
)

// Handler is the application. Calls for one connection never overlap, except that Write, Close, Value and RemoteAddr of
// Conn may be used from any goroutine at any time.
type Handler interface {
	// Accept judges an upgrade request. It runs in a goroutine of its own and may do I/O until ctx ends, HandshakeTimeout
	// after the connection came.
	Accept(ctx context.Context, h *Handshake) Verdict
	// Open is the first call for an accepted connection, which may be written to from here on.
	Open(c *Conn)
	// Message is a whole text message, valid UTF-8; its bytes are valid only during the call. It must not block: many
	// connections share the goroutine.
	Message(c *Conn, text []byte)
	// Writable follows a Write that returned false, once the connection takes a frame again. It may run before that Write
	// has returned in its goroutine. It must not block.
	Writable(c *Conn)
	// Close is the last call, exactly once for each Open, with the close code that ended the connection: the client's or
	// ours, 1005 for a close frame without one, 1006 when the connection broke off. It must not block.
	Close(c *Conn, code int, reason string)
}

// Handshake is an upgrade request. Its strings are valid only during Accept: copy what is kept (strings.Clone).
type Handshake struct {
	Path, Query   string // as sent, not decoded; Query without the question mark
	Host, Origin  string
	Authorization string
	// Protocols is the Sec-WebSocket-Protocol list as sent, with commas.
	Protocols string
	// Forwarded is what proxies wrote into X-Forwarded-For, or into Forwarded where Config says so, all of them with commas
	// between.
	Forwarded  string
	UserAgent  string
	RemoteAddr netip.AddrPort // of the TCP connection
	Client     netip.Addr     // the same, or what trusted proxies say
	// Crowded says that Client has as many connections as one may have, or opens them too fast. Accept may choose how to refuse; if it doesn't
	// refuse, the answer is 429.
	Crowded bool
	TLS     bool

	key string // Sec-WebSocket-Key
}

// Offers yields the values of Protocols in the client's order.
func (h *Handshake) Offers() iter.Seq[string] {
	return func(yield func(string) bool) {
		for offer := range strings.SplitSeq(h.Protocols, ",") {
			if offer = strings.Trim(offer, " \t"); offer != "" && !yield(offer) {
				return
			}
		}
	}
}

// Verdict is the answer to a Handshake. The zero value accepts it.
type Verdict struct {
	// Value is kept with the connection: Conn.Value.
	Value any
	// Protocol is the subprotocol to select; it is left out of the answer if the client didn't offer it.
	Protocol string

	// Status other than 0 refuses with this HTTP status and a problem document (RFC 9457) of Code and Message.
	Status        int
	Code, Message string
	RetryAfter    time.Duration // if not 0, the answer says so, in seconds

	// CloseCode other than 0 accepts the upgrade and closes at once with this code, for browsers, whose scripts can't
	// see an HTTP status. The handler gets no call for such a connection.
	CloseCode   int
	CloseReason string
}
