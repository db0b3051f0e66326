package model

import (
	"strings"
	"testing"
)

// Four revs each; the rows of a page are fewer than a rev may change.
var (
	everything = script{one(create), one(create), one(readAll, 2), one(remove, 1)}
	together   = script{{ops: []op{{do: create}, {do: create}}}, one(readAll, 2), one(remove, 1)}
	hinted     = script{one(create), {ops: []op{{do: create}, {do: create}}, hint: true}, one(remove, 2)}
	erased     = script{one(create), one(create), one(erase), one(create)}
	created    = script{one(create), one(create), one(create)}
	pairs      = script{{ops: []op{{do: create}, {do: create}}}, {ops: []op{{do: remove, row: 1}, {do: create}}}}
)

// bound is on the states of an exploration; none of the tests comes near it.
const bound = 600_000

func TestTheChainNeverBreaksAndClientsArrive(t *testing.T) {
	for _, c := range []struct {
		name string
		w    world
	}{
		// All that one session can go through, with everything that sockets and clients do.
		{"nothing is lost", world{plan: newPlan(everything, 2), sessions: 1, reliable: true}},
		{"lost, doubled, late", world{plan: newPlan(everything, 2), sessions: 1}},
		{"pages of one row", world{plan: newPlan(together, 1), sessions: 1}},
		{"hints", world{plan: newPlan(hinted, 1), sessions: 1}},
		{"an erased inbox", world{plan: newPlan(erased, 1), sessions: 1}},
		{"a restored database", world{plan: newPlan(created[:2], 1), sessions: 1, restores: true}},
		{"a restored database, pages of one row", world{plan: newPlan(together[:2], 1), sessions: 1, restores: true, quick: true}},
		{"a restored database, four revs", world{plan: newPlan(pairs, 2), sessions: 1, restores: true, quick: true}},
		// Sessions share nothing but the store and the messages, so two of them do nothing that one doesn't. It is looked at
		// anyway, with what is possible.
		{"two sessions, nothing is lost", world{plan: newPlan(together[:2], 1), sessions: 2, reliable: true, quick: true}},
		{"two sessions", world{plan: newPlan(together, 2), sessions: 2, quick: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := c.w.explore(bound)
			t.Logf("%d states, %d steps", f.states, f.steps)
			if f.tooMany {
				t.Errorf("there are more than %d states", bound)
			}
			if f.broken != "" {
				t.Errorf("%s:\n%s", f.broken, strings.Join(f.trace, "\n"))
			}
		})
	}
}

// TestEachRuleIsNeeded breaks the design on purpose: if the explorer didn't notice, it would prove nothing.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name string
		w    world
		says string
	}{
		{"publish before the commit", world{plan: newPlan(created, 2), sessions: 1, design: design{publishesFirst: true}},
			"has notification 1, which isn't there"},
		{"revs in another order than commits", world{plan: newPlan(created, 2), sessions: 1, design: design{revsUnlocked: true}},
			"lacks what 1 made"},
		{"the store is read before the hub is joined", world{plan: newPlan(created, 2), sessions: 1, reliable: true,
			design: design{readsBeforeHub: true}}, "come to rest"},
		{"what is told while reading is forgotten", world{plan: newPlan(created, 2), sessions: 1, reliable: true,
			design: design{deafWhileReading: true}}, "come to rest"},
		{"a gap is skipped", world{plan: newPlan(created, 2), sessions: 1, design: design{skipsGaps: true}},
			"comes a frame from 1 to 2"},
		{"a refused frame counts as written", world{plan: newPlan(created, 2), sessions: 1, design: design{writesBlindly: true}},
			"comes a frame from"},
		{"a page moves the chain into a rev", world{plan: newPlan(together, 1), sessions: 1, design: design{cutsRevs: true}}, "lacks what"},
		{"no sweep", world{plan: newPlan(created, 2), sessions: 1, design: design{noSweep: true}}, "come to rest"},
		{"the sweep compares revs only", world{plan: newPlan(created[:1], 2), sessions: 1, restores: true, quick: true,
			design: design{sweepsRevsOnly: true}}, "come to rest"},
		{"a restored database keeps its epoch", world{plan: newPlan(created[:1], 2), sessions: 1, restores: true, quick: true,
			design: design{keepsEpoch: true}}, "isn't there"},
		{"a cursor from before the floor", world{plan: newPlan(erased, 2), sessions: 1, design: design{ignoresFloor: true}},
			"has notification"},
		{"messages don't say of which epoch they are", world{plan: newPlan(created, 2), sessions: 1, restores: true, quick: true,
			design: design{unlabelled: true}}, "isn't there"},
		{"a writer lives through the restore", world{plan: newPlan(created, 2), sessions: 1, restores: true, quick: true,
			design: design{writersStay: true}}, "isn't there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := c.w.explore(bound)
			if f.broken == "" || !strings.Contains(f.broken, c.says) {
				t.Fatalf("in %d states the explorer finds %q, want %q", f.states, f.broken, c.says)
			}
			if len(f.trace) == 0 || len(f.trace) > 20 {
				t.Errorf("a trace of %d steps", len(f.trace))
			}
			t.Logf("%d states; %s:\n%s", f.states, f.broken, strings.Join(f.trace, "\n"))
		})
	}
}
