package cron

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	robfig "github.com/robfig/cron/v3"

	"duebell/internal/civil"
)

// maxEvery keeps @every within what a schedule can be watched to do.
const maxEvery = 366 * 24 * time.Hour

var parser = robfig.NewParser(robfig.Minute | robfig.Hour | robfig.Dom | robfig.Month | robfig.Dow | robfig.Descriptor)

// Parse reads five cron fields (minute, hour, day of month, month, day of week; 7 is Sunday too), @hourly, @daily,
// @weekly, @monthly, @yearly, or "@every 90s" with whole seconds. The zone is an IANA name, UTC if it is "". When both day
// fields are restricted, a day that matches either will do, as in every cron. It refuses a zone inside the spec, and a
// spec that never fires.
func Parse(spec, zone string) (Schedule, error) {
	if zone == "" {
		zone = "UTC"
	}
	loc, err := civil.LoadZone(zone)
	if err != nil {
		return Schedule{}, err
	}
	s, err := parse(strings.TrimSpace(spec), loc)
	if err != nil {
		return Schedule{}, fmt.Errorf("cron spec %.60q: %w", spec, err)
	}
	return s, nil
}

func parse(spec string, loc *time.Location) (Schedule, error) {
	switch {
	case spec == "":
		return Schedule{}, errors.New("it is empty")
	case strings.Contains(spec, "TZ="):
		// robfig/cron panics on some of these (#554), and a zone has a field of its own.
		return Schedule{}, errors.New("the zone does not belong here but in time_zone")
	case strings.HasPrefix(spec, "@every"):
		return parseEvery(strings.TrimSpace(strings.TrimPrefix(spec, "@every")))
	case strings.Contains(spec, "*-"), strings.Contains(spec, "?-"):
		return Schedule{}, errors.New("a range can't begin with *")
	}
	if fields := strings.Fields(spec); len(fields) == 5 {
		var err error
		if fields[4], err = sunday7(fields[4]); err != nil {
			return Schedule{}, err
		}
		spec = strings.Join(fields, " ")
	}
	parsed, err := recovered(spec)
	if err != nil {
		return Schedule{}, err
	}
	bits, ok := parsed.(*robfig.SpecSchedule)
	if !ok {
		return Schedule{}, fmt.Errorf("unexpected kind of schedule %T", parsed)
	}
	s := Schedule{minute: bits.Minute, hour: bits.Hour, dom: bits.Dom, month: bits.Month, dow: bits.Dow, loc: loc}
	// Any start will do: the search spans more than the eight years between two leap days at the turn of a century.
	if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, errors.New("it never fires")
	}
	return s, nil
}

// recovered turns a panic of the parser into an error: specs come from a file that a person wrote.
func recovered(spec string) (s robfig.Schedule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it can't be read: %v", p)
		}
	}()
	return parser.Parse(spec)
}

func parseEvery(s string) (Schedule, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return Schedule{}, fmt.Errorf("%.20q is not a duration like 90s or 1h30m", s)
	}
	if d < time.Second || d > maxEvery || d%time.Second != 0 {
		return Schedule{}, errors.New("@every takes whole seconds, from 1s to a year")
	}
	return Schedule{every: int64(d / time.Second)}, nil
}

// sunday7 writes a day-of-week field that uses 7 for Sunday the way robfig/cron knows it, as a list of days.
func sunday7(field string) (string, error) {
	if !strings.Contains(field, "7") {
		return field, nil
	}
	var days []string
	for _, item := range strings.Split(field, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		first, last, ranged := strings.Cut(span, "-")
		if first != "7" && last != "7" {
			days = append(days, item)
			continue
		}
		low, err := strconv.Atoi(first)
		if err != nil {
			return "", fmt.Errorf("write a range of days in numbers or in names, not %q", item)
		}
		high, step := low, 1
		if ranged {
			if high, err = strconv.Atoi(last); err != nil {
				return "", fmt.Errorf("%q is not a range of days", item)
			}
		}
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > math.MaxInt32 {
				return "", fmt.Errorf("step of range should be a positive number: %s", item)
			}
		}
		if low < 0 || low > high || high > 7 {
			return "", fmt.Errorf("%q is not a range of days from 0 to 7", item)
		}
		for day := low; day <= high; day += step {
			days = append(days, strconv.Itoa(day%7))
		}
	}
	return strings.Join(days, ","), nil
}
