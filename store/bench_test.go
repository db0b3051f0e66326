package store

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"duebell/internal/testenv"
)

// Inserting 500 notifications for 500 of 10,000 people in one transaction, with keys, as a reminder run does.
func BenchmarkInsert500(b *testing.B) {
	for _, on := range []struct {
		name string
		url  func(testing.TB) string
	}{{SQLite, testenv.SQLite}, {Postgres, testenv.Postgres}} {
		b.Run(on.name, func(b *testing.B) {
			db, _ := openMigrated(b, on.url(b))
			db.SetCommitted(nil)
			const batch, people = 500, 10_000
			next := 0
			drafts := make([]Draft, batch)
			b.ReportAllocs()
			for b.Loop() {
				for i := range drafts {
					d := draft(fmt.Sprintf("person-%d", next*7919%people), "Your payment is due in 3 days")
					d.Key = fmt.Sprintf("reminder:%d", next)
					drafts[i] = d
					next++
				}
				if _, err := db.insert(b.Context(), drafts...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// What a batch's notifications cost by COPY and by INSERT from arrays: the reason for copyRows. BenchmarkRows/rows=N says from how many on.
func BenchmarkRows(b *testing.B) {
	for _, n := range []int{10, 50, 500} {
		for _, how := range []string{"COPY", "INSERT"} {
			b.Run(fmt.Sprintf("rows=%d/%s", n, how), func(b *testing.B) {
				db, _ := openMigrated(b, testenv.Postgres(b))
				next := 0
				for b.Loop() {
					ids := make([]string, n)
					for i := range ids {
						ids[i] = fmt.Sprintf("n%09d", next)
						next++
					}
					of := func(value string) []string { return slices.Repeat([]string{value}, n) }
					d := draft("", "Your payment is due in 3 days")
					cols := []column{col("id", "text", ids), col("recipient", "text", ids), col("kind", "text", of(d.Kind)), col("title", "text", of(d.Title)),
						col("body", "text", of(d.Body)), col("data", "json", of(string(d.Data))), col("url", "text", of(d.URL)), col("quiet", "boolean", make([]bool, n)),
						col("created_at", "timestamptz", slices.Repeat([]time.Time{db.Now()}, n)), col("created_rev", "bigint", make([]int64, n)), col("rev", "bigint", make([]int64, n))}
					err := db.write(b.Context(), func(ctx context.Context, tx *Tx) error {
						if how == "COPY" {
							return tx.copyInto(ctx, "notifications", cols)
						}
						return tx.insertArrays(ctx, "insert", "notifications", cols)
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(next), "µs/row")
			})
		}
	}
}
