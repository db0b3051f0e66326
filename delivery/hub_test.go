package delivery

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"duebell/store"
)

func TestHubJoinsAndLeaves(t *testing.T) {
	h := newHub()
	in := make(map[string][]*session) // newest first
	total := 0
	for range 5000 {
		user := fmt.Sprintf("u%d", rand.IntN(50))
		if rand.IntN(5) < 3 {
			s := newSession(user, time.Now(), time.Now().Add(time.Hour))
			h.join(s, 1000)
			in[user] = append([]*session{s}, in[user]...)
			total++
		} else if n := len(in[user]); n > 0 {
			i := rand.IntN(n)
			h.leave(in[user][i])
			h.leave(in[user][i]) // again does nothing
			in[user] = slices.Delete(in[user], i, i+1)
			total--
		}
	}
	for user, want := range in {
		if got := h.of(user, nil); !slices.Equal(got, want) {
			t.Errorf("%s has %d sessions, not %d", user, len(got), len(want))
		}
	}
	count := 0
	for shard := range hubShards {
		all := h.all(shard, nil)
		count += len(all)
		for i := 1; i < len(all); i++ { // those of a recipient together
			if all[i].recipient != all[i-1].recipient && slices.ContainsFunc(all[:i], func(s *session) bool { return s.recipient == all[i].recipient }) {
				t.Fatal("sessions of a recipient are apart")
			}
		}
	}
	if count != total || h.len() != total {
		t.Errorf("%d sessions, counted %d and %d", total, count, h.len())
	}
	for _, sessions := range in {
		for _, s := range sessions {
			h.leave(s)
		}
	}
	for i := range h.shards {
		if n := len(h.shards[i].newest); n > 0 {
			t.Errorf("shard %d keeps %d recipients", i, n)
		}
	}
	if h.len() != 0 {
		t.Errorf("%d are left", h.len())
	}
}

func TestHubExpires(t *testing.T) {
	h := newHub()
	now := time.Now()
	var sessions []*session
	for i := range 100 {
		s := newSession(fmt.Sprintf("u%d", i%10), now, now.Add(time.Duration(i)*time.Second))
		h.join(s, 100)
		sessions = append(sessions, s)
	}
	sessions[5].setToken(now, now.Add(time.Hour)) // renewed
	h.renewed(sessions[5])
	sessions[90].setToken(now, now.Add(2*time.Second)) // by one that ends earlier
	h.renewed(sessions[90])
	got := h.expired(now.Add(10*time.Second), nil)
	if len(got) != 11 || slices.Contains(got, sessions[5]) || !slices.Contains(got, sessions[90]) || !slices.Contains(got, sessions[10]) {
		t.Errorf("%d expired", len(got))
	}
	for _, s := range got {
		h.leave(s)
	}
	if got := h.expired(now.Add(10*time.Second), nil); len(got) != 0 {
		t.Errorf("%d expired again", len(got))
	}
	if got := h.expired(now.Add(11*time.Second), nil); len(got) != 1 || got[0] != sessions[11] {
		t.Errorf("%d expired next", len(got))
	}
}

// sink takes everything.
type sink struct{ frames, bytes int }

func (o *sink) write(f frame, _ cursor) bool {
	o.frames++
	o.bytes += len(f)
	return true
}

func (o *sink) close(int, string) {}

func liveSessions(n int) (*hub, []*session) {
	h := newHub()
	sessions := make([]*session, n)
	for i := range sessions {
		s := newSession(fmt.Sprintf("user-%d", i), time.Now(), time.Now().Add(time.Hour))
		s.out, s.epoch, s.state = new(sink), "k3", live
		h.join(s, 20)
		sessions[i] = s
	}
	return h, sessions
}

// What a pusher does for each change that Redis brings, but for the write: take the batch apart, find the session, check
// the chain.
func BenchmarkDeliver(b *testing.B) {
	const sessions = 10_000
	h, _ := liveSessions(sessions)
	revs := make([]int64, sessions)
	f := changesFrame(0, 1, store.Counts{Rev: 1, Unread: 1, Unseen: 1, Total: 1}, []store.Notification{{ID: "06f3n8zq2m1k9v7x5c4b3a2w1e",
		Kind: "repayment.upcoming", Title: "250.00 EUR due on 11 March", Body: "Your instalment is due in 3 days."}}, nil, 0)
	payloads := make([]string, 0, b.N)
	for i := range b.N {
		n := (i * 7919) % sessions
		c := change{recipient: fmt.Sprintf("user-%d", n), from: revs[n], rev: revs[n] + 1, frame: f}
		revs[n]++
		payloads = append(payloads, string(appendChange(appendBatchHead(nil, "k3", 1), &c)))
	}
	behind := func(*session) { b.Fatal("the chain broke") }
	var c change
	written := 0
	b.ReportAllocs()
	b.ResetTimer()
	for _, payload := range payloads {
		batch := readBatch(payload)
		for batch.next(&c) {
			written += h.deliver(&c, nil, behind)
		}
	}
	b.StopTimer()
	if written != b.N {
		b.Fatalf("%d of %d were written", written, b.N)
	}
}

func TestDeliverAllocatesNothing(t *testing.T) {
	h, sessions := liveSessions(100)
	payloads := make([]string, 0, 2000)
	for i := range cap(payloads) {
		c := change{recipient: sessions[i%100].recipient, from: int64(i / 100), rev: int64(i/100) + 1, frame: okFrame("x")}
		payloads = append(payloads, string(appendChange(appendBatchHead(nil, "k3", 1), &c)))
	}
	var c change
	i := 0
	behind := func(*session) { t.Fatal("the chain broke") }
	if n := testing.AllocsPerRun(len(payloads)-1, func() {
		batch := readBatch(payloads[i])
		i++
		for batch.next(&c) {
			h.deliver(&c, nil, behind)
		}
	}); n != 0 {
		t.Errorf("%v allocations a delivery", n)
	}
}

// BenchmarkIdleSession shows the bytes of a session in the hub, without its connection.
func BenchmarkIdleSession(b *testing.B) {
	const sessions = 20_000
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		h, all := liveSessions(sessions)
		clear(all)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/sessions, "B/session")
		runtime.KeepAlive(h)
	}
}

func BenchmarkCommitted(b *testing.B) {
	changes := make([]store.Change, 100)
	for i := range changes {
		changes[i] = store.Change{Recipient: fmt.Sprintf("user-%d", i), From: 1, Counts: store.Counts{Rev: 2, Unread: 2, Unseen: 2, Total: 2},
			Items: []store.Notification{{ID: "06f3n8zq2m1k9v7x5c4b3a2w1e", Kind: "repayment.upcoming", Title: "250.00 EUR due on 11 March",
				Body: "Your instalment is due in 3 days.", Data: []byte(`{"loan_id":"L1"}`), CreatedRev: 2, Rev: 2}}}
	}
	p := NewPublisher(nil, quiet(), nil)
	b.ReportAllocs()
	for range b.N {
		p.Committed(changes)
		p.queue, p.bytes = p.queue[:0], 0
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(changes)), "ns/change")
}
