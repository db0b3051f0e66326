package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"duebell/internal/civil"
	"duebell/internal/cron"
)

// Policy is what a lender decided. It is not changed after Parse, so it may be shared.
type Policy struct {
	Reminders []Rule // by offset
	SendAt    civil.TimeOfDay
	MaxLate   time.Duration // 0: no limit
	Quiet     *QuietHours   // nil: none
	Caps      Caps
	Weekends  Weekends
	Holidays  []civil.Date // in order
	Schedule  []Entry
	Retention Retention
	// Mandatory are, by kind, the channels on which nobody can switch it off. It isn't in the hash of a policy that has none.
	Mandatory map[string][]string `json:",omitempty"`

	source   string
	hash     string
	holidays map[civil.Date]bool
}

// Caps limit what one person gets. 0 is no limit.
type Caps struct {
	PerPersonPerDay int
}

// Weekends is what happens to a reminder day that is a Saturday, a Sunday or a holiday.
type Weekends string

const (
	WeekendsSend     Weekends = "send" // nothing
	WeekendsPrevious Weekends = "previous_business_day"
	WeekendsNext     Weekends = "next_business_day"
)

// Misfire is what happens to the ticks that nobody was there for.
type Misfire string

const (
	MisfireOnce Misfire = "once" // the last of them
	MisfireAll  Misfire = "all"
	MisfireSkip Misfire = "skip"
)

// Entry is a line of the schedule.
type Entry struct {
	Job      string
	Cron     string
	TimeZone string // "UTC" where the file names none
	Misfire  Misfire

	Schedule cron.Schedule `json:"-"` // Cron in TimeZone
}

// Retention is how long rows are kept. 0 is for ever.
type Retention struct {
	Notifications time.Duration
	Decisions     time.Duration
}

// Source is the YAML text.
func (p *Policy) Source() string { return p.source }

// Hash identifies what the policy says: two files that differ in comments, order or spelling only have the same one.
func (p *Policy) Hash() string { return p.hash }

// Has says whether the policy has that rule.
func (p *Policy) Has(r Rule) bool {
	for _, own := range p.Reminders {
		if own == r {
			return true
		}
	}
	return false
}

// Offsets are the days of a kind's reminders, in order: negative ones are before the due date. Kinds that are told when they
// happen have none.
func (p *Policy) Offsets(kind string) []int {
	var offsets []int
	for _, own := range p.Reminders {
		if own.Kind == kind {
			offsets = append(offsets, own.Offset)
		}
	}
	return offsets
}

// Writes says whether anybody gets notifications of a kind: a reminder only if the policy has one.
func (p *Policy) Writes(kind string) bool { return !reminder(kind) || len(p.Offsets(kind)) > 0 }

// IsMandatory says whether a kind goes out on a channel whatever the person switched off.
func (p *Policy) IsMandatory(kind, channel string) bool {
	return slices.Contains(p.Mandatory[kind], channel)
}

//go:embed default.yaml
var defaultYAML []byte

// Default is the built-in policy.
func Default() *Policy { return defaultPolicy() }

var defaultPolicy = sync.OnceValue(func() *Policy {
	p, err := Parse(defaultYAML, "built-in policy")
	if err != nil {
		panic(err)
	}
	return p
})

// seal computes what follows from the exported fields.
func (p *Policy) seal(source []byte) {
	p.source = string(source)
	p.holidays = make(map[civil.Date]bool, len(p.Holidays))
	for _, day := range p.Holidays {
		p.holidays[day] = true
	}
	text, err := json.Marshal(p) // exported fields only, in order
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	sum := sha256.Sum256(text)
	p.hash = hex.EncodeToString(sum[:])
}
