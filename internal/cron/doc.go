// Package cron says when scheduled work is due.
//
// A tick is an instant, and an instant happens once: every process that asks the same Schedule gets the same instants,
// so that they can serve as keys. The parser is robfig/cron's; when a time falls into a change of the clocks is decided
// here, because that library skips a whole day or runs twice there (robfig/cron#541):
//
//   - Each local slot (a date, hour and minute that matches) fires exactly once.
//   - A slot that the clocks skip fires at the first instant after the gap. Several skipped slots share that instant,
//     so they are one tick.
//   - A slot that occurs twice fires at its first occurrence. So an entry of every 15 minutes pauses while the clocks
//     repeat an hour; an entry in UTC never does.
//
// Reading order: parse.go, schedule.go.
package cron
