package ingest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"duebell/internal/money"
	"duebell/store"
)

// columns of a resource's CSV file: the field names of the API. The first ones, as many as required says, must be there.
type columns struct {
	required, optional []string
}

var csvColumns = map[string]columns{
	Users:         {[]string{"id", "name", "time_zone", "locale"}, []string{"email", "as_of"}},
	Loans:         {[]string{"id", "borrower_id", "product", "currency", "status"}, []string{"digits", "parties", "as_of"}},
	Installments:  {[]string{"loan_id", "number", "due_date", "amount_due", "amount_paid"}, []string{"outstanding", "as_of"}},
	Payments:      {[]string{"id", "loan_id", "amount", "paid_at"}, []string{"installment"}},
	StatusChanges: {[]string{"id", "application_id", "borrower_id", "from", "to", "occurred_at"}, []string{"reason", "notify"}},
}

// CSVFile is one file of an import. Name is for messages.
type CSVFile struct {
	Resource string
	Name     string
	In       io.Reader
}

// CSVOptions of ImportCSV.
type CSVOptions struct {
	DryRun   bool // checks everything, writes nothing
	Backfill bool // also reminders of days before the import
	SkipBad  bool // writes the good rows of a file that has bad ones
	// Progress is told now and then how many rows of a file were read; nil: nobody.
	Progress  func(file string, rows int)
	MaxErrors int // kept for each file; 0: 100
}

// CSVResult is what became of one file.
type CSVResult struct {
	File               string
	Accepted, Rejected int
	// Errors are the first ones, each with file, line and column; Found is how many there were.
	Errors []CSVError
	Found  int
	// Written is false for a dry run and where something was bad and SkipBad isn't set.
	Written bool
}

// CSVError says what is wrong and where. Line counts from 1, the header's; Column is the header's name, or the number of the
// character where the file itself is broken.
type CSVError struct {
	File    string
	Line    int
	Column  string
	Message string
}

func (e CSVError) Error() string {
	where := fmt.Sprintf("%s: line %d", e.File, e.Line)
	if e.Column != "" {
		where += ", column " + e.Column
	}
	return where + ": " + e.Message
}

// ErrBadRows says that some file had bad rows; the results tell which.
var ErrBadRows = errors.New("there are bad rows")

// ImportCSV writes files into the store, each all or nothing unless SkipBad. They are taken in the order in which their rows
// need each other (users, loans, installments, payments). After a file that wasn't written because of bad rows the later
// ones are still checked, and not written: they were made to go together. The error is ErrBadRows, or one of the store or
// of reading, which ends the import; what was done until then is in the results.
func ImportCSV(ctx context.Context, db *store.DB, files []CSVFile, opt CSVOptions) ([]CSVResult, error) {
	if opt.MaxErrors <= 0 {
		opt.MaxErrors = 100
	}
	order := []string{Users, Loans, Installments, Payments, StatusChanges}
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b CSVFile) int {
		return slices.Index(order, a.Resource) - slices.Index(order, b.Resource)
	})
	var results []CSVResult
	seen := declared{map[string]bool{}, digits{}}
	bad := false
	for _, file := range files {
		run := opt
		run.DryRun = opt.DryRun || bad
		result, err := importFile(ctx, db, file, run, seen)
		results = append(results, result)
		if err != nil {
			return results, fmt.Errorf("import %s: %w", file.Name, err)
		}
		bad = bad || result.Found > 0 && !opt.SkipBad
	}
	for _, result := range results {
		if result.Found > 0 {
			return results, ErrBadRows
		}
	}
	return results, nil
}

func importFile(ctx context.Context, db *store.DB, file CSVFile, opt CSVOptions, seen declared) (CSVResult, error) {
	rep := &report{max: opt.MaxErrors}
	result := func(written bool) CSVResult {
		r := CSVResult{File: file.Name, Accepted: rep.accepted, Rejected: rep.rejected, Found: rep.found, Written: written}
		for _, e := range rep.sorted() {
			r.Errors = append(r.Errors, CSVError{file.Name, e.Line, e.Field, e.Message})
		}
		if !opt.SkipBad && rep.found > 0 {
			r.Accepted = 0
		}
		return r
	}
	want, ok := csvColumns[file.Resource]
	if !ok {
		return result(false), fmt.Errorf("there is no import of %q", file.Resource)
	}

	in := bufio.NewReaderSize(file.In, 64<<10)
	if head, _ := in.Peek(3); bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3) // a byte order mark, as spreadsheets write it
	}
	lines := csv.NewReader(in)
	lines.FieldsPerRecord = -1 // checked below, with the line's number
	lines.ReuseRecord = true
	header, err := lines.Read()
	if errors.Is(err, io.EOF) {
		rep.note(1, "", "the file is empty: the first line must name the columns")
		return result(false), nil
	} else if err != nil {
		return result(false), csvProblem(rep, err)
	}
	names := slices.Clone(header)
	if !checkHeader(rep, names, want) {
		return result(false), nil
	}

	rows := &csvRows{lines: lines, names: names, file: file, opt: opt, report: rep, seen: seen}
	rows.batch = &batch{
		db: db, report: rep, unique: true, declared: seen, loans: digits{},
		opt: store.ImportOptions{Backfill: opt.Backfill, DryRun: opt.DryRun, AllOrNothing: !opt.SkipBad, Run: rand.Text()},
	}
	rows.into = newSink(file.Resource, rows.batch)
	if opt.DryRun || opt.SkipBad {
		if err := rows.read(ctx); err != nil {
			return result(false), err
		}
		return result(!opt.DryRun), nil
	}
	// One transaction for the whole file. Its rows go to the database as they are read, so their number doesn't matter here.
	err = db.ImportWhole(ctx, func(ctx context.Context, whole *store.ImportTx) error {
		rows.batch.opt.Within = whole
		return rows.read(ctx)
	})
	if errors.Is(err, ErrBadRows) { // nothing is written, and the rest is looked at for what else is wrong
		rows.batch.opt.Within, rows.batch.opt.DryRun = nil, true
		err = rows.read(ctx)
	}
	return result(err == nil && rep.found == 0), err
}

// csvRows are the rows of a file on their way into the store.
type csvRows struct {
	lines  *csv.Reader
	names  []string
	file   CSVFile
	opt    CSVOptions
	batch  *batch
	into   sink
	report *report
	seen   declared
	n      int
}

// read takes rows to the end of the file; within a transaction for the whole of it, to the first that is bad, which is
// ErrBadRows.
func (c *csvRows) read(ctx context.Context) error {
	within := c.batch.opt.Within != nil
	for {
		row, err := c.next()
		switch {
		case errors.Is(err, io.EOF):
			if err := c.into.flush(ctx, false); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if err := c.into.add(ctx, row); err != nil {
				return err
			}
		}
		if within && c.report.found > 0 {
			return ErrBadRows
		}
		if err != nil {
			return nil
		}
	}
}

// next is the next row; io.EOF after the last one, also where what follows can't be told apart into lines.
func (c *csvRows) next() (*pending, error) {
	cells, err := c.lines.Read()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			if err := csvProblem(c.report, err); err != nil {
				return nil, err
			}
		}
		return nil, io.EOF
	}
	if c.n++; c.opt.Progress != nil && c.n%chunk == 0 {
		c.opt.Progress(c.file.Name, c.n)
	}
	line, _ := c.lines.FieldPos(0)
	if len(cells) != len(c.names) {
		return unreadable(line, "", fmt.Sprintf("has %d fields where the header has %d", len(cells), len(c.names))), nil
	}
	if i := slices.IndexFunc(cells, func(s string) bool { return !utf8.ValidString(s) }); i >= 0 {
		return unreadable(line, c.names[i], "isn't valid UTF-8: save the file as UTF-8"), nil
	}
	row := &pending{line: line}
	row.f = record(c.names, cells, &row.bad)
	if c.opt.DryRun {
		c.seen.declare(c.file.Resource, row.f)
	}
	return row, nil
}

// declare notes what a dry run doesn't write, so that later files can be checked against it.
func (d *declared) declare(resource string, f *fields) {
	id := f.peek("id")
	switch resource {
	case Users:
		d.users[id] = true
	case Loans:
		n, err := strconv.Atoi(f.peek("digits"))
		if err != nil {
			n, _ = money.ISODigits(f.peek("currency"))
		}
		d.loans[id] = n
	}
}

// checkHeader notes missing, unknown and repeated columns.
func checkHeader(rep *report, names []string, want columns) bool {
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	known := append(slices.Clone(want.required), want.optional...)
	if len(names) == 1 && strings.ContainsAny(names[0], ";\t") {
		rep.note(1, "", "columns must be separated by commas")
		return false
	}
	for i, name := range names {
		switch {
		case !slices.Contains(known, name):
			rep.note(1, clip(name, 64), "is no column of this file; it has "+strings.Join(known, ", "))
		case slices.Contains(names[:i], name):
			rep.note(1, name, "is there twice")
		}
	}
	for _, name := range want.required {
		if !slices.Contains(names, name) {
			rep.note(1, name, "is missing")
		}
	}
	return rep.found == 0
}

// csvProblem notes where the file isn't CSV; other errors come back.
func csvProblem(rep *report, err error) error {
	broken, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return err
	}
	rep.rejected++
	rep.note(broken.Line, fmt.Sprint(broken.Column), broken.Err.Error())
	return nil
}
