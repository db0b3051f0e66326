package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// DueRow is one reminder whose time has come: what is open on a date of a loan, and one person who is told about it.
type DueRow struct {
	LoanID    string
	DueDate   civil.Date
	Recipient string
	Role      string
	Loan      Loan   // without its parties
	Open      int64  // of all installments of the date, in minor units of Loan.Digits
	Numbers   []int  // the installments that are open on it, in order
	Person    Person // the recipient
	Borrower  string // the borrower's name, "" if it isn't known
	Subject   policy.Subject

	place place // of the row in the due queue, for the transaction that claimed it
}

// Outcome is what is to be done about a DueRow.
type Outcome struct {
	Verdict policy.Verdict
	// Send is the notification if the verdict is to send one. An officer's isn't needed: it becomes a line of the
	// officer's next summary.
	Send *Draft
	// Err parks this row alone, until the book changes under it; all else is ignored then.
	Err error
}

// RunDue takes up to limit reminders whose time has come, has them decided and writes the outcome: decisions,
// notifications and when to look again, in one transaction. claimed is how many it took; 0 means that nothing is left
// which another worker doesn't hold. Any number of workers may call it at once.
//
// decide answers one Outcome for each row, in order. It runs inside the transaction, so it is quick, pure and doesn't use
// the store; it may be asked about a row again. Caps are counted here: a reminder that the person's day has no room for is
// held. When a batch can't be written, it is halved until the row at fault stands alone, and that one is parked.
func (db *DB) RunDue(ctx context.Context, limit int,
	decide func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome) (claimed int, err error) {
	return db.RunDueFrom(ctx, new(DueCursor), limit, decide)
}

// DueCursor is how far into the due queue its users have claimed, who may be several at once. The zero value is the beginning.
type DueCursor struct {
	claiming sync.Mutex // held while one claims, so that the next begins behind what that one gets
	place    atomic.Pointer[duePlace]
}

// duePlace is a place in the order of the due queue.
type duePlace struct {
	at   time.Time
	loan string
}

// Moved says whether the next claim begins elsewhere than at the beginning.
func (c *DueCursor) Moved() bool { return c.place.Load() != nil }

// RunDueFrom is RunDue for whoever calls it again and again: it takes what comes behind from, which it moves on, and so passes
// over what it has settled before, whose rows are still in the way until the database has cleaned up. What came in before from
// meanwhile, or was in somebody else's hands, or couldn't be settled, is found from the beginning: that is where from is again when less
// than limit was claimed.
func (db *DB) RunDueFrom(ctx context.Context, from *DueCursor, limit int,
	decide func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome) (claimed int, err error) {
	r := &run{db: db, decide: decide, long: from.Moved()}
	keys, err := r.batch(ctx, func(ctx context.Context, tx *Tx) (rows []dueRow, err error) {
		from.claiming.Lock()
		defer from.claiming.Unlock()
		var place duePlace
		if p := from.place.Load(); p != nil {
			place = *p
		}
		rows, place, err = tx.claimDue(ctx, place, limit)
		switch {
		case err != nil:
		case len(rows) < limit:
			from.place.Store(nil)
		default:
			from.place.Store(&place)
		}
		return rows, err
	})
	if err != nil && badRow(err) && len(keys) > 0 {
		err = r.halves(ctx, keys, err)
	}
	if err != nil {
		return 0, fmt.Errorf("run due reminders: %w", err)
	}
	return len(keys), nil
}

// run is the work of one RunDue.
type run struct {
	db     *DB
	decide func(PolicyVersion, time.Time, []DueRow) []Outcome
	long   bool // there was a full batch before it
}

// halves settles keys whose batch failed because of a row: alone, that row is parked, else each half is tried.
func (r *run) halves(ctx context.Context, keys []subjectKey, reason error) error {
	if len(keys) == 1 {
		r.db.log.ErrorContext(ctx, "a reminder can't be written and is parked", "loan", keys[0].loan,
			"due_date", keys[0].date.String(), "error", reason)
		return r.db.write(ctx, func(ctx context.Context, tx *Tx) error {
			return tx.parkDue(ctx, keys, []string{shortened(reason)})
		})
	}
	middle := len(keys) / 2
	for _, half := range [][]subjectKey{keys[:middle], keys[middle:]} {
		// What someone else holds meanwhile is settled there or by a later run.
		tried, err := r.batch(ctx, func(ctx context.Context, tx *Tx) ([]dueRow, error) {
			return tx.claimAgain(ctx, half)
		})
		if err != nil && badRow(err) && len(tried) > 0 {
			err = r.halves(ctx, tried, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// claimDue locks the oldest due rows that nobody else has: neither another run nor whoever changes a loan (lockLoans). It never
// waits, so the order of the locks doesn't matter. Each is locked for what it then is: PostgreSQL looks again at a row that was changed
// since the statement began. last is the place of the last one.
func (tx *Tx) claimDue(ctx context.Context, from duePlace, limit int) (rows []dueRow, last duePlace, err error) {
	if tx.pg {
		// Rows come out of due_reminders_next in order, so that only as many are read as are taken. A backlog sorted
		// anew for each batch would cost its square.
		if err := tx.post(ctx, "plan", `SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`); err != nil {
			return nil, last, err
		}
	}
	var scan dueScanner
	err = tx.each(ctx, func(row scanner) error {
		r, err := scan.row(row)
		rows = append(rows, r)
		if c := r.nextAt.Compare(last.at); c > 0 || c == 0 && r.loan > last.loan {
			last = duePlace{r.nextAt, r.loan}
		}
		return err
	}, tx.claimDueQuery()+tx.skipLocked(), tx.now, from.at, from.loan, limit)
	if err == nil && tx.pg {
		err = tx.post(ctx, "plan", `SELECT set_config('enable_sort', 'on', true), set_config('enable_bitmapscan', 'on', true)`)
	}
	if err != nil {
		return nil, last, fmt.Errorf("claim due rows: %w", err)
	}
	slices.SortFunc(rows, func(a, b dueRow) int { return a.subjectKey.compare(b.subjectKey) })
	return rows, last, nil
}

func (q queryer) claimDueQuery() string {
	return `
	SELECT d.loan_id, d.due_date, d.recipient, d.role, d.next_at, ` + q.place("d") + `
	FROM due_reminders AS d
	WHERE d.next_at <= ? AND (d.next_at, d.loan_id) >= (?, ?) AND d.parked_at IS NULL
	ORDER BY d.next_at, d.loan_id
	LIMIT ?`
}

// place is what to read of a table's rows to know their places.
func (q queryer) place(table string) string {
	if q.pg {
		return table + ".ctid"
	}
	return table + ".rowid"
}

// claimAgain takes those of up to tableRows keys that are still due and that nobody else has.
func (tx *Tx) claimAgain(ctx context.Context, keys []subjectKey) (rows []dueRow, err error) {
	v, args := tx.keyTable(keys)
	lock := tx.skipLocked()
	if tx.pg {
		lock = " FOR UPDATE OF d SKIP LOCKED"
	}
	var scan dueScanner
	err = tx.each(ctx, func(row scanner) error {
		r, err := scan.row(row)
		rows = append(rows, r)
		return err
	}, `
		SELECT d.loan_id, d.due_date, d.recipient, d.role, d.next_at, `+tx.place("d")+`
		FROM `+v+` CROSS JOIN due_reminders AS d
		WHERE d.loan_id = v.loan_id AND d.due_date = v.due_date AND d.recipient = v.recipient
			AND d.next_at <= ? AND d.parked_at IS NULL
		ORDER BY d.loan_id, d.due_date, d.recipient`+lock, append(args, tx.now)...)
	if err != nil {
		return nil, fmt.Errorf("claim due rows again: %w", err)
	}
	return rows, nil
}

// dueScanner reads rows of the due queue, one after the other.
type dueScanner struct {
	r      dueRow
	nextAt instant
}

func (s *dueScanner) row(row scanner) (dueRow, error) {
	r := &s.r
	err := row.Scan(&r.loan, day{&r.date}, &r.recipient, word{&r.role}, &s.nextAt, &r.place)
	r.nextAt = s.nextAt.Time
	return *r, err
}

// batch settles the rows that claim locked. It answers their keys also when it fails. Loans that follow another policy are derived
// before anything of them is sent, when the rows are free again: they come once more.
func (r *run) batch(ctx context.Context, claim func(ctx context.Context, tx *Tx) ([]dueRow, error)) (keys []subjectKey, err error) {
	var stale []string
	err = r.db.write(ctx, func(ctx context.Context, tx *Tx) error {
		keys, stale = nil, nil
		plan := tx.planAfresh
		if r.long {
			plan = tx.planOnce
		}
		if err := plan(ctx); err != nil {
			return err
		}
		rows, err := claim(ctx, tx)
		if err != nil || len(rows) == 0 {
			return err
		}
		keys = pluck(rows, func(r dueRow) subjectKey { return r.subjectKey })
		// Unlocked: whoever changes one of them waits for the rows.
		b, err := r.db.readHeads(ctx, tx.queryer, pluck(rows, func(r dueRow) string { return r.loan }), unlocked)
		if err != nil {
			return err
		}
		stale = pluck(b.some(func(l *bookLoan) bool { return l.policyVersion != b.pv.Version }), func(l *bookLoan) string { return l.ID })
		rows = slices.DeleteFunc(rows, func(row dueRow) bool {
			l := b.loans[row.loan]
			return l != nil && l.policyVersion != b.pv.Version
		})
		if len(rows) == 0 {
			return nil
		}
		return r.settle(ctx, tx, b, rows)
	})
	for chunk := range slices.Chunk(stale, loansATime) {
		if err != nil {
			break
		}
		err = r.db.write(ctx, func(ctx context.Context, tx *Tx) error {
			b, err := r.db.lockLoans(ctx, tx, chunk)
			if err != nil {
				return err
			}
			return r.db.derive(ctx, tx, b)
		})
	}
	return keys, err
}

// settle decides rows and queues what comes of them.
func (r *run) settle(ctx context.Context, tx *Tx, b *book, rows []dueRow) error {
	due, gone, err := r.dueRows(ctx, tx, b, rows)
	if err != nil {
		return err
	}
	outcomes, err := guard(func() ([]Outcome, error) { return r.decide(b.pv, tx.now, due), nil })
	if err != nil {
		return err
	}
	if len(outcomes) != len(due) {
		return fmt.Errorf("%d outcomes for %d due rows", len(outcomes), len(due))
	}
	s := &settlement{tx: tx, pv: b.pv, book: b, delete: slices.Grow(gone, len(due)), sends: make([]send, 0, len(due)), decisions: make([]Decision, 0, len(due))}
	for i := range due {
		if err := s.take(&due[i], outcomes[i]); err != nil {
			return err
		}
	}
	// The oldest date first where a day hasn't room for all.
	slices.SortStableFunc(s.sends, func(a, b send) int { return a.row.DueDate.Compare(b.row.DueDate) })
	tx.atEnd(pluck(s.sends, func(s send) string { return s.row.Recipient }), s.write)
	return nil
}

// dueRows reads everything that decides about rows, all at once, and locks the inboxes of those to whom it may write. gone are the places of
// rows with nobody to tell, or nothing.
func (r *run) dueRows(ctx context.Context, tx *Tx, b *book, rows []dueRow) (due []DueRow, gone []place, err error) {
	ids, writtenTo := make([]string, 0, len(rows)), make([]string, 0, len(rows))
	var shared []string                    // who is only named, and officers, who get a line of a summary
	roles := make([]*recipient, len(rows)) // nil: nobody
	from := make([]dateKey, 0, len(rows))
	for i, row := range rows { // by loan and date
		l := b.loans[row.loan]
		if l == nil { // a restore has left it out
			continue
		}
		recipients := l.recipients()
		if n := slices.IndexFunc(recipients, func(r recipient) bool { return r.id == row.recipient }); n >= 0 {
			roles[i] = &recipients[n]
		}
		ids = append(ids, row.recipient)
		if row.recipient != l.BorrowerID {
			ids, shared = append(ids, l.BorrowerID), append(shared, l.BorrowerID)
		}
		if roles[i] != nil && roles[i].role == RoleOfficer {
			shared = append(shared, row.recipient)
		} else {
			writtenTo = append(writtenTo, row.recipient)
		}
		if len(from) == 0 || from[len(from)-1].loan != row.loan {
			from = append(from, dateKey{row.loan, row.date})
		}
	}
	reader := newPeopleReader(ids)
	var list []statement
	if len(shared) > 0 {
		list = append(list, reader.users(tx.queryer, shared, forShare))
	}
	records, open := make(map[subjectKey]*record), make(map[dateKey]liveDate)
	list = append(list, tx.lockAll(writtenTo), reader.users(tx.queryer, writtenTo, unlocked), reader.preferences(tx.queryer))
	list = append(list, tx.readRecords(records, from)...)
	if err := tx.together(ctx, append(list, tx.readOpen(open, rows))...); err != nil {
		return nil, nil, err
	}
	people := reader.people(b.pv)
	due = make([]DueRow, 0, len(rows))
	for i, row := range rows {
		l, person := b.loans[row.loan], people[row.recipient]
		if roles[i] == nil || !person.Known {
			gone = append(gone, row.place)
			continue
		}
		live := open[dateKey{row.loan, row.date}]
		head := l.Loan
		head.Parties = nil
		due = append(due, DueRow{LoanID: row.loan, DueDate: row.date, Recipient: row.recipient, Role: roles[i].role,
			Loan: head, Open: live.open, Numbers: live.numbers, Person: *person, Borrower: people[l.BorrowerID].Name,
			Subject: l.subject(row.date, live.open > 0, *roles[i], person, records[row.subjectKey], b.pv), place: row.place})
	}
	return due, gone, nil
}

type dateKey struct {
	loan string
	date civil.Date
}

// readOpen reads what is open on the dates of rows into open.
func (q queryer) readOpen(open map[dateKey]liveDate, rows []dueRow) statement {
	var loans []string
	var dates []civil.Date
	for _, row := range rows {
		open[dateKey{row.loan, row.date}] = liveDate{}
		loans, dates = append(loans, row.loan), append(dates, row.date)
	}
	slices.Sort(loans)
	slices.SortFunc(dates, civil.Date.Compare) // of a run there are a few
	// That finds dates of other rows too, which nobody asked about, and is cheaper than a join with the rows.
	var key dateKey
	var number int
	var amount int64
	in, list := q.inDates("due_date", slices.Compact(dates))
	return statement{what: "read what is open", args: []any{q.list(slices.Compact(loans)), list}, query: `
		SELECT loan_id, due_date, number, open
		FROM installments
		WHERE ` + q.in("loan_id") + ` AND ` + in + ` AND open > 0`, scan: func(row scanner) error {
		if err := row.Scan(&key.loan, day{&key.date}, &number, &amount); err != nil {
			return err
		}
		d, asked := open[key]
		if !asked {
			return nil
		}
		at, _ := slices.BinarySearch(d.numbers, number)
		open[key] = liveDate{d.open + amount, slices.Insert(d.numbers, at, number)}
		return nil
	}}
}

// settlement is what a batch is going to write.
type settlement struct {
	tx   *Tx
	pv   PolicyVersion
	book *book

	move      []dueRow
	delete    []place
	parked    []subjectKey
	errors    []string
	decisions []Decision
	items     []SummaryItem
	sends     []send
}

// send is a reminder to write if the person's day has room for it.
type send struct {
	row     *DueRow
	outcome Outcome
}

func (row *DueRow) key() subjectKey { return subjectKey{row.LoanID, row.DueDate, row.Recipient} }

// take sorts an outcome into what is written. Reminders wait for the inbox, where the cap is counted.
func (s *settlement) take(row *DueRow, o Outcome) error {
	switch {
	case o.Err != nil:
		s.parked = append(s.parked, row.key())
		s.errors = append(s.errors, shortened(o.Err))
	case o.Verdict.Send == nil:
		s.decide(row, o.Verdict.Decisions, "")
		s.next(row, o.Verdict.Next)
	case row.Role == RoleOfficer:
		s.decide(row, o.Verdict.Decisions, "")
		s.next(row, o.Verdict.Next)
		s.items = append(s.items, SummaryItem{Recipient: row.Recipient, LoanID: row.LoanID, DueDate: row.DueDate,
			Kind: o.Verdict.Send.Kind, Offset: o.Verdict.Send.Offset, Amount: row.Open, Currency: row.Loan.Currency,
			Digits: row.Loan.Digits})
	case o.Send == nil || o.Send.Recipient != row.Recipient:
		return fmt.Errorf("loan %s: a reminder to send without a notification for its recipient", row.LoanID)
	default:
		s.sends = append(s.sends, send{row, o})
	}
	return nil
}

// decide records decisions about a row; the one that says sent carries the notification.
func (s *settlement) decide(row *DueRow, list []policy.Decided, notification string) {
	for _, decided := range list {
		d := s.tx.decision(s.book.loans[row.LoanID], row.key(), &row.Person, s.pv, row.Open, decided)
		if decided.Outcome == policy.Sent {
			d.NotificationID = notification
		}
		s.decisions = append(s.decisions, d)
	}
}

// next is when the row is looked at again; zero: never, as long as the book doesn't change.
func (s *settlement) next(row *DueRow, at time.Time) {
	if at.IsZero() {
		s.delete = append(s.delete, row.place)
		return
	}
	s.move = append(s.move, dueRow{subjectKey: row.key(), role: row.Role, nextAt: stamp(at), place: row.place})
}

// write runs under the locks of the inboxes.
func (s *settlement) write(ctx context.Context) error {
	limit := s.pv.Policy.Caps.PerPersonPerDay
	drafts := make([]Draft, 0, len(s.sends))
	sent := make([]send, 0, len(s.sends))
	for _, send := range s.sends {
		row, v := send.row, send.outcome.Verdict
		ib, err := s.tx.inbox(row.Recipient)
		if err != nil {
			return err
		}
		if limit > 0 && ib.sentOn(v.Today) >= limit {
			if row.Subject.Recorded[*v.Send] != policy.ReasonCap {
				s.decide(row, []policy.Decided{{Rule: *v.Send, Outcome: policy.Held, Reason: policy.ReasonCap}}, "")
			}
			next := s.pv.Policy.NextDay(row.Subject, s.tx.now)
			if !v.Next.IsZero() && v.Next.Before(next) {
				next = v.Next
			}
			s.next(row, next)
			continue
		}
		ib.addSent(v.Today, 1)
		drafts = append(drafts, *send.outcome.Send)
		sent = append(sent, send)
	}
	notifications, err := s.tx.insert(ctx, drafts)
	if err != nil {
		return err
	}
	for i, send := range sent {
		s.decide(send.row, send.outcome.Verdict.Decisions, notifications[i].ID)
		s.next(send.row, send.outcome.Verdict.Next)
	}
	if err := s.tx.addDecisions(ctx, s.decisions); err != nil {
		return err
	}
	if err := s.tx.addSummaryItems(ctx, s.items); err != nil {
		return err
	}
	if err := s.tx.moveDue(ctx, s.move); err != nil {
		return err
	}
	if err := s.tx.deleteClaimed(ctx, s.delete); err != nil {
		return err
	}
	return s.tx.parkDue(ctx, s.parked, s.errors)
}

// parkDue takes rows out of the queue until the book changes under them.
func (tx *Tx) parkDue(ctx context.Context, keys []subjectKey, reasons []string) error {
	for i, key := range keys { // rare
		_, err := tx.exec(ctx, `
			UPDATE due_reminders
			SET parked_at = ?, error = ?
			WHERE loan_id = ? AND due_date = ? AND recipient = ?`, tx.now, reasons[i], key.loan, key.date, key.recipient)
		if err != nil {
			return fmt.Errorf("park due row: %w", err)
		}
	}
	return nil
}
