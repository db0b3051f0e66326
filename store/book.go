package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"duebell/internal/civil"
)

// book is a set of loans whose locks this transaction holds, as they were when they were read and as they are to be.
// Writers change it and its tables, and derive brings the due queue after it.
type book struct {
	pv    PolicyVersion
	loans map[string]*bookLoan
	ids   []string // in byte order
}

type bookLoan struct {
	Loan
	startedAt     time.Time
	backfill      bool
	scheduleAsOf  time.Time // zero: no schedule came with one
	scheduleDated bool      // the present figures came with scheduleAsOf
	policyVersion int64
	installments  []Installment // by number

	// As the tables have it, before this transaction.
	stored []Installment
	was    liveDates

	figures bool // what is open must be worked out again
	all     bool // every date must be derived, not only those that begin or cease to be live
}

// liveDates are the due dates on which reminders can go out, each with what is open.
type liveDates map[civil.Date]liveDate

type liveDate struct {
	open    int64
	numbers []int // of the open installments
}

func (d liveDates) dates() []civil.Date { return slices.SortedFunc(maps.Keys(d), civil.Date.Compare) }

// live is what of a loan reminders can be about: nothing if it isn't active.
func (l *bookLoan) live() liveDates {
	dates := make(liveDates)
	if l.Status != LoanActive {
		return dates
	}
	for _, in := range l.installments {
		if in.Open > 0 {
			d := dates[in.DueDate]
			dates[in.DueDate] = liveDate{d.open + in.Open, append(d.numbers, in.Number)}
		}
	}
	return dates
}

// has says whether the schedule has anything on a date.
func (l *bookLoan) has(date civil.Date) bool {
	return slices.ContainsFunc(l.installments, func(in Installment) bool { return in.DueDate == date })
}

// recipient is somebody who is told about a loan.
type recipient struct {
	id    string
	role  string
	kinds map[string]bool // nil: all
}

// recipients are the borrower, for all kinds, and the parties, for those in their notify: one entry a person, with the
// first role that they have in the order of the constants and, between parties' roles, all kinds together.
func (l *bookLoan) recipients() []recipient {
	list := []recipient{{id: l.BorrowerID, role: RoleBorrower}}
	for _, role := range []string{RoleCoBorrower, RoleGuarantor, RoleOfficer} {
		for _, p := range l.Parties {
			if p.Role != role {
				continue
			}
			i := slices.IndexFunc(list, func(r recipient) bool { return r.id == p.UserID })
			if i < 0 {
				i = len(list)
				list = append(list, recipient{id: p.UserID, role: role, kinds: map[string]bool{}})
			}
			for _, kind := range p.Notify {
				if list[i].kinds != nil {
					list[i].kinds[kind] = true
				}
			}
		}
	}
	return list
}

// lockLoans locks those of the loans that exist, in byte order, then their rows of the due queue, and reads them with their parties and
// installments. This comes before everything else that a transaction locks. A run of reminders locks rows of the due queue alone, and
// waits for none: so a loan doesn't change while one of its reminders is decided.
func (db *DB) lockLoans(ctx context.Context, tx *Tx, ids []string) (*book, error) {
	if err := tx.planAfresh(ctx); err != nil {
		return nil, err
	}
	return db.readLoans(ctx, tx.queryer, ids, tx.forUpdate())
}

// planAfresh makes PostgreSQL plan this transaction's statements for their arguments and for the tables as they now are,
// and look rows up by their keys, one after the other. A kept plan may be one from before an import, when the tables were
// empty and reading them whole was cheapest; and until the first ANALYZE a join by hash or merge seems as cheap as ten
// thousand look-ups.
func (tx *Tx) planAfresh(ctx context.Context) error { return tx.plan(ctx, "force_custom_plan") }

// planOnce keeps the plans of this transaction's statements, which are those of planAfresh for any arguments. It is for the many batches of a
// long run: its first one says that there is enough in the tables for the index to be what is cheapest.
func (tx *Tx) planOnce(ctx context.Context) error { return tx.plan(ctx, "force_generic_plan") }

func (tx *Tx) plan(ctx context.Context, mode string) error {
	if !tx.pg {
		return nil
	}
	return tx.post(ctx, "plan", `
		SELECT set_config('plan_cache_mode', ?, true), set_config('random_page_cost', '1.1', true),
			set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`, mode)
}

// skipLocked locks the rows of a SELECT that nobody else has locked and leaves out the others, so it never waits.
func (q queryer) skipLocked() string {
	if q.pg {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// readLoans reads a book. Without a lock it is only good for looking at.
func (db *DB) readLoans(ctx context.Context, q queryer, ids []string, lock string) (*book, error) {
	b, err := db.readHeads(ctx, q, ids, lock)
	if err != nil || len(b.loans) == 0 {
		return b, err
	}
	err = q.each(ctx, func(row scanner) error {
		var id string
		var in Installment
		err := row.Scan(&id, &in.Number, &in.DueDate, &in.AmountDue, &in.AmountPaid, &in.Outstanding, &in.Open)
		if err != nil {
			return err
		}
		b.loans[id].installments = append(b.loans[id].installments, in)
		return nil
	}, `
		SELECT loan_id, number, due_date, amount_due, amount_paid, outstanding, open
		FROM installments
		WHERE `+q.in("loan_id")+`
		ORDER BY loan_id, number`, q.list(b.ids))
	if err != nil {
		return nil, fmt.Errorf("read installments: %w", err)
	}
	for _, l := range b.loans {
		l.remember()
	}
	return b, nil
}

// headColumns of a loan l are what a headScanner reads.
const headColumns = `l.id, l.borrower_id, l.product, l.currency, l.digits, l.status, l.as_of, l.schedule_as_of, l.schedule_dated,
	l.policy_version, l.started_at, l.backfill`

// headScanner reads headColumns, row by row.
type headScanner struct {
	product, currency, status     string // of the last row
	asOf, scheduleAsOf, startedAt instant
}

func (h *headScanner) scan(row scanner, l *bookLoan) error {
	err := row.Scan(&l.ID, &l.BorrowerID, word{&h.product}, word{&h.currency}, &l.Digits, word{&h.status}, &h.asOf, &h.scheduleAsOf,
		&l.scheduleDated, &l.policyVersion, &h.startedAt, &l.backfill)
	l.Product, l.Currency, l.Status = h.product, h.currency, h.status
	l.AsOf, l.scheduleAsOf, l.startedAt = h.asOf.Time, h.scheduleAsOf.Time, h.startedAt.Time
	return err
}

// readHeads reads a book without its installments: the loans, the policy and the parties. Read after the locks, it is what their last
// holder left.
func (db *DB) readHeads(ctx context.Context, q queryer, ids []string, lock string) (*book, error) {
	ids = sortedSet(ids)
	b := &book{loans: make(map[string]*bookLoan, len(ids))}
	list := q.list(ids)
	inOrder := "" // matters to locks alone
	if lock != unlocked {
		inOrder = " ORDER BY l.id" + lock
	}
	var h headScanner
	loans := make([]bookLoan, 0, len(ids))
	heads := statement{what: "read loans", args: []any{list}, scan: func(row scanner) error {
		loans = append(loans, bookLoan{}) // never more than there is room for
		l := &loans[len(loans)-1]
		err := h.scan(row, l)
		b.add(l)
		return err
	}, query: `
		SELECT ` + headColumns + `
		FROM loans AS l
		WHERE ` + q.in("l.id") + inOrder}
	queue := statement{what: "lock due rows", args: []any{list}, query: `
		SELECT 1
		FROM due_reminders
		WHERE ` + q.in("loan_id") + `
		ORDER BY loan_id, due_date, recipient` + lock}
	var version int64
	parties := statement{what: "read parties", args: []any{list}, scan: func(row scanner) error {
		var id, notify string
		var p Party
		if err := row.Scan(&id, &p.UserID, &p.Role, &notify); err != nil {
			return err
		}
		l := b.loans[id]
		if l == nil { // it came since the loans were read
			return nil
		}
		l.Parties = append(l.Parties, p)
		return json.Unmarshal([]byte(notify), &l.Parties[len(l.Parties)-1].Notify)
	}, query: `
		SELECT loan_id, user_id, role, notify
		FROM loan_parties
		WHERE ` + q.in("loan_id") + `
		ORDER BY loan_id, user_id, role`}
	statements := []statement{heads}
	if lock != unlocked && len(ids) > 0 {
		statements = append(statements, queue)
	}
	if err := q.together(ctx, append(statements, readPolicyVersion(&version), parties)...); err != nil {
		return nil, err
	}
	slices.Sort(b.ids)
	var err error
	if b.pv, err = db.policyOf(ctx, q, version); err != nil {
		return nil, fmt.Errorf("read the active policy: %w", err)
	}
	return b, nil
}

func (b *book) add(l *bookLoan) {
	b.loans[l.ID] = l
	b.ids = append(b.ids, l.ID)
}

// remember takes the present state as the stored one.
func (l *bookLoan) remember() {
	l.stored = slices.Clone(l.installments)
	l.was = l.live()
}

// some are those loans that meet a condition, in byte order.
func (b *book) some(condition func(*bookLoan) bool) []*bookLoan {
	var list []*bookLoan
	for _, id := range b.ids {
		if l := b.loans[id]; condition(l) {
			list = append(list, l)
		}
	}
	return list
}

// refigure works out what is open for the loans whose figures or payments changed, and stores the installments that
// differ from what is stored: a schedule that says nothing new writes nothing.
func (tx *Tx) refigure(ctx context.Context, b *book) error {
	changed := b.some(func(l *bookLoan) bool { return l.figures })
	if len(changed) == 0 {
		return nil
	}
	payments, err := tx.figurePayments(ctx, pluck(changed, func(l *bookLoan) string { return l.ID }))
	if err != nil {
		return err
	}
	var added, put, gone []installmentRow
	for _, l := range changed {
		old := make(map[int]Installment, len(l.stored))
		for _, in := range l.stored {
			old[in.Number] = in
		}
		for i, open := range allocate(l.installments, payments[l.ID]) {
			in := &l.installments[i]
			in.Open = open
			switch was, known := old[in.Number]; {
			case !known:
				added = append(added, installmentRow{l.ID, *in})
			case was != *in:
				put = append(put, installmentRow{l.ID, *in})
			}
			delete(old, in.Number)
		}
		for _, in := range old {
			gone = append(gone, installmentRow{l.ID, in})
		}
	}
	if err := tx.deleteInstallments(ctx, gone); err != nil {
		return err
	}
	if err := tx.addInstallments(ctx, added); err != nil {
		return err
	}
	return tx.putInstallments(ctx, put)
}

// figurePayments are the payments that move what is open, in the order in which they count.
func (q queryer) figurePayments(ctx context.Context, loans []string) (map[string][]figurePayment, error) {
	payments := make(map[string][]figurePayment)
	err := q.each(ctx, func(row scanner) error {
		var id string
		var p figurePayment
		if err := row.Scan(&id, &p.Installment, &p.Amount, &p.Back); err != nil {
			return err
		}
		payments[id] = append(payments[id], p)
		return nil
	}, `
		SELECT loan_id, COALESCE(installment, 0), amount, reversal_counted
		FROM payments
		WHERE `+q.in("loan_id")+` AND (reversal_counted OR (counted AND reversed_at IS NULL))
		ORDER BY loan_id, paid_at, seq`, q.list(loans))
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	return payments, nil
}

// datesToDerive are the dates of a loan whose due rows may have to change: all of them if something about the loan as a
// whole did, else those that began or ceased to be live. Nothing else about a date decides when to look at it; amounts
// don't.
func (l *bookLoan) datesToDerive(now liveDates) []civil.Date {
	dates := maps.Clone(now)
	maps.Copy(dates, l.was)
	if !l.all {
		for date := range dates {
			_, before := l.was[date]
			_, after := now[date]
			if before == after {
				delete(dates, date)
			}
		}
	}
	return dates.dates()
}
