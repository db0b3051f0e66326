package store

import (
	"context"
	"maps"
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
// transaction ends. A run doesn't take it for whom it writes to: it has their inboxes, and whoever changes a person takes that person's inbox
// last (holdInboxes). A lock on a row of users changes a page of its own for each reminder.
const (
	unlocked = ""
	forShare = " FOR SHARE"
)

// holdInboxes takes the inboxes of people whom this transaction changes until its end, and makes those that don't exist yet. So a run that has
// read the people before is waited for, and one that comes later reads what is new.
func (tx *Tx) holdInboxes(ids []string) {
	if len(ids) > 0 {
		tx.atEnd(ids, func(context.Context) error { return nil })
	}
}

// peopleByID reads people, unknown ones too. Locks are taken in byte order of ids, after those of loans and
// applications and before those of inboxes. then goes to the database behind it.
func (q queryer) peopleByID(ctx context.Context, ids []string, lock string, pv PolicyVersion, then ...statement) (map[string]*Person, error) {
	r := newPeopleReader(ids)
	if err := q.together(ctx, append([]statement{r.users(q, ids, lock), r.preferences(q)}, then...)...); err != nil {
		return nil, err
	}
	return r.people(pv), nil
}

// peopleReader reads people by several statements.
type peopleReader struct {
	ids  []string // in byte order, each once
	byID map[string]*Person
	own  map[string]Preferences
}

func newPeopleReader(ids []string) *peopleReader {
	ids = sortedSet(ids)
	r := &peopleReader{ids, make(map[string]*Person, len(ids)), make(map[string]Preferences)}
	all := make([]Person, len(ids))
	for i, id := range ids {
		all[i].ID = id
		r.byID[id] = &all[i]
	}
	return r
}

// users reads what the lender says of some of them.
func (r *peopleReader) users(q queryer, ids []string, lock string) statement {
	inOrder := "" // matters to locks alone
	if q.pg && lock != unlocked {
		inOrder = " ORDER BY id" + lock
	}
	var last User
	var asOf, erased instant
	return statement{what: "read people", args: []any{q.list(sortedSet(ids))}, scan: func(row scanner) error {
		if err := row.Scan(&last.ID, &last.Name, &last.Email, word{&last.TimeZone}, word{&last.Locale}, &asOf, &erased); err != nil {
			return err
		}
		u := last
		u.AsOf = asOf.Time
		if !erased.IsZero() { // while the erasure goes on they are still there
			u.Name, u.Email = "", ""
		}
		p := r.byID[u.ID]
		p.User, p.Known, p.Erased = u, erased.IsZero(), !erased.IsZero()
		return nil
	}, query: `
		SELECT id, name, COALESCE(email, ''), time_zone, locale, as_of, erased_at
		FROM users
		WHERE ` + q.in("id") + inOrder}
}

// preferences reads what all of them say. It stands behind the locks, in a statement of its own: so it sees what their last holder left.
func (r *peopleReader) preferences(q queryer) statement {
	return statement{what: "read preferences", args: []any{q.list(r.ids)}, scan: func(row scanner) error {
		var id, doc string
		if err := row.Scan(&id, &doc); err != nil {
			return err
		}
		var err error
		r.own[id], err = parsePreferences(doc)
		return err
	}, query: `SELECT user_id, doc FROM preferences WHERE ` + q.in("user_id")}
}

// people are those that were read.
func (r *peopleReader) people(pv PolicyVersion) map[string]*Person {
	for id, p := range r.byID {
		p.apply(r.own[id], pv)
	}
	return r.byID
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
