package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"duebell/internal/testenv"
)

// The queries that every connected person asks, and those of each night, walk an index, from where they start to their limit: with many
// notifications of many people, the plans name it and nothing is sorted or read whole.
func TestPlans(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		fillInboxes(t, db)

		list, listArgs := db.query().listQuery(notificationColumns, `archived_at IS NULL`, ListQuery{Recipient: "u7"})
		heads, headsArgs := db.query().headsQuery(`i.rev`, []string{"u7", "u8"})
		aDayAgo := time.Now().UTC().Add(-24 * time.Hour).Format("2006-01-02 15:04:05Z07:00")
		for _, c := range []struct {
			name, query    string
			args           []any
			postgres, lite string // what each database calls the step
			sortingIsWrong bool   // of Changes the page is sorted again after the joins
		}{
			{"Changes", changesQuery, []any{"u7", "u7", "u7", 20, pastAnyID, 100},
				"Index Scan using notifications_changed", "USING INDEX notifications_changed (recipient=? AND (rev,id)>(?,?))", false},
			{"ChangedRows", changedRowsQuery, []any{"u7", 20, 1000},
				"Index Only Scan using notifications_changed", "notifications_changed (recipient=? AND rev>?)", true},
			{"List", list + listPosition, append(listArgs, 380, 21, 0),
				"Index Scan Backward using notifications_created", "USING INDEX notifications_created (recipient=? AND created_rev<?)", true},
			{"PendingRequests", pendingRequestsQuery, []any{"r10000", 100},
				"Index Scan using notification_requests_pending", "notification_requests_pending (seq<?)", true},
			{"OldNotifications", oldNotificationsQuery, []any{"n1", "n2", 300},
				"Index Scan using notifications_pkey", "notifications USING INDEX sqlite_autoindex_notifications_1 (id>? AND id<?)", true},
			{"OldDecisions", oldDecisionsQuery, []any{2000, 300},
				"Index Scan using decisions_pkey", "decisions USING INTEGER PRIMARY KEY (rowid>?)", true},
			{"OldStatusChanges", oldToldQuery("status_changes"), []any{aDayAgo, 300},
				"Index Scan using status_changes_told", "USING INDEX status_changes_told (done_at<?)", true},
			{"OldRequests", oldToldQuery("notification_requests"), []any{aDayAgo, 300},
				"Index Scan using notification_requests_told", "USING INDEX notification_requests_told (done_at<?)", true},
			// These PostgreSQL reports itself, in TestReadsDontGrowWithTables.
			{"DueReminders", db.query().claimDueQuery(), []any{time.Now(), time.Time{}, "", 500},
				"", "d USING INDEX due_reminders_next ((next_at,loan_id)>(?,?) AND next_at<?)", true},
			{"KeyOfNotification", keyOfNotificationQuery, []any{"n1"}, "", "notification_keys_notification (notification_id=?)", true},
			{"Heads", heads, headsArgs, "Index Scan using inboxes_pkey", "i USING PRIMARY KEY (recipient=?)", true},
		} {
			want := c.lite
			if db.Dialect() == Postgres {
				want = c.postgres
			}
			if want == "" {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				plan := explain(t, db, c.query, c.args)
				if !strings.Contains(plan, want) {
					t.Errorf("the plan doesn't say %q:\n%s", want, plan)
				}
				for _, wrong := range []string{"Seq Scan on notifications", "Seq Scan on inboxes", "SCAN notifications", "SCAN i"} {
					if strings.Contains(plan, wrong) {
						t.Errorf("the plan says %q:\n%s", wrong, plan)
					}
				}
				if c.sortingIsWrong && (strings.Contains(plan, "Sort") || strings.Contains(plan, "TEMP B-TREE")) {
					t.Errorf("the plan sorts:\n%s", plan)
				}
			})
		}
	})
}

// fillInboxes makes 20 people with 400 notifications each, more without any, and requests, by the database alone.
func fillInboxes(t *testing.T, db *DB) {
	t.Helper()
	series := `(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s) AS %s`
	err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, fmt.Sprintf(`
			INSERT INTO notifications (id, recipient, kind, title, body, quiet, created_at, created_rev, rev)
			SELECT 'n' || p.n || '-' || r.n, 'u' || p.n, 'k', 't', 'b', FALSE, CURRENT_TIMESTAMP, r.n, r.n
			FROM `+series+`, `+series, 20, "p", 400, "r"))
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, fmt.Sprintf(`INSERT INTO inboxes (recipient, rev) SELECT 'u' || p.n, 400 FROM `+series, 5000, "p"))
		if err != nil {
			return err
		}
		// A hundred wait, of which the last are asked for.
		_, err = tx.exec(ctx, fmt.Sprintf(`
			INSERT INTO notification_requests (id, body, body_hash, created_at, done_at)
			SELECT 'r' || p.n, '{}', 'h', CURRENT_TIMESTAMP, CASE WHEN p.n <= 9900 THEN CURRENT_TIMESTAMP END
			FROM `+series, 10000, "p"))
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, fmt.Sprintf(`
			INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, occurred_at, done_at)
			SELECT 'c' || p.n, 'A' || p.n, 'u1', 'a', 'b', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP
			FROM `+series, 5000, "p"))
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, fmt.Sprintf(`
			INSERT INTO decisions (loan_id, due_date, recipient, kind, offset_days, outcome, amount, currency, digits,
				time_zone, local_time, policy_version, decided_at)
			SELECT 'L' || p.n, '2026-03-10', 'u1', 'k', 1, 'sent', 1, 'EUR', 2, 'UTC', '', 1, CURRENT_TIMESTAMP
			FROM `+series, 5000, "p"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.writer.Exec(`ANALYZE`); err != nil {
		t.Fatal(err)
	}
}

// explain is the plan as text. On PostgreSQL it is the one for any arguments, which prepared statements end up with.
func explain(t *testing.T, db *DB, query string, args []any) string {
	t.Helper()
	tx, err := db.writer.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	q := queryer{ext: tx, pg: db.Dialect() == Postgres}
	var plan strings.Builder
	if !q.pg {
		err := q.each(t.Context(), func(row scanner) error {
			var id, parent, unused int
			var detail string
			err := row.Scan(&id, &parent, &unused, &detail)
			plan.WriteString(detail + "\n")
			return err
		}, `EXPLAIN QUERY PLAN `+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		return plan.String()
	}
	if _, err := q.exec(t.Context(), `SET LOCAL plan_cache_mode = force_generic_plan`); err != nil {
		t.Fatal(err)
	}
	if _, err := q.exec(t.Context(), `PREPARE explained AS `+query); err != nil {
		t.Fatal(err)
	}
	var literals []string
	for _, arg := range args {
		if list, ok := arg.([]string); ok {
			arg = "{" + strings.Join(list, ",") + "}"
		}
		literals = append(literals, fmt.Sprintf("'%v'", arg))
	}
	defer q.exec(t.Context(), `DEALLOCATE explained`)
	err = q.each(t.Context(), func(row scanner) error {
		var line string
		err := row.Scan(&line)
		plan.WriteString(line + "\n")
		return err
	}, `EXPLAIN EXECUTE explained (`+strings.Join(literals, ", ")+`)`)
	if err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
