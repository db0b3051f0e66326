package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"duebell/internal/civil"
	"duebell/internal/cron"
)

// Bounds of a policy file. They are far beyond any sensible policy and keep a typing error from becoming one.
const (
	maxBytes    = 1 << 20
	maxOffset   = 400 // days
	maxDuration = 100 * 366 * day
	maxCap      = 1000
	day         = 24 * time.Hour
)

// Problem is one thing wrong with a policy file. Line and Column count from 1; 0 is unknown.
type Problem struct {
	Line, Column int
	Text         string
}

// Problems is what Parse returns as its error: all of them, by line.
type Problems struct {
	Name string // of the file
	List []Problem
}

// Error has a line for each problem, in the form "policy.yaml:3:5: …".
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		if problem.Line == 0 {
			lines[i] = fmt.Sprintf("%s: %s", p.Name, problem.Text)
			continue
		}
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", p.Name, problem.Line, problem.Column, problem.Text)
	}
	return strings.Join(lines, "\n")
}

// Parse reads a policy; name is what its problems call the file. What the text leaves out is off: no reminders, no
// quiet hours, no caps, no limit on lateness, nothing scheduled, nothing pruned; only send_at is 09:00 then. Everything
// unknown, doubled or without effect is refused, as *Problems, with the line it stands on.
func Parse(src []byte, name string) (*Policy, error) {
	r := &reader{policy: &Policy{SendAt: 9 * 60, Weekends: WeekendsSend}}
	r.file(src)
	if len(r.problems) > 0 {
		sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
		return nil, &Problems{Name: name, List: r.problems}
	}
	r.policy.seal(src)
	return r.policy, nil
}

// reader walks the YAML tree, so that each problem has its place and the first doesn't hide the others.
type reader struct {
	policy   *Policy
	problems []Problem
}

func (r *reader) problem(at ast.Node, format string, args ...any) {
	p := Problem{Text: fmt.Sprintf(format, args...)}
	if token := at.GetToken(); token != nil && token.Position != nil {
		p.Line, p.Column = token.Position.Line, token.Position.Column
	}
	r.problems = append(r.problems, p)
}

func (r *reader) file(src []byte) {
	if len(src) > maxBytes {
		r.problems = append(r.problems, Problem{Text: "the file is larger than 1 MiB"})
		return
	}
	if !utf8.Valid(src) {
		r.problems = append(r.problems, Problem{Text: "the file is not UTF-8"})
		return
	}
	file, err := tree(bytes.TrimPrefix(src, []byte("\ufeff")))
	if err != nil {
		r.problems = append(r.problems, syntaxProblem(err))
		return
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			r.problem(doc.Body, "a policy is one YAML document, and this is a second one")
			return
		}
		body = doc.Body
	}
	if body == nil {
		r.problems = append(r.problems, Problem{Text: "the file is empty; a policy that does nothing says \"reminders: []\""})
		return
	}
	p := r.policy
	var holidays ast.Node
	var mandatory map[string]ast.Node
	r.mapping(body, "the policy", fields{
		"reminders":   r.reminders,
		"send_at":     func(n ast.Node) { p.SendAt, _ = r.timeOfDay(n) },
		"max_late":    func(n ast.Node) { p.MaxLate = r.duration(n, time.Hour) },
		"quiet_hours": r.quietHours,
		"caps": func(n ast.Node) {
			r.mapping(n, "caps", fields{
				"per_person_per_day": func(n ast.Node) { p.Caps.PerPersonPerDay = r.integer(n, 1, maxCap) },
			})
		},
		"weekends": func(n ast.Node) {
			p.Weekends = Weekends(r.oneOf(n, "way to treat weekends",
				string(WeekendsSend), string(WeekendsPrevious), string(WeekendsNext)))
		},
		"holidays": func(n ast.Node) { holidays = n; r.holidays(n) },
		calendar: func(n ast.Node) {
			r.problem(n, "there are no built-in calendars; list the days under holidays")
		},
		"schedule":  r.schedule,
		"mandatory": func(n ast.Node) { mandatory = r.mandatory(n) },
		"retention": func(n ast.Node) {
			r.mapping(n, "retention", fields{
				"notifications": func(n ast.Node) { p.Retention.Notifications = r.duration(n, day) },
				"decisions":     func(n ast.Node) { p.Retention.Decisions = r.duration(n, day) },
			})
		},
	})
	if p.Weekends == WeekendsSend && holidays != nil {
		r.problem(holidays, "holidays do nothing while weekends is send")
	}
	for kind, at := range mandatory {
		if !p.Writes(kind) {
			r.problem(at, "%s is mandatory, and there is no such reminder", kind)
		}
	}
}

// tree turns a panic of the YAML parser into an error too, since the text is a person's.
func tree(src []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML can't be read: %v", p)
		}
	}()
	return parser.ParseBytes(src, 0)
}

// syntaxProblem takes message and place out of a parser's error, whose own text is an excerpt of several lines.
func syntaxProblem(err error) Problem {
	var at yaml.Error
	if !errors.As(err, &at) {
		return Problem{Text: err.Error()}
	}
	p := Problem{Text: at.GetMessage()}
	if token := at.GetToken(); token != nil && token.Position != nil {
		p.Line, p.Column = token.Position.Line, token.Position.Column
	}
	return p
}

func (r *reader) reminders(n ast.Node) {
	seen := map[Rule]bool{}
	r.list(n, "reminders", func(n ast.Node) {
		var kind string
		var offsets []ast.Node
		ok := r.mapping(n, "a reminder", fields{
			"kind": func(n ast.Node) { kind = r.reminderKind(n) },
			"at": func(n ast.Node) {
				if _, isList := n.(*ast.SequenceNode); !isList {
					offsets = append(offsets, n)
					return
				}
				r.list(n, "at", func(n ast.Node) { offsets = append(offsets, n) })
				if len(offsets) == 0 {
					r.problem(n, "at is empty")
				}
			},
		}, "kind", "at")
		if !ok {
			return
		}
		for _, n := range offsets {
			offset, ok := r.offset(n)
			if !ok || kind == "" {
				continue
			}
			rule := Rule{kind, offset}
			if !rule.Holds(-offset) {
				r.problem(n, "%s is at %s", kind, map[string]string{
					KindUpcoming: "days before the due date, like -3d",
					KindDueToday: "0d",
					KindOverdue:  "days after the due date, like 7d",
				}[kind])
				continue
			}
			if seen[rule] {
				r.problem(n, "the rule %s is there twice", rule)
				continue
			}
			seen[rule] = true
			r.policy.Reminders = append(r.policy.Reminders, rule)
		}
	})
	sort.Slice(r.policy.Reminders, func(i, j int) bool {
		return r.policy.Reminders[i].Offset < r.policy.Reminders[j].Offset
	})
}

func (r *reader) reminderKind(n ast.Node) string {
	kind, ok := r.text(n)
	switch {
	case !ok:
		return ""
	case reminder(kind):
		return kind
	case slices.Contains(Kinds(), kind):
		r.problem(n, "%s is not a reminder: it is told when it happens", kind)
	default:
		r.problem(n, "unknown kind %q; reminders are %s, %s and %s", kind, KindUpcoming, KindDueToday, KindOverdue)
	}
	return ""
}

// offset reads a number of days such as -7d, 0d or 1d.
func (r *reader) offset(n ast.Node) (int, bool) {
	text, ok := r.text(n)
	if !ok {
		return 0, false
	}
	number, days := strings.CutSuffix(text, "d")
	offset, err := strconv.Atoi(number)
	if !days || err != nil {
		r.problem(n, "%q is not a number of days like -7d, 0d or 1d", text)
		return 0, false
	}
	if offset < -maxOffset || offset > maxOffset {
		r.problem(n, "%s is more than %d days away", text, maxOffset)
		return 0, false
	}
	return offset, true
}

// mandatory answers where each kind stands: whether it is ever written is known only when the whole file is read.
func (r *reader) mandatory(n ast.Node) map[string]ast.Node {
	found := map[string]ast.Node{}
	r.list(n, "mandatory", func(n ast.Node) {
		var kind string
		var at ast.Node
		channels := Channels()
		r.mapping(n, "a mandatory kind", fields{
			"kind": func(n ast.Node) { at, kind = n, r.oneOf(n, "kind", Kinds()...) },
			"channels": func(n ast.Node) {
				named := r.channels(n)
				channels = slices.DeleteFunc(channels, func(channel string) bool { return !named[channel] })
			},
		}, "kind")
		if kind == "" {
			return
		}
		if found[kind] != nil {
			r.problem(at, "%s is mandatory twice; name its channels together", kind)
			return
		}
		found[kind] = at
		if r.policy.Mandatory == nil {
			r.policy.Mandatory = make(map[string][]string)
		}
		r.policy.Mandatory[kind] = channels
	})
	return found
}

func (r *reader) channels(n ast.Node) map[string]bool {
	named := map[string]bool{}
	if seq, isList := n.(*ast.SequenceNode); isList && len(seq.Values) == 0 {
		r.problem(n, "channels is empty; leave it out for all of them")
	}
	r.list(n, "channels", func(n ast.Node) {
		channel := r.oneOf(n, "channel", Channels()...)
		if named[channel] {
			r.problem(n, "the channel %s is there twice", channel)
		}
		named[channel] = channel != ""
	})
	return named
}

func (r *reader) quietHours(n ast.Node) {
	var q QuietHours
	ok := true
	ok = r.mapping(n, "quiet_hours", fields{
		"from": func(n ast.Node) { q.From, ok = r.timeOfDay(n) },
		"to": func(n ast.Node) {
			to, readable := r.timeOfDay(n)
			q.To, ok = to, ok && readable
		},
	}, "from", "to") && ok
	if !ok {
		return
	}
	if q.From == q.To {
		r.problem(n, "quiet hours from %s to %s are all day or never; leave them out for never", q.From, q.To)
		return
	}
	r.policy.Quiet = &q
}

func (r *reader) holidays(n ast.Node) {
	seen := map[civil.Date]bool{}
	r.list(n, "holidays", func(n ast.Node) {
		text, ok := r.text(n)
		if !ok {
			return
		}
		date, err := civil.Parse(text)
		if err != nil {
			r.problem(n, "%v", err)
			return
		}
		if seen[date] {
			r.problem(n, "the holiday %s is there twice", date)
			return
		}
		seen[date] = true
		r.policy.Holidays = append(r.policy.Holidays, date)
	})
	slices.SortFunc(r.policy.Holidays, civil.Date.Compare)
}

func (r *reader) schedule(n ast.Node) {
	type key struct{ job, cron, zone string }
	seen := map[key]bool{}
	r.list(n, "schedule", func(n ast.Node) {
		e := Entry{TimeZone: "UTC", Misfire: MisfireOnce}
		var spec ast.Node
		ok := r.mapping(n, "an entry of the schedule", fields{
			"job":  func(n ast.Node) { e.Job = r.oneOf(n, "job", Jobs()...) },
			"cron": func(n ast.Node) { spec = n; e.Cron, _ = r.text(n) },
			"time_zone": func(n ast.Node) {
				text, ok := r.text(n)
				if !ok {
					return
				}
				if _, err := civil.LoadZone(text); err != nil {
					r.problem(n, "%v", err)
					return
				}
				e.TimeZone = text
			},
			"misfire": func(n ast.Node) {
				e.Misfire = Misfire(r.oneOf(n, "misfire", string(MisfireOnce), string(MisfireAll), string(MisfireSkip)))
			},
		}, "job", "cron")
		if !ok || e.Cron == "" {
			return
		}
		parsed, err := cron.Parse(e.Cron, e.TimeZone)
		if err != nil {
			r.problem(spec, "%v", err)
			return
		}
		e.Schedule = parsed
		if k := (key{e.Job, e.Cron, e.TimeZone}); seen[k] {
			r.problem(n, "%s at %q in %s is there twice", e.Job, e.Cron, e.TimeZone)
			return
		} else if e.Job != "" {
			seen[k] = true
		}
		r.policy.Schedule = append(r.policy.Schedule, e)
	})
}
