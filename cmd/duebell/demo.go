package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"duebell/cmd/duebell/demo"
	"duebell/cmd/internal/program"
	"duebell/internal/auth"
	"duebell/internal/clock"
	"duebell/internal/config"
	"duebell/jobs/ingest"
)

var demoCommand = command{
	name:  "demo",
	about: "plays a real loan book in a browser: everything in one process, nothing to set up",
	usage: "[--port 8080] [--speed 14400]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		port := f.Int("port", 8080, "where the page is; another free one is taken if it is in use")
		speed := f.Float64("speed", demo.Speed, "simulated seconds in a second")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if *port < 0 || *port > 65535 {
				return usageError{"--port: between 0 and 65535"}
			}
			if _, err := simulated(demo.Start.Format(time.RFC3339), *speed, false); err != nil {
				return err
			}
			return runDemo(ctx, e, *port, *speed)
		}
	},
}

// runDemo leaves nothing behind: the database is in a folder that goes with it, and the secret in memory.
func runDemo(ctx context.Context, e env, port int, speed float64) (err error) {
	folder, err := os.MkdirTemp("", "duebell-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cfg, err := demoConfig(e, folder, port)
	if err != nil {
		return err
	}
	clk := clock.NewSimulated(demo.Start, speed)
	p, err := program.Open(ctx, "duebell", cfg, e.log(cfg), clk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	var all *program.All
	secret := []byte(cfg.JWTSecret)
	show, err := demo.New(demo.Options{
		IngestURL: func() string { return "http://" + all.Scheduler.Addr().String() },
		PusherURL: func() string { return "http://" + all.Pusher.Addr().String() },
		ServiceToken: func() (string, error) {
			return auth.MintService(secret, "", cfg.ServiceAudience, ingest.ScopeIngest, time.Minute, time.Now())
		},
		UserToken: func(user string) (string, time.Time, error) {
			now := time.Now()
			token, err := auth.MintUser(secret, "", "", cfg.UserClaim, user, demoTokenTTL, now)
			return token, now.Add(demoTokenTTL), err
		},
		Clock: clk, Log: p.Log,
	})
	if err != nil {
		return err
	}
	if all, err = program.NewAll(ctx, p, show.Handler()); err != nil {
		return err
	}
	all.Step = true
	_, at, _ := net.SplitHostPort(all.Pusher.Addr().String())
	fmt.Fprintf(e.stdout, "\n  Duebell plays a loan book: open  http://localhost:%s/\n  Ctrl-C ends it.\n\n", at)
	return all.Run(ctx, show)
}

// demoTokenTTL is short, so that the page shows how tokens are renewed.
const demoTokenTTL = 10 * time.Minute

// demoConfig takes nothing from the environment but how to log: a demo must not write into somebody's database.
func demoConfig(e env, folder string, port int) (config.Config, error) {
	policyFile := filepath.Join(folder, "policy.yaml")
	if err := os.WriteFile(policyFile, demo.PolicyYAML, 0o600); err != nil {
		return config.Config{}, err
	}
	page := "127.0.0.1:" + strconv.Itoa(port)
	if l, err := net.Listen("tcp", page); err != nil {
		page = "127.0.0.1:0"
	} else {
		l.Close()
	}
	level := e.getenv("LOG_LEVEL")
	if level == "" {
		level = "warn"
	}
	set := map[string]string{
		"DATABASE_URL": "sqlite:" + filepath.Join(folder, "duebell.db"), "REDIS_URL": "embedded", "AUTH_JWT_SECRET": rand.Text() + rand.Text(),
		"POLICY_FILE": policyFile, "PUSHER_ADDR": page, "SCHEDULER_ADDR": "127.0.0.1:0", "WORKER_ADDR": "127.0.0.1:0", "PUSHER_OPS_ADDR": "127.0.0.1:0",
		"DRAIN_WINDOW": "1s", "LOG_LEVEL": level, "LOG_FORMAT": e.getenv("LOG_FORMAT"),
	}
	return config.Load(func(name string) string { return set[name] }, config.Options{NeedsAuth: true})
}
