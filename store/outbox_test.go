package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"duebell/internal/testenv"
)

// tellMoved is how tests tell of a date that moved.
func tellMoved(r Request) (Telling, error) {
	var m Rescheduled
	if err := json.Unmarshal(r.Body, &m); err != nil {
		return Telling{}, err
	}
	return saying(m.UserIDs, Draft{Kind: m.Kind, Title: fmt.Sprintf("moved %s to %s: %d", m.From, m.To, m.Amount)}), nil
}

// saying tells all of some people the same.
func saying(ids []string, d Draft) Telling {
	return Telling{IDs: ids, Tell: func(map[string]Person, time.Time) (drafts []Draft, err error) {
		for _, id := range ids {
			d.Recipient = id
			drafts = append(drafts, d)
		}
		return drafts, nil
	}}
}

func tellStatus(c StatusChange, people map[string]Person, _ time.Time) ([]Draft, error) {
	if c.To == "unspeakable" {
		return nil, errors.New("no words for it")
	}
	var drafts []Draft
	for _, id := range c.Recipients() {
		d := Draft{Recipient: id, Kind: "application.status_changed", Title: c.ApplicationID + " " + c.To}
		if people[id].Known {
			d.Body = people[id].Name
		}
		if c.To == "unwritable" {
			d.Title = strings.Repeat("\xff", 3) // PostgreSQL takes no text that isn't UTF-8
			d.Data = []byte(`{`)
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

func change(id, application, to string, notify ...string) StatusChange {
	return StatusChange{ID: id, ApplicationID: application, BorrowerID: "ann", From: "submitted", To: to, Reason: "because",
		OccurredAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Notify: notify, BodyHash: "hash of " + id}
}

func (w *world) change(c StatusChange) {
	w.t.Helper()
	if created, err := w.addOne(w.t.Context(), c); !created || err != nil {
		w.t.Fatalf("status change %s: created %v, %v", c.ID, created, err)
	}
}

func TestOutbox(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-03-01T12:00:00Z")
		w.user("ann")

		t.Run("aChangeComesOnce", func(t *testing.T) {
			if created, err := w.addOne(t.Context(), change("c1", "A1", "approved", "otto", "ann", "otto")); !created || err != nil {
				t.Fatalf("created %v, %v", created, err)
			}
			if created, err := w.addOne(t.Context(), change("c1", "A1", "approved", "otto")); created || err != nil {
				t.Errorf("again: created %v, %v", created, err)
			}
			other := change("c1", "A1", "rejected")
			other.BodyHash = "other"
			if _, err := w.addOne(t.Context(), other); !errors.Is(err, ErrConflict) {
				t.Errorf("with another body: %v", err)
			}
			if told, err := w.tellOne(t.Context(), "A1", tellStatus); told != 1 || err != nil {
				t.Errorf("told %d, %v", told, err)
			}
			for range 5 {
				if told, err := w.tellOne(t.Context(), "A1", tellStatus); told != 0 || err != nil {
					t.Errorf("told again: %d, %v", told, err)
				}
			}
			equal(t, "ann", w.told("ann"), []string{"A1 approved"})
			equal(t, "otto", w.told("otto"), []string{"A1 approved"})
			if told, err := w.tellOne(t.Context(), "unknown", tellStatus); told != 0 || err != nil {
				t.Errorf("an unknown application: told %d, %v", told, err)
			}
		})

		// "k" to "x:eve" and "k:x" to "eve" are two facts.
		t.Run("idsMayHaveColons", func(t *testing.T) {
			one, two := change("k", "A20", "approved"), change("k:x", "A21", "approved")
			one.BorrowerID, two.BorrowerID = "x:eve", "eve"
			for _, c := range []StatusChange{one, two} {
				w.change(c)
				if told, err := w.tellOne(t.Context(), c.ApplicationID, tellStatus); told != 1 || err != nil {
					t.Errorf("%s: told %d, %v", c.ID, told, err)
				}
				equal(t, c.BorrowerID, w.told(c.BorrowerID), []string{c.ApplicationID + " approved"})
			}
			for _, c := range []StatusChange{one, two} {
				traces, _, err := w.Traces(t.Context(), c.ID)
				if err != nil || len(traces) != 1 || traces[0].Recipient != c.BorrowerID || traces[0].Source != "status change "+c.ID || traces[0].ArrivedAt == nil {
					t.Errorf("traces of %s: %+v, %v", c.ID, traces, err)
				}
			}
		})

		t.Run("claims", func(t *testing.T) {
			claim := func(retryAfter time.Duration) []Claim {
				t.Helper()
				claims, err := w.ClaimOutbox(t.Context(), 10, retryAfter)
				w.ok(err)
				return claims
			}
			want := func(got []Claim, want ...Claim) {
				t.Helper()
				if !slices.Equal(got, want) {
					t.Errorf("claims = %v, want %v", got, want)
				}
			}
			w.change(change("c2", "A2", "approved")) // the API has claimed it
			want(claim(time.Hour))
			rejected, err := w.ImportStatusChanges(t.Context(), []StatusChange{
				change("c3", "A3", "approved"), change("c4", "A3", "disbursed"), change("c2", "A2", "approved"),
				change("c1", "A1", "again")}, ImportOptions{})
			w.ok(err)
			if len(rejected) != 0 { // the hash is what counts
				t.Errorf("rejected = %v", rejected)
			}
			created, err := w.requestOne(t.Context(), Request{ID: "r1", Body: []byte(`{"a":1}`), BodyHash: "h"})
			if !created || err != nil {
				t.Fatal(created, err)
			}
			want(claim(time.Hour), Claim{ClaimStatus, "A3", 1}) // who adds a request claims it
			want(claim(time.Hour))
			// Redis was down: they come again at once, as another attempt.
			w.ok(w.UnclaimOutbox(t.Context(), []Claim{{ClaimStatus, "A3", 1}, {ClaimRequest, "r1", 0}}))
			want(claim(time.Hour), Claim{ClaimStatus, "A3", 2}, Claim{ClaimRequest, "r1", 1})
			// A lost queue: everything that isn't done comes again.
			want(claim(0), Claim{ClaimStatus, "A2", 1}, Claim{ClaimStatus, "A3", 3}, Claim{ClaimRequest, "r1", 2})
			for _, a := range []string{"A2", "A3"} {
				_, err := w.tellOne(t.Context(), a, tellStatus)
				w.ok(err)
			}
			want(claim(0), Claim{ClaimRequest, "r1", 3})
			idle, err := w.Idle(t.Context())
			if idle || err != nil {
				t.Errorf("idle %v, %v", idle, err)
			}
			told, err := w.TellRequest(t.Context(), "r1", func(r Request) (Telling, error) {
				return Telling{IDs: []string{"ann", "nobody"}, Tell: func(people map[string]Person, _ time.Time) ([]Draft, error) {
					if !people["ann"].Known || people["nobody"].Known || people["nobody"].Zone == nil {
						t.Errorf("people = %+v", people)
					}
					return []Draft{{Recipient: "nobody", Kind: "k", Title: string(r.Body)}}, nil
				}}, nil
			})
			if told != 1 || err != nil {
				t.Errorf("told %d, %v", told, err)
			}
			equal(t, "nobody", w.told("nobody"), []string{`{"a":1}`})
			want(claim(0))
			if idle, err := w.Idle(t.Context()); !idle || err != nil {
				t.Errorf("idle %v, %v", idle, err)
			}
		})

		t.Run("rowsAtOnceAreAsOneAfterTheOther", func(t *testing.T) {
			before := change("b0", "B0", "approved")
			w.change(before)
			other := change("b1", "B1", "rejected")
			other.BodyHash = "other"
			unwritable := change("b4", "B1", "unwritable")
			unwritable.Reason = "\x00"
			rows := []StatusChange{change("b2", "B2", "approved", "bea"), change("b1", "B1", "approved", "bea"), before, change("b3", "B1", "paid", "bea"),
				other, change("b1", "B1", "approved", "bea"), unwritable}
			if w.Dialect() == SQLite {
				rows = rows[:6] // it writes anything
			}
			got := w.AddStatusChanges(t.Context(), rows)
			for i, want := range []Added{{Created: true}, {Created: true}, {}, {Created: true}, {Err: ErrConflict}, {}, {}}[:len(rows)] {
				a := got[i]
				if i == 6 {
					if a.Err == nil || a.Created {
						t.Errorf("what can't be written: %+v", a)
					}
					continue
				}
				if a.Created != want.Created || !errors.Is(a.Err, want.Err) {
					t.Errorf("%s: %+v, want %+v", rows[i].ID, a, want)
				}
			}
			if claims, err := w.ClaimOutbox(t.Context(), 10, time.Hour); len(claims) != 0 || err != nil {
				t.Errorf("claimed again: %v, %v", claims, err)
			}
			told, err := w.TellApplications(t.Context(), []string{"B1", "B0", "B2", "unknown", "B1"}, tellStatus)
			if told != 4 || err != nil {
				t.Errorf("told %d, %v", told, err)
			}
			got2 := w.told("bea") // B1's rows were written before B2's, or after
			slices.Sort(got2)
			equal(t, "bea", got2, []string{"B1 approved", "B1 paid", "B2 approved"})

			requests := w.AddRequests(t.Context(), []Request{{ID: "q1", Body: []byte(`{}`), BodyHash: "h"}, {ID: "q2", Body: []byte(`{}`), BodyHash: "h"},
				{ID: "q1", Body: []byte(`{}`), BodyHash: "h"}, {ID: "q2", Body: []byte(`{"a":1}`), BodyHash: "other"}})
			if !requests[0].Created || !requests[1].Created || requests[2] != (Added{}) || !errors.Is(requests[3].Err, ErrConflict) {
				t.Errorf("requests: %+v", requests)
			}
			_, err = w.TellRequest(t.Context(), "q2", func(Request) (Telling, error) { return saying(nil, Draft{}), nil })
			w.ok(err)
		})

		t.Run("whatSomebodyHoldsKeepsNothingElseFromBeingTold", func(t *testing.T) {
			if w.Dialect() == SQLite {
				t.Skip("it has one writer")
			}
			for _, a := range []string{"H1", "H2", "H3"} {
				w.change(change("of "+a, a, "approved", "hal"))
			}
			holding, release, ended := make(chan struct{}), make(chan struct{}), make(chan error)
			go func() {
				ended <- w.write(t.Context(), func(ctx context.Context, tx *Tx) error {
					_, err := tx.exec(ctx, `SELECT 1 FROM applications WHERE id = 'H2' FOR UPDATE`)
					close(holding)
					<-release
					return err
				})
			}()
			<-holding
			all := make(chan error)
			go func() {
				told, err := w.TellApplications(t.Context(), []string{"H1", "H2", "H3"}, tellStatus)
				if told != 3 {
					err = errors.Join(err, fmt.Errorf("told %d", told))
				}
				all <- err
			}()
			for deadline := time.Now().Add(4 * time.Second); len(w.told("hal")) < 2; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("those that nobody holds aren't told")
				}
			}
			equal(t, "hal", w.told("hal"), []string{"H1 approved", "H3 approved"})
			close(release)
			w.ok(<-ended)
			w.ok(<-all)
			equal(t, "hal", w.told("hal"), []string{"H1 approved", "H3 approved", "H2 approved"})
		})

		t.Run("aPersonWhoIsHeldKeepsOnlyTheirOwnFromBeingTold", func(t *testing.T) {
			if w.Dialect() == SQLite {
				t.Skip("it has one writer")
			}
			w.user("ida")
			w.change(change("of I1", "I1", "approved", "ian"))
			w.change(change("of I2", "I2", "approved", "ida"))
			w.change(change("of I3", "I3", "approved", "ian"))
			holding, release, ended := make(chan struct{}), make(chan struct{}), make(chan error)
			go func() {
				ended <- w.write(t.Context(), func(ctx context.Context, tx *Tx) error {
					_, err := tx.exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`)
					if err == nil {
						_, err = tx.exec(ctx, `SELECT 1 FROM users WHERE id = 'ida' FOR UPDATE`)
					}
					close(holding)
					<-release
					return err
				})
			}()
			<-holding
			told, err := w.TellApplications(t.Context(), []string{"I1", "I2", "I3"}, tellStatus)
			if told != 2 || !lockTimeout(err) || !strings.Contains(err.Error(), "I2") {
				t.Errorf("told %d, %v", told, err)
			}
			equal(t, "ian", w.told("ian"), []string{"I1 approved", "I3 approved"})
			close(release)
			w.ok(<-ended)
			told, err = w.TellApplications(t.Context(), []string{"I1", "I2", "I3"}, tellStatus)
			if told != 1 || err != nil {
				t.Errorf("after all: told %d, %v", told, err)
			}
		})

		t.Run("aChangeThatCantBeToldIsParkedAlone", func(t *testing.T) {
			for i, to := range []string{"one", "unspeakable", "two", "unwritable", "three"} {
				if to == "unwritable" && w.Dialect() == SQLite {
					to = "unspeakable"
				}
				w.change(change(fmt.Sprint("p", i), "A4", to, "pat"))
			}
			if told, err := w.tellOne(t.Context(), "A4", tellStatus); told != 3 || err != nil {
				t.Errorf("told %d, %v", told, err)
			}
			equal(t, "pat", w.told("pat"), []string{"A4 one", "A4 two", "A4 three"})
			stats, err := w.Stats(t.Context())
			w.ok(err)
			if stats.OutboxParked != 2 || stats.OutboxPending != 0 {
				t.Errorf("parked %d, pending %d", stats.OutboxParked, stats.OutboxPending)
			}
		})

		t.Run("anErasedPersonIsntTold", func(t *testing.T) {
			w.user("eve")
			w.ok(w.EraseUser(t.Context(), "eve"))
			w.change(change("e1", "A5", "approved", "eve"))
			_, err := w.tellOne(t.Context(), "A5", tellStatus)
			w.ok(err)
			equal(t, "eve", w.told("eve"), nil)
			_, err = w.requestOne(t.Context(), Request{ID: "r2", Body: []byte(`{}`), BodyHash: "h"})
			w.ok(err)
			told, err := w.TellRequest(t.Context(), "r2", func(Request) (Telling, error) {
				return saying([]string{"eve", "ann"}, Draft{Kind: "k"}), nil
			})
			if told != 1 || err != nil {
				t.Errorf("told %d, %v", told, err)
			}
		})

		t.Run("requestsAreToldInOrderOfArrival", func(t *testing.T) {
			const requests = 60
			say := func(r Request) (Telling, error) {
				switch r.ID {
				case "z17":
					return Telling{}, errors.New("no words for it")
				case "z23": // to somebody whom it didn't name
					return Telling{IDs: []string{"zoe"}, Tell: func(map[string]Person, time.Time) ([]Draft, error) {
						return []Draft{{Recipient: "ann", Kind: "k"}}, nil
					}}, nil
				}
				return saying([]string{"zoe"}, Draft{Kind: "k", Title: r.ID}), nil
			}
			before, err := w.Stats(t.Context())
			w.ok(err)
			var want []string
			for i := range requests {
				id := fmt.Sprint("z", i)
				_, err := w.requestOne(t.Context(), Request{ID: id, Body: []byte(`{}`), BodyHash: "h"})
				w.ok(err)
				if i != 17 && i != 23 {
					want = append(want, id)
				}
			}
			// Tasks come in any order, and several at once.
			var all sync.WaitGroup
			var told atomic.Int64
			for teller := range 8 {
				all.Go(func() {
					for i := range requests {
						n, err := w.TellRequest(t.Context(), fmt.Sprint("z", (i*7+teller*13)%requests), say)
						if err != nil {
							t.Error(err)
						}
						told.Add(int64(n))
					}
				})
			}
			all.Wait()
			equal(t, "zoe", w.told("zoe"), want)
			if told.Load() != int64(len(want)) {
				t.Errorf("told %d", told.Load())
			}
			if stats, err := w.Stats(t.Context()); err != nil || stats.OutboxParked != before.OutboxParked+2 {
				t.Errorf("parked %d, before %d, %v", stats.OutboxParked, before.OutboxParked, err)
			}
		})

		t.Run("manyRecipientsAreSeveralTransactions", func(t *testing.T) {
			var crowd []string
			for i := range maxDrafts {
				crowd = append(crowd, fmt.Sprint("crowd", i))
			}
			for i := range 3 {
				_, err := w.requestOne(t.Context(), Request{ID: fmt.Sprint("crowd", i), Body: []byte(`{}`), BodyHash: "h"})
				w.ok(err)
			}
			plan := func(r Request) (Telling, error) { return saying(crowd, Draft{Kind: "k", Title: r.ID}), nil }
			told, tried, more, err := w.tellRequests(t.Context(), "crowd2", 100, plan)
			if told != maxDrafts || len(tried) != 1 || !more || err != nil {
				t.Errorf("told %d of %v, more %v, %v", told, tried, more, err)
			}
			told, err = w.TellRequest(t.Context(), "crowd2", plan)
			if told != 2*maxDrafts || err != nil {
				t.Errorf("told %d, %v", told, err)
			}
			equal(t, "one of the crowd", w.told("crowd7"), []string{"crowd0", "crowd1", "crowd2"})
		})

		t.Run("tellersAtOnceKeepTheOrder", func(t *testing.T) {
			const changes = 40
			var all sync.WaitGroup
			var told atomic.Int64
			var written atomic.Bool
			tell := func() {
				n, err := w.tellOne(t.Context(), "A6", tellStatus)
				if err != nil {
					t.Error(err)
				}
				told.Add(int64(n))
			}
			for range 8 {
				all.Go(func() {
					for !written.Load() {
						tell()
					}
				})
			}
			var want []string
			for i := range changes {
				w.change(change(fmt.Sprint("o", i), "A6", fmt.Sprint("step", i), "oli"))
				want = append(want, fmt.Sprint("A6 step", i))
			}
			written.Store(true)
			all.Wait()
			tell()
			equal(t, "oli", w.told("oli"), want)
			if told.Load() != changes {
				t.Errorf("%d told in all, want %d", told.Load(), changes)
			}
		})
	})
}

// A caller inside the loan system's own transaction needs nothing but SQL and the documented grants.
func TestOutboxBySQL(t *testing.T) {
	url := testenv.Postgres(t)
	w := setup(t, url, "2026-03-01T12:00:00Z")
	woken := make(chan struct{}, 100)
	listening, stop := context.WithCancel(t.Context())
	listened := make(chan error, 1)
	go func() { listened <- w.Listen(listening, func() { woken <- struct{}{} }) }()
	<-woken // the connection stands
	defer func() { stop(); w.ok(<-listened) }()

	conn, err := pgx.Connect(t.Context(), url)
	w.ok(err)
	defer conn.Close(context.Background())
	var role string
	w.ok(conn.QueryRow(t.Context(), `SELECT 'loans_' || replace(gen_random_uuid()::text, '-', '')`).Scan(&role))
	for _, statement := range []string{
		`CREATE ROLE ` + role,
		`GRANT INSERT (id, application_id, borrower_id, from_status, to_status, reason, occurred_at, notify) ON status_changes TO ` + role,
	} {
		_, err := conn.Exec(t.Context(), statement)
		w.ok(err)
	}
	defer conn.Exec(context.Background(), `RESET ROLE; DROP OWNED BY `+role+`; DROP ROLE `+role)
	_, err = conn.Exec(t.Context(), `SET ROLE `+role)
	w.ok(err)

	insert := func(tx pgx.Tx, id, to string) {
		_, err := tx.Exec(t.Context(), `
			INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, occurred_at, notify)
			VALUES ($1, 'A1', 'ann', 'submitted', $2, now(), '["gus"]')`, id, to)
		w.ok(err)
	}
	tx, err := conn.Begin(t.Context())
	w.ok(err)
	insert(tx, "s1", "rejected")
	w.ok(tx.Rollback(t.Context()))
	claims, err := w.ClaimOutbox(t.Context(), 10, time.Hour)
	w.ok(err)
	if len(claims) != 0 {
		t.Errorf("a transaction that was rolled back left %v", claims)
	}

	_, err = w.ImportStatusChanges(t.Context(), []StatusChange{change("s1", "A1", "submitted", "gus"), change("s4", "A2", "submitted")}, ImportOptions{})
	w.ok(err)
	<-woken
	tx, err = conn.Begin(t.Context())
	w.ok(err)
	insert(tx, "s2", "approved")
	// The relay isn't held up by it: the other application goes.
	claims, err = w.ClaimOutbox(t.Context(), 10, time.Hour)
	if want := []Claim{{ClaimStatus, "A2", 1}}; !slices.Equal(claims, want) || err != nil {
		t.Errorf("claimed %v beside an open transaction, want %v (%v)", claims, want, err)
	}
	insert(tx, "s3", "disbursed")
	w.ok(tx.Commit(t.Context()))
	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Error("the relay wasn't woken")
	}
	claims, err = w.ClaimOutbox(t.Context(), 10, time.Hour)
	w.ok(err)
	if want := []Claim{{ClaimStatus, "A1", 1}}; !slices.Equal(claims, want) {
		t.Fatalf("claims = %v, want %v", claims, want)
	}
	told, err := w.tellOne(t.Context(), "A1", tellStatus)
	if told != 3 || err != nil {
		t.Errorf("told %d, %v", told, err)
	}
	equal(t, "gus", w.told("gus"), []string{"A1 submitted", "A1 approved", "A1 disbursed"})

	// The checks hold for it too.
	for _, bad := range []string{`'', 'A1', 'ann'`, `'x', '', 'ann'`, `'x', 'A1', ''`} {
		_, err := conn.Exec(t.Context(), `
			INSERT INTO status_changes (id, application_id, borrower_id, from_status, to_status, occurred_at)
			VALUES (`+bad+`, 'a', 'b', now())`)
		if err == nil {
			t.Errorf("a row with %s was taken", bad)
		}
	}
	if _, err := conn.Exec(t.Context(), `SELECT 1 FROM users`); err == nil {
		t.Error("the caller can read people")
	}
}

func TestClaimsOfAQueueThatHasGoneAreGivenBack(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := setup(t, url, "2026-01-01T09:00:00Z")
		ctx := t.Context()
		if _, err := w.addOne(ctx, StatusChange{ID: "c1", ApplicationID: "a1", BorrowerID: "ada", To: "approved", OccurredAt: w.Now(), BodyHash: "h"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddTick(ctx, "reminder.run", w.Now()); err != nil {
			t.Fatal(err)
		}
		if ticks, err := w.ClaimTicks(ctx, time.Hour); err != nil || len(ticks) != 1 {
			t.Fatal(ticks, err)
		}
		// The API claims what it adds, so nothing is handed out before its age, and again once all is given back.
		for _, want := range []int{0, 1} {
			claims, err := w.ClaimOutbox(ctx, 10, time.Hour)
			if err != nil || len(claims) != want {
				t.Errorf("%d claims, want %d: %v", len(claims), want, err)
			}
			ticks, err := w.ClaimTicks(ctx, time.Hour)
			if err != nil || len(ticks) != want {
				t.Errorf("%d ticks, want %d: %v", len(ticks), want, err)
			}
			if want == 0 {
				if err := w.UnclaimAll(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
