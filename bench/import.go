package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"duebell/internal/policy"
	"duebell/store"
)

const (
	importRows     = 10_000_000
	importSchedule = 20 // installments of a loan, one a month
	importPoints   = 10 // at which it is said how far it is
)

// importing is a book that comes in through the ingest API as one body, which nobody ever holds as a whole: the rate, beside that of
// bare rows of installments in the same database, and the memory of the scheduler. Borrowers and loans are there already.
func importing(ctx context.Context, r *rig, rows int) (any, error) {
	if rows == 0 {
		rows = importRows
	}
	loans := max(1, rows/importSchedule)
	rows = loans * importSchedule
	db, err := r.synced(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	watch, err := watchStatements(ctx, db)
	if err != nil {
		return nil, err
	}
	version, err := r.activate(ctx, policy.Default())
	if err != nil {
		return nil, err
	}
	if err := makeLoans(ctx, db, version, loans); err != nil {
		return nil, fmt.Errorf("make the loans: %w", err)
	}
	before, err := bareInstallments(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("bare rows: %w", err)
	}
	scheduler, err := r.program("scheduler", "127.5.0.1", "MAX_IMPORT_BYTES=2000000000", "PPROF=true")
	defer scheduler.stop()
	if err != nil {
		return nil, err
	}
	if err := watch.reset(ctx); err != nil {
		return nil, err
	}
	took, err := r.sendBook(ctx, db, scheduler, loans)
	if err != nil {
		return nil, err
	}
	peak, err := peakOf(scheduler.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	if err := watch.print(ctx); err != nil {
		return nil, err
	}
	var stored, due int
	if err := db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM installments), (SELECT count(*) FROM due_reminders)`).Scan(&stored, &due); err != nil {
		return nil, err
	}
	if stored != rows {
		return nil, fmt.Errorf("%d of %d installments are stored", stored, rows)
	}
	after, err := bareInstallments(ctx, db) // the machine may have become another one meanwhile
	if err != nil {
		return nil, fmt.Errorf("bare rows: %w", err)
	}
	rate, bare := float64(rows)/took.Seconds(), (before+after)/2
	fmt.Printf("%d installments in %.0f s, %.0f/s, and %d rows of the due queue with them; bare rows in batches of %d: %.0f/s before, %.0f/s after; the scheduler reached %.0f MB\n",
		rows, took.Seconds(), rate, due, insertBatch, before, after, float64(peak)/1e6)
	return map[string]float64{"rows": float64(rows), "rows_per_s": math.Round(rate), "vs_bare_insert": hundredths(rate / bare), "rss_mb": math.Round(float64(peak) / 1e6)}, nil
}

// activate makes a policy the one in force.
func (r *rig) activate(ctx context.Context, rules *policy.Policy) (version int64, err error) {
	s, err := store.Open(ctx, r.database, store.Options{})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	v, _, err := s.ActivatePolicy(ctx, rules)
	return v.Version, err
}

// sendBook posts the installments of loans 1 to loans, and says how far it is.
func (r *rig) sendBook(ctx context.Context, db *sql.DB, scheduler *target, loans int) (took time.Duration, err error) {
	token, err := r.token("duebell:ingest")
	if err != nil {
		return 0, err
	}
	var sent atomic.Int64 // rows
	body, in := io.Pipe()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		_ = in.CloseWithError(writeBook(in, loans, &sent))
	}()
	defer func() { _ = body.Close(); <-writing }() // also when nobody read to the end
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+scheduler.address+"/v1/import/installments?import=bench", body)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/x-ndjson")
	type outcome struct {
		said []byte
		err  error
	}
	answered := make(chan outcome, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			answered <- outcome{err: err}
			return
		}
		defer response.Body.Close()
		said, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("POST /v1/import/installments: %s: %s", response.Status, said)
		}
		answered <- outcome{said, err}
	}()

	rows := int64(loans * importSchedule)
	start := time.Now()
	before, err := importUsage(ctx, db, scheduler)
	if err != nil {
		return 0, err
	}
	last := before
	fmt.Printf("%12s %8s %10s %8s %22s\n", "rows sent", "s", "rows/s", "RSS MB", "CPU %: scheduler, database")
	for next := int64(1); ; {
		var done *outcome
		select {
		case o := <-answered:
			done = &o
		case <-time.After(50 * time.Millisecond):
		}
		if n := sent.Load(); done != nil || n >= rows*next/importPoints && next < importPoints {
			u, err := importUsage(ctx, db, scheduler)
			if err != nil {
				return 0, err
			}
			passed := u.at.Sub(last.at).Seconds()
			fmt.Printf("%12d %8.0f %10.0f %8.0f %11.0f %10.0f\n", n, time.Since(start).Seconds(), float64(n-last.rows)/passed, float64(u.rss)/1e6,
				(u.cpu-last.cpu).Seconds()/passed*100, (u.database-last.database).Seconds()/passed*100)
			last, next = u, next+1
			last.rows = n
		}
		if done == nil {
			continue
		}
		if done.err != nil {
			return 0, done.err
		}
		took = time.Since(start)
		var answer struct{ Accepted, Rejected int }
		if err := json.Unmarshal(done.said, &answer); err != nil {
			return 0, err
		}
		if int64(answer.Accepted) != rows || answer.Rejected > 0 {
			return 0, fmt.Errorf("of %d rows: %.500s", rows, done.said)
		}
		return took, nil
	}
}

// importPoint is what an import has taken so far.
type importPoint struct {
	usage
	at       time.Time
	rows     int64
	database time.Duration // CPU of all connections
}

func importUsage(ctx context.Context, db *sql.DB, scheduler *target) (p importPoint, err error) {
	if p.usage, err = scheduler.usage(); err != nil {
		return p, err
	}
	taken, err := connectionsCPU(ctx, db)
	for _, cpu := range taken {
		p.database += cpu
	}
	p.at = time.Now()
	return p, err
}

// writeBook writes the schedules of a book as it is: each loan somewhere between its first and its last month, what was due is paid
// but for the last installment of one loan in fifty.
func writeBook(to io.Writer, loans int, sent *atomic.Int64) error {
	out := bufio.NewWriterSize(to, 64<<10)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	var line []byte
	for n := 1; n <= loans; n++ {
		month, day := n%(importSchedule+1), n%28
		for number := 1; number <= importSchedule; number++ {
			due := today.AddDate(0, number-month, day-14)
			paid := "250.00"
			if ahead := !due.Before(today); ahead || n%50 == 0 && due.AddDate(0, 1, 0).After(today) {
				paid = "0.00"
			}
			line = strconv.AppendInt(append(line[:0], `{"loan_id":"L`...), int64(n), 10)
			line = strconv.AppendInt(append(line, `","number":`...), int64(number), 10)
			line = due.AppendFormat(append(line, `,"due_date":"`...), time.DateOnly)
			line = append(append(line, `","amount_due":"250.00","amount_paid":"`...), paid...)
			if _, err := out.Write(append(line, "\"}\n"...)); err != nil {
				return err
			}
		}
		sent.Add(importSchedule)
	}
	return out.Flush()
}

const bareInstallmentRows = 400_000

// bareInstallments is how many rows a second go into a table like that of installments on one connection.
func bareInstallments(ctx context.Context, db *sql.DB) (perSecond float64, err error) {
	due := time.Now()
	return bareRate(ctx, db, "installments", 1, bareInstallmentRows, func(ctx context.Context, conn *sql.Conn, first int64) error {
		loans, numbers := make([]string, insertBatch), make([]int32, insertBatch)
		for i := range loans {
			n := first + int64(i)
			loans[i], numbers[i] = "L"+strconv.FormatInt(n/importSchedule, 10), int32(n%importSchedule+1)
		}
		_, err := conn.ExecContext(ctx, `
			INSERT INTO bench_rows (loan_id, number, due_date, amount_due, amount_paid, outstanding, open)
			SELECT v.loan_id, v.number, $3::timestamptz::date, 25000, 0, 25000, 25000
			FROM unnest($1::text[], $2::integer[]) AS v (loan_id, number)`, loans, numbers, due)
		return err
	})
}
