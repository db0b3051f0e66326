package civil

import (
	_ "embed"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The names of the tz database, release 2025c (public domain). Names are only ever added to it.
//
//go:embed testdata/zones.txt
var zoneNames string

func allZones(t testing.TB) []*time.Location {
	t.Helper()
	var list []*time.Location
	for _, name := range strings.Fields(zoneNames) {
		loc, err := LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, loc)
	}
	return list
}

func TestLoadZoneKnowsEveryName(t *testing.T) {
	if n := len(allZones(t)); n < 590 {
		t.Errorf("%d zones", n)
	}
	first, _ := LoadZone("Europe/Prague")
	second, _ := LoadZone("Europe/Prague")
	if first != second {
		t.Error("a zone was loaded twice")
	}
}

func TestLoadZoneRefuses(t *testing.T) {
	for _, name := range []string{
		"", "Local", "local", "localtime", "posixrules", "Factory", "Europe/Praha", "Prague", "CEST", "+02:00", "UTC+2",
		"../etc/passwd", "/usr/share/zoneinfo/UTC", "Europe/../UTC", "right/UTC", "posix/UTC", "Europe", "Europe/",
		"Europe\\Prague", "Europe/Prague\x00", "zone.tab", strings.Repeat("A", 10000), "Европа/Прага",
	} {
		if loc, err := LoadZone(name); err == nil {
			t.Errorf("LoadZone(%.40q) = %v, want an error", name, loc)
		} else if len(err.Error()) > 400 {
			t.Errorf("LoadZone(%.40q): an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestAt(t *testing.T) {
	for _, c := range []struct{ why, zone, day, tod, want string }{
		{"an ordinary day", "Europe/Prague", "2026-03-10", "09:00", "2026-03-10T08:00:00Z"},
		{"far east", "Pacific/Kiritimati", "2026-03-10", "09:00", "2026-03-09T19:00:00Z"},
		{"far west", "Pacific/Pago_Pago", "2026-03-10", "23:59", "2026-03-11T10:59:00Z"},
		{"skipped in spring", "America/New_York", "2026-03-08", "02:30", "2026-03-08T07:00:00Z"},
		{"first minute skipped", "America/New_York", "2026-03-08", "02:00", "2026-03-08T07:00:00Z"},
		{"first minute after the gap", "America/New_York", "2026-03-08", "03:00", "2026-03-08T07:00:00Z"},
		{"repeated in autumn", "America/New_York", "2026-11-01", "01:30", "2026-11-01T05:30:00Z"},
		{"after what is repeated", "America/New_York", "2026-11-01", "02:00", "2026-11-01T07:00:00Z"},
		{"midnight skipped", "America/Santiago", "2026-09-06", "00:00", "2026-09-06T04:00:00Z"},
		{"midnight skipped", "Africa/Cairo", "2026-04-24", "00:00", "2026-04-23T22:00:00Z"},
		{"midnight skipped", "Asia/Beirut", "2026-03-29", "00:30", "2026-03-28T22:00:00Z"},
		{"midnight put off", "Asia/Beirut", "2026-10-25", "00:00", "2026-10-24T22:00:00Z"},
		{"half an hour skipped", "Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30:00Z"},
		{"half an hour repeated", "Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04T14:45:00Z"},
		{"a day that was never there", "Pacific/Apia", "2011-12-30", "09:00", "2011-12-30T10:00:00Z"},
		{"the day after it", "Pacific/Apia", "2011-12-31", "00:00", "2011-12-30T10:00:00Z"},
		{"a day that was there twice", "Pacific/Kwajalein", "1969-09-30", "12:00", "1969-09-30T01:00:00Z"},
		{"last day of a leap year", "America/New_York", "2040-12-31", "09:00", "2040-12-31T14:00:00Z"},
		{"last hour of a leap year", "Europe/Prague", "2040-12-31", "23:59", "2040-12-31T22:59:00Z"},
		{"first hour after one", "America/New_York", "2041-01-01", "00:00", "2041-01-01T05:00:00Z"},
		{"put back for Ramadan", "Africa/Casablanca", "2026-02-15", "02:30", "2026-02-15T01:30:00Z"},
	} {
		loc, err := LoadZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		tod, err := ParseTimeOfDay(c.tod)
		if err != nil {
			t.Fatal(err)
		}
		at := MustParse(c.day).At(tod, loc)
		if got := at.Format(time.RFC3339); got != c.want {
			t.Errorf("%s: %s %s in %s is %s, want %s", c.why, c.day, c.tod, c.zone, got, c.want)
		}
		if at.Location() != time.UTC {
			t.Errorf("At is in %v", at.Location())
		}
	}
}

// TestAtIsTheFirstInstantThatShowsIt compares At with its definition, near the days on which a zone changes its clocks as
// often as elsewhere.
func TestAtIsTheFirstInstantThatShowsIt(t *testing.T) {
	zones := allZones(t)
	rapid.Check(t, func(t *rapid.T) {
		loc := rapid.SampledFrom(zones).Draw(t, "zone")
		near := time.Unix(rapid.Int64Range(-2208900000, 4102444800).Draw(t, "near"), 0).In(loc)
		if _, end := near.ZoneBounds(); !end.IsZero() && rapid.Bool().Draw(t, "change") {
			near = end
		}
		day := Of(near).AddDays(rapid.IntRange(-1, 1).Draw(t, "day"))
		tod := TimeOfDay(rapid.IntRange(0, MinutesPerDay-1).Draw(t, "time"))
		at := day.At(tod, loc)

		if shown := wall(at, loc); shown < day.unix()+int64(tod)*60 {
			t.Fatalf("%v %v in %v is %v, and clocks don't show it yet", day, tod, loc, at.In(loc))
		}
		for back := time.Second; back < 27*time.Hour; {
			if shown := wall(at.Add(-back), loc); shown >= day.unix()+int64(tod)*60 {
				t.Fatalf("%v %v in %v is %v, but clocks showed it %v before", day, tod, loc, at.In(loc), back)
			}
			if back < time.Minute {
				back *= 2
			} else {
				back += 10 * time.Minute
			}
		}
	})
}

func TestOffsetEndIsLater(t *testing.T) {
	zones := allZones(t)
	rapid.Check(t, func(t *rapid.T) {
		loc := rapid.SampledFrom(zones).Draw(t, "zone")
		at := time.Unix(rapid.Int64Range(-2208900000, 4102444800).Draw(t, "at"), 0).In(loc)
		if rapid.Bool().Draw(t, "end of a year") {
			at = time.Date(at.Year(), 12, 31, 12, 0, 0, 0, loc)
		}
		end := OffsetEnd(at)
		if end.IsZero() {
			end = at.AddDate(1, 0, 0)
		}
		if !end.After(at) {
			t.Fatalf("in %v the offset of %v ends at %v", loc, at, end)
		}
		_, want := at.Zone()
		within := at.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(at))-1).Draw(t, "within")))
		if _, offset := within.Zone(); offset != want {
			t.Fatalf("in %v the offset changed from %v at %v, before %v", loc, want, within, end)
		}
	})
}

// wall is what clocks in loc show at t, as if it were UTC.
func wall(t time.Time, loc *time.Location) int64 {
	_, offset := t.In(loc).Zone()
	return t.Unix() + int64(offset)
}

func BenchmarkAt(b *testing.B) {
	loc, err := LoadZone("Europe/Prague")
	if err != nil {
		b.Fatal(err)
	}
	day := MustParse("2026-03-10")
	b.ReportAllocs()
	for b.Loop() {
		day.At(540, loc)
	}
}
