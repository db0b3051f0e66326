package store

import (
	"fmt"
	"slices"
	"testing"

	"duebell/internal/testenv"
)

func TestChanges(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)

		t.Run("PresentStateOnceBehindTheCursor", func(t *testing.T) {
			ctx := t.Context()
			ns, err := db.insert(ctx, draft("ann", "1"), draft("bob", "1"), draft("ann", "2"), draft("ann", "3"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.MarkRead(ctx, "ann", []string{ns[0].ID}, true); err != nil { // rev 4
				t.Fatal(err)
			}
			if _, err := db.Delete(ctx, "ann", ns[2].ID); err != nil { // rev 5
				t.Fatal(err)
			}
			epoch, heads, err := db.Heads(ctx, []string{"ann"})
			if err != nil {
				t.Fatal(err)
			}
			page, err := db.Changes(ctx, "ann", 0, "", 10)
			if err != nil {
				t.Fatal(err)
			}
			if page.Epoch != epoch || page.Head != heads[0] || page.More || page.LastRev != 5 || page.LastID != ns[2].ID {
				t.Errorf("page = %+v, want the head %+v of epoch %q", page, heads[0], epoch)
			}
			if len(page.Items) != 2 || page.Items[0].Title != "3" || page.Items[1].Title != "1" || page.Items[1].ReadAt == nil {
				t.Errorf("items = %+v, want 3 and the read 1", page.Items)
			}
			if !slices.Equal(page.Removed, []string{ns[2].ID}) {
				t.Errorf("removed = %v, want %v", page.Removed, ns[2].ID)
			}
			page, err = db.Changes(ctx, "ann", 4, "", 10)
			if err != nil || len(page.Items) != 0 || len(page.Removed) != 1 {
				t.Errorf("behind 4: %+v, %v, want the deleted one only", page, err)
			}
			page, err = db.Changes(ctx, "ann", 5, "", 10)
			if err != nil || len(page.Items)+len(page.Removed) != 0 || page.More || page.Rev != 5 {
				t.Errorf("behind 5: %+v, %v, want nothing", page, err)
			}
		})

		t.Run("PagesCutInsideARev", func(t *testing.T) {
			ctx := t.Context()
			var drafts []Draft
			for i := range 25 {
				drafts = append(drafts, draft("cat", fmt.Sprint(i)))
			}
			if _, err := db.insert(ctx, drafts...); err != nil {
				t.Fatal(err)
			}
			if _, err := db.ReadAll(ctx, "cat", nil); err != nil { // all 25 get rev 26
				t.Fatal(err)
			}
			seen := make(map[string]bool)
			page := Page{LastRev: 25}
			for pages := 1; ; pages++ {
				var err error
				page, err = db.Changes(ctx, "cat", page.LastRev, page.LastID, 10)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range page.Items {
					seen[n.ID] = true
				}
				if page.More != (pages < 3) || page.LastRev != 26 {
					t.Fatalf("page %d: more %v, last rev %d", pages, page.More, page.LastRev)
				}
				if !page.More {
					break
				}
			}
			if len(seen) != 25 {
				t.Errorf("%d notifications came, want each of 25 once", len(seen))
			}
		})

		t.Run("SomebodyWithoutAnInbox", func(t *testing.T) {
			page, err := db.Changes(t.Context(), "nobody", 0, "", 10)
			if err != nil || page.Rev != 0 || page.More || len(page.Epoch) != 8 || page.Recipient != "nobody" {
				t.Errorf("page = %+v, %v, want zeros", page, err)
			}
			_, heads, err := db.Heads(t.Context(), []string{"nobody", "cat", "nobody"})
			if err != nil || len(heads) != 3 || heads[0].Rev != 0 || heads[1].Rev != 26 || heads[2].Recipient != "nobody" {
				t.Errorf("heads = %+v, %v", heads, err)
			}
		})

		t.Run("ChangedRowsCountsUpToOneMoreThanAsked", func(t *testing.T) {
			for _, c := range []struct {
				after     int64
				max, want int
			}{{0, 100, 25}, {25, 10, 11}, {25, 24, 25}, {26, 10, 0}} {
				if got, err := db.ChangedRows(t.Context(), "cat", c.after, c.max); err != nil || got != c.want {
					t.Errorf("ChangedRows(%d, %d) = %d, %v, want %d", c.after, c.max, got, err, c.want)
				}
			}
		})

		t.Run("ErasedInboxStartsOver", func(t *testing.T) {
			db, log := openMigrated(t, url)
			err := db.erase(t.Context(), "cat")
			if err != nil {
				t.Fatal(err)
			}
			changes := log.take()
			if len(changes) != 1 || !changes[0].Reset || changes[0].From != 26 || changes[0].Counts != (Counts{Rev: 27}) {
				t.Errorf("changes = %+v, want a reset at 27", changes)
			}
			page, err := db.Changes(t.Context(), "cat", 3, "", 10)
			if err != nil || page.FloorRev != 27 || len(page.Items) != 0 {
				t.Errorf("page = %+v, %v, want floor 27 and nothing", page, err)
			}
			ns, err := db.insert(t.Context(), draft("cat", "again"))
			if err != nil || ns[0].Rev != 28 {
				t.Errorf("inserted %+v, %v, want rev 28", ns, err)
			}
			assertCounters(t, db, "cat")
		})
	})
}
