package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"duebell/internal/config"
	"duebell/internal/ops"
)

// Spec is one of the three programs.
type Spec struct {
	Name  string
	About string // what --help says
	New   func(context.Context, *Parts) (Runner, error)
}

// Runner is a program that listens already.
type Runner interface{ Run(context.Context) error }

// Main runs a program until it is told to stop, and answers its exit code.
func Main(spec Spec) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return Run(ctx, spec, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
}

// Run is Main for a caller who has its own signals, arguments and environment. The log goes to stderr.
func Run(ctx context.Context, spec Spec, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(spec.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "%s: %s\n\nIt is configured by the environment; .env.example lists every variable.\n", spec.Name, spec.About)
	}
	version := flags.Bool("version", false, "print the version")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s takes no arguments; see --help\n", spec.Name)
		return 2
	case *version:
		fmt.Fprintln(stdout, spec.Name, ops.Version())
		return 0
	}
	cfg, err := config.Load(getenv, config.Options{NeedsAuth: true})
	if err == nil {
		// The worker takes the policy from the database, but a file that can't be read is a mistake here too.
		_, err = readPolicy(cfg.PolicyFile)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := ops.NewLogger(stderr, cfg.LogLevel, cfg.LogFormat).With("program", spec.Name)
	if err := run(ctx, spec, cfg, log); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

func run(ctx context.Context, spec Spec, cfg config.Config, log *slog.Logger) (err error) {
	p, err := Open(ctx, spec.Name, cfg, log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	log.Info("starting", "version", ops.Version(), "database", p.Store.Dialect())
	runner, err := spec.New(ctx, p)
	if err != nil {
		return err
	}
	return p.Run(ctx, runner)
}

// Run prepares the database and runs the programs, in the order in which they stop, with the publisher that outlives them.
func (p *Parts) Run(ctx context.Context, runners ...Runner) error {
	services := []service{{"database", func(ctx context.Context) error {
		if err := p.Prepare(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		close(p.prepared)
		<-ctx.Done()
		return nil
	}}}
	for _, r := range runners {
		services = append(services, service{"", r.Run})
	}
	services = append(services, service{"publisher", p.Publisher.Run})
	return inOrder(ctx, services...)
}
