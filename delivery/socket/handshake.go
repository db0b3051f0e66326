package socket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"duebell/internal/problem"
)

// route is where a new connection belongs, by the bytes that have come.
type route uint8

const (
	undecided route = iota
	toUpgrade       // a request for Config.Path: its header is read here
	toWeb
)

// routeOf decides by the request line alone, so that net/http gets its requests as they come, whatever their headers.
func routeOf(b []byte, prefix string) route {
	n := min(len(b), len(prefix))
	if string(b[:n]) != prefix[:n] {
		return toWeb
	}
	if len(b) <= len(prefix) {
		return undecided
	}
	if next := b[len(prefix)]; next != ' ' && next != '?' {
		return toWeb
	}
	return toUpgrade
}

// headerEnd is where the header of the request in b ends, after its empty line; 0: further on. The first from bytes were
// searched before.
func headerEnd(b []byte, from int) int {
	for at := max(from-2, 0); ; {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return 0
		}
		at += n + 1
		switch rest := b[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// parseUpgrade reads the header of a request for Config.Path. proxyHeader is the one that becomes Handshake.Forwarded. upgrade is false where the client doesn't ask for a
// WebSocket; then it is net/http's. The strings of h are those bytes of b, which must not change while they are used.
func parseUpgrade(b []byte, maxHeaders int, proxyHeader string) (h Handshake, upgrade bool, refused *refusal) {
	lines := unsafe.String(unsafe.SliceData(b), len(b))
	line, lines, ok := cutLine(lines)
	target, version, ok2 := strings.Cut(strings.TrimPrefix(line, "GET "), " ")
	if !ok || !ok2 || !isText(target) || strings.Contains(version, " ") {
		return h, true, badRequest("the request line is malformed")
	}
	h.Path, h.Query, _ = strings.Cut(target, "?")

	var connection, body bool
	var hosts, keys, versions, origins, authorizations int
	var wsVersion string
	for count := 0; ; count++ {
		line, lines, ok = cutLine(lines)
		if !ok {
			return h, true, badRequest("a header line doesn't end with CRLF")
		}
		if line == "" {
			break
		}
		if count == maxHeaders {
			return h, true, headerTooLarge
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || !isText(value) {
			return h, true, badRequest("a header line is malformed")
		}
		if len(name) == len(proxyHeader) && strings.EqualFold(name, proxyHeader) {
			h.Forwarded = joinList(h.Forwarded, value)
		}
		switch len(name) { // spares most comparisons
		case len("Host"):
			if strings.EqualFold(name, "Host") {
				h.Host = value
				hosts++
			}
		case len("Origin"):
			if strings.EqualFold(name, "Origin") {
				h.Origin = value
				origins++
			}
		case len("Upgrade"):
			if strings.EqualFold(name, "Upgrade") {
				upgrade = upgrade || hasToken(value, "websocket")
			}
		case len("Connection"): // and User-Agent
			if strings.EqualFold(name, "Connection") {
				connection = connection || hasToken(value, "upgrade")
			} else if strings.EqualFold(name, "User-Agent") {
				h.UserAgent = value
			}
		case len("Authorization"):
			if strings.EqualFold(name, "Authorization") {
				h.Authorization = value
				authorizations++
			}
		case len("Content-Length"):
			body = body || strings.EqualFold(name, "Content-Length") && value != "0"
		case len("Sec-WebSocket-Key"): // and Transfer-Encoding
			if strings.EqualFold(name, "Sec-WebSocket-Key") {
				h.key = value
				keys++
			} else {
				body = body || strings.EqualFold(name, "Transfer-Encoding")
			}
		case len("Sec-WebSocket-Version"):
			if strings.EqualFold(name, "Sec-WebSocket-Version") {
				wsVersion = value
				versions++
			}
		case len("Sec-WebSocket-Protocol"):
			if strings.EqualFold(name, "Sec-WebSocket-Protocol") {
				h.Protocols = joinList(h.Protocols, value)
			}
		}
	}
	switch {
	case !upgrade:
		return h, false, nil
	case version != "HTTP/1.1":
		return h, true, badRequest("a WebSocket needs HTTP/1.1")
	case hosts != 1 || h.Host == "":
		return h, true, badRequest("one Host header is needed")
	case !connection:
		return h, true, badRequest("the header Connection: Upgrade is missing")
	case origins > 1 || authorizations > 1:
		return h, true, badRequest("a header that may come once came twice")
	case body:
		return h, true, badRequest("an upgrade request has no body")
	case versions != 1 || wsVersion != "13":
		return h, true, wrongVersion
	case keys != 1 || !isKey(h.key):
		return h, true, badRequest("Sec-WebSocket-Key must be 16 bytes in base64")
	}
	return h, true, nil
}

// cutLine takes a line that ends with CRLF off s.
func cutLine(s string) (line, rest string, ok bool) {
	n := strings.IndexByte(s, '\n')
	if n < 1 || s[n-1] != '\r' {
		return "", "", false
	}
	return s[:n-1], s[n+1:], true
}

// isText says whether s has no control characters but tabs.
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// isToken says whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

func hasToken(list, token string) bool {
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// joinList is the one list that several headers of a name are (RFC 9110, section 5.3).
func joinList(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

func isKey(s string) bool {
	var key [18]byte
	if len(s) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(key[:], []byte(s))
	return err == nil && n == 16
}

// appendSwitch appends the answer to an accepted upgrade.
func appendSwitch(dst []byte, h *Handshake, protocol string) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	var proof [24 + 36]byte
	sum := sha1.Sum(append(append(proof[:0], h.key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) // section 4.2.2
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	if protocol != "" {
		for offer := range h.Offers() {
			if offer == protocol {
				dst = append(append(dst, "\r\nSec-WebSocket-Protocol: "...), protocol...)
				break
			}
		}
	}
	return append(dst, "\r\n\r\n"...)
}

// refusal is an HTTP answer instead of an upgrade.
type refusal struct {
	status       int
	code, detail string
	header       string // further lines, each with CRLF
}

var (
	headerTooLarge = &refusal{status: http.StatusRequestHeaderFieldsTooLarge, code: "header_too_large", detail: "the request's header is too large"}
	wrongVersion   = &refusal{status: http.StatusUpgradeRequired, code: "unsupported_version", detail: "the WebSocket version must be 13",
		header: "Sec-WebSocket-Version: 13\r\n"}
	serverBusy = &refusal{status: http.StatusServiceUnavailable, code: "unavailable", detail: "too many connections are being opened: try again later",
		header: "Retry-After: 1\r\n"}
	serverDrains = &refusal{status: http.StatusServiceUnavailable, code: "unavailable", detail: "this server is stopping: try again",
		header: "Retry-After: 1\r\n"}
	addressCrowded = &refusal{status: http.StatusTooManyRequests, code: "too_many_connections", detail: "this address has too many connections, or opens them too fast: try again later",
		header: "Retry-After: 30\r\n"}
	serverFailed = &refusal{status: http.StatusInternalServerError, code: "internal", detail: problem.Internal().Detail}
)

func badRequest(detail string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "bad_request", detail: detail}
}

// refusal is the HTTP answer of a verdict that has a status.
func (v *Verdict) refusal() *refusal {
	r := &refusal{status: v.Status, code: v.Code, detail: v.Message}
	if v.RetryAfter > 0 {
		r.header = "Retry-After: " + strconv.Itoa(int((v.RetryAfter+time.Second-1)/time.Second)) + "\r\n"
	}
	return r
}

// response is the whole answer; the connection ends after it.
func (r *refusal) response() []byte {
	body, err := json.Marshal(problem.Problem{Title: http.StatusText(r.status), Status: r.status, Code: r.code, Detail: r.detail})
	if err != nil { // strings and ints always marshal
		body = []byte(`{}`)
	}
	b := make([]byte, 0, 512)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), http.StatusText(r.status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Type: "+problem.ContentType+"\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"...)
	if r.status == http.StatusUnauthorized {
		b = append(b, "WWW-Authenticate: Bearer realm=\"duebell\"\r\n"...)
	}
	b = append(b, r.header...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)+1), 10)
	b = append(b, "\r\n\r\n"...)
	return append(append(b, body...), '\n')
}
