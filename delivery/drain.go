package delivery

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// drainStep is how exactly sessions are closed at the time that they were told.
const drainStep = 20 * time.Millisecond

// drain sends all clients away: each is told at once after how long to reconnect, at random within the window, goes on
// getting what happens, and is closed at that time. So another pusher gets them spread out, and nobody waits longer than
// the window. It returns when all are gone, at the end of the window at the latest.
func (p *Pusher) drain(ctx context.Context, window time.Duration) {
	p.draining.Store(true)
	type leaving struct {
		session *session
		at      time.Duration
	}
	start := time.Now()
	told := make(map[*session]bool)
	var list []leaving
	tell := func() { // also those whose handshake was under way
		var sessions []*session
		for shard := range hubShards {
			sessions = p.hub.all(shard, sessions)
		}
		passed := time.Since(start)
		for _, s := range sessions {
			if told[s] {
				continue
			}
			told[s] = true
			wait := time.Duration(0)
			if left := window - passed; left > 0 {
				wait = rand.N(left)
			}
			p.protocol.answer(s, goawayFrame(wait.Milliseconds()))
			list = append(list, leaving{s, passed + wait})
		}
		slices.SortFunc(list, func(a, b leaving) int { return cmp.Compare(a.at, b.at) })
	}
	tell()
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for p.hub.len() > 0 && time.Since(start) < window {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		passed := time.Since(start)
		n := 0
		for ; n < len(list) && list[n].at <= passed; n++ {
			p.end(list[n].session, closeRestarting, "the server is going away")
		}
		list = pop(list, n)
		if len(list) == 0 {
			tell()
		}
	}
	tell()
	for _, l := range list {
		p.end(l.session, closeRestarting, "the server is going away")
	}
}
