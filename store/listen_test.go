package store

import (
	"context"
	"testing"
	"time"

	"duebell/internal/testenv"
)

func TestListen(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		woken := make(chan struct{}, 100)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- db.Listen(ctx, func() { woken <- struct{}{} }) }()
		request := func(id string) {
			t.Helper()
			err := db.write(t.Context(), func(ctx context.Context, tx *Tx) error {
				tx.wakeOutbox()
				_, err := tx.exec(ctx, `
					INSERT INTO notification_requests (id, body, body_hash, created_at) VALUES (?, '{}', '', ?)`, id, tx.now)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		awaited := func(what string) {
			t.Helper()
			select {
			case <-woken:
			case <-time.After(time.Minute):
				t.Fatal("nobody was woken by " + what)
			}
		}
		if db.Dialect() == Postgres {
			awaited("the connection")
		} else {
			for deadline := time.Now().Add(10 * time.Second); !db.outbox.any(); {
				if time.Now().After(deadline) {
					t.Fatal("Listen doesn't start")
				}
				time.Sleep(time.Millisecond)
			}
		}
		request("one")
		awaited("a row in the outbox")

		if db.Dialect() == Postgres {
			kill := `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`
			var killed int
			if err := db.query().get(t.Context(), &killed, kill); err != nil || killed != 1 {
				t.Fatalf("killed %d listening connections, %v", killed, err)
			}
			awaited("the new connection")
			request("two")
			awaited("a row in the outbox after a reconnect")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Listen = %v after its context ended", err)
		}
	})
}

func (w *wakers) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.fns) > 0
}
