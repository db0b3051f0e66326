package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
)

// Restored begins another epoch, after a database was restored to an older moment: whoever has seen more of the life that
// was lost than this database knows is told to start over, also where the revs of both lives are the same. It answers the epoch.
func (db *DB) Restored(ctx context.Context) (epoch string, err error) {
	epoch = newEpoch()
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, `
			INSERT INTO meta (key, value) VALUES ('epoch', ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, epoch)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("begin an epoch: %w", err)
	}
	return epoch, nil
}

func newEpoch() string { return strings.ToLower(rand.Text()[:8]) }
