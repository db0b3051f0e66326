package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

// statement is one of several that go to the database together.
type statement struct {
	what  string // it is to do, for its error; may be ""
	query string
	args  []any
	scan  func(row scanner) error // called for every row, if it isn't nil
	did   *pgconn.CommandTag      // of a pipeline: where PostgreSQL's word goes for what it did, if it isn't nil
}

// alone runs it by itself.
func (s statement) alone(ctx context.Context, q queryer) error {
	if s.scan != nil {
		return s.failed(q.each(ctx, s.scan, s.query, s.args...))
	}
	_, err := q.exec(ctx, s.query, s.args...)
	return s.failed(err)
}

func (s statement) failed(err error) error {
	if err == nil || s.what == "" {
		return err
	}
	return fmt.Errorf("%s: %w", s.what, err)
}

// texts is the scan of rows that are one text.
func texts(list *[]string) func(row scanner) error {
	return func(row scanner) error {
		var text string
		err := row.Scan(&text)
		*list = append(*list, text)
		return err
	}
}

// pipeline is a transaction on PostgreSQL. Most of what a short one costs are its round trips, and all the while it holds locks: so
// statements that need nothing of each other's answers go together, and those that answer nothing, BEGIN among them, go with the next
// that does. READ COMMITTED: each statement sees what was committed before it began, wherever it was sent.
type pipeline struct {
	conn   *sqlx.Conn
	posted []statement
}

const (
	commit          = "COMMIT"
	rollbackTimeout = 5 * time.Second
)

// errRolledBack is PostgreSQL's answer to COMMIT after an error that somebody passed over.
var errRolledBack = errors.New("a statement had failed, so the transaction was rolled back")

func beginPipeline(ctx context.Context, pool *sqlx.DB) (*pipeline, error) {
	conn, err := pool.Connx(ctx)
	if err != nil {
		return nil, err
	}
	return &pipeline{conn: conn, posted: []statement{{query: "BEGIN"}}}, nil
}

func (p *pipeline) post(s statement) { p.posted = append(p.posted, s) }

// run sends what was posted and then list. The first error is answered, and nothing behind it is done.
func (p *pipeline) run(ctx context.Context, list ...statement) error {
	if p == nil {
		return nil
	}
	list = append(p.posted, list...)
	p.posted = nil
	if len(list) == 0 {
		return nil
	}
	return p.conn.Raw(func(dc any) error {
		var batch pgx.Batch
		for _, s := range list {
			batch.Queue(s.query, s.args...)
		}
		results := dc.(*stdlib.Conn).Conn().SendBatch(ctx, &batch)
		for _, s := range list {
			if err := s.receive(results); err != nil {
				results.Close()
				return s.failed(translate(err))
			}
		}
		return results.Close()
	})
}

func (s statement) receive(results pgx.BatchResults) error {
	if s.scan == nil {
		did, err := results.Exec()
		if s.did != nil {
			*s.did = did
		}
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := s.scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// commit sends what was posted and COMMIT.
func (p *pipeline) commit(ctx context.Context) error {
	var did pgconn.CommandTag
	err := p.run(ctx, statement{query: commit, did: &did})
	if err == nil && did.String() != commit {
		err = errRolledBack
	}
	return err
}

// close gives the connection back, without a transaction: one that wasn't committed is rolled back.
func (p *pipeline) close() {
	p.conn.Raw(func(dc any) error {
		conn := dc.(*stdlib.Conn).Conn()
		if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
		defer cancel()
		if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
			return driver.ErrBadConn // the server ends it with the connection
		}
		return nil
	})
	p.conn.Close()
}
