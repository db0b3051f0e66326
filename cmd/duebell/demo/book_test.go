package demo

import (
	"slices"
	"testing"
	"time"

	"duebell/internal/civil"
)

func TestBook(t *testing.T) {
	b, err := newBook()
	if err != nil {
		t.Fatal(err)
	}

	t.Run("Names", func(t *testing.T) {
		people := map[string]person{}
		names := map[string]string{}
		for _, p := range b.people {
			if _, twice := people[p.ID]; twice {
				t.Errorf("%s is there twice", p.ID)
			}
			if other, twice := names[p.Name]; twice {
				t.Errorf("%s and %s are both called %s", other, p.ID, p.Name)
			}
			people[p.ID], names[p.Name] = p, p.ID
			if _, err := civil.LoadZone(p.TimeZone); err != nil {
				t.Errorf("%s: %v", p.ID, err)
			}
		}
		for _, l := range b.loans {
			if people[l.Borrower.ID] != l.Borrower {
				t.Errorf("the borrower of %s isn't among the people", l.ID)
			}
			for _, p := range l.Parties {
				if _, ok := people[p.UserID]; !ok || p.UserID == l.Borrower.ID {
					t.Errorf("%s has %+v", l.ID, p)
				}
			}
		}
	})

	t.Run("IsTheSameEveryTime", func(t *testing.T) {
		again, err := newBook()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.people, again.people) {
			t.Error("other people")
		}
	})

	t.Run("NumbersAreNames", func(t *testing.T) {
		for _, l := range b.loans {
			for _, s := range l.Snapshots {
				seen := map[int]bool{}
				for _, in := range s.Installments {
					if in.Number < 1 || seen[in.Number] {
						t.Errorf("%s, snapshot %d: number %d", l.ID, s.Number, in.Number)
					}
					seen[in.Number] = true
				}
			}
		}
	})

	t.Run("EveryStepIsInOrder", func(t *testing.T) {
		ids := map[string]bool{}
		for _, l := range b.loans {
			steps := l.steps(telling{days: 100, mark: "-x"})
			status := ""
			for i, s := range steps {
				if i > 0 && s.at.Before(steps[i-1].at) {
					t.Fatalf("%s: step %d is before the one before it", l.ID, i)
				}
				id := ""
				switch {
				case s.payment != nil:
					id = s.payment.ID
				case s.change != nil:
					id = s.change.ID
					if s.change.From != status {
						t.Errorf("%s goes from %q to %q, but it is %q", l.ID, s.change.From, s.change.To, status)
					}
					status = s.change.To
				}
				if id != "" && ids[id] {
					t.Errorf("%s is there twice", id)
				}
				ids[id] = true
			}
		}
	})

	t.Run("TheCastHearsOfItAtOnceAndOften", func(t *testing.T) {
		// Six seconds are a day, so ten minutes are a hundred.
		for i, m := range cast[:borrowers] {
			patience := 10
			if i == 0 {
				patience = 4 // whom the page shows first
			}
			var days []int
			for _, l := range b.loans {
				if l.Borrower.ID != m.ID {
					continue
				}
				for _, at := range falling(b, l) {
					days = append(days, int(at.Sub(Start)/(24*time.Hour)))
				}
			}
			slices.Sort(days)
			last := 0
			for _, day := range days {
				if day-last > patience && last < 100 {
					t.Errorf("%s hears nothing from day %d to %d", m.ID, last, day)
				}
				last = day
			}
		}
	})
}

// falling is when something might be said about a loan in the demo: each reminder of a date that is open in the snapshot of that time.
func falling(b *book, l *loan) []time.Time {
	tl := b.telling(l, "")
	var list []time.Time
	for i, s := range l.Snapshots {
		from := l.snapshotAt(i, tl)
		until := from.AddDate(1, 0, 0)
		if i+1 < len(l.Snapshots) {
			until = l.snapshotAt(i+1, tl)
		}
		for _, in := range tl.schedule(s) {
			for _, offset := range []int{-7, -3, -1, 0, 1, 7, 15, 30} {
				at := in.DueDate.AddDays(offset).At(9*60, time.UTC)
				if in.Outstanding > 0 && at.After(Start) && at.After(from) && at.Before(until) {
					list = append(list, at)
				}
			}
		}
	}
	return list
}

func TestKeepNumbers(t *testing.T) {
	type in struct {
		date string
		due  int64
	}
	for _, c := range []struct {
		name        string
		before, now []in
		want        []int
	}{
		{"nothing changes", []in{{"2022-01-01", 25}, {"2022-02-01", 25}}, []in{{"2022-01-01", 25}, {"2022-02-01", 25}}, []int{1, 2}},
		{"a down payment comes in between", []in{{"2022-01-01", 25}, {"2022-02-01", 25}, {"2022-03-01", 25}},
			[]in{{"2022-01-01", 25}, {"2022-01-10", 5}, {"2022-02-01", 26}, {"2022-03-01", 26}}, []int{1, 4, 2, 3}},
		{"one on the date of another", []in{{"2022-01-01", 25}, {"2022-02-01", 25}},
			[]in{{"2022-01-01", 25}, {"2022-02-01", 5}, {"2022-02-01", 25}}, []int{1, 3, 2}},
		{"it goes out again", []in{{"2022-01-01", 25}, {"2022-01-10", 5}, {"2022-02-01", 25}},
			[]in{{"2022-01-01", 25}, {"2022-02-01", 25}}, []int{1, 3}},
		{"all dates move", []in{{"2022-02-01", 25}, {"2022-03-01", 25}}, []in{{"2022-03-01", 25}, {"2022-04-01", 25}}, []int{1, 2}},
		{"one moves and one comes", []in{{"2022-02-01", 25}, {"2022-03-01", 25}},
			[]in{{"2022-02-15", 25}, {"2022-03-01", 25}, {"2022-04-01", 25}}, []int{1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var snapshots []snapshot
			for _, list := range [][]in{c.before, c.now} {
				var s snapshot
				for i, in := range list {
					s.Installments = append(s.Installments, installment{Number: i + 1, DueDate: civil.MustParse(in.date), Due: in.due})
				}
				snapshots = append(snapshots, s)
			}
			keepNumbers(snapshots)
			var got []int
			for _, in := range snapshots[1].Installments {
				got = append(got, in.Number)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("numbers %v, want %v", got, c.want)
			}
		})
	}
}

func TestPaidSince(t *testing.T) {
	day := civil.MustParse("2022-01-01")
	before := []installment{{1, day, 100, 0, 100}, {2, day.AddDays(30), 100, 0, 100}}
	for _, c := range []struct {
		name string
		now  []installment
		want int // payments; -1: it is none
	}{
		{"nothing", before, -1},
		{"a part", []installment{{1, day, 100, 40, 60}, {2, day.AddDays(30), 100, 0, 100}}, 1},
		{"two at once", []installment{{1, day, 100, 100, 0}, {2, day.AddDays(30), 100, 10, 90}}, 2},
		{"a waiver with it", []installment{{1, day, 100, 40, 50}, {2, day.AddDays(30), 100, 0, 100}}, -1},
		{"a fee with it", []installment{{1, day, 110, 40, 70}, {2, day.AddDays(30), 100, 0, 100}}, -1},
		{"another date", []installment{{1, day.AddDays(1), 100, 40, 60}, {2, day.AddDays(30), 100, 0, 100}}, -1},
		{"one more", append(slices.Clone(before), installment{3, day.AddDays(60), 10, 0, 10}), -1},
	} {
		paid, ok := paidSince(before, c.now)
		if !ok && c.want >= 0 || ok && len(paid) != c.want {
			t.Errorf("%s: %d payments, %v; want %d", c.name, len(paid), ok, c.want)
		}
	}
}
