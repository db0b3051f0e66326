package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/auth"
	"duebell/internal/gather"
	"duebell/internal/problem"
	"duebell/store"
)

// Scopes of the two APIs.
const (
	ScopeIngest = "duebell:ingest"
	ScopeAdmin  = "duebell:admin"
)

// Options of New. Store and Verifier are required.
type Options struct {
	Store    *store.DB
	Verifier *auth.Verifier
	// Claimed is handed the outbox row that a call has just committed and claimed, Nudge is called where it committed
	// others. Both return at once. Nil: the relay's poll finds them.
	Claimed func(store.Claim)
	Nudge   func()
	// Revoked tells the pushers, after the commit, that a user's tokens are refused from now on.
	Revoked func(ctx context.Context, userID string, at time.Time)
	// Queues adds what the queues hold to GET /v1/status; nil: left out.
	Queues func(ctx context.Context) (any, error)
	Log    *slog.Logger
	// Registry gets what is counted here; nil: nothing does.
	Registry prometheus.Registerer

	MaxBody      int64 // bytes of a request and of an NDJSON line; 0: 1 MiB
	MaxImport    int64 // bytes of an NDJSON request; 0: 1 GiB
	MaxPerSecond int   // calls of a token's subject, or of an address that has no good token; twice as many in a burst; 0: 2,000
}

type api struct {
	Options
	// Calls of these two come by the hundred, each with one row.
	changes  *gather.Group[store.StatusChange, store.Added]
	requests *gather.Group[store.Request, store.Added]
}

// gathered makes one transaction of the calls that come while another is under way.
func gathered[T any](add func(context.Context, []T) []store.Added) *gather.Group[T, store.Added] {
	return gather.New(func(ctx context.Context, rows []T) []gather.Result[store.Added] {
		results := make([]gather.Result[store.Added], len(rows))
		for i, a := range add(ctx, rows) {
			results[i] = gather.Result[store.Added]{Value: a, Err: a.Err}
		}
		return results
	}, gather.Options{})
}

// New is the ingest and the operator API. Each call asks for its scope, so the handler may be served as it is.
func New(opt Options) http.Handler {
	a := &api{Options: opt, changes: gathered(opt.Store.AddStatusChanges), requests: gathered(opt.Store.AddRequests)}
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	if a.MaxBody <= 0 {
		a.MaxBody = 1 << 20
	}
	if a.MaxImport <= 0 {
		a.MaxImport = 1 << 30
	}
	if a.MaxPerSecond <= 0 {
		a.MaxPerSecond = 2000
	}
	if a.Claimed == nil {
		a.Claimed = func(store.Claim) {}
	}
	if a.Nudge == nil {
		a.Nudge = func() {}
	}
	if a.Revoked == nil {
		a.Revoked = func(context.Context, string, time.Time) {}
	}

	pace := newPace(a.MaxPerSecond, a.Registry)
	mux := http.NewServeMux()
	serve := func(scope, path string, calls methods) {
		for method, call := range calls {
			calls[method] = a.answer(call)
		}
		mux.Handle(path, auth.RequireService(a.Verifier, scope, pace.busy, calls))
	}
	ingest := func(path string, calls methods) {
		for method, call := range calls {
			calls[method] = bounded(call)
		}
		serve(ScopeIngest, path, calls)
	}
	admin := func(path string, calls methods) { serve(ScopeAdmin, path, calls) }

	serve(ScopeIngest, "/v1/users/{id}", methods{"PUT": bounded(a.putUser), "DELETE": a.deleteUser}) // which has a limit of its own
	ingest("/v1/loans/{id}", methods{"PUT": a.putLoan})
	ingest("/v1/loans/{id}/installments", methods{"PUT": a.putInstallments})
	ingest("/v1/payments", methods{"POST": a.postPayment})
	ingest("/v1/payments/{id}/reverse", methods{"POST": a.reversePayment})
	ingest("/v1/status-changes", methods{"POST": a.postStatusChange})
	ingest("/v1/notifications", methods{"POST": a.postNotification})
	serve(ScopeIngest, "/v1/import/{resource}", methods{"POST": a.postImport, "GET": bounded(a.getImport)}) // posts are bounded by the chunk

	admin("/v1/sessions/revoke", methods{"POST": a.revokeSessions})
	admin("/v1/status", methods{"GET": a.getStatus})
	admin("/v1/explain", methods{"GET": a.getExplain})
	admin("/v1/preview", methods{"GET": a.getPreview})

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, problem.NotFound("there is no such call"))
	})
	return mux
}

// call serves a request or returns why not: a problem.Problem, an error of the store, or one that is logged.
type call func(w http.ResponseWriter, r *http.Request) error

// methods are the calls of one path.
type methods map[string]call

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if serve, ok := m[method]; ok {
		_ = serve(w, r) // answer has dealt with it
		return
	}
	for allowed := range m {
		w.Header().Add("Allow", allowed)
	}
	problem.Write(w, problem.MethodNotAllowed())
}

// callTime is how long one call may wait for the database. Its connection may be silent for good, and the caller gone without a
// word: such calls would keep all connections of the pool.
const callTime = 20 * time.Second

var errSlow = errors.New("the database took too long")

func bounded(serve call) call {
	return func(w http.ResponseWriter, r *http.Request) error {
		return within(r.Context(), callTime, func(ctx context.Context) error { return serve(w, r.WithContext(ctx)) })
	}
}

func within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	err := do(ctx)
	if _, ok := errors.AsType[problem.Problem](err); err != nil && !ok && context.Cause(ctx) == errSlow {
		return problem.Unavailable("the database doesn't answer; nothing was changed, or it was and the same call again is safe")
	}
	return err
}

// answer makes an error the response.
func (a *api) answer(serve call) call {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := serve(w, r)
		if err == nil {
			return nil
		}
		err = storeProblem(err)
		call := r.Method + " " + r.Pattern
		if _, ok := errors.AsType[problem.Problem](err); !ok && r.Context().Err() != nil {
			return nil // the client went away, and took the statement with it
		} else if !ok && a.unreachable(r.Context()) {
			a.Log.Warn("request failed: the database can't be reached", "call", call, "error", err)
			err = problem.Unavailable("the database can't be reached; nothing was changed, or it was and the same call again is safe")
		}
		problem.WriteError(w, a.Log.With("call", call), err)
		return nil
	}
}

func (a *api) unreachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return a.Store.Ready(ctx) != nil
}

// storeProblem turns what the store promises into answers; other errors come back as they are.
func storeProblem(err error) error {
	if _, ok := errors.AsType[problem.Problem](err); ok {
		return err
	}
	if field, ok := errors.AsType[*store.FieldError](err); ok {
		return problem.Unprocessable(problem.FieldError{Field: field.Field, Message: field.Message})
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem.NotFound("there is no such record")
	case errors.Is(err, store.ErrStale):
		return problem.Conflict("stale", "what is stored has a later as_of; nothing was changed")
	case errors.Is(err, store.ErrConflict):
		return problem.Conflict("id_reused", "this id came before with another body; nothing was changed")
	}
	return err
}

// body reads a request's JSON value.
func (a *api) body(r *http.Request) (json.RawMessage, error) {
	var raw json.RawMessage
	if err := problem.DecodeJSON(r, a.MaxBody, &raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// row reads a request's JSON object.
func (a *api) row(r *http.Request, bad *problems) (*fields, error) {
	raw, err := a.body(r)
	if err != nil {
		return nil, err
	}
	if !isObject(raw) {
		return nil, problem.Unprocessable(problem.FieldError{Message: "must be an object, not " + kindOf(raw)})
	}
	return object(raw, "", bad), nil
}

// refuse is the answer that names everything that is wrong; nil if nothing is.
func (p problems) refuse() error {
	if len(p) == 0 {
		return nil
	}
	return problem.Unprocessable(p...)
}

// pathID is the id in the path. One in the body as well must be the same.
func pathID(r *http.Request, f *fields, bad *problems) string {
	id := r.PathValue("id")
	if err := checkID(id); err != nil {
		bad.add("id", "in the path %v", err)
	}
	if f != nil {
		if other, given := f.str("id", false); given && other != id {
			f.wrong("id", "is not the one in the path")
		}
	}
	return id
}

const asOfHeader = "Duebell-As-Of"

// maxAhead is how far an as_of may lie in the future, for clocks that differ. One far ahead would lock out every later
// change.
const maxAhead = 24 * time.Hour

// asOf is when the caller had it so: from the row or, else, from the header. Zero: at arrival.
func (a *api) asOf(r *http.Request, f *fields, bad *problems) time.Time {
	var at time.Time
	field := asOfHeader
	if f != nil {
		at = f.instant("as_of", false)
	}
	if text := r.Header.Get(asOfHeader); text != "" {
		header, err := parseInstant(text)
		switch {
		case err != nil:
			bad.add(asOfHeader, "%v", err)
		case !at.IsZero() && !at.Equal(header):
			bad.add(asOfHeader, "is not the as_of of the body")
		default:
			at = header
		}
	} else {
		field = "as_of"
	}
	a.notAhead(field, at, bad)
	return at
}

func (a *api) notAhead(field string, at time.Time, bad *problems) {
	if err := checkAhead(at, a.Store.Now()); err != nil {
		bad.add(field, "%v", err)
	}
}

func checkAhead(at, now time.Time) error {
	if at.After(now.Add(maxAhead)) {
		return fmt.Errorf("%s is in the future", at.Format(time.RFC3339))
	}
	return nil
}

// created is 201 for what is new and 200 for what was there.
func created(isNew bool) int {
	if isNew {
		return http.StatusCreated
	}
	return http.StatusOK
}

func write(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
	return nil
}

// optionalTime is null where nothing is known.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// media says whether a request's content type is one of those; parameters don't matter.
func media(r *http.Request, types ...string) bool {
	got, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	for _, want := range types {
		if strings.EqualFold(strings.TrimSpace(got), want) {
			return true
		}
	}
	return false
}
