package ingest

import (
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"duebell/internal/auth"
	"duebell/internal/problem"
	"duebell/internal/ratelimit"
)

// pace bounds how fast each caller calls: the subject of a good token, or else an address. Neither can use up what is another's.
type pace struct {
	subjects, addresses *ratelimit.Limiter[string]
	limited             *prometheus.CounterVec
}

func newPace(perSecond int, registry prometheus.Registerer) *pace {
	p := &pace{
		subjects: ratelimit.New[string](perSecond, 2*perSecond), addresses: ratelimit.New[string](perSecond, 2*perSecond),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "duebell_ingest_limited_total",
			Help: "Calls of the ingest and operator APIs that were answered with 429: by the subject of a token, or the address of who had none.",
		}, []string{"by"}),
	}
	p.limited.WithLabelValues("subject")
	p.limited.WithLabelValues("address")
	if registry != nil {
		registry.MustRegister(p.limited)
	}
	return p
}

// busy answers a call that comes too early.
func (p *pace) busy(r *http.Request, token auth.ServiceToken, refused error) *problem.Problem {
	by, limiter, key := "subject", p.subjects, token.Subject
	if refused != nil {
		by, limiter = "address", p.addresses
		key, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	wait, ok := limiter.Allow(key)
	if ok {
		return nil
	}
	p.limited.WithLabelValues(by).Inc()
	answer := problem.TooManyRequests("this "+by+" calls too often; nothing was done, so the same call again later is safe", wait)
	return &answer
}
