package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"

	"duebell/internal/config"
	"duebell/internal/redisconn"
	"duebell/jobs"
	"duebell/store"
)

var restoreCommand = command{
	name:  "restore",
	about: "after the database was restored from a back-up: begins a new epoch and clears the queues",
	usage: "[--yes]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		yes := f.Bool("yes", false, "don't ask")
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if !*yes {
				if !onTerminal(e.stdin) {
					return usageError{"needs --yes where nobody can be asked"}
				}
				if sure, err := ask(e, "Was the database of DATABASE_URL restored to an older moment, and are scheduler and workers stopped? "+
					"All clients will fetch their list again."); err != nil || !sure {
					return err
				}
			}
			cfg, err := e.load(false)
			if err != nil {
				return err
			}
			return restore(ctx, e, cfg)
		}
	},
}

// restore tells the clients' history and the queue from those of the life that was lost. It can be run again.
func restore(ctx context.Context, e env, cfg config.Config) error {
	log := e.log(cfg)
	db, err := store.Open(ctx, cfg.DatabaseURL, store.Options{Log: log})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil { // a back-up may be one of an older version
		return err
	}
	epoch, err := db.Restored(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "epoch %s began: every client is told to fetch its list again\n", epoch)
	conn, err := redisconn.Open(ctx, cfg.RedisURL, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	if conn.Embedded {
		fmt.Fprintln(e.stdout, "REDIS_URL is embedded: no queue to clear, it ended with its process; if the programs use a Redis, set REDIS_URL as they have it and repeat this")
	} else {
		tasks, err := jobs.ClearQueues(ctx, conn.Client)
		if err != nil {
			return fmt.Errorf("%w; repeat this when Redis can be reached", err)
		}
		fmt.Fprintf(e.stdout, "%d tasks removed from the queues %s\n", tasks, strings.Join(jobs.Queues(), ", "))
	}
	// After the queues were cleared: what a running scheduler claims meanwhile goes into the new ones.
	if err := db.UnclaimAll(ctx); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "claims given back: what the database has and wasn't told yet is enqueued again")
	return nil
}

func onTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// ask wants a whole yes.
func ask(e env, question string) (bool, error) {
	fmt.Fprintf(e.stdout, "%s Type yes to go on: ", question)
	answer, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, err
	}
	if strings.TrimSpace(answer) != "yes" {
		fmt.Fprintln(e.stdout, "nothing was done")
		return false, nil
	}
	return true, nil
}
