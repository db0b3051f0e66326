package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"duebell/internal/auth"
)

const secret = "a secret of the fault harness, long enough for HS256"

// drain and shutdown are short, so that a rolling restart fits into a run.
const (
	drainWindow     = 2 * time.Second
	shutdownTimeout = 10 * time.Second
	pingInterval    = 5 * time.Second
)

// installation is the programs under test, what they stand on and what stands between.
type installation struct {
	shape    shape
	history  *history
	programs []*process
	postgres *process      // services only
	redis    *process      // services only
	direct   *redis.Client // to Redis, past the proxies; services only
	disk     *disk         // of PostgreSQL or SQLite
	clocks   *clocks
	proxies  map[string]*proxy
	ops      map[string]string // by program: base URL of /readyz and /metrics
	apis     []string          // base URLs of the ingest API
	sockets  []string          // host:port of the pushers
	admin    []string          // base URLs of the operator API, past the proxies
	database string            // URL past the proxies
}

// install starts everything, and waits until it is ready.
func install(ctx context.Context, p plan, opt options, policy string, found *findings) (_ *installation, err error) {
	folder := found.history.folder
	bin, err := filepath.Abs(cmp.Or(opt.from, opt.bin))
	if err != nil {
		return nil, err
	}
	in := &installation{shape: shapeOf(p.form), history: found.history, clocks: &clocks{folder: folder}, proxies: map[string]*proxy{}, ops: map[string]string{}}
	defer func() {
		if err != nil {
			in.end()
		}
	}()
	if in.disk, err = newDisk(filepath.Join(folder, "disk")); err != nil {
		return nil, err
	}
	var postgresAddr, redisAddr string
	if p.form == formServices {
		if in.postgres, postgresAddr, err = newPostgres(ctx, filepath.Join(in.disk.folder, "postgres"), found); err != nil {
			return nil, err
		}
		if in.redis, redisAddr, err = newRedis(ctx, filepath.Join(folder, "redis"), p.aof, found); err != nil {
			return nil, err
		}
		redis.SetLogger(silent{}) // it would say each time that Redis is down
		in.direct = redis.NewClient(&redis.Options{Addr: redisAddr})
		in.database = postgresURL(postgresAddr)
	} else {
		in.database = "sqlite:" + filepath.Join(in.disk.folder, "duebell.db")
	}
	// proxied puts a proxy in front of an address and answers the proxy's.
	proxied := func(kind, program, upstream string) (string, error) {
		x, err := newProxy(kind+"/"+program, upstream)
		if err != nil {
			return "", err
		}
		in.proxies[x.name] = x
		return x.listen, nil
	}
	for _, name := range in.shape.programs {
		scheduler, worker, pusher, ops := freeAddr(), freeAddr(), freeAddr(), freeAddr()
		env := append(os.Environ(), "AUTH_JWT_SECRET="+secret, "POLICY_FILE="+policy, "PPROF=true", "LOG_FORMAT=text", "LOG_LEVEL=info",
			"SCHEDULER_ADDR="+scheduler, "WORKER_ADDR="+worker, "PUSHER_ADDR="+pusher, "PUSHER_OPS_ADDR="+ops,
			"PING_INTERVAL="+pingInterval.String(), "PONG_TIMEOUT=3s", "DRAIN_WINDOW="+drainWindow.String(),
			"SHUTDOWN_TIMEOUT="+shutdownTimeout.String(), "DATABASE_CONNECTIONS=6",
			"TEST_WRONG_CLOCK="+in.clocks.file(name))
		if err := in.clocks.set(name, 0); err != nil {
			return nil, err
		}
		program, _, _ := strings.Cut(name, "-")
		x := &process{name: name, path: filepath.Join(bin, program), dir: folder, term: shutdownTimeout, container: p.twin && isolated(), found: found}
		if p.form == formServices {
			postgres, err := proxied("postgres", name, postgresAddr)
			if err != nil {
				return nil, err
			}
			redis, err := proxied("redis", name, redisAddr)
			if err != nil {
				return nil, err
			}
			env = append(env, "DATABASE_URL="+postgresURL(postgres), "REDIS_URL=redis://"+redis+"/0")
		} else {
			x.args = []string{"up"}
			env = append(env, "DATABASE_URL="+in.database, "REDIS_URL=embedded")
		}
		x.env = env
		in.programs = append(in.programs, x)
		switch program {
		case "scheduler":
			in.ops[name] = "http://" + scheduler
		case "worker":
			in.ops[name] = "http://" + worker
		default:
			in.ops[name] = "http://" + ops
		}
		if program == "scheduler" || program == "duebell" {
			api, err := proxied("api", name, scheduler)
			if err != nil {
				return nil, err
			}
			in.apis = append(in.apis, "http://"+api)
			in.admin = append(in.admin, "http://"+scheduler)
		}
		if program == "pusher" || program == "duebell" {
			socket, err := proxied("socket", name, pusher)
			if err != nil {
				return nil, err
			}
			in.sockets = append(in.sockets, socket)
		}
	}
	for _, x := range in.programs {
		if err := x.start(); err != nil {
			return nil, err
		}
	}
	for _, x := range in.programs {
		if !in.waitReady(ctx, x.name, 3*time.Minute) {
			return nil, fmt.Errorf("%s isn't ready; its log is in %s", x.name, folder)
		}
	}
	return in, nil
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// process is one of the programs or servers by its name.
func (in *installation) process(name string) *process {
	switch name {
	case "redis":
		return in.redis
	case "postgres":
		return in.postgres
	}
	for _, p := range in.programs {
		if p.name == name {
			return p
		}
	}
	panic("no program " + name)
}

var quick = &http.Client{Timeout: 3 * time.Second}

func (in *installation) ready(ctx context.Context, program string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, in.ops[program]+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := quick.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (in *installation) waitReady(ctx context.Context, program string, within time.Duration) bool {
	for deadline := time.Now().Add(within); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if in.ready(ctx, program) {
			return true
		}
	}
	return false
}

// roll stops one program after the other and starts it again.
func (in *installation) roll(ctx context.Context) error {
	for _, p := range in.programs {
		p.stop()
		if err := p.start(); err != nil {
			return err
		}
		in.waitReady(ctx, p.name, 10*time.Second)
	}
	return nil
}

// end kills everything.
func (in *installation) end() {
	var all sync.WaitGroup
	for _, p := range in.programs {
		all.Go(p.finish)
	}
	all.Wait()
	for _, p := range in.proxies {
		p.end()
	}
	if in.direct != nil {
		in.direct.Close()
	}
	for _, p := range []*process{in.redis, in.postgres} {
		if p != nil {
			p.finish()
		}
	}
	if in.disk != nil {
		if err := in.disk.end(); err != nil {
			in.history.say("the data isn't kept: %v", err)
		}
	}
}

func userToken(user string) string {
	token, err := auth.MintUser([]byte(secret), "", "", "sub", user, 12*time.Hour, time.Now())
	if err != nil {
		panic(err) // the secret is long enough
	}
	return token
}

func serviceToken() string {
	token, err := auth.MintService([]byte(secret), "", "duebell-internal", "duebell:ingest duebell:admin", 12*time.Hour, time.Now())
	if err != nil {
		panic(err) // the secret is long enough
	}
	return token
}
