package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// A migration that couldn't have its tables leaves them alone for so long, and for longer each time: while it waits for them, so does everybody else.
const (
	migratePause        = 5 * time.Second
	longestMigratePause = time.Minute
)

// ownMigrations are this program's for the database.
func (db *DB) ownMigrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations/"+db.Dialect())
	if err != nil {
		panic(err) // they are embedded
	}
	return files
}

// Migrate brings the tables up to date. Programs that start at once may all call it: on PostgreSQL the first holds a
// session lock while the others wait; on SQLite each migration is one immediate transaction, and who finds that another
// was faster looks again. A migration that fails is named and changes nothing; what came before it stays. One that gives way to whoever uses its tables
// comes again, as often as it takes. Tables of a later version are left as they are: during a rolling deploy this program works on them, for migrations only add.
func (db *DB) Migrate(ctx context.Context) error {
	if err := db.migrate(ctx, db.ownMigrations()); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	// Restored replaces it.
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES ('epoch', ?) ON CONFLICT (key) DO NOTHING`,
			newEpoch())
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate: set the epoch: %w", err)
	}
	return nil
}

// migrate runs the migrations in files that the database hasn't had.
func (db *DB) migrate(ctx context.Context, files fs.FS) error {
	newest, err := newestMigration(files)
	if err != nil {
		return err
	}
	if have, err := db.version(ctx); err == nil && have >= newest {
		return nil // the usual start: nothing waits for anybody's lock
	}
	dialect, pool, attempts := goose.DialectSQLite3, db.writer.DB, 5
	var options []goose.ProviderOption
	if db.pg != nil {
		// The defaults would look every five seconds only.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
		if err != nil {
			return err
		}
		dialect, pool, attempts = goose.DialectPostgres, stdlib.OpenDB(*db.patient), 1
		defer pool.Close()
		options = append(options, goose.WithSessionLocker(locker))
	}
	for gaveWay := migratePause; ; {
		// A provider remembers nothing of use after a failure: each attempt has its own.
		provider, err := goose.NewProvider(dialect, pool, files, options...)
		if err != nil {
			return err
		}
		done, err := provider.Up(ctx)
		failed, partial := errors.AsType[*goose.PartialError](err)
		if partial {
			done = failed.Applied
		}
		for _, m := range done {
			db.log.InfoContext(ctx, "database migrated", "version", m.Source.Version, "took", m.Duration)
		}
		if err == nil {
			return nil
		}
		pause := 100 * time.Millisecond
		if partial {
			err = fmt.Errorf("%s: %w", path.Base(failed.Failed.Source.Path), failed.Err)
		}
		if lockTimeout(err) || retryable(err) && db.pg != nil {
			db.log.WarnContext(ctx, "a migration waits for whoever uses its tables, such as a back-up", "error", err)
			pause, gaveWay = gaveWay, min(2*gaveWay, longestMigratePause)
		} else if attempts--; attempts == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// version is the number of the newest migration that the database has had.
func (db *DB) version(ctx context.Context) (n int64, err error) {
	err = db.query().get(ctx, &n, `SELECT COALESCE(max(version_id), 0) FROM goose_db_version WHERE is_applied`)
	return n, err
}

// newestMigration is the highest number among the files.
func newestMigration(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no migrations: %w", err)
	}
	var newest int64
	for _, name := range names {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		newest = max(newest, n)
	}
	return newest, nil
}
