package model

import "math/rand/v2"

// Walk is one way that the model may go, with one session, drawn at random. The package delivery goes the same way with its own
// hub and session and compares what comes of it: so the model is known to be one of that code.
type Walk struct {
	w      world
	s      state
	random *rand.Rand
}

// The steps of a Walk that mean something to a session.
const (
	Connects   = "connects"
	HeadRead   = "has its head read"
	Greeted    = "is greeted"
	Told       = "is told"
	FrameRead  = "reads a frame"
	Writable   = "can be written to again"
	Swept      = "is found by the sweep"
	Taken      = "is taken by a worker"
	PageRead   = "has a page read"
	Advances   = "advances"
	TooMuch    = "is reset, since too much is left"
	Disconnect = "loses its connection"
)

// View is what there is to compare. Rows are numbers from 1.
type View struct {
	StoreEpoch  uint8
	StoreRev    int64
	Phase       string // as constants of delivery.sessionState are named; "absent": no connection
	Epoch       uint8
	Sent        int64
	Refused     bool // the output refused a frame
	Kind        string
	From, To    int64         // of the frame in flight
	FrameEpoch  uint8         // of hello and reset
	Rows        map[int]int64 // that the frame brings, by rev; -1: removed
	ReadThrough int64
	Known       bool // the client has a cursor, which is
	ClientEpoch uint8
	ClientRev   int64
}

// Row is a notification in the store.
type Row struct {
	Number     int
	Rev        int64
	Read, Gone bool
}

// Message is what was told.
type Message struct {
	From, Rev   int64
	Epoch       uint8 // its label
	Hint        bool  // it has no frame
	Rows        map[int]int64
	ReadThrough int64
}

var walks = []script{
	{one(create), one(create), one(readAll, 2), one(remove, 1)},
	{{ops: []op{{do: create}, {do: create}}}, one(readAll, 2), one(remove, 1)},
	{{ops: []op{{do: create}, {do: create}}}, {ops: []op{{do: remove, row: 1}, {do: create}}}},
	{one(create), {ops: []op{{do: create}, {do: create}}, hint: true}, one(remove, 2)},
	{one(create), one(create), one(erase), one(create)},
}

// NewWalk stands at the beginning.
func NewWalk(random *rand.Rand) *Walk {
	p := newPlan(walks[random.IntN(len(walks))], 1+random.IntN(2))
	return &Walk{w: world{plan: p, sessions: 1, restores: random.IntN(2) == 0}, random: random}
}

// Page is how many rows a frame of catching up holds.
func (k *Walk) Page() int { return k.w.page }

// Inbox is what the store has now, in order of (rev, number).
func (k *Walk) Inbox() (rows []Row, floor int64) {
	in := &k.w.inboxes[k.s.store.rev]
	for rev := uint8(1); rev <= k.s.store.rev; rev++ {
		for i := 1; i <= maxRevs; i++ {
			if r := in.rows[i]; r.rev == rev {
				rows = append(rows, Row{i, int64(rev), r.read, r.gone})
			}
		}
	}
	return rows, int64(in.floor)
}

// Step takes one of the steps that are possible and allowed. Connections are lost less often than by chance. Broken is the
// rule that it broke.
func (k *Walk) Step(allowed func(name string) bool) (name string, told Message, broken string) {
	type choice struct {
		by     step
		next   state
		broken string
	}
	var choices []choice
	k.w.next(k.s, func(by step, next state, _ bool, broken string) {
		if allowed(by.name) && (by.name != Disconnect || k.random.IntN(8) == 0) {
			choices = append(choices, choice{by, next, broken})
		}
	})
	if len(choices) == 0 {
		return "", Message{}, ""
	}
	c := choices[k.random.IntN(len(choices))]
	k.s = c.next
	if m := c.by.message; m != 0 {
		of := k.w.commits[m.index()]
		told = Message{int64(of.from), int64(of.to), m.label(), of.hint, of.items.byRow(), int64(of.through)}
	}
	return c.by.name, told, c.broken
}

// View is how things stand.
func (k *Walk) View() View {
	s := &k.s.sessions[0]
	f, c := &s.wire, &s.client
	return View{
		StoreEpoch: k.s.store.epoch, StoreRev: int64(k.s.store.rev),
		Phase: [...]string{"absent", "outside", "starting", "live", "behind", "full"}[s.phase],
		Epoch: s.epoch, Sent: int64(s.sent), Refused: s.wants,
		Kind: [...]string{"", "handshake", "hello", "changes", "reset"}[f.kind],
		From: int64(f.from), To: int64(f.to), FrameEpoch: f.epoch, Rows: f.items.byRow(), ReadThrough: int64(f.through),
		Known: c.known, ClientEpoch: c.epoch, ClientRev: int64(c.rev),
	}
}

func (f items) byRow() map[int]int64 {
	rows := make(map[int]int64)
	for i := 1; i <= maxRevs; i++ {
		switch f.code(i) {
		case 0:
		case removed:
			rows[i] = -1
		default:
			rows[i] = int64(f.rev(i))
		}
	}
	return rows
}
