package store

import (
	"context"
	"fmt"
)

// What a person does to their own inbox. Each call answers the counters after it; one that changes nothing takes no
// rev and makes no Change.

// MarkRead marks notifications as read, or as unread, with one rev for all of them. Ids that aren't the recipient's are
// passed over; if none is, the answer is ErrNotFound.
func (db *DB) MarkRead(ctx context.Context, recipient string, ids []string, read bool) (Counts, error) {
	counts, err := db.inInbox(ctx, recipient, func(ctx context.Context, tx *Tx, ib *inbox) error {
		return tx.updateOwn(ctx, ib, ids, func(s *stored) bool { return setTime(&s.ReadAt, read, tx.now) })
	})
	if err != nil {
		return Counts{}, fmt.Errorf("mark notifications read: %w", err)
	}
	return counts, nil
}

// Archive takes a notification out of the list, or puts it back.
func (db *DB) Archive(ctx context.Context, recipient, id string, archived bool) (Counts, error) {
	counts, err := db.inInbox(ctx, recipient, func(ctx context.Context, tx *Tx, ib *inbox) error {
		return tx.updateOwn(ctx, ib, []string{id}, func(s *stored) bool { return setTime(&s.ArchivedAt, archived, tx.now) })
	})
	if err != nil {
		return Counts{}, fmt.Errorf("archive notification: %w", err)
	}
	return counts, nil
}

// Delete removes a notification. A tombstone without its words stays, so that clients hear of it.
func (db *DB) Delete(ctx context.Context, recipient, id string) (Counts, error) {
	counts, err := db.inInbox(ctx, recipient, func(ctx context.Context, tx *Tx, ib *inbox) error {
		err := tx.updateOwn(ctx, ib, []string{id}, func(s *stored) bool { return setTime(&s.deletedAt, true, tx.now) })
		if err != nil {
			return err
		}
		return tx.unsay(ctx, []string{id})
	})
	if err != nil {
		return Counts{}, fmt.Errorf("delete notification: %w", err)
	}
	return counts, nil
}

// ReadAll marks everything as read that was created up to the rev upTo, archived and resolved ones too; nil means
// everything there is. All of it gets one rev.
func (db *DB) ReadAll(ctx context.Context, recipient string, upTo *int64) (Counts, error) {
	counts, err := db.inInbox(ctx, recipient, func(ctx context.Context, tx *Tx, ib *inbox) error {
		through := ib.upTo(upTo)
		// Counted under the lock, so the UPDATE below finds the same rows.
		var found struct {
			Rows   int64 `db:"changing"`
			Unread int64 `db:"unread"`
		}
		err := tx.get(ctx, &found, `
			SELECT count(*) AS changing,
				count(CASE WHEN archived_at IS NULL AND resolved_at IS NULL THEN 1 END) AS unread
			FROM notifications
			WHERE recipient = ? AND created_rev <= ? AND read_at IS NULL AND deleted_at IS NULL`, recipient, through)
		if err != nil || found.Rows == 0 {
			return err
		}
		_, err = tx.exec(ctx, `
			UPDATE notifications
			SET read_at = ?, rev = ?
			WHERE recipient = ? AND created_rev <= ? AND read_at IS NULL AND deleted_at IS NULL`,
			tx.now, ib.next(), recipient, through)
		ib.unread -= found.Unread
		ib.readThrough = through
		return err
	})
	if err != nil {
		return Counts{}, fmt.Errorf("mark all read: %w", err)
	}
	return counts, nil
}

// Seen says that the list was looked at: what was created up to the rev upTo (nil: everything) is no longer unseen.
func (db *DB) Seen(ctx context.Context, recipient string, upTo *int64) (Counts, error) {
	counts, err := db.inInbox(ctx, recipient, func(ctx context.Context, tx *Tx, ib *inbox) error {
		through := ib.upTo(upTo)
		if through <= ib.seenRev {
			return nil
		}
		var found struct {
			Rows   int64 `db:"passed"`
			Unseen int64 `db:"unseen"`
		}
		err := tx.get(ctx, &found, `
			SELECT count(*) AS passed, count(CASE WHEN archived_at IS NULL THEN 1 END) AS unseen
			FROM notifications
			WHERE recipient = ? AND created_rev > ? AND created_rev <= ? AND deleted_at IS NULL`,
			recipient, ib.seenRev, through)
		if err != nil || found.Rows == 0 {
			return err
		}
		ib.seenRev, ib.dirty = through, true
		if found.Unseen > 0 { // archived ones alone change no counter, so they take no rev
			ib.unseen -= found.Unseen
			ib.next()
		}
		return nil
	})
	if err != nil {
		return Counts{}, fmt.Errorf("mark seen: %w", err)
	}
	return counts, nil
}

// upTo is the rev that a caller means, never above the present one.
func (ib *inbox) upTo(rev *int64) int64 {
	if rev == nil {
		return ib.rev
	}
	return min(*rev, ib.rev)
}

// inInbox runs change on the locked inbox of one recipient and answers its counters after it.
func (db *DB) inInbox(ctx context.Context, recipient string, change func(ctx context.Context, tx *Tx, ib *inbox) error) (Counts, error) {
	var counts Counts
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		tx.atEnd([]string{recipient}, func(ctx context.Context) error {
			ib, err := tx.inbox(recipient)
			if err != nil {
				return err
			}
			err = change(ctx, tx, ib)
			counts = ib.counts()
			return err
		})
		return nil
	})
	return counts, err
}

// updateOwn edits those of ids that are the inbox's; ErrNotFound if there are ids and none is.
func (tx *Tx) updateOwn(ctx context.Context, ib *inbox, ids []string, edit func(*stored) bool) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.load(ctx, `recipient = ? AND `+tx.in("id"), ib.recipient, tx.list(ids))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return ErrNotFound
	}
	return tx.update(ctx, rows, edit)
}
