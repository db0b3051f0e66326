package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// Decision is a row of the log of decisions: what became of a reminder, and why. The log is only ever added to, and the
// last row of a rule is what holds.
type Decision struct {
	ID             int64      `json:"id"`
	LoanID         string     `json:"loan_id"`
	DueDate        civil.Date `json:"due_date"`
	Recipient      string     `json:"recipient"`
	Kind           string     `json:"kind"`
	Offset         int        `json:"offset_days"`
	Outcome        string     `json:"outcome"` // policy.Sent, Held or Suppressed
	Reason         string     `json:"reason,omitempty"`
	Amount         int64      `json:"amount"` // open at that moment, in minor units of Digits
	Currency       string     `json:"currency"`
	Digits         int        `json:"digits"`
	TimeZone       string     `json:"time_zone"` // the recipient's, and the clock on the wall there
	LocalTime      string     `json:"local_time"`
	PolicyVersion  int64      `json:"policy_version"`
	NotificationID string     `json:"notification_id,omitempty"` // what was sent; none for an officer's
	DecidedAt      time.Time  `json:"decided_at"`
}

// ReasonRescheduled is the reason of a reminder whose date went out of the schedule.
const ReasonRescheduled = "rescheduled"

// subjectKey names one reminder subject: a due date of a loan, and a person.
type subjectKey struct {
	loan      string
	date      civil.Date
	recipient string
}

func (k subjectKey) compare(other subjectKey) int {
	return cmp.Or(cmp.Compare(k.loan, other.loan), k.date.Compare(other.date), cmp.Compare(k.recipient, other.recipient))
}

// record is what the log says about a subject.
type record struct {
	last     map[policy.Rule]int64 // the id of a rule's last row
	sent     map[policy.Rule]bool
	recorded map[policy.Rule]string // the last reason of what wasn't sent
}

func newRecord() *record {
	return &record{map[policy.Rule]int64{}, map[policy.Rule]bool{}, map[policy.Rule]string{}}
}

// readRecords reads the log of loans for due dates from the given ones on, one for each loan in byte order, and what was sent and is no longer
// in the log: a row goes from there to reminders_sent in one transaction, so it is found in this order.
func (q queryer) readRecords(records map[subjectKey]*record, from []dateKey) (list []statement) {
	of := func(key subjectKey) *record {
		r := records[key]
		if r == nil {
			r = newRecord()
			records[key] = r
		}
		return r
	}
	decided := func(row scanner) error {
		var key subjectKey
		var id int64
		var rule policy.Rule
		var outcome, reason string
		err := row.Scan(&id, &key.loan, &key.date, &key.recipient, &rule.Kind, &rule.Offset, &outcome, &reason)
		if err != nil {
			return err
		}
		r := of(key)
		if id < r.last[rule] {
			return nil
		}
		r.last[rule] = id
		if outcome == string(policy.Sent) {
			r.sent[rule] = true
		} else {
			r.recorded[rule] = reason
		}
		return nil
	}
	sent := func(row scanner) error {
		var key subjectKey
		var rule policy.Rule
		err := row.Scan(&key.loan, &key.date, &key.recipient, &rule.Kind, &rule.Offset)
		if err == nil {
			of(key).sent[rule] = true
		}
		return err
	}
	for chunk := range slices.Chunk(from, tableRows) {
		v, args := q.table("v", col("loan_id", "text", pluck(chunk, func(k dateKey) string { return k.loan })),
			col("due_date", "date", pluck(chunk, func(k dateKey) civil.Date { return k.date })))
		// CROSS JOIN keeps SQLite from reading the log first. Served by decisions_rule, one range a loan.
		list = append(list, statement{what: "read decisions", args: args, scan: decided, query: `
			SELECT d.id, d.loan_id, d.due_date, d.recipient, d.kind, d.offset_days, d.outcome, d.reason
			FROM ` + v + ` CROSS JOIN decisions AS d
			WHERE d.loan_id = v.loan_id AND d.due_date >= v.due_date`},
			statement{what: "read what was sent", args: args, scan: sent, query: `
			SELECT s.loan_id, s.due_date, s.recipient, s.kind, s.offset_days
			FROM ` + v + ` CROSS JOIN reminders_sent AS s
			WHERE s.loan_id = v.loan_id AND s.due_date >= v.due_date`})
	}
	return list
}

// decision is a row about a subject now, without what differs by its outcome.
func (tx *Tx) decision(l *bookLoan, key subjectKey, p *Person, pv PolicyVersion, amount int64, d policy.Decided) Decision {
	return Decision{LoanID: key.loan, DueDate: key.date, Recipient: key.recipient, Kind: d.Rule.Kind, Offset: d.Rule.Offset,
		Outcome: string(d.Outcome), Reason: d.Reason, Amount: amount, Currency: l.Currency, Digits: l.Digits,
		TimeZone: p.Zone.String(), LocalTime: tx.localTime(p.Zone),
		PolicyVersion: pv.Version, DecidedAt: tx.now}
}

// localTime is the clock on the wall in a zone, of which there are a few.
func (tx *Tx) localTime(zone *time.Location) string {
	text, known := tx.localTimes[zone]
	if !known {
		text = tx.now.In(zone).Format("2006-01-02T15:04:05-07:00")
		if tx.localTimes == nil {
			tx.localTimes = make(map[*time.Location]string)
		}
		tx.localTimes[zone] = text
	}
	return text
}

func (tx *Tx) addDecisions(ctx context.Context, list []Decision) error {
	for chunk := range slices.Chunk(list, tableRows) {
		rows := pointers(chunk)
		err := tx.insertInto(ctx, "record decisions", "decisions",
			col("loan_id", "text", pluck(rows, func(d *Decision) string { return d.LoanID })),
			col("due_date", "date", pluck(rows, func(d *Decision) civil.Date { return d.DueDate })),
			col("recipient", "text", pluck(rows, func(d *Decision) string { return d.Recipient })),
			col("kind", "text", pluck(rows, func(d *Decision) string { return d.Kind })),
			col("offset_days", "integer", pluck(rows, func(d *Decision) int { return d.Offset })),
			col("outcome", "text", pluck(rows, func(d *Decision) string { return d.Outcome })),
			col("reason", "text", pluck(rows, func(d *Decision) string { return d.Reason })),
			col("amount", "bigint", pluck(rows, func(d *Decision) int64 { return d.Amount })),
			col("currency", "text", pluck(rows, func(d *Decision) string { return d.Currency })),
			col("digits", "smallint", pluck(rows, func(d *Decision) int { return d.Digits })),
			col("time_zone", "text", pluck(rows, func(d *Decision) string { return d.TimeZone })),
			col("local_time", "text", pluck(rows, func(d *Decision) string { return d.LocalTime })),
			col("policy_version", "bigint", pluck(rows, func(d *Decision) int64 { return d.PolicyVersion })),
			col("notification_id", "text", pluck(rows, func(d *Decision) *string { return filled(&d.NotificationID) })),
			col("decided_at", "timestamptz", pluck(rows, func(d *Decision) time.Time { return d.DecidedAt })))
		if err != nil {
			return err
		}
	}
	return nil
}

// optional is nil for "".
func optional(s string) *string { return filled(&s) }

// filled is optional without a copy.
func filled(s *string) *string {
	if *s == "" {
		return nil
	}
	return s
}
