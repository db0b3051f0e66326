package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// options are the flags.
type options struct {
	bin      string
	from     string // "": bin from the beginning
	seed     uint64
	duration time.Duration
	every    time.Duration
	quiet    time.Duration // how long healing may take after the last fault
	out      string        // folder that the run's own is made in; "": the temporary one
	only     []string      // faults; empty: all
	keep     bool
}

// plan is what the flags make of a seed.
func (o options) plan(form string) plan {
	p := newPlan(o.seed, form, o.duration, o.every, o.only...)
	if o.from != "" {
		order := shapeOf(form).programs
		r := rand.New(rand.NewPCG(o.seed, 77))
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		p.acts = append(p.acts, planned{o.duration / 3, "deploy", deploy(o.bin, order, o.duration/20)})
		slices.SortStableFunc(p.acts, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
	}
	return p
}

const (
	// warmUp is how long nothing is broken yet: what the programs take then is what leaks are measured against.
	warmUp = 8 * time.Second
	// devices of each person.
	devices = 2
)

// runOnce does one run in one form. What was found is in the result; an error is the harness's own trouble.
func runOnce(ctx context.Context, opt options, form string, stdout io.Writer) (result, error) {
	res := result{Seed: opt.seed, Form: form}
	folder, err := os.MkdirTemp(opt.out, "duebell-chaos-")
	if err != nil {
		return res, err
	}
	if err := os.Chmod(folder, 0o755); err != nil { // PostgreSQL runs as its own user
		return res, err
	}
	h, err := newHistory(folder, stdout)
	if err != nil {
		return res, err
	}
	found := newFindings(h)
	p := opt.plan(form)
	err = play(ctx, opt, p, found, &res)
	res.Lost, res.Doubled, res.Gaps, res.Breaks, res.Leaks = found.of(lost), found.of(doubled), found.of(gap), found.of(broken), found.of(leaked)
	if err != nil {
		h.say("the run failed: %v", err)
	}
	if !res.clean() || err != nil || opt.keep {
		h.say("history, logs and data: %s", folder)
		return res, errorsOf(err, h.close())
	}
	return res, errorsOf(h.close(), os.RemoveAll(folder))
}

func errorsOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func play(ctx context.Context, opt options, p plan, found *findings, res *result) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := found.history
	keeps := ""
	if p.form == formServices {
		keeps = fmt.Sprintf("; Redis keeps an append-only file: %v", p.aof)
	}
	if p.twin {
		keeps += "; each program is process 1 of a host of the same name"
	}
	h.say("seed %d, form %s, a fault about every %s for %s%s", p.seed, p.form, opt.every, opt.duration, keeps)
	cal := newCalendar(time.Now(), warmUp+opt.duration/4)
	policy, err := cal.writePolicy(h.folder)
	if err != nil {
		return err
	}
	in, err := install(ctx, p, opt, policy, found)
	if err != nil {
		return err
	}
	defer in.end()
	db, err := openDatabase(in.database)
	if err != nil {
		return err
	}
	defer db.sql.Close()
	book := &ledger{people: cal.people()}
	lender := newLender(in, book, found)
	loads := newLoad(lender, p.seed)
	if err := loads.prepare(ctx); err != nil {
		return err
	}

	// Everybody who acts has two contexts: one ends the acting, the other what was begun.
	acting, stopActing := context.WithCancel(ctx)
	defer stopActing()
	var devicesDone, actors sync.WaitGroup
	defer devicesDone.Wait()
	defer cancel()
	var screens []*screen
	visitors := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 20 * time.Second}}
	for number, person := range book.people {
		r := &reader{user: person.id, token: userToken(person.id), in: in, ledger: book, found: found, http: visitors,
			random: rand.New(rand.NewPCG(p.seed, 300+uint64(number)))}
		for device := range devices {
			s := newScreen(in, found, person.id, number*devices+device, p.seed)
			r.screens = append(r.screens, s)
			screens = append(screens, s)
			devicesDone.Go(func() { s.run(ctx) })
		}
		actors.Go(func() { r.run(acting, ctx) })
	}
	actors.Go(func() { loads.run(acting, ctx) })
	h.say("%d programs, %d people with %d screens; reminders go out at %s", len(in.programs), len(book.people), len(screens), h.at(cal.sendAt))
	before, err := levels(ctx, in, warmUp)
	if err != nil {
		return err
	}

	res.Faults = breakThings(ctx, in, p, opt.duration)
	stopActing()
	h.say("no more faults; what was begun is finished")
	// What is repeated until it is answered is answered within this time, or never.
	if !finished(ctx, &actors, time.Minute) {
		found.add(broken, "calls are still not answered a minute after the faults")
	}
	visitors.CloseIdleConnections()
	lender.http.CloseIdleConnections()
	for _, s := range screens {
		s.stay()
	}
	until := time.Now()
	if err := awaitQuiet(ctx, in, db, screens, opt.quiet, found); err != nil {
		return err
	}
	checkLeaks(ctx, in, before, len(screens), found)
	if found.of(leaked) == 0 { // else it would never be quiet again
		checkAlone(ctx, in, lender, db, found)
		if err := awaitQuiet(ctx, in, db, screens, opt.quiet, found); err != nil {
			return err
		}
	}
	cancel() // the screens stand still now
	devicesDone.Wait()
	reading, done := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer done()
	rows, err := db.read(reading)
	if err != nil {
		return fmt.Errorf("read the database: %w", err)
	}
	book.mu.Lock() // nobody acts any more, unless calls hang
	defer book.mu.Unlock()
	res.Events = len(book.events)
	h.say("%d events and %d loans, %d acknowledged calls, %d notifications, %d reminders sent", len(book.events), len(book.loans), book.calls,
		len(rows.notifications), len(rows.sent))
	(&checker{ledger: book, rows: rows, screens: screens, calendar: cal, wrong: in.clocks.deciders(), until: until, found: found}).check()
	return nil
}

func finished(ctx context.Context, all *sync.WaitGroup, within time.Duration) bool {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(within):
	case <-ctx.Done():
	}
	return false
}

// breakThings does the plan and takes everything back at its end. It answers how many faults that were.
func breakThings(ctx context.Context, in *installation, p plan, duration time.Duration) (n int) {
	begun := time.Now()
	in.history.say("%d faults from now on, for %s", len(p.acts), duration)
	ending, stop := context.WithDeadline(ctx, begun.Add(duration))
	defer stop()
	var all sync.WaitGroup
	var leftOut atomic.Int64
	for _, a := range p.acts {
		if !rest(ending, time.Until(begun.Add(a.at))) {
			break
		}
		n++
		in.history.say("FAULT +%.3fs %s", a.at.Seconds(), a)
		all.Go(func() {
			if err := a.do(ctx, in); err != nil {
				in.history.say("      %s: %v", a, err)
				if errors.Is(err, errLeftOut) {
					leftOut.Add(1)
					return
				}
			}
			if a.undo == nil {
				return
			}
			rest(ending, a.lasts)
			if err := a.undo(in); err != nil {
				in.history.say("      end of %s: %v", a, err)
			}
			in.history.note("end of %s", a)
		})
	}
	rest(ending, time.Until(begun.Add(duration)))
	all.Wait()
	for _, p := range append([]*process{in.redis, in.postgres}, in.programs...) {
		if p == nil {
			continue
		}
		if err := p.start(); err != nil {
			in.history.say("%v", err)
		}
	}
	return n - int(leftOut.Load())
}
