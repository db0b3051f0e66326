package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// fault is one way to break an installation. A new one is one more entry of faults: draw takes everything that it needs to
// decide from r and the shape, so that the plan stays pure, and what it returns does it and takes it back.
type fault struct {
	name   string
	weight int // how often it comes while others come once
	forms  []string
	draw   func(r *rand.Rand, s shape) act
}

// act is a fault with everything decided.
type act struct {
	text  string        // whom it strikes, for its line
	lasts time.Duration // until undo
	do    func(ctx context.Context, in *installation) error
	undo  func(in *installation) error // nil: it heals by itself
}

// errLeftOut is of a fault that can't be done here. It doesn't count.
var errLeftOut = errors.New("left out")

var (
	everywhere = []string{formServices, formEmbedded}
	services   = []string{formServices}
)

var faults = []fault{
	{"kill", 4, everywhere, func(r *rand.Rand, s shape) act {
		name := one(r, s.programs)
		return act{text: "-9 " + name, lasts: between(r, 200*time.Millisecond, 6*time.Second),
			do:   func(_ context.Context, in *installation) error { in.process(name).kill(); return nil },
			undo: func(in *installation) error { return in.process(name).start() }}
	}},
	{"freeze", 3, everywhere, func(r *rand.Rand, s shape) act {
		return freeze(one(r, s.programs), between(r, time.Second, 15*time.Second))
	}},
	{"stop", 1, everywhere, func(r *rand.Rand, s shape) act {
		name := one(r, s.programs)
		return act{text: "by SIGTERM " + name,
			do: func(_ context.Context, in *installation) error {
				in.process(name).stop()
				return in.process(name).start()
			}}
	}},
	{"clock", 3, everywhere, func(r *rand.Rand, s shape) act {
		name, by := one(r, s.programs), one(r, []time.Duration{5 * time.Second, time.Minute, 10 * time.Minute})
		by = between(r, by/5, by)
		if r.IntN(2) == 0 {
			by = -by
		}
		return act{text: fmt.Sprintf("of %s off by %+.1fs", name, by.Seconds()), lasts: between(r, time.Second, 30*time.Second),
			do:   func(_ context.Context, in *installation) error { return in.clocks.set(name, by) },
			undo: func(in *installation) error { return in.clocks.set(name, 0) }}
	}},
	{"disk full", 1, everywhere, func(r *rand.Rand, s shape) act {
		text := "under postgres"
		if s.form == formEmbedded {
			text = "under sqlite"
		}
		return act{text: text, lasts: between(r, time.Second, 8*time.Second),
			do: func(_ context.Context, in *installation) error {
				if in.postgres != nil {
					in.postgres.mayEnd(true) // as it does when it can't write its log
				}
				return in.disk.fill()
			},
			undo: func(in *installation) error {
				if in.postgres != nil {
					defer in.postgres.mayEnd(false)
				}
				return in.disk.clear()
			}}
	}},
	{"roll", 1, services, func(*rand.Rand, shape) act {
		return act{text: "every program, by SIGTERM, one after the other", do: func(ctx context.Context, in *installation) error {
			return in.roll(ctx)
		}}
	}},
	{"kill", 2, services, func(r *rand.Rand, _ shape) act {
		return act{text: "-9 redis", lasts: between(r, 200*time.Millisecond, 6*time.Second),
			do:   func(_ context.Context, in *installation) error { in.redis.kill(); return nil },
			undo: func(in *installation) error { return in.redis.start() }}
	}},
	{"freeze", 1, services, func(r *rand.Rand, _ shape) act { return freeze("redis", between(r, time.Second, 8*time.Second)) }},
	{"kill", 2, services, func(r *rand.Rand, _ shape) act {
		return act{text: "-9 postgres", lasts: between(r, 200*time.Millisecond, 5*time.Second),
			do:   func(_ context.Context, in *installation) error { in.postgres.kill(); return nil },
			undo: func(in *installation) error { return in.postgres.start() }}
	}},
	{"freeze", 1, services, func(r *rand.Rand, _ shape) act {
		return freeze("postgres", between(r, time.Second, 8*time.Second))
	}},
	{"crash", 1, services, func(*rand.Rand, shape) act {
		return act{text: "one backend of postgres, which ends them all", do: func(_ context.Context, in *installation) error {
			return in.postgres.killChild("client backend", "postgres: postgres")
		}}
	}},
	{"flush", 2, services, func(*rand.Rand, shape) act {
		return act{text: "all of redis", do: func(ctx context.Context, in *installation) error { return in.direct.FlushAll(ctx).Err() }}
	}},
	{"script flush", 1, services, func(*rand.Rand, shape) act {
		return act{text: "of redis", do: func(ctx context.Context, in *installation) error { return in.direct.ScriptFlush(ctx).Err() }}
	}},
	{"client kill", 1, services, func(*rand.Rand, shape) act {
		return act{text: "of all subscribers of redis", do: func(ctx context.Context, in *installation) error {
			return in.direct.ClientKillByFilter(ctx, "TYPE", "pubsub").Err()
		}}
	}},
	{"lease", 2, services, func(r *rand.Rand, _ shape) act {
		queue, workers := one(r, []string{"status", "reminders"}), r.IntN(2) == 0
		text := "of a task of " + queue + " removed"
		if workers {
			text += ", and its worker killed"
		}
		return act{text: text, lasts: time.Second,
			do: func(ctx context.Context, in *installation) error { return dropLease(ctx, in, queue, workers) },
			undo: func(in *installation) error {
				return errors.Join(in.process("worker-1").start(), in.process("worker-2").start())
			}}
	}},
	toxic("latency", 2, everywhere, []string{"api", "socket", "postgres", "redis"}, latency),
	toxic("bandwidth", 1, everywhere, []string{"api", "socket", "postgres", "redis"}, bandwidth),
	toxic("reset", 2, everywhere, []string{"api", "socket", "postgres", "redis"}, reset),
	toxic("half-open", 2, everywhere, []string{"api", "socket", "postgres", "redis"}, halfOpen),
	toxic("lost replies", 3, everywhere, []string{"api", "socket", "postgres", "redis"}, lostReplies),
	{"lost commits", 2, services, func(r *rand.Rand, s shape) act {
		name := one(r, s.of("postgres"))
		return act{text: "of " + name, lasts: between(r, 200*time.Millisecond, 4*time.Second),
			do:   func(_ context.Context, in *installation) error { in.proxies[name].loseCommits(true); return nil },
			undo: func(in *installation) error { in.proxies[name].loseCommits(false); return nil }}
	}},
	{"loss", 2, everywhere, func(r *rand.Rand, s shape) act {
		name, percent := one(r, s.proxies), 5+r.IntN(36)
		var find func() error
		return act{text: fmt.Sprintf("of %d%% of the packets of %s", percent, name), lasts: between(r, 2*time.Second, 12*time.Second),
			do: func(_ context.Context, in *installation) (err error) {
				find, err = lose(in.proxies[name], percent)
				return err
			},
			undo: func(*installation) error { return find() }}
	}},
	{"cut", 1, everywhere, func(r *rand.Rand, s shape) act {
		name := one(r, s.proxies)
		return act{text: "off " + name, lasts: between(r, 500*time.Millisecond, 6*time.Second),
			do:   func(_ context.Context, in *installation) error { in.proxies[name].stop(); return nil },
			undo: func(in *installation) error { return in.proxies[name].start() }}
	}},
	// Not of clients: a stream that nobody reads is found out by TCP alone, and here TCP still answers.
	{"vanish", 2, services, func(r *rand.Rand, s shape) act {
		name := one(r, s.of("api", "postgres", "redis"))
		return act{text: "for good: the open connections of " + name, do: func(_ context.Context, in *installation) error {
			in.history.note("%d connections of %s have vanished", in.proxies[name].vanish(), name)
			return nil
		}}
	}},
}

// deploy rolls to the programs in a folder, in that order, and lets old and new ones work together for a while after each.
func deploy(bin string, order []string, pause time.Duration) act {
	return act{text: "of the newer version: " + strings.Join(order, ", "), do: func(ctx context.Context, in *installation) error {
		bin, err := filepath.Abs(bin)
		if err != nil {
			return err
		}
		for _, name := range order {
			p := in.process(name)
			p.stop()
			p.replace(filepath.Join(bin, filepath.Base(p.path)))
			if err := p.start(); err != nil {
				return err
			}
			ready := in.waitReady(ctx, name, 10*time.Second)
			in.history.note("%s is of the newer version, ready: %v", name, ready)
			if !rest(ctx, pause) {
				return ctx.Err()
			}
		}
		return nil
	}}
}

func freeze(name string, lasts time.Duration) act {
	var thaw func()
	return act{text: "(SIGSTOP) " + name, lasts: lasts,
		do:   func(_ context.Context, in *installation) error { thaw = in.process(name).freeze(); return nil },
		undo: func(*installation) error { thaw(); return nil }}
}

// dropLease waits for a task that a worker has begun and takes its lease away: Asynq never finds such a task again if the worker
// then dies (hibiken/asynq#1144).
func dropLease(ctx context.Context, in *installation, queue string, killWorkers bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	key := "asynq:{" + queue + "}:lease"
	for {
		ids, err := in.direct.ZRange(ctx, key, 0, 0).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if len(ids) > 0 {
			if killWorkers {
				in.process("worker-1").kill()
				in.process("worker-2").kill()
			}
			n, err := in.direct.ZRem(ctx, key, ids[0]).Result()
			in.history.note("lease of %s in %s removed: %d", ids[0], queue, n)
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no task of %s ran", queue)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
