package store

import (
	"fmt"
	"testing"

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
