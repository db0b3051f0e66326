package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestBearerFromRequest(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc":   "abc",
		"bearer abc":   "abc",
		"BEARER  abc ": "abc",
		"Bearer":       "",
		"Basic abc":    "",
		"abc":          "",
	} {
		r := httptest.NewRequest("GET", "/?access_token=url", nil)
		r.Header.Set("Authorization", header)
		if got := BearerFromRequest(r); got != want {
			t.Errorf("%q: got %q", header, got)
		}
	}
	r := httptest.NewRequest("GET", "/?access_token=url", nil)
	if got := BearerFromRequest(r); got != "" {
		t.Errorf("no header: got %q", got)
	}
	r.Header["Authorization"] = []string{"Bearer a", "Bearer b"}
	if got := BearerFromRequest(r); got != "" {
		t.Errorf("two headers: got %q", got)
	}
}

func TestRequireService(t *testing.T) {
	v := setup(t, Config{Secret: secret})
	h := RequireService(v, "duebell:admin", nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	now := time.Now()
	for _, c := range []struct {
		name, token     string
		status          int
		challenge, body string
	}{
		{"admin", must(MintService(secret, "", "duebell-internal", "duebell:admin", time.Hour, now)), 204, "", ""},
		{"none", "", 401, `Bearer realm="duebell"`, "needs a token"},
		{"expired", must(MintService(secret, "", "duebell-internal", "duebell:admin", time.Second, now.Add(-time.Minute))), 401, "invalid_token", "expired"},
		{"ingest", must(MintService(secret, "", "duebell-internal", "duebell:ingest", time.Hour, now)), 403, "", "lacks the scope duebell:admin"},
		{"user", must(MintUser(secret, "", "", "", "u1", time.Hour, now)), 403, "", "service token"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Header().Get("WWW-Authenticate"), c.challenge) || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s: got %d %v %s", c.name, w.Code, w.Header(), w.Body)
		}
	}
}
