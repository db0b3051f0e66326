package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The message is a notification as a lender would send it. The peers get the same text as ours has in its frame.
const (
	kind  = "repayment.overdue"
	title = "250.00 EUR is overdue"
	body  = "Your payment of 250.00 EUR for the loan L-4711 was due on 1 March. Please pay it soon."
	url   = "/loans/L-4711"
)

func dataOf(at time.Time) []byte {
	return strconv.AppendInt([]byte(`{"loan_id":"L-4711","sent_at":`), at.UnixNano(), 10)
}

// appendNotification appends the JSON of a notification.
func appendNotification(dst []byte, id int64, at time.Time) []byte {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, notificationID(id)...)
	dst = append(dst, `","kind":"`+kind+`","title":"`+title+`","body":"`+body+`","data":`...)
	dst = append(append(dst, dataOf(at)...), '}')
	dst = append(dst, `,"url":"`+url+`","created_at":"`...)
	dst = at.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","read_at":null,"archived_at":null,"resolved_at":null,"quiet":false,"created_rev":`...)
	dst = strconv.AppendInt(dst, id, 10)
	dst = append(dst, `,"rev":`...)
	return append(strconv.AppendInt(dst, id, 10), '}')
}

func notificationID(n int64) string { return fmt.Sprintf("n%025d", n) }

// pipeline publishes one message a user, 64 in a round trip. All are due when it is called, like those of a worker's transaction.
func pipeline(client *redis.Client, channel func(user int) string, payload func(at time.Time) []byte) func(context.Context, []int) error {
	return func(ctx context.Context, users []int) error {
		now := time.Now()
		for len(users) > 0 {
			n := min(64, len(users))
			pipe := client.Pipeline()
			for _, user := range users[:n] {
				pipe.Publish(ctx, channel(user), payload(now))
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
			users = users[n:]
		}
		return nil
	}
}

// pace publishes to random users, so many a second, for so long, and says how many that were. It falls behind where the machine
// does, and then says fewer.
func pace(ctx context.Context, t *target, users, rate int, duration time.Duration) (sent int64, err error) {
	start := time.Now()
	batch := make([]int, 0, 4096)
	for {
		elapsed := time.Since(start)
		if elapsed >= duration {
			return sent, nil
		}
		due := int64(elapsed.Seconds() * float64(rate))
		batch = batch[:0]
		for range min(due-sent, 4096) {
			batch = append(batch, rand.IntN(users))
		}
		if len(batch) > 0 {
			if err := t.publish(ctx, batch); err != nil {
				return sent, err
			}
			sent += int64(len(batch))
		}
		if due-sent < 64 {
			time.Sleep(time.Millisecond)
		}
	}
}
