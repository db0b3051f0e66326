package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// toxin is a toxic of Toxiproxy and the stream that it poisons: upstream is what clients of the proxy send.
type toxin struct {
	typ, stream, attributes string
}

func (t toxin) String() string { return t.typ + " " + t.stream + " " + t.attributes }

var streams = []string{"upstream", "downstream"}

// toxic is a fault of one proxy.
func toxic(name string, weight int, forms, kinds []string, draw func(r *rand.Rand) []toxin) fault {
	return fault{name, weight, forms, func(r *rand.Rand, s shape) act {
		proxy, toxins := one(r, s.of(kinds...)), draw(r)
		var texts []string
		for _, t := range toxins {
			texts = append(texts, t.String())
		}
		var remove func() error
		return act{text: proxy + " (" + strings.Join(texts, ", ") + ")", lasts: between(r, time.Second, 12*time.Second),
			do: func(_ context.Context, in *installation) (err error) {
				remove, err = in.proxies[proxy].poison(toxins)
				return err
			},
			undo: func(*installation) error { return remove() }}
	}}
}

func latency(r *rand.Rand) []toxin {
	ms := 50 + r.IntN(1500)
	return []toxin{{"latency", one(r, streams), fmt.Sprintf(`{"latency":%d,"jitter":%d}`, ms, ms/3)}}
}

func bandwidth(r *rand.Rand) []toxin {
	return []toxin{{"bandwidth", one(r, streams), fmt.Sprintf(`{"rate":%d}`, 1+r.IntN(20))}}
}

func reset(r *rand.Rand) []toxin {
	return []toxin{{"reset_peer", one(r, streams), fmt.Sprintf(`{"timeout":%d}`, r.IntN(1000))}}
}

// halfOpen is a connection of which both ends think that it stands while nothing passes.
func halfOpen(*rand.Rand) []toxin {
	return []toxin{{"timeout", "upstream", `{"timeout":0}`}, {"timeout", "downstream", `{"timeout":0}`}}
}

// lostReplies lets requests through and not their answers: what was asked for is committed, and nobody hears of it.
func lostReplies(r *rand.Rand) []toxin {
	if r.IntN(2) == 0 {
		return []toxin{{"timeout", "downstream", `{"timeout":0}`}}
	}
	return []toxin{{"limit_data", "downstream", fmt.Sprintf(`{"bytes":%d}`, 1+r.IntN(6000))}}
}
