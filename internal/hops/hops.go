// Package hops measures the hops of a notification's way, by the names of the README's table.
package hops

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The hops that programs measure. Each lasts from the end of the one before; where two machines are involved, by both clocks.
const (
	Tick    = "tick"    // from the instant of a cron tick to its row
	Enqueue = "enqueue" // from the commit that claimed a row to Redis having its task
	Handle  = "handle"  // from there to a worker having the task
	Insert  = "insert"  // from there to the commit, or of one batch of a reminder run
	Publish = "publish" // from there to the message being handed to Redis
	Receive = "receive" // from there to a pusher having read it
	Deliver = "deliver" // from there to the sessions that it is for
	Write   = "write"   // from there to the sockets having taken it
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
