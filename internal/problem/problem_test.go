package problem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "3")
	Write(w, Unprocessable(FieldError{Field: "amount", Message: "must be a decimal", Line: 7}))
	if w.Code != 422 || w.Header().Get("Content-Type") != ContentType || w.Header().Get("Content-Length") != "" {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	want := `{"title":"Unprocessable Entity","status":422,"code":"invalid","errors":[{"field":"amount","message":"must be a decimal","line":7}]}` + "\n"
	if got := w.Body.String(); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestUnauthorizedChallenges(t *testing.T) {
	for detail, want := range map[string]string{
		"":        `Bearer realm="duebell"`,
		"expired": `Bearer realm="duebell", error="invalid_token"`,
	} {
		w := httptest.NewRecorder()
		Write(w, Unauthorized(detail))
		if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || got != want {
			t.Errorf("%q: got %d %q", detail, w.Code, got)
		}
	}
}

func TestWriteErrorHidesTheCause(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))

	w := httptest.NewRecorder()
	WriteError(w, log, errors.New("pq: password of host db1 refused"))
	if w.Code != 500 || strings.Contains(w.Body.String(), "db1") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(logged.String(), "db1") {
		t.Errorf("the log doesn't say why: %s", logged.String())
	}

	w = httptest.NewRecorder()
	WriteError(w, log, fmt.Errorf("put loan: %w", Conflict("stale", "older than what is stored")))
	if w.Code != 409 || !strings.Contains(w.Body.String(), `"code":"stale"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestDecodeJSON(t *testing.T) {
	type party struct {
		Role string `json:"role"`
	}
	type loan struct {
		Product string  `json:"product"`
		Digits  *int    `json:"digits"`
		Active  bool    `json:"active"`
		Parties []party `json:"parties"`
	}
	const limit = 200
	cases := []struct {
		name, contentType, body string
		status                  int // 0: accepted
		field, text             string
	}{
		{"whole", "application/json", `{"product":"p","digits":2,"parties":[{"role":"r"}]}`, 0, "", ""},
		{"charset", "application/json; charset=utf-8", `{}`, 0, "", ""},
		{"json suffix", "application/vnd.lender+json", `{}`, 0, "", ""},
		{"white space around", "application/json", " \n{}\n ", 0, "", ""},
		{"no content type", "", `{}`, 415, "", "application/json"},
		{"form", "application/x-www-form-urlencoded", `{}`, 415, "", ""},
		{"text", "text/plain", `{}`, 415, "", ""},
		{"broken content type", "application/json; =", `{}`, 415, "", ""},
		{"suffix of another tree", "image/x+json", `{}`, 415, "", ""},
		{"unknown field", "application/json", `{"prodct":"p"}`, 422, "prodct", "not a field"},
		{"unknown field inside", "application/json", `{"parties":[{"rol":"r"}]}`, 422, "rol", "not a field"},
		{"wrong type", "application/json", `{"product":7}`, 422, "product", "must be a string, not number"},
		{"wrong type inside", "application/json", `{"parties":[{"role":true}]}`, 422, "parties.role", "must be a string, not bool"},
		{"fraction for a whole number", "application/json", `{"digits":2.5}`, 422, "digits", "whole number"},
		{"array for an object", "application/json", `[]`, 422, "", "must be an object, not array"},
		{"half a body", "application/json", `{"product":"p","dig`, 400, "", "breaks off"},
		{"half a string", "application/json", `{"product":"p`, 400, "", "breaks off"},
		{"empty", "application/json", ``, 400, "", "empty"},
		{"blank", "application/json", " \n", 400, "", "empty"},
		{"not JSON", "application/json", "{\n  product: 1}", 400, "", "line 2, column 3"},
		{"trailing value", "application/json", `{} {}`, 400, "", "more than one"},
		{"trailing garbage", "application/json", `{} x`, 400, "", "more than one"},
		{"at the limit", "application/json", `{}` + strings.Repeat(" ", limit-2), 0, "", ""},
		{"over the limit", "application/json", `{}` + strings.Repeat(" ", limit-1), 413, "", "200 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				r := httptest.NewRequest("PUT", "/", strings.NewReader(c.body))
				if chunked {
					r = httptest.NewRequest("PUT", "/", io.MultiReader(strings.NewReader(c.body)))
					r.ContentLength = -1
				}
				r.Header.Set("Content-Type", c.contentType)
				var got loan
				err := DecodeJSON(r, limit, &got)
				if c.status == 0 {
					if err != nil {
						t.Fatalf("refused: %v", err)
					}
					continue
				}
				p, ok := errors.AsType[Problem](err)
				if !ok || p.Status != c.status {
					t.Fatalf("got %v, want status %d", err, c.status)
				}
				text := p.Detail
				if len(p.Errors) > 0 {
					text += p.Errors[0].Message
					if p.Errors[0].Field != c.field {
						t.Errorf("field %q, want %q", p.Errors[0].Field, c.field)
					}
				}
				if !strings.Contains(text, c.text) {
					t.Errorf("%q doesn't say %q", text, c.text)
				}
			}
		})
	}
}

func TestDecodeJSONOverABrokenConnection(t *testing.T) {
	r := httptest.NewRequest("PUT", "/", io.MultiReader(strings.NewReader(`{"a":`), brokenReader{}))
	r.Header.Set("Content-Type", "application/json")
	p, ok := errors.AsType[Problem](DecodeJSON(r, 100, &struct{}{}))
	if !ok || p.Status != http.StatusBadRequest {
		t.Fatalf("got %v", p)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `[`, `{"a":"`, "{\n", `nul`, `{"a":{"b":[1,2]}}x`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var dst struct {
			A any      `json:"a"`
			B []string `json:"b"`
		}
		err := Unmarshal(body, &dst)
		if err == nil && !json.Valid(body) {
			t.Fatalf("accepted %q", body)
		}
		if err != nil {
			if p, ok := errors.AsType[Problem](err); !ok || p.Status < 400 {
				t.Fatalf("%q: %v", body, err)
			}
		}
	})
}
