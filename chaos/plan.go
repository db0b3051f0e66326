package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The forms that an installation can have.
const (
	formServices = "services" // two of each program on PostgreSQL and Redis
	formEmbedded = "embedded" // one process on SQLite and a Redis of its own
)

// shape is what of an installation faults may name. It depends on the form only.
type shape struct {
	form     string
	programs []string
	proxies  []string // KIND/NAME: api, socket, postgres or redis, and the program that is on this side
}

func shapeOf(form string) shape {
	if form == formEmbedded {
		return shape{form: form, programs: []string{"duebell"}, proxies: []string{"api/duebell", "socket/duebell"}}
	}
	s := shape{form: form}
	for _, program := range []string{"scheduler", "worker", "pusher"} {
		for i := range 2 {
			name := fmt.Sprintf("%s-%d", program, i+1)
			s.programs = append(s.programs, name)
			s.proxies = append(s.proxies, "postgres/"+name, "redis/"+name)
			switch program {
			case "scheduler":
				s.proxies = append(s.proxies, "api/"+name)
			case "pusher":
				s.proxies = append(s.proxies, "socket/"+name)
			}
		}
	}
	return s
}

// of lists the proxies of some kinds.
func (s shape) of(kinds ...string) []string {
	var list []string
	for _, p := range s.proxies {
		kind, _, _ := strings.Cut(p, "/")
		if slices.Contains(kinds, kind) {
			list = append(list, p)
		}
	}
	return list
}

// plan is everything that a seed decides.
type plan struct {
	seed uint64
	form string
	aof  bool // Redis keeps an append-only file
	twin bool // each program is process 1 of a host of the same name, as in containers
	acts []planned
}

type planned struct {
	at   time.Duration // after the first fault may come
	name string        // of the fault
	act
}

func (p planned) String() string {
	s := p.name + " " + p.text
	if p.lasts > 0 {
		s += fmt.Sprintf(" for %.1fs", p.lasts.Seconds())
	}
	return s
}

// newPlan makes the schedule. It is a pure function of its arguments: a seed that failed breaks the same things at the
// same times again. Faults are dealt like cards, so that each comes before any comes twice as often as the table says. only
// names those that come; empty: all.
func newPlan(seed uint64, form string, duration, every time.Duration, only ...string) plan {
	s := shapeOf(form)
	r := rand.New(rand.NewPCG(seed, uint64(len(form))))
	p := plan{seed: seed, form: form, aof: r.IntN(2) == 1, twin: r.IntN(2) == 1}
	var cards []fault
	at := time.Duration(float64(every) * r.Float64())
	for at < duration {
		if len(cards) == 0 {
			for _, f := range faults {
				if slices.Contains(f.forms, form) && (len(only) == 0 || slices.Contains(only, f.name)) {
					cards = append(cards, slices.Repeat([]fault{f}, f.weight)...)
				}
			}
			if len(cards) == 0 {
				return p
			}
			r.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
		}
		f := cards[0]
		cards = cards[1:]
		p.acts = append(p.acts, planned{at.Round(time.Millisecond), f.name, f.draw(r, s)})
		at += time.Duration(float64(every) * (0.5 + r.Float64()))
	}
	return p
}

func one[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// between is a time of tenths of a second.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)/1e8+1))*100*time.Millisecond
}
