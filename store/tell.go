package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// TellStatus makes the notifications of one status change (a Draft without a Key gets one, and those for people who were erased
// are dropped). It must not use the store.
type TellStatus func(change StatusChange, people map[string]Person, now time.Time) ([]Draft, error)

// TellApplications tells everything that waits for some applications, in the order of its arrival, and says how many changes that
// was. A change that tell refuses with an error, or that can't be written, is parked alone, and one that waits for a lock keeps no
// other from being told. It is safe to call at any time, any number of times and at once: each change is told once. After an error
// the same call goes on.
func (db *DB) TellApplications(ctx context.Context, ids []string, tell TellStatus) (told int, err error) {
	var alone []string
	for some := range slices.Chunk(ids, tellLimit) {
		n, held, err := 0, some, error(nil)
		if len(some) > 1 {
			n, held, err = db.tellTogether(ctx, some, tell)
		}
		told += n
		switch {
		case err == nil:
			alone = append(alone, held...)
		case lockTimeout(err): // somebody holds a person, perhaps of one of them only
			alone = append(alone, some...)
		default:
			return told, fmt.Errorf("tell applications: %w", err)
		}
	}
	for _, id := range alone {
		n, failed := db.tellAll(ctx, "status_changes", tellLimit, func(limit int) (int, []string, bool, error) {
			n, _, tried, more, err := db.tellChanges(ctx, []string{id}, (*Tx).forUpdate, limit, tell)
			return n, tried, more, err
		})
		told += n
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("tell application %s: %w", id, failed))
		}
	}
	return told, err
}

// tellLimit is how many applications, and how many changes, are told in one transaction.
const tellLimit = 200

// tellTogether leaves out the applications that somebody else holds, and answers them: they are being told, or a caller's
// transaction has just added to them.
func (db *DB) tellTogether(ctx context.Context, ids []string, tell TellStatus) (told int, held []string, err error) {
	free := ids
	told, err = db.tellAll(ctx, "status_changes", tellLimit, func(limit int) (int, []string, bool, error) {
		n, mine, tried, more, err := db.tellChanges(ctx, free, (*Tx).skipLocked, limit, tell)
		if err == nil {
			free = mine
		}
		return n, tried, more, err
	})
	for _, id := range ids {
		if !slices.Contains(free, id) {
			held = append(held, id)
		}
	}
	return told, held, err
}

// tellAll tells rows of the outbox in batches until there are no more. One that can't be written is parked alone.
func (db *DB) tellAll(ctx context.Context, table string, size int,
	batch func(limit int) (told int, tried []string, more bool, err error)) (told int, err error) {
	for {
		done, tried, more, err := batch(size)
		told += done
		switch {
		case err == nil && !more:
			return told, nil
		case err == nil:
		case !badRow(err) || len(tried) == 0:
			return told, err
		case len(tried) > 1:
			size = 1 // alone, so that the bad one shows itself
		default:
			db.log.ErrorContext(ctx, "what can't be written is parked", "table", table, "id", tried[0], "error", err)
			if err := db.park(ctx, table, tried[0], err); err != nil {
				return told, err
			}
		}
	}
}

// tellChanges tells the oldest changes of those applications that lock lets it have, in one transaction.
func (db *DB) tellChanges(ctx context.Context, ids []string, lock func(*Tx) string, limit int,
	tell TellStatus) (told int, mine, tried []string, more bool, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		told, mine, tried, more = 0, nil, nil, false
		var changes []StatusChange
		var version int64
		err := tx.together(ctx,
			// Whoever tells, claims or adds to an application waits here, or is waited for.
			statement{what: "lock applications", query: `SELECT id FROM applications WHERE ` + tx.in("id") + ` ORDER BY id` + lock(tx),
				args: []any{tx.list(ids)}, scan: texts(&mine)},
			// Ranges of status_changes_pending.
			readStatusChanges(&changes, tx.in("application_id")+` AND done_at IS NULL AND parked_at IS NULL`, ` LIMIT ?`, tx.list(ids), limit),
			readPolicyVersion(&version))
		if err != nil {
			return err
		}
		more = len(changes) == limit
		changes = slices.DeleteFunc(changes, func(c StatusChange) bool { return !slices.Contains(mine, c.ApplicationID) })
		if len(changes) == 0 {
			more = more && len(mine) > 0
			return nil
		}
		pv, err := db.policyOf(ctx, tx.queryer, version)
		if err != nil {
			return err
		}
		var ids []string
		for _, c := range changes {
			tried = append(tried, c.ID)
			ids = append(ids, c.Recipients()...)
		}
		found, err := tx.peopleByID(ctx, ids, forShare, pv, tx.lockAll(ids))
		if err != nil {
			return err
		}
		people := byValue(found)
		var drafts []Draft
		var done []string
		for _, c := range changes {
			own, err := guard(func() ([]Draft, error) { return tell(c, people, tx.now) })
			if err != nil {
				db.log.ErrorContext(ctx, "a status change can't be told and is parked", "status_change", c.ID, "error", err)
				if err := tx.park(ctx, "status_changes", c.ID, err); err != nil {
					return err
				}
				continue
			}
			done = append(done, c.ID)
			drafts = append(drafts, keyed(own, keyedStatus, c.ID, func(id string) bool { return people[id].Erased })...)
		}
		told = len(done)
		return tx.tell(ctx, "status_changes", done, drafts)
	})
	if err != nil {
		told = 0
	}
	return told, mine, tried, more, err
}

// Telling is how a request is told: to whom it may go, and what is said when those are known. Tell must not use the store.
type Telling struct {
	IDs  []string
	Tell func(people map[string]Person, now time.Time) ([]Draft, error)
}

// maxDrafts ends a batch of requests, each of which may have thousands of recipients.
const maxDrafts = 2000

// TellRequest tells one request, after all that came before it and still wait, so that what a loan system says in order is
// heard in order; it answers how many notifications that were: 0 if it was told before. plan and what it answers make the
// notifications, as TellStatus does; a draft for somebody who isn't among the IDs is refused. A request that they refuse
// with an error, or that can't be written, is parked alone.
func (db *DB) TellRequest(ctx context.Context, id string, plan func(r Request) (Telling, error)) (told int, err error) {
	told, err = db.tellAll(ctx, "notification_requests", 100, func(limit int) (int, []string, bool, error) {
		return db.tellRequests(ctx, id, limit, plan)
	})
	if err != nil {
		return told, fmt.Errorf("tell request: %w", err)
	}
	return told, nil
}

// tellRequests tells the oldest requests, up to one of them, in one transaction.
func (db *DB) tellRequests(ctx context.Context, last string, limit int,
	plan func(Request) (Telling, error)) (told int, tried []string, more bool, err error) {
	err = db.write(ctx, func(ctx context.Context, tx *Tx) error {
		told, tried, more = 0, nil, false
		var requests []Request
		var version int64
		err := tx.together(ctx, tx.pendingRequests(&requests, last, limit), readPolicyVersion(&version))
		if err != nil || len(requests) == 0 {
			return err
		}
		more = len(requests) == limit
		refuse := func(id string, reason error) error {
			db.log.ErrorContext(ctx, "a request can't be told and is parked", "request", id, "error", reason)
			return tx.park(ctx, "notification_requests", id, reason)
		}
		plans := make(map[string]Telling, len(requests))
		var ids []string
		for _, r := range requests {
			p, err := guard(func() (Telling, error) { return plan(r) })
			if err != nil {
				if err := refuse(r.ID, err); err != nil {
					return err
				}
				continue
			}
			if len(tried) > 0 && len(ids)+len(p.IDs) > maxDrafts {
				more = true // it and what follows have their turn next
				break
			}
			plans[r.ID] = p
			tried = append(tried, r.ID)
			ids = append(ids, p.IDs...)
		}
		pv, err := db.policyOf(ctx, tx.queryer, version)
		if err != nil {
			return err
		}
		// All at once, since people are locked in order.
		found, err := tx.peopleByID(ctx, ids, forShare, pv, tx.lockAll(ids))
		if err != nil {
			return err
		}
		people := byValue(found)
		var drafts []Draft
		var done []string
		for _, id := range tried {
			own, err := guard(func() ([]Draft, error) { return plans[id].Tell(people, tx.now) })
			if i := slices.IndexFunc(own, func(d Draft) bool { return found[d.Recipient] == nil }); err == nil && i >= 0 {
				err = fmt.Errorf("%q is told and isn't among its people", own[i].Recipient)
			}
			if err != nil {
				if err := refuse(id, err); err != nil {
					return err
				}
				continue
			}
			done = append(done, id)
			drafts = append(drafts, keyed(own, keyedRequest, id, func(id string) bool { return people[id].Erased })...)
		}
		told = len(drafts)
		return tx.tell(ctx, "notification_requests", done, drafts)
	})
	if err != nil {
		told = 0
	}
	return told, tried, more, err
}

// pendingRequests locks the oldest requests, up to one of them, in order of arrival: who tells a later one waits here until
// the earlier ones are done. The index notification_requests_pending has just these.
func (tx *Tx) pendingRequests(requests *[]Request, last string, limit int) statement {
	return statement{what: "lock requests", query: pendingRequestsQuery + tx.forUpdate(), args: []any{last, limit}, scan: func(row scanner) error {
		var r Request
		var body string
		err := row.Scan(&r.ID, &body, &r.BodyHash)
		r.Body = []byte(body)
		*requests = append(*requests, r)
		return err
	}}
}

const pendingRequestsQuery = `
	SELECT id, body, body_hash
	FROM notification_requests
	WHERE done_at IS NULL AND parked_at IS NULL
		AND seq <= (SELECT seq FROM notification_requests WHERE id = ? AND done_at IS NULL AND parked_at IS NULL)
	ORDER BY seq
	LIMIT ?`

// tell writes notifications and marks what they tell as done, in one transaction.
func (tx *Tx) tell(ctx context.Context, table string, done []string, drafts []Draft) error {
	err := tx.post(ctx, "mark as told", `UPDATE `+table+` SET done_at = ? WHERE `+tx.in("id"), tx.now, tx.list(done))
	if err != nil || len(drafts) == 0 {
		return err
	}
	tx.atEnd(pluck(drafts, func(d Draft) string { return d.Recipient }), func(ctx context.Context) error {
		_, err := tx.insert(ctx, drafts)
		return err
	})
	return nil
}

// What of the outbox a notification tells, as its key has it.
const (
	keyedStatus  = "status"
	keyedRequest = "request"
)

// keyOf is the key of the notification by which a recipient is told of a row of the outbox. Any id may have a colon in it: escaped in
// that of the row, it can't be taken for the one in front of the recipient, so no two facts have one key.
func keyOf(source, told, recipient string) string {
	return source + ":" + colonEscaped.Replace(told) + ":" + recipient
}

// keysOf are the keys under which that may stand: programs before 2026-11-29 escaped nothing.
func keysOf(source, told, recipient string) []string {
	return slices.Compact([]string{keyOf(source, told, recipient), source + ":" + told + ":" + recipient})
}

var (
	colonEscaped   = strings.NewReplacer("%", "%25", ":", "%3A")
	colonUnescaped = strings.NewReplacer("%25", "%", "%3A", ":")
)

// keyedBy is the row of the outbox that a recipient's notification with that key tells, if it is of that source.
func keyedBy(key, source, recipient string) (told string, ok bool) {
	told, ok = strings.CutPrefix(key, source+":")
	return colonUnescaped.Replace(strings.TrimSuffix(told, ":"+recipient)), ok
}

// keyed gives drafts the key of what they tell and leaves out those for people who were erased.
func keyed(drafts []Draft, source, told string, erased func(id string) bool) []Draft {
	list := make([]Draft, 0, len(drafts))
	for _, d := range drafts {
		if erased(d.Recipient) {
			continue
		}
		if d.Key == "" {
			d.Key = keyOf(source, told, d.Recipient)
		}
		list = append(list, d)
	}
	return list
}

// park takes a row of the outbox out of it, for an operator to look at.
func (tx *Tx) park(ctx context.Context, table, id string, reason error) error {
	return tx.post(ctx, "park", `UPDATE `+table+` SET parked_at = ?, error = ? WHERE id = ? AND done_at IS NULL`,
		tx.now, shortened(reason), id)
}

func (db *DB) park(ctx context.Context, table, id string, reason error) error {
	return db.write(ctx, func(ctx context.Context, tx *Tx) error { return tx.park(ctx, table, id, reason) })
}

// shortened is the text of an error that is kept with what failed.
func shortened(err error) string {
	const most = 500
	text := err.Error()
	if len(text) > most {
		text = text[:most]
	}
	// An error may quote what can't be stored.
	return string(slices.DeleteFunc([]rune(text), func(r rune) bool { return r == 0 || r == '\ufffd' }))
}

// panicked is a callback's panic, which must not take a batch down with it.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// guard calls fn and turns its panic into an error.
func guard[T any](fn func() (T, error)) (result T, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value, debug.Stack()}
		}
	}()
	return fn()
}

// byValue is for callers, who shan't change what others share.
func byValue(people map[string]*Person) map[string]Person {
	list := make(map[string]Person, len(people))
	for id, p := range people {
		list[id] = *p
	}
	return list
}
