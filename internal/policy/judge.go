package policy

import (
	"time"

	"duebell/internal/civil"
)

// Subject is one loan's due date and one recipient, as the book has them now.
type Subject struct {
	DueDate civil.Date
	Zone    *time.Location // the recipient's; nil is UTC
	Quiet   *QuietHours    // the person's own, else the lender's; nil: none
	Open    bool           // something is outstanding on that date
	Active  bool           // the loan's status is active

	// Kinds are the ones this recipient is told about this loan; nil is all. Rules of other kinds don't exist for him:
	// no reminder, and no decision either.
	Kinds map[string]bool
	// OptedOut are the kinds that the person switched off, and may.
	OptedOut map[string]bool
	// Overruled are those that the person switched off and a later policy made mandatory, by the day on which it did. Reminder
	// days before it stay opted_out: a policy never sends days that lie before its activation.
	Overruled map[string]civil.Date

	// Sent is what went out. Only that is final.
	Sent map[Rule]bool
	// Recorded is the last reason written down for a rule that wasn't sent. It changes no outcome: a verdict just leaves
	// out decisions that would repeat it.
	Recorded map[Rule]string

	// StartDay is the recipient's day of the loan's first import. Reminder days before it are before_start, or, with
	// Backfill, sent however late they are. Zero: none.
	StartDay civil.Date
	Backfill bool
	// Since is the day on which a rule came into force, for rules younger than the first policy. Reminder days before
	// it are before_activation.
	Since map[Rule]civil.Date
}

func (s Subject) zone() *time.Location {
	if s.Zone == nil {
		return time.UTC
	}
	return s.Zone
}

// Outcome is what became of a rule for a subject.
type Outcome string

const (
	Sent       Outcome = "sent"
	Held       Outcome = "held"       // judged again at a named time
	Suppressed Outcome = "suppressed" // judged again when the book changes
)

// Reasons of decisions that are not sent.
const (
	ReasonNotActive        = "loan_not_active"
	ReasonPaid             = "paid"
	ReasonOptedOut         = "opted_out"
	ReasonBeforeStart      = "before_start"
	ReasonBeforeActivation = "before_activation"
	ReasonTooLate          = "too_late"
	ReasonNoLongerTrue     = "no_longer_true"
	ReasonSuperseded       = "superseded"  // by a later rule
	ReasonQuietHours       = "quiet_hours" // held
	ReasonCap              = "cap"         // held, by whoever counts; never by Judge
)

// Decided is one decision to record.
type Decided struct {
	Rule    Rule
	Outcome Outcome
	Reason  string // "" for sent
}

// Verdict is what to do about a subject now.
type Verdict struct {
	// Send is the reminder to write now, nil for none.
	Send *Rule
	// Days is due date minus today on the recipient's calendar: what the text says, whatever the rule's offset.
	Days  int
	Today civil.Date
	// Decisions are to be recorded with it: first what became of the rule whose turn it is, then what it supersedes. If
	// a cap stops the sending after all, record that it is held and none of these.
	Decisions []Decided
	// Next is when to judge again if the book doesn't change before; zero: never. It is always after now.
	Next time.Time
	// HeldUntil is the end of the quiet hours that hold a reminder; zero if none is held. Next is the same instant then.
	HeldUntil time.Time
}

// Skip is a rule whose turn it is and that is suppressed.
type Skip struct {
	Rule   Rule
	Reason string
}

// Judge decides what to do about a subject now. Whose turn it is, is the rule that falls latest of those that have fallen by
// now (of two that fall together, the one with the greater offset), so after an outage one reminder goes out
// and not one for each that was missed. If that one was sent, there is nothing to do. Otherwise, in this order:
//
//	loan_not_active    the loan isn't active (Fineract: no reminder before disbursal or after closing)
//	paid               nothing is outstanding on that date, now and not when the run was planned
//	opted_out          the person switched the kind off, and on that day the policy let them
//	before_start       its day is before the loan's first import: going live floods nobody, unless it is told to (Backfill)
//	before_activation  its day is before the rule came into force
//	too_late           it fell more than max_late ago, and isn't back-filled
//	no_longer_true     by the recipient's calendar nothing is upcoming, due today or overdue any more, as its kind has it
//	quiet_hours        held: it is judged again, by what is true then, when they end
//
// and else it is sent. When it is sent or suppressed, the unsent ones before it are over too: superseded, or
// before_start or before_activation if that is why. While the loan isn't active or nothing is open, nothing can become due by
// itself, so Next is zero: the book has to change first.
func (p *Policy) Judge(s Subject, now time.Time) Verdict {
	today := civil.Of(now.In(s.zone()))
	v := Verdict{Days: s.DueDate.Sub(today), Today: today}
	turn, next := p.turn(s, now)
	if s.Active && s.Open {
		v.Next = next
	}
	if turn == nil || s.Sent[turn.rule] {
		return v
	}
	reason := p.suppressed(s, *turn, now)
	if reason == "" && s.Quiet.Contains(now.In(s.zone())) {
		v.HeldUntil = s.Quiet.End(now, s.zone())
		v.Next = v.HeldUntil
		if s.Recorded[turn.rule] != ReasonQuietHours {
			v.Decisions = append(v.Decisions, Decided{turn.rule, Held, ReasonQuietHours})
		}
		return v
	}
	if reason == "" {
		v.Send = &turn.rule
		v.Decisions = append(v.Decisions, Decided{turn.rule, Sent, ""})
	} else if s.Recorded[turn.rule] != reason {
		v.Decisions = append(v.Decisions, Decided{turn.rule, Suppressed, reason})
	}
	for _, rule := range p.Reminders {
		at, mine := p.falls(s, rule)
		if !mine || rule == turn.rule || at.After(now) || s.Sent[rule] || final(s.Recorded[rule]) {
			continue
		}
		reason := p.tooEarly(s, rule)
		if reason == "" {
			reason = ReasonSuperseded
		}
		v.Decisions = append(v.Decisions, Decided{rule, Suppressed, reason})
	}
	return v
}

// Look says when a subject must be judged next. It is used whenever the book changed: at once (an instant that isn't
// after now) when a rule's turn has come and nothing suppresses it, else when the next rule falls. Zero is never, until
// the book changes again. If the rule whose turn it is is suppressed, skipped says so; whoever keeps decisions
// records it unless it is the last one recorded.
func (p *Policy) Look(s Subject, now time.Time) (next time.Time, skipped *Skip) {
	turn, next := p.turn(s, now)
	if turn != nil && !s.Sent[turn.rule] {
		reason := p.suppressed(s, *turn, now)
		if reason == "" {
			return turn.at, nil
		}
		skipped = &Skip{turn.rule, reason}
	}
	if !s.Active || !s.Open {
		return time.Time{}, skipped
	}
	return next, skipped
}

// Pending is the reminder that would have gone out next if the loan were active and something open: what a payment or a
// closing made unnecessary. False if none would.
func (p *Policy) Pending(s Subject, now time.Time) (Rule, bool) {
	s.Active, s.Open = true, true
	turn, _ := p.turn(s, now)
	if turn != nil && !s.Sent[turn.rule] && p.suppressed(s, *turn, now) == "" {
		return turn.rule, true
	}
	var first *fall
	for _, rule := range p.Reminders {
		at, mine := p.falls(s, rule)
		if !mine || !at.After(now) || s.Sent[rule] || s.OptedOut[rule.Kind] || p.tooEarly(s, rule) != "" {
			continue
		}
		if f := (fall{rule, at}); first == nil || at.Before(first.at) || at.Equal(first.at) && f.later(*first) {
			first = &f
		}
	}
	if first == nil {
		return Rule{}, false
	}
	return first.rule, true
}

// fall is a rule and when it falls for a subject.
type fall struct {
	rule Rule
	at   time.Time
}

func (f fall) later(other fall) bool {
	if !f.at.Equal(other.at) {
		return f.at.After(other.at)
	}
	return f.rule.Offset > other.rule.Offset
}

// falls is when a rule falls; false if it is no rule for this recipient.
func (p *Policy) falls(s Subject, r Rule) (time.Time, bool) {
	if s.Kinds != nil && !s.Kinds[r.Kind] {
		return time.Time{}, false
	}
	return p.Scheduled(s, r), true
}

// turn is the rule whose turn it is, nil before the first one, and when the next one falls, zero after the last.
func (p *Policy) turn(s Subject, now time.Time) (turn *fall, next time.Time) {
	for _, rule := range p.Reminders {
		at, mine := p.falls(s, rule)
		switch {
		case !mine:
		case at.After(now):
			if next.IsZero() || at.Before(next) {
				next = at
			}
		default:
			if f := (fall{rule, at}); turn == nil || f.later(*turn) {
				turn = &f
			}
		}
	}
	return turn, next
}

// suppressed is why a rule whose turn it is must not go out, "" if it may. The order is Judge's.
func (p *Policy) suppressed(s Subject, f fall, now time.Time) string {
	switch {
	case !s.Active:
		return ReasonNotActive
	case !s.Open:
		return ReasonPaid
	case p.optedOut(s, f.rule):
		return ReasonOptedOut
	}
	if reason := p.tooEarly(s, f.rule); reason != "" {
		return reason
	}
	switch {
	case p.MaxLate > 0 && now.Sub(f.at) > p.MaxLate && !p.backfilled(s, f.rule):
		return ReasonTooLate
	case !f.rule.Holds(s.DueDate.Sub(civil.Of(now.In(s.zone())))):
		return ReasonNoLongerTrue
	}
	return ""
}

// optedOut says whether the person doesn't want a rule's reminder and can have it so.
func (p *Policy) optedOut(s Subject, r Rule) bool {
	since, overruled := s.Overruled[r.Kind]
	return s.OptedOut[r.Kind] || overruled && p.ReminderDay(s.DueDate, r).Before(since)
}

// tooEarly is why a rule's day is none of ours, by days and not by instants: what falls on the day of the import is sent.
func (p *Policy) tooEarly(s Subject, r Rule) string {
	if s.StartDay.IsZero() && s.Since[r].IsZero() {
		return ""
	}
	day := p.ReminderDay(s.DueDate, r)
	switch {
	case day.Before(s.StartDay) && !s.Backfill:
		return ReasonBeforeStart
	case day.Before(s.Since[r]):
		return ReasonBeforeActivation
	}
	return ""
}

// backfilled says whether a rule's day lies before the loan's first import and was asked for with it.
func (p *Policy) backfilled(s Subject, r Rule) bool {
	return s.Backfill && p.ReminderDay(s.DueDate, r).Before(s.StartDay)
}

// final says whether a recorded reason says that the rule's turn is over. A held one's isn't.
func final(reason string) bool {
	return reason != "" && reason != ReasonQuietHours && reason != ReasonCap
}
