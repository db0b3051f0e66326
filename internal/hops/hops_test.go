package hops

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestPartsOfAProcessShareOneHistogram(t *testing.T) {
	r := prometheus.NewRegistry()
	New(r).Took(Insert, time.Now())
	New(r).Of(Publish).Observe(1)
	New(nil).Took(Write, time.Now())
	families, err := r.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "duebell_hop_seconds" || len(families[0].GetMetric()) != 2 {
		t.Errorf("%v, %v", families, err)
	}
}
