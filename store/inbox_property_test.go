package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"duebell/internal/testenv"
)

// model is an inbox as a client knows it that has nothing but changes.
type model map[string]Notification

func (m model) put(items []Notification, removed []string) {
	for _, n := range items {
		m[n.ID] = n
	}
	for _, id := range removed {
		delete(m, id)
	}
}

func (m model) readThrough(rev int64) {
	for id, n := range m {
		if n.CreatedRev <= rev && n.ReadAt == nil {
			n.ReadAt = &time.Time{}
			m[id] = n
		}
	}
}

// counts leaves out unseen, which a client can't work out.
func (m model) counts() (unread, total int64) {
	for _, n := range m {
		if n.ArchivedAt == nil {
			total++
			if n.ReadAt == nil && n.ResolvedAt == nil {
				unread++
			}
		}
	}
	return unread, total
}

// flags are what a client shows of its inbox.
func (m model) flags() map[string]string {
	flags := make(map[string]string)
	for id, n := range m {
		flags[id] = fmt.Sprint(n.CreatedRev, n.Title, n.ReadAt != nil, n.ArchivedAt != nil, n.ResolvedAt != nil)
	}
	return flags
}

// counted is an inbox's row and, in the same snapshot, what counting the tables says.
func counted(ctx context.Context, db *DB, recipient string) (row, tables Counts, err error) {
	err = db.read(ctx, func(q queryer) error {
		err := q.get(ctx, &row, `SELECT rev, unread, unseen, total FROM inboxes WHERE recipient = ?`, recipient)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return q.get(ctx, &tables, `
			SELECT i.rev, count(n.id) AS total,
				count(CASE WHEN n.read_at IS NULL AND n.resolved_at IS NULL THEN n.id END) AS unread,
				count(CASE WHEN n.created_rev > i.seen_rev THEN n.id END) AS unseen
			FROM inboxes AS i
			LEFT JOIN notifications AS n ON n.recipient = i.recipient AND n.archived_at IS NULL AND n.deleted_at IS NULL
			WHERE i.recipient = ?
			GROUP BY i.recipient, i.rev, i.seen_rev`, recipient)
	})
	return row, tables, err
}

func assertCounters(t *testing.T, db *DB, recipient string) {
	t.Helper()
	row, tables, err := counted(t.Context(), db, recipient)
	if err != nil || row != tables {
		t.Errorf("inbox of %s says %+v, counting says %+v, %v", recipient, row, tables, err)
	}
}

// tables is a recipient's inbox as the tables have it.
func tables(t *testing.T, db *DB, recipient string) model {
	t.Helper()
	m := make(model)
	err := db.query().each(t.Context(), func(row scanner) error {
		var n Notification
		err := scanNotification(row, &n)
		m[n.ID] = n
		return err
	}, `SELECT `+notificationColumns+` FROM notifications WHERE recipient = ? AND deleted_at IS NULL`, recipient)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// follow catches up by pages from (m, cursor) to the present and checks the page's counters against m.
func follow(ctx context.Context, db *DB, recipient string, m model, cursor int64, limit int) (int64, error) {
	page := Page{LastRev: cursor}
	for {
		from := page.LastRev
		var err error
		page, err = db.Changes(ctx, recipient, page.LastRev, page.LastID, limit)
		if err != nil {
			return 0, err
		}
		if len(page.Items)+len(page.Removed) > limit || page.LastRev < from {
			return 0, fmt.Errorf("a page of %d rows from %d to %d, limit %d", len(page.Items)+len(page.Removed), from, page.LastRev, limit)
		}
		m.put(page.Items, page.Removed)
		if !page.More {
			break
		}
	}
	if unread, total := m.counts(); unread != page.Unread || total != page.Total {
		return 0, fmt.Errorf("caught up to rev %d with %d unread of %d, the page says %+v", page.Rev, unread, total, page.Counts)
	}
	return page.Rev, nil
}

// writer does one random thing to some inboxes.
type writer struct {
	db         *DB
	recipients []string
	rand       *rand.Rand
	known      *known
}

// known are the notifications that exist, or did.
type known struct {
	mu  sync.Mutex
	ids [][2]string // recipient, id
}

func (k *known) add(drafts []Draft, ns []Notification) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, n := range ns {
		if n.ID != "" {
			k.ids = append(k.ids, [2]string{drafts[i].Recipient, n.ID})
		}
	}
}

func (k *known) pick(r *rand.Rand, n int) [][2]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var picked [][2]string
	for range n {
		if len(k.ids) > 0 {
			picked = append(picked, k.ids[r.IntN(len(k.ids))])
		}
	}
	return picked
}

func (w *writer) act(ctx context.Context) error {
	recipient := w.recipients[w.rand.IntN(len(w.recipients))]
	picked := w.known.pick(w.rand, 1+w.rand.IntN(4))
	var upTo *int64
	if w.rand.IntN(2) == 0 {
		_, heads, err := w.db.Heads(ctx, []string{recipient})
		if err != nil {
			return err
		}
		rev := heads[0].Rev - int64(w.rand.IntN(5))
		upTo = &rev
	}
	var err error
	switch w.rand.IntN(10) {
	case 0, 1, 2:
		drafts := make([]Draft, 1+w.rand.IntN(6))
		for i := range drafts {
			drafts[i] = draft(w.recipients[w.rand.IntN(len(w.recipients))], fmt.Sprint(w.rand.IntN(100)))
			if w.rand.IntN(3) == 0 {
				drafts[i].Key = drafts[i].Recipient + drafts[i].Title
			}
		}
		ns, insertErr := w.db.insert(ctx, drafts...)
		w.known.add(drafts, ns)
		err = insertErr
	case 3, 4:
		var ids []string
		for _, p := range picked {
			ids = append(ids, p[1]) // the others' are passed over
			recipient = p[0]
		}
		_, err = w.db.MarkRead(ctx, recipient, ids, w.rand.IntN(3) > 0)
	case 5:
		_, err = w.db.ReadAll(ctx, recipient, upTo)
	case 6:
		_, err = w.db.Seen(ctx, recipient, upTo)
	case 7:
		for _, p := range picked[:min(1, len(picked))] {
			_, err = w.db.Archive(ctx, p[0], p[1], w.rand.IntN(2) == 0)
		}
	case 8:
		for _, p := range picked[:min(1, len(picked))] {
			_, err = w.db.Delete(ctx, p[0], p[1])
		}
	case 9:
		var owners, ids []string
		for _, p := range picked {
			owners, ids = append(owners, p[0]), append(ids, p[1])
		}
		err = w.db.resolve(ctx, owners, ids, w.rand.IntN(2) == 0)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Whatever many writers do at once: counters are what counting says, in every snapshot; what is reported after the
// commits is an unbroken chain a recipient, which leads to what the tables have; and so does catching up by pages, from
// anywhere, meanwhile.
func TestInboxUnderConcurrentWriters(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, log := openMigrated(t, url)
		recipients := []string{"a", "B", "č", "d4", "E"}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		const writers, acts = 8, 30
		known := &known{}
		acted := make([]chan struct{}, len(recipients)) // an observer's wake-up; closed when all is written
		for i := range acted {
			acted[i] = make(chan struct{}, 1)
		}
		var observers, group errgroup.Group
		for i := range writers {
			w := &writer{db: db, recipients: recipients, rand: rand.New(rand.NewPCG(seed, uint64(i))), known: known}
			group.Go(func() error {
				for range acts {
					if err := w.act(t.Context()); err != nil {
						return err
					}
					select {
					case acted[w.rand.IntN(len(acted))] <- struct{}{}:
					default: // it hasn't come to the last one yet
					}
				}
				return nil
			})
		}
		for i, recipient := range recipients {
			observers.Go(func() error {
				m, cursor := make(model), int64(0)
				for more := true; more; {
					_, more = <-acted[i] // after the last commit one more round
					row, tables, err := counted(t.Context(), db, recipient)
					if err != nil || row != tables {
						return fmt.Errorf("inbox of %s says %+v, counting says %+v, %w", recipient, row, tables, err)
					}
					next, err := follow(t.Context(), db, recipient, m, cursor, 1+i)
					if err != nil {
						return fmt.Errorf("%s: %w", recipient, err)
					}
					if next < cursor {
						return fmt.Errorf("%s: caught up from %d to %d", recipient, cursor, next)
					}
					cursor = next
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		for _, c := range acted {
			close(c)
		}
		if err := observers.Wait(); err != nil {
			t.Error(err)
		}

		changes := log.take()
		slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.From, b.From) })
		for _, recipient := range recipients {
			assertCounters(t, db, recipient)
			want := tables(t, db, recipient)
			live := make(model)
			checkpoints := map[int64]model{0: {}} // what a client had at some revs
			rev := int64(0)
			for _, c := range changes {
				if c.Recipient != recipient {
					continue
				}
				if c.From != rev || c.Rev <= c.From {
					t.Fatalf("%s: change from %d to %d after rev %d", recipient, c.From, c.Rev, rev)
				}
				rev = c.Rev
				live.put(c.Items, c.Removed)
				live.readThrough(c.ReadThrough)
				if unread, total := live.counts(); unread != c.Unread || total != c.Total {
					t.Fatalf("%s: a client at rev %d has %d unread of %d, the change says %+v", recipient, rev, unread, total, c.Counts)
				}
				if rev%25 == 0 {
					copied := make(model)
					for id, n := range live {
						copied[id] = n
					}
					checkpoints[rev] = copied
				}
			}
			sameInbox(t, recipient+", live", live, want)
			for from, m := range checkpoints {
				reached, err := follow(t.Context(), db, recipient, m, from, 7)
				if err != nil || reached != rev {
					t.Errorf("%s: catching up from %d reached %d, %v, want %d", recipient, from, reached, err, rev)
				}
				sameInbox(t, fmt.Sprintf("%s, caught up from %d", recipient, from), m, want)
			}
		}
		if db.Dialect() == Postgres {
			assertNoDeadlocks(t, db)
		}
	})
}

func sameInbox(t *testing.T, name string, got, want model) {
	t.Helper()
	g, w := got.flags(), want.flags()
	for id := range w {
		if g[id] != w[id] {
			t.Errorf("%s: %s is %q, the tables have %q", name, id, g[id], w[id])
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s: %d notifications, the tables have %d", name, len(g), len(w))
	}
}

// assertNoDeadlocks asks the server, because the store would try again and hide them.
func assertNoDeadlocks(t *testing.T, db *DB) {
	t.Helper()
	var deadlocks int
	err := db.query().get(t.Context(), &deadlocks, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
	if err != nil || deadlocks != 0 {
		t.Errorf("%d deadlocks, %v", deadlocks, err)
	}
}

// New inboxes and old ones, in differing orders, by many transactions at once.
func TestInboxLocksNeverDeadlock(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, log := openMigrated(t, url)
		const rounds, writers, people, each = 10, 8, 60, 40
		for round := range rounds {
			var group errgroup.Group
			for i := range writers {
				r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				group.Go(func() error {
					var drafts []Draft
					for _, n := range r.Perm(people)[:each] { // two of three get their first notification in this round
						name := fmt.Sprintf("u%d", n)
						if n%3 > 0 {
							name = fmt.Sprintf("u%d-%d", n, round)
						}
						drafts = append(drafts, draft(name, "x"))
					}
					_, err := db.insert(t.Context(), drafts...)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		total := 0
		for _, c := range log.take() {
			total += len(c.Items)
		}
		if total != rounds*writers*each {
			t.Errorf("%d notifications were reported, want %d", total, rounds*writers*each)
		}
		if db.Dialect() == Postgres {
			assertNoDeadlocks(t, db)
		}
	})
}
