package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	held   = 10 * time.Second // how long a rate is kept up
	settle = 2 * time.Second  // in which the last messages arrive
	atMost = 50               // ms, of the p99 of a rate that counts as held
	// compared is the rate at which CPU and latency are compared, or the highest below it that both deliver in full.
	compared = 45_000
	// tries: a rate that wasn't held may have met somebody else's work on the machine.
	tries = 2
)

var rates = []int{5_000, 10_000, 20_000, 30_000, compared, 60_000, 75_000, 90_000, 105_000, 120_000}

// contender is a target with its clients.
type contender struct {
	*target
	client     *clientProcess
	sessions   int
	connectCPU float64 // µs each

	ceiling int             // the highest rate held
	over    bool            // a rate wasn't delivered in full: no higher one is tried
	full    map[int]outcome // by rate: what was delivered in full, in time or not
}

// race starts the three, each with so many connections, has them measured, and stops them.
func (r *rig) race(ctx context.Context, sessions int, measure func([]*contender) (any, error)) (any, error) {
	list, err := r.contenders(ctx, sessions)
	defer stopAll(list)
	if err != nil {
		return nil, err
	}
	return measure(list)
}

func (r *rig) contenders(ctx context.Context, sessions int) (list []*contender, err error) {
	for i, start := range []func(string) (*target, error){r.pusher, r.centrifugo, r.gorilla} {
		host, source := fmt.Sprintf("127.0.%d.1", 10+i), fmt.Sprintf("127.0.%d.2", 10+i)
		t, err := start(host)
		if err != nil {
			t.stop()
			return list, err
		}
		c := &contender{target: t, sessions: sessions, full: map[int]outcome{}}
		list = append(list, c)
		if c.client, err = startClient(); err != nil {
			return list, err
		}
		time.Sleep(time.Second)
		before, err := t.usage()
		if err != nil {
			return list, err
		}
		a, err := c.client.do(order{Do: "connect", Address: t.address, Source: source, Speech: t.name, Count: sessions, Query: t.query})
		if err == nil && a.Failed > 0 {
			err = fmt.Errorf("%s: %d connections failed", t.name, a.Failed)
		}
		if err != nil {
			return list, err
		}
		after, err := t.usage()
		if err != nil {
			return list, err
		}
		c.connectCPU = float64((after.cpu - before.cpu).Microseconds()) / float64(sessions)
		fmt.Printf("%-11s %d connections, %.1f µs of CPU each\n", t.name, sessions, c.connectCPU)
		if err := ctx.Err(); err != nil {
			return list, err
		}
	}
	return list, nil
}

func stopAll(list []*contender) {
	for _, c := range list {
		if c.client != nil {
			c.client.stop()
		}
		c.stop()
	}
}

// outcome is what became of the messages of a while.
type outcome struct {
	sent, delivered int64
	rate            float64 // delivered a second, while they were published
	cpu             float64 // µs of the server each
	p50, p99, max   float64 // ms
}

func (c *contender) measure(publish func() (int64, error)) (o outcome, err error) {
	if _, err := c.client.do(order{Do: "mark"}); err != nil {
		return o, err
	}
	before, err := c.usage()
	if err != nil {
		return o, err
	}
	start := time.Now()
	if o.sent, err = publish(); err != nil {
		return o, err
	}
	took := time.Since(start)
	time.Sleep(settle)
	a, err := c.client.do(order{Do: "report"})
	if err != nil {
		return o, err
	}
	after, err := c.usage()
	if err != nil {
		return o, err
	}
	if a.Dead > 0 {
		return o, fmt.Errorf("%s: %d connections ended", c.name, a.Dead)
	}
	if a.Broken > 0 {
		return o, fmt.Errorf("%s: the chain of frames broke %d times", c.name, a.Broken)
	}
	_, h := total([]answer{a})
	ms := func(us int64) float64 { return float64(us) / 1000 }
	o.delivered, o.p50, o.p99, o.max = a.Messages, ms(h.quantile(0.5)), ms(h.quantile(0.99)), ms(h.Max)
	o.rate = float64(o.delivered) / took.Seconds()
	o.cpu = float64((after.cpu - before.cpu).Microseconds()) / float64(max(o.delivered, 1))
	return o, nil
}

// unicast raises the rate of messages to random users, one server after the other at each rate.
func unicast(ctx context.Context, r *rig, sessions int) (any, error) {
	if sessions == 0 {
		sessions = 10_000
	}
	return r.race(ctx, sessions, func(list []*contender) (any, error) { return raise(ctx, list, sessions) })
}

func raise(ctx context.Context, list []*contender, sessions int) (any, error) {
	for _, c := range list { // what is made at first use
		if _, err := pace(ctx, c.target, sessions, 5000, 2*time.Second); err != nil {
			return nil, err
		}
		time.Sleep(settle)
	}
	fmt.Printf("\n%-11s %9s %11s %9s %10s %9s %9s %9s\n", "", "offered/s", "delivered/s", "lost", "CPU µs each", "p50 ms", "p99 ms", "max ms")
	for _, rate := range rates {
		for _, c := range list {
			for try := 0; try < tries && !c.over && c.ceiling < rate; try++ {
				o, err := c.measure(func() (int64, error) { return pace(ctx, c.target, sessions, rate, held) })
				if err = errors.Join(err, ctx.Err()); err != nil {
					return nil, err
				}
				lost := o.sent - o.delivered
				fmt.Printf("%-11s %9d %11.0f %9d %10.1f %9.1f %9.1f %9.1f\n", c.name, rate, o.rate, lost, o.cpu, o.p50, o.p99, o.max)
				if lost > 0 && speeches[c.name].chained {
					break // those sessions wait from now on for what the store, which is left out here, would have
				}
				if lost > 0 || float64(o.sent) < 0.98*float64(rate)*held.Seconds() {
					continue
				}
				if best, ok := c.full[rate]; !ok || o.p99 < best.p99 {
					c.full[rate] = o
				}
				if o.p99 <= atMost {
					c.ceiling = rate
				}
			}
			if _, full := c.full[rate]; !full {
				c.over = true
			}
		}
	}
	ours, theirs := list[0], list[1]
	at := 0
	for _, rate := range rates {
		_, we := ours.full[rate]
		_, they := theirs.full[rate]
		if we && they && rate <= compared {
			at = rate
		}
	}
	if at == 0 {
		return nil, fmt.Errorf("there is no rate that both deliver in full: the machine has something else to do")
	}
	ratio := func(a, b float64) float64 { return hundredths(a / b) }
	result := map[string]float64{
		"cpu_ratio":         ratio(ours.full[at].cpu, theirs.full[at].cpu),
		"p99_ratio":         ratio(ours.full[at].p99, theirs.full[at].p99),
		"connect_cpu_ratio": ratio(ours.connectCPU, theirs.connectCPU),
		"compared_at":       float64(at),
		"ceiling":           float64(ours.ceiling),
		"their_ceiling":     float64(theirs.ceiling),
	}
	if theirs.ceiling > 0 { // else there is nothing to divide by
		result["ceiling_ratio"] = ratio(float64(ours.ceiling), float64(theirs.ceiling))
	}
	return result, nil
}

// broadcast tells everybody at once, ten times: a message into the inbox, or the channel, of each.
func broadcast(ctx context.Context, r *rig, sessions int) (any, error) {
	if sessions == 0 {
		sessions = 10_000
	}
	return r.race(ctx, sessions, func(list []*contender) (any, error) { return tellAll(ctx, list, sessions) })
}

func tellAll(ctx context.Context, list []*contender, sessions int) (any, error) {
	everybody := make([]int, sessions)
	for i := range everybody {
		everybody[i] = i
	}
	fmt.Printf("\n%-11s %9s %9s %12s %12s\n", "", "told", "lost", "CPU µs each", "last of all ms")
	const rounds = 10
	cpu, last := map[string]float64{}, map[string]float64{}
	for round := range rounds + 1 {
		for _, c := range list {
			o, err := c.measure(func() (int64, error) { return int64(sessions), c.publish(ctx, everybody) })
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, err
			}
			if lost := o.sent - o.delivered; round > 0 || lost > 0 { // the first warms up
				cpu[c.name] += o.cpu / rounds
				last[c.name] += o.max / rounds
				fmt.Printf("%-11s %9d %9d %12.1f %12.1f\n", c.name, o.sent, lost, o.cpu, o.max)
			}
		}
	}
	return map[string]float64{"cpu_us": hundredths(cpu["duebell"]), "last_ms": hundredths(last["duebell"]),
		"cpu_ratio": hundredths(cpu["duebell"] / cpu["centrifugo"]), "last_ratio": hundredths(last["duebell"] / last["centrifugo"])}, nil
}
