package jobs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"duebell/store"
)

func TestTaskIDs(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 123456000, time.UTC)
	id := claimTaskID(store.ClaimStatus, "A-7", 2, now)
	if !strings.HasPrefix(id, "status.A-7:2:") {
		t.Errorf("id %q", id)
	}
	if claimTaskID(store.ClaimRequest, "A-7", 2, now) == id {
		t.Error("a request has the task of an application of the same id")
	}
	if at, ok := claimedAt(id); !ok || !at.Equal(now) {
		t.Errorf("time of %q: %v, %v", id, at, ok)
	}
	// What Redis Cluster takes for a slot, or nobody can read, isn't in an id.
	for _, key := range []string{"{a}", "a b", "ř", strings.Repeat("x", 65), "a:b"} {
		if got := claimTaskID(store.ClaimRequest, key, 1, now); strings.ContainsAny(got, "{} ř") || len(got) > 64 || strings.Count(got, ":") != 2 {
			t.Errorf("id of %q: %q", key, got)
		}
	}
	if plain("{a}") == plain("{b}") {
		t.Error("two keys have one id")
	}
}

func TestPack(t *testing.T) {
	claims := func(kind string, n int) []store.Claim {
		var list []store.Claim
		for i := range n {
			list = append(list, store.Claim{Kind: kind, Key: fmt.Sprint(i), Attempt: 1})
		}
		return list
	}
	for _, test := range []struct{ status, requests, tasks, most int }{
		{1, 0, 1, 1}, {3, 2, 2, 3}, {17, 0, 2, 16}, {64, 0, 4, 16}, {400, 0, 4, 100}, {1000, 0, 5, 200}, {0, 1000, 5, 200}, {13000, 0, 65, 200},
	} {
		parcels := pack(append(claims(store.ClaimStatus, test.status), claims(store.ClaimRequest, test.requests)...), time.Now())
		total, most := 0, 0
		for _, p := range parcels {
			keys, err := readKeys(p.task)
			if err != nil || len(keys) != len(p.claims) {
				t.Fatalf("task %s: %d keys, %v", p.task.Type(), len(keys), err)
			}
			total += len(keys)
			most = max(most, len(keys))
		}
		if len(parcels) != test.tasks || most != test.most || total != test.status+test.requests {
			t.Errorf("%+v: %d tasks of up to %d, %d keys", test, len(parcels), most, total)
		}
	}
}

// TestPayloadThatCantBeRead is archived at once: it never can.
func TestPayloadThatCantBeRead(t *testing.T) {
	for _, payload := range []string{``, `x`, `{}`, `{"keys":[]}`} {
		if _, err := readKeys(asynq.NewTask(TypeStatusNotify, []byte(payload))); !errors.Is(err, asynq.SkipRetry) {
			t.Errorf("%q: %v", payload, err)
		}
	}
	if _, err := readTick(asynq.NewTask(TypeReminderRun, []byte(`x`))); !errors.Is(err, asynq.SkipRetry) {
		t.Errorf("tick: %v", err)
	}
}

func TestRetriesBackOff(t *testing.T) {
	last := time.Duration(0)
	for n := range 30 {
		pause := retryPause(n, nil, nil)
		if pause < time.Second || pause > maxPause*3/2+time.Second {
			t.Errorf("pause %d is %s", n, pause)
		}
		if n > 0 && n < 9 && pause < last/2 {
			t.Errorf("pause %d is %s after %s", n, pause, last)
		}
		last = pause
	}
}
