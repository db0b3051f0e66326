package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

// Only rows that nobody has claimed wake the relay: PostgreSQL lets transactions that notify commit only one after the other.
func TestWhatIsClaimedWakesNobody(t *testing.T) {
	db, _ := openMigrated(t, testenv.Postgres(t))
	ctx := t.Context()
	conn, err := pgx.ConnectConfig(ctx, db.pg.Copy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `LISTEN duebell_outbox`); err != nil {
		t.Fatal(err)
	}
	heard := func() (notices int) {
		t.Helper()
		if _, err := conn.Exec(ctx, `SELECT pg_notify('duebell_outbox', 'end')`); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if n.Payload == "end" {
				return notices
			}
			notices++
		}
	}
	for _, added := range slices.Concat(db.AddStatusChanges(ctx, []StatusChange{change("c1", "A1", "approved"), change("c2", "A2", "approved")}),
		db.AddRequests(ctx, []Request{{ID: "r1", Body: []byte(`{}`)}})) {
		if added.Err != nil {
			t.Fatal(added.Err)
		}
	}
	if n := heard(); n != 0 {
		t.Errorf("%d notices of what is claimed", n)
	}
	// One for a transaction, however many rows.
	if _, err := db.ImportStatusChanges(ctx, []StatusChange{change("c3", "A1", "paid"), change("c4", "A3", "approved")}, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := heard(); n != 1 {
		t.Errorf("%d notices of an import, want 1", n)
	}
	// As a loan system does in its own transaction.
	for _, insert := range []string{
		`INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, occurred_at) VALUES ('c5', 'A4', 'ann', '', 'approved', now())`,
		`INSERT INTO notification_requests (id, body, body_hash, created_at) VALUES ('r2', '{}', '', now())`,
	} {
		if _, err := conn.Exec(ctx, insert); err != nil {
			t.Fatal(err)
		}
		if n := heard(); n != 1 {
			t.Errorf("%d notices of %s", n, insert)
		}
	}
}
