package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"duebell/internal/auth"
	"duebell/internal/problem"
	"duebell/store"
)

// inboxStore is what the inbox API reads and changes.
type inboxStore interface {
	inboxWriter
	List(ctx context.Context, query store.ListQuery) (store.List, error)
	Archive(ctx context.Context, recipient, id string, archived bool) (store.Counts, error)
	Delete(ctx context.Context, recipient, id string) (store.Counts, error)
	Preferences(ctx context.Context, userID string) (store.Preferences, error)
	PutPreferences(ctx context.Context, userID string, p store.Preferences) error
}

// handler is everything that isn't an upgrade: the inbox API and the event stream.
func (p *Pusher) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(path string, methods map[string]userHandler) {
		mux.Handle(path, p.route(methods))
	}
	read := func(ctx context.Context, user, id string) (store.Counts, error) {
		return p.store.MarkRead(ctx, user, []string{id}, true)
	}
	unread := func(ctx context.Context, user, id string) (store.Counts, error) {
		return p.store.MarkRead(ctx, user, []string{id}, false)
	}
	archive := func(ctx context.Context, user, id string) (store.Counts, error) {
		return p.store.Archive(ctx, user, id, true)
	}
	unarchive := func(ctx context.Context, user, id string) (store.Counts, error) {
		return p.store.Archive(ctx, user, id, false)
	}
	// Each path is written out: a test holds them against the published document.
	route("/v1/notifications", map[string]userHandler{"GET": p.list})
	route("/v1/notifications/unread-count", map[string]userHandler{"GET": p.counts})
	route("/v1/notifications/read-all", map[string]userHandler{"POST": p.upTo(p.store.ReadAll)})
	route("/v1/notifications/seen", map[string]userHandler{"POST": p.upTo(p.store.Seen)})
	route("/v1/notifications/{id}", map[string]userHandler{"DELETE": p.one(p.store.Delete)})
	route("/v1/notifications/{id}/read", map[string]userHandler{"POST": p.one(read)})
	route("/v1/notifications/{id}/unread", map[string]userHandler{"POST": p.one(unread)})
	route("/v1/notifications/{id}/archive", map[string]userHandler{"POST": p.one(archive)})
	route("/v1/notifications/{id}/unarchive", map[string]userHandler{"POST": p.one(unarchive)})
	route("/v1/preferences", map[string]userHandler{"GET": p.getPreferences, "PUT": p.putPreferences})
	route("/v1/stream", map[string]userHandler{"GET": p.stream})
	mux.HandleFunc(socketPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		problem.Write(w, problem.New(http.StatusUpgradeRequired, "upgrade_required", "this is a WebSocket; "+
			"GET /v1/stream is the same feed as Server-Sent Events"))
	})
	pages := p.options.Pages
	if pages == nil {
		pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			problem.Write(w, problem.NotFound("there is nothing at this path"))
		})
	}
	mux.Handle("/", pages)
	if p.options.Requests != nil {
		return p.options.Requests.Wrap(mux)
	}
	return mux
}

// userHandler answers a request of a user whose token is good.
type userHandler func(w http.ResponseWriter, r *http.Request, user auth.UserToken)

// requestLimit is for a whole request, body and answer: a slow one mustn't hold a goroutine for long.
const requestLimit = 30 * time.Second

// route checks origin, method and token, in this order: a browser's preflight has no token.
func (p *Pusher) route(methods map[string]userHandler) http.Handler {
	allowed := make([]string, 0, len(methods)+1)
	for method := range methods {
		allowed = append(allowed, method)
	}
	allowed = append(allowed, http.MethodOptions)
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadline := time.Now().Add(requestLimit)
		control := http.NewResponseController(w)
		_ = errors.Join(control.SetReadDeadline(deadline), control.SetWriteDeadline(deadline)) // all of net/http's connections can
		if !p.cors(w, r, allow) {
			return
		}
		do := methods[r.Method]
		if do == nil && r.Method == http.MethodHead {
			do = methods[http.MethodGet]
		}
		if do == nil {
			w.Header().Set("Allow", allow)
			problem.Write(w, problem.MethodNotAllowed())
			return
		}
		user, err := p.authenticate(r)
		if err != nil {
			problem.WriteError(w, p.log, p.unlessTooOften(r, err))
			return
		}
		do(w, r, user)
	})
}

// cors answers preflights and foreign origins, and lets the pages of allowed origins read the answer. False: it is
// answered. No cookies are used, so credentials stay off.
func (p *Pusher) cors(w http.ResponseWriter, r *http.Request, allow string) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !p.originAllowed(origin, r.Host) {
		problem.Write(w, problem.Forbidden(refusedOrigin.message))
		return false
	}
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	if r.Method != http.MethodOptions {
		return true
	}
	h.Set("Allow", allow)
	if origin != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return false
}

// unlessTooOften is the answer to a request whose token was refused: that, or 429 where too many such come from its address.
func (p *Pusher) unlessTooOften(r *http.Request, err error) error {
	refusal, _ := errors.AsType[problem.Problem](err)
	if refusal.Status != http.StatusUnauthorized && refusal.Status != http.StatusForbidden {
		return err
	}
	if wait, ok := p.server.Begin(r); !ok {
		p.metrics.limited.WithLabelValues(limitedAddress).Inc()
		return problem.TooManyRequests("too many requests without a good token come from this address", wait)
	}
	return err
}

// authenticate says whose request this is, if that user may make one now. The error is a problem.Problem.
func (p *Pusher) authenticate(r *http.Request) (auth.UserToken, error) {
	user, err := p.verifier.User(r.Context(), auth.BearerFromRequest(r))
	if err != nil {
		return user, auth.Problem(r, err)
	}
	// Who has to wait doesn't reach the database. But nothing is taken from a user for a token that was revoked.
	if wait, ok := p.calls.Peek(user.UserID); !ok {
		return user, p.tooOften(wait)
	}
	notBefore, err := p.store.NotBefore(r.Context(), user.UserID)
	if err != nil {
		return user, p.unavailable(r, err)
	}
	if revoked(user.IssuedAt, notBefore) {
		return user, problem.Unauthorized("the token was revoked")
	}
	if wait, ok := p.calls.Allow(user.UserID); !ok {
		return user, p.tooOften(wait)
	}
	return user, nil
}

func (p *Pusher) tooOften(wait time.Duration) problem.Problem {
	p.metrics.limited.WithLabelValues(limitedUser).Inc()
	return problem.TooManyRequests("this user makes too many requests: try again later", wait)
}

// unavailable is the answer when the store fails.
func (p *Pusher) unavailable(r *http.Request, err error) problem.Problem {
	if r.Context().Err() == nil { // else the client has left
		p.log.Error("a request failed", "route", r.Pattern, "error", err)
	}
	return problem.Unavailable("the database can't be reached now; try again later")
}

// fail answers what the store said.
func (p *Pusher) fail(w http.ResponseWriter, r *http.Request, err error) {
	if field, ok := errors.AsType[*store.FieldError](err); ok {
		problem.Write(w, problem.Unprocessable(problem.FieldError{Field: field.Field, Message: field.Message}))
		return
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		problem.Write(w, problem.NotFound("no such notification"))
	case errors.Is(err, store.ErrCursor):
		problem.Write(w, problem.BadRequest("", problem.FieldError{Field: "cursor", Message: store.ErrCursor.Error()}))
	default:
		problem.Write(w, p.unavailable(r, err))
	}
}

func answer(w http.ResponseWriter, value any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // the client may be gone
}

// countsBody is what a change answers: rev says how new the counts are.
type countsBody struct {
	Unread int64 `json:"unread"`
	Unseen int64 `json:"unseen"`
	Rev    int64 `json:"rev"`
}

func answerCounts(w http.ResponseWriter, c store.Counts) {
	answer(w, countsBody{c.Unread, c.Unseen, c.Rev})
}

func (p *Pusher) counts(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
	_, heads, err := p.store.Heads(r.Context(), []string{user.UserID})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	answerCounts(w, heads[0].Counts)
}

func (p *Pusher) one(do func(ctx context.Context, user, id string) (store.Counts, error)) userHandler {
	return func(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
		counts, err := do(r.Context(), user.UserID, r.PathValue("id"))
		if err != nil {
			p.fail(w, r, err)
			return
		}
		answerCounts(w, counts)
	}
}

// upTo reads a body that may be left out.
func (p *Pusher) upTo(do func(ctx context.Context, user string, upTo *int64) (store.Counts, error)) userHandler {
	return func(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
		var body struct {
			UpToRev *int64 `json:"up_to_rev"`
		}
		if r.ContentLength != 0 {
			if err := problem.DecodeJSON(r, p.options.MaxBodyBytes, &body); err != nil {
				problem.WriteError(w, p.log, err)
				return
			}
		}
		if body.UpToRev != nil && *body.UpToRev < 0 {
			problem.Write(w, problem.Unprocessable(problem.FieldError{Field: "up_to_rev", Message: "must not be negative"}))
			return
		}
		counts, err := do(r.Context(), user.UserID, body.UpToRev)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		answerCounts(w, counts)
	}
}

// listBody is a page of the list.
type listBody struct {
	Items      []store.Notification `json:"items"`
	NextCursor *string              `json:"next_cursor"`
	Total      int64                `json:"total"` // of the filter
	Unread     int64                `json:"unread"`
	Unseen     int64                `json:"unseen"`
	Rev        int64                `json:"rev"`
}

func (p *Pusher) list(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
	query, fields := listQuery(r.URL.Query())
	if len(fields) > 0 {
		problem.Write(w, problem.Unprocessable(fields...))
		return
	}
	query.Recipient = user.UserID
	list, err := p.store.List(r.Context(), query)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	body := listBody{Items: list.Items, Total: list.Total, Unread: list.Unread, Unseen: list.Unseen, Rev: list.Rev}
	if body.Items == nil {
		body.Items = []store.Notification{}
	}
	if list.NextCursor != "" {
		body.NextCursor = &list.NextCursor
	}
	answer(w, body)
}

// listQuery reads the parameters of a list; what the store checks is left to it.
func listQuery(values url.Values) (query store.ListQuery, wrong []problem.FieldError) {
	number := func(name string, most int) int {
		if !values.Has(name) {
			return 0
		}
		n, err := strconv.Atoi(values.Get(name))
		if err != nil || n < 1 || n > most {
			wrong = append(wrong, problem.FieldError{Field: name, Message: "must be a whole number from 1 to " + strconv.Itoa(most)})
		}
		return n
	}
	query.Limit = number("limit", 100)
	query.Page = number("page", 100)
	query.Cursor = values.Get("cursor")
	query.Status = values.Get("status")
	for _, kind := range values["kind"] {
		if kind == "" || len(kind) > 64 || len(query.Kinds) == 20 {
			wrong = append(wrong, problem.FieldError{Field: "kind", Message: "must be up to 20 kinds of 1 to 64 characters"})
			break
		}
		query.Kinds = append(query.Kinds, kind)
	}
	return query, wrong
}
