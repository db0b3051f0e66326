package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"duebell/internal/policy"
	"duebell/internal/testenv"
)

// telling is how these tests make words: as the programs do, with everything in them that must go.
type telling struct{ *world }

func (w telling) run() {
	w.t.Helper()
	decide := func(pv PolicyVersion, now time.Time, rows []DueRow) []Outcome {
		outcomes := judge(pv, now, rows)
		for i, row := range rows {
			if d := outcomes[i].Send; d != nil && row.Role == RoleOfficer {
				outcomes[i].Send = nil // it goes into the summary
			} else if d != nil {
				d.Body = "borrower " + row.Borrower
				d.Data = json.RawMessage(`{"loan_id":"` + row.LoanID + `","amount":100.00}`)
			}
		}
		return outcomes
	}
	for {
		n, err := w.RunDue(w.t.Context(), 100, decide)
		w.ok(err)
		if n == 0 {
			break
		}
	}
	_, err := w.FlushSummaries(w.t.Context(), func(officer Person, items []SummaryItem) (Draft, error) {
		var lines []map[string]string
		for _, i := range items {
			lines = append(lines, map[string]string{"loan_id": i.LoanID, "borrower": i.BorrowerName})
		}
		data, err := json.Marshal(map[string]any{"items": lines})
		return Draft{Recipient: officer.ID, Kind: policy.KindSummary, Title: "Summary", Body: "For you", Data: data}, err
	})
	w.ok(err)
}

// say tells one request: a message, or a date that moved.
func (w telling) say(id string) {
	w.t.Helper()
	_, err := w.TellRequest(w.t.Context(), id, func(r Request) (Telling, error) {
		var m struct {
			UserIDs    []string `json:"user_ids"`
			BorrowerID string   `json:"borrower_id"`
			Title      string
			Body       string
			Data       json.RawMessage
		}
		if err := json.Unmarshal(r.Body, &m); err != nil {
			return Telling{}, err
		}
		if m.BorrowerID == "" {
			return saying(m.UserIDs, Draft{Kind: "bank.news", Title: m.Title, Body: m.Body, Data: m.Data}), nil
		}
		return Telling{IDs: append(m.UserIDs, m.BorrowerID), Tell: func(people map[string]Person, _ time.Time) (drafts []Draft, err error) {
			for _, id := range m.UserIDs {
				drafts = append(drafts, Draft{Recipient: id, Kind: policy.KindRescheduled, Title: "moved", Body: "borrower " + people[m.BorrowerID].Name})
			}
			return drafts, nil
		}}, nil
	})
	w.ok(err)
}

func (w telling) post(id, title, body, data string, to ...string) {
	w.t.Helper()
	m := map[string]any{"user_ids": to, "kind": "bank.news", "title": title, "body": body}
	if data != "" {
		m["data"] = json.RawMessage(data)
	}
	text, err := json.Marshal(m)
	w.ok(err)
	_, err = w.requestOne(w.t.Context(), Request{ID: id, Body: text, BodyHash: "hash of " + id})
	w.ok(err)
}

func (w telling) add(id, application, borrower, reason string, notify ...string) {
	w.t.Helper()
	_, err := w.addOne(w.t.Context(), statusOf(id, application, borrower, reason, notify...))
	w.ok(err)
}

func statusOf(id, application, borrower, reason string, notify ...string) StatusChange {
	return StatusChange{ID: id, ApplicationID: application, BorrowerID: borrower, From: "submitted", To: "rejected", Reason: reason,
		OccurredAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Notify: notify, BodyHash: "hash of " + id}
}

func (w telling) sayStatus(application string) {
	w.t.Helper()
	_, err := w.tellOne(w.t.Context(), application, func(c StatusChange, _ map[string]Person, _ time.Time) (drafts []Draft, err error) {
		data, err := json.Marshal(map[string]string{"application_id": c.ApplicationID, "reason": c.Reason})
		for _, id := range c.Recipients() {
			drafts = append(drafts, Draft{Recipient: id, Kind: policy.KindStatusChanged, Title: c.ApplicationID + " rejected", Body: "Reason: " + c.Reason, Data: data})
		}
		return drafts, err
	})
	w.ok(err)
}

// inbox is what somebody has, oldest first, as "title | body | data".
func (w telling) inbox(recipient string) (list []string) {
	w.t.Helper()
	page, err := w.Changes(w.t.Context(), recipient, 0, "", 1000)
	w.ok(err)
	slices.SortFunc(page.Items, func(a, b Notification) int { return int(a.CreatedRev - b.CreatedRev) })
	for _, n := range page.Items {
		list = append(list, strings.TrimRight(fmt.Sprintf("%s | %s | %s", n.Title, n.Body, n.Data), "| "))
	}
	return list
}

func (w telling) head(recipient string) Counts {
	w.t.Helper()
	page, err := w.Changes(w.t.Context(), recipient, 0, "", 1)
	w.ok(err)
	return page.Counts
}

// everywhere are the rows of all tables that have a text in them.
func (w telling) everywhere(text string) (list []string) {
	w.t.Helper()
	tables := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`
	if w.Dialect() == Postgres {
		tables = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`
	}
	var names []string
	w.ok(w.query().all(w.t.Context(), &names, tables))
	if len(names) < 15 {
		w.t.Fatalf("only the tables %v", names)
	}
	for _, name := range names {
		rows, err := w.query().ext.QueryxContext(w.t.Context(), `SELECT * FROM `+name)
		w.ok(err)
		for rows.Next() {
			values, err := rows.SliceScan()
			w.ok(err)
			row := name
			for _, v := range values {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				row += fmt.Sprintf(" %v", v)
			}
			if strings.Contains(row, text) {
				list = append(list, row)
			}
		}
		w.ok(rows.Err())
		rows.Close()
	}
	return list
}

// What is about a person leaves everything when the person is erased, others' inboxes too, and theirs stay theirs.
func TestErasureTakesAPersonsWords(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := telling{setup(t, url, "2026-03-01T08:30:00Z")}
		for id, name := range map[string]string{"ada": "Ada Lovelace", "ada2": "Ada Lovelace", "ben": "Ben Bit", "zed": "Zed", "off": "Olga Officer"} {
			w.ok(w.PutUser(t.Context(), User{ID: id, Name: name, Email: id + "@example.org", TimeZone: "UTC", Locale: "en"}))
		}
		for id, borrower := range map[string]string{"L1": "ada", "L2": "ben"} {
			parties := []Party{{UserID: "off", Role: RoleOfficer, Notify: policy.Kinds()}}
			if id == "L1" {
				parties = append(parties, Party{UserID: "ben", Role: RoleCoBorrower, Notify: policy.Kinds()})
			}
			w.loan(id, borrower, parties...)
			w.schedule(id, owes(1, "2026-03-02", 10000))
		}
		w.set("2026-03-01T09:00:00Z")
		w.run()
		w.schedule("L1", owes(1, "2026-03-20", 10000))
		w.say("duebell:rescheduled:L1:1:2026-03-02:2026-03-20")

		w.add("c1", "A1", "ada", "she lost her job", "off")
		w.add("c2", "A2", "zed", "the guarantor Ada Lovelace withdrew", "off")
		w.add("c3", "A3", "ada2", "Ada Lovelace has moved", "off")
		for _, application := range []string{"A1", "A2", "A3"} {
			w.sayStatus(application)
		}
		w.add("c4", "A4", "ada", "she never wrote", "off")
		w.add("c5", "A5", "zed", "Ada Lovelace never wrote", "off")
		w.add("c6", "A6", "zed", "nothing about Ada Lovelacey", "off")

		w.post("r1", "Your secret", "is 17", "", "ada")
		w.post("r2", "Rates", "are up", "", "ada", "zed")
		w.post("r3", "Ada Lovelace called", "Call Ada Lovelace (ada@example.org).", `{"n":1.50,"who":["Ada Lovelace"]}`, "off")
		w.post("r4", "Dear Ada Lovelace", "Welcome", "", "ada2")
		for _, id := range []string{"r1", "r2", "r3", "r4"} {
			w.say(id)
		}
		w.post("r5", "Your next secret", "is 19", "", "ada")
		w.post("r6", "To Ada Lovelace and Zed", "both", `{"to":"ada@example.org"}`, "ada", "zed")

		before := map[string]Counts{}
		for _, id := range []string{"ben", "zed", "off", "ada2"} {
			before[id] = w.head(id)
		}
		ada2, zed := w.inbox("ada2"), w.inbox("zed")
		w.committed.take()
		w.ok(w.EraseUser(t.Context(), "ada"))
		changes := w.committed.take()

		for _, secret := range []string{"she lost her job", "she never wrote", "secret", "ada@example.org", "the guarantor Ada Lovelace", "Ada Lovelace called"} {
			if rows := w.everywhere(secret); len(rows) > 0 {
				t.Errorf("%q is still in\n%s", secret, strings.Join(rows, "\n"))
			}
		}
		// The other Ada Lovelace's record, reason, message and inboxes, and a name that only begins like hers.
		for _, row := range w.everywhere("Ada Lovelace") {
			if !strings.Contains(row, "ada2") && !strings.Contains(row, "Ada Lovelace has moved") && !strings.Contains(row, "Lovelacey") {
				t.Errorf("her name is still in\n%s", row)
			}
		}
		equal(t, "ada2", w.inbox("ada2"), ada2)
		equal(t, "ben", w.inbox("ben"), []string{
			`L1 2026-03-02 10000 in 1d |  | {"loan_id":"L1","amount":100.00}`,
			`L2 2026-03-02 10000 in 1d | borrower Ben Bit | {"loan_id":"L2","amount":100.00}`,
			"moved"})
		equal(t, "off", w.inbox("off"), []string{
			`Summary | For you | {"items":[{"borrower":"","loan_id":"L1"},{"borrower":"Ben Bit","loan_id":"L2"}]}`,
			`A1 rejected |  | {"application_id":"A1"}`,
			`A2 rejected | Reason: the guarantor […] withdrew | {"application_id":"A2","reason":"the guarantor […] withdrew"}`,
			`A3 rejected | Reason: Ada Lovelace has moved | {"application_id":"A3","reason":"Ada Lovelace has moved"}`,
			`[…] called | Call […] ([…]). | {"n":1.50,"who":["[…]"]}`})
		zed[0] = strings.ReplaceAll(zed[0], "Ada Lovelace", "[…]")
		equal(t, "zed", w.inbox("zed"), zed)

		// Each is a change as any other, so that screens follow, and nothing becomes unread by it.
		revs := map[string]int64{}
		for _, c := range changes {
			if c.Recipient == "ada" {
				continue
			}
			if at := max(revs[c.Recipient], before[c.Recipient].Rev); c.From != at || c.Rev != at+1 || len(c.Items) == 0 || c.Reset {
				t.Errorf("change of %s from %d to %d with %d items, at %d before", c.Recipient, c.From, c.Rev, len(c.Items), at)
			}
			revs[c.Recipient] = c.Rev
			for _, n := range c.Items {
				if strings.Contains(n.Body, "lost her job") || strings.Contains(n.Title, "Ada Lovelace") {
					t.Errorf("published to %s: %+v", c.Recipient, n)
				}
			}
		}
		for id, was := range before {
			now := w.head(id)
			if now.Unread != was.Unread || now.Unseen != was.Unseen || now.Total != was.Total || now.Rev != max(was.Rev, revs[id]) {
				t.Errorf("%s had %+v, has %+v; published up to %d", id, was, now, revs[id])
			}
		}

		// What waited is told to the others, without her.
		w.sayStatus("A4")
		w.sayStatus("A5")
		w.sayStatus("A6")
		w.say("r6")
		off := w.inbox("off")
		equal(t, "told off", off[len(off)-3:], []string{
			`A4 rejected | Reason:  | {"application_id":"A4","reason":""}`,
			`A5 rejected | Reason: […] never wrote | {"application_id":"A5","reason":"[…] never wrote"}`,
			`A6 rejected | Reason: nothing about Ada Lovelacey | {"application_id":"A6","reason":"nothing about Ada Lovelacey"}`})
		zed = w.inbox("zed")
		equal(t, "told zed", zed[len(zed)-1:], []string{`To […] and Zed | both | {"to":"[…]"}`})
		equal(t, "told ada", w.inbox("ada"), nil)
		b, err := w.Stats(t.Context())
		w.ok(err)
		if b.OutboxPending != 0 || b.OutboxParked != 0 {
			t.Errorf("%d rows wait and %d are parked", b.OutboxPending, b.OutboxParked)
		}

		// The loan system's repetitions are still known as such, and nobody is told again.
		created, err := w.addOne(t.Context(), statusOf("c1", "A1", "ada", "she lost her job", "off"))
		if created || err != nil {
			t.Errorf("the same status change again: created %t, %v", created, err)
		}
		if created, err := w.requestOne(t.Context(), Request{ID: "r1", Body: []byte(`{}`), BodyHash: "hash of r1"}); created || err != nil {
			t.Errorf("the same message again: created %t, %v", created, err)
		}
		w.committed.take()
		w.ok(w.EraseUser(t.Context(), "ada"))
		for _, c := range w.committed.take() {
			if c.Recipient != "ada" {
				t.Errorf("a second erasure changes %+v", c)
			}
		}
	})
}

// TestErasureFindsWhatOlderProgramsTold, whose keys had ids as they are.
func TestErasureFindsWhatOlderProgramsTold(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := telling{setup(t, url, "2026-03-01T08:30:00Z")}
		w.user("ada")
		w.change(statusOf("c:1", "A1", "ada", "Ada is ill", "otto"))
		w.sayStatus("A1")
		w.change(statusOf("c:2", "A2", "ada", "Ada is worse", "otto"))
		w.sayStatus("A2")
		old, err := w.writer.ExecContext(t.Context(), `UPDATE notification_keys SET key = 'status:c:1:otto' WHERE key = 'status:c%3A1:otto'`)
		w.ok(err)
		if n, err := old.RowsAffected(); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		w.ok(w.EraseUser(t.Context(), "ada"))
		for _, n := range w.inbox("otto") {
			if strings.Contains(n, "Ada") || !strings.Contains(n, " rejected") {
				t.Errorf("otto has %q", n)
			}
		}
	})
}

// TestErasureReadsTheWholeOutbox, whose parts are smaller here than an outbox of any size would have them, also while rows of it go elsewhere.
func TestErasureReadsTheWholeOutbox(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := telling{setup(t, url, "2026-03-01T08:30:00Z")}
		w.ok(w.PutUser(t.Context(), User{ID: "ada", Name: "Ada Lovelace", TimeZone: "UTC", Locale: "en"}))
		w.partPages = 1
		var changes []StatusChange
		for i := range 1000 {
			borrower, reason := "zed", "because of "+strings.Repeat("this ", 20)
			if i%50 == 7 {
				borrower, reason = "ada", "Ada's secret"
			}
			changes = append(changes, statusOf(fmt.Sprint("c", i), fmt.Sprint("A", i), borrower, reason, "otto"))
			if i%20 == 0 {
				text := strings.Repeat("News. ", 50)
				if i%100 == 0 {
					text = "Ada Lovelace called. " + text
				}
				w.post(fmt.Sprint("r", i), "News", text, "", "otto")
			}
		}
		_, err := w.ImportStatusChanges(t.Context(), changes, ImportOptions{})
		w.ok(err)

		parts := 0
		w.ok(w.inParts(t.Context(), "status_changes", func(q queryer, part string, args ...any) error {
			if parts++; parts == 2 { // all rows move to the end of the table, or to what is free at its beginning
				_, err := w.writer.ExecContext(t.Context(), `UPDATE status_changes SET created_at = created_at`)
				w.ok(err)
			}
			var n int
			err := q.get(t.Context(), &n, `SELECT count(*) FROM status_changes WHERE `+part, args...)
			if n == 0 && parts < 20 && w.Dialect() == Postgres {
				t.Errorf("part %d has no rows", parts)
			}
			return err
		}))
		if w.Dialect() == Postgres && parts < 20 {
			t.Errorf("it was read in %d parts", parts)
		}
		w.ok(w.EraseUser(t.Context(), "ada"))
		if rows := w.everywhere("Ada"); len(rows) > 0 {
			t.Errorf("she is still in\n%s", strings.Join(rows, "\n"))
		}
		left := w.lines(t, `SELECT id FROM status_changes WHERE reason IS NOT NULL`)
		if len(left) != 980 {
			t.Errorf("%d reasons are left", len(left))
		}
	})
}

// From the first transaction of an erasure on nobody is told the name, and one that broke off then is finished by the next call.
func TestErasureThatBrokeOff(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		w := telling{setup(t, url, "2026-03-01T08:30:00Z")}
		for id, name := range map[string]string{"ada": "Ada Lovelace", "ben": "Ben Bit", "off": "Olga Officer"} {
			w.ok(w.PutUser(t.Context(), User{ID: id, Name: name, TimeZone: "UTC", Locale: "en"}))
		}
		w.loan("L1", "ada", Party{UserID: "off", Role: RoleOfficer, Notify: policy.Kinds()}, Party{UserID: "ben", Role: RoleCoBorrower, Notify: policy.Kinds()})
		w.schedule("L1", owes(1, "2026-03-02", 10000))
		w.add("c1", "A1", "ada", "Ada Lovelace moved", "off")
		w.sayStatus("A1")
		w.post("r1", "Ada Lovelace called", "and hung up", "", "ben")
		w.say("r1")

		w.ok(w.forget(t.Context(), "ada"))
		w.set("2026-03-01T09:00:00Z")
		w.run()
		equal(t, "ben", w.inbox("ben"), []string{"Ada Lovelace called | and hung up", `L1 2026-03-02 10000 in 1d | borrower  | {"loan_id":"L1","amount":100.00}`})
		off := w.inbox("off")
		equal(t, "off", off[1:], []string{`Summary | For you | {"items":[{"borrower":"","loan_id":"L1"}]}`})

		w.ok(w.EraseUser(t.Context(), "ada"))
		if rows := w.everywhere("Ada"); len(rows) > 0 {
			t.Errorf("her name is still in\n%s", strings.Join(rows, "\n"))
		}
	})
}

func TestMasked(t *testing.T) {
	words := []string{"Ada Lovelace", "ada@example.org"}
	for text, want := range map[string]string{
		"":                                 "",
		"Ada Lovelace":                     "[…]",
		"Ada Lovelace, Ada Lovelace!":      "[…], […]!",
		"Ada Lovelace's":                   "[…]'s",
		"Ada Lovelacey or ÄAda Lovelace":   "Ada Lovelacey or ÄAda Lovelace",
		"Ada":                              "Ada",
		"mail <ada@example.org>":           "mail <[…]>",
		"not Jada Lovelace, Ada Lovelace1": "not Jada Lovelace, Ada Lovelace1",
		"Ada Lovelacey is no Ada Lovelace": "Ada Lovelacey is no […]",
	} {
		if got := masked(text, words); got != want {
			t.Errorf("masked(%q) = %q, want %q", text, got, want)
		}
	}
}
