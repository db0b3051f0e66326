package program_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"duebell/internal/testenv"
	"duebell/store"
)

// postgresBackup copies the tables beside themselves, and back puts them where they were while the programs may run.
func postgresBackup(t *testing.T, url string) (back func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	copied := []string{`BEGIN ISOLATION LEVEL REPEATABLE READ`, `CREATE SCHEMA backup`}
	restored := []string{`BEGIN`, `SET LOCAL session_replication_role = replica`} // no trigger, no foreign key, as pg_restore does it
	for _, table := range tables {
		copied = append(copied, `CREATE TABLE backup.`+table+` AS TABLE `+table)
		restored = append(restored, `DELETE FROM `+table, `INSERT INTO `+table+` OVERRIDING SYSTEM VALUE TABLE backup.`+table)
	}
	run := func(statements []string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, s := range append(statements, `COMMIT`) {
			if _, err := conn.Exec(t.Context(), s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	run(copied)
	return func() { t.Helper(); run(restored) }
}

// duebell runs the operator's command and wants it to succeed.
func duebell(t *testing.T, env []string, args ...string) string {
	t.Helper()
	folder, err := buildPrograms()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(folder, "duebell"), args...)
	cmd.Env = env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("duebell %s: %v %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// refetch is what a client does after a reset: it takes the list for what it has. It checks the counters against the list.
func (s *screen) refetch(inbox string) {
	s.t.Helper()
	req, err := http.NewRequest("GET", inbox+"/v1/notifications?limit=100", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var list struct {
		Items []store.Notification
		store.Counts
	}
	text, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("list: %s %s %v", res.Status, text, err)
	}
	unread := int64(0)
	for _, n := range list.Items {
		if n.ReadAt == nil && n.ResolvedAt == nil {
			unread++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if list.Counts != s.counts || list.Total != int64(len(list.Items)) || list.Unread != unread {
		s.t.Errorf("the list has %d items with %d unread and says %+v, the socket said %+v", len(list.Items), unread, list.Counts, s.counts)
	}
	s.items, s.order, s.astray = map[string]store.Notification{}, nil, false
	for i := len(list.Items) - 1; i >= 0; i-- {
		n := list.Items[i]
		s.items[n.ID] = n
		s.order = append(s.order, n.ID)
	}
}

// lost says that the cursor is one of a life that was lost.
func (s *screen) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.astray = true
}

// steps tells some status changes and waits for them on a screen.
func (l *lender) steps(s *screen, prefix string, n int) {
	l.t.Helper()
	for i := range n {
		l.status(fmt.Sprint(prefix, i), "application", "ada", "", fmt.Sprint(prefix, i))
	}
	s.until(patience, fmt.Sprintf("%d changes of %s", n, prefix), func() bool {
		return len(s.titles("application.")) > 0 && strings.Count(strings.Join(s.titles("application."), "|")+"|", " "+prefix) == n
	})
}

// A database is restored under a running pusher, while Redis still has tasks, ids and claims of the life that was lost: all
// clients start over, whether they stayed, come back at once, or when both lives have the revs of their cursor; and what
// happens from then on arrives once and in order.
func TestRestoredPostgreSQL(t *testing.T) {
	for _, test := range []struct {
		name    string
		cleared bool
	}{{"as the README says", true}, {"without Redis being cleared", false}} {
		t.Run(test.name, func(t *testing.T) {
			database, redisURL := testenv.Postgres(t), testenv.Redis(t)
			in := install(t, database, redisURL)
			opt, err := redis.ParseURL(redisURL)
			if err != nil {
				t.Fatal(err)
			}
			client := redis.NewClient(opt)
			defer client.Close()
			waiting := func() int64 {
				n, err := client.LLen(t.Context(), "asynq:{status}:pending").Result()
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			connect := func(s *screen) {
				t.Helper()
				if err := s.connect(await(t)); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.disconnectNow)
			}
			stays, returns, late := newScreen(t, in.socket, userToken("ada")), newScreen(t, in.socket, userToken("ada")), newScreen(t, in.socket, userToken("ada"))
			in.lender.borrower("ada", "Europe/Prague", 30)
			for _, s := range []*screen{stays, returns, late} {
				connect(s)
			}
			in.lender.steps(stays, "kept", 2)
			back := postgresBackup(t, database)
			in.lender.steps(stays, "lost", 2)
			for _, s := range []*screen{returns, late} {
				s.until(patience, "four changes", func() bool { return len(s.titles("")) == 4 })
				s.disconnect()
			}
			in.worker.stop()
			in.lender.status("gone", "application", "ada", "", "gone")
			for deadline := time.Now().Add(patience); waiting() == 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the last change isn't in the queue")
				}
			}
			in.scheduler.stop()

			stays.lost()
			back()
			env := in.scheduler.env
			if !test.cleared {
				env = append(env, "REDIS_URL=embedded")
			}
			out := duebell(t, env, "restore", "--yes")
			if strings.Contains(out, "tasks removed from the queues") != test.cleared || !strings.Contains(out, "epoch ") {
				t.Errorf("restore says %s", out)
			}
			if n := waiting(); (n == 0) != test.cleared {
				t.Errorf("%d tasks of the lost life wait", n)
			}
			epoch := strings.Fields(out)[1]
			stays.until(patience, "the device that stayed is told", func() bool {
				stays.mu.Lock()
				defer stays.mu.Unlock()
				return stays.resets > 0 && stays.epoch == epoch
			})
			if counts, _ := stays.state(); counts != (store.Counts{Rev: 2, Unread: 2, Unseen: 2, Total: 2}) {
				t.Errorf("after the reset it has %+v", counts)
			}
			stays.refetch(in.inbox)
			returns.lost()
			connect(returns)
			returns.until(patience, "the device that comes back is told", func() bool { return returns.resetCount() > 0 })
			returns.refetch(in.inbox)

			in.scheduler.start()
			in.worker.start()
			in.scheduler.waitReady()
			in.worker.waitReady()
			resets := stays.resetCount()
			in.lender.steps(stays, "new", 3)
			late.lost()
			connect(late) // rev 4 is one of both lives
			late.until(patience, "the device that comes late is told", func() bool { return late.resetCount() > 0 })
			late.refetch(in.inbox)
			in.lender.steps(late, "last", 1)
			for name, s := range map[string]*screen{"stays": stays, "returns": returns, "late": late} {
				s.until(patience, "all that is known", func() bool { return len(s.titles("")) == 6 })
				var steps []string
				for _, title := range s.titles("") {
					steps = append(steps, title[strings.LastIndexByte(title, ' ')+1:])
				}
				if got, want := strings.Join(steps, " "), "kept0 kept1 new0 new1 new2 last0"; got != want {
					t.Errorf("%s shows %s, want %s", name, got, want)
				}
				if counts, _ := s.state(); counts != (store.Counts{Rev: 6, Unread: 6, Unseen: 6, Total: 6}) {
					t.Errorf("%s has %+v", name, counts)
				}
			}
			if n := stays.resetCount(); n != resets {
				t.Errorf("%d more resets after the first", n-resets)
			}
			for _, p := range []*process{in.scheduler, in.worker, in.pusher} {
				p.stop() // each is still there to end well
			}
		})
	}
}

// The one process is stopped, its file replaced and the command run; whoever comes back starts over.
func TestRestoredSQLite(t *testing.T) {
	scheduler, pusher, ops := freeAddr(t), freeAddr(t), freeAddr(t)
	database := testenv.SQLite(t)
	file, saved := strings.TrimPrefix(database, "sqlite:"), filepath.Join(t.TempDir(), "saved.db")
	p := &process{t: t, name: "duebell", args: []string{"up"}, health: "http://" + ops + "/readyz", env: append(os.Environ(),
		"DATABASE_URL="+database, "REDIS_URL=embedded", "AUTH_JWT_SECRET="+secret, "POLICY_FILE="+policyFile(t),
		"SCHEDULER_ADDR="+scheduler, "WORKER_ADDR="+freeAddr(t), "PUSHER_ADDR="+pusher, "PUSHER_OPS_ADDR="+ops, "DRAIN_WINDOW=1s")}
	copyFile := func(from, to string) {
		t.Helper()
		for _, more := range []string{"-wal", "-shm"} { // a clean end leaves none
			if _, err := os.Stat(from + more); err == nil {
				t.Errorf("%s is left", from+more)
			}
			_ = os.Remove(to + more)
		}
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	start := func() {
		t.Helper()
		p.start()
		p.waitReady()
	}
	start()
	t.Cleanup(func() { p.kill() })
	l := &lender{t: t, base: "http://" + scheduler}
	s := newScreen(t, "ws://"+pusher, userToken("ada"))
	connect := func() {
		t.Helper()
		if err := s.connect(await(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.disconnectNow)
	}
	l.borrower("ada", "Europe/Prague", 30)
	connect()
	l.steps(s, "kept", 2)
	s.disconnect()
	p.stop()
	copyFile(file, saved)
	start()
	connect()
	l.steps(s, "lost", 2)
	s.disconnect()
	p.stop()

	copyFile(saved, file)
	if out := duebell(t, p.env, "restore", "--yes"); !strings.Contains(out, "epoch ") || !strings.Contains(out, "embedded") {
		t.Errorf("restore says %s", out)
	}
	start()
	s.lost()
	connect()
	s.until(patience, "it is told", func() bool { return s.resetCount() == 1 })
	s.refetch("http://" + pusher)
	l.steps(s, "new", 3)
	if counts, items := s.state(); items != 5 || counts != (store.Counts{Rev: 5, Unread: 5, Unseen: 5, Total: 5}) {
		t.Errorf("%d items, %+v", items, counts)
	}
	p.stop()
}
