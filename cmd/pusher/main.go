// Command pusher is one of Duebell's three programs; `pusher --help` says what it does.
package main

import (
	"os"

	"duebell/cmd/internal/program"
)

func main() { os.Exit(program.Main(program.PusherSpec)) }
