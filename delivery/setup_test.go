package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/auth"
	"duebell/internal/redisconn"
	"duebell/internal/testenv"
	"duebell/store"
)

// quiet is the log of tests; DUEBELL_TEST_LOG=1 shows it.
func quiet() *slog.Logger {
	if os.Getenv("DUEBELL_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// openStore is a database with tables.
func openStore(t testing.TB, url string, committed func([]store.Change)) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), url, store.Options{Committed: committed, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

var requests atomic.Int64

// tell writes n notifications to each recipient, all in one transaction.
func tell(ctx context.Context, db *store.DB, n int, recipients ...string) error {
	return tellText(ctx, db, "100.00 EUR are due in 3 days.", n, recipients...)
}

func tellText(ctx context.Context, db *store.DB, text string, n int, recipients ...string) error {
	id := fmt.Sprintf("r%d", requests.Add(1))
	if err := db.AddRequests(ctx, []store.Request{{ID: id, Body: []byte(`{}`), BodyHash: id}})[0].Err; err != nil {
		return err
	}
	_, err := db.TellRequest(ctx, id, func(store.Request) (store.Telling, error) {
		var drafts []store.Draft
		for _, recipient := range recipients {
			for i := range n {
				drafts = append(drafts, store.Draft{Recipient: recipient, Kind: "repayment.upcoming", Title: fmt.Sprintf("%s.%d", id, i),
					Body: text, Data: []byte(`{"loan_id":"L1"}`), URL: "/loans/L1", Key: fmt.Sprintf("%s:%s:%d", id, recipient, i)})
			}
		}
		return store.Telling{IDs: recipients, Tell: func(map[string]store.Person, time.Time) ([]store.Draft, error) { return drafts, nil }}, nil
	})
	return err
}

func mustTell(t testing.TB, db *store.DB, n int, recipients ...string) {
	t.Helper()
	if err := tell(t.Context(), db, n, recipients...); err != nil {
		t.Fatal(err)
	}
}

// waitTime is how long tests wait for what comes in milliseconds on a machine that has nothing else to do.
const waitTime = time.Minute

// eventually polls until ok, or fails the test with what.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTime); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// databases runs the same cases on SQLite and PostgreSQL.
func databases(t *testing.T, test func(t *testing.T, url string)) { testenv.Databases(t, test) }

// rig is a pusher that runs, with the parts around it.
type rig struct {
	*Pusher
	db        *store.DB
	publisher *Publisher
	verifier  *auth.Verifier
	registry  *prometheus.Registry
	url       string // http://…
	dbURL     string
	stop      func() // ends the pusher and waits for it
}

var secret = []byte("a secret of tests, at least 32 bytes long")

const (
	pageOrigin = "https://app.lender.example"
	audience   = "duebell-internal" // of service tokens
)

// start runs a pusher and a publisher; change may alter the options.
func start(t testing.TB, dbURL, redisURL string, change func(*Options)) *rig {
	t.Helper()
	log := quiet()
	conn, err := redisconn.Open(t.Context(), redisURL, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &rig{dbURL: dbURL, registry: prometheus.NewRegistry()}
	r.publisher = NewPublisher(conn.Client, log, r.registry)
	r.db = openStore(t, dbURL, r.publisher.Committed)
	r.publisher.ReadEpoch(r.db)
	if r.verifier, err = auth.NewVerifier(auth.Config{Secret: secret, ServiceAudience: audience, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.verifier.Close)
	options := Options{Uring: true, Store: r.db, Redis: conn.Client, Verifier: r.verifier, Log: log, Registry: r.registry,
		AllowedOrigins: []string{pageOrigin}, DrainWindow: 50 * time.Millisecond, PingInterval: 10 * time.Second}
	if change != nil {
		change(&options)
	}
	r.Pusher = New(options)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + listener.Addr().String()
	pushing, stopPusher := context.WithCancel(context.Background())
	publishing, stopPublisher := context.WithCancel(context.Background())
	var pusherEnds, publisherEnds sync.WaitGroup
	publisherEnds.Go(func() { r.publisher.Run(publishing) })
	pusherEnds.Go(func() {
		if err := r.Run(pushing, listener); err != nil {
			t.Errorf("the pusher ended: %v", err)
		}
	})
	r.stop = func() { stopPusher(); pusherEnds.Wait() }
	t.Cleanup(func() { r.stop(); stopPublisher(); publisherEnds.Wait() })
	eventually(t, "the pusher is ready", func() bool { return r.Ready(t.Context()) == nil })
	return r
}

// backends runs the same cases with SQLite and the embedded Redis, and with PostgreSQL and a real one.
func backends(t *testing.T, test func(t *testing.T, dbURL, redisURL string)) {
	t.Run("small", func(t *testing.T) { test(t, testenv.SQLite(t), "embedded") })
	t.Run("large", func(t *testing.T) { test(t, testenv.Postgres(t), testenv.RedisServer(t).URL) })
}

// token is one of a user, issued some time ago.
func (r *rig) token(t testing.TB, user string) string {
	t.Helper()
	return tokenAt(t, user, time.Now().Add(-time.Minute), time.Hour)
}

func tokenAt(t testing.TB, user string, issued time.Time, ttl time.Duration) string {
	t.Helper()
	token, err := auth.MintUser(secret, "", "", "", user, ttl, issued)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// client is a real WebSocket client, of another library than the server's.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	*replica

	mu       sync.Mutex
	messages []clientMessage
	texts    []string
	err      error // how it ended
	ended    chan struct{}
}

// connect opens a socket as a native client; what the replica knows already is resumed.
func (r *rig) connect(t testing.TB, known *replica) *client {
	t.Helper()
	query := ""
	if at, resumes := known.connected(); resumes {
		query = fmt.Sprintf("?rev=%d&epoch=%s", at.rev, at.epoch)
	}
	c := r.dial(t, known.user, query)
	c.replica = known
	go c.read()
	return c
}

// dial opens a socket and reads nothing yet.
func (r *rig) dial(t testing.TB, user, query string) *client {
	t.Helper()
	c, err := r.tryDial(t, query, &websocket.DialOptions{
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + r.token(t, user)}},
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *rig) tryDial(t testing.TB, query string, options *websocket.DialOptions) (*client, error) {
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, r.url+socketPath+query, options)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t: t, conn: conn, ended: make(chan struct{})}, nil
}

func (c *client) read() {
	defer close(c.ended)
	for {
		_, text, err := c.conn.Read(context.Background())
		c.mu.Lock()
		if err != nil {
			c.err = err
			c.mu.Unlock()
			return
		}
		var m clientMessage
		if err := json.Unmarshal(text, &m); err != nil {
			c.t.Errorf("not JSON: %s", text)
		}
		if c.replica != nil && (m.Type == "hello" || m.Type == "changes" || m.Type == "reset") {
			c.replica.apply(text)
		}
		c.messages = append(c.messages, m)
		c.texts = append(c.texts, string(text))
		c.mu.Unlock()
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// wait waits for a message.
func (c *client) wait(what string, is func(m clientMessage) bool) clientMessage {
	c.t.Helper()
	var found clientMessage
	eventually(c.t, what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.messages {
			if is(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

func (c *client) waitType(kind string) clientMessage {
	c.t.Helper()
	return c.wait(kind, func(m clientMessage) bool { return m.Type == kind })
}

// waitRev waits until the chain has reached a rev.
func (c *client) waitRev(rev int64) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%s reaches %d", c.user, rev), func() bool {
		at, err := c.position()
		if err != nil {
			c.t.Fatal(err)
		}
		return at.rev == rev
	})
}

// received are the types of all messages so far.
func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var types []string
	for _, m := range c.messages {
		types = append(types, m.Type)
	}
	return types
}

// text is the bytes of a message.
func (c *client) text(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.texts[i]
}

// waitClose waits for the end and returns the close code.
func (c *client) waitClose() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(waitTime):
		c.t.Fatal("the connection stays open")
	}
	return int(websocket.CloseStatus(c.err))
}

// metric is the sum of a metric's values over its labels.
func (r *rig) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func borrower(id string) store.User {
	return store.User{ID: id, Name: "Ana", TimeZone: "Europe/Prague", Locale: "cs"}
}
