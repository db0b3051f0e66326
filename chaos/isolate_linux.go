package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// isolated says whether this process may fill disks and drop packets.
func isolated() bool { return os.Getenv(inside) != "" }

// inside is in the environment of a harness that runs in namespaces of its own.
const inside = "CHAOS_INSIDE"

// isolate runs this program again with a network and mounts of its own: disks that it fills and packets that it drops are nobody
// else's, its ports neither, and all of that goes with it, also when it is killed. It answers the exit code; ok is false where it
// can't be done, or is done already.
func isolate(stderr io.Writer) (code int, ok bool) {
	if os.Getuid() != 0 || isolated() {
		return 0, false
	}
	runtime.LockOSThread() // whose end Pdeathsig waits for
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(stderr, "chaos: no namespaces, so no full disks and no lost packets:", err)
		return 0, false
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err := cmd.Wait()
	if failed, is := errors.AsType[*exec.ExitError](err); is {
		return max(failed.ExitCode(), 1), true
	}
	if err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
		return 2, true
	}
	return 0, true
}

// furnish makes the namespaces usable that isolate has made.
func furnish() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	return command("ip", "link", "set", "lo", "up")
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// contain makes cmd a container, as far as a program sees one: it is process 1 on a host that is called as all the others are.
func contain(cmd *exec.Cmd) {
	cmd.Args = append([]string{os.Args[0], containFlag, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNS
}

// runContained is the other half of contain. It returns only if it fails.
func runContained(args []string) error {
	if err := syscall.Sethostname([]byte("duebell")); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return syscall.Exec(args[0], args, os.Environ())
}
