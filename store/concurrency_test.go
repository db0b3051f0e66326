package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/testenv"
)

// Everything that writes, at once and on the same few loans and people: nothing deadlocks, nothing is sent twice, and in
// the end the due queue is what a fresh derivation gives.
func TestWritersBesideRuns(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		duration := 3 * time.Second
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.activate(testPolicy + "caps: {per_person_per_day: 3}\n")
		const people, loans = 6, 12
		for i := range people {
			w.user(fmt.Sprint("u", i))
		}
		head := func(r *rand.Rand, i int) Loan {
			l := Loan{ID: fmt.Sprint("L", i), BorrowerID: fmt.Sprint("u", i%people), Product: "Car", Currency: "EUR", Digits: 2, Status: LoanActive}
			if r.IntN(3) == 0 {
				l.Status = "closed"
			}
			for _, role := range []string{RoleCoBorrower, RoleGuarantor, RoleOfficer} {
				l.Parties = append(l.Parties, Party{UserID: fmt.Sprint("u", r.IntN(people)), Role: role, Notify: policy.Kinds()})
			}
			return l
		}
		plan := func(r *rand.Rand, i int) Schedule {
			s := Schedule{LoanID: fmt.Sprint("L", i)}
			for n := range 6 {
				s.Installments = append(s.Installments, Installment{Number: n + 1, AmountDue: 1000, Outstanding: r.Int64N(3) * 500,
					AmountPaid: r.Int64N(500), DueDate: civil.Of(w.clock()).AddDays(r.IntN(40) - 20)})
			}
			return s
		}
		setupRand := rand.New(rand.NewPCG(1, 1))
		for i := range loans {
			w.ok(w.PutLoan(t.Context(), head(setupRand, i)))
			w.ok(w.PutSchedule(t.Context(), plan(setupRand, i)))
		}

		ctx, cancel := context.WithTimeout(t.Context(), duration)
		defer cancel()
		var all sync.WaitGroup
		// work repeats fn until the time is over.
		work := func(name string, fn func(ctx context.Context, r *rand.Rand, n int) error) {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[0])))
				for n := 0; ctx.Err() == nil; n++ {
					// A call that began is finished, so that an error is one.
					if err := fn(context.WithoutCancel(ctx), r, n); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
		for i := range 3 {
			work(fmt.Sprint("run", i), func(ctx context.Context, r *rand.Rand, n int) error { return w.runAll(ctx) })
			work(fmt.Sprint("payments", i), func(ctx context.Context, r *rand.Rand, n int) error {
				var rows []Payment
				for k := range 5 {
					rows = append(rows, Payment{ID: fmt.Sprintf("p%d-%d-%d", i, n, k), LoanID: fmt.Sprint("L", r.IntN(loans)), Amount: 1 + r.Int64N(400), PaidAt: w.clock()})
				}
				_, err := w.ImportPayments(ctx, rows, ImportOptions{})
				return err
			})
		}
		work("reversals", func(ctx context.Context, r *rand.Rand, n int) error {
			_, err := w.ReversePayment(ctx, fmt.Sprintf("p%d-%d-%d", r.IntN(3), r.IntN(n+1), r.IntN(5)))
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
		work("closings", func(ctx context.Context, r *rand.Rand, n int) error {
			_, err := w.ImportLoans(ctx, []Loan{head(r, r.IntN(loans)), head(r, r.IntN(loans)), head(r, r.IntN(loans))}, ImportOptions{})
			return err
		})
		work("schedules", func(ctx context.Context, r *rand.Rand, n int) error {
			_, err := w.ImportSchedules(ctx, []Schedule{plan(r, r.IntN(loans)), plan(r, r.IntN(loans)), plan(r, r.IntN(loans))}, ImportOptions{})
			return err
		})
		work("zones", func(ctx context.Context, r *rand.Rand, n int) error {
			zones := []string{"UTC", "Asia/Tokyo", "America/New_York"}
			user := func() User {
				id := fmt.Sprint("u", r.IntN(people))
				return User{ID: id, Name: "Name of " + id, TimeZone: zones[r.IntN(3)], Locale: "en"}
			}
			_, err := w.ImportUsers(ctx, []User{user(), user()}, ImportOptions{})
			return err
		})
		work("preferences", func(ctx context.Context, r *rand.Rand, n int) error {
			return w.PutPreferences(ctx, fmt.Sprint("u", r.IntN(people)), Preferences{NoQuietHours: n%2 == 0})
		})
		work("erasure", func(ctx context.Context, r *rand.Rand, n int) error {
			return w.EraseUser(ctx, fmt.Sprint("u", r.IntN(people)))
		})
		work("readers", func(ctx context.Context, r *rand.Rand, n int) error {
			_, err := w.ReadAll(ctx, fmt.Sprint("u", r.IntN(people)), nil)
			return err
		})
		work("status changes", func(ctx context.Context, r *rand.Rand, n int) error {
			_, err := w.addOne(ctx, change(fmt.Sprint("c", n), fmt.Sprint("A", r.IntN(3)), "approved", fmt.Sprint("u", r.IntN(people)), fmt.Sprint("u", r.IntN(people))))
			return err
		})
		for i := range 2 {
			work(fmt.Sprint("tellers", i), func(ctx context.Context, r *rand.Rand, n int) error {
				_, err := w.tellOne(ctx, fmt.Sprint("A", r.IntN(3)), tellStatus)
				return err
			})
		}
		work("relay", func(ctx context.Context, r *rand.Rand, n int) error {
			claims, err := w.ClaimOutbox(ctx, 10, time.Millisecond)
			for _, c := range claims {
				if c.Kind == ClaimRequest && err == nil {
					_, err = w.TellRequest(ctx, c.Key, tellMoved)
				}
			}
			return err
		})
		work("time", func(ctx context.Context, r *rand.Rand, n int) error {
			w.setTime(w.clock().Add(time.Duration(r.IntN(60)) * time.Minute))
			_, err := w.RederiveStale(ctx, 10)
			time.Sleep(10 * time.Millisecond)
			return err
		})
		all.Wait()

		w.run()
		for {
			n, err := w.RederiveStale(t.Context(), 100)
			w.ok(err)
			if n == 0 {
				break
			}
		}
		w.noDrift()
		stats, err := w.Stats(t.Context())
		w.ok(err)
		if stats.DueParked > 0 || stats.OutboxParked > 0 {
			t.Errorf("something was parked: %+v", stats.Backlog)
		}
		t.Logf("%d notifications, %d decisions", stats.Notifications, stats.Decisions)
		if w.Dialect() == Postgres {
			w.ok(w.Close()) // connections report what they counted when they end
			if n := deadlocks(t, url); n > 0 {
				t.Errorf("%d deadlocks", n)
			}
		}
	})
}

func deadlocks(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
