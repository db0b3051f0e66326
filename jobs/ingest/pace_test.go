package ingest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/problem"
	"duebell/internal/testenv"
)

// Each caller has its own pace: neither a loan system that calls without end nor one without a good token slows another.
func TestCallersHaveAPace(t *testing.T) {
	const perSecond = 2
	registry := prometheus.NewRegistry()
	s := setup(t, testenv.SQLite(t), func(o *Options) { o.MaxPerSecond, o.Registry = perSecond, registry })
	token := func(subject string) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": subject, "aud": "duebell-internal", "scope": ScopeIngest,
			"exp": time.Now().Add(time.Hour).Unix()}).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
	put := func(token string, n int) answer {
		return s.do("PUT", "/v1/users/"+fmt.Sprint("u", n), `{"name":"N","time_zone":"UTC","locale":"en"}`, "Authorization", token)
	}
	refused := func(a answer) bool {
		if a.status != 429 {
			return false
		}
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		if p := a.problem(t); err != nil || wait < 1 || p.Code != problem.TooManyRequests("", 0).Code {
			t.Errorf("refused with %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
		}
		return true
	}
	until := func(what, token string) {
		t.Helper()
		for deadline, n := time.Now().Add(time.Minute), 0; ; n++ {
			if refused(put(token, n)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is never refused", what)
			}
		}
	}
	until("who calls without end", token("wild"))
	for n := range 2 * perSecond {
		if a := put(token("calm"), 100+n); a.status != 201 {
			t.Fatalf("the calm one's call %d: %d %s", n, a.status, a.body)
		}
	}
	until("who has no good token", "Bearer nothing")
	if a := put(token("third"), 0); a.status >= 300 {
		t.Errorf("a good token of the same address: %d", a.status)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "duebell_ingest_limited_total" {
		t.Fatalf("metrics %v, %v", families, err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetCounter().GetValue() != 1 {
			t.Errorf("counted %v", m)
		}
	}
	time.Sleep(2 * time.Second / perSecond)
	if a := put(token("wild"), 0); a.status >= 300 {
		t.Errorf("after a rest: %d", a.status)
	}
}
