package program_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"duebell/internal/testenv"
)

// BenchmarkStatusChangeToFrame measures from just before the call of POST /v1/status-changes to the frame that the client has read, one
// change at a time. `make bench-latency` measures many at once.
func BenchmarkStatusChangeToFrame(b *testing.B) {
	b.Run("OneProcess", func(b *testing.B) {
		one := together(b, testenv.SQLite(b), "embedded")
		measureStatusChanges(b, one.lender, one.socket)
	})
	b.Run("ThreePrograms", func(b *testing.B) {
		in := install(b, testenv.Postgres(b), testenv.Redis(b))
		measureStatusChanges(b, in.lender, in.socket)
	})
}

func measureStatusChanges(b *testing.B, l *lender, socket string) {
	who := "ada"
	s := newScreen(b, socket, userToken(who))
	if err := s.connect(await(b)); err != nil {
		b.Fatal(err)
	}
	defer s.disconnect()
	l.must("PUT", "/v1/users/"+who, object{"name": "Ada", "time_zone": "Europe/Prague", "locale": "en"})
	took := make([]time.Duration, 0, b.N)
	round := time.Now().UnixNano()
	before, _ := s.state()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		l.status(fmt.Sprintf("c-%d-%d", round, i), fmt.Sprintf("a-%d-%d", round, i), who, "under_review", "approved")
		want := before.Total + int64(i) + 1
		s.until(patience, "the change arrives", func() bool { counts, _ := s.state(); return counts.Total >= want })
		took = append(took, s.receivedAt().Sub(start))
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
}
