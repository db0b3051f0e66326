package delivery

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestTracesOfLiveFrames(t *testing.T) {
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		began := time.Now().Truncate(time.Microsecond)
		here := start(t, dbURL, redisURL, nil)
		there := start(t, dbURL, redisURL, func(o *Options) { o.Redis = here.options.Redis })
		phone, laptop := here.connect(t, newReplica(here.db, "ada")), there.connect(t, newReplica(there.db, "ada"))
		phone.waitType("hello")
		laptop.waitType("hello")
		eventually(t, "the publisher knows the epoch", func() bool { return here.publisher.epoch.Load() != nil })
		mustTell(t, here.db, 2, "ada", "nobody")
		mustTell(t, here.db, 1, "ada")
		phone.waitRev(3)
		laptop.waitRev(3)

		var traces []LiveTrace
		keys := []TraceKey{{"ada", 2}, {"ada", 3}, {"nobody", 1}, {"ada", 4}}
		eventually(t, "both pushers tell when they wrote two frames", func() bool {
			var pushers int
			var err error
			if traces, pushers, err = AskTraces(t.Context(), here.subscriber.redis, keys); err != nil || pushers != 2 {
				t.Fatalf("%d pushers answer, %v", pushers, err)
			}
			whole := 0
			for _, l := range traces {
				if !l.Written.IsZero() {
					whole++
				}
			}
			return whole == 4
		})
		seen := make(map[string]bool)
		for _, l := range traces {
			seen[fmt.Sprint(l.TraceKey, l.Pusher)] = true
			if l.Sessions != 1 || l.Published.Before(began) || l.Received.Before(l.Published) || l.Written.Before(l.Received) || l.Written.After(time.Now()) {
				t.Errorf("%+v", l)
			}
		}
		for _, key := range keys[:2] {
			for _, r := range []*rig{here, there} {
				if !seen[fmt.Sprint(key, r.subscriber.name)] {
					t.Errorf("no trace of %v on a pusher; there are %+v", key, traces)
				}
			}
		}
		families, err := here.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var hops []string
		for _, family := range families {
			if family.GetName() == "duebell_hop_seconds" {
				for _, m := range family.GetMetric() {
					if m.GetHistogram().GetSampleCount() > 0 {
						hops = append(hops, m.GetLabel()[0].GetValue())
					}
				}
			}
		}
		if want := []string{"deliver", "publish", "receive", "write"}; !slices.Equal(hops, want) {
			t.Errorf("measured %v, want %v", hops, want)
		}

		there.stop()
		if _, pushers, err := AskTraces(t.Context(), here.subscriber.redis, keys); pushers != 1 || err != nil {
			t.Errorf("%d pushers answer when one is left, %v", pushers, err)
		}
	})
}

func TestTraceRing(t *testing.T) {
	var r traceRing
	if _, ok := r.find("ada", 1); ok || r.ring != nil {
		t.Error("an empty one finds something, or takes memory")
	}
	r.written(1)
	for rev := range int64(3 * maxTraces) {
		r.add(&change{recipient: "ada", from: 2 * rev, rev: 2*rev + 2}, 1, rev, rev)
		if rev%3 == 0 {
			r.written(rev)
		}
	}
	last := int64(6 * maxTraces)
	for _, test := range []struct {
		rev, written int64
		found        bool
	}{{last, 0, true}, {last - 1, 0, true}, {last - 5, 3*maxTraces - 3, true}, {last + 1, 0, false}, {last - 2*maxTraces + 1, 2 * maxTraces, true}, {last - 2*maxTraces, 0, false}} {
		e, ok := r.find("ada", test.rev)
		if ok != test.found || ok && (test.written != 0) != (e.written != 0) {
			t.Errorf("rev %d: %+v, %v", test.rev, e, ok)
		}
	}
	if _, ok := r.find("bob", last); ok {
		t.Error("another's frame is found")
	}
	if n := testing.AllocsPerRun(100, func() {
		r.add(&change{recipient: "ada", from: 1, rev: 2}, 1, 1, 1)
		r.written(1)
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
