package program

import (
	"context"
	"fmt"
	"time"
)

// endMargin is what is left of the shutdown time-out for closing after the work has ended.
const endMargin = 2 * time.Second

type service struct {
	name string
	run  func(context.Context) error
}

// inOrder runs services side by side until ctx ends or the first of them returns, and then stops them one after the other in the
// order given: producers before consumers. It returns the error of the first that failed.
func inOrder(ctx context.Context, services ...service) error {
	type running struct {
		cancel context.CancelFunc
		done   chan struct{}
		err    error
	}
	exited := make(chan struct{}, len(services))
	all := make([]*running, len(services))
	for i, s := range services {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{cancel: cancel, done: make(chan struct{})}
		all[i] = r
		go func() {
			defer close(r.done)
			if r.err = s.run(own); r.err != nil {
				r.err = fmt.Errorf("%s: %w", s.name, r.err)
			}
			exited <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-exited:
	}
	var first error
	for _, r := range all {
		r.cancel()
		<-r.done
		if first == nil {
			first = r.err
		}
	}
	return first
}
