package main

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// A connection ends as it would commit, whoever listens behind the proxy doesn't hear of it, and others go on.
func TestLostCommits(t *testing.T) {
	heard := make(chan string, 10)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewReader(conn)
				for {
					line, err := lines.ReadString(0)
					if err != nil {
						heard <- "the end"
						return
					}
					heard <- strings.TrimSuffix(line, "\x00")
					if _, err := conn.Write([]byte("done")); err != nil {
						return
					}
				}
			}()
		}
	}()
	p, err := newProxy("postgres/test", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()

	dial := func() net.Conn {
		conn, err := net.Dial("tcp", p.listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	say := func(conn net.Conn, text string) error {
		if _, err := conn.Write([]byte(text + "\x00")); err != nil {
			return err
		}
		_, err := conn.Read(make([]byte, 4))
		return err
	}
	wantHeard := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("the server heard %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the server didn't hear %q", want)
		}
	}

	conn := dial()
	for _, text := range []string{"insert", "commit"} {
		if err := say(conn, text); err != nil {
			t.Fatal(err)
		}
		wantHeard(text)
	}
	p.loseCommits(true)
	if err := say(conn, "insert"); err != nil {
		t.Fatal(err)
	}
	wantHeard("insert")
	if err := say(conn, "commit"); err == nil {
		t.Error("a commit that must be lost was answered")
	}
	wantHeard("the end")
	// By a statement that pgx keeps: its name, then the statement's portal and so on.
	kept := "B..." + keptName("COMMIT")
	if err := say(dial(), kept); err == nil {
		t.Error("a commit that must be lost was answered")
	}
	wantHeard("the end")
	p.loseCommits(false)
	for _, text := range []string{"commit", kept} {
		if err := say(dial(), text); err != nil {
			t.Fatal(err)
		}
		wantHeard(text)
	}
}

func TestNoAddressIsGivenTwice(t *testing.T) {
	given := map[string]bool{}
	for range 1000 {
		addr := freeAddr()
		if given[addr] {
			t.Fatalf("%s is given twice", addr)
		}
		given[addr] = true
	}
}
