package main

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"duebell/internal/redisconn"
	"duebell/internal/testenv"
	"duebell/jobs"
	"duebell/store"
)

// screen is what a command has drawn so far.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

func TestALongRunHasABar(t *testing.T) {
	vars := migrated(t, time.Date(2026, 3, 13, 9, 0, 0, 0, time.UTC))
	args := []string{"import", "--users", file(t, "u.csv", users), "--loans", file(t, "l.csv", loans), "--installments", file(t, "i.csv", installments)}
	if code, _, stderr := call(t, vars, args...); code != 0 {
		t.Fatal(stderr)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	at := time.Date(2026, 3, 13, 9, 0, 0, 0, time.UTC)
	db, err := store.Open(ctx, vars["DATABASE_URL"], store.Options{Clock: func() time.Time { return at.AddDate(0, 0, 7) }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.AddTick(ctx, "reminder.run", at); err != nil {
		t.Fatal(err)
	}
	if err := db.BeginProgress(ctx, "reminder.run", at, 3); err != nil { // and the one of the book
		t.Fatal(err)
	}
	if _, stdout, _ := call(t, vars, "status"); !strings.Contains(stdout, "reminder.run of 2026-03-13T09:00:00Z\n[######################--------] 75 %, 3 of 4") {
		t.Errorf("status: %s", stdout)
	}
	if _, stdout, _ := call(t, vars, "status", "--json"); !strings.Contains(stdout, `"due": 4`) || !strings.Contains(stdout, `"users": 1`) {
		t.Errorf("status --json: %s", stdout)
	}

	out := &screen{}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"status", "--watch"}, env{func(name string) string { return vars[name] }, strings.NewReader(""), out, io.Discard})
	}()
	wait := func(text string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !out.has(text); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not on the screen: %q", text)
			}
		}
	}
	wait("75 %, 3 of 4")
	wait("standing still")
	if all, err := db.Progress(ctx, "reminder.run", at, 1); err != nil || all != 4 {
		t.Fatalf("%d settled, %v", all, err)
	}
	wait("100 %, 4 of 4")
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("interrupted: exit code %d", code)
	}
}

func TestAQueueIsPausedAndResumed(t *testing.T) {
	vars := map[string]string{"REDIS_URL": testenv.Redis(t)}
	conn, err := redisconn.Open(t.Context(), vars["REDIS_URL"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	expect := func(paused bool, said string, args ...string) {
		t.Helper()
		code, stdout, stderr := call(t, vars, args...)
		if code != 0 || stdout != said+"\n" {
			t.Errorf("%v: %d %s %s", args, code, stdout, stderr)
		}
		if is, err := jobs.NewQueueReader(conn.Client).Paused(t.Context(), jobs.QueueReminders); err != nil || is != paused {
			t.Errorf("after %v: paused %v, %v", args, is, err)
		}
	}
	expect(true, "reminders is paused", "pause", "reminders")
	expect(true, "reminders is paused already", "pause", "reminders")
	expect(false, "reminders is running", "resume", "reminders")
	expect(false, "reminders is running already", "resume", "reminders")
	if err := asynq.NewInspectorFromRedisClient(conn.Client).PauseQueue(jobs.QueueReminders); err != nil { // as the dashboard does
		t.Fatal(err)
	}
	expect(false, "reminders is running", "resume", "reminders")

	for _, args := range [][]string{{"pause"}, {"pause", "remainders"}, {"resume", "reminders", "status"}} {
		if code, _, stderr := call(t, vars, args...); code != 2 || !strings.Contains(stderr, "status, reminders, housekeeping") {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
	if code, _, stderr := call(t, nil, "pause", "reminders"); code != 2 || !strings.Contains(stderr, "REDIS_URL is embedded") {
		t.Errorf("embedded: %d %s", code, stderr)
	}
}
