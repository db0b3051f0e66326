package jobs

import (
	"slices"
	"testing"
	"time"

	"duebell/internal/cron"
	"duebell/internal/policy"
)

func entry(t *testing.T, spec, zone string, misfire policy.Misfire) policy.Entry {
	t.Helper()
	s, err := cron.Parse(spec, zone)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Entry{Job: policy.JobReminderRun, Cron: spec, TimeZone: zone, Misfire: misfire, Schedule: s}
}

func TestMissedTicks(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	hourly := func(m policy.Misfire) policy.Entry { return entry(t, "0 * * * *", "UTC", m) }
	tests := []struct {
		name      string
		entries   []policy.Entry
		last, now string
		want      []string
	}{
		{"on time", []policy.Entry{hourly(policy.MisfireOnce)}, "2026-03-01 08:00:00", "2026-03-01 09:00:00", []string{"2026-03-01 09:00:00"}},
		{"nothing new", []policy.Entry{hourly(policy.MisfireAll)}, "2026-03-01 09:00:00", "2026-03-01 09:59:59", nil},
		{"a clock that was set back", []policy.Entry{hourly(policy.MisfireOnce)}, "2026-03-01 09:00:00", "2026-03-01 08:00:00", nil},
		{"once after a day", []policy.Entry{hourly(policy.MisfireOnce)}, "2026-03-01 09:00:00", "2026-03-02 08:30:00", []string{"2026-03-02 08:00:00"}},
		{"all of them", []policy.Entry{hourly(policy.MisfireAll)}, "2026-03-01 09:00:00", "2026-03-01 12:30:00",
			[]string{"2026-03-01 10:00:00", "2026-03-01 11:00:00", "2026-03-01 12:00:00"}},
		{"skip what was missed", []policy.Entry{hourly(policy.MisfireSkip)}, "2026-03-01 09:00:00", "2026-03-01 12:30:00", nil},
		{"skip takes one on time", []policy.Entry{hourly(policy.MisfireSkip)}, "2026-03-01 09:00:00", "2026-03-01 12:00:30", []string{"2026-03-01 12:00:00"}},
		{"two entries of a job that meet", []policy.Entry{hourly(policy.MisfireOnce), entry(t, "0 9 * * *", "Europe/Prague", policy.MisfireOnce)},
			"2026-03-01 07:30:00", "2026-03-01 08:00:00", []string{"2026-03-01 08:00:00"}},
		{"two entries of a job", []policy.Entry{hourly(policy.MisfireOnce), entry(t, "30 9 * * *", "Europe/Prague", policy.MisfireOnce)},
			"2026-03-01 07:30:00", "2026-03-01 09:10:00", []string{"2026-03-01 08:30:00", "2026-03-01 09:00:00"}},
		{"a skipped local time fires after the gap", []policy.Entry{entry(t, "30 2 * * *", "America/New_York", policy.MisfireOnce)},
			"2026-03-08 06:00:00", "2026-03-08 08:00:00", []string{"2026-03-08 07:00:00"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			due, _ := missed(test.entries, at(test.last), at(test.now))
			for _, tick := range due {
				got = append(got, tick.Format("2006-01-02 15:04:05"))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if due, late := missed([]policy.Entry{hourly(policy.MisfireSkip)}, at("2026-03-01 09:00:00"), at("2026-03-01 12:30:00")); len(due) != 0 ||
		len(late) != 1 || !late[0].Equal(at("2026-03-01 12:00:00")) {
		t.Errorf("due %v, late %v", due, late)
	}
	// An entry that asks for all of a year of seconds gets the last ones.
	all, _ := missed([]policy.Entry{entry(t, "@every 1s", "", policy.MisfireAll)}, at("2026-03-01 00:00:00"), at("2026-03-02 00:00:00"))
	if len(all) != maxMissed || !all[len(all)-1].Equal(at("2026-03-02 00:00:00")) {
		t.Errorf("%d ticks, the last at %v", len(all), all[len(all)-1])
	}
}
