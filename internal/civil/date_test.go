package civil

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func dates() *rapid.Generator[Date] {
	return rapid.Custom(func(t *rapid.T) Date {
		return Date{1900, 1, 1}.AddDays(rapid.IntRange(0, 2958463).Draw(t, "day"))
	})
}

func TestParse(t *testing.T) {
	for _, text := range []string{"1900-01-01", "2024-02-29", "2000-02-29", "2026-12-31", "9999-12-31"} {
		d, err := Parse(text)
		if err != nil || d.String() != text {
			t.Errorf("Parse(%q) = %v, %v", text, d, err)
		}
	}
	for _, text := range []string{
		"", "2026", "2026-3-10", "26-03-10", "2026-03-1", "2026/03/10", "2026-03-10 ", " 2026-03-10", "2026-03-10T00:00:00Z",
		"2026-02-29", "1900-02-29", "2100-02-29", "2026-04-31", "2026-00-10", "2026-13-01", "2026-01-00", "2026-01-32",
		"1899-12-31", "0000-00-00", "0000-01-01", "-026-01-01", "+026-01-01", "2026-+1-01", "２026-01-01", "2026-01-0x",
	} {
		if d, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, d)
		}
	}
}

func TestDateArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := dates().Draw(t, "date")
		n := rapid.IntRange(-100000, 100000).Draw(t, "days")
		later := d.AddDays(n)
		if got := later.Sub(d); got != n {
			t.Fatalf("%v + %d days is %v, %d days away", d, n, later, got)
		}
		if want := (int(d.Weekday()) + n%7 + 7) % 7; int(later.Weekday()) != want {
			t.Fatalf("%v + %d days is a %v", d, n, later.Weekday())
		}
		if got, want := later.Compare(d), compareInt(n, 0); got != want {
			t.Fatalf("Compare(%v, %v) = %d, want %d", later, d, got, want)
		}
		if later.After(d) != (n > 0) || later.Before(d) != (n < 0) || (later == d) != (n == 0) {
			t.Fatalf("%v and %v are ordered wrongly", later, d)
		}
	})
}

func compareInt(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestDateSurvivesEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := dates().Draw(t, "date")
		var viaJSON, viaSQL, viaDriver, viaParse Date
		text, err := json.Marshal(d)
		if err == nil {
			err = json.Unmarshal(text, &viaJSON)
		}
		if err != nil || viaJSON != d {
			t.Fatalf("%v came back from %s as %v, %v", d, text, viaJSON, err)
		}
		value, err := d.Value()
		if err == nil {
			err = viaSQL.Scan(value)
		}
		if err != nil || viaSQL != d {
			t.Fatalf("%v came back from %v as %v, %v", d, value, viaSQL, err)
		}
		if err := viaDriver.Scan(time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)); err != nil || viaDriver != d {
			t.Fatalf("%v came back from a time as %v, %v", d, viaDriver, err)
		}
		if viaParse, err = Parse(d.String()); err != nil || viaParse != d {
			t.Fatalf("%v came back from its text as %v, %v", d, viaParse, err)
		}
	})
}

func TestScan(t *testing.T) {
	want := MustParse("2026-03-10")
	prague, err := LoadZone("Europe/Prague")
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []any{
		"2026-03-10", []byte("2026-03-10"), "2026-03-10T00:00:00Z", "2026-03-10 00:00:00+00:00",
		time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 10, 0, 0, 0, 0, prague),
	} {
		var d Date
		if err := d.Scan(src); err != nil || d != want {
			t.Errorf("Scan(%v) = %v, %v", src, d, err)
		}
	}
	for _, src := range []any{"", "2026-03-10T09:00:00Z", "2026-02-30", 20260310, 1.5} {
		if err := new(Date).Scan(src); err == nil {
			t.Errorf("Scan(%v) is no error", src)
		}
	}
}

func TestZeroDate(t *testing.T) {
	var zero Date
	text, err := json.Marshal(struct{ D Date }{zero})
	if err != nil || string(text) != `{"D":null}` {
		t.Errorf("JSON of the zero date: %s, %v", text, err)
	}
	if v, err := zero.Value(); v != nil || err != nil {
		t.Errorf("Value of the zero date: %v, %v", v, err)
	}
	d := MustParse("2026-03-10")
	if err := d.Scan(nil); err != nil || !d.IsZero() {
		t.Errorf("NULL is %v, %v", d, err)
	}
	if zero.String() != "" || !zero.AddDays(3).IsZero() || !zero.Before(MustParse("1900-01-01")) {
		t.Errorf("the zero date is %q, %v", zero.String(), zero.AddDays(3))
	}
	d = MustParse("2026-03-10")
	if err := json.Unmarshal([]byte("null"), &d); err != nil || d.IsZero() {
		t.Errorf("null changed the date to %v, %v", d, err)
	}
	for _, bad := range []string{`""`, `20260310`, `"2026-02-30"`, `{}`} {
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("JSON %s is no error", bad)
		}
	}
}

func TestTimeOfDay(t *testing.T) {
	for text, want := range map[string]TimeOfDay{"00:00": 0, "09:00": 540, "23:59": 1439} {
		tod, err := ParseTimeOfDay(text)
		if err != nil || tod != want || tod.String() != text {
			t.Errorf("ParseTimeOfDay(%q) = %v, %v", text, tod, err)
		}
		var back TimeOfDay
		encoded, err := json.Marshal(tod)
		if err == nil {
			err = json.Unmarshal(encoded, &back)
		}
		if err != nil || back != tod {
			t.Errorf("%v came back from %s as %v, %v", tod, encoded, back, err)
		}
	}
	for _, text := range []string{"", "9:00", "09:0", "24:00", "09:60", "0900", "09:00:00", "-9:00", "09:-1", " 9:00", "09.00"} {
		if tod, err := ParseTimeOfDay(text); err == nil {
			t.Errorf("ParseTimeOfDay(%q) = %v, want an error", text, tod)
		}
	}
	var tod TimeOfDay
	for _, bad := range []string{`540`, `"9:00"`, `""`} {
		if err := json.Unmarshal([]byte(bad), &tod); err == nil {
			t.Errorf("JSON %s is no error", bad)
		}
	}
}
