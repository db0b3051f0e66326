// Command chaos runs the real programs under a load whose every event it knows, breaks what they stand on by a schedule
// that a seed makes, and then checks that everything that was acknowledged arrived once, in order, with no gap, and that
// no reminder went out that must not. `make chaos SEED=n` in the folder above runs it; docs/chaos.md says what it does
// and what it has found. It ends with a line `RESULT {json}` and exits 1 if anything in it is not 0.
//
// In reading order:
//
//	main.go          flags, and one run after the other
//	run.go           one run: start, load, faults, quiet, check
//	plan.go          the schedule, a pure function of the seed
//	faults.go        the table of faults
//	toxics.go        those that the proxies do
//	clocks.go        clocks that are wrong
//	disk.go          a disk that is full
//	loss.go          packets that are lost
//	isolate_linux.go what root can do: a network and disks of its own, programs in containers
//	installation.go  the programs and what they stand on
//	process.go       one process: killed, frozen, asked to stop, started again
//	servers.go       PostgreSQL and Redis
//	proxy.go         what stands between programs, servers and clients
//	lender.go        the loan system: its calls and their repetition
//	stories.go       what it says: applications, messages, loans
//	people.go        what people do with their inboxes
//	screen.go        one device: its cursor, its chain, its items
//	ledger.go        what was asked for and what was acknowledged
//	database.go      the rows, read past the programs
//	quiet.go         when nothing is left to do
//	alone.go         whether each program works without the others
//	check.go         what must hold then
//	check_loans.go   of reminders
//	gauges.go        goroutines, files and sessions of the programs
//	history.go       what happened when, and what was found
package main
