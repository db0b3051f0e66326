package policy

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"duebell/internal/civil"
)

// fields are the keys that a mapping may have, and who reads each.
type fields map[string]func(ast.Node)

// mapping reads a mapping and says whether it was one and had the required keys.
func (r *reader) mapping(n ast.Node, what string, known fields, required ...string) bool {
	pairs, ok := pairs(n)
	if !ok {
		r.problem(n, "%s should be keys with values, and is %s", what, describe(n))
		return false
	}
	found := map[string]bool{}
	for _, pair := range pairs {
		key := pair.Key
		name, isString := key.(*ast.StringNode)
		if !isString {
			r.problem(key, "unknown key %s in %s", key.GetToken().Value, what)
			continue
		}
		read, isKnown := known[name.Value]
		if !isKnown {
			r.problem(key, "unknown key %q in %s; it has %s", name.Value, what, strings.Join(names(known), ", "))
			continue
		}
		found[name.Value] = true
		if pair.Value == nil || pair.Value.Type() == ast.NullType {
			r.problem(key, "%s has no value; leave it out to turn it off", name.Value)
			continue
		}
		read(pair.Value)
	}
	complete := true
	for _, name := range required {
		if !found[name] {
			r.problem(n, "%s has no %s", what, name)
			complete = false
		}
	}
	return complete
}

// pairs goes by the types of nodes, not by what they can do: tags and aliases can be ranged over as well, and panic.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

const calendar = "calendar"

func names(known fields) []string {
	list := make([]string, 0, len(known))
	for name := range known {
		if name != calendar { // known only to say that there is none
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// list reads a sequence, item by item.
func (r *reader) list(n ast.Node, what string, item func(ast.Node)) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.problem(n, "%s should be a list, and is %s", what, describe(n))
		return
	}
	for _, value := range seq.Values {
		if value == nil || value.Type() == ast.NullType {
			r.problem(n, "%s has an empty item", what)
			continue
		}
		item(value)
	}
}

// text reads a scalar as it was written, quoted or not.
func (r *reader) text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	r.problem(n, "expected a single value, and this is %s", describe(n))
	return "", false
}

func describe(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "keys with values"
	case ast.SequenceType:
		return "a list"
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType:
		return "an anchor or alias, which a policy can't have"
	case ast.TagType:
		return "a value with a tag, which a policy can't have"
	case ast.LiteralType:
		return "a block of text"
	default:
		return "a single value"
	}
}

func (r *reader) oneOf(n ast.Node, what string, allowed ...string) string {
	text, ok := r.text(n)
	if !ok {
		return ""
	}
	if !slices.Contains(allowed, text) {
		r.problem(n, "unknown %s %q; there is %s", what, text, strings.Join(allowed, ", "))
		return ""
	}
	return text
}

func (r *reader) integer(n ast.Node, low, high int) int {
	text, ok := r.text(n)
	if !ok {
		return 0
	}
	i, err := strconv.Atoi(text)
	if err != nil || i < low || i > high {
		r.problem(n, "%q is not a whole number from %d to %d", text, low, high)
		return 0
	}
	return i
}

func (r *reader) timeOfDay(n ast.Node) (civil.TimeOfDay, bool) {
	text, ok := r.text(n)
	if !ok {
		return 0, false
	}
	tod, err := civil.ParseTimeOfDay(text)
	if err != nil {
		r.problem(n, "%v", err)
		return 0, false
	}
	return tod, true
}

// duration reads whole days, hours or minutes: 2d, 36h, 90m.
func (r *reader) duration(n ast.Node, low time.Duration) time.Duration {
	text, ok := r.text(n)
	if !ok {
		return 0
	}
	number, unit := text, time.Duration(0)
	if text != "" {
		number, unit = text[:len(text)-1], map[byte]time.Duration{'d': day, 'h': time.Hour, 'm': time.Minute}[text[len(text)-1]]
	}
	count, err := strconv.ParseUint(number, 10, 32)
	if err != nil || unit == 0 {
		r.problem(n, "%q is not a duration like 2d, 36h or 90m", text)
		return 0
	}
	if count > math.MaxInt64/uint64(unit) || time.Duration(count)*unit > maxDuration || time.Duration(count)*unit < low {
		r.problem(n, "%s is out of range: from %s to 100 years; leave the key out for no limit", text, short(low))
		return 0
	}
	return time.Duration(count) * unit
}

func short(d time.Duration) string {
	if d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return strconv.Itoa(int(d/time.Hour)) + "h"
}
