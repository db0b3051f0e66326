// Command worker is one of Duebell's three programs; `worker --help` says what it does.
package main

import (
	"os"
	"runtime"

	"duebell/cmd/internal/program"
)

// ballast is memory that is never touched, so it is none of the machine's, but the collector counts it as in use: the heap grows by about as
// much before it is collected. What a worker has in use are some megabytes, and a run of reminders fills that many times a second; without
// the ballast the heap's size would follow every batch, with pages given back and taken again. GOGC works as ever; a GOMEMLIMIT counts the ballast.
var ballast = make([]byte, 40<<20)

func main() {
	code := program.Main(program.WorkerSpec)
	runtime.KeepAlive(ballast)
	os.Exit(code)
}
