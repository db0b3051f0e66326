//go:build !linux

package socket

import "errors"

// ring is nothing where there is no io_uring.
type ring struct{}

func newRing(uint32) (*ring, error)                             { return nil, errors.ErrUnsupported }
func (r *ring) close()                                          {}
func (r *ring) write([]staged, func(*Conn, []byte, int, error)) {}
