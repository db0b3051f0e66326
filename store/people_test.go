package store

import (
	"context"
	"testing"
	"time"

	"duebell/internal/policy"
	"duebell/internal/testenv"
)

// A change of a person that is answered while a run is about to write to that person counts: either the run wrote before, and was waited for,
// or it finds out and decides again. That holds whether the person has an inbox or gets the first notification ever, and for whoever is only
// named to others.
func TestChangesOfPeopleBesideARun(t *testing.T) {
	optOut := func(w *world, ctx context.Context) error {
		return w.PutPreferences(ctx, "ann", Preferences{Channels: map[string]Channels{policy.KindUpcoming: {}}})
	}
	rename := func(w *world, ctx context.Context) error {
		return w.PutUser(ctx, User{ID: "ann", Name: "Another", TimeZone: "UTC", Locale: "en"})
	}
	erase := func(w *world, ctx context.Context) error { return w.EraseUser(ctx, "ann") }
	loan := func(w *world) { w.loan("L", "ann") }
	told := "L 2026-03-10 10000 in 7d of "
	for _, c := range []struct {
		name    string
		book    func(w *world)
		inbox   bool // there is one before the run
		change  func(w *world, ctx context.Context) error
		waits   bool // for the run
		decided []string
		ann     []string // what is told then
		gus     []string
	}{
		{"OptOut", loan, true, optOut, true, []string{"Name of ann"}, []string{told + "Name of ann"}, nil},
		{"OptOutBeforeTheFirst", loan, false, optOut, false, []string{"Name of ann", "Name of ann"}, nil, nil},
		{"Rename", loan, true, rename, true, []string{"Name of ann"}, []string{told + "Name of ann"}, nil},
		{"RenameBeforeTheFirst", loan, false, rename, false, []string{"Name of ann", "Another"}, []string{told + "Another"}, nil},
		{"Erase", loan, true, erase, true, []string{"Name of ann"}, nil, nil},
		{"EraseBeforeTheFirst", loan, false, erase, false, []string{"Name of ann"}, nil, nil},
		{"EraseWhoIsNamed", func(w *world) {
			w.user("gus")
			w.loan("L", "ann", Party{UserID: "gus", Role: RoleGuarantor, Notify: []string{policy.KindUpcoming}})
			w.ok(w.PutPreferences(w.t.Context(), "ann", Preferences{Channels: map[string]Channels{policy.KindUpcoming: {}}}))
		}, false, erase, true, []string{"Name of ann", "Name of ann"}, nil, []string{told + "[…]"}},
		// Her own comes later, by her clock: so nothing is held but a share of her. Whoever forgets her waits by itself, also if what
		// follows doesn't.
		{"ForgetWhoIsNamed", func(w *world) {
			w.user("gus")
			w.ok(w.PutUser(w.t.Context(), User{ID: "ann", Name: "Name of ann", TimeZone: "America/New_York", Locale: "en"}))
			w.loan("L", "ann", Party{UserID: "gus", Role: RoleGuarantor, Notify: []string{policy.KindUpcoming}})
		}, false, func(w *world, ctx context.Context) error { return w.forget(ctx, "ann") }, true,
			[]string{"Name of ann"}, nil, []string{told + "Name of ann"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := setup(t, testenv.Postgres(t), "2026-03-01T12:00:00Z")
			w.user("ann")
			c.book(w)
			w.schedule("L", owes(1, "2026-03-10", 10000))
			w.set("2026-03-03T09:00:00Z")
			if c.inbox {
				w.ok(w.makeEmptyInboxes(t.Context(), []string{"ann"}, func(ctx context.Context, query string, args ...any) error {
					_, err := w.writer.ExecContext(ctx, query, args...)
					return err
				}))
			}
			deciding, decide := make(chan struct{}), make(chan struct{})
			var names []string
			run := make(chan error, 1)
			go func() {
				_, err := w.RunDue(t.Context(), 10, func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
					if names == nil {
						close(deciding)
						<-decide
					}
					outcomes := judge(pv, now, rows)
					for i, row := range rows {
						names = append(names, row.Borrower)
						if outcomes[i].Send != nil {
							outcomes[i].Send.Title += " of " + row.Borrower
						}
					}
					return outcomes
				})
				run <- err
			}()
			<-deciding
			changed := make(chan error, 1)
			go func() { changed <- c.change(w, context.Background()) }()
			if c.waits {
				waitForLock(t, w)
				select {
				case err := <-changed:
					t.Fatalf("it didn't wait for the run: %v", err)
				default:
				}
			} else {
				w.ok(<-changed)
			}
			close(decide)
			w.ok(<-run)
			if c.waits {
				w.ok(<-changed)
			}
			equal(t, "names that were decided about", names, c.decided)
			equal(t, "told ann", w.told("ann"), c.ann)
			equal(t, "told gus", w.told("gus"), c.gus)
			w.follow(t.Context(), []string{"ann"})
			w.noDrift()
		})
	}
}

// A change that is first is waited for, and what the run reads behind it is what it left.
func TestRunBehindAChangeOfAPerson(t *testing.T) {
	w := setup(t, testenv.Postgres(t), "2026-03-01T12:00:00Z")
	w.user("ann")
	w.loan("L", "ann")
	w.schedule("L", owes(1, "2026-03-08", 10000), owes(2, "2026-03-10", 10000))
	w.set("2026-03-01T13:00:00Z")
	w.run() // the first one makes the inbox
	w.set("2026-03-03T09:00:00Z")
	locked, commit := make(chan struct{}), make(chan struct{})
	changed := make(chan error, 1)
	go func() {
		changed <- w.write(context.Background(), func(ctx context.Context, tx *Tx) error {
			tx.holdInboxes([]string{"ann"})
			tx.atEnd(nil, func(context.Context) error {
				close(locked)
				<-commit
				return nil
			})
			_, err := tx.exec(ctx, `UPDATE users SET name = 'Another' WHERE id = 'ann'`)
			return err
		})
	}()
	<-locked
	var names []string
	run := make(chan error, 1)
	go func() {
		_, err := w.RunDue(t.Context(), 10, func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
			names = pluck(rows, func(row DueRow) string { return row.Person.Name })
			return judge(pv, now, rows)
		})
		run <- err
	}()
	waitForLock(t, w)
	close(commit)
	w.ok(<-changed)
	w.ok(<-run)
	equal(t, "the run read", names, []string{"Another"})
}
