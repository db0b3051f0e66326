package delivery

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"duebell/delivery/socket"
)

const (
	// A probe goes through Redis to this pusher itself, on a channel of its own. Without one for some intervals the
	// subscription counts as dead, whatever the connection seems to be.
	probeInterval = 2 * time.Second
	probeTimeout  = 3 * probeInterval
	probeChannel  = "duebell:probe:" // and the pusher's name
	// enoughPresent is of how many pushers all hear in an interval. The others needn't say that they are there: each
	// message wakes every pusher.
	enoughPresent = 2
	// What has come from Redis and isn't delivered yet. Beyond it messages are dropped, and their shard is swept.
	maxReceived      = 8192 // batches a worker
	maxReceivedBytes = 64 << 20
)

// controlMessage is what goes over controlChannel, as JSON; one field of it is set.
type controlMessage struct {
	Revoked string    `json:"revoked,omitempty"` // a user whose tokens were revoked
	Probe   string    `json:"probe,omitempty"`   // a pusher that is there
	Trace   *traceAsk `json:"trace,omitempty"`   // somebody asks what became of some frames
}

// subscriber listens on one connection and hands what comes to workers, by shard. Its reader never waits for them:
// Redis would cut off a subscriber that is slow.
type subscriber struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	metrics *pusherMetrics
	deliver func(c *change, by *socket.Batch) (written int)
	batch   func() *socket.Batch // of a worker
	revoked func(userID string)
	census  func(payload string)
	// missed says that messages of a shard were lost, or of all for -1.
	missed func(shard int)
	traces []*traceRing // one a worker
	asked  chan traceAsk

	name    string // of this pusher
	up      atomic.Bool
	probed  atomic.Int64 // when the last probe came back, microseconds since 1970
	other   atomic.Int64 // when another pusher was last heard of
	present atomic.Int64 // how often others were since the last probe was sent
	waiting atomic.Int64 // bytes in workers' queues
	workers []chan received
}

type received struct {
	shard int
	batch string
	at    int64 // microseconds since 1970
}

func newSubscriber(client redis.UniversalClient, log *slog.Logger, metrics *pusherMetrics, workers int) *subscriber {
	s := &subscriber{redis: client, log: log, metrics: metrics, name: rand.Text(), asked: make(chan traceAsk, maxAsked)}
	for range max(workers, 1) {
		s.workers = append(s.workers, make(chan received, maxReceived))
		s.traces = append(s.traces, new(traceRing))
	}
	return s
}

// ready is nil while messages come through.
func (s *subscriber) ready() error {
	if !s.up.Load() {
		return errors.New("not subscribed to Redis")
	}
	if since := time.Since(time.UnixMicro(s.probed.Load())); since > probeTimeout {
		return fmt.Errorf("no message of our own came through Redis for %s", since.Round(time.Second))
	}
	return nil
}

// run subscribes, again and again, until ctx is done.
func (s *subscriber) run(ctx context.Context) {
	var group sync.WaitGroup
	for i, queue := range s.workers {
		group.Go(func() {
			by := s.batch()
			defer by.Close()
			var c change // one for all: it would be allocated for each batch
			for m := range queue {
				s.handle(m, &c, by, s.traces[i], len(queue) > 0)
			}
		})
	}
	group.Go(func() { s.probe(ctx) })
	group.Go(func() { s.answerTraces(ctx) })
	pause := firstPause
	for ctx.Err() == nil {
		start := time.Now()
		err := s.subscribeOnce(ctx)
		s.up.Store(false)
		s.metrics.subscribed.Set(0)
		if ctx.Err() != nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			pause = firstPause
		}
		s.log.Warn("the subscription to Redis broke", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
	for _, queue := range s.workers {
		close(queue) // this goroutine is their only sender
	}
	group.Wait()
}

// subscribeOnce subscribes to everything on a new connection and reads it until it breaks.
func (s *subscriber) subscribeOnce(ctx context.Context) error {
	probes := probeChannel + s.name
	channels := []string{inboxChannel, controlChannel, censusChannel, probes}
	pubsub := s.redis.Subscribe(ctx, channels...)
	var once sync.Once
	closeIt := func() { once.Do(func() { pubsub.Close() }) }
	defer closeIt()
	defer context.AfterFunc(ctx, closeIt)() // a read doesn't notice that ctx is done
	confirmed := 0
	for {
		// Probes come all the time: silence means that the connection is dead.
		message, err := pubsub.ReceiveTimeout(ctx, probeTimeout)
		if err != nil {
			return err
		}
		switch m := message.(type) {
		case *redis.Subscription:
			if confirmed++; confirmed > len(channels) {
				return errors.New("the connection was replaced") // by the library; what came between is lost
			}
			if confirmed == len(channels) {
				s.probed.Store(time.Now().UnixMicro())
				s.up.Store(true)
				s.metrics.subscribed.Set(1)
				s.missed(-1)
			}
		case *redis.Message:
			switch m.Channel {
			case inboxChannel:
				s.takeAll(m.Payload)
			case probes:
				s.probed.Store(time.Now().UnixMicro())
			case censusChannel:
				s.census(m.Payload)
			default:
				s.control(m.Payload)
			}
		}
	}
}

// takeAll queues the batches of a message.
func (s *subscriber) takeAll(payload string) {
	m := readMessage(payload)
	now := time.Now().UnixMicro()
	for m.next() {
		s.take(received{m.shard, m.batch, now})
	}
	if m.fields.err != nil {
		s.log.Warn("a message from Redis can't be read", "error", m.fields.err)
		s.missed(-1)
	}
}

// take queues a batch for the worker of its shard, so that a recipient's changes stay in order.
func (s *subscriber) take(m received) {
	size := int64(len(m.batch))
	if s.waiting.Add(size) <= maxReceivedBytes {
		select {
		case s.workers[m.shard%len(s.workers)] <- m:
			return
		default:
		}
	}
	s.waiting.Add(-size)
	s.metrics.receiveDropped.Inc()
	s.missed(m.shard)
}

// handle delivers a batch. What it has written need not go out yet if there is more.
func (s *subscriber) handle(m received, c *change, by *socket.Batch, traces *traceRing, more bool) {
	batch := readBatch(m.batch)
	written := 0
	for batch.next(c) {
		if n := s.deliver(c, by); n > 0 {
			written += n
			traces.add(c, n, batch.sentAt, m.at)
		}
	}
	delivered := time.Now().UnixMicro()
	gone := delivered
	if !more {
		by.Flush()
		gone = time.Now().UnixMicro()
		traces.written(gone)
	}
	s.waiting.Add(-int64(len(m.batch)))
	if batch.err != nil {
		s.log.Warn("a batch from Redis can't be read", "shard", m.shard, "error", batch.err)
		s.missed(m.shard)
	}
	if written > 0 {
		s.metrics.framesSent.Add(float64(written))
		s.metrics.deliverySeconds.Observe(seconds(gone - batch.sentAt))
		s.metrics.receive.Observe(seconds(m.at - batch.sentAt))
		s.metrics.deliver.Observe(seconds(delivered - m.at))
		if !more {
			s.metrics.write.Observe(seconds(gone - delivered))
		}
	}
}

func seconds(microseconds int64) float64 { return float64(microseconds) / 1e6 }

func (s *subscriber) control(payload string) {
	var m controlMessage
	if err := json.Unmarshal([]byte(payload), &m); err != nil {
		s.log.Warn("a control message from Redis can't be read", "error", err)
		return
	}
	switch {
	case m.Revoked != "":
		s.revoked(m.Revoked)
	case m.Probe != "" && m.Probe != s.name:
		s.other.Store(time.Now().UnixMicro())
		s.present.Add(1)
	case m.Trace != nil:
		select {
		case s.asked <- *m.Trace:
		default: // more ask than anybody looks at
		}
	}
}

// others says whether there are other pushers.
func (s *subscriber) others() bool { return time.Since(time.UnixMicro(s.other.Load())) < probeTimeout }

// probe sends this pusher a message through Redis every now and then, and tells the others that it is there.
func (s *subscriber) probe(ctx context.Context) {
	presence, _ := json.Marshal(controlMessage{Probe: s.name}) // a string always encodes
	send := func(time.Time) {
		pipe := s.redis.Pipeline()
		pipe.Publish(ctx, probeChannel+s.name, "")
		if s.present.Swap(0) < enoughPresent {
			pipe.Publish(ctx, controlChannel, presence)
		}
		if _, err := pipe.Exec(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("probe not sent", "error", err)
		}
	}
	send(time.Time{})
	every(ctx, probeInterval, send)
}
