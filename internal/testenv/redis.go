package testenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// claimed is how long a database stays taken after a test that couldn't give it back.
const claimed = 30 * time.Minute

// Redis returns the REDIS_URL of an empty database on the server of TEST_REDIS_URL that no other test uses: tests of other
// packages run at the same time, so databases are claimed by a key in database 0. Publish and Subscribe know no databases:
// a test that listens to channels which others may use too takes RedisServer.
func Redis(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_REDIS_URL")
	if server == "" {
		Missing(t, "TEST_REDIS_URL is not set: no Redis to test on")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("TEST_REDIS_URL isn't a URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()

	registry := client(t, *u, 0)
	defer registry.Close()
	databases := 16 // where CONFIG is forbidden
	if c, err := registry.ConfigGet(ctx, "databases").Result(); err == nil {
		if n, err := strconv.Atoi(c["databases"]); err == nil {
			databases = n
		}
	}
	for ctx.Err() == nil {
		db := 1 + rand.IntN(databases-1)
		key := fmt.Sprintf("duebell:testenv:%d", db)
		ok, err := registry.SetNX(ctx, key, t.Name(), claimed).Result()
		if err != nil {
			t.Fatalf("claim a database on TEST_REDIS_URL: %v", err)
		}
		if !ok {
			time.Sleep(time.Millisecond) // taken; with few databases all may be
			continue
		}
		own := client(t, *u, db)
		if err := own.FlushDB(ctx).Err(); err != nil {
			t.Fatalf("empty database %d: %v", db, err)
		}
		_ = own.Close()
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
			defer cancel()
			own, registry := client(t, *u, db), client(t, *u, 0)
			defer own.Close()
			defer registry.Close()
			if err := own.FlushDB(ctx).Err(); err == nil { // the server may have ended before
				registry.Del(ctx, key)
			}
		})
		u.Path = "/" + strconv.Itoa(db)
		return u.String()
	}
	t.Fatalf("all %d databases on TEST_REDIS_URL are taken", databases-1)
	return ""
}

func client(t testing.TB, u url.URL, db int) *redis.Client {
	t.Helper()
	u.Path = "/" + strconv.Itoa(db)
	options, err := redis.ParseURL(u.String())
	if err != nil {
		t.Fatalf("TEST_REDIS_URL: %v", strings.ReplaceAll(err.Error(), u.String(), "…"))
	}
	return redis.NewClient(options)
}
