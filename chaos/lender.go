package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// lender is the loan system. It repeats each call until it is answered, as a loan system does, since an answer that didn't
// come says nothing about what was done.
type lender struct {
	in     *installation
	ledger *ledger
	found  *findings
	http   *http.Client
	token  string
	apis   []string // base URLs of the schedulers that it talks to
}

func newLender(in *installation, l *ledger, found *findings) *lender {
	return &lender{in: in, ledger: l, found: found, token: serviceToken(), apis: in.apis,
		http: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 20 * time.Second}}}
}

type object = map[string]any

// try makes one call to any of the schedulers. The status is 0 if nobody answered.
func (l *lender) try(ctx context.Context, method, path string, body any, asOf time.Time) (status int, answer string) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // maps of strings and numbers always encode
	}
	base := l.apis[rand.IntN(len(l.apis))]
	request, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(text))
	if err != nil {
		panic(err) // the paths are ours
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+l.token)
	if !asOf.IsZero() {
		request.Header.Set("Duebell-As-Of", asOf.UTC().Format(time.RFC3339Nano))
	}
	response, err := l.http.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, strings.TrimSpace(string(got))
}

// call repeats a call until it is answered with 2xx, and says when that was; false if it was refused, which is a finding, or
// ctx has ended.
func (l *lender) call(ctx context.Context, method, path string, body any, asOf time.Time) (acked time.Time, ok bool) {
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		status, answer := l.try(ctx, method, path, body, asOf)
		switch {
		case status >= 200 && status < 300:
			l.ledger.acknowledged(nil)
			return time.Now(), true
		case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests:
			l.found.add(lost, "%s %s %v was refused at attempt %d: %d %s", method, path, body, attempt, status, answer)
			return time.Time{}, false
		}
		l.in.history.note("call %s %s attempt %d: %d %s", method, path, attempt, status, answer)
		if !rest(ctx, pause/2+rand.N(pause)) {
			l.found.add(lost, "%s %s %v was never answered with success: %d %s", method, path, body, status, answer)
			return time.Time{}, false
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// tell posts an event until it is acknowledged; an event that goes once, once.
func (l *lender) tell(ctx context.Context, e *event, path string, body object) {
	e.posted = time.Now()
	l.ledger.addEvent(e)
	acknowledge := func(at time.Time) {
		l.ledger.acknowledged(func() { e.acked = at })
		l.in.history.note("acknowledged %s for %v", e.id, e.recipients)
	}
	switch {
	case e.once:
		if status, _ := l.try(ctx, http.MethodPost, path, body, time.Time{}); status >= 200 && status < 300 {
			acknowledge(time.Now())
		} else {
			l.in.history.note("not repeated: %s: %d", e.id, status)
		}
	case e.bySQL:
		for !l.insert(ctx, body) {
			if !rest(ctx, 500*time.Millisecond) {
				return
			}
		}
		acknowledge(time.Now())
	default:
		if at, ok := l.call(ctx, http.MethodPost, path, body, time.Time{}); ok {
			acknowledge(at)
		}
	}
}

// insert puts a status change into the outbox as a caller does in a transaction of its own.
func (l *lender) insert(ctx context.Context, body object) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, l.in.database)
	if err != nil {
		return false
	}
	defer conn.Close(context.WithoutCancel(ctx))
	notify, _ := json.Marshal(body["notify"])
	_, err = conn.Exec(ctx, `
		INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, occurred_at, notify)
		VALUES ($1, $2, $3, $4, $5, $6::text::timestamptz, $7::text::jsonb)
		ON CONFLICT (id) DO NOTHING`,
		body["id"], body["application_id"], body["borrower_id"], body["from"], body["to"], body["occurred_at"], string(notify))
	if err != nil {
		l.in.history.note("insert of %v: %v", body["id"], err)
	}
	return err == nil
}

// rest waits; false if ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func cents(n int64) string { return fmt.Sprintf("%d.%02d", n/100, n%100) }
