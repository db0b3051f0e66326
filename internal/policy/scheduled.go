package policy

import (
	"time"

	"duebell/internal/civil"
)

// ReminderDay is the calendar day of a rule for a due date: due date plus offset, moved off weekends and holidays if
// the policy says so, to where the kind is still true: an upcoming one stays before the due date, an overdue one behind
// it, and due_today never moves. Where the named direction would make it untrue the other is taken, and where both would
// it stays. The due date itself never moves here: loan systems do that.
func (p *Policy) ReminderDay(due civil.Date, r Rule) civil.Date {
	day := due.AddDays(r.Offset)
	step := 1
	switch p.Weekends {
	case WeekendsPrevious:
		step = -1
	case WeekendsNext:
	default:
		return day
	}
	for _, step := range []int{step, -step} {
		moved, ok := p.businessDay(day, step)
		if ok && r.Holds(due.Sub(moved)) {
			return moved
		}
	}
	return day
}

// maxMove keeps the search for a business day within what can still be called the same reminder.
const maxMove = 31

// businessDay is the first business day from day on, by steps of 1 or -1.
func (p *Policy) businessDay(day civil.Date, step int) (civil.Date, bool) {
	for range maxMove {
		weekday := day.Weekday()
		if weekday != time.Saturday && weekday != time.Sunday && !p.holidays[day] {
			return day, true
		}
		day = day.AddDays(step)
	}
	return day, false
}

// Scheduled is the instant, in UTC, at which a rule falls for a subject: its reminder day at send_at in the
// recipient's zone, moved out of quiet hours within that day.
func (p *Policy) Scheduled(s Subject, r Rule) time.Time {
	return p.sendTime(s, p.ReminderDay(s.DueDate, r))
}

// NextDay is the send time of the recipient's next calendar day, out of quiet hours: when a reminder that today's
// cap held is judged again.
func (p *Policy) NextDay(s Subject, now time.Time) time.Time {
	return p.sendTime(s, civil.Of(now.In(s.zone())).AddDays(1))
}

func (p *Policy) sendTime(s Subject, day civil.Date) time.Time {
	return s.Quiet.moved(day.At(p.SendAt, s.zone()), s.zone())
}
