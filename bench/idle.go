package main

import (
	"context"
	"fmt"
	"time"
)

// rest is how long after the last connection memory is looked at: longer than a pusher keeps what a burst has left behind.
const rest = 30 * time.Second

// idle is what a connection takes that stands and does nothing: authenticated, its session resumed from before its last
// notification, as after a reconnect.
func idle(ctx context.Context, r *rig, sessions int) (any, error) {
	if sessions == 0 {
		sessions = 19_000
	}
	query, err := r.seed(ctx, sessions)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%-11s %9s %9s %12s %14s %12s\n", "", "sessions", "seconds", "CPU µs each", "RSS KB each", "idle CPU %")
	kb := map[string]float64{}
	for i, start := range []func(string) (*target, error){r.pusher, r.centrifugo, r.gorilla} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := start(fmt.Sprintf("127.0.%d.1", 10+i))
		if err == nil {
			t.query = query
			kb[t.name], err = idleOf(t, sessions, fmt.Sprintf("127.0.%d.2", 10+i))
		}
		t.stop()
		if err != nil {
			return nil, err
		}
	}
	return map[string]float64{"duebell_kb": kb["duebell"], "centrifugo_kb": kb["centrifugo"], "gorilla_kb": kb["gorilla"]}, nil
}

func idleOf(t *target, sessions int, source string) (kb float64, err error) {
	c, err := startClient()
	if err != nil {
		return 0, err
	}
	defer c.stop()
	time.Sleep(2 * time.Second)
	before, err := t.usage()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	a, err := c.do(order{Do: "connect", Address: t.address, Source: source, Speech: t.name, Count: sessions, Query: t.query})
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	connected, err := t.usage()
	if err != nil {
		return 0, err
	}
	time.Sleep(rest)
	after, err := t.usage()
	if err != nil {
		return 0, err
	}
	if a, err = c.do(order{Do: "report"}); err != nil {
		return 0, err
	}
	if a.Failed > 0 || a.Dead > 0 {
		return 0, fmt.Errorf("%s: %d connections failed, %d ended", t.name, a.Failed, a.Dead)
	}
	each := func(total float64) float64 { return hundredths(total / float64(sessions)) }
	kb = each(float64(after.rss-before.rss) / 1000)
	fmt.Printf("%-11s %9d %9.1f %12.1f %14.2f %12.1f\n", t.name, sessions, took.Seconds(), each(float64((connected.cpu - before.cpu).Microseconds())), kb,
		float64(after.cpu-connected.cpu)/float64(rest)*100)
	return kb, nil
}
