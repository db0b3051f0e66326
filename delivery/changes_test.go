package delivery

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"duebell/store"
)

// TestChangesAreAsTheStoreHasThem compares with what encoding/json makes of the same: whoever adds a field to a notification must add it to
// the frame.
func TestChangesAreAsTheStoreHasThem(t *testing.T) {
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "microseconds")).UTC()
	})
	notification := rapid.Custom(func(t *rapid.T) store.Notification {
		n := store.Notification{ID: rapid.String().Draw(t, "id"), Kind: rapid.String().Draw(t, "kind"), Title: rapid.String().Draw(t, "title"),
			Body: rapid.String().Draw(t, "body"), URL: rapid.Ptr(rapid.String(), true).Draw(t, "url"), CreatedAt: instant.Draw(t, "created_at"),
			ReadAt: rapid.Ptr(instant, true).Draw(t, "read_at"), ArchivedAt: rapid.Ptr(instant, true).Draw(t, "archived_at"),
			ResolvedAt: rapid.Ptr(instant, true).Draw(t, "resolved_at"), Quiet: rapid.Bool().Draw(t, "quiet"),
			CreatedRev: rapid.Int64().Draw(t, "created_rev"), Rev: rapid.Int64().Draw(t, "rev")}
		if rapid.Bool().Draw(t, "has data") {
			var err error
			if n.Data, err = json.MarshalIndent(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "data"), "", " "); err != nil {
				t.Fatal(err)
			}
		}
		return n
	})
	rapid.Check(t, func(t *rapid.T) {
		counts := store.Counts{Unread: rapid.Int64().Draw(t, "unread"), Unseen: rapid.Int64().Draw(t, "unseen"), Total: rapid.Int64().Draw(t, "total")}
		from, rev, through := rapid.Int64().Draw(t, "from"), rapid.Int64().Draw(t, "rev"), rapid.Int64Range(0, 3).Draw(t, "read_through")
		items, removed := rapid.SliceOfN(notification, 0, 3).Draw(t, "items"), rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "removed")
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		err := e.Encode(struct {
			Type        string               `json:"type"`
			From        int64                `json:"from"`
			Rev         int64                `json:"rev"`
			Unread      int64                `json:"unread"`
			Unseen      int64                `json:"unseen"`
			Total       int64                `json:"total"`
			Items       []store.Notification `json:"items,omitempty"`
			Removed     []string             `json:"removed,omitempty"`
			ReadThrough int64                `json:"read_through,omitempty"`
		}{"changes", from, rev, counts.Unread, counts.Unseen, counts.Total, items, removed, through})
		if err != nil {
			t.Fatal(err)
		}
		f := changesFrame(from, rev, counts, items, removed, through)
		if got, want := string(f.text()), strings.TrimSuffix(want.String(), "\n"); got != want || !f.valid() {
			t.Fatalf("the frame is\n%s, want\n%s", got, want)
		}
	})
}
