package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/testenv"
)

// Whatever happens to a book, in whatever order, what is kept step by step is what a fresh look at it gives.
func TestRandomHistoriesLeaveNoDrift(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		const histories, steps, between = 4, 120, 5 // a look costs more than what it looks at
		for seed := range histories {
			t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
				w := setup(t, fresh(t, url), "2026-03-20T00:30:00Z")
				h := &history{world: w, rand: rand.New(rand.NewPCG(uint64(seed), 42))}
				for i := range 4 {
					w.user(fmt.Sprint("u", i))
				}
				h.loan()
				for i := range steps {
					step := h.step()
					h.log = append(h.log, w.clock().Format(time.RFC3339)+" "+step)
					if i%between > 0 {
						continue
					}
					drift, err := w.CompareDue(t.Context())
					w.ok(err)
					if len(drift) > 0 {
						for _, line := range h.log {
							t.Log(line)
						}
						t.Fatalf("drift: %+v", drift)
					}
				}
				h.check()
			})
		}
	})
}

type history struct {
	*world
	rand     *rand.Rand
	log      []string
	payments int
	policy   int
}

func (h *history) pick(list ...string) string { return list[h.rand.IntN(len(list))] }
func (h *history) anyUser() string            { return fmt.Sprint("u", h.rand.IntN(4)) }
func (h *history) anyLoan() string            { return fmt.Sprint("L", h.rand.IntN(4)) }

// expected are the errors that a random step may run into.
func (h *history) expected(err error) {
	h.t.Helper()
	if _, isField := errors.AsType[*FieldError](err); err != nil && !isField && !errors.Is(err, ErrStale) && !errors.Is(err, ErrNotFound) {
		h.t.Fatal(err)
	}
}

// step does something and says what.
func (h *history) step() string {
	ctx, r := h.t.Context(), h.rand
	switch r.IntN(16) {
	case 0, 1, 2, 3:
		h.setTime(h.clock().Add(time.Duration(1+r.IntN(36*60)) * time.Minute))
		h.run()
		return "time passes, and a run"
	case 4:
		h.setTime(h.clock().Add(time.Duration(1+r.IntN(5*24*60)) * time.Minute))
		return "time passes, without a run"
	case 5, 6:
		return h.loan()
	case 7, 8:
		return h.schedule()
	case 9, 10:
		h.payments++
		p := Payment{ID: fmt.Sprint("p", h.payments), LoanID: h.anyLoan(), Installment: r.IntN(4), Amount: 1 + r.Int64N(300),
			PaidAt: h.clock().Add(-time.Duration(r.IntN(96)) * time.Hour)}
		_, err := h.AddPayment(ctx, p)
		h.expected(err)
		return fmt.Sprintf("payment %+v: %v", p, err)
	case 11:
		id := fmt.Sprint("p", 1+r.IntN(h.payments+1))
		_, err := h.ReversePayment(ctx, id)
		h.expected(err)
		return fmt.Sprintf("reverse %s: %v", id, err)
	case 12:
		u := User{ID: h.anyUser(), Name: "N", TimeZone: h.pick("UTC", "Asia/Tokyo", "America/Los_Angeles", "Europe/Prague"), Locale: "en"}
		if r.IntN(5) == 0 {
			h.ok(h.EraseUser(ctx, u.ID))
			return "erase " + u.ID
		}
		h.ok(h.PutUser(ctx, u))
		return "user " + u.ID + " in " + u.TimeZone
	case 13:
		user := h.anyUser()
		p := Preferences{TimeZone: h.pick("", "", "Pacific/Apia"), NoQuietHours: r.IntN(3) == 0}
		if r.IntN(3) == 0 {
			p.QuietHours = &policy.QuietHours{From: civil.TimeOfDay(r.IntN(700)), To: civil.TimeOfDay(700 + r.IntN(700))}
		}
		if r.IntN(2) == 0 {
			p.Channels = map[string]Channels{h.pick(policy.KindUpcoming, policy.KindOverdue): {Push: r.IntN(2) == 0}}
		}
		h.ok(h.PutPreferences(ctx, user, p))
		return fmt.Sprintf("preferences of %s: %+v", user, p)
	case 14:
		h.policy++
		h.activate(h.pick(testPolicy, testPolicy+"caps: {per_person_per_day: 1}\n", `
reminders:
  - {kind: repayment.upcoming, at: [-2d]}
  - {kind: repayment.overdue, at: [1d, 2d, 3d]}
send_at: "22:00"
quiet_hours: {from: "20:00", to: "07:00"}
weekends: next_business_day
`))
		return "a policy"
	default:
		user := h.anyUser()
		_, err := h.ReadAll(ctx, user, nil)
		h.ok(err)
		return user + " reads everything"
	}
}

func (h *history) loan() string {
	l := Loan{ID: h.anyLoan(), BorrowerID: h.anyUser(), Product: "Car", Currency: "EUR", Digits: 2,
		Status: h.pick(LoanActive, LoanActive, LoanActive, "closed", "paused")}
	for _, role := range []string{RoleCoBorrower, RoleGuarantor, RoleOfficer} {
		if h.rand.IntN(3) == 0 {
			l.Parties = append(l.Parties, Party{UserID: h.anyUser(), Role: role, Notify: []string{h.pick(policy.KindUpcoming, policy.KindOverdue)}})
		}
	}
	_, err := h.ImportLoans(h.t.Context(), []Loan{l}, ImportOptions{Backfill: h.rand.IntN(8) == 0})
	h.ok(err)
	return fmt.Sprintf("loan %+v", l)
}

func (h *history) schedule() string {
	s := Schedule{LoanID: h.anyLoan()}
	if h.rand.IntN(2) == 0 {
		s.AsOf = h.clock().Add(-time.Duration(h.rand.IntN(72)) * time.Hour)
	}
	for number := range h.rand.IntN(4) {
		due := h.rand.Int64N(200)
		paid := h.rand.Int64N(due + 1)
		s.Installments = append(s.Installments, Installment{Number: number + 1,
			DueDate:   civil.Of(h.clock()).AddDays(h.rand.IntN(30) - 15),
			AmountDue: due, AmountPaid: paid, Outstanding: due - paid})
	}
	err := h.PutSchedule(h.t.Context(), s)
	h.expected(err)
	return fmt.Sprintf("schedule %+v: %v", s, err)
}

// check looks at what must hold in the end: nothing sent twice, and nothing left undone.
func (h *history) check() {
	h.t.Helper()
	h.setTime(h.clock().Add(90 * 24 * time.Hour))
	h.run()
	h.noDrift()
	stats, err := h.Stats(h.t.Context())
	h.ok(err)
	if stats.DueNow != 0 || stats.DueParked != 0 || stats.Summaries != 0 || stats.StaleLoans != 0 || stats.StalePeople != 0 {
		h.t.Errorf("left undone: %+v", stats.Backlog)
	}
	for i := range 4 {
		e, err := h.Explain(h.t.Context(), ExplainQuery{LoanID: fmt.Sprint("L", i)})
		h.ok(err)
		var sent []string
		last := make(map[string]string)
		for _, d := range e.Decisions {
			key := fmt.Sprint(d.DueDate, d.Recipient, d.Kind, d.Offset)
			outcome := d.Outcome + d.Reason
			if last[key] == outcome {
				h.t.Errorf("decided twice in a row: %+v", d)
			}
			last[key] = outcome
			if d.Outcome == "sent" {
				if slices.Contains(sent, key) {
					h.t.Errorf("sent twice: %+v", d)
				}
				sent = append(sent, key)
			}
		}
	}
}
