package text

import (
	"fmt"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n/template"
)

// field is what a template can name.
type field int

const (
	fieldName field = iota
	fieldBorrower
	fieldProduct
	fieldLoanID
	fieldLoan
	fieldAmount
	fieldDueDate
	fieldPreviousDueDate
	fieldDays
	fieldApplicationID
	fieldFrom
	fieldTo
	fieldReason
	fieldCount
	fieldDay
	fieldMonth
	fieldYear
	fields
)

var fieldNames = map[string]field{
	"Name": fieldName, "Borrower": fieldBorrower, "Product": fieldProduct, "LoanID": fieldLoanID, "Loan": fieldLoan,
	"Amount": fieldAmount, "DueDate": fieldDueDate, "PreviousDueDate": fieldPreviousDueDate, "Days": fieldDays,
	"ApplicationID": fieldApplicationID, "From": fieldFrom, "To": fieldTo, "Reason": fieldReason, "Count": fieldCount,
	"Day": fieldDay, "Month": fieldMonth, "Year": fieldYear,
}

// words are the fields of one notification.
type words [fields]string

// parser reads messages as text with {{.Field}} in it, in place of go-i18n's text/template, which costs ten times as
// much and can do more than a text should.
type parser struct{}

func (parser) Cacheable() bool { return true }

func (parser) Parse(src, _, _ string) (template.ParsedTemplate, error) { return parse(src) }

func parse(src string) (parsed, error) {
	var t parsed
	for src != "" {
		before, rest, found := strings.Cut(src, "{{")
		if before != "" {
			t = append(t, piece{literal: before})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}}")
		f, known := fieldNames[strings.TrimPrefix(name, ".")]
		if !closed || !known || !strings.HasPrefix(name, ".") {
			return nil, fmt.Errorf("unknown field {{%.20s in the template", rest)
		}
		t = append(t, piece{field: f})
		src = after
	}
	return t, nil
}

// parsed is a template in pieces.
type parsed []piece

type piece struct {
	literal string // or, if it is "":
	field   field
}

// Execute puts the template itself into data, a *parsed: go-i18n knows which form it is, and it is filled in here.
func (t parsed) Execute(data any) (string, error) {
	found, ok := data.(*parsed)
	if !ok {
		return "", fmt.Errorf("template data is %T", data)
	}
	*found = t
	return "", nil
}

func (t parsed) fill(w *words) string {
	size := 0
	for _, p := range t {
		size += len(p.literal)
		if p.literal == "" {
			size += len(w[p.field])
		}
	}
	var b strings.Builder
	b.Grow(size)
	for _, p := range t {
		if p.literal != "" {
			b.WriteString(p.literal)
		} else {
			b.WriteString(w[p.field])
		}
	}
	return b.String()
}
