// Package jobs moves what has to be done from the database through Asynq back into the database.
//
// The scheduler half turns committed facts into tasks: cron ticks (rows that happen once) and the outbox of status changes
// and messages. The worker half does them: it decides on reminders, tells status changes in order, writes notifications.
// A task holds ids only and may run twice or get lost: every handler reads the database again and writes what was done in
// the same transaction, and the relay enqueues again what isn't done. So Redis can be emptied at any moment, and the
// outcome is the same, only later.
//
// One notification's way: cron.go (tick) → relay.go (enqueue) → worker.go (handle) → handle_*.go and decide.go (what to
// write) → store.
//
//	task.go              types, payloads, queues, ids of tasks
//	queues.go            what waits in Redis
//	wake.go              how a worker hears of an urgent task
//	clear.go             and how an operator empties it
//	relay.go             committed rows to tasks
//	cron.go              instants of the policy's schedule to rows
//	scheduler.go         both together: what a scheduler runs
//	outbox.go            its gauges of what waits
//	idle.go              whether anything is left to do, for a clock that waits for it
//	worker.go            the Asynq servers
//	handle_reminders.go  reminder:run
//	decide.go            what a due reminder becomes; pure
//	summary.go           an officer's share of a run
//	handle_status.go     status:notify
//	handle_request.go    notification:send
//	housekeeping.go      what heals the due queue
//	retention.go         retention:run
//	metrics.go           what can be watched
package jobs
