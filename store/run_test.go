package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/testenv"
)

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  got  %s\n  want %s", what, strings.Join(got, "\n       "), strings.Join(want, "\n       "))
	}
}

func TestRunDue(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		t.Run("remindersGoOutOnTheirDays", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.user("ann")
			w.loan("L1", "ann")
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			equal(t, "queued", w.queued("L1"), []string{"ann 2026-03-10 2026-03-03T09:00:00Z"})
			for day := 1; day <= 31; day++ {
				for _, hour := range []int{3, 9, 12} {
					w.setTime(time.Date(2026, 3, day, hour, 0, 0, 0, time.UTC))
					w.run()
					w.run() // a doubled tick costs nothing
				}
			}
			equal(t, "told", w.told("ann"), []string{
				"L1 2026-03-10 10000 in 7d", "L1 2026-03-10 10000 in 3d", "L1 2026-03-10 10000 in 1d",
				"L1 2026-03-10 10000 in 0d", "L1 2026-03-10 10000 in -1d", "L1 2026-03-10 10000 in -7d",
			})
			w.noDrift()
		})

		t.Run("twoInstallmentsOnOneDayAreOneReminder", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.user("ann")
			w.loan("L1", "ann")
			w.schedule("L1", owes(1, "2026-03-10", 10000), owes(2, "2026-03-10", 555), owes(3, "2026-04-10", 1))
			w.set("2026-03-03T09:00:00Z")
			w.run()
			equal(t, "told", w.told("ann"), []string{"L1 2026-03-10 10555 in 7d"})
		})

		t.Run("afterAnOutageTheLatestGoesOutOnce", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-02-01T12:00:00Z")
			w.user("ann")
			w.loan("L1", "ann")
			w.loan("L2", "ann")
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			w.schedule("L2", owes(1, "2026-03-15", 10000))
			w.set("2026-03-11T12:00:00Z")
			w.run()
			equal(t, "told", w.told("ann"), []string{"L1 2026-03-10 10000 in -1d"}) // L2's -7d is three days old
			equal(t, "decided", w.decided("L1"), []string{
				"ann 2026-03-10 repayment.overdue 1d sent",
				"ann 2026-03-10 repayment.upcoming -7d suppressed superseded",
				"ann 2026-03-10 repayment.upcoming -3d suppressed superseded",
				"ann 2026-03-10 repayment.upcoming -1d suppressed superseded",
				"ann 2026-03-10 repayment.due_today 0d suppressed superseded",
			})
			equal(t, "decided", w.decided("L2"), []string{"ann 2026-03-15 repayment.upcoming -7d suppressed too_late"})
			w.noDrift()
		})

		t.Run("quietHoursHoldAReminderOnce", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.user("ann")
			w.loan("L1", "ann")
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			w.set("2026-03-03T22:30:00Z")
			w.run()
			w.run()
			equal(t, "queued", w.queued("L1"), []string{"ann 2026-03-10 2026-03-04T08:00:00Z"})
			w.noDrift()
			w.set("2026-03-04T08:00:00Z")
			w.run()
			equal(t, "decided", w.decided("L1"), []string{
				"ann 2026-03-10 repayment.upcoming -7d held quiet_hours",
				"ann 2026-03-10 repayment.upcoming -7d sent",
			})
			equal(t, "told", w.told("ann"), []string{"L1 2026-03-10 10000 in 6d"})
		})

		t.Run("aCapHoldsWhatTheDayHasNoRoomFor", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.activate(testPolicy + "caps: {per_person_per_day: 2}\n")
			w.user("ann")
			for i := range 5 {
				id := fmt.Sprint("L", i)
				w.loan(id, "ann")
				w.schedule(id, owes(1, "2026-03-10", 10000))
			}
			w.set("2026-03-03T09:00:00Z")
			w.run()
			w.set("2026-03-03T12:00:00Z")
			w.run()
			if got := len(w.told("ann")); got != 2 {
				t.Fatalf("%d reminders on one day, want 2", got)
			}
			w.noDrift()
			held := 0
			for i := range 5 {
				for _, d := range w.decided(fmt.Sprint("L", i)) {
					if strings.HasSuffix(d, "held cap") {
						held++
					}
				}
			}
			if held != 3 {
				t.Errorf("%d held by the cap, want 3", held)
			}
			w.set("2026-03-04T09:00:00Z")
			w.run()
			w.set("2026-03-05T09:00:00Z")
			w.run()
			if got := len(w.told("ann")); got != 5 {
				t.Errorf("%d reminders by the third day, want 5", got)
			}
			w.noDrift()
		})

		t.Run("everyoneIsToldInTheirOwnDayAndRole", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			w.user("ann", "gus", "otto")
			w.ok(w.PutUser(t.Context(), User{ID: "ken", Name: "Ken", TimeZone: "Asia/Tokyo", Locale: "ja"}))
			w.loan("L1", "ann",
				Party{UserID: "ken", Role: RoleCoBorrower, Notify: []string{policy.KindUpcoming}},
				Party{UserID: "gus", Role: RoleGuarantor, Notify: []string{policy.KindOverdue}},
				Party{UserID: "otto", Role: RoleOfficer, Notify: []string{policy.KindOverdue}})
			w.loan("L2", "ann", Party{UserID: "otto", Role: RoleOfficer, Notify: []string{policy.KindOverdue}})
			w.schedule("L1", owes(1, "2026-03-10", 10000))
			w.schedule("L2", owes(1, "2026-03-10", 200))
			equal(t, "queued", w.queued("L1"), []string{"ann 2026-03-10 2026-03-03T09:00:00Z",
				"gus 2026-03-10 2026-03-11T09:00:00Z", "ken 2026-03-10 2026-03-03T00:00:00Z", "otto 2026-03-10 2026-03-11T09:00:00Z"})
			w.set("2026-03-03T00:00:00Z")
			w.run()
			equal(t, "ken", w.told("ken"), []string{"L1 2026-03-10 10000 in 7d"})
			w.set("2026-03-11T09:00:00Z")
			w.run()
			equal(t, "gus", w.told("gus"), []string{"L1 2026-03-10 10000 in -1d"})
			equal(t, "otto", w.told("otto"), []string{"[L1 of Name of ann 2026-03-10 10000][L2 of Name of ann 2026-03-10 200]"})
			w.run()
			equal(t, "otto", w.told("otto"), []string{"[L1 of Name of ann 2026-03-10 10000][L2 of Name of ann 2026-03-10 200]"})
			w.noDrift()
		})

		aBadRow := func(t *testing.T, people int64) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			for i := range people {
				id := fmt.Sprintf("u%02d", i)
				w.user(id)
				w.loan("L-"+id, id)
				w.schedule("L-"+id, owes(1, "2026-03-10", 10000))
			}
			w.set("2026-03-03T09:00:00Z")
			broken := func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
				outcomes := judge(pv, now, rows)
				for i, row := range rows {
					switch row.Recipient {
					case "u05": // neither database can store it
						outcomes[i].Send.Data = []byte(`{"x`)
						if w.Dialect() == SQLite { // which takes any text
							outcomes[i].Verdict.Decisions[0].Outcome = "nonsense"
						}
					case "u09":
						panic("a bug in a template")
					case "u13":
						outcomes[i].Err = errors.New("no text in this language")
					}
				}
				return outcomes
			}
			for {
				n, err := w.RunDue(t.Context(), 100, broken)
				w.ok(err)
				if n == 0 {
					break
				}
			}
			stats, err := w.Stats(t.Context())
			w.ok(err)
			if stats.DueParked != 3 || stats.Notifications != people-3 || stats.DueNow != 0 {
				t.Errorf("parked %d, told %d, left %d; want 3, %d, 0", stats.DueParked, stats.Notifications, stats.DueNow, people-3)
			}
			e, err := w.Explain(t.Context(), ExplainQuery{LoanID: "L-u09"})
			w.ok(err)
			if e.Due[0].ParkedAt == nil || !strings.Contains(e.Due[0].Error, "a bug in a template") {
				t.Errorf("the parked row says %+v", e.Due[0])
			}
			// When the book changes under it, it is tried again.
			w.status("L-u13", "paused")
			w.status("L-u13", LoanActive)
			w.run()
			equal(t, "u13", w.told("u13"), []string{"L-u13 2026-03-10 10000 in 7d"})
		}
		t.Run("aBadRowIsParkedAndTheOthersGo", func(t *testing.T) { aBadRow(t, copyRows/2) })
		t.Run("aBadRowOfMany", func(t *testing.T) { aBadRow(t, 2*copyRows) }) // PostgreSQL gets them by COPY

		t.Run("severalRunsAtOnceDoubleNothing", func(t *testing.T) {
			w := setup(t, fresh(t, url), "2026-03-01T12:00:00Z")
			const people = 30
			for i := range people {
				id := fmt.Sprintf("u%02d", i)
				w.user(id)
				w.loan("L-"+id, id, Party{UserID: fmt.Sprintf("u%02d", max(i-1, 0)), Role: RoleGuarantor, Notify: []string{policy.KindUpcoming}})
				w.schedule("L-"+id, owes(1, "2026-03-10", 10000), owes(2, "2026-03-11", 10000))
			}
			w.set("2026-03-04T09:00:00Z")
			var runs sync.WaitGroup
			for range 4 {
				runs.Go(func() {
					for {
						n, err := w.RunDue(t.Context(), 7, judge)
						if err != nil {
							t.Error(err)
						}
						if n == 0 {
							return
						}
					}
				})
			}
			runs.Wait()
			w.run()
			// Each loan: two dates for its borrower, and for the guarantor too (but u00 is both on L-u00).
			stats, err := w.Stats(t.Context())
			w.ok(err)
			if want := int64(people*2*2 - 2); stats.Notifications != want {
				t.Errorf("%d notifications, want %d", stats.Notifications, want)
			}
			w.noDrift()
		})
	})
}

// fresh is another empty database like that of url, for subtests.
func fresh(t *testing.T, url string) string {
	t.Helper()
	if strings.HasPrefix(url, "sqlite:") {
		return testenv.SQLite(t)
	}
	return testenv.Postgres(t)
}

// A run holds an installment while the loan is closed: whichever commits first, no reminder is written behind the
// closing, and one that was written before is resolved by it.
func TestNoReminderBehindAClosing(t *testing.T) {
	w := setup(t, testenv.Postgres(t), "2026-03-01T12:00:00Z")
	w.user("ann", "ben")
	w.loan("L1", "ann")
	w.loan("L2", "ben")
	for _, loan := range []string{"L1", "L2"} {
		w.schedule(loan, owes(1, "2026-03-10", 10000))
	}
	w.set("2026-03-03T09:00:00Z")

	// The run is first: the closing waits for it.
	deciding, decided := make(chan struct{}), make(chan struct{})
	run := make(chan error, 1)
	go func() {
		_, err := w.RunDue(t.Context(), 1, func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
			close(deciding)
			<-decided
			return judge(pv, now, rows)
		})
		run <- err
	}()
	<-deciding
	closed := make(chan error, 1)
	go func() {
		closed <- w.PutLoan(context.Background(), Loan{ID: "L1", BorrowerID: "ann", Product: "Car", Currency: "EUR", Digits: 2, Status: "closed"})
	}()
	waitForLock(t, w)
	select {
	case err := <-closed:
		t.Fatalf("the closing didn't wait for the run: %v", err)
	default:
	}
	close(decided)
	w.ok(<-run)
	w.ok(<-closed)
	equal(t, "told", w.told("ann"), []string{"L1 2026-03-10 10000 in 7d ✓"})

	// The closing is first: the run passes over the loan, and finds it closed afterwards.
	locked, commit := make(chan struct{}), make(chan struct{})
	go func() {
		closed <- w.write(context.Background(), func(ctx context.Context, tx *Tx) error {
			b, err := w.lockLoans(ctx, tx, []string{"L2"})
			if err != nil {
				return err
			}
			close(locked)
			<-commit
			b.loans["L2"].Status = "closed"
			if err := tx.updateLoans(ctx, []*bookLoan{b.loans["L2"]}); err != nil {
				return err
			}
			b.loans["L2"].all = true
			return w.derive(ctx, tx, b)
		})
	}()
	<-locked
	if n, err := w.RunDue(t.Context(), 10, judge); n != 0 || err != nil {
		t.Fatalf("the run took %d rows of a loan that somebody holds (%v)", n, err)
	}
	close(commit)
	w.ok(<-closed)
	w.run()
	equal(t, "told", w.told("ben"), nil)
	equal(t, "decided", w.decided("L2"), []string{"ben 2026-03-10 repayment.upcoming -7d suppressed loan_not_active"})
	w.noDrift()
}

// waitForLock returns when some transaction waits for another.
func waitForLock(t *testing.T, w *world) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		var n int
		w.ok(w.query().get(t.Context(), &n, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`))
		if n > 0 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("nobody waits for a lock")
}

// Whoever goes on from where the last claim ended passes nothing over: what became due before that place is found when the end
// is reached.
func TestRunDueFromFindsWhatLiesBehind(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.activate(testPolicy)
		due := func(id string) {
			w.user("u" + id)
			w.ok(w.PutLoan(t.Context(), Loan{ID: "L" + id, BorrowerID: "u" + id, Product: "Car", Currency: "EUR", Digits: 2, Status: LoanActive}))
			w.ok(w.PutSchedule(t.Context(), Schedule{LoanID: "L" + id, Installments: []Installment{
				{Number: 1, DueDate: civil.MustParse("2026-03-10"), AmountDue: 1000, Outstanding: 1000}}}))
		}
		for i := range 8 {
			due(fmt.Sprint(2 + i))
		}
		w.setTime(instantOf(t, "2026-03-07T12:00:00Z"))
		seen := map[string]int{}
		decide := func(_ PolicyVersion, _ time.Time, rows []DueRow) []Outcome {
			outcomes := make([]Outcome, len(rows))
			for i, row := range rows {
				seen[row.LoanID]++
				outcomes[i].Verdict.Next = w.clock().AddDate(0, 0, 1)
			}
			return outcomes
		}
		var from DueCursor
		claim := func(want int) {
			t.Helper()
			if n, err := w.RunDueFrom(t.Context(), &from, 3, decide); err != nil || n != want {
				t.Fatalf("claimed %d, want %d (%v)", n, want, err)
			}
		}
		claim(3) // 2, 3, 4
		// Due at the same instant, before the place that was reached.
		w.setTime(instantOf(t, "2026-03-01T12:00:00Z"))
		due("1")
		w.setTime(instantOf(t, "2026-03-07T12:00:00Z"))
		claim(3) // 5, 6, 7
		claim(2) // 8, 9: the end
		claim(1)
		claim(0)
		for i := 1; i <= 9; i++ {
			if n := seen[fmt.Sprint("L", i)]; n != 1 {
				t.Errorf("L%d was decided %d times", i, n)
			}
		}
	})
}
