package socket

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

func (s *server) url() string {
	if s.path.tls {
		return "wss://" + s.addr + "/v1/ws?rev=1"
	}
	return "ws://" + s.addr + "/v1/ws?rev=1"
}

// Clients that other people wrote find nothing wrong.
func TestOtherPeoplesClients(t *testing.T) {
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{PingInterval: 2 * time.Second, PongTimeout: patience}, &app{
			accept: func(context.Context, *Handshake) Verdict { return Verdict{Protocol: "duebell.v1"} },
			open:   func(c *Conn) { c.Write(AppendText(nil, []byte("hello"))) },
			message: func(c *Conn, text []byte) {
				if string(text) == "close" {
					c.Close(4401, "as you wish")
					return
				}
				c.Write(AppendText(nil, text))
			},
		}, nil)
		messages := []string{"", "a", "κόσμε 🚀", strings.Repeat("x", 125), strings.Repeat("y", 126), strings.Repeat("z", 60_000)}

		t.Run("coder/websocket", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
				c, _, err := websocket.Dial(ctx, s.url(), &websocket.DialOptions{
					Subprotocols: []string{"other", "duebell.v1"}, CompressionMode: mode,
					HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS()}},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				c.SetReadLimit(1 << 20)
				read := func(want string) {
					t.Helper()
					if kind, got, err := c.Read(ctx); err != nil || kind != websocket.MessageText || string(got) != want {
						t.Fatalf("read %v %.50q %v, want %.50q", kind, got, err, want)
					}
				}
				if c.Subprotocol() != "duebell.v1" {
					t.Errorf("subprotocol %q", c.Subprotocol())
				}
				read("hello")
				for _, m := range messages {
					if err := c.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
						t.Fatal(err)
					}
					read(m)
				}
				w, err := c.Writer(ctx, websocket.MessageText) // in fragments
				if err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					if _, err := fmt.Fprint(w, strings.Repeat(fmt.Sprint(i), 5000)); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.Read(ctx); err != nil || len(got) != 50_000 {
					t.Fatalf("read %d bytes, %v", len(got), err)
				}
				pinged := make(chan error, 1)
				go func() { pinged <- c.Ping(ctx) }()
				if mode == websocket.CompressionDisabled {
					go func() {
						if err := <-pinged; err != nil {
							t.Errorf("ping: %v", err)
						}
						_ = c.Write(ctx, websocket.MessageText, []byte("close"))
					}()
					_, _, err := c.Read(ctx)
					if websocket.CloseStatus(err) != 4401 {
						t.Errorf("closed with %v", err)
					}
					continue
				}
				if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		})

		t.Run("gobwas/ws", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			var conn net.Conn
			conn, early, hs, err := ws.Dialer{Protocols: []string{"duebell.v1"}, TLSConfig: clientTLS()}.Dial(ctx, s.url())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if hs.Protocol != "duebell.v1" {
				t.Errorf("subprotocol %q", hs.Protocol)
			}
			if early != nil {
				conn = &webConn{Conn: conn, read: peeked(t, early.Buffered(), early.Peek), socket: s.Server}
			}
			read := func(want string) {
				t.Helper()
				if got, op, err := wsutil.ReadServerData(conn); err != nil || op != ws.OpText || string(got) != want {
					t.Fatalf("read %v %.50q %v, want %.50q", op, got, err, want)
				}
			}
			read("hello")
			for _, m := range messages {
				if err := wsutil.WriteClientText(conn, []byte(m)); err != nil {
					t.Fatal(err)
				}
				read(m)
			}
			if err := wsutil.WriteClientText(conn, []byte("close")); err != nil {
				t.Fatal(err)
			}
			_, _, err = wsutil.ReadServerData(conn)
			if closed, ok := err.(wsutil.ClosedError); !ok || closed.Code != 4401 || closed.Reason != "as you wish" {
				t.Errorf("closed with %v", err)
			}
		})
	})
}

func peeked(t *testing.T, n int, peek func(int) ([]byte, error)) []byte {
	b, err := peek(n)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), b...)
}
