package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var (
	secret   = []byte("0123456789abcdef0123456789abcdef")
	previous = []byte("fedcba9876543210fedcba9876543210")
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func publicPEM(key crypto.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))})
}

func setup(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	if cfg.ServiceAudience == "" {
		cfg.ServiceAudience = "duebell-internal"
	}
	v, err := NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func signed(method jwt.SigningMethod, key any, all jwt.MapClaims, headers ...string) string {
	token := jwt.NewWithClaims(method, all)
	for i := 0; i < len(headers); i += 2 {
		token.Header[headers[i]] = headers[i+1]
	}
	return must(token.SignedString(key))
}

func user(id any, change ...any) jwt.MapClaims {
	all := jwt.MapClaims{"sub": id, "exp": time.Now().Add(time.Hour).Unix()}
	for i := 0; i < len(change); i += 2 {
		all[change[i].(string)] = change[i+1]
	}
	return all
}

func raw(header, payload string) string {
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
	return text + "." + enc.EncodeToString(must(jwt.SigningMethodHS256.Sign(text, secret)))
}

func TestUserTokens(t *testing.T) {
	hs := func(all jwt.MapClaims) string { return signed(jwt.SigningMethodHS256, secret, all) }
	now := time.Now()
	future := now.Add(time.Hour).Unix()
	good := hs(user("u1"))
	parts := strings.Split(good, ".")
	plain := Config{Secret: secret, PreviousSecret: previous}

	cases := []struct {
		name  string
		cfg   Config
		token string
		want  error // nil: accepted
		text  string
	}{
		{"good", plain, good, nil, ""},
		{"previous secret", plain, signed(jwt.SigningMethodHS256, previous, user("u1")), nil, ""},
		{"previous secret retired", Config{Secret: secret}, signed(jwt.SigningMethodHS256, previous, user("u1")), ErrToken, "signature"},
		{"another secret", plain, signed(jwt.SigningMethodHS256, []byte("another secret of 32 bytes......"), user("u1")), ErrToken, "signature"},

		{"empty", plain, "", ErrToken, "none"},
		{"garbage", plain, "garbage", ErrToken, "isn't a JWT"},
		{"two parts", plain, parts[0] + "." + parts[1], ErrToken, "isn't a JWT"},
		{"four parts", plain, good + ".x", ErrToken, "isn't a JWT"},
		{"no signature", plain, parts[0] + "." + parts[1] + ".", ErrToken, "signature"},
		{"signature of another token", plain, parts[0] + "." + parts[1] + "." + strings.Split(hs(user("u2")), ".")[2], ErrToken, "signature"},
		{"padded base64", plain, good + "=", ErrToken, "isn't a JWT"},
		{"line break inside", plain, parts[0] + "." + parts[1] + ".\n" + parts[2], ErrToken, ""},
		{"too long", plain, good + strings.Repeat("A", MaxTokenBytes), ErrToken, "longer than 8192"},
		{"payload isn't an object", plain, raw(`{"alg":"HS256"}`, `["u1"]`), ErrToken, "isn't a JWT"},
		{"payload is null", plain, raw(`{"alg":"HS256"}`, `null`), ErrToken, "exp"},

		{"alg none", plain, signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, user("u1")), ErrToken, ""},
		{"alg None", plain, raw(`{"alg":"None"}`, `{"sub":"u1","exp":9999999999}`), ErrToken, "algorithm"},
		{"alg missing", plain, raw(`{"typ":"JWT"}`, `{"sub":"u1","exp":9999999999}`), ErrToken, "algorithm"},
		{"alg is a number", plain, raw(`{"alg":256}`, `{"sub":"u1","exp":9999999999}`), ErrToken, "algorithm"},
		{"HS384", plain, signed(jwt.SigningMethodHS384, secret, user("u1")), ErrToken, ""},
		{"HS512", plain, signed(jwt.SigningMethodHS512, secret, user("u1")), ErrToken, ""},
		{"RS256 where only a secret is", plain, signed(jwt.SigningMethodRS256, rsaKey(), user("u1")), ErrToken, "no key here"},
		{"HS256 where only a public key is", Config{PublicKeyPEM: publicPEM(&rsaKey().PublicKey)}, good, ErrToken, "HS256 isn't accepted"},
		{"public key PEM taken for a secret", Config{PublicKeyPEM: publicPEM(&rsaKey().PublicKey)},
			signed(jwt.SigningMethodHS256, publicPEM(&rsaKey().PublicKey), user("u1")), ErrToken, "HS256 isn't accepted"},
		{"public key PEM taken for a secret beside a secret", Config{Secret: secret, PublicKeyPEM: publicPEM(&rsaKey().PublicKey)},
			signed(jwt.SigningMethodHS256, publicPEM(&rsaKey().PublicKey), user("u1")), ErrToken, "signature"},
		{"RS256", Config{PublicKeyPEM: publicPEM(&rsaKey().PublicKey)}, signed(jwt.SigningMethodRS256, rsaKey(), user("u1")), nil, ""},
		{"PS256 with the RSA key", Config{PublicKeyPEM: publicPEM(&rsaKey().PublicKey)}, signed(jwt.SigningMethodPS256, rsaKey(), user("u1")), ErrToken, ""},
		{"RS512 with the RSA key", Config{PublicKeyPEM: publicPEM(&rsaKey().PublicKey)}, signed(jwt.SigningMethodRS512, rsaKey(), user("u1")), ErrToken, ""},
		{"ES256", Config{PublicKeyPEM: publicPEM(&p256Key().PublicKey)}, signed(jwt.SigningMethodES256, p256Key(), user("u1")), nil, ""},
		{"ES256 where RSA is", Config{PublicKeyPEM: publicPEM(&rsaKey().PublicKey)}, signed(jwt.SigningMethodES256, p256Key(), user("u1")), ErrToken, "no key here"},
		{"EdDSA", Config{PublicKeyPEM: publicPEM(edKey().Public())}, signed(jwt.SigningMethodEdDSA, edKey(), user("u1")), nil, ""},
		{"secret and public key side by side", Config{Secret: secret, PublicKeyPEM: publicPEM(edKey().Public())}, good, nil, ""},
		{"critical header", plain, raw(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{"sub":"u1","exp":9999999999}`), ErrToken, "critical"},
		{"jwk header is not trusted", plain, signed(jwt.SigningMethodRS256, rsaKey(), user("u1"), "jwk", "{}", "jku", "http://127.0.0.1:1/"), ErrToken, "no key here"},

		{"no exp", plain, hs(jwt.MapClaims{"sub": "u1"}), ErrToken, "no exp"},
		{"exp is null", plain, hs(user("u1", "exp", nil)), ErrToken, "exp isn't a date"},
		{"exp is text", plain, hs(user("u1", "exp", "9999999999")), ErrToken, "exp isn't a date"},
		{"exp is 0", plain, hs(user("u1", "exp", 0)), ErrToken, "expired"},
		{"exp is negative", plain, hs(user("u1", "exp", -1)), ErrToken, "exp isn't a date"},
		{"exp is beyond all dates", plain, hs(user("u1", "exp", 1e300)), ErrToken, "exp isn't a date"},
		{"expired a second ago: no leeway", plain, hs(user("u1", "exp", now.Unix()-1)), ErrToken, "expired"},
		{"iat within the leeway", plain, hs(user("u1", "iat", now.Unix()+3)), nil, ""},
		{"iat in the future", plain, hs(user("u1", "iat", now.Unix()+60)), ErrToken, "future"},
		{"nbf within the leeway", plain, hs(user("u1", "nbf", now.Unix()+3)), nil, ""},
		{"nbf in the future", plain, hs(user("u1", "nbf", now.Unix()+60)), ErrToken, "valid yet"},
		{"nbf is text", plain, hs(user("u1", "nbf", "soon")), ErrToken, "nbf isn't a date"},

		{"issuer", Config{Secret: secret, Issuer: "https://lender"}, hs(user("u1", "iss", "https://lender")), nil, ""},
		{"no issuer", Config{Secret: secret, Issuer: "https://lender"}, good, ErrToken, "issuer"},
		{"another issuer", Config{Secret: secret, Issuer: "https://lender"}, hs(user("u1", "iss", "https://lender.evil")), ErrToken, "issuer"},
		{"issuer is an array", Config{Secret: secret, Issuer: "https://lender"}, hs(user("u1", "iss", []string{"https://lender"})), ErrToken, "iss"},
		{"audience", Config{Secret: secret, Audience: "app"}, hs(user("u1", "aud", "app")), nil, ""},
		{"audience among others", Config{Secret: secret, Audience: "app"}, hs(user("u1", "aud", []string{"x", "app"})), nil, ""},
		{"no audience", Config{Secret: secret, Audience: "app"}, good, ErrToken, "audience"},
		{"another audience", Config{Secret: secret, Audience: "app"}, hs(user("u1", "aud", "apple")), ErrToken, "audience"},
		{"audience of numbers", Config{Secret: secret, Audience: "app"}, hs(user("u1", "aud", []int{1})), ErrToken, "aud"},
		{"service token", plain, hs(user("u1", "aud", "duebell-internal")), ErrForbidden, "service token"},
		{"service audience among others", Config{Secret: secret, Audience: "app"}, hs(user("u1", "aud", []string{"app", "duebell-internal"})), ErrForbidden, "service token"},

		{"own user claim", Config{Secret: secret, UserClaim: "borrower"}, hs(user("x", "borrower", "u1")), nil, ""},
		{"own user claim missing", Config{Secret: secret, UserClaim: "borrower"}, good, ErrToken, "borrower"},
		{"no user", plain, hs(jwt.MapClaims{"exp": future}), ErrToken, "sub"},
		{"user is a number", plain, hs(user(7)), ErrToken, "sub"},
		{"empty user", plain, hs(user("")), ErrToken, "empty"},
		{"longest user", plain, hs(user(strings.Repeat("é", 128))), nil, ""},
		{"user too long", plain, hs(user(strings.Repeat("u", 129))), ErrToken, "longer than 128"},
		{"user with a line break", plain, hs(user("u1\nu2")), ErrToken, "control"},
		{"user with NUL", plain, hs(user("u1\x00")), ErrToken, "control"},
		{"user with C1 control", plain, hs(user("u1\u0085")), ErrToken, "control"},
		{"user that isn't UTF-8", plain, raw(`{"alg":"HS256"}`, "{\"sub\":\"u\xff1\",\"exp\":9999999999}"), ErrToken, "UTF-8"},
		{"user with half a surrogate", plain, raw(`{"alg":"HS256"}`, `{"sub":"u\ud800","exp":9999999999}`), ErrToken, "UTF-8"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := setup(t, c.cfg).User(context.Background(), c.token)
			if c.want == nil {
				if err != nil || got.UserID == "" || got.ExpiresAt.IsZero() {
					t.Fatalf("got %+v, %v", got, err)
				}
				return
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %v with %q", err, c.want, c.text)
			}
			if got != (UserToken{}) {
				t.Errorf("a refused token gives %+v", got)
			}
			for part := range strings.SplitSeq(c.token, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part) {
					t.Errorf("the error shows the token: %v", err)
				}
			}
		})
	}
}

func TestUserIDsAreCaseSensitive(t *testing.T) {
	v := setup(t, Config{Secret: secret})
	for _, id := range []string{"Ana", "ana", "ANA", " ana"} {
		got, err := v.User(context.Background(), signed(jwt.SigningMethodHS256, secret, user(id)))
		if err != nil || got.UserID != id {
			t.Errorf("%q: got %q, %v", id, got.UserID, err)
		}
	}
}

func TestTokenExpiresToTheInstant(t *testing.T) {
	v := setup(t, Config{Secret: secret})
	start := time.Now().Truncate(time.Second)
	token := must(MintUser(secret, "", "", "", "u1", time.Minute, start))
	for offset, want := range map[time.Duration]error{
		time.Minute - time.Millisecond: nil,
		time.Minute:                    ErrToken,
	} {
		v.now = func() time.Time { return start.Add(offset) }
		got, err := v.User(context.Background(), token)
		if !errors.Is(err, want) {
			t.Errorf("after %s: %v", offset, err)
		}
		if err == nil && (!got.IssuedAt.Equal(start) || !got.ExpiresAt.Equal(start.Add(time.Minute))) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestServiceTokens(t *testing.T) {
	service := func(scope any, change ...any) string {
		return signed(jwt.SigningMethodHS256, secret, user("core", append([]any{"aud", "duebell-internal", "scope", scope}, change...)...))
	}
	cases := []struct {
		name, issuer, token string
		want                error
	}{
		{"good", "", service("duebell:ingest"), nil},
		{"among other scopes", "", service("a  duebell:ingest b"), nil},
		{"scopes as an array", "", service([]string{"a", "duebell:ingest"}), nil},
		{"minted", "https://lender", must(MintService(secret, "https://lender", "duebell-internal", "duebell:ingest", time.Hour, time.Now())), nil},
		{"no issuer", "https://lender", service("duebell:ingest"), nil},
		{"another issuer", "https://lender", service("duebell:ingest", "iss", "https://evil"), ErrToken},
		{"another scope", "", service("duebell:admin"), ErrForbidden},
		{"scope that begins alike", "", service("duebell:ingester"), ErrForbidden},
		{"no scope", "", service(nil), ErrForbidden},
		{"scope in another case", "", service("Duebell:Ingest"), ErrForbidden},
		{"user token", "", must(MintUser(secret, "", "", "", "u1", time.Hour, time.Now())), ErrForbidden},
		{"user token that claims the scope", "", signed(jwt.SigningMethodHS256, secret, user("u1", "scope", "duebell:ingest")), ErrForbidden},
		{"expired", "", service("duebell:ingest", "exp", time.Now().Unix()-1), ErrToken},
		{"empty", "", "", ErrToken},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := setup(t, Config{Secret: secret, Issuer: c.issuer}).Service(context.Background(), c.token, "duebell:ingest")
			if !errors.Is(err, c.want) || (err == nil && got.Subject == "") {
				t.Fatalf("got %+v, %v", got, err)
			}
		})
	}
	if _, err := setup(t, Config{Secret: secret}).Service(context.Background(), service(""), ""); !errors.Is(err, ErrForbidden) {
		t.Errorf("no scope asked for: got %v", err)
	}
}

func TestMintRefusesWhatNobodyAccepts(t *testing.T) {
	now := time.Now()
	for name, err := range map[string]error{
		"short secret":    second(MintUser([]byte("short"), "", "", "", "u1", time.Hour, now)),
		"bad user":        second(MintUser(secret, "", "", "", "", time.Hour, now)),
		"no time to live": second(MintService(secret, "", "a", "s", 0, now)),
	} {
		if err == nil {
			t.Error(name)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestNewVerifierRefusesBadKeys(t *testing.T) {
	short := must(rsa.GenerateKey(rand.Reader, 1024))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(edKey()))})
	for name, cfg := range map[string]Config{
		"no key":                {},
		"short secret":          {Secret: []byte("31 bytes are one byte too few..")},
		"short previous secret": {Secret: secret, PreviousSecret: []byte("short")},
		"not PEM":               {PublicKeyPEM: []byte("hello")},
		"private key":           {PublicKeyPEM: private},
		"broken key":            {PublicKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})},
		"RSA of 1024 bits":      {PublicKeyPEM: publicPEM(&short.PublicKey)},
		"P-384":                 {PublicKeyPEM: publicPEM(&p384.PublicKey)},
		"JWKS without scheme":   {JWKSURL: "lender/keys"},
	} {
		cfg.ServiceAudience = "duebell-internal"
		if v, err := NewVerifier(cfg); err == nil {
			v.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzUser(f *testing.F) {
	v := setup(f, Config{Secret: secret, PublicKeyPEM: publicPEM(edKey().Public())})
	f.Add(signed(jwt.SigningMethodHS256, secret, user("u1")))
	f.Add(signed(jwt.SigningMethodEdDSA, edKey(), user("u1")))
	f.Add(raw(`{"alg":"HS256"}`, `{"sub":"u\ud800","exp":1e18,"aud":[null]}`))
	f.Add(raw(`{"alg":"none"}`, `{}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.User(context.Background(), token)
		if err == nil && CheckUserID(got.UserID) != nil {
			t.Fatalf("accepted user %q", got.UserID)
		}
		if err != nil && !errors.Is(err, ErrToken) && !errors.Is(err, ErrForbidden) {
			t.Fatal(err)
		}
	})
}

// FuzzClaims signs what it is given, so that the claims are reached.
func FuzzClaims(f *testing.F) {
	v := setup(f, Config{Secret: secret})
	f.Add(`{"alg":"HS256"}`, `{"sub":"u1","exp":9999999999}`)
	f.Add(`{"alg":"HS256","kid":7}`, `{"sub":"u1","exp":9999999999.5,"aud":["a","duebell-internal"],"scope":["x",1]}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := raw(header, payload)
		got, err := v.User(context.Background(), token)
		if err == nil && (CheckUserID(got.UserID) != nil || !got.ExpiresAt.After(time.Now())) {
			t.Fatalf("accepted %+v", got)
		}
		if _, err := v.Service(context.Background(), token, "s"); err == nil && got.UserID != "" {
			t.Fatal("one token opens an inbox and an internal API")
		}
	})
}

func BenchmarkUser(b *testing.B) {
	for name, token := range map[string]string{
		"HS256": signed(jwt.SigningMethodHS256, secret, user("u1")),
		"EdDSA": signed(jwt.SigningMethodEdDSA, edKey(), user("u1")),
	} {
		b.Run(name, func(b *testing.B) {
			v := setup(b, Config{Secret: secret, PublicKeyPEM: publicPEM(edKey().Public())})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.User(context.Background(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
