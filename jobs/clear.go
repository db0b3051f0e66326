package jobs

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// ClearQueues empties the queues and answers how many tasks that were. What they were about is still in the database, and
// comes back if it isn't done there. A worker that is just doing one of them finishes its work all the same.
func ClearQueues(ctx context.Context, client redis.UniversalClient) (tasks int, err error) {
	for _, queue := range Queues() {
		n, err := clearQueue.Run(ctx, client, []string{
			queueKey(queue, "pending"), queueKey(queue, "active"),
			queueKey(queue, "scheduled"), queueKey(queue, "retry"), queueKey(queue, "archived"), queueKey(queue, "completed"),
			queueKey(queue, "lease"),
		}, queueKey(queue, "t:")).Int()
		if err != nil {
			return tasks, fmt.Errorf("clear the queue %s: %w", queue, err)
		}
		tasks += n
	}
	return tasks, nil
}

// clearQueue takes a queue's two lists, its four sorted sets and its leases, and the prefix of its tasks' keys, which all are
// in one slot of a cluster. As one script, nothing is enqueued in between and left without its list.
var clearQueue = redis.NewScript(`
local tasks = 0
for i, key in ipairs(KEYS) do
  local ids = {}
  if i <= 2 then
    ids = redis.call("LRANGE", key, 0, -1)
  elseif i <= 6 then
    ids = redis.call("ZRANGE", key, 0, -1)
  end
  for _, id in ipairs(ids) do
    redis.call("DEL", ARGV[1] .. id)
  end
  tasks = tasks + #ids
  redis.call("DEL", key)
end
return tasks`)
