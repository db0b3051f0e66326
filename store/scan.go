package store

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"

	"duebell/internal/civil"
)

// day is where to scan a date to, as into the date itself, but without a box for the value where the driver is pgx: for what is read for
// every reminder.
type day struct{ *civil.Date }

// ScanDate is for pgx.
func (d day) ScanDate(v pgtype.Date) error {
	if !v.Valid {
		*d.Date = civil.Date{}
		return nil
	}
	if v.InfinityModifier != pgtype.Finite {
		return fmt.Errorf("scan a date from %v", v.InfinityModifier)
	}
	*d.Date = civil.Of(v.Time)
	return nil
}

// place is where a row of a table is, the shortest way back to it: on PostgreSQL the number of its page and, in the last 16 bits, of the row in it
// (ctid), on SQLite the rowid. It stays the same as long as the transaction holds the row's lock.
type place int64

// ScanTID is for pgx.
func (p *place) ScanTID(v pgtype.TID) error {
	if !v.Valid {
		return fmt.Errorf("scan a place from NULL")
	}
	*p = place(int64(v.BlockNumber)<<16 | int64(v.OffsetNumber))
	return nil
}

// word is where to scan a text to that is often the same as in the row before, such as a currency: then the string is kept.
type word struct{ text *string }

// ScanBytes is for pgx.
func (w word) ScanBytes(b []byte) error {
	if b == nil {
		return fmt.Errorf("scan a text from NULL")
	}
	if *w.text != string(b) {
		*w.text = string(b)
	}
	return nil
}

// Scan is for every other driver.
func (w word) Scan(src any) error {
	switch v := src.(type) {
	case string:
		*w.text = v
	case []byte:
		return w.ScanBytes(v)
	default:
		return fmt.Errorf("scan a text from %T", src)
	}
	return nil
}
