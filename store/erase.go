package store

import (
	"context"
	"errors"
	"fmt"
)

// EraseUser forgets a person: name, address, preferences and everything in the inbox go, reminders stop, and tokens that
// were issued so far are refused. Decisions stay, as the proof of what was sent; they hold the id only. ErrNotFound if
// the id isn't known at all.
func (db *DB) EraseUser(ctx context.Context, id string) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, `
			UPDATE users
			SET name = '', email = NULL, time_zone = 'UTC', locale = 'en',
				erased_at = COALESCE(erased_at, ?), changed = changed + 1, updated_at = ?
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
		if inboxes > 0 {
			tx.atEnd([]string{id}, func(ctx context.Context) error { return tx.erase(ctx, id) })
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	db.follow(ctx, []string{id})
	return nil
}
