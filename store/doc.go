// Package store is the lender's database: PostgreSQL, or SQLite for one machine. Everything that must not be lost is a
// row that it committed; whatever else runs may die at any moment and finds here what is left to do.
//
// Three things are kept. The book: people, loans, schedules and payments as the loan system reports them, and the queue
// of reminders derived from it in the same transaction. The outbox: facts that have come in and not been told yet. The
// inboxes: notifications, and one counter for each recipient, rev, that each change adds 1 to under the lock of the
// inbox's row, so that the order of revs is the order of commits and "everything after rev N" is one read of an index.
//
// All locks are taken in the order loans, due rows, people, inboxes, each sorted by id in byte order. Tx.atEnd keeps the last
// part: what touches inboxes waits until just before the commit. After it Options.Committed hears what happened.
//
// Reading order, the ground and the inboxes:
//
//	types.go          what is stored
//	db.go             Open, the two databases' settings, Ready
//	silence.go        what keeps calls from waiting for a server that is silent
//	migrate.go        Migrate; migrations/ has one set for each database, with the same numbers
//	restore.go        another epoch for a database that was restored
//	tx.go             transactions, and SQL that is one text for both databases
//	errors.go         what callers may branch on
//	inbox.go          locks and counters of inboxes; how notifications are written and changed
//	notifications.go  what a person does: read, seen, archive, delete
//	changes.go        heads and catching up behind a cursor
//	list.go           the list, page by page
//	revocations.go    tokens that are refused
//	listen.go         the outbox's wake-up
//	clock.go          now, and the simulated clock's last instant
//
// The book, in the order of what happens:
//
//	users.go loans.go schedules.go payments.go import.go  what comes in, one row or many
//	book.go allocate.go subjects.go due.go rederive.go    what is open, and the due queue derived from it
//	told.go                                               what the book takes back of what was told
//	people.go preferences.go policies.go                  whom and how to tell
//	erase.go elsewhere.go reword.go                       whom to forget, and what others have about them
//	run.go progress.go decisions.go summaries.go          a reminder run, and the proof of what it decided
//	retention.go                                          what is too old to be kept
//	outbox.go tell.go ticks.go                            facts that wait to be told, and cron's instants
//	explain.go preview.go compare.go stats.go             what an operator asks
package store
