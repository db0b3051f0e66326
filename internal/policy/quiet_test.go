package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"duebell/internal/civil"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := civil.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func quiet(t testing.TB, from, to string) *QuietHours {
	t.Helper()
	var q QuietHours
	var err error
	if q.From, err = civil.ParseTimeOfDay(from); err == nil {
		q.To, err = civil.ParseTimeOfDay(to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &q
}

func TestQuietHoursContain(t *testing.T) {
	night, noon := quiet(t, "21:00", "08:00"), quiet(t, "12:00", "14:00")
	for _, c := range []struct {
		q    *QuietHours
		time string
		want bool
	}{
		{night, "20:59:59", false}, {night, "21:00:00", true}, {night, "23:59:59", true}, {night, "00:00:00", true},
		{night, "07:59:59", true}, {night, "08:00:00", false}, {night, "12:00:00", false},
		{noon, "11:59:59", false}, {noon, "12:00:00", true}, {noon, "13:59:59", true}, {noon, "14:00:00", false}, {noon, "00:00:00", false},
		{nil, "03:00:00", false},
	} {
		local, err := time.Parse(time.TimeOnly, c.time)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.q.Contains(local); got != c.want {
			t.Errorf("%v contains %s: %v", c.q, c.time, got)
		}
	}
}

func TestQuietHoursEnd(t *testing.T) {
	for _, c := range []struct{ why, zone, from, to, at, want string }{
		{"not in them", "Europe/Prague", "21:00", "08:00", "2026-03-10T12:34:56Z", "2026-03-10T12:34:56Z"},
		{"in the evening", "Europe/Prague", "21:00", "08:00", "2026-03-10T22:00:30Z", "2026-03-11T07:00:00Z"},
		{"in the morning", "Europe/Prague", "21:00", "08:00", "2026-03-10T06:59:59.999Z", "2026-03-10T07:00:00Z"},
		{"over a lost hour", "America/New_York", "21:00", "08:00", "2026-03-08T03:00:00Z", "2026-03-08T12:00:00Z"},
		{"over a gained hour", "America/New_York", "21:00", "08:00", "2026-11-01T03:00:00Z", "2026-11-01T13:00:00Z"},
		{"an end that is skipped", "America/New_York", "21:00", "02:30", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"},
		{"a second night in the repeated hour", "America/New_York", "21:00", "01:30", "2026-11-01T06:10:00Z", "2026-11-01T06:30:00Z"},
		{"last day of a leap year", "America/New_York", "21:00", "08:00", "2041-01-01T03:00:00Z", "2041-01-01T13:00:00Z"},
	} {
		got := quiet(t, c.from, c.to).End(instant(t, c.at), zone(t, c.zone))
		if !got.Equal(instant(t, c.want)) {
			t.Errorf("%s: %s-%s in %s at %s ends %v, want %s", c.why, c.from, c.to, c.zone, c.at, got, c.want)
		}
	}
}

// zones change their clocks in all the ways there are today. None of them shows a date again that it has left.
var zones = []string{
	"UTC", "America/New_York", "America/Los_Angeles", "America/Santiago", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe",
	"Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Prague", "America/Havana", "Asia/Kathmandu", "Africa/Casablanca",
	"America/St_Johns", "Antarctica/Troll", "America/Nuuk", "America/Scoresbysund", "Asia/Kolkata", "Pacific/Chatham",
}

// moments are instants from 2012 on, half of them near a change of the clocks.
func moments(loc *time.Location) *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		at := time.Unix(rapid.Int64Range(1325376000, 2556144000).Draw(t, "at"), 0)
		if rapid.Bool().Draw(t, "change") {
			if end := civil.OffsetEnd(at.In(loc)); !end.IsZero() && end.Year() < 2051 {
				at = end.Add(time.Duration(rapid.IntRange(-40*60, 40*60).Draw(t, "minutes")) * time.Minute)
			}
		}
		return at.UTC()
	})
}

func quietHours() *rapid.Generator[*QuietHours] {
	return rapid.Custom(func(t *rapid.T) *QuietHours {
		if rapid.IntRange(0, 5).Draw(t, "quiet") == 0 {
			return nil
		}
		minute := rapid.OneOf(rapid.IntRange(0, 1439), rapid.SampledFrom([]int{0, 30, 60, 90, 120, 150, 180, 480, 1260, 1439}))
		from := minute.Draw(t, "from")
		to := minute.Filter(func(m int) bool { return m != from }).Draw(t, "to")
		return &QuietHours{civil.TimeOfDay(from), civil.TimeOfDay(to)}
	})
}

func TestQuietHoursEndAtTheFirstQuietlessMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := civil.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		q := quietHours().Draw(t, "quiet")
		at := moments(loc).Draw(t, "at")
		end := q.End(at, loc)
		if q.Contains(end.In(loc)) || end.Before(at) {
			t.Fatalf("%v from %v ends at %v", q, at.In(loc), end.In(loc))
		}
		for inside := at; inside.Before(end); inside = inside.Add(time.Minute) {
			if !q.Contains(inside.In(loc)) {
				t.Fatalf("%v from %v ends at %v, but not before %v", q, at.In(loc), end.In(loc), inside.In(loc))
			}
		}
	})
}
