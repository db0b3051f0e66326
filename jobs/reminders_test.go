package jobs

import (
	"fmt"
	"strings"
	"testing"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/store"
)

// everyThree is the built-in policy with a run each three minutes.
func everyThree(t *testing.T) *policy.Policy {
	t.Helper()
	source := strings.Replace(policy.Default().Source(), "*/15 * * * *", "*/3 * * * *", 1)
	p, err := policy.Parse([]byte(source), "test policy")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ana has a car loan of EUR with 100.00 due on 10 March.
func (w *world) ana() {
	w.t.Helper()
	w.user("ana", "Europe/Prague", "en")
	w.loan("eur", "ana", "EUR", 2)
	w.due("eur", "2026-03-10", 10000)
}

func TestReminderArrivesWithTheFacts(t *testing.T) {
	everywhere(t, "2026-03-01T00:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.pay("eur", 4000)
		w.scheduler()
		w.worker()
		w.till("2026-03-03T08:00:00Z")
		w.want("ana", "upcoming") // 7 days before
		w.till("2026-03-07T08:00:00Z")
		w.want("ana", "upcoming", "upcoming") // 3 days before
		n := w.inbox("ana")[1]
		d := data(t, n)
		if d["loan_id"] != "eur" || d["due_date"] != "2026-03-10" || d["days"] != 3.0 || d["amount"] != "60.00" || d["currency"] != "EUR" ||
			fmt.Sprint(d["installments"]) != "[1]" || n.URL == nil || *n.URL != "/loans/eur" {
			t.Errorf("data %s, url %v", n.Data, n.URL)
		}
		if !strings.Contains(n.Body, "60.00") || strings.Contains(n.Body, "100") {
			t.Errorf("body %q", n.Body)
		}
		w.pay("eur", 5999)
		w.till("2026-03-09T08:00:00Z")
		if d := data(t, w.inbox("ana")[2]); d["amount"] != "0.01" || d["days"] != 1.0 {
			t.Errorf("a cent is left, and it says %v", d)
		}
		w.pay("eur", 1)
		w.till("2026-03-10T08:00:00Z")
		w.till("2026-03-11T08:00:00Z")
		w.want("ana", "upcoming", "upcoming", "upcoming")
		for _, n := range w.inbox("ana") {
			if n.ResolvedAt == nil {
				t.Errorf("paid, and %s isn't resolved", n.ID)
			}
		}
	})
}

// TestPaidBetweenRunAndWorker: what counts is what is true when it is written.
func TestPaidBetweenRunAndWorker(t *testing.T) {
	everywhere(t, "2026-03-05T00:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.scheduler()
		w.at("2026-03-07T08:00:00Z")
		w.eventually("the run waits in its queue", func() bool {
			n, err := NewQueueReader(w.redis.Client).waiting(t.Context(), QueueReminders)
			return err == nil && n > 0
		})
		w.pay("eur", 10000)
		w.worker()
		w.settle()
		w.want("ana")
	})
}

// TestCronEveryThreeMinutesWithTwoSchedulers is one reminder. The clock leaps to 06:00 and then stops at each instant.
func TestCronEveryThreeMinutesWithTwoSchedulers(t *testing.T) {
	everywhere(t, "2026-03-07T00:00:00Z", func(t *testing.T, w *world) {
		w.policy = everyThree(t)
		w.ana()
		w.scheduler()
		w.scheduler()
		w.worker()
		w.till("2026-03-07T06:00:00Z")
		w.drive()
		w.till("2026-03-07T11:00:00Z")
		w.want("ana", "upcoming")
		// Each instant was added by one of the two, and so was the last one of the leap.
		if n := counted(t, w.reg, "duebell_ticks_total", "job", policy.JobReminderRun, "event", "added"); n != 1+100 {
			t.Errorf("%v ticks", n)
		}
	})
}

func TestSchedulerDownOverADay(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, back string
		want       []string
		days       float64
		body       string
	}{
		{"over T-3, back on T-2", "2026-03-08T10:00:00Z", []string{"upcoming"}, 2, "2 days"},
		{"through the due day", "2026-03-11T10:00:00Z", []string{"overdue"}, -1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			everywhere(t, "2026-03-06T00:00:00Z", func(t *testing.T, w *world) {
				w.ana()
				down := w.scheduler()
				w.worker()
				w.till("2026-03-06T12:00:00Z")
				down.stop()
				w.at(test.back)
				w.scheduler()
				w.settle()
				w.want("ana", test.want...)
				n := w.inbox("ana")[0]
				if d := data(t, n); d["days"] != test.days || !strings.Contains(n.Body+n.Title, test.body) || strings.Contains(n.Title, "due in") && test.days < 0 {
					t.Errorf("it says %q %q %s", n.Title, n.Body, n.Data)
				}
			})
		})
	}
}

// TestTwoInstallmentsOnOneDay are one message with the sum.
func TestTwoInstallmentsOnOneDay(t *testing.T) {
	everywhere(t, "2026-03-06T00:00:00Z", func(t *testing.T, w *world) {
		w.user("ana", "Europe/Prague", "en")
		w.loan("eur", "ana", "EUR", 2)
		w.due("eur", "2026-03-10", 10000, "2026-03-10", 2550, "2026-04-10", 10000)
		w.scheduler()
		w.worker()
		w.till("2026-03-07T08:00:00Z")
		w.want("ana", "upcoming")
		if d := data(t, w.inbox("ana")[0]); d["amount"] != "125.50" || fmt.Sprint(d["installments"]) != "[1 2]" {
			t.Errorf("data %v", d)
		}
	})
}

// TestDigitsAreTheLoans: Fineract ships UGX with two decimals where ISO 4217 has none.
func TestDigitsAreTheLoans(t *testing.T) {
	everywhere(t, "2026-03-06T00:00:00Z", func(t *testing.T, w *world) {
		tests := []struct {
			currency    string
			digits      int
			minor       int
			data, shown string
			never       string
		}{
			{"JPY", 0, 1235, "1235", "1,235", "1,235."},
			{"KWD", 3, 10130, "10.130", "10.130", "10.1300"},
			{"UGX", 2, 500000, "5000.00", "5,000.00", ""},
		}
		for _, test := range tests {
			w.user(test.currency, "Europe/Prague", "en")
			w.loan(test.currency, test.currency, test.currency, test.digits)
			w.due(test.currency, "2026-03-10", test.minor)
		}
		w.scheduler()
		w.worker()
		w.till("2026-03-07T08:00:00Z")
		for _, test := range tests {
			w.want(test.currency, "upcoming")
			n := w.inbox(test.currency)[0]
			if data(t, n)["amount"] != test.data || !strings.Contains(n.Body, test.shown) || test.never != "" && strings.Contains(n.Body, test.never) {
				t.Errorf("%s: %q %s", test.currency, n.Body, n.Data)
			}
		}
	})
}

// TestOfficerGetsOneSummaryARun and no copy of each reminder.
func TestOfficerGetsOneSummaryARun(t *testing.T) {
	everywhere(t, "2026-03-10T00:00:00Z", func(t *testing.T, w *world) {
		w.user("olga", "Europe/Prague", "en")
		for i := range 12 {
			borrower := fmt.Sprintf("b%d", i)
			w.user(borrower, "Europe/Prague", "en")
			w.loan(fmt.Sprintf("l%d", i), borrower, "EUR", 2, store.Party{UserID: "olga", Role: store.RoleOfficer, Notify: []string{policy.KindOverdue}})
			w.due(fmt.Sprintf("l%d", i), "2026-03-10", 10000)
		}
		w.scheduler()
		worker := NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, LazyPoll: fast})
		worker.batch = 5 // a run of several batches
		w.start(worker.Run)
		w.till("2026-03-10T08:00:00Z")
		w.want("b7", "due_today")
		w.want("olga") // only what is overdue
		w.till("2026-03-11T08:00:00Z")
		for i := range 12 {
			w.want(fmt.Sprintf("b%d", i), "due_today", "overdue")
		}
		w.want("olga", "summary")
		if n := w.inbox("olga")[0]; !strings.Contains(n.Title+n.Body, "12") {
			t.Errorf("summary %q %q", n.Title, n.Body)
		}
	})
}

// TestBookWithAYearOfArrears: going live floods nobody.
func TestBookWithAYearOfArrears(t *testing.T) {
	everywhere(t, "2026-03-07T10:00:00Z", func(t *testing.T, w *world) {
		w.user("ana", "Europe/Prague", "en")
		w.loan("eur", "ana", "EUR", 2)
		var dates []any
		for month := 1; month <= 12; month++ {
			dates = append(dates, fmt.Sprintf("2025-%02d-20", month), 10000)
		}
		w.due("eur", append(dates, "2026-03-10", 10000)...)
		w.scheduler()
		w.worker()
		for _, at := range []string{"2026-03-07T10:15:00Z", "2026-03-08T08:00:00Z", "2026-03-09T08:00:00Z"} {
			w.till(at)
		}
		w.want("ana", "upcoming", "upcoming") // three days before is the day of the import
		for _, n := range w.inbox("ana") {
			if d := data(t, n); d["due_date"] != "2026-03-10" {
				t.Errorf("of the past: %s %s", n.Kind, n.Data)
			}
		}
	})
}

// TestLateByTheRecipientsCalendar: due today, overdue and days are of the recipient's day, not the server's.
func TestLateByTheRecipientsCalendar(t *testing.T) {
	p, err := policy.Parse([]byte("reminders:\n  - {kind: repayment.due_today, at: 0d}\n  - {kind: repayment.overdue, at: 1d}\nsend_at: \"00:00\"\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ zone, now, want string }{
		{"Pacific/Kiritimati", "2026-03-10T10:30:00Z", policy.KindOverdue},
		{"America/Los_Angeles", "2026-03-11T00:30:00Z", policy.KindDueToday},
	} {
		zone, err := civil.LoadZone(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		due := civil.MustParse("2026-03-10")
		row := store.DueRow{LoanID: "l", DueDate: due, Recipient: "ana", Role: store.RoleBorrower, Open: 100, Numbers: []int{1},
			Loan:    store.Loan{ID: "l", BorrowerID: "ana", Product: "Car", Currency: "EUR", Digits: 2, Status: store.LoanActive},
			Person:  store.Person{User: store.User{ID: "ana", Name: "Ana"}, Known: true, Zone: zone, Locale: "en"},
			Subject: policy.Subject{DueDate: due, Zone: zone, Open: true, Active: true}}
		out := decide(store.PolicyVersion{Version: 1, Policy: p}, instant(t, test.now), []store.DueRow{row})[0]
		if out.Err != nil || out.Send == nil || out.Send.Kind != test.want {
			t.Errorf("%s at %s: %+v", test.zone, test.now, out)
		}
	}
}

// TestReversedPaymentBringsTheReminderBack: only what was sent is final.
func TestReversedPaymentBringsTheReminderBack(t *testing.T) {
	everywhere(t, "2026-03-06T00:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.scheduler()
		w.worker()
		paid := w.pay("eur", 10000)
		w.till("2026-03-07T09:00:00Z")
		w.want("ana")
		_, err := w.db.ReversePayment(t.Context(), paid)
		w.do(err)
		w.till("2026-03-07T09:15:00Z")
		w.want("ana", "upcoming")
	})
}

// TestMovedDueDate: whoever was told of the old date is told once of the new one.
func TestMovedDueDate(t *testing.T) {
	everywhere(t, "2026-03-06T00:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.scheduler()
		w.worker()
		w.till("2026-03-07T09:00:00Z")
		w.due("eur", "2026-03-25", 10000)
		w.settle()
		w.want("ana", "upcoming", "rescheduled")
		list := w.inbox("ana")
		if list[0].ResolvedAt == nil || !strings.Contains(list[1].Body, "25") {
			t.Errorf("old: resolved %v; new: %q", list[0].ResolvedAt, list[1].Body)
		}
		if d := data(t, list[1]); d["due_date"] != "2026-03-25" || d["previous_due_date"] != "2026-03-10" || d["loan_id"] != "eur" {
			t.Errorf("data %v", d)
		}
	})
}
