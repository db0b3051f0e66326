package delivery

import (
	"strconv"
	"sync"
	"time"

	"duebell/delivery/socket"
	"duebell/internal/jsontext"
	"duebell/store"
)

// changesFrame reaches rev, which may lie below c.Rev while a session catches up: counts are always the newest known. There is one for
// every notification, so it is written by hand; its fields are those of docs/asyncapi.yaml.
func changesFrame(from, rev int64, c store.Counts, items []store.Notification, removed []string, readThrough int64) frame {
	buffer := changesBuffers.Get().(*[]byte)
	defer changesBuffers.Put(buffer)
	b := append((*buffer)[:0], `{"type":"changes","from":`...)
	b = strconv.AppendInt(b, from, 10)
	b = strconv.AppendInt(append(b, `,"rev":`...), rev, 10)
	b = strconv.AppendInt(append(b, `,"unread":`...), c.Unread, 10)
	b = strconv.AppendInt(append(b, `,"unseen":`...), c.Unseen, 10)
	b = strconv.AppendInt(append(b, `,"total":`...), c.Total, 10)
	if len(items) > 0 {
		b = append(b, `,"items":[`...)
		for i := range items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendNotification(b, &items[i])
		}
		b = append(b, ']')
	}
	if len(removed) > 0 {
		b = append(b, `,"removed":[`...)
		for i, id := range removed {
			if i > 0 {
				b = append(b, ',')
			}
			b = jsontext.AppendString(b, id)
		}
		b = append(b, ']')
	}
	if readThrough != 0 {
		b = strconv.AppendInt(append(b, `,"read_through":`...), readThrough, 10)
	}
	b = append(b, '}')
	if cap(b) <= maxKeptChanges {
		*buffer = b
	}
	return socket.AppendText(nil, b)
}

// maxKeptChanges is how large a buffer may be that is kept for the next frame: few have more than one notification.
const maxKeptChanges = 16 << 10

var changesBuffers = sync.Pool{New: func() any { return new([]byte) }}

// appendNotification appends what encoding/json makes of n. The store keeps no data that isn't JSON.
func appendNotification(b []byte, n *store.Notification) []byte {
	b = jsontext.AppendString(append(b, `{"id":`...), n.ID)
	b = jsontext.AppendString(append(b, `,"kind":`...), n.Kind)
	b = jsontext.AppendString(append(b, `,"title":`...), n.Title)
	b = jsontext.AppendString(append(b, `,"body":`...), n.Body)
	b = append(b, `,"data":`...)
	if n.Data == nil {
		b = append(b, "null"...)
	} else {
		b = jsontext.AppendCompact(b, n.Data)
	}
	b = append(b, `,"url":`...)
	if n.URL == nil {
		b = append(b, "null"...)
	} else {
		b = jsontext.AppendString(b, *n.URL)
	}
	b = appendInstant(append(b, `,"created_at":`...), &n.CreatedAt)
	b = appendInstant(append(b, `,"read_at":`...), n.ReadAt)
	b = appendInstant(append(b, `,"archived_at":`...), n.ArchivedAt)
	b = appendInstant(append(b, `,"resolved_at":`...), n.ResolvedAt)
	b = strconv.AppendBool(append(b, `,"quiet":`...), n.Quiet)
	b = strconv.AppendInt(append(b, `,"created_rev":`...), n.CreatedRev, 10)
	b = strconv.AppendInt(append(b, `,"rev":`...), n.Rev, 10)
	return append(b, '}')
}

func appendInstant(b []byte, at *time.Time) []byte {
	if at == nil {
		return append(b, "null"...)
	}
	return append(at.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
