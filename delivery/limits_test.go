package delivery

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"duebell/internal/testenv"
)

// The limit on connections of an address, as clients see it.
func TestConnectionsOfAnAddress(t *testing.T) {
	t.Parallel()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) {
		o.MaxConnectionsPerAddress, o.TrustedProxies = 2, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	from := func(address string, browser bool) (*client, error) {
		options := &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"192.0.2.1, " + address}}}
		if browser {
			options.Subprotocols = []string{subprotocol, bearerPrefix + r.token(t, "u")}
		} else {
			options.HTTPHeader.Set("Authorization", "Bearer "+r.token(t, "u"))
		}
		c, err := r.tryDial(t, "", options)
		if err == nil {
			c.replica = newReplica(r.db, "u")
			go c.read()
		}
		return c, err
	}
	stream := func(address string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/v1/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.token(t, "u"))
		req.Header.Set("X-Forwarded-For", address)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}

	socket, err := from("203.0.113.5", true)
	if err != nil {
		t.Fatal(err)
	}
	socket.waitType("hello")
	streaming := stream("203.0.113.5")
	if streaming.StatusCode != 200 {
		t.Fatalf("the second connection, a stream: %d", streaming.StatusCode)
	}

	// Browsers' scripts see only a close code; who sees the status gets that.
	browser, err := from("203.0.113.5", true)
	if err != nil {
		t.Fatal(err)
	}
	if code := browser.waitClose(); code != closeTooMany || len(browser.received()) > 0 {
		t.Errorf("closed with %d after %v", code, browser.received())
	}
	if _, err := from("203.0.113.5", false); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("got %v", err)
	}
	if res := stream("203.0.113.5"); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("another stream: %d %v", res.StatusCode, res.Header)
	}
	if n := r.metric(t, "duebell_socket_address_limit_total"); n != 3 {
		t.Errorf("%v are counted", n)
	}
	if res := stream("203.0.113.6"); res.StatusCode != 200 {
		t.Errorf("another address: %d", res.StatusCode)
	}
	mustTell(t, r.db, 1, "u")
	socket.waitRev(1)

	streaming.Body.Close()
	eventually(t, "there is room again", func() bool {
		c, err := from("203.0.113.5", false)
		if err == nil {
			c.waitType("hello")
		}
		return err == nil
	})
}
