package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"duebell/internal/testenv"
	"duebell/store"
)

func epochOf(t *testing.T, vars map[string]string) string {
	t.Helper()
	db, err := store.Open(t.Context(), vars["DATABASE_URL"], store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	epoch, _, err := db.Heads(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

// Nothing happens before somebody has said yes, and then all of it, whatever the back-up's version.
func TestRestoreAsks(t *testing.T) {
	vars := migrated(t, time.Time{})
	before := epochOf(t, vars)
	if code, stdout, stderr := call(t, vars, "restore"); code != 2 || stdout != "" || !strings.Contains(stderr, "--yes") {
		t.Errorf("without a terminal: %d %s %s", code, stdout, stderr)
	}
	for answer, want := range map[string]bool{"yes\n": true, "yes": true, "y\n": false, "no\n": false, "": false} {
		var out strings.Builder
		sure, err := ask(env{stdin: strings.NewReader(answer), stdout: &out}, "Sure?")
		if err != nil || sure != want || !strings.HasPrefix(out.String(), "Sure?") {
			t.Errorf("%q: %v, %v, %q", answer, sure, err, out.String())
		}
	}
	if epochOf(t, vars) != before {
		t.Error("the epoch is another, and nobody said yes")
	}
	code, stdout, stderr := call(t, vars, "restore", "--yes")
	if after := epochOf(t, vars); code != 0 || after == before || !strings.HasPrefix(stdout, "epoch "+after+" began") || !strings.Contains(stdout, "REDIS_URL is embedded") {
		t.Errorf("epoch %s: %d %s %s", after, code, stdout, stderr)
	}
	empty := map[string]string{"DATABASE_URL": testenv.SQLite(t)}
	if code, _, stderr := call(t, empty, "restore", "--yes"); code != 0 {
		t.Errorf("a database without tables: %s", stderr)
	}
}

// What was claimed comes again, and a Redis that is down is named; then it can be repeated.
func TestRestoreGivesClaimsBack(t *testing.T) {
	vars := migrated(t, time.Time{})
	db, err := store.Open(t.Context(), vars["DATABASE_URL"], store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.AddRequests(t.Context(), []store.Request{{ID: "r1", Body: []byte(`{}`), BodyHash: "h"}})[0].Err; err != nil {
		t.Fatal(err)
	}
	claims := func() int {
		list, err := db.ClaimOutbox(t.Context(), 10, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if claims() != 0 {
		t.Fatal("who adds a request has claimed it")
	}
	vars["REDIS_URL"] = "redis://127.0.0.1:1/0"
	if code, stdout, stderr := call(t, vars, "restore", "--yes"); code != 1 || !strings.Contains(stdout, "epoch ") || !strings.Contains(stderr, "repeat this") {
		t.Errorf("without Redis: %d %s %s", code, stdout, stderr)
	}
	vars["REDIS_URL"] = testenv.Redis(t)
	opt, err := redis.ParseURL(vars["REDIS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opt)
	defer client.Close()
	if err := client.LPush(context.Background(), "asynq:{status}:pending", "r1:1:x").Err(); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, vars, "restore", "--yes"); code != 0 || !strings.Contains(stdout, "1 tasks removed") {
		t.Errorf("with Redis: %d %s %s", code, stdout, stderr)
	}
	if n := claims(); n != 1 {
		t.Errorf("%d claims are handed out again", n)
	}
}
