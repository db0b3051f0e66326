package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"duebell/delivery/socket"
	"duebell/store"
)

// The chain of frames is tested below the sockets: real database, hub, catching up and sweep; between a commit and the hub
// a path that loses, doubles, delays and reorders; clients that come, go, resume, and stop reading.

// clientMessage is any message to a client.
type clientMessage struct {
	Type        string               `json:"type"`
	User        string               `json:"user"`
	Epoch       string               `json:"epoch"`
	From        int64                `json:"from"`
	Rev         int64                `json:"rev"`
	Unread      int64                `json:"unread"`
	Unseen      int64                `json:"unseen"`
	Total       int64                `json:"total"`
	Items       []store.Notification `json:"items"`
	Removed     []string             `json:"removed"`
	ReadThrough int64                `json:"read_through"`
	Ref         string               `json:"ref"`
	Code        string               `json:"code"`
	Message     string               `json:"message"`
	ReconnectMS int64                `json:"reconnect_ms"`
	PingS       int                  `json:"ping_s"`
}

// replica is what a client knows: it checks the chain and folds frames.
type replica struct {
	db   *store.DB
	user string

	mu     sync.Mutex
	known  bool // it has a cursor
	at     cursor
	counts store.Counts
	items  map[string]store.Notification
	hello  bool // of this connection
	resets int
	frames int
	steps  []string // from-rev:rows of each changes frame
	err    error
}

func newReplica(db *store.DB, user string) *replica {
	return &replica{db: db, user: user, items: make(map[string]store.Notification)}
}

// counted is how many frames have come so far.
func (r *replica) counted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frames
}

// apply takes a message; what breaks the rules stays in err.
func (r *replica) apply(text []byte) {
	var m clientMessage
	if err := json.Unmarshal(text, &m); err != nil {
		r.fail("not JSON: %s", text)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames++
	if !r.hello && m.Type != "hello" {
		r.failLocked("%s before hello", m.Type)
	}
	switch m.Type {
	case "hello":
		if r.hello || m.User != r.user {
			r.failLocked("a second hello, or another's: %s", text)
		}
		r.hello = true
		if !r.known {
			r.known, r.at = true, cursor{m.Epoch, m.Rev}
			r.refetch()
		}
	case "changes":
		if m.From != r.at.rev || m.Rev < m.From {
			r.failLocked("at %d, and the frame goes from %d to %d", r.at.rev, m.From, m.Rev)
		}
		r.steps = append(r.steps, fmt.Sprintf("%d-%d:%d", m.From, m.Rev, len(m.Items)+len(m.Removed)))
		if m.Rev == m.From && len(m.Items)+len(m.Removed) == 0 {
			r.failLocked("a frame that says nothing: %s", text)
		}
		for _, n := range m.Items {
			if old, ok := r.items[n.ID]; !ok || n.Rev >= old.Rev {
				r.items[n.ID] = n
			}
		}
		for _, id := range m.Removed {
			delete(r.items, id)
		}
		for id, n := range r.items {
			if n.CreatedRev <= m.ReadThrough && n.ReadAt == nil && n.Rev < m.Rev {
				n.ReadAt, n.Rev = new(time.Time), m.Rev
				r.items[id] = n
			}
		}
		r.at.rev = m.Rev
		r.counts = store.Counts{Rev: m.Rev, Unread: m.Unread, Unseen: m.Unseen, Total: m.Total}
	case "reset":
		r.resets++
		r.at = cursor{m.Epoch, m.Rev}
		r.counts = store.Counts{Rev: m.Rev, Unread: m.Unread, Unseen: m.Unseen, Total: m.Total}
		r.refetch()
	default:
		r.failLocked("unexpected: %s", text)
	}
}

// refetch reads the list as a client does after a reset, but all of it.
func (r *replica) refetch() {
	items, err := everything(r.db, r.user)
	if err != nil {
		r.failLocked("%v", err)
		return
	}
	r.items = items
}

func everything(db *store.DB, user string) (map[string]store.Notification, error) {
	items := make(map[string]store.Notification)
	for _, status := range []string{store.StatusAll, store.StatusArchived} {
		for next := ""; ; {
			list, err := db.List(context.Background(), store.ListQuery{Recipient: user, Status: status, Limit: 100, Cursor: next})
			if err != nil {
				return nil, err
			}
			for _, n := range list.Items {
				if old, ok := items[n.ID]; !ok || n.Rev > old.Rev { // it may move between the two lists
					items[n.ID] = n
				}
			}
			if next = list.NextCursor; next == "" {
				break
			}
		}
	}
	return items, nil
}

func (r *replica) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(format, args...)
}

func (r *replica) failLocked(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: "+format, append([]any{r.user}, args...)...)
	}
}

// connected starts a connection: hello comes again.
func (r *replica) connected() (at cursor, resumes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hello = false
	return r.at, r.known
}

func (r *replica) position() (cursor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at, r.err
}

// compare says how the replica differs from the database.
func (r *replica) compare() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	want, err := everything(r.db, r.user)
	if err != nil {
		return err
	}
	_, heads, err := r.db.Heads(context.Background(), []string{r.user})
	if err != nil {
		return err
	}
	if r.counts != heads[0].Counts && r.counts != (store.Counts{}) {
		return fmt.Errorf("%s counts %+v, the database %+v", r.user, r.counts, heads[0].Counts)
	}
	if got, want := slices.Sorted(maps.Keys(r.items)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		return fmt.Errorf("%s has %d notifications, the database %d", r.user, len(got), len(want))
	}
	for id, n := range want {
		got := r.items[id]
		if got.Title != n.Title || got.CreatedRev != n.CreatedRev || got.Rev != n.Rev || (got.ReadAt == nil) != (n.ReadAt == nil) ||
			(got.ArchivedAt == nil) != (n.ArchivedAt == nil) || (got.ResolvedAt == nil) != (n.ResolvedAt == nil) {
			return fmt.Errorf("%s has %+v, the database %+v", r.user, got, n)
		}
	}
	return nil
}

// fakeOutput is a connection without a network. It reads what it is given at once, or, while stalled, keeps one frame and
// refuses the others.
type fakeOutput struct {
	client *replica

	mu       sync.Mutex
	stalled  bool
	inFlight frame
	refused  bool
	code     int
}

func (o *fakeOutput) write(f frame, _ cursor) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.code != 0:
		return false
	case o.inFlight != nil:
		o.refused = true
		return false
	case o.stalled:
		o.inFlight = f
	default:
		o.client.apply(f.text())
	}
	return true
}

func (o *fakeOutput) close(code int, _ string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.code = code
}

func (o *fakeOutput) stall() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stalled = true
}

// resume reads again; invited: writable is due.
func (o *fakeOutput) resume() (invited bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inFlight != nil {
		o.client.apply(o.inFlight.text())
	}
	invited = o.refused
	o.stalled, o.inFlight, o.refused = false, nil, false
	return invited
}

// engine is a pusher without sockets and Redis.
type engine struct {
	*Pusher
	db    *store.DB
	lossy *lossyPath
}

func newEngine(t testing.TB, url string, path *lossyPath, sweep time.Duration) *engine {
	t.Helper()
	e := &engine{lossy: path}
	e.db = openStore(t, url, path.committed)
	e.Pusher = New(Options{Store: e.db, Log: quiet(), SweepInterval: sweep, Readers: 3, MaxSessionsPerUser: 100})
	path.deliver = e.deliver
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { e.catchUp.run(ctx, e.options.Readers) })
	group.Go(func() { e.sweeper.run(ctx) })
	group.Go(func() { e.protocol.run(ctx) })
	group.Go(func() { e.sweeper.expire(ctx) })
	t.Cleanup(func() {
		path.wait()
		stop()
		group.Wait()
	})
	return e
}

// connect opens a session for a client, which resumes if it knows anything.
func (e *engine) connect(client *replica) (*session, *fakeOutput) {
	s := newSession(client.user, time.Now(), time.Now().Add(time.Hour))
	if at, resumes := client.connected(); resumes {
		s.resumeAt(at)
	}
	out := &fakeOutput{client: client}
	s.out = out
	e.open(s)
	return s, out
}

// lossyPath stands for publisher, Redis and subscriber.
type lossyPath struct {
	deliver                    func(*change, *socket.Batch) int
	lose, double, delay, cutUp float64 // shares of messages

	group sync.WaitGroup
}

func (p *lossyPath) committed(changes []store.Change) {
	for i := range changes {
		c := encodeChange(&changes[i])
		if rand.Float64() < p.cutUp {
			c.frame = nil
		}
		payload := string(appendChange(appendBatchHead(nil, "", 0), &c))
		for range 2 {
			if rand.Float64() >= p.lose {
				p.group.Go(func() { p.send(payload) })
			}
			if rand.Float64() >= p.double {
				break
			}
		}
	}
}

func (p *lossyPath) send(payload string) {
	if rand.Float64() < p.delay {
		time.Sleep(rand.N(30 * time.Millisecond))
	}
	batch := readBatch(payload)
	var c change
	for batch.next(&c) {
		p.deliver(&c, nil)
	}
}

func (p *lossyPath) wait() { p.group.Wait() }

// act does something at random to a recipient's inbox.
func act(ctx context.Context, db *store.DB, user string, others []string) error {
	upTo := func(counts store.Counts) *int64 {
		rev := counts.Rev - rand.Int64N(4)
		if rev < 0 || rand.IntN(2) == 0 {
			return nil
		}
		return &rev
	}
	list, err := db.List(ctx, store.ListQuery{Recipient: user, Status: []string{store.StatusAll, store.StatusArchived}[rand.IntN(2)], Limit: 10})
	if err != nil {
		return err
	}
	var ids []string
	for _, n := range list.Items {
		if rand.IntN(3) == 0 {
			ids = append(ids, n.ID)
		}
	}
	choice := rand.IntN(10)
	if len(ids) == 0 {
		choice = 0
	}
	switch choice {
	case 0, 1, 2:
		err = tell(ctx, db, 1+rand.IntN(3), user)
	case 3:
		err = tell(ctx, db, 1, others...)
	case 4:
		_, err = db.MarkRead(ctx, user, ids, rand.IntN(3) > 0)
	case 5:
		_, err = db.ReadAll(ctx, user, upTo(list.Counts))
	case 6:
		_, err = db.Seen(ctx, user, upTo(list.Counts))
	case 7, 8:
		_, err = db.Archive(ctx, user, ids[0], rand.IntN(3) > 0)
	case 9:
		_, err = db.Delete(ctx, user, ids[0])
	}
	if errors.Is(err, store.ErrNotFound) { // deleted meanwhile
		err = nil
	}
	return err
}

func TestChainIsUnbrokenWhateverIsLostDoubledOrReordered(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		for _, c := range []struct {
			name  string
			path  *lossyPath
			sweep time.Duration
			page  int
			limit int
		}{
			// Nothing is lost, so nobody needs the sweep.
			{"good path", &lossyPath{}, time.Hour, pageRows, 1000},
			{"reordered", &lossyPath{double: 0.2, delay: 0.5, cutUp: 0.05}, time.Hour, 3, 1000},
			{"lost", &lossyPath{lose: 0.3, double: 0.1, delay: 0.3}, 50 * time.Millisecond, 4, 1000},
			{"nothing comes through, and resets", &lossyPath{lose: 1}, 50 * time.Millisecond, 2, 3},
		} {
			t.Run(c.name, func(t *testing.T) { testChain(t, url, c.path, c.sweep, c.page, c.limit) })
		}
	})
}

func testChain(t *testing.T, url string, path *lossyPath, sweep time.Duration, page, limit int) {
	e := newEngine(t, url, path, sweep)
	e.catchUp.page, e.catchUp.limit = page, limit
	var users []string
	for i := range 3 {
		users = append(users, fmt.Sprintf("u%d-%d", i, requests.Load()))
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers, clients sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for range 30 {
				if err := act(ctx, e.db, users[rand.IntN(len(users))], users[:w+1]); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				time.Sleep(rand.N(4 * time.Millisecond))
			}
		})
	}
	var all []*replica
	for i := range 6 {
		client := newReplica(e.db, users[i%len(users)])
		all = append(all, client)
		clients.Go(func() {
			for {
				s, out := e.connect(client)
				for range rand.IntN(12) {
					switch rand.IntN(6) {
					case 0:
						out.stall()
					case 1:
						if out.resume() {
							e.writable(s)
						}
					}
					time.Sleep(rand.N(20 * time.Millisecond))
				}
				if ctx.Err() != nil { // the last connection stays
					if out.resume() {
						e.writable(s)
					}
					return
				}
				e.gone(s)
				out.close(1006, "")
			}
		})
	}
	writers.Wait()
	stop()
	clients.Wait()
	_, heads, err := e.db.Heads(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	revs := make(map[string]int64)
	for _, h := range heads {
		revs[h.Recipient] = h.Rev
	}
	resets, frames := 0, 0
	for _, client := range all {
		eventually(t, client.user+" reaches the present", func() bool {
			at, err := client.position()
			if err != nil {
				t.Fatal(err)
			}
			return at.rev == revs[client.user]
		})
		if err := client.compare(); err != nil {
			t.Error(err)
		}
		resets, frames = resets+client.resets, frames+client.frames
	}
	t.Logf("revs %v, %d frames, %d resets", revs, frames, resets)
	if limit < 100 && resets == 0 {
		t.Error("no client was ever reset")
	}
}
