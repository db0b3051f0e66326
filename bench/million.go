package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	perPusher = 19_000 // below the 20,000 files of a process
	atOnce    = 2      // clients that connect
	telling   = time.Minute
	perSecond = 1000
)

// million is a million sessions on many pushers, and then notifications by the whole way: the ingest API, a worker, the
// database, Redis, a pusher, the client.
func million(ctx context.Context, r *rig, sessions int) (any, error) {
	if sessions == 0 {
		sessions = 1_000_000
	}
	pairs := (sessions + perPusher - 1) / perPusher
	each := (sessions + pairs - 1) / pairs
	sessions = pairs * each
	var list []*contender
	defer func() { stopAll(list) }()
	for i := range pairs {
		// As many pings and comparisons as two cores manage beside all else; one thread and one connection to the database for
		// each pusher are enough, since there are so many.
		t, err := r.program("pusher", fmt.Sprintf("127.1.%d.1", i), "PING_INTERVAL=300s", "PONG_TIMEOUT=60s", "SWEEP_INTERVAL=300s",
			"DATABASE_CONNECTIONS=2", "GOMAXPROCS=1")
		t.name = "duebell"
		c := &contender{target: t, sessions: each}
		list = append(list, c)
		if err != nil {
			return nil, err
		}
		if c.client, err = startClient(); err != nil {
			return nil, err
		}
	}
	time.Sleep(3 * time.Second)
	base, err := usageOfAll(list)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%d pushers: %.0f MB before the first connection\n", pairs, float64(base.rss)/1e6)
	start := time.Now()
	if err := connectAll(ctx, list); err != nil {
		return nil, err
	}
	connected, err := usageOfAll(list)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%d sessions after %.0f s, %.1f µs of CPU each\n", sessions, time.Since(start).Seconds(), float64((connected.cpu-base.cpu).Microseconds())/float64(sessions))
	time.Sleep(rest)
	quiet, err := usageOfAll(list)
	if err != nil {
		return nil, err
	}
	rssEach := float64(quiet.rss-base.rss) / 1000 / float64(sessions)
	fmt.Printf("at rest: %.0f MB, %.2f KB a session; %.0f %% of a core\n", float64(quiet.rss)/1e6, rssEach, float64(quiet.cpu-connected.cpu)/float64(rest)*100)

	sent, err := r.tell(ctx, sessions, list)
	if err != nil {
		return nil, err
	}
	busy, err := usageOfAll(list)
	if err != nil {
		return nil, err
	}
	answers, err := orderAll(list, order{Do: "report"})
	if err != nil {
		return nil, err
	}
	sum, latency := total(answers)
	if sum.Dead > 0 || sum.Broken > 0 {
		return nil, fmt.Errorf("%d sessions ended, %d frames broke their chain", sum.Dead, sum.Broken)
	}
	p99 := float64(latency.quantile(0.99)) / 1000
	fmt.Printf("%d told in a minute, %d arrived: p50 %.1f ms, p99 %.1f ms, longest %.1f ms; the pushers took %.0f %% of a core\n", sent, sum.Messages,
		float64(latency.quantile(0.5))/1000, p99, float64(latency.Max)/1000, float64(busy.cpu-quiet.cpu)/float64(telling+settle)*100)
	return map[string]float64{"sessions": float64(sessions), "delivered": float64(sum.Messages), "lost": float64(sent - sum.Messages), "p99_ms": hundredths(p99),
		"rss_kb_per_session": hundredths(rssEach)}, nil
}

func connectAll(ctx context.Context, list []*contender) error {
	turns := make(chan struct{}, atOnce)
	failures := make([]error, len(list))
	var all sync.WaitGroup
	for i, c := range list {
		turns <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-turns }()
			a, err := c.client.do(order{Do: "connect", Address: c.address, Source: fmt.Sprintf("127.1.%d.2", i), Speech: c.name, First: i * c.sessions, Count: c.sessions})
			if err == nil && a.Failed > 0 {
				err = fmt.Errorf("%d connections failed", a.Failed)
			}
			failures[i] = err
		})
	}
	all.Wait()
	return errors.Join(append(failures, ctx.Err())...)
}

func orderAll(list []*contender, o order) ([]answer, error) {
	answers, failures := make([]answer, len(list)), make([]error, len(list))
	for i, c := range list {
		answers[i], failures[i] = c.client.do(o)
	}
	return answers, errors.Join(failures...)
}

func usageOfAll(list []*contender) (sum usage, err error) {
	for _, c := range list {
		u, err := c.usage()
		if err != nil {
			return sum, err
		}
		sum.cpu += u.cpu
		sum.rss += u.rss
	}
	return sum, nil
}

// tell has the scheduler and a worker tell random users, so many a second for a minute.
func (r *rig) tell(ctx context.Context, users int, list []*contender) (sent int64, err error) {
	const host = "127.2.0.1"
	scheduler, err := r.program("scheduler", host)
	defer scheduler.stop()
	if err != nil {
		return 0, err
	}
	worker, err := r.program("worker", host)
	defer worker.stop()
	if err != nil {
		return 0, err
	}
	token, err := r.token("duebell:ingest")
	if err != nil {
		return 0, err
	}
	for range 3 { // what is made at first use
		if err := notify(ctx, scheduler.address, token, users, 100, 0); err != nil {
			return 0, err
		}
		time.Sleep(time.Second)
	}
	if _, err := orderAll(list, order{Do: "mark"}); err != nil {
		return 0, err
	}
	const batch = 50
	ticker := time.NewTicker(time.Second * batch / perSecond)
	defer ticker.Stop()
	for n := int64(1); sent < perSecond*int64(telling/time.Second); n++ {
		select {
		case <-ctx.Done():
			return sent, ctx.Err()
		case <-ticker.C:
		}
		if err := notify(ctx, scheduler.address, token, users, batch, n); err != nil {
			return sent, err
		}
		sent += batch
	}
	time.Sleep(settle)
	return sent, nil
}

// notify posts a notification to random users, all different.
func notify(ctx context.Context, address, token string, users, count int, n int64) error {
	chosen := map[string]bool{}
	ids := []string{}
	for len(ids) < count {
		if id := userName(rand.IntN(users)); !chosen[id] {
			chosen[id] = true
			ids = append(ids, id)
		}
	}
	now := time.Now()
	text, err := json.Marshal(map[string]any{"id": fmt.Sprintf("m-%d-%d", n, now.UnixNano()), "user_ids": ids, "kind": "news.general", "title": title, "body": body, "url": url,
		"data": json.RawMessage(append(dataOf(now), '}'))})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/v1/notifications", bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("POST /v1/notifications: %s: %s", answer.Status, said)
	}
	return nil
}
