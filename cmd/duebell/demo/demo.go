package demo

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"duebell/internal/clock"
	"duebell/jobs/mail"
)

// PolicyYAML is the policy of the demo: the built-in reminders, looked at every two hours, which are half a second here.
//
//go:embed policy.yaml
var PolicyYAML []byte

// Options of New. All are required.
type Options struct {
	// IngestURL is where the scheduler listens, like http://127.0.0.1:8090. It is asked for each call: the page is needed before
	// the programs listen.
	IngestURL func() string
	// PusherURL is where the pusher listens, asked for in the same way.
	PusherURL func() string
	// ServiceToken makes a token with the scope duebell:ingest. It is asked for each call.
	ServiceToken func() (string, error)
	// UserToken makes a token for somebody of the cast.
	UserToken func(userID string) (token string, expires time.Time, err error)
	// Clock is the one of the programs.
	Clock *clock.Simulated
	Log   *slog.Logger
}

// Demo is a loan system with a small book, and a page that shows what becomes of it.
type Demo struct {
	opt    Options
	api    *ingestAPI
	book   *book
	ledger ledger
	mail   *mail.Composer
	mark   string // in the ids of what happens in this run

	imported     chan struct{} // closed once the loan book is in
	mu           sync.Mutex
	applications map[string]*application // by borrower: what the button moves on
}

// New reads the loan book. Run plays it, Handler serves the page.
func New(opt Options) (*Demo, error) {
	b, err := newBook()
	if err != nil {
		return nil, err
	}
	composer, err := mail.New(lender)
	if err != nil {
		return nil, fmt.Errorf("the demo's mail: %w", err)
	}
	return &Demo{
		opt:  opt,
		mail: composer,
		api:  &ingestAPI{url: opt.IngestURL, token: opt.ServiceToken, client: &http.Client{Timeout: 30 * time.Second}},
		book: b,
		// A database that is used again has the ids of the last run.
		mark:         "-" + opt.Clock.Now().Format("060102150405"),
		imported:     make(chan struct{}),
		applications: map[string]*application{},
	}, nil
}

// Run imports the book as it stands at the clock's time, and then tells what happens when it happens, until ctx ends.
func (d *Demo) Run(ctx context.Context) error {
	err := d.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (d *Demo) run(ctx context.Context) error {
	steps := d.begin(d.opt.Clock.Now())
	if err := d.importBook(ctx); err != nil {
		return fmt.Errorf("the demo's loan book: %w", err)
	}
	close(d.imported)
	d.opt.Log.Info("loan book imported", "people", len(d.book.people), "loans", len(d.ledger.loans), "to_come", len(steps))
	for _, s := range steps {
		if err := d.opt.Clock.Wait(ctx, s.at); err != nil {
			return err
		}
		if err := d.tell(ctx, s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			// One refused call is no reason to end the show.
			d.opt.Log.Error("the demo's loan system was refused", "loan", s.loan.ID, "error", err)
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// begin puts everything before an instant into the ledger, and returns the steps after it in order of time.
func (d *Demo) begin(now time.Time) []step {
	var steps []step
	for _, l := range d.book.loans {
		steps = append(steps, l.steps(d.book.telling(l, d.mark))...)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return a.at.Compare(b.at) })
	first, _ := slices.BinarySearchFunc(steps, now, func(s step, now time.Time) int {
		return cmp.Or(s.at.Compare(now), -1) // what is now is before
	})
	for _, s := range steps[:first] {
		d.ledger.put(s)
	}
	return steps[first:]
}

// importBook sends everybody, and the loans that have begun.
func (d *Demo) importBook(ctx context.Context) error {
	now := d.opt.Clock.Now()
	var heads []loanRow
	var rows []installmentRow
	for _, l := range d.book.loans {
		if a, begun := d.ledger.loans[l.ID]; begun {
			heads = append(heads, *l.head(a.status, now))
			rows = append(rows, l.rows(a.schedule, &now)...)
		}
	}
	if err := importRows(ctx, d.api, "users", d.book.people); err != nil {
		return err
	}
	return errors.Join(importRows(ctx, d.api, "loans", heads), importRows(ctx, d.api, "installments", rows))
}

// tell is a step that happens now.
func (d *Demo) tell(ctx context.Context, s step) error {
	d.ledger.put(s)
	return s.tell(ctx, d.api)
}
