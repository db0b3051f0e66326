package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"duebell/internal/civil"
)

// inbox is one recipient's counters, locked by the transaction until its end. Every function that changes them is run
// by Tx.atEnd.
type inbox struct {
	recipient string
	rev       int64
	floorRev  int64
	seenRev   int64
	unread    int64
	unseen    int64
	total     int64
	capDay    civil.Date
	capCount  int

	fresh       bool // there was none when the transaction looked
	dirty       bool
	from        int64 // rev when it was locked
	items       []Notification
	removed     []string
	readThrough int64
	reset       bool
}

func (ib *inbox) counts() Counts {
	return Counts{Rev: ib.rev, Unread: ib.unread, Unseen: ib.unseen, Total: ib.total}
}

// next takes a rev.
func (ib *inbox) next() int64 {
	ib.rev++
	ib.dirty = true
	return ib.rev
}

// count adds what n contributes to the counters, times sign. A deleted one contributes nothing and isn't handed in.
func (ib *inbox) count(n *Notification, sign int64) {
	if n.ArchivedAt != nil {
		return
	}
	ib.total += sign
	if n.ReadAt == nil && n.ResolvedAt == nil {
		ib.unread += sign
	}
	if n.CreatedRev > ib.seenRev {
		ib.unseen += sign
	}
}

// sentOn is how many capped notifications the person got on that day of theirs.
func (ib *inbox) sentOn(day civil.Date) int {
	if ib.capDay != day {
		return 0
	}
	return ib.capCount
}

// addSent counts n more capped notifications on that day. An earlier day than the last counted one is left alone.
func (ib *inbox) addSent(day civil.Date, n int) {
	switch {
	case ib.capDay == day:
		ib.capCount += n
	case ib.capDay.Before(day):
		ib.capDay, ib.capCount = day, n
	default:
		return
	}
	ib.dirty = true
}

// inbox is the locked inbox of a recipient that atEnd was given.
func (tx *Tx) inbox(recipient string) (*inbox, error) {
	ib := tx.inboxes[recipient]
	if ib == nil {
		return nil, fmt.Errorf("the inbox of %q isn't locked by this transaction", recipient)
	}
	return ib, nil
}

// lockInboxes locks the inboxes of all touched recipients; makeInboxes makes those that don't exist yet. No two transactions can
// wait for each other: existing rows are locked in byte order, by a statement of its own, which at READ COMMITTED also reads what the
// last holder left; and whoever makes rows, in byte order too, locks none any more.
func (tx *Tx) lockInboxes(ctx context.Context) error {
	if len(tx.touched) == 0 || len(tx.inboxes) > 0 {
		return nil
	}
	return tx.together(ctx, tx.lockAll(slices.Collect(maps.Keys(tx.touched))))
}

// lockAll locks those of recipients' inboxes that exist. Whoever knows before he says atEnd whose inboxes that may be can have them
// locked with what he asks last before. The column's collation is "C" (on SQLite BINARY), so ORDER BY is byte order; rows are locked in
// that order because PostgreSQL locks above the sort.
func (tx *Tx) lockAll(recipients []string) statement {
	recipients = sortedSet(recipients)
	tx.inboxes = make(map[string]*inbox, len(recipients))
	tx.held = make([]inbox, len(recipients))
	for i, r := range recipients {
		tx.held[i] = inbox{recipient: r, fresh: true}
		tx.inboxes[r] = &tx.held[i]
	}
	var found inbox
	return statement{what: "lock inboxes", args: []any{tx.list(recipients)}, scan: func(row scanner) error {
		err := row.Scan(&found.recipient, &found.rev, &found.floorRev, &found.seenRev, &found.unread, &found.unseen, &found.total,
			day{&found.capDay}, &found.capCount)
		found.from = found.rev
		*tx.inboxes[found.recipient] = found
		return err
	}, query: `
		SELECT recipient, rev, floor_rev, seen_rev, unread, unseen, total, cap_day, cap_count
		FROM inboxes
		WHERE ` + tx.in("recipient") + `
		ORDER BY recipient` + tx.forUpdate()}
}

// saveInboxes writes the counters of the inboxes that changed.
func (tx *Tx) saveInboxes(ctx context.Context) error {
	if err := tx.makeInboxes(ctx); err != nil {
		return err
	}
	for chunk := range slices.Chunk(tx.inboxesThat(func(ib *inbox) bool { return ib.dirty }), tableRows) {
		v, args := tx.table("v", inboxColumns(chunk)...)
		err := tx.post(ctx, "save inboxes", `
			UPDATE inboxes
			SET rev = v.rev, floor_rev = v.floor_rev, seen_rev = v.seen_rev, unread = v.unread, unseen = v.unseen,
				total = v.total, cap_day = v.cap_day, cap_count = v.cap_count
			FROM `+v+`
			WHERE inboxes.recipient = v.recipient`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// makeInboxes writes the touched inboxes that didn't exist, as they now are. It comes before the first notification of any of them: so
// whoever finds that somebody else has made one meanwhile finds it here (inboxTaken).
func (tx *Tx) makeInboxes(ctx context.Context) error {
	fresh := tx.inboxesThat(func(ib *inbox) bool { return ib.fresh && tx.touched[ib.recipient] })
	for chunk := range slices.Chunk(fresh, tableRows) {
		if err := tx.insertInto(ctx, "make inboxes", "inboxes", inboxColumns(chunk)...); err != nil {
			return err
		}
	}
	for _, ib := range fresh {
		ib.fresh, ib.dirty = false, false
	}
	return nil
}

// inboxesThat are those of the transaction for which keep holds, in byte order.
func (tx *Tx) inboxesThat(keep func(*inbox) bool) []*inbox {
	var list []*inbox
	for i := range tx.held {
		if ib := &tx.held[i]; keep(ib) {
			if list == nil {
				list = make([]*inbox, 0, len(tx.held)-i)
			}
			list = append(list, ib)
		}
	}
	return list
}

func inboxColumns(rows []*inbox) []column {
	return []column{
		col("recipient", "text", pluck(rows, func(ib *inbox) string { return ib.recipient })),
		col("rev", "bigint", pluck(rows, func(ib *inbox) int64 { return ib.rev })),
		col("floor_rev", "bigint", pluck(rows, func(ib *inbox) int64 { return ib.floorRev })),
		col("seen_rev", "bigint", pluck(rows, func(ib *inbox) int64 { return ib.seenRev })),
		col("unread", "bigint", pluck(rows, func(ib *inbox) int64 { return ib.unread })),
		col("unseen", "bigint", pluck(rows, func(ib *inbox) int64 { return ib.unseen })),
		col("total", "bigint", pluck(rows, func(ib *inbox) int64 { return ib.total })),
		col("cap_day", "date", pluck(rows, func(ib *inbox) civil.Date { return ib.capDay })),
		col("cap_count", "integer", pluck(rows, func(ib *inbox) int { return ib.capCount })),
	}
}

// makeEmptyInboxes makes those of recipients that don't exist yet by exec, which commits.
func (db *DB) makeEmptyInboxes(ctx context.Context, recipients []string, exec func(ctx context.Context, query string, args ...any) error) error {
	q := db.query()
	for chunk := range slices.Chunk(slices.Sorted(slices.Values(recipients)), tableRows) {
		v, args := q.table("v", col("recipient", "text", chunk))
		err := exec(ctx, q.rebind(`INSERT INTO inboxes (recipient) SELECT v.recipient FROM `+v+` WHERE true ON CONFLICT (recipient) DO NOTHING`), args...)
		if err != nil {
			return fmt.Errorf("make inboxes: %w", err)
		}
	}
	return nil
}

// makeInboxesAside is makeEmptyInboxes on a connection of its own: the caller holds one of the pool, and others like him may hold the rest.
func (db *DB) makeInboxesAside(ctx context.Context, recipients []string) error {
	if db.pg == nil || len(recipients) == 0 {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, db.pg)
	if err != nil {
		return fmt.Errorf("make inboxes: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	registerArrays(conn)
	return db.makeEmptyInboxes(ctx, recipients, func(ctx context.Context, query string, args ...any) error {
		_, err := conn.Exec(ctx, query, args...)
		return err
	})
}

// changes is what the transaction did, one Change an inbox that took a rev, by recipient.
func (tx *Tx) changes() []Change {
	moved := tx.inboxesThat(func(ib *inbox) bool { return ib.rev != ib.from })
	changes := make([]Change, 0, len(moved))
	for _, ib := range moved {
		slices.SortFunc(ib.items, func(a, b Notification) int {
			return cmp.Or(cmp.Compare(a.Rev, b.Rev), cmp.Compare(a.ID, b.ID))
		})
		changes = append(changes, Change{Recipient: ib.recipient, From: ib.from, Counts: ib.counts(), Items: ib.items,
			Removed: ib.removed, ReadThrough: ib.readThrough, Reset: ib.reset})
	}
	return changes
}

// insert writes notifications, each with the next rev of its inbox, in the order given. The answer is aligned with
// drafts; a draft whose Key was used before, here or ever, is dropped and has the zero Notification (ID "").
func (tx *Tx) insert(ctx context.Context, drafts []Draft) ([]Notification, error) {
	written := make([]Notification, len(drafts))
	ids := newIDs(tx.now, len(drafts))
	fresh, err := tx.takeKeys(ctx, drafts, ids)
	if err != nil {
		return nil, err
	}
	recipients, rows := make([]string, 0, len(drafts)), make([]*Notification, 0, len(drafts))
	for i, d := range drafts {
		if !fresh[i] {
			continue
		}
		ib, err := tx.inbox(d.Recipient)
		if err != nil {
			return nil, err
		}
		rev := ib.next()
		n := Notification{ID: ids[i], Kind: d.Kind, Title: d.Title, Body: d.Body, Data: d.Data, CreatedAt: tx.now,
			Quiet: d.Quiet, CreatedRev: rev, Rev: rev}
		if d.URL != "" {
			n.URL = &drafts[i].URL
		}
		written[i] = n
		ib.count(&n, 1)
		if ib.items == nil {
			ib.items = written[i : i+1 : i+1] // who changes it copies it first
		} else {
			ib.items = append(ib.items, n)
		}
		recipients = append(recipients, d.Recipient)
		rows = append(rows, &written[i])
	}
	if err := tx.makeInboxes(ctx); err != nil {
		return nil, err
	}
	for start := 0; start < len(rows); start += tableRows {
		end := min(start+tableRows, len(rows))
		if err := tx.insertRows(ctx, recipients[start:end], rows[start:end]); err != nil {
			return nil, err
		}
	}
	return written, nil
}

func (tx *Tx) insertRows(ctx context.Context, recipients []string, rows []*Notification) error {
	revs := pluck(rows, func(n *Notification) int64 { return n.Rev })
	return tx.insertInto(ctx, "insert notifications", "notifications",
		col("id", "text", pluck(rows, func(n *Notification) string { return n.ID })),
		col("recipient", "text", recipients),
		col("kind", "text", pluck(rows, func(n *Notification) string { return n.Kind })),
		col("title", "text", pluck(rows, func(n *Notification) string { return n.Title })),
		col("body", "text", pluck(rows, func(n *Notification) string { return n.Body })),
		col("data", "json", pluck(rows, func(n *Notification) []byte { return n.Data })),
		col("url", "text", pluck(rows, func(n *Notification) *string { return n.URL })),
		col("quiet", "boolean", pluck(rows, func(n *Notification) bool { return n.Quiet })),
		col("created_at", "timestamptz", pluck(rows, func(n *Notification) time.Time { return n.CreatedAt })),
		col("created_rev", "bigint", revs),
		col("rev", "bigint", revs))
}

// takeKeys says which drafts are new. Keys are inserted in byte order: whoever holds the same one is waited for. They are new but for
// what was told in an earlier life: so on PostgreSQL they aren't asked about at first, and a transaction that meets one which was taken
// runs again.
func (tx *Tx) takeKeys(ctx context.Context, drafts []Draft, ids []string) ([]bool, error) {
	fresh := make([]bool, len(drafts))
	byKey := make(map[string]int)
	var keys []string
	for i, d := range drafts {
		if d.Key == "" {
			fresh[i] = true
			continue
		}
		if _, repeated := byKey[d.Key]; !repeated {
			byKey[d.Key] = i
			keys = append(keys, d.Key)
		}
	}
	slices.Sort(keys)
	for chunk := range slices.Chunk(keys, tableRows) {
		v, args := tx.table("v",
			col("key", "text", chunk),
			col("id", "text", pluck(chunk, func(key string) string { return ids[byKey[key]] })))
		insert := `INSERT INTO notification_keys (key, notification_id) SELECT v.key, v.id FROM ` + v + ` WHERE true`
		taken := chunk
		var err error
		if tx.pg && !tx.doubtful {
			err = tx.post(ctx, takeKeys, insert, args...)
		} else {
			taken = nil
			err = tx.together(ctx, statement{what: takeKeys, query: insert + ` ON CONFLICT (key) DO NOTHING RETURNING key`, args: args, scan: texts(&taken)})
		}
		if err != nil {
			return nil, err
		}
		for _, key := range taken {
			fresh[byKey[key]] = true
		}
	}
	return fresh, nil
}

const takeKeys = "take notification keys"

// stored is a notification as it lies in the table.
type stored struct {
	Notification
	recipient string
	deletedAt *time.Time
}

// load reads notifications under the locks of their inboxes. Deleted ones are left out.
func (tx *Tx) load(ctx context.Context, condition string, args ...any) ([]*stored, error) {
	var rows []*stored
	err := tx.each(ctx, func(row scanner) error {
		s := &stored{}
		rows = append(rows, s)
		return scanNotification(row, &s.Notification, &s.recipient)
	}, `SELECT `+notificationColumns+`, recipient FROM notifications WHERE deleted_at IS NULL AND `+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("read notifications: %w", err)
	}
	return rows, nil
}

// update changes notifications that load answered: edit says whether it changed one. Those of one inbox get one rev
// together, and the counters follow.
func (tx *Tx) update(ctx context.Context, rows []*stored, edit func(*stored) bool) error {
	revs := make(map[string]int64)
	var changed []*stored
	for _, s := range rows {
		ib, err := tx.inbox(s.recipient)
		if err != nil {
			return err
		}
		before := s.Notification
		if !edit(s) {
			continue
		}
		if revs[s.recipient] == 0 {
			revs[s.recipient] = ib.next()
		}
		s.Rev = revs[s.recipient]
		ib.count(&before, -1)
		ib.items = slices.DeleteFunc(slices.Clone(ib.items), func(n Notification) bool { return n.ID == s.ID })
		if s.deletedAt != nil {
			ib.removed = append(ib.removed, s.ID)
		} else {
			ib.count(&s.Notification, 1)
			ib.items = append(ib.items, s.Notification)
		}
		changed = append(changed, s)
	}
	for chunk := range slices.Chunk(changed, tableRows) {
		v, args := tx.table("v",
			col("id", "text", pluck(chunk, func(s *stored) string { return s.ID })),
			col("read_at", "timestamptz", pluck(chunk, func(s *stored) *time.Time { return s.ReadAt })),
			col("archived_at", "timestamptz", pluck(chunk, func(s *stored) *time.Time { return s.ArchivedAt })),
			col("resolved_at", "timestamptz", pluck(chunk, func(s *stored) *time.Time { return s.ResolvedAt })),
			col("deleted_at", "timestamptz", pluck(chunk, func(s *stored) *time.Time { return s.deletedAt })),
			col("rev", "bigint", pluck(chunk, func(s *stored) int64 { return s.Rev })))
		err := tx.post(ctx, "update notifications", `
			UPDATE notifications
			SET read_at = v.read_at, archived_at = v.archived_at, resolved_at = v.resolved_at,
				deleted_at = v.deleted_at, rev = v.rev
			FROM `+v+`
			WHERE notifications.id = v.id`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// setResolved marks notifications as no longer true (or true again). Deleted, unknown and unchanged ones are passed
// over; their inboxes must be locked.
func (tx *Tx) setResolved(ctx context.Context, ids []string, resolved bool) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.load(ctx, tx.in("id"), tx.list(ids))
	if err != nil {
		return err
	}
	return tx.update(ctx, rows, func(s *stored) bool {
		return setTime(&s.ResolvedAt, resolved, tx.now)
	})
}

// erase forgets everything in an inbox, tombstones too, and clients start over. The rev goes on, so that no cursor of
// before fits again. The keys stay: a retried task doesn't tell an erased person anew.
func (tx *Tx) erase(ctx context.Context, recipient string) error {
	ib, err := tx.inbox(recipient)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM notifications WHERE recipient = ?`, recipient); err != nil {
		return fmt.Errorf("erase notifications: %w", err)
	}
	rev := ib.next()
	ib.floorRev, ib.seenRev = rev, rev
	ib.unread, ib.unseen, ib.total = 0, 0, 0
	ib.items, ib.removed, ib.readThrough, ib.reset = nil, nil, 0, true
	return nil
}

// setTime sets or clears t and says whether that was a change.
func setTime(t **time.Time, set bool, now time.Time) bool {
	if set == (*t != nil) {
		return false
	}
	if set {
		*t = &now
	} else {
		*t = nil
	}
	return true
}

const notificationColumns = `id, kind, title, body, data, url, created_at, read_at, archived_at, resolved_at, quiet, created_rev, rev`

// scanNotification reads notificationColumns and what follows them.
func scanNotification(row scanner, n *Notification, more ...any) error {
	var createdAt, readAt, archivedAt, resolvedAt instant
	// Data's own type isn't one that database/sql scans a string or a null into.
	dest := append([]any{&n.ID, &n.Kind, &n.Title, &n.Body, (*[]byte)(&n.Data), &n.URL, &createdAt, &readAt, &archivedAt,
		&resolvedAt, &n.Quiet, &n.CreatedRev, &n.Rev}, more...)
	if err := row.Scan(dest...); err != nil {
		return fmt.Errorf("scan notification: %w", err)
	}
	n.CreatedAt = createdAt.Time
	n.ReadAt, n.ArchivedAt, n.ResolvedAt = readAt.pointer(), archivedAt.pointer(), resolvedAt.pointer()
	return nil
}

// idEncoding's alphabet is in byte order, so ids of later milliseconds sort behind earlier ones.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newIDs makes n ids of 26 characters, in order: milliseconds since 1970 in 48 bits, then 80 random ones (the shape of a ULID). In order
// they go to the end of the index, one behind the other.
func newIDs(now time.Time, n int) []string {
	ids := make([]string, n)
	random := make([]byte, 10*n)
	rand.Read(random) // never fails
	ms := uint64(now.UnixMilli())
	var raw [16]byte
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	for i := range ids {
		copy(raw[6:], random[10*i:])
		ids[i] = idEncoding.EncodeToString(raw[:])
	}
	slices.Sort(ids)
	return ids
}

// idsFrom is where the ids of notifications begin that are created at an instant or later, to the millisecond.
func idsFrom(at time.Time) string {
	var raw [16]byte
	for i, ms := 0, uint64(at.UnixMilli()); i < 6; i++ {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	return idEncoding.EncodeToString(raw[:])
}

func pluck[T, V any](rows []T, field func(T) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = field(r)
	}
	return values
}

// pointers is for rows that are too large to be copied for each field.
func pointers[T any](rows []T) []*T {
	list := make([]*T, len(rows))
	for i := range rows {
		list[i] = &rows[i]
	}
	return list
}
