package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"duebell/internal/civil"
	"duebell/internal/policy"
)

// Person is somebody as the programs treat them: their own preferences over the lender's record of them over the
// policy.
type Person struct {
	User
	Known  bool           // false: only the id is known, everything else is a default
	Erased bool           // was erased: nothing is told
	Zone   *time.Location // never nil
	Locale string         // never ""
	Quiet  *policy.QuietHours
	// OptedOut are the kinds that the person doesn't want here and that the policy lets him switch off. Email of a kind is
	// another matter.
	OptedOut map[string]bool
	// Overruled are those that the person doesn't want and a later policy made mandatory, with when it did.
	Overruled map[string]time.Time
}

// How the rows of people are locked while they are read. A share keeps changes of a person, and erasure, out until the
// transaction ends.
const (
	unlocked = ""
	forShare = " FOR SHARE"
)

// peopleByID reads people, unknown ones too. Locks are taken in byte order of ids, after those of loans and
// applications and before those of inboxes. then goes to the database behind it.
func (q queryer) peopleByID(ctx context.Context, ids []string, lock string, pv PolicyVersion, then ...statement) (map[string]*Person, error) {
	people := make(map[string]*Person, len(ids))
	all := make([]Person, 0, len(ids))
	for _, id := range ids {
		if people[id] == nil {
			all = append(all, Person{User: User{ID: id}})
			people[id] = &all[len(all)-1]
		}
	}
	if len(people) == 0 {
		return people, q.together(ctx, then...)
	}
	list := q.list(slices.Sorted(maps.Keys(people)))
	if !q.pg {
		lock = unlocked
	}
	own := make(map[string]Preferences)
	var last User
	var asOf, erased instant
	users := statement{what: "read people", args: []any{list}, scan: func(row scanner) error {
		if err := row.Scan(&last.ID, &last.Name, &last.Email, word{&last.TimeZone}, word{&last.Locale}, &asOf, &erased); err != nil {
			return err
		}
		u := last
		u.AsOf = asOf.Time
		if !erased.IsZero() { // while the erasure goes on they are still there
			u.Name, u.Email = "", ""
		}
		p := people[u.ID]
		p.User, p.Known, p.Erased = u, erased.IsZero(), !erased.IsZero()
		return nil
	}, query: `
		SELECT id, name, COALESCE(email, ''), time_zone, locale, as_of, erased_at
		FROM users
		WHERE ` + q.in("id") + `
		ORDER BY id` + lock}
	// In a statement of its own: it sees what the last holder of the locks left.
	preferences := statement{what: "read preferences", args: []any{list}, scan: func(row scanner) error {
		var id, doc string
		if err := row.Scan(&id, &doc); err != nil {
			return err
		}
		var err error
		own[id], err = parsePreferences(doc)
		return err
	}, query: `SELECT user_id, doc FROM preferences WHERE ` + q.in("user_id")}
	if err := q.together(ctx, append([]statement{users, preferences}, then...)...); err != nil {
		return nil, err
	}
	for id, p := range people {
		p.apply(own[id], pv)
	}
	return people, nil
}

// apply works out what holds for a person.
func (p *Person) apply(own Preferences, pv PolicyVersion) {
	p.Zone = time.UTC
	for _, name := range []string{own.TimeZone, p.TimeZone} {
		if name == "" {
			continue
		}
		if zone, err := civil.LoadZone(name); err == nil {
			p.Zone = zone
			break
		}
	}
	p.Locale = "en"
	for _, locale := range []string{own.Locale, p.User.Locale} {
		if locale != "" {
			p.Locale = locale
			break
		}
	}
	switch {
	case own.NoQuietHours:
		p.Quiet = nil
	case own.QuietHours != nil:
		p.Quiet = own.QuietHours
	default:
		p.Quiet = pv.quiet()
	}
	for kind, on := range own.Channels {
		since, later := pv.MandatorySince[kind]
		switch {
		case on.Push:
		case !pv.mandatory(kind, policy.ChannelPush):
			if p.OptedOut == nil {
				p.OptedOut = make(map[string]bool)
			}
			p.OptedOut[kind] = true
		case later:
			if p.Overruled == nil {
				p.Overruled = make(map[string]time.Time)
			}
			p.Overruled[kind] = since
		}
	}
}

// optedOutAs is what the person doesn't want to hear in a role. An officer hears of reminders in summaries: of one who switched
// those off, only what is mandatory is left.
func (p *Person) optedOutAs(role string, pv PolicyVersion) map[string]bool {
	if role != RoleOfficer || !p.OptedOut[policy.KindSummary] {
		return p.OptedOut
	}
	out := maps.Clone(p.OptedOut)
	for _, kind := range policy.Kinds() {
		if !pv.mandatory(kind, policy.ChannelPush) {
			out[kind] = true
		}
	}
	return out
}
