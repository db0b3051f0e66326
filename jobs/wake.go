package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Asynq asks for tasks at intervals: short ones cost CPU while nothing happens, long ones make a status change wait. So whoever
// enqueues an urgent task leaves a word in a list beside the queue, and a worker that finds its queue empty waits there. Each word
// wakes one worker. One that is lost costs an interval, and one too many a look at an empty queue.

func wakeKey(queue string) string { return "duebell:{" + queue + "}:wake" }

// maxWords bounds the list where nobody waits, because all are busy.
const maxWords = 64

// wake leaves a word for each of some new tasks.
func (q *QueueReader) wake(ctx context.Context, queue string, tasks int) error {
	words := make([]any, min(tasks, maxWords))
	for i := range words {
		words[i] = ""
	}
	_, err := q.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.LPush(ctx, wakeKey(queue), words...)
		p.LTrim(ctx, wakeKey(queue), 0, maxWords-1)
		return nil
	})
	return err
}

const (
	// afterWait is how soon Asynq asks again when it was told that the queue is empty, for which it has waited already.
	afterWait = time.Millisecond
	// cantWait is the pause instead where Redis doesn't let a client wait.
	cantWait = 10 * time.Millisecond
)

// waitingClient is a Redis client for an Asynq server of one queue: to be told that the queue is empty takes until somebody leaves
// a word, or for an interval.
type waitingClient struct {
	redis.UniversalClient
	queue    string
	interval time.Duration
}

// EvalSha runs a script of Asynq's. The one that takes a task is known by its keys: no other asks whether the queue is paused.
func (c waitingClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	if len(keys) < 2 || keys[1] != queueKey(c.queue, "paused") || !errors.Is(cmd.Err(), redis.Nil) {
		return cmd
	}
	// BLPop would round the interval up to a whole second.
	err := c.Do(ctx, "BLPOP", wakeKey(c.queue), c.interval.Seconds()).Err()
	switch {
	case err == nil:
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	case !errors.Is(err, redis.Nil):
		sleep(ctx, cantWait)
	}
	return cmd
}
