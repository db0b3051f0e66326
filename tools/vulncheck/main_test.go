package main

import (
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// One vulnerability, which every version of Go's own library has, in a function that programs may call.
var database = map[string]string{
	"/index/db.json":      `{"modified":"2026-01-01T00:00:00Z"}`,
	"/index/modules.json": `[{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
	"/ID/GO-2026-0001.json": `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
		"summary":"made for a test","affected":[{"package":{"name":"stdlib","ecosystem":"Go"},
		"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"net/url","symbols":["Parse"]}]}}]}`,
}

func module(t *testing.T, source string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.org/m\n\ngo 1.24\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestRun(t *testing.T) {
	govulncheck := filepath.Join(t.TempDir(), "govulncheck")
	if out, err := exec.Command("go", "build", "-o", govulncheck, "golang.org/x/vuln/cmd/govulncheck").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	good := module(t, "package main\n\nfunc main() {}\n")
	bad := module(t, "package main\n\nimport \"net/url\"\n\nfunc main() { url.Parse(\"http://a\") }\n")
	broken := module(t, "package main\n\nfunc main() { nothing() }\n")
	serve := func(asked func(path string) (there bool)) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, ok := database[strings.TrimSuffix(r.URL.Path, ".gz")]
			if !ok || !strings.HasSuffix(r.URL.Path, ".gz") || !asked(r.URL.Path) {
				http.NotFound(w, r)
				return
			}
			packed := gzip.NewWriter(w)
			_, _ = packed.Write([]byte(text))
			_ = packed.Close()
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	up := serve(func(string) bool { return true })
	down := httptest.NewServer(nil)
	down.Close()
	var times atomic.Int32
	once := serve(func(string) bool { return times.Add(1) == 1 })

	for _, c := range []struct {
		name, database string
		folders        []string
		code           int
		says           string
	}{
		{"nothing is found", up, []string{good}, 0, "No vulnerabilities found"},
		{"a finding fails", up, []string{bad}, 1, "GO-2026-0001"},
		{"a finding in one of several fails", up, []string{good, bad, good}, 1, "GO-2026-0001"},
		{"the database is down", down.URL, []string{bad}, 0, "SKIPPED govulncheck: its database can't be reached"},
		{"the database is another server", up + "/elsewhere", []string{bad}, 0, "SKIPPED govulncheck: its database can't be reached"},
		{"the database goes away", once, []string{bad}, 0, "SKIPPED govulncheck: its database can't be reached"},
		{"code that doesn't compile fails", up, []string{broken}, 1, "undefined: nothing"},
		{"a folder that isn't there fails", up, []string{filepath.Join(good, "nowhere")}, 1, "govulncheck"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if code := run(c.database, govulncheck, c.folders, &out); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, c.code, c.says, out.String())
			}
			if skipped := strings.Contains(out.String(), "SKIPPED"); skipped != strings.HasPrefix(c.says, "SKIPPED") {
				t.Errorf("SKIPPED: %v\n%s", skipped, out.String())
			}
		})
	}
}
