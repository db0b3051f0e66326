package socket

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stack is a network of its own, which one thread is in; it ends with that thread.
type stack struct {
	calls chan func()
	tid   int
}

// newStack starts a thread in a new network namespace.
func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{calls: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		s.tid = unix.Gettid()
		started <- err
		for call := range s.calls {
			call()
		}
	}()
	if err := <-started; err != nil {
		close(s.calls)
		t.Skipf("no network namespace can be made: %v", err)
	}
	t.Cleanup(func() { close(s.calls) })
	return s
}

// do calls f in the stack's thread: sockets that it makes and programs that it starts are in that network.
func (s *stack) do(f func()) {
	done := make(chan struct{})
	s.calls <- func() { defer close(done); f() }
	<-done
}

func (s *stack) run(t *testing.T, program string, args ...string) {
	t.Helper()
	var out []byte
	var err error
	s.do(func() { out, err = exec.Command(program, args...).CombinedOutput() })
	if err != nil {
		t.Skipf("%s %v: %v: %s", program, args, err, out)
	}
}

// The cable is cut, so to speak: no reset, no FIN, nothing ever comes again, and what is sent gets no answer.
func TestPacketsThatVanishCloseTheConnection(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a network in which packets vanish")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s isn't installed", program)
		}
	}
	onEachPath(t, func(t *testing.T, p path) {
		if p.tls {
			t.Skip("TLS is a stream as that without")
		}
		here, there := newStack(t), newStack(t)
		here.run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", fmt.Sprint(there.tid))
		for _, end := range []struct {
			*stack
			device, address string
		}{{here, "veth0", "10.99.0.1/24"}, {there, "veth1", "10.99.0.2/24"}} {
			end.run(t, "ip", "address", "add", end.address, "dev", end.device)
			end.run(t, "ip", "link", "set", end.device, "up")
		}

		const interval, timeout = time.Second, 20 * time.Second // clients here answer no pings while others are told hello
		var closed, silent atomic.Int32
		s := &server{path: p, log: new(lines)}
		s.Server = NewServer(Config{Loops: p.loops, PingInterval: interval, PongTimeout: timeout, HandshakeTimeout: patience, CloseTimeout: 300 * time.Millisecond},
			&app{close: func(_ *Conn, code int, _ string) {
				closed.Add(1)
				if code == CodeSilent {
					silent.Add(1)
				}
			}}, nil)
		var ln net.Listener
		var err error
		here.do(func() { ln, err = net.Listen("tcp", "10.99.0.1:0") })
		if err != nil {
			t.Fatal(err)
		}
		serving, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- s.Serve(serving, ln) }()
		defer func() {
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}()

		s.addr = ln.Addr().String()
		const many = 50
		var clients []*client
		there.do(func() {
			for range many {
				clients = append(clients, s.dial(t))
			}
		})
		for _, c := range clients {
			c.send([]byte(upgradeRequest + "\r\n"))
			c.wantUpgrade()
			c.echo("hi")
		}
		heard := time.Now()
		for _, c := range clients { // now each has been heard of at that time or later
			c.echo("still here")
		}
		if n := s.Conns(); n != many {
			t.Fatalf("%d of %d connections while all is well", n, many)
		}

		there.run(t, "nft", "add", "table", "inet", "cut")
		for _, hook := range []string{"input", "output"} {
			there.run(t, "nft", "add", "chain", "inet", "cut", hook, "{ type filter hook "+hook+" priority 0 ; policy drop ; }")
		}
		cut := time.Now()
		eventually(t, "all are closed", func() bool { return closed.Load() == many })
		took, silence := time.Since(cut), time.Since(heard)
		if n := silent.Load(); n != many {
			t.Errorf("%d of %d were closed with 4408", n, many)
		}
		if silence < interval+timeout-100*time.Millisecond { // some ticks
			t.Errorf("closed after %v of silence", silence)
		}
		eventually(t, "nothing of them is left", func() bool {
			left := 0
			for _, l := range s.everyLoop() {
				left += len(l.wheel.all())
			}
			return s.Conns() == 0 && s.sockets.Load() == 0 && left == 0 && s.limits.held.Load() == 0
		})
		t.Logf("%d connections closed within %v of the cut; ping + pong time-out are %v", many, took.Round(time.Millisecond), interval+timeout)
	})
}
