package store

import (
	"context"
	"encoding/json"
	"fmt"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// Preferences are what a person asked for. The zero value leaves everything to the lender.
type Preferences struct {
	Channels map[string]Channels `json:"channels,omitempty"` // by kind; a kind that isn't there is on
	// QuietHours are the person's own; NoQuietHours: none, whatever the lender has.
	QuietHours   *policy.QuietHours `json:"quiet_hours,omitempty"`
	NoQuietHours bool               `json:"no_quiet_hours,omitempty"`
	TimeZone     string             `json:"time_zone,omitempty"` // IANA
	Locale       string             `json:"locale,omitempty"`    // BCP 47
	Digest       string             `json:"digest,omitempty"`

	Terms Terms `json:"-"` // as they were when this was read; never stored
}

// Channels says by which ways a kind may reach a person.
type Channels struct {
	Push  bool `json:"push"`
	Email bool `json:"email"`
}

// Terms are what the lender has decided about a person's notifications: what preferences can choose from, and what holds where
// they say nothing.
type Terms struct {
	Kinds    []KindTerms // what is written to this person, in the order in which people should see it
	Quiet    *policy.QuietHours
	SendAt   *civil.TimeOfDay // when reminders go out by the person's clock; nil while no policy is in force
	TimeZone string           // IANA; never ""
	Locale   string           // BCP 47; never ""
}

// KindTerms are the policy's for one kind.
type KindTerms struct {
	Kind      string
	Offsets   []int    // days from the due date, in order, negative before it; only reminders have any
	Mandatory []string // channels on which it can't be switched off
}

func parsePreferences(doc string) (Preferences, error) {
	var p Preferences
	if err := json.Unmarshal([]byte(doc), &p); err != nil {
		return Preferences{}, fmt.Errorf("stored preferences: %w", err)
	}
	return p, nil
}

// Preferences are what that person stored, zero for somebody who never did, and the terms by the policy that is in force now.
func (db *DB) Preferences(ctx context.Context, userID string) (Preferences, error) {
	pv, err := db.activePolicy(ctx, db.query())
	if err != nil {
		return Preferences{}, fmt.Errorf("read preferences: %w", err)
	}
	var row struct {
		Doc      string `db:"doc"`
		TimeZone string `db:"time_zone"`
		Locale   string `db:"locale"`
		Officer  bool   `db:"officer"`
	}
	err = db.query().get(ctx, &row, `
		SELECT COALESCE(p.doc, '{}') AS doc, COALESCE(u.time_zone, '') AS time_zone, COALESCE(u.locale, '') AS locale,
			EXISTS (SELECT 1 FROM loan_parties AS o WHERE o.user_id = who.id AND o.role = 'officer') AS officer
		FROM (SELECT CAST(? AS text) AS id) AS who
			LEFT JOIN users AS u ON u.id = who.id
			LEFT JOIN preferences AS p ON p.user_id = who.id`, userID)
	if err != nil {
		return Preferences{}, fmt.Errorf("read preferences: %w", err)
	}
	own, err := parsePreferences(row.Doc)
	if err != nil {
		return Preferences{}, err
	}
	unasked := Person{User: User{TimeZone: row.TimeZone, Locale: row.Locale}}
	unasked.apply(Preferences{}, pv)
	own.Terms = Terms{Quiet: unasked.Quiet, TimeZone: unasked.Zone.String(), Locale: unasked.Locale}
	if pv.Policy == nil {
		return own, nil
	}
	own.Terms.SendAt = &pv.Policy.SendAt
	for _, kind := range policy.Kinds() {
		if pv.Policy.Writes(kind) && (kind != policy.KindSummary || row.Officer) {
			own.Terms.Kinds = append(own.Terms.Kinds, KindTerms{kind, pv.Policy.Offsets(kind), pv.Policy.Mandatory[kind]})
		}
	}
	return own, nil
}

// PutPreferences replaces them, and moves the person's reminders to the zone and the quiet hours that now hold.
func (db *DB) PutPreferences(ctx context.Context, userID string, p Preferences) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("put preferences: %w", err)
	}
	var known bool
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		// The user's row first: whoever derives reminders or tells of something else holds it while reading preferences.
		n, err := tx.exec(ctx, `UPDATE users SET changed = changed + 1, updated_at = ? WHERE id = ?`, tx.now, userID)
		if err != nil {
			return err
		}
		if known = n > 0; known {
			tx.holdInboxes([]string{userID})
		}
		_, err = tx.exec(ctx, `
			INSERT INTO preferences (user_id, doc, updated_at) VALUES (?, ?, ?)
			ON CONFLICT (user_id) DO UPDATE SET doc = excluded.doc, updated_at = excluded.updated_at`,
			userID, string(doc), tx.now)
		return err
	})
	if err != nil {
		return fmt.Errorf("put preferences: %w", err)
	}
	if known {
		db.follow(ctx, []string{userID})
	}
	return nil
}
