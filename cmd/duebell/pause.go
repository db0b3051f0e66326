package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/hibiken/asynq"

	"duebell/internal/redisconn"
	"duebell/jobs"
)

var pauseCommand = command{
	name:  "pause",
	about: "stops a queue: tasks wait, and a run of reminders that is under way waits after its batch",
	usage: "status|reminders|housekeeping",
	flags: func(*flag.FlagSet) func(context.Context, env, []string) error {
		return func(ctx context.Context, e env, args []string) error { return setPaused(ctx, e, args, true) }
	},
}

var resumeCommand = command{
	name:  "resume",
	about: "lets a paused queue go on where it was",
	usage: "status|reminders|housekeeping",
	flags: func(*flag.FlagSet) func(context.Context, env, []string) error {
		return func(ctx context.Context, e env, args []string) error { return setPaused(ctx, e, args, false) }
	},
}

// setPaused does what the dashboard's button does, so either can undo the other.
func setPaused(ctx context.Context, e env, args []string, paused bool) error {
	if len(args) != 1 || !slices.Contains(jobs.Queues(), args[0]) {
		return usageError{"needs the name of one queue: " + strings.Join(jobs.Queues(), ", ")}
	}
	cfg, err := e.load(false)
	if err != nil {
		return err
	}
	if cfg.RedisURL == "embedded" {
		return usageError{"REDIS_URL is embedded: that Redis is in the process of duebell up; its /asynqmon/ pauses queues with ASYNQMON_WRITE=true"}
	}
	conn, err := redisconn.Open(ctx, cfg.RedisURL, e.log(cfg))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	before, err := jobs.NewQueueReader(conn.Client).Paused(ctx, args[0])
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	state := map[bool]string{true: "paused", false: "running"}[paused]
	if before == paused {
		fmt.Fprintf(e.stdout, "%s is %s already\n", args[0], state)
		return nil
	}
	inspector := asynq.NewInspectorFromRedisClient(conn.Client)
	change := inspector.UnpauseQueue
	if paused {
		change = inspector.PauseQueue
	}
	if err := change(args[0]); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s is %s\n", args[0], state)
	return nil
}
