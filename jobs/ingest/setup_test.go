package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"duebell/internal/auth"
	"duebell/internal/policy"
	"duebell/internal/problem"
	"duebell/internal/testenv"
	"duebell/store"
)

var secret = []byte("a secret that only these tests have, 32 bytes")

// service is the API on a real database, and what it told the others.
type service struct {
	t     *testing.T
	db    *store.DB
	url   string
	token map[string]string // by scope

	mu      sync.Mutex
	now     time.Time
	claims  []store.Claim
	nudges  int
	revoked []string
}

// databases runs a test on both databases, beginning on 1 March 2026 at noon.
func databases(t *testing.T, test func(t *testing.T, s *service)) {
	t.Helper()
	testenv.Databases(t, func(t *testing.T, url string) { test(t, setup(t, url, nil)) })
}

func setup(t *testing.T, url string, change func(*Options)) *service {
	t.Helper()
	s := &service{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), token: map[string]string{}}
	db, err := store.Open(t.Context(), url, store.Options{Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.ActivatePolicy(t.Context(), policy.Default()); err != nil {
		t.Fatal(err)
	}
	s.db = db
	verifier, err := auth.NewVerifier(auth.Config{Secret: secret, ServiceAudience: "duebell-internal"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	for _, scope := range []string{ScopeIngest, ScopeAdmin} {
		if s.token[scope], err = auth.MintService(secret, "", "duebell-internal", scope, time.Hour, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	opt := Options{
		Store: db, Verifier: verifier,
		Claimed: func(c store.Claim) { s.mu.Lock(); defer s.mu.Unlock(); s.claims = append(s.claims, c) },
		Nudge:   func() { s.mu.Lock(); defer s.mu.Unlock(); s.nudges++ },
		Revoked: func(_ context.Context, user string, _ time.Time) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.revoked = append(s.revoked, user)
		},
	}
	if change != nil {
		change(&opt)
	}
	server := httptest.NewServer(New(opt))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *service) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	return s.send(method, path, strings.NewReader(body), headers...)
}

func (s *service) send(method, path string, body io.Reader, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	scope := ScopeIngest
	for _, admin := range []string{"/v1/sessions", "/v1/status?", "/v1/explain", "/v1/preview"} {
		if strings.HasPrefix(path+"?", admin) {
			scope = ScopeAdmin
		}
	}
	r.Header.Set("Authorization", "Bearer "+s.token[scope])
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(bytes.TrimSpace(text))}
}

// ok fails the test unless the call answers that status.
func (s *service) ok(status int, method, path, body string, headers ...string) answer {
	s.t.Helper()
	a := s.do(method, path, body, headers...)
	if a.status != status {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

// problem reads an RFC 9457 answer.
func (a answer) problem(t *testing.T) problem.Problem {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != problem.ContentType {
		t.Fatalf("content type %q of status %d: %s", got, a.status, a.body)
	}
	var p problem.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != a.status {
		t.Errorf("the problem says status %d, the answer %d", p.Status, a.status)
	}
	return p
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// book puts a borrower, an officer and three loans: EUR, JPY and one of UGX with two decimals.
func (s *service) book() {
	s.t.Helper()
	s.ok(201, "PUT", "/v1/users/ana", `{"name":"Ana","email":"ana@example.org","time_zone":"Europe/Prague","locale":"en"}`)
	s.ok(201, "PUT", "/v1/users/officer", `{"name":"Olga","time_zone":"Europe/Prague","locale":"en"}`)
	s.ok(201, "PUT", "/v1/loans/eur", `{"borrower_id":"ana","product":"car","currency":"EUR","status":"active"}`)
	s.ok(201, "PUT", "/v1/loans/jpy", `{"borrower_id":"ana","product":"car","currency":"JPY","status":"active"}`)
	s.ok(201, "PUT", "/v1/loans/ugx", `{"borrower_id":"ana","product":"car","currency":"UGX","digits":2,"status":"active"}`)
}
