// Command duebell is Duebell on one machine, and the operator's command line. `duebell help` lists what it does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"duebell/internal/ops"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], env{os.Getenv, os.Stdin, os.Stdout, os.Stderr}))
}

// env is what a command may touch of the world.
type env struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// command is one of duebell's.
type command struct {
	name, about string
	usage       string // what follows the name
	flags       func(*flag.FlagSet) (run func(ctx context.Context, e env, args []string) error)
}

var commands = []command{demoCommand, upCommand, tokenCommand, importCommand, statusCommand, previewCommand, explainCommand, pauseCommand, resumeCommand,
	migrateCommand, restoreCommand}

// usageError is a mistake in the arguments.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// run does what args say and answers the exit code: 0, 1 where it failed, 2 where the arguments or the environment are wrong.
func run(ctx context.Context, args []string, e env) int {
	if len(args) == 0 {
		help(e.stderr)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		help(e.stdout)
		return 0
	case "version", "-version", "--version":
		fmt.Fprintln(e.stdout, "duebell", ops.Version())
		return 0
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, args[1:], e)
		}
	}
	fmt.Fprintf(e.stderr, "duebell has no command %q; duebell help lists them\n", args[0])
	return 2
}

func help(w io.Writer) {
	fmt.Fprint(w, "Duebell: the notification engine beside a loan system.\n\nUsage: duebell COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nduebell COMMAND --help says more. The environment configures it (.env.example lists every variable); without any, it keeps its\n"+
		"data in sqlite:data/duebell.db and runs a Redis in the process.\n")
}

func (c command) run(ctx context.Context, args []string, e env) int {
	flags := flag.NewFlagSet("duebell "+c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	do := c.flags(flags)
	usage := func(w io.Writer) {
		fmt.Fprintf(w, "duebell %s: %s\n\nUsage: duebell %s %s\n", c.name, c.about, c.name, c.usage)
		flags.SetOutput(w)
		flags.PrintDefaults()
		flags.SetOutput(io.Discard)
	}
	rest, err := parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		usage(e.stdout)
		return 0
	}
	if err == nil {
		err = do(ctx, e, rest)
	}
	var wrong usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(e.stderr, "duebell %s: %v\nduebell %s --help says how\n", c.name, err, c.name)
		return 2
	}
	fmt.Fprintln(e.stderr, err)
	if isConfig(err) {
		return 2
	}
	return 1
}

// parse takes flags before, between and after the arguments.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err.Error()}
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

func noArguments(args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("takes no argument like %q", args[0])}
	}
	return nil
}
