package store

import (
	"context"
	"fmt"
	"time"
)

// Stats are what an operator looks at first.
type Stats struct {
	PolicyVersion int64 `json:"policy_version"` // 0: none was activated
	Users         int64 `json:"users"`
	Loans         int64 `json:"loans"`
	ActiveLoans   int64 `json:"active_loans"`
	Notifications int64 `json:"notifications"`
	Decisions     int64 `json:"decisions"`
	Backlog
}

// Backlog is what waits to be done or looked at. Unlike the rest of Stats it is quick to read, whatever the size of the
// tables.
type Backlog struct {
	// DueNow is what of the due queue has come, OldestDue its first.
	DueNow    int64      `json:"due_now"`
	OldestDue *time.Time `json:"oldest_due"`
	DueParked int64      `json:"due_parked"`
	// OutboxPending are status changes and requests that weren't told yet.
	OutboxPending int64      `json:"outbox_pending"`
	OldestPending *time.Time `json:"oldest_pending"`
	OutboxParked  int64      `json:"outbox_parked"`
	PendingTicks  int64      `json:"pending_ticks"`
	Summaries     int64      `json:"summaries"` // items that no officer has been told of yet
	// StaleLoans follow an older policy still, StalePeople a former zone or preference.
	StaleLoans  int64 `json:"stale_loans"`
	StalePeople int64 `json:"stale_people"`
}

// Stats counts everything, in one snapshot.
func (db *DB) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := db.readAll(ctx, func(q queryer) error {
		for _, count := range []struct {
			into  *int64
			query string
		}{
			{&s.PolicyVersion, `SELECT COALESCE(max(version), 0) FROM policies`},
			{&s.Users, `SELECT count(*) FROM users WHERE erased_at IS NULL`},
			{&s.Loans, `SELECT count(*) FROM loans`},
			{&s.ActiveLoans, `SELECT count(*) FROM loans WHERE status = 'active'`},
			{&s.Notifications, `SELECT count(*) FROM notifications WHERE deleted_at IS NULL`},
			{&s.Decisions, `SELECT count(*) FROM decisions`},
		} {
			if err := q.get(ctx, count.into, count.query); err != nil {
				return err
			}
		}
		var err error
		s.Backlog, err = q.backlog(ctx, db.Now())
		return err
	})
	if err != nil {
		return Stats{}, fmt.Errorf("read stats: %w", err)
	}
	return s, nil
}

// Backlog counts what waits.
func (db *DB) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	err := db.read(ctx, func(q queryer) (err error) {
		b, err = q.backlog(ctx, db.Now())
		return err
	})
	if err != nil {
		return Backlog{}, fmt.Errorf("read backlog: %w", err)
	}
	return b, nil
}

const outboxPending = `
	SELECT created_at FROM status_changes WHERE done_at IS NULL AND parked_at IS NULL
	UNION ALL
	SELECT created_at FROM notification_requests WHERE done_at IS NULL AND parked_at IS NULL`

// backlog reads counts that a partial index holds each.
func (q queryer) backlog(ctx context.Context, now time.Time) (Backlog, error) {
	var b Backlog
	var oldestDue, oldestPending instant
	err := q.each(ctx, func(row scanner) error {
		return row.Scan(&b.DueNow, &oldestDue)
	}, `SELECT count(*), min(next_at) FROM due_reminders WHERE parked_at IS NULL AND next_at <= ?`, now)
	if err != nil {
		return Backlog{}, err
	}
	err = q.each(ctx, func(row scanner) error {
		return row.Scan(&b.OutboxPending, &oldestPending)
	}, `SELECT count(*), min(created_at) FROM (`+outboxPending+`) AS pending`)
	if err != nil {
		return Backlog{}, err
	}
	b.OldestDue, b.OldestPending = oldestDue.pointer(), oldestPending.pointer()
	// As an argument of its own PostgreSQL knows how few loans there are below it.
	var version int64
	if err := q.get(ctx, &version, `SELECT COALESCE(max(version), 0) FROM policies`); err != nil {
		return Backlog{}, err
	}
	for _, count := range []struct {
		into  *int64
		query string
	}{
		{&b.DueParked, `SELECT count(*) FROM due_reminders WHERE parked_at IS NOT NULL`},
		{&b.OutboxParked, `SELECT (SELECT count(*) FROM status_changes WHERE parked_at IS NOT NULL)
			+ (SELECT count(*) FROM notification_requests WHERE parked_at IS NOT NULL)`},
		{&b.PendingTicks, `SELECT count(*) FROM ticks WHERE done_at IS NULL`},
		{&b.Summaries, `SELECT count(*) FROM summary_items`},
		{&b.StalePeople, `SELECT count(*) FROM users WHERE derived < changed`},
	} {
		if err := q.get(ctx, count.into, count.query); err != nil {
			return Backlog{}, err
		}
	}
	return b, q.get(ctx, &b.StaleLoans, `SELECT count(*) FROM loans WHERE policy_version < ? AND status = 'active'`, version)
}

// Idle says whether nothing is left to do for the present instant: no status change, request or tick that isn't done,
// and nothing to derive again. Reminders that have come but whose run hasn't are the business of the next tick, and a
// run's own are done before its TickDone.
func (db *DB) Idle(ctx context.Context) (bool, error) {
	var busy bool
	err := db.query().get(ctx, &busy, `
		SELECT EXISTS (SELECT 1 FROM ticks WHERE done_at IS NULL)
			OR EXISTS (`+outboxPending+`)
			OR COALESCE((SELECT min(policy_version) FROM loans WHERE status = 'active') < (SELECT max(version) FROM policies), FALSE)
			OR (SELECT min(id) FROM users WHERE derived < changed) IS NOT NULL`)
	if err != nil {
		return false, fmt.Errorf("look for work: %w", err)
	}
	return !busy, nil
}
