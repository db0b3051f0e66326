package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Heads answers the present state of inboxes, aligned with recipients; one that never got anything is all zeros. Up to
// 1000 recipients are one query and one snapshot.
func (db *DB) Heads(ctx context.Context, recipients []string) (epoch string, heads []Head, err error) {
	heads = make([]Head, len(recipients))
	byName := positions(recipients)
	epoch, err = db.eachInbox(ctx, recipients, `COALESCE(i.rev, 0), COALESCE(i.unread, 0), COALESCE(i.unseen, 0),
		COALESCE(i.total, 0), COALESCE(i.floor_rev, 0)`, func(row scanner, epoch *string) error {
		var h Head
		var notBefore instant
		if err := row.Scan(epoch, &h.Recipient, &notBefore, &h.Rev, &h.Unread, &h.Unseen, &h.Total, &h.FloorRev); err != nil {
			return err
		}
		h.NotBefore = notBefore.Time
		for _, i := range byName[h.Recipient] {
			heads[i] = h
		}
		return nil
	})
	if err != nil {
		return "", nil, fmt.Errorf("read heads of inboxes: %w", err)
	}
	return epoch, heads, nil
}

// Revs is Heads for the sweep, which compares many inboxes with what their sessions have reached: their rev and the
// instant before which tokens are refused, aligned with recipients.
func (db *DB) Revs(ctx context.Context, recipients []string) (epoch string, revs []int64, notBefore []time.Time, err error) {
	revs, notBefore = make([]int64, len(recipients)), make([]time.Time, len(recipients))
	byName := positions(recipients)
	epoch, err = db.eachInbox(ctx, recipients, `COALESCE(i.rev, 0)`, func(row scanner, epoch *string) error {
		var recipient string
		var before instant
		var rev int64
		if err := row.Scan(epoch, &recipient, &before, &rev); err != nil {
			return err
		}
		for _, i := range byName[recipient] {
			revs[i], notBefore[i] = rev, before.Time
		}
		return nil
	})
	if err != nil {
		return "", nil, nil, fmt.Errorf("read revs of inboxes: %w", err)
	}
	return epoch, revs, notBefore, nil
}

// eachInbox scans epoch, recipient, not_before and columns of the inbox i for each recipient, by primary key.
func (db *DB) eachInbox(ctx context.Context, recipients []string, columns string, scan func(row scanner, epoch *string) error) (string, error) {
	q := db.query()
	var epoch string
	if len(recipients) == 0 {
		return epoch, q.get(ctx, &epoch, `SELECT value FROM meta WHERE key = 'epoch'`)
	}
	for chunk := range slices.Chunk(recipients, tableRows) {
		query, args := q.headsQuery(columns, chunk)
		if err := q.each(ctx, func(row scanner) error { return scan(row, &epoch) }, query, args...); err != nil {
			return "", err
		}
	}
	return epoch, nil
}

func (q queryer) headsQuery(columns string, recipients []string) (string, []any) {
	v, args := q.table("v", col("recipient", "text", recipients))
	inbox := `inboxes AS i ON i.recipient = v.recipient`
	if q.pg {
		// One look at the index for each, also by a plan that was made while there were hardly any inboxes.
		inbox = `LATERAL (SELECT * FROM inboxes WHERE inboxes.recipient = v.recipient LIMIT 1) AS i ON true`
	}
	return `
		SELECT m.value, v.recipient, r.not_before, ` + columns + `
		FROM ` + v + `
		JOIN meta AS m ON m.key = 'epoch'
		LEFT JOIN ` + inbox + `
		LEFT JOIN revocations AS r ON r.user_id = v.recipient`, args
}

// positions says where each name stands in the list; it may stand there twice.
func positions(names []string) map[string][]int {
	at := make(map[string][]int, len(names))
	for i, name := range names {
		at[name] = append(at[name], i)
	}
	return at
}

// pastAnyID sorts behind every id.
const pastAnyID = "~"

// changesQuery is one statement, so one snapshot and one round trip. The inner SELECT reads the index
// notifications_changed from the cursor on and stops at the limit. n is all null when nothing changed.
const changesQuery = `
	SELECT m.value, COALESCE(i.rev, 0), COALESCE(i.unread, 0), COALESCE(i.unseen, 0), COALESCE(i.total, 0),
		COALESCE(i.floor_rev, 0), r.not_before, n.deleted_at,
		COALESCE(n.id, ''), COALESCE(n.kind, ''), COALESCE(n.title, ''), COALESCE(n.body, ''), n.data, n.url,
		n.created_at, n.read_at, n.archived_at, n.resolved_at, COALESCE(n.quiet, FALSE), COALESCE(n.created_rev, 0),
		COALESCE(n.rev, 0)
	FROM meta AS m
	LEFT JOIN inboxes AS i ON i.recipient = ?
	LEFT JOIN revocations AS r ON r.user_id = ?
	LEFT JOIN (
		SELECT ` + notificationColumns + `, deleted_at
		FROM notifications
		WHERE recipient = ? AND (rev, id) > (?, ?)
		ORDER BY rev, id
		LIMIT ?
	) AS n ON TRUE
	WHERE m.key = 'epoch'
	ORDER BY n.rev, n.id`

// Changes reads a page of what changed in an inbox behind the position (afterRev, afterID), in its present state, with
// the counters of the same snapshot. To start from a cursor, afterID is "": everything up to afterRev is known. To go
// on, they are the last page's LastRev and LastID; what changes in between moves behind them, so no change is missed.
// When More is false, everything up to the page's Rev was read. The caller compares each page's FloorRev and Epoch with
// the cursor it started from, and bounds limit.
func (db *DB) Changes(ctx context.Context, recipient string, afterRev int64, afterID string, limit int) (Page, error) {
	if afterID == "" {
		afterID = pastAnyID
	}
	p := Page{LastRev: afterRev, LastID: afterID}
	p.Recipient = recipient
	rows := 0
	// One row more than asked for tells whether any follow.
	err := db.query().each(ctx, func(row scanner) error {
		var notBefore, deletedAt instant
		var n Notification
		err := scanNotification(prefixed{row, []any{&p.Epoch, &p.Rev, &p.Unread, &p.Unseen, &p.Total, &p.FloorRev,
			&notBefore, &deletedAt}}, &n)
		if err != nil {
			return err
		}
		p.NotBefore = notBefore.Time
		if n.ID == "" {
			return nil
		}
		if rows++; rows > limit {
			p.More = true
			return nil
		}
		p.LastRev, p.LastID = n.Rev, n.ID
		if deletedAt.IsZero() {
			p.Items = append(p.Items, n)
		} else {
			p.Removed = append(p.Removed, n.ID)
		}
		return nil
	}, changesQuery, recipient, recipient, recipient, afterRev, afterID, limit+1)
	if err != nil {
		return Page{}, fmt.Errorf("read changes: %w", err)
	}
	return p, nil
}

// prefixed scans what a row has before the columns of a notification.
type prefixed struct {
	row    scanner
	before []any
}

func (p prefixed) Scan(dest ...any) error { return p.row.Scan(append(p.before, dest...)...) }

// ChangedRows counts the notifications that changed after a rev, but not further than max+1: to tell a session that is
// too far behind before reading for it.
func (db *DB) ChangedRows(ctx context.Context, recipient string, afterRev int64, max int) (int, error) {
	var n int
	err := db.query().get(ctx, &n, changedRowsQuery, recipient, afterRev, max+1)
	if err != nil {
		return 0, fmt.Errorf("count changes: %w", err)
	}
	return n, nil
}

// The order makes PostgreSQL walk notifications_changed from the cursor on, whatever it estimates.
const changedRowsQuery = `
	SELECT count(*)
	FROM (SELECT 1 FROM notifications WHERE recipient = ? AND rev > ? ORDER BY rev LIMIT ?) AS changed`
