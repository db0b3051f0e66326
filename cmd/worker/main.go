// Command worker is one of Duebell's three programs; `worker --help` says what it does.
package main

import (
	"os"
	"runtime/debug"

	"duebell/cmd/internal/program"
)

// gcPercent lets the heap grow to five times of what is in use before it is collected. Little of a worker is, some megabytes,
// and a run of reminders fills that many times a second. GOGC overrules it.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(program.Main(program.WorkerSpec))
}
