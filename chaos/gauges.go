package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// gauges reads gauges of a program by their names, without labels.
func (in *installation) gauges(ctx context.Context, program string, names ...string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, in.ops[program]+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := quick.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		for _, want := range names {
			if name == want {
				if values[name], err = strconv.ParseFloat(value, 64); err != nil {
					return nil, fmt.Errorf("%s of %s: %w", name, program, err)
				}
			}
		}
	}
	if len(values) != len(names) {
		return nil, fmt.Errorf("%s has not all of %v", program, names)
	}
	return values, lines.Err()
}

const (
	goroutines = "go_goroutines"
	files      = "process_open_fds"
	sessions   = "duebell_sessions"
)

// level is what a program took while nothing was broken.
type level struct{ goroutines, files float64 }

// levels looks for a while and answers the highest of each program. On a busy machine a look may fail.
func levels(ctx context.Context, in *installation, during time.Duration) (map[string]level, error) {
	most := map[string]level{}
	for end := time.Now().Add(during); time.Now().Before(end) && rest(ctx, 500*time.Millisecond); {
		for _, p := range in.programs {
			v, err := in.gauges(ctx, p.name, goroutines, files)
			if err != nil {
				in.history.note("no gauges of %s: %v", p.name, err)
				continue
			}
			most[p.name] = level{max(most[p.name].goroutines, v[goroutines]), max(most[p.name].files, v[files])}
		}
	}
	for _, p := range in.programs {
		if _, ok := most[p.name]; !ok && ctx.Err() == nil {
			return nil, fmt.Errorf("%s showed no gauges in %s", p.name, during)
		}
	}
	return most, ctx.Err()
}

// checkLeaks waits until each program is back near what it took before the faults. Pools fill under load, so a third more
// and thirty are allowed; what leaks with each fault is more than that sooner or later.
func checkLeaks(ctx context.Context, in *installation, before map[string]level, screens int, found *findings) {
	allowed := func(n float64) float64 { return n*4/3 + 30 }
	deadline := time.Now().Add(time.Minute)
	for {
		var wrong []string
		open := 0.0
		for _, p := range in.programs {
			v, err := in.gauges(ctx, p.name, goroutines, files)
			if err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
			was := before[p.name]
			in.history.note("%s: %g goroutines and %g files, before the faults %g and %g", p.name, v[goroutines], v[files], was.goroutines, was.files)
			if v[goroutines] > allowed(was.goroutines) {
				wrong = append(wrong, fmt.Sprintf("%s has %g goroutines, before the faults %g", p.name, v[goroutines], was.goroutines))
			}
			if v[files] > allowed(was.files) {
				wrong = append(wrong, fmt.Sprintf("%s has %g open files, before the faults %g", p.name, v[files], was.files))
			}
			if s, err := in.gauges(ctx, p.name, sessions); err == nil {
				open += s[sessions]
			}
		}
		if int(open) != screens {
			wrong = append(wrong, fmt.Sprintf("the pushers count %g sessions of %d screens", open, screens))
		}
		if len(wrong) == 0 || ctx.Err() != nil {
			return
		}
		if time.Now().After(deadline) {
			for _, w := range wrong {
				found.add(leaked, "%s", w)
			}
			in.keepStacks(ctx)
			return
		}
		rest(ctx, 2*time.Second)
	}
}

// keepStacks writes what every goroutine of each program is doing beside its log.
func (in *installation) keepStacks(ctx context.Context) {
	for _, p := range in.programs {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, in.ops[p.name]+"/debug/pprof/goroutine?debug=1", nil)
		if err != nil {
			continue
		}
		response, err := quick.Do(request)
		if err != nil {
			in.history.note("no stacks of %s: %v", p.name, err)
			continue
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if err := os.WriteFile(filepath.Join(in.history.folder, p.name+".stacks"), text, 0o644); err != nil {
			in.history.note("no stacks of %s: %v", p.name, err)
		}
	}
}
