package cron

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"duebell/internal/civil"
)

// The truth table: every zone of the tz database × the years 2020 to 2030 × the specs that people write. What it is
// compared with shares no code with the package: a clock of the zone is watched, and each spec is matched against what it
// shows by conditions in Go.

// truthSpecs are specs, and the days and the times of day that match them.
var truthSpecs = []struct {
	spec string
	day  func(time.Time) bool
	time func(hour, minute int) bool
}{
	{"0 9 * * *", daily, is(9, 0)},
	{"0 0 * * *", daily, is(0, 0)},
	{"30 1 * * *", daily, is(1, 30)},
	{"30 2 * * *", daily, is(2, 30)},
	{"0 * * * *", daily, func(_, minute int) bool { return minute == 0 }},
	{"*/15 * * * *", daily, func(_, minute int) bool { return minute%15 == 0 }},
	{"*/15 2 * * *", daily, func(hour, minute int) bool { return hour == 2 && minute%15 == 0 }},
	{"0 0 1 * *", func(day time.Time) bool { return day.Day() == 1 }, is(0, 0)},
	{"59 23 28-31 * *", func(day time.Time) bool { return day.Day() >= 28 }, is(23, 59)},
	{"0 12 29 2 *", func(day time.Time) bool { return day.Month() == time.February && day.Day() == 29 }, is(12, 0)},
	{"0 0 * * 7", func(day time.Time) bool { return day.Weekday() == time.Sunday }, is(0, 0)},
}

func daily(time.Time) bool { return true }

func is(h, m int) func(hour, minute int) bool {
	return func(hour, minute int) bool { return hour == h && minute == m }
}

var (
	truthFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	truthTill = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	// Clocks are watched from some days before, and show times from before that: they differ from UTC by a day at most.
	watchFrom = truthFrom.AddDate(0, 0, -3)
	dialFrom  = watchFrom.AddDate(0, 0, -3)
	dialTill  = truthTill.AddDate(0, 0, 3)
)

// mark is a minute that a clock may show, counted from dialFrom, and the specs that match it: bit n is truthSpecs[n].
type mark struct {
	minute int
	specs  uint16
}

// dial is all marks, in order.
func dial() []mark {
	var times [24 * 60]uint16
	for n, c := range truthSpecs {
		for minute := range times {
			if c.time(minute/60, minute%60) {
				times[minute] |= 1 << n
			}
		}
	}
	var marks []mark
	for day := dialFrom; day.Before(dialTill); day = day.AddDate(0, 0, 1) {
		var specs uint16
		for n, c := range truthSpecs {
			if c.day(day) {
				specs |= 1 << n
			}
		}
		for minute, matching := range times {
			if matching&specs != 0 {
				marks = append(marks, mark{int(day.Sub(dialFrom)/time.Minute) + minute, matching & specs})
			}
		}
	}
	return marks
}

// setting is an offset that a clock has from an instant on, up to the next one.
type setting struct {
	from   time.Time
	offset time.Duration
}

// settings looks at a zone's offset every hour, and at each minute of an hour within which it changed.
func settings(loc *time.Location) []setting {
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(loc).Zone()
		return time.Duration(seconds) * time.Second
	}
	list := []setting{{watchFrom, offset(watchFrom)}}
	for hour := watchFrom.Add(time.Hour); !hour.After(truthTill); hour = hour.Add(time.Hour) {
		if offset(hour) == list[len(list)-1].offset {
			continue
		}
		for minute := hour.Add(-59 * time.Minute); !minute.After(hour); minute = minute.Add(time.Minute) {
			if o := offset(minute); o != list[len(list)-1].offset {
				list = append(list, setting{minute, o})
			}
		}
	}
	return list
}

// watch is when each spec is due, in seconds since 1970: whenever the clock shows a later time than ever before, all marks
// are that it reached or jumped over. It counts the marks too.
func watch(clock []setting, dial []mark) (due []ticks, slots []int) {
	due, slots = make([]ticks, len(truthSpecs)), make([]int, len(truthSpecs))
	minute := func(t time.Time) int { return int(t.Sub(dialFrom) / time.Minute) }
	next := 0
	for dial[next].minute <= minute(watchFrom.Add(clock[0].offset)) {
		next++
	}
	for i, period := range clock {
		end := truthTill.Add(time.Minute)
		if i+1 < len(clock) {
			end = clock[i+1].from
		}
		shown, last := minute(period.from.Add(period.offset)), minute(end.Add(period.offset))-1
		for ; dial[next].minute <= last; next++ {
			at := period.from.Unix() + 60*int64(max(0, dial[next].minute-shown))
			for n, specs := 0, dial[next].specs; specs != 0; n, specs = n+1, specs>>1 {
				if specs&1 == 0 {
					continue
				}
				slots[n]++
				if len(due[n]) == 0 || due[n][len(due[n])-1] != at {
					due[n] = append(due[n], at)
				}
			}
		}
	}
	return due, slots
}

// clocks groups the names of the tz database, release 2025c, by what their clocks do in these years. The list lies beside
// package civil, which knows the zones whether or not the machine does.
func clocks(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../civil/testdata/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	groups := make(map[string][]string)
	for _, name := range strings.Fields(string(text)) {
		loc, err := civil.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		// ZoneBounds is only trusted to tell different clocks apart, and that is cheap.
		var key strings.Builder
		for at := watchFrom.In(loc); ; {
			_, offset := at.Zone()
			fmt.Fprintln(&key, at.Unix(), offset)
			end := civil.OffsetEnd(at)
			if end.IsZero() || !end.Before(truthTill) {
				break
			}
			at = end
		}
		groups[key.String()] = append(groups[key.String()], name)
	}
	return groups
}

func TestEveryZoneFiresEachSlotOnce(t *testing.T) {
	groups := clocks(t)
	if len(groups) < 60 {
		t.Fatalf("only %d different clocks", len(groups))
	}
	marks := dial()
	for _, names := range groups {
		t.Run(names[0], func(t *testing.T) {
			t.Parallel()
			testTruth(t, names[0], marks)
		})
	}
}

func testTruth(t *testing.T, zone string, dial []mark) {
	loc, err := civil.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	clock := settings(loc)
	due, slots := watch(clock, dial)
	for n, c := range truthSpecs {
		s := parsed(t, c.spec, zone)
		want := due[n]
		// Every slot is due at one instant; only those that a gap jumps over share theirs.
		if len(want) > slots[n] || len(want) < slots[n]-5*len(clock) {
			t.Fatalf("%d slots of %q make %d ticks", slots[n], c.spec, len(want))
		}
		compare := func(from, till time.Time) {
			got := s.Missed(from, till, len(want)+1)
			part := want[want.after(from):want.after(till)]
			if !slices.EqualFunc(got, part, func(at time.Time, unix int64) bool { return at.Equal(time.Unix(unix, 0)) }) {
				t.Errorf("%q: %s", c.spec, part.parting(got))
			}
		}
		if len(want) < 5_000 {
			compare(truthFrom, truthTill)
		} else { // two days of each year will do, beside the changes below
			for year := truthFrom; year.Before(truthTill); year = year.AddDate(1, 0, 0) {
				compare(year, year.AddDate(0, 0, 2))
			}
		}
		// A scheduler may ask at any time, in particular while clocks change.
		for _, change := range clock[1:] {
			compare(change.from.Add(-26*time.Hour), change.from.Add(26*time.Hour))
			for _, asked := range []time.Duration{-90 * time.Minute, -1, 0, 1, 7 * time.Minute, 30 * time.Minute, time.Hour} {
				ask(t, s, c.spec, want, change.from.Add(asked))
			}
		}
	}
}

// ask compares what comes next and what came last at an instant.
func ask(t *testing.T, s Schedule, spec string, want ticks, asked time.Time) {
	t.Helper()
	i := want.after(asked)
	if next := s.Next(asked); i < len(want) && !next.Equal(want.at(i)) || i == len(want) && !next.After(truthTill) {
		t.Errorf("%q: after %v comes %v", spec, asked, next)
	}
	long := asked.AddDate(0, -2, 0)
	if long.Before(truthFrom) {
		long = truthFrom
	}
	latest, ok := s.Latest(long, asked)
	if ok != (want.after(long) < i) || ok && !latest.Equal(want.at(i-1)) {
		t.Errorf("%q: at %v the last one was %v, %v", spec, asked, latest, ok)
	}
}

// ticks are instants in order, in seconds since 1970.
type ticks []int64

func (list ticks) at(i int) time.Time { return time.Unix(list[i], 0).UTC() }

// after is the index of the first one after an instant.
func (list ticks) after(at time.Time) int {
	return sort.Search(len(list), func(i int) bool { return list.at(i).After(at) })
}

// parting says from where on others differ.
func (list ticks) parting(others []time.Time) string {
	i := 0
	for i < min(len(list), len(others)) && others[i].Equal(list.at(i)) {
		i++
	}
	next := "none"
	if i < len(list) {
		next = list.at(i).String()
	}
	return fmt.Sprintf("%d ticks, want %d; the first after %d that are right are %v, want %s", len(others), len(list), i,
		others[i:min(i+3, len(others))], next)
}
