// Package hops measures the hops of a notification's way, by the names of the README's table.
package hops

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The hops that programs measure, in their order. Some overlap, so their sum isn't the whole way; where two machines are involved, a
// hop is of both clocks.
const (
	// Tick is from the instant of a cron tick to its row being there, by the installation's clock.
	Tick = "tick"
	// Enqueue is from the relay having claims of the outbox, as many as it has at once, to Redis having all of their tasks. Ticks aren't
	// among them.
	Enqueue = "enqueue"
	// Handle is from the making of a task, at the start of Enqueue, to a worker having it: at each try, and not for what a tick begins.
	Handle = "handle"
	// Insert is from a worker having a task to its last commit, if it ends well; of a reminder run, one batch and its commit.
	Insert = "insert"
	// Publish is from a commit, the oldest of those that wait for Redis, to what Redis answers.
	Publish = "publish"
	// Receive is from the publisher's making of a message, within Publish, to a pusher having read it.
	Receive = "receive"
	// Deliver is from there to the batch of a shard being with the sessions that it is for; without any it isn't counted.
	Deliver = "deliver"
	// Write is from there to their sockets having taken it. It is of the last batch of those that go out at once.
	Write = "write"
)

// Milliseconds when all is well, and minutes after an outage.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300}

// Hops is the histogram duebell_hop_seconds.
type Hops struct{ seconds *prometheus.HistogramVec }

// New registers it with r, or takes the one that another part of the process has registered. Nil keeps it to itself.
func New(r prometheus.Registerer) Hops {
	h := Hops{prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duebell_hop_seconds",
		Help: "Time of one hop of a notification's way.", Buckets: buckets}, []string{"hop"})}
	if r == nil {
		return h
	}
	var known prometheus.AlreadyRegisteredError
	if err := r.Register(h.seconds); errors.As(err, &known) {
		if before, ok := known.ExistingCollector.(*prometheus.HistogramVec); ok {
			return Hops{before}
		}
	}
	return h
}

// Of is for those who observe one hop often.
func (h Hops) Of(hop string) prometheus.Observer { return h.seconds.WithLabelValues(hop) }

// Took observes the time since.
func (h Hops) Took(hop string, since time.Time) { h.Of(hop).Observe(time.Since(since).Seconds()) }
