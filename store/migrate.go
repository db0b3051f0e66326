package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migrate brings the tables up to date. Programs that start at once may all call it: on PostgreSQL the first holds a
// session lock while the others wait; on SQLite each migration is one immediate transaction, and who finds that another
// was faster looks again.
func (db *DB) Migrate(ctx context.Context) error {
	dialect, attempts := goose.DialectSQLite3, 5
	var options []goose.ProviderOption
	if db.pg != nil {
		// The defaults would look every five seconds only.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		dialect, attempts = goose.DialectPostgres, 1
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, "migrations/"+db.Dialect())
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for {
		// A provider remembers nothing of use after a failure: each attempt has its own.
		var provider *goose.Provider
		if provider, err = goose.NewProvider(dialect, db.writer.DB, files, options...); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		var done []*goose.MigrationResult
		if done, err = provider.Up(ctx); err == nil {
			for _, m := range done {
				db.log.InfoContext(ctx, "database migrated", "version", m.Source.Version, "took", m.Duration)
			}
			break
		}
		if attempts--; attempts == 0 {
			return fmt.Errorf("migrate: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("migrate: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	// Restored replaces it.
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES ('epoch', ?) ON CONFLICT (key) DO NOTHING`,
			newEpoch())
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate: set the epoch: %w", err)
	}
	return nil
}

// newestMigration is the highest number among the embedded files.
func newestMigration(dialect string) (int64, error) {
	files, err := fs.Glob(migrations, "migrations/"+dialect+"/*.sql")
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no migrations for %s: %w", dialect, err)
	}
	var newest int64
	for _, file := range files {
		n, err := goose.NumericComponent(file)
		if err != nil {
			return 0, err
		}
		newest = max(newest, n)
	}
	return newest, nil
}
