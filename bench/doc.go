// Command bench measures the real pusher beside Centrifugo and a plain gorilla/websocket server: same machine, same run, same
// client, same Redis; and a run of reminders beside plainer ways to write as much. `make bench-idle` and the others of the
// folder above run it, and docs/benchmarks.md says what the figures mean. Each ends with a line `RESULT {json}`.
//
// The clients are other processes of this program (`bench client`), each on one thread with epoll and a few bytes a connection,
// since a process has a limit of open files. The peer is one too (`bench gorilla`).
//
//	main.go        the commands
//	idle.go        what an idle connection takes
//	load.go        what a delivery takes, and how many a second there can be
//	million.go     a million sessions over many pushers
//	foreign.go     what a pusher pays for messages to the sessions of others
//	reminders.go   a million reminders due at once
//	growth.go      the same number due in books of all sizes
//	import.go      a book that comes in through the API
//	latency.go     from the call that says a status to the frame, also while a run is under way
//	soak.go        an hour at a fifth of what is held: what gets more; trend.go  how that is told from noise
//	book.go        books made by SQL
//	statements.go  what PostgreSQL spent its time on
//	target.go      a server under test, how it is started and watched
//	duebell.go     ours; centrifugo.go, gorilla.go  the peers
//	publish.go     messages to random users at a rate
//	client.go      the client process; dial.go and read.go its connections
//	control.go     how it is told what to do
//	histogram.go   latencies
//	usage.go       CPU and memory of a process
package main
