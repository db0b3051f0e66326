package delivery

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// light is a WebSocket client that costs little, for tests that need thousands. It isn't for concurrent use.
type light struct {
	net.Conn
	r *bufio.Reader
}

// closedError is the server's close frame.
type closedError struct{ code int }

func (e closedError) Error() string { return fmt.Sprintf("closed with %d", e.code) }

// lightTime is how long a handshake may take: with thousands of them on a small machine, long.
const lightTime = time.Minute

// dialLight opens a socket at host:port. query may be empty, or start with a question mark.
func dialLight(addr, query, token string) (*light, error) {
	conn, err := net.DialTimeout("tcp", addr, lightTime)
	if err != nil {
		return nil, err
	}
	l := newLight(conn)
	if err := l.shakeHands(query, token); err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

func newLight(conn net.Conn) *light { return &light{conn, bufio.NewReaderSize(conn, 512)} }

func lightRequest(query, token string) []byte {
	return fmt.Appendf(nil, "GET %s%s HTTP/1.1\r\nHost: pusher\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", socketPath, query, token)
}

func (l *light) shakeHands(query, token string) error {
	if err := l.SetDeadline(time.Now().Add(lightTime)); err != nil {
		return err
	}
	if _, err := l.Write(lightRequest(query, token)); err != nil {
		return err
	}
	return l.answered()
}

// answered reads the answer to a handshake, which must be the upgrade.
func (l *light) answered() error {
	response, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("refused with %d", response.StatusCode)
	}
	return l.SetDeadline(time.Time{})
}

// next is the next message of the server, whose pings are answered meanwhile.
func (l *light) next() (clientMessage, error) {
	var m clientMessage
	for {
		header, err := ws.ReadHeader(l.r)
		if err != nil {
			return m, err
		}
		payload := make([]byte, header.Length) // it is our own server that says so
		if _, err := io.ReadFull(l.r, payload); err != nil {
			return m, err
		}
		switch header.OpCode {
		case ws.OpText:
			return m, json.Unmarshal(payload, &m)
		case ws.OpPing:
			if err := l.frame(ws.OpPong, payload); err != nil {
				return m, err
			}
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(payload)
			_ = l.frame(ws.OpClose, payload) // the server may be gone
			return m, closedError{int(code)}
		}
	}
}

func (l *light) say(text string) error { return l.frame(ws.OpText, []byte(text)) }

func (l *light) frame(op ws.OpCode, payload []byte) error {
	_, err := l.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, bytes.Clone(payload)))))
	return err
}

// addr is the host:port of the pusher.
func (r *rig) addr() string { return strings.TrimPrefix(r.url, "http://") }

// raw sends bytes on a new connection and returns the answer as HTTP: its status and what follows.
func (r *rig) raw(t testing.TB, request []byte) (status int, body string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", r.addr(), waitTime)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitTime))
	go func() { _, _ = conn.Write(request) }() // ends with an error when the server has had enough
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // it may be cut off
	return response.StatusCode, string(text)
}

// chain is what a light client knows of its inbox: enough to see that nothing is lost, doubled or out of order.
type chain struct {
	epoch string
	rev   int64
	known bool
	items map[string]bool
	err   error
}

// query resumes where the chain ends.
func (c *chain) query() string {
	if !c.known {
		return ""
	}
	return fmt.Sprintf("?rev=%d&epoch=%s", c.rev, c.epoch)
}

func (c *chain) take(m clientMessage) {
	switch m.Type {
	case "hello":
		if !c.known {
			c.known, c.epoch, c.rev, c.items = true, m.Epoch, m.Rev, make(map[string]bool)
		}
	case "changes":
		if m.From != c.rev || m.Rev < m.From {
			c.fail("at %d, and the frame goes from %d to %d", c.rev, m.From, m.Rev)
		}
		c.rev = m.Rev
		for _, n := range m.Items {
			c.items[n.ID] = true
		}
	case "reset":
		c.fail("reset")
	}
}

func (c *chain) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}
