package delivery

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryInterval is how often a pusher looks whether a burst has ended.
	memoryInterval = 5 * time.Second
	// leastGarbage is worth a collection.
	leastGarbage = 16 << 20
	// calm: what the last interval has allocated is at most this part of all since memory was given back.
	calm = 20
)

// memory gives the operating system back what a burst has left in the heap. Sessions that stand allocate nothing, so the
// collector wouldn't run again for minutes after, say, everybody has come back to this pusher. Under a steady load, whose
// memory is in use, it collects every calm intervals at most.
type memory struct {
	given, last uint64 // bytes allocated in all when memory was given back, and at the last look
}

// due says whether it is time, with so many bytes allocated since the process began.
func (m *memory) due(allocated uint64) bool {
	since, lately := allocated-m.given, allocated-m.last
	m.last = allocated
	if since < leastGarbage || lately > since/calm {
		return false
	}
	m.given = allocated
	return true
}

// run looks until ctx is done; forget drops what nobody needs any more before memory is given back.
func (m *memory) run(ctx context.Context, forget func()) {
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	every(ctx, memoryInterval, func(time.Time) {
		if metrics.Read(allocated); m.due(allocated[0].Value.Uint64()) {
			forget()
			runtime.GC() // what is pooled goes with the second collection
			debug.FreeOSMemory()
		}
	})
}
