package socket

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestWheel(t *testing.T) {
	turn := func(w *wheel, now uint32) (due []*Conn) {
		for {
			batch := w.expired(make([]*Conn, 0, 3), now, now+5)
			due = append(due, batch...)
			if len(batch) < 3 {
				return due
			}
		}
	}

	t.Run("LooksAtEachWhenItIsDue", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for _, first := range []uint32{0, 1<<32 - 50} { // ticks wrap around
			w := newWheel(16)
			w.next = first
			due := map[*Conn]uint32{}
			for range 200 {
				c := new(Conn)
				due[c] = first + random.Uint32N(100)
				w.schedule(c, due[c])
			}
			for now := first; now != first+120; now++ {
				for _, c := range turn(w, now) {
					if due[c] != now {
						t.Fatalf("looked at in %d, due in %d", now-first, due[c]-first)
					}
					w.remove(c)
					delete(due, c)
				}
			}
			if len(due) != 0 || len(w.all()) != 0 {
				t.Errorf("%d were never looked at", len(due))
			}
		}
	})
	t.Run("WhatNobodySchedulesComesAgain", func(t *testing.T) {
		w := newWheel(8)
		c := new(Conn)
		w.schedule(c, 3)
		var looks []uint32
		for now := range uint32(14) {
			if len(turn(w, now)) > 0 {
				looks = append(looks, now)
			}
		}
		if !slices.Equal(looks, []uint32{3, 8, 13}) {
			t.Errorf("looked at in %v", looks)
		}
	})
	t.Run("CatchesUpAfterALongSleep", func(t *testing.T) {
		w := newWheel(8)
		conns := make([]Conn, 30)
		for i := range conns {
			w.schedule(&conns[i], uint32(i))
		}
		if n := len(turn(w, 1000)); n != len(conns) {
			t.Errorf("%d of %d", n, len(conns))
		}
		if n := len(turn(w, 1000)); n != 0 {
			t.Errorf("%d again", n)
		}
	})
	t.Run("HastenOnlyHastens", func(t *testing.T) {
		w := newWheel(8)
		c := new(Conn)
		w.schedule(c, 5)
		w.hasten(c, 7)
		if n := len(turn(w, 4)); n != 0 || c.due != 5 {
			t.Errorf("due in %d", c.due)
		}
		w.schedule(c, 7)
		w.hasten(c, 6)
		if c.due != 6 {
			t.Errorf("due in %d", c.due)
		}
	})
	t.Run("ThePendingOnesGoByAge", func(t *testing.T) {
		w := newWheel(8)
		conns := make([]Conn, 4)
		for i := range 3 {
			if w.await(&conns[i], uint32(10+i), 3) != nil {
				t.Fatal("given up with room")
			}
		}
		if oldest := w.await(&conns[3], 13, 3); oldest != &conns[0] || w.settle(oldest) {
			t.Error("the oldest isn't given up")
		}
		if !w.settle(&conns[2]) || w.settle(&conns[2]) {
			t.Error("settled not once")
		}
		if due := turn(w, 12); len(due) != 1 || due[0] != &conns[1] || w.settle(&conns[1]) {
			t.Errorf("%d are late", len(due))
		}
		if w.pending != 1 || w.oldest != &conns[3] || w.newest != &conns[3] {
			t.Errorf("%d pending", w.pending)
		}
	})
	t.Run("TheDeadStayOff", func(t *testing.T) {
		w := newWheel(8)
		c := new(Conn)
		w.schedule(c, 3)
		w.remove(c)
		w.schedule(c, 4)
		w.hasten(c, 2)
		if len(turn(w, 20)) != 0 || len(w.all()) != 0 {
			t.Error("a dead connection is on the wheel")
		}
	})
}
