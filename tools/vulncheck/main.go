// Command vulncheck runs govulncheck over modules and fails if what they call has a known vulnerability. Where the database of
// vulnerabilities (https://vuln.go.dev, or GOVULNDB as govulncheck reads it) can't be reached it says SKIPPED and why, and
// doesn't fail: a build mustn't need the network.
//
//	vulncheck GOVULNCHECK FOLDER…
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: vulncheck GOVULNCHECK FOLDER…")
		os.Exit(2)
	}
	database := cmp.Or(os.Getenv("GOVULNDB"), "https://vuln.go.dev")
	os.Exit(run(database, os.Args[1], os.Args[2:], os.Stdout))
}

// run answers the exit code: 1 for a finding, and for whatever keeps govulncheck from looking but the database.
func run(database, govulncheck string, folders []string, out io.Writer) int {
	if err := reach(database); err != nil {
		return skipped(out, err)
	}
	code := 0
	for _, folder := range folders {
		fmt.Fprintf(out, "govulncheck -C %s ./...\n", folder)
		cmd := exec.Command(govulncheck, "-db", database, "-C", folder, "./...")
		cmd.Stdout, cmd.Stderr = out, out
		err := cmd.Run()
		if err == nil {
			continue
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != found {
			if gone := reach(database); gone != nil && code == 0 { // it went away meanwhile
				return skipped(out, gone)
			}
			fmt.Fprintf(out, "govulncheck: %v\n", err)
		}
		code = 1
	}
	return code
}

// found is govulncheck's exit code when there are vulnerabilities in code that is called.
const found = 3

func skipped(out io.Writer, why error) int {
	fmt.Fprintf(out, "SKIPPED govulncheck: its database can't be reached: %v\n", why)
	return 0
}

// reach asks the database for the file that says how new it is. One in a folder (file://) is always there, or a mistake.
func reach(database string) error {
	if strings.HasPrefix(database, "file:") {
		return nil
	}
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Get(strings.TrimSuffix(database, "/") + "/index/db.json.gz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", database, answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
