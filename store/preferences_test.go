package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"duebell/internal/policy"
	"duebell/internal/testenv"
)

// off switches kinds off in the app.
func off(kinds ...string) Preferences {
	p := Preferences{Channels: map[string]Channels{}}
	for _, kind := range kinds {
		p.Channels[kind] = Channels{Email: true}
	}
	return p
}

const mandatoryPolicy = testPolicy + `
mandatory:
  - {kind: repayment.overdue, channels: [push]}
  - {kind: repayment.upcoming, channels: [email]}
  - kind: application.status_changed
`

func TestWhatIsMandatoryIsToldToWhoeverSwitchedItOff(t *testing.T) {
	t.Run("Reminders", func(t *testing.T) {
		testenv.Databases(t, func(t *testing.T, url string) {
			w := setup(t, url, "2026-03-01T12:00:00Z")
			w.user("ann")
			w.loan("L", "ann")
			w.schedule("L", owes(1, "2026-03-10", 100))
			w.ok(w.PutPreferences(t.Context(), "ann", off(policy.KindUpcoming, policy.KindOverdue)))
			w.set("2026-03-11T09:00:00Z")
			w.run()
			if got := w.told("ann"); len(got) != 0 {
				t.Fatalf("told %v before anything is mandatory", got)
			}
			// The lender decides otherwise: what was suppressed by then is judged again.
			w.activate(mandatoryPolicy)
			w.set("2026-03-11T09:15:00Z")
			w.run()
			if got := w.told("ann"); fmt.Sprint(got) != "[L 2026-03-10 100 in -1d]" {
				t.Errorf("told %v", got)
			}
			// Mandatory by e-mail leaves the choice here to the person.
			w.schedule("L", owes(1, "2026-03-10", 100), owes(2, "2026-03-14", 100))
			w.run()
			if got := w.told("ann"); len(got) != 1 {
				t.Errorf("told %v", got)
			}
			w.activate(testPolicy)
			w.set("2026-03-17T09:00:00Z")
			w.run()
			if got := w.told("ann"); len(got) != 1 {
				t.Errorf("told %v after it wasn't mandatory any more", got)
			}
			w.noDrift("L")
		})
	})

	t.Run("NoDayBeforeItWas", func(t *testing.T) {
		testenv.Databases(t, func(t *testing.T, url string) {
			w := setup(t, url, "2026-03-01T12:00:00Z")
			w.user("ann", "bob")
			w.loan("L", "ann")
			w.schedule("L", owes(1, "2026-03-10", 100))
			w.ok(w.PutPreferences(t.Context(), "ann", off(policy.KindUpcoming, policy.KindOverdue)))
			w.set("2026-03-12T15:00:00Z") // overdue since yesterday, which max_late would still let pass
			w.activate(mandatoryPolicy)
			w.run()
			w.activate(mandatoryPolicy + "caps: {per_person_per_day: 3}\n") // another one, which changes nothing about it
			w.run()
			if got := w.told("ann"); len(got) != 0 {
				t.Errorf("told %v", got)
			}
			w.noDrift("L")
			w.set("2026-03-17T09:00:00Z")
			w.run()
			if got := w.told("ann"); fmt.Sprint(got) != "[L 2026-03-10 100 in -7d]" {
				t.Errorf("told %v", got)
			}
			// It is in the database: another program judges alike.
			other, err := Open(t.Context(), url, Options{MaxConns: 2})
			w.ok(err)
			t.Cleanup(func() { other.Close() })
			pv, err := other.ActivePolicy(t.Context())
			w.ok(err)
			if since := pv.MandatorySince; !since[policy.KindOverdue].Equal(instantOf(t, "2026-03-12T15:00:00Z")) || len(since) != 2 {
				t.Errorf("mandatory since %v", since)
			}
		})
	})

	t.Run("StatusChangesAndMessages", func(t *testing.T) {
		testenv.Databases(t, func(t *testing.T, url string) {
			w := setup(t, url, "2026-03-01T12:00:00Z")
			w.user("bob")
			w.ok(w.PutPreferences(t.Context(), "bob", off(policy.KindStatusChanged, policy.KindRescheduled)))
			judged := func(step string) map[string]bool {
				w.t.Helper()
				var out map[string]bool
				_, err := w.addOne(t.Context(), StatusChange{ID: step, ApplicationID: "A", BorrowerID: "bob", From: "a", To: "b",
					OccurredAt: w.clock(), BodyHash: step})
				w.ok(err)
				_, err = w.tellOne(t.Context(), "A", func(_ StatusChange, people map[string]Person, _ time.Time) ([]Draft, error) {
					out = people["bob"].OptedOut
					return nil, nil
				})
				w.ok(err)
				_, err = w.requestOne(t.Context(), Request{ID: step, Body: []byte(`{}`), BodyHash: step})
				w.ok(err)
				_, err = w.TellRequest(t.Context(), step, func(Request) (Telling, error) {
					return Telling{IDs: []string{"bob"}, Tell: func(people map[string]Person, _ time.Time) ([]Draft, error) {
						if fmt.Sprint(people["bob"].OptedOut) != fmt.Sprint(out) {
							t.Errorf("%s: of a message %v, of a status change %v", step, people["bob"].OptedOut, out)
						}
						return nil, nil
					}}, nil
				})
				w.ok(err)
				return out
			}
			if got := judged("before"); !got[policy.KindStatusChanged] || !got[policy.KindRescheduled] {
				t.Errorf("opted out of %v", got)
			}
			w.activate(mandatoryPolicy)
			if got := judged("mandatory"); got[policy.KindStatusChanged] || !got[policy.KindRescheduled] {
				t.Errorf("opted out of %v", got)
			}
			w.activate(testPolicy)
			if got := judged("after"); !got[policy.KindStatusChanged] {
				t.Errorf("opted out of %v", got)
			}
		})
	})

	t.Run("AnOfficersSummaries", func(t *testing.T) {
		testenv.Databases(t, func(t *testing.T, url string) {
			w := setup(t, url, "2026-03-01T12:00:00Z")
			w.user("olga", "ann")
			w.loan("L", "ann", Party{UserID: "olga", Role: RoleOfficer, Notify: []string{policy.KindUpcoming, policy.KindOverdue}})
			w.schedule("L", owes(1, "2026-03-10", 100))
			w.ok(w.PutPreferences(t.Context(), "olga", off(policy.KindSummary)))
			w.activate(mandatoryPolicy)
			w.set("2026-03-03T09:00:00Z")
			w.run()
			if got := w.told("olga"); len(got) != 0 {
				t.Errorf("told %v", got)
			}
			if got := w.decided("L"); !slices.Contains(got, "olga 2026-03-10 repayment.upcoming -7d suppressed opted_out") {
				t.Errorf("decided %v", got)
			}
			w.set("2026-03-11T09:00:00Z")
			w.run()
			if got := w.told("olga"); fmt.Sprint(got) != "[[L of Name of ann 2026-03-10 100]]" {
				t.Errorf("told %v", got)
			}
			w.noDrift("L")
		})
	})
}

func TestTerms(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		// The pusher is a program of its own: it activates nothing and learns of it by the database.
		pusher, err := Open(t.Context(), url, Options{MaxConns: 2})
		w.ok(err)
		t.Cleanup(func() { pusher.Close() })
		terms := func(id string) string {
			t.Helper()
			return termsOf(t, t.Context(), pusher, id)
		}
		w.user("olga", "gus")
		w.ok(w.PutUser(t.Context(), User{ID: "ann", Name: "Ann", TimeZone: "Europe/Prague", Locale: "cs"}))
		w.ok(w.PutPreferences(t.Context(), "ann", Preferences{TimeZone: "Asia/Tokyo", Locale: "ja", NoQuietHours: true}))
		const lenders = "Europe/Prague cs 21:00-08:00 09:00 upcoming[-7 -3 -1][] due_today[0][] overdue[1 7 30][] rescheduled[][] status_changed[][]"
		if got := terms("ann"); got != lenders {
			t.Errorf("of the lender, whatever she asked for: %s", got)
		}
		const unknown = "UTC en 21:00-08:00 09:00 upcoming[-7 -3 -1][] due_today[0][] overdue[1 7 30][] rescheduled[][] status_changed[][]"
		if got := terms("stranger"); got != unknown {
			t.Errorf("of somebody of whom only the id is known: %s", got)
		}
		w.loan("L", "ann", Party{UserID: "olga", Role: RoleOfficer, Notify: []string{policy.KindOverdue}},
			Party{UserID: "gus", Role: RoleGuarantor, Notify: []string{policy.KindOverdue}})
		if got := terms("olga"); !strings.Contains(got, " summary[][] ") {
			t.Errorf("an officer gets summaries: %s", got)
		}
		if got := terms("gus"); got != unknown {
			t.Errorf("a guarantor doesn't: %s", got)
		}

		w.activate("reminders: [{kind: repayment.overdue, at: [3d, 1d]}]\nsend_at: '10:30'\nmandatory: [{kind: repayment.overdue, channels: [push]}, {kind: repayment.rescheduled}]\n")
		if got := terms("ann"); got != "Europe/Prague cs none 10:30 overdue[1 3][push] rescheduled[][push email] status_changed[][]" {
			t.Errorf("of the policy that is in force now: %s", got)
		}
		w.ok(w.EraseUser(t.Context(), "ann"))
		if got := terms("ann"); !strings.HasPrefix(got, "UTC en none") {
			t.Errorf("nothing of an erased person is left: %s", got)
		}
	})
}

// TestTermsBeforeThereIsAPolicy is a pusher that starts first.
func TestTermsBeforeThereIsAPolicy(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		db, _ := openMigrated(t, url)
		if got := termsOf(t, t.Context(), db, "ann"); got != "UTC en none never" {
			t.Error(got)
		}
	})
}

// termsOf is "zone locale quiet send_at kind[offsets][mandatory] …".
func termsOf(t *testing.T, ctx context.Context, db *DB, id string) string {
	t.Helper()
	p, err := db.Preferences(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	terms := p.Terms
	quiet, sendAt := "none", "never"
	if q := terms.Quiet; q != nil {
		quiet = fmt.Sprintf("%s-%s", q.From, q.To)
	}
	if terms.SendAt != nil {
		sendAt = terms.SendAt.String()
	}
	parts := []string{terms.TimeZone, terms.Locale, quiet, sendAt}
	for _, k := range terms.Kinds {
		parts = append(parts, fmt.Sprintf("%s%v%v", k.Kind[strings.Index(k.Kind, ".")+1:], k.Offsets, k.Mandatory))
	}
	return strings.Join(parts, " ")
}
