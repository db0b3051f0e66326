package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
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

// clone is a report to go on with, which leaves this one as it is.
func (r *report) clone() *report {
	next := *r
	next.errors = slices.Clip(next.errors)
	return &next
}

// sorted are the errors by line: those of values are found before those of what the database knows.
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

// pending is a row that was taken apart and not yet looked at. One that can't be read has no fields; bad says why.
type pending struct {
	line int
	sum  uint64 // of its text
	f    *fields
	bad  problems
}

// unreadable is a row that can't be taken apart.
func unreadable(line int, field, message string) *pending {
	row := &pending{line: line}
	row.bad.add(field, "%s", message)
	return row
}

// lineOf remembers on which line a key was, in a few bytes for each: a file may have millions. Two keys that are one to it are
// as likely as a broken disk.
type lineOf struct {
	seed  maphash.Seed
	lines map[uint64]int
}

// put answers the line of a key that was there before.
func (l *lineOf) put(key string, line int) (before int, again bool) {
	if l.lines == nil {
		l.seed, l.lines = maphash.MakeSeed(), map[uint64]int{}
	}
	hash := maphash.String(l.seed, key)
	if before, again = l.lines[hash]; !again {
		l.lines[hash] = line
	}
	return before, again
}

// sink takes the rows of one resource on their way into the store, and reports on each. An error of its methods ends the
// import: it is the store's, not a row's.
type sink interface {
	add(ctx context.Context, row *pending) error
	// flush ends it. What could have gone on isn't written where the input was cut off.
	flush(ctx context.Context, cut bool) error
}

// batch is what sinks have in common.
type batch struct {
	db     *store.DB
	report *report
	opt    store.ImportOptions
	asOf   time.Time // of rows that say none
	// unique refuses a key that was there before. Otherwise a later row is a later change.
	unique bool
	// progress is told to the store with each transaction; nil: it isn't kept.
	progress *progress
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
		if row.f != nil {
			ids[i] = row.f.peek("loan_id")
		}
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

// write hands rows to the store and reports on them; count says what became of them.
func (b *batch) write(do func(opt store.ImportOptions) ([]store.Rejected, error), count func(*report, []store.Rejected)) error {
	opt := b.opt
	if b.progress != nil {
		opt.Mark = func(rejected []store.Rejected) store.ImportMark { // may be asked again
			after := b.report.clone()
			count(after, rejected)
			return b.progress.at(after)
		}
	}
	rejected, err := do(opt)
	if err != nil {
		return err
	}
	count(b.report, rejected)
	if b.progress != nil {
		b.progress.errs = len(b.report.errors)
	}
	return nil
}

// settle says that the next transaction settles a row.
func (b *batch) settle(row *pending) {
	if b.progress != nil {
		b.progress.pass(row.line, row.sum)
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
	*batch
	key   func(T) string
	parse func(b *batch, f *fields) T
	into  func(ctx context.Context, rows []T, opt store.ImportOptions) ([]store.Rejected, error)
	// needsLoan: parse needs the digits of the row's loan.
	needsLoan bool
	// rests says whether a row needs what only a dry run has seen, so that the store can't check it; nil: never.
	rests func(b *batch, row T) bool

	waiting []*pending
	parsed  []T
	lines   []int
	seen    lineOf // all keys of a unique import, else those of this transaction
}

func (s *rows[T]) add(ctx context.Context, row *pending) error {
	s.waiting = append(s.waiting, row)
	if len(s.waiting) < chunk {
		return nil
	}
	return s.flush(ctx, false)
}

func (s *rows[T]) flush(ctx context.Context, _ bool) error {
	if s.needsLoan {
		if err := s.load(ctx, s.waiting); err != nil {
			return err
		}
	}
	for _, row := range s.waiting {
		if err := s.read(ctx, row); err != nil {
			return err
		}
		s.settle(row)
	}
	s.waiting = s.waiting[:0]
	return s.send(ctx)
}

// read validates a row.
func (s *rows[T]) read(ctx context.Context, row *pending) error {
	if row.f == nil {
		s.reject(row)
		return nil
	}
	row.f.bad = &row.bad
	value := s.parse(s.batch, row.f)
	row.f.done()
	if len(row.bad) > 0 {
		s.reject(row)
		return nil
	}
	if before, again := s.seen.put(s.key(value), row.line); again && s.unique {
		row.bad.add("id", "%q is there already, on line %d", clip(s.key(value), 64), before)
		s.reject(row)
		return nil
	} else if again { // two changes of one row need two transactions
		if err := s.send(ctx); err != nil {
			return err
		}
		s.seen.put(s.key(value), row.line)
	}
	s.parsed = append(s.parsed, value)
	s.lines = append(s.lines, row.line)
	return nil
}

// send writes the good rows in one transaction.
func (s *rows[T]) send(ctx context.Context) error {
	write, lines := s.parsed, s.lines
	if s.opt.DryRun && s.rests != nil {
		write, lines = nil, nil
		for i, value := range s.parsed {
			if s.rests(s.batch, value) {
				s.report.accepted++
			} else {
				write, lines = append(write, value), append(lines, s.lines[i])
			}
		}
	}
	if len(write) > 0 {
		err := s.batch.write(func(opt store.ImportOptions) ([]store.Rejected, error) { return s.into(ctx, write, opt) },
			func(rep *report, rejected []store.Rejected) {
				for _, r := range rejected {
					field, message := refused(r.Err)
					rep.note(lines[r.Index], field, message)
				}
				rep.rejected += len(rejected)
				rep.accepted += len(write) - len(rejected)
			})
		if err != nil {
			return err
		}
	}
	s.parsed, s.lines = s.parsed[:0], s.lines[:0]
	if !s.unique {
		clear(s.seen.lines)
	}
	return nil
}

// maxBegun is of how many loans the lines are remembered at which they began.
const maxBegun = 100 * chunk

// schedules is the sink of installments: consecutive rows of one loan are its whole schedule.
type schedules struct {
	*batch
	group []*pending   // rows of the loan that is being read
	loan  string       // its id
	ready [][]*pending // whole schedules
	count int          // rows in ready
	begun lineOf       // loans that came lately
	torn  bool         // the row before can't be read: it may be the first of this loan's

	parsed []store.Schedule
	lines  [][]*pending
}

func (s *schedules) add(ctx context.Context, row *pending) error {
	if row.f == nil { // of the loan before it, of that behind it, or of one that nobody can tell
		s.torn = true
		s.group = append(s.group, row)
		return nil
	}
	loanID := row.f.peek("loan_id")
	// A schedule that is too long ends there, and so is refused together with the rest of it.
	if len(s.group) > 0 && s.loan == loanID && len(s.group) <= maxSchedule {
		s.group, s.torn = append(s.group, row), false
		return nil
	}
	if err := s.endGroup(ctx); err != nil {
		return err
	}
	s.group, s.loan = append(s.group, row), loanID
	if s.torn {
		row.bad.add("loan_id", "nothing of this loan was written: the line before it can't be read and may be one of it")
		s.torn = false
	}
	if len(s.begun.lines) >= maxBegun && !s.opt.DryRun {
		clear(s.begun.lines) // the store knows which loans came with this import
	}
	if line, again := s.begun.put(loanID, row.line); again && loanID != "" {
		row.bad.add("loan_id", "the rows of a loan must stand together: those of %q began on line %d", clip(loanID, 64), line)
	}
	return nil
}

// endGroup takes the rows that are there for a whole schedule, and writes what has come together.
func (s *schedules) endGroup(ctx context.Context) error {
	if len(s.group) == 0 {
		return nil
	}
	for _, row := range s.group {
		s.settle(row)
	}
	s.ready = append(s.ready, s.group)
	s.count += len(s.group)
	s.group, s.loan = nil, ""
	if s.count < chunk {
		return nil
	}
	return s.send(ctx)
}

func (s *schedules) flush(ctx context.Context, cut bool) error {
	if !cut {
		if err := s.endGroup(ctx); err != nil {
			return err
		}
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
		if f == nil {
			continue
		}
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
	if !slices.ContainsFunc(group, func(row *pending) bool { return row.f == nil }) {
		schedule(value.Installments, func(i int) string { return fmt.Sprintf("%d ", i) }, &whole)
	}
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
	if err := s.read(ctx); err != nil {
		return err
	}
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
		err := s.batch.write(func(opt store.ImportOptions) ([]store.Rejected, error) { return s.db.ImportSchedules(ctx, write, opt) },
			func(rep *report, rejected []store.Rejected) {
				for _, group := range groups {
					rep.accepted += len(group)
				}
				for _, r := range rejected {
					group := groups[r.Index]
					field, message := refused(r.Err)
					rep.note(group[0].line, field, message)
					rep.rejected += len(group)
					rep.accepted -= len(group)
				}
			})
		if err != nil {
			return err
		}
	}
	s.parsed, s.lines = s.parsed[:0], s.lines[:0]
	return nil
}
