package gather

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// double answers twice each argument, and an error for negative ones.
func double(args []int) []Result[int] {
	results := make([]Result[int], len(args))
	for i, n := range args {
		if results[i].Value = 2 * n; n < 0 {
			results[i] = Result[int]{Err: errors.New("negative")}
		}
	}
	return results
}

func TestCallsThatComeMeanwhileAreDoneTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // until what rests has ended
		var batches [][]int
		g := New(func(_ context.Context, args []int) []Result[int] {
			batches = append(batches, slices.Clone(args))
			time.Sleep(5 * time.Millisecond)
			return double(args)
		}, Options{Size: 3, Rest: 1})
		var calls sync.WaitGroup
		for _, n := range []int{1, 2, -3, 4, 5} {
			calls.Go(func() {
				if got, err := g.Do(t.Context(), n); (err != nil) != (n < 0) || err == nil && got != 2*n {
					t.Errorf("%d: %d, %v", n, got, err)
				}
			})
			synctest.Wait() // one after the other
		}
		calls.Wait()
		if want := [][]int{{1}, {2, -3, 4}, {5}}; !slices.EqualFunc(batches, want, slices.Equal) {
			t.Errorf("done: %v, want %v", batches, want)
		}
		time.Sleep(time.Second) // until the last batch has rested
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.running != 0 || len(g.waiting) != 0 {
			t.Errorf("%d batches run, %d calls wait after all", g.running, len(g.waiting))
		}
	})
}

func TestABatchThatIsHeldUpHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // until what rests has ended
		var most, now atomic.Int32
		g := New(func(_ context.Context, args []int) []Result[int] {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			if slices.Contains(args, 0) {
				time.Sleep(time.Hour)
			}
			return double(args)
		}, Options{AtOnce: 3, Patience: 10 * time.Millisecond, Rest: 1})
		var held sync.WaitGroup
		start := time.Now()
		held.Go(func() { _, _ = g.Do(t.Context(), 0) })
		synctest.Wait()
		for range 5 {
			synctest.Wait() // until the last has ended altogether
			before := time.Now()
			if got, _ := g.Do(t.Context(), 1); got != 2 || time.Since(before) != 10*time.Millisecond {
				t.Fatalf("%d after %v beside a batch that is held up", got, time.Since(before))
			}
		}
		// No more than AtOnce, also when all are.
		for range 5 {
			held.Go(func() { _, _ = g.Do(t.Context(), 0) })
			time.Sleep(20 * time.Millisecond)
		}
		held.Wait()
		if most.Load() != 3 {
			t.Errorf("%d batches at once", most.Load())
		}
		if took := time.Since(start); took < 2*time.Hour || took > 3*time.Hour {
			t.Errorf("took %v", took) // an hour for the first three, an hour for what came meanwhile
		}
	})
}

func TestBatchesOfSeveralRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // until what rests has ended
		took := 3 * time.Millisecond
		var began []time.Duration
		start := time.Now()
		g := New(func(_ context.Context, args []int) []Result[int] {
			began = append(began, time.Since(start))
			time.Sleep(took)
			return double(args)
		}, Options{Rest: 5 * time.Millisecond, Patience: time.Hour})
		var calls sync.WaitGroup
		call := func() {
			calls.Go(func() { _, _ = g.Do(t.Context(), 1) })
			synctest.Wait()
		}
		call() // alone, so what comes meanwhile follows at once, at 3
		call()
		call()
		time.Sleep(4 * time.Millisecond)
		call() // during the second, which took 3 ms: at 3 + 3 + 3
		calls.Wait()
		synctest.Wait()
		took = time.Minute
		call() // alone: at once
		call()
		call()
		time.Sleep(2 * time.Minute)
		call() // behind two: no more than 5 ms after them
		calls.Wait()
		ms := time.Millisecond
		want := []time.Duration{0, 3 * ms, 9 * ms, 12 * ms, 12*ms + time.Minute, 17*ms + 2*time.Minute}
		if !slices.Equal(began, want) {
			t.Errorf("batches began at %v, want %v", began, want)
		}
	})
}

func TestContextsOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // until what rests has ended
		g := New(func(ctx context.Context, args []int) []Result[int] {
			select {
			case <-ctx.Done():
				return slices.Repeat([]Result[int]{{Err: context.Cause(ctx)}}, len(args))
			case <-time.After(time.Hour):
				return double(args)
			}
		}, Options{AtOnce: 1, Rest: 1})
		do := func(ctx context.Context, n int, want error, after time.Duration) func() {
			return func() {
				start := time.Now()
				if _, err := g.Do(ctx, n); !errors.Is(err, want) || time.Since(start) != after {
					t.Errorf("%d: %v after %v, want %v after %v", n, err, time.Since(start), want, after)
				}
			}
		}
		short, cancelShort := context.WithTimeout(t.Context(), time.Minute)
		defer cancelShort()
		long, cancelLong := context.WithTimeout(t.Context(), 80*time.Minute)
		defer cancelLong()
		var calls sync.WaitGroup
		calls.Go(do(short, 1, context.Canceled, time.Minute)) // alone, so its end is that of the batch
		synctest.Wait()
		calls.Go(do(long, 2, nil, 61*time.Minute))
		calls.Go(do(short, 3, context.DeadlineExceeded, time.Minute)) // before its turn
		calls.Wait()
		time.Sleep(time.Second) // until the last batch has rested
		// Two of which one leaves: the other is done, and the first hears of it.
		gone, cancelGone := context.WithCancel(t.Context())
		calls.Go(do(t.Context(), 4, nil, time.Hour))
		synctest.Wait()
		calls.Go(do(t.Context(), 5, nil, 2*time.Hour))
		calls.Go(do(gone, 6, nil, 2*time.Hour))
		time.Sleep(90 * time.Minute)
		cancelGone()
		calls.Wait()
	})
}

func TestAPanicIsTheErrorOfItsBatch(t *testing.T) {
	g := New(func(_ context.Context, args []int) []Result[int] {
		if args[0] == 0 {
			panic("nothing")
		}
		return double(args)
	}, Options{})
	if _, err := g.Do(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error of a batch that panics: %v", err)
	}
	if got, err := g.Do(t.Context(), 1); got != 2 || err != nil {
		t.Errorf("after a panic: %d, %v", got, err)
	}
}
