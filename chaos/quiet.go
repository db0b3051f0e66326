package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// awaitQuiet waits until nothing is left to do and every screen shows what there is. What is still left after within is a
// finding.
func awaitQuiet(ctx context.Context, in *installation, db *database, screens []*screen, within time.Duration, found *findings) error {
	begun := time.Now()
	deadline := begun.Add(within)
	var before map[string]bool // tasks that ran at the last look
	settled, said := 0, time.Now()
	for {
		left, active, err := remains(ctx, in, db, screens)
		if err != nil {
			left = append(left, err.Error())
		}
		// Runs of reminders go on, so a task counts as stuck only if it is there at two looks.
		for id := range active {
			if before[id] {
				left = append(left, "active "+id)
			}
		}
		slices.Sort(left)
		before = active
		if len(left) == 0 {
			settled++
		} else {
			settled = 0
		}
		if settled == 2 {
			in.history.say("quiet after %s", time.Since(begun).Round(time.Second))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			for _, what := range left {
				found.add(leaked, "%s after the faults there is still: %s", within, what)
			}
			in.keepStacks(ctx)
			return nil
		}
		if time.Since(said) > 20*time.Second {
			said = time.Now()
			in.history.say("waiting for: %.300s", fmt.Sprint(left))
		}
		rest(ctx, 2*time.Second)
	}
}

// remains lists what is left to do, and the tasks that run.
func remains(ctx context.Context, in *installation, db *database, screens []*screen) (left []string, active map[string]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	b, err := db.left(ctx, db.sql)
	if err != nil {
		return nil, nil, err
	}
	if b.Parked > 0 {
		b.Parked = 0 // the check says so
	}
	if !b.empty() {
		left = append(left, fmt.Sprintf("in the database %+v", b))
	}
	queued, active, err := in.queued(ctx)
	if err != nil {
		return left, nil, err
	}
	left = append(left, queued...)
	revs, err := db.revs(ctx)
	if err != nil {
		return left, active, err
	}
	for _, s := range screens {
		switch rev, connected := s.rev(); {
		case !connected:
			left = append(left, "screen "+s.name+" isn't connected")
		case rev != revs[s.user]:
			left = append(left, fmt.Sprintf("screen %s is at rev %d of %d", s.name, rev, revs[s.user]))
		}
	}
	for _, p := range in.programs {
		if !in.ready(ctx, p.name) {
			left = append(left, p.name+" isn't ready")
		}
	}
	return left, active, nil
}

// queued says what waits in the queues, and which tasks run. Without a look into Redis itself a running task has no name.
func (in *installation) queued(ctx context.Context) (left []string, active map[string]bool, err error) {
	active = map[string]bool{}
	if in.direct == nil {
		return in.queuedByStatus(ctx)
	}
	for _, queue := range []string{"status", "reminders", "housekeeping"} {
		key := func(list string) string { return "asynq:{" + queue + "}:" + list }
		running, err := in.direct.LRange(ctx, key("active"), 0, -1).Result()
		if err != nil {
			return nil, nil, err
		}
		for _, id := range running {
			active[queue+" "+id] = true
		}
		pending, err := in.direct.LLen(ctx, key("pending")).Result()
		if err != nil {
			return nil, nil, err
		}
		if pending > 2 || pending > 0 && queue == "status" {
			left = append(left, fmt.Sprintf("%d pending in %s", pending, queue))
		}
		for _, list := range []string{"retry", "archived", "scheduled"} {
			ids, err := in.direct.ZRange(ctx, key(list), 0, -1).Result()
			if err != nil {
				return nil, nil, err
			}
			for _, id := range ids {
				left = append(left, list+" "+queue+" "+id)
			}
		}
	}
	return left, active, nil
}

// queuedByStatus asks the operator API, since nobody else reaches the Redis in the process.
func (in *installation) queuedByStatus(ctx context.Context) (left []string, active map[string]bool, err error) {
	active = map[string]bool{}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, in.admin[0]+"/v1/status", nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+serviceToken())
	response, err := quick.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	var status struct {
		Queues []map[string]any `json:"queues"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return nil, nil, err
	}
	if len(status.Queues) == 0 {
		return nil, nil, fmt.Errorf("GET /v1/status names no queues: %s", response.Status)
	}
	for _, q := range status.Queues {
		for _, list := range slices.Sorted(maps.Keys(q)) {
			n, ok := q[list].(float64)
			if !ok || list == "completed" {
				continue
			}
			if list == "active" { // runs begin every two seconds and are short
				if n > 0 && q["queue"] != "reminders" || n > 1 {
					active[fmt.Sprint(q["queue"], " ", n, " tasks")] = true
				}
				continue
			}
			if n > 2 || n > 0 && q["queue"] == "status" {
				left = append(left, fmt.Sprintf("%g %s in %s", n, list, q["queue"]))
			}
		}
	}
	return left, active, nil
}
