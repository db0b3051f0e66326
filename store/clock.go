package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// The kinds of clock that a database can have seen.
const (
	ClockReal      = "real"
	ClockSimulated = "simulated"
)

// Now is the clock's instant in UTC, cut to the microseconds that both databases keep.
func (db *DB) Now() time.Time { return db.clock().UTC().Truncate(time.Microsecond) }

// UseClock binds the database to a kind of clock, ClockReal or ClockSimulated, for good: reminders that were sent in a
// made-up March can't be told from real ones later. It refuses a database that has seen the other kind.
func (db *DB) UseClock(ctx context.Context, kind string) error {
	if kind != ClockReal && kind != ClockSimulated {
		return fmt.Errorf("use clock: %q is neither %s nor %s", kind, ClockReal, ClockSimulated)
	}
	var seen string
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES ('clock', ?) ON CONFLICT (key) DO NOTHING`, kind)
		if err != nil {
			return err
		}
		return tx.get(ctx, &seen, `SELECT value FROM meta WHERE key = 'clock'`)
	})
	if err != nil {
		return fmt.Errorf("use clock: %w", err)
	}
	if seen != kind {
		return fmt.Errorf("this database has run on a %s clock and can't go on with a %s one: %w", seen, kind, ErrOtherClock)
	}
	return nil
}

// ClockNow is the instant that a simulated clock had reached when it was last saved; zero if it never was.
func (db *DB) ClockNow(ctx context.Context) (time.Time, error) {
	var text string
	err := db.query().get(ctx, &text, `SELECT value FROM meta WHERE key = 'clock_now'`)
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read the simulated clock: %w", err)
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the simulated clock: %w", err)
	}
	return t.UTC(), nil
}

// SaveClock keeps the instant that a simulated clock has reached.
func (db *DB) SaveClock(ctx context.Context, t time.Time) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `
			INSERT INTO meta (key, value) VALUES ('clock_now', ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
			t.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano))
		return err
	})
	if err != nil {
		return fmt.Errorf("save the simulated clock: %w", err)
	}
	return nil
}

// instant scans a time column that may be null (zero then). SQLite knows the type of a column, but not that of an
// expression over it, such as MAX or what RETURNING answers, and hands out microseconds there.
type instant struct{ time.Time }

func (i *instant) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		i.Time = time.Time{}
	case time.Time:
		i.Time = v.UTC()
	case int64:
		i.Time = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("scan an instant from %T", src)
	}
	return nil
}

// ScanTimestamptz is Scan without a box for the value, for pgx.
func (i *instant) ScanTimestamptz(v pgtype.Timestamptz) error {
	if !v.Valid {
		i.Time = time.Time{}
		return nil
	}
	if v.InfinityModifier != pgtype.Finite {
		return fmt.Errorf("scan an instant from %v", v.InfinityModifier)
	}
	i.Time = v.Time.UTC()
	return nil
}

// pointer is nil for the zero time.
func (i instant) pointer() *time.Time {
	if i.IsZero() {
		return nil
	}
	return &i.Time
}
