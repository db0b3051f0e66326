package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usageText = `usage: bench [-bin FOLDER] idle | unicast | broadcast | million | foreign | run | latency | growth | import | soak

Run it by make in the folder above: bench-idle, bench-unicast, bench-broadcast, bench-million, bench-foreign, bench-run, bench-latency, bench-growth, bench-import, soak.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usageText); flags.PrintDefaults() }
	bin := flags.String("bin", "bin", "folder of the programs under test")
	sessions := flags.Int("sessions", 0, "how many; 0: what the benchmark is about")
	book := flags.Int("book", 0, "latency: how many installments a run is over meanwhile; 0: a million. growth: the largest book; 0: ten millions")
	rows := flags.Int("rows", 0, "import: how many installments; 0: ten millions")
	rate := flags.Int("rate", 0, "latency, soak: status changes a second; 0: 500, and a fifth of what is held")
	duration := flags.Duration("for", 0, "latency, soak: how long status changes are sent, each time; 0: a minute, an hour")
	if err := flags.Parse(args); err != nil {
		return err
	}
	measure := map[string]func(context.Context, *rig, int) (any, error){"idle": idle, "unicast": unicast, "broadcast": broadcast, "million": million, "foreign": foreign, "run": reminders,
		"latency": func(ctx context.Context, r *rig, sessions int) (any, error) {
			return latency(ctx, r, latencyOptions{sessions: sessions, book: *book, rate: *rate, duration: cmp.Or(*duration, time.Minute)})
		},
		"growth": func(ctx context.Context, r *rig, _ int) (any, error) { return growth(ctx, r, *book) },
		"import": func(ctx context.Context, r *rig, _ int) (any, error) { return importing(ctx, r, *rows) },
		"soak": func(ctx context.Context, r *rig, sessions int) (any, error) {
			return soak(ctx, r, soakOptions{sessions: sessions, rate: *rate, duration: *duration})
		},
	}
	switch name := flags.Arg(0); name {
	case "client":
		return runClient()
	case "gorilla":
		return runGorilla(flags.Arg(1), flags.Arg(2))
	default:
		do, ok := measure[name]
		if !ok {
			flags.Usage()
			os.Exit(2)
		}
		r, err := newRig(*bin)
		if err != nil {
			return err
		}
		result, failure := do(ctx, r, *sessions)
		if result == nil {
			return failure
		}
		text, err := json.Marshal(result)
		if err == nil {
			fmt.Printf("RESULT %s\n", text)
		}
		return errors.Join(failure, err)
	}
}
