package delivery

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"duebell/internal/auth"
	"duebell/internal/testenv"
)

func TestSocket(t *testing.T) {
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		r := start(t, dbURL, redisURL, nil)

		t.Run("TwoDevicesGetWhatHappens", func(t *testing.T) {
			mustTell(t, r.db, 2, "two")
			phone, desk := r.connect(t, newReplica(r.db, "two")), r.connect(t, newReplica(r.db, "two"))
			if hello := phone.waitType("hello"); hello.Rev != 2 || hello.Unread != 2 || hello.Unseen != 2 || hello.Total != 2 ||
				hello.User != "two" || hello.Epoch == "" || hello.PingS != 10 {
				t.Errorf("hello %+v", hello)
			}
			desk.waitType("hello")
			mustTell(t, r.db, 1, "two")
			m := phone.wait("the notification", func(m clientMessage) bool { return m.From == 2 && m.Rev == 3 })
			desk.waitRev(3)
			// Read on one, it is read on the other.
			phone.send(fmt.Sprintf(`{"type":"read","ids":["%s"],"ref":"7"}`, m.Items[0].ID))
			phone.wait("ok", func(m clientMessage) bool { return m.Type == "ok" && m.Ref == "7" })
			read := desk.wait("the read", func(m clientMessage) bool { return m.Rev == 4 && m.Type == "changes" })
			if read.Items[0].ReadAt == nil || read.Unread != 2 {
				t.Errorf("%+v", read)
			}
			phone.waitRev(4)
			for _, c := range []*client{phone, desk} {
				if err := c.compare(); err != nil {
					t.Error(err)
				}
			}
			if phone.text(1) != desk.text(1) {
				t.Error("two sessions got different bytes")
			}
		})

		t.Run("OneTransactionIsOneFrame", func(t *testing.T) {
			c := r.connect(t, newReplica(r.db, "one"))
			c.waitType("hello")
			mustTell(t, r.db, 3, "one")
			c.waitRev(3)
			if m := c.waitType("changes"); m.From != 0 || m.Rev != 3 || len(m.Items) != 3 || m.Unread != 3 {
				t.Errorf("%+v", m)
			}
		})

		t.Run("Resumes", func(t *testing.T) {
			mustTell(t, r.db, 1, "res")
			mustTell(t, r.db, 1, "res")
			epoch, heads, err := r.db.Heads(t.Context(), []string{"res"})
			if err != nil {
				t.Fatal(err)
			}
			for name, c := range map[string]struct {
				query string
				want  string // messages until one that is told afterwards
			}{
				"from the start":         {"?rev=0&epoch=" + epoch, "hello changes changes"},
				"from the middle":        {"?rev=1&epoch=" + epoch, "hello changes changes"},
				"without epoch":          {"?rev=1", "hello changes changes"},
				"empty epoch":            {"?rev=1&epoch=", "hello changes changes"},
				"equal is nothing":       {"?rev=%d&epoch=" + epoch, "hello changes"},
				"present":                {"", "hello changes"},
				"epoch alone":            {"?epoch=zz", "hello changes"},
				"from the future":        {"?rev=9999999&epoch=" + epoch, "hello reset changes"},
				"from another epoch":     {"?rev=1&epoch=zz", "hello reset changes"},
				"from no epoch at all":   {"?rev=1&epoch=" + strings.Repeat("%0A", 30), "hello reset changes"},
				"equal in another epoch": {"?rev=%d&epoch=zz", "hello reset changes"},
			} {
				query := c.query
				if strings.Contains(query, "%d") {
					query = fmt.Sprintf(query, heads[0].Rev)
				}
				client := r.dial(t, "res", query)
				go client.read()
				before := strings.Count(c.want, " ")
				eventually(t, name+": "+c.want, func() bool { return len(client.received()) >= before })
				if hello := client.waitType("hello"); hello.Rev != heads[0].Rev {
					t.Errorf("%s: hello isn't of the present: %+v", name, hello)
				}
				mustTell(t, r.db, 1, "res")
				client.wait("the new one", func(m clientMessage) bool {
					return m.Type == "changes" && m.Rev == heads[0].Rev+1 && m.From == heads[0].Rev
				})
				if got := strings.Join(client.received(), " "); got != c.want {
					t.Errorf("%s: got %s", name, got)
				}
				if reset := strings.Contains(c.want, "reset"); reset {
					if m := client.waitType("reset"); m.Epoch != epoch || m.Rev != heads[0].Rev {
						t.Errorf("%s: %+v", name, m)
					}
				}
				_, heads, _ = r.db.Heads(t.Context(), []string{"res"})
			}
		})

		t.Run("GarbageForACursorIsAClearAnswer", func(t *testing.T) {
			for _, query := range []string{"?rev=x", "?rev=-1", "?rev=", "?rev=1.5", "?rev=9223372036854775808", "?rev=1&rev=2", "?rev=1&epoch=a&epoch=b", "?rev=%zz", "?rev=1;epoch=2"} {
				_, err := r.tryDial(t, query, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + r.token(t, "garbage")}}})
				if err == nil || !strings.Contains(err.Error(), "400") {
					t.Errorf("%s: %v", query, err)
				}
				c := r.dial(t, "garbage", query)
				go c.read()
				if code := c.waitClose(); code != closeBadFrame || len(c.received()) != 0 {
					t.Errorf("%s: closed with %d after %v", query, code, c.received())
				}
			}
		})

		t.Run("AnErasedInboxResets", func(t *testing.T) {
			mustTell(t, r.db, 3, "erased")
			if err := r.db.PutUser(t.Context(), borrower("erased")); err != nil {
				t.Fatal(err)
			}
			// Tokens of before are refused with it, so this one says that it is from later.
			c, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + tokenAt(t, "erased", time.Now().Add(4*time.Second), time.Hour)}}})
			if err != nil {
				t.Fatal(err)
			}
			c.replica = newReplica(r.db, "erased")
			go c.read()
			c.waitType("hello")
			if err := r.db.EraseUser(t.Context(), "erased"); err != nil {
				t.Fatal(err)
			}
			if m := c.waitType("reset"); m.Rev != 4 || m.Total != 0 || m.Unread != 0 {
				t.Errorf("%+v", m)
			}
		})

		t.Run("ClientMessages", func(t *testing.T) {
			mustTell(t, r.db, 4, "msg")
			c := r.connect(t, newReplica(r.db, "msg"))
			c.waitType("hello")
			answer := func(ref string) clientMessage {
				return c.wait("the answer to "+ref, func(m clientMessage) bool { return m.Ref == ref })
			}
			items, _ := everything(r.db, "msg")
			var ids []string
			for id := range items {
				ids = append(ids, id)
			}
			for _, step := range []struct {
				message, ref, code string
				unread, unseen     int64
				rev                int64
			}{
				{`{"type":"ping","ref":"p"}`, "p", "", 4, 4, 4},
				{`{"type":"read","ids":["` + ids[0] + `","` + ids[1] + `","unknown"],"ref":"1"}`, "1", "", 2, 4, 5},
				{`{"type":"read","ids":["` + ids[0] + `"],"ref":"2"}`, "2", "", 2, 4, 5},
				{`{"type":"read","ids":["unknown"],"ref":"3"}`, "3", codeNotFound, 2, 4, 5},
				{`{"type":"read","ids":[],"ref":"4"}`, "4", codeInvalid, 2, 4, 5},
				{`{"type":"seen","up_to_rev":2,"ref":"5"}`, "5", "", 2, 2, 6},
				{`{"type":"seen","ref":"6"}`, "6", "", 2, 0, 7},
				{`{"type":"read_all","up_to_rev":-1,"ref":"7"}`, "7", codeInvalid, 2, 0, 7},
				{`{"type":"read_all","up_to_rev":0,"ref":"8"}`, "8", "", 2, 0, 7},
				{`{"type":"read_all","ref":"9"}`, "9", "", 0, 0, 8},
				{`{"type":"auth","token":"nonsense","ref":"10"}`, "10", codeUnauthorized, 0, 0, 8},
				{`{"type":"auth","token":"` + r.token(t, "msg") + `","ref":"11"}`, "11", "", 0, 0, 8},
			} {
				c.send(step.message)
				m := answer(step.ref)
				if m.Code != step.code || (m.Type == "error") != (step.code != "") || (step.code != "") != (m.Message != "") {
					t.Errorf("%s: %+v", step.message, m)
				}
				c.waitRev(step.rev)
				_, heads, _ := r.db.Heads(t.Context(), []string{"msg"})
				if h := heads[0]; h.Unread != step.unread || h.Unseen != step.unseen || h.Rev != step.rev {
					t.Errorf("%s: %+v", step.message, h.Counts)
				}
			}
			if err := c.compare(); err != nil {
				t.Error(err)
			}
			// Without a ref only a ping is answered.
			before := len(c.received())
			c.send(`{"type":"seen"}`)
			c.send(`{"type":"ping"}`)
			c.send(`{"type":"ping","ref":"last"}`)
			answer("last")
			if got := c.received()[before:]; len(got) != 2 {
				t.Errorf("answers: %v", got)
			}
		})

		t.Run("BadFramesClose", func(t *testing.T) {
			for _, text := range []string{`x`, `{"type":"what"}`, `{"type":"read"}`, `{"type":"ping","x":1}`, `[]`} {
				c := r.connect(t, newReplica(r.db, "bad"))
				c.send(text)
				if code := c.waitClose(); code != closeBadFrame {
					t.Errorf("%s: closed with %d", text, code)
				}
			}
		})

		t.Run("Tokens", func(t *testing.T) { testTokens(t, r) })
		t.Run("Origins", func(t *testing.T) { testOrigins(t, r) })

		t.Run("TooManySessions", func(t *testing.T) {
			oldest := r.connect(t, newReplica(r.db, "many"))
			oldest.waitType("hello")
			var others []*client
			for range r.options.MaxSessionsPerUser {
				c := r.connect(t, newReplica(r.db, "many"))
				c.waitType("hello")
				others = append(others, c)
			}
			if code := oldest.waitClose(); code != closeTooMany {
				t.Errorf("the oldest was closed with %d", code)
			}
			mustTell(t, r.db, 1, "many")
			for _, c := range others {
				c.waitRev(1)
			}
		})

		t.Run("AMessageWhileASocketIsAccepted", func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			var writing sync.WaitGroup
			writing.Go(func() {
				for ctx.Err() == nil {
					if err := tell(ctx, r.db, 1, "race"); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
				}
			})
			known := newReplica(r.db, "race")
			var last *client
			for range 25 {
				last = r.connect(t, known)
				frames := known.counted()
				eventually(t, "frames", func() bool { return known.counted() > frames+2 })
				last.conn.CloseNow()
				<-last.ended
			}
			last = r.connect(t, known)
			stop()
			writing.Wait()
			_, heads, _ := r.db.Heads(t.Context(), []string{"race"})
			last.waitRev(heads[0].Rev)
			if err := last.compare(); err != nil {
				t.Error(err)
			}
			t.Logf("%d notifications", heads[0].Rev)
		})

		t.Run("MetricsTellOfIt", func(t *testing.T) {
			for _, name := range []string{"duebell_frames_sent_total", "duebell_published_total", "duebell_catchups_total",
				"duebell_delivery_seconds", "duebell_client_messages_total", "duebell_sessions_closed_total", "duebell_subscribed"} {
				if r.metric(t, name) == 0 {
					t.Errorf("%s is 0", name)
				}
			}
		})
	})
}

// Behind TLS and on systems without epoll connections have goroutines.
func TestSocketWithGoroutines(t *testing.T) {
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.Loops = -1 })
	known := newReplica(r.db, "u")
	c := r.connect(t, known)
	c.waitType("hello")
	mustTell(t, r.db, 3, "u")
	c.waitRev(3)
	c.send(`{"type":"read_all","up_to_rev":2,"ref":"1"}`)
	c.waitType("ok")
	c.waitRev(4)
	c.conn.CloseNow()
	<-c.ended
	mustTell(t, r.db, 1, "u")
	c = r.connect(t, known)
	c.waitRev(5)
	if err := c.compare(); err != nil {
		t.Error(err)
	}
	eventually(t, "the first connection has left", func() bool { return r.hub.len() == 1 })
}

func testTokens(t *testing.T, r *rig) {
	service, err := auth.MintService(secret, "", audience, "duebell:admin", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	expired := tokenAt(t, "tok", time.Now().Add(-time.Hour), time.Minute)
	for name, c := range map[string]struct {
		token  string
		status string
		code   int
	}{
		"none":     {"", "401", closeToken},
		"nonsense": {"a.b.c", "401", closeToken},
		"expired":  {expired, "401", closeToken},
		"service":  {service, "403", closeForbidden},
	} {
		header := http.Header{}
		if c.token != "" {
			header.Set("Authorization", "Bearer "+c.token)
		}
		_, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: header})
		if err == nil || !strings.Contains(err.Error(), c.status) {
			t.Errorf("%s: %v", name, err)
		}
		// A browser can't set the header, nor see a status.
		offers := []string{subprotocol}
		if c.token != "" {
			offers = append(offers, bearerPrefix+c.token)
		}
		browser, err := r.tryDial(t, "", &websocket.DialOptions{Subprotocols: offers})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		go browser.read()
		if code := browser.waitClose(); code != c.code || browser.conn.Subprotocol() != subprotocol || len(browser.received()) > 0 {
			t.Errorf("%s: closed with %d", name, code)
		}
	}
	if _, err := r.tryDial(t, "?token="+r.token(t, "tok"), nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a token in the URL: %v", err)
	}
	if _, err := r.tryDial(t, "", &websocket.DialOptions{Subprotocols: []string{"duebell.v2", bearerPrefix + r.token(t, "tok")}}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("another protocol: %v", err)
	}

	browser, err := r.tryDial(t, "", &websocket.DialOptions{Subprotocols: []string{subprotocol, bearerPrefix + r.token(t, "tok")}})
	if err != nil {
		t.Fatal(err)
	}
	browser.replica = newReplica(r.db, "tok")
	go browser.read()
	if browser.conn.Subprotocol() != subprotocol {
		t.Errorf("selected %q", browser.conn.Subprotocol())
	}
	browser.waitType("hello")
	native, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"bearer " + r.token(t, "tok")}}})
	if err != nil {
		t.Fatal(err)
	}
	go native.read()
	native.waitType("hello")

	// Another user's token on a live connection.
	browser.send(`{"type":"auth","token":"` + r.token(t, "other") + `"}`)
	if code := browser.waitClose(); code != closeForbidden {
		t.Errorf("another user's token: closed with %d", code)
	}

	// At exp, unless it was renewed.
	short := func() *client {
		c, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + tokenAt(t, "tok", time.Now(), 2*time.Second)}}})
		if err != nil {
			t.Fatal(err)
		}
		go c.read()
		c.waitType("hello")
		return c
	}
	renewed, left := short(), short()
	renewed.send(`{"type":"auth","token":"` + r.token(t, "tok") + `","ref":"a"}`)
	renewed.waitType("ok")
	if code := left.waitClose(); code != closeToken {
		t.Errorf("expired: closed with %d", code)
	}
	renewed.send(`{"type":"ping","ref":"b"}`)
	renewed.wait("a sign of life", func(m clientMessage) bool { return m.Ref == "b" })

	// Revoked: what is open closes at once by the message, and nothing of before opens.
	issued := tokenAt(t, "tok", time.Now().Add(-2*time.Second), time.Hour)
	at := time.Now()
	if err := r.db.Revoke(t.Context(), "tok", at); err != nil {
		t.Fatal(err)
	}
	r.publisher.Revoked("tok")
	if code := renewed.waitClose(); code != closeToken {
		t.Errorf("revoked: closed with %d", code)
	}
	if took := time.Since(at); took > 5*time.Second {
		t.Errorf("revoked sessions lived on for %s", took)
	}
	c, err := r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + issued}}})
	if err == nil {
		go c.read()
		if code := c.waitClose(); code != closeToken || len(c.received()) > 0 {
			t.Errorf("a revoked token: closed with %d after %v", code, c.received())
		}
	}
	// One that is issued within the same second, in whole seconds as issuers do, works.
	c, err = r.tryDial(t, "", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + tokenAt(t, "tok", at, time.Hour)}}})
	if err != nil {
		t.Fatal(err)
	}
	go c.read()
	c.waitType("hello")
}

func testOrigins(t *testing.T, r *rig) {
	for origin, allowed := range map[string]bool{
		pageOrigin:                      true,
		"HTTPS://APP.LENDER.EXAMPLE":    true,
		r.url:                           true, // the same host
		"https://evil.example":          false,
		"https://app.lender.example.eu": false,
		"null":                          false,
		"https://":                      false,
	} {
		options := &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}, Subprotocols: []string{subprotocol, bearerPrefix + r.token(t, "ori")}}
		c, err := r.tryDial(t, "", options)
		if err != nil {
			t.Errorf("%s: %v", origin, err)
			continue
		}
		go c.read()
		if allowed {
			c.waitType("hello")
			c.conn.CloseNow()
		} else if code := c.waitClose(); code != closeForbidden || len(c.received()) > 0 {
			t.Errorf("%s: closed with %d", origin, code)
		}
		if allowed {
			continue
		}
		options.Subprotocols = nil
		options.HTTPHeader.Set("Authorization", "Bearer "+r.token(t, "ori"))
		if _, err := r.tryDial(t, "", options); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

func TestRevokedComparesAsPreciselyAsTheTokenSays(t *testing.T) {
	at := time.Date(2026, 3, 8, 12, 0, 0, 700_000_000, time.UTC)
	for _, c := range []struct {
		issued    time.Time
		notBefore time.Time
		want      bool
	}{
		{at, time.Time{}, false},
		{time.Time{}, time.Time{}, false},
		{time.Time{}, at, true}, // it can't show that it is newer
		{at.Truncate(time.Second), at, false},
		{at.Truncate(time.Second).Add(-time.Second), at, true},
		{at.Add(-time.Millisecond), at, true}, // an issuer that writes fractions
		{at, at, false},
		{at.Add(time.Millisecond), at, false},
	} {
		if got := revoked(c.issued, c.notBefore); got != c.want {
			t.Errorf("issued %s, revoked %s: %v", c.issued, c.notBefore, got)
		}
	}
}
