package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"duebell/internal/civil"
)

// queryer runs statements on a transaction or a pool. They are written with ? for both databases (so none may have a
// question mark of its own). A row that isn't there is ErrNotFound.
type queryer struct {
	ext  executor
	pg   bool
	pipe *pipeline // of a transaction that writes, on PostgreSQL
}

type executor interface {
	sqlx.QueryerContext
	sqlx.ExecerContext
}

// query runs single statements that only read; each is a snapshot of its own.
func (db *DB) query() queryer { return queryer{ext: db.reader, pg: db.pg != nil} }

// exec answers the number of rows that the statement changed.
func (q queryer) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if q.pipe != nil {
		var did pgconn.CommandTag
		err := q.pipe.run(ctx, statement{query: q.rebind(query), args: args, did: &did})
		return did.RowsAffected(), err
	}
	result, err := q.ext.ExecContext(ctx, q.rebind(query), args...)
	if err != nil {
		return 0, translate(err)
	}
	return result.RowsAffected()
}

// get scans one row into dest: a struct by its db tags, or a single value.
func (q queryer) get(ctx context.Context, dest any, query string, args ...any) error {
	if err := q.pipe.run(ctx); err != nil {
		return err
	}
	return translate(sqlx.GetContext(ctx, q.ext, dest, q.rebind(query), args...))
}

// all scans every row into dest, a pointer to a slice of structs or of single values.
func (q queryer) all(ctx context.Context, dest any, query string, args ...any) error {
	if err := q.pipe.run(ctx); err != nil {
		return err
	}
	return translate(sqlx.SelectContext(ctx, q.ext, dest, q.rebind(query), args...))
}

// each calls scan for every row.
func (q queryer) each(ctx context.Context, scan func(row scanner) error, query string, args ...any) error {
	if q.pipe != nil {
		return q.pipe.run(ctx, statement{query: q.rebind(query), args: args, scan: scan})
	}
	rows, err := q.ext.QueryxContext(ctx, q.rebind(query), args...)
	if err != nil {
		return translate(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

type scanner interface{ Scan(dest ...any) error }

// together runs statements in order, on PostgreSQL in a write transaction in one round trip. Each sees what those before it did.
func (q queryer) together(ctx context.Context, list ...statement) error {
	if q.pipe != nil {
		for i := range list {
			list[i].query = q.rebind(list[i].query)
		}
		return q.pipe.run(ctx, list...)
	}
	for _, s := range list {
		if err := s.alone(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// post runs a statement that answers nothing: in a write transaction on PostgreSQL with the next one that does, or with the commit.
// Its error comes from there then, and begins with what it was to do.
func (q queryer) post(ctx context.Context, what, query string, args ...any) error {
	s := statement{what: what, query: query, args: args}
	if q.pipe != nil {
		s.query = q.rebind(query)
		q.pipe.post(s)
		return nil
	}
	return s.alone(ctx, q)
}

func (q queryer) rebind(query string) string {
	if !q.pg {
		return query
	}
	if text, ok := rebound.Load(query); ok {
		return text.(string)
	}
	text := sqlx.Rebind(sqlx.DOLLAR, query)
	rebound.Store(query, text)
	return text
}

// rebound has what PostgreSQL gets of each statement: there are some hundred, since no text depends on the length of a list.
var rebound sync.Map

// in is the condition that expr is one of a list, which list makes an argument of. The text doesn't depend on the
// list's length, so the statement stays prepared.
func (q queryer) in(expr string) string {
	if q.pg {
		return expr + " = ANY (?)"
	}
	return expr + " IN (SELECT value FROM json_each(?))"
}

// inDates is in for dates, and its argument.
func (q queryer) inDates(expr string, dates []civil.Date) (condition string, list any) {
	if q.pg {
		return expr + " = ANY (?)", array{col(expr, "date", dates)}
	}
	return q.in(expr), q.list(pluck(dates, civil.Date.String))
}

// sortedSet is ids in byte order, each once.
func sortedSet(ids []string) []string {
	set := slices.Clone(ids)
	slices.Sort(set)
	return slices.Compact(set)
}

// list is the argument for in.
func (q queryer) list(values []string) any {
	if q.pg {
		return array{col("list", "text", values)}
	}
	if values == nil {
		values = []string{}
	}
	text, _ := json.Marshal(values) // strings always encode
	return string(text)
}

// forUpdate locks the rows of a SELECT. SQLite has one writer, which holds everything.
func (q queryer) forUpdate() string {
	if q.pg {
		return " FOR UPDATE"
	}
	return ""
}

// lockRows locks rows in byte order of ids before a statement changes several of them: an UPDATE by itself locks in the
// order of its plan, and two of them may wait for each other.
func (tx *Tx) lockRows(ctx context.Context, table string, ids []string) error {
	if !tx.pg || len(ids) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `SELECT 1 FROM `+table+` WHERE `+tx.in("id")+` ORDER BY id FOR NO KEY UPDATE`, tx.list(ids))
	return err
}

// column is one column of rows that are handed to a statement.
type column struct {
	name   string
	typ    string // of PostgreSQL
	values any    // a slice
	n      int
	at     func(i int) any
}

// col makes a column of values. Of []byte, json.RawMessage and named string types make strings first; use pointers for
// what may be null. A zero date is null.
func col[T any](name, typ string, values []T) column {
	return column{name: name, typ: typ, values: values, n: len(values), at: func(i int) any { return values[i] }}
}

// table makes rows out of columns, all of one length, to stand after FROM under that alias: unnest on PostgreSQL (one
// text for any number of rows), VALUES on SQLite. For ON CONFLICT behind it SQLite needs a WHERE true between.
func (q queryer) table(alias string, cols ...column) (string, []any) {
	n := cols[0].n
	var b strings.Builder
	if q.pg {
		args := make([]any, len(cols))
		names := make([]string, len(cols))
		b.WriteString("unnest(")
		for i, c := range cols {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("?::" + c.typ + "[]")
			args[i], names[i] = array{c}, c.name
		}
		b.WriteString(") AS " + alias + " (" + strings.Join(names, ", ") + ")")
		return b.String(), args
	}
	args := make([]any, 0, n*len(cols))
	b.WriteString("(SELECT ")
	for i, c := range cols {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "column%d AS %s", i+1, c.name)
	}
	b.WriteString(" FROM (VALUES ")
	row := "(?" + strings.Repeat(",?", len(cols)-1) + ")"
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(row)
		for _, c := range cols {
			args = append(args, c.at(i))
		}
	}
	b.WriteString(")) AS " + alias)
	return b.String(), args
}

// tableRows is the most rows that one call of table may get: SQLite takes 32,766 arguments in a statement.
const tableRows = 1000

// Tx is one transaction that writes.
type Tx struct {
	queryer
	now time.Time // of everything that this transaction does

	end     []func(ctx context.Context) error
	touched map[string]bool   // recipients whose inboxes end needs
	held    []inbox           // locked, in byte order of the recipients
	inboxes map[string]*inbox // held, by recipient
	wake    bool

	localTimes map[*time.Location]string // of now

	doubtful bool // notifications of it may have been written before
	once     bool // it isn't run again, whatever others did meanwhile
}

// wakeOutbox wakes the relay after the commit. PostgreSQL does it itself, by triggers.
func (tx *Tx) wakeOutbox() { tx.wake = true }

// atEnd queues what touches inboxes for the time just before the commit: then the inboxes of all recipients that were
// named are locked at once, and the queued functions run in order. Everything else that a transaction locks comes
// before, so no two transactions wait for each other. A queued function may queue more, for the same recipients only.
func (tx *Tx) atEnd(recipients []string, fn func(ctx context.Context) error) {
	if tx.touched == nil {
		tx.touched = make(map[string]bool)
	}
	for _, r := range recipients {
		tx.touched[r] = true
	}
	tx.end = append(tx.end, fn)
}

// write runs fn in a transaction and commits it unless fn returns an error. What the database undid because of other
// transactions, or because a notification of it was written before, is run again: so fn must not keep anything from a run
// that failed. After the commit Options.Committed gets what happened to inboxes. A transaction inside of a transaction
// would wait for itself on SQLite.
func (db *DB) write(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	doubtful := false
	return retrying(ctx, func() error {
		tx := &Tx{doubtful: doubtful}
		err := db.writeOnce(ctx, tx, fn)
		switch {
		case err == nil:
			db.tell(tx.changes(), tx.wake)
		case keyTaken(err):
			doubtful = true
		case inboxTaken(err):
			failed := db.makeEmptyInboxes(ctx, slices.Collect(maps.Keys(tx.touched)), func(ctx context.Context, query string, args ...any) error {
				_, err := db.writer.ExecContext(ctx, query, args...)
				return err
			})
			if failed != nil {
				return errors.Join(failed, err)
			}
		}
		return err
	})
}

// retrying runs again what the database undid because of others.
func retrying(ctx context.Context, fn func() error) error {
	const attempts = 6
	for attempt := 1; ; attempt++ {
		err := fn()
		if err == nil || !retryable(err) || attempt == attempts {
			return err
		}
		pause := time.Duration(1+rand.IntN(10<<attempt)) * time.Millisecond
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// tell passes on what a transaction did, after its commit.
func (db *DB) tell(changes []Change, wake bool) {
	if len(changes) > 0 {
		(*db.committed.Load())(changes)
	}
	if wake {
		db.outbox.wake()
	}
}

// writeOnce runs fn in tx, a new one, and commits it.
func (db *DB) writeOnce(ctx context.Context, tx *Tx, fn func(ctx context.Context, tx *Tx) error) error {
	q, commit, rollback, err := db.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer rollback() // does nothing after the commit
	tx.queryer, tx.now = q, db.Now()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if tx.once {
		if err := db.makeInboxesAside(ctx, slices.Collect(maps.Keys(tx.touched))); err != nil {
			return err
		}
	}
	if err := tx.runEnd(ctx); err != nil {
		return err
	}
	if err := commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// begin begins a transaction that writes: READ COMMITTED on PostgreSQL, on SQLite the only one.
func (db *DB) begin(ctx context.Context) (q queryer, commit func(context.Context) error, rollback func(), err error) {
	if db.pg != nil {
		pipe, err := beginPipeline(ctx, db.writer)
		if err != nil {
			return q, nil, nil, err
		}
		return queryer{ext: pipe.conn, pg: true, pipe: pipe}, pipe.commit, pipe.close, nil
	}
	raw, err := db.writer.BeginTxx(ctx, nil)
	if err != nil {
		return q, nil, nil, err
	}
	commit = func(ctx context.Context) error {
		err := raw.Commit()
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil { // it was rolled back for that
			return ctx.Err()
		}
		return err
	}
	return queryer{ext: raw}, commit, func() { raw.Rollback() }, nil
}

// runEnd locks the inboxes, runs what was queued and writes the counters.
func (tx *Tx) runEnd(ctx context.Context) error {
	if len(tx.end) == 0 {
		return nil
	}
	if err := tx.lockInboxes(ctx); err != nil {
		return err
	}
	for i := 0; i < len(tx.end); i++ { // it may grow
		if err := tx.end[i](ctx); err != nil {
			return err
		}
	}
	for id := range tx.touched {
		if tx.inboxes[id] == nil {
			return errors.New("an inbox was named after the inboxes were locked")
		}
	}
	return tx.saveInboxes(ctx)
}

// read runs fn on one snapshot.
func (db *DB) read(ctx context.Context, fn func(q queryer) error) error {
	raw, err := db.reader.BeginTxx(ctx, &sql.TxOptions{Isolation: db.snapshot(), ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer raw.Rollback()
	if err := fn(queryer{ext: raw, pg: db.pg != nil}); err != nil {
		return err
	}
	return raw.Commit()
}

// readAll is read for what no index leads to: it may read whole tables.
func (db *DB) readAll(ctx context.Context, fn func(q queryer) error) error {
	return db.read(ctx, func(q queryer) error {
		if q.pg {
			if _, err := q.exec(ctx, `SET LOCAL enable_seqscan = on`); err != nil {
				return err
			}
		}
		return fn(q)
	})
}

func (db *DB) snapshot() sql.IsolationLevel {
	if db.pg != nil {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault // SQLite in WAL mode always reads a snapshot
}
