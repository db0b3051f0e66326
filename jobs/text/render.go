package text

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// Vars is what texts are made of. Each kind uses what it needs.
type Vars struct {
	Name     string // of the recipient
	Borrower string // whose loan it is, if it isn't the recipient's; else ""
	Product  string
	LoanID   string
	Amount   string // formatted for Locale(locale)

	DueDate         civil.Date
	PreviousDueDate civil.Date // of a date that moved
	Days            int        // due date minus today on the recipient's calendar: negative is overdue

	ApplicationID string
	From, To      string // statuses; one that no language file knows is shown as it is
	Reason        string

	Count int // how many reminders a summary sums up
}

// Render is the title and body of a notification of one of policy's kinds, in the language that fits the locale (BCP 47)
// best, English if none does. Days must fit the kind: positive for repayment.upcoming, 0 for repayment.due_today,
// negative for repayment.overdue.
func Render(kind, locale string, v Vars) (title, body string, err error) {
	p := printers.Of(locale, newPrinter)
	w := &words{
		fieldName: v.Name, fieldBorrower: v.Borrower, fieldProduct: v.Product, fieldLoanID: v.LoanID,
		fieldAmount: v.Amount, fieldApplicationID: v.ApplicationID, fieldReason: v.Reason,
	}
	s := sayer{printer: p, words: w, kind: kind}
	switch kind {
	case policy.KindUpcoming, policy.KindDueToday, policy.KindOverdue:
		if !(policy.Rule{Kind: kind}).Holds(v.Days) {
			return "", "", fmt.Errorf("text of %s: it is not true of a due date %d days away", kind, v.Days)
		}
		s.loan(v)
		if kind == policy.KindDueToday {
			title, body = s.say(kind+".title"), s.say(kind+".body")
			break
		}
		days := max(v.Days, -v.Days)
		w[fieldDays] = p.number(days)
		title, body = s.count(kind+".title", days), s.count(kind+".body", days)
	case policy.KindRescheduled:
		s.loan(v)
		s.date(fieldPreviousDueDate, v.PreviousDueDate)
		title, body = s.say(kind+".title"), s.say(kind+".body")
	case policy.KindSummary:
		s.fallback(fieldName, "nobody")
		w[fieldCount] = p.number(v.Count)
		title, body = s.count(kind+".title", v.Count), s.count(kind+".body", v.Count)
	case policy.KindStatusChanged:
		s.fallback(fieldName, "nobody")
		w[fieldFrom], w[fieldTo] = s.status(v.From), s.status(v.To)
		title, body = s.say(kind+".title"), s.say(kind+".body")
		if v.From != "" {
			body += " " + s.say(kind+".from")
		}
		if v.Reason != "" {
			body += " " + s.say(kind+".reason")
		}
	default:
		return "", "", fmt.Errorf("no text for the kind %q", kind)
	}
	if s.err != nil {
		return "", "", s.err
	}
	return title, body, nil
}

// Languages are those that there are texts in; the first one is for everybody else.
func Languages() []string { return slices.Clone(languages) }

// Language is the one that texts for a locale are in.
func Language(locale string) string { return printers.Of(locale, newPrinter).language }

// Locale is the one to format amounts in for Render: the given one if it is of a language that there are texts in,
// else that of the texts.
func Locale(locale string) string {
	written := Language(locale)
	language, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(locale), "_", "-"), "-")
	if language == written {
		return locale
	}
	return written
}

// sayer fills in one notification and keeps the first error.
type sayer struct {
	*printer
	words *words
	kind  string
	err   error
}

func (s *sayer) say(id string) string {
	text, ok := s.message(id, s.words)
	if !ok && s.err == nil {
		s.err = fmt.Errorf("text of %s: there is no %q in %s", s.kind, id, s.language)
	}
	return text
}

func (s *sayer) count(id string, n int) string {
	text, err := s.counted(id, s.words, n)
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("text of %s: %w", s.kind, err)
	}
	return text
}

// fallback fills a field that is empty.
func (s *sayer) fallback(f field, id string) {
	if s.words[f] == "" {
		s.words[f] = s.say(id)
	}
}

// loan fills what all texts about a payment have.
func (s *sayer) loan(v Vars) {
	s.fallback(fieldName, "nobody")
	s.fallback(fieldProduct, "no_product")
	s.date(fieldDueDate, v.DueDate)
	id := "loan"
	if v.Borrower != "" {
		id = "loan_of"
	}
	s.words[fieldLoan] = s.say(id)
}

// date writes a date out, with the month's name, so that no one reads 3/4 the other way round.
func (s *sayer) date(f field, d civil.Date) {
	if d.IsZero() {
		if s.err == nil {
			s.err = fmt.Errorf("text of %s: a date is missing", s.kind)
		}
		return
	}
	s.words[fieldDay], s.words[fieldYear] = s.number(d.Day), s.number(d.Year)
	s.words[fieldMonth] = s.say("month." + strconv.Itoa(int(d.Month)))
	s.words[f] = s.say("date")
}

// status is a status of an application in words. Loan systems write the same one as under_review and Under Review.
func (s *sayer) status(status string) string {
	id := "status." + strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(status))
	if text, ok := s.message(id, s.words); ok {
		return text
	}
	return status
}
