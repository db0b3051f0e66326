package civil

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Date is a day of the proleptic Gregorian calendar, without time or zone. The zero Date is no day: it prints as "",
// is null in JSON and NULL in SQL, and comes before every other one. Dates compare with ==.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Years outside are typing errors in a loan book, and four digits are what YYYY-MM-DD has.
const (
	minYear = 1900
	maxYear = 9999
)

// Parse reads YYYY-MM-DD. It refuses other spellings, days that don't exist and years outside 1900 to 9999.
func Parse(s string) (Date, error) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return Date{}, fmt.Errorf("%.20q is not a date like 2026-03-10", s)
	}
	year, ok1 := digits(s[:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:])
	if !ok1 || !ok2 || !ok3 {
		return Date{}, fmt.Errorf("%.20q is not a date like 2026-03-10", s)
	}
	if year < minYear {
		return Date{}, fmt.Errorf("%s is before the year %d", s, minYear)
	}
	d := Date{year, time.Month(month), day}
	if month < 1 || month > 12 || day < 1 || d.addDays(0) != d {
		return Date{}, fmt.Errorf("%s is not a day of the calendar", s)
	}
	return d, nil
}

// MustParse is Parse for constants. It panics on an error.
func MustParse(s string) Date {
	d, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Of is the day that t falls on in t's own location.
func Of(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// AddDays is the day n days later, earlier for a negative n. The zero Date stays zero.
func (d Date) AddDays(n int) Date {
	if d.IsZero() {
		return d
	}
	return d.addDays(n)
}

func (d Date) addDays(n int) Date {
	if day := d.Day + n; day >= 1 && day <= 28 && d.Month >= time.January && d.Month <= time.December { // as mostly
		return Date{d.Year, d.Month, day}
	}
	return Of(time.Date(d.Year, d.Month, d.Day+n, 0, 0, 0, 0, time.UTC))
}

// Sub is the number of days from other to d: positive when d is the later one.
func (d Date) Sub(other Date) int {
	if d.Year == other.Year && d.Month == other.Month { // as mostly
		return d.Day - other.Day
	}
	return int((d.unix() - other.unix()) / secondsPerDay)
}

const secondsPerDay = 24 * 60 * 60

// unix is the day's first second in UTC.
func (d Date) unix() int64 {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix()
}

// Compare is -1, 0 or 1 as d is before, the same as or after other.
func (d Date) Compare(other Date) int {
	switch {
	case d == other:
		return 0
	case d.Year != other.Year:
		return sign(d.Year - other.Year)
	case d.Month != other.Month:
		return sign(int(d.Month - other.Month))
	default:
		return sign(d.Day - other.Day)
	}
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

// Before says whether d is an earlier day than other.
func (d Date) Before(other Date) bool { return d.Compare(other) < 0 }

// After says whether d is a later day than other.
func (d Date) After(other Date) bool { return d.Compare(other) > 0 }

// Weekday is the day of the week.
func (d Date) Weekday() time.Weekday {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Weekday()
}

// IsZero says whether d is no day.
func (d Date) IsZero() bool { return d == Date{} }

// String is YYYY-MM-DD, or "" for the zero Date.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return string(d.append(make([]byte, 0, 10)))
}

func (d Date) append(b []byte) []byte {
	if d.Year < 1000 || d.Year > maxYear {
		return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).AppendFormat(b, time.DateOnly)
	}
	b = strconv.AppendInt(b, int64(d.Year), 10)
	return append(b, '-', '0'+byte(d.Month/10), '0'+byte(d.Month%10), '-', '0'+byte(d.Day/10), '0'+byte(d.Day%10))
}

// MarshalText is String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is Parse.
func (d *Date) UnmarshalText(b []byte) error {
	parsed, err := Parse(string(b))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// MarshalJSON is "YYYY-MM-DD", or null for the zero Date.
func (d Date) MarshalJSON() ([]byte, error) {
	if d.IsZero() {
		return []byte("null"), nil
	}
	b := make([]byte, 0, 12)
	b = append(b, '"')
	b = d.append(b)
	return append(b, '"'), nil
}

// UnmarshalJSON takes a string for Parse. Null leaves d alone.
func (d *Date) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%.20s is not a date like \"2026-03-10\"", b)
	}
	return d.UnmarshalText([]byte(s))
}

// Scan reads a DATE or TEXT column: YYYY-MM-DD, with or without midnight behind it, a time.Time, or NULL, which is
// the zero Date.
func (d *Date) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d = Date{}
		return nil
	case string:
		return d.scanText(v)
	case []byte:
		return d.scanText(string(v))
	case time.Time: // a driver's picture of a DATE is its midnight, in whatever zone
		*d = Of(v)
		return nil
	default:
		return fmt.Errorf("scan a date from %T", src)
	}
}

func (d *Date) scanText(s string) error {
	if len(s) > 10 && (strings.HasPrefix(s[10:], "T00:00:00") || strings.HasPrefix(s[10:], " 00:00:00")) {
		s = s[:10]
	}
	return d.UnmarshalText([]byte(s))
}

// Value is the string YYYY-MM-DD, or NULL for the zero Date.
func (d Date) Value() (driver.Value, error) {
	if d.IsZero() {
		return nil, nil
	}
	return d.String(), nil
}

// digits reads a short number that has nothing but digits.
func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
