// Package civil has the calendar's side of time: dates and times of day that are no instants until a zone is named.
//
// A due date is a Date. It becomes an instant only for somebody, in that person's zone, and Date.At is the one
// function that does it. LoadZone is the one way to get a zone: it knows IANA names on every machine, also on one
// without zoneinfo.
//
// Reading order: date.go, timeofday.go, at.go, zone.go.
package civil
