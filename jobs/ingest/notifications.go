package ingest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"duebell/store"
)

// Message is the stored body of a request to tell somebody something.
type Message struct {
	UserIDs []string        `json:"user_ids"`
	Kind    string          `json:"kind"`
	Title   string          `json:"title"`
	Body    string          `json:"body"`
	Data    json.RawMessage `json:"data,omitempty"`
	URL     string          `json:"url,omitempty"`
}

// message reads anything that the loan system wants to say.
func message(f *fields) (id string, m Message) {
	id = f.id("id")
	if strings.HasPrefix(id, ownPrefix) {
		f.wrong("id", "begins with %s, which is kept for Duebell's own", ownPrefix)
	}
	one, many := f.find("user_id") != nil, f.find("user_ids") != nil
	switch {
	case one && many:
		f.wrong("user_ids", "can't stand beside user_id: give one of them")
		f.take("user_id")
		f.take("user_ids")
	case many:
		m.UserIDs = f.words("user_ids", maxUsers, checkID)
		if len(m.UserIDs) == 0 && len(*f.bad) == 0 {
			f.wrong("user_ids", "names nobody")
		}
	case one:
		m.UserIDs = []string{f.id("user_id")}
	default:
		f.wrong("user_id", "is missing: give user_id or user_ids")
	}
	m.Kind = f.checked("kind", true, checkKind)
	m.Title = f.line("title", true, maxTitle)
	m.Body = f.block("body", true, maxBodyText)
	m.URL = f.checked("url", false, checkURL)
	m.Data = data(f)
	return id, m
}

// data is a JSON object that comes back to clients as it is, only without spaces.
func data(f *fields) json.RawMessage {
	text, given := f.take("data")
	if !given {
		return nil
	}
	raw := []byte(text)
	var compact bytes.Buffer
	switch {
	case !isObject(raw):
		f.wrong("data", "must be an object, not %s", kindOf(raw))
	case len(raw) > maxData:
		f.wrong("data", "is longer than %d bytes", maxData)
	case bytes.Contains(raw, []byte(`\u0000`)):
		f.wrong("data", "has control characters")
	case json.Compact(&compact, raw) == nil:
		return compact.Bytes()
	}
	return nil
}

type notificationAnswer struct {
	ID      string   `json:"id"`
	UserIDs []string `json:"user_ids"`
	Kind    string   `json:"kind"`
}

func (a *api) postNotification(w http.ResponseWriter, r *http.Request) error {
	var bad problems
	f, err := a.row(r, &bad)
	if err != nil {
		return err
	}
	id, m := message(f)
	f.done()
	if err := bad.refuse(); err != nil {
		return err
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	added, err := a.requests.Do(r.Context(), store.Request{ID: id, Body: body, BodyHash: requestHash(m)})
	if err != nil {
		return err
	}
	if added.Created {
		a.Claimed(store.Claim{Kind: store.ClaimRequest, Key: id})
	}
	return write(w, created(added.Created), notificationAnswer{id, m.UserIDs, m.Kind})
}

// requestHash ignores the order of keys in data.
func requestHash(m Message) string {
	var sorted map[string]any
	if m.Data != nil {
		d := json.NewDecoder(bytes.NewReader(m.Data))
		d.UseNumber()
		_ = d.Decode(&sorted) // it is a valid object
	}
	m.Data = nil
	return hash(struct {
		Message
		Data map[string]any
	}{m, sorted})
}
