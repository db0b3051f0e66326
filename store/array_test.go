package store

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"duebell/internal/civil"
)

// textArray is an array in text ('{"a",NULL}'), which PostgreSQL itself reads.
func textArray(t testing.TB, values any) string {
	switch values := values.(type) {
	case []string:
		return appendArray(values, func(b []byte, s string) []byte { return appendElement(b, s) })
	case []*string:
		return appendArray(values, func(b []byte, s *string) []byte {
			if s == nil {
				return append(b, "NULL"...)
			}
			return appendElement(b, *s)
		})
	case [][]byte:
		return appendArray(values, func(b []byte, text []byte) []byte {
			if text == nil {
				return append(b, "NULL"...)
			}
			return appendElement(b, string(text))
		})
	case []int:
		return appendArray(values, func(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) })
	case []int64:
		return appendArray(values, func(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) })
	case []bool:
		return appendArray(values, strconv.AppendBool)
	case []time.Time:
		return appendArray(values, appendTime)
	case []*time.Time:
		return appendArray(values, func(b []byte, t *time.Time) []byte {
			if t == nil {
				return append(b, "NULL"...)
			}
			return appendTime(b, *t)
		})
	case []civil.Date:
		return appendArray(values, func(b []byte, d civil.Date) []byte {
			if s := d.String(); s != "" {
				return append(b, s...)
			}
			return append(b, "NULL"...)
		})
	}
	t.Fatalf("no text for %T", values)
	return ""
}

func appendArray[T any](values []T, element func([]byte, T) []byte) string {
	b := make([]byte, 0, 2+32*len(values))
	b = append(b, '{')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(b, v)
	}
	return string(append(b, '}'))
}

// appendElement quotes a text: quotes and backslashes are all that has a meaning inside.
func appendElement(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			break
		}
		b = append(b, s[:i]...)
		b = append(b, '\\', s[i])
		s = s[i+1:]
	}
	return append(append(b, s...), '"')
}

// appendTime is to the microsecond, as the database keeps it.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "2006-01-02 15:04:05.999999")
	return append(b, `+00"`...)
}
