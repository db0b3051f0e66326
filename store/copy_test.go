package store

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/testenv"
)

// What COPY and INSERT write is what PostgreSQL reads of the same as text, for each type and its odd values.
func TestRowsByCopyAreRowsByInsert(t *testing.T) {
	db, _ := openMigrated(t, testenv.Postgres(t))
	const columns = `(n bigint, text text, optional text, document json, small smallint, plain integer, flag boolean, at timestamptz, later timestamptz, day date, list jsonb, big bigint, raw json)`
	if _, err := db.writer.ExecContext(t.Context(), `CREATE TABLE by_copy `+columns+`; CREATE TABLE by_insert `+columns+`; CREATE TABLE by_text `+columns); err != nil {
		t.Fatal(err)
	}
	odd := "é \"quoted\" \\back\\slash\\ {a,b} NULL 日本 \n\t"
	texts := []string{"", "plain", odd, strings.Repeat(odd, 5000), "NULL", "null", `\N`, `\.`}
	documents := []*string{nil, new(`{"a":"\u00e9\"","b":[1, 2]}`), new(`null`)}
	smalls := []int{0, 1, -1, math.MaxInt16, math.MinInt16}
	plains := []int{0, -45, math.MaxInt32, math.MinInt32}
	bigs := []int64{0, -1, math.MaxInt64, math.MinInt64}
	times := []time.Time{time.Date(2026, 3, 29, 2, 30, 0, 123456789, time.FixedZone("", 3600)), time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		epoch, time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
	days := []civil.Date{{}, civil.MustParse("2000-01-01"), civil.MustParse("1999-12-31"), civil.MustParse("2024-02-29"), civil.MustParse("1900-01-01"), civil.MustParse("9999-12-31")}
	rows := func(n int) []column {
		at := make([]int, n)
		for i := range at {
			at[i] = i
		}
		return []column{
			col("n", "bigint", pluck(at, func(i int) int64 { return bigs[i%len(bigs)] })),
			col("text", "text", pluck(at, func(i int) string { return texts[i%len(texts)] })),
			col("optional", "text", pluck(at, func(i int) *string { return optional(texts[i%len(texts)]) })),
			col("document", "json", pluck(at, func(i int) *string { return documents[i%len(documents)] })),
			col("small", "smallint", pluck(at, func(i int) int { return smalls[i%len(smalls)] })),
			col("plain", "integer", pluck(at, func(i int) int { return plains[i%len(plains)] })),
			col("flag", "boolean", pluck(at, func(i int) bool { return i%2 == 0 })),
			col("at", "timestamptz", pluck(at, func(i int) time.Time { return times[i%len(times)] })),
			col("later", "timestamptz", pluck(at, func(i int) *time.Time { return [...]*time.Time{nil, &times[0], &times[4]}[i%3] })),
			col("day", "date", pluck(at, func(i int) civil.Date { return days[i%len(days)] })),
			col("list", "jsonb", pluck(at, func(i int) string { return [...]string{`[]`, `["\u00e9\"", {"a": 1}]`, `null`}[i%3] })),
			col("big", "bigint", pluck(at, func(i int) int { return [...]int{0, -1, math.MaxInt64, math.MinInt64}[i%4] })),
			col("raw", "json", pluck(at, func(i int) []byte { return [...][]byte{nil, []byte(`{"a": 1}`)}[i%2] })),
		}
	}
	const n = 240 // a multiple of most of what is above
	err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if err := tx.insertInto(ctx, "copy", "by_copy", rows(n)...); err != nil {
			return err
		}
		v, args := tx.table("v", rows(n)...)
		if err := tx.post(ctx, "insert", `INSERT INTO by_insert SELECT v.* FROM `+v, args...); err != nil {
			return err
		}
		for i, c := range rows(n) {
			args[i] = textArray(t, c.values)
		}
		return tx.post(ctx, "insert text", `INSERT INTO by_text SELECT v.* FROM `+v, args...)
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := func(table string) string {
		return `SELECT n, text, optional, document::text, small, plain, flag, at, later, day, list, big, raw::text, count(*) AS times FROM ` + table + ` GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13`
	}
	for _, table := range []string{"by_copy", "by_insert"} {
		var same, different int
		row := db.writer.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM (`+whole(table)+` INTERSECT `+whole("by_text")+`) AS s),
			(SELECT count(*) FROM (`+whole(table)+` EXCEPT `+whole("by_text")+`) AS d) + (SELECT count(*) FROM (`+whole("by_text")+` EXCEPT `+whole(table)+`) AS d)`)
		if err := row.Scan(&same, &different); err != nil {
			t.Fatal(err)
		}
		if different != 0 || same < 60 {
			t.Errorf("%s: %d kinds of rows are the same, %d differ", table, same, different)
		}
	}
}

// A row that can't be written says what was to be done and whose fault it was, and leaves a connection that works.
func TestRowsThatCopyRefuses(t *testing.T) {
	db, _ := openMigrated(t, testenv.Postgres(t))
	db.writer.SetMaxOpenConns(1)
	if _, err := db.writer.ExecContext(t.Context(), `CREATE TABLE copied (id text PRIMARY KEY, small smallint)`); err != nil {
		t.Fatal(err)
	}
	put := func(edit func(ids []string, smalls []int)) error {
		ids, smalls := make([]string, copyRows), make([]int, copyRows)
		for i := range ids {
			ids[i] = fmt.Sprint(i)
		}
		edit(ids, smalls)
		return db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
			return tx.insertInto(ctx, "copy them", "copied", col("id", "text", ids), col("small", "smallint", smalls))
		})
	}
	for name, edit := range map[string]func(ids []string, smalls []int){
		"a NUL":       func(ids []string, _ []int) { ids[7] = "a\x00b" },
		"no UTF-8":    func(ids []string, _ []int) { ids[7] = "a\xff" },
		"a row twice": func(ids []string, _ []int) { ids[7] = ids[8] },
	} {
		if err := put(edit); err == nil || !badRow(err) || !strings.HasPrefix(err.Error(), "copy them: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := put(func(_ []string, smalls []int) { smalls[7] = 1 << 15 })
	if want := "copy them: column small: 32768 isn't a smallint"; err == nil || err.Error() != want {
		t.Errorf("too large a number: %v, want %s", err, want)
	}
	var n int
	if err := db.writer.GetContext(t.Context(), &n, `SELECT count(*) FROM copied`); err != nil || n != 0 {
		t.Errorf("%d rows are left, %v", n, err)
	}
	if err := put(func([]string, []int) {}); err != nil {
		t.Error(err)
	}
}

// An inbox that somebody else makes while a transaction is under way: it runs again, or has made it first.
func TestInboxMadeMeanwhile(t *testing.T) {
	db, _ := openMigrated(t, testenv.Postgres(t))
	tries := 0
	err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
		tries++
		tx.atEnd([]string{"ana"}, func(ctx context.Context) error {
			if tries == 1 {
				if _, err := db.insert(ctx, draft("ana", "first")); err != nil {
					return err
				}
			}
			_, err := tx.insert(ctx, []Draft{draft("ana", "second")})
			return err
		})
		return nil
	})
	if err != nil || tries != 2 {
		t.Fatalf("%d tries, %v", tries, err)
	}
	list, err := db.List(t.Context(), ListQuery{Recipient: "ana"})
	if err != nil || len(list.Items) != 2 || list.Items[0].Title != "second" || list.Counts != (Counts{Rev: 2, Unread: 2, Unseen: 2, Total: 2}) {
		t.Errorf("%+v, %v", list, err)
	}

	const rounds, others = 10, 6
	for round := range rounds {
		people := make([]string, copyRows+10)
		for i := range people {
			people[i] = fmt.Sprintf("r%d-%d", round, i)
		}
		tell := func(n int) (drafts []Draft) {
			for i := range people {
				drafts = append(drafts, draft(people[(i*(n+1))%len(people)], fmt.Sprint("by ", n)))
			}
			return drafts
		}
		var group sync.WaitGroup
		for n := range others {
			group.Go(func() {
				if _, err := db.insert(t.Context(), tell(n)[:10*(n+1)]...); err != nil {
					t.Error(err)
				}
			})
		}
		group.Go(func() { // as ImportWhole does, whose fn can't be run again
			once := 0
			err := db.writeOnce(t.Context(), &Tx{doubtful: true, once: true}, func(ctx context.Context, tx *Tx) error {
				once++
				tx.atEnd(people, func(ctx context.Context) error {
					_, err := tx.insert(ctx, tell(0))
					return err
				})
				return nil
			})
			if err != nil || once != 1 {
				t.Errorf("run %d times, %v", once, err)
			}
		})
		group.Wait()
	}
	var wrong int
	err = db.writer.GetContext(t.Context(), &wrong, `
		SELECT count(*) FROM inboxes AS i
		WHERE total <> rev OR unread <> rev OR rev <> (SELECT count(*) FROM notifications WHERE recipient = i.recipient)
			OR rev <> (SELECT max(created_rev) FROM notifications WHERE recipient = i.recipient)`)
	if err != nil || wrong != 0 {
		t.Errorf("%d inboxes have wrong counters, %v", wrong, err)
	}
}
