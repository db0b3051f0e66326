package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"duebell/internal/money"
)

// hash identifies what a POST says, to tell a repeat from a contradiction. It is taken from the validated values and not
// from the bytes: order of keys, spaces, offsets of times and trailing zeros of amounts don't matter.
func hash(canonical any) string {
	text, err := json.Marshal(canonical)
	if err != nil {
		panic(err) // structs of strings, numbers and valid JSON always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// plainDecimal is an amount without trailing zeros, so that it doesn't depend on the loan's digits.
func plainDecimal(minor int64, digits int) string {
	s := money.Decimal(minor, digits)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
