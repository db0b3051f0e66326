package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == containFlag {
		fmt.Fprintln(os.Stderr, runContained(os.Args[2:]))
		os.Exit(2)
	}
	if code, ok := isolate(os.Stderr); ok {
		os.Exit(code)
	}
	if isolated() {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

func needIsolation(t *testing.T) {
	t.Helper()
	if !isolated() {
		t.Skip("only root can make a disk and a network of its own")
	}
}

func TestDiskIsFullUntilItIsCleared(t *testing.T) {
	needIsolation(t)
	folder := t.TempDir()
	d, err := newDisk(filepath.Join(folder, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	write := func() error { return os.WriteFile(filepath.Join(d.folder, "row"), []byte("row"), 0o600) }
	if err := d.fill(); err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk answers %v", err)
	}
	if err := d.clear(); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("the disk has room again: %v", err)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "data", "row")); string(text) != "row" {
		t.Errorf("kept is %q, %v", text, err)
	}
	if list, _ := os.ReadDir(d.folder); len(list) > 0 {
		t.Errorf("the disk is still there: %v", list)
	}
}

func TestLossDropsPacketsUntilItEnds(t *testing.T) {
	needIsolation(t)
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	go func() {
		for {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	p, err := newProxy("api/x", upstream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	echo := func(within time.Duration) error {
		conn, err := net.DialTimeout("tcp", p.listen, within)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(within))
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	if err := echo(time.Minute); err != nil {
		t.Fatal(err)
	}
	find, err := lose(p, 99)
	if err != nil {
		t.Fatal(err)
	}
	if err := echo(300 * time.Millisecond); err == nil {
		t.Error("nearly all packets are lost, and it was answered")
	}
	if err := find(); err != nil {
		t.Fatal(err)
	}
	if err := echo(time.Minute); err != nil {
		t.Errorf("no packets are lost: %v", err)
	}
}

func TestContainedProgramsAreProcessOneOfOneHost(t *testing.T) {
	needIsolation(t)
	cmd := exec.Command("/bin/sh", "-c", "echo $$ $(cat /proc/sys/kernel/hostname) $(cat /proc/1/comm)")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	contain(cmd)
	if out, err := cmd.CombinedOutput(); string(out) != "1 duebell sh\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
}
