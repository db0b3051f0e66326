package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Revoke refuses the tokens of a user that were issued before at, an instant of the real clock. An earlier at than a
// former one changes nothing.
func (db *DB) Revoke(ctx context.Context, userID string, at time.Time) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error { return tx.revoke(ctx, userID, at) })
	if err != nil {
		return fmt.Errorf("revoke tokens: %w", err)
	}
	return nil
}

func (tx *Tx) revoke(ctx context.Context, userID string, at time.Time) error {
	_, err := tx.exec(ctx, `
		INSERT INTO revocations (user_id, not_before) VALUES (?, ?)
		ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before
		WHERE excluded.not_before > revocations.not_before`, userID, at.UTC())
	return err
}

// NotBefore is the instant before which tokens of a user were revoked; zero if none were.
func (db *DB) NotBefore(ctx context.Context, userID string) (time.Time, error) {
	var notBefore instant
	err := db.query().get(ctx, &notBefore, `SELECT not_before FROM revocations WHERE user_id = ?`, userID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return time.Time{}, fmt.Errorf("read revocation: %w", err)
	}
	return notBefore.Time, nil
}
