package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"duebell/delivery"
	"duebell/internal/config"
	"duebell/internal/redisconn"
	"duebell/store"
)

// tracedWay is one notification's way: what the database knows, and what pushers remember.
type tracedWay struct {
	store.Trace
	Live []delivery.LiveTrace `json:"live"`
}

// traced is what explain --trace answers.
type traced struct {
	Ways    []tracedWay `json:"ways"`
	Pushers int         `json:"pushers"` // that answered
	More    bool        `json:"more"`    // than store.MaxTraces recipients
}

func (e env) trace(ctx context.Context, id string, asJSON bool) error {
	return e.withStore(ctx, func(cfg config.Config, db *store.DB) error {
		traces, more, err := db.Traces(ctx, id)
		if err != nil {
			return err
		}
		found := traced{More: more}
		for _, t := range traces {
			found.Ways = append(found.Ways, tracedWay{Trace: t, Live: []delivery.LiveTrace{}})
		}
		if err := e.askPushers(ctx, cfg, &found); err != nil {
			return err
		}
		return e.print(asJSON, found, func(w io.Writer) { printTraces(w, found) })
	})
}

// askPushers adds what the pushers remember. An embedded Redis is in another process, whose pusher isn't asked.
func (e env) askPushers(ctx context.Context, cfg config.Config, found *traced) error {
	if cfg.RedisURL == "embedded" {
		fmt.Fprintln(e.stderr, "REDIS_URL is embedded: that Redis is in the process of duebell up, so its pusher can't be asked")
		return nil
	}
	conn, err := redisconn.Open(ctx, cfg.RedisURL, e.log(cfg))
	if err != nil {
		return err
	}
	defer conn.Close()
	keys := make([]delivery.TraceKey, len(found.Ways))
	for i, way := range found.Ways {
		keys[i] = delivery.TraceKey{Recipient: way.Recipient, Rev: way.Rev}
	}
	live, pushers, err := delivery.AskTraces(ctx, conn.Client, keys)
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	found.Pushers = pushers
	for _, l := range live {
		for i := range found.Ways {
			if keys[i] == l.TraceKey {
				found.Ways[i].Live = append(found.Ways[i].Live, l)
			}
		}
	}
	return nil
}

func printTraces(w io.Writer, found traced) {
	if found.More {
		fmt.Fprintf(w, "The first %d recipients; there are more.\n\n", store.MaxTraces)
	}
	for i, way := range found.Ways {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\t%s to %s, rev %d, of %s\n", way.NotificationID, way.Kind, way.Recipient, way.Rev, way.Source)
		fmt.Fprintln(w, "HOP\tAT\tAFTER\t")
		var last time.Time
		hop := func(name string, at *time.Time, note string) {
			if at == nil || at.IsZero() {
				return
			}
			after := ""
			if !last.IsZero() {
				after = fmt.Sprintf("%+.1f ms", float64(at.Sub(last).Microseconds())/1000)
			}
			last = *at
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, at.UTC().Format("2006-01-02T15:04:05.000000Z"), after, note)
		}
		hop("call", way.ArrivedAt, "the transaction that wrote it into the outbox began")
		hop("enqueue", way.EnqueuedAt, "claimed for the queue, last")
		hop("handle", way.HandledAt, "the transaction that wrote the notification began")
		handled := last
		for _, l := range way.Live {
			last = handled
			pusher := "pusher " + l.Pusher
			hop("publish", &l.Published, "committed and handed to Redis")
			hop("receive", &l.Received, pusher)
			hop("write", &l.Written, fmt.Sprintf("%s, sessions: %d", pusher, l.Sessions))
		}
		switch {
		case len(way.Live) > 0:
		case found.Pushers == 0:
			fmt.Fprintln(w, "-\t\t\tno pusher answered")
		default:
			fmt.Fprintf(w, "-\t\t\tnone of %d pushers that answered remembers it live: it is too long ago, or no session was there, or one caught up from the store\n", found.Pushers)
		}
		last = handled
		hop("read", way.ReadAt, "")
	}
}
