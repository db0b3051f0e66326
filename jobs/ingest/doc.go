// Package ingest is how the lender's book gets in: the ingest API for loan systems, NDJSON and CSV imports, and the
// operator's calls.
//
// A row (a JSON object or a line of CSV) is taken apart by fields, which notes everything that is wrong with it, so an
// answer names all bad fields at once (RFC 9457). Only what is valid reaches the store, and an answer comes after its
// commit.
//
//	ingest.go         Options, New: routes, scopes, answers
//	fields.go         one row's values and what is wrong with them
//	values.go         the rules of single values
//	hash.go           how a repeated POST is told from a contradiction
//	users.go, loans.go, installments.go, payments.go, statuschanges.go, notifications.go
//	                  a resource each: its row and its calls
//	rows.go           many rows of one resource on their way into the store
//	import.go         NDJSON in a request
//	csv.go            files of the command line
//	operator.go       what needs duebell:admin
package ingest
