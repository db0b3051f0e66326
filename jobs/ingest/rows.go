package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"duebell/store"
)

// chunk is how many rows go into one transaction.
const chunk = 1000

// RowError is what is wrong with one row of an import.
type RowError struct {
	Line    int    `json:"line"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// report is what became of the rows of an import. It keeps the first errors only, and counts all.
type report struct {
	accepted, rejected int
	errors             []RowError
	found, max         int // errors found; how many are kept
}

func (r *report) note(line int, field, message string) {
	r.found++
	if len(r.errors) < r.max {
		r.errors = append(r.errors, RowError{line, field, message})
	}
}

// sorted are the errors by line: those of the JSON are found before those of the values.
func (r *report) sorted() []RowError {
	slices.SortStableFunc(r.errors, func(a, b RowError) int { return a.Line - b.Line })
	return r.errors
}

// declared is what earlier files of a dry run would have written and the store doesn't have.
type declared struct {
	users map[string]bool
	loans digits
}

func (d *declared) hasLoan(id string) bool {
	_, ok := d.loans[id]
	return ok
}

// hasUsers says whether a loan names somebody whom only the dry run has seen.
func (d *declared) hasUsers(l store.Loan) bool {
	return d.users[l.BorrowerID] || slices.ContainsFunc(l.Parties, func(p store.Party) bool { return d.users[p.UserID] })
}

// pending is a row that was taken apart and not yet looked at.
type pending struct {
	line int
	f    *fields
	bad  problems
}

// sink takes the rows of one resource on their way into the store, and reports on each. An error of its methods ends the
// import: it is the store's, not a row's.
type sink interface {
	add(ctx context.Context, row *pending) error
	flush(ctx context.Context) error
}

// batch is what sinks have in common.
type batch struct {
	db     *store.DB
	report *report
	opt    store.ImportOptions
	asOf   time.Time // of rows that say none
	// unique refuses a key that was there before. Otherwise a later row is a later change.
	unique bool
	// hold writes nothing before the last row was seen to be good.
	hold bool
	// declared is only for a dry run; loans are those that were looked up.
	declared declared
	loans    digits
}

func (b *batch) load(ctx context.Context, rows []*pending) error {
	if len(b.loans) > 100*chunk {
		clear(b.loans)
	}
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.f.peek("loan_id")
	}
	if err := b.loans.load(ctx, b.db, ids); err != nil {
		return err
	}
	for _, id := range ids {
		if n, ok := b.declared.loans[id]; ok {
			b.loans[id] = n
		}
	}
	return nil
}

// reject notes everything that is wrong with a row.
func (b *batch) reject(row *pending) {
	b.report.rejected++
	for _, bad := range row.bad {
		b.report.note(row.line, bad.Field, bad.Message)
	}
}

func (b *batch) rowAsOf(f *fields) time.Time {
	at := f.instant("as_of", false)
	if at.IsZero() {
		return b.asOf
	}
	if err := checkAhead(at, b.db.Now()); err != nil {
		f.wrong("as_of", "%v", err)
	}
	return at
}

// refused puts the store's reason not to take a row into a field and a sentence.
func refused(err error) (field, message string) {
	if wrong, ok := errors.AsType[*store.FieldError](err); ok {
		return wrong.Field, wrong.Message
	}
	switch {
	case errors.Is(err, store.ErrStale):
		return "as_of", "is older than what is stored"
	case errors.Is(err, store.ErrConflict):
		return "id", "came before with other values"
	case errors.Is(err, store.ErrNotFound):
		return "loan_id", "is not a loan that is known"
	}
	return "", err.Error()
}

// rows is the sink of every resource but installments.
type rows[T any] struct {
	batch
	key   func(T) string
	parse func(b *batch, f *fields) T
	write func(ctx context.Context, rows []T, opt store.ImportOptions) ([]store.Rejected, error)
	// needsLoan: parse needs the digits of the row's loan.
	needsLoan bool
	// rests says whether a row needs what only a dry run has seen, so that the store can't check it; nil: never.
	rests func(b *batch, row T) bool

	waiting []*pending
	parsed  []T
	lines   []int
	seen    map[string]int // key to line: all of a unique import, else those of this transaction
}

func (s *rows[T]) add(ctx context.Context, row *pending) error {
	s.waiting = append(s.waiting, row)
	if len(s.waiting) < chunk {
		return nil
	}
	if err := s.read(ctx); err != nil || s.hold {
		return err
	}
	return s.send(ctx)
}

func (s *rows[T]) flush(ctx context.Context) error {
	if err := s.read(ctx); err != nil {
		return err
	}
	if s.hold && s.report.rejected > 0 {
		return nil
	}
	return s.send(ctx)
}

// read validates the rows that wait.
func (s *rows[T]) read(ctx context.Context) error {
	if s.needsLoan {
		if err := s.load(ctx, s.waiting); err != nil {
			return err
		}
	}
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	for _, row := range s.waiting {
		row.f.bad = &row.bad
		value := s.parse(&s.batch, row.f)
		row.f.done()
		key := s.key(value)
		before, twice := s.seen[key]
		if twice && s.unique && key != "" {
			row.bad.add("id", "%q is there already, on line %d", clip(key, 64), before)
		}
		if len(row.bad) > 0 {
			s.reject(row)
			continue
		}
		if twice { // two changes of one row need two transactions
			if err := s.send(ctx); err != nil {
				return err
			}
		}
		s.seen[key] = row.line
		s.parsed = append(s.parsed, value)
		s.lines = append(s.lines, row.line)
	}
	s.waiting = s.waiting[:0]
	return nil
}

// send writes the good rows in one transaction.
func (s *rows[T]) send(ctx context.Context) error {
	write, lines := s.parsed, s.lines
	if s.opt.DryRun && s.rests != nil {
		write, lines = nil, nil
		for i, value := range s.parsed {
			if s.rests(&s.batch, value) {
				s.report.accepted++
			} else {
				write, lines = append(write, value), append(lines, s.lines[i])
			}
		}
	}
	if len(write) > 0 {
		rejected, err := s.write(ctx, write, s.opt)
		if err != nil {
			return err
		}
		for _, r := range rejected {
			field, message := refused(r.Err)
			s.report.note(lines[r.Index], field, message)
		}
		s.report.rejected += len(rejected)
		s.report.accepted += len(write) - len(rejected)
	}
	s.parsed, s.lines = s.parsed[:0], s.lines[:0]
	if !s.unique {
		clear(s.seen)
	}
	return nil
}

// schedules is the sink of installments: consecutive rows of one loan are its whole schedule.
type schedules struct {
	batch
	group []*pending   // rows of the loan that is being read
	ready [][]*pending // whole schedules
	count int          // rows in ready
	begun map[string]int

	parsed []store.Schedule
	lines  [][]*pending
}

func (s *schedules) add(ctx context.Context, row *pending) error {
	loanID := row.f.peek("loan_id")
	if len(s.group) > 0 && s.group[0].f.peek("loan_id") == loanID {
		s.group = append(s.group, row)
		return nil
	}
	s.endGroup()
	s.group = []*pending{row}
	if s.begun == nil {
		s.begun = map[string]int{}
	}
	if line, again := s.begun[loanID]; again && loanID != "" {
		row.bad.add("loan_id", "the rows of a loan must stand together: those of %q began on line %d", clip(loanID, 64), line)
	} else {
		s.begun[loanID] = row.line
	}
	if s.count < chunk {
		return nil
	}
	if err := s.read(ctx); err != nil || s.hold {
		return err
	}
	return s.send(ctx)
}

func (s *schedules) endGroup() {
	if len(s.group) > 0 {
		s.ready = append(s.ready, s.group)
		s.count += len(s.group)
		s.group = nil
	}
}

func (s *schedules) flush(ctx context.Context) error {
	s.endGroup()
	if err := s.read(ctx); err != nil {
		return err
	}
	if s.hold && s.report.rejected > 0 {
		return nil
	}
	return s.send(ctx)
}

// read validates the schedules that are whole. One bad row makes the whole schedule of its loan bad: half of one would
// say that the rest is paid.
func (s *schedules) read(ctx context.Context) error {
	first := make([]*pending, len(s.ready))
	for i, group := range s.ready {
		first[i] = group[0]
	}
	if err := s.load(ctx, first); err != nil {
		return err
	}
	for _, group := range s.ready {
		value, good := s.parse(group)
		if good {
			s.parsed = append(s.parsed, value)
			s.lines = append(s.lines, group)
		}
	}
	s.ready, s.count = s.ready[:0], 0
	return nil
}

func (s *schedules) parse(group []*pending) (store.Schedule, bool) {
	value := store.Schedule{Installments: make([]store.Installment, len(group))}
	for i, row := range group {
		f := row.f
		f.bad = &row.bad
		value.LoanID = f.id("loan_id")
		digits, known := s.loans.of(value.LoanID)
		if !known && value.LoanID != "" {
			f.wrong("loan_id", "is not a loan that is known")
		}
		if !known {
			digits = 6
		}
		value.Installments[i] = installment(f, digits)
		asOf := s.rowAsOf(f)
		if i == 0 {
			value.AsOf = asOf
		} else if !asOf.Equal(value.AsOf) {
			f.wrong("as_of", "must be the same in all rows of a loan")
		}
		f.done()
	}
	if len(group) > maxSchedule {
		group[0].bad.add("loan_id", "has %d installments, and at most %d are allowed", len(group), maxSchedule)
	}
	var whole problems
	schedule(value.Installments, func(i int) string { return fmt.Sprintf("%d ", i) }, &whole)
	for _, wrong := range whole {
		var i int
		var field string
		_, _ = fmt.Sscanf(wrong.Field, "%d %s", &i, &field)
		group[i].bad.add(field, "%s", wrong.Message)
	}

	bad := 0
	for _, row := range group {
		if len(row.bad) > 0 {
			bad++
		}
	}
	if bad == 0 {
		return value, true
	}
	told := false
	for _, row := range group {
		if len(row.bad) == 0 && !told {
			told = true
			row.bad.add("loan_id", "nothing of this loan was written: other rows of its schedule are bad")
		}
		s.reject(row)
	}
	return value, false
}

func (s *schedules) send(ctx context.Context) error {
	write, groups := s.parsed, s.lines
	if s.opt.DryRun {
		write, groups = nil, nil
		for i, value := range s.parsed {
			if s.declared.hasLoan(value.LoanID) {
				s.report.accepted += len(s.lines[i])
			} else {
				write, groups = append(write, value), append(groups, s.lines[i])
			}
		}
	}
	if len(write) > 0 {
		rejected, err := s.db.ImportSchedules(ctx, write, s.opt)
		if err != nil {
			return err
		}
		for _, group := range groups {
			s.report.accepted += len(group)
		}
		for _, r := range rejected {
			group := groups[r.Index]
			field, message := refused(r.Err)
			s.report.note(group[0].line, field, message)
			s.report.rejected += len(group)
			s.report.accepted -= len(group)
		}
	}
	s.parsed, s.lines = s.parsed[:0], s.lines[:0]
	return nil
}
