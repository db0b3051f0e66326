package delivery

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"duebell/internal/auth"
	"duebell/internal/testenv"
	"duebell/store"
)

// connectWith opens a socket with a token of one's own and waits for hello.
func (r *rig) connectWith(t testing.TB, token string) *client {
	t.Helper()
	c, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		t.Fatal(err)
	}
	go c.read()
	c.waitType("hello")
	return c
}

// Who revokes talks to one program; the sockets are on any number of pushers.
func TestRevocationReachesAllPushers(t *testing.T) {
	test := func(t *testing.T, dbURL, redisURL string, told bool) {
		sweep := func(o *Options) {
			o.SweepInterval = 2 * time.Second
			if told {
				o.SweepInterval = time.Hour // only the message can do it
			}
		}
		one := start(t, dbURL, redisURL, sweep)
		two := start(t, dbURL, redisURL, sweep)
		var theirs, others []*client
		for i := range 3 {
			for _, r := range []*rig{one, two} {
				theirs = append(theirs, r.connectWith(t, r.token(t, "revoked")))
				others = append(others, r.connectWith(t, r.token(t, fmt.Sprintf("other%d", i))))
			}
		}
		fresh := one.connectWith(t, tokenAt(t, "revoked", time.Now().Add(3*time.Second), time.Hour)) // issued after the revocation

		at := time.Now()
		if err := one.db.Revoke(t.Context(), "revoked", at); err != nil {
			t.Fatal(err)
		}
		if told {
			one.publisher.Revoked("revoked")
		}
		for _, c := range theirs {
			if code := c.waitClose(); code != closeToken {
				t.Errorf("closed with %d", code)
			}
		}
		if took := time.Since(at); took > 5*time.Second {
			t.Errorf("sockets of revoked tokens lived on for %s", took)
		}
		for i, c := range append(others, fresh) {
			c.send(`{"type":"ping","ref":"alive"}`)
			c.wait(fmt.Sprintf("an answer on connection %d", i), func(m clientMessage) bool { return m.Ref == "alive" })
		}
		for _, r := range []*rig{one, two} {
			c, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + r.token(t, "revoked")}}})
			if err != nil {
				continue // refused at once is fine too
			}
			go c.read()
			if code := c.waitClose(); code != closeToken || len(c.received()) > 0 {
				t.Errorf("a revoked token: closed with %d after %v", code, c.received())
			}
		}
	}
	t.Run("ByAMessage", func(t *testing.T) { test(t, testenv.Postgres(t), testenv.RedisServer(t).URL, true) })
	t.Run("ByTheSweepWhereTheMessageIsLost", func(t *testing.T) { test(t, testenv.SQLite(t), testenv.RedisServer(t).URL, false) })
}

// writes counts what client messages change.
type writes struct {
	Store
	calls chan string
}

func (w *writes) MarkRead(ctx context.Context, recipient string, ids []string, read bool) (store.Counts, error) {
	w.calls <- "read"
	return w.Store.MarkRead(ctx, recipient, ids, read)
}

func (w *writes) ReadAll(ctx context.Context, recipient string, upTo *int64) (store.Counts, error) {
	w.calls <- "read_all"
	return w.Store.ReadAll(ctx, recipient, upTo)
}

func (w *writes) Seen(ctx context.Context, recipient string, upTo *int64) (store.Counts, error) {
	w.calls <- "seen"
	return w.Store.Seen(ctx, recipient, upTo)
}

// Between exp and the moment at which the socket is closed for it, nothing that the client says counts.
func TestAnExpiredTokenCanDoNothing(t *testing.T) {
	counting := &writes{calls: make(chan string, 100)}
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { counting.Store, o.Store = o.Store, counting })
	mustTell(t, r.db, 2, "late")
	items, err := everything(r.db, "late")
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	for id = range items {
		break
	}
	for _, text := range []string{
		`{"type":"read","ids":["` + id + `"],"ref":"1"}`, `{"type":"read_all","ref":"1"}`, `{"type":"seen","ref":"1"}`, `{"type":"ping","ref":"1"}`,
		`{"type":"auth","token":"` + r.token(t, "late") + `","ref":"1"}`, `not even JSON`,
	} {
		c := r.connectWith(t, r.token(t, "late"))
		// Expired, and nobody has looked for expired ones yet.
		for _, s := range r.hub.of("late", nil) {
			s.setToken(time.Now().Add(-time.Hour), time.Now().Add(-time.Millisecond))
		}
		c.send(text)
		if code := c.waitClose(); code != closeToken {
			t.Errorf("%s: closed with %d", text, code)
		}
		if got := c.received(); len(got) != 1 {
			t.Errorf("%s: answered with %v", text, got[1:])
		}
		eventually(t, "it has left", func() bool { return r.hub.len() == 0 })
	}
	// What was taken while the token was good and gets its turn when it isn't.
	s := newSession("late", time.Now().Add(-time.Hour), time.Now().Add(-time.Millisecond))
	out := new(recorded)
	s.out = out
	r.protocol.do(t.Context(), s, request{kind: requestReadAll, ref: "1"})
	if out.code != closeToken {
		t.Errorf("a message that waited: closed with %d", out.code)
	}
	select {
	case what := <-counting.calls:
		t.Errorf("%s was done", what)
	default:
	}
	if _, heads, err := r.db.Heads(t.Context(), []string{"late"}); err != nil || heads[0].Unread != 2 || heads[0].Unseen != 2 {
		t.Errorf("%+v, %v", heads, err)
	}
}

// recorded is an output that takes everything and remembers how it was closed.
type recorded struct{ code int }

func (o *recorded) write(frame, cursor) bool { return true }
func (o *recorded) close(code int, _ string) { o.code = code }

// A token is renewed again and again on one connection, each before the one before expires; then with one of somebody else.
func TestATokenIsRenewedOnALiveConnection(t *testing.T) {
	r := start(t, testenv.SQLite(t), "embedded", nil)
	until := func(ttl time.Duration) string { return tokenAt(t, "renewing", time.Now(), ttl) }
	c := r.connectWith(t, until(5*time.Second))
	left := r.connectWith(t, until(5*time.Second))
	for i := range 3 { // the last of them is good for an hour
		ttl := 5 * time.Second
		if i == 2 {
			ttl = time.Hour
		}
		c.send(fmt.Sprintf(`{"type":"auth","token":"%s","ref":"%d"}`, until(ttl), i))
		c.wait("ok", func(m clientMessage) bool { return m.Type == "ok" && m.Ref == fmt.Sprint(i) })
	}
	if code := left.waitClose(); code != closeToken {
		t.Errorf("the one that wasn't renewed: closed with %d", code)
	}
	mustTell(t, r.db, 1, "renewing")
	c.wait("what happens after the first token's end", func(m clientMessage) bool { return m.Type == "changes" && m.Rev == 1 })

	service, err := auth.MintService(secret, "", audience, "duebell:admin", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"expired": tokenAt(t, "renewing", time.Now().Add(-time.Hour), time.Minute), "a service's": service, "empty": "",
	} {
		c.send(fmt.Sprintf(`{"type":"auth","token":"%s","ref":"%s"}`, token, name))
		if m := c.wait("an error", func(m clientMessage) bool { return m.Ref == name }); m.Type != "error" || m.Code != codeUnauthorized {
			t.Errorf("%s: %+v", name, m)
		}
	}
	c.send(`{"type":"auth","token":"` + r.token(t, "somebody-else") + `"}`)
	if code := c.waitClose(); code != closeForbidden {
		t.Errorf("somebody else's token: closed with %d", code)
	}
}
