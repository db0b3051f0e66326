//go:build !linux

package socket

import (
	"context"
	"errors"
	"net"
)

// Without epoll every connection has goroutines: Conn.stream is never nil and nothing here is ever called with a
// descriptor.

const haveEpoll = false

type poller struct{}

type table struct{}

func (t *table) set(int, *Conn) bool { return false }

func defaultMaxConns() int { return 10_000 }

func (s *Server) startLoops(context.Context) error {
	l := s.newLoop()
	s.loops = append(s.loops, l)
	s.loopsEnded.Go(l.keepTime)
	return nil
}

func (s *Server) acceptDescriptors(context.Context, context.Context, *net.TCPListener) error {
	return errors.ErrUnsupported
}

func (c *Conn) arm()                      {}
func (c *Conn) detach() (net.Conn, error) { return nil, errors.ErrUnsupported }
func send(int, []byte) (int, error)       { return 0, errors.ErrUnsupported }
func shutdownDescriptor(int, bool)        {}
func closeDescriptor(int)                 {}
func limitUnsent(int)                     {}
