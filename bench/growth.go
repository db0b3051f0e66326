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
	growthRuns = 5
)

var growthBooks = []int{10_000, 100_000, 1_000_000, 10_000_000}

// growth is what a run costs in books of different sizes with the same number of reminders due: a run must not look at what isn't
// due. What is due is spread over the whole book, so that in a large one each reminder is on pages of its own. Each run begins
// behind a checkpoint, after which PostgreSQL writes each page that it changes to its log as a whole: the dearest moment.
func growth(ctx context.Context, r *rig, largest int) (any, error) {
	if largest == 0 {
		largest = growthBooks[len(growthBooks)-1]
	}
	db, err := r.synced(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	watch, err := watchStatements(ctx, db)
	if err != nil {
		return nil, err
	}
	books := slices.DeleteFunc(slices.Clone(growthBooks), func(book int) bool { return book > largest })
	if len(books) == 0 {
		return nil, fmt.Errorf("-book must be %d or more", growthBooks[0])
	}
	fmt.Printf("%12s %8s %9s   %-24s %s\n", "installments", "GB", "made in", "s", "s of CPU")
	all := map[int][]runTook{}
	for _, book := range append(books, books[0]) { // the smallest once more: the machine may have become another one meanwhile
		runs, err := r.growthOf(ctx, db, watch, book)
		if err != nil {
			return nil, fmt.Errorf("a book of %d: %w", book, err)
		}
		all[book] = append(all[book], runs...)
	}
	seconds := func(t runTook) float64 { return t.time.Seconds() }
	cpu := func(t runTook) float64 { return t.cpu.Seconds() }
	fmt.Printf("\n%12s %9s %7s %7s %7s\n", "installments", "median s", "ratio", "CPU s", "ratio")
	small, large := all[books[0]], all[books[len(books)-1]]
	for _, book := range books {
		runs := all[book]
		fmt.Printf("%12d %9.2f %7.2f %7.2f %7.2f\n", book, median(runs, seconds), median(runs, seconds)/median(small, seconds), median(runs, cpu), median(runs, cpu)/median(small, cpu))
	}
	result := map[string]float64{"run_10k_s": hundredths(median(small, seconds)), "ratio": hundredths(median(large, seconds) / median(small, seconds)),
		"cpu_10k_s": hundredths(median(small, cpu)), "cpu_ratio": hundredths(median(large, cpu) / median(small, cpu))}
	if book := books[len(books)-1]; book == 10_000_000 {
		result["run_10m_s"], result["cpu_10m_s"] = hundredths(median(large, seconds)), hundredths(median(large, cpu))
	} else {
		result["largest"], result["run_largest_s"] = float64(book), hundredths(median(large, seconds))
	}
	return result, nil
}

func median[T any](list []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range list {
		values = append(values, of(v))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func (r *rig) growthOf(ctx context.Context, db *sql.DB, watch *statements, book int) (runs []runTook, err error) {
	c, err := r.newCrew(ctx, db)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	start := time.Now()
	if err := makeBook(ctx, db, c.version, book, growthDue); err != nil {
		return nil, fmt.Errorf("make the book: %w", err)
	}
	made := time.Since(start)
	var size int64
	if err := db.QueryRowContext(ctx, `SELECT pg_database_size(current_database())`).Scan(&size); err != nil {
		return nil, err
	}
	if err := c.start(); err != nil {
		return nil, err
	}
	var times, cpu []float64
	for n := range growthRuns {
		if n > 0 {
			if err := dueAgain(ctx, db, `decisions, notifications, notification_keys, inboxes`); err != nil {
				return nil, fmt.Errorf("make it due again: %w", err)
			}
		}
		if err := checkpoint(ctx, db); err != nil {
			return nil, err
		}
		if err := watch.reset(ctx); err != nil {
			return nil, err
		}
		took, err := c.run(ctx, growthDue)
		if err != nil {
			return nil, err
		}
		runs, times, cpu = append(runs, took), append(times, took.time.Seconds()), append(cpu, took.cpu.Seconds())
	}
	fmt.Printf("%12d %8.2f %8.0fs   %-24s %.2f\n", book, float64(size)/1e9, made.Seconds(), fmt.Sprintf("%.2f", times), cpu)
	return runs, watch.print(ctx) // of the last run
}

// dueAgain takes back what a run has done to the due queue and to some tables.
func dueAgain(ctx context.Context, db *sql.DB, tables string) error {
	for _, query := range []string{
		`TRUNCATE ` + tables,
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
