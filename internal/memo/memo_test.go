package memo

import (
	"strconv"
	"sync"
	"testing"
)

func TestOfAsksOnce(t *testing.T) {
	var m Map[string, int]
	asked := 0
	length := func(key string) int { asked++; return len(key) }
	for range 3 {
		if n := m.Of("four", length); n != 4 {
			t.Fatalf("it answered %d", n)
		}
	}
	if asked != 1 {
		t.Fatalf("it was worked out %d times", asked)
	}
}

func TestOfKeepsNoMoreThanMost(t *testing.T) {
	var m Map[int, string]
	for key := range 2 * most {
		if got := m.Of(key, strconv.Itoa); got != strconv.Itoa(key) {
			t.Fatalf("%d: %q", key, got)
		}
	}
	if len(m.kept) != most {
		t.Fatalf("%d are kept", len(m.kept))
	}
	again := false
	m.Of(2*most-1, func(int) string { again = true; return "" })
	if !again {
		t.Fatal("what wasn't kept came from memory")
	}
}

func TestOfConcurrently(t *testing.T) {
	var m Map[int, string]
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for key := range 1000 {
				if got := m.Of(key, strconv.Itoa); got != strconv.Itoa(key) {
					t.Errorf("%d: %q", key, got)
				}
			}
		})
	}
	running.Wait()
}

func TestOfDoesNotAllocate(t *testing.T) {
	type key struct {
		locale string
		digits int
	}
	var m Map[key, int]
	work := func(k key) int { return k.digits }
	m.Of(key{"en", 2}, work)
	if n := testing.AllocsPerRun(100, func() { m.Of(key{"en", 2}, work) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
