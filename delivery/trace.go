package delivery

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxTraces is how many frames each worker of a pusher remembers, 56 bytes each.
	maxTraces = 8192
	// maxAsked is how many questions wait at a pusher.
	maxAsked = 16
	// An answer is waited for so long, and kept a little longer. Redis is asked for it again and again, as briefly as it can be: a
	// context's deadline would end the connection before Redis says that there is none.
	traceWait   = 2 * time.Second
	tracePoll   = time.Second
	traceExpiry = 10 * time.Second
)

// traceRing remembers the live frames that one worker has written last. Nothing is allocated before the first.
type traceRing struct {
	mu     sync.Mutex
	ring   []traceEntry
	next   int // where the next goes
	unsent int // so many before it have not gone out yet
}

// traceEntry is one frame. Times are microseconds since 1970.
type traceEntry struct {
	hash                      uint64 // of the recipient
	from, rev                 int64
	sentAt, received, written int64
	sessions                  int32
}

func (r *traceRing) add(c *change, sessions int, sentAt, received int64) {
	entry := traceEntry{hash: hashOf(c.recipient), from: c.from, rev: c.rev, sentAt: sentAt, received: received, sessions: int32(sessions)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring == nil {
		r.ring = make([]traceEntry, maxTraces)
	}
	r.ring[r.next%maxTraces] = entry
	r.next++
	r.unsent = min(r.unsent+1, maxTraces)
}

// written notes when the frames went out that hadn't yet.
func (r *traceRing) written(at int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.unsent > 0; r.unsent-- {
		r.ring[(r.next-r.unsent)%maxTraces].written = at
	}
}

// find is the frame that took a recipient's sessions to a rev.
func (r *traceRing) find(recipient string, rev int64) (traceEntry, bool) {
	hash := hashOf(recipient)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.ring {
		if e.hash == hash && e.from < rev && rev <= e.rev {
			return e, true
		}
	}
	return traceEntry{}, false
}

// TraceKey names a notification as pushers know it: by the rev with which it came into its recipient's inbox.
type TraceKey struct {
	Recipient string `json:"recipient"`
	Rev       int64  `json:"rev"`
}

// traceAsk is the question what became of some frames. Each pusher appends one traceAnswer to the list in Redis.
type traceAsk struct {
	Keys  []TraceKey `json:"keys"`
	Reply string     `json:"reply"`
}

type traceAnswer struct {
	Pusher string      `json:"pusher"`
	Traces []LiveTrace `json:"traces"`
}

// LiveTrace is a live frame that a pusher has written.
type LiveTrace struct {
	TraceKey
	Pusher    string    `json:"pusher"`    // its name for as long as it runs
	Published time.Time `json:"published"` // by the publisher's clock
	Received  time.Time `json:"received"`  // by the pusher's, as the next
	Written   time.Time `json:"written"`   // zero: not yet
	Sessions  int       `json:"sessions"`  // of the recipient on that pusher, that it was written to
}

// answerTraces answers those who ask, until ctx is done.
func (s *subscriber) answerTraces(ctx context.Context) {
	for {
		var ask traceAsk
		select {
		case <-ctx.Done():
			return
		case ask = <-s.asked:
		}
		answer := traceAnswer{Pusher: s.name, Traces: []LiveTrace{}}
		for _, key := range ask.Keys {
			e, ok := s.traces[shardOf(key.Recipient)%len(s.traces)].find(key.Recipient, key.Rev)
			if !ok {
				continue
			}
			t := LiveTrace{TraceKey: key, Pusher: s.name, Published: time.UnixMicro(e.sentAt), Received: time.UnixMicro(e.received), Sessions: int(e.sessions)}
			if e.written != 0 {
				t.Written = time.UnixMicro(e.written)
			}
			answer.Traces = append(answer.Traces, t)
		}
		text, _ := json.Marshal(answer) // strings, numbers and times always encode
		pipe := s.redis.Pipeline()
		pipe.RPush(ctx, ask.Reply, text)
		pipe.Expire(ctx, ask.Reply, traceExpiry)
		if _, err := pipe.Exec(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("nobody hears what became of a frame", "error", err)
		}
	}
}

// AskTraces asks all pushers for the live frames that brought some notifications, and says how many answered within two seconds
// or three. Each remembers the last 8,192 or more that it has written. A session that caught up from the store has no live frame.
func AskTraces(ctx context.Context, client redis.UniversalClient, keys []TraceKey) (traces []LiveTrace, pushers int, err error) {
	ask := traceAsk{Keys: keys, Reply: "duebell:trace:" + rand.Text()}
	text, _ := json.Marshal(controlMessage{Trace: &ask}) // strings and numbers always encode
	listeners := int64(0)
	cluster, isCluster := client.(*redis.ClusterClient)
	if isCluster { // whose node counts only those that listen to it, though all are told
		listeners = listenersOf(ctx, cluster)
	}
	heard, err := client.Publish(ctx, controlChannel, text).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("ask the pushers: %w", err)
	}
	if isCluster {
		heard = listeners
	}
	// One may not answer, or be of an earlier version.
	for deadline := time.Now().Add(traceWait); int64(pushers) < heard && time.Now().Before(deadline); {
		reply, err := client.BLPop(ctx, tracePoll, ask.Reply).Result()
		switch {
		case errors.Is(err, redis.Nil):
			continue // not yet
		case err != nil:
			return traces, pushers, fmt.Errorf("hear the pushers: %w", err)
		}
		var answer traceAnswer
		if err := json.Unmarshal([]byte(reply[1]), &answer); err != nil {
			return traces, pushers, fmt.Errorf("read what a pusher answers: %w", err)
		}
		pushers++
		traces = append(traces, answer.Traces...)
	}
	return traces, pushers, nil
}

// listenersOf is how many pushers listen to the nodes of a cluster; more than there can be if a node doesn't say.
func listenersOf(ctx context.Context, cluster *redis.ClusterClient) int64 {
	var sum atomic.Int64
	err := cluster.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error {
		counts, err := node.PubSubNumSub(ctx, controlChannel).Result()
		sum.Add(counts[controlChannel])
		return err
	})
	if err != nil {
		return math.MaxInt64
	}
	return sum.Load()
}
