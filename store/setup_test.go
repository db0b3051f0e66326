package store

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

// committed collects what a DB reports after its commits.
type committed struct {
	mu      sync.Mutex
	changes []Change
}

func (c *committed) add(changes []Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, changes...)
}

// take empties it.
func (c *committed) take() []Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := c.changes
	c.changes = nil
	return changes
}

// openMigrated is a database with tables.
func openMigrated(t testing.TB, url string) (*DB, *committed) {
	t.Helper()
	log := &committed{}
	db, err := Open(t.Context(), url, Options{Committed: log.add, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, log
}

// insert writes drafts in a transaction of their own.
func (db *DB) insert(ctx context.Context, drafts ...Draft) ([]Notification, error) {
	var recipients []string
	for _, d := range drafts {
		recipients = append(recipients, d.Recipient)
	}
	var written []Notification
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		tx.atEnd(recipients, func(ctx context.Context) (err error) {
			written, err = tx.insert(ctx, drafts)
			return err
		})
		return nil
	})
	return written, err
}

func (db *DB) resolve(ctx context.Context, recipients, ids []string, resolved bool) error {
	return db.write(ctx, func(ctx context.Context, tx *Tx) error {
		tx.atEnd(recipients, func(ctx context.Context) error { return tx.setResolved(ctx, ids, resolved) })
		return nil
	})
}

func draft(recipient, title string) Draft {
	return Draft{Recipient: recipient, Kind: "repayment.overdue", Title: title, Body: strings.Repeat(title+" ", 5),
		Data: []byte(`{"loan":"L1","z":[1, 2]}`), URL: "/loans/L1"}
}

func (db *DB) erase(ctx context.Context, recipient string) error {
	return db.write(ctx, func(ctx context.Context, tx *Tx) error {
		tx.atEnd([]string{recipient}, func(ctx context.Context) error { return tx.erase(ctx, recipient) })
		return nil
	})
}

func (db *DB) addOne(ctx context.Context, c StatusChange) (created bool, err error) {
	added := db.AddStatusChanges(ctx, []StatusChange{c})[0]
	return added.Created, added.Err
}

func (db *DB) requestOne(ctx context.Context, r Request) (created bool, err error) {
	added := db.AddRequests(ctx, []Request{r})[0]
	return added.Created, added.Err
}

func (db *DB) tellOne(ctx context.Context, application string, tell TellStatus) (told int, err error) {
	return db.TellApplications(ctx, []string{application}, tell)
}

// traffic counts what goes to PostgreSQL, but for what makes statements known to a connection.
type traffic struct{ statements, trips atomic.Int64 }

func (c *traffic) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	c.trips.Add(1)
	return ctx
}

func (c *traffic) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *traffic) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.trips.Add(1)
	return ctx
}

func (c *traffic) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {
	c.statements.Add(1)
}

func (c *traffic) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// counted counts the traffic of a DB from now on.
func (db *DB) counted() *traffic {
	counted := new(traffic)
	config := db.pg.Copy()
	config.Tracer = counted
	pool := sqlx.NewDb(stdlib.OpenDB(*config, stdlib.OptionAfterConnect(prepareConn)), "pgx")
	old := db.writer
	db.writer, db.reader = pool, pool
	old.Close()
	return counted
}
