package jobs

import (
	"fmt"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/testenv"
	"duebell/store"
)

// BenchmarkReminderRun decides, words and writes reminders of a book where each borrower has one, batch by batch.
func BenchmarkReminderRun(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": testenv.SQLite, "postgres": testenv.Postgres} {
		b.Run(name, func(b *testing.B) {
			now := time.Date(2026, 3, 7, 10, 0, 0, 0, time.UTC)
			db, err := store.Open(b.Context(), url(b), store.Options{Clock: func() time.Time { return now }})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			if err := db.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			if _, _, err := db.ActivatePolicy(b.Context(), policy.Default()); err != nil {
				b.Fatal(err)
			}
			w := NewWorker(WorkerOptions{DB: db})
			left, made := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				if left == 0 {
					b.StopTimer()
					left = book(b, db, made, 40*runBatch)
					made += left
					b.StartTimer()
				}
				n, err := db.RunDue(b.Context(), runBatch, w.decide)
				if err != nil || n == 0 {
					b.Fatal(n, err)
				}
				left -= n
			}
			b.ReportMetric(float64(runBatch*b.N)/b.Elapsed().Seconds(), "reminders/s")
		})
	}
}

// book imports loans with an installment each that is due in three days.
func book(b *testing.B, db *store.DB, first, n int) int {
	b.Helper()
	var users []store.User
	var loans []store.Loan
	var schedules []store.Schedule
	for i := first; i < first+n; i++ {
		id := fmt.Sprintf("%07d", i)
		users = append(users, store.User{ID: "u" + id, Name: "Ana " + id, TimeZone: "Europe/Prague", Locale: "en"})
		loans = append(loans, store.Loan{ID: "L" + id, BorrowerID: "u" + id, Product: "Car loan", Currency: "EUR", Digits: 2, Status: store.LoanActive})
		schedules = append(schedules, store.Schedule{LoanID: "L" + id, Installments: []store.Installment{
			{Number: 1, DueDate: civil.Of(db.Now()).AddDays(3), AmountDue: 25000, Outstanding: 25000}}})
	}
	for start := 0; start < n; start += 1000 {
		end := min(start+1000, n)
		if _, err := db.ImportUsers(b.Context(), users[start:end], store.ImportOptions{}); err != nil {
			b.Fatal(err)
		}
		if _, err := db.ImportLoans(b.Context(), loans[start:end], store.ImportOptions{Backfill: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := db.ImportSchedules(b.Context(), schedules[start:end], store.ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	return n
}
