package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	_ "github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sync/errgroup"

	"duebell/internal/policy"
	"duebell/store"
)

const (
	runWorkers  = 2
	taskEach    = 20_000 // notifications that are a task each
	taskWorkers = 32
)

// runPolicy has every installment of the book due at once, whatever the time of day.
const runPolicy = `reminders: [{kind: repayment.due_today, at: 0d}]
send_at: "00:00"
max_late: 2d
schedule: [{job: reminder.run, cron: "0 0 1 1 *"}]
`

// reminders is a run over a book whose installments all come due at once: with two workers, on PostgreSQL that syncs to its
// disk. Beside it, in the same run: bare rows of the same kind, and the same work as a task for each notification.
func reminders(ctx context.Context, r *rig, installments int) (any, error) {
	if installments == 0 {
		installments = 1_000_000
	}
	db, err := r.synced(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows := &bareNotifications{time.Now().UTC()}
	bare := func(how string, connections int, insert func(context.Context, *sql.Conn, int64) error) (rate float64, err error) {
		if rate, err = bareRate(ctx, db, "notifications", connections, installments, insert); err != nil {
			return 0, fmt.Errorf("bare rows by %s: %w", how, err)
		}
		fmt.Printf("%d bare rows of notifications in batches of %d by %s, connections: %d: %.0f/s\n", installments, insertBatch, how, connections, rate)
		return rate, nil
	}
	// As one writes such a loop: on one connection, by INSERT.
	bareBoth := func() (inserted, copied float64, err error) {
		if inserted, err = bare("INSERT", 1, rows.byInsert); err == nil {
			copied, err = bare("COPY", 1, rows.byCopy)
		}
		return inserted, copied, err
	}
	if _, err := bare("INSERT", 4, rows.byInsert); err != nil {
		return nil, err
	}
	insertedBefore, copiedBefore, err := bareBoth()
	if err != nil {
		return nil, err
	}
	each, err := r.taskEach(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("a task each: %w", err)
	}
	fmt.Printf("a task for each notification, %d at once: %.0f/s\n", taskWorkers, each)

	took, other, err := r.runTwice(ctx, db, installments)
	if err != nil {
		return nil, err
	}
	insertedAfter, copiedAfter, err := bareBoth() // the machine may have become another one meanwhile
	if err != nil {
		return nil, err
	}
	rate := float64(installments) / took.time.Seconds()
	return map[string]float64{"per_s": math.Round(rate), "other_morning_per_s": math.Round(float64(installments) / other.time.Seconds()),
		"vs_bare_insert": hundredths(rate / ((insertedBefore + insertedAfter) / 2)),
		"vs_bare_copy":   hundredths(rate / ((copiedBefore + copiedAfter) / 2)), "vs_task_each": hundredths(rate / each), "rss_mb": math.Round(float64(max(took.rss, other.rss)) / 1e6)}, nil
}

// taskEach is how many notifications a second there are when each is an Asynq task that writes its rows in a transaction and
// publishes them: a decision, a notification, the counters.
func (r *rig) taskEach(ctx context.Context, db *sql.DB) (perSecond float64, err error) {
	client := asynq.NewClientFromRedisClient(r.redis)
	server := asynq.NewServerFromRedisClient(r.redis, asynq.Config{Concurrency: taskWorkers, Queues: map[string]int{"bench": 1},
		TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.ErrorLevel})
	db.SetMaxIdleConns(taskWorkers)
	var done sync.WaitGroup
	done.Add(taskEach)
	failures := make(chan error, 1)
	mux := asynq.NewServeMux()
	mux.HandleFunc("bench:reminder", func(ctx context.Context, task *asynq.Task) error {
		defer done.Done()
		err := r.remind(ctx, db, string(task.Payload()))
		if err != nil {
			select {
			case failures <- err:
			default:
			}
		}
		return nil // a second try would be counted twice
	})
	if err := checkpoint(ctx, db); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := server.Start(mux); err != nil {
		return 0, err
	}
	defer server.Shutdown()
	group, enqueuing := errgroup.WithContext(ctx)
	const enqueuers = 4
	for part := range enqueuers {
		group.Go(func() error {
			for i := part; i < taskEach; i += enqueuers {
				task := asynq.NewTask("bench:reminder", fmt.Appendf(nil, "t%d", i), asynq.Queue("bench"))
				if _, err := client.EnqueueContext(enqueuing, task); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	done.Wait()
	select {
	case err = <-failures:
	default:
	}
	return taskEach / time.Since(start).Seconds(), err
}

// remind is one reminder by itself, as a handler of a task writes it.
func (r *rig) remind(ctx context.Context, db *sql.DB, recipient string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var rev int64
	err = tx.QueryRowContext(ctx, `
		INSERT INTO inboxes (recipient, rev, unread, unseen, total) VALUES ($1, 1, 1, 1, 1)
		ON CONFLICT (recipient) DO UPDATE SET rev = inboxes.rev + 1, unread = inboxes.unread + 1, unseen = inboxes.unseen + 1, total = inboxes.total + 1
		RETURNING rev`, recipient).Scan(&rev)
	if err != nil {
		return err
	}
	id, now := "task-"+recipient, time.Now()
	_, err = tx.ExecContext(ctx, `
		INSERT INTO notifications (id, recipient, kind, title, body, data, url, quiet, created_at, created_rev, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, false, $8, $9, $9)`, id, recipient, kind, title, body, string(dataOf(now))+"}", url, now, rev)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO decisions (loan_id, due_date, recipient, kind, offset_days, outcome, amount, currency, digits, time_zone, local_time, policy_version, notification_id, decided_at)
		VALUES ($1, $2::timestamptz::date, $3, $4, 0, 'sent', 25000, 'EUR', 2, 'UTC', '09:00', 1, $5, $2::timestamptz)`, "task-"+recipient, now, recipient, kind, id)
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return r.redis.Publish(ctx, "bench:"+recipient, appendNotification(nil, rev, now)).Err()
}

// runTwice makes a book of so many installments that are due and has two workers run over it: on the first morning, on which nobody has an inbox yet,
// and on another.
func (r *rig) runTwice(ctx context.Context, db *sql.DB, installments int) (first, other runTook, err error) {
	c, err := r.newCrew(ctx, db)
	if err != nil {
		return first, other, err
	}
	defer c.stop()
	start := time.Now()
	if err := makeBook(ctx, db, c.version, installments, installments); err != nil {
		return first, other, fmt.Errorf("make the book: %w", err)
	}
	if installments <= 20_000 { // made by SQL, it is what the product would have made
		drift, err := c.store.CompareDue(ctx)
		if err != nil || len(drift) > 0 {
			return first, other, fmt.Errorf("the book isn't as derived: %v, %w", drift, err)
		}
	}
	fmt.Printf("a book of %d loans, all due: made in %.0f s\n", installments, time.Since(start).Seconds())
	if err := c.start(); err != nil {
		return first, other, err
	}
	watch, err := watchStatements(ctx, db)
	if err != nil {
		return first, other, err
	}
	run := func() (took runTook, err error) {
		if err := errors.Join(watch.reset(ctx), checkpoint(ctx, db)); err != nil {
			return took, err
		}
		if took, err = c.run(ctx, installments); err != nil {
			return took, err
		}
		fmt.Printf("reminder run: %d notifications in %.1f s, %.0f/s, and %.1f s of CPU of workers and database, %.1f of them the workers'; the larger of the workers reached %.0f MB\n",
			installments, took.time.Seconds(), float64(installments)/took.time.Seconds(), took.cpu.Seconds(), took.workers.Seconds(), float64(took.rss)/1e6)
		return took, watch.print(ctx)
	}
	if first, err = run(); err != nil {
		return first, other, err
	}
	if err := dueAgain(ctx, db, `decisions, notifications, notification_keys`); err != nil {
		return first, other, fmt.Errorf("make it due again: %w", err)
	}
	fmt.Println("another morning, on which all have an inbox:")
	other, err = run()
	return first, other, err
}

// runTook is what a run took until everything was committed and published.
type runTook struct {
	time    time.Duration
	cpu     time.Duration // of the workers and the database's connections
	workers time.Duration // of cpu
	rss     int64         // the most that one of the workers held
}

// crew is the programs that run over a book: two workers, and a scheduler that gives them the tick.
type crew struct {
	rig     *rig
	db      *sql.DB
	store   *store.DB
	version int64 // of runPolicy

	programs  []*target // the workers first
	published *atomic.Int64
	last      time.Time // tick
	ends      []func()  // last first
}

func (r *rig) newCrew(ctx context.Context, db *sql.DB) (*crew, error) {
	s, err := store.Open(ctx, r.database, store.Options{})
	if err != nil {
		return nil, err
	}
	c := &crew{rig: r, db: db, store: s, ends: []func(){func() { _ = s.Close() }}}
	rules, err := policy.Parse([]byte(runPolicy), "bench")
	if err != nil {
		c.stop()
		return nil, err
	}
	version, _, err := s.ActivatePolicy(ctx, rules)
	if err != nil {
		c.stop()
		return nil, err
	}
	c.version = version.Version
	// A call for help that a crew before was killed with would run over what is due before it is time.
	if err := r.redis.FlushDB(ctx).Err(); err != nil {
		c.stop()
		return nil, err
	}
	published, uncount, err := r.countPublished(ctx)
	if err != nil {
		c.stop()
		return nil, err
	}
	c.published = published
	c.ends = append(c.ends, uncount)
	return c, nil
}

func (c *crew) stop() {
	for _, t := range c.programs {
		t.stop()
	}
	for _, end := range slices.Backward(c.ends) {
		end()
	}
}

func (c *crew) start() error {
	file, remove, err := policyFile(runPolicy)
	if err != nil {
		return err
	}
	c.ends = append(c.ends, remove)
	for i := range runWorkers {
		t, err := c.rig.program("worker", fmt.Sprintf("127.3.%d.1", i), "POLICY_FILE="+file)
		c.programs = append(c.programs, t)
		if err != nil {
			return err
		}
	}
	scheduler, err := c.rig.program("scheduler", "127.3.9.1", "POLICY_FILE="+file)
	c.programs = append(c.programs, scheduler)
	time.Sleep(2 * time.Second)
	return err
}

// run has the workers run over what is due, from the moment at which the scheduler enqueues the tick: until then up to a second
// passes, which isn't theirs.
func (c *crew) run(ctx context.Context, due int) (took runTook, err error) {
	var before int64
	if err := c.db.QueryRowContext(ctx, `SELECT count(*) FROM notifications`).Scan(&before); err != nil {
		return took, err
	}
	cpuBefore, err := c.cpu(ctx)
	if err != nil {
		return took, err
	}
	base := c.published.Load()
	time.Sleep(time.Until(c.last.Add(time.Second))) // a tick is one of cron's: two in a second are the same task
	c.last = time.Now()
	at := c.last.UTC().Truncate(time.Microsecond)
	if _, err := c.store.AddTick(ctx, policy.JobReminderRun, at); err != nil {
		return took, err
	}
	added := time.Now()
	last, finished := added, added
	var enqueued time.Time // a run moves that on
	for {
		select {
		case <-ctx.Done():
			return took, ctx.Err()
		case <-time.After(max(10*time.Millisecond, time.Since(added)/200)): // what a look takes is taken from the run
		}
		var when sql.NullTime
		var done bool
		err := c.db.QueryRowContext(ctx, `SELECT enqueued_at, done_at IS NOT NULL FROM ticks WHERE job = $1 AND at = $2`, policy.JobReminderRun, at).Scan(&when, &done)
		if err != nil {
			return took, err
		}
		if enqueued.IsZero() && when.Valid {
			enqueued = when.Time
		}
		published := c.published.Load() - base
		if done && published >= int64(due) {
			break
		}
		if !done {
			finished = time.Now()
		} else if time.Since(finished) > 10*time.Second { // what is published follows within milliseconds
			var stored int64
			var became string
			err := c.db.QueryRowContext(ctx, `
				SELECT (SELECT count(*) FROM notifications), concat_ws('; ',
					(SELECT string_agg(concat_ws(' ', n, outcome, reason), ', ') FROM (SELECT outcome, reason, count(*) AS n FROM decisions GROUP BY 1, 2) AS d),
					(SELECT count(*) || ' parked, such as ' || min(error) FROM due_reminders WHERE parked_at IS NOT NULL),
					(SELECT count(*) || ' due' FROM due_reminders WHERE parked_at IS NULL AND next_at <= now()))`).Scan(&stored, &became)
			return took, errors.Join(err, fmt.Errorf("the run has ended with %d of %d notifications, of which %d were published (a publisher gives up what Redis doesn't take within 3 s); in the database: %s",
				stored-before, due, published, became))
		}
		for _, t := range c.programs[:runWorkers] {
			u, err := t.usage()
			if err != nil {
				return took, err
			}
			took.rss = max(took.rss, u.rss)
		}
		if now := time.Now(); now.Sub(last) > 10*time.Second {
			fmt.Printf("%8.0f s: %d\n", now.Sub(added).Seconds(), published)
			last = now
		}
		if time.Since(added) > time.Hour {
			return took, fmt.Errorf("%d of %d published in an hour", published, due)
		}
	}
	took.time = time.Since(enqueued)
	cpuAfter, err := c.cpu(ctx)
	if err != nil {
		return took, err
	}
	for pid, cpu := range cpuAfter {
		took.cpu += cpu - cpuBefore[pid] // 0 of one that is new
	}
	for _, t := range c.programs[:runWorkers] {
		pid := t.cmd.Process.Pid
		took.workers += cpuAfter[pid] - cpuBefore[pid]
	}
	var after, waiting int64
	if err := c.db.QueryRowContext(ctx, `SELECT count(*) FROM notifications`).Scan(&after); err != nil {
		return took, err
	}
	if err := c.db.QueryRowContext(ctx, `SELECT count(*) FROM due_reminders WHERE next_at <= now() AND parked_at IS NULL`).Scan(&waiting); err != nil {
		return took, err
	}
	if after-before != int64(due) || waiting != 0 {
		return took, fmt.Errorf("%d notifications of %d, %d reminders left", after-before, due, waiting)
	}
	return took, nil
}

// cpu is what the workers and the database's connections have taken so far, by process.
func (c *crew) cpu(ctx context.Context) (map[int]time.Duration, error) {
	taken, err := connectionsCPU(ctx, c.db)
	if err != nil {
		return nil, err
	}
	for _, t := range c.programs[:runWorkers] {
		u, err := t.usage()
		if err != nil {
			return nil, err
		}
		taken[t.cmd.Process.Pid] = u.cpu
	}
	return taken, nil
}

// countPublished counts what pushers would hear. It reads what Redis sends as it comes, since what it takes is taken from the run.
func (r *rig) countPublished(ctx context.Context) (*atomic.Int64, func(), error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.redis.Options().Addr)
	if err != nil {
		return nil, nil, err
	}
	if _, err := fmt.Fprintf(conn, "SUBSCRIBE duebell:inbox\r\n"); err != nil {
		conn.Close()
		return nil, nil, err
	}
	var count atomic.Int64
	var running sync.WaitGroup
	running.Go(func() {
		frame := []byte(`{"type":"changes"`)
		buffer := make([]byte, 256<<10)
		kept := 0 // of the last read: the beginning of a frame may be in it
		for {
			n, err := conn.Read(buffer[kept:])
			if err != nil {
				return // closed
			}
			text := buffer[:kept+n]
			count.Add(int64(bytes.Count(text, frame)))
			kept = copy(buffer, text[max(0, len(text)-len(frame)+1):])
		}
	})
	return &count, func() { conn.Close(); running.Wait() }, nil
}
