package testenv

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// setupTimeout is for making and dropping things on a busy machine.
const setupTimeout = time.Minute

// Databases runs a subtest on SQLite and one on PostgreSQL, each with the DATABASE_URL of an empty database.
func Databases(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// SQLite returns the DATABASE_URL of a file that doesn't exist yet, in a folder that goes with the test.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// Postgres returns the DATABASE_URL of a new, empty database on the server of TEST_POSTGRES_URL. It is dropped after the
// test, with whatever is still connected.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		Missing(t, "TEST_POSTGRES_URL is not set: no PostgreSQL to test on")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("TEST_POSTGRES_URL isn't a URL")
	}
	name := "duebell_test_" + strings.ToLower(rand.Text()[:12])
	onServer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { onServer(t, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	u.Path = "/" + name
	return u.String()
}

func onServer(t testing.TB, server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout) // the test's own has ended at clean-up
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to TEST_POSTGRES_URL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Missing ends a test that lacks something on this machine: skipped, or failed where everything has to be there.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("DUEBELL_REQUIRE_SERVICES") == "1" {
		t.Fatal(why)
	}
	t.Skip(why + " (make test takes care of it)")
}
