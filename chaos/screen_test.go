package main

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestChain(t *testing.T) {
	hello := frame{Type: "hello", Epoch: "e", Rev: 2}
	n := func(id string, created, rev int64) item {
		return item{ID: id, CreatedRev: created, Rev: rev, Data: eventData{Event: id}}
	}
	whole := frame{Type: "changes", From: 0, Rev: 2, Items: []item{n("a", 1, 1), n("b", 2, 2)}}
	for name, c := range map[string]struct {
		frames []frame
		wrong  bool // the last one
	}{
		"whole":                       {[]frame{hello, whole}, false},
		"goes on":                     {[]frame{hello, whole, {Type: "changes", From: 2, Rev: 3, Items: []item{n("a", 1, 3)}}}, false},
		"cut inside of a rev":         {[]frame{hello, {Type: "changes", From: 0, Rev: 0, Items: []item{n("a", 1, 2)}}, whole}, true}, // a is older again
		"begins too late":             {[]frame{hello, {Type: "changes", From: 1, Rev: 2}}, true},
		"leaves one out":              {[]frame{hello, whole, {Type: "changes", From: 3, Rev: 4}}, true},
		"comes twice":                 {[]frame{hello, whole, whole}, true},
		"goes back":                   {[]frame{hello, whole, {Type: "changes", From: 2, Rev: 1}}, true},
		"brings what was left out":    {[]frame{hello, whole, {Type: "changes", From: 2, Rev: 3, Items: []item{n("c", 1, 3)}}}, true},
		"brings an older state":       {[]frame{hello, whole, {Type: "changes", From: 2, Rev: 3, Items: []item{n("b", 2, 1)}}}, true},
		"says hello twice":            {[]frame{hello, hello}, true},
		"begins without hello":        {[]frame{whole}, true},
		"starts over for no reason":   {[]frame{hello, {Type: "reset", Epoch: "e", Rev: 9}}, true},
		"an answer needn't be a link": {[]frame{hello, {Type: "ok", Ref: "1"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			chain := newChain()
			for i, f := range c.frames {
				wrong := chain.take(f)
				if last := i == len(c.frames)-1; (wrong != "") != (last && c.wrong) {
					t.Errorf("frame %d: %q", i, wrong)
				}
			}
		})
	}

	t.Run("after a reconnect", func(t *testing.T) {
		c := newChain()
		c.take(hello)
		c.take(whole)
		c.connected()
		if wrong := c.take(frame{Type: "hello", Epoch: "e", Rev: 1}); wrong == "" {
			t.Error("an inbox that is behind the client is right")
		}
		c.connected()
		if wrong := c.take(frame{Type: "hello", Epoch: "f", Rev: 5}); wrong == "" {
			t.Error("another epoch is right")
		}
	})

	t.Run("read and removed", func(t *testing.T) {
		c := newChain()
		c.take(hello)
		c.take(whole)
		c.take(frame{Type: "changes", From: 2, Rev: 3, ReadThrough: 1})
		c.take(frame{Type: "changes", From: 3, Rev: 4, Removed: []string{"b"}})
		if len(c.items) != 1 || c.items["a"].ReadAt == nil || c.rev != 4 {
			t.Errorf("got %+v at %d", c.items, c.rev)
		}
	})
}

// A message that was cut off is no frame, wherever that was, and one that the server has garbled is found.
func TestMessagesThatAreCut(t *testing.T) {
	const whole = 1000
	h, err := newHistory(t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	for name, test := range map[string]struct {
		sent string
		then []byte // behind it, until the connection ends
		gaps int
	}{
		"behind the header":               {"", nil, 0},
		"where a read of the client ends": {strings.Repeat("x", 512), nil, 0},
		"between":                         {strings.Repeat("x", 700), nil, 0},
		"garbled":                         {strings.Repeat("x", whole), []byte("\x81\x02{}"), 1},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: duebell.v1\r\n\r\n",
				base64.StdEncoding.EncodeToString(accept[:]))
			_, _ = conn.Write(append(append([]byte{0x81, 126, whole >> 8, whole & 0xff}, test.sent...), test.then...))
		}))
		found := newFindings(h)
		s := newScreen(&installation{}, found, "ada", 0, 1)
		err := s.socket(t.Context(), strings.TrimPrefix(server.URL, "http://"), 0, "")
		server.Close()
		if n := found.of(gap); err == nil || n != test.gaps {
			t.Errorf("%s: %v, %d findings", name, err, n)
		}
	}
}
