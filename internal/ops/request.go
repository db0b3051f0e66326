package ops

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/problem"
)

// Requests logs and counts what goes through HTTP handlers, by the pattern of the route: paths hold ids, and query strings
// and headers may hold secrets.
type Requests struct {
	log     *slog.Logger
	seconds *prometheus.HistogramVec
	open    prometheus.Gauge
}

// NewRequests registers duebell_http_request_seconds and duebell_http_requests_open.
func NewRequests(registry prometheus.Registerer, log *slog.Logger) *Requests {
	r := &Requests{
		log: log,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "duebell_http_request_seconds",
			Help:    "Time to answer HTTP requests, by route, method and status.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60},
		}, []string{"route", "method", "status"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "duebell_http_requests_open",
			Help: "HTTP requests that are being answered.",
		}),
	}
	registry.MustRegister(r.seconds, r.open)
	return r
}

// Wrap goes around a ServeMux directly (a handler between that copies the request hides the route). A handler that panics
// is answered with 500 if nothing was written yet, and the program goes on.
func (r *Requests) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		start := time.Now()
		r.open.Inc()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			r.open.Dec()
			p := recover()
			if p != nil && p != http.ErrAbortHandler {
				r.log.Error("handler panicked", "route", route(request), "method", method(request), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if rec.status == 0 {
					problem.Write(rec, problem.Internal())
				} else {
					p = http.ErrAbortHandler // half an answer must not look whole
				}
			}
			r.done(request, rec.status, time.Since(start))
			if p == http.ErrAbortHandler {
				panic(p)
			}
		}()
		next.ServeHTTP(rec, request)
	})
}

func (r *Requests) done(request *http.Request, status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK // net/http writes it after the handler
	}
	r.seconds.WithLabelValues(route(request), method(request), strconv.Itoa(status)).Observe(took.Seconds())
	level := slog.LevelDebug
	if status >= 500 {
		level = slog.LevelWarn
	}
	r.log.Log(request.Context(), level, "request", "route", route(request), "method", method(request), "status", status, "took", took)
}

// route is the pattern that the mux has found, without its method.
func route(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		return path
	}
	return r.Pattern
}

// method is one of few: it becomes a label, and clients may send any word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// recorder remembers the status. It passes on what streams and sockets need of a ResponseWriter.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) { // the others are followed by a final one
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush implements http.Flusher.
func (r *recorder) Flush() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	_ = http.NewResponseController(r.ResponseWriter).Flush() // a Flusher can't report
}

// Hijack implements http.Hijacker.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil && r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
