package auth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer serves a JWK set that a test changes.
type issuer struct {
	*httptest.Server
	fetches atomic.Int64
	mu      sync.Mutex
	answer  http.HandlerFunc
}

func newIssuer(t *testing.T, keys ...string) *issuer {
	i := &issuer{}
	i.set(keys...)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) handle(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

func (i *issuer) set(keys ...string) {
	body := `{"keys":[`
	for n, key := range keys {
		if n > 0 {
			body += ","
		}
		body += key
	}
	i.handle(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body+"]}") })
}

func jwk(id string, key crypto.PublicKey, extra ...string) string {
	enc := base64.RawURLEncoding.EncodeToString
	fields := map[string]string{"kid": id}
	switch key := key.(type) {
	case *rsa.PublicKey:
		fields["kty"], fields["n"], fields["e"] = "RSA", enc(key.N.Bytes()), enc(big.NewInt(int64(key.E)).Bytes())
	case ed25519.PublicKey:
		fields["kty"], fields["crv"], fields["x"] = "OKP", "Ed25519", enc(key)
	}
	for n := 0; n < len(extra); n += 2 {
		fields[extra[n]] = extra[n+1]
	}
	return string(must(json.Marshal(fields)))
}

func newEd() (ed25519.PublicKey, ed25519.PrivateKey) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(0, err)
	return public, private
}

// setupSet is a verifier whose set may fetch again after the cool-down.
func setupSet(t *testing.T, url string, coolDown time.Duration) *Verifier {
	t.Helper()
	set := &keySet{
		url: url, client: &http.Client{Timeout: jwksTimeout}, log: slog.New(slog.DiscardHandler),
		interval: jwksInterval, coolDown: coolDown,
	}
	set.start()
	v := setup(t, Config{Secret: secret})
	v.keys = keyring{set: set}
	return v
}

func ed(key ed25519.PrivateKey, headers ...string) string {
	return signed(jwt.SigningMethodEdDSA, key, user("u1"), headers...)
}

func accepts(v *Verifier, token string) error {
	_, err := v.User(context.Background(), token)
	return err
}

func TestKeySetVerifies(t *testing.T) {
	public, private := newEd()
	server := newIssuer(t, jwk("a", public), jwk("r", &rsaKey().PublicKey, "alg", "RS256", "use", "sig"))
	v := setupSet(t, server.URL, time.Minute)
	for name, token := range map[string]string{
		"EdDSA":         ed(private, "kid", "a"),
		"RS256":         signed(jwt.SigningMethodRS256, rsaKey(), user("u1"), "kid", "r"),
		"without a kid": ed(private),
	} {
		if err := accepts(v, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, token := range map[string]string{
		"kid of another key":  ed(private, "kid", "r"),
		"unknown kid":         ed(private, "kid", "b"),
		"kid as a path":       ed(private, "kid", "../a"),
		"PS256 with RSA key":  signed(jwt.SigningMethodPS256, rsaKey(), user("u1"), "kid", "r"),
		"HS256 by public key": signed(jwt.SigningMethodHS256, []byte(public), user("u1"), "kid", "a"),
	} {
		if err := accepts(v, token); !errors.Is(err, ErrToken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := v.Ready(context.Background()); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestKeySetSkipsKeysThatDoNotVerifyTokens(t *testing.T) {
	public, private := newEd()
	other, _ := newEd()
	server := newIssuer(t,
		`{"kty":"oct","kid":"secret","k":"`+base64.RawURLEncoding.EncodeToString(secret)+`"}`,
		`{"kty":"RSA","kid":"broken","n":"!","e":"AQAB"}`,
		`{"kty":7}`, `"text"`, `{"kty":"FUTURE","kid":"f"}`,
		jwk("enc", other, "use", "enc"),
		jwk("wrong alg", other, "alg", "RS256"),
		jwk("good", public))
	v := setupSet(t, server.URL, time.Minute)
	if err := accepts(v, ed(private, "kid", "good")); err != nil {
		t.Fatal(err)
	}
	v.keys.set.mu.Lock()
	defer v.keys.set.mu.Unlock()
	if n := len(v.keys.set.keys); n != 1 {
		t.Errorf("%d keys are kept", n)
	}
}

func TestKeySetRotation(t *testing.T) {
	oldPublic, oldPrivate := newEd()
	newPublic, newPrivate := newEd()
	server := newIssuer(t, jwk("old", oldPublic))
	v := setupSet(t, server.URL, 0)
	if err := accepts(v, ed(oldPrivate, "kid", "old")); err != nil {
		t.Fatal(err)
	}
	server.set(jwk("new", newPublic))
	if err := accepts(v, ed(newPrivate, "kid", "new")); err != nil {
		t.Fatalf("the new key isn't fetched: %v", err)
	}
	if err := accepts(v, ed(oldPrivate, "kid", "old")); !errors.Is(err, ErrToken) {
		t.Fatalf("the key that was taken out still verifies: %v", err)
	}
}

func TestKeySetIsFetchedAgainInIntervals(t *testing.T) {
	public, private := newEd()
	server := newIssuer(t, jwk("a", public))
	set := &keySet{url: server.URL, client: server.Client(), log: slog.New(slog.DiscardHandler), interval: 5 * time.Millisecond, coolDown: time.Hour}
	set.start()
	v := setup(t, Config{Secret: secret})
	v.keys = keyring{set: set}
	if err := accepts(v, ed(private, "kid", "a")); err != nil {
		t.Fatal(err)
	}
	server.set()
	for deadline := time.Now().Add(5 * time.Second); accepts(v, ed(private, "kid", "a")) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a key that was taken out still verifies")
		}
	}
}

func TestKeySetKeepsItsKeysWhileTheServerIsDown(t *testing.T) {
	public, private := newEd()
	for name, down := range map[string]http.HandlerFunc{
		"500":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"garbage":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no keys":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"without end": func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, jwksMaxBytes+1)) },
		"broken off":  func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"another host": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newIssuer(t, jwk("a", public))
			v := setupSet(t, server.URL, 0)
			if err := accepts(v, ed(private, "kid", "a")); err != nil {
				t.Fatal(err)
			}
			server.handle(down)
			if err := accepts(v, ed(private, "kid", "unknown")); !errors.Is(err, ErrToken) {
				t.Fatal(err)
			}
			if err := accepts(v, ed(private, "kid", "a")); err != nil {
				t.Fatalf("the last good key is gone: %v", err)
			}
		})
	}
}

func TestKeySetThatHangsHoldsUpNobodyForLong(t *testing.T) {
	public, private := newEd()
	server := newIssuer(t)
	release := make(chan struct{})
	server.handle(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	start := time.Now()
	v := setup(t, Config{JWKSURL: server.URL})
	if time.Since(start) > 10*time.Second {
		t.Fatal("the start waits for the JWK set")
	}
	if v.Ready(context.Background()) == nil {
		t.Error("ready without a key")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := v.User(ctx, ed(private, "kid", "a")); !errors.Is(err, ErrToken) || time.Since(start) > 10*time.Second {
		t.Fatalf("after %s: %v", time.Since(start), err)
	}
	server.set(jwk("a", public))
	close(release) // the hanging answer ends empty: not a JWK set
}

func TestUnknownKeyIDsDoNotFloodTheServer(t *testing.T) {
	public, private := newEd()
	server := newIssuer(t, jwk("a", public))
	v := setupSet(t, server.URL, time.Minute)
	if err := accepts(v, ed(private, "kid", "a")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := range 50 {
				if err := accepts(v, ed(private, "kid", fmt.Sprint(g, n))); !errors.Is(err, ErrToken) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := server.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestCloseEndsAFetchUnderWay(t *testing.T) {
	server := newIssuer(t)
	server.handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	v := must(NewVerifier(Config{JWKSURL: server.URL, ServiceAudience: "s"}))
	done := make(chan struct{})
	go func() { v.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("Close hangs")
	}
}
