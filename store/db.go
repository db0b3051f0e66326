package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

// Options of Open. The zero value is usable.
type Options struct {
	Log   *slog.Logger
	Clock func() time.Time // default time.Now
	// Committed is handed what a transaction did to inboxes, after its commit. It must not block.
	Committed func([]Change)
	MaxConns  int // of PostgreSQL, and readers of SQLite; default 10
}

// DB is a lender's database. It is safe for concurrent use.
type DB struct {
	log       *slog.Logger
	clock     func() time.Time
	committed atomic.Pointer[func([]Change)]

	pg       *pgx.ConnConfig // nil: SQLite
	patient  *pgx.ConnConfig // pg without a limit for statements, for migrations
	writer   *sqlx.DB
	reader   *sqlx.DB // PostgreSQL: the same pool as writer
	outbox   wakers
	policies policyCache
	closing  sync.Once

	partPages int64
}

// The names that Dialect answers.
const (
	Postgres = "postgres"
	SQLite   = "sqlite"
)

// Open makes ready the database that url names: postgres://… or sqlite:PATH, whose folder is created. It doesn't
// connect: Ready says whether the database can be reached.
func Open(ctx context.Context, url string, opt Options) (*DB, error) {
	db := &DB{log: opt.Log, clock: opt.Clock, partPages: partPages}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.clock == nil {
		db.clock = time.Now
	}
	db.SetCommitted(opt.Committed)
	conns := opt.MaxConns
	if conns <= 0 {
		conns = 10
	}
	scheme, rest, _ := strings.Cut(url, ":")
	var err error
	switch scheme {
	case "postgres", "postgresql":
		err = db.openPostgres(url, conns)
	case "sqlite":
		err = db.openSQLite(rest, conns)
	default: // the URL isn't repeated: it may hold a password
		err = errors.New("the URL must start with postgres:// or sqlite: and name a database")
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// A worker that hangs in a transaction holds locks that a person's own reads wait for: the server ends it after
// seconds. Values of the URL win.
var sessionSettings = map[string]string{
	"application_name":                    "duebell",
	"timezone":                            "UTC",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "10s",
	"statement_timeout":                   "60s",
	// Every table is read by an index. A plan that was made while a table was small would read all of it until the next ANALYZE, which
	// may be a minute and many thousand rows later.
	"enable_seqscan": "off",
	// A statement that is compiled takes longer than it runs.
	"jit": "off",
}

func (db *DB) openPostgres(url string, conns int) error {
	config, err := pgx.ParseConfig(url)
	if err != nil { // the parser's message leaves out the password
		return err
	}
	for name, value := range sessionSettings {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	// An index of a large table takes longer than any call may. Waiting for a lock stays limited: behind a migration that waits
	// for a table, everybody else waits too.
	db.patient = config.Copy()
	db.patient.RuntimeParams["statement_timeout"] = "0"
	endSilence(config)
	db.pg = config
	pool := stdlib.OpenDB(*config, stdlib.OptionShouldPing(pingBriefly), stdlib.OptionAfterConnect(prepareConn))
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	db.writer = sqlx.NewDb(pool, "pgx")
	db.reader = db.writer
	return nil
}

// prepareConn makes a new connection take and give values as this package has them.
func prepareConn(_ context.Context, conn *pgx.Conn) error {
	conn.TypeMap().RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID,
		Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC}})
	registerArrays(conn)
	return nil
}

// openSQLite opens one connection that writes and a pool of readers. With synchronous NORMAL in WAL mode a crash of
// the program loses nothing; a power cut may lose the last commits, never the file's consistency.
func (db *DB) openSQLite(path string, conns int) error {
	path = strings.TrimPrefix(path, "//") // sqlite:///absolute/path, as other tools write it
	if path == "" || strings.HasPrefix(path, ":") {
		return errors.New("sqlite: needs the path of a file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	dsn := func(extra ...string) string {
		settings := append([]string{
			"_busy_timeout=5000",
			"_journal_mode=WAL",
			"_synchronous=NORMAL",
			"_foreign_keys=1",
			// Times are integers, microseconds since 1970: they compare as numbers.
			"_time_integer_format=unix_micro",
			"_inttotime=1",
			"_dqs=0",
		}, extra...)
		file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: strings.Join(settings, "&")}
		return file.String()
	}
	// A transaction that starts by reading and then wants to write can't wait for its turn: immediate ones take it
	// at the start.
	writer, err := sqlx.Open("sqlite", dsn("_txlock=immediate"))
	if err != nil {
		return err
	}
	writer.SetMaxOpenConns(1)
	reader, err := sqlx.Open("sqlite", dsn("_query_only=1"))
	if err != nil {
		writer.Close()
		return err
	}
	conns = min(conns, 2*runtime.NumCPU())
	reader.SetMaxOpenConns(conns)
	reader.SetMaxIdleConns(conns)
	db.writer, db.reader = writer, reader
	return nil
}

// Close waits for running statements and closes the connections.
func (db *DB) Close() error {
	var err error
	db.closing.Do(func() {
		if db.reader != db.writer {
			err = db.reader.Close()
		}
		err = errors.Join(err, db.writer.Close())
	})
	return err
}

// Dialect is Postgres or SQLite.
func (db *DB) Dialect() string {
	if db.pg != nil {
		return Postgres
	}
	return SQLite
}

// SetCommitted replaces Options.Committed, for programs whose publisher needs the store first.
func (db *DB) SetCommitted(fn func([]Change)) {
	if fn == nil {
		fn = func([]Change) {}
	}
	db.committed.Store(&fn)
}

// Ready is nil when the database can be reached and has this program's tables; else it says in plain words what is
// missing.
func (db *DB) Ready(ctx context.Context) error {
	if err := db.reader.PingContext(ctx); err != nil {
		return fmt.Errorf("the database can't be reached: %w", err)
	}
	want, err := newestMigration(db.ownMigrations())
	if err != nil {
		return err
	}
	have, err := db.version(ctx)
	if err != nil || have < want {
		return errors.Join(errors.New("the database isn't migrated: run duebell migrate"), err)
	}
	return nil
}
