package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"duebell/internal/testenv"
)

func TestPostedStatements(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		db.writer.SetMaxOpenConns(1) // each transaction has the connection of the one before
		put := func(ctx context.Context, tx *Tx, key, value string) error {
			return tx.post(ctx, "put "+key, `INSERT INTO meta (key, value) VALUES (?, ?)`, key, value)
		}
		read := func(q queryer) (values []string) {
			t.Helper()
			if err := q.all(t.Context(), &values, `SELECT value FROM meta WHERE key LIKE 'p%' ORDER BY key`); err != nil {
				t.Fatal(err)
			}
			return values
		}
		want := func(what string, got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}

		// They come before whatever is asked, and are committed when nothing is.
		err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
			if err := put(ctx, tx, "p1", "one"); err != nil {
				return err
			}
			want("asked at once", read(tx.queryer), "one")
			if err := put(ctx, tx, "p2", "two"); err != nil {
				return err
			}
			var first, all []string
			err := tx.together(ctx,
				statement{query: `SELECT value FROM meta WHERE key LIKE 'p%' ORDER BY key`, scan: texts(&first)},
				statement{query: `UPDATE meta SET value = value || '!' WHERE key = ?`, args: []any{"p1"}},
				statement{query: `SELECT value FROM meta WHERE key LIKE 'p%' ORDER BY key`, scan: texts(&all)})
			want("before the update", first, "one", "two")
			want("after it", all, "one!", "two")
			return errors.Join(err, put(ctx, tx, "p3", "three"))
		})
		if err != nil {
			t.Fatal(err)
		}
		want("committed", read(db.query()), "one!", "two", "three")

		// What fails, fails the transaction and says what it was, wherever it was sent.
		for name, ask := range map[string]func(ctx context.Context, tx *Tx) error{
			"by the commit": func(context.Context, *Tx) error { return nil },
			"by a statement": func(ctx context.Context, tx *Tx) error {
				_, err := tx.exec(ctx, `UPDATE meta SET value = '' WHERE key = 'p1'`)
				return err
			},
			"by a read": func(ctx context.Context, tx *Tx) error {
				return tx.get(ctx, new(string), `SELECT value FROM meta WHERE key = 'p1'`)
			},
		} {
			err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
				if err := put(ctx, tx, "p4", "four"); err != nil {
					return err
				}
				if err := put(ctx, tx, "p1", "again"); err != nil {
					return err
				}
				return ask(ctx, tx)
			})
			if err == nil || !badRow(err) || !strings.Contains(err.Error(), "put p1: ") {
				t.Errorf("found %s: %v", name, err)
			}
			want("after an error found "+name, read(db.query()), "one!", "two", "three")
		}

		// So does one that scan refuses, in the middle of an answer, and a panic.
		refused := errors.New("refused")
		err = db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
			if err := put(ctx, tx, "p4", "four"); err != nil {
				return err
			}
			return tx.together(ctx, statement{query: `SELECT key FROM meta`, scan: func(scanner) error { return refused }},
				statement{query: `SELECT key FROM meta`, scan: texts(new([]string))})
		})
		if !errors.Is(err, refused) {
			t.Errorf("scan refused: %v", err)
		}
		func() {
			defer func() { recover() }()
			db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
				if _, err := tx.exec(ctx, `DELETE FROM meta WHERE key = 'p1'`); err != nil {
					return err
				}
				panic("in the transaction")
			})
		}()
		want("after a panic", read(db.query()), "one!", "two", "three")

		// Nobody waits for a transaction whose caller has gone.
		ctx, cancel := context.WithCancel(t.Context())
		err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
			_, err := tx.exec(ctx, `DELETE FROM meta WHERE key = 'p1'`)
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		want("after one that was cancelled", read(db.query()), "one!", "two", "three")
	})
}

// PostgreSQL answers COMMIT with a rollback after an error that somebody passed over.
func TestAnErrorThatIsPassedOverIsFoundByTheCommit(t *testing.T) {
	db, _ := openMigrated(t, testenv.Postgres(t))
	err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
		tx.exec(ctx, `SELECT 1 / 0`)
		return nil
	})
	if !errors.Is(err, errRolledBack) {
		t.Errorf("write = %v", err)
	}
}

// TestCommitIsKnownByItsName: the harness of chaos/proxy.go loses commits, which it knows by what pgx calls the statement.
func TestCommitIsKnownByItsName(t *testing.T) {
	db, _ := openMigrated(t, testenv.Postgres(t))
	db.writer.SetMaxOpenConns(1)
	var names []string
	for range 2 { // the second finds what the first has left on the connection
		names = nil
		err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
			return tx.all(ctx, &names, `SELECT name FROM pg_prepared_statements WHERE statement = 'COMMIT'`)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	digest := sha256.Sum256([]byte("COMMIT"))
	if want := "stmtcache_" + hex.EncodeToString(digest[:24]); !slices.Equal(names, []string{want}) {
		t.Errorf("COMMIT is kept as %q, want %q", names, want)
	}
}

// TestTellingTakesFewRoundTrips: while it tells, a transaction holds applications, people and inboxes, and the machine is shared: so
// what matters is how often it waits for an answer, however many changes it tells.
func TestTellingTakesFewRoundTrips(t *testing.T) {
	w := setup(t, testenv.Postgres(t), "2026-03-01T12:00:00Z")
	counted := w.counted()
	tell := func(c StatusChange, _ map[string]Person, _ time.Time) ([]Draft, error) {
		return []Draft{{Recipient: c.BorrowerID, Kind: "application.status", Title: c.ID}}, nil
	}
	told := func(ids ...string) (trips int64) {
		t.Helper()
		rows := make([]StatusChange, len(ids))
		for i, id := range ids {
			rows[i] = StatusChange{ID: id, ApplicationID: "app-" + id, BorrowerID: "b" + id[1:], From: "a", To: "b", OccurredAt: w.clock()}
		}
		for _, added := range w.AddStatusChanges(t.Context(), rows) {
			w.ok(added.Err)
		}
		counted.trips.Store(0)
		n, err := w.TellApplications(t.Context(), pluck(rows, func(c StatusChange) string { return c.ApplicationID }), tell)
		w.ok(err)
		if n != len(ids) {
			t.Fatalf("%d of %d changes told", n, len(ids))
		}
		return counted.trips.Load()
	}
	told("a1", "a2", "a3") // makes their inboxes
	// The changes; the people and their inboxes; the notifications and the commit.
	if one, three := told("b1"), told("c1", "c2", "c3"); one != 3 || three != 3 {
		t.Errorf("%d round trips for one change, %d for three", one, three)
	}
}
