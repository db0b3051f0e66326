package testenv

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a Redis server of a test's own, which it may kill and start again on the same address. It keeps nothing.
type Server struct {
	// URL is its REDIS_URL.
	URL string

	t       testing.TB
	port    int
	more    []string // arguments
	folder  string
	process *exec.Cmd
	ended   chan struct{} // closed when process has
}

// RedisServer starts a redis-server (found on PATH) on a free loopback port. It ends with the test.
func RedisServer(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		Missing(t, "redis-server is not installed")
	}
	return newServer(t, func() []string { return nil })
}

// newServer starts one with more arguments, which are asked for again if a port was taken.
func newServer(t testing.TB, more func() []string) *Server {
	t.Helper()
	s := &Server{t: t, folder: t.TempDir()}
	t.Cleanup(s.Kill)
	var err error
	for range 5 { // somebody may take the port between
		s.port, s.more = freePort(t), more()
		s.URL = fmt.Sprintf("redis://127.0.0.1:%d/0", s.port)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// Start starts the server again, empty, after Kill. It returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	if s.process != nil {
		_ = s.process.Process.Kill() // may have ended
		<-s.ended
		s.process = nil
	}
}

func (s *Server) start() error {
	var output bytes.Buffer
	s.process = exec.Command("redis-server", append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.folder}, s.more...)...)
	s.process.Stdout, s.process.Stderr = &output, &output
	if err := s.process.Start(); err != nil {
		s.process = nil
		return fmt.Errorf("start redis-server: %w", err)
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() {
		_ = process.Wait() // says only that it was killed
		close(ended)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.port), MaxRetries: -1, DialerRetries: 1})
	defer c.Close()
	pid := strconv.Itoa(process.Process.Pid) // another server may have the port
	for {
		err := listens(ctx, s.port) // go-redis would log each attempt
		if err == nil {
			var info map[string]map[string]string
			if info, err = c.InfoMap(ctx, "server").Result(); err == nil && info["Server"]["process_id"] == pid {
				return nil
			}
		}
		select {
		case <-ctx.Done():
		case <-ended:
		case <-time.After(5 * time.Millisecond):
			continue
		}
		s.Kill()
		return fmt.Errorf("redis-server on port %d doesn't answer: %v\n%s", s.port, err, output.String())
	}
}

func listens(ctx context.Context, port int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return conn.Close()
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
