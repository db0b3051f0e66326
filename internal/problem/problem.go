package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of RFC 9457 documents.
const ContentType = "application/problem+json"

// Problem is an RFC 9457 problem document. It is an error, so functions may return one for their caller to Write.
type Problem struct {
	// Type is a URI that names the kind of problem; empty means about:blank, where Title says what Status says.
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a plain sentence for the developer who reads the answer.
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	// Code is stable: programs branch on it.
	Code   string       `json:"code,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`

	challenge  string // WWW-Authenticate, RFC 6750
	retryAfter int    // seconds; 0: not said
}

// FieldError is one thing that is wrong with one field of a request.
type FieldError struct {
	// Field is the path of the field as the caller wrote it: "parties[2].role". Empty means the body as a whole.
	Field   string `json:"field"`
	Message string `json:"message"`
	// Line counts from 1 in bodies of many rows (NDJSON); 0 elsewhere.
	Line int `json:"line,omitempty"`
}

// Error is the title, the detail and the first bad field.
func (p Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	if len(p.Errors) > 0 {
		text += fmt.Sprintf(" (%s: %s)", p.Errors[0].Field, p.Errors[0].Message)
	}
	return text
}

// New is a problem whose title is the status text.
func New(status int, code, detail string) Problem {
	return Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// BadRequest answers 400: the request can't be read at all.
func BadRequest(detail string, fields ...FieldError) Problem {
	p := New(http.StatusBadRequest, "bad_request", detail)
	p.Errors = fields
	return p
}

// Unauthorized answers 401 with the WWW-Authenticate header of RFC 6750. The detail says why, never what the token was.
func Unauthorized(detail string) Problem {
	p := New(http.StatusUnauthorized, "unauthorized", detail)
	p.challenge = `Bearer realm="duebell", error="invalid_token"`
	if detail == "" {
		p.Detail = "this call needs a token: Authorization: Bearer …"
		p.challenge = `Bearer realm="duebell"`
	}
	return p
}

// Forbidden answers 403: the token is good, for something else.
func Forbidden(detail string) Problem {
	return New(http.StatusForbidden, "forbidden", detail)
}

// NotFound answers 404.
func NotFound(detail string) Problem {
	return New(http.StatusNotFound, "not_found", detail)
}

// MethodNotAllowed answers 405.
func MethodNotAllowed() Problem {
	return New(http.StatusMethodNotAllowed, "method_not_allowed", "")
}

// Conflict answers 409. The code tells apart what conflicts, such as "stale" or "id_reused".
func Conflict(code, detail string) Problem {
	return New(http.StatusConflict, code, detail)
}

// TooLarge answers 413 and says the limit.
func TooLarge(maxBytes int64) Problem {
	return New(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is larger than %d bytes", maxBytes))
}

// UnsupportedMedia answers 415 and says what is accepted.
func UnsupportedMedia(want string) Problem {
	return New(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be "+want)
}

// Unprocessable answers 422 and names each bad field.
func Unprocessable(fields ...FieldError) Problem {
	p := New(http.StatusUnprocessableEntity, "invalid", "")
	p.Errors = fields
	return p
}

// TooManyRequests answers 429 with Retry-After, in whole seconds that aren't too early.
func TooManyRequests(detail string, wait time.Duration) Problem {
	p := New(http.StatusTooManyRequests, "too_many_requests", detail)
	p.retryAfter = max(int((wait+time.Second-1)/time.Second), 1)
	return p
}

// Unavailable answers 503: try again later.
func Unavailable(detail string) Problem {
	return New(http.StatusServiceUnavailable, "unavailable", detail)
}

// Internal answers 500 and tells the client nothing about the cause, which belongs into the log.
func Internal() Problem {
	return New(http.StatusInternalServerError, "internal", "something failed on our side; the log of the program says what")
}

// Write sends the problem as the answer. No other part of the response may have been written before.
func Write(w http.ResponseWriter, p Problem) {
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil { // strings, ints and slices of them always marshal
		body = []byte(`{"title":"Internal Server Error","status":500}`)
	}
	h := w.Header()
	if p.challenge != "" {
		h.Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

// WriteError sends err if it is a Problem; anything else is logged and answered as Internal.
func WriteError(w http.ResponseWriter, log *slog.Logger, err error) {
	if p, ok := errors.AsType[Problem](err); ok {
		Write(w, p)
		return
	}
	log.Error("request failed", "error", err)
	Write(w, Internal())
}
