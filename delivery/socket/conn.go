package socket

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Conn is a connection. Write, Close, Value and RemoteAddr may be called from any goroutine, also after its end.
//
// The fields are laid out to keep it at 128 bytes; what only busy connections need is behind pointers. Three hold it:
// its reader (an epoll loop, its goroutine, or the goroutine of the handshake: one at a time), whoever has mu, and the wheel.
type Conn struct {
	loop   *loop
	value  any
	stream *stream // nil: fd is a descriptor in an epoll loop

	in   *inbound  // the reader's: what has come of a message that isn't whole
	out  *outbound // mu: what waits for room in the socket; nil for almost all
	addr [16]byte

	next, prev *Conn  // wheel.mu
	due        uint32 // wheel.mu

	ping     uint32        // tick of the next ping or, once closing, of the end; the wheel's visit, Close
	frameDue atomic.Uint32 // tick by which the message begun must be whole; 0: none
	seen     atomic.Uint32 // tick at which something arrived last
	credit   float32       // the reader's: messages that may come at once
	state    atomic.Uint32 // changes under mu

	mu sync.Mutex
	fd int32 // mu for all but the reader; -1 once closed
	// generation tells the connection from another that had the same descriptor.
	generation uint16
	port       uint16
	code       uint16 // mu: the close code once it isn't open any more
	flags      uint8  // mu
	where      uint8  // wheel.mu
}

// States of a connection. It only moves forward.
const (
	stateHandshake uint32 = iota // the handler hasn't heard of it
	stateOpening                 // Handler.Open runs: may be written to, nothing is read
	stateOpen
	stateClosing // our close frame is sent or waits behind a frame in flight; the client's is awaited
	stateEnding  // all is said: once it is flushed our side is shut, what still arrives is dropped
	stateDead
)

// Flags of a connection.
const (
	flagArmed      uint8 = 1 << iota // the reader is the loop: events are wanted, the wheel looks at it
	flagOpened                       // Handler.Open was called: Handler.Close is owed
	flagRegistered                   // in the epoll set
	flagListens                      // for more than the one event of a handshake
	flagHangUp                       // the client has said all too: the end is when it is flushed
	flagShut                         // our side is shut
	flagStalled                      // a frame has been in flight since the last ping was due
	flagWantsOut                     // registered for room in the socket
)

// outbound is what a connection still has to send. It exists while a frame is in flight and from the start of closing.
type outbound struct {
	queue   [][]byte // taken frames, the first of them perhaps begun; on the epoll path at most one
	size    int      // of queue
	control []byte   // a pong, the latest only, and after it the close frame
	ping    bool     // a ping was due meanwhile
	refused bool     // a Write was refused: Writable is owed
	reason  string   // of the close
}

// idle says that nothing is left to send.
func (o *outbound) idle() bool {
	return o == nil || len(o.queue) == 0 && len(o.control) == 0 && !o.ping
}

// Value is Verdict.Value.
func (c *Conn) Value() any { return c.value }

// RemoteAddr is the address at the other end of the TCP connection or, once that is accepted, Handshake.Client.
func (c *Conn) RemoteAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(c.addr).Unmap(), c.port)
}

func (c *Conn) setRemote(a netip.AddrPort) {
	if a.IsValid() {
		c.addr, c.port = a.Addr().As16(), a.Port()
	}
}

// open says whether messages are exchanged.
func (c *Conn) open() bool {
	state := c.state.Load()
	return state == stateOpening || state == stateOpen
}
