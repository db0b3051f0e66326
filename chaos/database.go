package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// database reads the rows past the programs: what they say about themselves proves nothing.
type database struct {
	sql      *sql.DB
	postgres bool
}

func openDatabase(url string) (*database, error) {
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		db, err := sql.Open("sqlite", "file:"+path+"?_query_only=1&_busy_timeout=10000")
		return &database{db, false}, err
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	return &database{db, true}, nil
}

// micros is SQL for an instant in microseconds since 1970; 0 for null.
func (d *database) micros(column string) string {
	if d.postgres {
		return "COALESCE((extract(epoch FROM " + column + ") * 1000000)::bigint, 0)"
	}
	return "COALESCE(CAST(" + column + " AS INTEGER), 0)"
}

func (d *database) text(column string) string { return "COALESCE(CAST(" + column + " AS TEXT), '')" }

// truth is CASE for a condition, the same on both databases.
func truth(condition string) string { return "CASE WHEN " + condition + " THEN 1 ELSE 0 END" }

// record is a row of notifications.
type record struct {
	id, recipient, kind, title string
	data                       eventData
	read, archived             bool
	resolved, deleted          bool
	quiet                      bool
	createdRev, rev            int64
}

type inbox struct {
	rev, unread, unseen, total, seenRev int64
}

// decision is a reminder that was sent.
type decision struct {
	loan, day, recipient, kind, notification string
	offset                                   int
	at                                       int64 // µs since 1970
}

type requestRow struct {
	id   string
	done bool
}

// rows is everything that the checker looks at, in one snapshot.
type rows struct {
	notifications []*record
	inboxes       map[string]inbox
	keys          map[string]string // to the id of the notification
	sent          []decision
	open          map[string]int64 // of the first installment, by loan
	status        map[string]string
	requests      []requestRow
	backlog       backlog
}

// backlog is what is left to be done.
type backlog struct {
	Outbox, Parked, Ticks, Due, Summaries, Stale int64
}

func (b backlog) empty() bool { return b == backlog{} }

// read reads everything.
func (d *database) read(ctx context.Context) (*rows, error) {
	isolation := sql.LevelDefault
	if d.postgres {
		isolation = sql.LevelRepeatableRead
	}
	tx, err := d.sql.BeginTx(ctx, &sql.TxOptions{Isolation: isolation, ReadOnly: d.postgres})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	r := &rows{inboxes: map[string]inbox{}, keys: map[string]string{}, open: map[string]int64{}, status: map[string]string{}}
	var failed error
	each := func(query string, scan func(func(...any) error) error) {
		if failed != nil {
			return
		}
		list, err := tx.QueryContext(ctx, query)
		if err != nil {
			failed = fmt.Errorf("%w in %s", err, query)
			return
		}
		defer list.Close()
		for list.Next() {
			if err := scan(list.Scan); err != nil {
				failed = fmt.Errorf("%w in %s", err, query)
				return
			}
		}
		failed = list.Err()
	}
	each(`SELECT id, recipient, kind, title, `+d.text("data")+`, `+truth("read_at IS NOT NULL")+`, `+truth("archived_at IS NOT NULL")+`, `+
		truth("resolved_at IS NOT NULL")+`, `+truth("deleted_at IS NOT NULL")+`, `+truth("quiet")+`, created_rev, rev
		FROM notifications ORDER BY recipient, created_rev`, func(scan func(...any) error) error {
		n := new(record)
		var data string
		if err := scan(&n.id, &n.recipient, &n.kind, &n.title, &data, &n.read, &n.archived, &n.resolved, &n.deleted, &n.quiet, &n.createdRev, &n.rev); err != nil {
			return err
		}
		r.notifications = append(r.notifications, n)
		if data == "" {
			return nil
		}
		return json.Unmarshal([]byte(data), &n.data)
	})
	each(`SELECT recipient, rev, unread, unseen, total, seen_rev FROM inboxes`, func(scan func(...any) error) error {
		var name string
		var i inbox
		err := scan(&name, &i.rev, &i.unread, &i.unseen, &i.total, &i.seenRev)
		r.inboxes[name] = i
		return err
	})
	each(`SELECT key, notification_id FROM notification_keys`, func(scan func(...any) error) error {
		var key, id string
		err := scan(&key, &id)
		r.keys[key] = id
		return err
	})
	each(`SELECT loan_id, `+d.text("due_date")+`, recipient, kind, offset_days, `+d.text("notification_id")+`, `+d.micros("decided_at")+`
		FROM decisions WHERE outcome = 'sent' ORDER BY id`, func(scan func(...any) error) error {
		var x decision
		err := scan(&x.loan, &x.day, &x.recipient, &x.kind, &x.offset, &x.notification, &x.at)
		r.sent = append(r.sent, x)
		return err
	})
	each(`SELECT loan_id, open FROM installments WHERE number = 1`, func(scan func(...any) error) error {
		var id string
		var open int64
		err := scan(&id, &open)
		r.open[id] = open
		return err
	})
	each(`SELECT id, status FROM loans`, func(scan func(...any) error) error {
		var id, status string
		err := scan(&id, &status)
		r.status[id] = status
		return err
	})
	each(`SELECT id, `+truth("done_at IS NOT NULL")+` FROM notification_requests`, func(scan func(...any) error) error {
		var x requestRow
		err := scan(&x.id, &x.done)
		r.requests = append(r.requests, x)
		return err
	})
	if failed == nil {
		r.backlog, failed = d.left(ctx, tx)
	}
	return r, failed
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// left reads what is left to be done. Ticks go on, so the newest are passed over.
func (d *database) left(ctx context.Context, q querier) (b backlog, err error) {
	now := d.micros("CURRENT_TIMESTAMP")
	if !d.postgres {
		now = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
	}
	const pending = "done_at IS NULL AND parked_at IS NULL"
	for _, count := range []struct {
		into  *int64
		query string
	}{
		{&b.Outbox, `SELECT (SELECT count(*) FROM status_changes WHERE ` + pending + `) + (SELECT count(*) FROM notification_requests WHERE ` + pending + `)`},
		{&b.Parked, `SELECT (SELECT count(*) FROM status_changes WHERE parked_at IS NOT NULL)
			+ (SELECT count(*) FROM notification_requests WHERE parked_at IS NOT NULL) + (SELECT count(*) FROM due_reminders WHERE parked_at IS NOT NULL)`},
		{&b.Ticks, `SELECT count(*) FROM ticks WHERE done_at IS NULL AND ` + d.micros("created_at") + ` < ` + now + ` - 15000000`},
		{&b.Due, `SELECT count(*) FROM due_reminders WHERE parked_at IS NULL AND ` + d.micros("next_at") + ` <= ` + now},
		{&b.Summaries, `SELECT count(*) FROM summary_items`},
		{&b.Stale, `SELECT count(*) FROM users WHERE derived < changed`},
	} {
		if err := q.QueryRowContext(ctx, count.query).Scan(count.into); err != nil {
			return b, fmt.Errorf("%w in %s", err, count.query)
		}
	}
	return b, nil
}

// revs are the counters of the inboxes.
func (d *database) revs(ctx context.Context) (map[string]int64, error) {
	list, err := d.sql.QueryContext(ctx, `SELECT recipient, rev FROM inboxes`)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	revs := map[string]int64{}
	for list.Next() {
		var name string
		var rev int64
		if err := list.Scan(&name, &rev); err != nil {
			return nil, err
		}
		revs[name] = rev
	}
	return revs, list.Err()
}
