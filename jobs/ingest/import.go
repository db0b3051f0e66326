package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"duebell/internal/problem"
	"duebell/store"
)

// Resources that can be imported, in the order in which they need each other.
const (
	Users         = "users"
	Loans         = "loans"
	Installments  = "installments"
	Payments      = "payments"
	StatusChanges = "status-changes"
)

const (
	maxRowErrors = 1000             // in an answer
	chunkTime    = 60 * time.Second // for the client to send a chunk and for us to write it
)

// newSink is where the rows of a resource go; nil for an unknown one.
func newSink(resource string, b *batch) sink {
	if b.loans == nil {
		b.loans = digits{}
	}
	switch resource {
	case Users:
		return &rows[store.User]{batch: b, key: func(u store.User) string { return u.ID }, into: b.db.ImportUsers,
			parse: func(b *batch, f *fields) store.User {
				u := user(f, f.id("id"))
				u.AsOf = b.rowAsOf(f)
				return u
			}}
	case Loans:
		return &rows[store.Loan]{batch: b, key: func(l store.Loan) string { return l.ID }, into: b.db.ImportLoans,
			rests: func(b *batch, l store.Loan) bool { return b.declared.hasUsers(l) },
			parse: func(b *batch, f *fields) store.Loan {
				l := loan(f, f.id("id"))
				l.AsOf = b.rowAsOf(f)
				return l
			}}
	case Installments:
		return &schedules{batch: b}
	case Payments:
		return &rows[store.Payment]{batch: b, key: func(p store.Payment) string { return p.ID }, into: b.db.ImportPayments,
			needsLoan: true,
			rests:     func(b *batch, p store.Payment) bool { return b.declared.hasLoan(p.LoanID) },
			parse:     func(b *batch, f *fields) store.Payment { return payment(f, b.loans) }}
	case StatusChanges:
		return &rows[store.StatusChange]{batch: b, key: func(c store.StatusChange) string { return c.ID }, into: b.db.ImportStatusChanges,
			rests: func(b *batch, c store.StatusChange) bool { return b.declared.users[c.BorrowerID] },
			parse: func(_ *batch, f *fields) store.StatusChange { return statusChange(f) }}
	}
	return nil
}

type importAnswer struct {
	Import   string     `json:"import,omitempty"`
	Lines    int        `json:"lines,omitempty"`    // of the import that are settled
	Complete *bool      `json:"complete,omitempty"` // whether its end was seen
	Accepted int        `json:"accepted"`
	Rejected int        `json:"rejected"`
	Errors   []RowError `json:"errors"` // the first ones
}

// postImport takes NDJSON: good rows are written, a thousand a transaction, and bad ones are named by their line. Rows of
// installments carry their loan_id; those of one loan stand together and are its whole schedule. One that has an id goes on where
// the last request with it ended, whatever ended that.
func (a *api) postImport(w http.ResponseWriter, r *http.Request) error {
	if !media(r, "application/x-ndjson", "application/jsonl", "application/x-jsonlines") {
		return problem.UnsupportedMedia("application/x-ndjson")
	}
	if r.ContentLength > a.MaxImport {
		return problem.TooLarge(a.MaxImport)
	}
	var bad problems
	query := importParameters(r, &bad)
	asOf := a.asOf(r, nil, &bad)
	if err := bad.refuse(); err != nil {
		return err
	}
	resource := r.PathValue("resource")
	rep := &report{max: maxRowErrors, errors: []RowError{}}
	b := &batch{db: a.Store, report: rep, asOf: asOf, opt: store.ImportOptions{Backfill: query.backfill, Run: rand.Text()}}
	into := newSink(resource, b)
	if into == nil {
		return errNoImport
	}
	if query.id != "" {
		mark, err := a.Store.BeginImport(r.Context(), resource, query.id)
		if err != nil {
			return err
		}
		if b.progress, err = resume(mark, query.from, rep); err != nil {
			return err
		}
		b.opt.Run = cmp.Or(mark.Run, b.opt.Run)
	}
	if err := a.readNDJSON(w, r, into, b); err != nil {
		p, ok := errors.AsType[problem.Problem](err)
		switch {
		case ok:
		case errors.Is(err, store.ErrSuperseded):
			p = problem.Conflict("import_taken_over", "another request goes on with this import")
		default:
			a.Log.Error("import failed", "resource", resource, "accepted", rep.accepted, "error", err)
			p = problem.Internal()
			if a.unreachable(r.Context()) {
				p = problem.Unavailable("the database can't be reached")
			}
		}
		p.Detail += fmt.Sprintf("; %d rows before had been accepted and %d rejected. Sending all again is safe", rep.accepted, rep.rejected)
		return p
	}
	if resource == StatusChanges && rep.accepted > 0 {
		a.Nudge()
	}
	answer := importAnswer{Accepted: rep.accepted, Rejected: rep.rejected, Errors: rep.sorted()}
	if b.progress != nil {
		complete := true
		answer.Import, answer.Lines, answer.Complete = query.id, b.progress.line, &complete
	}
	return write(w, http.StatusOK, answer)
}

var errNoImport = problem.NotFound("there is no import of that name: users, loans, installments, payments, status-changes")

// getImport says how far an import is that has an id.
func (a *api) getImport(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	query := importParameters(r, &bad)
	if query.id == "" && len(bad) == 0 {
		bad.add("import", "is missing")
	}
	if err := bad.refuse(); err != nil {
		return err
	}
	resource := r.PathValue("resource")
	if newSink(resource, &batch{db: a.Store}) == nil {
		return errNoImport
	}
	mark, err := a.Store.GetImport(r.Context(), resource, query.id)
	if err != nil {
		return err
	}
	answer := importAnswer{Import: query.id, Lines: mark.Lines, Complete: &mark.Complete, Accepted: mark.Accepted, Rejected: mark.Rejected}
	if err := json.Unmarshal([]byte(mark.Errors), &answer.Errors); err != nil {
		return fmt.Errorf("read the errors of an import: %w", err)
	}
	return write(w, http.StatusOK, answer)
}

type importQuery struct {
	id       string
	from     int // the lines of the import that the body leaves out
	backfill bool
}

func importParameters(r *http.Request, bad *problems) importQuery {
	var q importQuery
	for name, values := range r.URL.Query() {
		value := values[0]
		var err error
		switch name {
		case "backfill":
			if q.backfill = value == "true"; !q.backfill && value != "false" {
				err = errors.New("must be true or false")
			}
		case "import":
			q.id, err = value, checkID(value)
		case "from":
			if q.from, err = strconv.Atoi(value); err != nil || q.from < 0 {
				err = errors.New("must be how many lines the body leaves out")
			}
		default:
			err = errors.New("is not a parameter of this call")
		}
		if err != nil {
			bad.add(clip(name, 64), "%v", err)
		}
	}
	if q.from > 0 && q.id == "" {
		bad.add("from", "is of an import with an id: give import as well")
	}
	return q
}

func (a *api) readNDJSON(w http.ResponseWriter, r *http.Request, into sink, b *batch) error {
	control := http.NewResponseController(w)
	extend := func() { // not every writer has deadlines; then there is nothing to extend
		_ = control.SetReadDeadline(time.Now().Add(chunkTime))
		_ = control.SetWriteDeadline(time.Now().Add(2 * chunkTime))
	}
	broken := func(p problem.Problem) error { // the rows before are good all the same, also when the client is gone
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), chunkTime)
		defer cancel()
		if err := into.flush(ctx, true); err != nil {
			return err
		}
		if err := b.progress.save(ctx, b, false); err != nil {
			return err
		}
		return p
	}
	lines := lineReader{in: bufio.NewReaderSize(http.MaxBytesReader(w, r.Body, a.MaxImport), 64<<10), max: int(a.MaxBody)}
	for n := b.progress.first(); ; n++ {
		if n%chunk == 1 {
			extend()
		}
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			if err := b.progress.ended(n - 1); err != nil {
				return err
			}
			if err := into.flush(r.Context(), false); err != nil {
				return err
			}
			return b.progress.save(r.Context(), b, true)
		}
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return broken(problem.TooLarge(tooLarge.Limit))
		}
		if err != nil && !errors.Is(err, errLongLine) { // the line that broke off is no row
			return broken(problem.BadRequest(fmt.Sprintf("the body broke off in line %d", n)))
		}
		if err == nil && len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		sum := sumOf(text)
		if settled, err := b.progress.settled(n, sum); settled || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		var row *pending
		switch {
		case err != nil:
			row = unreadable(n, "", fmt.Sprintf("the line is longer than %d bytes", a.MaxBody))
		case !json.Valid(text):
			var raw json.RawMessage
			row = unreadable(n, "", rowText(problem.Unmarshal(text, &raw)))
		case !isObject(text):
			row = unreadable(n, "", "must be an object, not "+kindOf(text))
		default:
			row = &pending{line: n}
			row.f = object(text, "", &row.bad)
		}
		row.sum = sum
		if err := into.add(r.Context(), row); err != nil {
			return err
		}
	}
}

// rowText is a problem of one line without its title.
func rowText(err error) string {
	if p, ok := errors.AsType[problem.Problem](err); ok && p.Detail != "" {
		return p.Detail
	}
	return err.Error()
}

var errLongLine = errors.New("the line is too long")

// lineReader reads lines of bounded length.
type lineReader struct {
	in  *bufio.Reader
	max int
}

// next is the next line, without its end, in memory of its own; io.EOF after the last one, errLongLine for one that was
// passed over.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.in.ReadSlice('\n')
		if len(line)+len(part) > l.max+2 {
			long, line = true, nil
		}
		if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (long || len(line) > 0): // a last line without an end
		case err != nil:
			return nil, err
		}
		if long {
			return nil, errLongLine
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}
