package testenv

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

func TestDatabasesAreTheTestsOwn(t *testing.T) {
	var seen sync.Map
	for range 2 {
		Databases(t, func(t *testing.T, url string) {
			if _, twice := seen.LoadOrStore(url, true); twice {
				t.Errorf("%s twice", url)
			}
			if !strings.HasPrefix(url, "postgres") {
				return
			}
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			// Left open on purpose: the database is dropped all the same.
			if _, err := conn.Exec(t.Context(), "CREATE TABLE t (id int)"); err != nil {
				t.Error(err)
			}
		})
	}
}

func dial(t *testing.T, url string) *redis.Client {
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRedisDatabasesAreTheTestsOwn(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	t.Run("all", func(t *testing.T) {
		for range 8 {
			t.Run("one", func(t *testing.T) {
				t.Parallel()
				url := Redis(t)
				c := dial(t, url)
				if n := c.DBSize(t.Context()).Val(); n != 0 {
					t.Errorf("%d keys at the start", n)
				}
				if err := c.Set(t.Context(), "k", 1, 0).Err(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if seen[url] {
					t.Errorf("%s twice", url)
				}
				seen[url] = true
				t.Cleanup(func() { // before it is given back, and may be somebody else's
					mu.Lock()
					defer mu.Unlock()
					delete(seen, url)
				})
			})
		}
	})
}

func TestRedisServerDiesAndComesBack(t *testing.T) {
	s := RedisServer(t)
	c := dial(t, s.URL)
	if err := c.Set(t.Context(), "k", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if c.Ping(ctx).Err() == nil {
		t.Error("alive after Kill")
	}
	s.Start()
	if n, err := c.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("got %d keys, %v", n, err)
	}
}
