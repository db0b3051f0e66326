package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"duebell/internal/civil"
	"duebell/internal/money"
	"duebell/internal/problem"
)

// fields are the values of one row: of a JSON object, or of a line of CSV. Each getter takes its field out and notes
// what is wrong with it, so that one answer names everything that is wrong. What nobody asked for is unknown.
type fields struct {
	values []value
	path   string // before the names, such as "parties[2]."
	// text: a line of CSV. Values are plain text, an empty one is absent, and lists and objects are JSON inside.
	text bool
	bad  *problems
}

// value is a field as it was given: JSON, or a cell. There are few in a row, so a list is searched faster than a map.
type value struct {
	name, text string
	taken      bool
}

// problems collects what is wrong with one row.
type problems []problem.FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, problem.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// object takes apart a JSON object that is known to be valid JSON. Null and absent are the same. encoding/json can't say in which
// order names came and which came twice but token by token, which takes eight times as long (BenchmarkObject); it is what
// FuzzObject holds this against.
func object(raw json.RawMessage, path string, bad *problems) *fields {
	f := &fields{path: path, bad: bad}
	if !isObject(raw) {
		bad.add(strings.TrimSuffix(path, "."), "must be an object, not %s", kindOf(raw))
		return f
	}
	f.values = make([]value, 0, 8)
	text := string(raw)
	for i := skip(text, 0, " \t\r\n{"); text[i] != '}'; i = skip(text, i, " \t\r\n,") {
		end := valueEnd(text, i)
		key := unquoted(text[i:end])
		i = skip(text, end, " \t\r\n:")
		end = valueEnd(text, i)
		if f.find(key) != nil {
			bad.add(path+key, "is given twice")
		}
		f.values = append(f.values, value{name: key, text: text[i:end]})
		i = end
	}
	return f
}

// skip is the first place from i on where none of those bytes is. In an object that is valid there is one.
func skip(text string, i int, bytes string) int {
	for strings.IndexByte(bytes, text[i]) >= 0 {
		i++
	}
	return i
}

// valueEnd is where a value of valid JSON ends that begins at i.
func valueEnd(text string, i int) int {
	for depth := 0; ; i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			} else if depth < 0 {
				return i // the end of the object behind a number or a word
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
}

// unquoted is the text of a JSON string.
func unquoted(quoted string) string {
	if s := quoted[1 : len(quoted)-1]; strings.IndexByte(s, '\\') < 0 && utf8.ValidString(s) {
		return s
	}
	var s string
	_ = json.Unmarshal([]byte(quoted), &s) // it is valid
	return s
}

// record is a line of CSV.
func record(names, cells []string, bad *problems) *fields {
	f := &fields{values: make([]value, len(names)), text: true, bad: bad}
	for i, name := range names {
		f.values[i] = value{name: name, text: strings.TrimSpace(cells[i])}
	}
	return f
}

// find is a field that wasn't taken; nil if there is none. Of one that was given twice the last counts.
func (f *fields) find(name string) *value {
	for i := len(f.values) - 1; i >= 0; i-- {
		if v := &f.values[i]; v.name == name && !v.taken {
			return v
		}
	}
	return nil
}

// take removes a field and returns its value; false if it isn't there.
func (f *fields) take(name string) (text string, ok bool) {
	for v := f.find(name); v != nil; v = f.find(name) {
		if v.taken = true; text == "" {
			text = v.text
		}
	}
	if text == "" || !f.text && text == "null" {
		return "", false
	}
	return text, true
}

// peek is the text of a field that stays to be taken; "" if it is absent or no text.
func (f *fields) peek(name string) string {
	v := f.find(name)
	switch {
	case v == nil:
		return ""
	case f.text:
		return v.text
	case v.text[0] != '"':
		return ""
	}
	return unquoted(v.text)
}

func (f *fields) wrong(name, format string, args ...any) {
	f.bad.add(f.path+name, format, args...)
}

// done notes the fields that nobody asked for.
func (f *fields) done() {
	var unknown []string
	for _, v := range f.values {
		if !v.taken {
			unknown = append(unknown, v.name)
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		f.wrong(clip(name, 64), "is not a field of this call")
	}
}

// str is a field's text as it was given. A missing one is wrong if required.
func (f *fields) str(name string, required bool) (string, bool) {
	value, ok := f.take(name)
	if !ok {
		if required {
			f.wrong(name, "is missing")
		}
		return "", false
	}
	if f.text {
		return value, true
	}
	if value[0] != '"' {
		f.wrong(name, "must be a string, not %s", kindOf(value))
		return "", false
	}
	return unquoted(value), true
}

// checked is a field's text that passes check.
func (f *fields) checked(name string, required bool, check func(string) error) string {
	s, ok := f.str(name, required)
	if !ok {
		return ""
	}
	if err := check(s); err != nil {
		f.wrong(name, "%v", err)
		return ""
	}
	return s
}

// id is a required id.
func (f *fields) id(name string) string { return f.checked(name, true, checkID) }

// line is text of at most max characters on one line.
func (f *fields) line(name string, required bool, max int) string {
	return f.checked(name, required, func(s string) error { return checkText(s, max, false) })
}

// block is text of at most max characters that may have line breaks.
func (f *fields) block(name string, required bool, max int) string {
	return f.checked(name, required, func(s string) error { return checkText(s, max, true) })
}

// choice is one of the allowed words.
func (f *fields) choice(name string, allowed ...string) string {
	return f.checked(name, true, func(s string) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return fmt.Errorf("must be one of %s, not %.64q", strings.Join(allowed, ", "), s)
	})
}

// instant is a time with its offset, cut to the microseconds that the databases keep.
func (f *fields) instant(name string, required bool) time.Time {
	s, ok := f.str(name, required)
	if !ok {
		return time.Time{}
	}
	at, err := parseInstant(s)
	if err != nil {
		f.wrong(name, "%v", err)
	}
	return at
}

// date is a required day of the calendar.
func (f *fields) date(name string) civil.Date {
	s, ok := f.str(name, true)
	if !ok {
		return civil.Date{}
	}
	d, err := civil.Parse(s)
	if err != nil {
		f.wrong(name, "%v", err)
	}
	return d
}

// number is a whole number from low to high; absent if it isn't given or wrong.
func (f *fields) number(name string, required bool, low, high int) (n int, ok bool) {
	value, ok := f.take(name)
	if !ok {
		if required {
			f.wrong(name, "is missing")
		}
		return 0, false
	}
	n, err := strconv.Atoi(value)
	switch {
	case err != nil && !f.text && value[0] != '-' && (value[0] < '0' || value[0] > '9'):
		f.wrong(name, "must be a whole number, not %s", kindOf(value))
	case err != nil:
		f.wrong(name, "must be a whole number from %d to %d, not %s", low, high, clip(value, 40))
	case n < low || n > high:
		f.wrong(name, "must be from %d to %d, not %d", low, high, n)
	default:
		return n, true
	}
	return 0, false
}

// amount is a decimal string as minor units of that many digits; absent if it isn't given or wrong.
func (f *fields) amount(name string, required bool, digits int) (minor int64, ok bool) {
	value, ok := f.take(name)
	if !ok {
		if required {
			f.wrong(name, "is missing")
		}
		return 0, false
	}
	s := value
	if !f.text {
		if value[0] != '"' {
			f.wrong(name, `must be a decimal string like "1234.50", not %s`, kindOf(value))
			return 0, false
		}
		s = unquoted(value)
	}
	if strings.HasPrefix(s, "-") {
		f.wrong(name, "must not be negative")
		return 0, false
	}
	minor, err := money.Parse(s, digits)
	if err != nil {
		f.wrong(name, "%v", err)
		return 0, false
	}
	return minor, true
}

// list is the elements of an array of at most max.
func (f *fields) list(name string, max int) []json.RawMessage {
	text, ok := f.take(name)
	if !ok {
		return nil
	}
	value := []byte(text)
	var list []json.RawMessage
	switch {
	case f.text && !json.Valid(value):
		f.wrong(name, `must be a JSON array like ["u1","u2"]`)
	case value[0] != '[' || json.Unmarshal(value, &list) != nil:
		f.wrong(name, "must be an array, not %s", kindOf(value))
	case len(list) > max:
		f.wrong(name, "has %d elements, and at most %d are allowed", len(list), max)
	default:
		return list
	}
	return nil
}

// words is an array of different texts that pass check.
func (f *fields) words(name string, max int, check func(string) error) []string {
	list := f.list(name, max)
	words := make([]string, 0, len(list))
	for i, value := range list {
		at := fmt.Sprintf("%s[%d]", name, i)
		var s string
		if value[0] != '"' || json.Unmarshal(value, &s) != nil {
			f.wrong(at, "must be a string, not %s", kindOf(value))
			continue
		}
		if err := check(s); err != nil {
			f.wrong(at, "%v", err)
			continue
		}
		if slices.Contains(words, s) {
			f.wrong(at, "%q is named twice", clip(s, 64))
			continue
		}
		words = append(words, s)
	}
	return words
}

func isObject(raw []byte) bool { return kindOf(raw) == "an object" }

// kindOf says in the words of JSON what a valid value is.
func kindOf[T []byte | json.RawMessage | string](raw T) string {
	i := 0
	for i < len(raw) && strings.IndexByte(" \t\r\n", raw[i]) >= 0 {
		i++
	}
	if i == len(raw) {
		return "nothing"
	}
	switch raw[i] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// clip keeps what callers sent from filling an answer.
func clip(s string, max int) string {
	for i := range s {
		if max == 0 {
			return s[:i] + "…"
		}
		max--
	}
	return s
}
