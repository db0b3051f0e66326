// Package program puts the parts together: what cmd/scheduler, cmd/worker and cmd/pusher run, each alone or all in one process.
//
// parts.go opens what every program shares. scheduler.go, worker.go and pusher.go are the three programs; all.go runs them together on
// one clock. main.go turns signals, environment and errors into what a process does with them.
package program
