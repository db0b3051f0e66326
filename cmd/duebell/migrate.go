package main

import (
	"context"
	"flag"
	"fmt"

	"duebell/store"
)

var migrateCommand = command{
	name:  "migrate",
	about: "brings the database to this version's tables (the programs do it at their start too)",
	flags: func(*flag.FlagSet) func(context.Context, env, []string) error {
		return func(ctx context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			cfg, err := e.load(false)
			if err != nil {
				return err
			}
			db, err := store.Open(ctx, cfg.DatabaseURL, store.Options{Log: e.log(cfg)})
			if err != nil {
				return err
			}
			defer db.Close()
			if err := db.Migrate(ctx); err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, "the database has this version's tables")
			return nil
		}
	},
}
