package jobs

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/hops"
)

// Metrics is what schedulers and workers count. One serves any number of both in a process.
type Metrics struct {
	outboxPending, outboxAge prometheus.Gauge
	dueNow                   prometheus.Gauge
	parked                   *prometheus.GaugeVec
	hops                     hops.Hops
	enqueued                 *prometheus.CounterVec
	ticks                    *prometheus.CounterVec
	tasks                    *prometheus.CounterVec
	taskTime                 *prometheus.HistogramVec
	decisions                *prometheus.CounterVec
	claimed                  prometheus.Counter
	notifications            *prometheus.CounterVec
	drift                    prometheus.Gauge
	rederived                prometheus.Counter
	pruned                   *prometheus.CounterVec
}

// Tasks take milliseconds when all is well, and minutes after an outage.
var taskBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300}

// scrapeTimeout bounds what a scrape waits for Redis.
const scrapeTimeout = 2 * time.Second

// NewMetrics registers with r; nil keeps them to itself.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		outboxPending: prometheus.NewGauge(prometheus.GaugeOpts{Name: "duebell_outbox_pending",
			Help: "Committed status changes and messages that are not told yet."}),
		outboxAge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "duebell_outbox_oldest_age_seconds",
			Help: "Age of the oldest of them."}),
		dueNow: prometheus.NewGauge(prometheus.GaugeOpts{Name: "duebell_due_now",
			Help: "Rows of the due queue whose time has come."}),
		parked: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "duebell_parked",
			Help: "Rows that could not be written or put into words and wait for somebody to look."}, []string{"what"}),
		hops:     hops.New(r),
		enqueued: counter("duebell_enqueued_total", "Tasks given to Redis.", "type", "result"),
		ticks:    counter("duebell_ticks_total", "Cron ticks that this process added first, or enqueued.", "job", "event"),
		tasks:    counter("duebell_tasks_total", "Tasks that were worked on.", "type", "result"),
		taskTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duebell_task_seconds",
			Help: "Time that a task took.", Buckets: taskBuckets}, []string{"type"}),
		decisions: counter("duebell_decisions_total", "Decisions on reminders.", "outcome", "reason"),
		claimed: prometheus.NewCounter(prometheus.CounterOpts{Name: "duebell_due_claimed_total",
			Help: "Rows of the due queue that runs looked at."}),
		notifications: counter("duebell_notifications_total", "Notifications that were written outside of reminder runs.", "source"),
		drift: prometheus.NewGauge(prometheus.GaugeOpts{Name: "duebell_due_drift",
			Help: "Rows of the due queue that differed from a fresh derivation when last compared."}),
		rederived: prometheus.NewCounter(prometheus.CounterOpts{Name: "duebell_due_rederived_total",
			Help: "Rows of the due queue that were derived again in the background."}),
		pruned: counter("duebell_pruned_total", "Rows that retention removed or took the words from.", "what"),
	}
	r.MustRegister(m.outboxPending, m.outboxAge, m.dueNow, m.parked, m.enqueued, m.ticks, m.tasks, m.taskTime, m.decisions, m.claimed,
		m.notifications, m.drift, m.rederived, m.pruned)
	return m
}

// queueCollector reads the sizes of the queues when somebody looks.
type queueCollector struct {
	queues *QueueReader
	size   *prometheus.Desc
	up     *prometheus.Desc
}

// NewQueueCollector is the state of the Asynq queues, read from Redis at each scrape. One process of an installation is
// enough to export it.
func NewQueueCollector(queues *QueueReader) prometheus.Collector {
	return &queueCollector{
		queues: queues,
		size:   prometheus.NewDesc("duebell_queue_tasks", "Tasks in a queue.", []string{"queue", "state"}, nil),
		up:     prometheus.NewDesc("duebell_queue_up", "Whether the queues could be read from Redis.", nil, nil),
	}
}

func (c *queueCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.size
	out <- c.up
}

func (c *queueCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	sizes, err := c.queues.Sizes(ctx)
	up := 1.0
	if err != nil {
		up = 0
	}
	out <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	for _, s := range sizes {
		for state, n := range map[string]int64{"pending": s.Pending, "active": s.Active, "scheduled": s.Scheduled,
			"retry": s.Retry, "archived": s.Archived, "completed": s.Completed} {
			out <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(n), s.Queue, state)
		}
	}
}
