package civil

import (
	"encoding/json"
	"fmt"
)

// TimeOfDay is a time on the wall clock, in minutes since midnight: 0 to 1439.
type TimeOfDay int

// MinutesPerDay is the first number of minutes that is no TimeOfDay.
const MinutesPerDay = 24 * 60

// ParseTimeOfDay reads HH:MM from 00:00 to 23:59, always two digits each.
func ParseTimeOfDay(s string) (TimeOfDay, error) {
	if len(s) != 5 || s[2] != ':' {
		return 0, fmt.Errorf("%.20q is not a time of day like 09:00", s)
	}
	hour, ok1 := digits(s[:2])
	minute, ok2 := digits(s[3:])
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, fmt.Errorf("%.20q is not a time of day from 00:00 to 23:59", s)
	}
	return TimeOfDay(hour*60 + minute), nil
}

// Hour is 0 to 23.
func (t TimeOfDay) Hour() int { return int(t) / 60 }

// Minute is 0 to 59.
func (t TimeOfDay) Minute() int { return int(t) % 60 }

// String is HH:MM.
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", t.Hour(), t.Minute()) }

// MarshalText is String.
func (t TimeOfDay) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseTimeOfDay.
func (t *TimeOfDay) UnmarshalText(b []byte) error {
	parsed, err := ParseTimeOfDay(string(b))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

// MarshalJSON is "HH:MM".
func (t TimeOfDay) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON takes a string for ParseTimeOfDay. Null leaves t alone.
func (t *TimeOfDay) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%.20s is not a time of day like \"09:00\"", b)
	}
	return t.UnmarshalText([]byte(s))
}
