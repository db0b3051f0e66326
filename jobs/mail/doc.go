// Package mail makes e-mails of notifications: a subject, a plain text and an HTML part that say the same.
//
// Title and body are the notification's own, in whatever language it was written. What stands around them (greeting, why
// somebody gets this, how to change it) is in the language of the person, from one file each in locales. Everything that
// comes from outside is treated as text: nothing of it becomes markup or a header, and a link is https or a path of the
// lender's own site, or there is none.
//
// Nothing is sent from here. Addresses and the encoding of headers belong to whoever sends it.
//
// Reading order: compose.go, line.go, link.go, words.go, locales/en.yaml, message.html, message.txt.
package mail
