package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sync/errgroup"

	"duebell/internal/policy"
	"duebell/internal/testenv"
)

const days = 24 * time.Hour

// prune removes what is older, and says how much that was.
func (w *world) prune(notifications, decisions time.Duration) Pruned {
	w.t.Helper()
	var sum Pruned
	w.ok(w.Prune(w.t.Context(), policy.Retention{Notifications: notifications, Decisions: decisions}, func(p Pruned) {
		if max(p.Notifications+p.Tombstones, p.Decisions, p.Told) > pruneBatch {
			w.t.Errorf("one transaction removed %+v, and others wait for it", p)
		}
		sum.Notifications += p.Notifications
		sum.Tombstones += p.Tombstones
		sum.Decisions += p.Decisions
		sum.Told += p.Told
	}))
	return sum
}

// rows is how many a table has.
func (w *world) rows(table string) int {
	w.t.Helper()
	var n int
	w.ok(w.query().get(w.t.Context(), &n, `SELECT count(*) FROM `+table))
	return n
}

func (w *world) head(recipient string) Head {
	w.t.Helper()
	_, heads, err := w.Heads(w.t.Context(), []string{recipient})
	w.ok(err)
	return heads[0]
}

func TestRetention(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		t.Run("anOldNotificationIsRemovedThenForgotten", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-01-01T12:00:00Z")
			old := draft("ann", "old")
			old.Key = "once"
			first, err := w.insert(t.Context(), old, draft("ann", "deleted"), draft("ben", "also old"))
			w.ok(err)
			w.set("2026-01-02T12:00:00Z")
			_, err = w.Delete(t.Context(), "ann", first[1].ID)
			w.ok(err)
			w.set("2026-02-01T12:00:00Z")
			_, err = w.insert(t.Context(), draft("ann", "young"))
			w.ok(err)
			w.set("2027-02-05T12:00:00Z") // 400 days after the first: not older
			if got := w.prune(400*days, 0); got != (Pruned{}) {
				t.Errorf("at the age itself %+v was removed", got)
			}
			w.set("2027-02-05T12:00:00.002Z")
			w.committed.take()
			if got := w.prune(0, 0); got != (Pruned{}) {
				t.Errorf("a policy that keeps everything removed %+v", got)
			}
			// The owner deleted one long ago, so its tombstone goes with the same run.
			if got, want := w.prune(400*days, 0), (Pruned{Notifications: 2, Tombstones: 1}); got != want {
				t.Errorf("removed %+v, want %+v", got, want)
			}
			changes := w.committed.take()
			if len(changes) != 2 || changes[0].Recipient != "ann" || !slices.Equal(changes[0].Removed, []string{first[0].ID}) ||
				changes[0].From != 4 || changes[0].Counts != (Counts{5, 1, 1, 1}) ||
				changes[1].Recipient != "ben" || changes[1].Counts != (Counts{2, 0, 0, 0}) {
				t.Errorf("committed %+v", changes)
			}
			var words int
			w.ok(w.query().get(t.Context(), &words, `SELECT count(*) FROM notifications WHERE title || body LIKE '%old%' OR data IS NULL AND url IS NOT NULL`))
			if words != 0 {
				t.Error("what expired can still be read")
			}
			if h := w.head("ann"); h.FloorRev != 3 { // the rev of the deletion
				t.Errorf("floor %d", h.FloorRev)
			}
			// Who was there lately hears of it.
			page, err := w.Changes(t.Context(), "ann", 4, "", 10)
			if err != nil || !slices.Equal(page.Removed, []string{first[0].ID}) || page.FloorRev > 4 {
				t.Errorf("caught up with %+v, %v", page, err)
			}
			if got := w.prune(400*days, 0); got != (Pruned{}) {
				t.Errorf("a second run removed %+v", got)
			}
			w.set("2027-03-07T12:00:00Z") // 30 days after
			if got := w.prune(400*days, 0); got != (Pruned{}) {
				t.Errorf("clients that were away for less hear nothing of %+v", got)
			}
			w.set("2027-03-09T12:00:00Z")
			if got := w.prune(800*days, 0); got != (Pruned{}) {
				t.Errorf("tombstones of younger notifications went: %+v", got)
			}
			w.set("2027-03-07T12:00:00.003Z") // back again, before the next one is too old
			w.committed.take()
			if got, want := w.prune(400*days, 0), (Pruned{Tombstones: 2}); got != want {
				t.Errorf("removed %+v, want %+v", got, want)
			}
			if h := w.head("ann"); h.FloorRev != 5 || h.Rev != 5 {
				t.Errorf("head %+v: forgetting what is removed takes no rev", h)
			}
			if h := w.head("ben"); h.FloorRev != 2 || h.Rev != 2 {
				t.Errorf("head %+v", h)
			}
			if changes := w.committed.take(); len(changes) != 0 {
				t.Errorf("committed %+v", changes)
			}
			if n := w.rows("notifications"); n != 1 {
				t.Errorf("%d rows left", n)
			}
			// The key is outside of what is pruned: a task that comes back from the dead tells nothing.
			again, err := w.insert(t.Context(), old)
			if err != nil || again[0].ID != "" {
				t.Errorf("told again: %+v, %v", again, err)
			}
			assertCounters(t, w.DB, "ann")
			assertCounters(t, w.DB, "ben")
		})

		t.Run("manyGoInShortBatches", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-01-01T12:00:00Z")
			const people, each = 40, 25
			for range each {
				var drafts []Draft
				for i := range people {
					drafts = append(drafts, draft(fmt.Sprint("u", i), "x"))
				}
				_, err := w.insert(t.Context(), drafts...)
				w.ok(err)
				w.setTime(w.clock().Add(time.Second))
			}
			w.committed.take()
			w.set("2026-01-03T12:00:00Z")
			if got := w.prune(1*days, 0); got.Notifications != people*each {
				t.Errorf("removed %+v", got)
			}
			revs := make(map[string]int)
			for _, c := range w.committed.take() {
				revs[c.Recipient]++
				if c.Rev != c.From+1 {
					t.Errorf("a transaction took the revs from %d to %d of %s", c.From, c.Rev, c.Recipient)
				}
			}
			for i := range people {
				name := fmt.Sprint("u", i)
				assertCounters(t, w.DB, name)
				if most := people*each/pruneBatch + 1; revs[name] == 0 || revs[name] > most {
					t.Errorf("%s: %d revs, want 1 to %d", name, revs[name], most)
				}
			}
			w.set("2026-01-04T12:00:01Z")
			if got := w.prune(1*days, 0); got.Tombstones != people*each || w.rows("notifications") != 0 {
				t.Errorf("removed %+v, %d rows left", got, w.rows("notifications"))
			}
		})

		t.Run("aReminderGoesOutOnceEver", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.activate(strings.Replace(testPolicy, "max_late: 2d\n", "", 1)) // nothing is ever too late
			w.user("ann", "otto")
			w.loan("L1", "ann", Party{UserID: "otto", Role: RoleOfficer, Notify: []string{policy.KindOverdue}})
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			for day := 1; day <= 45; day++ {
				w.setTime(time.Date(2026, 3, day, 9, 0, 0, 0, time.UTC))
				w.run()
			}
			told, summaries := w.told("ann"), w.told("otto")
			if len(told) != 7 || len(summaries) != 3 {
				t.Fatalf("told %v and %v", told, summaries)
			}
			log := w.decided("L1")
			w.set("2029-06-01T12:00:00Z")
			if got := w.prune(0, 1100*days); got.Decisions != len(log) {
				t.Errorf("%+v of %d decisions went", got, len(log))
			}
			equal(t, "log", w.decided("L1"), nil)

			// Whatever makes the date due again, it was sent.
			again := func(what string) {
				t.Helper()
				w.run()
				equal(t, what+": ann", w.told("ann"), told)
				equal(t, what+": otto", w.told("otto"), summaries)
				w.noDrift()
			}
			again("nothing")
			w.pay("p1", "L1", 10000)
			for _, title := range w.told("ann") {
				if !strings.HasSuffix(title, " ✓") {
					t.Errorf("%q isn't resolved by the payment: the decision that led to it has gone", title)
				}
			}
			w.noDrift()
			_, err := w.ReversePayment(t.Context(), "p1")
			w.ok(err)
			again("a reversed payment")
			w.status("L1", "closed")
			w.status("L1", LoanActive)
			again("a loan that was closed")
			w.schedule("L1", owes(1, "2029-12-10", 10000))
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			w.run()
			again("a date that moved away and back")
			w.set("2033-06-01T12:00:00Z")
			w.prune(0, 1100*days)
			w.prune(0, 1100*days)
			w.status("L1", "closed")
			w.status("L1", LoanActive)
			again("years later")

			// What wasn't sent still may be.
			w.activate(strings.Replace(testPolicy, "max_late: 2d\n", "", 1) + "retention: {decisions: 1d}\n")
			w.schedule("L1", owes(1, "2026-03-10", 10000), owes(2, "2033-06-02", 500))
			w.run()
			if got := w.told("ann"); len(got) <= len(told) {
				t.Errorf("another date isn't told: %v", got)
			}
		})

		t.Run("whatIsInTheDueQueueKeepsItsLog", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.activate(testPolicy + "caps: {per_person_per_day: 1}\n")
			w.user("ann")
			w.loan("L1", "ann")
			w.loan("L2", "ann")
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			w.schedule("L2", owes(1, "2026-03-10", 10000))
			w.set("2026-03-03T09:00:00Z")
			w.run()
			w.noDrift() // which looks at what was held
			w.setTime(w.clock().Add(time.Second))
			before := len(w.decided("L1")) + len(w.decided("L2"))
			if got := w.prune(0, time.Millisecond); got.Decisions != 0 {
				t.Errorf("%+v went of reminders that wait", got)
			}
			if after := len(w.decided("L1")) + len(w.decided("L2")); after != before || before != 2 {
				t.Errorf("%d decisions before, %d after", before, after)
			}
			w.noDrift()
		})

		t.Run("aRepeatIsKnownWithoutItsWords", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.user("ann")
			at := w.clock()
			change := func(id, reason, hash string) StatusChange {
				return StatusChange{ID: id, ApplicationID: "A1", BorrowerID: "ann", To: "rejected", Reason: reason, OccurredAt: at, BodyHash: hash}
			}
			request := func(text, hash string) Request { return Request{ID: "r1", Body: []byte(text), BodyHash: hash} }
			for _, c := range []StatusChange{change("c1", "secret words", "h1"), change("c2", "secret words", "")} {
				_, err := w.addOne(t.Context(), c)
				w.ok(err)
			}
			_, err := w.requestOne(t.Context(), request(`{"body":"secret words"}`, "h3"))
			w.ok(err)
			waiting := Request{ID: "r2", Body: []byte(`{"body":"not told yet"}`), BodyHash: "h4"}
			w.ok(func() error {
				if _, err := w.tellOne(t.Context(), "A1", tellRejected); err != nil {
					return err
				}
				_, err := w.TellRequest(t.Context(), "r1", planNothing)
				return err
			}())
			_, err = w.requestOne(t.Context(), waiting)
			w.ok(err)
			inbox := w.told("ann")
			w.set("2027-05-01T12:00:00Z")
			_, err = w.insert(t.Context(), draft("ann", "young"))
			w.ok(err)
			if got := w.prune(400*days, 1*days); got.Told != 3 {
				t.Errorf("removed %+v", got)
			}
			var left []string
			w.ok(w.query().all(t.Context(), &left, `
				SELECT COALESCE(reason, '') FROM status_changes UNION ALL SELECT CAST(body AS text) FROM notification_requests`))
			if text := strings.Join(left, " "); strings.Contains(text, "secret") || !strings.Contains(text, "not told yet") {
				t.Errorf("left is %q", left)
			}
			for _, c := range []StatusChange{change("c1", "secret words", "h1"), change("c2", "secret words", "")} {
				if created, err := w.addOne(t.Context(), c); created || err != nil {
					t.Errorf("%s again: created %v, %v", c.ID, created, err)
				}
			}
			other := change("c2", "", "")
			other.To = "approved"
			for _, c := range []StatusChange{change("c1", "secret words", "other"), other} {
				if _, err := w.addOne(t.Context(), c); !errors.Is(err, ErrConflict) {
					t.Errorf("%s with another body: %v", c.ID, err)
				}
			}
			if created, err := w.requestOne(t.Context(), request(`{"body":"secret words"}`, "h3")); created || err != nil {
				t.Errorf("request again: created %v, %v", created, err)
			}
			if _, err := w.requestOne(t.Context(), request(`{"body":"secret words"}`, "other")); !errors.Is(err, ErrConflict) {
				t.Errorf("request with another body: %v", err)
			}
			if n, err := w.tellOne(t.Context(), "A1", tellRejected); n != 0 || err != nil {
				t.Errorf("told again: %d, %v", n, err)
			}
			if len(inbox) != 2 {
				t.Errorf("ann was told %v", inbox)
			}
			equal(t, "inbox", w.told("ann"), []string{"young"})
		})
	})
}

func tellRejected(c StatusChange, _ map[string]Person, _ time.Time) ([]Draft, error) {
	return []Draft{{Recipient: c.BorrowerID, Kind: policy.KindStatusChanged, Title: "Rejected", Body: c.Reason}}, nil
}

func planNothing(Request) (Telling, error) {
	return Telling{Tell: func(map[string]Person, time.Time) ([]Draft, error) { return nil, nil }}, nil
}

// A database of the version before has rows that retention has never seen; a restored back-up is one too.
func TestRetentionOfAnOlderDatabase(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, err := Open(t.Context(), url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		files, err := fs.Sub(migrations, "migrations/"+db.Dialect())
		if err != nil {
			t.Fatal(err)
		}
		dialect := map[string]goose.Dialect{Postgres: goose.DialectPostgres, SQLite: goose.DialectSQLite3}[db.Dialect()]
		provider, err := goose.NewProvider(dialect, db.writer.DB, files)
		if err == nil {
			_, err = provider.UpTo(t.Context(), 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ready(t.Context()); err == nil {
			t.Error("a database of the version before is ready")
		}
		err = db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
			old := tx.now.Add(-500 * days)
			for i, statement := range []string{
				`INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, reason, occurred_at, done_at) VALUES ('c1', 'A', 'ann', 'a', 'b', 'words', ?, ?)`,
				`INSERT INTO notification_requests (id, body, body_hash, created_at, done_at) VALUES ('r1', '{"words":1}', 'h', ?, ?)`,
			} {
				if _, err := tx.exec(ctx, statement, old, old); err != nil {
					return fmt.Errorf("statement %d: %w", i, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		var sum Pruned
		err = db.Prune(t.Context(), policy.Retention{Notifications: 400 * days}, func(p Pruned) { sum.Told += p.Told })
		if err != nil || sum.Told != 2 {
			t.Errorf("removed %+v, %v", sum, err)
		}
	})
}

// present is an inbox as its owner fetches it after a reset, and its rev.
func present(ctx context.Context, db *DB, recipient string) (m model, rev int64, err error) {
	m = make(model)
	err = db.read(ctx, func(q queryer) error {
		err := q.get(ctx, &rev, `SELECT COALESCE(max(rev), 0) FROM inboxes WHERE recipient = ?`, recipient)
		if err != nil {
			return err
		}
		return q.each(ctx, func(row scanner) error {
			var n Notification
			err := scanNotification(row, &n)
			m[n.ID] = n
			return err
		}, `SELECT `+notificationColumns+` FROM notifications WHERE recipient = ? AND deleted_at IS NULL`, recipient)
	})
	return m, rev, err
}

// resume catches up as a session does: page by page, and with a reset where the cursor is below the floor.
func resume(ctx context.Context, db *DB, recipient string, m model, cursor int64, limit int) (_ model, rev int64, reset bool, err error) {
	page := Page{LastRev: cursor}
	for {
		page, err = db.Changes(ctx, recipient, page.LastRev, page.LastID, limit)
		if err != nil {
			return nil, 0, false, err
		}
		if cursor < page.FloorRev {
			m, rev, err = present(ctx, db, recipient)
			return m, rev, true, err
		}
		m.put(page.Items, page.Removed)
		if page.More {
			continue
		}
		if unread, total := m.counts(); unread != page.Unread || total != page.Total {
			return nil, 0, false, fmt.Errorf("caught up from %d to %d with %d unread of %d, the page says %+v", cursor, page.Rev, unread, total, page.Counts)
		}
		return m, page.Rev, false, nil
	}
}

// While people read, write and delete, time passes and two runs of retention are at work: counters stay what counting says,
// in every snapshot; what is reported is an unbroken chain that leads to what the tables have; and so does catching up
// from anywhere above the floor, where a cursor below it is told to start over.
func TestRetentionUnderConcurrentWriters(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		recipients := []string{"a", "B", "č", "d4", "E"}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		const writers, acts = 6, 40
		known := &known{}
		var pruned, resets atomic.Int64
		acted := make([]chan struct{}, len(recipients)+2) // wake-ups of observers and pruners; closed when all is written
		for i := range acted {
			acted[i] = make(chan struct{}, 1)
		}
		var others, group errgroup.Group
		for i := range writers {
			wr := &writer{db: w.DB, recipients: recipients, rand: rand.New(rand.NewPCG(seed, uint64(i))), known: known}
			group.Go(func() error {
				for range acts {
					if err := wr.act(t.Context()); err != nil {
						return err
					}
					w.mu.Lock()
					w.now = w.now.Add(time.Duration(wr.rand.IntN(120)) * time.Minute)
					w.mu.Unlock()
					select {
					case acted[wr.rand.IntN(len(acted))] <- struct{}{}:
					default:
					}
				}
				return nil
			})
		}
		for _, wake := range acted[len(recipients):] {
			others.Go(func() error {
				for more := true; more; {
					_, more = <-wake
					err := w.Prune(t.Context(), policy.Retention{Notifications: 1 * days}, func(p Pruned) { pruned.Add(int64(p.Tombstones)) })
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		for i, recipient := range recipients {
			others.Go(func() error {
				m, cursor := make(model), int64(0)
				for more := true; more; {
					_, more = <-acted[i]
					row, tables, err := counted(t.Context(), w.DB, recipient)
					if err != nil || row != tables {
						return fmt.Errorf("inbox of %s says %+v, counting says %+v, %w", recipient, row, tables, err)
					}
					next, reset := int64(0), false
					if m, next, reset, err = resume(t.Context(), w.DB, recipient, m, cursor, 1+i); err != nil {
						return fmt.Errorf("%s: %w", recipient, err)
					}
					if next < cursor {
						return fmt.Errorf("%s: caught up from %d to %d", recipient, cursor, next)
					}
					if reset {
						resets.Add(1)
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
		if err := others.Wait(); err != nil {
			t.Error(err)
		}
		t.Logf("%d rows forgotten, %d resets", pruned.Load(), resets.Load())
		if pruned.Load() == 0 {
			t.Error("nothing was pruned")
		}

		changes := w.committed.take()
		slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.From, b.From) })
		for _, recipient := range recipients {
			assertCounters(t, w.DB, recipient)
			want := tables(t, w.DB, recipient)
			floor := w.head(recipient).FloorRev
			live, rev := make(model), int64(0)
			checkpoints := map[int64]model{0: {}}
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
				copied := make(model)
				for id, n := range live {
					copied[id] = n
				}
				checkpoints[rev] = copied
			}
			sameInbox(t, recipient+", live", live, want)
			for from, m := range checkpoints {
				m, reached, reset, err := resume(t.Context(), w.DB, recipient, m, from, 7)
				if err != nil || reached != rev || reset != (from < floor) {
					t.Errorf("%s: catching up from %d reached %d, reset %v, %v, want %d; the floor is %d", recipient, from, reached, reset, err, rev, floor)
				}
				sameInbox(t, fmt.Sprintf("%s, caught up from %d", recipient, from), m, want)
			}
		}
		if w.Dialect() == Postgres {
			assertNoDeadlocks(t, w.DB)
		}
	})
}
