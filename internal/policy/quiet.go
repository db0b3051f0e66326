package policy

import (
	"time"

	"duebell/internal/civil"
)

// QuietHours is the part of the day in which nobody is disturbed, by the clock on the recipient's wall: From is quiet, To
// is not any more (US Regulation F, 12 CFR 1006.6(b): 08:00 may, 21:00 may not). It may wrap midnight. From and To
// differ.
type QuietHours struct {
	From civil.TimeOfDay `json:"from"`
	To   civil.TimeOfDay `json:"to"`
}

// Contains says whether a clock that shows local's hour and minute is in quiet hours. Local must be in the recipient's
// zone. No quiet hours contain nothing.
func (q *QuietHours) Contains(local time.Time) bool {
	if q == nil {
		return false
	}
	hour, minute, _ := local.Clock()
	return q.contains(civil.TimeOfDay(hour*60 + minute))
}

func (q *QuietHours) contains(tod civil.TimeOfDay) bool {
	if q.From < q.To {
		return tod >= q.From && tod < q.To
	}
	return tod >= q.From || tod < q.To
}

// End is the first instant from t on, in UTC, that is not in quiet hours: t itself if it isn't. It goes by what the clocks
// show, so hours that are repeated or skipped come out right.
func (q *QuietHours) End(t time.Time, loc *time.Location) time.Time {
	for {
		local := t.In(loc)
		if !q.Contains(local) {
			return t.UTC()
		}
		left := int(q.To) - (local.Hour()*60 + local.Minute())
		if left <= 0 {
			left += civil.MinutesPerDay
		}
		at := t.Add(time.Duration(left)*time.Minute -
			time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond()))
		end := civil.OffsetEnd(local)
		if end.IsZero() || at.Before(end) {
			return at.UTC()
		}
		t = end // the clocks change before; go on from there
	}
}

// moved takes a sending time out of quiet hours, on the same local day if that has any other: to the end of the quiet
// hours, or, when they end on the next day, to the minute before they begin.
func (q *QuietHours) moved(t time.Time, loc *time.Location) time.Time {
	if !q.Contains(t.In(loc)) {
		return t
	}
	day := civil.Of(t.In(loc))
	end := q.End(t, loc)
	if civil.Of(end.In(loc)) == day {
		return end
	}
	// A minute at a time, because the minute before From may be one that the clocks skip on that day.
	for before := day.At(max(q.From-1, 0), loc); civil.Of(before.In(loc)) == day; before = before.Add(-time.Minute) {
		if !q.Contains(before.In(loc)) {
			return before
		}
	}
	return end
}
