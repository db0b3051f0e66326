package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// PutUser creates or replaces a person, also one who was erased. ErrStale if u.AsOf is older than what is stored. A new
// zone moves the person's reminders.
func (db *DB) PutUser(ctx context.Context, u User) error {
	return one(db.ImportUsers(ctx, []User{u}, ImportOptions{AllOrNothing: true}))
}

// GetUser reads a person as the lender has it; ErrNotFound also for one who was erased.
func (db *DB) GetUser(ctx context.Context, id string) (User, error) {
	people, err := db.query().peopleByID(ctx, []string{id}, unlocked, PolicyVersion{})
	if err == nil && !people[id].Known {
		err = ErrNotFound
	}
	if err != nil {
		return User{}, fmt.Errorf("get user: %w", err)
	}
	return people[id].User, nil
}

// ImportUsers is PutUser for many rows.
func (db *DB) ImportUsers(ctx context.Context, rows []User, opt ImportOptions) ([]Rejected, error) {
	var moved []string
	rejected, err := db.importing(ctx, "users", opt, func(ctx context.Context, tx *Tx) (rejected []Rejected, err error) {
		rejected, moved, err = tx.putUsers(ctx, rows)
		return rejected, err
	})
	switch {
	case err != nil || opt.DryRun || opt.AllOrNothing && len(rejected) > 0:
	case opt.Within != nil:
		opt.Within.moved = append(opt.Within.moved, moved...)
	default:
		db.follow(ctx, moved)
	}
	return rejected, err
}

// userState is a person's row under its lock.
type userState struct {
	User
	erased bool
	moved  bool // the reminders must follow
	reads  bool // they read differently
	dirty  bool
}

// putUsers also answers whose reminders have to follow.
func (tx *Tx) putUsers(ctx context.Context, rows []User) (rejected []Rejected, moved []string, err error) {
	latest := make(map[string]User, len(rows))
	for _, u := range rows {
		if _, known := latest[u.ID]; !known {
			latest[u.ID] = u
		}
	}
	ids := slices.Sorted(maps.Keys(latest))
	fresh, err := tx.insertUsers(ctx, ids, latest)
	if err != nil {
		return nil, nil, err
	}
	states, err := tx.lockUsers(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	inserted := make(map[string]bool, len(fresh))
	for _, id := range fresh {
		inserted[id] = true
	}
	for i, u := range rows {
		s := states[u.ID]
		switch {
		case inserted[u.ID]: // by this very row
			delete(inserted, u.ID)
			continue
		case older(u.AsOf, s.AsOf):
			rejected = append(rejected, Rejected{i, ErrStale})
			continue
		}
		u.AsOf = newest(u.AsOf, s.AsOf)
		if u == s.User && !s.erased {
			continue
		}
		s.moved = s.moved || s.erased || u.TimeZone != s.TimeZone
		s.reads = s.reads || s.moved || u.Name != s.Name || u.Locale != s.Locale
		s.User, s.erased, s.dirty = u, false, true
	}
	var dirty []*userState
	var read []string
	for _, id := range ids {
		if s := states[id]; s.dirty {
			dirty = append(dirty, s)
			if s.reads {
				read = append(read, id)
			}
			if s.moved {
				moved = append(moved, id)
			}
		}
	}
	tx.holdInboxes(read)
	return rejected, moved, tx.updateUsers(ctx, dirty)
}

// insertUsers inserts those that don't exist and answers their ids. Like inboxes, rows are inserted in byte order before
// any existing one is locked, so that transactions can't wait for each other.
func (tx *Tx) insertUsers(ctx context.Context, ids []string, users map[string]User) (inserted []string, err error) {
	var existing []string
	if err := tx.all(ctx, &existing, `SELECT id FROM users WHERE `+tx.in("id"), tx.list(ids)); err != nil {
		return nil, fmt.Errorf("look for users: %w", err)
	}
	for chunk := range slices.Chunk(without(ids, existing), tableRows) {
		v, args := tx.table("v",
			col("id", "text", chunk),
			col("name", "text", pluck(chunk, func(id string) string { return users[id].Name })),
			col("email", "text", pluck(chunk, func(id string) *string { return optional(users[id].Email) })),
			col("time_zone", "text", pluck(chunk, func(id string) string { return users[id].TimeZone })),
			col("locale", "text", pluck(chunk, func(id string) string { return users[id].Locale })),
			col("as_of", "timestamptz", pluck(chunk, func(id string) *time.Time { return optionalTime(users[id].AsOf) })),
			col("now", "timestamptz", pluck(chunk, func(string) time.Time { return tx.now })))
		var added []string
		err := tx.all(ctx, &added, `
			INSERT INTO users (id, name, email, time_zone, locale, as_of, created_at, updated_at)
			SELECT v.id, v.name, v.email, v.time_zone, v.locale, v.as_of, v.now, v.now
			FROM `+v+` WHERE true
			ON CONFLICT (id) DO NOTHING
			RETURNING id`, args...)
		if err != nil {
			return nil, fmt.Errorf("insert users: %w", err)
		}
		inserted = append(inserted, added...)
	}
	return inserted, nil
}

func (tx *Tx) lockUsers(ctx context.Context, ids []string) (map[string]*userState, error) {
	states := make(map[string]*userState, len(ids))
	err := tx.each(ctx, func(row scanner) error {
		s := &userState{}
		var asOf, erasedAt instant
		err := row.Scan(&s.ID, &s.Name, &s.Email, &s.TimeZone, &s.Locale, &asOf, &erasedAt)
		s.AsOf, s.erased = asOf.Time, !erasedAt.IsZero()
		states[s.ID] = s
		return err
	}, `
		SELECT id, name, COALESCE(email, ''), time_zone, locale, as_of, erased_at
		FROM users
		WHERE `+tx.in("id")+`
		ORDER BY id`+tx.forUpdate(), tx.list(ids))
	if err != nil {
		return nil, fmt.Errorf("lock users: %w", err)
	}
	if len(states) != len(ids) {
		return nil, fmt.Errorf("locked %d users of %d", len(states), len(ids))
	}
	return states, nil
}

func (tx *Tx) updateUsers(ctx context.Context, rows []*userState) error {
	for chunk := range slices.Chunk(rows, tableRows) {
		v, args := tx.table("v",
			col("id", "text", pluck(chunk, func(s *userState) string { return s.ID })),
			col("name", "text", pluck(chunk, func(s *userState) string { return s.Name })),
			col("email", "text", pluck(chunk, func(s *userState) *string { return optional(s.Email) })),
			col("time_zone", "text", pluck(chunk, func(s *userState) string { return s.TimeZone })),
			col("locale", "text", pluck(chunk, func(s *userState) string { return s.Locale })),
			col("as_of", "timestamptz", pluck(chunk, func(s *userState) *time.Time { return optionalTime(s.AsOf) })),
			col("moved", "bigint", pluck(chunk, func(s *userState) int {
				if s.moved {
					return 1
				}
				return 0
			})),
			col("now", "timestamptz", pluck(chunk, func(*userState) time.Time { return tx.now })))
		_, err := tx.exec(ctx, `
			UPDATE users
			SET name = v.name, email = v.email, time_zone = v.time_zone, locale = v.locale, as_of = v.as_of,
				erased_at = NULL, changed = changed + v.moved, updated_at = v.now
			FROM `+v+`
			WHERE users.id = v.id`, args...)
		if err != nil {
			return fmt.Errorf("update users: %w", err)
		}
	}
	return nil
}

// older says whether an explicit as_of lies before the stored one.
func older(asOf, stored time.Time) bool { return !asOf.IsZero() && asOf.Before(stored) }

// newest is the as_of to store: a row without one keeps what is there.
func newest(asOf, stored time.Time) time.Time {
	if asOf.IsZero() {
		return stored
	}
	return stamp(asOf)
}

// without are those of list, in its order, that aren't in known.
func without(list, known []string) []string {
	if len(known) == 0 {
		return list
	}
	have := make(map[string]bool, len(known))
	for _, s := range known {
		have[s] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return have[s] })
}

// optionalTime is nil for the zero time.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = stamp(t)
	return &t
}
