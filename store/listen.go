package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Listen calls wake whenever something may have come into the outbox, until ctx is done; then it returns nil. On
// PostgreSQL it listens on a connection of its own, which it replaces when it breaks, and also calls wake after each
// (re)connect. On SQLite only this process is heard. It is a hint that saves waiting: whoever relies on the outbox
// polls it. wake must not block.
func (db *DB) Listen(ctx context.Context, wake func()) error {
	if db.pg == nil {
		defer db.outbox.add(wake)()
		<-ctx.Done()
		return nil
	}
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	pause := shortest
	for {
		connected, err := db.listenOnce(ctx, wake)
		if ctx.Err() != nil {
			return nil
		}
		if connected {
			pause = shortest
		}
		db.log.WarnContext(ctx, "listening for outbox notices was interrupted", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// listenOnce listens on one connection until it breaks.
func (db *DB) listenOnce(ctx context.Context, wake func()) (connected bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, db.pg.Copy())
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, `LISTEN duebell_outbox`); err != nil {
		return false, fmt.Errorf("listen: %w", err)
	}
	for {
		wake() // at first for what was written while nobody listened
		if err := waitForNotice(ctx, conn); err != nil {
			return true, err
		}
	}
}

// waitForNotice also asks the server for a sign of life now and then: a connection whose other end vanished is silent.
func waitForNotice(ctx context.Context, conn *pgx.Conn) error {
	for {
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, err := conn.WaitForNotification(wait)
		quiet := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !quiet {
			return err
		}
		ping, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = conn.Ping(ping)
		cancel()
		if err != nil {
			return fmt.Errorf("the connection is dead: %w", err)
		}
	}
}

// wakers are the functions to call after a commit that put something into the outbox of a SQLite database.
type wakers struct {
	mu  sync.Mutex
	fns map[*func()]struct{}
}

// add returns the function that takes fn off again.
func (w *wakers) add(fn func()) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fns == nil {
		w.fns = make(map[*func()]struct{})
	}
	key := &fn
	w.fns[key] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.fns, key)
	}
}

func (w *wakers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for fn := range w.fns {
		(*fn)()
	}
}
