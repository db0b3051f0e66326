package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

const (
	// pruneBatch is how many rows one transaction of Prune takes, and so the most inboxes that it locks: tens of milliseconds.
	pruneBatch = 300
	// keepTombstones is how long an expired notification's id stays, so that a client which was away meanwhile hears that it
	// is removed. One that was away for longer is reset.
	keepTombstones = 30 * 24 * time.Hour
)

// Pruned is what Prune removed.
type Pruned struct {
	Notifications int // too old, and taken out of their inboxes
	Tombstones    int // rows of deleted and expired notifications that are gone for good
	Decisions     int
	Told          int // status changes and requests whose words went
}

// Prune removes what is older than a policy keeps it, an age of 0 keeps all. It works in short transactions and calls
// progress after each commit that removed something, so one that is interrupted has lost nothing and the next goes on. It
// may run at any time and at once.
//
// A notification that is too old is deleted as its owner would do it: a change of the inbox, one rev for all that one
// transaction takes out of it. What it says is gone then. Its tombstone stays for 30 days, or for the age if that is
// shorter, and then raises floor_rev: a cursor below could miss the removal, so it gets a reset. Tombstones that the owner
// made go at the same age.
//
// A decision leaves the log, but that a reminder was sent stays known, in reminders_sent: a date may become due again
// years later (a payment is reversed, a schedule moves back, a policy without max_late gets a new rule), and still it goes
// out once, ever. What is in the due queue keeps its log until it leaves it.
//
// Of status changes and requests that were told the reason and the body go, at the age of notifications. The rows
// stay, with the hashes by which the same POST is answered as a repeat; and so do notification_keys.
func (db *DB) Prune(ctx context.Context, keep policy.Retention, progress func(Pruned)) error {
	p := &pruning{db: db, now: db.Now(), progress: progress}
	if age := keep.Notifications; age > 0 {
		if err := p.notifications(ctx, age); err != nil {
			return fmt.Errorf("prune notifications: %w", err)
		}
		if err := p.told(ctx, p.now.Add(-age)); err != nil {
			return fmt.Errorf("prune what was told: %w", err)
		}
	}
	if age := keep.Decisions; age > 0 {
		if err := p.decisions(ctx, p.now.Add(-age)); err != nil {
			return fmt.Errorf("prune decisions: %w", err)
		}
	}
	return nil
}

// pruning is the work of one Prune.
type pruning struct {
	db       *DB
	now      time.Time
	progress func(Pruned)
}

func (p *pruning) report(done Pruned) {
	if done != (Pruned{}) && p.progress != nil {
		p.progress(done)
	}
}

// notifications walks the oldest ones by id, which begins with the time of creation: the primary key serves it, and the
// hottest table needs no index for once a night.
func (p *pruning) notifications(ctx context.Context, age time.Duration) error {
	past := idsFrom(p.now.Add(-age))
	stale := p.now.Add(-min(age, keepTombstones))
	for after := ""; ; {
		var expired, gone, recipients []string
		rows := 0
		err := p.db.query().each(ctx, func(row scanner) error {
			var recipient string
			var deletedAt instant
			if err := row.Scan(&after, &recipient, &deletedAt); err != nil {
				return err
			}
			rows++
			switch {
			case deletedAt.IsZero():
				expired = append(expired, after)
			case deletedAt.Before(stale):
				gone = append(gone, after)
			default:
				return nil
			}
			recipients = append(recipients, recipient)
			return nil
		}, oldNotificationsQuery, after, past, pruneBatch)
		if err != nil || rows == 0 {
			return err
		}
		if len(recipients) == 0 {
			continue
		}
		done, err := p.db.expire(ctx, recipients, expired, gone, stale)
		if err != nil {
			return err
		}
		p.report(done)
	}
}

const oldNotificationsQuery = `
	SELECT id, recipient, deleted_at
	FROM notifications
	WHERE id > ? AND id < ?
	ORDER BY id
	LIMIT ?`

// expire makes tombstones of notifications and deletes older ones, in one transaction. What somebody else did to them
// meanwhile stands.
func (db *DB) expire(ctx context.Context, recipients, expired, gone []string, stale time.Time) (Pruned, error) {
	var done Pruned
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		tx.atEnd(recipients, func(ctx context.Context) error {
			done = Pruned{}
			rows, err := tx.load(ctx, tx.in("id"), tx.list(expired))
			if err != nil {
				return err
			}
			if err := tx.update(ctx, rows, func(s *stored) bool { return setTime(&s.deletedAt, true, tx.now) }); err != nil {
				return err
			}
			if err := tx.unsay(ctx, pluck(rows, func(s *stored) string { return s.ID })); err != nil {
				return err
			}
			done.Notifications = len(rows)
			done.Tombstones, err = tx.deleteTombstones(ctx, gone, stale)
			return err
		})
		return nil
	})
	return done, err
}

// unsay takes the words from notifications that were deleted.
func (tx *Tx) unsay(ctx context.Context, ids []string) error {
	_, err := tx.exec(ctx, `UPDATE notifications SET title = '', body = '', data = NULL, url = NULL WHERE `+tx.in("id"), tx.list(ids))
	if err != nil {
		return fmt.Errorf("take the words from notifications: %w", err)
	}
	return nil
}

// deleteTombstones forgets that notifications were removed: cursors below that are no longer served. It takes no rev,
// because nothing changes for anybody else.
func (tx *Tx) deleteTombstones(ctx context.Context, ids []string, stale time.Time) (n int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	err = tx.each(ctx, func(row scanner) error {
		var recipient string
		var rev int64
		if err := row.Scan(&recipient, &rev); err != nil {
			return err
		}
		ib, err := tx.inbox(recipient)
		if err != nil {
			return err
		}
		n++
		if rev > ib.floorRev {
			ib.floorRev, ib.dirty = rev, true
		}
		return nil
	}, `DELETE FROM notifications WHERE `+tx.in("id")+` AND deleted_at < ? RETURNING recipient, rev`, tx.list(ids), stale)
	if err != nil {
		return 0, fmt.Errorf("delete tombstones: %w", err)
	}
	return n, nil
}

// decisions walks the log from its oldest row, by its primary key, up to the first row that is too young.
func (p *pruning) decisions(ctx context.Context, before time.Time) error {
	for after := int64(0); ; {
		through, rows, young := after, 0, false
		err := p.db.query().each(ctx, func(row scanner) error {
			var decidedAt instant
			rows++
			err := row.Scan(&through, &decidedAt)
			young = young || !decidedAt.Before(before)
			return err
		}, oldDecisionsQuery, after, pruneBatch)
		if err != nil || rows == 0 {
			return err
		}
		var n int
		err = p.db.write(ctx, func(ctx context.Context, tx *Tx) (err error) {
			n, err = tx.pruneDecisions(ctx, after, through, before)
			return err
		})
		if err != nil {
			return err
		}
		p.report(Pruned{Decisions: n})
		if young {
			return nil
		}
		after = through
	}
}

const oldDecisionsQuery = `SELECT id, decided_at FROM decisions WHERE id > ? ORDER BY id LIMIT ?`

// pruneDecisions deletes those of a range of the log that are old and no longer in the due queue, and keeps of what was
// sent that it was. Readers look at decisions before reminders_sent, so they find a reminder in one of them at least.
func (tx *Tx) pruneDecisions(ctx context.Context, after, through int64, before time.Time) (n int, err error) {
	var sent []sentReminder
	err = tx.each(ctx, func(row scanner) error {
		var s sentReminder
		var outcome string
		err := row.Scan(&s.loan, &s.date, &s.recipient, &s.rule.Kind, &s.rule.Offset, &s.notification, &outcome)
		n++
		if outcome == string(policy.Sent) {
			sent = append(sent, s)
		}
		return err
	}, `
		DELETE FROM decisions
		WHERE id > ? AND id <= ? AND decided_at < ? AND NOT EXISTS (
			SELECT 1
			FROM due_reminders AS q
			WHERE q.loan_id = decisions.loan_id AND q.due_date = decisions.due_date AND q.recipient = decisions.recipient)
		RETURNING loan_id, due_date, recipient, kind, offset_days, notification_id, outcome`, after, through, before)
	if err != nil {
		return 0, fmt.Errorf("delete decisions: %w", err)
	}
	return n, tx.keepSent(ctx, sent)
}

// sentReminder is a row of reminders_sent.
type sentReminder struct {
	subjectKey
	rule         policy.Rule
	notification *string
}

func (tx *Tx) keepSent(ctx context.Context, list []sentReminder) error {
	for rows := range slices.Chunk(list, tableRows) {
		v, args := tx.table("v",
			col("loan_id", "text", pluck(rows, func(s sentReminder) string { return s.loan })),
			col("due_date", "date", pluck(rows, func(s sentReminder) civil.Date { return s.date })),
			col("recipient", "text", pluck(rows, func(s sentReminder) string { return s.recipient })),
			col("kind", "text", pluck(rows, func(s sentReminder) string { return s.rule.Kind })),
			col("offset_days", "integer", pluck(rows, func(s sentReminder) int { return s.rule.Offset })),
			col("notification_id", "text", pluck(rows, func(s sentReminder) *string { return s.notification })))
		_, err := tx.exec(ctx, `
			INSERT INTO reminders_sent (loan_id, due_date, recipient, kind, offset_days, notification_id)
			SELECT v.loan_id, v.due_date, v.recipient, v.kind, v.offset_days, v.notification_id
			FROM `+v+` WHERE true
			ON CONFLICT (loan_id, due_date, recipient, kind, offset_days) DO NOTHING`, args...)
		if err != nil {
			return fmt.Errorf("keep what was sent: %w", err)
		}
	}
	return nil
}

// told takes the words from the outbox's rows that were told before an instant.
func (p *pruning) told(ctx context.Context, before time.Time) error {
	for _, t := range []struct{ table, set string }{
		{"status_changes", "reason = NULL"},
		{"notification_requests", "body = 'null'"},
	} {
		for {
			var ids []string
			err := p.db.write(ctx, func(ctx context.Context, tx *Tx) error {
				ids = nil // of a run that failed
				// What another run holds is its own.
				err := tx.all(ctx, &ids, oldToldQuery(t.table)+tx.skipLocked(), before, pruneBatch)
				if err != nil || len(ids) == 0 {
					return err
				}
				_, err = tx.exec(ctx, `UPDATE `+t.table+` SET `+t.set+`, pruned_at = ? WHERE `+tx.in("id"), tx.now, tx.list(ids))
				return err
			})
			if err != nil {
				return err
			}
			p.report(Pruned{Told: len(ids)})
			if len(ids) < pruneBatch {
				break
			}
		}
	}
	return nil
}

// oldToldQuery is a range of a partial index that has just the rows which still have words.
func oldToldQuery(table string) string {
	return `SELECT id FROM ` + table + ` WHERE done_at < ? AND pruned_at IS NULL ORDER BY done_at LIMIT ?`
}
