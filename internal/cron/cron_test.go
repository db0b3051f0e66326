package cron

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"duebell/internal/civil"
)

func parsed(t testing.TB, spec, zone string) Schedule {
	t.Helper()
	s, err := Parse(spec, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ spec, zone, says string }{
		{"", "", "empty"}, {"   ", "", "empty"}, {"* * * *", "", "5 fields"}, {"0 0 * * * *", "", "5 fields"},
		{"TZ=UTC", "", "time_zone"}, {"CRON_TZ=UTC", "", "time_zone"}, {"TZ=", "", "time_zone"}, {"TZ=0", "", "time_zone"},
		{"TZ=Europe/Prague 0 7 * * *", "", "time_zone"}, {" TZ=UTC 0 7 * * *", "", "time_zone"},
		{"0 0 31 2 *", "", "never fires"}, {"0 0 30 2 *", "", "never fires"}, {"0 0 31 4,6,9,11 *", "", "never fires"},
		{", * * * *", "", "never fires"}, {"60 * * * *", "", "above maximum"}, {"* 24 * * *", "", "above maximum"},
		{"* * 0 * *", "", "below minimum"}, {"* * * 13 *", "", "above maximum"}, {"* * * * 8", "", "above maximum"},
		{"* * * * 6-8", "", "above maximum"}, {"* * * * fri-7", "", "numbers or in names"}, {"* * * * 7-5", "", "not a range"},
		{"* * * * 7/0", "", "positive"}, {"*/0 * * * *", "", "positive"}, {"5-1 * * * *", "", "beyond end"},
		{"*-5 * * * *", "", "begin with *"}, {"x * * * *", "", "parse"}, {"-1 * * * *", "", "parse"}, {"1.5 * * * *", "", "parse"},
		{"@every", "", "duration"}, {"@every 0s", "", "from 1s"}, {"@every -1h", "", "from 1s"}, {"@every 1ns", "", "from 1s"},
		{"@every 1500ms", "", "whole seconds"}, {"@every 9000h", "", "to a year"}, {"@every 1d", "", "duration"},
		{"@reboot", "", "descriptor"}, {"@", "", "descriptor"},
		{"0 7 * * *", "Europe/Praha", "IANA"}, {"0 7 * * *", "Local", "IANA"}, {"@every 1s", "Mars", "IANA"},
	} {
		_, err := Parse(c.spec, c.zone)
		if err == nil {
			t.Errorf("Parse(%q, %q) is no error", c.spec, c.zone)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("Parse(%q, %q): %v; want %q", c.spec, c.zone, err, c.says)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"*/15 * * * *", "@every 1s", "TZ=", "0 0 31 2 *", "* * * * 1-7/2", "@weekly", "7 7 7 7 7"} {
		f.Add(seed)
	}
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := Parse(spec, "America/New_York")
		if err != nil {
			return
		}
		if next := s.Next(from); !next.After(from) {
			t.Fatalf("%q: after %v comes %v", spec, from, next)
		}
	})
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ why, spec, zone, after, want string }{
		{"plain", "*/15 * * * *", "", "2026-03-10T09:00:00Z", "2026-03-10T09:15:00Z"},
		{"strictly after", "0 9 * * *", "", "2026-03-10T08:59:59.999999999Z", "2026-03-10T09:00:00Z"},
		{"its zone", "0 7 * * *", "Europe/Prague", "2026-07-01T00:00:00Z", "2026-07-01T05:00:00Z"},
		{"skipped hour", "30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z"},
		{"and not again", "30 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"},
		{"several skipped slots are one tick", "*/15 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"},
		{"repeated hour", "30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z"},
		{"and not again", "30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		{"each slot once", "*/15 * * * *", "America/New_York", "2026-11-01T05:45:00Z", "2026-11-01T07:00:00Z"},
		{"asked while it repeats", "*/15 * * * *", "America/New_York", "2026-11-01T06:20:00Z", "2026-11-01T07:00:00Z"},
		{"midnight skipped", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"},
		{"midnight skipped", "0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z"},
		{"midnight skipped", "0 0 * * *", "Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-28T22:00:00Z"},
		{"half an hour skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z"},
		{"a day that was never there", "0 9 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z", "2011-12-30T10:00:00Z"},
		{"Sunday is 7", "0 0 * * 7", "", "2026-03-10T00:00:00Z", "2026-03-15T00:00:00Z"},
		{"Sunday in a range", "0 0 * * 5-7", "", "2026-03-14T00:00:00Z", "2026-03-15T00:00:00Z"},
		{"steps to 7", "0 0 * * 1-7/3", "", "2026-03-12T00:00:00Z", "2026-03-15T00:00:00Z"},
		{"either day field", "0 0 13 * 5", "", "2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z"},
		{"names", "0 0 * feb sun", "", "2026-03-10T00:00:00Z", "2027-02-07T00:00:00Z"},
		{"leap day", "0 0 29 2 *", "", "2026-03-10T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"leap day over a century", "0 0 29 2 *", "", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"descriptor", "@daily", "Europe/Prague", "2026-03-10T00:00:00Z", "2026-03-10T23:00:00Z"},
		{"descriptor", "@hourly", "Asia/Kathmandu", "2026-03-10T00:00:00Z", "2026-03-10T00:15:00Z"},
		{"every", "@every 1s", "", "2026-03-10T00:00:00.5Z", "2026-03-10T00:00:01Z"},
		{"every, of the epoch", "@every 7m", "", "1970-01-01T00:00:00Z", "1970-01-01T00:07:00Z"},
		{"every, before the epoch", "@every 7m", "", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"},
		{"every, in any zone", "@every 1h30m", "Asia/Kathmandu", "1970-01-01T01:30:00Z", "1970-01-01T03:00:00Z"},
	} {
		got := parsed(t, c.spec, c.zone).Next(instant(t, c.after))
		if got.Format(time.RFC3339) != c.want || got.Location() != time.UTC {
			t.Errorf("%s: %q in %s after %s is %v, want %s", c.why, c.spec, c.zone, c.after, got, c.want)
		}
	}
	if next := (Schedule{}).Next(time.Now()); !next.IsZero() {
		t.Errorf("the zero schedule fires at %v", next)
	}
}

// zones change their clocks in all the ways there are: by an hour or half of one, at night or at midnight, by a whole
// day, not at all, for Ramadan.
var zones = []string{
	"UTC", "America/New_York", "America/Santiago", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Kiritimati",
	"Pacific/Apia", "Europe/Prague", "America/Havana", "Asia/Kathmandu", "Africa/Casablanca", "America/Sao_Paulo",
	"America/St_Johns", "Antarctica/Troll", "America/Nuuk", "America/Scoresbysund", "Asia/Pyongyang", "America/Caracas",
}

// specs draws the fields as sets too, so that the test can match days without the code under test.
func specs() *rapid.Generator[string] {
	field := func(low, high int) *rapid.Generator[string] {
		number := rapid.IntRange(low, high)
		return rapid.OneOf(
			rapid.Just("*"),
			rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(number.Draw(t, "n")) }),
			rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%d,%d", number.Draw(t, "n"), number.Draw(t, "m")) }),
			rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("*/%d", rapid.IntRange(1, 30).Draw(t, "step")) }),
			rapid.Custom(func(t *rapid.T) string {
				from := number.Draw(t, "from")
				return fmt.Sprintf("%d-%d", from, rapid.IntRange(from, high).Draw(t, "to"))
			}),
		)
	}
	return rapid.Custom(func(t *rapid.T) string {
		day, month, weekday := "*", "*", "*"
		if rapid.Bool().Draw(t, "some days") {
			day, month, weekday = field(1, 28).Draw(t, "day"), field(1, 12).Draw(t, "month"), field(0, 6).Draw(t, "weekday")
		}
		return strings.Join([]string{field(0, 59).Draw(t, "minute"), field(0, 23).Draw(t, "hour"), day, month, weekday}, " ")
	})
}

// TestTicksAreTheSlotsThatClocksReach watches a clock minute by minute over three days around a change: whenever it shows
// a later time than ever before, the slots that it reached or jumped over are due at that instant, once.
func TestTicksAreTheSlotsThatClocksReach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		loc, err := civil.LoadZone(zone)
		if err != nil {
			t.Fatal(err)
		}
		spec := specs().Draw(t, "spec")
		s, err := Parse(spec, zone)
		if err != nil {
			t.Fatal(err)
		}
		inUTC, err := Parse(spec, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		near := time.Unix(rapid.Int64Range(978307200, 2114380800).Draw(t, "near"), 0)
		if _, end := near.In(loc).ZoneBounds(); !end.IsZero() {
			near = end
		}
		from := near.Add(-48 * time.Hour).Truncate(time.Minute)
		till := from.Add(72 * time.Hour)

		// Two days in, no clock can come back to what it showed before from.
		watched := from.Add(36 * time.Hour)
		var want []time.Time
		shown := wall(from, loc)
		for at := from.Add(time.Minute); !at.After(till); at = at.Add(time.Minute) {
			now := wall(at, loc)
			if !now.After(shown) {
				continue
			}
			// In UTC nothing is skipped or repeated, so there a schedule is its slots.
			if slot := inUTC.Next(shown); !slot.After(now) && at.After(watched) {
				want = append(want, at)
			}
			shown = now
		}
		got := s.Missed(watched, till, 1<<20)
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("%q in %s: ticks\n%v\nwant\n%v", spec, zone, got, want)
		}
		if latest, ok := s.Latest(watched, till); ok != (len(want) > 0) || ok && !latest.Equal(want[len(want)-1]) {
			t.Fatalf("%q in %s: latest tick %v, %v", spec, zone, latest, ok)
		}
		asked := watched.Add(time.Duration(rapid.Int64Range(0, int64(35*time.Hour)).Draw(t, "asked")))
		next := s.Next(asked)
		if i := slices.IndexFunc(want, asked.Before); i >= 0 && !next.Equal(want[i]) || i < 0 && !next.After(till) {
			t.Fatalf("%q in %s: after %v comes %v", spec, zone, asked, next)
		}
	})
}

func wall(t time.Time, loc *time.Location) time.Time {
	_, offset := t.In(loc).Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// TestInUTCItIsTheParsersOwnSchedule compares with robfig/cron where no clock changes.
func TestInUTCItIsTheParsersOwnSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := specs().Draw(t, "spec")
		ours, err := Parse(spec, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := parser.Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(0, 4102444800).Draw(t, "after"), 0).UTC()
		for range 20 {
			want := theirs.Next(at)
			if got := ours.Next(at); !got.Equal(want) {
				t.Fatalf("%q after %v: %v, robfig/cron says %v", spec, at, got, want)
			}
			at = want
		}
	})
}

// TestADailyEntryFiresOncePerDay walks through twenty years of each zone.
func TestADailyEntryFiresOncePerDay(t *testing.T) {
	for _, zone := range zones {
		for _, spec := range []string{"0 0 * * *", "30 1 * * *", "30 2 * * *"} {
			s := parsed(t, spec, zone)
			at := time.Date(2010, 1, 1, 0, 0, 0, 0, s.loc).Add(-time.Second)
			till := time.Date(2030, 1, 1, 0, 0, 0, 0, s.loc).Add(-time.Second)
			days := civil.Of(till.In(s.loc)).Sub(civil.Of(at.In(s.loc)))
			ticks := s.Missed(at, till, 1<<20)
			if zone == "Pacific/Apia" && spec == "0 0 * * *" {
				days-- // midnight of 30 and of 31 December 2011 are one instant there
			}
			if len(ticks) != days {
				t.Errorf("%q in %s: %d ticks on %d days", spec, zone, len(ticks), days)
			}
			for i := 1; i < len(ticks); i++ {
				if gap := ticks[i].Sub(ticks[i-1]); gap < 20*time.Hour && zone != "Pacific/Apia" || gap > 28*time.Hour {
					t.Errorf("%q in %s: %v after %v", spec, zone, ticks[i], ticks[i-1])
				}
			}
		}
	}
}

func TestMissed(t *testing.T) {
	last, now := instant(t, "2026-03-10T09:00:00Z"), instant(t, "2026-03-10T10:00:00Z")
	quarter := parsed(t, "*/15 * * * *", "")
	if got := quarter.Missed(last, now, 10); len(got) != 4 || !got[0].Equal(last.Add(15*time.Minute)) || !got[3].Equal(now) {
		t.Errorf("four quarters are %v", got)
	}
	if got := quarter.Missed(last, now, 3); len(got) != 3 || !got[2].Equal(last.Add(45*time.Minute)) {
		t.Errorf("the first three quarters are %v", got)
	}
	if got := quarter.Missed(now, last, 3); len(got) != 0 {
		t.Errorf("backwards there are %v", got)
	}
	if got := parsed(t, "@every 1s", "").Missed(last, now, 5000); len(got) != 3600 {
		t.Errorf("%d seconds in an hour", len(got))
	}
}

func TestLatest(t *testing.T) {
	now := instant(t, "2026-03-10T10:00:00Z")
	for _, c := range []struct{ spec, after, want string }{
		{"@every 1s", "1970-01-01T00:00:00Z", "2026-03-10T10:00:00Z"},
		{"3 * * * *", "1970-01-01T00:00:00Z", "2026-03-10T09:03:00Z"},
		{"0 7 * * *", "1970-01-01T00:00:00Z", "2026-03-10T07:00:00Z"},
		{"0 7 1 * *", "1970-01-01T00:00:00Z", "2026-03-01T07:00:00Z"},
		{"0 7 11 3 *", "1970-01-01T00:00:00Z", "2025-03-11T07:00:00Z"},
		{"0 7 29 2 *", "1970-01-01T00:00:00Z", "2024-02-29T07:00:00Z"},
		{"0 7 * * *", "2026-03-10T06:59:59Z", "2026-03-10T07:00:00Z"},
		{"0 7 * * *", "2026-03-10T07:00:00Z", ""},
		{"0 7 29 2 *", "2024-02-29T07:00:00Z", ""},
		{"@every 1h", "2026-03-10T10:00:00Z", ""},
	} {
		got, ok := parsed(t, c.spec, "").Latest(instant(t, c.after), now)
		if ok != (c.want != "") || ok && got.Format(time.RFC3339) != c.want {
			t.Errorf("%q after %s: %v, %v; want %s", c.spec, c.after, got, ok, c.want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s := parsed(b, "*/15 * * * *", "America/New_York")
	at := instant(b, "2026-03-10T10:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		s.Next(at)
	}
}
