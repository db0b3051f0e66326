package model

import "fmt"

// design is what may be broken on purpose; the zero value is what the code does.
type design struct {
	publishesFirst   bool // before the commit
	revsUnlocked     bool // a rev is handed out before the commits of lower ones
	readsBeforeHub   bool // a session reads its head, and then joins the hub
	deafWhileReading bool // a session that isn't live forgets what it is told of
	skipsGaps        bool // a message that starts later than where the session is is written
	writesBlindly    bool // a frame that a full socket refused counts as written
	cutsRevs         bool // a page that ends inside of a rev moves the chain to that rev
	noSweep          bool
	sweepsRevsOnly   bool // the sweep doesn't compare epochs
	keepsEpoch       bool // nobody notices that a restored database has another epoch
	unlabelled       bool // messages don't say of which epoch they are
	writersStay      bool // the database is restored under writers that have something to publish
	ignoresFloor     bool // a cursor from before the floor is caught up
}

// world is what an exploration is about.
type world struct {
	*plan
	design
	sessions int
	restores bool // the database may be restored once
	// reliable: each message is handled once, sooner or later, in any order; then nobody needs the sweep, and there is none.
	// Otherwise a message may be handled at any time, any number of times, or never.
	reliable bool
	// quick: clients read what they are sent at once, so no socket is ever full.
	quick bool
}

// step is a transition, for traces.
type step struct {
	name    string
	who     int // writer or session
	message message
	to      uint8
}

// emit takes a successor. Progress: it also happens when nothing new and nothing bad does. Broken is the rule that the step
// breaks, if any.
type emit func(by step, next state, progress bool, broken string)

// next hands out all that may happen next.
func (w *world) next(s state, emitted emit) {
	emit := func(by step, next state, progress bool, broken string) {
		for i := range w.sessions {
			at := &next.sessions[i]
			if w.quick && at.wire.kind != noFrame && broken == "" {
				broken = w.receive(&next, at)
			}
			if broken == "" {
				broken = w.knows(&next, &at.client)
			}
		}
		emitted(by, next, progress, broken)
	}
	w.write(s, emit)
	w.deliver(s, emit)
	if w.restores && s.store.epoch == 0 && (w.writersStay || s.queued == [maxWriters]message{}) {
		w.restore(s, emit)
	}
	if s.follows != s.store.epoch { // Publisher.followEpoch, every now and then
		next := s
		next.follows = s.store.epoch
		emit(step{name: "publishers read the epoch"}, next, false, "")
	}
	for i := range w.sessions {
		w.session(s, i, emit)
	}
}

// write is the writers: a commit under the inbox's lock (store.Tx.lockInboxes to Commit), then Publisher.Committed and
// publish, each a step. A writer whose message waits doesn't write, which leaves all orders of messages possible, since any
// of them may be handled late.
func (w *world) write(s state, emit emit) {
	for i := range maxWriters {
		if m := s.queued[i]; m != 0 {
			next := s
			next.queued[i] = 0
			label := s.follows
			if w.unlabelled {
				label = noLabel
			}
			m = newMessage(m.index(), m.epoch(), label)
			next.bus |= 1 << m
			emit(step{name: "publishes", who: i, message: m}, next, true, "")
			continue
		}
		if t := s.taken[i]; t != 0 {
			emit(step{name: "commits", who: i, to: w.commits[t-1].to}, w.commit(s, i, int(t-1)), true, "")
			continue
		}
		n, ok := w.following(s)
		if !ok {
			continue
		}
		if !w.publishesFirst && !w.revsUnlocked {
			emit(step{name: "commits", who: i, to: w.commits[n].to}, w.commit(s, i, n), false, "")
			continue
		}
		next := s
		next.taken[i] = uint8(n) + 1
		if w.publishesFirst {
			next.bus |= 1 << newMessage(n, s.store.epoch, s.follows)
			emit(step{name: "publishes what it will commit", who: i, to: w.commits[n].to}, next, false, "")
		} else {
			emit(step{name: "takes a rev", who: i, to: w.commits[n].to}, next, false, "")
		}
	}
}

// following is the next transaction of the script.
func (w *world) following(s state) (index int, ok bool) {
	reached := s.store.rev
	for _, t := range s.taken {
		if t == 0 {
			continue
		}
		if w.publishesFirst {
			return 0, false // it holds the lock
		}
		reached = max(reached, w.commits[t-1].to)
	}
	for i, c := range w.commits {
		if c.from == reached {
			return i, true
		}
	}
	return 0, false
}

// commit makes a transaction visible.
func (w *world) commit(s state, writer, index int) state {
	s.taken[writer] = 0
	s.store.rev = max(s.store.rev, w.commits[index].to)
	s.store.late = 0
	for _, t := range s.taken {
		if t != 0 && w.commits[t-1].to < s.store.rev {
			s.store.late |= 1 << w.commits[t-1].to
		}
	}
	if !w.publishesFirst {
		s.queued[writer] = newMessage(index, s.store.epoch, 0) // the label comes when it is published
	}
	return s
}

// restore puts the store back to an earlier moment, and begins an epoch (store.DB.Restored). Pushers go on meanwhile; writers were
// stopped, so that nothing of the life before waits in one of them.
func (w *world) restore(s state, emit emit) {
	to := []uint8{0}
	for _, c := range w.commits {
		to = append(to, c.to)
	}
	for _, rev := range to {
		if rev > s.store.rev {
			break
		}
		next := s
		next.store = snapshot{epoch: 1, rev: rev}
		next.restored = rev
		emit(step{name: "the store is restored", to: rev}, next, false, "")
	}
}

// deliver is subscriber.handle and hub.deliver. Sessions in the hub share nothing, so where messages may be handled at any time
// each session is told on its own.
func (w *world) deliver(s state, emit emit) {
	for m := message(1); m < 32; m++ {
		if s.bus&(1<<m) == 0 {
			continue
		}
		if w.reliable {
			next := s
			next.bus &^= 1 << m
			for i := range w.sessions {
				w.told(&next.sessions[i], m)
			}
			emit(step{name: "all are told", message: m}, next, true, "")
			continue
		}
		for i := range w.sessions {
			next := s
			w.told(&next.sessions[i], m)
			emit(step{name: "is told", who: i, message: m}, next, false, "")
		}
	}
}

// told is session.deliver.
func (w *world) told(s *session, m message) {
	c := &w.commits[m.index()]
	switch s.phase {
	case absent, outside:
		return
	case live:
	default:
		if !w.deafWhileReading {
			s.heard = max(s.heard, c.to)
		}
		return
	}
	switch {
	case m.label() != noLabel && w.differ(m.label(), s.epoch):
	case c.to <= s.sent:
		return
	case c.from != s.sent && !(w.skipsGaps && c.from > s.sent), c.hint:
	case !w.output(s, w.live(m)):
		s.phase = full
		if w.writesBlindly {
			s.phase, s.sent = live, c.to
		}
		return
	default:
		s.sent = c.to
		return
	}
	w.fallBehind(s)
}

// live is the frame of a message (encodeChange).
func (w *world) live(m message) frame {
	c := w.commits[m.index()]
	f := frame{kind: changes, from: c.from, to: c.to, items: c.items, through: c.through, epoch: m.epoch()}
	if m.epoch() != 0 {
		f.items = w.second(f.items, c.from)
	}
	return f
}

// second makes versions of a frame those of the second epoch, if they are newer than a rev.
func (w *world) second(f items, above uint8) items {
	for i := 1; i <= maxRevs; i++ {
		if code := f.code(i); code != 0 && code != removed && f.rev(i) > above {
			f.set(i, version{f.rev(i), true}, false)
		}
	}
	return f
}

// fallBehind makes a live session read the store.
func (w *world) fallBehind(s *session) {
	s.phase, s.work = behind, toRead
}

// output is output.write: a frame is taken if none is in flight.
func (w *world) output(s *session, f frame) bool {
	if s.wire.kind != noFrame {
		s.wants = true
		return false
	}
	s.wire = f
	return true
}

// session is all that may happen to one of them, and to its client.
func (w *world) session(s state, i int, emit emit) {
	now := &s.sessions[i]
	do := func(name string, progress bool, change func(*state, *session) (broken string)) {
		next := s
		broken := change(&next, &next.sessions[i])
		emit(step{name: name, who: i}, next, progress, broken)
	}
	if now.phase == absent {
		do("connects", true, w.connect)
		return
	}
	do("loses its connection", false, w.disconnect)
	if now.wire.kind != noFrame {
		do("reads a frame", true, w.receive)
	} else if now.wants {
		do("can be written to again", true, w.writable)
	}
	switch now.work {
	case toGreet:
		do("has its head read", true, w.begin)
	case greets:
		do("is greeted", true, w.greet)
	case toRead:
		do("is taken by a worker", true, w.take)
	case reads:
		do("has a page read", true, w.read)
	case advances:
		do("advances", true, w.advance)
		if w.tooMuch(s, now) {
			do("is reset, since too much is left", true, w.reset)
		}
	}
	if now.phase == live && !w.noSweep && !w.reliable {
		// What it has read may be old by now; so it may also find a session that lacks nothing.
		do("is found by the sweep", w.lacks(s, now), func(_ *state, s *session) string {
			w.fallBehind(s)
			return ""
		})
	}
}

// lacks is what sweeper.compareWith and resolve look for, by what the store has at this moment.
func (w *world) lacks(s state, at *session) bool {
	return !w.sweepsRevsOnly && w.differ(at.epoch, s.store.epoch) || at.sent != s.store.rev
}

// differ compares epochs.
func (w *world) differ(a, b uint8) bool { return a != b && !w.keepsEpoch }

// connect is Accept and Pusher.open: the session joins the hub, and only then is queued for its first read.
func (w *world) connect(_ *state, s *session) string {
	c := s.client
	*s = session{client: c, phase: starting, work: toGreet, wire: frame{kind: handshake}}
	if w.readsBeforeHub {
		s.phase = outside
	}
	s.client.greeted = false
	if c.known {
		s.resumes, s.epoch, s.sent = true, c.epoch, c.rev
	}
	return ""
}

// disconnect is the end of a connection, from either side (Pusher.end, Pusher.gone): what was in flight is lost.
func (w *world) disconnect(_ *state, s *session) string {
	c := s.client
	c.greeted = false
	*s = session{client: c}
	return ""
}

// begin is the read of catchUp.begin.
func (w *world) begin(now *state, s *session) string {
	s.seen, s.work = now.store, greets
	return ""
}

// greet is session.greet.
func (w *world) greet(_ *state, s *session) string {
	if s.phase == outside {
		s.phase = starting
	}
	if !s.resumes {
		s.epoch, s.sent = s.seen.epoch, s.seen.rev
	}
	s.work = nothing
	if !w.output(s, frame{kind: hello, epoch: s.seen.epoch, to: s.seen.rev}) {
		s.refused = true
		s.seen = snapshot{}
		return ""
	}
	head, resumes := s.seen, s.resumes
	s.seen, s.resumes = snapshot{}, false // neither is looked at again
	floor := w.inboxes[head.rev].floor
	if resumes && (w.differ(s.epoch, head.epoch) || s.sent != head.rev || s.sent < floor) || s.heard > head.rev {
		w.fallBehind(s)
		return ""
	}
	s.phase, s.heard = live, 0
	return ""
}

// writable is session.writable and Pusher.writable.
func (w *world) writable(_ *state, s *session) string {
	s.wants = false
	switch {
	case s.phase == full:
		w.fallBehind(s)
	case s.phase == starting && s.refused:
		s.refused, s.work = false, toGreet
	}
	return ""
}

// take is catchUp.take and session.startReading.
func (w *world) take(_ *state, s *session) string {
	s.heard, s.work = 0, reads
	return ""
}

// read is the read of store.DB.Changes.
func (w *world) read(now *state, s *session) string {
	s.seen, s.work = now.store, advances
	return ""
}

// page is what store.DB.Changes answers: rows after a place, in order of (rev, id), and whether more follow.
func (w *world) pageAfter(seen snapshot, after position) (rows []position, more bool) {
	in := &w.inboxes[seen.rev]
	for rev := uint8(1); rev <= seen.rev; rev++ {
		if seen.late&(1<<rev) != 0 {
			continue
		}
		for i := uint8(1); i <= maxRevs; i++ {
			if in.rows[i].rev != rev || rev < after.rev || rev == after.rev && i <= after.row {
				continue
			}
			if len(rows) == w.page {
				return rows, true
			}
			rows = append(rows, position{rev, i})
		}
	}
	return rows, false
}

// place is from where a session that is behind reads on.
func (s *session) place() position {
	if s.inside != (position{}) {
		return s.inside
	}
	return position{s.sent, maxRevs + 1}
}

// tooMuch says whether the limit of changed rows may be exceeded (catchUp.tooMuch): it isn't counted here, so it may be wherever
// a page isn't the last one.
func (w *world) tooMuch(s state, at *session) bool {
	_, more := w.pageAfter(at.seen, at.place())
	return more && !w.resets(at)
}

// resets is the first case of nextStep.
func (w *world) resets(s *session) bool {
	return w.differ(s.seen.epoch, s.epoch) || s.sent > s.seen.rev || s.sent < w.inboxes[s.seen.rev].floor && !w.ignoresFloor
}

// advance is nextStep and session.advanced.
func (w *world) advance(now *state, s *session) string {
	if w.resets(s) {
		return w.reset(now, s)
	}
	rows, more := w.pageAfter(s.seen, s.place())
	to, inside := s.seen.rev, position{}
	whole := len(rows)
	if more {
		last := rows[len(rows)-1]
		present := func(p position) bool { return !w.inboxes[s.seen.rev].rows[p.row].gone }
		// Items are cut back to whole revs; removed ones stay, and come again.
		for whole > 0 && (rows[whole-1].rev == last.rev || !present(rows[whole-1])) {
			whole--
		}
		switch {
		case w.cutsRevs:
			to, whole = last.rev, len(rows)
		case whole > 0:
			to = rows[whole-1].rev
		default:
			to, whole, inside = s.sent, len(rows), last
		}
	}
	f := frame{kind: changes, epoch: s.seen.epoch, from: s.sent, to: to}
	for i, p := range rows {
		gone := w.inboxes[s.seen.rev].rows[p.row].gone
		if i < whole || gone {
			f.items.set(int(p.row), w.versionOf(now, s.seen.epoch, p.rev), gone)
		}
	}
	if f.to != f.from || f.items != 0 {
		if !w.output(s, f) {
			s.phase, s.work, s.seen = full, nothing, snapshot{}
			return ""
		}
	}
	s.sent, s.inside = to, inside
	w.arrive(s, !more)
	return ""
}

// reset is the step of a session that starts over.
func (w *world) reset(_ *state, s *session) string {
	if !w.output(s, frame{kind: reset, epoch: s.seen.epoch, to: s.seen.rev}) {
		s.phase, s.work, s.seen = full, nothing, snapshot{}
		return ""
	}
	s.epoch, s.sent, s.inside = s.seen.epoch, s.seen.rev, position{}
	w.arrive(s, true)
	return ""
}

// arrive is the end of session.advanced; a session that isn't there yet goes on with startReading at once.
func (w *world) arrive(s *session, last bool) {
	if !last || s.heard > s.seen.rev {
		s.work = reads
	} else {
		s.phase, s.work = live, nothing
	}
	s.seen, s.heard = snapshot{}, 0 // live, it is of no use, and startReading forgets it
}

// versionOf is the version of a row that a rev made, in a database of that epoch.
func (w *world) versionOf(now *state, epoch, rev uint8) version {
	return version{rev, epoch == 1 && rev > now.restored}
}

// holds is what the store's rows are to a client.
func (w *world) holds(now *state) items {
	var all items
	for i := 1; i <= maxRevs; i++ {
		if r := w.inboxes[now.store.rev].rows[i]; r.rev != 0 && !r.gone && now.store.late&(1<<r.rev) == 0 {
			all.set(i, w.versionOf(now, now.store.epoch, r.rev), false)
		}
	}
	return all
}

// receive is a client that reads a frame. It says which rule the frame breaks.
func (w *world) receive(now *state, s *session) string {
	f, c := s.wire, &s.client
	s.wire = frame{}
	if f.kind == handshake {
		return ""
	}
	if (f.kind == hello) == c.greeted {
		return "hello is the first frame, and comes once"
	}
	switch f.kind {
	case hello:
		c.greeted = true
		if !c.known {
			c.known, c.epoch, c.rev, c.items = true, f.epoch, f.to, w.holds(now)
		}
	case reset: // the client fetches the list, which may be newer than the reset
		c.epoch, c.rev, c.items = f.epoch, f.to, w.holds(now)
	case changes:
		if f.from != c.rev || f.to < f.from {
			return fmt.Sprintf("at rev %d comes a frame from %d to %d", c.rev, f.from, f.to)
		}
		if f.to == f.from && f.items == 0 {
			return "a frame that says nothing"
		}
		w.fold(c, f)
		c.rev = f.to
	}
	return ""
}

// fold puts what a frame brings in place of what the client has, unless that is newer.
func (w *world) fold(c *client, f frame) {
	for i := 1; i <= maxRevs; i++ {
		switch code := f.items.code(i); {
		case code == 0:
		case code == removed:
			c.items.put(i, 0)
		case f.items.rev(i) >= c.items.rev(i):
			c.items.put(i, code)
		}
		if held := c.items.rev(i); held != 0 && i <= int(f.through) && held < f.to && !w.inboxes[held].rows[i].read {
			c.items.set(i, version{f.to, f.epoch == 1}, false)
		}
	}
}

// knows is the promise of the chain: a client whose cursor is of this database's life knows every row in its present state
// that hasn't changed after the cursor, and no row that isn't there.
func (w *world) knows(now *state, c *client) string {
	if !c.known || c.epoch != now.store.epoch {
		return ""
	}
	in := &w.inboxes[now.store.rev]
	for i := 1; i <= maxRevs; i++ {
		r := in.rows[i]
		there := r.rev != 0 && now.store.late&(1<<r.rev) == 0
		switch held := c.items.code(i); {
		case there && r.rev > c.rev: // a frame will say so
		case there && !r.gone:
			var want items
			want.set(i, w.versionOf(now, now.store.epoch, r.rev), false)
			if held != want.code(i) {
				return fmt.Sprintf("the client is at rev %d and lacks what %d made of notification %d", c.rev, r.rev, i)
			}
		case held != 0 && (there || c.rev >= in.floor):
			return fmt.Sprintf("the client is at rev %d and has notification %d, which isn't there", c.rev, i)
		}
	}
	return ""
}

// arrived says whether all clients are connected and know what the store has.
func (w *world) arrived(s *state) bool {
	for i := range w.sessions {
		at := &s.sessions[i]
		c := &at.client
		if at.phase != live || at.wire.kind != noFrame || !c.greeted || w.differ(c.epoch, s.store.epoch) || c.rev != s.store.rev ||
			c.items != w.holds(s) {
			return false
		}
	}
	return true
}
