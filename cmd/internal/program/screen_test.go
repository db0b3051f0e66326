package program_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"duebell/store"
)

// screen is one device of one person: it keeps a cursor over reconnects as a good client does, and fails the test when the chain of
// frames breaks or an item comes twice as new.
type screen struct {
	t     testing.TB
	url   string // ws://host:port
	token func() string
	check func(message []byte) error // every message, against the specification; nil: not

	mu       sync.Mutex
	epoch    string
	rev      int64
	counts   store.Counts
	items    map[string]store.Notification
	order    []string // ids in order of arrival as new
	resets   int
	answered int           // ok and error messages
	astray   bool          // the cursor is wrong on purpose
	changed  chan struct{} // closed and replaced at every message
	received time.Time     // of the last message

	conn *websocket.Conn
	done chan struct{}
}

func newScreen(t testing.TB, url string, token func() string) *screen {
	return &screen{t: t, url: url, token: token, items: map[string]store.Notification{}, changed: make(chan struct{}), rev: -1}
}

// connect resumes from the cursor; the first time it starts from the beginning of the inbox. It returns after hello.
func (s *screen) connect(ctx context.Context) error {
	s.mu.Lock()
	query := "?rev=0"
	if s.epoch != "" {
		query = fmt.Sprintf("?rev=%d&epoch=%s", s.rev, s.epoch)
	}
	s.mu.Unlock()
	conn, response, err := websocket.Dial(ctx, s.url+"/v1/ws"+query, &websocket.DialOptions{
		Subprotocols: []string{"duebell.v1", "bearer." + s.token()},
	})
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols || conn.Subprotocol() != "duebell.v1" {
		return fmt.Errorf("upgrade: %s, subprotocol %q", response.Status, conn.Subprotocol())
	}
	conn.SetReadLimit(1 << 20)
	hello := make(chan error, 1)
	done := make(chan struct{})
	s.mu.Lock()
	s.conn, s.done = conn, done
	s.mu.Unlock()
	go s.read(conn, done, hello)
	select {
	case err := <-hello:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *screen) disconnect() {
	s.disconnectNow()
	if s.done != nil {
		<-s.done
	}
}

// disconnectNow cuts the connection without waiting; any goroutine may.
func (s *screen) disconnectNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.CloseNow()
		s.conn = nil
	}
}

func (s *screen) live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && s.epoch != ""
}

// stay reconnects until ctx ends, as clients do when programs restart.
func (s *screen) stay(ctx context.Context) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := s.connect(attempt)
		cancel()
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.done:
		}
		s.disconnect()
	}
}

func (s *screen) read(conn *websocket.Conn, done chan struct{}, hello chan<- error) {
	defer close(done)
	first, started := true, false
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			if first {
				hello <- err
			}
			return
		}
		var m struct {
			Type  string
			User  string
			Epoch string
			From  int64
			store.Counts
			Items       []store.Notification
			Removed     []string
			ReadThrough int64 `json:"read_through"`
			Code        string
			Message     string
		}
		if err := json.Unmarshal(text, &m); err != nil {
			s.t.Errorf("message %s: %v", text, err)
			return
		}
		if s.check != nil {
			if err := s.check(text); err != nil {
				s.t.Errorf("message %s: %v", text, err)
			}
		}
		s.mu.Lock()
		s.received = time.Now()
		switch m.Type {
		case "hello":
			if !first {
				s.t.Error("a second hello")
			}
			if s.epoch != "" && s.epoch != m.Epoch && !s.astray {
				s.t.Errorf("epoch %s became %s", s.epoch, m.Epoch)
			}
			s.epoch = m.Epoch
			if s.rev < 0 {
				s.rev = 0
			}
			if m.Rev == s.rev {
				s.counts = m.Counts
			}
			hello <- nil
		case "changes":
			if m.From != s.rev {
				s.t.Errorf("chain broken: from %d after %d (first changes: %v)", m.From, s.rev, !started)
			}
			started = true
			s.apply(m.Items, m.Removed, m.ReadThrough)
			s.rev, s.counts = m.Rev, m.Counts
		case "ok", "error":
			s.answered++
		case "reset":
			s.resets++
			s.rev, s.counts, s.epoch = m.Rev, m.Counts, m.Epoch
		}
		if first && m.Type != "hello" {
			s.t.Errorf("the first message is %s", text)
		}
		first = false
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

func (s *screen) apply(items []store.Notification, removed []string, through int64) {
	for _, n := range items {
		if _, known := s.items[n.ID]; !known {
			s.order = append(s.order, n.ID)
		}
		s.items[n.ID] = n
	}
	for _, id := range removed {
		delete(s.items, id)
	}
	for id, n := range s.items {
		if through > 0 && n.CreatedRev <= through && n.ReadAt == nil {
			now := time.Now()
			n.ReadAt = &now
			s.items[id] = n
		}
	}
}

// titles are what the screen showed as new, in order, of kinds with that prefix.
func (s *screen) titles(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var titles []string
	for _, id := range s.order {
		if n, ok := s.items[id]; ok && strings.HasPrefix(n.Kind, kind) {
			titles = append(titles, n.Title)
		}
	}
	return titles
}

func (s *screen) state() (store.Counts, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts, len(s.items)
}

// until waits until what holds; it is looked at after every message.
func (s *screen) until(within time.Duration, what string, holds func() bool) {
	s.t.Helper()
	deadline := time.After(within)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			counts, n := s.state()
			s.t.Fatalf("not within %s: %s (counts %+v, %d items: %q)", within, what, counts, n, s.titles(""))
		}
	}
}

func (s *screen) send(message string) {
	s.t.Helper()
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if err := conn.Write(context.Background(), websocket.MessageText, []byte(message)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) answers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answered
}

func (s *screen) resetCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resets
}

func (s *screen) receivedAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}
