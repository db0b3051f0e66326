package main

import (
	"context"
	"fmt"
	"time"
)

// foreign is what a pusher pays for messages to people whose sessions are on other pushers. Each pusher reads them all, so this is
// what bounds pushers times messages.
func foreign(ctx context.Context, r *rig, users int) (any, error) {
	if users == 0 {
		users = 100_000
	}
	t, err := r.pusher("127.0.30.1")
	defer t.stop()
	if err != nil {
		return nil, err
	}
	result := map[string]float64{}
	fmt.Printf("%10s %10s %12s %16s\n", "wanted/s", "sent/s", "CPU µs each", "% of a core")
	for _, rate := range []int{5000, 20_000, 80_000} {
		time.Sleep(settle)
		before, err := t.usage()
		if err != nil {
			return nil, err
		}
		const duration = 10 * time.Second
		sent, err := pace(ctx, t, users, rate, duration)
		if err != nil {
			return nil, err
		}
		time.Sleep(settle)
		after, err := t.usage()
		if err != nil {
			return nil, err
		}
		cpu := after.cpu - before.cpu
		each := float64(cpu.Microseconds()) / float64(max(1, sent))
		fmt.Printf("%10d %10.0f %12.2f %16.1f\n", rate, float64(sent)/duration.Seconds(), each, 100*cpu.Seconds()/duration.Seconds())
		result[fmt.Sprintf("us_at_%d", rate)] = hundredths(each)
	}
	return result, nil
}
