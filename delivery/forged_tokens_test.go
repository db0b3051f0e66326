package delivery

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"duebell/internal/auth"
	"duebell/internal/testenv"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// signed is a token of a user with what else is given.
func signed(t testing.TB, method jwt.SigningMethod, key any, kid string, more jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "forged", "aud": "inbox", "iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range more {
		claims[name] = value
	}
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// doors are all ways to show a token to a pusher. Each says whether it was let in, and else what it was told.
func (r *rig) doors(t testing.TB, live *client, token string) map[string]string {
	t.Helper()
	const in = "in"
	get := func(path string) string {
		request, err := http.NewRequestWithContext(t.Context(), "GET", r.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return in
		}
		body, _ := io.ReadAll(response.Body)
		return fmt.Sprintf("%d %s", response.StatusCode, body)
	}
	socket := func(options *websocket.DialOptions) string {
		c, err := r.tryDial(t, "", options)
		if err != nil {
			return err.Error()
		}
		go c.read()
		defer c.conn.CloseNow()
		select {
		case <-c.ended:
			return fmt.Sprint(int(websocket.CloseStatus(c.err)))
		case <-time.After(waitTime):
			t.Fatal("neither hello nor the end")
		case <-c.hello():
		}
		return in
	}
	ref := fmt.Sprintf("token%d", requests.Add(1))
	live.send(fmt.Sprintf(`{"type":"auth","token":%q,"ref":%q}`, token, ref))
	renewed := live.wait("an answer to auth", func(m clientMessage) bool { return m.Ref == ref })
	told := map[string]string{
		"header":      socket(&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}}),
		"subprotocol": socket(&websocket.DialOptions{Subprotocols: []string{subprotocol, bearerPrefix + token}}),
		"API":         get("/v1/notifications"),
		"stream":      get("/v1/stream"),
		"auth":        renewed.Code,
	}
	if renewed.Type == "ok" {
		told["auth"] = in
	}
	return told
}

// hello is closed when hello has come.
func (c *client) hello() <-chan struct{} {
	came := make(chan struct{})
	go func() {
		for {
			select {
			case <-c.ended:
				return
			case <-time.After(time.Millisecond):
			}
			if len(c.received()) > 0 {
				close(came)
				return
			}
		}
	}()
	return came
}

func TestForgedTokensOpenNoDoor(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	verifier, err := auth.NewVerifier(auth.Config{PublicKeyPEM: public, Audience: "inbox", ServiceAudience: audience})
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.Verifier = verifier })
	good := signed(t, jwt.SigningMethodRS256, rsaKey(), "", nil)
	live := r.connectWith(t, good)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for name, token := range map[string]string{
		"alg none":                      signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", nil),
		"alg none, the rest as it was":  encode(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"alg nOnE without a signature":  encode(`{"alg":"nOnE"}`) + "." + parts[1] + ".",
		"HS256 by the public key's PEM": signed(t, jwt.SigningMethodHS256, public, "", nil),
		"HS256 by the public key's DER": signed(t, jwt.SigningMethodHS256, der, "", nil),
		"HS256 by no secret":            signed(t, jwt.SigningMethodHS256, []byte{}, "", nil),
		"another key":                   signed(t, jwt.SigningMethodRS256, other, "", nil),
		"another audience":              signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"aud": "outbox"}),
		"no audience":                   signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"aud": []string{}}),
		"another user's payload":        parts[0] + "." + encode(`{"sub":"admin","aud":"inbox","exp":9999999999}`) + "." + parts[2],
		"of the future":                 signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()}),
		"expired":                       signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}),
		"without an end":                signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"exp": nil}),
		"a user with a line break":      signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"sub": "forged\nadmin"}),
		"longer than tokens are":        signed(t, jwt.SigningMethodRS256, rsaKey(), "", jwt.MapClaims{"pad": strings.Repeat("x", 5000)}),
	} {
		for door, told := range r.doors(t, live, token) {
			want := map[string]string{"header": "401", "subprotocol": "4401", "API": "401", "stream": "401", "auth": codeUnauthorized}[door]
			if name == "longer than tokens are" && len(token) < auth.MaxTokenBytes {
				want = "in" // long, and fine
			}
			if !strings.Contains(told, want) {
				t.Errorf("%s, %s: %s", name, door, told)
			}
			if len(token) > 20 && strings.Contains(told, token[len(token)-20:]) {
				t.Errorf("%s, %s: the token is in the answer", name, door)
			}
		}
	}
	for door, told := range r.doors(t, live, good) {
		if told != "in" {
			t.Errorf("a good token, %s: %s", door, told)
		}
	}
}

func TestATokenOfAMegabyteIsNotRead(t *testing.T) {
	r := start(t, testenv.SQLite(t), "embedded", nil)
	huge := strings.Repeat("x", 1<<20)
	upgrade := "Host: pusher\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, request := range map[string]string{
		"header":      "GET /v1/ws HTTP/1.1\r\n" + upgrade + "Authorization: Bearer " + huge + "\r\n\r\n",
		"subprotocol": "GET /v1/ws HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Protocol: duebell.v1, bearer." + huge + "\r\n\r\n",
		"query":       "GET /v1/ws?token=" + huge + " HTTP/1.1\r\n" + upgrade + "\r\n",
		"API":         "GET /v1/notifications HTTP/1.1\r\nHost: pusher\r\nAuthorization: Bearer " + huge + "\r\n\r\n",
		"stream":      "GET /v1/stream HTTP/1.1\r\nHost: pusher\r\nAuthorization: Bearer " + huge + "\r\n\r\n",
	} {
		if status, body := r.raw(t, []byte(request)); status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d %.100s", name, status, body)
		}
	}
	c := r.connectWith(t, r.token(t, "u"))
	c.send(`{"type":"auth","token":"` + huge + `"}`)
	if code := c.waitClose(); code != 1009 {
		t.Errorf("auth: closed with %d", code)
	}
	// As long as a message may be, it is a token like any other that is none.
	c = r.connectWith(t, r.token(t, "u"))
	c.send(`{"type":"auth","ref":"long","token":"` + huge[:60<<10] + `"}`)
	if m := c.wait("an error", func(m clientMessage) bool { return m.Ref == "long" }); m.Code != codeUnauthorized {
		t.Errorf("%+v", m)
	}
}

// keyServer is a JWK set that can be changed and switched off.
type keyServer struct {
	*httptest.Server
	mu    sync.Mutex
	body  []byte
	down  atomic.Bool
	paths sync.Map
}

func newKeyServer(t *testing.T) *keyServer {
	k := new(keyServer)
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.paths.Store(r.URL.String(), true)
		if k.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		_, _ = w.Write(k.body)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) publish(t *testing.T, keys map[string]*rsa.PrivateKey) {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	for id, key := range keys {
		set.Keys = append(set.Keys, map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
			"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())})
	}
	body, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.body = body
}

// Keys that can't be fetched, that change, and that tokens name in strange ways: who is connected stays so.
func TestKeySetsDownAndRotatingAreNoTroubleForLiveConnections(t *testing.T) {
	keys := newKeyServer(t)
	keys.publish(t, map[string]*rsa.PrivateKey{"one": rsaKey()})
	verifier, err := auth.NewVerifier(auth.Config{JWKSURL: keys.URL + "/keys", ServiceAudience: audience})
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) { o.Verifier = verifier })
	one := signed(t, jwt.SigningMethodRS256, rsaKey(), "one", nil)
	live := r.connectWith(t, one)

	keys.down.Store(true)
	for door, told := range r.doors(t, live, one) {
		if told != "in" {
			t.Errorf("a known key while the key set is down, %s: %s", door, told)
		}
	}
	for _, kid := range []string{"unknown", "../../etc/passwd", "/etc/passwd", "one/../two", "http://127.0.0.1:1/", "one' OR '1'='1", "one\x00", "%2e%2e%2f", strings.Repeat("k", 3000)} {
		for door, told := range r.doors(t, live, signed(t, jwt.SigningMethodRS256, rsaKey(), kid, nil)) {
			if !strings.Contains(told, "401") && told != codeUnauthorized {
				t.Errorf("kid %.30q, %s: %s", kid, door, told)
			}
		}
	}
	mustTell(t, r.db, 1, "forged")
	live.wait("what happens meanwhile", func(m clientMessage) bool { return m.Type == "changes" && m.Rev == 1 })

	// The key is replaced: the new one is fetched when a token names it.
	rotated, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys.publish(t, map[string]*rsa.PrivateKey{"two": rotated})
	keys.down.Store(false)
	two := signed(t, jwt.SigningMethodRS256, rotated, "two", nil)
	eventually(t, "a token of the new key is accepted", func() bool {
		_, err := verifier.User(t.Context(), two)
		return err == nil
	})
	for door, told := range r.doors(t, live, two) {
		if told != "in" {
			t.Errorf("a new key, %s: %s", door, told)
		}
	}
	keys.paths.Range(func(path, _ any) bool {
		if path != "/keys" {
			t.Errorf("the key server was asked for %s", path)
		}
		return true
	})
}
