// Package gather does calls that come at once together. A transaction costs mostly its round trips and its wait for the disk, which
// ten rows share as well as one: so a program that gets more to do gets cheaper, and one that has little waits for nobody.
package gather

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Options of New.
type Options struct {
	// Size is the most calls that are done together; 0: 100.
	Size int
	// AtOnce is how many batches may be under way; 0: 4. One gathers best, so the next begins beside it only for calls that have
	// waited for Patience (0: 50 ms): it may be held up by a lock, which is no business of the others.
	AtOnce   int
	Patience time.Duration
	// Rest is how long, at most, a batch of several calls is followed by none, and never longer than it took; 0: 5 ms. What comes
	// meanwhile is done together. With batches that follow at once the disk and the processor have more to do, and all wait longer.
	Rest time.Duration
}

// Group does calls that have an argument T, and a result R or an error. It is safe for concurrent use.
type Group[T, R any] struct {
	do  func(ctx context.Context, args []T) []Result[R]
	opt Options

	mu      sync.Mutex
	waiting []*call[T, R] // in the order in which they came
	running int           // batches
	watched bool          // whether a timer looks after the first that waits
}

// Result is what became of one call.
type Result[R any] struct {
	Value R
	Err   error
}

type call[T, R any] struct {
	ctx    context.Context
	arg    T
	came   time.Time
	result Result[R]
	done   chan struct{}
}

// New makes a Group. do gets the arguments of a batch in the order in which they came and answers a result for each, in that
// order; should it panic, all have that as their error. Its context has the values of the first call's, and ends when those of all its calls have.
func New[T, R any](do func(ctx context.Context, args []T) []Result[R], opt Options) *Group[T, R] {
	if opt.Size <= 0 {
		opt.Size = 100
	}
	if opt.AtOnce <= 0 {
		opt.AtOnce = 4
	}
	if opt.Patience <= 0 {
		opt.Patience = 50 * time.Millisecond
	}
	if opt.Rest <= 0 {
		opt.Rest = 5 * time.Millisecond
	}
	return &Group[T, R]{do: do, opt: opt}
}

// Do does one call, together with those that come while others are being done. One whose ctx ends before its turn isn't done at
// all; later it returns when its batch does.
func (g *Group[T, R]) Do(ctx context.Context, arg T) (R, error) {
	c := &call[T, R]{ctx: ctx, arg: arg, came: time.Now(), done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	if g.running == 0 {
		g.start()
	} else {
		g.watch(g.opt.Patience)
	}
	g.mu.Unlock()
	<-c.done
	return c.result.Value, c.result.Err
}

// start begins a batch of what waits. The mutex is held.
func (g *Group[T, R]) start() {
	g.running++
	go g.run()
}

// watch starts another batch when the first call that waits has waited for too long. The mutex is held.
func (g *Group[T, R]) watch(after time.Duration) {
	if g.watched || g.running >= g.opt.AtOnce {
		return // who ends looks himself
	}
	g.watched = true
	time.AfterFunc(after, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.watched = false
		if len(g.waiting) == 0 {
			return
		}
		if left := g.opt.Patience - time.Since(g.waiting[0].came); left > 0 {
			g.watch(left)
		} else if g.running < g.opt.AtOnce {
			g.start()
		}
	})
}

// run does batches until nobody waits.
func (g *Group[T, R]) run() {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), g.opt.Size)
		batch := g.waiting[:n:n]
		if g.waiting = g.waiting[n:]; len(g.waiting) == 0 {
			g.waiting = nil
		} else {
			g.watch(g.opt.Patience)
		}
		if n == 0 {
			g.running--
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		start := time.Now()
		g.doBatch(batch)
		if len(batch) > 1 { // they come at once, so more will
			time.Sleep(min(time.Since(start), g.opt.Rest))
		}
	}
}

func (g *Group[T, R]) doBatch(batch []*call[T, R]) {
	calls := batch[:0:len(batch)]
	var args []T
	for _, c := range batch {
		if err := c.ctx.Err(); err != nil {
			c.result.Err = err
			close(c.done)
			continue
		}
		calls = append(calls, c)
		args = append(args, c.arg)
	}
	if len(calls) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(calls[0].ctx))
	defer cancel()
	var left atomic.Int32
	left.Store(int32(len(calls)))
	for _, c := range calls {
		defer context.AfterFunc(c.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	defer func() {
		if value := recover(); value != nil { // as net/http and Asynq treat a panic of one call
			err := fmt.Errorf("panic: %v\n%s", value, debug.Stack())
			for _, c := range calls {
				c.result.Err = err
			}
		}
		for _, c := range calls {
			close(c.done)
		}
	}()
	for i, r := range g.do(ctx, args) {
		calls[i].result = r
	}
}
