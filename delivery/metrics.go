package delivery

import (
	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/hops"
)

type publisherMetrics struct {
	published prometheus.Counter
	dropped   *prometheus.CounterVec
	publish   prometheus.Observer // the hop
}

func newPublisherMetrics(registry prometheus.Registerer) *publisherMetrics {
	m := &publisherMetrics{
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "duebell_published_total",
			Help: "Changes of inboxes that were handed to Redis.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_publish_dropped_total",
			Help: "Changes that were not handed to Redis, by reason; pushers find them in the database.",
		}, []string{"reason"}),
		publish: hops.New(registry).Of(hops.Publish),
	}
	m.dropped.WithLabelValues("queue_full")
	m.dropped.WithLabelValues("redis")
	register(registry, m.published, m.dropped)
	return m
}

// Why a session reads the store.
const (
	catchupResume   = "resume"    // it connected with a cursor
	catchupGap      = "gap"       // a frame came that doesn't follow what the session has
	catchupSlow     = "slow"      // its socket was full
	catchupSweep    = "sweep"     // the store had more than the session
	catchupRestored = "restored"  // the store has another epoch, or less than the session
	catchupMissed   = "reconnect" // the subscription had a gap
)

// Where a user has too many sessions.
const (
	overHere       = "here"
	overEverywhere = "everywhere"
)

// Who came too often.
const (
	limitedUser    = "user"    // requests
	limitedSocket  = "socket"  // sockets of a user
	limitedAddress = "address" // requests without a good token
)

type pusherMetrics struct {
	framesSent      prometheus.Counter
	catchups        *prometheus.CounterVec
	heals           prometheus.Counter
	resets          prometheus.Counter
	deliverySeconds prometheus.Histogram
	// Hops of batches that sessions here are for.
	receive, deliver, write prometheus.Observer
	receiveDropped          prometheus.Counter
	subscribed              prometheus.Gauge
	requests                *prometheus.CounterVec
	ended                   *prometheus.CounterVec
	refused                 *prometheus.CounterVec
	overLimit               *prometheus.CounterVec
	limited                 *prometheus.CounterVec
	storeErrors             prometheus.Counter
}

func newPusherMetrics(registry prometheus.Registerer, sessions func() float64) *pusherMetrics {
	m := &pusherMetrics{
		framesSent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "duebell_frames_sent_total",
			Help: "Frames with changes that were written to sessions, live ones and those of catching up.",
		}),
		catchups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_catchups_total",
			Help: "Times that a session had to read the store, by reason.",
		}, []string{"reason"}),
		heals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "duebell_sweep_heals_total",
			Help: "Sessions for which the sweep found changes that no message had told of.",
		}),
		resets: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "duebell_resets_total",
			Help: "Sessions that were told to start over.",
		}),
		deliverySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "duebell_delivery_seconds",
			Help:    "From handing a change to Redis to having written it to the sessions here (clocks of both machines).",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		receiveDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "duebell_received_dropped_total",
			Help: "Messages from Redis that were dropped because delivery was too slow; a sweep follows.",
		}),
		subscribed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "duebell_subscribed",
			Help: "1 while this pusher is subscribed to all shards.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_client_messages_total",
			Help: "Messages of clients, by type.",
		}, []string{"type"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_sessions_closed_total",
			Help: "Sessions that this side closed, by close code.",
		}, []string{"code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_handshakes_refused_total",
			Help: "Upgrade requests that were refused, by reason.",
		}, []string{"reason"}),
		overLimit: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_user_sessions_over_limit_total",
			Help: "Sessions that were closed because their user had too many: on this pusher (here), or on all of them (everywhere).",
		}, []string{"where"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_inbox_limited_total",
			Help: "Requests and sockets that were refused with 429: of a user, or without a good token by address.",
		}, []string{"by"}),
		storeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "duebell_pusher_store_errors_total",
			Help: "Reads of the database for sessions that failed and were tried again.",
		}),
	}
	h := hops.New(registry)
	m.receive, m.deliver, m.write = h.Of(hops.Receive), h.Of(hops.Deliver), h.Of(hops.Write)
	for _, reason := range []string{catchupResume, catchupGap, catchupSlow, catchupSweep, catchupRestored, catchupMissed} {
		m.catchups.WithLabelValues(reason)
	}
	m.overLimit.WithLabelValues(overHere)
	m.overLimit.WithLabelValues(overEverywhere)
	for _, by := range []string{limitedUser, limitedSocket, limitedAddress} {
		m.limited.WithLabelValues(by)
	}
	register(registry, m.framesSent, m.catchups, m.heals, m.resets, m.deliverySeconds, m.receiveDropped, m.subscribed,
		m.requests, m.ended, m.refused, m.overLimit, m.limited, m.storeErrors,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "duebell_sessions",
			Help: "Sessions that are open, sockets and streams.",
		}, sessions))
	return m
}

func register(registry prometheus.Registerer, all ...prometheus.Collector) {
	if registry != nil {
		registry.MustRegister(all...)
	}
}
