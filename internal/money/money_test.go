package money

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/bojanz/currency"
	"pgregory.net/rapid"
)

func TestISODigits(t *testing.T) {
	for code, want := range map[string]int{"EUR": 2, "JPY": 0, "KWD": 3, "UGX": 0, "VND": 0, "IQD": 3, "CLF": 4, "HUF": 2} {
		if got, ok := ISODigits(code); !ok || got != want {
			t.Errorf("ISODigits(%s) = %d, %v; want %d", code, got, ok, want)
		}
	}
	for _, code := range []string{"", "eur", "EURO", "XXZ", "DEM", "EU", " EUR"} {
		if _, ok := ISODigits(code); ok {
			t.Errorf("%q is a currency", code)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text   string
		digits int
		want   int64
	}{
		{"0", 2, 0}, {"0.00", 2, 0}, {"0.01", 2, 1}, {"60", 2, 6000}, {"60.0", 2, 6000}, {"60.00", 2, 6000}, {"59.99", 2, 5999},
		{"60.000000", 2, 6000}, {"1235", 0, 1235}, {"1235.000", 0, 1235}, {"10.13", 3, 10130}, {"10.130", 3, 10130},
		{"007.5", 2, 750}, {"999999999999999.999", 3, 999999999999999999}, {"9223372036854.775807", 6, math.MaxInt64},
	} {
		if got, err := Parse(c.text, c.digits); err != nil || got != c.want {
			t.Errorf("Parse(%q, %d) = %d, %v; want %d", c.text, c.digits, got, err, c.want)
		}
	}
	for _, c := range []struct {
		text   string
		digits int
		says   string
	}{
		{"", 2, "not an amount"}, {".", 2, "not an amount"}, {".5", 2, "not an amount"}, {"5.", 2, "not an amount"},
		{"-1", 2, "not an amount"}, {"+1", 2, "not an amount"}, {"1e3", 2, "not an amount"}, {"1,5", 2, "not an amount"},
		{" 1", 2, "not an amount"}, {"1 ", 2, "not an amount"}, {"1_000", 2, "not an amount"}, {"0x10", 2, "not an amount"},
		{"1.2.3", 2, "not an amount"}, {"NaN", 2, "not an amount"}, {"Infinity", 2, "not an amount"}, {"١٢", 2, "not an amount"},
		{"1.001", 2, "at most 2 decimals"}, {"1.5", 0, "no decimals"}, {"0.0000001", 6, "at most 6 decimals"},
		{"1000000000000000", 2, "at most 15 digits"}, {strings.Repeat("0", 16), 2, "at most 15 digits"},
		{"9223372036854.775808", 6, "too large"}, {"999999999999999.9999", 4, "too large"},
		{"1", -1, "number of decimals"}, {"1", 7, "number of decimals"},
	} {
		got, err := Parse(c.text, c.digits)
		if err == nil {
			t.Errorf("Parse(%q, %d) = %d, want an error", c.text, c.digits, got)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("Parse(%q, %d): %v; want %q", c.text, c.digits, err, c.says)
		}
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		minor  int64
		digits int
		want   string
	}{
		{10130, 3, "10.130"}, {1235, 0, "1235"}, {1, 2, "0.01"}, {0, 2, "0.00"}, {0, 0, "0"}, {6000, 2, "60.00"}, {-5, 2, "-0.05"},
		{-12345, 2, "-123.45"}, {math.MaxInt64, 2, "92233720368547758.07"}, {math.MinInt64, 2, "-92233720368547758.08"},
		{math.MinInt64, 0, "-9223372036854775808"}, {123500, 2, "1235.00"},
	} {
		if got := Decimal(c.minor, c.digits); got != c.want {
			t.Errorf("Decimal(%d, %d) = %q, want %q", c.minor, c.digits, got, c.want)
		}
	}
}

func TestDecimalIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.Int64().Draw(t, "minor")
		digits := rapid.IntRange(0, MaxDigits).Draw(t, "digits")
		text := Decimal(minor, digits)
		value, ok := new(big.Rat).SetString(text)
		want := new(big.Rat).SetFrac(big.NewInt(minor), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil))
		if !ok || value.Cmp(want) != 0 {
			t.Fatalf("Decimal(%d, %d) = %s", minor, digits, text)
		}
		_, fraction, _ := strings.Cut(text, ".")
		if len(fraction) != digits {
			t.Fatalf("%s has %d decimals, want %d", text, len(fraction), digits)
		}
		whole, _, _ := strings.Cut(text, ".")
		if minor < 0 || len(whole) > 15 {
			return
		}
		if back, err := Parse(text, digits); err != nil || back != minor {
			t.Fatalf("%s came back as %d, %v; was %d", text, back, err, minor)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "0", "10.130", "1e3", "-1", "999999999999999.999999", "1..2"} {
		f.Add(seed, 2)
	}
	f.Fuzz(func(t *testing.T, text string, digits int) {
		minor, err := Parse(text, digits)
		if err != nil {
			return
		}
		value, ok := new(big.Rat).SetString(text)
		if back, _ := new(big.Rat).SetString(Decimal(minor, digits)); !ok || minor < 0 || value.Cmp(back) != 0 {
			t.Fatalf("Parse(%q, %d) = %d", text, digits, minor)
		}
	})
}

// spaces are made visible: nb is the no-break space of CLDR, and direction marks are left out.
func visible(s string) string {
	return strings.NewReplacer("\u00a0", "_", "\u202f", "_", "\u200f", "", "\u200e", "", "\u061c", "").Replace(s)
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		minor          int64
		digits         int
		currency, lang string
		want           string
	}{
		{6000, 2, "EUR", "en", "€60.00"},
		{1, 2, "EUR", "en", "€0.01"},
		{123456789, 2, "USD", "en", "$1,234,567.89"},
		{123456789, 2, "USD", "cs", "1_234_567,89_US$"},
		{123456, 2, "CZK", "cs-CZ", "1_234,56_Kč"},
		{123456, 2, "EUR", "es", "1234,56_€"},
		{123456, 2, "MXN", "es-MX", "$1,234.56"},
		{12345678, 2, "INR", "hi", "₹1,23,456.78"},
		{12345678, 2, "INR", "en-IN", "₹1,23,456.78"},
		{1235, 0, "JPY", "en", "¥1,235"},
		{1235, 0, "JPY", "ja-JP", "￥1,235"},
		{10130, 3, "KWD", "en", "KWD_10.130"},
		{10130, 3, "KWD", "ar-KW", "١٠٫١٣٠_د.ك."},
		{123500, 2, "UGX", "en-UG", "USh_1,235.00"}, // ISO 4217 says 0 digits, the loan says 2
		{123500, 2, "VND", "vi", "1.235,00_₫"},
		{1235, 0, "EUR", "en", "€1,235"}, // whole amounts only
		{-500, 2, "USD", "en", "-$5.00"},
		{0, 2, "USD", "en", "$0.00"},
		{1, 6, "USD", "en", "$0.000001"},
		{0, 6, "USD", "en", "$0.000000"},
		{math.MaxInt64, 2, "USD", "en", "$92,233,720,368,547,758.07"},
		{6000, 2, "EUR", "", "€60.00"},
		{6000, 2, "EUR", "tlh", "€60.00"},
		{6000, 2, "EUR", "en-u-nu-arab", "€60.00"},
		{6000, 2, "EUR", "de_DE", "60,00_€"},
		{6000, 2, "EUR", "de-1996", "60,00_€"},
		{6000, 2, "EUR", "zh-Hant-HK", "€60.00"},
		{6000, 2, "XXZ", "en", "60.00 XXZ"},
		{6000, 2, "", "en", "60.00"},
	} {
		if got := visible(Format(c.minor, c.digits, c.currency, c.lang)); got != c.want {
			t.Errorf("Format(%d, %d, %s, %s) = %q, want %q", c.minor, c.digits, c.currency, c.lang, got, c.want)
		}
	}
}

// TestFormatHasTheDigitsOfTheLoan takes out of the text all that isn't a digit: what stays is the amount, for every
// locale and any number of decimals.
func TestFormatHasTheDigitsOfTheLoan(t *testing.T) {
	locales := []string{"en", "en-GB", "cs", "es", "es-MX", "ar", "ar-EG", "hi", "de-CH", "fa", "bn", "my", "fr", "pt-BR", "x", "-", "sr-Latn-RS"}
	currencies := []string{"EUR", "USD", "JPY", "KWD", "UGX", "VND", "INR", "CZK", "CLF", "XOF"}
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.Int64Range(0, 999999999999999).Draw(t, "minor")
		digits := rapid.IntRange(0, MaxDigits).Draw(t, "digits")
		text := Format(minor, digits, rapid.SampledFrom(currencies).Draw(t, "currency"), rapid.SampledFrom(locales).Draw(t, "locale"))
		var shown strings.Builder
		for _, r := range text {
			for _, zero := range []rune{'0', '٠', '۰', '०', '০', '၀'} {
				if r >= zero && r <= zero+9 {
					shown.WriteByte(byte('0' + r - zero))
				}
			}
		}
		if want := strings.Replace(Decimal(minor, digits), ".", "", 1); shown.String() != want {
			t.Fatalf("%q shows the digits %s, want %s", text, shown.String(), want)
		}
	})
}

// TestFormatIsThatOfTheCurrencyPackage compares texts made of a shape with those of the package itself.
func TestFormatIsThatOfTheCurrencyPackage(t *testing.T) {
	locales := []string{"en", "cs", "es", "es-MX", "ar", "ar-EG", "hi", "en-IN", "de-CH", "fa", "bn", "my", "pt-PT", "nl", "x"}
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.Int64().Draw(t, "minor")
		digits := rapid.IntRange(0, MaxDigits).Draw(t, "digits")
		code := rapid.SampledFrom(currency.GetCurrencyCodes()).Draw(t, "currency")
		locale := rapid.SampledFrom(locales).Draw(t, "locale")
		if got, want := Format(minor, digits, code, locale), formatted(Decimal(minor, digits), digits, code, locale); got != want {
			t.Fatalf("Format(%d, %d, %s, %s) = %q, want %q", minor, digits, code, locale, got, want)
		}
	})
}

func FuzzFormatLocale(f *testing.F) {
	for _, seed := range []string{"", "en", "zh-Hant-TW", "root", "und", "-", "a-b-c", "\xff-\xff\xff\xff\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, locale string) {
		if text := Format(123456, 2, "EUR", locale); len(text) < 6 || len(text) > 60 {
			t.Fatalf("locale %q: %q", locale, text)
		}
	})
}

func BenchmarkFormat(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Format(1234567, 2, "EUR", "cs-CZ")
	}
}
