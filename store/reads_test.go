package store

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"duebell/internal/policy"
	"duebell/internal/testenv"
)

// What the size of a table must not slow down reads what it needs and no more: with a million notifications in the table, ten
// thousand of them one person's, and a hundred thousand loans, PostgreSQL itself says (auto_explain) by which index each statement
// of a call went into which table, and how many rows it took up there: once with plans made for the arguments, and once with what
// PostgreSQL settles for when a connection has asked several times.
func TestReadsDontGrowWithTables(t *testing.T) {
	w := setup(t, testenv.Postgres(t), "2026-03-10T09:00:00Z")
	fillTables(t, w)
	t.Run("first", func(t *testing.T) { testReads(t, explained(t, w, "force_custom_plan"), 0, 1) })
	t.Run("later", func(t *testing.T) { testReads(t, explained(t, w, "auto"), 1, 8) })
}

// testReads calls with the numbers of a range and looks at the last of each call.
func testReads(t *testing.T, w *explainedDB, first, end int) {
	var oldest string // notification of the person with many
	w.ok(w.query().get(t.Context(), &oldest, `SELECT id FROM notifications WHERE recipient = 'u1' AND created_rev = 1`))
	var cursor string
	list := func(query ListQuery) func(int) error {
		return func(int) error {
			query.Recipient = "u1"
			l, err := w.List(t.Context(), query)
			cursor = l.NextCursor
			return err
		}
	}
	var longRun DueCursor
	const whole = 10_001 // the person's own notifications, with one that the test adds
	counters := read{"inboxes", "inboxes_pkey", 1, 1}
	for _, c := range []struct {
		name string
		call func(i int) error
		// A statement that reads a large table which isn't listed, by another index or more rows of it is an error, and so is a line
		// that no statement is about.
		reads []read
	}{
		{"Resume", func(int) error { _, err := w.Changes(t.Context(), "u1", 9950, "", 100); return err },
			[]read{{"notifications", "notifications_changed", 70, 1}, counters}},
		{"ResumeFromFarBehind", func(int) error { _, err := w.Changes(t.Context(), "u1", 20, "", 100); return err },
			[]read{{"notifications", "notifications_changed", 101, 1}, counters}},
		{"IsTooFarBehind", func(int) error { _, err := w.ChangedRows(t.Context(), "u1", 20, 1000); return err },
			[]read{{"notifications", "notifications_changed", 1001, 1}}},
		{"List", list(ListQuery{}), []read{{"notifications", "notifications_created", 21, 1}, counters}},
		{"ListByCursor", func(int) error { return list(ListQuery{Cursor: cursor})(0) },
			[]read{{"notifications", "notifications_created", 21, 1}, counters}},
		{"ListByPage", list(ListQuery{Page: 5}), []read{{"notifications", "notifications_created", 101, 1}, counters}},
		// Filters look at the person's own, at most.
		{"ListUnread", list(ListQuery{Status: StatusUnread}), []read{{"notifications", "notifications_created", whole, 1}, counters}},
		{"ListOfAKind", list(ListQuery{Kinds: []string{"rare"}}), []read{{"notifications", "*", whole, 2}, counters}},
		{"Sweep", func(int) error { _, _, _, err := w.Revs(t.Context(), []string{"u1", "u2", "u3"}); return err },
			[]read{{"inboxes", "inboxes_pkey", 3, 1}}},

		{"Read", func(i int) error { _, err := w.MarkRead(t.Context(), "u1", []string{oldest}, i%2 == 0); return err },
			[]read{{"notifications", "notifications_pkey", 1, 2}, {"inboxes", "inboxes_pkey", 1, 2}}},
		{"Archive", func(i int) error { _, err := w.Archive(t.Context(), "u1", oldest, i%2 == 0); return err },
			[]read{{"notifications", "notifications_pkey", 1, 2}, {"inboxes", "inboxes_pkey", 1, 2}}},
		{"Seen", func(i int) error {
			through := int64(1000 * (i + 1))
			_, err := w.Seen(t.Context(), "u1", &through)
			return err
		}, []read{{"notifications", "notifications_created", 1000, 1}, {"inboxes", "inboxes_pkey", 1, 2}}},
		{"ReadAll", func(int) error { _, err := w.ReadAll(t.Context(), "u1", nil); return err },
			[]read{{"notifications", "*", whole, 0}, {"inboxes", "inboxes_pkey", 1, 0}}},

		{"ReminderRun", func(int) error {
			claimed, err := w.RunDue(t.Context(), 100, judge)
			if err == nil && claimed != 100 {
				err = fmt.Errorf("claimed %d", claimed)
			}
			return err
		}, []read{{"due_reminders", "due_reminders_next", 100, 1}, {"due_reminders", byPlace, 100, 1}, {"loans", "loans_pkey", 100, 1},
			{"users", "users_pkey", 100, 1}, {"installments", "installments_pkey", 100, 1}, {"decisions", "decisions_rule", 100, 1},
			{"inboxes", "inboxes_pkey", 100, 0}}},
		// Its plans are for any arguments from the second batch on, and nothing follows what it sends.
		{"LongReminderRun", func(int) error {
			claimed, err := w.RunDueFrom(t.Context(), &longRun, 10, func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
				outcomes := judge(pv, now, rows)
				for i := range outcomes {
					outcomes[i].Verdict.Next = time.Time{}
				}
				return outcomes
			})
			if err == nil && claimed != 10 {
				err = fmt.Errorf("claimed %d", claimed)
			}
			return err
		}, []read{{"due_reminders", "due_reminders_next", 10, 1}, {"due_reminders", byPlace, 10, 1}, {"loans", "loans_pkey", 10, 1},
			{"users", "users_pkey", 10, 1}, {"installments", "installments_pkey", 10, 1}, {"decisions", "decisions_rule", 10, 1},
			{"inboxes", "inboxes_pkey", 10, 0}}},
		{"AnyDue", func(int) error { _, err := w.AnyDue(t.Context()); return err }, []read{{"due_reminders", "due_reminders_next", 1, 1}}},
		{"Backlog", func(int) error { _, err := w.Backlog(t.Context()); return err },
			[]read{{"due_reminders", "due_reminders_next", 1000, 1}, {"due_reminders", "due_reminders_parked", 0, 1}, {"loans", "loans_policy", 0, 1},
				{"users", "users_behind", 0, 1}, {"status_changes", "*", 100, 0}}},
		{"Idle", func(int) error { _, err := w.Idle(t.Context()); return err },
			[]read{{"loans", "loans_policy", 1, 1}, {"users", "users_behind", 0, 1}, {"status_changes", "*", 100, 0}}},
		{"Rederive", func(int) error { _, err := w.RederiveStale(t.Context(), 100); return err },
			[]read{{"loans", "*", 0, 0}, {"users", "users_behind", 0, 1}}},
		{"Outbox", func(int) error { _, err := w.ClaimOutbox(t.Context(), 20, time.Minute); return err }, []read{{"status_changes", "*", 200, 0}}},
		{"Tell", func(i int) error {
			application := fmt.Sprintf("A%d", 500*(i+1)) // one that waits
			told, err := w.tellOne(t.Context(), application, func(c StatusChange, _ map[string]Person, _ time.Time) ([]Draft, error) {
				return []Draft{draft(c.BorrowerID, "told")}, nil
			})
			if err == nil && told != 1 {
				err = fmt.Errorf("told %d", told)
			}
			return err
		}, []read{{"status_changes", "status_changes_pending", 1, 0}, {"status_changes", "status_changes_pkey", 1, 0}, {"users", "users_pkey", 1, 1},
			{"inboxes", "inboxes_pkey", 1, 0}}},

		// Retention has nothing to do: it looks where the oldest are, and no further.
		{"Retention", func(int) error {
			year := 365 * 24 * time.Hour
			return w.Prune(t.Context(), policy.Retention{Notifications: year, Decisions: year}, nil)
		}, []read{{"notifications", "notifications_pkey", 0, 1}, {"decisions", "decisions_pkey", 300, 0}, {"due_reminders", "due_reminders_pkey", 300, 0},
			{"status_changes", "status_changes_told", 0, 1}}},

		{"ExplainNotification", func(int) error { _, err := w.Explain(t.Context(), ExplainQuery{NotificationID: "n2"}); return err },
			[]read{{"notification_keys", "notification_keys_notification", 1, 1}}},
		{"ExplainReminder", func(int) error { _, err := w.Explain(t.Context(), ExplainQuery{NotificationID: oldest}); return err },
			[]read{{"notification_keys", "notification_keys_notification", 0, 1}, {"notifications", "notifications_pkey", 1, 1},
				{"decisions", "decisions_rule", 10, 0}, {"loans", "*", 2, 0}, {"installments", "installments_pkey", 1, 1},
				{"due_reminders", "due_reminders_pkey", 2, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := first; i < end; i++ {
				w.take()
				if err := c.call(i); err != nil {
					t.Fatal(err)
				}
			}
			checkReads(t, c.reads, w.take())
		})
	}
}

// byPlace stands for the index of what is read by where it is.
const byPlace = "ctid"

// read is what a call may take up of a large table.
type read struct {
	table, index string // "*": any index
	most         int    // rows of one statement
	times        int    // that it does; 0: at least once
}

// scan is a step of a plan that took rows out of a table.
type scan struct {
	node, table, index string
	rows               int
}

// large are the tables that grow with a lender's book and its history.
var large = []string{"notifications", "inboxes", "notification_keys", "decisions", "due_reminders", "loans", "installments", "users", "status_changes"}

// explainedDB is a world whose database reports how it executed each statement.
type explainedDB struct {
	*world
	mu    sync.Mutex
	plans []plan
}

type plan struct {
	Query string `json:"Query Text"`
	Plan  node
}

type node struct {
	Type      string  `json:"Node Type"`
	Table     string  `json:"Relation Name"`
	Index     string  `json:"Index Name"`
	Rows      float64 `json:"Actual Rows"` // of each loop, as those that were taken up for nothing
	Filtered  float64 `json:"Rows Removed by Filter"`
	Rechecked float64 `json:"Rows Removed by Index Recheck"`
	Loops     float64 `json:"Actual Loops"`
	Plans     []node
}

// explained opens the database of a world once more, with auto_explain.
func explained(t *testing.T, w *world, mode string) *explainedDB {
	t.Helper()
	e := &explainedDB{world: &world{DB: &DB{log: w.log, clock: w.DB.clock, pg: w.pg.Copy()}, t: t, committed: w.committed, now: w.clock()}}
	e.SetCommitted(e.committed.add)
	for name, value := range map[string]string{"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0",
		"auto_explain.log_analyze": "on", "auto_explain.log_timing": "off", "auto_explain.log_format": "json",
		"auto_explain.log_level": "notice", "client_min_messages": "notice", "plan_cache_mode": mode} {
		e.pg.RuntimeParams[name] = value
	}
	e.pg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		_, text, found := strings.Cut(n.Message, "plan:\n")
		if !found {
			return
		}
		var p plan
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Errorf("%v in %s", err, text)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.plans = append(e.plans, p)
	}
	pool := sqlx.NewDb(stdlib.OpenDB(*e.pg, stdlib.OptionAfterConnect(prepareConn)), "pgx")
	pool.SetMaxOpenConns(1) // so that it asks the same again and again
	t.Cleanup(func() { pool.Close() })
	e.writer, e.reader = pool, pool
	return e
}

// take empties what was reported.
func (e *explainedDB) take() []plan {
	e.mu.Lock()
	defer e.mu.Unlock()
	plans := e.plans
	e.plans = nil
	return plans
}

// scans are the steps that read large tables.
func (n node) scans() []scan {
	var list []scan
	if slices.Contains(large, n.Table) && n.Type != "ModifyTable" {
		if n.Type == "Tid Scan" {
			n.Index = byPlace
		}
		s := scan{n.Type, n.Table, n.Index, int(math.Round((n.Rows + n.Filtered + n.Rechecked) * n.Loops))}
		if n.Type == "Bitmap Heap Scan" && len(n.Plans) > 0 {
			s.index = n.Plans[0].Index
		}
		list = append(list, s)
	}
	for _, child := range n.Plans {
		list = append(list, child.scans()...)
	}
	return list
}

// checkReads compares what statements took up with what they may.
func checkReads(t *testing.T, reads []read, plans []plan) {
	t.Helper()
	if len(plans) == 0 {
		t.Fatal("nothing was reported: auto_explain comes with PostgreSQL's contrib modules")
	}
	seen := make([]int, len(reads))
	for _, p := range plans {
		for _, s := range p.Plan.scans() {
			i := slices.IndexFunc(reads, func(r read) bool {
				return r.table == s.table && (r.index == s.index || r.index == "*" && s.index != "")
			})
			if i < 0 || s.rows > reads[i].most {
				t.Errorf("%s of %s by %q took up %d rows:\n%s", s.node, s.table, s.index, s.rows, p.Query)
			}
			if i >= 0 {
				seen[i]++
			}
		}
	}
	for i, r := range reads {
		if seen[i] == 0 || r.times > 0 && seen[i] != r.times {
			t.Errorf("%s was read %d times by %s", r.table, seen[i], r.index)
		}
	}
}

// fillTables makes them large, by the database alone.
func fillTables(t *testing.T, w *world) {
	t.Helper()
	id := idsFrom(w.clock().AddDate(0, -1, 0))[:10]
	tx, err := w.writer.BeginTxx(t.Context(), nil)
	w.ok(err)
	defer tx.Rollback()
	for _, statement := range []string{
		`SET LOCAL session_replication_role = replica`, // no foreign keys are checked, and no trigger runs
		// u1 has 10,000, of which the oldest ten are unread and three of a kind of their own; 19,800 others have 50 each.
		`INSERT INTO notifications (id, recipient, kind, title, body, quiet, created_at, created_rev, rev, read_at)
			SELECT '` + id + `' || lpad((p * 10000 + r)::text, 16, '0'), 'u' || p, CASE WHEN p = 1 AND r <= 3 THEN 'rare' ELSE 'k' END,
				'title', 'body', false, now(), r, r, CASE WHEN r > 10 THEN now() END
			FROM generate_series(1, 19801) AS p, LATERAL generate_series(1, CASE WHEN p = 1 THEN 10000 ELSE 50 END) AS r`,
		`INSERT INTO inboxes (recipient, rev, total, unread, unseen)
			SELECT 'u' || p, CASE WHEN p = 1 THEN 10000 ELSE 50 END, CASE WHEN p = 1 THEN 10000 ELSE 50 END, 10, CASE WHEN p = 1 THEN 10000 ELSE 50 END
			FROM generate_series(1, 19801) AS p`,
		`INSERT INTO notification_keys (key, notification_id) SELECT 'status:c' || n || ':u' || n, 'n' || n FROM generate_series(1, 200000) AS n WHERE n % 500 > 0`,
		`INSERT INTO users (id, name, time_zone, locale, created_at, updated_at)
			SELECT 'u' || n, 'Name', 'UTC', 'en', now(), now() FROM generate_series(1, 100000) AS n`,
		`INSERT INTO loans (id, borrower_id, product, currency, digits, status, policy_version, started_at, created_at, updated_at)
			SELECT 'L' || n, 'u' || n, 'Car', 'EUR', 2, 'active', 1, '2026-01-01', now(), now() FROM generate_series(1, 100000) AS n`,
		// A thousand are due.
		`INSERT INTO installments (loan_id, number, due_date, amount_due, amount_paid, outstanding, open)
			SELECT 'L' || n, 1, CASE WHEN n % 100 = 1 THEN date '2026-03-10' ELSE date '2026-04-01' + n % 300 END, 100, 0, 100, 100
			FROM generate_series(1, 100000) AS n`,
		`INSERT INTO due_reminders (loan_id, due_date, recipient, role, next_at)
			SELECT 'L' || n, CASE WHEN n % 100 = 1 THEN date '2026-03-10' ELSE date '2026-04-01' + n % 300 END, 'u' || n, 'borrower',
				CASE WHEN n % 100 = 1 THEN timestamptz '2026-03-10 09:00+00' ELSE timestamptz '2026-03-25 09:00+00' + n % 300 * interval '1 day' END
			FROM generate_series(1, 100000) AS n`,
		`INSERT INTO decisions (loan_id, due_date, recipient, kind, offset_days, outcome, amount, currency, digits, time_zone, local_time,
				policy_version, notification_id, decided_at)
			SELECT 'L' || n, '2026-02-10', 'u' || n, 'repayment.due_today', 0, 'sent', 1, 'EUR', 2, 'UTC', '', 1,
				CASE WHEN n = 1 THEN '` + id + `' || lpad('10001', 16, '0') ELSE 'd' || n END, now()
			FROM generate_series(1, 100000) AS n`,
		// Of the outbox a hundred wait.
		`INSERT INTO applications (id) SELECT 'A' || n FROM generate_series(1, 50000) AS n`,
		`INSERT INTO status_changes (id, seq, application_id, borrower_id, from_status, to_status, occurred_at, done_at)
			SELECT 'c' || n, n, 'A' || n, 'u' || n, 'a', 'b', now(), CASE WHEN n % 500 <> 0 THEN now() END FROM generate_series(1, 50000) AS n`,
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%v in %s", err, statement)
		}
	}
	w.ok(tx.Commit())
	_, err = w.writer.ExecContext(t.Context(), `ANALYZE`)
	w.ok(err)
}
