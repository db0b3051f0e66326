package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"duebell/internal/auth"
	"duebell/store"
)

// Codes of error answers. Programs branch on them, so they stay.
const (
	codeInvalid      = "invalid"           // a value of the message can't be accepted
	codeNotFound     = "not_found"         // none of the ids is one of this inbox
	codeUnauthorized = "unauthorized"      // the new token was refused; the old one stays
	codeBusy         = "too_many_requests" // answers to earlier messages are still due
	codeUnavailable  = "unavailable"       // nothing was changed; try again later
)

const (
	maxRequests    = 16   // of a session that wait
	maxAllRequests = 4096 // of all sessions
	requestTimeout = 10 * time.Second
	requestWorkers = 4
)

// inboxWriter is what client messages change.
type inboxWriter interface {
	MarkRead(ctx context.Context, recipient string, ids []string, read bool) (store.Counts, error)
	ReadAll(ctx context.Context, recipient string, upTo *int64) (store.Counts, error)
	Seen(ctx context.Context, recipient string, upTo *int64) (store.Counts, error)
	NotBefore(ctx context.Context, userID string) (time.Time, error)
}

// tokenVerifier is an *auth.Verifier.
type tokenVerifier interface {
	User(ctx context.Context, token string) (auth.UserToken, error)
}

// protocol does what client messages ask for, those of one session in their order. A message that asks for an answer (by a
// ref), and a ping, gets ok when it is done; what can't be done gets an error in any case.
type protocol struct {
	store    inboxWriter
	verifier tokenVerifier
	log      *slog.Logger
	metrics  *pusherMetrics
	hub      *hub
	end      func(s *session, code int, reason string)

	mu      sync.Mutex
	arrived *sync.Cond
	ready   []*session // with requests; each once at most
	waiting int        // requests of all sessions
	closed  bool
}

func newProtocol(db inboxWriter, verifier tokenVerifier, log *slog.Logger, metrics *pusherMetrics, h *hub, end func(*session, int, string)) *protocol {
	p := &protocol{store: db, verifier: verifier, log: log, metrics: metrics, hub: h, end: end}
	p.arrived = sync.NewCond(&p.mu)
	return p
}

// message takes a client's message. It doesn't block: workers do what needs the store.
func (p *protocol) message(s *session, text []byte) {
	if s.expired(time.Now()) {
		p.end(s, closeToken, "the token has expired")
		return
	}
	r, err := decodeRequest(text)
	if err != nil {
		p.metrics.requests.WithLabelValues("bad").Inc()
		p.end(s, closeBadFrame, "bad frame: "+err.Error())
		return
	}
	p.metrics.requests.WithLabelValues(r.kind).Inc()
	if wrong := r.check(); wrong != "" {
		p.answer(s, errorFrame(r.ref, codeInvalid, wrong))
		return
	}
	if r.kind == requestPing {
		p.answer(s, okFrame(r.ref))
		return
	}
	p.add(s, r)
}

func (p *protocol) add(s *session, r request) {
	p.mu.Lock()
	room := p.waiting < maxAllRequests && !p.closed
	if room {
		p.waiting++
	}
	p.mu.Unlock()
	taken, idle := false, false
	if room {
		taken, idle = s.addRequest(r)
	}
	if !taken {
		if room {
			p.done(1)
		}
		p.answer(s, errorFrame(r.ref, codeBusy, "answers to earlier messages are still due; send this one again later"))
		return
	}
	if idle {
		p.queue(s)
	}
}

func (p *protocol) queue(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, s)
	p.arrived.Signal()
}

func (p *protocol) done(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting -= n
}

// addRequest keeps a request. idle: none of the session's is being done, so the caller queues it.
func (s *session) addRequest(r request) (taken, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == ended {
		return false, false
	}
	m := s.extra()
	if len(m.requests) >= maxRequests {
		return false, false
	}
	m.requests = append(m.requests, r)
	idle = !m.working
	m.working = true
	return true, idle
}

// nextRequest is the first that waits; false when there is none any more and the session is idle. What is left of a
// session that has ended is dropped.
func (s *session) nextRequest() (r request, ok bool, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.more
	if s.state == ended || len(m.requests) == 0 {
		dropped = len(m.requests)
		m.requests, m.working = nil, false
		s.tidy()
		return request{}, false, dropped
	}
	r = m.requests[0]
	m.requests = pop(m.requests, 1)
	return r, true, 0
}

// run does requests until ctx is done.
func (p *protocol) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = true
		p.arrived.Broadcast()
	})
	defer stop()
	var group sync.WaitGroup
	for range requestWorkers {
		group.Go(func() {
			for s := p.take(); s != nil; s = p.take() {
				// One at a time: then the others have their turn.
				r, ok, dropped := s.nextRequest()
				p.done(dropped)
				if ok {
					p.do(ctx, s, r)
					p.done(1)
					p.queue(s)
				}
			}
		})
	}
	group.Wait()
}

func (p *protocol) take() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) == 0 && !p.closed {
		p.arrived.Wait()
	}
	if p.closed {
		return nil
	}
	s := p.ready[0]
	p.ready = pop(p.ready, 1)
	return s
}

func (p *protocol) do(ctx context.Context, s *session, r request) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if s.expired(time.Now()) {
		p.end(s, closeToken, "the token has expired")
		return
	}
	var err error
	switch r.kind {
	case requestRead:
		_, err = p.store.MarkRead(ctx, s.recipient, r.ids, true)
	case requestReadAll:
		_, err = p.store.ReadAll(ctx, s.recipient, r.upTo)
	case requestSeen:
		_, err = p.store.Seen(ctx, s.recipient, r.upTo)
	case requestAuth:
		p.renew(ctx, s, r)
		return
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		p.answer(s, errorFrame(r.ref, codeNotFound, "no such notification"))
	case err != nil:
		p.failed(s, r, err)
	case r.ref != "":
		p.answer(s, okFrame(r.ref))
	}
}

// renew puts a new token in place of the session's. One of another user ends the session: whoever uses the connection
// now must not see what the other one did.
func (p *protocol) renew(ctx context.Context, s *session, r request) {
	token, err := p.verifier.User(ctx, r.token)
	switch {
	case errors.Is(err, auth.ErrToken), errors.Is(err, auth.ErrForbidden):
		p.answer(s, errorFrame(r.ref, codeUnauthorized, err.Error()))
		return
	case err != nil:
		p.failed(s, r, err)
		return
	case token.UserID != s.recipient:
		p.end(s, closeForbidden, "the new token is another user's")
		return
	}
	notBefore, err := p.store.NotBefore(ctx, s.recipient)
	if err != nil {
		p.failed(s, r, err)
		return
	}
	if revoked(token.IssuedAt, notBefore) {
		p.end(s, closeToken, "the token was revoked")
		return
	}
	s.setToken(token.IssuedAt, token.ExpiresAt)
	p.hub.renewed(s)
	if r.ref != "" {
		p.answer(s, okFrame(r.ref))
	}
}

func (p *protocol) failed(s *session, r request, err error) {
	p.log.Error("a client's message failed", "type", r.kind, "error", err)
	p.answer(s, errorFrame(r.ref, codeUnavailable, "nothing was changed; try again later"))
}

func (p *protocol) answer(s *session, f frame) {
	if !s.answer(f) {
		p.end(s, closeTooMany, "answers aren't read")
	}
}
