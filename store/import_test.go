package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/testenv"
)

func TestImport(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		wantRejected := func(t *testing.T, got []Rejected, err error, want ...string) {
			t.Helper()
			w.ok(err)
			var texts []string
			for _, r := range got {
				texts = append(texts, fmt.Sprintf("%d %v", r.Index, r.Err))
			}
			equal(t, "rejected", texts, want)
		}
		noLoan := "loan_id: no loan with this id: PUT /v1/loans/… first"
		noUser := "borrower_id: no user with this id: PUT /v1/users/… first"
		loan := func(id, borrower string) Loan {
			return Loan{ID: id, BorrowerID: borrower, Product: "Car", Currency: "EUR", Digits: 2, Status: LoanActive}
		}
		w.user("ann")

		t.Run("goodRowsAreTakenAndBadOnesNamed", func(t *testing.T) {
			rejected, err := w.ImportLoans(t.Context(), []Loan{loan("L1", "ann"), loan("L2", "bob"), loan("L3", "ann")}, ImportOptions{})
			wantRejected(t, rejected, err, "1 "+noUser)
			for id, want := range map[string]error{"L1": nil, "L2": ErrNotFound, "L3": nil} {
				if _, err := w.GetLoan(t.Context(), id); !errors.Is(err, want) {
					t.Errorf("%s: %v", id, err)
				}
			}
		})

		t.Run("allOrNothing", func(t *testing.T) {
			rows := []Loan{loan("L4", "bob"), loan("L5", "ann"), loan("L6", "bob")}
			rejected, err := w.ImportLoans(t.Context(), rows, ImportOptions{AllOrNothing: true})
			wantRejected(t, rejected, err, "0 "+noUser, "2 "+noUser)
			if _, err := w.GetLoan(t.Context(), "L5"); !errors.Is(err, ErrNotFound) {
				t.Errorf("a good row of a rejected file was taken: %v", err)
			}
		})

		t.Run("aDryRunChangesNothing", func(t *testing.T) {
			rejected, err := w.ImportLoans(t.Context(), []Loan{loan("L7", "ann"), loan("L8", "bob")}, ImportOptions{DryRun: true})
			wantRejected(t, rejected, err, "1 "+noUser)
			if _, err := w.GetLoan(t.Context(), "L7"); !errors.Is(err, ErrNotFound) {
				t.Errorf("a dry run stored a loan: %v", err)
			}
		})

		t.Run("rowsOfOneIDComeOneAfterTheOther", func(t *testing.T) {
			at := w.clock()
			users := []User{
				{ID: "zoe", Name: "first", TimeZone: "UTC", Locale: "en", AsOf: at},
				{ID: "zoe", Name: "stale", TimeZone: "UTC", Locale: "en", AsOf: at.Add(-time.Second)},
				{ID: "zoe", Name: "last", TimeZone: "UTC", Locale: "en", AsOf: at.Add(time.Second)}}
			rejected, err := w.ImportUsers(t.Context(), users, ImportOptions{})
			wantRejected(t, rejected, err, "1 older than what is stored")
			u, err := w.GetUser(t.Context(), "zoe")
			w.ok(err)
			if u.Name != "last" {
				t.Errorf("name = %q", u.Name)
			}
			date := civil.MustParse("2026-03-10")
			rejected, err = w.ImportSchedules(t.Context(), []Schedule{
				{LoanID: "L1", Installments: []Installment{{Number: 1, DueDate: date, AmountDue: 100, Outstanding: 100}}},
				{LoanID: "nope"},
				{LoanID: "L1", Installments: []Installment{
					{Number: 2, DueDate: date, AmountDue: 300, Outstanding: 300}, {Number: 1, DueDate: date, AmountDue: 200, Outstanding: 200}}},
				{LoanID: "L3", Installments: []Installment{{Number: 1, DueDate: date}, {Number: 1, DueDate: date}}},
			}, ImportOptions{})
			wantRejected(t, rejected, err, "1 "+noLoan, "3 number: 1 is there twice")
			p := Payment{ID: "p1", LoanID: "L1", Amount: 50, PaidAt: at, BodyHash: "h"}
			other := p
			other.BodyHash = "x"
			rejected, err = w.ImportPayments(t.Context(), []Payment{p, p, other, {ID: "p2", LoanID: "nope", Amount: 1, PaidAt: at},
				{ID: "p3", LoanID: "L1", Installment: 7, Amount: 1, PaidAt: at}}, ImportOptions{})
			wantRejected(t, rejected, err, "2 "+ErrConflict.Error(), "3 "+noLoan, "4 installment: the loan has no installment 7")
			if got := w.open("L1"); got[0] != 150 || got[1] != 300 {
				t.Errorf("open = %v", got)
			}
		})

		t.Run("aScheduleThatSaysNothingNewWritesNothing", func(t *testing.T) {
			before := w.queued("L1")
			s := Schedule{LoanID: "L1", Installments: []Installment{
				{Number: 1, DueDate: civil.MustParse("2026-03-10"), AmountDue: 200, AmountPaid: 50, Outstanding: 150},
				{Number: 2, DueDate: civil.MustParse("2026-03-10"), AmountDue: 300, Outstanding: 300}}}
			w.ok(w.PutSchedule(t.Context(), s))
			equal(t, "queued", w.queued("L1"), before)
			if got := w.open("L1"); got[0] != 150 || got[1] != 300 {
				t.Errorf("open = %v", got)
			}
		})
		w.noDrift()
	})
}

// However many rows there are, the number of statements is that of the batches: no query for a row.
func TestStatementsDontGrowWithRows(t *testing.T) {
	w := setup(t, testenv.Postgres(t), "2026-03-01T12:00:00Z")
	counted := w.counted()
	count := func(first, n int) (statements int) {
		var users []User
		var loans []Loan
		var schedules []Schedule
		var payments []Payment
		for i := first; i < first+n; i++ {
			id := fmt.Sprint(i)
			users = append(users, User{ID: "u" + id, Name: "N", TimeZone: "UTC", Locale: "en"})
			loans = append(loans, Loan{ID: "L" + id, BorrowerID: "u" + id, Product: "Car", Currency: "EUR", Digits: 2, Status: LoanActive,
				Parties: []Party{{UserID: "u" + id, Role: RoleOfficer, Notify: policy.Kinds()}}})
			schedules = append(schedules, Schedule{LoanID: "L" + id, Installments: []Installment{owes(1, "2026-03-10", 10), owes(2, "2026-04-10", 10)}})
			payments = append(payments, Payment{ID: "p" + id, LoanID: "L" + id, Amount: 5, PaidAt: w.clock()})
		}
		w.set("2026-03-01T12:00:00Z")
		counted.statements.Store(0)
		for _, err := range []error{
			second(w.ImportUsers(t.Context(), users, ImportOptions{})), second(w.ImportLoans(t.Context(), loans, ImportOptions{})),
			second(w.ImportSchedules(t.Context(), schedules, ImportOptions{})), second(w.ImportPayments(t.Context(), payments, ImportOptions{}))} {
			w.ok(err)
		}
		w.set("2026-03-03T09:00:00Z")
		claimed, err := w.RunDue(t.Context(), n, judge)
		w.ok(err)
		if claimed != n {
			t.Fatalf("claimed %d of %d", claimed, n)
		}
		return int(counted.statements.Load())
	}
	one, many := count(0, 1), count(1000, 400)
	if one == 0 || many > one {
		t.Errorf("%d statements for one loan and %d for 400", one, many)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTicks(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		ctx := context.WithoutCancel(t.Context())
		at := w.clock()
		if last, err := w.LastTick(ctx, "job", at.Add(time.Hour)); !last.IsZero() || err != nil {
			t.Errorf("last = %v, %v", last, err)
		}
		for _, want := range []bool{true, false} {
			if added, err := w.AddTick(ctx, "job", at); added != want || err != nil {
				t.Errorf("added %v, %v", added, err)
			}
		}
		_, err := w.SkipTick(ctx, "job", at.Add(time.Hour))
		w.ok(err)
		_, err = w.AddTick(ctx, "job", at.Add(-time.Hour))
		w.ok(err)
		claim := func(retryAfter time.Duration, attempts ...int) {
			t.Helper()
			ticks, err := w.ClaimTicks(ctx, retryAfter)
			w.ok(err)
			if len(ticks) != len(attempts) {
				t.Fatalf("ticks = %+v, want attempts %v", ticks, attempts)
			}
			for i, tick := range ticks {
				if tick.Job != "job" || tick.Attempt != attempts[i] || i > 0 && !tick.At.After(ticks[i-1].At) {
					t.Errorf("ticks = %+v, want attempts %v", ticks, attempts)
				}
			}
		}
		claim(time.Hour, 1, 1)
		claim(time.Hour)
		w.ok(w.UnclaimTicks(ctx, []Tick{{Job: "job", At: at}}))
		claim(time.Hour, 2)
		w.ok(w.TickDone(ctx, "job", at))
		claim(0, 2)
		if n, err := w.PendingTicks(ctx); n != 1 || err != nil {
			t.Errorf("%d pending, %v", n, err)
		}
		if idle, err := w.Idle(ctx); idle || err != nil {
			t.Errorf("idle %v, %v", idle, err)
		}
		w.ok(w.TickDone(ctx, "job", at.Add(-time.Hour)))
		if idle, err := w.Idle(ctx); !idle || err != nil {
			t.Errorf("idle %v, %v", idle, err)
		}
		w.ok(w.PruneTicks(ctx, at.Add(48*time.Hour)))
		last, err := w.LastTick(ctx, "job", at.Add(time.Hour))
		if !last.Equal(at.Add(time.Hour)) || err != nil {
			t.Errorf("last = %v, %v", last, err)
		}
		if last, err := w.LastTick(ctx, "job", at.Add(time.Hour-time.Microsecond)); !last.IsZero() || err != nil {
			t.Errorf("last before = %v, %v", last, err)
		}
		if added, err := w.AddTick(ctx, "job", at); !added || err != nil {
			t.Errorf("a pruned tick: added %v, %v", added, err)
		}
	})
}

func TestPreviewAndExplain(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann", "gus")
		w.loan("L1", "ann", Party{UserID: "gus", Role: RoleGuarantor, Notify: []string{policy.KindOverdue}})
		w.loan("L2", "ann")
		w.schedule("L1", owes(1, "2026-03-10", 1000))
		w.schedule("L2", owes(1, "2026-03-04", 50))
		show := func(query PreviewQuery) []string {
			t.Helper()
			items, err := w.Preview(t.Context(), query)
			w.ok(err)
			return pluck(items, func(i PreviewItem) string {
				return fmt.Sprintf("%s %s %s %s %d", i.At.Format("02 15:04"), i.LoanID, i.Recipient, policy.Rule{Kind: i.Kind, Offset: i.Offset}, i.Amount)
			})
		}
		until := instantOf(t, "2026-03-07T09:00:00Z")
		equal(t, "everybody", show(PreviewQuery{Until: until}), []string{
			"01 12:00 L2 ann repayment.upcoming -3d 50", "03 09:00 L1 ann repayment.upcoming -7d 1000",
			"03 09:00 L2 ann repayment.upcoming -1d 50", "04 09:00 L2 ann repayment.due_today 0d 50",
			"05 09:00 L2 ann repayment.overdue 1d 50", "07 09:00 L1 ann repayment.upcoming -3d 1000"})
		equal(t, "the first", show(PreviewQuery{Until: until, Limit: 1}), []string{"01 12:00 L2 ann repayment.upcoming -3d 50"})
		equal(t, "gus", show(PreviewQuery{Recipient: "gus", Until: until.AddDate(0, 0, 10)}), []string{
			"11 09:00 L1 gus repayment.overdue 1d 1000", "17 09:00 L1 gus repayment.overdue 7d 1000"})

		w.set("2026-03-03T09:00:00Z")
		w.run()
		page, err := w.Changes(t.Context(), "ann", 0, "", 10)
		w.ok(err)
		var reminder string
		for _, n := range page.Items {
			if n.Title == "L1 2026-03-10 1000 in 7d" {
				reminder = n.ID
			}
		}
		e, err := w.Explain(t.Context(), ExplainQuery{NotificationID: reminder})
		w.ok(err)
		if e.Loan == nil || e.Loan.ID != "L1" || len(e.Decisions) != 1 || e.Decisions[0].NotificationID != reminder ||
			e.Decisions[0].LocalTime != "2026-03-03T09:00:00+00:00" || len(e.Due) != 1 || len(e.Installments) != 1 {
			t.Errorf("the reminder's explanation: %+v", e)
		}
		w.change(change("c1", "A1", "approved"))
		_, err = w.tellOne(t.Context(), "A1", tellStatus)
		w.ok(err)
		page, err = w.Changes(t.Context(), "ann", page.Rev, "", 10)
		w.ok(err)
		e, err = w.Explain(t.Context(), ExplainQuery{NotificationID: page.Items[0].ID})
		if e.Key != "status:c1:ann" || err != nil {
			t.Errorf("key = %q, %v", e.Key, err)
		}
		change := page.Items[0].ID
		trace := func(id string) []Trace {
			t.Helper()
			traces, more, err := w.Traces(t.Context(), id)
			w.ok(err)
			if more != (id == "all") {
				t.Errorf("more of %s: %v", id, more)
			}
			return traces
		}
		told := trace("c1")
		if len(told) != 1 || told[0].NotificationID != change || told[0].Recipient != "ann" || told[0].Rev != page.Items[0].CreatedRev ||
			told[0].Source != "status change c1" || told[0].ArrivedAt == nil || told[0].EnqueuedAt == nil || told[0].HandledAt == nil || told[0].ReadAt != nil {
			t.Errorf("the way of a status change: %+v", told)
		}
		if again := trace(change); len(again) != 1 || again[0].Source != told[0].Source || !again[0].ArrivedAt.Equal(*told[0].ArrivedAt) {
			t.Errorf("by its notification: %+v", again)
		}
		if r := trace(reminder); len(r) != 1 || r[0].Source != "reminder of loan L1 due 2026-03-10" || r[0].ArrivedAt != nil || !r[0].HandledAt.Equal(w.Now()) {
			t.Errorf("the way of a reminder: %+v", r)
		}
		_, err = w.requestOne(t.Context(), Request{ID: "c1", Body: []byte(`{}`), BodyHash: "h"})
		w.ok(err)
		_, err = w.TellRequest(t.Context(), "c1", func(Request) (Telling, error) {
			return saying([]string{"ann", "gus"}, Draft{Kind: "k"}), nil
		})
		w.ok(err)
		if both := trace("c1"); len(both) != 3 || both[1].Source != "request c1" || both[1].Recipient != "ann" || both[2].Recipient != "gus" {
			t.Errorf("the ways of a change and a request of one id: %+v", both)
		}
		var many []string
		for i := range MaxTraces + 1 {
			many = append(many, fmt.Sprintf("many%d", i))
		}
		_, err = w.requestOne(t.Context(), Request{ID: "all", Body: []byte(`{}`), BodyHash: "h"})
		w.ok(err)
		_, err = w.TellRequest(t.Context(), "all", func(Request) (Telling, error) { return saying(many, Draft{Kind: "k"}), nil })
		w.ok(err)
		if some := trace("all"); len(some) != MaxTraces || some[0].Recipient != "many0" || some[0].Source != "request all" {
			t.Errorf("%d ways of a request that goes to many", len(some))
		}
		if _, _, err := w.Traces(t.Context(), "c"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the way of what isn't there: %v", err)
		}
		if _, err := w.Explain(t.Context(), ExplainQuery{NotificationID: "nope"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown notification: %v", err)
		}
		e, err = w.Explain(t.Context(), ExplainQuery{LoanID: "L1", DueDate: civil.MustParse("2026-03-11")})
		if e.Loan == nil || len(e.Decisions)+len(e.Due)+len(e.Installments) > 0 || err != nil {
			t.Errorf("a date without anything: %+v, %v", e, err)
		}
	})
}

func TestPeople(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		lender := &policy.QuietHours{From: 21 * 60, To: 8 * 60}
		own := &policy.QuietHours{From: 60, To: 120}
		w.ok(w.PutUser(t.Context(), User{ID: "ann", Name: "Ann", Email: "ann@example.com", TimeZone: "Europe/Prague", Locale: "cs"}))
		person := func(id string) Person {
			t.Helper()
			pv, err := w.ActivePolicy(t.Context())
			w.ok(err)
			people, err := w.query().peopleByID(t.Context(), []string{id}, unlocked, pv)
			w.ok(err)
			return *people[id]
		}
		for _, test := range []struct {
			name         string
			p            Preferences
			zone, locale string
			quiet        *policy.QuietHours
			optedOut     bool
		}{
			{"the lender's", Preferences{}, "Europe/Prague", "cs", lender, false},
			{"their own", Preferences{TimeZone: "Asia/Tokyo", Locale: "ja", QuietHours: own}, "Asia/Tokyo", "ja", own, false},
			{"no quiet hours", Preferences{NoQuietHours: true}, "Europe/Prague", "cs", nil, false},
			{"a kind switched off", Preferences{Channels: map[string]Channels{policy.KindOverdue: {Email: true}}}, "Europe/Prague", "cs", lender, true},
		} {
			t.Run(test.name, func(t *testing.T) {
				w.ok(w.PutPreferences(t.Context(), "ann", test.p))
				got := person("ann")
				if !got.Known || got.Name != "Ann" || got.Email != "ann@example.com" || got.Zone.String() != test.zone ||
					got.Locale != test.locale || got.OptedOut[policy.KindOverdue] != test.optedOut || got.OptedOut[policy.KindUpcoming] ||
					(got.Quiet == nil) != (test.quiet == nil) || got.Quiet != nil && *got.Quiet != *test.quiet {
					t.Errorf("%+v", got)
				}
				stored, err := w.Preferences(t.Context(), "ann")
				w.ok(err)
				if fmt.Sprintf("%+v", stored.Channels) != fmt.Sprintf("%+v", test.p.Channels) || stored.TimeZone != test.p.TimeZone {
					t.Errorf("stored %+v", stored)
				}
			})
		}
		// Somebody of whom only the id is known has preferences too.
		w.ok(w.PutPreferences(t.Context(), "nobody", Preferences{TimeZone: "Asia/Tokyo"}))
		if got := person("nobody"); got.Known || got.Zone.String() != "Asia/Tokyo" || got.Locale != "en" {
			t.Errorf("%+v", got)
		}
		if p, err := w.Preferences(t.Context(), "stranger"); p.Channels != nil || err != nil {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// Within an import a loan's schedule comes once, whatever transactions its rows are in; another import, or a call, replaces it.
func TestAnImportStoresAScheduleOnce(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann")
		w.loan("L1", "ann")
		w.loan("L2", "ann")
		put := func(run string, schedules ...Schedule) (refused []string) {
			t.Helper()
			rejected, err := w.ImportSchedules(t.Context(), schedules, ImportOptions{Run: run})
			w.ok(err)
			for _, r := range rejected {
				if wrong, ok := errors.AsType[*FieldError](r.Err); !ok || wrong.Field != "loan_id" {
					t.Errorf("row %d: %v", r.Index, r.Err)
				}
				refused = append(refused, fmt.Sprint(r.Index))
			}
			return refused
		}
		half := func(loan string, number int) Schedule {
			return Schedule{LoanID: loan, Installments: []Installment{owes(number, "2026-03-10", 10000)}}
		}
		equal(t, "twice in one transaction", put("a", half("L1", 1), half("L2", 1), half("L1", 2)), []string{"2"})
		equal(t, "again in another", put("a", half("L1", 2), half("L2", 2)), []string{"0", "1"})
		equal(t, "what came first", w.lines(t, `SELECT loan_id || ' ' || CAST(number AS text) FROM installments`), []string{"L1 1", "L2 1"})
		equal(t, "in another import", put("b", half("L1", 3)), nil)
		w.schedule("L1", owes(4, "2026-03-10", 10000))
		equal(t, "behind a call", put("b", half("L1", 5)), []string{"0"})
		equal(t, "in no import", put("", half("L1", 6), half("L2", 6)), nil)
		equal(t, "what came last", w.lines(t, `SELECT loan_id || ' ' || CAST(number AS text) FROM installments`), []string{"L1 6", "L2 6"})
		w.noDrift()
	})
}
