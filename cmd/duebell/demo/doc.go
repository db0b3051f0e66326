// Package demo is what `duebell demo` adds to the programs: a loan book, the story of its loans on the simulated clock, and a
// page that shows a lender's back office and borrowers' devices.
//
// The book is made from 353 scenarios of Apache Fineract's end-to-end tests (fineract/README.md). The demo is a loan system: it
// talks to Duebell through the ingest API only, and its page through the inbox API and the socket.
//
//	scenario.go  the scenarios, read strictly
//	book.go      scenarios as loans, and how they differ
//	people.go    who the borrowers, guarantors and officers are
//	story.go     what the loan system says about a loan, and when
//	layout.go    which loan's story begins when
//	ingest.go    calls of the ingest API
//	ledger.go    what the loan system knows at the moment
//	demo.go      New, Run: the story is told
//	control.go   /demo/: what the page's buttons do
//	loans.go     /demo/loans: the book as the back office and the borrowers see it
//	mailbox.go   /demo/mail: the e-mails that would be sent
//	page.go      page/: the page, built from web/demo
package demo
