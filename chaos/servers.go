package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// newPostgres makes a cluster of its own in folder and starts it: it is killed and started again, which nobody else's should be.
func newPostgres(ctx context.Context, folder string, found *findings) (p *process, addr string, err error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, "", err
	}
	data := filepath.Join(folder, "data")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, "", err
	}
	as, err := postgresUser(folder)
	if err != nil {
		return nil, "", err
	}
	init := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--wal-segsize=1", "--encoding=UTF8", "--locale=C")
	init.Dir, init.SysProcAttr = folder, &syscall.SysProcAttr{Credential: as}
	if out, err := init.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	addr = freeAddr()
	_, port, _ := net.SplitHostPort(addr)
	// What a killed server has written stays with the kernel, so fsync, which guards against power cuts, is not needed.
	p = &process{name: "postgres", path: filepath.Join(bin, "postgres"), dir: folder, as: as, family: true, found: found, env: os.Environ(),
		args: []string{"-D", data, "-p", port, "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=150", "-c", "fsync=off",
			"-c", "shared_buffers=32MB", "-c", "max_wal_size=64MB", "-c", "log_min_messages=warning", "-c", "log_min_error_statement=panic"},
		prepare: func() error {
			// A killed server leaves it, and its process id may be another's by now.
			err := os.Remove(filepath.Join(data, "postmaster.pid"))
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}}
	if err := p.start(); err != nil {
		return nil, "", err
	}
	return p, addr, waitFor(ctx, 3*time.Minute, "postgres", func() error {
		conn, err := pgx.Connect(ctx, postgresURL(addr))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

func postgresURL(addr string) string {
	return "postgres://postgres@" + addr + "/postgres?sslmode=disable&connect_timeout=5"
}

// postgresBin is the folder of PostgreSQL's programs, the newest version's: Debian keeps them off PATH.
func postgresBin() (string, error) {
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb"} {
		list, _ := filepath.Glob(pattern)
		found = append(found, list...)
	}
	version := func(path string) int {
		digits := strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, path)
		n, _ := strconv.Atoi(digits)
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("PostgreSQL isn't installed; see scripts/install-test-needs")
	}
	return filepath.Dir(path), nil
}

// postgresUser is who runs PostgreSQL, which refuses to run as root; the folder becomes his.
func postgresUser(folder string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(folder, uid, gid)
}

// newRedis starts a Redis of its own in folder; aof: it keeps an append-only file over a kill.
func newRedis(ctx context.Context, folder string, aof bool, found *findings) (p *process, addr string, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, "", errors.New("redis-server isn't installed; see scripts/install-test-needs")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, "", err
	}
	keep := "no"
	if aof {
		keep = "yes"
	}
	addr = freeAddr()
	_, port, _ := net.SplitHostPort(addr)
	p = &process{name: "redis", path: path, dir: folder, found: found, env: os.Environ(),
		args: []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", keep, "--dir", folder}}
	if err := p.start(); err != nil {
		return nil, "", err
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	return p, addr, waitFor(ctx, 3*time.Minute, "redis", func() error { return client.Ping(ctx).Err() })
}

// waitFor tries until it works.
func waitFor(ctx context.Context, within time.Duration, what string, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s isn't there after %s: %w", what, within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
