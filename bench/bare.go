package main

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sync/errgroup"

	"duebell/internal/policy"
)

// insertBatch is how many bare rows a statement writes.
const insertBatch = 500

// bareRate is how many rows a second go into a table like another one, with its indexes, a statement a batch, and nothing else. insert
// writes the batch that begins with a row, into bench_rows.
func bareRate(ctx context.Context, db *sql.DB, like string, connections, rows int, insert func(ctx context.Context, conn *sql.Conn, first int64) error) (perSecond float64, err error) {
	if _, err := db.ExecContext(ctx, `CREATE TABLE bench_rows (LIKE `+like+` INCLUDING ALL)`); err != nil {
		return 0, err
	}
	defer db.ExecContext(context.WithoutCancel(ctx), `DROP TABLE bench_rows`)
	if err := checkpoint(ctx, db); err != nil {
		return 0, err
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range connections {
		group.Go(func() error {
			conn, err := db.Conn(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			for {
				first := next.Add(insertBatch) - insertBatch
				if first >= int64(rows) {
					return nil
				}
				if err := insert(ctx, conn, first); err != nil {
					return err
				}
			}
		})
	}
	err = group.Wait()
	return float64(rows) / time.Since(start).Seconds(), err
}

// checkpoint has the database as one that has been in use for a while: what was written before is on the disk, the segments of its log are
// used again, and whoever changes a page first writes it to the log as a whole.
func checkpoint(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `CHECKPOINT`)
	return err
}

// bareNotifications writes rows like those of a run over makeBook's book, by one of the ways there are.
type bareNotifications struct{ at time.Time }

const bareColumns = `id, recipient, kind, title, body, data, url, quiet, created_at, created_rev, rev`

// byInsert sends a batch as an array for each column: some third more a second than as a list of VALUES.
func (b *bareNotifications) byInsert(ctx context.Context, conn *sql.Conn, first int64) error {
	var texts [7][]string
	quiet, at, revs := make([]bool, insertBatch), make([]time.Time, insertBatch), make([]int64, insertBatch)
	for i := range insertBatch {
		row := b.row(first + int64(i))
		for c := range texts {
			texts[c] = append(texts[c], row[c].(string))
		}
		at[i], revs[i] = b.at, 1
	}
	_, err := conn.ExecContext(ctx, `
		INSERT INTO bench_rows (`+bareColumns+`)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::json[], $7::text[], $8::boolean[], $9::timestamptz[], $10::bigint[], $11::bigint[])`,
		texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], quiet, at, revs, revs)
	return err
}

// byCopy sends a batch by COPY, encoded by the driver.
func (b *bareNotifications) byCopy(ctx context.Context, conn *sql.Conn, first int64) error {
	return conn.Raw(func(driver any) error {
		n := first - 1
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{"bench_rows"}, strings.Split(bareColumns, ", "), pgx.CopyFromFunc(func() ([]any, error) {
			if n++; n == first+insertBatch {
				return nil, nil
			}
			return b.row(n), nil
		}))
		return err
	})
}

func (b *bareNotifications) row(n int64) []any {
	id := strconv.FormatInt(n, 10)
	day := b.at.Format(time.DateOnly)
	return []any{notificationID(n), "b" + id, policy.KindDueToday, "Payment of €250.00 is due today",
		"Hello Borrower " + id + ", the payment of €250.00 for Car loan (no. L" + id + ") is due today, " + day + ".",
		`{"loan_id":"L` + id + `","due_date":"` + day + `","days":0,"amount":"250.00","currency":"EUR","installments":[1]}`,
		"/loans/L" + id, false, b.at, 1, 1}
}
