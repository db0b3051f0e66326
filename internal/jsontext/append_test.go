package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// encoded is what encoding/json makes of v.
func encoded(t interface{ Fatal(...any) }, v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestAppendStringIsThatOfEncodingJSON(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x3100) {
		all.WriteRune(r)
	}
	for _, s := range []string{"", "Ana", `a "b" \ c`, "<a href='x'>&</a>", "\u2028 \u2029 \ufffd", "\xff", "a\xe2\x80", "\xed\xa0\x80", "\U0001f600", all.String()} {
		if got, want := string(AppendString([]byte("x"), s)), "x"+encoded(t, s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "s"))
		if rapid.Bool().Draw(t, "is UTF-8") {
			s = rapid.String().Draw(t, "text")
		}
		if got, want := string(AppendString(nil, s)), encoded(t, s); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func TestAppendCompactIsThatOfEncodingJSON(t *testing.T) {
	for _, text := range []string{`{}`, "\t[ 1 ,\r\n2.5e3, true ]  ", `{"a b" : " c  d ", "e\" f\\" : [ null , "\\" , "\" \\\" " ] }`} {
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := AppendCompact([]byte("x"), []byte(text)); string(got) != "x"+want.String() {
			t.Errorf("%s: %s, want %s", text, got[1:], want.String())
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.String())).Draw(t, "value")
		indented, err := json.MarshalIndent(value, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, indented); err != nil {
			t.Fatal(err)
		}
		if got := AppendCompact(nil, indented); string(got) != want.String() {
			t.Fatalf("%s, want %s", got, want.String())
		}
	})
}
