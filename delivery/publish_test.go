package delivery

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"duebell/internal/redisconn"
	"duebell/internal/testenv"
	"duebell/store"
)

func TestPublisherSendsEachChangeInItsShard(t *testing.T) {
	for name, url := range map[string]func() string{
		"embedded": func() string { return "embedded" },
		"redis":    func() string { return testenv.RedisServer(t).URL },
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := redisconn.Open(t.Context(), url(), quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			pubsub := conn.Client.Subscribe(t.Context(), controlChannel, inboxChannel)
			defer pubsub.Close()
			for range 2 {
				if _, err := pubsub.Receive(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			p := NewPublisher(conn.Client, quiet(), nil)
			p.ReadEpoch(epochOf("k3"))
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { p.Run(ctx) })
			eventually(t, "the epoch is known", func() bool { return p.epoch.Load() != nil })
			var changes []store.Change
			for i := range 300 {
				changes = append(changes, store.Change{Recipient: fmt.Sprintf("u%d", i%100), From: int64(i / 100), Counts: store.Counts{Rev: int64(i/100) + 1}})
			}
			many := store.Change{Recipient: "many", Counts: store.Counts{Rev: 101}, Items: make([]store.Notification, 101)}
			long := store.Change{Recipient: "long", Counts: store.Counts{Rev: 1}, Items: []store.Notification{{Body: strings.Repeat("x", maxLiveBytes)}}}
			erased := store.Change{Recipient: "erased", From: 4, Counts: store.Counts{Rev: 5}, Reset: true}
			p.Committed(changes)
			p.Committed([]store.Change{many, long, erased})
			p.Revoked("u1")
			stop() // what waits is sent still
			running.Wait()

			revs, revoked, messages := make(map[string]int64), false, 0
			for n := 0; n < len(changes)+3 || !revoked; {
				message, err := pubsub.ReceiveTimeout(t.Context(), waitTime)
				if err != nil {
					t.Fatal(err)
				}
				m := message.(*redis.Message)
				if m.Channel == controlChannel {
					revoked = m.Payload == `{"revoked":"u1"}`
					continue
				}
				messages++
				eachChange(t, m.Payload, func(shard int, sentAt int64, c *change) {
					n++
					if shard != shardOf(c.recipient) || c.epoch != "k3" || time.Since(time.UnixMicro(sentAt)) > time.Minute {
						t.Errorf("%s in shard %d, epoch %q", c.recipient, shard, c.epoch)
					}
					hint := c.recipient == "many" || c.recipient == "long" || c.recipient == "erased"
					if hint != (len(c.frame) == 0) {
						t.Errorf("%s: a frame of %d bytes", c.recipient, len(c.frame))
					}
					if !hint && c.from != revs[c.recipient] {
						t.Errorf("%s: from %d after %d", c.recipient, c.from, revs[c.recipient])
					}
					revs[c.recipient] = c.rev
				})
			}
			if messages > 5 { // one for each piece that add has queued
				t.Errorf("%d messages", messages)
			}
		})
	}
}

// eachChange takes a message of inboxChannel apart.
func eachChange(t *testing.T, payload string, do func(shard int, sentAt int64, c *change)) {
	t.Helper()
	m := readMessage(payload)
	for m.next() {
		var c change
		batch := readBatch(m.batch)
		for batch.next(&c) {
			do(m.shard, batch.sentAt, &c)
		}
		if batch.err != nil {
			t.Error(batch.err)
		}
	}
	if m.fields.err != nil {
		t.Error(m.fields.err)
	}
}

type epochOf string

func (e epochOf) Heads(context.Context, []string) (string, []store.Head, error) {
	return string(e), nil, nil
}

func TestPublisherDropsAndCountsWithoutRedis(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // where nobody answers
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), MaxRetries: -1, DialerRetries: 1, DialTimeout: 100 * time.Millisecond})
	listener.Close()
	defer client.Close()
	r := &rig{registry: prometheus.NewRegistry()}
	p := NewPublisher(client, quiet(), r.registry)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	p.Committed(make([]store.Change, 7))
	eventually(t, "they are dropped", func() bool { return r.metric(t, "duebell_publish_dropped_total") == 7 })
	stop()
	running.Wait()

	// Nobody runs: the queue is bounded, and a full one blocks nobody.
	p.Committed(make([]store.Change, maxQueuedChanges))
	p.Committed(make([]store.Change, 5))
	if n := r.metric(t, "duebell_publish_dropped_total"); n != 12 {
		t.Errorf("%v were dropped", n)
	}
}

// TestAQueuedChangeKeepsItsEpoch when the database is restored before it is published: it is none of the new life. Before an
// epoch is known, a change is only a hint.
func TestAQueuedChangeKeepsItsEpoch(t *testing.T) {
	conn, err := redisconn.Open(t.Context(), "embedded", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pubsub := conn.Client.Subscribe(t.Context(), inboxChannel)
	defer pubsub.Close()
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(conn.Client, quiet(), nil)
	before, after := "k1", "k2"
	p.epoch.Store(&before)
	p.Committed([]store.Change{{Recipient: "u", Counts: store.Counts{Rev: 1}, Items: []store.Notification{{ID: "n", Rev: 1, CreatedRev: 1}}}})
	p.epoch.Store(&after) // the database was restored, and followEpoch has seen it
	p.publishQueued(t.Context())
	message, err := pubsub.ReceiveTimeout(t.Context(), waitTime)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	eachChange(t, message.(*redis.Message).Payload, func(_ int, _ int64, c *change) {
		if n++; c.epoch == after {
			t.Errorf("a change of epoch %s is labelled %s", before, c.epoch)
		}
	})
	if n != 1 {
		t.Errorf("%d changes", n)
	}
}
