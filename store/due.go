package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// dueRow is a row of the due queue.
type dueRow struct {
	subjectKey
	role   string
	nextAt time.Time
	parked bool
	place  place // of one that this transaction has claimed
}

// derive brings everything that follows from the book after it: what is open, the due queue, what was decided by the
// change itself, which reminders in inboxes are still true, and the news that a date moved. It is called once in a
// transaction, when the book and its tables are as they shall be.
func (db *DB) derive(ctx context.Context, tx *Tx, b *book) error {
	if err := tx.refigure(ctx, b); err != nil {
		return err
	}
	d := &derivation{tx: tx, book: b}
	for _, id := range b.ids {
		l := b.loans[id]
		if l.policyVersion != b.pv.Version {
			l.all = true
		}
		now := l.live()
		if dates := l.datesToDerive(now); l.all || len(dates) > 0 {
			d.parts = append(d.parts, part{l, now, dates})
		}
	}
	if err := d.queue(ctx); err != nil {
		return err
	}
	if err := d.tell(ctx); err != nil {
		return err
	}
	for _, l := range b.loans { // for a second change in the same transaction
		l.remember()
		l.all, l.figures = false, false
	}
	return nil
}

// derivation is the work of one call of derive.
type derivation struct {
	tx    *Tx
	book  *book
	parts []part
}

// part is a loan some of whose dates are derived.
type part struct {
	*bookLoan
	now   liveDates
	dates []civil.Date
}

// queue derives the due rows and writes what differs.
func (d *derivation) queue(ctx context.Context) error {
	tx, pv := d.tx, d.book.pv
	if len(d.parts) == 0 || pv.Version == 0 {
		return nil
	}
	existing, err := d.existing(ctx)
	if err != nil {
		return err
	}
	var ids []string
	var from []dateKey
	for _, p := range d.parts {
		if len(p.dates) == 0 {
			continue
		}
		from = append(from, dateKey{p.ID, p.dates[0]})
		for _, r := range p.recipients() {
			ids = append(ids, r.id)
		}
	}
	records := make(map[subjectKey]*record)
	people, err := tx.peopleByID(ctx, ids, forShare, pv, tx.readRecords(records, from)...)
	if err != nil {
		return err
	}

	var added, put []dueRow
	var decisions []Decision
	for _, p := range d.parts {
		recipients := p.recipients()
		for _, date := range p.dates {
			live, isLive := p.now[date]
			for _, r := range recipients {
				person := people[r.id]
				if !person.Known {
					continue
				}
				key := subjectKey{p.ID, date, r.id}
				old, queued := existing[key]
				if !isLive && !queued {
					continue
				}
				s := p.subject(date, isLive, r, person, records[key], pv)
				if !isLive {
					if rule, ok := pv.Policy.Pending(s, tx.now); ok {
						if reason := p.gone(date); s.Recorded[rule] != reason {
							decisions = append(decisions, tx.decision(p.bookLoan, key, person, pv, 0,
								policy.Decided{Rule: rule, Outcome: policy.Suppressed, Reason: reason}))
						}
					}
					continue
				}
				next, skipped := pv.Policy.Look(s, tx.now)
				if skipped != nil && s.Recorded[skipped.Rule] != skipped.Reason {
					decisions = append(decisions, tx.decision(p.bookLoan, key, person, pv, live.open,
						policy.Decided{Rule: skipped.Rule, Outcome: policy.Suppressed, Reason: skipped.Reason}))
				}
				if next.IsZero() {
					continue
				}
				delete(existing, key) // what remains in it goes
				switch row := (dueRow{subjectKey: key, role: r.role, nextAt: next.UTC().Truncate(time.Microsecond)}); {
				case !queued:
					added = append(added, row)
				case row != old:
					put = append(put, row)
				}
			}
		}
	}
	gone := make([]subjectKey, 0, len(existing))
	for key := range existing {
		gone = append(gone, key)
	}
	if err := tx.deleteDue(ctx, gone); err != nil {
		return err
	}
	if err := tx.addDue(ctx, added); err != nil {
		return err
	}
	if err := tx.putDue(ctx, put); err != nil {
		return err
	}
	if err := tx.addDecisions(ctx, decisions); err != nil {
		return err
	}
	return d.markDerived(ctx)
}

// gone is why a date isn't live.
func (l *bookLoan) gone(date civil.Date) string {
	switch {
	case l.Status != LoanActive:
		return policy.ReasonNotActive
	case !l.has(date):
		return ReasonRescheduled
	default:
		return policy.ReasonPaid
	}
}

// existing are the due rows of what is derived.
func (d *derivation) existing(ctx context.Context) (map[subjectKey]dueRow, error) {
	rows := make(map[subjectKey]dueRow)
	scan := func(row scanner) error {
		var r dueRow
		var nextAt, parkedAt instant
		err := row.Scan(&r.loan, &r.date, &r.recipient, &r.role, &nextAt, &parkedAt)
		r.nextAt, r.parked = nextAt.Time, !parkedAt.IsZero()
		rows[r.subjectKey] = r
		return err
	}
	var whole []string
	var loans []string
	var dates []civil.Date
	for _, p := range d.parts {
		if p.all {
			whole = append(whole, p.ID)
			continue
		}
		for _, date := range p.dates {
			loans, dates = append(loans, p.ID), append(dates, date)
		}
	}
	const columns = `SELECT d.loan_id, d.due_date, d.recipient, d.role, d.next_at, d.parked_at `
	if len(whole) > 0 {
		err := d.tx.each(ctx, scan, columns+`FROM due_reminders AS d WHERE `+d.tx.in("d.loan_id"), d.tx.list(whole))
		if err != nil {
			return nil, fmt.Errorf("read due rows: %w", err)
		}
	}
	for start := 0; start < len(loans); start += tableRows {
		end := min(start+tableRows, len(loans))
		v, args := d.tx.table("v", col("loan_id", "text", loans[start:end]), col("due_date", "date", dates[start:end]))
		err := d.tx.each(ctx, scan, columns+`
			FROM `+v+` CROSS JOIN due_reminders AS d
			WHERE d.loan_id = v.loan_id AND d.due_date = v.due_date`, args...)
		if err != nil {
			return nil, fmt.Errorf("read due rows: %w", err)
		}
	}
	return rows, nil
}

// markDerived notes which policy the loans' rows now follow.
func (d *derivation) markDerived(ctx context.Context) error {
	var ids []string
	for _, p := range d.parts {
		if p.all && p.policyVersion != d.book.pv.Version {
			ids = append(ids, p.ID)
			p.policyVersion = d.book.pv.Version
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := d.tx.exec(ctx, `UPDATE loans SET policy_version = ? WHERE `+d.tx.in("id"), d.book.pv.Version, d.tx.list(ids))
	if err != nil {
		return fmt.Errorf("mark loans as derived: %w", err)
	}
	return nil
}

// addDue adds rows that aren't there yet.
func (tx *Tx) addDue(ctx context.Context, rows []dueRow) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		if err := tx.insertInto(ctx, "add due rows", "due_reminders", dueColumns(chunk)...); err != nil {
			return err
		}
	}
	return nil
}

// putDue changes rows that are there. One that was parked is tried again.
func (tx *Tx) putDue(ctx context.Context, rows []dueRow) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v", dueColumns(chunk)...)
		err := tx.post(ctx, "put due rows", `
			UPDATE due_reminders
			SET role = v.role, next_at = v.next_at, parked_at = NULL, error = NULL
			FROM `+v+`
			WHERE due_reminders.loan_id = v.loan_id AND due_reminders.due_date = v.due_date
				AND due_reminders.recipient = v.recipient`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// moveDue sets the times of rows that this transaction has claimed.
func (tx *Tx) moveDue(ctx context.Context, rows []dueRow) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v", col("place", "tid", pluck(chunk, func(r dueRow) place { return r.place })),
			col("role", "text", pluck(chunk, func(r dueRow) string { return r.role })),
			col("next_at", "timestamptz", pluck(chunk, func(r dueRow) time.Time { return r.nextAt })))
		err := tx.post(ctx, "move due rows", `
			UPDATE due_reminders
			SET role = v.role, next_at = v.next_at
			FROM `+v+`
			WHERE `+tx.place("due_reminders")+` = v.place`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteClaimed deletes rows that this transaction has claimed.
func (tx *Tx) deleteClaimed(ctx context.Context, places []place) error {
	for chunk := range slices.Chunk(places, tableRows) {
		where, args := ` = ANY (?)`, []any{array{col("place", "tid", chunk)}}
		if !tx.pg {
			var v string
			v, args = tx.table("v", col("place", "tid", chunk))
			where = ` IN (SELECT v.place FROM ` + v + `)`
		}
		if err := tx.post(ctx, "delete due rows", `DELETE FROM due_reminders WHERE `+tx.place("due_reminders")+where, args...); err != nil {
			return err
		}
	}
	return nil
}

func dueColumns(rows []dueRow) []column {
	return []column{
		col("loan_id", "text", pluck(rows, func(r dueRow) string { return r.loan })),
		col("due_date", "date", pluck(rows, func(r dueRow) civil.Date { return r.date })),
		col("recipient", "text", pluck(rows, func(r dueRow) string { return r.recipient })),
		col("role", "text", pluck(rows, func(r dueRow) string { return r.role })),
		col("next_at", "timestamptz", pluck(rows, func(r dueRow) time.Time { return r.nextAt })),
	}
}

func (tx *Tx) deleteDue(ctx context.Context, keys []subjectKey) error {
	for chunk := range slices.Chunk(keys, tableRows) {
		v, args := tx.keyTable(chunk)
		err := tx.post(ctx, "delete due rows", `
			DELETE FROM due_reminders
			WHERE (loan_id, due_date, recipient) IN (SELECT v.loan_id, v.due_date, v.recipient FROM `+v+`)`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func (q queryer) keyTable(keys []subjectKey) (string, []any) {
	return q.table("v",
		col("loan_id", "text", pluck(keys, func(k subjectKey) string { return k.loan })),
		col("due_date", "date", pluck(keys, func(k subjectKey) civil.Date { return k.date })),
		col("recipient", "text", pluck(keys, func(k subjectKey) string { return k.recipient })))
}
