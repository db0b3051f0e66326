package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

const (
	// growthDue is how many reminders are due in each run, however large the book is.
	growthDue  = 10_000
	growthRuns = 3
)

var growthBooks = []int{10_000, 100_000, 1_000_000, 10_000_000}

// growth is what a run costs in books of different sizes with the same number of reminders due: a run must not look at what isn't
// due. What is due is spread over the whole book, so that in a large one each reminder is on pages of its own. Each run begins
// behind a checkpoint, after which PostgreSQL writes each page that it changes to its log as a whole: the dearest moment.
func growth(ctx context.Context, r *rig, largest int) (any, error) {
	if largest == 0 {
		largest = growthBooks[len(growthBooks)-1]
	}
	db, err := sql.Open("pgx", r.database)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := synced(ctx, db); err != nil {
		return nil, err
	}
	watch, err := watchStatements(ctx, db)
	if err != nil {
		return nil, err
	}
	const head, line = "%12s %8s %9s %9s %7s %7s %7s   %s\n", "%12d %8.2f %8.0fs %9.2f %7.2f %7.2f %7.2f   %.2f\n"
	fmt.Printf(head, "installments", "GB", "made in", "median s", "ratio", "CPU s", "ratio", "runs of 10,000 reminders, s")
	var first, last growthRun
	for _, book := range growthBooks {
		if book > largest {
			break
		}
		runs, made, size, err := r.growthOf(ctx, db, watch, book)
		if err != nil {
			return nil, fmt.Errorf("a book of %d: %w", book, err)
		}
		last = growthRun{median(runs, func(r growthRun) float64 { return r.took }), median(runs, func(r growthRun) float64 { return r.cpu })}
		if first == (growthRun{}) {
			first = last
		}
		var each []float64
		for _, run := range runs {
			each = append(each, run.took)
		}
		fmt.Printf(line, book, float64(size)/1e9, made.Seconds(), last.took, last.took/first.took, last.cpu, last.cpu/first.cpu, each)
	}
	if first == (growthRun{}) {
		return nil, fmt.Errorf("-book must be %d or more", growthBooks[0])
	}
	result := map[string]float64{"run_10k_s": hundredths(first.took), "ratio": hundredths(last.took / first.took), "cpu_ratio": hundredths(last.cpu / first.cpu)}
	if largest >= 10_000_000 {
		result["run_10m_s"] = hundredths(last.took)
	} else {
		result["run_largest_s"], result["largest"] = hundredths(last.took), float64(largest)
	}
	return result, nil
}

// growthRun is what a run took, in seconds: of time, and of the CPU of the workers and of PostgreSQL's connections. What else
// happens on the machine is less in the latter.
type growthRun struct{ took, cpu float64 }

func median[T any](list []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range list {
		values = append(values, of(v))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (r *rig) growthOf(ctx context.Context, db *sql.DB, watch *statements, book int) (runs []growthRun, made time.Duration, size int64, err error) {
	c, err := r.newCrew(ctx, db)
	if err != nil {
		return nil, 0, 0, err
	}
	defer c.stop()
	start := time.Now()
	if err := makeBook(ctx, db, c.version, book, growthDue); err != nil {
		return nil, 0, 0, fmt.Errorf("make the book: %w", err)
	}
	made = time.Since(start)
	if err := db.QueryRowContext(ctx, `SELECT pg_database_size(current_database())`).Scan(&size); err != nil {
		return nil, 0, 0, err
	}
	if err := c.start(); err != nil {
		return nil, 0, 0, err
	}
	for n := range growthRuns {
		if n > 0 {
			if err := dueAgain(ctx, db); err != nil {
				return nil, 0, 0, fmt.Errorf("make it due again: %w", err)
			}
		}
		if _, err := db.ExecContext(ctx, `CHECKPOINT`); err != nil {
			return nil, 0, 0, err
		}
		if err := watch.reset(ctx); err != nil {
			return nil, 0, 0, err
		}
		before, err := c.cpu(ctx)
		if err != nil {
			return nil, 0, 0, err
		}
		took, _, err := c.run(ctx, growthDue)
		if err != nil {
			return nil, 0, 0, err
		}
		after, err := c.cpu(ctx)
		if err != nil {
			return nil, 0, 0, err
		}
		var cpu time.Duration
		for pid, u := range after {
			cpu += u - before[pid] // 0 of one that is new
		}
		runs = append(runs, growthRun{took.Seconds(), cpu.Seconds()})
	}
	return runs, made, size, watch.print(ctx) // of the last run
}

// cpu is what the workers and the processes of PostgreSQL that serve connections have taken so far, by their ids.
func (c *crew) cpu(ctx context.Context) (map[int]time.Duration, error) {
	taken := map[int]time.Duration{}
	add := func(pid int) error {
		u, err := usageOf(pid)
		taken[pid] = u.cpu
		return err
	}
	for _, t := range c.programs[:runWorkers] {
		if err := add(t.cmd.Process.Pid); err != nil {
			return nil, err
		}
	}
	rows, err := c.db.QueryContext(ctx, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return nil, err
		}
		_ = add(pid) // it may have ended meanwhile
	}
	return taken, rows.Err()
}

// dueAgain takes back what a run has done.
func dueAgain(ctx context.Context, db *sql.DB) error {
	for _, query := range []string{
		`TRUNCATE decisions, notifications, inboxes, notification_keys`,
		`INSERT INTO due_reminders (loan_id, due_date, recipient, role, next_at)
		SELECT loan_id, due_date, 'u' || substr(loan_id, 2), 'borrower', due_date::timestamp AT TIME ZONE 'UTC'
		FROM installments WHERE due_date <= (now() AT TIME ZONE 'UTC')::date`,
		`VACUUM ANALYZE`,
	} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}
