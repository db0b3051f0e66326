package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// What a Claim is about.
const (
	ClaimStatus  = "status"  // Key is an application
	ClaimRequest = "request" // Key is a request
)

// Claim is something that is to be told and was handed out to be enqueued. Attempt counts how often it was handed out; 0: whoever
// wrote it has it, and nobody else before half a minute has passed.
type Claim struct {
	Kind    string
	Key     string
	Attempt int
}

// Recipients are whom a status change is told to: the borrower and those of Notify, each once.
func (c StatusChange) Recipients() []string {
	list := make([]string, 0, 1+len(c.Notify))
	for _, id := range append([]string{c.BorrowerID}, c.Notify...) {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

// Added is what became of one row that was put into the outbox.
type Added struct {
	Created bool // false: the same row was there already
	Err     error
}

// AddStatusChanges puts status changes into the outbox, all at once, and answers for each. A new row counts as claimed: the caller
// enqueues Claim{ClaimStatus, its application, 0} now, or gives it back with UnclaimOutbox. The same change again isn't created and
// enqueues nothing; ErrConflict if it differs.
func (db *DB) AddStatusChanges(ctx context.Context, rows []StatusChange) []Added {
	return add(ctx, db, "add status change", rows, func(q queryer, rows []StatusChange) (map[int]bool, error) {
		return q.insertStatusChanges(ctx, rows, true, db.Now())
	}, func(q queryer, rows []StatusChange, added map[int]bool) ([]Rejected, error) {
		return q.conflicts(ctx, rows, added)
	})
}

// AddRequests puts requests into the outbox, as AddStatusChanges does; the claims are Claim{ClaimRequest, its id, 0}.
func (db *DB) AddRequests(ctx context.Context, requests []Request) []Added {
	return add(ctx, db, "add notification request", requests, func(q queryer, rows []Request) (map[int]bool, error) {
		return q.insertRequests(ctx, rows, true, db.Now())
	}, func(q queryer, rows []Request, added map[int]bool) ([]Rejected, error) {
		return q.requestConflicts(ctx, rows, added)
	})
}

// add inserts rows by one statement, which is a transaction of its own, and compares those that were there with what is stored. Where
// one of several can't be written, each is written alone.
func add[T any](ctx context.Context, db *DB, what string, rows []T, insert func(queryer, []T) (map[int]bool, error),
	conflicts func(queryer, []T, map[int]bool) ([]Rejected, error)) []Added {
	q := queryer{ext: db.writer, pg: db.pg != nil}
	var added map[int]bool
	err := retrying(ctx, func() (err error) {
		added, err = insert(q, rows)
		return err
	})
	list := make([]Added, len(rows))
	if err != nil && len(rows) > 1 && badRow(err) {
		for i := range rows {
			list[i] = add(ctx, db, what, rows[i:i+1], insert, conflicts)[0]
		}
		return list
	}
	var rejected []Rejected
	if err == nil && len(added) < len(rows) {
		rejected, err = conflicts(q, rows, added)
	}
	for i := range list {
		if list[i].Created = added[i]; !added[i] && err != nil {
			list[i].Err = fmt.Errorf("%s: %w", what, err)
		}
	}
	for _, r := range rejected {
		list[r.Index].Err = fmt.Errorf("%s: %w", what, r.Err)
	}
	return list
}

// insertStatusChanges inserts what is new, in the order of rows within an application, and answers the indexes of what was.
func (q queryer) insertStatusChanges(ctx context.Context, rows []StatusChange, claimed bool, now time.Time) (added map[int]bool, err error) {
	// By application, because the trigger locks each in turn.
	order := make([]int, len(rows))
	for i := range rows {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rows[a].ApplicationID, rows[b].ApplicationID) })
	enqueuedAt := claimedAt(claimed)
	first := make(map[string]int) // by id, what is tried
	var tried []StatusChange
	for _, i := range order {
		if _, repeated := first[rows[i].ID]; !repeated {
			first[rows[i].ID] = i
			tried = append(tried, rows[i])
		}
	}
	added = make(map[int]bool)
	for chunk := range slices.Chunk(tried, tableRows) {
		v, args := q.table("v",
			col("id", "text", pluck(chunk, func(c StatusChange) string { return c.ID })),
			col("application_id", "text", pluck(chunk, func(c StatusChange) string { return c.ApplicationID })),
			col("borrower_id", "text", pluck(chunk, func(c StatusChange) string { return c.BorrowerID })),
			col("from_status", "text", pluck(chunk, func(c StatusChange) string { return c.From })),
			col("to_status", "text", pluck(chunk, func(c StatusChange) string { return c.To })),
			col("reason", "text", pluck(chunk, func(c StatusChange) *string { return optional(c.Reason) })),
			col("occurred_at", "timestamptz", pluck(chunk, func(c StatusChange) time.Time { return stamp(c.OccurredAt) })),
			col("notify", "jsonb", pluck(chunk, func(c StatusChange) string { return stringList(c.Notify) })),
			col("body_hash", "text", pluck(chunk, func(c StatusChange) *string { return optional(c.BodyHash) })),
			col("created_at", "timestamptz", pluck(chunk, func(StatusChange) time.Time { return now })),
			col("enqueued_at", "timestamptz", pluck(chunk, func(StatusChange) *time.Time { return enqueuedAt })))
		var ids []string
		err := q.all(ctx, &ids, `
			INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, reason, occurred_at,
				notify, body_hash, created_at, enqueued_at)
			SELECT v.id, v.application_id, v.borrower_id, v.from_status, v.to_status, v.reason, v.occurred_at,
				v.notify, v.body_hash, v.created_at, v.enqueued_at
			FROM `+v+` WHERE true
			ON CONFLICT (id) DO NOTHING
			RETURNING id`, args...)
		if err != nil {
			return nil, fmt.Errorf("insert status changes: %w", err)
		}
		for _, id := range ids {
			added[first[id]] = true
		}
	}
	return added, nil
}

// conflicts are the rows, but for those that were added, whose id came with another body before.
func (q queryer) conflicts(ctx context.Context, rows []StatusChange, added map[int]bool) (rejected []Rejected, err error) {
	stored, err := q.statusChanges(ctx, q.in("id"), "", q.list(pluck(rows, func(c StatusChange) string { return c.ID })))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]StatusChange, len(stored))
	for _, c := range stored {
		byID[c.ID] = c
	}
	for i, c := range rows {
		if !added[i] && !c.repeats(byID[c.ID]) {
			rejected = append(rejected, Rejected{Index: i, Err: ErrConflict})
		}
	}
	return rejected, nil
}

// repeats says whether c says what is stored. Rows that a caller inserted by SQL have no hash, and no reason any more once
// it was pruned.
func (c StatusChange) repeats(old StatusChange) bool {
	if old.BodyHash != "" {
		return c.BodyHash == old.BodyHash
	}
	return c.ApplicationID == old.ApplicationID && c.BorrowerID == old.BorrowerID && c.From == old.From && c.To == old.To &&
		(c.Reason == old.Reason || old.pruned) && stamp(c.OccurredAt).Equal(old.OccurredAt) && slices.Equal(c.Notify, old.Notify)
}

// statusChanges reads status changes in the order of arrival. What limits them comes behind the condition's arguments.
func (q queryer) statusChanges(ctx context.Context, condition, limit string, args ...any) ([]StatusChange, error) {
	var list []StatusChange
	err := q.together(ctx, readStatusChanges(&list, condition, limit, args...))
	return list, err
}

func readStatusChanges(list *[]StatusChange, condition, limit string, args ...any) statement {
	return statement{what: "read status changes", args: args, query: `
		SELECT id, application_id, borrower_id, from_status, to_status, COALESCE(reason, ''), occurred_at, notify,
			COALESCE(body_hash, ''), pruned_at IS NOT NULL
		FROM status_changes
		WHERE ` + condition + `
		ORDER BY seq` + limit, scan: func(row scanner) error {
		var c StatusChange
		var occurredAt instant
		var notify string
		err := row.Scan(&c.ID, &c.ApplicationID, &c.BorrowerID, &c.From, &c.To, &c.Reason, &occurredAt, &notify, &c.BodyHash,
			&c.pruned)
		if err != nil {
			return err
		}
		c.OccurredAt = occurredAt.Time
		err = json.Unmarshal([]byte(notify), &c.Notify)
		*list = append(*list, c)
		return err
	}}
}

// insertRequests inserts requests whose ids are new and answers the indexes of those.
func (q queryer) insertRequests(ctx context.Context, requests []Request, claimed bool, now time.Time) (added map[int]bool, err error) {
	enqueuedAt := claimedAt(claimed)
	first := make(map[string]int) // by id, what is tried
	var tried []Request
	for i, r := range requests {
		if _, repeated := first[r.ID]; !repeated {
			first[r.ID] = i
			tried = append(tried, r)
		}
	}
	added = make(map[int]bool)
	for chunk := range slices.Chunk(tried, tableRows) {
		v, args := q.table("v",
			col("id", "text", pluck(chunk, func(r Request) string { return r.ID })),
			col("body", "json", pluck(chunk, func(r Request) string { return string(r.Body) })),
			col("body_hash", "text", pluck(chunk, func(r Request) string { return r.BodyHash })),
			col("created_at", "timestamptz", pluck(chunk, func(Request) time.Time { return now })),
			col("enqueued_at", "timestamptz", pluck(chunk, func(Request) *time.Time { return enqueuedAt })))
		var ids []string
		err := q.all(ctx, &ids, `
			INSERT INTO notification_requests (id, body, body_hash, created_at, enqueued_at)
			SELECT v.id, v.body, v.body_hash, v.created_at, v.enqueued_at
			FROM `+v+` WHERE true
			ON CONFLICT (id) DO NOTHING
			RETURNING id`, args...)
		if err != nil {
			return nil, fmt.Errorf("insert notification requests: %w", err)
		}
		for _, id := range ids {
			added[first[id]] = true
		}
	}
	return added, nil
}

// requestConflicts is conflicts for requests.
func (q queryer) requestConflicts(ctx context.Context, requests []Request, added map[int]bool) (rejected []Rejected, err error) {
	hashes := make(map[string]string)
	err = q.each(ctx, func(row scanner) error {
		var id, hash string
		err := row.Scan(&id, &hash)
		hashes[id] = hash
		return err
	}, `SELECT id, body_hash FROM notification_requests WHERE `+q.in("id"), q.list(pluck(requests, func(r Request) string { return r.ID })))
	if err != nil {
		return nil, fmt.Errorf("read notification requests: %w", err)
	}
	for i, r := range requests {
		if !added[i] && hashes[r.ID] != r.BodyHash {
			rejected = append(rejected, Rejected{Index: i, Err: ErrConflict})
		}
	}
	return rejected, nil
}

// claimedAt is when what is written now was enqueued, for whoever enqueues it himself.
func claimedAt(claimed bool) *time.Time {
	if !claimed {
		return nil
	}
	now := wallNow()
	return &now
}

// ClaimOutbox hands out what is to be told and wasn't enqueued yet, or was longer than retryAfter ago (of real time)
// and isn't done: at most limit applications and as many requests. An application is one claim, however many changes
// wait for it.
func (db *DB) ClaimOutbox(ctx context.Context, limit int, retryAfter time.Duration) ([]Claim, error) {
	var claims []Claim
	now := wallNow()
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		claims = nil
		applications, err := tx.claimApplications(ctx, limit, now, now.Add(-retryAfter))
		if err != nil {
			return err
		}
		requests, err := tx.claimRequests(ctx, limit, now, now.Add(-retryAfter))
		claims = append(applications, requests...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim outbox: %w", err)
	}
	return claims, nil
}

// claimable reads the pending rows that nobody has, never enqueued ones first. Both queries are ranges of the claim
// index, so rows that are already in the queue cost nothing.
func (tx *Tx) claimable(ctx context.Context, table, column string, limit int, before time.Time) ([]string, error) {
	var keys []string
	query := `SELECT ` + column + ` FROM ` + table + ` WHERE done_at IS NULL AND parked_at IS NULL AND `
	if err := tx.all(ctx, &keys, query+`enqueued_at IS NULL ORDER BY seq LIMIT ?`, limit); err != nil {
		return nil, err
	}
	if len(keys) < limit {
		var late []string
		err := tx.all(ctx, &late, query+`enqueued_at < ? ORDER BY enqueued_at, seq LIMIT ?`, before, limit-len(keys))
		if err != nil {
			return nil, err
		}
		keys = append(keys, late...)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

func (tx *Tx) claimApplications(ctx context.Context, limit int, now, before time.Time) ([]Claim, error) {
	keys, err := tx.claimable(ctx, "status_changes", "application_id", limit, before)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	// An application that is locked is being told, or a caller's transaction has just added to it: its turn comes with
	// a later poll, and the others needn't wait for it.
	var free []string
	err = tx.all(ctx, &free, `SELECT id FROM applications WHERE `+tx.in("id")+` ORDER BY id`+tx.skipLocked(), tx.list(keys))
	if err != nil || len(free) == 0 {
		return nil, err
	}
	// Looked at again under the lock: another relay may have been here.
	var mine []string
	err = tx.all(ctx, &mine, `
		UPDATE status_changes
		SET enqueued_at = ?
		WHERE done_at IS NULL AND parked_at IS NULL AND `+tx.in("application_id")+`
			AND application_id IN (
				SELECT application_id
				FROM status_changes
				WHERE done_at IS NULL AND parked_at IS NULL AND `+tx.in("application_id")+`
					AND (enqueued_at IS NULL OR enqueued_at < ?))
		RETURNING application_id`, now, tx.list(free), tx.list(free), before)
	if err != nil || len(mine) == 0 {
		return nil, err
	}
	return tx.claims(ctx, ClaimStatus, `
		UPDATE applications
		SET attempt = attempt + 1
		WHERE `+tx.in("id")+`
		RETURNING id, attempt`, tx.list(mine))
}

func (tx *Tx) claimRequests(ctx context.Context, limit int, now, before time.Time) ([]Claim, error) {
	keys, err := tx.claimable(ctx, "notification_requests", "id", limit, before)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	var free []string
	err = tx.all(ctx, &free, `
		SELECT id
		FROM notification_requests
		WHERE `+tx.in("id")+` AND done_at IS NULL AND parked_at IS NULL AND (enqueued_at IS NULL OR enqueued_at < ?)
		ORDER BY id`+tx.skipLocked(), tx.list(keys), before)
	if err != nil || len(free) == 0 {
		return nil, err
	}
	return tx.claims(ctx, ClaimRequest, `
		UPDATE notification_requests
		SET enqueued_at = ?, attempt = attempt + 1
		WHERE `+tx.in("id")+`
		RETURNING id, attempt`, now, tx.list(free))
}

// claims runs an UPDATE that returns keys and attempts.
func (tx *Tx) claims(ctx context.Context, kind, query string, args ...any) ([]Claim, error) {
	var claims []Claim
	err := tx.each(ctx, func(row scanner) error {
		c := Claim{Kind: kind}
		err := row.Scan(&c.Key, &c.Attempt)
		claims = append(claims, c)
		return err
	}, query, args...)
	slices.SortFunc(claims, func(a, b Claim) int { return cmp.Compare(a.Key, b.Key) })
	return claims, err
}

// UnclaimOutbox gives claims back that couldn't be enqueued: the next ClaimOutbox hands them out again.
func (db *DB) UnclaimOutbox(ctx context.Context, claims []Claim) error {
	keys := make(map[string][]string)
	for _, c := range claims {
		keys[c.Kind] = append(keys[c.Kind], c.Key)
	}
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		for _, t := range []struct{ kind, table, column string }{
			{ClaimStatus, "status_changes", "application_id"},
			{ClaimRequest, "notification_requests", "id"},
		} {
			locked := t.table
			if t.kind == ClaimStatus {
				locked = "applications" // whoever tells or claims its changes holds it
			}
			if err := tx.lockRows(ctx, locked, keys[t.kind]); err != nil {
				return err
			}
			_, err := tx.exec(ctx, `
				UPDATE `+t.table+`
				SET enqueued_at = NULL
				WHERE done_at IS NULL AND parked_at IS NULL AND `+tx.in(t.column), tx.list(keys[t.kind]))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give claims back: %w", err)
	}
	return nil
}

// UnclaimAll gives everything back that was claimed and isn't done, ticks too: what it was enqueued in has gone for certain.
func (db *DB) UnclaimAll(ctx context.Context) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		for _, open := range []string{
			"status_changes SET enqueued_at = NULL WHERE done_at IS NULL AND parked_at IS NULL",
			"notification_requests SET enqueued_at = NULL WHERE done_at IS NULL AND parked_at IS NULL",
			"ticks SET enqueued_at = NULL WHERE done_at IS NULL",
		} {
			if _, err := tx.exec(ctx, "UPDATE "+open+" AND enqueued_at IS NOT NULL"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give all claims back: %w", err)
	}
	return nil
}

// wallNow is the real time, in which the outbox counts: queues don't run on a simulated clock.
func wallNow() time.Time { return stamp(time.Now()) }

// stamp is an instant as both databases keep it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// stringList is a JSON array, [] for none.
func stringList(list []string) string {
	if list == nil {
		list = []string{}
	}
	text, _ := json.Marshal(list) // strings always encode
	return string(text)
}
