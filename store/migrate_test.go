package store

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"duebell/internal/testenv"
)

func TestMigrate(t *testing.T) {
	t.Run("ProgramsThatStartAtOnceMigrateOnce", func(t *testing.T) {
		testenv.Databases(t, func(t *testing.T, url string) {
			var group errgroup.Group
			epochs := make([]string, 4)
			for i := range epochs {
				db, err := Open(t.Context(), url, Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				group.Go(func() error {
					if err := db.Migrate(t.Context()); err != nil {
						return err
					}
					epochs[i], _, err = db.Heads(t.Context(), nil)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			if len(epochs[0]) != 8 || len(slices.Compact(slices.Clone(epochs))) != 1 {
				t.Errorf("epochs = %q, want the same 8 characters in all programs", epochs)
			}
		})
	})

	t.Run("ReadySaysWhatIsMissing", func(t *testing.T) {
		testenv.Databases(t, func(t *testing.T, url string) {
			db, err := Open(t.Context(), url, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "isn't migrated") {
				t.Errorf("Ready of an empty database = %v", err)
			}
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.Ready(t.Context()); err != nil {
				t.Errorf("Ready of a migrated database = %v", err)
			}
			db.Close()
			if err := db.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be reached") {
				t.Errorf("Ready of a closed database = %v", err)
			}
		})
	})

	t.Run("BothDatabasesHaveTheSameColumns", func(t *testing.T) {
		columns := make(map[string][]string)
		testenv.Databases(t, func(t *testing.T, url string) {
			db, _ := openMigrated(t, url)
			query := `
				SELECT m.name || '.' || c.name
				FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
				WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'goose%'`
			if db.Dialect() == Postgres {
				query = `
					SELECT table_name || '.' || column_name
					FROM information_schema.columns
					WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'`
			}
			var names []string
			if err := db.query().all(t.Context(), &names, query); err != nil {
				t.Fatal(err)
			}
			slices.Sort(names)
			columns[db.Dialect()] = names
		})
		if columns[Postgres] != nil && !slices.Equal(columns[Postgres], columns[SQLite]) {
			t.Errorf("columns differ:\npostgres %v\nsqlite   %v", columns[Postgres], columns[SQLite])
		}
	})
}

func TestOpenRefusesOtherURLs(t *testing.T) {
	for _, url := range []string{"", "mysql://secret@host/db", "sqlite:", "sqlite::memory:", "postgres://user:secret@host:port/db"} {
		_, err := Open(t.Context(), url, Options{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v, want an error without the password", url, err)
		}
	}
}
