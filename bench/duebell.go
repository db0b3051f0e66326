package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"duebell/delivery"
	"duebell/store"
)

// rig is what the servers stand on.
type rig struct {
	bin      string // folder of the programs
	database string
	redisURL string
	redis    *redis.Client
}

func newRig(bin string) (*rig, error) {
	r := &rig{bin: bin, database: os.Getenv("TEST_POSTGRES_URL"), redisURL: os.Getenv("TEST_REDIS_URL")}
	if r.database == "" || r.redisURL == "" {
		return nil, fmt.Errorf("TEST_POSTGRES_URL and TEST_REDIS_URL must be set: run it by make, or in scripts/with-services")
	}
	options, err := redis.ParseURL(r.redisURL)
	if err != nil {
		return nil, err
	}
	r.redis = redis.NewClient(options)
	migrate := exec.Command(r.bin+"/duebell", "migrate")
	migrate.Env = append(os.Environ(), r.env()...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("migrate: %w: %s", err, out)
	}
	return r, nil
}

// synced opens the database for the caller to close, and refuses a PostgreSQL that doesn't wait for its disk: its figures would mean
// nothing.
func (r *rig) synced(ctx context.Context) (*sql.DB, error) {
	db, err := sql.Open("pgx", r.database)
	if err != nil {
		return nil, err
	}
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		err := db.QueryRowContext(ctx, `SELECT current_setting($1)`, setting).Scan(&value)
		if err == nil && value != "on" {
			err = fmt.Errorf("%s is %s; run this by make", setting, value)
		}
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

func (r *rig) env(more ...string) []string {
	return append([]string{"DATABASE_URL=" + r.database, "REDIS_URL=" + r.redisURL, "AUTH_JWT_SECRET=" + secret, "LOG_LEVEL=warn", "LOG_FORMAT=text"}, more...)
}

// program starts one of ours, on its own port of a host: for a pusher that is the one for clients.
func (r *rig) program(name, host string, more ...string) (*target, error) {
	var addresses []string
	t := &target{name: name}
	switch name {
	case "scheduler":
		t.address = host + ":8090"
		addresses = []string{"SCHEDULER_ADDR=" + t.address}
	case "worker":
		t.address = host + ":8091"
		addresses = []string{"WORKER_ADDR=" + t.address}
	case "pusher":
		t.address = host + ":8080"
		addresses = []string{"PUSHER_ADDR=" + t.address, "PUSHER_OPS_ADDR=" + host + ":8092", "MAX_CONNECTIONS_PER_ADDRESS=100000"}
	}
	return t, t.run(r.bin+"/"+name, nil, r.env(append(addresses, more...)...))
}

// token is one for a scope of the internal APIs, for as long as any benchmark takes.
func (r *rig) token(scope string) (string, error) {
	mint := exec.Command(r.bin+"/duebell", "token", "--scope", scope, "--ttl", "24h")
	mint.Env = append(os.Environ(), r.env()...)
	token, err := mint.Output()
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return string(bytes.TrimSpace(token)), nil
}

// policyFile writes a policy where programs find it.
func policyFile(text string) (path string, remove func(), err error) {
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	path = filepath.Join(folder, "policy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

// pusher starts cmd/pusher. Its messages come as a worker publishes them, through delivery.Publisher, but were never in the
// database, which couldn't take so many a second: so the sweep, which would notice, is off.
func (r *rig) pusher(host string) (*target, error) {
	t, err := r.program("pusher", host, "SWEEP_INTERVAL=24h")
	t.name = "duebell"
	if err != nil {
		return t, err
	}
	publisher := delivery.NewPublisher(r.redis, slog.New(slog.DiscardHandler), nil)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = publisher.Run(ctx) })
	t.end = func() { stop(); running.Wait() }
	link := url
	revs := map[int]int64{}
	t.publish = func(_ context.Context, users []int) error {
		now := time.Now()
		changes := make([]store.Change, 0, len(users))
		for _, user := range users {
			revs[user]++
			rev := revs[user]
			changes = append(changes, store.Change{Recipient: userName(user), From: rev - 1, Counts: store.Counts{Rev: rev, Unread: rev, Unseen: rev, Total: rev},
				Items: []store.Notification{{ID: notificationID(rev), Kind: kind, Title: title, Body: body, Data: append(dataOf(now), '}'), URL: &link,
					CreatedAt: now.UTC(), CreatedRev: rev, Rev: rev}}})
		}
		publisher.Committed(changes)
		return nil
	}
	return t, nil
}

// seed writes a notification into the inbox of each of the first users, and says the query with which clients resume before it.
func (r *rig) seed(ctx context.Context, users int) (query string, err error) {
	db, err := store.Open(ctx, r.database, store.Options{})
	if err != nil {
		return "", err
	}
	defer db.Close()
	const batch = 500
	for first := 0; first < users; first += batch {
		id := fmt.Sprintf("bench-%d-%d", first, time.Now().UnixNano())
		if err := db.AddRequests(ctx, []store.Request{{ID: id, Body: []byte(`{}`), BodyHash: id}})[0].Err; err != nil {
			return "", err
		}
		_, err := db.TellRequest(ctx, id, func(store.Request) (t store.Telling, err error) {
			var drafts []store.Draft
			for user := first; user < min(first+batch, users); user++ {
				t.IDs = append(t.IDs, userName(user))
				drafts = append(drafts, store.Draft{Recipient: userName(user), Kind: kind, Title: title, Body: body, URL: url,
					Data: append(dataOf(time.Unix(0, 0)), '}'), Key: id + userName(user)})
			}
			t.Tell = func(map[string]store.Person, time.Time) ([]store.Draft, error) { return drafts, nil }
			return t, nil
		})
		if err != nil {
			return "", err
		}
	}
	epoch, _, err := db.Heads(ctx, []string{userName(0)})
	return "?rev=0&epoch=" + epoch, err
}
