package money

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/bojanz/currency"
)

// MaxDigits is the largest number of decimals that an amount can have. Loan systems store six at most.
const MaxDigits = 6

// maxInteger is how many digits an amount may have before the point: more than any currency's money supply needs.
const maxInteger = 15

// ISODigits is the number of decimals that ISO 4217 gives an active currency; false for any other code. Codes are
// upper-case.
func ISODigits(code string) (int, bool) {
	digits, ok := currency.GetDigits(code)
	return int(digits), ok
}

// Parse reads a decimal string such as "1234.50" as minor units of that many decimals. It refuses signs, exponents,
// spaces, a missing digit on either side of the point, more decimals than digits unless they are zeros, more than 15
// digits before the point, and what doesn't fit an int64. Its errors can be shown to whoever sent the amount.
func Parse(s string, digits int) (int64, error) {
	if digits < 0 || digits > MaxDigits {
		return 0, fmt.Errorf("%d is not a number of decimals from 0 to %d", digits, MaxDigits)
	}
	whole, fraction, point := strings.Cut(s, ".")
	if !number(whole) || point && !number(fraction) {
		return 0, fmt.Errorf("%.40q is not an amount like 1234.50", s)
	}
	if len(whole) > maxInteger {
		return 0, fmt.Errorf("an amount has at most %d digits before the point", maxInteger)
	}
	if rest := strings.TrimRight(fraction, "0"); len(rest) > digits {
		if digits == 0 {
			return 0, errors.New("amounts of this currency have no decimals")
		}
		return 0, fmt.Errorf("amounts of this currency have at most %d decimals", digits)
	}
	minor, err := strconv.ParseInt(whole+(fraction + strings.Repeat("0", digits))[:digits], 10, 64)
	if err != nil {
		return 0, errors.New("the amount is too large")
	}
	return minor, nil
}

// number says whether s is one or more ASCII digits.
func number(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Decimal writes minor units as a decimal string with exactly that many decimals: Decimal(10130, 3) is "10.130",
// Decimal(1235, 0) is "1235". Digits below 0 count as 0.
func Decimal(minor int64, digits int) string {
	if digits <= 0 {
		return strconv.FormatInt(minor, 10)
	}
	sign := ""
	magnitude := uint64(minor)
	if minor < 0 {
		sign, magnitude = "-", -magnitude
	}
	s := strconv.FormatUint(magnitude, 10)
	if missing := digits + 1 - len(s); missing > 0 {
		s = strings.Repeat("0", missing) + s
	}
	return sign + s[:len(s)-digits] + "." + s[len(s)-digits:]
}
