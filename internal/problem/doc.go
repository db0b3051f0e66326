// Package problem is how Duebell's HTTP APIs say that something is wrong: RFC 9457 problem documents that name each bad
// field, and the strict JSON decoding that finds most of them.
//
//	problem.go  the document, its constructors, Write
//	decode.go   DecodeJSON
package problem
