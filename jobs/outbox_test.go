package jobs

import (
	"context"
	"testing"
	"time"
)

func TestMeasuringTheOutboxRests(t *testing.T) {
	for _, c := range []struct {
		took time.Duration
		err  error
		want time.Duration
	}{
		{time.Millisecond, nil, measureEvery},
		{100 * time.Millisecond, nil, 10 * time.Second},
		{3 * time.Second, nil, measurePause},
		{3 * time.Second, context.DeadlineExceeded, measureEvery},
	} {
		if got := restAfter(c.took, c.err); got != c.want {
			t.Errorf("after %v (%v): %v, want %v", c.took, c.err, got, c.want)
		}
	}
}
