package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// target is a server under test, a process of its own.
type target struct {
	name    string // also its speech
	address string // host:port for clients
	query   string // of a client's request, for ours
	// publish sends a message to each of some users, by number. Nothing of it waits for the server.
	publish func(ctx context.Context, users []int) error
	end     func() // of what publish stands on

	cmd *exec.Cmd
	log *os.File
}

// run starts the process and waits until it takes connections.
func (t *target) run(command string, args, env []string) error {
	t.cmd = exec.Command(command, args...)
	t.cmd.Env = append(os.Environ(), env...)
	var err error
	if t.log, err = os.CreateTemp("", "bench-"+t.name+"-"); err != nil {
		return err
	}
	t.cmd.Stdout, t.cmd.Stderr = t.log, t.log
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- t.cmd.Wait() }()
	for range 200 {
		select {
		case err := <-ended:
			said, _ := os.ReadFile(t.log.Name()) // which stop removes
			return fmt.Errorf("%s ended at its start: %w: %.1000s", t.name, err, said)
		default:
		}
		if conn, err := net.DialTimeout("tcp", t.address, time.Second); err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s doesn't take connections; see %s", t.name, t.log.Name())
}

func (t *target) stop() {
	if t.end != nil {
		t.end()
	}
	if t.cmd != nil && t.cmd.Process != nil {
		_ = t.cmd.Process.Kill()
		for range 100 { // its Wait is in run
			if syscall.Kill(t.cmd.Process.Pid, 0) != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if t.log != nil {
		_ = t.log.Close()
		_ = os.Remove(t.log.Name())
	}
}

func (t *target) usage() (usage, error) { return usageOf(t.cmd.Process.Pid) }
