package socket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// app is a Handler of functions; what is nil does nothing, but messages are echoed.
type app struct {
	accept   func(context.Context, *Handshake) Verdict
	open     func(*Conn)
	message  func(*Conn, []byte)
	writable func(*Conn)
	close    func(*Conn, int, string)
}

func (a *app) Accept(ctx context.Context, h *Handshake) Verdict {
	if a.accept == nil {
		return Verdict{}
	}
	return a.accept(ctx, h)
}

func (a *app) Open(c *Conn) {
	if a.open != nil {
		a.open(c)
	}
}

func (a *app) Message(c *Conn, text []byte) {
	if a.message == nil {
		c.Write(AppendText(nil, text))
		return
	}
	a.message(c, text)
}

func (a *app) Writable(c *Conn) {
	if a.writable != nil {
		a.writable(c)
	}
}

func (a *app) Close(c *Conn, code int, reason string) {
	if a.close != nil {
		a.close(c, code, reason)
	}
}

// path is one of the ways in which the server handles connections.
type path struct {
	name  string
	loops int
	tls   bool
}

var paths = []path{{name: "epoll", loops: 2}, {name: "goroutines", loops: -1}, {name: "tls", tls: true}}

// TestMain runs more tests at once than there are processors: most of the time they wait for deadlines.
func TestMain(m *testing.M) {
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		if err := n.Value.Set("8"); err != nil {
			panic(err)
		}
	}
	m.Run()
}

func onEachPath(t *testing.T, test func(t *testing.T, p path)) {
	t.Parallel()
	for _, p := range paths {
		if p.name == "epoll" && !haveEpoll {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

type server struct {
	*Server
	path path
	addr string
	log  *lines
}

// start runs a server until the end of the test, when it must shut down cleanly.
func start(t testing.TB, p path, cfg Config, h Handler, rest http.Handler) *server {
	t.Helper()
	log := new(lines)
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	if cfg.Loops == 0 {
		cfg.Loops = p.loops
	}
	if p.tls {
		cfg.TLS = serverTLS()
	}
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = 5 * time.Second // clients here answer when they get processor time
	}
	s := &server{Server: NewServer(cfg, h, rest), path: p, log: log}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := s.Conns(); n != 0 {
			t.Errorf("%d connections after the shutdown", n)
		}
		if n := s.limits.held.Load(); n != 0 {
			t.Errorf("%d bytes of unfinished messages after the shutdown", n)
		}
		if text := log.String(); strings.Contains(text, "level=ERROR") && !strings.Contains(text, "expected by the test") {
			t.Errorf("the log has errors:\n%s", text)
		}
	})
	return s
}

// everyLoop is for looking inside.
func (s *server) everyLoop() []*loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// client is a WebSocket client that can do everything wrong.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// dial connects without a handshake.
func (s *server) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.path.tls {
		conn = tls.Client(conn, clientTLS())
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, Conn: conn, r: bufio.NewReader(conn)}
}

const upgradeRequest = "GET /v1/ws HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// connect does the handshake.
func (s *server) connect(t testing.TB, headers ...string) *client {
	t.Helper()
	c := s.dial(t)
	c.send([]byte(upgradeRequest + strings.Join(headers, "") + "\r\n"))
	c.wantUpgrade()
	return c
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) response() *http.Response {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no HTTP response: %v", err)
	}
	return r
}

func (c *client) wantUpgrade() *http.Response {
	c.t.Helper()
	r := c.response()
	if r.StatusCode != 101 || r.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		c.t.Fatalf("upgrade: %v", r)
	}
	return r
}

// frame reads a frame that isn't a ping of the server's.
func (c *client) frame() ws.Frame {
	c.t.Helper()
	for {
		if f := c.anyFrame(); f.Header.OpCode != ws.OpPing {
			return f
		}
	}
}

func (c *client) anyFrame() ws.Frame {
	c.t.Helper()
	f, err := readFrame(c.r)
	if err != nil {
		c.t.Fatalf("no frame: %v", err)
	}
	if f.Header.Masked || f.Header.Rsv != 0 || !f.Header.Fin {
		c.t.Fatalf("bad frame of the server: %+v", f.Header)
	}
	return f
}

func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, min(f.Header.Length, 1<<20))
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

func (c *client) wantText(want string) {
	c.t.Helper()
	if f := c.frame(); f.Header.OpCode != ws.OpText || string(f.Payload) != want {
		c.t.Fatalf("got %v %.80q, want the text %.80q", f.Header.OpCode, f.Payload, want)
	}
}

func (c *client) wantClose(code int) {
	c.t.Helper()
	f := c.frame()
	if got, reason := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || int(got) != code {
		c.t.Fatalf("got %v %d %q, want a close frame with %d", f.Header.OpCode, got, reason, code)
	}
}

// wantEnd expects that the server ends the connection, not by a reset, and nothing before.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 && !bytes.Equal(b, pingFrame) {
		c.t.Fatalf("got %.200q, %v instead of the end", b, err)
	}
}

// echo expects the connection to be fine.
func (c *client) echo(text string) {
	c.t.Helper()
	c.send(text1(text))
	c.wantText(text)
}

// masked is a client's frame.
func masked(fin bool, op ws.OpCode, payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, payload)))
}

func text1(s string) []byte { return masked(true, ws.OpText, []byte(s)) }

func closing(code int, reason string) []byte {
	return masked(true, ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), reason))
}

// patience is how long tests wait for what comes in milliseconds on a machine that has nothing else to do.
const patience = time.Minute

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// within receives what must come soon.
func within[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
		panic("unreachable")
	}
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "socket test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

func clientTLS() *tls.Config {
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(certificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// files counts the process's open descriptors.
func files(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("descriptors cannot be counted: %v", err)
	}
	return len(entries)
}
