package ingest

import (
	"bytes"
	"encoding/json"
	"testing"
)

// decoded is what encoding/json makes of an object: its names in order, and the value of each as it was written.
func decoded(raw []byte) (names []string, texts []string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	_, _ = d.Token() // {
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil
		}
		var text json.RawMessage
		if err := d.Decode(&text); err != nil {
			return nil, nil
		}
		names, texts = append(names, name.(string)), append(texts, string(text))
	}
	return names, texts
}

// FuzzObject holds the splitter of rows against encoding/json.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":"\\","b":"\"}","\u00e9":true}`, `{ "a" : "x" , "b":null,"c":[1,{"d":"]}"}],"e":{"f":{}}}`, "{\"a\":\"\xff\xfe\",\"\xc3\":1}",
		"{\"a\"\n:\t-1.5e+7\r,\"a\":false}", `{"":"","\ud83d\ude00":"\ud800"}`, `[]`, `"{"`, `null`, `1`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // whoever calls has seen to it
		}
		var bad problems
		got := object(raw, "", &bad)
		if trimmed := bytes.TrimLeft(raw, " \t\r\n"); trimmed[0] != '{' {
			if len(got.values) != 0 || len(bad) != 1 {
				t.Fatalf("%q is no object: %v, %v", raw, got.values, bad)
			}
			return
		}
		names, texts := decoded(raw)
		if len(got.values) != len(names) {
			t.Fatalf("%q: %d fields, want %d", raw, len(got.values), len(names))
		}
		for i, v := range got.values {
			if v.name != names[i] || v.text != texts[i] {
				t.Fatalf("%q: field %d is %q: %q, want %q: %q", raw, i, v.name, v.text, names[i], texts[i])
			}
			if v.text[0] == '"' {
				var want string
				if err := json.Unmarshal([]byte(v.text), &want); err != nil || unquoted(v.text) != want {
					t.Fatalf("%s is %q, want %q (%v)", v.text, unquoted(v.text), want, err)
				}
			}
		}
	})
}

func BenchmarkObject(b *testing.B) {
	row := []byte(`{"loan_id":"L-1029384","number":17,"due_date":"2027-03-15","amount_due":"1250.00","amount_paid":"0.00","outstanding":"1250.00"}`)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var bad problems
			if f := object(row, "", &bad); len(f.values) != 6 {
				b.Fatal(f.values)
			}
		}
	})
	b.Run("json.Decoder", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if names, _ := decoded(row); len(names) != 6 {
				b.Fatal(names)
			}
		}
	})
}
