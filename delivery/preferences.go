package delivery

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/text/language"

	"duebell/internal/auth"
	"duebell/internal/civil"
	"duebell/internal/policy"
	"duebell/internal/problem"
	"duebell/store"
)

// preferencesBody is what a person wants to hear, where and when. Null, and what is left out, is the lender's.
type preferencesBody struct {
	Channels map[string]channelsBody `json:"channels"` // by kind; a kind that isn't there is on
	// QuietHours are from and to on the person's clock; NoQuietHours asks for none, whatever the lender has.
	QuietHours   *quietHoursBody `json:"quiet_hours"`
	NoQuietHours bool            `json:"no_quiet_hours"`
	TimeZone     *string         `json:"time_zone"` // IANA
	Locale       *string         `json:"locale"`    // BCP 47
	Digest       *string         `json:"digest"`
	// What the lender has decided: []kindBody and lenderBody in answers. Whoever sends back what he got sends them too, and
	// nobody looks at them.
	Kinds  any `json:"kinds"`
	Lender any `json:"lender"`
}

type channelsBody struct {
	Push  *bool `json:"push"` // left out: on
	Email *bool `json:"email"`
}

type quietHoursBody struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// kindBody is a kind that is written to the person.
type kindBody struct {
	Kind      string   `json:"kind"`
	Offsets   []int    `json:"offsets"`   // days from the due date; only reminders have any
	Mandatory []string `json:"mandatory"` // channels on which it can't be switched off
}

// lenderBody is what holds where the person says nothing.
type lenderBody struct {
	QuietHours *policy.QuietHours `json:"quiet_hours"`
	TimeZone   string             `json:"time_zone"`
	Locale     string             `json:"locale"`
	SendAt     *civil.TimeOfDay   `json:"send_at"` // null while the lender has no policy
}

// digests are how often a person may ask for a summary by e-mail.
var digests = []string{"off", "daily", "weekly"}

const maxKinds = 100

func (p *Pusher) getPreferences(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
	stored, err := p.store.Preferences(r.Context(), user.UserID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	answer(w, bodyOfPreferences(stored))
}

// putPreferences replaces all of them and answers what is stored now.
func (p *Pusher) putPreferences(w http.ResponseWriter, r *http.Request, user auth.UserToken) {
	var body preferencesBody
	if err := problem.DecodeJSON(r, p.options.MaxBodyBytes, &body); err != nil {
		problem.WriteError(w, p.log, err)
		return
	}
	stored, err := p.store.Preferences(r.Context(), user.UserID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	preferences, wrong := body.preferences(stored.Terms)
	if len(wrong) > 0 {
		problem.Write(w, problem.Unprocessable(wrong...))
		return
	}
	if err := p.store.PutPreferences(r.Context(), user.UserID, preferences); err != nil {
		p.fail(w, r, err)
		return
	}
	preferences.Terms = stored.Terms
	answer(w, bodyOfPreferences(preferences))
}

// bodyOfPreferences shows what holds: a kind that was switched off before the lender made it mandatory is on.
func bodyOfPreferences(p store.Preferences) preferencesBody {
	terms := p.Terms
	body := preferencesBody{Channels: map[string]channelsBody{}, NoQuietHours: p.NoQuietHours,
		TimeZone: orNull(p.TimeZone), Locale: orNull(p.Locale), Digest: orNull(p.Digest)}
	for kind, c := range p.Channels {
		body.Channels[kind] = channelsBody{&c.Push, &c.Email}
	}
	kinds := make([]kindBody, len(terms.Kinds)) // never null
	for i, k := range terms.Kinds {
		kinds[i] = kindBody{k.Kind, append([]int{}, k.Offsets...), append([]string{}, k.Mandatory...)}
		c, chosen := body.Channels[k.Kind]
		for _, channel := range k.Mandatory {
			if chosen {
				*c.of(channel) = true
			}
		}
	}
	if q := p.QuietHours; q != nil {
		body.QuietHours = &quietHoursBody{q.From.String(), q.To.String()}
	}
	body.Kinds = kinds
	body.Lender = lenderBody{terms.Quiet, terms.TimeZone, terms.Locale, terms.SendAt}
	return body
}

// of is the switch of a channel.
func (c channelsBody) of(channel string) *bool {
	if channel == policy.ChannelPush {
		return c.Push
	}
	return c.Email
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// preferences checks each field.
func (b preferencesBody) preferences(terms store.Terms) (p store.Preferences, wrong []problem.FieldError) {
	bad := func(field, format string, args ...any) {
		wrong = append(wrong, problem.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if len(b.Channels) > maxKinds {
		bad("channels", "has more than %d kinds", maxKinds)
	}
	for _, kind := range slices.Sorted(maps.Keys(b.Channels)) {
		if kind == "" || len(kind) > 64 {
			bad("channels", "a kind has 1 to 64 characters")
			continue
		}
		c := b.Channels[kind]
		if p.Channels == nil {
			p.Channels = make(map[string]store.Channels)
		}
		p.Channels[kind] = store.Channels{Push: c.Push == nil || *c.Push, Email: c.Email == nil || *c.Email}
	}
	for _, k := range terms.Kinds {
		for _, channel := range k.Mandatory {
			if on := b.Channels[k.Kind].of(channel); on != nil && !*on {
				bad("channels."+k.Kind+"."+channel, "can't be switched off: the lender always sends this; leave it out, or say true")
			}
		}
	}
	if q := b.QuietHours; q != nil {
		var hours policy.QuietHours
		var errs [2]error
		hours.From, errs[0] = civil.ParseTimeOfDay(q.From)
		hours.To, errs[1] = civil.ParseTimeOfDay(q.To)
		for i, field := range []string{"quiet_hours.from", "quiet_hours.to"} {
			if errs[i] != nil {
				bad(field, "%v", errs[i])
			}
		}
		switch {
		case errs != [2]error{}:
		case hours.From == hours.To:
			bad("quiet_hours", "from and to are the same; no_quiet_hours asks for none")
		case b.NoQuietHours:
			bad("no_quiet_hours", "contradicts quiet_hours")
		}
		p.QuietHours = &hours
	}
	p.NoQuietHours = b.NoQuietHours
	if b.TimeZone != nil {
		if _, err := civil.LoadZone(*b.TimeZone); err != nil {
			bad("time_zone", "%v", err)
		}
		p.TimeZone = *b.TimeZone
	}
	if b.Locale != nil {
		tag, err := language.Parse(*b.Locale)
		if err != nil || len(*b.Locale) > 64 || tag == language.Und {
			bad("locale", "is not a language tag (BCP 47) such as cs-CZ")
		}
		p.Locale = tag.String()
	}
	if b.Digest != nil {
		if !slices.Contains(digests, *b.Digest) {
			bad("digest", "is not off, daily or weekly")
		}
		p.Digest = *b.Digest
	}
	return p, wrong
}
