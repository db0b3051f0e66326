package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"duebell/internal/policy"
)

const (
	// erasureBatch is how many notifications one transaction changes, and so the most inboxes that it locks.
	erasureBatch = 300
	// erasedMark stands where a name or an address stood, in what the loan system wrote to somebody else.
	erasedMark = "[…]"
)

// rewordKeys is reword for what was told under some keys.
func (e *erasure) rewordKeys(ctx context.Context, keys []string, about bool) error {
	for chunk := range slices.Chunk(keys, tableRows) {
		q := e.db.query()
		var ids []string
		if err := q.all(ctx, &ids, `SELECT notification_id FROM notification_keys WHERE `+q.in("key"), q.list(chunk)); err != nil {
			return fmt.Errorf("look for what was told: %w", err)
		}
		if err := e.reword(ctx, ids, about); err != nil {
			return err
		}
	}
	return nil
}

// reword takes the words from notifications of others, each a change of its inbox. about says that they are about the person.
func (e *erasure) reword(ctx context.Context, ids []string, about bool) error {
	for chunk := range slices.Chunk(ids, erasureBatch) {
		var recipients []string
		q := e.db.query()
		err := q.all(ctx, &recipients, `SELECT DISTINCT recipient FROM notifications WHERE deleted_at IS NULL AND `+q.in("id"), q.list(chunk))
		if err != nil {
			return fmt.Errorf("look for inboxes: %w", err)
		}
		recipients = slices.DeleteFunc(recipients, func(r string) bool { return r == e.id })
		namesakes, err := e.namesakes(ctx, map[string][]string{"": recipients})
		if err != nil {
			return err
		}
		err = e.db.write(ctx, func(ctx context.Context, tx *Tx) error {
			tx.atEnd(recipients, func(ctx context.Context) error {
				rows, err := tx.load(ctx, tx.in("recipient")+" AND "+tx.in("id"), tx.list(recipients), tx.list(chunk))
				if err != nil {
					return err
				}
				var changed []*stored
				err = tx.update(ctx, rows, func(s *stored) bool {
					words := e.words
					if namesakes[s.recipient] {
						words = nil
					}
					if !e.edit(&s.Notification, about, words) {
						return false
					}
					changed = append(changed, s)
					return true
				})
				if err != nil {
					return err
				}
				return tx.setWords(ctx, changed)
			})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// setWords writes what notifications say.
func (tx *Tx) setWords(ctx context.Context, rows []*stored) error {
	if len(rows) == 0 {
		return nil
	}
	v, args := tx.table("v",
		col("id", "text", pluck(rows, func(s *stored) string { return s.ID })),
		col("title", "text", pluck(rows, func(s *stored) string { return s.Title })),
		col("body", "text", pluck(rows, func(s *stored) string { return s.Body })),
		col("data", "json", pluck(rows, func(s *stored) *string { return optional(string(s.Data)) })),
		col("url", "text", pluck(rows, func(s *stored) *string { return s.URL })))
	_, err := tx.exec(ctx, `
		UPDATE notifications
		SET title = v.title, body = v.body, data = v.data, url = v.url
		FROM `+v+`
		WHERE notifications.id = v.id`, args...)
	if err != nil {
		return fmt.Errorf("change the words of notifications: %w", err)
	}
	return nil
}

// edit takes the words from one notification and says whether there were any.
func (e *erasure) edit(n *Notification, about bool, words []string) bool {
	was := *n
	n.Title, n.Body = masked(n.Title, words), masked(n.Body, words)
	if n.URL != nil && masked(*n.URL, words) != *n.URL {
		n.URL = nil
	}
	data, changed := maskedData(n.Data, words)
	if about {
		if n.Kind != policy.KindSummary { // which names nobody outside of its data
			n.Body = ""
		}
		var own bool
		data, own = e.withoutOwn(n.Kind, data)
		changed = changed || own
	}
	n.Data = data
	return changed || n.Title != was.Title || n.Body != was.Body || n.URL != was.URL
}

// withoutOwn takes out of the data of our own kinds what is about the person: the reason of a status change, and the borrower of
// a summary's line about one of the person's loans.
func (e *erasure) withoutOwn(kind string, data json.RawMessage) (json.RawMessage, bool) {
	var m map[string]any
	if decode(data, &m) != nil {
		return data, false
	}
	changed := false
	if _, given := m["reason"]; given && kind == policy.KindStatusChanged {
		delete(m, "reason")
		changed = true
	}
	if items, ok := m["items"].([]any); ok && kind == policy.KindSummary {
		for _, item := range items {
			line, _ := item.(map[string]any)
			loan, _ := line["loan_id"].(string)
			if name, _ := line["borrower"].(string); name != "" && e.loans[loan] {
				line["borrower"] = ""
				changed = true
			}
		}
	}
	if !changed {
		return data, false
	}
	return json.RawMessage(encoded(m)), true
}

// masked puts erasedMark in place of words where they stand alone.
func masked(text string, words []string) string {
	for _, w := range words {
		for from := 0; ; {
			i := strings.Index(text[from:], w)
			if i < 0 {
				break
			}
			i += from
			before, _ := utf8.DecodeLastRuneInString(text[:i])
			after, _ := utf8.DecodeRuneInString(text[i+len(w):])
			if ofWord(before) || ofWord(after) {
				from = i + len(w)
				continue
			}
			text = text[:i] + erasedMark + text[i+len(w):]
			from = i + len(erasedMark)
		}
	}
	return text
}

func ofWord(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

// maskedData does the same with every string of a JSON value, keys left out. What has none of the words stays as it was
// written.
func maskedData(data json.RawMessage, words []string) (json.RawMessage, bool) {
	var value any
	if len(data) == 0 || len(words) == 0 || decode(data, &value) != nil {
		return data, false
	}
	changed := false
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			without := masked(v, words)
			changed = changed || without != v
			return without
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	value = walk(value)
	if !changed {
		return data, false
	}
	return json.RawMessage(encoded(value)), true
}

// decode keeps numbers as they are written.
func decode(data []byte, value any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(value)
}

// encoded is the JSON of strings, or of what decode made.
func encoded(value any) string {
	text, _ := json.Marshal(value) // it always encodes
	return string(text)
}
