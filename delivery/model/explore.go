package model

import (
	"fmt"
	"strings"
)

// finding is what an exploration came to.
type finding struct {
	states, steps int
	broken        string // the first rule that was broken; "": none
	trace         []string
	tooMany       bool // the bound on states was reached: nothing is proven
}

// explore visits every state that can be reached, breadth first, so that a trace is one of the shortest. It stops at the first
// step that breaks a rule. Then it looks at what happens once nothing new and nothing bad does: however the steps of
// progress interleave, they must come to an end, and every end must be one at which all clients know what the store has.
func (w *world) explore(most int) finding {
	index := map[state]int32{{}: 0}
	states := []state{{}}
	parents := []int32{-1}
	causes := []step{{}}
	var progress [][2]int32 // from, to
	var f finding
	for at := int32(0); int(at) < len(states) && f.broken == ""; at++ {
		w.next(states[at], func(by step, next state, forward bool, broken string) {
			f.steps++
			if f.broken != "" {
				return
			}
			if w.sessions == 2 && less(&next.sessions[1], &next.sessions[0]) {
				next.sessions[0], next.sessions[1] = next.sessions[1], next.sessions[0] // which is which makes no difference
			}
			to, known := index[next]
			if !known {
				to = int32(len(states))
				index[next] = to
				states = append(states, next)
				parents = append(parents, at)
				causes = append(causes, by)
			}
			if broken != "" {
				f.broken = broken
				f.trace = append(w.trace(states, parents, causes, at), w.say(by, &next))
			}
			if forward && to != at {
				progress = append(progress, [2]int32{at, to})
			}
		})
		if len(states) > most {
			f.tooMany = true
			break
		}
	}
	f.states = len(states)
	if f.broken == "" && !f.tooMany {
		if at, why := w.convergence(states, progress); why != "" {
			f.broken = why
			f.trace = w.trace(states, parents, causes, at)
		}
	}
	return f
}

// convergence takes away, again and again, the states without a step of progress that is left. The first ones are ends; a
// state that is never taken away can go on for ever.
func (w *world) convergence(states []state, progress [][2]int32) (at int32, why string) {
	ahead := make([]int32, len(states)) // steps of progress that are left
	first := make([]int32, len(states)+1)
	for _, p := range progress {
		ahead[p[0]]++
		first[p[1]+1]++
	}
	for i := range states {
		first[i+1] += first[i]
	}
	before := make([]int32, len(progress)) // from where steps come, by where they lead
	fill := append([]int32(nil), first...)
	for _, p := range progress {
		before[fill[p[1]]] = p[0]
		fill[p[1]]++
	}
	var ends []int32
	for i := range states {
		if ahead[i] == 0 {
			if !w.arrived(&states[i]) {
				return int32(i), "everything has come to rest, and a client doesn't know what the store has"
			}
			ends = append(ends, int32(i))
		}
	}
	taken := 0
	for ; len(ends) > 0; taken++ {
		end := ends[len(ends)-1]
		ends = ends[:len(ends)-1]
		for _, from := range before[first[end]:first[end+1]] {
			if ahead[from]--; ahead[from] == 0 {
				ends = append(ends, from)
			}
		}
	}
	if taken < len(states) {
		for i := range states {
			if ahead[i] > 0 {
				return int32(i), "it may go on for ever without coming to rest"
			}
		}
	}
	return 0, ""
}

// less is some order of sessions.
func less(a, b *session) bool {
	x, y := a.digits(), b.digits()
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

func (s *session) digits() [3]uint64 {
	bit := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	pack := func(a, b, c, d, e, f, g, h uint8) uint64 {
		return uint64(a)<<56 | uint64(b)<<48 | uint64(c)<<40 | uint64(d)<<32 | uint64(e)<<24 | uint64(f)<<16 | uint64(g)<<8 | uint64(h)
	}
	c, f := &s.client, &s.wire
	return [3]uint64{
		pack(uint8(s.phase), uint8(s.work), s.seen.epoch, s.seen.rev, uint8(s.seen.late), s.epoch, s.sent, s.heard),
		pack(s.inside.rev, s.inside.row, uint8(f.kind), f.epoch, f.from, f.to, uint8(f.through), c.rev),
		bit(s.resumes) | bit(s.refused)<<1 | bit(s.wants)<<2 | bit(c.known)<<3 | bit(c.greeted)<<4 | uint64(c.epoch)<<5 |
			uint64(f.items)<<16 | uint64(c.items)<<32,
	}
}

// trace says how a state was reached.
func (w *world) trace(states []state, parents []int32, causes []step, at int32) []string {
	var lines []string
	for ; at > 0; at = parents[at] {
		lines = append(lines, w.say(causes[at], &states[at]))
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines
}

// say puts a step and where it leads into a line.
func (w *world) say(by step, s *state) string {
	var b strings.Builder
	b.WriteString(by.name)
	if by.message != 0 {
		c := w.commits[by.message.index()]
		fmt.Fprintf(&b, " of %d→%d", c.from, c.to)
		if by.message.epoch() != 0 {
			b.WriteString("'")
		}
	}
	if by.to != 0 {
		fmt.Fprintf(&b, " %d", by.to)
	}
	fmt.Fprintf(&b, " | store %d", s.store.rev)
	if s.store.epoch != 0 {
		b.WriteString("'")
	}
	for i := range w.sessions {
		at := &s.sessions[i]
		fmt.Fprintf(&b, " | %s at %d", [...]string{"absent", "outside", "starting", "live", "behind", "full"}[at.phase], at.sent)
		switch at.wire.kind {
		case handshake:
			b.WriteString(", handshake")
		case hello:
			fmt.Fprintf(&b, ", hello %d", at.wire.to)
		case changes:
			fmt.Fprintf(&b, ", %d→%d", at.wire.from, at.wire.to)
		case reset:
			fmt.Fprintf(&b, ", reset %d", at.wire.to)
		}
		fmt.Fprintf(&b, " > client %d", at.client.rev)
	}
	return b.String()
}
