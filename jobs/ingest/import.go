package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
func newSink(resource string, b batch) sink {
	if b.loans == nil {
		b.loans = digits{}
	}
	switch resource {
	case Users:
		return &rows[store.User]{batch: b, key: func(u store.User) string { return u.ID }, write: b.db.ImportUsers,
			parse: func(b *batch, f *fields) store.User {
				u := user(f, f.id("id"))
				u.AsOf = b.rowAsOf(f)
				return u
			}}
	case Loans:
		return &rows[store.Loan]{batch: b, key: func(l store.Loan) string { return l.ID }, write: b.db.ImportLoans,
			rests: func(b *batch, l store.Loan) bool { return b.declared.hasUsers(l) },
			parse: func(b *batch, f *fields) store.Loan {
				l := loan(f, f.id("id"))
				l.AsOf = b.rowAsOf(f)
				return l
			}}
	case Installments:
		return &schedules{batch: b}
	case Payments:
		return &rows[store.Payment]{batch: b, key: func(p store.Payment) string { return p.ID }, write: b.db.ImportPayments,
			needsLoan: true,
			rests:     func(b *batch, p store.Payment) bool { return b.declared.hasLoan(p.LoanID) },
			parse:     func(b *batch, f *fields) store.Payment { return payment(f, b.loans) }}
	case StatusChanges:
		return &rows[store.StatusChange]{batch: b, key: func(c store.StatusChange) string { return c.ID }, write: b.db.ImportStatusChanges,
			rests: func(b *batch, c store.StatusChange) bool { return b.declared.users[c.BorrowerID] },
			parse: func(_ *batch, f *fields) store.StatusChange { return statusChange(f) }}
	}
	return nil
}

type importAnswer struct {
	Accepted int        `json:"accepted"`
	Rejected int        `json:"rejected"`
	Errors   []RowError `json:"errors"` // the first ones
}

// postImport takes NDJSON: good rows are written, a thousand a transaction, and bad ones are named by their line. Rows of
// installments carry their loan_id; those of one loan stand together and are its whole schedule.
func (a *api) postImport(w http.ResponseWriter, r *http.Request) error {
	if !media(r, "application/x-ndjson", "application/jsonl", "application/x-jsonlines") {
		return problem.UnsupportedMedia("application/x-ndjson")
	}
	if r.ContentLength > a.MaxImport {
		return problem.TooLarge(a.MaxImport)
	}
	var bad problems
	backfill := false
	for name, values := range r.URL.Query() {
		switch {
		case name != "backfill":
			bad.add(clip(name, 64), "is not a parameter of this call")
		case values[0] == "true":
			backfill = true
		case values[0] != "false":
			bad.add(name, "must be true or false")
		}
	}
	asOf := a.asOf(r, nil, &bad)
	if err := bad.refuse(); err != nil {
		return err
	}
	rep := &report{max: maxRowErrors, errors: []RowError{}}
	resource := r.PathValue("resource")
	into := newSink(resource, batch{db: a.Store, report: rep, asOf: asOf, opt: store.ImportOptions{Backfill: backfill}})
	if into == nil {
		return problem.NotFound("there is no import of that name: users, loans, installments, payments, status-changes")
	}
	if err := a.readNDJSON(w, r, into, rep); err != nil {
		p, ok := errors.AsType[problem.Problem](err)
		if !ok {
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
	return write(w, http.StatusOK, importAnswer{rep.accepted, rep.rejected, rep.sorted()})
}

func (a *api) readNDJSON(w http.ResponseWriter, r *http.Request, into sink, rep *report) error {
	control := http.NewResponseController(w)
	extend := func() { // not every writer has deadlines; then there is nothing to extend
		_ = control.SetReadDeadline(time.Now().Add(chunkTime))
		_ = control.SetWriteDeadline(time.Now().Add(2 * chunkTime))
	}
	broken := func(p problem.Problem) error { // the rows before are good all the same, also when the client is gone
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), chunkTime)
		defer cancel()
		if err := into.flush(ctx); err != nil {
			return err
		}
		return p
	}
	lines := lineReader{in: bufio.NewReaderSize(http.MaxBytesReader(w, r.Body, a.MaxImport), 64<<10), max: int(a.MaxBody)}
	for n := 1; ; n++ {
		if n%chunk == 1 {
			extend()
		}
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			return into.flush(r.Context())
		}
		if errors.Is(err, errLongLine) {
			rep.rejected++
			rep.note(n, "", fmt.Sprintf("the line is longer than %d bytes", a.MaxBody))
			continue
		}
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return broken(problem.TooLarge(tooLarge.Limit))
		}
		if err != nil { // the line that broke off is no row
			return broken(problem.BadRequest(fmt.Sprintf("the body broke off in line %d", n)))
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		row := &pending{line: n}
		var raw json.RawMessage
		if err := problem.Unmarshal(text, &raw); err != nil {
			rep.rejected++
			rep.note(n, "", rowText(err))
			continue
		}
		if row.f = object(raw, "", &row.bad); !isObject(raw) {
			rep.rejected++
			rep.note(n, "", "must be an object, not "+kindOf(raw))
			continue
		}
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
