package jsontext

import "unicode/utf8"

const hex = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that aren't UTF-8 become U+FFFD, and U+2028 and U+2029 are escaped, which end a
// line in JavaScript.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // of what isn't appended yet
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			if b >= ' ' && b != '"' && b != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscaped(dst, b)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		escaped := ""
		switch {
		case r == utf8.RuneError && size == 1:
			escaped = `\ufffd`
		case r == '\u2028':
			escaped = `\u2028`
		case r == '\u2029':
			escaped = `\u2029`
		default:
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, escaped...)
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscaped(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
}

// AppendCompact appends JSON without the space between its values. src is valid JSON: that isn't looked at.
func AppendCompact(dst, src []byte) []byte {
	inside := false // of a string
	start := 0      // of what isn't appended yet
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '"':
			inside = !inside
		case '\\':
			i++ // only in strings
		case ' ', '\t', '\n', '\r':
			if !inside {
				dst = append(dst, src[start:i]...)
				start = i + 1
			}
		}
	}
	return append(dst, src[start:]...)
}
