package store

import (
	"context"
	"fmt"
	"slices"
)

// follow brings the reminders of people after a change of theirs. What it doesn't manage is left for RederiveStale, so
// the change itself, which is committed, stands.
func (db *DB) follow(ctx context.Context, userIDs []string) {
	if len(userIDs) == 0 {
		return
	}
	if err := db.derivePeople(ctx, userIDs); err != nil {
		db.log.WarnContext(ctx, "reminders don't follow a change of their recipients yet", "people", len(userIDs), "error", err)
	}
}

// loansATime is how many loans one transaction derives in the background: it holds their locks.
const loansATime = 200

// derivePeople derives every loan that these people are told about.
func (db *DB) derivePeople(ctx context.Context, userIDs []string) error {
	// What they are up to is read before their loans are: a change that comes in between is derived again.
	var ids []string
	var changed []int64
	err := db.query().each(ctx, func(row scanner) error {
		var id string
		var n int64
		err := row.Scan(&id, &n)
		ids, changed = append(ids, id), append(changed, n)
		return err
	}, `SELECT id, changed FROM users WHERE derived < changed AND `+db.query().in("id"), db.query().list(userIDs))
	if err != nil || len(ids) == 0 {
		return err
	}
	var loans []string
	err = db.query().all(ctx, &loans, `
		SELECT id FROM loans WHERE status = 'active' AND `+db.query().in("borrower_id")+`
		UNION
		SELECT l.id
		FROM loan_parties AS p JOIN loans AS l ON l.id = p.loan_id
		WHERE l.status = 'active' AND `+db.query().in("p.user_id")+`
		ORDER BY 1`, db.query().list(ids), db.query().list(ids))
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(loans, loansATime) {
		err := db.write(ctx, func(ctx context.Context, tx *Tx) error {
			b, err := db.lockLoans(ctx, tx, chunk)
			if err != nil {
				return err
			}
			for _, l := range b.loans {
				l.all = true
			}
			return db.derive(ctx, tx, b)
		})
		if err != nil {
			return err
		}
	}
	return db.write(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.lockRows(ctx, "users", ids); err != nil {
			return err
		}
		for start := 0; start < len(ids); start += tableRows {
			end := min(start+tableRows, len(ids))
			v, args := tx.table("v", col("id", "text", ids[start:end]), col("changed", "bigint", changed[start:end]))
			_, err := tx.exec(ctx, `
				UPDATE users
				SET derived = v.changed
				FROM `+v+`
				WHERE users.id = v.id AND users.derived < v.changed`, args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// RederiveStale brings a part of the due queue after what changed around it: people whose change a crash left half
// done, and loans that still follow an older policy. It says how many of both it did, up to limit loans; 0 means that
// nothing is left which another worker doesn't hold.
func (db *DB) RederiveStale(ctx context.Context, limit int) (n int, err error) {
	var people []string
	err = db.query().all(ctx, &people, `SELECT id FROM users WHERE derived < changed ORDER BY id LIMIT ?`, limit)
	if err == nil && len(people) > 0 {
		err = db.derivePeople(ctx, people)
	}
	if err != nil {
		return 0, fmt.Errorf("rederive: %w", err)
	}
	loans := 0
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		pv, err := db.activePolicy(ctx, tx.queryer)
		if err != nil {
			return err
		}
		var ids []string
		err = tx.all(ctx, &ids, `
			SELECT id
			FROM loans
			WHERE policy_version < ? AND status = 'active'
			ORDER BY policy_version, id
			LIMIT ?`+tx.skipLocked(), pv.Version, min(limit, loansATime))
		if err != nil {
			return err
		}
		if loans = len(ids); loans == 0 {
			return nil
		}
		b, err := db.lockLoans(ctx, tx, ids)
		if err != nil {
			return err
		}
		return db.derive(ctx, tx, b)
	})
	if err != nil {
		return len(people), fmt.Errorf("rederive: %w", err)
	}
	return len(people) + loans, nil
}
