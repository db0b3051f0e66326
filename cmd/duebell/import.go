package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"

	"duebell/internal/config"
	"duebell/jobs/ingest"
	"duebell/store"
)

var importCommand = command{
	name:  "import",
	about: "reads CSV files into the database, each all or nothing",
	usage: "[--users U.csv] [--loans L.csv] [--installments I.csv] [--payments P.csv] [--dry-run] [--skip-bad] [--backfill]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		resources := []string{ingest.Users, ingest.Loans, ingest.Installments, ingest.Payments}
		names := map[string]*string{}
		for _, r := range resources {
			names[r] = f.String(r, "", "`file` of "+r+"; its first line has the field names of the API")
		}
		var opt ingest.CSVOptions
		f.BoolVar(&opt.DryRun, "dry-run", false, "check everything, write nothing")
		f.BoolVar(&opt.SkipBad, "skip-bad", false, "write the good rows of a file that has bad ones")
		f.BoolVar(&opt.Backfill, "backfill", false, "send reminder days before the first import too")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			var files []ingest.CSVFile
			for _, r := range resources {
				if *names[r] == "" {
					continue
				}
				in, err := os.Open(*names[r])
				if err != nil {
					return usageError{fmt.Sprintf("--%s: %v", r, err)}
				}
				defer in.Close()
				files = append(files, ingest.CSVFile{Resource: r, Name: *names[r], In: in})
			}
			if len(files) == 0 {
				return usageError{"needs a file: --users, --loans, --installments or --payments"}
			}
			return importFiles(ctx, e, files, opt)
		}
	},
}

func importFiles(ctx context.Context, e env, files []ingest.CSVFile, opt ingest.CSVOptions) error {
	return e.withStore(ctx, func(_ config.Config, db *store.DB) error {
		bar := newProgress(e, files)
		opt.Progress = bar.show
		results, err := ingest.ImportCSV(ctx, db, files, opt)
		bar.clear()
		for _, r := range results {
			for _, bad := range r.Errors {
				fmt.Fprintln(e.stderr, bad)
			}
			if more := r.Found - len(r.Errors); more > 0 {
				fmt.Fprintf(e.stderr, "%s: and %d more\n", r.File, more)
			}
			switch {
			case opt.DryRun:
				fmt.Fprintf(e.stdout, "%s: %d rows good, %d bad; nothing written (dry run)\n", r.File, r.Accepted, r.Rejected)
			case !r.Written:
				fmt.Fprintf(e.stdout, "%s: nothing written, %d rows bad\n", r.File, r.Rejected)
			default:
				fmt.Fprintf(e.stdout, "%s: %d rows written, %d bad\n", r.File, r.Accepted, r.Rejected)
			}
		}
		if errors.Is(err, ingest.ErrBadRows) && opt.SkipBad {
			return nil
		}
		return err
	})
}

// progress is a line on a terminal that says how far the import is; elsewhere nothing.
type progress struct {
	e     env
	files map[string]*countingFile
	start time.Time
	drawn bool
}

// countingFile knows how much of it was read.
type countingFile struct {
	io.Reader
	read, size int64
}

func (f *countingFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	f.read += int64(n)
	return n, err
}

// newProgress puts itself between the files and their reader.
func newProgress(e env, files []ingest.CSVFile) *progress {
	p := &progress{e: e, start: time.Now()}
	out, ok := e.stderr.(*os.File)
	if !ok || !isatty.IsTerminal(out.Fd()) {
		return p
	}
	p.files = map[string]*countingFile{}
	for i, f := range files {
		counted := &countingFile{Reader: f.In}
		if in, ok := f.In.(*os.File); ok {
			if info, err := in.Stat(); err == nil {
				counted.size = info.Size()
			}
		}
		files[i].In = counted
		p.files[f.Name] = counted
	}
	return p
}

func (p *progress) show(name string, rows int) {
	f, ok := p.files[name]
	if !ok {
		return
	}
	const bar = "=============================="
	done := 0
	if f.size > 0 {
		done = int(min(f.read, f.size) * int64(len(bar)) / f.size)
	}
	perSecond := float64(rows) / max(time.Since(p.start).Seconds(), 0.001)
	fmt.Fprintf(p.e.stderr, "\r\x1b[K%s [%-*s] %d rows, %.0f/s", name, len(bar), bar[:done], rows, perSecond)
	p.drawn = true
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.e.stderr, "\r\x1b[K")
	}
}
