package policy

import "fmt"

// Kinds of notifications that Duebell writes itself. The loan system may send others under its own names.
const (
	KindUpcoming      = "repayment.upcoming"
	KindDueToday      = "repayment.due_today"
	KindOverdue       = "repayment.overdue"
	KindRescheduled   = "repayment.rescheduled"
	KindSummary       = "repayment.summary" // an officer's, once a run
	KindStatusChanged = "application.status_changed"
)

// Kinds lists them in the order in which people should see them.
func Kinds() []string {
	return []string{KindUpcoming, KindDueToday, KindOverdue, KindRescheduled, KindSummary, KindStatusChanged}
}

// Channels by which a notification reaches a person.
const (
	ChannelPush  = "push"
	ChannelEmail = "email"
)

// Channels lists them.
func Channels() []string { return []string{ChannelPush, ChannelEmail} }

// Jobs that a policy's schedule can name.
const (
	JobReminderRun  = "reminder.run"
	JobDigestRun    = "digest.run"
	JobRetentionRun = "retention.run"
)

// Jobs lists them.
func Jobs() []string { return []string{JobReminderRun, JobDigestRun, JobRetentionRun} }

// Rule is one reminder of a policy: a kind, and on which day it falls, counted from the due date (negative: before). It
// is a key: a reminder goes out once for each loan, due date, rule and recipient.
type Rule struct {
	Kind   string
	Offset int
}

// String is like "repayment.upcoming -3d".
func (r Rule) String() string { return fmt.Sprintf("%s %dd", r.Kind, r.Offset) }

// Holds says whether the rule's kind is true of a due date that many days away (negative: past), whatever its offset:
// nothing is "due in" on the day itself, and nothing is overdue before the day is over.
func (r Rule) Holds(days int) bool {
	switch r.Kind {
	case KindUpcoming:
		return days >= 1
	case KindDueToday:
		return days == 0
	case KindOverdue:
		return days <= -1
	default:
		return false
	}
}

// reminder says whether a kind can be a rule at all.
func reminder(kind string) bool {
	return kind == KindUpcoming || kind == KindDueToday || kind == KindOverdue
}
