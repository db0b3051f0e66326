package demo

import (
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"duebell/internal/civil"
	"duebell/internal/money"
)

//go:embed fineract/e2e_scenarios.csv fineract/e2e_installment_states.csv
var fineract embed.FS

const (
	scenariosFile = "e2e_scenarios.csv"
	statesFile    = "e2e_installment_states.csv"
)

// digits of the euro, in which all scenarios are.
const digits = 2

// scenario is one scenario of Fineract's end-to-end tests: how a loan's schedule looked on some business dates.
type scenario struct {
	ID        string // S001
	Feature   string // Loan.feature
	Title     string
	Snapshots []snapshot // at least one, in time order
}

// snapshot is the whole schedule of a loan on a business date.
type snapshot struct {
	Number       int // through all scenarios
	Date         civil.Date
	Installments []installment // at least one, by number
}

// installment has amounts in cents. Outstanding is the loan system's own figure, not always Due minus Paid.
type installment struct {
	Number                 int
	DueDate                civil.Date
	Due, Paid, Outstanding int64
}

// readScenarios reads the two files strictly: what isn't as the README beside them says is an error that names file and line.
func readScenarios(files fs.FS) ([]scenario, error) {
	var list []scenario
	index := map[string]int{}
	err := readCSV(files, scenariosFile, []string{"scenario_id", "feature_file", "scenario_title"}, func(get func(string) string) error {
		s := scenario{ID: get("scenario_id"), Feature: get("feature_file"), Title: get("scenario_title")}
		if _, twice := index[s.ID]; twice || s.ID == "" || s.Title == "" {
			return fmt.Errorf("scenario_id: %q is empty, has no title or is there already", s.ID)
		}
		index[s.ID] = len(list)
		list = append(list, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = readCSV(files, statesFile, []string{"scenario_id", "snapshot", "feature_line", "business_date", "currency", "installment", "due_date",
		"paid_date", "principal_due", "interest", "fees", "penalties", "due", "paid", "in_advance", "late", "outstanding"},
		func(get func(string) string) error {
			i, ok := index[get("scenario_id")]
			if !ok {
				return fmt.Errorf("scenario_id: %q is not in %s", get("scenario_id"), scenariosFile)
			}
			return list[i].add(get)
		})
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if len(s.Snapshots) == 0 {
			return nil, fmt.Errorf("%s: scenario %s has no installments", statesFile, s.ID)
		}
	}
	return list, nil
}

// add takes a row of the states file.
func (s *scenario) add(get func(string) string) error {
	var errs []error
	check := func(column string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", column, err))
		}
	}
	number := func(column string) int {
		n, err := strconv.Atoi(get(column))
		if err == nil && n < 1 {
			err = fmt.Errorf("%d is less than 1", n)
		}
		check(column, err)
		return n
	}
	date := func(column string) civil.Date {
		d, err := civil.Parse(get(column))
		check(column, err)
		return d
	}
	amount := func(column string) int64 {
		minor, err := money.Parse(get(column), digits)
		check(column, err)
		return minor
	}

	n, day := number("snapshot"), date("business_date")
	in := installment{number("installment"), date("due_date"), amount("due"), amount("paid"), amount("outstanding")}
	if sum := amount("principal_due") + amount("interest") + amount("fees") + amount("penalties"); sum != in.Due {
		check("due", fmt.Errorf("is not the sum of its parts, %s", money.Decimal(sum, digits)))
	}
	if c := get("currency"); c != "" && c != currency {
		check("currency", fmt.Errorf("%q is not %s", c, currency))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}

	if len(s.Snapshots) == 0 || s.Snapshots[len(s.Snapshots)-1].Number != n {
		if last := len(s.Snapshots) - 1; last >= 0 && (n < s.Snapshots[last].Number || day.Before(s.Snapshots[last].Date)) {
			return fmt.Errorf("snapshot: %d of %s comes before %d of %s in time or number", n, day, s.Snapshots[last].Number, s.Snapshots[last].Date)
		}
		s.Snapshots = append(s.Snapshots, snapshot{Number: n, Date: day})
	}
	last := &s.Snapshots[len(s.Snapshots)-1]
	if last.Date != day {
		return fmt.Errorf("business_date: %s is not that of the snapshot's other rows, %s", day, last.Date)
	}
	if in.Number != len(last.Installments)+1 {
		return fmt.Errorf("installment: %d comes after %d", in.Number, len(last.Installments))
	}
	last.Installments = append(last.Installments, in)
	return nil
}

// open is what is open in all.
func (s snapshot) open() int64 {
	var sum int64
	for _, in := range s.Installments {
		sum += in.Outstanding
	}
	return sum
}

// readCSV hands each row to take. The header must be exactly those columns.
func readCSV(files fs.FS, name string, columns []string, take func(get func(column string) string) error) error {
	f, err := files.Open("fineract/" + name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !slices.Equal(header, columns) {
		return fmt.Errorf("%s:1: the columns are %s, not %s", name, strings.Join(header, ","), strings.Join(columns, ","))
	}
	var record []string
	get := func(column string) string { return record[slices.Index(columns, column)] }
	for {
		if record, err = r.Read(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", name, err) // a csv.ParseError names the line
		}
		if err := take(get); err != nil {
			line, _ := r.FieldPos(0)
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
}
