package jobs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
)

// TestClearQueues leaves no task behind, in whatever state it is, and Asynq goes on with new ones of the same ids.
func TestClearQueues(t *testing.T) {
	everywhere(t, "2026-03-01T00:00:00Z", func(t *testing.T, w *world) {
		client := asynq.NewClientFromRedisClient(w.redis.Client)
		enqueue := func(id, queue string, opts ...asynq.Option) {
			t.Helper()
			_, err := client.Enqueue(asynq.NewTask("test:"+id, nil), append(opts, asynq.TaskID(id), asynq.Queue(queue), asynq.Retention(time.Hour))...)
			w.do(err)
		}
		seen := make(chan string, 10)
		running := make(chan struct{})
		server := func(handle asynq.HandlerFunc) *asynq.Server {
			s := asynq.NewServerFromRedisClient(w.redis.Client, asynq.Config{Queues: map[string]int{QueueStatus: 1}, TaskCheckInterval: fast,
				Concurrency: 2, LogLevel: asynq.FatalLevel})
			w.do(s.Start(handle))
			return s
		}
		first := server(func(ctx context.Context, task *asynq.Task) error {
			id, _ := asynq.GetTaskID(ctx)
			seen <- id
			switch id {
			case "fails":
				return fmt.Errorf("later")
			case "never":
				return asynq.SkipRetry
			case "runs":
				<-running
			}
			return nil
		})
		for _, id := range []string{"done", "fails", "never", "runs"} {
			enqueue(id, QueueStatus)
			<-seen
		}
		enqueue("later", QueueReminders, asynq.ProcessIn(time.Hour))
		enqueue("waits", QueueHousekeeping)
		reader := NewQueueReader(w.redis.Client)
		sizes := func() string {
			list, err := reader.Sizes(t.Context())
			w.do(err)
			return fmt.Sprint(list)
		}
		const all = "[{status 0 1 0 1 1 1} {reminders 0 0 1 0 0 0} {housekeeping 1 0 0 0 0 0}]"
		w.eventually("a task is in each state", func() bool { return sizes() == all })

		n, err := ClearQueues(t.Context(), w.redis.Client)
		if err != nil || n != 6 {
			t.Errorf("cleared %d, %v", n, err)
		}
		if got := sizes(); got != "[{status 0 0 0 0 0 0} {reminders 0 0 0 0 0 0} {housekeeping 0 0 0 0 0 0}]" {
			t.Errorf("left %s", got)
		}
		keys, err := w.redis.Client.Keys(t.Context(), "asynq:{*}:*").Result()
		w.do(err)
		for _, key := range keys {
			if strings.Contains(key, ":t:") || strings.HasSuffix(key, ":lease") {
				t.Errorf("left behind: %s", key)
			}
		}
		close(running) // it finishes, and finds that nobody asks
		first.Shutdown()
		again := server(func(ctx context.Context, task *asynq.Task) error {
			id, _ := asynq.GetTaskID(ctx)
			seen <- id
			return nil
		})
		defer again.Shutdown()
		enqueue("runs", QueueStatus)
		if id := <-seen; id != "runs" {
			t.Errorf("%s came back", id)
		}
		if n, err := ClearQueues(t.Context(), w.redis.Client); err != nil {
			t.Errorf("cleared %d, %v", n, err)
		}
	})
}
