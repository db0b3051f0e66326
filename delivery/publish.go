package delivery

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"duebell/store"
)

const (
	// What waits for Redis. Beyond it changes are dropped: pushers find them in the store at their next sweep.
	maxQueuedChanges = 100_000
	maxQueuedBytes   = 64 << 20
	// encodeAtOnce: the first changes of a large transaction are on their way while the others are encoded.
	encodeAtOnce = 256
	// A message is at most about this long, unless one change is longer.
	maxMessageBytes = 256 << 10
	// A change with more is only hinted at, and sessions read it in pages.
	maxLiveItems = 100
	maxLiveBytes = 512 << 10

	// Buffers up to here are kept for the next batch of a shard: together that is no more than a run of reminders needs.
	maxKeptBatch = 16 << 10

	publishTimeout = 3 * time.Second
	flushTimeout   = 2 * time.Second // at the end
	epochInterval  = 30 * time.Second
)

// Publisher tells all pushers what was committed, through Redis. It loses messages when Redis does, and when more waits
// than it may keep: the pushers' sweep finds what was missed. It is safe for concurrent use.
type Publisher struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	metrics *publisherMetrics

	epochs epochReader
	epoch  atomic.Pointer[string]

	mu      sync.Mutex
	queue   []change
	oldest  time.Time // when the first of them came
	bytes   int       // of frames in queue
	control []string  // payloads for controlChannel
	wake    chan struct{}

	batches [shards][]byte // publish's own, kept for the next time
}

// epochReader is what the epoch is read from: a *store.DB.
type epochReader interface {
	Heads(ctx context.Context, recipients []string) (epoch string, heads []store.Head, err error)
}

// NewPublisher makes a publisher; it sends once Run runs. The registry may be nil.
func NewPublisher(client redis.UniversalClient, log *slog.Logger, registry prometheus.Registerer) *Publisher {
	return &Publisher{
		redis:   client,
		log:     log,
		metrics: newPublisherMetrics(registry),
		wake:    make(chan struct{}, 1),
	}
}

// ReadEpoch lets Run find out the database's epoch, which then travels with each change: a session of a database that was
// restored since is reset at once. Without it the sweep does that within its interval. Call it before Run.
func (p *Publisher) ReadEpoch(db epochReader) { p.epochs = db }

// Committed queues what a transaction did to inboxes. It never blocks; call it after the commit, with what
// store.Options.Committed gets.
func (p *Publisher) Committed(changes []store.Change) {
	for some := range slices.Chunk(changes, encodeAtOnce) {
		p.add(some)
	}
}

func (p *Publisher) add(changes []store.Change) {
	encoded := make([]change, 0, len(changes))
	size := 0
	// The epoch is that of the moment of the commit: what still waits when the database is restored must not pass for a change
	// of its new life. While it isn't known, sessions read the store.
	known := p.epoch.Load()
	for i := range changes {
		c := encodeChange(&changes[i])
		switch {
		case known != nil:
			c.epoch = *known
		case p.epochs != nil:
			c.frame = nil
		}
		size += len(c.frame)
		encoded = append(encoded, c)
	}
	p.mu.Lock()
	full := len(p.queue)+len(encoded) > maxQueuedChanges || p.bytes+size > maxQueuedBytes
	if !full {
		if len(p.queue) == 0 {
			p.oldest = time.Now()
		}
		p.queue = append(p.queue, encoded...)
		p.bytes += size
	}
	p.mu.Unlock()
	if full {
		p.metrics.dropped.WithLabelValues("queue_full").Add(float64(len(encoded)))
		return
	}
	p.signal()
}

// encodeChange makes the frame. An inbox that was erased, and a change too big for one frame, are only a hint.
func encodeChange(c *store.Change) change {
	out := change{recipient: c.Recipient, from: c.From, rev: c.Rev}
	if c.Reset || len(c.Items)+len(c.Removed) > maxLiveItems {
		return out
	}
	out.frame = changesFrame(c.From, c.Rev, c.Counts, c.Items, c.Removed, c.ReadThrough)
	if len(out.frame) > maxLiveBytes {
		out.frame = nil
	}
	return out
}

// Revoked tells all pushers that tokens of a user were revoked, once that is committed (store.DB.Revoke). It never blocks.
func (p *Publisher) Revoked(userID string) {
	payload, _ := json.Marshal(controlMessage{Revoked: userID}) // a string always encodes
	p.mu.Lock()
	full := len(p.control) >= maxQueuedChanges
	if !full {
		p.control = append(p.control, string(payload))
	}
	p.mu.Unlock()
	if full {
		p.metrics.dropped.WithLabelValues("queue_full").Inc()
		return
	}
	p.signal()
}

func (p *Publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

// Run publishes until ctx is done, then, for two seconds at most, what still waits, and returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	var reading sync.WaitGroup
	defer reading.Wait()
	if p.epochs != nil {
		reading.Go(func() { p.followEpoch(ctx) })
	}
	// A round trip that is under way is ended by its time-out alone: ctx would drop what it carries.
	working := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-p.wake:
			p.publishQueued(working)
		}
	}
	ending, cancel := context.WithTimeout(working, flushTimeout)
	defer cancel()
	p.publishQueued(ending)
	return nil
}

func (p *Publisher) followEpoch(ctx context.Context) {
	for {
		wait := epochInterval
		if epoch, _, err := p.epochs.Heads(ctx, nil); err == nil {
			p.epoch.Store(&epoch)
		} else if p.epoch.Load() == nil {
			wait = time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// publishQueued sends all that waits at this moment.
func (p *Publisher) publishQueued(ctx context.Context) {
	p.mu.Lock()
	queue, control, oldest := p.queue, p.control, p.oldest
	p.queue, p.control, p.bytes = nil, nil, 0
	p.mu.Unlock()
	const atOnce = 2000
	for len(queue)+len(control) > 0 {
		n := min(atOnce, len(queue))
		p.publish(ctx, queue[:n], control)
		if n > 0 {
			p.metrics.publish.Observe(time.Since(oldest).Seconds())
		}
		queue, control = queue[n:], nil
	}
}

// publish sends changes with one round trip: a message or a few, with a batch for each shard that has any. Only Run calls it.
func (p *Publisher) publish(ctx context.Context, changes []change, control []string) {
	pipe := p.redis.Pipeline()
	var counts []int // of changes, by command
	left := 0        // bytes that aren't in a message yet
	for i := range changes {
		left += len(changes[i].frame) + len(changes[i].recipient) + changeHead
	}
	var message []byte
	inMessage := 0
	send := func() {
		pipe.Publish(ctx, inboxChannel, message)
		counts = append(counts, inMessage)
		message, inMessage = nil, 0
	}
	batches := &p.batches
	var inBatch [shards]int
	var epochs [shards]string // of the batches
	pack := func(shard int) {
		if inMessage > 0 && len(message)+len(batches[shard]) > maxMessageBytes {
			send()
		}
		if message == nil {
			message = make([]byte, 0, max(len(batches[shard]), min(left, maxMessageBytes))+shards*batchHead)
		}
		left -= len(batches[shard])
		message = appendBatch(message, shard, batches[shard])
		inMessage += inBatch[shard]
		inBatch[shard] = 0
		if batches[shard] = batches[shard][:0]; cap(batches[shard]) > maxKeptBatch {
			batches[shard] = nil
		}
	}
	sentAt := time.Now().UnixMicro()
	for i := range changes {
		c := &changes[i]
		shard := shardOf(c.recipient)
		if len(batches[shard]) > 0 && (len(batches[shard])+len(c.frame) > maxMessageBytes || epochs[shard] != c.epoch) {
			pack(shard)
		}
		if len(batches[shard]) == 0 {
			epochs[shard] = c.epoch
			batches[shard] = appendBatchHead(slices.Grow(batches[shard], len(c.frame)+len(c.recipient)+batchHead+changeHead), c.epoch, sentAt)
		}
		batches[shard] = appendChange(batches[shard], c)
		inBatch[shard]++
	}
	for shard := range batches {
		if len(batches[shard]) > 0 {
			pack(shard)
		}
	}
	if inMessage > 0 {
		send()
	}
	for _, payload := range control {
		pipe.Publish(ctx, controlChannel, payload)
		counts = append(counts, 1)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	commands, err := pipe.Exec(ctx)
	if err != nil {
		p.log.Warn("changes were not published; the sweep of the pushers will find them", "error", err)
	}
	for i, n := range counts {
		if i < len(commands) && commands[i].Err() == nil {
			p.metrics.published.Add(float64(n))
		} else {
			p.metrics.dropped.WithLabelValues("redis").Add(float64(n))
		}
	}
}
