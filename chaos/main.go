package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usageText = `usage: chaos [flags]

Run it by make in the folder above: make chaos SEED=n.

`

const containFlag = "-contain" // how this program runs itself; see contain

func main() {
	if len(os.Args) > 2 && os.Args[1] == containFlag {
		fmt.Fprintln(os.Stderr, "chaos:", runContained(os.Args[2:]))
		os.Exit(2)
	}
	if code, ok := isolate(os.Stderr); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with an exit code: 1 if anything was found, 2 if the harness itself failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var opt options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usageText); flags.PrintDefaults() }
	flags.StringVar(&opt.bin, "bin", "bin", "`folder` of the programs under test")
	flags.StringVar(&opt.from, "from", "", "`folder` of programs of an older version: they begin, and a third of the way those of -bin take their place, one by one")
	flags.Uint64Var(&opt.seed, "seed", 0, "decides everything; 0: one of the clock's, which is printed")
	form := flags.String("form", "both", "services, embedded or both, one after the other")
	flags.DurationVar(&opt.duration, "duration", 10*time.Minute, "how long faults come")
	flags.DurationVar(&opt.every, "faults-every", 2500*time.Millisecond, "about how often one comes")
	flags.StringVar(&opt.out, "out", "", "`folder` for history, logs and data; they are kept if something was found")
	flags.DurationVar(&opt.quiet, "quiet", 4*time.Minute, "how long all that was broken may take to heal; Asynq alone takes two minutes for a task whose worker died")
	flags.BoolVar(&opt.keep, "keep", false, "keep them in any case")
	flags.Func("only", "`names` of faults with commas between: no others come", func(names string) error {
		for _, name := range strings.Split(names, ",") {
			if !slices.ContainsFunc(faults, func(f fault) bool { return f.name == name }) {
				return fmt.Errorf("there is no fault %q", name)
			}
			opt.only = append(opt.only, name)
		}
		return nil
	})
	show := flags.Bool("plan", false, "print what the seed would do, and do nothing")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	forms := []string{*form}
	switch *form {
	case formServices, formEmbedded:
	case "both":
		forms = []string{formServices, formEmbedded}
	default:
		fmt.Fprintln(stderr, "chaos: -form is services, embedded or both")
		return 2
	}
	if opt.duration <= 0 || opt.every <= 0 || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	if opt.seed == 0 {
		opt.seed = uint64(time.Now().UnixNano() / 1000 % 1e9)
	}
	if isolated() {
		if err := furnish(); err != nil {
			fmt.Fprintln(stderr, "chaos:", err)
			return 2
		}
	}
	code := 0
	for _, form := range forms {
		if *show {
			for _, a := range opt.plan(form).acts {
				fmt.Fprintf(stdout, "%s +%.3fs %s\n", form, a.at.Seconds(), a)
			}
			continue
		}
		res, err := runOnce(ctx, opt, form, stdout)
		if err != nil {
			fmt.Fprintln(stderr, "chaos:", err)
			return 2
		}
		text, err := json.Marshal(res)
		if err != nil {
			fmt.Fprintln(stderr, "chaos:", err)
			return 2
		}
		fmt.Fprintf(stdout, "RESULT %s\n", text)
		if !res.clean() {
			code = 1
		}
	}
	return code
}
