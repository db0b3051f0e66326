package policy

import (
	"reflect"
	"testing"
	"time"

	"duebell/internal/civil"
)

// subject is a due date of 10 March 2026 (a Tuesday) in Prague under the built-in policy's quiet hours.
func subject(t testing.TB) Subject {
	return Subject{
		DueDate: civil.MustParse("2026-03-10"), Zone: zone(t, "Europe/Prague"), Quiet: Default().Quiet,
		Open: true, Active: true, Sent: map[Rule]bool{}, Recorded: map[Rule]string{},
	}
}

var (
	upcoming7, upcoming3, upcoming1 = Rule{KindUpcoming, -7}, Rule{KindUpcoming, -3}, Rule{KindUpcoming, -1}
	dueToday                        = Rule{KindDueToday, 0}
	overdue1, overdue7              = Rule{KindOverdue, 1}, Rule{KindOverdue, 7}
	overdue15, overdue30            = Rule{KindOverdue, 15}, Rule{KindOverdue, 30}
)

func sent(rules ...Rule) map[Rule]bool {
	m := map[Rule]bool{}
	for _, r := range rules {
		m[r] = true
	}
	return m
}

func TestJudge(t *testing.T) {
	type change func(*Subject)
	none := func(*Subject) {}
	for _, c := range []struct {
		why       string
		change    change
		now       string // UTC; Prague is an hour ahead
		send      *Rule
		days      int
		decisions []Decided
		next      string
	}{
		{"before the first rule", none, "2026-03-01T12:00:00Z", nil, 9, nil, "2026-03-03T08:00:00Z"},
		{"the minute before", none, "2026-03-03T07:59:59Z", nil, 7, nil, "2026-03-03T08:00:00Z"},
		{"on time", none, "2026-03-03T08:00:00Z", &upcoming7, 7, []Decided{{upcoming7, Sent, ""}}, "2026-03-07T08:00:00Z"},
		{"sent already", func(s *Subject) { s.Sent = sent(upcoming7) }, "2026-03-03T08:00:01Z", nil, 7, nil, "2026-03-07T08:00:00Z"},
		{"down over T-3, back on T-2: one, and it says 2 days", func(s *Subject) { s.Sent = sent(upcoming7) },
			"2026-03-08T10:00:00Z", &upcoming3, 2, []Decided{{upcoming3, Sent, ""}}, "2026-03-09T08:00:00Z"},
		{"down from T-7 to T-1: one, the others are superseded", none, "2026-03-09T08:00:00Z", &upcoming1, 1,
			[]Decided{{upcoming1, Sent, ""}, {upcoming7, Suppressed, ReasonSuperseded}, {upcoming3, Suppressed, ReasonSuperseded}},
			"2026-03-10T08:00:00Z"},
		{"back on the due day before the send time: nothing is due in 0 days", func(s *Subject) { s.Sent = sent(upcoming7, upcoming3) },
			"2026-03-10T07:30:00Z", nil, 0, []Decided{{upcoming1, Suppressed, ReasonNoLongerTrue}}, "2026-03-10T08:00:00Z"},
		{"back the day after, before the send time: due today is over", func(s *Subject) { s.Sent = sent(upcoming7, upcoming3, upcoming1) },
			"2026-03-11T07:30:00Z", nil, -1, []Decided{{dueToday, Suppressed, ReasonNoLongerTrue}}, "2026-03-11T08:00:00Z"},
		{"down through the due day: one overdue", func(s *Subject) { s.Sent = sent(upcoming7, upcoming3) },
			"2026-03-12T10:00:00Z", &overdue1, -2,
			[]Decided{{overdue1, Sent, ""}, {upcoming1, Suppressed, ReasonSuperseded}, {dueToday, Suppressed, ReasonSuperseded}},
			"2026-03-17T08:00:00Z"},
		{"down longer than max_late", func(s *Subject) { s.Sent = sent(upcoming7, upcoming3, upcoming1, dueToday) },
			"2026-03-13T08:00:01Z", nil, -3, []Decided{{overdue1, Suppressed, ReasonTooLate}}, "2026-03-17T08:00:00Z"},
		{"just not too late", func(s *Subject) { s.Sent = sent(upcoming7, upcoming3, upcoming1, dueToday) },
			"2026-03-13T08:00:00Z", &overdue1, -3, []Decided{{overdue1, Sent, ""}}, "2026-03-17T08:00:00Z"},
		{"after the last rule", func(s *Subject) { s.Sent = sent(overdue30) }, "2026-05-01T08:00:00Z", nil, -52, nil, ""},

		{"paid between the run and the worker", func(s *Subject) { s.Open = false }, "2026-03-03T08:00:00Z", nil, 7,
			[]Decided{{upcoming7, Suppressed, ReasonPaid}}, ""},
		{"closed between the run and the worker", func(s *Subject) { s.Open, s.Active = false, false }, "2026-03-03T08:00:00Z", nil, 7,
			[]Decided{{upcoming7, Suppressed, ReasonNotActive}}, ""},
		{"paid after it was sent", func(s *Subject) { s.Open, s.Sent = false, sent(upcoming7) }, "2026-03-04T08:00:00Z", nil, 6, nil, ""},
		{"paid before any rule", func(s *Subject) { s.Open = false }, "2026-03-01T08:00:00Z", nil, 9, nil, ""},
		{"opted out of this kind", func(s *Subject) { s.OptedOut = map[string]bool{KindUpcoming: true} }, "2026-03-03T08:00:00Z", nil, 7,
			[]Decided{{upcoming7, Suppressed, ReasonOptedOut}}, "2026-03-07T08:00:00Z"},
		{"opted out of another kind", func(s *Subject) { s.OptedOut = map[string]bool{KindOverdue: true} }, "2026-03-03T08:00:00Z",
			&upcoming7, 7, []Decided{{upcoming7, Sent, ""}}, "2026-03-07T08:00:00Z"},
		{"not told about this kind at all", func(s *Subject) { s.Kinds = map[string]bool{KindOverdue: true} }, "2026-03-03T08:00:00Z",
			nil, 7, nil, "2026-03-11T08:00:00Z"},
		{"told about no kind", func(s *Subject) { s.Kinds = map[string]bool{} }, "2026-03-03T08:00:00Z", nil, 7, nil, ""},
		{"told about this kind only", func(s *Subject) { s.Kinds = map[string]bool{KindOverdue: true} }, "2026-03-11T08:00:00Z",
			&overdue1, -1, []Decided{{overdue1, Sent, ""}}, "2026-03-17T08:00:00Z"},

		{"imported after the reminder day", func(s *Subject) { s.StartDay = civil.MustParse("2026-03-08") }, "2026-03-08T09:00:00Z", nil, 2,
			[]Decided{{upcoming3, Suppressed, ReasonBeforeStart}, {upcoming7, Suppressed, ReasonBeforeStart}}, "2026-03-09T08:00:00Z"},
		{"imported on the reminder day, after the send time", func(s *Subject) { s.StartDay = civil.MustParse("2026-03-07") },
			"2026-03-07T15:00:00Z", &upcoming3, 3,
			[]Decided{{upcoming3, Sent, ""}, {upcoming7, Suppressed, ReasonBeforeStart}}, "2026-03-09T08:00:00Z"},
		{"imported with a year of arrears", func(s *Subject) {
			s.DueDate, s.StartDay = civil.MustParse("2025-03-10"), civil.MustParse("2026-03-10")
		}, "2026-03-10T09:00:00Z", nil, -365, []Decided{
			{overdue30, Suppressed, ReasonBeforeStart}, {upcoming7, Suppressed, ReasonBeforeStart},
			{upcoming3, Suppressed, ReasonBeforeStart}, {upcoming1, Suppressed, ReasonBeforeStart},
			{dueToday, Suppressed, ReasonBeforeStart}, {overdue1, Suppressed, ReasonBeforeStart},
			{overdue7, Suppressed, ReasonBeforeStart}, {overdue15, Suppressed, ReasonBeforeStart},
		}, ""},
		{"the same, back-filled", func(s *Subject) {
			s.DueDate, s.StartDay, s.Backfill = civil.MustParse("2025-03-10"), civil.MustParse("2026-03-10"), true
		}, "2026-03-10T09:00:00Z", &overdue30, -365, []Decided{
			{overdue30, Sent, ""}, {upcoming7, Suppressed, ReasonSuperseded},
			{upcoming3, Suppressed, ReasonSuperseded}, {upcoming1, Suppressed, ReasonSuperseded},
			{dueToday, Suppressed, ReasonSuperseded}, {overdue1, Suppressed, ReasonSuperseded},
			{overdue7, Suppressed, ReasonSuperseded}, {overdue15, Suppressed, ReasonSuperseded},
		}, ""},
		{"back-filled, but missed after the import", func(s *Subject) {
			s.StartDay, s.Backfill = civil.MustParse("2026-03-01"), true
			s.Sent = sent(upcoming3, upcoming1, dueToday)
		}, "2026-03-06T08:00:00Z", nil, 4, []Decided{{upcoming7, Suppressed, ReasonTooLate}}, "2026-03-07T08:00:00Z"},
		{"a new rule, for a day before it", func(s *Subject) {
			s.Sent = sent(upcoming7)
			s.Since = map[Rule]civil.Date{upcoming3: civil.MustParse("2026-03-08")}
		}, "2026-03-08T09:00:00Z", nil, 2, []Decided{{upcoming3, Suppressed, ReasonBeforeActivation}}, "2026-03-09T08:00:00Z"},
		{"a new rule, on its first day", func(s *Subject) {
			s.Sent = sent(upcoming7)
			s.Since = map[Rule]civil.Date{upcoming3: civil.MustParse("2026-03-07")}
		}, "2026-03-07T09:00:00Z", &upcoming3, 3, []Decided{{upcoming3, Sent, ""}}, "2026-03-09T08:00:00Z"},
		{"a new rule behind a sent one", func(s *Subject) {
			s.Sent = sent(upcoming7)
			s.Since = map[Rule]civil.Date{upcoming3: civil.MustParse("2026-03-09")}
		}, "2026-03-09T08:00:00Z", &upcoming1, 1,
			[]Decided{{upcoming1, Sent, ""}, {upcoming3, Suppressed, ReasonBeforeActivation}}, "2026-03-10T08:00:00Z"},

		{"in quiet hours", func(s *Subject) { s.Sent = sent(upcoming7) }, "2026-03-07T20:00:00Z", nil, 3,
			[]Decided{{upcoming3, Held, ReasonQuietHours}}, "2026-03-08T07:00:00Z"},
		{"in quiet hours, again", func(s *Subject) {
			s.Sent, s.Recorded = sent(upcoming7), map[Rule]string{upcoming3: ReasonQuietHours}
		}, "2026-03-07T20:15:00Z", nil, 3, nil, "2026-03-08T07:00:00Z"},
		{"when they end it is judged by what is true then", func(s *Subject) {
			s.Sent, s.Recorded = sent(upcoming7), map[Rule]string{upcoming3: ReasonQuietHours}
		}, "2026-03-08T07:00:00Z", &upcoming3, 2, []Decided{{upcoming3, Sent, ""}}, "2026-03-09T08:00:00Z"},
		{"held over midnight to the due day", func(s *Subject) { s.Sent = sent(upcoming7, upcoming3) },
			"2026-03-09T23:30:00Z", nil, 0, []Decided{{upcoming1, Suppressed, ReasonNoLongerTrue}}, "2026-03-10T08:00:00Z"},
		{"quiet hours don't hold what won't be sent", func(s *Subject) { s.Open = false }, "2026-03-03T20:30:00Z", nil, 7,
			[]Decided{{upcoming7, Suppressed, ReasonPaid}}, ""},
		{"no quiet hours", func(s *Subject) { s.Quiet, s.Sent = nil, sent(upcoming7) }, "2026-03-07T20:00:00Z", &upcoming3, 3,
			[]Decided{{upcoming3, Sent, ""}}, "2026-03-09T08:00:00Z"},

		{"nothing is recorded twice", func(s *Subject) {
			s.StartDay = civil.MustParse("2026-03-08")
			s.Recorded = map[Rule]string{upcoming3: ReasonBeforeStart, upcoming7: ReasonBeforeStart}
		}, "2026-03-08T09:00:00Z", nil, 2, nil, "2026-03-09T08:00:00Z"},
		{"what was paid, and is open again, goes out", func(s *Subject) {
			s.Sent, s.Recorded = sent(upcoming7), map[Rule]string{upcoming3: ReasonPaid}
		}, "2026-03-08T09:00:00Z", &upcoming3, 2, []Decided{{upcoming3, Sent, ""}}, "2026-03-09T08:00:00Z"},
		{"what a cap held and a later rule overtook", func(s *Subject) {
			s.Recorded = map[Rule]string{upcoming7: ReasonTooLate, upcoming3: ReasonCap}
		}, "2026-03-09T08:00:00Z", &upcoming1, 1,
			[]Decided{{upcoming1, Sent, ""}, {upcoming3, Suppressed, ReasonSuperseded}}, "2026-03-10T08:00:00Z"},
	} {
		s := subject(t)
		c.change(&s)
		now := instant(t, c.now)
		v := Default().Judge(s, now)
		if !reflect.DeepEqual(v.Send, c.send) || v.Days != c.days {
			t.Errorf("%s: sends %v with %d days, want %v with %d", c.why, v.Send, v.Days, c.send, c.days)
		}
		if !reflect.DeepEqual(v.Decisions, c.decisions) {
			t.Errorf("%s: decides %v, want %v", c.why, v.Decisions, c.decisions)
		}
		if next := written(v.Next); next != c.next {
			t.Errorf("%s: looks again at %q, want %q", c.why, next, c.next)
		}
		if held := len(c.decisions) > 0 && c.decisions[0].Outcome == Held; held && !v.HeldUntil.Equal(v.Next) {
			t.Errorf("%s: held until %v, next look %v", c.why, v.HeldUntil, v.Next)
		}
		if want := civil.Of(now.In(s.Zone)); v.Today != want {
			t.Errorf("%s: today is %v, want %v", c.why, v.Today, want)
		}
	}
}

func written(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func TestTheCalendarIsTheRecipients(t *testing.T) {
	for _, c := range []struct {
		zone, now string
		days      int
		true      string
	}{
		{"Pacific/Kiritimati", "2026-03-10T10:30:00Z", -1, KindOverdue},
		{"America/Los_Angeles", "2026-03-11T00:30:00Z", 0, KindDueToday},
		{"America/Los_Angeles", "2026-03-10T06:30:00Z", 1, KindUpcoming},
		{"Pacific/Kiritimati", "2026-03-09T09:59:59Z", 1, KindUpcoming},
		{"Pacific/Kiritimati", "2026-03-09T10:00:00Z", 0, KindDueToday},
	} {
		s := subject(t)
		s.Zone, s.Quiet = zone(t, c.zone), nil
		now := instant(t, c.now)
		v := Default().Judge(s, now)
		if v.Days != c.days {
			t.Errorf("in %s at %s it is %d days, want %d", c.zone, c.now, v.Days, c.days)
		}
		for _, kind := range []string{KindUpcoming, KindDueToday, KindOverdue} {
			if (Rule{Kind: kind}).Holds(v.Days) != (kind == c.true) {
				t.Errorf("in %s at %s %s is %v", c.zone, c.now, kind, kind != c.true)
			}
		}
		if v.Send != nil && v.Send.Kind != c.true {
			t.Errorf("in %s at %s goes out %v", c.zone, c.now, v.Send)
		}
	}
	// Still due today in California, so the reminder of the day may still go out, and the overdue one hasn't fallen.
	s := subject(t)
	s.Zone = zone(t, "America/Los_Angeles")
	s.Sent = sent(upcoming7, upcoming3, upcoming1)
	if v := Default().Judge(s, instant(t, "2026-03-11T00:30:00Z")); v.Send == nil || *v.Send != dueToday {
		t.Errorf("in the afternoon of the due day goes out %v", v.Send)
	}
}

func TestCronEveryThreeMinutesWithTwoSchedulersSendsOne(t *testing.T) {
	s := subject(t)
	s.Sent = sent(upcoming7)
	var sends []time.Time
	for now := instant(t, "2026-03-06T23:00:00Z"); now.Before(instant(t, "2026-03-07T23:00:00Z")); now = now.Add(3 * time.Minute) {
		for range 2 {
			if v := Default().Judge(s, now); v.Send != nil {
				sends = append(sends, now)
				s.Sent[*v.Send] = true
			}
		}
	}
	if len(sends) != 1 || !sends[0].Equal(instant(t, "2026-03-07T08:00:00Z")) {
		t.Errorf("sent at %v", sends)
	}
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		why     string
		change  func(*Subject)
		now     string
		next    string
		skipped *Skip
	}{
		{"new, long before", func(*Subject) {}, "2026-01-01T00:00:00Z", "2026-03-03T08:00:00Z", nil},
		{"new, behind a rule that may still go out: at once", func(*Subject) {}, "2026-03-08T09:00:00Z", "2026-03-07T08:00:00Z", nil},
		{"at once also in quiet hours, so that holding is recorded", func(*Subject) {}, "2026-03-07T22:00:00Z", "2026-03-07T08:00:00Z", nil},
		{"behind one that was sent", func(s *Subject) { s.Sent = sent(upcoming3) }, "2026-03-08T09:00:00Z", "2026-03-09T08:00:00Z", nil},
		{"behind one that is too late", func(*Subject) {}, "2026-03-06T09:00:00Z", "2026-03-07T08:00:00Z", &Skip{upcoming7, ReasonTooLate}},
		{"imported behind one", func(s *Subject) { s.StartDay = civil.MustParse("2026-03-04") }, "2026-03-04T09:00:00Z",
			"2026-03-07T08:00:00Z", &Skip{upcoming7, ReasonBeforeStart}},
		{"imported with a year of arrears", func(s *Subject) { s.StartDay = civil.MustParse("2027-03-10") }, "2027-03-10T09:00:00Z",
			"", &Skip{overdue30, ReasonBeforeStart}},
		{"paid before any rule", func(s *Subject) { s.Open = false }, "2026-03-01T00:00:00Z", "", nil},
		{"paid while one was held", func(s *Subject) { s.Open = false }, "2026-03-07T22:00:00Z", "", &Skip{upcoming3, ReasonPaid}},
		{"paid after one was sent", func(s *Subject) { s.Open, s.Sent = false, sent(upcoming3) }, "2026-03-07T22:00:00Z", "", nil},
		{"closed", func(s *Subject) { s.Active = false }, "2026-03-07T22:00:00Z", "", &Skip{upcoming3, ReasonNotActive}},
		{"paid and reopened within max_late: at once", func(s *Subject) { s.Recorded[upcoming3] = ReasonPaid },
			"2026-03-08T09:00:00Z", "2026-03-07T08:00:00Z", nil},
		{"no rule for this recipient", func(s *Subject) { s.Kinds = map[string]bool{} }, "2026-03-01T00:00:00Z", "", nil},
	} {
		s := subject(t)
		c.change(&s)
		next, skipped := Default().Look(s, instant(t, c.now))
		if written(next) != c.next || !reflect.DeepEqual(skipped, c.skipped) {
			t.Errorf("%s: %q, %v; want %q, %v", c.why, written(next), skipped, c.next, c.skipped)
		}
	}
}

func TestPending(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*Subject)
		now    string
		want   *Rule
	}{
		{"the next one", func(s *Subject) { s.Open, s.Sent = false, sent(upcoming7) }, "2026-03-04T09:00:00Z", &upcoming3},
		{"of a closed loan", func(s *Subject) { s.Active, s.Sent = false, sent(upcoming7) }, "2026-03-04T09:00:00Z", &upcoming3},
		{"the one that is held", func(s *Subject) { s.Open, s.Sent = false, sent(upcoming7) }, "2026-03-07T22:00:00Z", &upcoming3},
		{"not one that was too late", func(s *Subject) { s.Open = false }, "2026-03-06T09:00:00Z", &upcoming3},
		{"not one of a kind that was switched off", func(s *Subject) {
			s.Open, s.OptedOut = false, map[string]bool{KindUpcoming: true}
		}, "2026-03-04T09:00:00Z", &dueToday},
		{"not one that is not in force yet", func(s *Subject) {
			s.Open, s.Sent = false, sent(upcoming7)
			s.Since = map[Rule]civil.Date{upcoming3: civil.MustParse("2026-03-09")}
		}, "2026-03-04T09:00:00Z", &upcoming1},
		{"not one that was sent before the date came back", func(s *Subject) {
			s.Open, s.Sent = false, sent(upcoming7, upcoming3)
		}, "2026-03-04T09:00:00Z", &upcoming1},
		{"none after the last", func(s *Subject) { s.Open, s.Sent = false, sent(overdue30) }, "2026-06-01T09:00:00Z", nil},
	} {
		s := subject(t)
		c.change(&s)
		got, ok := Default().Pending(s, instant(t, c.now))
		if ok != (c.want != nil) || ok && got != *c.want {
			t.Errorf("%s: %v, %v; want %v", c.why, got, ok, c.want)
		}
	}
}

func TestRulesMovedToOneDaySendOne(t *testing.T) {
	p, err := Parse([]byte(`
reminders: [{kind: repayment.upcoming, at: [-3d, -2d, -1d]}]
weekends: previous_business_day
`), "p")
	if err != nil {
		t.Fatal(err)
	}
	s := subject(t)
	s.DueDate = civil.MustParse("2026-03-09") // a Monday, so all three are on Friday
	now := instant(t, "2026-03-06T08:00:00Z")
	v := p.Judge(s, now)
	if v.Send == nil || *v.Send != upcoming1 || v.Days != 3 || len(v.Decisions) != 3 {
		t.Fatalf("verdict %+v", v)
	}
	s.Sent[*v.Send] = true
	if v := p.Judge(s, now.Add(time.Hour)); v.Send != nil || !v.Next.IsZero() {
		t.Errorf("and then %+v", v)
	}
	if r, ok := p.Pending(subjectDue(t, "2026-03-09"), now.Add(-time.Hour)); !ok || r != upcoming1 {
		t.Errorf("pending is %v, %v", r, ok)
	}
}

func subjectDue(t testing.TB, due string) Subject {
	s := subject(t)
	s.DueDate = civil.MustParse(due)
	return s
}

func BenchmarkJudge(b *testing.B) {
	s := subject(b)
	now := instant(b, "2026-03-07T08:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		Default().Judge(s, now)
	}
}

func BenchmarkLook(b *testing.B) {
	s := subject(b)
	now := instant(b, "2026-03-01T08:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		Default().Look(s, now)
	}
}
