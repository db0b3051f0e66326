package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"duebell/delivery/model"
	"duebell/store"
)

// The package model proves what it proves of a model. Here the real hub, session and catching up go the ways that the model
// goes, thousands of them, and after each step they must be where it is, with the same frame in flight.

func TestTheCodeGoesWhereTheModelGoes(t *testing.T) {
	walks := 2000
	if testing.Short() {
		walks = 400
	}
	steps := make(map[string]int)
	for seed := range walks {
		random := rand.New(rand.NewPCG(uint64(seed), 7))
		f := &follower{walk: model.NewWalk(random), steps: steps}
		f.catchUp = newCatchUp(f, quiet(), newPusherMetrics(nil, func() float64 { return 0 }), 1000, 25, nil)
		f.catchUp.page = f.walk.Page()
		f.pusher = &Pusher{hub: newHub(), catchUp: f.catchUp}
		err := f.follow(80)
		f.disconnect()
		if err != nil {
			t.Fatalf("walk %d: %v, after\n%s", seed, err, strings.Join(f.trace, "\n"))
		}
	}
	for _, name := range []string{model.Connects, model.HeadRead, model.Greeted, model.Told, model.FrameRead, model.Writable,
		model.Swept, model.Taken, model.PageRead, model.Advances, model.TooMuch, model.Disconnect} {
		if steps[name] == 0 {
			t.Errorf("no session %s", name)
		}
	}
}

// follower does with the real code what a walk of the model does. It is the store that sessions read, and their socket.
type follower struct {
	walk    *model.Walk
	pusher  *Pusher
	catchUp *catchUp
	steps   map[string]int
	trace   []string

	session   *session
	inFlight  *clientMessage
	handshake bool // is in flight
	refused   bool

	headEpoch string
	head      store.Head

	reading *reading // a worker that has the session
}

// reading is a worker in catchUp.advance. It stops before a page is read and once more after it.
type reading struct {
	ended   chan error
	asks    chan position
	read    chan store.Page
	after   position // of the page that it waits for
	asked   bool
	page    *store.Page
	tooMuch bool
	pages   int
}

func (f *follower) follow(steps int) error {
	for range steps {
		before := f.walk.View()
		// Only before its first page a worker counts what is left.
		name, told, broken := f.walk.Step(func(name string) bool { return name != model.TooMuch || f.reading.pages == 1 })
		f.steps[name]++
		f.trace = append(f.trace, fmt.Sprintf("%s %+v", name, f.walk.View()))
		if broken != "" {
			return fmt.Errorf("the model breaks a rule: %s", broken)
		}
		if err := f.do(name, told, before); err != nil {
			return err
		}
		if err := f.compare(f.walk.View()); err != nil {
			return err
		}
	}
	return nil
}

func life(n uint8) string { return [...]string{"first", "second"}[n] }

func (f *follower) do(name string, told model.Message, before model.View) error {
	c, s := f.catchUp, f.session
	switch name {
	case model.Connects:
		s = newSession("u", time.Time{}, time.Now().Add(time.Hour))
		if before.Known {
			s.resumeAt(cursor{life(before.ClientEpoch), before.ClientRev})
		}
		s.out = f
		f.session, f.handshake, f.refused = s, true, false
		f.pusher.hub.join(s, 10)
		c.start(s)
	case model.HeadRead:
		if len(c.starts) == 0 {
			return fmt.Errorf("the session isn't queued")
		}
		c.starts = nil
		f.headEpoch = life(before.StoreEpoch)
		f.head.Rev = before.StoreRev
		_, f.head.FloorRev = f.walk.Inbox()
	case model.Greeted:
		c.hello(s, f.headEpoch, f.head)
	case model.Told:
		change := store.Change{Recipient: "u", From: told.From, ReadThrough: told.ReadThrough, Reset: told.Hint}
		change.Rev = told.Rev
		for number, rev := range told.Rows {
			if rev < 0 {
				change.Removed = append(change.Removed, rowID(number))
			} else {
				change.Items = append(change.Items, store.Notification{ID: rowID(number), Rev: rev, CreatedRev: int64(number)})
			}
		}
		m := encodeChange(&change)
		m.epoch = life(told.Epoch)
		f.pusher.deliver(&m, nil)
	case model.FrameRead:
		f.inFlight, f.handshake = nil, false
	case model.Writable:
		f.refused = false
		f.pusher.writable(s)
	case model.Swept:
		if !s.fallBehind() {
			return fmt.Errorf("the session isn't live")
		}
		c.behind(s, catchupSweep)
	case model.Taken:
		if len(c.behinds) != 1 || f.reading != nil {
			return fmt.Errorf("the session isn't queued")
		}
		c.behinds = nil
		r := &reading{ended: make(chan error, 1), asks: make(chan position), read: make(chan store.Page)}
		f.reading = r
		go func() { r.ended <- c.advance(context.Background(), s) }()
		return f.settle()
	case model.PageRead:
		if !f.reading.asked {
			return fmt.Errorf("the worker doesn't read")
		}
		page := f.page(before)
		f.reading.page = &page
		f.reading.pages++
	case model.Advances, model.TooMuch:
		f.reading.tooMuch = name == model.TooMuch
		return f.release()
	case model.Disconnect:
		return f.disconnect()
	}
	return nil
}

func rowID(number int) string { return fmt.Sprintf("n%d", number) }

// release hands the worker its page.
func (f *follower) release() error {
	f.reading.asked = false
	f.reading.read <- *f.reading.page
	f.reading.page = nil
	return f.settle()
}

// settle waits until the worker asks for a page or is done.
func (f *follower) settle() error {
	select {
	case f.reading.after = <-f.reading.asks:
		f.reading.asked = true
		return nil
	case err := <-f.reading.ended:
		f.reading = nil
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("the worker neither reads nor ends")
	}
}

func (f *follower) disconnect() error {
	if f.session == nil {
		return nil
	}
	f.pusher.gone(f.session)
	f.session, f.inFlight, f.handshake, f.refused = nil, nil, false, false
	f.catchUp.starts, f.catchUp.behinds = nil, nil
	if f.reading == nil {
		return nil
	}
	if f.reading.page == nil {
		f.reading.page = new(store.Page)
	}
	if err := f.release(); err != nil {
		return err
	}
	if f.reading != nil {
		return fmt.Errorf("a worker reads on for a session that has ended")
	}
	return nil
}

// compare says where the real session differs from the model's.
func (f *follower) compare(want model.View) error {
	s := f.session
	if s == nil {
		if want.Phase != "absent" {
			return fmt.Errorf("there is no session")
		}
		return nil
	}
	if phase := [...]string{starting: "starting", live: "live", behind: "behind", full: "full", ended: "ended"}[s.state]; phase != want.Phase {
		return fmt.Errorf("the session is %s", phase)
	}
	if s.state != starting && (s.sent != want.Sent || s.epoch != life(want.Epoch)) {
		return fmt.Errorf("the session is at %d of the %s epoch", s.sent, s.epoch)
	}
	if f.refused != want.Refused {
		return fmt.Errorf("a frame was refused: %v", f.refused)
	}
	if f.handshake || f.inFlight == nil {
		if f.handshake != (want.Kind == "handshake") || !f.handshake && want.Kind != "" {
			return fmt.Errorf("nothing is in flight but a handshake: %v", f.handshake)
		}
		return nil
	}
	m := f.inFlight
	rows := make(map[int]int64)
	for _, n := range m.Items {
		rows[int(n.ID[1]-'0')] = n.Rev
	}
	for _, id := range m.Removed {
		rows[int(id[1]-'0')] = -1
	}
	if m.Type != want.Kind || m.Rev != want.To || m.From != want.From || m.ReadThrough != want.ReadThrough || !maps.Equal(rows, want.Rows) ||
		m.Type != "changes" && m.Epoch != life(want.FrameEpoch) {
		return fmt.Errorf("in flight is %+v", *m)
	}
	return nil
}

// write is a socket's, in which one frame is in flight at most.
func (f *follower) write(frame frame, _ cursor) bool {
	if f.handshake || f.inFlight != nil {
		f.refused = true
		return false
	}
	f.inFlight = new(clientMessage)
	return json.Unmarshal(frame.text(), f.inFlight) == nil
}

func (f *follower) close(int, string) {}

// page is what store.DB.Changes would read now.
func (f *follower) page(now model.View) store.Page {
	rows, floor := f.walk.Inbox()
	p := store.Page{Epoch: life(now.StoreEpoch)}
	p.Rev, p.FloorRev = now.StoreRev, floor
	n := 0
	for _, r := range rows {
		if after := f.reading.after; r.Rev < after.rev || r.Rev == after.rev && (after.id == "" || rowID(r.Number) <= after.id) {
			continue
		}
		if n++; n > f.walk.Page() {
			p.More = true
			break
		}
		p.LastRev, p.LastID = r.Rev, rowID(r.Number)
		if r.Gone {
			p.Removed = append(p.Removed, p.LastID)
		} else {
			p.Items = append(p.Items, store.Notification{ID: p.LastID, Rev: r.Rev, CreatedRev: int64(r.Number)})
		}
	}
	return p
}

// Changes is the store's.
func (f *follower) Changes(_ context.Context, _ string, afterRev int64, afterID string, _ int) (store.Page, error) {
	r := f.reading
	r.asks <- position{afterRev, afterID}
	return <-r.read, nil
}

// ChangedRows is the store's.
func (f *follower) ChangedRows(_ context.Context, _ string, _ int64, most int) (int, error) {
	if f.reading.tooMuch {
		return most + 1, nil
	}
	return 0, nil
}

func (f *follower) Heads(context.Context, []string) (string, []store.Head, error) { panic("not asked") }

func (f *follower) Revs(context.Context, []string) (string, []int64, []time.Time, error) {
	panic("not asked")
}
