package program_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// alwaysPolicy reminds at any time of the day, within a second, so that a story doesn't depend on when it is told.
const alwaysPolicy = `
reminders:
  - {kind: repayment.upcoming, at: [-3d, -1d]}
  - {kind: repayment.due_today, at: 0d}
  - {kind: repayment.overdue, at: [1d, 7d]}
send_at: "00:00"
max_late: 2d
schedule:
  - {job: reminder.run, cron: "@every 1s"}
`

func policyFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(name, []byte(alwaysPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const patience = time.Minute

// tellStory is the main job: two devices of a borrower get two reminders and a status change, once, in order. while happens when the
// first device is live and before anything is told; it may break things.
func tellStory(t *testing.T, l *lender, socket, who string, while func()) (first, second *screen) {
	t.Helper()
	zone := "Europe/Prague"
	ctx, cancel := context.WithCancel(context.Background())
	first, second = newScreen(t, socket, userToken(who)), newScreen(t, socket, userToken(who))
	stayed := make(chan struct{}, 2)
	for _, s := range []*screen{first, second} {
		go func() { s.stay(ctx); stayed <- struct{}{} }()
	}
	t.Cleanup(func() {
		cancel()
		first.disconnectNow()
		second.disconnectNow()
		<-stayed
		<-stayed
	})
	first.until(patience, "the first device is live", func() bool { return first.live() })
	if while != nil {
		while()
	}
	l.borrower(who, zone, 0, 1)
	l.status("change-"+who, "application-"+who, who, "under_review", "approved")
	for i, s := range []*screen{first, second} {
		s.until(patience, fmt.Sprintf("device %d has three notifications", i+1), func() bool {
			return len(s.titles("repayment.")) >= 2 && len(s.titles("application.")) >= 1
		})
	}
	// Nothing comes twice: give a doubled one the time of two runs.
	time.Sleep(2500 * time.Millisecond)
	for i, s := range []*screen{first, second} {
		counts, items := s.state()
		if items != 3 || counts.Unread != 3 || counts.Total != 3 || counts.Unseen != 3 || counts.Rev != 3 {
			t.Errorf("device %d: %d items, %+v: %q", i+1, items, counts, s.titles(""))
		}
		if s.resets > 0 {
			t.Errorf("device %d: %d resets", i+1, s.resets)
		}
	}
	if a, b := first.titles(""), second.titles(""); !slices.Equal(a, b) {
		t.Errorf("the devices show different orders:\n%q\n%q", a, b)
	}
	return first, second
}
