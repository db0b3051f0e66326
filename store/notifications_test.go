package store

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"duebell/internal/testenv"
)

// step checks the counters and the only change of what was just done; want.Rev 0 means no change at all.
func (c *committed) step(t *testing.T, name string, got Counts, err error, want Counts) Change {
	t.Helper()
	changes := c.take()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if got != want {
		t.Fatalf("%s: counts = %+v, want %+v", name, got, want)
	}
	if len(changes) != 1 {
		t.Fatalf("%s: %d changes, want one", name, len(changes))
	}
	if changes[0].Counts != want || changes[0].From >= want.Rev {
		t.Fatalf("%s: change %+v, want counts %+v", name, changes[0], want)
	}
	return changes[0]
}

func (c *committed) nothing(t *testing.T, name string, got Counts, err error, want Counts) {
	t.Helper()
	if changes := c.take(); err != nil || got != want || len(changes) != 0 {
		t.Fatalf("%s: %+v, %v, changes %+v, want %+v and no change", name, got, err, changes, want)
	}
}

func TestInbox(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, log := openMigrated(t, url)
		t.Run("EveryActionMovesTheCounters", func(t *testing.T) {
			ctx := t.Context()
			ns, err := db.insert(ctx, draft("ann", "one"), draft("ann", "two"), draft("ann", "three"))
			if err != nil {
				t.Fatal(err)
			}
			_, heads, err := db.Heads(ctx, []string{"ann"})
			c := log.step(t, "insert", heads[0].Counts, err, Counts{Rev: 3, Unread: 3, Unseen: 3, Total: 3})
			if c.From != 0 || !reflect.DeepEqual(c.Items, ns) {
				t.Errorf("insert: change %+v, want the three notifications from 0", c)
			}
			one, two, three := ns[0].ID, ns[1].ID, ns[2].ID

			got, err := db.MarkRead(ctx, "ann", []string{one, two, one, "unknown"}, true)
			c = log.step(t, "read two", got, err, Counts{Rev: 4, Unread: 1, Unseen: 3, Total: 3})
			if len(c.Items) != 2 || c.Items[0].Rev != 4 || c.Items[1].Rev != 4 || c.Items[0].ReadAt == nil {
				t.Errorf("read two: items %+v, want both at rev 4", c.Items)
			}
			got, err = db.MarkRead(ctx, "ann", []string{one}, true)
			log.nothing(t, "read again", got, err, Counts{Rev: 4, Unread: 1, Unseen: 3, Total: 3})
			got, err = db.MarkRead(ctx, "ann", nil, true)
			log.nothing(t, "read none", got, err, Counts{Rev: 4, Unread: 1, Unseen: 3, Total: 3})
			got, err = db.MarkRead(ctx, "ann", []string{two}, false)
			log.step(t, "unread", got, err, Counts{Rev: 5, Unread: 2, Unseen: 3, Total: 3})

			upTo := int64(1)
			got, err = db.Seen(ctx, "ann", &upTo)
			c = log.step(t, "seen up to the first", got, err, Counts{Rev: 6, Unread: 2, Unseen: 2, Total: 3})
			if len(c.Items) != 0 || c.ReadThrough != 0 {
				t.Errorf("seen: change %+v, want no items", c)
			}
			got, err = db.Seen(ctx, "ann", &upTo)
			log.nothing(t, "seen again", got, err, Counts{Rev: 6, Unread: 2, Unseen: 2, Total: 3})

			got, err = db.Archive(ctx, "ann", three, true)
			log.step(t, "archive", got, err, Counts{Rev: 7, Unread: 1, Unseen: 1, Total: 2})
			got, err = db.Archive(ctx, "ann", three, true)
			log.nothing(t, "archive again", got, err, Counts{Rev: 7, Unread: 1, Unseen: 1, Total: 2})
			got, err = db.Archive(ctx, "ann", three, false)
			log.step(t, "unarchive", got, err, Counts{Rev: 8, Unread: 2, Unseen: 2, Total: 3})

			if err := db.resolve(ctx, []string{"ann"}, []string{two, one, "unknown"}, true); err != nil {
				t.Fatal(err)
			}
			_, heads, err = db.Heads(ctx, []string{"ann"})
			c = log.step(t, "resolve", heads[0].Counts, err, Counts{Rev: 9, Unread: 1, Unseen: 2, Total: 3})
			if len(c.Items) != 2 || c.Items[0].ResolvedAt == nil || c.Items[1].ResolvedAt == nil {
				t.Errorf("resolve: items %+v", c.Items)
			}
			err = db.resolve(ctx, []string{"ann"}, []string{two}, true)
			log.nothing(t, "resolve again", Counts{}, err, Counts{})
			if err := db.resolve(ctx, []string{"ann"}, []string{two}, false); err != nil {
				t.Fatal(err)
			}
			_, heads, err = db.Heads(ctx, []string{"ann"})
			log.step(t, "no longer resolved", heads[0].Counts, err, Counts{Rev: 10, Unread: 2, Unseen: 2, Total: 3})

			got, err = db.Delete(ctx, "ann", three)
			c = log.step(t, "delete", got, err, Counts{Rev: 11, Unread: 1, Unseen: 1, Total: 2})
			if len(c.Items) != 0 || len(c.Removed) != 1 || c.Removed[0] != three {
				t.Errorf("delete: change %+v", c)
			}
			got, err = db.ReadAll(ctx, "ann", nil)
			c = log.step(t, "read all", got, err, Counts{Rev: 12, Unread: 0, Unseen: 1, Total: 2})
			if c.ReadThrough != 11 || len(c.Items) != 0 {
				t.Errorf("read all: change %+v, want read_through 11 and no items", c)
			}
			got, err = db.ReadAll(ctx, "ann", nil)
			log.nothing(t, "read all again", got, err, Counts{Rev: 12, Unread: 0, Unseen: 1, Total: 2})
			got, err = db.Seen(ctx, "ann", nil)
			log.step(t, "seen", got, err, Counts{Rev: 13, Unread: 0, Unseen: 0, Total: 2})
			got, err = db.Seen(ctx, "ann", nil)
			log.nothing(t, "seen again", got, err, Counts{Rev: 13, Unread: 0, Unseen: 0, Total: 2})
		})

		t.Run("FirstActionsOfSomebodyWithoutAnInboxChangeNothing", func(t *testing.T) {
			got, err := db.Seen(t.Context(), "bob", nil)
			log.nothing(t, "seen", got, err, Counts{})
			got, err = db.ReadAll(t.Context(), "bob", nil)
			log.nothing(t, "read all", got, err, Counts{})
		})

		t.Run("ForeignAndDeletedIDsAreNotFound", func(t *testing.T) {
			ctx := t.Context()
			ns, err := db.insert(ctx, draft("cat", "mine"), draft("v", "theirs"), draft("cat", "gone"))
			if err != nil {
				t.Fatal(err)
			}
			theirs, gone := ns[1].ID, ns[2].ID
			if _, err := db.Delete(ctx, "cat", gone); err != nil {
				t.Fatal(err)
			}
			log.take()
			for _, id := range []string{theirs, gone, "", "x"} {
				_, read := db.MarkRead(ctx, "cat", []string{id}, true)
				_, archive := db.Archive(ctx, "cat", id, true)
				_, remove := db.Delete(ctx, "cat", id)
				for _, err := range []error{read, archive, remove} {
					if !errors.Is(err, ErrNotFound) {
						t.Errorf("%q: %v, want ErrNotFound", id, err)
					}
				}
			}
			if changes := log.take(); len(changes) != 0 {
				t.Errorf("changes %+v, want none", changes)
			}
		})

		t.Run("DeletedWordsAreGone", func(t *testing.T) {
			ns, err := db.insert(t.Context(), draft("dan", "secret"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Delete(t.Context(), "dan", ns[0].ID); err != nil {
				t.Fatal(err)
			}
			var left string
			err = db.query().get(t.Context(), &left, `SELECT title || body || COALESCE(url, '') FROM notifications WHERE data IS NULL`)
			if err != nil || left != "" {
				t.Errorf("the tombstone still says %q, %v", left, err)
			}
		})

		t.Run("AKeyIsToldOnce", func(t *testing.T) {
			d := draft("eve", "once")
			d.Key = "loan L1, 7 days"
			other := draft("eve", "other")
			other.Key = "loan L2, 7 days"
			first, err := db.insert(t.Context(), d, d)
			if err != nil || first[0].ID == "" || first[1].ID != "" {
				t.Fatalf("inserted %+v, %v, want only the first", first, err)
			}
			second, err := db.insert(t.Context(), d, other, draft("eve", "no key"))
			if err != nil || second[0].ID != "" || second[1].Rev != 2 || second[2].Rev != 3 {
				t.Fatalf("inserted %+v, %v, want the last two at 2 and 3", second, err)
			}
			log.take()
			again, err := db.insert(t.Context(), d, other)
			if err != nil || again[0].ID+again[1].ID != "" || len(log.take()) != 0 {
				t.Errorf("inserted %+v, %v, want nothing and no change", again, err)
			}
		})

		t.Run("ReadAllUpToARevLeavesNewerOnesUnread", func(t *testing.T) {
			ctx := t.Context()
			if _, err := db.insert(ctx, draft("fay", "old")); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				_, heads, err := db.Heads(ctx, []string{"fay"})
				if err != nil {
					t.Fatal(err)
				}
				shown := heads[0].Rev
				log.take()
				var group errgroup.Group
				group.Go(func() error { _, err := db.insert(ctx, draft("fay", "new")); return err })
				group.Go(func() error { _, err := db.ReadAll(ctx, "fay", &shown); return err })
				if err := group.Wait(); err != nil {
					t.Fatal(err)
				}
				_, heads, err = db.Heads(ctx, []string{"fay"})
				if err != nil || heads[0].Unread != 1 {
					t.Fatalf("unread = %d, %v after read-all up to %d beside an insert, want 1", heads[0].Unread, err, shown)
				}
				for _, c := range log.take() {
					if c.ReadThrough != 0 && c.ReadThrough != shown {
						t.Errorf("read_through = %d, want %d", c.ReadThrough, shown)
					}
				}
			}
			assertCounters(t, db, "fay")
		})

		t.Run("TimesAreUTCMicroseconds", func(t *testing.T) {
			local := time.FixedZone("UTC-5", -5*3600)
			db, err := Open(t.Context(), url, Options{Clock: func() time.Time {
				return time.Date(2026, 3, 8, 2, 30, 0, 123456789, local)
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			ns, err := db.insert(t.Context(), draft("guy", "one"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.MarkRead(t.Context(), "guy", []string{ns[0].ID}, true); err != nil {
				t.Fatal(err)
			}
			list, err := db.List(t.Context(), ListQuery{Recipient: "guy"})
			if err != nil {
				t.Fatal(err)
			}
			want := time.Date(2026, 3, 8, 7, 30, 0, 123456000, time.UTC)
			n := list.Items[0]
			if ns[0].CreatedAt != want || n.CreatedAt != want || *n.ReadAt != want {
				t.Errorf("inserted %v, read %v and %v, want %v", ns[0].CreatedAt, n.CreatedAt, *n.ReadAt, want)
			}
			if !bytes.Equal(n.Data, ns[0].Data) || *n.URL != *ns[0].URL {
				t.Errorf("data %s and url %s, want %s and %s", n.Data, *n.URL, ns[0].Data, *ns[0].URL)
			}
		})
	})
}

func TestRevocations(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		ctx := t.Context()
		at := time.Date(2026, 3, 8, 7, 30, 0, 123456000, time.UTC)
		if got, err := db.NotBefore(ctx, "u"); err != nil || !got.IsZero() {
			t.Fatalf("NotBefore = %v, %v before any revocation", got, err)
		}
		for _, instant := range []time.Time{at, at.Add(-time.Hour)} { // the earlier one changes nothing
			if err := db.Revoke(ctx, "u", instant); err != nil {
				t.Fatal(err)
			}
			if got, err := db.NotBefore(ctx, "u"); err != nil || got != at {
				t.Errorf("NotBefore = %v, %v, want %v", got, err, at)
			}
		}
		_, heads, err := db.Heads(ctx, []string{"v", "u"})
		if err != nil || heads[1].NotBefore != at || !heads[0].NotBefore.IsZero() {
			t.Errorf("heads = %+v, %v", heads, err)
		}
		_, revs, notBefore, err := db.Revs(ctx, []string{"u", "v", "u"})
		if err != nil || len(revs) != 3 || notBefore[0] != at || !notBefore[1].IsZero() || notBefore[2] != at {
			t.Errorf("revs = %v, not before %v, %v", revs, notBefore, err)
		}
	})
}

func TestClock(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		ctx := t.Context()
		if now, err := db.ClockNow(ctx); err != nil || !now.IsZero() {
			t.Errorf("ClockNow = %v, %v before it was saved", now, err)
		}
		for _, at := range []time.Time{time.Date(2026, 3, 8, 6, 0, 0, 0, time.UTC), time.Date(2026, 3, 8, 7, 0, 0, 1000, time.UTC)} {
			if err := db.SaveClock(ctx, at); err != nil {
				t.Fatal(err)
			}
			if now, err := db.ClockNow(ctx); err != nil || now != at {
				t.Errorf("ClockNow = %v, %v, want %v", now, err, at)
			}
		}
		for range 2 {
			if err := db.UseClock(ctx, ClockSimulated); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.UseClock(ctx, ClockReal); err == nil {
			t.Error("a database that has run on a simulated clock took the real one")
		}
		if err := db.UseClock(ctx, "sundial"); err == nil {
			t.Error("an unknown kind of clock was taken")
		}
	})
}

// An inbox is made for who is told, not for whoever was read on the way there.
func TestOnlyWhoIsToldGetsAnInbox(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ana")
		w.user("olga")
		_, err := w.addOne(t.Context(), StatusChange{ID: "c1", ApplicationID: "a1", BorrowerID: "ana", From: "a", To: "b", OccurredAt: w.clock(), Notify: []string{"olga"}})
		w.ok(err)
		told, err := w.tellOne(t.Context(), "a1", func(c StatusChange, people map[string]Person, _ time.Time) ([]Draft, error) {
			if len(people) != 2 {
				t.Errorf("people: %v", people)
			}
			return []Draft{draft(c.BorrowerID, "told")}, nil
		})
		w.ok(err)
		if told != 1 {
			t.Errorf("%d told", told)
		}
		if got := w.lines(t, `SELECT recipient FROM inboxes`); !slices.Equal(got, []string{"ana"}) {
			t.Errorf("inboxes of %v", got)
		}
	})
}
