package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// statements says which statements PostgreSQL spent its time on, where it counts that: with
// POSTGRES_OPTIONS='… -c shared_preload_libraries=pg_stat_statements'. Otherwise it says nothing, since counting costs too.
type statements struct {
	db *sql.DB // nil: they aren't counted
}

const statementsShown = 12

func watchStatements(ctx context.Context, db *sql.DB) (*statements, error) {
	var loaded string
	if err := db.QueryRowContext(ctx, `SELECT current_setting('shared_preload_libraries')`).Scan(&loaded); err != nil {
		return nil, err
	}
	if !strings.Contains(loaded, "pg_stat_statements") {
		return &statements{}, nil
	}
	_, err := db.ExecContext(ctx, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements`)
	return &statements{db: db}, err
}

func (s *statements) reset(ctx context.Context) error {
	if s.db == nil {
		return nil
	}
	_, err := s.db.ExecContext(ctx, `SELECT pg_stat_statements_reset()`)
	return err
}

// print shows those that took most since the reset.
func (s *statements) print(ctx context.Context) error {
	if s.db == nil {
		return nil
	}
	rows, err := s.db.QueryContext(ctx, `
		SELECT total_exec_time, total_exec_time / sum(total_exec_time) OVER () * 100, calls, shared_blks_hit, shared_blks_read, shared_blks_dirtied, wal_fpi, wal_bytes,
			left(regexp_replace(query, '\s+', ' ', 'g'), 110)
		FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT $1`, statementsShown)
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Printf("%10s %6s %8s %10s %8s %8s %8s %8s   %s\n", "ms", "%", "calls", "hit", "read", "dirtied", "images", "WAL MB", "statement")
	for rows.Next() {
		var ms, share, wal float64
		var calls, hit, read, dirtied, images int64
		var text string
		if err := rows.Scan(&ms, &share, &calls, &hit, &read, &dirtied, &images, &wal, &text); err != nil {
			return err
		}
		fmt.Printf("%10.0f %6.1f %8d %10d %8d %8d %8d %8.1f   %s\n", ms, share, calls, hit, read, dirtied, images, wal/1e6, text)
	}
	return rows.Err()
}
