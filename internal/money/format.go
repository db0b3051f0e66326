package money

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bojanz/currency"

	"duebell/internal/memo"
)

// Format writes minor units for a person: grouped, with the currency's symbol, in the numerals and order of the locale
// (BCP 47; English where it isn't known), and with exactly digits decimals whatever the currency usually has. A code
// that isn't ISO's stands behind the plain decimal.
func Format(minor int64, digits int, code, locale string) string {
	decimal := Decimal(minor, digits)
	if code == "" || !currency.IsValid(code) || digits < 0 || digits > MaxDigits {
		return strings.TrimSpace(decimal + " " + code)
	}
	return shapes.Of(shapeKey{locale, code, digits, len(decimal), minor < 0}, newShape).fill(decimal)
}

// shape is the text of an amount without its digits, of which there are as many and in the same order as in the plain decimal. What
// stands around and between them depends on their number alone, and to find out takes some twenty times as long as to write them.
type shape struct {
	pieces []string // before the first digit, between the digits, behind the last
	zero   rune     // the locale's 0; its other numerals follow
}

// shapeKey is what the shape of an amount depends on; length is that of the plain decimal.
type shapeKey struct {
	locale, code   string
	digits, length int
	negative       bool
}

var shapes memo.Map[shapeKey, *shape]

// newShape formats an amount of zeros, all but the first digit, which is a one: so the numerals of the locale are known too.
func newShape(key shapeKey) *shape {
	sample := make([]byte, 0, key.length)
	if key.negative {
		sample = append(sample, '-')
	}
	first := len(sample)
	for len(sample) < key.length {
		sample = append(sample, '0')
	}
	sample[first] = '1'
	if key.digits > 0 {
		sample[key.length-key.digits-1] = '.'
	}
	text := formatted(string(sample), key.digits, key.code, key.locale)

	s := &shape{}
	start := 0
	for i, r := range text {
		if unicode.IsDigit(r) {
			if s.zero == 0 {
				s.zero = r - 1
			}
			s.pieces = append(s.pieces, text[start:i])
			start = i + utf8.RuneLen(r)
		}
	}
	s.pieces = append(s.pieces, text[start:])
	return s
}

func (s *shape) fill(decimal string) string {
	var b strings.Builder
	b.Grow(4 * len(decimal))
	n := 0
	for i := range len(decimal) {
		if d := decimal[i]; d >= '0' && d <= '9' {
			b.WriteString(s.pieces[n])
			b.WriteRune(s.zero + rune(d-'0'))
			n++
		}
	}
	b.WriteString(s.pieces[n])
	return b.String()
}

// formatted is Format of a decimal by the currency package.
func formatted(decimal string, digits int, code, locale string) string {
	amount, err := currency.NewAmount(decimal, code)
	if err != nil {
		return decimal + " " + code
	}
	where := formatLocale(locale)
	f := currency.NewFormatter(where)
	f.MinDigits, f.MaxDigits = uint8(digits), uint8(digits)
	if symbol, _ := currency.GetSymbol(code, where); symbol == "" {
		f.CurrencyDisplay = currency.DisplayCode
	}
	return f.Format(amount)
}

// formatLocale takes language, script and territory from a BCP 47 tag and leaves variants and extensions out, which
// the currency package would take for territories. Without a language it is English.
func formatLocale(tag string) currency.Locale {
	english := currency.Locale{Language: "en"}
	var l currency.Locale
	for i, part := range strings.Split(strings.ReplaceAll(tag, "_", "-"), "-") {
		switch {
		case i == 0:
			if len(part) < 2 || len(part) > 8 || !letters(part) {
				return english
			}
			l.Language = strings.ToLower(part)
		case len(part) == 1:
			return l
		case len(part) == 4 && letters(part) && l.Script == "" && l.Territory == "":
			l.Script = strings.ToUpper(part[:1]) + strings.ToLower(part[1:])
		case (len(part) == 2 && letters(part) || len(part) == 3 && number(part)) && l.Territory == "":
			l.Territory = strings.ToUpper(part)
		}
	}
	return l
}

// letters says whether s is nothing but ASCII letters.
func letters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
