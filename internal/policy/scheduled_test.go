package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"duebell/internal/civil"
)

func TestScheduled(t *testing.T) {
	for _, c := range []struct {
		why, zone string
		sendAt    string
		quiet     *QuietHours
		due       string
		offset    int
		want      string // local
	}{
		{"at the send time", "Europe/Prague", "09:00", nil, "2026-03-10", -3, "2026-03-07T09:00:00+01:00"},
		{"on the recipient's calendar", "Pacific/Kiritimati", "09:00", nil, "2026-03-10", 1, "2026-03-11T09:00:00+14:00"},
		{"on the recipient's calendar", "America/Los_Angeles", "09:00", nil, "2026-03-10", 1, "2026-03-11T09:00:00-07:00"},
		{"early: when quiet hours end", "Europe/Prague", "06:00", quiet(t, "21:00", "08:00"), "2026-03-10", 0, "2026-03-10T08:00:00+01:00"},
		{"at their end", "Europe/Prague", "08:00", quiet(t, "21:00", "08:00"), "2026-03-10", 0, "2026-03-10T08:00:00+01:00"},
		{"late: the minute before they begin", "Europe/Prague", "21:00", quiet(t, "21:00", "08:00"), "2026-03-10", 0, "2026-03-10T20:59:00+01:00"},
		{"late: the minute before they begin", "Europe/Prague", "23:59", quiet(t, "21:00", "08:00"), "2026-03-10", 0, "2026-03-10T20:59:00+01:00"},
		{"in a siesta", "Europe/Madrid", "13:00", quiet(t, "12:00", "16:00"), "2026-03-10", 0, "2026-03-10T16:00:00+01:00"},
		{"until midnight", "Europe/Prague", "22:00", quiet(t, "21:00", "00:00"), "2026-03-10", 0, "2026-03-10T20:59:00+01:00"},
		{"all day but a minute", "Europe/Prague", "09:00", quiet(t, "12:01", "12:00"), "2026-03-10", 0, "2026-03-10T12:00:00+01:00"},
		{"all day but the first minute", "Europe/Prague", "09:00", quiet(t, "00:01", "00:00"), "2026-03-10", 0, "2026-03-10T00:00:00+01:00"},
		{"all day but the last minute", "Europe/Prague", "09:00", quiet(t, "00:00", "23:59"), "2026-03-10", 0, "2026-03-10T23:59:00+01:00"},
		{"a send time that is skipped", "America/New_York", "02:30", nil, "2026-03-08", 0, "2026-03-08T03:00:00-04:00"},
		{"skipped into quiet hours", "America/New_York", "02:30", quiet(t, "03:00", "05:00"), "2026-03-08", 0, "2026-03-08T05:00:00-04:00"},
		{"quiet from the gap to the next day", "America/New_York", "02:30", quiet(t, "03:00", "01:00"), "2026-03-08", 0, "2026-03-08T01:59:00-05:00"},
		{"a midnight that is skipped", "Asia/Beirut", "00:00", nil, "2026-03-29", 0, "2026-03-29T01:00:00+03:00"},
		{"a send time that is repeated", "America/New_York", "01:30", nil, "2026-11-01", 0, "2026-11-01T01:30:00-04:00"},
		{"a leap day", "Europe/Prague", "09:00", nil, "2028-03-01", -1, "2028-02-29T09:00:00+01:00"},
	} {
		p := &Policy{Weekends: WeekendsSend}
		var err error
		if p.SendAt, err = civil.ParseTimeOfDay(c.sendAt); err != nil {
			t.Fatal(err)
		}
		loc := zone(t, c.zone)
		s := Subject{DueDate: civil.MustParse(c.due), Zone: loc, Quiet: c.quiet}
		if got := p.Scheduled(s, Rule{KindOverdue, c.offset}).In(loc).Format(time.RFC3339); got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.why, c.sendAt, got, c.want)
		}
	}
}

func TestReminderDay(t *testing.T) {
	holidays := []civil.Date{civil.MustParse("2026-12-24"), civil.MustParse("2026-12-25"), civil.MustParse("2027-01-01")}
	previous, next := &Policy{Weekends: WeekendsPrevious, Holidays: holidays}, &Policy{Weekends: WeekendsNext, Holidays: holidays}
	stays := &Policy{Weekends: WeekendsSend}
	for _, p := range []*Policy{previous, next, stays} {
		p.seal(nil)
	}
	for _, c := range []struct {
		why  string
		p    *Policy
		due  string
		rule Rule
		want string
	}{
		{"off", stays, "2026-03-10", Rule{KindUpcoming, -3}, "2026-03-07"},
		{"a weekday", previous, "2026-03-10", Rule{KindUpcoming, -1}, "2026-03-09"},
		{"Saturday", previous, "2026-03-10", Rule{KindUpcoming, -3}, "2026-03-06"},
		{"Sunday", previous, "2026-03-11", Rule{KindUpcoming, -3}, "2026-03-06"},
		{"Saturday", next, "2026-03-10", Rule{KindUpcoming, -3}, "2026-03-09"},
		{"Sunday before a due Monday can't go to Monday", next, "2026-03-09", Rule{KindUpcoming, -1}, "2026-03-06"},
		{"Saturday after a due Friday can't go to Friday", previous, "2026-03-06", Rule{KindOverdue, 1}, "2026-03-09"},
		{"Sunday after a due Friday can't go to Friday", previous, "2026-03-06", Rule{KindOverdue, 2}, "2026-03-09"},
		{"Saturday after a due Thursday", previous, "2026-03-05", Rule{KindOverdue, 2}, "2026-03-06"},
		{"due today never moves", next, "2026-03-07", Rule{KindDueToday, 0}, "2026-03-07"},
		{"due today never moves", previous, "2026-12-25", Rule{KindDueToday, 0}, "2026-12-25"},
		{"holidays behind a weekend", next, "2026-12-23", Rule{KindOverdue, 1}, "2026-12-28"},
		{"holidays before a weekend", previous, "2026-12-29", Rule{KindUpcoming, -2}, "2026-12-23"},
		{"a holiday on a Friday", previous, "2027-01-08", Rule{KindUpcoming, -7}, "2026-12-31"},
	} {
		if got := c.p.ReminderDay(civil.MustParse(c.due), c.rule); got.String() != c.want {
			t.Errorf("%s: %v of %s by %s is on %v, want %s", c.why, c.rule, c.due, c.p.Weekends, got, c.want)
		}
	}
}

func TestAReminderDayKeepsItsKindTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		due := civil.MustParse("2026-01-01").AddDays(rapid.IntRange(0, 400).Draw(t, "due"))
		for _, r := range p.Reminders {
			day := p.ReminderDay(due, r)
			if !r.Holds(due.Sub(day)) {
				t.Fatalf("%v of %v is on %v", r, due, day)
			}
			if moved := day.Sub(due.AddDays(r.Offset)); moved != 0 && (p.Weekends == WeekendsSend || r.Kind == KindDueToday) {
				t.Fatalf("%v of %v moved by %d days", r, due, moved)
			}
		}
	})
}

func TestScheduledIsNeverInQuietHours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		loc, err := civil.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		s := Subject{Zone: loc, Quiet: quietHours().Draw(t, "quiet")}
		now := moments(loc).Draw(t, "now")
		s.DueDate = civil.Of(now.In(loc))
		for _, r := range p.Reminders {
			day, at := p.ReminderDay(s.DueDate, r), p.Scheduled(s, r)
			if s.Quiet.Contains(at.In(loc)) {
				t.Fatalf("%v falls into quiet hours %v at %v", r, *s.Quiet, at.In(loc))
			}
			if civil.Of(at.In(loc)) != day && !allQuiet(s.Quiet, day, loc) {
				t.Fatalf("%v should fall on %v and falls at %v, quiet %v", r, day, at.In(loc), s.Quiet)
			}
		}
		next := p.NextDay(s, now)
		tomorrow := civil.Of(now.In(loc)).AddDays(1)
		if !next.After(now) || s.Quiet.Contains(next.In(loc)) ||
			civil.Of(next.In(loc)) != tomorrow && !allQuiet(s.Quiet, tomorrow, loc) {
			t.Fatalf("the day after %v is at %v, quiet %v", now.In(loc), next.In(loc), s.Quiet)
		}
	})
}

// allQuiet says whether clocks show no minute of that day outside quiet hours: the only one may be skipped.
func allQuiet(q *QuietHours, day civil.Date, loc *time.Location) bool {
	for at := day.At(0, loc); civil.Of(at.In(loc)) == day; at = at.Add(time.Minute) {
		if !q.Contains(at.In(loc)) {
			return false
		}
	}
	return true
}

// policies draws rules, sending time, lateness and weekends.
func policies() *rapid.Generator[*Policy] {
	return rapid.Custom(func(t *rapid.T) *Policy {
		p := &Policy{
			SendAt:   civil.TimeOfDay(rapid.OneOf(rapid.Just(540), rapid.IntRange(0, 1439)).Draw(t, "send at")),
			MaxLate:  rapid.SampledFrom([]time.Duration{0, time.Hour, 2 * day, 20 * day}).Draw(t, "max late"),
			Weekends: rapid.SampledFrom([]Weekends{WeekendsSend, WeekendsPrevious, WeekendsNext}).Draw(t, "weekends"),
		}
		for _, offset := range []int{-4, -3, -2, -1, 0, 1, 2, 3, 5} {
			if !rapid.Bool().Draw(t, "rule") {
				continue
			}
			kind := KindDueToday
			if offset < 0 {
				kind = KindUpcoming
			} else if offset > 0 {
				kind = KindOverdue
			}
			p.Reminders = append(p.Reminders, Rule{kind, offset})
		}
		for range rapid.IntRange(0, 3).Draw(t, "holidays") {
			p.Holidays = append(p.Holidays, civil.MustParse("2026-01-01").AddDays(rapid.IntRange(0, 400).Draw(t, "holiday")))
		}
		p.seal(nil)
		return p
	})
}
