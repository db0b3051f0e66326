package model

// state is all there is at a moment: the store, what is on its way through Redis, sessions and their clients. It is made such
// that there are no gaps between the fields: then states are compared and hashed as bytes.
type state struct {
	bus      uint32 // messages in Redis, a bit each
	store    snapshot
	restored uint8 // rev that the store was restored to, in its second epoch
	taken    [maxWriters]uint8
	queued   [maxWriters]message // committed, and waits in a publisher
	follows  uint8               // the epoch that publishers know
	sessions [maxSessions]session
}

// snapshot is what a read of the store sees; its rows follow from the plan.
type snapshot struct {
	epoch uint8
	rev   uint8
	late  uint16 // revs below rev that aren't committed yet, a bit each: only where revs are broken on purpose
}

// message tells of a commit: 1 + its index + 4 × its epoch + 8 × the epoch that it is labelled with (2: none). 0: no message.
type message uint8

func newMessage(index int, epoch, label uint8) message {
	return message(1 + uint8(index) + maxRevs*epoch + 2*maxRevs*label)
}

func (m message) index() int   { return int(m-1) % maxRevs }
func (m message) epoch() uint8 { return uint8(m-1) / maxRevs % 2 }
func (m message) label() uint8 { return uint8(m-1) / maxRevs / 2 }

const noLabel = 2

// session is delivery.session, its output, the worker that reads the store for it, and the client at the other end.
type session struct {
	phase   phase
	work    work
	seen    snapshot // of the read under way
	epoch   uint8
	sent    uint8
	heard   uint8
	inside  position
	resumes bool
	refused bool // hello was
	wants   bool // the output has refused a frame, and will call writable

	wire   frame // one is in flight at most: then the socket is full
	client client
}

// phase is delivery.sessionState.
type phase uint8

const (
	absent  phase = iota // no connection
	outside              // connected and not in the hub: only where that is broken on purpose
	starting
	live
	behind
	full
)

// work is what catching up does for a session.
type work uint8

const (
	nothing  work = iota
	toGreet       // in the list of starts
	greets        // its head was read
	toRead        // in the list of those behind
	reads         // a worker has it
	advances      // a page was read
)

// position is a place between rows.
type position struct{ rev, row uint8 }

type frame struct {
	items    items
	through  uint16
	kind     kind
	epoch    uint8
	from, to uint8
}

type kind uint8

const (
	noFrame   kind = iota
	handshake      // the answer to the upgrade
	hello
	changes
	reset
)

// client is what a client knows. It stays when the connection goes.
type client struct {
	items   items
	known   bool // it has a cursor
	greeted bool // on this connection
	epoch   uint8
	rev     uint8
}
