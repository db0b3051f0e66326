package program_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"duebell/delivery"
	"duebell/internal/redisconn"
	"duebell/internal/testenv"
)

// buildPrograms compiles the programs once, as they are shipped: without the race detector.
var buildPrograms = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "duebell-programs")
	if err != nil {
		return "", err
	}
	programs = folder
	build := exec.Command("go", "build", "-o", folder, "duebell/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return folder, nil
})

// programs is where buildPrograms puts them.
var programs string

func TestMain(m *testing.M) {
	code := m.Run()
	if programs != "" {
		os.RemoveAll(programs)
	}
	os.Exit(code)
}

// process is one running program.
type process struct {
	t      testing.TB
	name   string
	args   []string
	env    []string
	health string // the URL of its /readyz
	cmd    *exec.Cmd
	logs   *os.File
}

func (p *process) start() {
	p.t.Helper()
	folder, err := buildPrograms()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(filepath.Join(folder, p.name), p.args...)
	p.cmd.Env = p.env
	p.cmd.Stderr, p.cmd.Stdout = p.logs, p.logs
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) waitReady() {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		res, err := http.Get(p.health)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not ready: %v %v", p.name, res, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// stop ends it as an operator would, and wants exit code 0.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s after SIGTERM: %v", p.name, err)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// installation is the three programs as processes.
type installation struct {
	scheduler, worker, pusher *process
	lender                    *lender
	socket, inbox             string
}

func install(t testing.TB, database, redis string) *installation {
	t.Helper()
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(logs.Name())
			t.Logf("%s", text[max(0, len(text)-20000):])
		}
		logs.Close()
	})
	scheduler, worker, pusher, ops := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	env := append(os.Environ(), "DATABASE_URL="+database, "REDIS_URL="+redis, "AUTH_JWT_SECRET="+secret, "POLICY_FILE="+policyFile(t),
		"SCHEDULER_ADDR="+scheduler, "WORKER_ADDR="+worker, "PUSHER_ADDR="+pusher, "PUSHER_OPS_ADDR="+ops, "LOG_FORMAT=text",
		"DRAIN_WINDOW=1s")
	in := &installation{
		scheduler: &process{t: t, name: "scheduler", env: env, logs: logs, health: "http://" + scheduler + "/readyz"},
		worker:    &process{t: t, name: "worker", env: env, logs: logs, health: "http://" + worker + "/readyz"},
		pusher:    &process{t: t, name: "pusher", env: env, logs: logs, health: "http://" + ops + "/readyz"},
		lender:    &lender{t: t, base: "http://" + scheduler},
		socket:    "ws://" + pusher, inbox: "http://" + pusher,
	}
	all := []*process{in.scheduler, in.worker, in.pusher}
	for _, p := range all {
		p.start()
	}
	t.Cleanup(func() {
		for _, p := range all {
			p.kill()
		}
	})
	for _, p := range all {
		p.waitReady()
	}
	return in
}

func TestThreeProgramsOnRedisAndPostgreSQL(t *testing.T) {
	in := install(t, testenv.Postgres(t), testenv.Redis(t))

	tellStory(t, in.lender, in.socket, "calm", nil)

	// Each program killed and started again, in turn: the story works again, and what happened while it was away arrives.
	for _, p := range []*process{in.scheduler, in.worker, in.pusher} {
		t.Run("After kill -9 of the "+p.name, func(t *testing.T) {
			l := *in.lender
			l.t = t
			back := make(chan struct{})
			tellStory(t, &l, in.socket, "after-"+p.name, func() {
				p.kill()
				time.AfterFunc(time.Second, func() { p.start(); close(back) })
			})
			<-back
			p.waitReady()
		})
	}
	for _, p := range []*process{in.scheduler, in.worker, in.pusher} {
		p.stop()
		p.start() // so that the end finds it running
	}
}

// A Redis Cluster has the queues on one node each and hands every publish to all; a node that is lost with what it held
// delays what went through it.
func TestThreeProgramsOnARedisCluster(t *testing.T) {
	cluster := testenv.RedisCluster(t)
	in := install(t, testenv.Postgres(t), cluster.URL)
	tellStory(t, in.lender, in.socket, "calm", nil)
	t.Run("WhoAsksForTracesKnowsHowManyAnswer", func(t *testing.T) {
		conn, err := redisconn.Open(t.Context(), cluster.URL, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		_, pushers, err := delivery.AskTraces(t.Context(), conn.Client, []delivery.TraceKey{{Recipient: "ada", Rev: 1}})
		if took := time.Since(began); err != nil || pushers != 1 || took > time.Second {
			t.Errorf("%d pushers, %v, after %v", pushers, err, took)
		}
	})
	for i, node := range cluster.Nodes {
		t.Run(fmt.Sprintf("After the crash of node %d", i), func(t *testing.T) {
			l := *in.lender
			l.t = t
			back := make(chan struct{})
			tellStory(t, &l, in.socket, fmt.Sprintf("after-%d", i), func() {
				node.Kill()
				time.AfterFunc(time.Second, func() { defer close(back); node.Start() })
			})
			<-back
		})
	}
}

// The one process on SQLite keeps its queue in memory: killed between a commit and the telling, it tells as soon as it is back.
func TestOneProcessKilledOnSQLite(t *testing.T) {
	scheduler, pusher, ops := freeAddr(t), freeAddr(t), freeAddr(t)
	p := &process{t: t, name: "duebell", args: []string{"up"}, health: "http://" + ops + "/readyz", env: append(os.Environ(),
		"DATABASE_URL="+testenv.SQLite(t), "REDIS_URL=embedded", "AUTH_JWT_SECRET="+secret, "POLICY_FILE="+policyFile(t),
		"SCHEDULER_ADDR="+scheduler, "WORKER_ADDR="+freeAddr(t), "PUSHER_ADDR="+pusher, "PUSHER_OPS_ADDR="+ops)}
	p.start()
	t.Cleanup(func() { p.kill() })
	p.waitReady()
	l := &lender{t: t, base: "http://" + scheduler}
	s := newScreen(t, "ws://"+pusher, userToken("ada"))
	l.borrower("ada", "Europe/Prague", 30)
	for i := range 20 {
		l.status(fmt.Sprint("c", i), "a1", "ada", fmt.Sprint("step ", i), fmt.Sprint("step ", i+1))
	}
	p.kill()
	p.start()
	p.waitReady()
	if err := s.connect(await(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.disconnect)
	s.until(patience, "all twenty changes", func() bool { return len(s.titles("application.")) == 20 })
	for i, title := range s.titles("application.") {
		if want := fmt.Sprintf("step %d", i+1); !strings.HasSuffix(title, want) {
			t.Errorf("%d is %q, want %s", i, title, want)
		}
	}
}

// await is a deadline for what must come soon.
func await(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
