package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between a program and what it talks to, or between clients and a program.
type proxy struct {
	name   string
	listen string // host:port, the same after a stop

	mu    sync.Mutex
	proxy *toxiproxy.Proxy
}

var (
	toxics = sync.OnceValue(func() *toxiproxy.ApiServer {
		zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves
		return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	})
	toxicNames atomic.Int64
)

func newProxy(name, upstream string) (*proxy, error) {
	listen := freeAddr()
	p := &proxy{name: name, listen: listen, proxy: toxiproxy.NewProxy(toxics(), name, listen, upstream)}
	return p, p.start()
}

// start listens again after stop.
func (p *proxy) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.proxy.Start()
	if errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return nil
	}
	return err
}

// stop ends all connections and listens no more.
func (p *proxy) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
}

// poison adds toxics to all connections, those that are open too. remove takes them away.
func (p *proxy) poison(list []toxin) (remove func() error, err error) {
	var names []string
	remove = func() error {
		removed := make(chan error, 1)
		go func() {
			var errs []error
			for _, name := range names {
				errs = append(errs, p.proxy.Toxics.RemoveToxic(context.Background(), name))
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
	}
	for _, t := range list {
		name := fmt.Sprint("t", toxicNames.Add(1))
		text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, name, t.typ, t.stream, t.attributes)
		if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			return remove, fmt.Errorf("%s: %w", p.name, err)
		}
		names = append(names, name)
	}
	return remove, nil
}
