package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"duebell/internal/policy"
)

// erasure takes from the outbox and from others' inboxes what is there about a person who was erased:
//
//   - the reasons of the person's status changes, and the bodies of messages that were sent to the person;
//   - of reminders, moved dates and status changes about the person's loans and applications that others got: the text, which
//     has the borrower's name, and the reason. Title, figures and ids stay: it is the others' loan or work too;
//   - the person's name in officers' summaries;
//   - the name, if it has two words at least, and the e-mail address in messages and reasons that the loan system wrote to
//     somebody else. One word alone may be any word.
//
// What waits to be told is told, to the others and without these words. Every step leaves what it hasn't done to be found
// again, so a call that broke off can be repeated.
type erasure struct {
	db    *DB
	id    string
	words []string        // name and address, if they can be looked for
	loans map[string]bool // of which the person is the borrower
}

// erasureRows is how many rows of the outbox one transaction locks.
const erasureRows = 100

// partPages is how many pages of a table inParts reads by one statement: 256 MB, mostly less than a second's worth. However large the outbox is, no
// statement then takes longer than a statement may.
const partPages = 256 << 20 / 8192

// eraseElsewhere does it, and forgets the name at its end. It needs the person's row to be marked as erased: nobody names the
// person from then on.
func (db *DB) eraseElsewhere(ctx context.Context, id string) error {
	e := &erasure{db: db, id: id, loans: make(map[string]bool)}
	var name, email string
	err := db.query().each(ctx, func(row scanner) error { return row.Scan(&name, &email) },
		`SELECT name, COALESCE(email, '') FROM users WHERE id = ? AND erased_at IS NOT NULL`, id)
	if err != nil {
		return err
	}
	if len(strings.Fields(name)) > 1 {
		e.words = append(e.words, name)
	}
	if email != "" {
		e.words = append(e.words, email)
	}
	var loans []string
	if err := db.query().all(ctx, &loans, `SELECT id FROM loans WHERE borrower_id = ?`, id); err != nil {
		return err
	}
	for _, loan := range loans {
		e.loans[loan] = true
	}
	for _, step := range []func(context.Context) error{e.statusChanges, e.requests, e.reminders, e.summaries} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return db.write(ctx, func(ctx context.Context, tx *Tx) error {
		// The lender may have put the person there again meanwhile.
		_, err := tx.exec(ctx, `UPDATE users SET name = '', email = NULL WHERE id = ? AND erased_at IS NOT NULL`, id)
		return err
	})
}

// has is the condition that a text has one of some words in it, and its arguments. The comparison is by bytes.
func (q queryer) has(expr string, words []string) (condition string, args []any) {
	position := "instr"
	if q.pg {
		position = "strpos"
	}
	list := []string{"1 = 0"}
	for _, w := range words {
		list = append(list, position+"("+expr+", ?) > 0")
		args = append(args, w)
	}
	return "(" + strings.Join(list, " OR ") + ")", args
}

// inParts has fn read a whole table, one part after the other, which a condition on its rows makes out. All parts are of one snapshot, so it
// doesn't matter where rows go meanwhile.
func (db *DB) inParts(ctx context.Context, table string, fn func(q queryer, part string, args ...any) error) error {
	return db.readAll(ctx, func(q queryer) error {
		if !q.pg {
			return fn(q, "1 = 1")
		}
		var pages int64
		err := q.get(ctx, &pages, `SELECT pg_relation_size(CAST(CAST(? AS text) AS regclass)) / CAST(current_setting('block_size') AS bigint)`, table)
		page := func(n int64) string { return fmt.Sprintf("(%d,0)", n) }
		for first := int64(0); err == nil && first < pages; first += db.partPages {
			err = fn(q, `ctid >= CAST(CAST(? AS text) AS tid) AND ctid < CAST(CAST(? AS text) AS tid)`, page(first), page(first+db.partPages))
		}
		return err
	})
}

// statusChanges takes the reasons. No index leads from a person to the changes: the table is read once.
func (e *erasure) statusChanges(ctx context.Context) error {
	var found []StatusChange
	err := e.db.inParts(ctx, "status_changes", func(q queryer, part string, args ...any) error {
		named, words := q.has("reason", e.words)
		args = append(append(args, e.id), words...)
		list, err := q.statusChanges(ctx, part+` AND pruned_at IS NULL AND reason IS NOT NULL AND (borrower_id = ? OR `+named+`)`, "", args...)
		found = append(found, list...)
		return err
	})
	if err != nil {
		return err
	}
	others := make(map[string][]string)
	for _, c := range found {
		others[c.ID] = c.Recipients()
	}
	namesakes, err := e.namesakes(ctx, others)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(c StatusChange) bool {
		return c.BorrowerID != e.id && (namesakes[c.BorrowerID] || !e.in(c.Reason))
	})
	// By application, since whoever tells them holds its lock.
	slices.SortStableFunc(found, func(a, b StatusChange) int { return strings.Compare(a.ApplicationID, b.ApplicationID) })
	for chunk := range slices.Chunk(found, erasureRows) {
		if err := e.changes(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// changes does some of them. Those that wait to be told lose their words first. Of those that were told the words in the outbox
// go last: as long as they are there, they are found again.
func (e *erasure) changes(ctx context.Context, list []StatusChange) error {
	ids := pluck(list, func(c StatusChange) string { return c.ID })
	var told map[string]bool
	err := e.db.write(ctx, func(ctx context.Context, tx *Tx) (err error) {
		if err := tx.lockRows(ctx, "applications", slices.Compact(pluck(list, func(c StatusChange) string { return c.ApplicationID }))); err != nil {
			return err
		}
		if told, err = tx.toldIDs(ctx, "status_changes", ids); err != nil {
			return err
		}
		for _, c := range list {
			if told[c.ID] {
				continue
			}
			reason := optional(masked(c.Reason, e.words))
			if c.BorrowerID == e.id {
				reason = nil
			}
			if err := tx.setReason(ctx, c.ID, reason); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	keys := make(map[bool][]string) // by whether the change is about the person
	for _, c := range list {
		if !told[c.ID] {
			continue
		}
		about := c.BorrowerID == e.id
		for _, r := range c.Recipients() {
			keys[about] = append(keys[about], keysOf(keyedStatus, c.ID, r)...)
		}
	}
	for about, list := range keys {
		if err := e.rewordKeys(ctx, list, about); err != nil {
			return err
		}
	}
	return e.unsay(ctx, "status_changes", "reason = NULL", slices.Collect(maps.Keys(told)))
}

// setReason changes the reason of one that waits. What is left of it goes by its age, and of nothing nothing has to go.
func (tx *Tx) setReason(ctx context.Context, id string, reason *string) error {
	var pruned *time.Time
	if reason == nil {
		pruned = &tx.now
	}
	_, err := tx.exec(ctx, `UPDATE status_changes SET reason = ?, pruned_at = ? WHERE id = ?`, reason, pruned, id)
	return err
}

// toldIDs are those that aren't going to be told any more: they were, or they are parked.
func (tx *Tx) toldIDs(ctx context.Context, table string, ids []string) (map[string]bool, error) {
	told := make(map[string]bool)
	err := tx.each(ctx, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		told[id] = true
		return err
	}, `SELECT id FROM `+table+` WHERE (done_at IS NOT NULL OR parked_at IS NOT NULL) AND `+tx.in("id"), tx.list(ids))
	return told, err
}

// unsay takes the words from rows of the outbox that were told or parked. The error of a parked one may quote them.
func (e *erasure) unsay(ctx context.Context, table, set string, ids []string) error {
	slices.Sort(ids)
	for chunk := range slices.Chunk(ids, erasureRows) {
		err := e.db.write(ctx, func(ctx context.Context, tx *Tx) error {
			if err := tx.lockRows(ctx, table, chunk); err != nil {
				return err
			}
			_, err := tx.exec(ctx, `
				UPDATE `+table+`
				SET `+set+`, pruned_at = ?, error = CASE WHEN error IS NULL THEN NULL ELSE 'erased' END
				WHERE pruned_at IS NULL AND `+tx.in("id"), tx.now, tx.list(chunk))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// request is what erasure needs of the body of a request, a message of the loan system or a Rescheduled.
type request struct {
	id         string
	body       string
	told       bool            // or parked
	BorrowerID string          `json:"borrower_id"`
	UserIDs    []string        `json:"user_ids"`
	Title      string          `json:"title"`
	Body       string          `json:"body"`
	URL        string          `json:"url"`
	Data       json.RawMessage `json:"data"`
}

// requests takes what was sent to the person, and the person's name from what was sent to others. The table is read once.
func (e *erasure) requests(ctx context.Context) error {
	// As the API and the book encode them.
	words := []string{encoded(e.id)}
	for _, w := range e.words {
		words = append(words, strings.Trim(encoded(w), `"`))
	}
	var found []request
	err := e.db.inParts(ctx, "notification_requests", func(q queryer, part string, args ...any) error {
		text := "body"
		if q.pg {
			text = "body::text"
		}
		named, has := q.has(text, words)
		return q.each(ctx, func(row scanner) error {
			var r request
			if err := row.Scan(&r.id, &r.body, &r.told); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(r.body), &r); err != nil {
				return fmt.Errorf("read request %s: %w", r.id, err)
			}
			found = append(found, r)
			return nil
		}, `
			SELECT id, body, done_at IS NOT NULL OR parked_at IS NOT NULL
			FROM notification_requests
			WHERE `+part+` AND pruned_at IS NULL AND `+named, append(args, has...)...)
	})
	if err != nil {
		return fmt.Errorf("look for requests: %w", err)
	}
	slices.SortFunc(found, func(a, b request) int { return strings.Compare(a.id, b.id) })
	others := make(map[string][]string)
	for _, r := range found {
		others[r.id] = r.UserIDs
	}
	namesakes, err := e.namesakes(ctx, others)
	if err != nil {
		return err
	}
	var done []string
	keys := make(map[bool][]string) // by whether the request is about the person
	for _, r := range found {
		names := e.inRequest(&r)
		toNamesake := slices.ContainsFunc(r.UserIDs, func(id string) bool { return namesakes[id] })
		if r.BorrowerID != e.id && !slices.Contains(r.UserIDs, e.id) && (!names || toNamesake) {
			continue
		}
		if !r.told {
			if err := e.waiting(ctx, &r); err != nil {
				return err
			}
		}
		if !r.told {
			continue
		}
		if about := r.BorrowerID == e.id; about || names {
			for _, id := range r.UserIDs {
				keys[about] = append(keys[about], keysOf(keyedRequest, r.id, id)...)
			}
		}
		done = append(done, r.id)
	}
	for about, list := range keys {
		if err := e.rewordKeys(ctx, list, about); err != nil {
			return err
		}
	}
	return e.unsay(ctx, "notification_requests", "body = 'null'", done)
}

// waiting has a request told without the person and the words, unless it turns out to be told. Its row alone is locked, since
// whoever tells locks several in the order of their arrival.
func (e *erasure) waiting(ctx context.Context, r *request) error {
	return e.db.write(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.lockRows(ctx, "notification_requests", []string{r.id}); err != nil {
			return err
		}
		told, err := tx.toldIDs(ctx, "notification_requests", []string{r.id})
		r.told = told[r.id]
		if err != nil || r.told || r.BorrowerID != "" { // a moved date is told by ids, and the name is looked up then
			return err
		}
		to := slices.DeleteFunc(slices.Clone(r.UserIDs), func(id string) bool { return id == e.id })
		if len(to) == 0 {
			_, err := tx.exec(ctx, `UPDATE notification_requests SET done_at = ?, pruned_at = ?, body = 'null' WHERE id = ?`, tx.now, tx.now, r.id)
			return err
		}
		body := make(map[string]json.RawMessage)
		if err := json.Unmarshal([]byte(r.body), &body); err != nil {
			return err
		}
		body["user_ids"] = json.RawMessage(stringList(to))
		for name, text := range map[string]string{"title": r.Title, "body": r.Body, "url": r.URL} {
			if without := masked(text, e.words); without != text {
				body[name] = json.RawMessage(encoded(without))
			}
		}
		if without, changed := maskedData(r.Data, e.words); changed {
			body["data"] = without
		}
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `UPDATE notification_requests SET body = ? WHERE id = ?`, string(text), r.id)
		return err
	})
}

// inRequest says whether the words of a request name the person.
func (e *erasure) inRequest(r *request) bool {
	_, changed := maskedData(r.Data, e.words)
	return changed || e.in(r.Title) || e.in(r.Body) || e.in(r.URL)
}

// reminders takes the text from what others were sent about the person's loans.
func (e *erasure) reminders(ctx context.Context) error {
	loans := slices.Sorted(maps.Keys(e.loans))
	for chunk := range slices.Chunk(loans, tableRows) {
		for _, sent := range sentSources {
			q := e.db.query()
			var ids []string
			err := q.all(ctx, &ids, `SELECT d.notification_id FROM `+sent+` AND d.recipient <> ? AND `+q.in("d.loan_id"), e.id, q.list(chunk))
			if err != nil {
				return fmt.Errorf("look for reminders: %w", err)
			}
			if err := e.reword(ctx, ids, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// summaries takes the name from the summaries of whoever is or was told about the person's loans as an officer.
func (e *erasure) summaries(ctx context.Context) error {
	officers := make(map[string]bool)
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(e.loans)), tableRows) {
		for _, query := range []string{
			`SELECT DISTINCT user_id FROM loan_parties WHERE role = 'officer' AND `,
			// What went into a summary has a decision without a notification of its own.
			`SELECT DISTINCT recipient FROM decisions WHERE outcome = 'sent' AND notification_id IS NULL AND `,
			`SELECT DISTINCT recipient FROM reminders_sent WHERE notification_id IS NULL AND `,
		} {
			q := e.db.query()
			var ids []string
			if err := q.all(ctx, &ids, query+q.in("loan_id"), q.list(chunk)); err != nil {
				return fmt.Errorf("look for officers: %w", err)
			}
			for _, id := range ids {
				officers[id] = id != e.id
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(officers)) {
		if !officers[id] {
			continue
		}
		// Who makes a summary holds a share of the officer's row, and may have read the name before it was erased.
		err := e.db.write(ctx, func(ctx context.Context, tx *Tx) error { return tx.lockRows(ctx, "users", []string{id}) })
		if err != nil {
			return err
		}
		var ids []string
		err = e.db.query().all(ctx, &ids, `SELECT id FROM notifications WHERE recipient = ? AND kind = ? AND deleted_at IS NULL`, id, policy.KindSummary)
		if err != nil {
			return fmt.Errorf("look for summaries: %w", err)
		}
		if err := e.reword(ctx, ids, true); err != nil {
			return err
		}
	}
	return nil
}

// namesakes are those of some people who have the same name or address: what names them is theirs.
func (e *erasure) namesakes(ctx context.Context, lists map[string][]string) (map[string]bool, error) {
	same := make(map[string]bool)
	if len(e.words) == 0 {
		return same, nil
	}
	ids := make(map[string]bool)
	for _, list := range lists {
		for _, id := range list {
			ids[id] = id != e.id
		}
	}
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(ids)), tableRows) {
		q := e.db.query()
		var found []string
		err := q.all(ctx, &found, `
			SELECT id
			FROM users
			WHERE id <> ? AND erased_at IS NULL AND `+q.in("id")+` AND (`+q.in("name")+` OR `+q.in("email")+`)`,
			e.id, q.list(chunk), q.list(e.words), q.list(e.words))
		if err != nil {
			return nil, fmt.Errorf("look for people of the same name: %w", err)
		}
		for _, id := range found {
			same[id] = true
		}
	}
	return same, nil
}

func (e *erasure) in(text string) bool { return masked(text, e.words) != text }
