package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"duebell/internal/civil"
	"duebell/internal/testenv"
)

func TestWrite(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, log := openMigrated(t, url)
		t.Run("ErrorUndoesEverythingAndReportsNothing", func(t *testing.T) {
			broken := errors.New("broken")
			err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
				tx.atEnd([]string{"ann"}, func(ctx context.Context) error {
					if _, err := tx.insert(ctx, []Draft{draft("ann", "one")}); err != nil {
						return err
					}
					return broken
				})
				return nil
			})
			if !errors.Is(err, broken) {
				t.Fatalf("write = %v, want the function's error", err)
			}
			_, heads, err := db.Heads(t.Context(), []string{"ann"})
			if err != nil || heads[0].Rev != 0 || len(log.take()) != 0 {
				t.Errorf("heads = %+v, %v and changes after a rollback, want none", heads, err)
			}
		})

		t.Run("QueuedFunctionsRunInOrderUnderOneLock", func(t *testing.T) {
			err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
				tx.atEnd([]string{"b"}, func(ctx context.Context) error {
					_, err := tx.insert(ctx, []Draft{draft("b", "first")})
					tx.atEnd([]string{"b"}, func(ctx context.Context) error {
						_, err := tx.insert(ctx, []Draft{draft("b", "third")})
						return err
					})
					return err
				})
				tx.atEnd([]string{"a", "b"}, func(ctx context.Context) error {
					_, err := tx.insert(ctx, []Draft{draft("b", "second"), draft("a", "other")})
					return err
				})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			changes := log.take()
			if len(changes) != 2 || changes[0].Recipient != "a" || changes[1].Rev != 3 {
				t.Fatalf("changes = %+v, want one of a and one of b with rev 3", changes)
			}
			for i, title := range []string{"first", "second", "third"} {
				if n := changes[1].Items[i]; n.Title != title || n.Rev != int64(i+1) {
					t.Errorf("item %d = %q at %d, want %q", i, n.Title, n.Rev, title)
				}
			}
		})

		t.Run("InboxNamedTooLateIsRefused", func(t *testing.T) {
			err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
				tx.atEnd([]string{"a"}, func(ctx context.Context) error {
					tx.atEnd([]string{"b"}, func(context.Context) error { return nil })
					return nil
				})
				return nil
			})
			if err == nil {
				t.Error("an inbox was named after the lock and the transaction committed")
			}
		})

		// Two transactions that wait for each other: PostgreSQL ends one of them, which runs again.
		t.Run("DeadlockIsTriedAgain", func(t *testing.T) {
			if db.Dialect() == SQLite {
				t.Skip("one writer can't deadlock")
			}
			for _, key := range []string{"a", "b"} {
				if _, err := db.writer.Exec(`INSERT INTO meta (key, value) VALUES ($1, '')`, key); err != nil {
					t.Fatal(err)
				}
			}
			holding := make(chan struct{}, 2)
			both := make(chan struct{})
			var group errgroup.Group
			for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
				first := true
				group.Go(func() error {
					return db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
						for i, key := range order {
							if _, err := tx.exec(ctx, `UPDATE meta SET value = value || '.' WHERE key = ?`, key); err != nil {
								return err
							}
							if i == 0 && first {
								first = false
								holding <- struct{}{}
								<-both
							}
						}
						return nil
					})
				})
			}
			<-holding
			<-holding
			close(both)
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			var values []string
			if err := db.query().all(t.Context(), &values, `SELECT value FROM meta WHERE key IN ('a', 'b')`); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(values, []string{"..", ".."}) {
				t.Errorf("values = %q, want each written twice", values)
			}
		})
	})
}

// Programs on one file: each DB has a writer of its own.
func TestSQLiteWritersOfManyProgramsNeverSeeBusy(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "shared folder?", "duebell.db")
	const programs, each, rounds = 6, 3, 10
	var group errgroup.Group
	for p := range programs {
		db, _ := openMigrated(t, url)
		for i := range each {
			group.Go(func() error {
				for k := range rounds {
					if _, err := db.insert(t.Context(), draft("u", fmt.Sprint(p, i, k))); err != nil {
						return err
					}
					if _, _, err := db.Heads(t.Context(), []string{"u"}); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	db, _ := openMigrated(t, url)
	const n = programs * each * rounds
	_, heads, err := db.Heads(t.Context(), []string{"u"})
	if err != nil || heads[0].Counts != (Counts{n, n, n, n}) {
		t.Errorf("head = %+v, %v, want %d of everything", heads[0], err, n)
	}
}

// What table hands over must arrive the same on both databases.
func TestTable(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		q := db.query()
		text, number := `{"a": "ě \" , {}"}`, int64(-7)
		at := time.Date(2026, 3, 8, 2, 30, 0, 123456000, time.UTC)
		type row struct {
			S string
			P *string
			J *string
			N *int64
			B bool
			D civil.Date
			T instant
			Z instant
		}
		v, args := q.table("v",
			col("s", "text", []string{`a,"b"`, ""}),
			col("p", "text", []*string{nil, &text}),
			col("j", "json", []*string{&text, nil}),
			col("n", "bigint", []*int64{&number, nil}),
			col("b", "boolean", []bool{true, false}),
			col("d", "date", []civil.Date{civil.MustParse("2026-03-08"), {}}),
			col("t", "timestamptz", []time.Time{at, at}),
			col("z", "timestamptz", []*time.Time{nil, &at}))
		var rows []row
		if err := q.all(t.Context(), &rows, `SELECT * FROM `+v+` ORDER BY s DESC`, args...); err != nil {
			t.Fatal(err)
		}
		r, s := rows[0], rows[1]
		if r.S != `a,"b"` || r.P != nil || *r.J != text || *r.N != number || !r.B || r.D != civil.MustParse("2026-03-08") ||
			!r.T.Equal(at) || !r.Z.IsZero() {
			t.Errorf("first row = %+v", r)
		}
		if s.S != "" || *s.P != text || s.J != nil || s.N != nil || s.B || !s.D.IsZero() || !s.Z.Equal(at) || s.Z.Location() != time.UTC {
			t.Errorf("second row = %+v", s)
		}
	})
}

func TestIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 3, 8, 2, 30, 0, 0, time.UTC)
	var last string
	for i := range 2000 {
		id := newIDs(at.Add(time.Duration(i)*time.Millisecond), 2)
		if id[0] >= id[1] || id[0] <= last || len(id[0]) != 26 || id[0] >= pastAnyID {
			t.Fatalf("ids %q after %q", id, last)
		}
		last = max(id[0], id[1])
	}
}

// Whatever a text holds, it comes out of an array as it went in.
func TestArraysKeepTexts(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		texts := []string{"", "NULL", "null", `"`, `\`, `\\"`, "{}", "{a,b}", ",", " a ", "a\nb\tc", "ž€😀", "'", "a\\"}
		tx := &Tx{queryer: db.query()}
		v, args := tx.table("v", col("n", "bigint", func() (n []int64) {
			for i := range texts {
				n = append(n, int64(i))
			}
			return n
		}()), col("s", "text", texts))
		var got []string
		if err := tx.all(t.Context(), &got, `SELECT s FROM `+v+` ORDER BY n`, args...); err != nil || !slices.Equal(got, texts) {
			t.Errorf("got %q, %v", got, err)
		}
		got = nil
		if err := tx.all(t.Context(), &got, `SELECT s FROM `+v+` WHERE `+tx.in("s")+` ORDER BY n`, append(args, tx.list(texts[3:]))...); err != nil || !slices.Equal(got, texts[3:]) {
			t.Errorf("in a list: %q, %v", got, err)
		}
	})
}
