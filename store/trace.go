package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Trace is what the database knows of one notification's way. Its id is the trace id, and so is that of the status change or the
// request that it tells.
type Trace struct {
	NotificationID string `json:"notification_id"`
	Recipient      string `json:"recipient"`
	Kind           string `json:"kind"`
	Rev            int64  `json:"rev"`    // with which it came into the inbox
	Source         string `json:"source"` // like "status change c1" or "reminder of loan L1 due 2026-03-10"
	// Of what is told: when it arrived in the outbox, when it was claimed for the queue last, and when the transaction began that wrote
	// the notification; nil where it isn't known. EnqueuedAt is real time, the others are of the installation's clock.
	ArrivedAt  *time.Time `json:"arrived_at"`
	EnqueuedAt *time.Time `json:"enqueued_at"`
	HandledAt  *time.Time `json:"handled_at"`
	ReadAt     *time.Time `json:"read_at"`
}

// keyedSources are the tables of the outbox.
var keyedSources = []struct{ source, table, name string }{
	{keyedStatus, "status_changes", "status change"},
	{keyedRequest, "notification_requests", "request"},
}

// MaxTraces is of how many recipients of one status change or request the ways are read, one by one: a request may have thousands.
const MaxTraces = 100

// Traces reads the ways of a notification, or of those that tell a status change or a request: of the first 100 recipients by their
// ids, and more says that there are others. ErrNotFound if there is none.
func (db *DB) Traces(ctx context.Context, id string) (traces []Trace, more bool, err error) {
	err = db.read(ctx, func(q queryer) error {
		ids := []string{id}
		for _, source := range keyedSources {
			// A range of the primary key: what follows ':' is ';'.
			var told []string
			first := keyOf(source.source, id, "")
			err := q.all(ctx, &told, `SELECT notification_id FROM notification_keys WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`,
				first, strings.TrimSuffix(first, ":")+";", MaxTraces+1)
			if err != nil {
				return err
			}
			more = more || len(told) > MaxTraces
			ids = append(ids, told[:min(len(told), MaxTraces)]...)
		}
		for _, id := range ids {
			t, err := q.trace(ctx, id)
			switch {
			case errors.Is(err, ErrNotFound): // or it was pruned
			case err != nil:
				return err
			default:
				traces = append(traces, t)
			}
		}
		if len(traces) == 0 {
			return ErrNotFound
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("trace: %w", err)
	}
	return traces, more, nil
}

func (q queryer) trace(ctx context.Context, id string) (Trace, error) {
	t := Trace{NotificationID: id}
	found := false
	err := q.each(ctx, func(row scanner) error {
		var created, read instant
		found = true
		err := row.Scan(&t.Recipient, &t.Kind, &t.Rev, &created, &read)
		t.HandledAt, t.ReadAt = created.pointer(), read.pointer()
		return err
	}, `SELECT recipient, kind, created_rev, created_at, read_at FROM notifications WHERE id = ? AND deleted_at IS NULL`, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return t, err
	}
	about, key, err := q.aboutNotification(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return t, err
	}
	if about.LoanID != "" {
		t.Source = fmt.Sprintf("reminder of loan %s due %s", about.LoanID, about.DueDate)
	}
	for _, source := range keyedSources {
		told, ok := keyedBy(key, source.source, t.Recipient)
		if !ok {
			continue
		}
		t.Source = source.name + " " + told
		err := q.each(ctx, func(row scanner) error {
			var arrived, enqueued instant
			err := row.Scan(&arrived, &enqueued)
			t.ArrivedAt, t.EnqueuedAt = arrived.pointer(), enqueued.pointer()
			return err
		}, `SELECT created_at, enqueued_at FROM `+source.table+` WHERE id = ?`, told)
		if err != nil {
			return t, err
		}
	}
	return t, nil
}
