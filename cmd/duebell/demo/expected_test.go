package demo

import (
	"encoding/csv"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// figures are a loan's as the files have them, from an instant on.
type figures struct {
	from   time.Time
	active bool
	open   map[civil.Date]int64
}

// odd is a row in which outstanding isn't due minus paid.
type odd struct {
	loan        string
	dueDate     civil.Date
	outstanding int64
	from, until time.Time // while its snapshot is in force
	looks       int       // rules that fell meanwhile
}

// expect works out, from the CSV file and the policy's own words, which reminders there must be. It shares with the product when the
// story says something, who is told, and nothing else.
func expect(t *testing.T, b *book) (map[reminder]reminded, map[string]*odd) {
	t.Helper()
	sums, rows := readFigures(t, b)
	expected := map[reminder]reminded{}
	met := map[string]*odd{}
	for _, l := range b.loans {
		var states []figures
		dates := map[civil.Date]bool{}
		for i, s := range l.Snapshots {
			open := sums[s.Number]
			states = append(states, figures{from: l.snapshotAt(i, replayed(l)), active: true, open: open})
			for date := range open {
				dates[date] = true
			}
			for _, o := range rows[s.Number] {
				o.loan, o.from, o.until = l.ID, l.snapshotAt(i, replayed(l)), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
				if i+1 < len(l.Snapshots) {
					o.until = l.snapshotAt(i+1, replayed(l))
				}
				met[fmt.Sprintf("%s due on %s", l.ID, o.dueDate)] = o
			}
		}
		begin := states[0].from
		for _, s := range l.steps(replayed(l)) {
			if s.head != nil && s.head.Status != active {
				states = append(states, figures{from: s.at})
			}
		}
		slices.SortStableFunc(states, func(a, b figures) int { return a.from.Compare(b.from) })

		people := []party{{UserID: l.Borrower.ID, Role: "borrower", Notify: []string{policy.KindUpcoming, policy.KindDueToday, policy.KindOverdue}}}
		people = append(people, l.Parties...)
		for _, p := range people {
			zone := zoneOf(t, b, p.UserID)
			for date := range dates {
				expectOf(l, p, zone, date, begin, states, expected, met)
			}
		}
	}
	return expected, met
}

// at is what is in force at an instant. What isn't active stays so: no scenario opens a loan again.
func at(states []figures, t time.Time) (now figures) {
	for _, s := range states {
		if s.from.After(t) {
			break
		}
		if s.open == nil && !s.active {
			return s
		}
		now = s
	}
	return now
}

// expectOf goes through the policy's reminders of one date and person, run by run from when one falls to when the next one does.
func expectOf(l *loan, p party, zone *time.Location, date civil.Date, begin time.Time, states []figures, expected map[reminder]reminded, met map[string]*odd) {
	type rule struct {
		kind   string
		offset int
		falls  time.Time
	}
	var rules []rule
	for _, offset := range []int{-7, -3, -1, 0, 1, 7, 15, 30} {
		kind := policy.KindDueToday
		if offset < 0 {
			kind = policy.KindUpcoming
		} else if offset > 0 {
			kind = policy.KindOverdue
		}
		if slices.Contains(p.Notify, kind) {
			rules = append(rules, rule{kind, offset, time.Date(date.Year, date.Month, date.Day+offset, 9, 0, 0, 0, zone)})
		}
	}
	began := civil.Of(begin.In(zone))
	for i, r := range rules {
		if civil.Of(r.falls).Before(began) {
			continue // before_start
		}
		for run := onTheHour(r.falls); run.Sub(r.falls) <= 48*time.Hour; run = run.Add(every) {
			if i+1 < len(rules) && !run.Before(rules[i+1].falls) {
				break // the next one's turn
			}
			state := at(states, run)
			if run.Before(begin) || !state.active {
				continue
			}
			for _, o := range met {
				if o.loan == l.ID && o.dueDate == date && !run.Before(o.from) && run.Before(o.until) {
					o.looks++
				}
			}
			local := run.In(zone)
			days := date.Sub(civil.Of(local))
			isTrue := r.kind == policy.KindUpcoming && days > 0 || r.kind == policy.KindDueToday && days == 0 || r.kind == policy.KindOverdue && days < 0
			if state.open[date] == 0 || !isTrue || local.Hour() >= 21 || local.Hour() < 8 {
				continue
			}
			expected[reminder{l.ID, date, p.UserID, r.kind, r.offset}] = reminded{run, state.open[date], days}
			break
		}
	}
}

func zoneOf(t *testing.T, b *book, id string) *time.Location {
	t.Helper()
	for _, p := range b.people {
		if p.ID == id {
			zone, err := time.LoadLocation(p.TimeZone)
			if err != nil {
				t.Fatal(err)
			}
			return zone
		}
	}
	t.Fatalf("nobody is %s", id)
	return nil
}

// readFigures reads the CSV file once more, by itself: what is outstanding in each snapshot by due date, and the odd rows. Dates are
// those of the replay.
func readFigures(t *testing.T, b *book) (sums map[int]map[civil.Date]int64, rows map[int][]*odd) {
	t.Helper()
	f, err := fineract.Open("fineract/" + statesFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range records[0] {
		column[name] = i
	}
	sums, rows = map[int]map[civil.Date]int64{}, map[int][]*odd{}
	for _, record := range records[1:] {
		cents := func(name string) int64 {
			amount, err := strconv.ParseFloat(record[column[name]], 64)
			if err != nil {
				t.Fatal(err)
			}
			return int64(math.Round(amount * 100))
		}
		number, err := strconv.Atoi(record[column["snapshot"]])
		if err != nil {
			t.Fatal(err)
		}
		l := b.loans[slices.IndexFunc(b.loans, func(l *loan) bool { return l.scenario.ID == record[column["scenario_id"]] })]
		date := civil.MustParse(record[column["due_date"]]).AddDays(replayed(l).days)
		if sums[number] == nil {
			sums[number] = map[civil.Date]int64{}
		}
		sums[number][date] += cents("outstanding")
		if cents("outstanding") != cents("due")-cents("paid") {
			rows[number] = append(rows[number], &odd{dueDate: date, outstanding: cents("outstanding")})
		}
	}
	return sums, rows
}
