package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The values of ListQuery.Status.
const (
	StatusAll      = "all" // everything but archived ones
	StatusUnread   = "unread"
	StatusArchived = "archived"
)

// ListQuery asks for a piece of a person's list, newest first.
type ListQuery struct {
	Recipient string
	Status    string   // "" is StatusAll
	Kinds     []string // empty: every kind
	Limit     int      // 1 to 100; 0 is 20, more is 100
	Cursor    string   // NextCursor of the page before; wins over Page
	Page      int      // 1 to 100, by counting rows; 0 is 1
}

// List is a page of a person's list and the inbox's counters, all of one snapshot.
type List struct {
	Items      []Notification
	NextCursor string // "" on the last page
	Total      int64  // of the filter; Counts.Total is the inbox's own
	Counts
}

const (
	defaultLimit = 20
	maxLimit     = 100
	maxPage      = 100 // a deeper one would read all that lies before it; cursors go anywhere
)

// List reads a page. A cursor that isn't one, or comes from another filter or person, is ErrCursor; a wrong status or
// page is a *FieldError.
func (db *DB) List(ctx context.Context, query ListQuery) (List, error) {
	if query.Status == "" {
		query.Status = StatusAll
	}
	if query.Limit <= 0 {
		query.Limit = defaultLimit
	}
	query.Limit = min(query.Limit, maxLimit)
	if query.Page < 0 || query.Page > maxPage {
		return List{}, &FieldError{"page", fmt.Sprintf("must be 1 to %d; use the cursor to go further", maxPage)}
	}
	var condition string
	switch query.Status {
	case StatusAll:
		condition = `archived_at IS NULL`
	case StatusUnread:
		condition = `archived_at IS NULL AND read_at IS NULL AND resolved_at IS NULL`
	case StatusArchived:
		condition = `archived_at IS NOT NULL`
	default:
		return List{}, &FieldError{"status", "must be all, unread or archived"}
	}
	query.Kinds = slices.Compact(slices.Sorted(slices.Values(query.Kinds)))
	before, err := query.position()
	if err != nil {
		return List{}, err
	}
	offset := 0
	if query.Cursor == "" && query.Page > 1 {
		offset = (query.Page - 1) * query.Limit
	}
	var list List
	err = db.read(ctx, func(q queryer) error {
		list = List{}
		err := q.get(ctx, &list.Counts, `SELECT rev, unread, unseen, total FROM inboxes WHERE recipient = ?`, query.Recipient)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		text, args := q.listQuery(notificationColumns, condition, query)
		err = q.each(ctx, func(row scanner) error {
			var n Notification
			err := scanNotification(row, &n)
			list.Items = append(list.Items, n)
			return err
		}, text+listPosition, append(args, before, query.Limit+1, offset)...)
		if err != nil {
			return err
		}
		list.Total, err = q.listTotal(ctx, condition, query, list.Counts)
		return err
	})
	if err != nil {
		return List{}, fmt.Errorf("list notifications: %w", err)
	}
	if len(list.Items) > query.Limit {
		list.Items = list.Items[:query.Limit]
		list.NextCursor = query.cursor(list.Items[query.Limit-1].CreatedRev)
	}
	return list, nil
}

// listQuery selects what the filter lets through. With ORDER BY created_rev DESC it walks the index
// notifications_created backwards and stops at the limit.
func (q queryer) listQuery(columns, condition string, query ListQuery) (string, []any) {
	text := `SELECT ` + columns + ` FROM notifications WHERE recipient = ? AND deleted_at IS NULL AND ` + condition
	args := []any{query.Recipient}
	if len(query.Kinds) > 0 {
		text += ` AND ` + q.in("kind")
		args = append(args, q.list(query.Kinds))
	}
	return text, args
}

const listPosition = ` AND created_rev < ? ORDER BY created_rev DESC LIMIT ? OFFSET ?`

// listTotal counts only where the inbox's counters don't know.
func (q queryer) listTotal(ctx context.Context, condition string, query ListQuery, counts Counts) (int64, error) {
	if len(query.Kinds) == 0 {
		switch query.Status {
		case StatusAll:
			return counts.Total, nil
		case StatusUnread:
			return counts.Unread, nil
		}
	}
	var total int64
	text, args := q.listQuery(`count(*)`, condition, query)
	return total, q.get(ctx, &total, text, args...)
}

// A cursor is the created_rev of the last item shown and a mark of the filter, 16 bytes. It holds no secret and opens
// nothing: whoever makes one up only moves in their own list.
func (query ListQuery) cursor(createdRev int64) string {
	mark := query.mark()
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint64(nil, uint64(createdRev)), mark...))
}

// position is the created_rev that the page must stay below.
func (query ListQuery) position() (int64, error) {
	const everything = 1<<63 - 1
	if query.Cursor == "" {
		return everything, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(query.Cursor)
	if err != nil || len(raw) != 16 || string(raw[8:]) != string(query.mark()) {
		return 0, ErrCursor
	}
	rev := int64(binary.BigEndian.Uint64(raw))
	if rev < 0 {
		return 0, ErrCursor
	}
	return rev, nil
}

func (query ListQuery) mark() []byte {
	sum := sha256.Sum256([]byte(query.Recipient + "\x00" + query.Status + "\x00" + strings.Join(query.Kinds, "\x00")))
	return sum[:8]
}
