package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"duebell/internal/auth"
	"duebell/internal/problem"
)

// streamWriteTimeout is how long a client may take to read what was written.
const streamWriteTimeout = 30 * time.Second

// stream answers GET /v1/stream: a session whose frames are Server-Sent Events. Each event that moves the chain has the
// cursor for an id, so Last-Event-ID resumes where ?rev and ?epoch do on a socket. An event "close" says the close code
// before this side ends the stream.
func (p *Pusher) stream(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
	if p.draining.Load() {
		problem.Write(w, problem.Unavailable("this server is going away"))
		return
	}
	at, resumes, refused := streamCursor(r)
	if refused != nil {
		problem.Write(w, problem.BadRequest(refused.message))
		return
	}
	leave, ok := p.server.Enter(r)
	if !ok {
		p.metrics.refused.WithLabelValues(refusedAddress.code).Inc()
		w.Header().Set("Retry-After", strconv.Itoa(int(refusedAddress.retryAfter.Seconds())))
		problem.Write(w, problem.New(refusedAddress.status, refusedAddress.code, refusedAddress.message))
		return
	}
	defer leave()
	s := newSession(user.UserID, user.IssuedAt, user.ExpiresAt)
	if resumes {
		s.resumeAt(at)
	}
	events := &eventStream{wake: make(chan struct{}, 1)}
	s.out = events
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead { // nobody would read it
		return
	}
	control := http.NewResponseController(w)
	// The server's time-outs are for requests that end.
	if control.SetReadDeadline(time.Time{}) != nil || control.Flush() != nil {
		return
	}
	p.open(s)
	defer p.gone(s)
	p.writeEvents(r.Context(), s, events, w, control)
}

// streamCursor is Last-Event-ID (epoch.rev), or else the query.
func streamCursor(r *http.Request) (cursor, bool, *refusal) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return cursorOf(r.URL.Query())
	}
	dot := strings.LastIndexByte(id, '.')
	rev, ok := parseRev(id[dot+1:])
	if dot < 0 || !ok {
		return cursor{}, false, badCursor("Last-Event-ID is not epoch.rev")
	}
	return cursor{cleanEpoch(id[:dot]), rev}, true, nil
}

// writeEvents writes what the session hands over until either side ends the stream.
func (p *Pusher) writeEvents(ctx context.Context, s *session, events *eventStream, w http.ResponseWriter, control *http.ResponseController) {
	alive := time.NewTicker(p.options.PingInterval)
	defer alive.Stop()
	for {
		var text []byte
		var refused, last bool
		select {
		case <-ctx.Done():
			return
		case <-alive.C:
			text = []byte(":\n\n") // a comment: clients and proxies see that we live
		case <-events.wake:
			text, refused, last = events.take()
		}
		if len(text) > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(streamWriteTimeout)) // a connection that can't is at its end
			if _, err := w.Write(text); err != nil {
				return
			}
			if control.Flush() != nil {
				return
			}
		}
		if last {
			return
		}
		if refused {
			p.writable(s)
		}
	}
}

// eventStream is the output of a session that is a stream. It holds one event while another is written.
type eventStream struct {
	wake chan struct{}

	mu      sync.Mutex
	text    []byte
	refused bool
	closed  bool
}

func (e *eventStream) write(f frame, at cursor) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.text != nil {
		e.refused = true
		return false
	}
	for len(f) > 0 { // answers may come several in a piece; changes never do
		text := f.text()
		size := len(text)
		if f[1] < 126 {
			size = int(f[1])
		} else if f[1] == 126 {
			size = int(f[2])<<8 | int(f[3])
		}
		if at.epoch != "" {
			e.text = append(e.text, "id: "+at.epoch+"."+strconv.FormatInt(at.rev, 10)+"\n"...)
		}
		e.text = append(e.text, "data: "...)
		e.text = append(e.text, text[:size]...) // JSON has no line breaks of its own
		e.text = append(e.text, "\n\n"...)
		f = frame(text[size:])
	}
	e.signal()
	return true
}

func (e *eventStream) close(code int, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	data, _ := json.Marshal(struct { // always encodes
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	}{code, reason})
	e.text = append(e.text, "event: close\ndata: "...)
	e.text = append(e.text, bytes.TrimSpace(data)...)
	e.text = append(e.text, "\n\n"...)
	e.signal()
}

func (e *eventStream) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *eventStream) take() (text []byte, refused, last bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text, refused = e.text, e.refused
	e.text, e.refused = nil, false
	return text, refused, e.closed
}
