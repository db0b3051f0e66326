package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// reader is what one person does with the own inbox: now on a device, now by HTTP. What was begun is repeated until it is
// acknowledged.
type reader struct {
	user    string
	token   string
	screens []*screen
	in      *installation
	ledger  *ledger
	found   *findings
	random  *rand.Rand
	http    *http.Client
}

const readEvery = 4 * time.Second

// run acts until acting ends, and goes on with what it has begun until ctx ends.
func (p *reader) run(acting, ctx context.Context) {
	for rest(acting, spread(p.random, readEvery)) {
		p.act(ctx)
	}
}

func (p *reader) act(ctx context.Context) {
	s := one(p.random, p.screens)
	list, rev := s.shown()
	if len(list) == 0 {
		return
	}
	picked := one(p.random, list)
	pick := picked.ID
	post := func(path string, body any) bool { return p.call(ctx, http.MethodPost, "/v1/notifications"+path, body) }
	now := time.Now()
	switch n := p.random.IntN(100); {
	case n < 55:
		var ids []string
		for _, i := range list {
			if i.ReadAt == nil && len(ids) < 1+p.random.IntN(4) {
				ids = append(ids, i.ID)
			}
		}
		if len(ids) == 0 {
			return
		}
		done := s.ask(ctx, object{"type": "read", "ids": ids}) == nil
		if !done {
			done = !slices.ContainsFunc(ids, func(id string) bool { return !post("/"+id+"/read", nil) })
		}
		p.acknowledged(done, "read", ids, func(w *wish) { w.read = now })
	case n < 70:
		var ids []string
		for _, i := range list {
			ids = append(ids, i.ID) // all were created up to rev
		}
		done := p.random.IntN(2) == 0 && s.ask(ctx, object{"type": "read_all", "up_to_rev": rev}) == nil
		done = done || post("/read-all", object{"up_to_rev": rev})
		p.acknowledged(done, fmt.Sprint("read all to ", rev), ids, func(w *wish) { w.read = now })
	case n < 84:
		if s.ask(ctx, object{"type": "seen", "up_to_rev": rev}) != nil {
			p.acknowledged(post("/seen", object{"up_to_rev": rev}), "seen", nil, nil)
		}
	case n < 91:
		p.acknowledged(post("/"+pick+"/archive", nil), "archived", []string{pick}, func(w *wish) { w.archived = now })
	case n < 94:
		p.ledger.wish(p.user, []string{pick}, func(w *wish) { w.maybeUnread = true })
		p.acknowledged(post("/"+pick+"/unread", nil), "unread", nil, nil)
	case n < 97:
		p.ledger.wish(p.user, []string{pick}, func(w *wish) { w.maybeBack = true })
		p.acknowledged(post("/"+pick+"/unarchive", nil), "unarchived", nil, nil)
	case picked.Kind == "repayment.summary":
		// Nothing would be left of it to compare with what was decided.
	default:
		p.acknowledged(p.call(ctx, http.MethodDelete, "/v1/notifications/"+pick, nil), "deleted", []string{pick}, func(w *wish) { w.deleted = now })
	}
}

func (p *reader) acknowledged(done bool, what string, ids []string, fn func(*wish)) {
	if !done {
		return
	}
	p.ledger.acknowledged(nil)
	p.in.history.note("%s: %s %v acknowledged", p.user, what, ids)
	if fn != nil {
		p.ledger.wish(p.user, ids, fn)
	}
}

// call repeats a call until it is answered. 404 is as good as done for what another device deleted.
func (p *reader) call(ctx context.Context, method, path string, body any) bool {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	status, answer := 0, ""
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		status, answer = p.try(ctx, method, path, text)
		switch {
		case status >= 200 && status < 300 || status == http.StatusNotFound:
			return status != http.StatusNotFound
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
			p.found.add(lost, "%s: %s %s was refused: %d %s", p.user, method, path, status, answer)
			return false
		}
		if !rest(ctx, pause) {
			p.found.add(lost, "%s: %s %s was never answered with success: %d %s", p.user, method, path, status, answer)
			return false
		}
	}
}

func (p *reader) try(ctx context.Context, method, path string, text []byte) (status int, answer string) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+one(p.random, p.in.sockets)+path, bytes.NewReader(text))
	if err != nil {
		panic(err) // the paths are ours
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := p.http.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(got)
}
