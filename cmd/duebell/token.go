package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"duebell/internal/auth"
	"duebell/jobs/ingest"
)

var tokenCommand = command{
	name:  "token",
	about: "makes a token, signed with AUTH_JWT_SECRET",
	usage: "--user U | --scope S  [--ttl 1h]",
	flags: func(f *flag.FlagSet) func(context.Context, env, []string) error {
		user := f.String("user", "", "a user's `id`: the token opens that inbox")
		scope := f.String("scope", "", "`scope` of a service token: "+ingest.ScopeIngest+" or "+ingest.ScopeAdmin+", or both with a space between")
		ttl := f.Duration("ttl", time.Hour, "how long it lives")
		return func(_ context.Context, e env, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			return token(e, *user, *scope, *ttl)
		}
	},
}

func token(e env, user, scope string, ttl time.Duration) error {
	if (user == "") == (scope == "") {
		return usageError{"needs either --user or --scope"}
	}
	for _, s := range strings.Fields(scope) {
		if s != ingest.ScopeIngest && s != ingest.ScopeAdmin {
			return usageError{fmt.Sprintf("there is no scope %q: %s or %s", s, ingest.ScopeIngest, ingest.ScopeAdmin)}
		}
	}
	cfg, err := e.load(false)
	if err != nil {
		return err
	}
	if cfg.JWTSecret == "" {
		return fmt.Errorf("AUTH_JWT_SECRET: set it to the secret that the programs verify tokens with; " +
			"tokens of a public key or a JWK set are made by whoever has the private key")
	}
	var made string
	if user != "" {
		made, err = auth.MintUser([]byte(cfg.JWTSecret), cfg.Issuer, cfg.Audience, cfg.UserClaim, user, ttl, time.Now())
	} else {
		made, err = auth.MintService([]byte(cfg.JWTSecret), cfg.Issuer, cfg.ServiceAudience, scope, ttl, time.Now())
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, made)
	return nil
}
