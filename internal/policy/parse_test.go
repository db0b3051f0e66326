package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"duebell/internal/civil"
)

func TestDefault(t *testing.T) {
	p := Default()
	want := []Rule{
		{KindUpcoming, -7}, {KindUpcoming, -3}, {KindUpcoming, -1}, {KindDueToday, 0},
		{KindOverdue, 1}, {KindOverdue, 7}, {KindOverdue, 15}, {KindOverdue, 30},
	}
	if !reflect.DeepEqual(p.Reminders, want) {
		t.Errorf("reminders %v", p.Reminders)
	}
	if p.SendAt.String() != "09:00" || p.MaxLate != 48*time.Hour || *p.Quiet != (QuietHours{21 * 60, 8 * 60}) {
		t.Errorf("send at %v, max late %v, quiet %v", p.SendAt, p.MaxLate, p.Quiet)
	}
	if p.Caps.PerPersonPerDay != 3 || p.Weekends != WeekendsSend || p.Retention != (Retention{400 * day, 1100 * day}) {
		t.Errorf("caps %v, weekends %v, retention %v", p.Caps, p.Weekends, p.Retention)
	}
	from := time.Date(2026, 3, 10, 5, 1, 0, 0, time.UTC)
	next := map[string]string{}
	for _, e := range p.Schedule {
		next[e.Job] = e.Schedule.Next(from).Format("15:04")
	}
	if want := map[string]string{JobReminderRun: "05:15", JobDigestRun: "06:00", JobRetentionRun: "03:20"}; !reflect.DeepEqual(next, want) {
		t.Errorf("next ticks %v, want %v", next, want)
	}
}

func TestWhatAFileLeavesOutIsOff(t *testing.T) {
	p, err := Parse([]byte("reminders: []\n"), "p")
	if err != nil {
		t.Fatal(err)
	}
	got := *p
	got.hash, got.source, got.holidays = "", "", nil
	if want := (Policy{SendAt: 9 * 60, Weekends: WeekendsSend}); !reflect.DeepEqual(got, want) {
		t.Errorf("an empty policy is %+v", got)
	}
}

func TestParse(t *testing.T) {
	p, err := Parse([]byte("\ufeff"+`
send_at: 10:30
reminders:
  - kind: repayment.overdue
    at: [3d, +1d]
  - {kind: "repayment.upcoming", at: -2d}
max_late: 36h
weekends: next_business_day
holidays: [2026-12-25, 2026-01-01]
schedule:
  - job: reminder.run
    cron: "@every 90s"
    misfire: skip
  - {job: digest.run, cron: 0 7 * * 7, time_zone: Asia/Kathmandu, misfire: all}
retention:
  decisions: 90d
mandatory:
  - {kind: repayment.overdue, channels: [push]}
  - kind: application.status_changed
`), "p")
	if err != nil {
		t.Fatal(err)
	}
	if want := []Rule{{KindUpcoming, -2}, {KindOverdue, 1}, {KindOverdue, 3}}; !reflect.DeepEqual(p.Reminders, want) {
		t.Errorf("reminders %v", p.Reminders)
	}
	if p.SendAt != 10*60+30 || p.MaxLate != 36*time.Hour || p.Quiet != nil || p.Weekends != WeekendsNext {
		t.Errorf("policy %+v", p)
	}
	if want := []civil.Date{civil.MustParse("2026-01-01"), civil.MustParse("2026-12-25")}; !reflect.DeepEqual(p.Holidays, want) {
		t.Errorf("holidays %v", p.Holidays)
	}
	if e := p.Schedule[0]; e.TimeZone != "UTC" || e.Misfire != MisfireSkip {
		t.Errorf("entry %+v", e)
	}
	if e := p.Schedule[1]; e.TimeZone != "Asia/Kathmandu" || e.Misfire != MisfireAll || e.Cron != "0 7 * * 7" {
		t.Errorf("entry %+v", e)
	}
	if p.Retention != (Retention{Decisions: 90 * day}) {
		t.Errorf("retention %+v", p.Retention)
	}
	if want := map[string][]string{KindOverdue: {ChannelPush}, KindStatusChanged: {ChannelPush, ChannelEmail}}; !reflect.DeepEqual(p.Mandatory, want) {
		t.Errorf("mandatory %v", p.Mandatory)
	}
	if !p.IsMandatory(KindOverdue, ChannelPush) || p.IsMandatory(KindOverdue, ChannelEmail) || p.IsMandatory(KindUpcoming, ChannelPush) {
		t.Error("IsMandatory is wrong")
	}
	if got := p.Offsets(KindOverdue); !reflect.DeepEqual(got, []int{1, 3}) || p.Offsets(KindRescheduled) != nil {
		t.Errorf("offsets %v", got)
	}
	if !p.Writes(KindOverdue) || p.Writes(KindDueToday) || !p.Writes(KindStatusChanged) {
		t.Error("Writes is wrong")
	}
	if !p.Has(Rule{KindOverdue, 3}) || p.Has(Rule{KindOverdue, 2}) {
		t.Error("Has is wrong")
	}
}

func TestParseNamesTheLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "p: the file is empty"},
		{"# nothing\n", "p: the file is empty"},
		{"reminder: []", `p:1:1: unknown key "reminder" in the policy; it has caps, holidays`},
		{"\nsend_at:\n", "p:2:1: send_at has no value"},
		{"send_at: 9:00", `p:1:10: "9:00" is not a time of day`},
		{"send_at: 24:00", `p:1:10: "24:00" is not a time of day`},
		{"send_at: [09:00]", "p:1:10: expected a single value, and this is a list"},
		{"send_at: 09:00\nsend_at: 10:00", "p:2:1: mapping key \"send_at\" already defined"},
		{"max_late: 2", `p:1:11: "2" is not a duration`},
		{"max_late: 2w", `p:1:11: "2w" is not a duration`},
		{"max_late: -2d", `p:1:11: "-2d" is not a duration`},
		{"max_late: 1.5d", `p:1:11: "1.5d" is not a duration`},
		{"max_late: 0d", "p:1:11: 0d is out of range"},
		{"max_late: 4294967295d", "p:1:11: 4294967295d is out of range"},
		{"max_late: 99999999999999999999d", "is not a duration"},
		{"retention: {notifications: 23h}", "p:1:28: 23h is out of range: from 1d"},
		{"retention: {logs: 1d}", `p:1:13: unknown key "logs" in retention; it has decisions, notifications`},
		{"quiet_hours: {from: 21:00}", "quiet_hours has no to"},
		{"quiet_hours: {from: 21:00, to: 21:00}", "all day or never"},
		{"quiet_hours: 21:00", "p:1:14: quiet_hours should be keys with values, and is a single value"},
		{"quiet_hours: {from: 21:00, to: x}", `p:1:32: "x" is not a time of day`},
		{"caps: {per_person_per_day: 0}", `p:1:28: "0" is not a whole number from 1`},
		{"caps: {per_person_per_day: three}", `p:1:28: "three" is not a whole number`},
		{"caps: {per_person_per_day: 2.5}", `p:1:28: "2.5" is not a whole number`},
		{"caps: {per_day: 2}", `unknown key "per_day" in caps`},
		{"weekends: skip", `p:1:11: unknown way to treat weekends "skip"; there is send, previous_business_day, next_business_day`},
		{"holidays: [2026-12-25]", "p:1:11: holidays do nothing while weekends is send"},
		{"weekends: next_business_day\nholidays:\n  - 2026-12-25\n  - 2026-02-30", "p:4:5: 2026-02-30 is not a day"},
		{"weekends: next_business_day\nholidays: [2026-12-25, 2026-12-25]", "p:2:24: the holiday 2026-12-25 is there twice"},
		{"weekends: next_business_day\nholidays: 2026-12-25", "holidays should be a list"},
		{"calendar: cz", "p:1:11: there are no built-in calendars"},
		{"reminders: repayment.overdue", "reminders should be a list"},
		{"reminders:\n  -\n", "reminders has an empty item"},
		{"reminders: [1]", "a reminder should be keys with values"},
		{"reminders: [{at: 1d}]", "a reminder has no kind"},
		{"reminders: [{kind: repayment.overdue}]", "a reminder has no at"},
		{"reminders: [{kind: repayment.overdue, at: []}]", "at is empty"},
		{"reminders: [{kind: repayment.overdue, at: 1d, to: x}]", `unknown key "to" in a reminder`},
		{"reminders:\n  - kind: repayment.late\n    at: 1d", `p:2:11: unknown kind "repayment.late"; reminders are`},
		{"reminders: [{kind: repayment.rescheduled, at: 1d}]", "repayment.rescheduled is not a reminder"},
		{"reminders: [{kind: application.status_changed, at: 1d}]", "application.status_changed is not a reminder"},
		{"reminders: [{kind: repayment.overdue, at: 1}]", `"1" is not a number of days`},
		{"reminders: [{kind: repayment.overdue, at: d}]", `"d" is not a number of days`},
		{"reminders: [{kind: repayment.overdue, at: 1.5d}]", `"1.5d" is not a number of days`},
		{"reminders: [{kind: repayment.overdue, at: 401d}]", "more than 400 days"},
		{"reminders: [{kind: repayment.overdue, at: 99999999999999999999d}]", "is not a number of days"},
		{"reminders: [{kind: repayment.overdue, at: 0d}]", "p:1:43: repayment.overdue is at days after"},
		{"reminders: [{kind: repayment.overdue, at: [1d, -1d]}]", "p:1:48: repayment.overdue is at days after"},
		{"reminders: [{kind: repayment.upcoming, at: 0d}]", "repayment.upcoming is at days before"},
		{"reminders: [{kind: repayment.due_today, at: 1d}]", "repayment.due_today is at 0d"},
		{"reminders:\n  - {kind: repayment.overdue, at: 1d}\n  - {kind: repayment.overdue, at: [7d, 1d]}",
			"p:3:40: the rule repayment.overdue 1d is there twice"},
		{"schedule: {job: reminder.run}", "schedule should be a list"},
		{"schedule: [{job: reminder.run}]", "an entry of the schedule has no cron"},
		{"schedule: [{cron: '@daily'}]", "an entry of the schedule has no job"},
		{"schedule: [{job: reminder.runs, cron: '@daily'}]", `p:1:18: unknown job "reminder.runs"; there is reminder.run`},
		{"schedule:\n  - job: reminder.run\n    cron: '0 0 31 2 *'", "p:3:11: cron spec \"0 0 31 2 *\": it never fires"},
		{"schedule: [{job: reminder.run, cron: 'TZ=UTC 0 7 * * *'}]", "the zone does not belong here but in time_zone"},
		{"schedule: [{job: reminder.run, cron: '@every 1ms'}]", "from 1s"},
		{"schedule: [{job: reminder.run, cron: '@daily', time_zone: Mars/Base}]", "p:1:59: \"Mars/Base\" is not an IANA time zone"},
		{"schedule: [{job: reminder.run, cron: '@daily', misfire: never}]", `unknown misfire "never"; there is once, all, skip`},
		{"schedule:\n  - {job: reminder.run, cron: '@daily'}\n  - {job: reminder.run, cron: '@daily', time_zone: UTC}", "p:3:5: reminder.run at \"@daily\" in UTC is there twice"},
		{"mandatory: repayment.overdue", "p:1:12: mandatory should be a list"},
		{"mandatory: [repayment.rescheduled]", "a mandatory kind should be keys with values"},
		{"mandatory: [{channels: [push]}]", "a mandatory kind has no kind"},
		{"mandatory: [{kind: repayment.rescheduled, on: push}]", `p:1:43: unknown key "on" in a mandatory kind; it has channels, kind`},
		{"mandatory:\n  - kind: repayment.late", `p:2:11: unknown kind "repayment.late"; there is repayment.upcoming, `},
		{"mandatory:\n  - kind: repayment.rescheduled\n    channels: [push, sms]", `p:3:22: unknown channel "sms"; there is push, email`},
		{"mandatory: [{kind: repayment.rescheduled, channels: push}]", "p:1:53: channels should be a list"},
		{"mandatory: [{kind: repayment.rescheduled, channels: []}]", "p:1:53: channels is empty; leave it out for all of them"},
		{"mandatory: [{kind: repayment.rescheduled, channels: [push, push]}]", "p:1:60: the channel push is there twice"},
		{"mandatory:\n  - {kind: repayment.rescheduled, channels: [push]}\n  - {kind: repayment.rescheduled, channels: [email]}",
			"p:3:12: repayment.rescheduled is mandatory twice"},
		{"mandatory: [{kind: repayment.overdue}]\nreminders: [{kind: repayment.upcoming, at: -1d}]",
			"p:1:20: repayment.overdue is mandatory, and there is no such reminder"},
		{"- reminders", "p:1:1: the policy should be keys with values, and is a list"},
		{"send_at: 09:00\n---\nsend_at: 10:00", "a second one"},
		{"a: [", "p:1:4: sequence end token"},
		{"send_at: &x 09:00", "an anchor or alias"},
		{"send_at: !!str 09:00", "a value with a tag"},
		{"reminders: !x y", "a value with a tag"},
		{"caps: !!map {per_person_per_day: 1}", "a value with a tag"},
		{"send_at: |\n  09:00\n", "a block of text"},
		{"<<: {send_at: 09:00}", "unknown key << in the policy"},
		{"1: 2", "unknown key 1 in the policy"},
		{"? [a]\n: b", "invalid key"},
		{"send_at: \xff\xfe", "p: the file is not UTF-8"},
		{strings.Repeat("#", maxBytes+1), "larger than 1 MiB"},
	} {
		_, err := Parse([]byte(c.text), "p")
		var problems *Problems
		switch {
		case err == nil:
			t.Errorf("%.80q is no error", c.text)
		case !errors.As(err, &problems):
			t.Errorf("%.80q: an error of type %T", c.text, err)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%.80q: %v; want %s", c.text, err, c.want)
		}
	}
}

func TestParseReportsEveryProblem(t *testing.T) {
	_, err := Parse([]byte(`reminders:
  - {kind: repayment.late, at: 1d}
  - {kind: repayment.overdue, at: [1d, -1d]}
send_at: 25:00
foo: 1
schedule:
  - {job: x, cron: "61 * * * *", time_zone: Mars}
`), "policy.yaml")
	var problems *Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var lines []int
	for _, p := range problems.List {
		lines = append(lines, p.Line)
		if p.Column == 0 {
			t.Errorf("no column: %+v", p)
		}
	}
	if want := []int{2, 3, 4, 5, 7, 7, 7}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines %v, want %v:\n%v", lines, want, err)
	}
	if n := strings.Count(err.Error(), "policy.yaml:"); n != 7 {
		t.Errorf("%d lines of error:\n%v", n, err)
	}
}

func TestHash(t *testing.T) {
	hash := func(text string) string {
		t.Helper()
		p, err := Parse([]byte(text), "p")
		if err != nil {
			t.Fatal(err)
		}
		if p.Source() != text {
			t.Errorf("the source of %q is %q", text, p.Source())
		}
		return p.Hash()
	}
	same := hash("reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\n")
	if hash("mandatory: [{kind: repayment.rescheduled}]") != hash("mandatory: [{kind: repayment.rescheduled, channels: [email, push]}]") {
		t.Error("all channels, named or not, are the same")
	}
	for _, text := range []string{
		"# a comment\nmax_late: 48h\nreminders:\n  - kind: repayment.overdue\n    at: [7d, 1d]\nsend_at: '09:00'\n",
		"max_late: 2d\nreminders: [{kind: repayment.overdue, at: 7d}, {kind: repayment.overdue, at: +1d}]\n",
	} {
		if hash(text) != same {
			t.Errorf("%q has another hash", text)
		}
	}
	for _, text := range []string{
		"reminders: [{kind: repayment.overdue, at: [1d, 8d]}]\nmax_late: 2d\n",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 3d\n",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\n",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\nsend_at: 10:00",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\nquiet_hours: {from: 21:00, to: 08:00}",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\nweekends: next_business_day",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\nschedule: [{job: reminder.run, cron: '@daily'}]",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\nretention: {decisions: 90d}",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\ncaps: {per_person_per_day: 1}",
		"reminders: [{kind: repayment.overdue, at: [1d, 7d]}]\nmax_late: 2d\nmandatory: [{kind: repayment.overdue}]",
	} {
		if hash(text) == same {
			t.Errorf("%q has the same hash", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(defaultYAML))
	f.Add("reminders:\n  - kind: repayment.late\n    at: 1d\n")
	f.Add("holidays: [2026-01-01]\nweekends: next_business_day\n? [a]\n: |\n  x\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text), "p")
		var problems *Problems
		if err != nil && (!errors.As(err, &problems) || len(problems.List) == 0) {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && (p.Hash() == "" || p.Source() != text) {
			t.Fatalf("%q: %+v", text, p)
		}
	})
}
