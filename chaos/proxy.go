package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between a program and what it talks to, or between clients and a program. In front of Toxiproxy it has a
// listener of its own, for what that can't do: connections that vanish and stay so while new ones work.
type proxy struct {
	name   string
	listen string // host:port

	front net.Listener
	mu    sync.Mutex // of toxic
	toxic *toxiproxy.Proxy

	wires sync.Mutex
	open  map[*wire]bool

	poisoning sync.Mutex
	cure      func() error // takes away what it has of toxics

	uncommitted atomic.Bool // see loseCommits
}

var (
	toxics = sync.OnceValue(func() *toxiproxy.ApiServer {
		zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves
		return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	})
	toxicNames atomic.Int64
)

func newProxy(name, upstream string) (*proxy, error) {
	p := &proxy{name: name, listen: freeAddr(), open: map[*wire]bool{}}
	p.toxic = toxiproxy.NewProxy(toxics(), name, freeAddr(), upstream)
	var err error
	if p.front, err = net.Listen("tcp", p.listen); err != nil {
		return nil, err
	}
	go p.accept()
	return p, p.start()
}

func (p *proxy) accept() {
	for {
		near, err := p.front.Accept()
		if err != nil {
			return // end has closed it
		}
		go func() {
			far, err := net.Dial("tcp", p.toxic.Listen)
			if err != nil { // it is cut off
				_ = near.(*net.TCPConn).SetLinger(0)
				near.Close()
				return
			}
			w := &wire{near: near, far: far, dies: p.dies}
			p.wires.Lock()
			p.open[w] = true
			p.wires.Unlock()
			w.carry()
			p.wires.Lock()
			defer p.wires.Unlock()
			if !w.vanished.Load() {
				delete(p.open, w)
				w.close()
			}
		}()
	}
}

// vanish makes all open connections carry nothing any more, for good, and tells nobody: as a host that has lost its power, or
// a firewall that has forgotten them. It answers how many they were.
func (p *proxy) vanish() (n int) {
	p.wires.Lock()
	defer p.wires.Unlock()
	for w := range p.open {
		if w.vanished.CompareAndSwap(false, true) {
			n++
		}
	}
	return n
}

// commits is how a program asks PostgreSQL to commit: by a statement that it keeps, which pgx names after its text, or as programs
// before 2026-11-29 did, by the text of a simple query.
var commits = [][]byte{[]byte(keptName("COMMIT") + "\x00"), []byte("commit\x00")}

func keptName(text string) string {
	digest := sha256.Sum256([]byte(text))
	return "stmtcache_" + hex.EncodeToString(digest[:24])
}

// loseCommits cuts each connection at the moment at which it would commit, until it is told otherwise: all that the transaction
// did before has gone through, and none of it stays.
func (p *proxy) loseCommits(lose bool) { p.uncommitted.Store(lose) }

// dies says whether a connection is cut instead of carrying what a program sends. A message that comes in two pieces is let
// through.
func (p *proxy) dies(sent []byte) bool {
	return p.uncommitted.Load() && slices.ContainsFunc(commits, func(text []byte) bool { return bytes.Contains(sent, text) })
}

// end closes everything, also what has vanished.
func (p *proxy) end() {
	p.front.Close()
	p.stop()
	p.wires.Lock()
	defer p.wires.Unlock()
	for w := range p.open {
		w.close()
	}
}

// wire is a connection from the program (near) to Toxiproxy (far).
type wire struct {
	near, far net.Conn
	vanished  atomic.Bool
	dies      func(sent []byte) bool // by the program
}

// carry ends when either side does. Nothing comes out of a vanished one, also not its end.
func (w *wire) carry() {
	ended := make(chan struct{}, 2)
	pump := func(to, from net.Conn) {
		defer func() { ended <- struct{}{} }()
		buffer := make([]byte, 16<<10)
		for {
			n, err := from.Read(buffer)
			if w.vanished.Load() {
				return
			}
			if n > 0 && from == w.near && w.dies(buffer[:n]) {
				_ = w.near.(*net.TCPConn).SetLinger(0)
				return
			}
			if n > 0 {
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				// A reset is handed on as one.
				if !errors.Is(err, net.ErrClosed) && !strings.HasSuffix(err.Error(), "EOF") {
					_ = to.(*net.TCPConn).SetLinger(0)
				}
				return
			}
		}
	}
	go pump(w.far, w.near)
	go pump(w.near, w.far)
	<-ended
	if !w.vanished.Load() {
		w.close()
		<-ended
	}
}

func (w *wire) close() {
	w.near.Close()
	w.far.Close()
}

// start listens again after stop.
func (p *proxy) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.toxic.Start()
	if errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return nil
	}
	return err
}

// stop ends all connections and takes no more.
func (p *proxy) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toxic.Stop()
}

// poison adds toxics to all connections, those that are open too. remove takes them away. A proxy has those of one call at a time:
// what it had before is removed first, since Toxiproxy may wait for ever when it removes a toxic that stands behind another in a
// connection which that has ended.
func (p *proxy) poison(list []toxin) (remove func() error, err error) {
	p.poisoning.Lock()
	defer p.poisoning.Unlock()
	if p.cure != nil {
		if err := p.cure(); err != nil {
			return func() error { return nil }, err
		}
	}
	var names []string
	cure := sync.OnceValue(func() error {
		removed := make(chan error, 1)
		go func() {
			var errs []error
			for _, name := range names {
				errs = append(errs, p.toxic.Toxics.RemoveToxic(context.Background(), name))
			}
			removed <- errors.Join(errs...)
		}()
		select {
		case err := <-removed:
			return err
		case <-time.After(5 * time.Second):
		}
		// A toxic that waits for an end that doesn't read holds up its own removal: without connections it ends.
		p.stop()
		select {
		case err := <-removed:
			return errors.Join(err, p.start())
		case <-time.After(20 * time.Second):
			return fmt.Errorf("%s keeps its toxics", p.name)
		}
	})
	p.cure = cure
	remove = func() error {
		p.poisoning.Lock()
		defer p.poisoning.Unlock()
		return cure()
	}
	for _, t := range list {
		name := fmt.Sprint("t", toxicNames.Add(1))
		text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, name, t.typ, t.stream, t.attributes)
		if _, err := p.toxic.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			return remove, fmt.Errorf("%s: %w", p.name, err)
		}
		names = append(names, name)
	}
	return remove, nil
}
