package store

import (
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What a caller may branch on.
var (
	// ErrNotFound: no such row, or not this person's.
	ErrNotFound = errors.New("not found")
	// ErrStale: the as_of of a change is older than what is stored. Nothing was changed.
	ErrStale = errors.New("older than what is stored")
	// ErrConflict: the id is known with another body. Nothing was changed.
	ErrConflict = errors.New("the same id was used with another body")
	// ErrOtherClock: the database has run on the other kind of clock.
	ErrOtherClock = errors.New("use another database")
	// ErrSuperseded: somebody else goes on with an import. Nothing was changed.
	ErrSuperseded = errors.New("somebody else goes on with this import")
	// ErrCursor: the cursor of a list is no cursor, or one of another list.
	ErrCursor = errors.New("not a cursor of this list")
)

// FieldError says which field of a request can't be accepted, and why in a plain sentence.
type FieldError struct {
	Field   string
	Message string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// translate turns what the drivers say into what this package promises.
func translate(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// retryable says whether the database undid the transaction because of others, so that it can be tried again.
func retryable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "40001", "40P01": // serialization_failure, deadlock_detected
			return true
		}
		return keyTaken(err) || inboxTaken(err)
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff { // the low byte is the primary code
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return true
		}
	}
	return false
}

// keyTaken says whether a transaction wrote a notification that was written before.
func keyTaken(err error) bool { return taken(err, "notification_keys_pkey") }

// inboxTaken says whether somebody else made an inbox after a transaction had found that there was none.
func inboxTaken(err error) bool { return taken(err, "inboxes_pkey") }

func taken(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505" && pg.ConstraintName == constraint // unique_violation
}

// lockTimeout says whether a statement has waited too long for what somebody else holds.
func lockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "55P03" // lock_not_available
}

// badRow says whether err is the fault of what was being written, so that it would come again, and not that of the
// database or the time.
func badRow(err error) bool {
	if _, ok := errors.AsType[*panicked](err); ok {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code[:2] {
		case "22", "23": // data exception, integrity constraint violation
			return true
		}
		return pg.Code == "54000" // program_limit_exceeded, such as a text that no index takes
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
			return true
		}
	}
	return false
}
