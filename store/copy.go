package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"duebell/internal/civil"
)

// copyRows is from how many rows on PostgreSQL gets them by COPY, in its binary format: of 500 each costs five sixths of what it does
// by INSERT from arrays, of 50 as much (BenchmarkRows). It is a round trip of its own, so it isn't for the few rows of a status change.
const copyRows = 50

// insertInto adds up to tableRows rows to a table whose columns have the names of cols. A row that is there already fails the
// transaction. The error may come with a later statement, and begins with what this was to do.
func (tx *Tx) insertInto(ctx context.Context, what, table string, cols ...column) error {
	if tx.pg && cols[0].n >= copyRows {
		return statement{what: what}.failed(tx.copyInto(ctx, table, cols))
	}
	return tx.insertArrays(ctx, what, table, cols)
}

func (tx *Tx) copyInto(ctx context.Context, table string, cols []column) error {
	return tx.pipe.copyIn(ctx, `COPY `+table+` (`+columnNames(cols)+`) FROM STDIN WITH (FORMAT binary)`, cols)
}

func (tx *Tx) insertArrays(ctx context.Context, what, table string, cols []column) error {
	v, args := tx.table("v", cols...)
	names := columnNames(cols)
	return tx.post(ctx, what, `INSERT INTO `+table+` (`+names+`) SELECT `+names+` FROM `+v, args...)
}

func columnNames(cols []column) string {
	return strings.Join(pluck(cols, func(c column) string { return c.name }), ", ")
}

// copyIn sends what was posted and then rows.
func (p *pipeline) copyIn(ctx context.Context, query string, cols []column) error {
	if err := p.run(ctx); err != nil {
		return err
	}
	buffer := takeCopyBuffer()
	rows, err := appendCopy(buffer, cols)
	if err != nil {
		return err
	}
	defer keepCopyBuffer(rows)
	return p.conn.Raw(func(dc any) error {
		_, err := dc.(*stdlib.Conn).Conn().PgConn().CopyFrom(ctx, bytes.NewReader(rows), query)
		return err
	})
}

// copyBuffers are kept for the next batch: one more than a worker has batches under way. A sync.Pool would be emptied by each collection, of which a
// run has several a second.
var copyBuffers = make(chan []byte, 4)

// maxCopyBuffer is how large a buffer may be that is kept: larger than those of a run's batch.
const maxCopyBuffer = 1 << 20

func takeCopyBuffer() []byte {
	select {
	case b := <-copyBuffers:
		return b[:0]
	default:
		return nil
	}
}

func keepCopyBuffer(b []byte) {
	if cap(b) > maxCopyBuffer {
		return
	}
	select {
	case copyBuffers <- b:
	default:
	}
}

// appendCopy encodes rows for COPY in its binary format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
func appendCopy(b []byte, cols []column) ([]byte, error) {
	cells := make([]func(b []byte, i int) []byte, len(cols))
	for i, c := range cols {
		var err error
		if cells[i], err = c.cells(); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	b = append(b, "PGCOPY\n\xff\r\n\x00"...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // no flags, no extension
	for i := range cols[0].n {
		b = binary.BigEndian.AppendUint16(b, uint16(len(cols)))
		for _, cell := range cells {
			b = cell(b, i)
		}
	}
	return append(b, 0xff, 0xff), nil
}

// cells answers what encodes the column's values, each behind its length.
func (c column) cells() (cell func(b []byte, i int) []byte, err error) {
	switch values := c.values.(type) {
	case []string:
		if c.typ == "jsonb" { // whose format has a version
			return func(b []byte, i int) []byte {
				b = binary.BigEndian.AppendUint32(b, uint32(1+len(values[i])))
				return append(append(b, 1), values[i]...)
			}, nil
		}
		return func(b []byte, i int) []byte { return appendTextCell(b, values[i]) }, nil
	case []*string:
		return nullable(values, appendTextCell[string]), nil
	case [][]byte:
		return func(b []byte, i int) []byte {
			if values[i] == nil {
				return appendNullCell(b)
			}
			return appendTextCell(b, values[i])
		}, nil
	case []bool:
		return func(b []byte, i int) []byte {
			b = append(b, 0, 0, 0, 1, 0)
			if values[i] {
				b[len(b)-1] = 1
			}
			return b
		}, nil
	case []int:
		return c.integers(values)
	case []*int:
		if c.typ != "integer" {
			break
		}
		var set []int
		for _, n := range values {
			if n != nil {
				set = append(set, *n)
			}
		}
		if _, err := c.integers(set); err != nil {
			return nil, err
		}
		return nullable(values, appendIntegerCell), nil
	case []int64:
		return func(b []byte, i int) []byte { return appendBigintCell(b, values[i]) }, nil
	case []*int64:
		return nullable(values, appendBigintCell), nil
	case []place:
		return func(b []byte, i int) []byte {
			b = binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 6), uint32(values[i]>>16))
			return binary.BigEndian.AppendUint16(b, uint16(values[i]))
		}, nil
	case []time.Time:
		return func(b []byte, i int) []byte { return appendTimeCell(b, values[i]) }, nil
	case []*time.Time:
		return nullable(values, appendTimeCell), nil
	case []civil.Date:
		return func(b []byte, i int) []byte {
			if values[i].IsZero() {
				return appendNullCell(b)
			}
			return appendIntegerCell(b, values[i].Sub(epochDate))
		}, nil
	}
	return nil, fmt.Errorf("no binary format for %T", c.values)
}

// integers are cells of the size of the column's type, in which all of values must have room.
func (c column) integers(values []int) (cell func(b []byte, i int) []byte, err error) {
	bits := map[string]int{"smallint": 16, "integer": 32, "bigint": 64}[c.typ]
	for _, n := range values {
		if int64(n)<<(64-bits)>>(64-bits) != int64(n) {
			return nil, fmt.Errorf("%d isn't a %s", n, c.typ)
		}
	}
	switch bits {
	case 16:
		return func(b []byte, i int) []byte {
			return binary.BigEndian.AppendUint16(append(b, 0, 0, 0, 2), uint16(values[i]))
		}, nil
	case 32:
		return func(b []byte, i int) []byte { return appendIntegerCell(b, values[i]) }, nil
	}
	return func(b []byte, i int) []byte { return appendBigintCell(b, int64(values[i])) }, nil
}

// nullable are cells of values of which some may be nil.
func nullable[T any](values []*T, cell func(b []byte, v T) []byte) func(b []byte, i int) []byte {
	return func(b []byte, i int) []byte {
		if values[i] == nil {
			return appendNullCell(b)
		}
		return cell(b, *values[i])
	}
}

// PostgreSQL counts from here.
var (
	epoch     = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	epochDate = civil.Of(epoch)
)

func appendNullCell(b []byte) []byte { return append(b, 0xff, 0xff, 0xff, 0xff) }

func appendTextCell[T string | []byte](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendIntegerCell(b []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 4), uint32(n))
}

// appendTimeCell is to the microsecond, as the database keeps it.
func appendTimeCell(b []byte, t time.Time) []byte {
	return appendBigintCell(b, t.UnixMicro()-epoch.UnixMicro())
}

func appendBigintCell(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(n))
}
