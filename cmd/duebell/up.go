package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"duebell/cmd/internal/program"
	"duebell/internal/clock"
	"duebell/internal/config"
)

var upCommand = command{
	name:  "up",
	about: "runs scheduler, worker and pusher in one process",
	usage: "[--clock 2026-03-08T06:00:00Z [--speed 3600] [--step]]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		start := f.String("clock", "", "run on a simulated clock from this `instant` (RFC 3339); one that the database has reached already goes on from there")
		speed := f.Float64("speed", 1, "simulated seconds in a second")
		step := f.Bool("step", false, "let the simulated clock move only while nothing is left to do")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			clk, err := simulated(*start, *speed, *step)
			if err != nil {
				return err
			}
			return up(ctx, e, clk, *step)
		}
	},
}

// simulated is the clock that the flags of up ask for; nil without --clock: the machine's.
func simulated(start string, speed float64, step bool) (clock.Clock, error) {
	if start == "" {
		if speed != 1 || step {
			return nil, usageError{"--speed and --step need --clock"}
		}
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, start)
	if err != nil {
		return nil, usageError{fmt.Sprintf("--clock: %q is no instant like 2026-03-08T06:00:00Z", start)}
	}
	if !(speed >= clock.MinSpeed && speed <= clock.MaxSpeed) {
		return nil, usageError{fmt.Sprintf("--speed: between %g and %g", clock.MinSpeed, clock.MaxSpeed)}
	}
	return clock.NewSimulated(at, speed), nil
}

func up(ctx context.Context, e env, clk clock.Clock, step bool) (err error) {
	cfg, err := e.load(true)
	if err != nil {
		return err
	}
	p, err := open(ctx, e, cfg, clk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	all, err := program.NewAll(ctx, p)
	if err != nil {
		return err
	}
	all.Step = step
	return all.Run(ctx)
}

// open opens the parts and sets a simulated clock to where the database has been with it.
func open(ctx context.Context, e env, cfg config.Config, clk clock.Clock) (*program.Parts, error) {
	p, err := program.Open(ctx, "duebell", cfg, e.log(cfg), clk)
	if err != nil {
		return nil, err
	}
	sim, ok := clk.(*clock.Simulated)
	if !ok {
		return p, nil
	}
	if err := p.Prepare(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	reached, err := p.Store.ClockNow(ctx)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := sim.Jump(ctx, reached); err != nil { // nothing drives it yet: it is there at once
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}
