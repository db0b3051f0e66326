// Package policy says what is told to whom and when. It is pure: no clock, no database, no network.
//
// A Policy is a lender's YAML file (Parse; Default is the built-in one). Its reminders are Rules, each a kind and a
// number of days from the due date on the recipient's own calendar. Everything that decides about one loan's due date and
// one recipient, a Subject, is here:
//
//	Scheduled  the instant at which a rule falls for that person
//	Look       when the subject must be judged next, after anything in the book changed
//	Judge      what to do now: send, hold or suppress, with the reason, and when to look again
//	Pending    the reminder that a payment or a closing just made unnecessary
//
// Reading order: kinds.go, policy.go, parse.go, scheduled.go, quiet.go, judge.go.
package policy
