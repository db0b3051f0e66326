// Command scheduler is one of Duebell's three programs; `scheduler --help` says what it does.
package main

import (
	"os"

	"duebell/cmd/internal/program"
)

func main() { os.Exit(program.Main(program.SchedulerSpec)) }
