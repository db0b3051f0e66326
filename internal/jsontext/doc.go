// Package jsontext appends JSON to a buffer: what is written for every notification, without reflection. The text is that of
// encoding/json without its escapes for HTML.
package jsontext
