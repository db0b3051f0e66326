package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// aloneWithin is how long a scheduler and a worker may take for a message while the others are down. What the others had
// claimed comes back after 30 s.
const aloneWithin = 90 * time.Second

// checkAlone shows that each program survived and doesn't only look so: while there are two of each, one does the work of another
// that hangs. Two messages go to each scheduler by itself, with one worker, while all others are frozen; a new start would heal
// them.
func checkAlone(ctx context.Context, in *installation, l *lender, db *database, found *findings) {
	for i, base := range in.admin {
		ctx, cancel := context.WithTimeout(ctx, 2*aloneWithin)
		var thaw []func()
		for _, p := range in.programs {
			if len(in.programs) > 1 && !strings.HasPrefix(p.name, "pusher") && !strings.HasSuffix(p.name, fmt.Sprint("-", i+1)) {
				thaw = append(thaw, p.freeze())
			}
		}
		for n := range 2 {
			who := l.ledger.people[n].id
			e := &event{id: fmt.Sprintf("alone%d-%d", i+1, n), kind: "message", chain: fmt.Sprint("alone", i+1), recipients: []string{who}}
			alone := *l
			alone.apis = []string{base}
			alone.tell(ctx, e, "/v1/notifications", object{"id": e.id, "user_id": who, "kind": "bank.news", "title": "Alone", "body": "Read it.",
				"data": object{"event": e.id}})
			told := func() error {
				var id string
				return db.sql.QueryRowContext(ctx, fmt.Sprintf("SELECT notification_id FROM notification_keys WHERE key = 'request:%s:%s'", e.id, who)).Scan(&id)
			}
			if err := waitFor(ctx, aloneWithin, e.id, told); err != nil && ctx.Err() == nil {
				found.add(broken, "scheduler and worker %d by themselves don't tell %s within %s", i+1, e.id, aloneWithin)
			}
		}
		for _, f := range thaw {
			f()
		}
		cancel()
	}
}
