package jobs

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"duebell/store"
)

func TestStatusChangeReplayedFiveTimes(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.scheduler()
		w.worker()
		for i := range 5 {
			if created := w.change("c1", "A-7", "pending", "approved"); created != (i == 0) {
				t.Errorf("replay %d: created %v", i, created)
			}
		}
		w.settle()
		w.want("ana", "status_changed")
		n := w.inbox("ana")[0]
		if d := data(t, n); d["application_id"] != "A-7" || d["from"] != "pending" || d["to"] != "approved" || n.Quiet {
			t.Errorf("data %v, quiet %v", d, n.Quiet)
		}
	})
}

// TestStatusChangesOfOneApplicationInOrder: eight workers, and changes of the same second.
func TestStatusChangesOfOneApplicationInOrder(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.scheduler()
		for range 8 {
			w.start(NewWorker(WorkerOptions{DB: w.db, Redis: w.redis.Client, Log: w.log, Metrics: w.stats, LazyPoll: time.Second}).Run)
		}
		const applications = 10
		steps := []string{"submitted", "approved", "withdrawn"}
		var writers sync.WaitGroup
		for a := range applications {
			writers.Go(func() {
				for i, to := range steps {
					w.change(fmt.Sprintf("c%d-%d", a, i), fmt.Sprintf("A-%d", a), "", to)
				}
			})
		}
		writers.Wait()
		w.settle()
		told := map[string][]string{}
		for _, n := range w.inbox("ana") {
			d := data(t, n)
			told[d["application_id"].(string)] = append(told[d["application_id"].(string)], d["to"].(string))
		}
		if len(told) != applications {
			t.Errorf("%d applications told, want %d", len(told), applications)
		}
		for id, to := range told {
			if !slices.Equal(to, steps) {
				t.Errorf("%s was told %v", id, to)
			}
		}
	})
}

// TestStatusChangeAtNight isn't held, only quiet, for whom it is night.
func TestStatusChangeAtNight(t *testing.T) {
	everywhere(t, "2026-03-06T22:30:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.user("joe", "America/New_York", "en")
		w.user("kim", "Europe/Prague", "en")
		w.do(w.db.PutPreferences(t.Context(), "kim", store.Preferences{Channels: map[string]store.Channels{"application.status_changed": {Email: true}}}))
		w.scheduler()
		w.worker()
		w.change("c1", "A-7", "pending", "approved", "joe", "kim", "ana")
		w.settle()
		for user, quiet := range map[string]bool{"ana": true, "joe": false} {
			w.want(user, "status_changed")
			if n := w.inbox(user)[0]; n.Quiet != quiet {
				t.Errorf("%s: quiet %v", user, n.Quiet)
			}
		}
		w.want("kim") // doesn't want it here
	})
}

// TestErasedPersonIsToldNothing, and somebody who never was in the book is.
func TestErasedPersonIsToldNothing(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.do(w.db.EraseUser(t.Context(), "ana"))
		w.scheduler()
		w.worker()
		w.change("c1", "A-7", "pending", "approved", "unknown")
		w.request("n1", map[string]any{"user_ids": []string{"ana", "unknown"}, "kind": "card.shipped", "title": "Sent", "body": "On its way"})
		w.settle()
		w.want("ana")
		if got := w.kinds("unknown"); len(got) != 2 {
			t.Errorf("unknown has %v", got)
		}
	})
}

func TestMessageOfTheLoanSystem(t *testing.T) {
	everywhere(t, "2026-03-06T22:30:00Z", func(t *testing.T, w *world) {
		w.ana()
		w.user("joe", "America/New_York", "en")
		w.scheduler()
		w.worker()
		w.request("n1", map[string]any{"user_ids": []string{"ana", "joe"}, "kind": "card.shipped", "title": "Sent", "body": "On its way\nto you",
			"url": "https://example.org/t/1", "data": map[string]any{"parcel": 1}})
		w.settle()
		for user, quiet := range map[string]bool{"ana": true, "joe": false} {
			list := w.inbox(user)
			if len(list) != 1 {
				t.Fatalf("%s has %v", user, w.kinds(user))
			}
			n := list[0]
			if n.Title != "Sent" || n.Body != "On its way\nto you" || n.URL == nil || *n.URL != "https://example.org/t/1" ||
				!strings.Contains(string(n.Data), `"parcel"`) || n.Quiet != quiet {
				t.Errorf("%s: %+v", user, n)
			}
		}
	})
}

// TestFlushedRedis: everything that was queued is lost, and arrives all the same.
func TestFlushedRedis(t *testing.T) {
	everywhere(t, "2026-03-06T12:00:00Z", func(t *testing.T, w *world) {
		w.ana()
		first := w.scheduler()
		const n = 20
		for i := range n {
			w.change(fmt.Sprintf("c%d", i), fmt.Sprintf("A-%d", i), "", "approved")
		}
		w.request("n1", map[string]any{"user_ids": []string{"ana"}, "kind": "card.shipped", "title": "Sent", "body": "On its way"})
		queues, inspector := NewQueueReader(w.redis.Client), asynq.NewInspectorFromRedisClient(w.redis.Client)
		w.eventually("all is queued", func() bool {
			queued := 0
			tasks, _ := inspector.ListPendingTasks(QueueStatus, asynq.PageSize(100)) // no queue yet is an error
			for _, task := range tasks {
				keys, err := readKeys(asynq.NewTask(task.Type, task.Payload))
				w.do(err)
				queued += len(keys)
			}
			return queued == n+1
		})
		w.at("2026-03-07T08:00:00Z")
		w.eventually("the run is queued", func() bool {
			waiting, err := queues.waiting(t.Context(), QueueReminders)
			return err == nil && waiting > 0
		})
		w.do(w.redis.Client.FlushDB(t.Context()).Err())
		first.stop()
		w.retry = 100 * time.Millisecond // instead of half a minute
		w.scheduler()
		w.worker()
		w.eventually("all arrived", func() bool { return len(w.inbox("ana")) == n+2 })
		w.settle()
		w.eventually("the queues are known again", func() bool {
			names, err := w.redis.Client.SMembers(t.Context(), "asynq:queues").Result()
			return err == nil && len(names) == len(Queues())
		})
	})
}
