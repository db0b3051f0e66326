package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// checkTimeout is how long one check may take before it counts as missing.
const checkTimeout = 2 * time.Second

// Health knows what a program needs to do its work. Its zero value is ready for use, and ready.
type Health struct {
	mu     sync.Mutex
	checks []check
}

type check struct {
	name string
	run  func(context.Context) error
}

// Missing is one thing that keeps a program from being ready.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Add names something that must be there. The check returns nil if it is, or else a reason that may be shown to anybody who
// reaches the internal address: no secrets. Checks run beside each other and may be asked at any time.
func (h *Health) Add(name string, run func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, run})
}

// Missing runs all checks, for some seconds at most, and returns what is missing, in the order of Add.
func (h *Health) Missing(ctx context.Context) []Missing {
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	type result struct {
		index int
		err   error
	}
	results := make(chan result, len(checks)) // room for all: a check that ignores its context holds up nobody
	for i, c := range checks {
		go func() { results <- result{i, c.safe(ctx)} }()
	}
	reasons := make([]string, len(checks))
	for i := range reasons {
		reasons[i] = "no answer in time"
	}
wait:
	for range checks {
		select {
		case r := <-results:
			if reasons[r.index] = ""; r.err != nil {
				reasons[r.index] = r.err.Error()
			}
		case <-ctx.Done():
			break wait
		}
	}
	var missing []Missing
	for i, reason := range reasons {
		if reason != "" {
			missing = append(missing, Missing{checks[i].name, reason})
		}
	}
	return missing
}

// safe turns a panic into a reason: the check runs in a goroutine of its own, where it would end the program.
func (c check) safe(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panics: %v", p)
		}
	}()
	return c.run(ctx)
}

// Live answers /livez: 200 while the process can answer at all. It checks nothing, since no restart mends a database.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "live"})
}

// Ready answers /readyz: 200, or 503 and what is missing.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	missing := h.Missing(r.Context())
	if len(missing) > 0 {
		writeJSON(w, http.StatusServiceUnavailable, struct {
			Status  string    `json:"status"`
			Missing []Missing `json:"missing"`
		}{"unready", missing})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
