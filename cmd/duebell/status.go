package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"duebell/internal/config"
	"duebell/store"
)

// status is what the command shows: all that is in the database, and how far runs of reminders are.
type status struct {
	store.Stats
	Runs []store.RunProgress `json:"runs"`
}

var statusCommand = command{
	name:  "status",
	about: "shows what is in the database, what waits and what is stuck",
	usage: "[--watch] [--json]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		asJSON := f.Bool("json", false, "as JSON")
		watch := f.Bool("watch", false, "again every second, until interrupted: a run of reminders has a bar that fills")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			return e.withStore(ctx, func(_ config.Config, db *store.DB) error {
				if *watch {
					return e.watch(ctx, db, *asJSON)
				}
				s, err := db.Stats(ctx)
				if err != nil {
					return err
				}
				runs, err := db.Runs(ctx)
				if err != nil {
					return err
				}
				return e.print(*asJSON, status{s, runs}, func(w io.Writer) { printStatus(w, s); printRuns(w, runs, nil) })
			})
		}
	},
}

// watchEvery is how often the screen is drawn again.
const watchEvery = time.Second

// watch shows what waits until ctx ends. It reads only what is quick to read, whatever the size of the book.
func (e env) watch(ctx context.Context, db *store.DB, asJSON bool) error {
	seen := make(map[string]glance)
	for {
		backlog, err := db.Backlog(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		runs, err := db.Runs(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		if asJSON {
			err = e.print(true, struct {
				store.Backlog
				Runs []store.RunProgress `json:"runs"`
			}{backlog, runs}, nil)
		} else {
			fmt.Fprint(e.stdout, "\x1b[H\x1b[2J") // to the top of an empty screen
			w := tabwriter.NewWriter(e.stdout, 2, 8, 2, ' ', 0)
			fmt.Fprintf(w, "%s\n\n", time.Now().Format(time.TimeOnly))
			printBacklog(w, backlog)
			printRuns(w, runs, seen)
			err = w.Flush()
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// ended is no error where the operator has had enough.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// glance is how far a run was at the first look at it.
type glance struct {
	at      time.Time
	settled int64
}

// printRuns draws a bar for each run. With what was seen before it says how fast it goes, and how long it will take.
func printRuns(w io.Writer, runs []store.RunProgress, seen map[string]glance) {
	for _, r := range runs {
		const width = 30
		share := min(1, float64(r.Settled)/float64(max(1, r.Due)))
		full := int(share * width)
		fmt.Fprintf(w, "\n%s of %s\n[%s%s] %.0f %%, %d of %d", r.Job, r.At.UTC().Format(time.RFC3339), strings.Repeat("#", full), strings.Repeat("-", width-full),
			share*100, r.Settled, r.Due)
		if seen != nil {
			id := r.Job + r.At.String()
			first, known := seen[id]
			if !known {
				seen[id] = glance{time.Now(), r.Settled}
			} else if speed := float64(r.Settled-first.settled) / time.Since(first.at).Seconds(); speed > 0 {
				fmt.Fprintf(w, ", %.0f/s, %s left", speed, time.Duration(float64(max(0, r.Due-r.Settled))/speed*float64(time.Second)).Round(time.Second))
			} else {
				fmt.Fprint(w, ", standing still: is the queue paused?")
			}
		}
		fmt.Fprintln(w)
	}
}

func printStatus(w io.Writer, s store.Stats) {
	line(w, "policy version", s.PolicyVersion, "")
	line(w, "users", s.Users, "")
	line(w, "loans", s.Loans, fmt.Sprintf("%d active", s.ActiveLoans))
	printBacklog(w, s.Backlog)
	line(w, "notifications", s.Notifications, "")
	line(w, "decisions", s.Decisions, "")
}

func printBacklog(w io.Writer, b store.Backlog) {
	since := func(t *time.Time, what string) string {
		if t == nil {
			return ""
		}
		return what + t.UTC().Format(time.RFC3339)
	}
	line(w, "reminders due now", b.DueNow, since(b.OldestDue, "the oldest since "))
	line(w, "reminders parked", b.DueParked, parkedHint(b.DueParked))
	line(w, "waiting to be told", b.OutboxPending, since(b.OldestPending, "the oldest since "))
	line(w, "parked in the outbox", b.OutboxParked, parkedHint(b.OutboxParked))
	line(w, "cron ticks waiting", b.PendingTicks, "")
	line(w, "officers' items waiting", b.Summaries, "")
	line(w, "to derive again", b.StaleLoans+b.StalePeople, "loans and people")
}

func line(w io.Writer, name string, n int64, more string) {
	fmt.Fprintf(w, "%s\t%d\t%s\n", name, n, more)
}

func parkedHint(n int64) string {
	if n == 0 {
		return ""
	}
	return "look at their error: they are not tried again"
}
