package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"duebell/internal/testenv"
)

// with is this program's migrations and further ones, by file name.
func (db *DB) with(t testing.TB, more map[string]string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	own := db.ownMigrations()
	names, err := fs.Glob(own, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(own, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	for name, text := range more {
		files[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return files
}

// load runs a script of many statements on an empty database.
func load(t testing.TB, url, file string) {
	t.Helper()
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if path, lite := strings.CutPrefix(url, "sqlite:"); lite {
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), string(script)); err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.PgConn().Exec(t.Context(), string(script)).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// lines are the first column of a query, sorted.
func (db *DB) lines(t testing.TB, query string) []string {
	t.Helper()
	var list []string
	if err := db.query().all(t.Context(), &list, query); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// schema is everything that migrations make, as text.
func (db *DB) schema(t testing.TB) []string {
	t.Helper()
	if db.Dialect() == SQLite {
		return db.lines(t, `SELECT type || ' ' || name || ': ' || COALESCE(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND name NOT LIKE '%goose%'`)
	}
	return db.lines(t, `
		SELECT c.table_name || '.' || c.column_name || ' ' || c.data_type || ' ' || c.is_nullable || ' ' || COALESCE(c.column_default, '') || ' ' || COALESCE(c.collation_name, '')
		FROM information_schema.columns AS c WHERE c.table_schema = 'public' AND c.table_name NOT LIKE 'goose%'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'
		UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
			WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'goose%'
		UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT proname || ' ' || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace`)
}

func (db *DB) tables(t testing.TB) []string {
	t.Helper()
	if db.Dialect() == SQLite {
		return db.lines(t, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%'`)
	}
	return db.lines(t, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'`)
}

// columns are those of each table.
func (db *DB) columns(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, table := range db.tables(t) {
		rows, err := db.reader.QueryxContext(t.Context(), `SELECT * FROM `+table+` LIMIT 0`)
		if err != nil {
			t.Fatal(err)
		}
		if all[table], err = rows.Columns(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return all
}

// contents are the rows of tables, of each the columns that are named.
func (db *DB) contents(t testing.TB, columns map[string][]string) []string {
	t.Helper()
	var list []string
	for table, names := range columns {
		rows, err := db.reader.QueryxContext(t.Context(), `SELECT `+strings.Join(names, ", ")+` FROM `+table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, err := rows.SliceScan()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprint(table, values))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(list)
	return list
}

// Each released version's database, with what was done on it, becomes this version's, with all of that, and goes on.
func TestUpFromEachReleasedVersion(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		var newest int64
		for number := int64(1); number == 1 || number <= newest; number++ {
			t.Run(fmt.Sprint("version", number), func(t *testing.T) {
				url := fresh(t, url)
				w := &world{t: t, committed: &committed{}}
				db, err := Open(t.Context(), url, Options{Committed: w.committed.add, Clock: w.clock})
				w.ok(err)
				t.Cleanup(func() { db.Close() })
				w.DB = db
				newest, err = newestMigration(db.ownMigrations())
				w.ok(err)
				load(t, url, filepath.Join("testdata", "released", fmt.Sprintf("%d.%s.sql", number, db.Dialect())))
				if have, err := db.version(t.Context()); err != nil || have != number {
					t.Fatalf("the fixture is of version %d, %v", have, err)
				}
				columns := db.columns(t)
				before := db.contents(t, columns)
				w.ok(db.Migrate(t.Context()))
				equal(t, "what was there before", db.contents(t, columns), before)

				var last instant
				w.ok(db.query().get(t.Context(), &last, `SELECT max(created_at) FROM notifications`))
				w.setTime(last.Add(time.Hour))
				w.goesOn()

				now, _ := openMigrated(t, fresh(t, url))
				equal(t, "tables from the beginning", db.schema(t), now.schema(t))
			})
		}
	})
}

// goesOn does a little of everything on the database of a fixture.
func (w *world) goesOn() {
	w.t.Helper()
	ctx := w.t.Context()
	w.ok(w.Ready(ctx))
	w.activate(testPolicy)
	w.noDrift()
	told, err := w.tellOne(ctx, "a1", func(c StatusChange, _ map[string]Person, _ time.Time) ([]Draft, error) {
		var drafts []Draft
		for _, id := range c.Recipients() {
			drafts = append(drafts, Draft{Recipient: id, Kind: "application.status_changed", Title: c.To})
		}
		return drafts, nil
	})
	if err != nil || told != 1 {
		w.t.Errorf("told %d changes, %v; one waited", told, err)
	}
	page, err := w.Changes(ctx, "ada", 0, "", 1000)
	w.ok(err)
	if len(page.Items) < 5 || len(page.Removed) != 1 {
		w.t.Errorf("ada has %d notifications, %d deleted", len(page.Items), len(page.Removed))
	}
	unread := int64(0)
	for _, n := range page.Items {
		if n.ReadAt == nil && n.ArchivedAt == nil && n.ResolvedAt == nil {
			unread++
		}
	}
	if page.Unread != unread || unread == 0 {
		w.t.Errorf("the inbox counts %d unread, its rows %d", page.Unread, unread)
	}
	created, err := w.AddPayment(ctx, Payment{ID: "p2", LoanID: "L1", Amount: 10000, PaidAt: w.clock(), BodyHash: "p2"})
	if err != nil || !created {
		w.t.Errorf("a payment: %v, %v", created, err)
	}
	if counts, err := w.ReadAll(ctx, "ada", nil); err != nil || counts.Unread != 0 {
		w.t.Errorf("read all: %+v, %v", counts, err)
	}
	sent := len(w.decided("L1")) + len(w.decided("L2"))
	w.setTime(w.clock().AddDate(0, 0, 30))
	w.run()
	if now := len(w.decided("L1")) + len(w.decided("L2")); now <= sent {
		w.t.Errorf("%d decisions, a month ago %d", now, sent)
	}
	w.noDrift()
}

// tomorrow is what a later version may add: to everything.
func (db *DB) tomorrow(t testing.TB) map[string]string {
	text := "CREATE TABLE of_tomorrow (id text NOT NULL PRIMARY KEY);\n"
	for _, table := range db.tables(t) {
		text += "ALTER TABLE " + table + " ADD COLUMN of_tomorrow text;\nALTER TABLE " + table + " ADD COLUMN counted_tomorrow bigint NOT NULL DEFAULT 0;\n" +
			"CREATE INDEX " + table + "_of_tomorrow ON " + table + " (of_tomorrow);\n"
	}
	return map[string]string{"90001_tomorrow.sql": text}
}

// In a rolling deploy a program of today works on the tables of tomorrow, and is started again on them, as also by whoever rolls
// back.
func TestTodayOnTheTablesOfTomorrow(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-20T00:30:00Z")
		w.ok(w.migrate(t.Context(), w.with(t, w.tomorrow(t))))
		h := &history{world: w, rand: rand.New(rand.NewPCG(7, 7))}
		for i := range 4 {
			w.user(fmt.Sprint("u", i))
		}
		h.loan()
		for range 80 {
			h.step()
		}
		h.check()
		w.noDrift()
		again, err := Open(t.Context(), url, Options{})
		w.ok(err)
		defer again.Close()
		w.ok(again.Migrate(t.Context()))
		w.ok(again.Ready(t.Context()))
		if n, err := again.version(t.Context()); err != nil || n != 90001 {
			t.Errorf("the tables are of version %d, %v", n, err)
		}
	})
}

func TestAFailedMigrationIsNamedAndChangesNothing(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-20T00:30:00Z")
		more := map[string]string{
			"90001_good.sql":   "CREATE TABLE good (id text);",
			"90002_broken.sql": "CREATE TABLE broken (id text);\nINSERT INTO nowhere VALUES (1);",
			"90003_never.sql":  "CREATE TABLE never (id text);",
		}
		err := w.migrate(t.Context(), w.with(t, more))
		if err == nil || !strings.Contains(err.Error(), "90002_broken.sql") || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("got %v, want the migration's name and why", err)
		}
		if n, err := w.version(t.Context()); err != nil || n != 90001 {
			t.Errorf("the tables are of version %d, %v", n, err)
		}
		if tables := w.tables(t); !slices.Contains(tables, "good") || slices.Contains(tables, "broken") || slices.Contains(tables, "never") {
			t.Errorf("the tables are %v", tables)
		}
		w.user("ann")
		w.loan("L1", "ann")
		w.schedule("L1", owes(1, "2026-03-23", 10000))
		w.set("2026-03-20T09:00:00Z")
		w.run()
		if told := w.told("ann"); len(told) != 1 {
			t.Errorf("on the database that it left, ann was told %v", told)
		}

		more["90002_broken.sql"] = "CREATE TABLE broken (id text);"
		w.ok(w.migrate(t.Context(), w.with(t, more)))
		if tables := w.tables(t); !slices.Contains(tables, "broken") || !slices.Contains(tables, "never") {
			t.Errorf("mended, the tables are %v", tables)
		}
	})
}

func TestAMigrationRunsOnce(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		var group errgroup.Group
		var first *DB
		for range 4 {
			db, err := Open(t.Context(), url, Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			if first == nil {
				first = db
			}
			files := db.with(t, map[string]string{"90001_counted.sql": "CREATE TABLE counted (n integer);\nINSERT INTO counted VALUES (1);",
				"90002_counted.sql": "INSERT INTO counted VALUES (1);"})
			group.Go(func() error { return db.migrate(t.Context(), files) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := len(first.lines(t, `SELECT CAST(n AS text) FROM counted`)); n != 2 {
			t.Errorf("two migrations ran %d times", n)
		}
		applied := first.lines(t, `SELECT CAST(version_id AS text) FROM goose_db_version WHERE is_applied`)
		if len(slices.Compact(slices.Clone(applied))) != len(applied) {
			t.Errorf("applied were %v", applied)
		}
	})
}

// Neither statement_timeout nor the limit for a silent server is for migrations.
func TestAMigrationMayTakeLongerThanACall(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	db, _ := openMigrated(t, url+"&statement_timeout=200ms")
	if _, err := db.query().exec(t.Context(), `SELECT pg_sleep(2)`); err == nil {
		t.Error("a call has no limit")
	}
	err := db.migrate(t.Context(), db.with(t, map[string]string{"90001_slow.sql": "SELECT pg_sleep(" + fmt.Sprint((silenceMargin + time.Second).Seconds()) + ");"}))
	if err != nil {
		t.Error(err)
	}
	if _, err := db.query().exec(t.Context(), `SELECT pg_sleep(2)`); err == nil {
		t.Error("after a migration calls have no limit any more")
	}
}

// A back-up reads the tables for hours. A migration that must have them for itself comes again and again meanwhile, and keeps nobody waiting
// for long.
func TestAMigrationGivesWayToABackup(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	load(t, url, filepath.Join("testdata", "released", "7.postgres.sql")) // the next one needs loans for itself
	db, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	backup, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer backup.Close(context.WithoutCancel(t.Context()))
	if _, err := backup.Exec(t.Context(), "BEGIN; LOCK TABLE loans IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	var migrated errgroup.Group
	migrated.Go(func() error { return db.Migrate(t.Context()) })
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := db.writer.ExecContext(ctx, `UPDATE loans SET updated_at = updated_at`)
		cancel()
		if err != nil {
			t.Fatalf("a loan waits for a migration that waits: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if n, err := db.version(t.Context()); err != nil || n != 7 {
		t.Fatalf("it is of version %d beside a back-up, %v", n, err)
	}
	if _, err = backup.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := migrated.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := db.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
