package delivery

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"duebell/delivery/socket"
	"duebell/internal/auth"
)

const (
	subprotocol  = "duebell.v1"
	bearerPrefix = "bearer." // of the value of Sec-WebSocket-Protocol that is a token
)

// socketHandler is what the socket server asks.
type socketHandler struct{ p *Pusher }

// socketOutput is a session's socket.
type socketOutput struct{ conn *socket.Conn }

func (o socketOutput) write(f frame, _ cursor) bool { return o.conn.Write(f) }

func (o socketOutput) close(code int, reason string) { o.conn.Close(code, reason) }

// Accept judges a handshake. A client that offers our subprotocol hears why it is refused by a close code, since a browser
// keeps the HTTP status from its script; any other gets the status.
func (h socketHandler) Accept(ctx context.Context, hs *socket.Handshake) socket.Verdict {
	ours, token := false, ""
	for offer := range hs.Offers() {
		if offer == subprotocol {
			ours = true
		} else if t, ok := strings.CutPrefix(offer, bearerPrefix); ok {
			token = t
		}
	}
	refuse := func(r *refusal) socket.Verdict {
		h.p.metrics.refused.WithLabelValues(r.code).Inc()
		if ours {
			return socket.Verdict{Protocol: subprotocol, CloseCode: r.closeCode, CloseReason: r.message}
		}
		return socket.Verdict{Status: r.status, Code: r.code, Message: r.message, RetryAfter: r.retryAfter}
	}
	if hs.Crowded { // before anything that costs more
		return refuse(refusedAddress)
	}
	if hs.Protocols != "" && !ours {
		return refuse(&refusal{status: http.StatusBadRequest, code: "bad_request", message: "none of the offered subprotocols is " + subprotocol})
	}
	if h.p.draining.Load() {
		return refuse(refusedDraining)
	}
	if !h.p.originAllowed(hs.Origin, hs.Host) {
		return refuse(refusedOrigin)
	}
	if scheme, t, _ := strings.Cut(hs.Authorization, " "); strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(t)
	}
	user, r := h.p.user(ctx, token)
	if r != nil {
		return refuse(r)
	}
	if wait, ok := h.p.opens.Allow(user.UserID); !ok {
		h.p.metrics.limited.WithLabelValues(limitedSocket).Inc()
		return refuse(&refusal{http.StatusTooManyRequests, closeTooMany, "too_many_requests", "this user opens connections too fast", wait})
	}
	s := newSession(user.UserID, user.IssuedAt, user.ExpiresAt)
	query, err := url.ParseQuery(hs.Query)
	if err != nil {
		return refuse(badCursor("the query can't be read"))
	}
	at, resumes, r := cursorOf(query)
	if r != nil {
		return refuse(r)
	}
	if resumes {
		s.resumeAt(at)
	}
	return socket.Verdict{Value: s, Protocol: subprotocol}
}

func (h socketHandler) Open(c *socket.Conn) {
	s := c.Value().(*session)
	s.out = socketOutput{c}
	h.p.open(s)
}

func (h socketHandler) Message(c *socket.Conn, text []byte) {
	h.p.protocol.message(c.Value().(*session), text)
}

func (h socketHandler) Writable(c *socket.Conn) { h.p.writable(c.Value().(*session)) }

func (h socketHandler) Close(c *socket.Conn, _ int, _ string) { h.p.gone(c.Value().(*session)) }

// tooManySessions is the reason of a close.
const tooManySessions = "too many connections of this user: the oldest goes"

// refusal is why somebody gets no session: as an HTTP answer, and as a close code.
type refusal struct {
	status     int
	closeCode  int
	code       string
	message    string
	retryAfter time.Duration
}

var (
	refusedOrigin   = &refusal{http.StatusForbidden, closeForbidden, "forbidden", "this origin is not one of ALLOWED_ORIGINS", 0}
	refusedDraining = &refusal{http.StatusServiceUnavailable, closeRestarting, "unavailable", "this server is going away", time.Second}
	refusedAddress  = &refusal{http.StatusTooManyRequests, closeTooMany, "too_many_connections", "this address has too many connections, or opens them too fast",
		30 * time.Second}
)

func badCursor(message string) *refusal {
	return &refusal{http.StatusBadRequest, closeBadFrame, "bad_request", message, 0}
}

// user verifies a token.
func (p *Pusher) user(ctx context.Context, token string) (auth.UserToken, *refusal) {
	if token == "" {
		return auth.UserToken{}, &refusal{http.StatusUnauthorized, closeToken, "unauthorized",
			"this needs a token: Authorization: Bearer, or the subprotocol " + bearerPrefix + "TOKEN", 0}
	}
	user, err := p.verifier.User(ctx, token)
	switch {
	case err == nil:
		return user, nil
	case errors.Is(err, auth.ErrForbidden):
		return user, &refusal{http.StatusForbidden, closeForbidden, "forbidden", err.Error(), 0}
	case errors.Is(err, auth.ErrToken):
		return user, &refusal{http.StatusUnauthorized, closeToken, "unauthorized", err.Error(), 0}
	}
	p.log.Error("a token can't be verified", "error", err)
	return user, &refusal{http.StatusServiceUnavailable, closeRestarting, "unavailable", "tokens can't be verified now", time.Second}
}

// cursorOf reads ?rev=N&epoch=E. Without a rev the session starts at the present.
func cursorOf(query url.Values) (at cursor, resumes bool, r *refusal) {
	revs := query["rev"]
	switch {
	case len(revs) == 0:
		return cursor{}, false, nil
	case len(revs) > 1 || len(query["epoch"]) > 1:
		return cursor{}, false, badCursor("rev and epoch may be given once")
	}
	rev, ok := parseRev(revs[0])
	if !ok {
		return cursor{}, false, badCursor("rev is not a whole number from 0")
	}
	return cursor{cleanEpoch(query.Get("epoch")), rev}, true, nil
}

func parseRev(text string) (int64, bool) {
	rev, err := strconv.ParseUint(text, 10, 63)
	return int64(rev), err == nil
}

// otherEpoch stands for everything that can't be an epoch: never that of a store.
const otherEpoch = "-"

// cleanEpoch keeps what clients send short and plain. "" is the present epoch.
func cleanEpoch(epoch string) string {
	if len(epoch) > 32 {
		return otherEpoch
	}
	for i := range len(epoch) {
		c := epoch[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return otherEpoch
		}
	}
	return strings.Clone(epoch)
}

// originAllowed says whether a browser's page of that origin may talk to us: one of the list, or a page of the same host
// (the scheme isn't compared: TLS may end in front of us). Other programs send no origin.
func (p *Pusher) originAllowed(origin, host string) bool {
	if origin == "" {
		return true
	}
	origin = strings.ToLower(origin)
	if p.origins[origin] {
		return true
	}
	_, originHost, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(originHost, host)
}
