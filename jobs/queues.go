package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// QueueReader reads how much waits in the queues. It goes to Asynq's lists themselves, because the Inspector takes a queue for
// missing whose name a flushed Redis has forgotten (hibiken/asynq#946), and because it is asked often.
type QueueReader struct {
	redis redis.UniversalClient
}

// NewQueueReader reads from that Redis.
func NewQueueReader(client redis.UniversalClient) *QueueReader { return &QueueReader{client} }

func queueKey(queue, list string) string { return "asynq:{" + queue + "}:" + list }

// waiting is the number of tasks that no worker has begun.
func (q *QueueReader) waiting(ctx context.Context, queue string) (int, error) {
	n, err := q.redis.LLen(ctx, queueKey(queue, "pending")).Result()
	return int(n), err
}

// Paused says whether somebody has stopped a queue: no task of it begins.
func (q *QueueReader) Paused(ctx context.Context, queue string) (bool, error) {
	n, err := q.redis.Exists(ctx, queueKey(queue, "paused")).Result()
	return n > 0, err
}

// QueueSize is how many tasks a queue holds.
type QueueSize struct {
	Queue     string `json:"queue"`
	Pending   int64  `json:"pending"`
	Active    int64  `json:"active"`
	Scheduled int64  `json:"scheduled"`
	Retry     int64  `json:"retry"`
	Archived  int64  `json:"archived"` // what can't succeed, for somebody to look at
	Completed int64  `json:"completed"`
}

// Sizes reads all queues, the most urgent first, in one round trip.
func (q *QueueReader) Sizes(ctx context.Context) ([]QueueSize, error) {
	names := Queues()
	sizes := make([]QueueSize, len(names))
	results := make([][6]*redis.IntCmd, len(names))
	_, err := q.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, queue := range names {
			results[i] = [6]*redis.IntCmd{
				p.LLen(ctx, queueKey(queue, "pending")), p.LLen(ctx, queueKey(queue, "active")),
				p.ZCard(ctx, queueKey(queue, "scheduled")), p.ZCard(ctx, queueKey(queue, "retry")),
				p.ZCard(ctx, queueKey(queue, "archived")), p.ZCard(ctx, queueKey(queue, "completed")),
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	for i, queue := range names {
		r := results[i]
		sizes[i] = QueueSize{queue, r[0].Val(), r[1].Val(), r[2].Val(), r[3].Val(), r[4].Val(), r[5].Val()}
	}
	return sizes, nil
}

// busy is the number of tasks of all queues that wait, run, or will be tried again.
func (q *QueueReader) busy(ctx context.Context) (int64, error) {
	sizes, err := q.Sizes(ctx)
	n := int64(0)
	for _, s := range sizes {
		n += s.Pending + s.Active + s.Scheduled + s.Retry
	}
	return n, err
}

// adopt gives a lease to running tasks that have none, and answers how many those were. Asynq leaves them where they are for ever
// (hibiken/asynq#1144): its recoverer looks for leases that have ended. A worker that lives prolongs this one and finishes the task.
func (q *QueueReader) adopt(ctx context.Context, queue string) (int, error) {
	until := time.Now().Add(taskLease).Unix()
	return adoptTasks.Run(ctx, q.redis, []string{queueKey(queue, "active"), queueKey(queue, "lease")}, until).Int()
}

// taskLease is how long Asynq's own leases are.
const taskLease = 30 * time.Second

var adoptTasks = redis.NewScript(`
local n = 0
for _, id in ipairs(redis.call("LRANGE", KEYS[1], 0, -1)) do
  if not redis.call("ZSCORE", KEYS[2], id) then
    redis.call("ZADD", KEYS[2], ARGV[1], id)
    n = n + 1
  end
end
return n`)

// announce writes the names of the queues where the Inspector and the dashboard look for them.
func (q *QueueReader) announce(ctx context.Context) error {
	names := make([]any, 0, 3)
	for _, queue := range Queues() {
		names = append(names, queue)
	}
	return q.redis.SAdd(ctx, "asynq:queues", names...).Err()
}
