package delivery

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"duebell/internal/testenv"
	"duebell/store"
)

func TestSessionTakesOnlyTheNextFrame(t *testing.T) {
	f := okFrame("x")
	for name, c := range map[string]struct {
		change          change
		written, behind bool
	}{
		"the next":              {change{epoch: "k3", from: 7, rev: 8, frame: f}, true, false},
		"several revs":          {change{epoch: "k3", from: 7, rev: 12, frame: f}, true, false},
		"epoch unknown":         {change{from: 7, rev: 8, frame: f}, true, false},
		"doubled":               {change{epoch: "k3", from: 6, rev: 7, frame: f}, false, false},
		"old":                   {change{epoch: "k3", from: 2, rev: 3, frame: f}, false, false},
		"one is missing":        {change{epoch: "k3", from: 8, rev: 9, frame: f}, false, true},
		"overlaps":              {change{epoch: "k3", from: 5, rev: 9, frame: f}, false, true},
		"a hint":                {change{epoch: "k3", from: 7, rev: 8}, false, true},
		"a hint that is old":    {change{epoch: "k3", from: 6, rev: 7}, false, false},
		"another epoch":         {change{epoch: "zz", from: 7, rev: 8, frame: f}, false, true},
		"another epoch, behind": {change{epoch: "zz", from: 1, rev: 2, frame: f}, false, true},
	} {
		s, out := newSession("u", time.Now(), time.Now()), new(sink)
		s.out, s.state, s.epoch, s.sent = out, live, "k3", 7
		written, behindNow := s.deliver(&c.change, nil)
		if written != c.written || behindNow != c.behind || (out.frames == 1) != c.written {
			t.Errorf("%s: written %v, behind %v, %d frames", name, written, behindNow, out.frames)
		}
		if want := map[bool]int64{true: c.change.rev, false: 7}[c.written]; s.sent != want {
			t.Errorf("%s: it says that %d was sent", name, s.sent)
		}
	}
}

func TestAnswersWaitForHelloAndForRoom(t *testing.T) {
	client := newReplica(nil, "u")
	out := &fakeOutput{client: client}
	s := newSession("u", time.Now(), time.Now().Add(time.Hour))
	s.out = out
	s.answer(okFrame("1")) // the replica would complain about anything before hello
	client.known = true
	client.at = cursor{"k3", 0}
	s.greet(helloFrame("u", "k3", store.Counts{}, 25), "k3", &store.Head{})
	if client.frames != 2 {
		t.Errorf("%d frames", client.frames)
	}
	out.stall()
	for range 3 {
		if !s.answer(okFrame("2")) {
			t.Fatal("few answers are too many")
		}
	}
	n := 0
	for s.answer(errorFrame("", "code", "some more text")) {
		if n++; n > 10_000 {
			t.Fatal("answers pile up without end")
		}
	}
}

// betweenStore calls a function after a read and before its result is used.
type betweenStore struct {
	Store
	afterHeads, afterChanges func()
}

func (b *betweenStore) Heads(ctx context.Context, recipients []string) (string, []store.Head, error) {
	epoch, heads, err := b.Store.Heads(ctx, recipients)
	if f := b.afterHeads; f != nil {
		b.afterHeads = nil
		f()
	}
	return epoch, heads, err
}

func (b *betweenStore) Changes(ctx context.Context, recipient string, afterRev int64, afterID string, limit int) (store.Page, error) {
	page, err := b.Store.Changes(ctx, recipient, afterRev, afterID, limit)
	if f := b.afterChanges; f != nil {
		b.afterChanges = nil
		f()
	}
	return page, err
}

func TestAMessageBetweenReadingAndWritingIsNotLost(t *testing.T) {
	path := new(lossyPath)
	e := newEngine(t, testenv.SQLite(t), path, time.Hour) // the sweep doesn't help
	between := &betweenStore{Store: e.db}
	e.catchUp.store = between
	tellNow := func() { // the message is there before the read's result
		mustTell(t, e.db, 1, "u")
		path.wait()
	}
	client := newReplica(e.db, "u")
	reaches := func(rev int64) {
		t.Helper()
		eventually(t, "it has everything", func() bool {
			at, err := client.position()
			if err != nil {
				t.Fatal(err)
			}
			return at.rev == rev
		})
	}
	between.afterHeads = tellNow // hello is of before
	s, _ := e.connect(client)
	reaches(1)
	e.gone(s)
	tellNow()
	between.afterHeads, between.afterChanges = tellNow, tellNow // and so is the page
	s, _ = e.connect(client)
	reaches(4)
	if err := client.compare(); err != nil {
		t.Error(err)
	}
	e.gone(s)
}

// revsStore answers a sweep.
type revsStore struct {
	chainStore
	epoch     string
	rev       int64
	notBefore time.Time
	err       error
}

func (r *revsStore) Revs(_ context.Context, recipients []string) (string, []int64, []time.Time, error) {
	revs, notBefore := make([]int64, len(recipients)), make([]time.Time, len(recipients))
	for i := range recipients {
		revs[i], notBefore[i] = r.rev, r.notBefore
	}
	return r.epoch, revs, notBefore, r.err
}

func TestSweepGivesMessagesTime(t *testing.T) {
	issued := time.Now().Add(-time.Minute)
	setup := func(answer *revsStore) (*sweeper, *session, map[string]int) {
		s := newSession("u", issued, time.Now().Add(time.Hour))
		s.out, s.state, s.epoch, s.sent = new(sink), live, "k3", 7
		acts := make(map[string]int)
		w := newSweeper(newHub(), answer, quiet(), newPusherMetrics(nil, func() float64 { return 0 }), 5*time.Second,
			func(_ *session, reason string) { acts[reason]++ },
			func(_ *session, code int, _ string) { acts["end"] += code })
		return w, s, acts
	}
	for name, c := range map[string]struct {
		answer revsStore
		lost   bool
		at     string // what it does at once
		later  string // and after its grace
	}{
		"nothing new":      {revsStore{epoch: "k3", rev: 7}, false, "", ""},
		"something new":    {revsStore{epoch: "k3", rev: 8}, false, "", catchupSweep},
		"after a gap":      {revsStore{epoch: "k3", rev: 8}, true, catchupMissed, ""},
		"restored":         {revsStore{epoch: "k3", rev: 6}, false, catchupRestored, ""},
		"another epoch":    {revsStore{epoch: "zz", rev: 7}, false, catchupRestored, ""},
		"revoked":          {revsStore{epoch: "k3", rev: 7, notBefore: time.Now()}, false, "end", ""},
		"revoked before":   {revsStore{epoch: "k3", rev: 7, notBefore: issued.Add(-time.Minute)}, false, "", ""},
		"the store failed": {revsStore{err: errors.New("down")}, true, "", ""},
	} {
		w, s, acts := setup(&c.answer)
		check := func(want string) {
			t.Helper()
			if want == "" && len(acts) > 0 || want != "" && (len(acts) != 1 || acts[want] == 0) {
				t.Errorf("%s: %v instead of %q", name, acts, want)
			}
			clear(acts)
		}
		if ok := w.compare(t.Context(), []*session{s}, c.lost); ok != (c.answer.err == nil) {
			t.Errorf("%s: compared: %v", name, ok)
		}
		check(c.at)
		w.resolve(time.Now())
		check("")
		w.resolve(time.Now().Add(w.grace()))
		check(c.later)
	}

	// The message comes within its time: nobody reads the store.
	w, s, acts := setup(&revsStore{epoch: "k3", rev: 8})
	w.compare(t.Context(), []*session{s}, false)
	s.deliver(&change{from: 7, rev: 8, frame: okFrame("x")}, nil)
	w.resolve(time.Now().Add(w.grace()))
	if len(acts) > 0 || s.sent != 8 {
		t.Errorf("%v", acts)
	}
}

func TestCatchUpCutsInsideARevOnlyWhereItFillsAPage(t *testing.T) {
	path := new(lossyPath)
	e := newEngine(t, testenv.SQLite(t), path, time.Hour)
	mustTell(t, e.db, 7, "u")
	if _, err := e.db.ReadAll(t.Context(), "u", nil); err != nil { // seven rows get rev 8
		t.Fatal(err)
	}
	mustTell(t, e.db, 2, "u")
	epoch, _, err := e.db.Heads(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for page, want := range map[int]string{
		3:   "0-0:3 0-0:3 0-10:3",
		4:   "0-0:4 0-8:3 8-10:2",
		5:   "0-0:5 0-10:4",
		8:   "0-8:7 8-10:2",
		9:   "0-10:9",
		100: "0-10:9",
	} {
		e.catchUp.page = page
		client := newReplica(e.db, "u")
		client.known, client.at = true, cursor{epoch, 0}
		s, _ := e.connect(client)
		eventually(t, "the present", func() bool {
			at, err := client.position()
			if err != nil {
				t.Fatal(err)
			}
			return at.rev == 10
		})
		client.mu.Lock()
		if got := strings.Join(client.steps, " "); got != want {
			t.Errorf("pages of %d: %s instead of %s", page, got, want)
		}
		client.mu.Unlock()
		if err := client.compare(); err != nil {
			t.Error(err)
		}
		e.gone(s)
	}
}
