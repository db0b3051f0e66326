package policy

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"duebell/internal/civil"
)

// book is what happens to one due date over a day and a half: events that change it, and hours in which nobody works.
type book struct {
	events []event
	down   [2]time.Time
}

type event struct {
	at    time.Time
	apply func(*Subject)
	name  string
}

func books(from, till time.Time) *rapid.Generator[book] {
	when := rapid.Custom(func(t *rapid.T) time.Time {
		minutes := rapid.IntRange(0, int(till.Sub(from)/time.Minute)).Draw(t, "minute")
		return from.Add(time.Duration(minutes) * time.Minute)
	})
	return rapid.Custom(func(t *rapid.T) book {
		var b book
		for range rapid.IntRange(0, 6).Draw(t, "events") {
			e := event{at: when.Draw(t, "when")}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				open := rapid.Bool().Draw(t, "open")
				e.name, e.apply = "open", func(s *Subject) { s.Open = open }
			case 1:
				active := rapid.Bool().Draw(t, "active")
				e.name, e.apply = "active", func(s *Subject) { s.Active = active }
			case 2:
				off := rapid.Bool().Draw(t, "off")
				kind := rapid.SampledFrom([]string{KindUpcoming, KindOverdue}).Draw(t, "kind")
				e.name, e.apply = "opt out", func(s *Subject) { s.OptedOut = map[string]bool{kind: off} }
			case 3:
				q := quietHours().Draw(t, "quiet")
				e.name, e.apply = "quiet", func(s *Subject) { s.Quiet = q }
			}
			b.events = append(b.events, e)
		}
		slices.SortStableFunc(b.events, func(a, b event) int { return a.at.Compare(b.at) })
		b.down = [2]time.Time{when.Draw(t, "down"), when.Draw(t, "up")}
		return b
	})
}

type sending struct {
	rule Rule
	at   time.Time
}

// TestLookingWhenToldToIsAsGoodAsLookingAllTheTime replays a book twice: judged every minute, and judged only when Look and
// Verdict.Next say so. Both send the same reminders in the same minutes, and each sending keeps every promise.
func TestLookingWhenToldToIsAsGoodAsLookingAllTheTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		loc, err := civil.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		from := moments(loc).Draw(t, "from").Truncate(time.Minute)
		till := from.Add(36 * time.Hour)
		b := books(from, till).Draw(t, "book")
		today := civil.Of(from.In(loc))
		start := Subject{
			DueDate: today.AddDays(rapid.IntRange(-4, 5).Draw(t, "due")), Zone: loc, Quiet: quietHours().Draw(t, "quiet"),
			Open: rapid.IntRange(0, 3).Draw(t, "open") > 0, Active: rapid.IntRange(0, 3).Draw(t, "active") > 0,
		}
		if rapid.Bool().Draw(t, "start day") {
			start.StartDay = today
		}
		if len(p.Reminders) > 0 && rapid.Bool().Draw(t, "new rule") {
			r := rapid.SampledFrom(p.Reminders).Draw(t, "rule")
			start.Since = map[Rule]civil.Date{r: today.AddDays(rapid.IntRange(-2, 4).Draw(t, "since"))}
		}

		always := replay(t, p, start, b, from, till, false)
		told := replay(t, p, start, b, from, till, true)
		if !slices.Equal(always, told) {
			t.Fatalf("due %v in %v, quiet %v\nlooking all the time sends %v\nlooking when told to sends %v",
				start.DueDate, loc, start.Quiet, always, told)
		}
	})
}

func replay(t *rapid.T, p *Policy, s Subject, b book, from, till time.Time, whenTold bool) []sending {
	s.Sent, s.Recorded, s.OptedOut = map[Rule]bool{}, map[Rule]string{}, nil
	var sendings []sending
	next, _ := p.Look(s, from)
	events := b.events
	for now := from; !now.After(till); now = now.Add(time.Minute) {
		changed := false
		for len(events) > 0 && !events[0].at.After(now) {
			events[0].apply(&s)
			events, changed = events[1:], true
		}
		if changed {
			var skipped *Skip
			next, skipped = p.Look(s, now)
			if skipped != nil && !next.IsZero() && !next.After(now) {
				t.Fatalf("%v is skipped for %s and looked at now", skipped.Rule, skipped.Reason)
			}
		}
		if !now.Before(b.down[0]) && now.Before(b.down[1]) || whenTold && (next.IsZero() || next.After(now)) {
			continue
		}
		v := p.Judge(s, now)
		check(t, p, s, v, now)
		for _, d := range v.Decisions {
			if d.Outcome != Sent {
				s.Recorded[d.Rule] = d.Reason
			}
		}
		if v.Send != nil {
			sendings = append(sendings, sending{*v.Send, now})
			s.Sent[*v.Send] = true
			delete(s.Recorded, *v.Send)
		}
		next = v.Next
	}
	return sendings
}

// check is what must be true of any verdict.
func check(t *rapid.T, p *Policy, s Subject, v Verdict, now time.Time) {
	local := now.In(s.Zone)
	if v.Today != civil.Of(local) || v.Days != s.DueDate.Sub(v.Today) {
		t.Fatalf("at %v it says today %v and %d days to %v", local, v.Today, v.Days, s.DueDate)
	}
	if !v.Next.IsZero() && !v.Next.After(now) {
		t.Fatalf("at %v it says to look again at %v", now, v.Next)
	}
	if !v.HeldUntil.IsZero() && (v.Send != nil || !v.Next.Equal(v.HeldUntil) || s.Quiet.Contains(v.HeldUntil.In(s.Zone))) {
		t.Fatalf("held until %v: %+v", v.HeldUntil, v)
	}
	seen := map[Rule]bool{}
	for _, d := range v.Decisions {
		if seen[d.Rule] || s.Sent[d.Rule] || p.Scheduled(s, d.Rule).After(now) || (d.Outcome == Sent) != (d.Reason == "") {
			t.Fatalf("decides %+v", v.Decisions)
		}
		seen[d.Rule] = true
	}
	if v.Send == nil {
		return
	}
	r := *v.Send
	switch {
	case !s.Open || !s.Active || s.OptedOut[r.Kind]:
		t.Fatalf("sends %v to %+v", r, s)
	case s.Quiet.Contains(local):
		t.Fatalf("sends %v in quiet hours at %v", r, local)
	case s.Sent[r]:
		t.Fatalf("sends %v again", r)
	case !r.Holds(v.Days):
		t.Fatalf("sends %v and it is %d days", r, v.Days)
	case p.MaxLate > 0 && now.Sub(p.Scheduled(s, r)) > p.MaxLate:
		t.Fatalf("sends %v at %v, and it fell at %v", r, now, p.Scheduled(s, r))
	case p.ReminderDay(s.DueDate, r).Before(s.StartDay), p.ReminderDay(s.DueDate, r).Before(s.Since[r]):
		t.Fatalf("sends %v, which is before start %v or %v", r, s.StartDay, s.Since[r])
	case v.Decisions[0] != Decided{r, Sent, ""}:
		t.Fatalf("sends %v and decides %v", r, v.Decisions)
	}
}

// TestJudgeIsPure checks that a verdict depends on nothing else and changes nothing that it was given.
func TestJudgeIsPure(t *testing.T) {
	s := subject(t)
	s.Sent, s.Recorded = sent(upcoming7), map[Rule]string{upcoming1: ReasonCap}
	wasSent, wasRecorded := maps.Clone(s.Sent), maps.Clone(s.Recorded)
	now := instant(t, "2026-03-09T09:00:00Z")
	first := Default().Judge(s, now)
	second := Default().Judge(s, now)
	if first.Send == nil || second.Send == nil || *first.Send != *second.Send || !slices.Equal(first.Decisions, second.Decisions) {
		t.Errorf("%+v and then %+v", first, second)
	}
	if !maps.Equal(s.Sent, wasSent) || !maps.Equal(s.Recorded, wasRecorded) {
		t.Errorf("the subject was changed: %+v", s)
	}
}
