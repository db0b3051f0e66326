package config

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const longSecret = "0123456789abcdef0123456789abcdef"

func env(pairs ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return all[name] }
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

func TestDefaults(t *testing.T) {
	c, err := Load(env(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		DatabaseURL: "sqlite:data/duebell.db", RedisURL: "redis://127.0.0.1:6379/0",
		UserClaim: "sub", ServiceAudience: "duebell-internal",
		SchedulerAddr: "127.0.0.1:8090", WorkerAddr: "127.0.0.1:8091", PusherAddr: ":8080", PusherOpsAddr: "127.0.0.1:8092",
		TrustedProxiesHeader: "X-Forwarded-For",
		PusherIOUring:        true, LogLevel: slog.LevelInfo,
		ShutdownTimeout: 25 * time.Second, DrainWindow: 10 * time.Second, PingInterval: 25 * time.Second, PongTimeout: 8 * time.Second,
		HandshakeTimeout: 5 * time.Second, SweepInterval: 5 * time.Second,
		DatabaseConnections: 10, MaxHandshakes: 1024, MaxMessageBytes: 65536, MaxMessagesPerSecond: 50, MaxSessionsPerUser: 20, CatchUpLimit: 1000,
		MaxRequestsPerSecond: 100, MaxConnectsPerSecond: 100, MaxIngestRequestsPerSecond: 2000,
		MaxBodyBytes: 1 << 20, MaxImportBytes: 1 << 30, WorkerConcurrency: 10,
	}
	if !reflect.DeepEqual(c, want) {
		type plain Config // without String
		t.Errorf("got  %+v\nwant %+v", plain(c), plain(want))
	}
	c, err = Load(env(), Options{RedisURL: "embedded"})
	if err != nil || c.RedisURL != "embedded" {
		t.Errorf("got %q, %v", c.RedisURL, err)
	}
	c, err = Load(env("REDIS_URL", "redis://h:6379/1"), Options{RedisURL: "embedded"})
	if err != nil || c.RedisURL != "redis://h:6379/1" {
		t.Errorf("got %q, %v", c.RedisURL, err)
	}
}

func TestValuesAreRead(t *testing.T) {
	key := publicKey(t)
	c, err := Load(env(
		"DATABASE_URL", "postgres://u:p@h/duebell?sslmode=require", "AUTH_JWT_SECRET", longSecret, "AUTH_JWT_PUBLIC_KEY_FILE", key,
		"ALLOWED_ORIGINS", "https://App.Lender.example, http://localhost:5173,https://b.example:443,",
		"LOG_LEVEL", "WARN", "LOG_FORMAT", "json",
		"SMTP_URL", "smtp://u:p%40@h:587", "EMAIL_FROM", "Lender <loans@lender.example>",
		"TRUSTED_PROXIES", "10.1.2.3/8, 192.0.2.7,2001:db8::1/32,::ffff:172.16.0.0/108", "MAX_CONNECTIONS_PER_ADDRESS", "300",
		"ASYNQMON_WRITE", "true", "SHUTDOWN_TIMEOUT", "1m30s", "MAX_SESSIONS_PER_USER", "7", "PUSHER_ADDR", "[::]:0",
	), Options{NeedsAuth: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.AllowedOrigins, []string{"https://app.lender.example", "http://localhost:5173", "https://b.example"}) {
		t.Errorf("origins %q", c.AllowedOrigins)
	}
	if got := fmt.Sprint(c.TrustedProxies); got != "[10.0.0.0/8 192.0.2.7/32 2001:db8::/32 172.16.0.0/12]" || c.MaxConnectionsPerAddress != 300 {
		t.Errorf("proxies %s, %d connections an address", got, c.MaxConnectionsPerAddress)
	}
	if c.LogLevel != slog.LevelWarn || c.LogFormat != "json" || !c.AsynqmonWrite || c.ShutdownTimeout != 90*time.Second || c.MaxSessionsPerUser != 7 {
		t.Errorf("got %s", c.LogLevel)
	}
	a := c.Auth()
	if string(a.Secret) != longSecret || len(a.PublicKeyPEM) == 0 || a.UserClaim != "sub" || a.ServiceAudience != "duebell-internal" {
		t.Error("the keys don't reach the verifier")
	}
}

func TestEveryProblemIsToldAtOnce(t *testing.T) {
	_, err := Load(env(
		"DATABASE_URL", "mysql://u:hunter2@h/d", "REDIS_URL", "redis://", "AUTH_JWT_SECRET", "short-hunter2",
		"PUSHER_TLS_CERT", "/does/not/exist", "LOG_LEVEL", "loud", "PING_INTERVAL", "25", "MAX_HANDSHAKES", "0", "EMAIL_FROM", "x@y.example",
	), Options{NeedsAuth: true})
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	names := []string{}
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		names = append(names, name)
	}
	want := []string{"DATABASE_URL", "REDIS_URL", "AUTH_JWT_SECRET", "PUSHER_TLS_CERT", "LOG_LEVEL", "PING_INTERVAL", "MAX_HANDSHAKES", "SMTP_URL", "PUSHER_TLS_KEY"}
	if !slices.Equal(names, want) || lines[0] != fmt.Sprintf("the configuration has %d problems:", len(want)) {
		t.Errorf("got  %v\nwant %v\n%v", names, want, err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret is shown:\n%v", err)
	}
}

func TestProblems(t *testing.T) {
	notThere := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct{ name, value, want string }{
		{"DATABASE_URL", "sqlite:", "sqlite:PATH"},
		{"DATABASE_URL", "sqlite://x", "sqlite:PATH"},
		{"DATABASE_URL", "duebell.db", "sqlite:PATH"},
		{"DATABASE_URL", "postgres://u:p@h", "names no database"},
		{"DATABASE_URL", "postgres://u:p%zz@h/d", "percent-encoding"},
		{"REDIS_URL", "redis+sentinel://h1,h2/0", "?master=NAME"},
		{"REDIS_URL", "embeded", "not a URL"},
		{"AUTH_JWT_SECRET", longSecret[1:], "31 bytes are too few"},
		{"AUTH_JWT_SECRET_PREVIOUS", longSecret, "set AUTH_JWT_SECRET too"},
		{"AUTH_JWT_PUBLIC_KEY_FILE", notThere, "no such file"},
		{"AUTH_JWT_PUBLIC_KEY_FILE", write(t, "hello"), "isn't PEM"},
		{"AUTH_JWKS_URL", "lender.example/keys", "https://"},
		{"AUTH_AUDIENCE", "duebell-internal", "must differ"},
		{"ALLOWED_ORIGINS", "https://a.example/", "without a path"},
		{"ALLOWED_ORIGINS", "a.example", "isn't an origin"},
		{"ALLOWED_ORIGINS", "*", "isn't an origin"},
		{"ALLOWED_ORIGINS", "https://*.example", "no wildcards"},
		{"ALLOWED_ORIGINS", "null", "isn't an origin"},
		{"POLICY_FILE", notThere, "no such file"},
		{"POLICY_FILE", t.TempDir(), "directory"},
		{"SMTP_URL", "h:587", "smtp://"},
		{"EMAIL_FROM", "loans", "isn't an address"},
		{"ASYNQMON_WRITE", "perhaps", "neither true nor false"},
		{"SCHEDULER_ADDR", "8090", "HOST:PORT"},
		{"SCHEDULER_ADDR", ":http-alt-x", "port is a number"},
		{"PUSHER_ADDR", ":70000", "port is a number"},
		{"PUSHER_ADDR", "http://h:80", "isn't an address"},
		{"LOG_FORMAT", "xml", "text, json"},
		{"SHUTDOWN_TIMEOUT", "0s", "out of range"},
		{"SHUTDOWN_TIMEOUT", "-5s", "out of range"},
		{"DRAIN_WINDOW", "25s", "shorter than SHUTDOWN_TIMEOUT"},
		{"PONG_TIMEOUT", "25s", "shorter than PING_INTERVAL"},
		{"PING_INTERVAL", "25", "with a unit"},
		{"MAX_MESSAGE_BYTES", "64k", "whole number from 1024"},
		{"MAX_SESSIONS_PER_USER", "-1", "whole number from 1"},
		{"CATCH_UP_LIMIT", "99999999999", "whole number"},
		{"MAX_IMPORT_BYTES", "2048", "at least MAX_BODY_BYTES"},
		{"MAX_CONNECTIONS_PER_ADDRESS", "0", "whole number from 1"},
		{"DATABASE_CONNECTIONS", "1", "whole number from 2"},
		{"TRUSTED_PROXIES", "10.0.0.0/8, proxy.lender.example", "isn't a network"},
		{"TRUSTED_PROXIES", "10.0.0.0/33", "isn't a network"},
		{"TRUSTED_PROXIES", "::ffff:10.0.0.0/64", "isn't a network"},
		{"TRUSTED_PROXIES", "fe80::1%eth0", "isn't a network"},
	} {
		_, err := Load(env(c.name, c.value), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s=%s: got %v, want %q", c.name, c.value, err, c.want)
		}
	}
}

func TestAuthIsNeededWhereTokensAreVerified(t *testing.T) {
	if _, err := Load(env(), Options{NeedsAuth: true}); err == nil || !strings.Contains(err.Error(), "AUTH_JWKS_URL") {
		t.Errorf("got %v", err)
	}
	for _, getenv := range []func(string) string{
		env("AUTH_JWT_SECRET", longSecret), env("AUTH_JWT_PUBLIC_KEY_FILE", publicKey(t)), env("AUTH_JWKS_URL", "https://lender.example/keys"),
	} {
		if _, err := Load(getenv, Options{NeedsAuth: true}); err != nil {
			t.Error(err)
		}
	}
}

func TestValuesFromFiles(t *testing.T) {
	c, err := Load(env("AUTH_JWT_SECRET_FILE", write(t, longSecret+"\r\n"), "LOG_LEVEL_FILE", write(t, "debug\n")), Options{NeedsAuth: true})
	if err != nil || c.JWTSecret != longSecret || c.LogLevel != slog.LevelDebug {
		t.Errorf("got %q %s %v", c.JWTSecret, c.LogLevel, err)
	}
	c, err = Load(env("AUTH_JWT_SECRET_FILE", write(t, " "+longSecret+" \n\n")), Options{})
	if err != nil || c.JWTSecret != " "+longSecret+" \n" {
		t.Errorf("more than one line break is cut: %q %v", c.JWTSecret, err)
	}
	for want, getenv := range map[string]func(string) string{
		"not both":     env("AUTH_JWT_SECRET", longSecret, "AUTH_JWT_SECRET_FILE", write(t, longSecret)),
		"no such file": env("DATABASE_URL_FILE", "/does/not/exist"),
		"is empty":     env("AUTH_JWT_SECRET_FILE", write(t, "\n")),
		"too few":      env("AUTH_JWT_SECRET_FILE", write(t, "short")),
		"longer than":  env("AUTH_JWT_SECRET_FILE", write(t, strings.Repeat("x", maxFile+1))),
	} {
		if _, err := Load(getenv, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestConfigDoesNotShowItsSecrets(t *testing.T) {
	c, err := Load(env("AUTH_JWT_SECRET", longSecret), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "config", c)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, &c), logged.String()} {
		if strings.Contains(text, longSecret) {
			t.Error(text)
		}
	}
}

func TestEnvExampleListsEveryVariableWithItsDefault(t *testing.T) {
	f, err := os.Open("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	var want []string
	var c Config
	for _, v := range c.variables(Options{}) {
		want = append(want, v.name+"="+v.fallback)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
