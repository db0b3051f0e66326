package redisconn

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]target{
		"embedded":                          {kind: embedded},
		"redis://127.0.0.1:6379/0":          {addrs: []string{"127.0.0.1:6379"}},
		"redis://h":                         {addrs: []string{"h:6379"}},
		"redis://h/":                        {addrs: []string{"h:6379"}},
		"redis://h:7000/12":                 {addrs: []string{"h:7000"}, db: 12},
		"redis://[::1]/1":                   {addrs: []string{"[::1]:6379"}, db: 1},
		"redis://[::1]:7000":                {addrs: []string{"[::1]:7000"}},
		"redis://:p%40ss@h":                 {addrs: []string{"h:6379"}, password: "p@ss"},
		"rediss://user:pass@h:6380/2":       {addrs: []string{"h:6380"}, username: "user", password: "pass", db: 2, tls: true},
		"redis+cluster://h1,h2:7000,[::1]":  {kind: cluster, addrs: []string{"h1:6379", "h2:7000", "[::1]:6379"}},
		"redis+cluster://u:p@h1,h2?tls=1":   {kind: cluster, addrs: []string{"h1:6379", "h2:6379"}, username: "u", password: "p", tls: true},
		"redis+sentinel://h1/0?master=main": {kind: sentinel, addrs: []string{"h1:26379"}, master: "main"},
		"redis+sentinel://u:p@h1,h2:5/3?master=m&sentinel_username=su&sentinel_password=sp&tls=true": {kind: sentinel,
			addrs: []string{"h1:26379", "h2:5"}, username: "u", password: "p", db: 3, master: "m",
			sentinelUsername: "su", sentinelPassword: "sp", tls: true},
	} {
		got, err := parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "not a URL",
		"localhost:6379":                      "not a URL",
		"http://h":                            `unknown scheme "http"`,
		"redis://":                            "host is missing",
		"redis:///0":                          "host is missing",
		"redis://h1,h2":                       "takes one host",
		"redis://h:port":                      `port "port"`,
		"redis://h:0":                         `port "0"`,
		"redis://h:65536":                     `port "65536"`,
		"redis://a:b:c":                       "isn't host:port",
		"redis://h/x":                         "number of a database",
		"redis://h/-1":                        "number of a database",
		"redis://h/0?db=1":                    `no option "db"`,
		"redis+sentinel://h1,h2/0":            "?master=NAME",
		"redis+sentinel://h1/0?master=m&x=1":  `no option "x"`,
		"redis+sentinel://h?master=m&tls=yes": "tls is true or false",
		"redis+cluster://h1,/0":               "host is missing",
		"redis+cluster://h1/1":                "only database 0",
		"redis://u:secret%zz@h":               "percent-encoding",
		"redis://u:secret word@h:x":           "",
	} {
		err := ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestClientsFollowTheURL(t *testing.T) {
	t.Run("single", func(t *testing.T) {
		c := open(t, "rediss://u:p@h:1/2").Client.(*redis.Client).Options()
		if c.Addr != "h:1" || c.Username != "u" || c.Password != "p" || c.DB != 2 || c.TLSConfig.ServerName != "h" || c.TLSConfig.MinVersion != tls.VersionTLS12 {
			t.Errorf("got %+v", c)
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		c := open(t, "redis+sentinel://h1,h2/2?master=main").Client.(*redis.Client).Options()
		if c.DB != 2 || c.Addr != "FailoverClient" {
			t.Errorf("got %+v", c)
		}
	})
	t.Run("cluster", func(t *testing.T) {
		c := open(t, "redis+cluster://h1,h2").Client.(*redis.ClusterClient).Options()
		if !reflect.DeepEqual(c.Addrs, []string{"h1:6379", "h2:6379"}) {
			t.Errorf("got %+v", c)
		}
	})
}

// open is Open without waiting for a server, and with a log that nobody reads.
func open(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// each runs on the embedded server, and on a real one where there is one.
func each(t *testing.T, test func(t *testing.T, c *Conn)) {
	t.Run("embedded", func(t *testing.T) { test(t, open(t, Embedded)) })
	t.Run("redis", func(t *testing.T) {
		url := os.Getenv("TEST_REDIS_URL")
		if url == "" {
			t.Skip("TEST_REDIS_URL is not set")
		}
		test(t, open(t, url))
	})
}

func TestKeysExpire(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *Conn) {
		ctx := t.Context()
		key := "redisconn:" + t.Name()
		set := time.Now()
		if err := c.Client.Set(ctx, key, 1, 1200*time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
		for c.Client.Exists(ctx, key).Val() == 1 {
			if time.Since(set) > time.Minute {
				t.Fatal("never expires")
			}
			time.Sleep(20 * time.Millisecond)
		}
		if held := time.Since(set); held < 900*time.Millisecond {
			t.Errorf("expired after %s", held)
		}
	})
}

func TestPing(t *testing.T) {
	each(t, func(t *testing.T, c *Conn) {
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
	start := time.Now()
	if open(t, "redis://127.0.0.1:1").Ping(t.Context()) == nil || time.Since(start) > 20*time.Second {
		t.Errorf("a server that is down: %s", time.Since(start))
	}
}

func TestPubSub(t *testing.T) {
	each(t, func(t *testing.T, c *Conn) {
		sub := c.Client.Subscribe(t.Context(), "redisconn:"+t.Name())
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Client.Publish(t.Context(), "redisconn:"+t.Name(), "hello").Err(); err != nil {
			t.Fatal(err)
		}
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil || m.Payload != "hello" {
			t.Fatalf("got %v, %v", m, err)
		}
	})
}

func TestEmbeddedServerWantsItsPassword(t *testing.T) {
	c := open(t, Embedded)
	stranger := redis.NewClient(&redis.Options{Addr: c.server.redis.Addr()})
	defer stranger.Close()
	if err := stranger.Set(t.Context(), "k", 1, 0).Err(); err == nil {
		t.Fatal("any process of the machine may write")
	}
}

func TestAsynqWorksOnIt(t *testing.T) {
	each(t, func(t *testing.T, c *Conn) {
		handled := make(chan string, 1)
		queue := "redisconn-" + strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name()))
		log := slog.New(slog.DiscardHandler)
		server := asynq.NewServerFromRedisClient(c.Client, asynq.Config{
			Concurrency: 1, Queues: map[string]int{queue: 1}, TaskCheckInterval: 10 * time.Millisecond, Logger: quiet{log},
		})
		if err := server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
			handled <- string(task.Payload())
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		defer server.Shutdown()
		if _, err := asynq.NewClientFromRedisClient(c.Client).Enqueue(asynq.NewTask("test:run", []byte("x")), asynq.Queue(queue)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-handled:
			if got != "x" {
				t.Errorf("got %q", got)
			}
		case <-time.After(time.Minute):
			t.Fatal("not handled")
		}
	})
}

// quiet is asynq's logger.
type quiet struct{ *slog.Logger }

func (quiet) Debug(...any) {}
func (quiet) Info(...any)  {}
func (quiet) Warn(...any)  {}
func (quiet) Error(...any) {}
func (quiet) Fatal(...any) {}

func TestLogWarnsNowAndThen(t *testing.T) {
	var out bytes.Buffer
	l := &logger{log: slog.New(slog.NewTextHandler(&out, nil)), warnings: rate.NewLimiter(rate.Every(warnEvery), 1)}
	for range 5 {
		l.Printf(t.Context(), "failed to dial %s", "h:1")
	}
	if got := out.String(); strings.Count(got, "redis client") != 1 || !strings.Contains(got, `level=WARN msg="redis client" message="failed to dial h:1"`) {
		t.Error(got)
	}
}
