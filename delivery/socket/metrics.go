package socket

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters of a loop: each loop has its own, so that they don't share cache lines.
type counters struct {
	accepted, crowded, hasty, evicted, expired, refused, web atomic.Uint64
	opened, received, written, full, pings                   atomic.Uint64
	closedBy                                                 [len(closeCodes) + 1]atomic.Uint64
	_                                                        [64]byte
}

// closeCodes are counted by themselves, others together.
var closeCodes = [...]int{1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4408, 4429}

func (n *counters) closed(code int) {
	for i, known := range closeCodes {
		if code == known {
			n.closedBy[i].Add(1)
			return
		}
	}
	n.closedBy[len(closeCodes)].Add(1)
}

var (
	descConns    = desc("connections", "Open WebSocket connections.")
	descSockets  = desc("sockets", "All connections of the public port, HTTP and handshakes included.")
	descBuffered = desc("buffered_bytes", "Bytes of messages and requests that haven't come whole.")
	descAccepted = desc("accepted_total", "Connections accepted.")
	descWeb      = desc("http_connections_total", "Connections handed to net/http.")
	descOpened   = desc("opened_total", "WebSocket connections opened.")
	descRefused  = desc("handshakes_failed_total", "Handshakes that came to nothing: refused by an answer, late, or given up for newer ones.", "why")
	descCrowded  = desc("address_limit_total", "Connections refused because their address had as many as one may have.")
	descHasty    = desc("address_rate_total", "Connections refused because their address opened them faster than one may.")
	descClosed   = desc("closed_total", "WebSocket connections ended, by close code; 1006 broke off.", "code")
	descReceived = desc("messages_received_total", "Whole messages of clients.")
	descWritten  = desc("frames_written_total", "Frames taken for clients.")
	descFull     = desc("full_total", "Times that a client had not read the frame before and one was not taken.")
	descPings    = desc("pings_total", "Pings sent.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("duebell_socket_"+name, help, labels, nil)
}

// Describe is prometheus.Collector's: a Server can be registered.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConns, descSockets, descBuffered, descAccepted, descWeb, descOpened, descRefused, descCrowded, descHasty,
		descClosed, descReceived, descWritten, descFull, descPings} {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	gauge := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter := func(d *prometheus.Desc, of func(*counters) *atomic.Uint64, labels ...string) {
		var sum uint64
		for _, l := range loops {
			sum += of(&l.count).Load()
		}
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(sum), labels...)
	}
	gauge(descConns, s.conns.Load())
	gauge(descSockets, s.sockets.Load())
	gauge(descBuffered, s.limits.held.Load())
	counter(descAccepted, func(n *counters) *atomic.Uint64 { return &n.accepted })
	counter(descWeb, func(n *counters) *atomic.Uint64 { return &n.web })
	counter(descOpened, func(n *counters) *atomic.Uint64 { return &n.opened })
	counter(descRefused, func(n *counters) *atomic.Uint64 { return &n.refused }, "refused")
	counter(descRefused, func(n *counters) *atomic.Uint64 { return &n.expired }, "late")
	counter(descRefused, func(n *counters) *atomic.Uint64 { return &n.evicted }, "given_up")
	counter(descCrowded, func(n *counters) *atomic.Uint64 { return &n.crowded })
	counter(descHasty, func(n *counters) *atomic.Uint64 { return &n.hasty })
	counter(descReceived, func(n *counters) *atomic.Uint64 { return &n.received })
	counter(descWritten, func(n *counters) *atomic.Uint64 { return &n.written })
	counter(descFull, func(n *counters) *atomic.Uint64 { return &n.full })
	counter(descPings, func(n *counters) *atomic.Uint64 { return &n.pings })
	for i := range len(closeCodes) + 1 {
		code := "other"
		if i < len(closeCodes) {
			code = strconv.Itoa(closeCodes[i])
		}
		counter(descClosed, func(n *counters) *atomic.Uint64 { return &n.closedBy[i] }, code)
	}
}
