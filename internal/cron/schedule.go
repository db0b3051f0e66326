package cron

import (
	"math/bits"
	"time"

	"duebell/internal/civil"
)

// Schedule is when an entry fires. It is a value; the zero Schedule never fires.
type Schedule struct {
	// Bit n is set where the field may be n. Bit 63 marks a field that was written as a star.
	minute, hour, dom, month, dow uint64
	loc                           *time.Location

	every int64 // seconds; then nothing else is set
}

const star = 1 << 63

// searchYears spans the longest wait of any spec that fires at all: 29 February around a year like 2100.
const searchYears = 9

// Next is the first tick after that instant, in UTC; the zero time if there is none. Ticks of @every are multiples of
// the interval since the Unix epoch, so that they don't depend on when a process started.
func (s Schedule) Next(after time.Time) time.Time {
	if s.every > 0 {
		return time.Unix((floorDiv(after.Unix(), s.every)+1)*s.every, 0).UTC()
	}
	if s.loc == nil {
		return time.Time{}
	}
	// A slot that clocks have shown by then has fired. Later slots are tried in order, since while an hour is repeated
	// some of them have fired as well.
	local := after.In(s.loc)
	day, tod := civil.Of(local), civil.TimeOfDay(local.Hour()*60+local.Minute())
	for last := day.Year + searchYears; day.Year <= last; {
		if !s.dayMatches(day) {
			day, tod = s.skip(day), 0
			continue
		}
		slot, ok := s.slot(tod)
		if !ok {
			day, tod = day.AddDays(1), 0
			continue
		}
		if at := day.At(slot, s.loc); at.After(after) {
			return at
		}
		tod = slot + 1
	}
	return time.Time{}
}

// skip is the next day that may match, given that this one doesn't.
func (s Schedule) skip(day civil.Date) civil.Date {
	if s.month&(1<<uint(day.Month)) != 0 {
		return day.AddDays(1)
	}
	if day.Month == time.December {
		return civil.Date{Year: day.Year + 1, Month: time.January, Day: 1}
	}
	return civil.Date{Year: day.Year, Month: day.Month + 1, Day: 1}
}

func (s Schedule) dayMatches(day civil.Date) bool {
	if s.month&(1<<uint(day.Month)) == 0 {
		return false
	}
	dom := s.dom&(1<<uint(day.Day)) != 0
	dow := s.dow&(1<<uint(day.Weekday())) != 0
	if s.dom&star != 0 || s.dow&star != 0 {
		return dom && dow
	}
	return dom || dow
}

// slot is the first matching time of a day from tod on.
func (s Schedule) slot(tod civil.TimeOfDay) (civil.TimeOfDay, bool) {
	hour, minute := tod.Hour(), tod.Minute()
	for {
		if hour > 23 {
			return 0, false
		}
		if s.hour&(1<<uint(hour)) != 0 {
			if rest := s.minute &^ star >> uint(minute); rest != 0 {
				return civil.TimeOfDay(hour*60 + minute + bits.TrailingZeros64(rest)), true
			}
		}
		hour, minute = hour+1, 0
	}
}

// Missed lists the ticks after last up to and including now, oldest first, at most max of them. Whoever wants more calls
// again with the last one he got.
func (s Schedule) Missed(last, now time.Time, max int) []time.Time {
	var ticks []time.Time
	for len(ticks) < max {
		next := s.Next(last)
		if next.IsZero() || next.After(now) {
			break
		}
		ticks = append(ticks, next)
		last = next
	}
	return ticks
}

// Latest is the last tick after that instant up to and including now; false if there was none. Its cost doesn't grow
// with the time between the two.
func (s Schedule) Latest(after, now time.Time) (time.Time, bool) {
	if s.every > 0 {
		at := time.Unix(floorDiv(now.Unix(), s.every)*s.every, 0).UTC()
		return at, at.After(after)
	}
	for _, back := range []time.Duration{2 * time.Hour, 50 * time.Hour, 33 * day, 367 * day, searchYears * 366 * day} {
		from := now.Add(-back)
		if from.Before(after) {
			from = after
		}
		var latest time.Time
		for next := s.Next(from); !next.IsZero() && !next.After(now); next = s.Next(next) {
			latest = next
		}
		if !latest.IsZero() {
			return latest, true
		}
		if !from.After(after) {
			break
		}
	}
	return time.Time{}, false
}

const day = 24 * time.Hour

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
