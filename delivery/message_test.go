package delivery

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"duebell/store"
)

// fixture is a message of testdata, which the TypeScript client reads too.
func fixture(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "\n")
}

func TestMessagesToClientsAreAsInTheFixtures(t *testing.T) {
	instant := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	pointer := func(at time.Time) *time.Time { return &at }
	url := "/loans/L1"
	created := store.Notification{ID: "06f3n8zq2m1k9v7x5c4b3a2w1e", Kind: "repayment.upcoming", Title: "250.00 EUR due on 11 March",
		Body: "Your instalment of 250.00 EUR is due in 3 days.", Data: []byte(`{"loan_id": "L1", "days": 3}`), URL: &url,
		CreatedAt: instant("2026-03-08T09:00:00Z"), CreatedRev: 43, Rev: 43}
	updated := created
	updated.Data, updated.URL, updated.Quiet, updated.Rev = nil, nil, true, 44
	updated.ReadAt, updated.ResolvedAt = pointer(instant("2026-03-08T10:30:00.123456Z")), pointer(instant("2026-03-09T07:00:00Z"))
	status := store.Notification{ID: "06f3n8zq2m1k9v7x5c4b3a2w1f", Kind: "application.status_changed", Title: "Your application was approved",
		Data: []byte(`{"application_id":"A1","to":"approved"}`), CreatedAt: instant("2026-03-10T06:15:00Z"), CreatedRev: 48, Rev: 49}
	counts := func(rev, unread, unseen, total int64) store.Counts {
		return store.Counts{Rev: rev, Unread: unread, Unseen: unseen, Total: total}
	}
	for name, f := range map[string]frame{
		"hello":                helloFrame("u1", "k3", counts(42, 3, 1, 120), 25),
		"changes_items":        changesFrame(42, 43, counts(43, 4, 2, 121), []store.Notification{created}, nil, 0),
		"changes_updated":      changesFrame(43, 44, counts(44, 3, 2, 121), []store.Notification{updated}, nil, 0),
		"changes_removed":      changesFrame(44, 45, counts(45, 3, 2, 120), nil, []string{created.ID}, 0),
		"changes_read_through": changesFrame(45, 46, counts(46, 0, 2, 120), nil, nil, 45),
		"changes_counts":       changesFrame(46, 47, counts(47, 0, 0, 120), nil, nil, 0),
		"changes_partial":      changesFrame(47, 47, counts(49, 2, 1, 121), []store.Notification{status}, nil, 0),
		"reset":                resetFrame("k3", counts(9000, 7, 7, 8123)),
		"ok":                   okFrame("7"),
		"error":                errorFrame("7", codeNotFound, "no such notification"),
		"goaway":               goawayFrame(1830),
	} {
		if got, want := string(f.text()), fixture(t, name); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		rest := bytes.NewReader(f)
		header, err := ws.ReadHeader(rest)
		if err != nil || !header.Fin || header.OpCode != ws.OpText || header.Masked || int(header.Length) != rest.Len() || rest.Len() != len(f.text()) {
			t.Errorf("%s isn't one whole text frame: %v %v", name, header, err)
		}
	}
}

func TestFrameTextOfEveryLength(t *testing.T) {
	for _, length := range []int{20, 124, 125, 126, 127, 65535, 65536, 70000} {
		text := `"` + strings.Repeat("x", length-2) + `"`
		f := encode(json.RawMessage(text))
		if string(f.text()) != text || !f.valid() {
			t.Errorf("%d bytes: the text of the frame is another", length)
		}
	}
}

func TestDecodeRequest(t *testing.T) {
	rev := int64(44)
	for name, want := range map[string]request{
		"read":     {kind: requestRead, ids: []string{"06f3n8zq2m1k9v7x5c4b3a2w1e"}, ref: "7"},
		"read_all": {kind: requestReadAll, upTo: &rev, ref: "8"},
		"seen":     {kind: requestSeen},
		"auth":     {kind: requestAuth, token: "eyJhbGciOiJIUzI1NiJ9.e30.signature", ref: "9"},
		"ping":     {kind: requestPing},
	} {
		got, err := decodeRequest([]byte(fixture(t, name)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if wrong := got.check(); wrong != "" {
			t.Errorf("%s: %s", name, wrong)
		}
	}
}

func TestDecodeRequestIsStrict(t *testing.T) {
	for _, text := range []string{
		``, ` `, `null`, `7`, `"ping"`, `[]`, `{`, `{"type":"ping"`, `{"type":"ping"}{}`, `{"type":"ping"} x`,
		`{}`, `{"type":null}`, `{"type":7}`, `{"type":""}`, `{"type":"unknown"}`, `{"type":"hello"}`, `{"TYPE":"ping"}`,
		`{"type":"ping","ref":7}`, `{"type":"ping","ref":null}`, `{"type":"ping","more":1}`, `{"type":"ping","token":"t"}`,
		`{"type":"ping","ref":"` + strings.Repeat("x", maxRef+1) + `"}`,
		`{"type":"read"}`, `{"type":"read","ids":null}`, `{"type":"read","ids":"a"}`, `{"type":"read","ids":[1]}`, `{"type":"read","IDs":["a"]}`,
		`{"type":"read_all","up_to_rev":"44"}`, `{"type":"read_all","up_to_rev":1.5}`, `{"type":"read_all","up_to_rev":1e30}`, `{"type":"read_all","up_to_rev":null}`,
		`{"type":"seen","ids":["a"]}`,
		`{"type":"auth"}`, `{"type":"auth","token":7}`,
	} {
		if r, err := decodeRequest([]byte(text)); err == nil {
			t.Errorf("%s was taken for %+v", text, r)
		} else if len(err.Error()) > 110 {
			t.Errorf("%s: the reason doesn't fit into a close frame: %v", text, err)
		}
	}
}

func TestRequestValuesAreChecked(t *testing.T) {
	negative := int64(-1)
	for _, r := range []request{
		{kind: requestRead},
		{kind: requestRead, ids: make([]string, maxIDs+1)},
		{kind: requestRead, ids: []string{strings.Repeat("x", maxID+1)}},
		{kind: requestReadAll, upTo: &negative},
		{kind: requestSeen, upTo: &negative},
	} {
		if r.check() == "" {
			t.Errorf("%+v passes", r)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{`{"type":"read","ids":["a"],"ref":"7"}`, `{"type":"read_all","up_to_rev":44}`, `{"type":"auth","token":"t"}`, `{}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeRequest(text)
		if err == nil && (r.kind == "" || len(r.ref) > maxRef) {
			t.Errorf("%q was taken for %+v", text, r)
		}
	})
}

func TestBatchComesOutAsItWentIn(t *testing.T) {
	in := []change{
		{recipient: "u1", from: 0, rev: 1, frame: okFrame("a")},
		{recipient: "Ünï", from: 1 << 40, rev: 1<<40 + 300, frame: errorFrame("", "c", strings.Repeat("x", 70000))},
		{recipient: strings.Repeat("r", 300), from: 5, rev: 6},
	}
	payload := appendBatchHead(nil, "k3", 1764033600000000)
	for i := range in {
		payload = appendChange(payload, &in[i])
	}
	batch := readBatch(string(payload))
	if batch.epoch != "k3" || batch.sentAt != 1764033600000000 {
		t.Errorf("head: %q %d", batch.epoch, batch.sentAt)
	}
	var got change
	for i := range in {
		want := in[i]
		want.epoch = "k3"
		if !batch.next(&got) || !reflect.DeepEqual(got, want) {
			t.Errorf("change %d differs: %v", i, batch.err)
		}
	}
	if batch.next(&got) || batch.err != nil {
		t.Errorf("more comes: %v", batch.err)
	}
	for cut := 1; cut < 60; cut++ { // never more than was whole, never a panic
		batch := readBatch(string(payload[:cut]))
		n := 0
		for batch.next(&got) {
			n++
		}
		if n > 1 || n == 1 && cut < 30 {
			t.Errorf("%d changes in %d bytes", n, cut)
		}
	}
}

func TestMessageComesOutAsItWentIn(t *testing.T) {
	in := []struct {
		shard int
		batch string
	}{{0, "a"}, {63, strings.Repeat("b", 300)}, {7, ""}}
	var payload []byte
	for _, b := range in {
		payload = appendBatch(payload, b.shard, []byte(b.batch))
	}
	m := readMessage(string(payload))
	for i, want := range in {
		if !m.next() || m.shard != want.shard || m.batch != want.batch {
			t.Errorf("batch %d: shard %d %q: %v", i, m.shard, m.batch, m.fields.err)
		}
	}
	if m.next() || m.fields.err != nil {
		t.Errorf("more comes: %v", m.fields.err)
	}
	for cut := range len(payload) {
		n := 0
		for m := readMessage(string(payload[:cut])); m.next(); n++ {
		}
		if n > 2 || n == 2 && cut < 300 {
			t.Errorf("%d batches in %d bytes", n, cut)
		}
	}
	for _, payload := range []string{"", "\x02\x00\x00", "\x01\x40\x00", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00"} { // no, or a foreign version; no such shard
		if m := readMessage(payload); m.next() || m.fields.err == nil {
			t.Errorf("%q was taken", payload)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	batch := appendChange(appendBatchHead(nil, "k3", 1), &change{recipient: "u1", from: 1, rev: 2, frame: okFrame("a")})
	f.Add(string(appendBatch(appendBatch(nil, 3, batch), 63, nil)))
	f.Add("\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, payload string) {
		m := readMessage(payload)
		size := 0
		for m.next() {
			if m.shard < 0 || m.shard >= shards {
				t.Fatalf("shard %d", m.shard)
			}
			size += len(m.batch)
		}
		if size > len(payload) {
			t.Fatalf("%d bytes out of %d", size, len(payload))
		}
	})
}

func FuzzReadBatch(f *testing.F) {
	payload := appendChange(appendBatchHead(nil, "k3", 1), &change{recipient: "u1", from: 1, rev: 2, frame: okFrame("a")})
	f.Add(string(payload))
	f.Add("\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, payload string) {
		batch := readBatch(payload)
		var c change
		for batch.next(&c) {
			if len(c.frame) > 0 {
				_ = c.frame.text()
			}
			if c.from < 0 || c.rev < c.from {
				t.Fatalf("from %d to %d", c.from, c.rev)
			}
		}
	})
}
