package civil

import "time"

// At is the first instant, in UTC, at which clocks in loc show that day and time or a later one. So a time that occurs
// twice, when clocks are put back, is its first occurrence; one that is skipped, when they are put forward, is the
// instant right after the gap; and a day that a zone skipped whole (Apia, 30 December 2011) is the start of the next.
func (d Date) At(tod TimeOfDay, loc *time.Location) time.Time {
	wall := d.unix() + int64(tod)*60
	// Walk the zone's periods of one offset from a day before, when no clock on earth shows that time yet. In each of
	// them the wall time would be at wall-offset. When that is before its start, it fell into the gap between the two.
	for t := time.Unix(wall-secondsPerDay, 0).In(loc); ; {
		_, offset := t.Zone()
		at := wall - int64(offset)
		if at <= t.Unix() {
			return t.UTC()
		}
		end := OffsetEnd(t)
		if end.IsZero() || at < end.Unix() {
			return time.Unix(at, 0).UTC()
		}
		t = end
	}
}

// OffsetEnd is an instant after t, in t's location, up to which clocks there keep the offset that they have at t; zero
// if they keep it for ever. It may be one at which nothing changes after all.
func OffsetEnd(t time.Time) time.Time {
	_, end := t.ZoneBounds()
	if end.IsZero() || end.After(t) {
		return end
	}
	// On the last day of a leap year, ZoneBounds names that day's start as the end (golang/go#81583), where it means the
	// end of the year.
	return time.Date(t.UTC().Year()+1, time.January, 1, 0, 0, 0, 0, time.UTC).In(t.Location())
}
