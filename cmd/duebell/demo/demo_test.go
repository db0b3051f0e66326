package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"duebell/cmd/internal/program"
	"duebell/internal/auth"
	"duebell/internal/clock"
	"duebell/internal/config"
	"duebell/internal/ops"
	"duebell/internal/testenv"
	"duebell/store"
)

// started is the whole demo in this process, on SQLite and the Redis in it.
type started struct {
	t   *testing.T
	url string // of the page
}

func start(t *testing.T) *started {
	t.Helper()
	policyFile := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policyFile, PolicyYAML, 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "a secret of this test, long enough for HS256"
	env := map[string]string{"DATABASE_URL": testenv.SQLite(t), "REDIS_URL": "embedded", "AUTH_JWT_SECRET": secret, "POLICY_FILE": policyFile,
		"SCHEDULER_ADDR": "127.0.0.1:0", "WORKER_ADDR": "127.0.0.1:0", "PUSHER_ADDR": "127.0.0.1:0", "PUSHER_OPS_ADDR": "127.0.0.1:0", "DRAIN_WINDOW": "1s"}
	cfg, err := config.Load(func(name string) string { return env[name] }, config.Options{NeedsAuth: true})
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(logged.String()) // everything has ended
		}
	})
	log := ops.NewLogger(&logged, slog.LevelInfo, "text")
	ctx, cancel := context.WithCancel(context.Background())
	clk := clock.NewSimulated(Start, Speed)
	p, err := program.Open(ctx, "duebell", cfg, log, clk)
	if err != nil {
		t.Fatal(err)
	}
	var all *program.All
	d, err := New(Options{
		IngestURL: func() string { return "http://" + all.Scheduler.Addr().String() },
		PusherURL: func() string { return "http://" + all.Pusher.Addr().String() },
		ServiceToken: func() (string, error) {
			return auth.MintService([]byte(secret), "", cfg.ServiceAudience, "duebell:ingest", time.Minute, time.Now())
		},
		UserToken: func(user string) (string, time.Time, error) {
			token, err := auth.MintUser([]byte(secret), "", "", "", user, time.Hour, time.Now())
			return token, time.Now().Add(time.Hour), err
		},
		Clock: clk, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	if all, err = program.NewAll(ctx, p, d.Handler()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- all.Run(ctx, d) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &started{t, "http://" + all.Pusher.Addr().String()}
}

// press does what a button of the page does.
func (s *started) press(what string, body any) map[string]any {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/demo/"+what, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", s.url)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %s %v", what, response.Status, answer, err)
	}
	var m map[string]any
	if err := json.Unmarshal(answer, &m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// get reads something that the page shows.
func (s *started) get(what string, into any) {
	s.t.Helper()
	response, err := http.Get(s.url + "/demo/" + what)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %v", what, response.Status, err)
	}
}

// device is a client as the page has one: it follows the chain and keeps what came.
type device struct {
	demo  *started
	user  string
	query string // the cursor

	mu      sync.Mutex
	rev     int64
	epoch   string
	counts  store.Counts
	items   map[string]store.Notification
	created int64 // the created_rev of the last new one that came unchanged
	changed chan struct{}

	conn *websocket.Conn
	done chan struct{}
}

func (s *started) device(user string) *device {
	return &device{demo: s, user: user, query: "?rev=0", items: map[string]store.Notification{}, changed: make(chan struct{})}
}

func (d *device) connect() {
	t := d.demo.t
	t.Helper()
	token := d.demo.press("token", map[string]any{"user": d.user})["token"].(string)
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(d.demo.url, "http", "ws", 1)+"/v1/ws"+d.query, &websocket.DialOptions{
		Subprotocols: []string{"duebell.v1", "bearer." + token},
		HTTPHeader:   http.Header{"Origin": {d.demo.url}},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	d.conn, d.done = conn, make(chan struct{})
	go d.read(conn, d.done)
	t.Cleanup(d.cut)
}

// cut ends the connection and keeps the cursor.
func (d *device) cut() {
	d.conn.CloseNow()
	<-d.done
	d.query = fmt.Sprintf("?rev=%d&epoch=%s", d.rev, d.epoch)
}

func (d *device) read(conn *websocket.Conn, done chan struct{}) {
	defer close(done)
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		var m struct {
			Type, Epoch string
			From        int64
			store.Counts
			Items []store.Notification
		}
		if err := json.Unmarshal(text, &m); err != nil {
			d.demo.t.Errorf("%s: %v", text, err)
			return
		}
		d.mu.Lock()
		switch m.Type {
		case "hello":
			d.epoch = m.Epoch
		case "changes":
			if m.From != d.rev {
				d.demo.t.Errorf("the chain is at %d, and a frame starts from %d", d.rev, m.From)
			}
			for _, n := range m.Items {
				if _, known := d.items[n.ID]; !known {
					if n.CreatedRev <= d.rev {
						d.demo.t.Errorf("%s was missed: created at %d, the chain is at %d", n.ID, n.CreatedRev, d.rev)
					}
					if n.Rev == n.CreatedRev { // one that changed since comes when it changed
						if n.CreatedRev <= d.created {
							d.demo.t.Errorf("%s of %d comes after %d", n.ID, n.CreatedRev, d.created)
						}
						d.created = n.CreatedRev
					}
				}
				d.items[n.ID] = n
			}
			d.rev, d.counts = m.Rev, m.Counts
		default:
			d.demo.t.Errorf("unexpected %s", text)
		}
		close(d.changed)
		d.changed = make(chan struct{})
		d.mu.Unlock()
	}
}

// until waits for something to be true of what the device shows.
func (d *device) until(what string, true func() bool) {
	d.demo.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		d.mu.Lock()
		ok, changed := true(), d.changed
		d.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			d.demo.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// kinds are how many there are of a kind, or of those that begin so.
func (d *device) kinds(prefix string) (n int) {
	for _, item := range d.items {
		if strings.HasPrefix(item.Kind, prefix) {
			n++
		}
	}
	return n
}

// TestDemoOnTwoDevices is what a newcomer sees: two devices of one borrower get reminders and a status change, once, in order, in an
// unbroken chain, and one that was cut off gets what it missed.
func TestDemoOnTwoDevices(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, second := s.device("maya"), s.device("maya")
	first.connect()
	second.connect()
	const application = "A-MAYA-1"
	changed := func(d *device, to string) func() bool {
		return func() bool {
			for _, n := range d.items {
				if n.Kind == "application.status_changed" && strings.Contains(string(n.Data), application) && strings.Contains(string(n.Data), `"`+to+`"`) {
					return true
				}
			}
			return false
		}
	}
	s.press("status", map[string]any{"user": "maya"})
	for i, d := range []*device{first, second} {
		d.until(fmt.Sprintf("device %d has two reminders and the status change", i+1), func() bool {
			return d.kinds("repayment.") >= 2 && changed(d, "submitted")()
		})
	}

	second.cut()
	s.press("status", map[string]any{"user": "maya"})
	s.press("pay", map[string]any{"user": "maya"})
	s.press("jump", map[string]any{"days": 3})
	first.until("the first device has what happened meanwhile", changed(first, "under_review"))
	second.connect()
	second.until("the second device has it too", changed(second, "under_review"))

	// What the page shows beside them comes from the same book and the same inbox.
	var loans struct{ Customers []customer }
	s.get("loans?user=maya", &loans)
	if len(loans.Customers) != 1 || len(loans.Customers[0].Loans) == 0 || loans.Customers[0].Application.Status != "under_review" {
		t.Errorf("loans %+v", loans)
	}
	var box mailbox
	s.get("mail?user=maya", &box)
	if len(box.Letters) < 3 || !strings.Contains(box.Letters[len(box.Letters)-1].Text, "Maya Collins") {
		t.Errorf("mail %+v", box)
	}

	// The show goes on: compare where both have come to the same rev.
	first.until("both have the same rev", func() bool {
		second.mu.Lock()
		defer second.mu.Unlock()
		return first.rev == second.rev && same(t, first, second)
	})
}

// same compares two devices at the same rev.
func same(t *testing.T, a, b *device) bool {
	t.Helper()
	if a.counts != b.counts {
		t.Errorf("counts %+v and %+v", a.counts, b.counts)
	}
	if len(a.items) != len(b.items) {
		t.Errorf("%d and %d items", len(a.items), len(b.items))
	}
	unread := int64(0)
	for id, n := range a.items {
		if n.Rev != b.items[id].Rev {
			t.Errorf("%s is at %d and %d", id, n.Rev, b.items[id].Rev)
		}
		if n.ReadAt == nil && n.ResolvedAt == nil {
			unread++
		}
	}
	if a.counts.Unread != unread || a.counts.Total != int64(len(a.items)) {
		t.Errorf("%+v for %d unread of %d", a.counts, unread, len(a.items))
	}
	return true
}
