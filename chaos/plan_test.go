package main

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

func lines(p plan) (list []string) {
	for _, a := range p.acts {
		list = append(list, fmt.Sprint(a.at, " ", a))
	}
	return list
}

func TestASeedMakesTheSamePlanAgain(t *testing.T) {
	for _, form := range []string{formServices, formEmbedded} {
		first := newPlan(7, form, 10*time.Minute, 5*time.Second)
		again := newPlan(7, form, 10*time.Minute, 5*time.Second)
		if !slices.Equal(lines(first), lines(again)) || first.aof != again.aof || first.twin != again.twin {
			t.Errorf("%s: the same seed makes another plan", form)
		}
		if other := newPlan(8, form, 10*time.Minute, 5*time.Second); slices.Equal(lines(first), lines(other)) {
			t.Errorf("%s: another seed makes the same plan", form)
		}
		if short := newPlan(7, form, time.Minute, 5*time.Second); !slices.Equal(lines(short), lines(first)[:len(short.acts)]) {
			t.Errorf("%s: a shorter run does other things", form)
		}
	}
}

func TestEveryFaultComes(t *testing.T) {
	for _, form := range []string{formServices, formEmbedded} {
		p := newPlan(1, form, 10*time.Minute, 5*time.Second)
		came, last := map[string]bool{}, time.Duration(-1)
		for _, a := range p.acts {
			came[a.name] = true
			if a.at <= last || a.at >= 10*time.Minute {
				t.Errorf("%s: %s at %s after %s", form, a, a.at, last)
			}
			last = a.at
		}
		for _, f := range faults {
			if slices.Contains(f.forms, form) && !came[f.name] {
				t.Errorf("%s: %s never comes in %d faults", form, f.name, len(p.acts))
			}
		}
	}
}

func TestADeployComesOnceAThirdOfTheWay(t *testing.T) {
	opt := options{seed: 7, duration: time.Minute, every: 5 * time.Second}
	without := lines(opt.plan(formServices))
	opt.from = "older"
	with := opt.plan(formServices)
	var deploys []time.Duration
	for _, a := range with.acts {
		if a.name == "deploy" {
			deploys = append(deploys, a.at)
		}
	}
	if !slices.Equal(deploys, []time.Duration{20 * time.Second}) || len(with.acts) != len(without)+1 {
		t.Errorf("deploys at %v among %d faults, %d without", deploys, len(with.acts), len(without))
	}
	if other := opt; !slices.Equal(lines(other.plan(formServices)), lines(with)) {
		t.Error("the same seed deploys in another order")
	}
	orders := map[string]bool{}
	for seed := range uint64(20) {
		opt.seed = seed
		for _, a := range opt.plan(formServices).acts {
			if a.name == "deploy" {
				orders[a.text] = true
			}
		}
	}
	if len(orders) < 10 {
		t.Errorf("20 seeds deploy in %d orders", len(orders))
	}
	if !slices.IsSortedFunc(with.acts, func(a, b planned) int { return cmp.Compare(a.at, b.at) }) {
		t.Error("the faults aren't in order")
	}
}

func TestSeedsDifferInWhatTheyStartWith(t *testing.T) {
	type start struct{ aof, twin bool }
	came := map[start]bool{}
	for seed := range uint64(40) {
		p := newPlan(seed, formServices, time.Second, time.Second)
		came[start{p.aof, p.twin}] = true
	}
	if len(came) != 4 {
		t.Errorf("only %v come", came)
	}
}

func TestFaultsNameWhatIsThere(t *testing.T) {
	s := shapeOf(formServices)
	if len(s.programs) != 6 || len(s.proxies) != 6*2+2+2 || len(s.of("api", "socket")) != 4 {
		t.Errorf("got %+v", s)
	}
	if s := shapeOf(formEmbedded); len(s.of("postgres", "redis")) != 0 || len(s.proxies) != 2 {
		t.Errorf("got %+v", s)
	}
}
