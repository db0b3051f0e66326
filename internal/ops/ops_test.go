package ops

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var quiet = slog.New(slog.DiscardHandler)

func get(t *testing.T, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func TestLoggerFormats(t *testing.T) {
	for format, want := range map[string]string{"text": "level=INFO msg=hello", "json": `"msg":"hello"`, "": `"msg":"hello"`} {
		var out bytes.Buffer
		log := NewLogger(&out, slog.LevelInfo, format)
		log.Debug("not this")
		log.Info("hello")
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "not this") {
			t.Errorf("%q: %s", format, got)
		}
	}
}

func TestReadySaysWhatIsMissing(t *testing.T) {
	var h Health
	mux := NewMux(&h, prometheus.NewRegistry(), false)
	if w := get(t, mux, "GET", "/readyz"); w.Code != 200 || w.Body.String() != `{"status":"ready"}`+"\n" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	h.Add("database", func(context.Context) error { return nil })
	h.Add("redis", func(context.Context) error { return errors.New("connection refused") })
	h.Add("policy", func(context.Context) error { panic("nil map") })
	w := get(t, mux, "GET", "/readyz")
	want := `{"status":"unready","missing":[{"name":"redis","reason":"connection refused"},{"name":"policy","reason":"the check panics: nil map"}]}` + "\n"
	if w.Code != 503 || w.Body.String() != want {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := get(t, mux, "GET", "/livez"); w.Code != 200 {
		t.Errorf("live: got %d %s", w.Code, w.Body)
	}
	if w := get(t, mux, "POST", "/readyz"); w.Code != 405 {
		t.Errorf("POST: got %d", w.Code)
	}
}

func TestProfilesOnlyWhenAskedFor(t *testing.T) {
	for profiles, want := range map[bool]int{false: 404, true: 200} {
		mux := NewMux(&Health{}, prometheus.NewRegistry(), profiles)
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
			if w := get(t, mux, "GET", path); w.Code != want || want == 200 && w.Body.Len() == 0 {
				t.Errorf("%s, profiles %v: %d with %d bytes", path, profiles, w.Code, w.Body.Len())
			}
		}
		if w := get(t, mux, "GET", "/debug/pprof/cmdline"); profiles && w.Code != 404 { // arguments are nobody's business
			t.Errorf("cmdline: %d", w.Code)
		}
	}
}

func TestReadyDoesNotWaitForACheckThatHangs(t *testing.T) {
	var h Health
	release := make(chan struct{})
	defer close(release)
	h.Add("good", func(context.Context) error { return nil })
	h.Add("hangs", func(context.Context) error { <-release; return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	missing := h.Missing(ctx)
	if len(missing) != 1 || missing[0] != (Missing{"hangs", "no answer in time"}) {
		t.Errorf("got %v", missing)
	}
}

func TestMetrics(t *testing.T) {
	registry := NewRegistry("worker")
	requests := NewRequests(registry, quiet)
	mux := NewMux(&Health{}, registry, false)
	mux.HandleFunc("PUT /v1/users/{id}", func(http.ResponseWriter, *http.Request) {})
	h := requests.Wrap(mux)
	get(t, h, "PUT", "/v1/users/ana-42?token=secret")
	get(t, h, "GET", "/nothing/ana-42")
	get(t, h, "BREW", "/v1/users/ana-42")
	body := get(t, h, "GET", "/metrics").Body.String()
	for _, want := range []string{
		`duebell_build_info{go_version=`, `program="worker"`, "go_goroutines", "process_resident_memory_bytes",
		`duebell_http_request_seconds_count{method="PUT",route="/v1/users/{id}",status="200"} 1`,
		`duebell_http_request_seconds_count{method="GET",route="none",status="404"} 1`,
		`duebell_http_request_seconds_count{method="other",route="none",status="405"} 1`,
		"duebell_http_requests_open 1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in\n%s", want, body)
		}
	}
	for _, not := range []string{"ana-42", "secret", "BREW"} {
		if strings.Contains(body, not) {
			t.Errorf("%s is in the metrics", not)
		}
	}
}

func TestRequestLogHasNoSecrets(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelDebug, "json")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/users/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	h := NewRequests(prometheus.NewRegistry(), log).Wrap(mux)
	r := httptest.NewRequest("GET", "/v1/users/ana-42?token=hunter2", nil)
	r.Header.Set("Authorization", "Bearer hunter3")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if got := out.String(); !strings.Contains(got, `"route":"/v1/users/{id}","method":"GET","status":204`) ||
		strings.Contains(got, "hunter") || strings.Contains(got, "ana-42") {
		t.Error(got)
	}
}

func TestPanics(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelInfo, "json")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /early", func(http.ResponseWriter, *http.Request) { panic("boom") })
	mux.HandleFunc("GET /late", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "half"); panic("boom") })
	mux.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(NewRequests(prometheus.NewRegistry(), log).Wrap(mux))
	defer server.Close()

	response, err := http.Get(server.URL + "/early")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != 500 || strings.Contains(string(body), "boom") {
		t.Errorf("got %d %s", response.StatusCode, body)
	}
	for _, path := range []string{"/late", "/abort"} {
		response, err := http.Get(server.URL + path)
		if err == nil {
			_, err = io.ReadAll(response.Body)
			response.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: half an answer looks whole", path)
		}
	}
	server.Close() // waits for the handlers, which log
	if !strings.Contains(out.String(), `"panic":"boom","stack":`) {
		t.Errorf("not logged: %s", out.String())
	}
}

func TestStreamsAndSocketsPassTheMiddleware(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
	})
	mux.HandleFunc("GET /socket", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		conn.Close()
	})
	server := httptest.NewServer(NewRequests(prometheus.NewRegistry(), quiet).Wrap(mux))
	defer server.Close()
	for path, want := range map[string]int{"/stream": 200, "/socket": 204} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: got %d", path, response.StatusCode)
		}
	}
}

// serve starts ServeListener; the channel has its result.
func serve(t *testing.T, h http.Handler, timeout time.Duration) (url string, stop func(), result chan error) {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	result = make(chan error, 1)
	go func() { result <- ServeListener(ctx, listener, h, quiet, timeout) }()
	return "http://" + listener.Addr().String(), stop, result
}

func TestServeLetsRequestsEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	url, stop, result := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	}), 10*time.Second)

	answer := make(chan string, 1)
	go func() {
		response, err := http.Get(url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-entered
	stop()
	select {
	case err := <-result:
		t.Fatalf("ended with a request under way: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("got %s", got)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestServeCutsOffWhatNeverEnds(t *testing.T) {
	entered := make(chan struct{})
	url, stop, result := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}), 10*time.Millisecond)
	go func() {
		if response, err := http.Get(url); err == nil {
			response.Body.Close()
		}
	}()
	<-entered
	stop()
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("hangs")
	}
}

func TestServeOnATakenAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = Serve(t.Context(), taken.Addr().String(), http.NotFoundHandler(), quiet, time.Second)
	if err == nil || !strings.Contains(err.Error(), "listen on "+taken.Addr().String()) {
		t.Errorf("got %v", err)
	}
}
