package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/testenv"
)

func TestFigures(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann")
		n := 0
		loan := func(t *testing.T) string {
			w.t = t
			n++
			id := fmt.Sprint("L", n)
			w.loan(id, "ann")
			return id
		}
		opens := func(t *testing.T, loan string, want ...int64) {
			t.Helper()
			if got := w.open(loan); !slices.Equal(got, want) {
				t.Errorf("open = %v, want %v", got, want)
			}
		}
		put := func(loan, asOf string, installments ...Installment) error {
			return w.PutSchedule(t.Context(), Schedule{LoanID: loan, AsOf: instantOf(t, asOf), Installments: installments})
		}
		paid := func(t *testing.T, id, loan, at string, installment int, amount int64) {
			t.Helper()
			created, err := w.AddPayment(t.Context(), Payment{ID: id, LoanID: loan, Installment: installment, Amount: amount,
				PaidAt: instantOf(t, at), BodyHash: id})
			if err != nil || !created {
				t.Fatalf("payment %s: created %v, %v", id, created, err)
			}
		}

		t.Run("partPayments", func(t *testing.T) {
			l := loan(t)
			w.schedule(l, Installment{Number: 1, DueDate: civil.MustParse("2026-03-10"), AmountDue: 10000, AmountPaid: 4000, Outstanding: 6000})
			opens(t, l, 6000)
			w.pay(l+"a", l, 5999)
			opens(t, l, 1)
			w.pay(l+"b", l, 500)
			opens(t, l, 0)
		})

		t.Run("anOlderAsOfChangesNothing", func(t *testing.T) {
			l := loan(t)
			w.ok(put(l, "2026-03-01T10:00:00Z", owes(1, "2026-03-10", 500)))
			w.ok(put(l, "2026-03-01T10:00:00Z", owes(1, "2026-03-10", 600))) // the same is fine
			if err := put(l, "2026-03-01T09:59:59Z", owes(1, "2026-03-10", 700)); !errors.Is(err, ErrStale) {
				t.Errorf("an older schedule: %v", err)
			}
			opens(t, l, 600)
			head := Loan{ID: l, BorrowerID: "ann", Product: "Boat", Currency: "EUR", Digits: 2, Status: LoanActive, AsOf: instantOf(t, "2026-03-01T10:00:00Z")}
			w.ok(w.PutLoan(t.Context(), head))
			head.AsOf, head.Status = head.AsOf.Add(-time.Second), "closed"
			if err := w.PutLoan(t.Context(), head); !errors.Is(err, ErrStale) {
				t.Errorf("an older loan: %v", err)
			}
			got, err := w.GetLoan(t.Context(), l)
			w.ok(err)
			if got.Status != LoanActive || got.Product != "Boat" {
				t.Errorf("loan = %+v", got)
			}
		})

		t.Run("aPaymentWithinTheFiguresIsntCountedAgain", func(t *testing.T) {
			l := loan(t)
			w.schedule(l, owes(1, "2026-03-10", 10000))
			paid(t, l+"a", l, "2026-02-20T00:00:00Z", 0, 1000)
			paid(t, l+"b", l, "2026-02-25T00:00:00Z", 0, 100)
			opens(t, l, 8900)
			// The loan system's figures of the 22nd include a, not b.
			w.ok(put(l, "2026-02-22T00:00:00Z", Installment{Number: 1, DueDate: civil.MustParse("2026-03-10"), AmountDue: 10000, AmountPaid: 1000, Outstanding: 9000}))
			opens(t, l, 8900)
			paid(t, l+"c", l, "2026-02-22T00:00:00Z", 0, 10) // late to arrive, but within the figures
			opens(t, l, 8900)
			paid(t, l+"d", l, "2026-02-22T00:00:01Z", 0, 1)
			opens(t, l, 8899)
			// Without an as_of everything that arrived is in.
			w.schedule(l, Installment{Number: 1, DueDate: civil.MustParse("2026-03-10"), AmountDue: 10000, AmountPaid: 1111, Outstanding: 8889})
			opens(t, l, 8889)
			paid(t, l+"e", l, "2026-02-01T00:00:00Z", 0, 9)
			opens(t, l, 8880)
		})

		t.Run("namedAndUnnamed", func(t *testing.T) {
			l := loan(t)
			w.schedule(l, owes(1, "2026-03-10", 100), owes(2, "2026-04-10", 100))
			paid(t, l+"a", l, "2026-03-01T00:00:00Z", 2, 30)
			opens(t, l, 100, 70)
			paid(t, l+"b", l, "2026-03-01T00:00:00Z", 0, 110)
			opens(t, l, 0, 60)
			_, err := w.AddPayment(t.Context(), Payment{ID: l + "c", LoanID: l, Installment: 3, Amount: 1, PaidAt: w.clock()})
			if fieldOf(err) != "installment" {
				t.Errorf("a payment for installment 3: %v", err)
			}
			_, err = w.AddPayment(t.Context(), Payment{ID: l + "c", LoanID: "nope", Amount: 1, PaidAt: w.clock()})
			if fieldOf(err) != "loan_id" {
				t.Errorf("a payment for no loan: %v", err)
			}
		})

		t.Run("aPaymentComesOnce", func(t *testing.T) {
			l := loan(t)
			w.schedule(l, owes(1, "2026-03-10", 100))
			paid(t, l+"a", l, "2026-03-01T00:00:00Z", 0, 30)
			p := Payment{ID: l + "a", LoanID: l, Amount: 30, PaidAt: w.clock(), BodyHash: l + "a"}
			if created, err := w.AddPayment(t.Context(), p); created || err != nil {
				t.Errorf("again: created %v, %v", created, err)
			}
			p.BodyHash = "other"
			if _, err := w.AddPayment(t.Context(), p); !errors.Is(err, ErrConflict) {
				t.Errorf("with another body: %v", err)
			}
			opens(t, l, 70)
		})

		t.Run("reversals", func(t *testing.T) {
			l := loan(t)
			reverse := func(id string, want bool) {
				t.Helper()
				if changed, err := w.ReversePayment(t.Context(), id); changed != want || err != nil {
					t.Errorf("reverse %s: changed %v, %v", id, changed, err)
				}
			}
			w.schedule(l, owes(1, "2026-03-10", 100), owes(2, "2026-04-10", 100))
			paid(t, l+"a", l, "2026-02-20T00:00:00Z", 0, 120)
			opens(t, l, 0, 80)
			reverse(l+"a", true)
			opens(t, l, 100, 100)
			reverse(l+"a", false)

			// One that the figures include is added back to the latest that was paid on.
			l = loan(t)
			w.schedule(l, owes(1, "2026-03-10", 100), owes(2, "2026-04-10", 100))
			paid(t, l+"b", l, "2026-02-21T00:00:00Z", 0, 110)
			date := civil.MustParse
			figures := []Installment{
				{Number: 1, DueDate: date("2026-03-10"), AmountDue: 100, AmountPaid: 100},
				{Number: 2, DueDate: date("2026-04-10"), AmountDue: 100, AmountPaid: 10, Outstanding: 90}}
			w.ok(put(l, "2026-02-28T00:00:00Z", figures...))
			opens(t, l, 0, 90)
			reverse(l+"b", true)
			opens(t, l, 100, 100)
			// The same figures again know nothing of the reversal yet; later ones do.
			w.ok(put(l, "2026-02-28T00:00:00Z", figures...))
			opens(t, l, 100, 100)
			w.ok(put(l, "2026-03-01T13:00:00Z", owes(1, "2026-03-10", 100), owes(2, "2026-04-10", 95)))
			opens(t, l, 100, 95)
			if _, err := w.ReversePayment(t.Context(), "nope"); !errors.Is(err, ErrNotFound) {
				t.Errorf("an unknown payment: %v", err)
			}
		})

		t.Run("digitsCantChangeUnderAmounts", func(t *testing.T) {
			l := loan(t)
			w.schedule(l, owes(1, "2026-03-10", 100))
			other := Loan{ID: l, BorrowerID: "ann", Product: "Car", Currency: "EUR", Digits: 0, Status: LoanActive}
			if err := w.PutLoan(t.Context(), other); fieldOf(err) != "digits" {
				t.Errorf("other digits: %v", err)
			}
			other.Digits, other.Currency = 2, "JPY"
			if err := w.PutLoan(t.Context(), other); fieldOf(err) != "currency" {
				t.Errorf("another currency: %v", err)
			}
			w.schedule(l)
			w.ok(w.PutLoan(t.Context(), other))
		})

		t.Run("whatIsntKnownIsNamed", func(t *testing.T) {
			w.t = t
			l := Loan{ID: "LX", BorrowerID: "nobody", Product: "Car", Currency: "EUR", Digits: 2, Status: LoanActive}
			if err := w.PutLoan(t.Context(), l); fieldOf(err) != "borrower_id" {
				t.Errorf("an unknown borrower: %v", err)
			}
			l.BorrowerID = "ann"
			l.Parties = []Party{{UserID: "ann", Role: RoleOfficer}, {UserID: "nobody", Role: RoleGuarantor}}
			if err := w.PutLoan(t.Context(), l); fieldOf(err) != "parties[1].user_id" {
				t.Errorf("an unknown party: %v", err)
			}
			if err := put("nope", "2026-03-01T10:00:00Z"); fieldOf(err) != "loan_id" {
				t.Errorf("an unknown loan: %v", err)
			}
			if _, err := w.GetLoan(t.Context(), "LX"); !errors.Is(err, ErrNotFound) {
				t.Errorf("a rejected loan was stored: %v", err)
			}
		})
		w.t = t
		w.noDrift()
	})
}

func TestBookDecidesWhatIsTold(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		next := 0
		// person is somebody with a loan that was reminded of its 10th of March seven days before. The clock goes back for
		// each, so what is true of one needn't be true of those before.
		person := func(t *testing.T) (user, loan string) {
			t.Helper()
			w.t = t
			next++
			user, loan = fmt.Sprint("u", next), fmt.Sprint("L", next)
			w.set("2026-03-01T12:00:00Z")
			w.user(user)
			w.loan(loan, user)
			w.schedule(loan, owes(1, "2026-03-10", 10000))
			w.set("2026-03-03T09:00:00Z")
			w.run()
			return user, loan
		}
		reminder := func(loan string) string { return loan + " 2026-03-10 10000 in 7d" }

		t.Run("aPaymentResolvesAndAReversalBringsBack", func(t *testing.T) {
			user, loan := person(t)
			w.set("2026-03-04T10:00:00Z")
			w.pay("p"+loan, loan, 10000)
			equal(t, "told", w.told(user), []string{reminder(loan) + " ✓"})
			equal(t, "queued", w.queued(loan), nil)
			equal(t, "decided", w.decided(loan), []string{
				user + " 2026-03-10 repayment.upcoming -7d sent",
				user + " 2026-03-10 repayment.upcoming -3d suppressed paid"})
			w.set("2026-03-07T08:00:00Z")
			changed, err := w.ReversePayment(t.Context(), "p"+loan)
			if !changed {
				t.Fatalf("not reversed: %v", err)
			}
			equal(t, "told", w.told(user), []string{reminder(loan)})
			w.set("2026-03-07T09:00:00Z")
			w.run()
			equal(t, "told", w.told(user), []string{reminder(loan), loan + " 2026-03-10 10000 in 3d"})
			w.noDrift(loan)
		})

		t.Run("aReversalOfWhatTheFiguresIncludeBringsBackToo", func(t *testing.T) {
			user, loan := person(t)
			w.set("2026-03-04T10:00:00Z")
			w.pay("p"+loan, loan, 10000)
			w.schedule(loan, Installment{Number: 1, DueDate: civil.MustParse("2026-03-10"), AmountDue: 10000, AmountPaid: 10000})
			equal(t, "told", w.told(user), []string{reminder(loan) + " ✓"})
			w.set("2026-03-08T10:00:00Z")
			_, err := w.ReversePayment(t.Context(), "p"+loan)
			w.ok(err)
			w.run()
			equal(t, "told", w.told(user), []string{reminder(loan), loan + " 2026-03-10 10000 in 2d"}) // the -3d, a day late
			w.noDrift(loan)
		})

		t.Run("aPartPaymentLeavesItOpen", func(t *testing.T) {
			user, loan := person(t)
			w.pay("p"+loan, loan, 9999)
			w.set("2026-03-07T09:00:00Z")
			w.run()
			equal(t, "told", w.told(user), []string{reminder(loan), loan + " 2026-03-10 1 in 3d"})
		})

		t.Run("aClosedLoanIsSilentUntilItIsReopened", func(t *testing.T) {
			user, loan := person(t)
			w.status(loan, "paused")
			w.status(loan, "closed")
			equal(t, "told", w.told(user), []string{reminder(loan) + " ✓"})
			w.set("2026-03-07T12:00:00Z")
			w.run()
			w.status(loan, LoanActive)
			w.run()
			equal(t, "told", w.told(user), []string{reminder(loan), loan + " 2026-03-10 10000 in 3d"})
			equal(t, "decided", w.decided(loan), []string{
				user + " 2026-03-10 repayment.upcoming -7d sent",
				user + " 2026-03-10 repayment.upcoming -3d suppressed loan_not_active",
				user + " 2026-03-10 repayment.upcoming -3d sent"})
			w.noDrift(loan)
		})

		t.Run("aDateThatMovesIsToldOnce", func(t *testing.T) {
			user, loan := person(t)
			w.schedule(loan, owes(1, "2026-03-24", 10000))
			w.schedule(loan, owes(1, "2026-03-24", 10000))
			equal(t, "told", w.told(user), []string{reminder(loan) + " ✓"})
			equal(t, "queued", w.queued(loan), []string{user + " 2026-03-24 2026-03-17T09:00:00Z"})
			claims, err := w.ClaimOutbox(t.Context(), 10, time.Minute)
			w.ok(err)
			id := RescheduledPrefix + loan + ":1:2026-03-10:2026-03-24"
			if want := []Claim{{ClaimRequest, id, 1}}; !slices.Equal(claims, want) {
				t.Fatalf("claims = %v, want %v", claims, want)
			}
			told, err := w.TellRequest(t.Context(), id, tellMoved)
			if told != 1 || err != nil {
				t.Fatalf("told %d: %v", told, err)
			}
			equal(t, "told", w.told(user), []string{reminder(loan) + " ✓", "moved 2026-03-10 to 2026-03-24: 10000"})
			// And back: what was sent for the old date is true again, and not sent again.
			w.schedule(loan, owes(1, "2026-03-10", 10000))
			equal(t, "told", w.told(user), []string{reminder(loan), "moved 2026-03-10 to 2026-03-24: 10000"})
			w.run()
			equal(t, "told", w.told(user), []string{reminder(loan), "moved 2026-03-10 to 2026-03-24: 10000"})
			w.noDrift(loan)
		})

		t.Run("aDateThatNobodyWasToldOfMovesSilently", func(t *testing.T) {
			_, loan := person(t)
			w.schedule(loan, owes(1, "2026-03-10", 10000), owes(2, "2026-04-10", 10000))
			w.schedule(loan, owes(1, "2026-03-10", 10000), owes(2, "2026-04-11", 10000))
			claims, err := w.ClaimOutbox(t.Context(), 10, time.Minute)
			if len(claims) > 0 || err != nil {
				t.Errorf("claims = %v, %v", claims, err)
			}
		})

		t.Run("anotherZoneMovesTheReminders", func(t *testing.T) {
			user, loan := person(t)
			w.set("2026-03-03T15:00:00Z")
			w.ok(w.PutUser(t.Context(), User{ID: user, Name: "N", TimeZone: "Asia/Tokyo", Locale: "en"}))
			equal(t, "queued", w.queued(loan), []string{user + " 2026-03-10 2026-03-07T00:00:00Z"})
			w.ok(w.PutPreferences(t.Context(), user, Preferences{TimeZone: "America/New_York"})) // their own wins
			equal(t, "queued", w.queued(loan), []string{user + " 2026-03-10 2026-03-07T14:00:00Z"})
			w.ok(w.PutPreferences(t.Context(), user, Preferences{Channels: map[string]Channels{"repayment.upcoming": {}, "repayment.due_today": {}}}))
			w.set("2026-03-10T12:00:00Z")
			w.run()
			equal(t, "told", w.told(user), []string{reminder(loan)})
			w.noDrift(loan)
		})

		t.Run("anErasedPersonIsForgotten", func(t *testing.T) {
			user, loan := person(t)
			w.committed.take()
			w.ok(w.EraseUser(t.Context(), user))
			changes := w.committed.take()
			if len(changes) != 1 || !changes[0].Reset || changes[0].Total != 0 || changes[0].Rev != 2 {
				t.Errorf("changes = %+v", changes)
			}
			equal(t, "told", w.told(user), nil)
			equal(t, "queued", w.queued(loan), nil)
			if _, err := w.GetUser(t.Context(), user); !errors.Is(err, ErrNotFound) {
				t.Errorf("an erased user: %v", err)
			}
			if at, err := w.NotBefore(t.Context(), user); at.IsZero() || err != nil {
				t.Errorf("tokens of before: %v %v", at, err)
			}
			w.set("2026-03-07T09:00:00Z")
			w.run()
			equal(t, "told", w.told(user), nil)
			w.noDrift(loan)
			w.user(user) // who comes back starts anew
			w.run()
			equal(t, "told", w.told(user), []string{loan + " 2026-03-10 10000 in 3d"})
			if err := w.EraseUser(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
				t.Errorf("erase nobody: %v", err)
			}
		})
	})
}

func TestGoingLive(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T08:30:00Z")
		w.user("ann")
		year := make([]Installment, 12)
		for i := range year {
			year[i] = owes(i+1, fmt.Sprintf("2025-%02d-15", i+1), 1000)
		}
		year = append(year, owes(13, "2026-02-28", 1000), owes(14, "2026-03-08", 1000))
		w.loan("L1", "ann")
		w.schedule("L1", year...)
		w.set("2026-03-01T09:00:00Z")
		w.run()
		// Of the first day itself: one day overdue, and a week to come. Nothing of the year before.
		equal(t, "told", w.told("ann"), []string{"L1 2026-02-28 1000 in -1d", "L1 2026-03-08 1000 in 7d"})

		w.user("ben")
		_, err := w.ImportLoans(t.Context(), []Loan{{ID: "L2", BorrowerID: "ben", Product: "Car", Currency: "EUR", Digits: 2,
			Status: LoanActive}}, ImportOptions{Backfill: true})
		w.ok(err)
		w.schedule("L2", year...)
		w.run()
		// Of each date the last day that has come: of the year that of thirty days overdue.
		if got := w.told("ben"); len(got) != 14 || got[0] != "L2 2025-01-15 1000 in -410d" || got[13] != "L2 2026-03-08 1000 in 7d" {
			t.Errorf("back-filled: %q", got)
		}
		w.run()
		if got := len(w.told("ben")); got != 14 {
			t.Errorf("%d after a second run", got)
		}
		w.noDrift()
	})
}

func TestPolicies(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann")
		w.loan("L1", "ann")
		w.schedule("L1", owes(1, "2026-03-05", 1000), owes(2, "2026-03-20", 1000))
		pv, err := w.ActivePolicy(t.Context())
		w.ok(err)
		if pv.Version != 1 || len(pv.Since) != 0 {
			t.Errorf("the first policy: %+v", pv)
		}
		p := pv.Policy
		if _, changed, err := w.ActivatePolicy(t.Context(), p); changed || err != nil {
			t.Errorf("the same again: changed %v, %v", changed, err)
		}

		w.set("2026-03-12T09:30:00Z")
		// -8d of the 20th falls today at 9, +7d of the 5th too, +6d fell yesterday.
		pv = w.activate(`
reminders:
  - {kind: repayment.upcoming, at: [-8d, -7d]}
  - {kind: repayment.overdue, at: [6d, 7d, 30d]}
send_at: "09:00"
`)
		if pv.Version != 2 || len(pv.Since) != 2 {
			t.Errorf("the second policy: %+v", pv.Since)
		}
		w.run()
		equal(t, "told", w.told("ann"), []string{"L1 2026-03-05 1000 in -7d", "L1 2026-03-20 1000 in 8d"})
		if want := "ann 2026-03-05 repayment.overdue 6d suppressed before_activation"; !slices.Contains(w.decided("L1"), want) {
			t.Errorf("decided %q", w.decided("L1"))
		}
		w.noDrift()

		// A date whose last rule has passed gets a new one.
		w.set("2026-04-20T12:00:00Z")
		w.run()
		equal(t, "queued", w.queued("L1"), nil)
		w.activate(`
reminders:
  - {kind: repayment.overdue, at: [45d, 60d]}
send_at: "09:00"
`)
		equal(t, "queued", w.queued("L1"), []string{"ann 2026-03-05 2026-05-04T09:00:00Z", "ann 2026-03-20 2026-05-04T09:00:00Z"})
		w.noDrift()
	})
}

func TestRederive(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann", "ben")
		w.loan("L1", "ann")
		w.loan("L2", "ben")
		w.schedule("L1", owes(1, "2026-03-10", 1000))
		w.schedule("L2", owes(1, "2026-03-10", 1000))
		stale := func(want int) {
			t.Helper()
			if n, err := w.RederiveStale(t.Context(), 100); n != want || err != nil {
				t.Errorf("%d were stale, want %d (%v)", n, want, err)
			}
		}
		stale(0)

		// A crash came between a change of a person and the change of the reminders.
		w.ok(w.write(t.Context(), func(ctx context.Context, tx *Tx) error {
			_, err := tx.exec(ctx, `UPDATE users SET time_zone = 'Asia/Tokyo', changed = changed + 1 WHERE id = 'ann'`)
			return err
		}))
		if idle, err := w.Idle(t.Context()); idle || err != nil {
			t.Errorf("idle %v, %v", idle, err)
		}
		stale(1)
		stale(0)
		equal(t, "queued", w.queued("L1"), []string{"ann 2026-03-10 2026-03-03T00:00:00Z"})

		// A run under a policy that the rows don't follow yet: they are derived before anything is sent.
		p, err := policy.Parse([]byte("reminders:\n  - {kind: repayment.upcoming, at: [-2d]}\n"), "test policy")
		w.ok(err)
		_, changed, err := w.ActivatePolicy(t.Context(), p)
		if !changed {
			t.Fatalf("not activated: %v", err)
		}
		w.set("2026-03-03T09:00:00Z")
		w.run()
		equal(t, "told", append(w.told("ann"), w.told("ben")...), nil)
		stale(0) // the run had claimed both
		w.set("2026-03-08T09:00:00Z")
		w.run()
		equal(t, "told", w.told("ben"), []string{"L2 2026-03-10 1000 in 2d"})
		w.noDrift()
	})
}
