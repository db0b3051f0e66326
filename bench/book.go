package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// bookPart is how many loans are written at a time.
	bookPart = 1_000_000
	// longestBook is how long a book takes, with the runs over it.
	longestBook = 15 * time.Minute
)

// makeBook writes a book by SQL, as the store would have: a loan, a borrower and an installment for each. Those that are due today
// are spread over the whole book, the others come due in the 300 days after.
func makeBook(ctx context.Context, db *sql.DB, version int64, installments, due int) error {
	if err := sameDay(ctx); err != nil {
		return err
	}
	if err := makeLoans(ctx, db, version, installments); err != nil {
		return err
	}
	const rows = `
		FROM (SELECT n, (now() AT TIME ZONE 'UTC')::date + CASE WHEN n % $3::int = 0 THEN 0 ELSE 1 + n % 300 END AS due_date
			FROM generate_series($1::int, $2::int) AS n) AS r`
	return inParts(ctx, db, "installments", installments, []string{
		`INSERT INTO installments (loan_id, number, due_date, amount_due, amount_paid, outstanding, open)
		SELECT 'L' || n, 1, due_date, 25000, 0, 25000, 25000` + rows,
		`INSERT INTO due_reminders (loan_id, due_date, recipient, role, next_at)
		SELECT 'L' || n, due_date, 'u' || n, 'borrower', due_date::timestamp AT TIME ZONE 'UTC'` + rows,
	}, installments/due)
}

// sameDay waits for the next day where this one is about to end: what is due today would no longer be when a run comes to it.
func sameDay(ctx context.Context) error {
	now := time.Now().UTC()
	left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
	if left > longestBook {
		return nil
	}
	fmt.Printf("the day ends in UTC: going on in %.0f s\n", left.Seconds())
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(left + time.Second):
		return nil
	}
}

// makeLoans empties the tables and writes loans L1, L2, … with their borrowers u1, u2, ….
func makeLoans(ctx context.Context, db *sql.DB, version int64, loans int) error {
	if _, err := db.ExecContext(ctx, `TRUNCATE loans, loan_parties, installments, due_reminders, users, decisions, notifications, inboxes, notification_keys`); err != nil {
		return err
	}
	return inParts(ctx, db, "loans", loans, []string{
		`INSERT INTO users (id, name, time_zone, locale, created_at, updated_at)
		SELECT 'u' || n, 'Borrower ' || n, 'UTC', 'en', now() - interval '60 days', now() FROM generate_series($1::int, $2::int) AS n WHERE $3::bigint >= 0`,
		`INSERT INTO loans (id, borrower_id, product, currency, digits, status, policy_version, started_at, created_at, updated_at)
		SELECT 'L' || n, 'u' || n, 'Car loan', 'EUR', 2, 'active', $3::bigint, now() - interval '60 days', now(), now()
		FROM generate_series($1::int, $2::int) AS n`,
	}, version)
}

// inParts executes statements for the numbers 1 to count, a part after the other, and tidies up. They get the first and the last number of
// the part, and more.
func inParts(ctx context.Context, db *sql.DB, what string, count int, statements []string, more any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The rows fit together by how they are made. To check each of millions would take longer than to write them.
	if _, err := conn.ExecContext(ctx, `SET session_replication_role = replica`); err != nil {
		return err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `RESET session_replication_role`)
	start := time.Now()
	for first := 1; first <= count; first += bookPart {
		last := min(first+bookPart-1, count)
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement, first, last, more); err != nil {
				return err
			}
		}
		if count > bookPart {
			fmt.Printf("%8.0f s: %d of %d %s made\n", time.Since(start).Seconds(), last, count, what)
		}
	}
	_, err = conn.ExecContext(ctx, `VACUUM ANALYZE`)
	return err
}
