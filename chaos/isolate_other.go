//go:build !linux

package main

import (
	"errors"
	"io"
	"os/exec"
)

func isolated() bool { return false }

func isolate(io.Writer) (code int, ok bool) { return 0, false }

func furnish() error { return nil }

func command(string, ...string) error { return errors.ErrUnsupported }

func contain(*exec.Cmd) {}

func runContained([]string) error { return errors.ErrUnsupported }
