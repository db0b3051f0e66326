package socket

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// told is a sink that writes down what it is told.
type told struct {
	t      *testing.T
	events []string
	failed bool
}

func (s *told) text(message []byte) bool {
	if s.failed || !utf8.Valid(message) || len(message) > 1000 {
		s.t.Errorf("told a message of %d bytes, failed before: %v", len(message), s.failed)
	}
	s.events = append(s.events, fmt.Sprintf("text %q", message))
	return true
}

func (s *told) control(op ws.OpCode, payload []byte) bool {
	if s.failed || len(payload) > 125 || !op.IsControl() {
		s.t.Errorf("told %v of %d bytes, failed before: %v", op, len(payload), s.failed)
	}
	s.events = append(s.events, fmt.Sprintf("control %d %q", op, payload))
	return true
}

func (s *told) fail(code int, _ string) {
	if s.failed {
		s.t.Error("failed twice")
	}
	s.failed = true
	s.events = append(s.events, fmt.Sprintf("fail %d", code))
}

// However the bytes are cut by the network, they mean the same.
func FuzzParser(f *testing.F) {
	f.Add(text1("hello"), byte(3))
	f.Add(bytes.Join([][]byte{masked(false, ws.OpText, []byte("he")), masked(true, ws.OpPing, []byte("p")), masked(true, ws.OpContinuation, []byte("llo"))}, nil), byte(1))
	f.Add(append(text1(strings.Repeat("x", 126)), closing(1000, "bye")...), byte(50))
	f.Add(text1(strings.Repeat("é", 500)), byte(200))
	f.Add([]byte{0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, byte(5))
	f.Add([]byte{0x81, 0xfe, 0, 125, 1, 2, 3, 4}, byte(2))
	f.Add(bytes.Repeat(masked(false, ws.OpText, nil), 3), byte(4))
	f.Add(ws.MustCompileFrame(ws.NewTextFrame([]byte("unmasked"))), byte(7))
	f.Fuzz(func(t *testing.T, stream []byte, piece byte) {
		run := func(size int) ([]string, *inbound) {
			lim := limits{message: 1000, fragments: 5, all: 3000}
			sink := &told{t: t}
			var in *inbound
			for data := range slices.Chunk(slices.Clone(stream), size) {
				parse(&in, data, &lim, sink)
				if sink.failed {
					break
				}
				if held := lim.held.Load(); held < 0 || held > 3000 || in == nil && held != 0 {
					t.Fatalf("%d bytes are held", held)
				}
				if in != nil && in.fragments == 0 && len(in.raw) == 0 {
					t.Fatal("nothing is kept in what is kept")
				}
			}
			kept := in
			lim.release(&in)
			if held := lim.held.Load(); held != 0 {
				t.Fatalf("%d bytes are held after the end", held)
			}
			return sink.events, kept
		}
		whole, keptWhole := run(max(len(stream), 1))
		cut, keptCut := run(int(piece) + 1)
		if !slices.Equal(whole, cut) {
			t.Fatalf("in one piece %v, in pieces of %d %v", whole, int(piece)+1, cut)
		}
		if len(whole) > 0 && strings.HasPrefix(whole[len(whole)-1], "fail") {
			return
		}
		if (keptWhole == nil) != (keptCut == nil) || keptWhole != nil &&
			(!bytes.Equal(keptWhole.raw, keptCut.raw) || !bytes.Equal(keptWhole.message, keptCut.message) || keptWhole.fragments != keptCut.fragments) {
			t.Fatalf("in one piece %+v is kept, in pieces of %d %+v", keptWhole, int(piece)+1, keptCut)
		}
	})
}

// What is accepted as an upgrade, net/http reads in the same way: nobody in front or behind can be made to see another request.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(upgradeRequest + "\r\n"))
	f.Add([]byte(upgradeRequest + "Sec-WebSocket-Protocol: duebell.v1, bearer.x\r\nSec-WebSocket-Protocol: b\r\nOrigin: https://a\r\n\r\nrest"))
	f.Add([]byte(strings.Replace(upgradeRequest, "/v1/ws", "/v1/ws?rev=4&epoch=k", 1) + "Authorization: Bearer x\r\n\r\n"))
	f.Add([]byte(upgradeRequest + "Content-Length: 0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"))
	f.Add([]byte(upgradeRequest + "A: b\n\n"))
	f.Add([]byte(upgradeRequest + "A: b\r\n c\r\n\r\n"))
	f.Add([]byte("GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		const prefix = "GET /v1/ws"
		end := headerEnd(request, 0)
		for n := range request { // as it comes byte by byte
			if at := headerEnd(request[:n+1], n); at != 0 {
				if at != end {
					t.Fatalf("the end is at %d, byte by byte at %d", end, at)
				}
				break
			}
		}
		where := routeOf(request, prefix)
		for n := range request {
			if early := routeOf(request[:n], prefix); early != undecided && early != where {
				t.Fatalf("goes to %d, with %d bytes to %d", where, n, early)
			}
		}
		if where != toUpgrade || end == 0 {
			return
		}
		h, upgrade, refused := parseUpgrade(request[:end], 64, "X-Forwarded-For")
		if refused != nil {
			if _, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(refused.response())), nil); err != nil {
				t.Fatalf("the refusal isn't HTTP: %v", err)
			}
			return
		}
		if !upgrade {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request[:end])))
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse") {
				return // the target is the handler's matter
			}
			t.Fatalf("net/http doesn't read it: %v", err)
		}
		path, query, _ := strings.Cut(r.RequestURI, "?")
		if r.Method != "GET" || h.Path != path || h.Query != query || h.Host != r.Host || h.Origin != r.Header.Get("Origin") ||
			h.Authorization != r.Header.Get("Authorization") || h.key != r.Header.Get("Sec-WebSocket-Key") || r.ContentLength != 0 ||
			h.UserAgent != "" && !slices.Contains(r.Header["User-Agent"], h.UserAgent) {
			t.Fatalf("net/http reads %+v, we read %+v", r, h)
		}
		var buf [256]byte
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(appendSwitch(buf[:0], &h, "duebell.v1"))), nil)
		if err != nil || response.StatusCode != 101 {
			t.Fatalf("the answer isn't HTTP: %v", err)
		}
	})
}
