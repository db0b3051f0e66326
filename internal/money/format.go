package money

import (
	"strings"

	"github.com/bojanz/currency"
)

// Format writes minor units for a person: grouped, with the currency's symbol, in the numerals and order of the locale
// (BCP 47; English where it isn't known), and with exactly digits decimals whatever the currency usually has. A code
// that isn't ISO's stands behind the plain decimal.
func Format(minor int64, digits int, code, locale string) string {
	decimal := Decimal(minor, digits)
	amount, err := currency.NewAmount(decimal, code)
	if err != nil || code == "" || digits < 0 || digits > MaxDigits {
		return strings.TrimSpace(decimal + " " + code)
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
