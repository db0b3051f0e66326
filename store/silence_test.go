package store

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"duebell/internal/testenv"
)

// gag stands between a program and PostgreSQL. It acknowledges what it gets on connections that it has silenced, and passes
// nothing on: neither end can tell from the connection.
type gag struct {
	ln     net.Listener
	target string

	mu    sync.Mutex
	muted []chan struct{} // closed for the connections of before
}

func newGag(t *testing.T, target string) *gag {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gag{ln: ln, target: target}
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			mute := make(chan struct{})
			g.mu.Lock()
			g.muted = append(g.muted, mute)
			g.mu.Unlock()
			context.AfterFunc(ctx, func() { client.Close(); server.Close() })
			all.Go(func() { pass(server, client, mute) })
			all.Go(func() { pass(client, server, mute) })
		}
	})
	t.Cleanup(func() { ln.Close(); stop(); all.Wait() })
	return g
}

// pass copies until it is muted, and then drinks on.
func pass(to io.WriteCloser, from io.Reader, mute <-chan struct{}) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-mute:
			if err != nil {
				return
			}
			continue
		default:
		}
		if err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// silence is for all connections that there are; new ones work.
func (g *gag) silence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, mute := range g.muted {
		close(mute)
	}
	g.muted = nil
}

// TestSilentServer: calls on connections that are silent for good end, those on new ones work, and nobody needs a context that
// ends.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	g := newGag(t, at.Host)
	at.Host = g.ln.Addr().String()
	query := at.Query()
	query.Set("statement_timeout", "1s")
	at.RawQuery = query.Encode()
	db, _ := openMigrated(t, at.String())

	answered := func(what string, do func() error) error {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Minute):
			t.Fatalf("%s: no answer in a minute", what)
			return nil
		}
	}
	ask := func() error {
		var n int
		return db.query().get(context.Background(), &n, `SELECT count(*) FROM users`)
	}
	sleep := func() error {
		_, err := db.query().exec(context.Background(), `SELECT pg_sleep(0.5)`)
		return err
	}

	// Some connections that idle.
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if err := sleep(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	time.Sleep(2 * trusted)
	g.silence()
	for range 5 {
		if err := answered("on an idle connection", ask); err != nil {
			t.Errorf("idle connections are silent: %v", err)
		}
	}

	// One that waits for its answer.
	if err := answered("in the middle of a statement", func() error {
		time.AfterFunc(100*time.Millisecond, g.silence)
		return sleep()
	}); err == nil {
		t.Error("a statement whose answer never came was successful")
	}
	if err := answered("after it", ask); err != nil {
		t.Error(err)
	}
}

func TestStatementTimeoutIsRead(t *testing.T) {
	for text, want := range map[string]time.Duration{"60s": time.Minute, "1500": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond, "0": 0, "5min": 0, "": 0} {
		if got := statementTimeout(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
