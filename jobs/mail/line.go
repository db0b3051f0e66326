package mail

import (
	"strings"
	"unicode"
)

const (
	maxSubject = 200 // characters; screens show 40 to 80
	maxName    = 120
)

// line makes one line of a text: no break of any kind that could start another header, no control characters, no marks that turn
// the direction of what follows. Isolates (U+2068, U+2069) stay, since our own texts have them around names. It is cut to
// at most so many characters.
func line(s string, most int) string {
	var out []rune
	space := false
	for _, r := range s { // invalid UTF-8 comes as U+FFFD
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			space = len(out) > 0
			continue
		case turns(r):
			continue
		case space:
			out = append(out, ' ')
			space = false
		}
		out = append(out, r)
		if len(out) > most {
			return string(append(out[:most-1], '…'))
		}
	}
	return string(out)
}

// turns says whether a character overrides or embeds a direction until something ends it, so that it could turn around
// what isn't its own.
func turns(r rune) bool { return r >= '\u202A' && r <= '\u202E' }

// paragraphs are a body's, each of one or more lines.
func paragraphs(body string) []string {
	body = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n\n").Replace(body)
	var list []string
	var lines []string
	end := func() {
		if len(lines) > 0 {
			list = append(list, strings.Join(lines, "\n"))
			lines = nil
		}
	}
	for l := range strings.SplitSeq(body, "\n") {
		if l = line(l, len(l)); l != "" {
			lines = append(lines, l)
		} else {
			end()
		}
	}
	end()
	return list
}
