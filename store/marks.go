package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// ImportMark is how far an import is that its sender has given an id: what came of its first lines is committed.
type ImportMark struct {
	Resource, ID       string
	Run                string // an ImportOptions.Run, the same each time; "" if an older program began it
	Attempt            int64  // of whoever goes on with it: those before may not any more
	Lines              int
	Sum                string // of those lines, for the caller to know them again
	Accepted, Rejected int
	Errors             string // a JSON array; "" leaves what is stored
	Complete           bool   // the end was seen
}

// keepMarks is how long an import is known after its last change.
const keepMarks = 30 * 24 * time.Hour

// BeginImport answers how far an import is, from the beginning if it isn't known, and makes the caller the one who goes on with
// it. It waits for a transaction of whoever did so before.
func (db *DB) BeginImport(ctx context.Context, resource, id string) (ImportMark, error) {
	var mark ImportMark
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.exec(ctx, `DELETE FROM imports WHERE updated_at < ?`, tx.now.Add(-keepMarks)); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `
			INSERT INTO imports (resource, id, run, attempt, updated_at) VALUES (?, ?, ?, 0, ?)
			ON CONFLICT (resource, id) DO NOTHING`, resource, id, rand.Text(), tx.now)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `UPDATE imports SET attempt = attempt + 1, updated_at = ? WHERE resource = ? AND id = ?`, tx.now, resource, id)
		if err != nil {
			return err
		}
		mark, err = tx.importMark(ctx, resource, id)
		return err
	})
	if err != nil {
		return ImportMark{}, fmt.Errorf("begin import: %w", err)
	}
	return mark, nil
}

// GetImport answers how far an import is; ErrNotFound if it isn't known, or not any more.
func (db *DB) GetImport(ctx context.Context, resource, id string) (ImportMark, error) {
	mark, err := db.query().importMark(ctx, resource, id)
	if err != nil {
		return ImportMark{}, fmt.Errorf("read import: %w", err)
	}
	return mark, nil
}

// MarkImport stores how far an import is, by itself. ErrSuperseded if it is in other hands.
func (db *DB) MarkImport(ctx context.Context, mark ImportMark) error {
	err := db.write(ctx, func(ctx context.Context, tx *Tx) error { return tx.markImport(ctx, mark) })
	if err != nil {
		return fmt.Errorf("mark import: %w", err)
	}
	return nil
}

func (q queryer) importMark(ctx context.Context, resource, id string) (ImportMark, error) {
	mark := ImportMark{Resource: resource, ID: id}
	found := false
	err := q.each(ctx, func(row scanner) error {
		found = true
		return row.Scan(&mark.Run, &mark.Attempt, &mark.Lines, &mark.Sum, &mark.Accepted, &mark.Rejected, &mark.Errors, &mark.Complete)
	}, `
		SELECT COALESCE(run, ''), attempt, lines, sum, accepted, rejected, errors, complete
		FROM imports
		WHERE resource = ? AND id = ?`, resource, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	return mark, err
}

// markImport comes last in a transaction, before its inboxes: whoever takes the import over waits for its end, and if that came
// first, nothing of this transaction stays.
func (tx *Tx) markImport(ctx context.Context, mark ImportMark) error {
	n, err := tx.exec(ctx, `
		UPDATE imports
		SET lines = ?, sum = ?, accepted = ?, rejected = ?, errors = COALESCE(?, errors), complete = ?, updated_at = ?
		WHERE resource = ? AND id = ? AND attempt = ?`, mark.Lines, mark.Sum, mark.Accepted, mark.Rejected, optional(mark.Errors),
		mark.Complete, tx.now, mark.Resource, mark.ID, mark.Attempt)
	if err == nil && n == 0 {
		err = ErrSuperseded
	}
	return err
}
