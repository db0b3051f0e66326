package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"

	"duebell/internal/problem"
	"duebell/store"
)

// progress is how far an import with an id is. The store has it in the transactions that write the rows, so a request that goes
// on behind it neither loses nor doubles one. A nil one is of an import without an id.
type progress struct {
	mark store.ImportMark // where this request goes on
	errs int              // errors that the store has
	from int              // lines that the body leaves out

	line int    // the last one that the next transaction settles
	sum  uint64 // of all lines up to there

	again uint64 // the sum of lines that were settled before and come once more
}

// resume goes on with an import. Its report begins with what came of the lines before.
func resume(mark store.ImportMark, from int, rep *report) (*progress, error) {
	if from > mark.Lines {
		return nil, problem.Conflict("import_gap", fmt.Sprintf("%d lines of this import are settled: the body must go on there", mark.Lines))
	}
	p := &progress{mark: mark, from: from, line: mark.Lines}
	var err error
	if mark.Sum != "" {
		if p.sum, err = strconv.ParseUint(mark.Sum, 16, 64); err != nil {
			return nil, fmt.Errorf("read the sum of an import: %w", err)
		}
	}
	rep.accepted, rep.rejected = mark.Accepted, mark.Rejected
	if err := json.Unmarshal([]byte(mark.Errors), &rep.errors); err != nil {
		return nil, fmt.Errorf("read the errors of an import: %w", err)
	}
	rep.found, p.errs = len(rep.errors), len(rep.errors)
	return p, nil
}

// first is the number of the body's first line.
func (p *progress) first() int {
	if p == nil {
		return 1
	}
	return p.from + 1
}

// settled says whether a line was settled before. Lines that come again must be the same.
func (p *progress) settled(line int, sum uint64) (bool, error) {
	switch {
	case p == nil:
		return false, nil
	case line <= p.mark.Lines:
		p.again = addSum(p.again, sum)
		return true, nil
	}
	return false, p.ended(line - 1)
}

// ended checks the lines that came again when there are no more of them.
func (p *progress) ended(last int) error {
	if p == nil || p.from > 0 || p.line > p.mark.Lines {
		return nil
	}
	if last < p.mark.Lines || p.again != p.sum {
		return problem.Conflict("id_reused", "the first lines aren't those that came before under this import's id")
	}
	return nil
}

// pass says that the next transaction settles a line.
func (p *progress) pass(line int, sum uint64) { p.line, p.sum = line, addSum(p.sum, sum) }

// at is what the store is to remember when what was passed is settled and that came of it.
func (p *progress) at(rep *report) store.ImportMark {
	mark := p.mark
	mark.Lines, mark.Sum = p.line, strconv.FormatUint(p.sum, 16)
	mark.Accepted, mark.Rejected, mark.Errors = rep.accepted, rep.rejected, ""
	if len(rep.errors) > p.errs { // they are only written when there are more
		text, _ := json.Marshal(rep.errors) // numbers and strings
		mark.Errors = string(text)
	}
	return mark
}

// save remembers what no transaction of rows has: bad lines at the end, and that the end was seen.
func (p *progress) save(ctx context.Context, b *batch, complete bool) error {
	if p == nil {
		return nil
	}
	mark := p.at(b.report)
	mark.Complete = complete
	return b.db.MarkImport(ctx, mark)
}

// sumOf and addSum tell lines apart by mistake, not by intent.
func sumOf(line []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(line)
	return h.Sum64()
}

func addSum(sum, line uint64) uint64 { return sum*0x100000001b3 + line + 1 }
