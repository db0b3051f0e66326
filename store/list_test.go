package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"duebell/internal/testenv"
)

func TestList(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		ctx := t.Context()
		// ann has 1 to 9: 2 and 3 read, 3 and 4 archived, 5 resolved, 6 deleted; odd ones are of another kind.
		var drafts []Draft
		for i := 1; i <= 9; i++ {
			d := draft("ann", fmt.Sprint(i))
			if d.Kind = "even"; i%2 == 1 {
				d.Kind = "odd"
			}
			drafts = append(drafts, d, draft("bob", "his"))
		}
		ns, err := db.insert(ctx, drafts...)
		if err != nil {
			t.Fatal(err)
		}
		id := func(i int) string { return ns[2*(i-1)].ID }
		_, read := db.MarkRead(ctx, "ann", []string{id(2), id(3)}, true)
		_, archived3 := db.Archive(ctx, "ann", id(3), true)
		_, archived4 := db.Archive(ctx, "ann", id(4), true)
		_, deleted := db.Delete(ctx, "ann", id(6))
		resolved := db.resolve(ctx, []string{"ann"}, []string{id(5)}, true)
		if err := errors.Join(read, archived3, archived4, deleted, resolved); err != nil {
			t.Fatal(err)
		}

		titles := func(l List) string {
			var b strings.Builder
			for _, n := range l.Items {
				b.WriteString(n.Title)
			}
			return b.String()
		}
		for _, c := range []struct {
			query ListQuery
			want  string
		}{
			{ListQuery{}, "987521"},
			{ListQuery{Status: StatusAll, Kinds: []string{"odd"}}, "9751"},
			{ListQuery{Kinds: []string{"even", "odd", "even"}}, "987521"},
			{ListQuery{Kinds: []string{"none"}}, ""},
			{ListQuery{Status: StatusUnread}, "9871"},
			{ListQuery{Status: StatusUnread, Kinds: []string{"even"}}, "8"},
			{ListQuery{Status: StatusArchived}, "43"},
		} {
			for _, limit := range []int{0, 1, 2, 4, 1000} {
				// By cursor.
				query := c.query
				query.Recipient, query.Limit = "ann", limit
				got, pages := "", 0
				for {
					list, err := db.List(ctx, query)
					if err != nil {
						t.Fatalf("%+v: %v", query, err)
					}
					if list.Total != int64(len(c.want)) || list.Counts != (Counts{Rev: 14, Unread: 4, Unseen: 6, Total: 6}) {
						t.Errorf("%+v: total %d, counts %+v", query, list.Total, list.Counts)
					}
					got += titles(list)
					if pages++; list.NextCursor == "" || pages > 10 {
						break
					}
					query.Cursor = list.NextCursor
				}
				if got != c.want {
					t.Errorf("%+v by cursor = %q, want %q", query, got, c.want)
				}
				// By page.
				query.Cursor, got = "", ""
				for query.Page = 1; query.Page <= pages+1; query.Page++ {
					list, err := db.List(ctx, query)
					if err != nil {
						t.Fatalf("%+v: %v", query, err)
					}
					got += titles(list)
				}
				if got != c.want {
					t.Errorf("%+v by page = %q, want %q", query, got, c.want)
				}
			}
		}

		t.Run("CursorsAreOfOneList", func(t *testing.T) {
			first, err := db.List(ctx, ListQuery{Recipient: "ann", Limit: 2})
			if err != nil {
				t.Fatal(err)
			}
			cursor := first.NextCursor
			for _, query := range []ListQuery{
				{Recipient: "bob", Cursor: cursor},
				{Recipient: "ann", Cursor: cursor, Status: StatusUnread},
				{Recipient: "ann", Cursor: cursor, Kinds: []string{"odd"}},
				{Recipient: "ann", Cursor: "garbage"},
				{Recipient: "ann", Cursor: "!"},
				{Recipient: "ann", Cursor: cursor + "AA"},
				{Recipient: "ann", Cursor: "_" + cursor[1:]}, // a negative rev
			} {
				if list, err := db.List(ctx, query); !errors.Is(err, ErrCursor) {
					t.Errorf("%+v: %d items, %v, want ErrCursor", query, len(list.Items), err)
				}
			}
		})

		// What happens meanwhile moves no item to another page.
		t.Run("CursorStaysWhereItIs", func(t *testing.T) {
			query := ListQuery{Recipient: "bob", Limit: 4}
			first, err := db.List(ctx, query)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.insert(ctx, draft("bob", "new")); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Delete(ctx, "bob", first.Items[0].ID); err != nil {
				t.Fatal(err)
			}
			query.Cursor = first.NextCursor
			second, err := db.List(ctx, query)
			if err != nil {
				t.Fatal(err)
			}
			var revs []int64
			for _, n := range second.Items {
				revs = append(revs, n.CreatedRev)
			}
			if !slices.Equal(revs, []int64{5, 4, 3, 2}) {
				t.Errorf("second page = %v, want created revs 5 to 2", revs)
			}
		})

		t.Run("WrongRequestsNameTheirField", func(t *testing.T) {
			for field, query := range map[string]ListQuery{
				"status": {Recipient: "ann", Status: "new"},
				"page":   {Recipient: "ann", Page: 101},
			} {
				_, err := db.List(ctx, query)
				if wrong, ok := errors.AsType[*FieldError](err); !ok || wrong.Field != field {
					t.Errorf("%+v: %v, want an error of %s", query, err, field)
				}
			}
		})

		t.Run("SomebodyWithoutAnInboxHasAnEmptyList", func(t *testing.T) {
			list, err := db.List(ctx, ListQuery{Recipient: "nobody"})
			if err != nil || len(list.Items) != 0 || list.Total != 0 || list.NextCursor != "" {
				t.Errorf("list = %+v, %v", list, err)
			}
		})
	})
}
