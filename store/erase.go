package store

import (
	"context"
	"errors"
	"fmt"
)

// EraseUser forgets a person: name, address, preferences and everything in the inbox go, reminders stop, tokens that were
// issued so far are refused, and so goes what was said about the person elsewhere, see erasure. Decisions stay, as the proof
// of what was sent; they hold the id only. ErrNotFound if the id isn't known at all.
//
// The person is gone with the first transaction. What others were told is changed after it, in short ones. An error means
// that some of it may be left: the same call again goes on with it.
func (db *DB) EraseUser(ctx context.Context, id string) error {
	err := db.forget(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil {
		db.follow(ctx, []string{id})
		err = db.eraseElsewhere(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	return nil
}

// forget erases what is the person's own. Name and address stay in the row, which nobody reads any more, until what others
// have was looked through for them.
func (db *DB) forget(ctx context.Context, id string) error {
	return db.write(ctx, func(ctx context.Context, tx *Tx) error {
		// Whoever is about to name the person to others holds a share of this row and is waited for.
		n, err := tx.exec(ctx, `
			UPDATE users
			SET time_zone = 'UTC', locale = 'en', erased_at = COALESCE(erased_at, ?), changed = changed + 1, updated_at = ?
			WHERE id = ?`, tx.now, tx.now, id)
		if err != nil {
			return err
		}
		gone, err := tx.exec(ctx, `DELETE FROM preferences WHERE user_id = ?`, id)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM summary_items WHERE recipient = ?`, id); err != nil {
			return err
		}
		var inboxes int
		if err := tx.get(ctx, &inboxes, `SELECT count(*) FROM inboxes WHERE recipient = ?`, id); err != nil {
			return err
		}
		if n == 0 && gone == 0 && inboxes == 0 {
			return ErrNotFound
		}
		if err := tx.revoke(ctx, id, wallNow()); err != nil {
			return err
		}
		if n == 0 && inboxes == 0 {
			return nil
		}
		tx.atEnd([]string{id}, func(ctx context.Context) error {
			ib, err := tx.inbox(id)
			if err != nil || ib.fresh { // nothing was ever told; a run that is about to finds that there is an inbox now
				return err
			}
			return tx.erase(ctx, id)
		})
		return nil
	})
}
