package delivery

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"duebell/internal/testenv"
)

// Clients in other languages, by other people, go through a whole conversation: the token as a subprotocol, hello, changes,
// fragments, pings, renewal, resuming, close codes, and being sent away. (Browsers are tested with the screens, coder/websocket
// by all other tests here.)
func TestClientsOfOtherLanguages(t *testing.T) {
	t.Run("NodeWS", func(t *testing.T) {
		web, err := filepath.Abs("../web")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(web, "node_modules/ws")); err != nil {
			t.Skip("ws isn't installed in web/node_modules: npm ci in web/ does it")
		}
		node, err := exec.LookPath("node")
		if err != nil {
			if node, err = exec.LookPath("../bin/node/bin/node"); err != nil { // scripts/with-node puts it there
				t.Skip("there is no Node.js on PATH or in bin/node")
			}
		}
		converse(t, node, "testdata/clients/ws.mjs", web)
	})

	t.Run("PythonWebsockets", func(t *testing.T) {
		for _, python := range []string{"/usr/bin/python3", "python3"} { // Debian's packages belong to the first
			if exec.Command(python, "-c", "import websockets").Run() == nil {
				converse(t, python, "testdata/clients/websockets_client.py")
				return
			}
		}
		testenv.Missing(t, "Python's websockets isn't installed: python3-websockets on Debian")
	})
}

// converse runs a client's script against a pusher and does what it asks for.
func converse(t *testing.T, program string, args ...string) {
	r := start(t, testenv.SQLite(t), "embedded", func(o *Options) {
		o.PingInterval, o.PongTimeout, o.DrainWindow = 1500*time.Millisecond, 20*time.Second, 200*time.Millisecond
	})
	tokens, err := json.Marshal(map[string]string{
		"user": r.token(t, "client"), "renewed": tokenAt(t, "client", time.Now().Add(-time.Second), time.Hour), "other": r.token(t, "other"),
		"expired": tokenAt(t, "client", time.Now().Add(-time.Hour), time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	script := exec.CommandContext(ctx, program, append(args, "ws"+strings.TrimPrefix(r.url, "http")+socketPath)...)
	script.Env = append(os.Environ(), "TOKENS="+string(tokens), "PYTHONDONTWRITEBYTECODE=1")
	var problems strings.Builder
	script.Stderr = &problems
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for lines := bufio.NewScanner(out); lines.Scan(); asked++ {
		switch lines.Text() {
		case "tell":
			if err := tellText(t.Context(), r.db, strings.Repeat("x", 70_000)+"κόσμε 🚀", 1, "client"); err != nil {
				t.Error(err)
			}
		case "drain":
			r.stop()
		default:
			t.Errorf("it says %q", lines.Text())
		}
	}
	if err := script.Wait(); err != nil || asked != 2 {
		t.Errorf("%v, having asked for %d things:\n%s", err, asked, problems.String())
	}
}
