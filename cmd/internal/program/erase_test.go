package program_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"duebell/internal/testenv"
)

// What the programs themselves put into words about a borrower leaves the live screens of others when the borrower is erased.
func TestScreensForgetAnErasedPerson(t *testing.T) {
	testenv.Databases(t, func(t *testing.T, url string) {
		one := together(t, url, "embedded")
		l := one.lender
		l.must("PUT", "/v1/users/ada", object{"name": "Ada Lovelace", "email": "ada@example.org", "time_zone": "Europe/Prague", "locale": "en"})
		for _, id := range []string{"ben", "off"} {
			l.must("PUT", "/v1/users/"+id, object{"name": "Ben Bit", "time_zone": "Europe/Prague", "locale": "de"})
		}
		kinds := []string{"repayment.upcoming", "repayment.due_today", "repayment.rescheduled"}
		l.must("PUT", "/v1/loans/L1", object{"borrower_id": "ada", "product": "Home loan", "currency": "EUR", "status": "active", "parties": []object{
			{"user_id": "ben", "role": "co_borrower", "notify": kinds}, {"user_id": "off", "role": "officer", "notify": kinds}}})
		due := func(ahead int) []object {
			return []object{{"number": 1, "due_date": day("Europe/Prague", ahead), "amount_due": "100.00", "amount_paid": "0"}}
		}
		l.must("PUT", "/v1/loans/L1/installments", due(0))
		l.must("POST", "/v1/status-changes", object{"id": "c1", "application_id": "A1", "borrower_id": "ada", "from": "submitted", "to": "rejected",
			"reason": "she lost her job", "occurred_at": time.Now().UTC().Format(time.RFC3339), "notify": []string{"off"}})
		l.must("POST", "/v1/notifications", object{"id": "m1", "user_id": "off", "kind": "bank.call", "title": "Ada Lovelace called",
			"body": "Write to ada@example.org.", "data": object{"who": "Ada Lovelace"}})

		ctx, cancel := context.WithCancel(context.Background())
		ben, off := newScreen(t, one.socket, userToken("ben")), newScreen(t, one.socket, userToken("off"))
		stayed := make(chan struct{}, 2)
		for _, s := range []*screen{ben, off} {
			go func() { s.stay(ctx); stayed <- struct{}{} }()
		}
		t.Cleanup(func() {
			cancel()
			ben.disconnectNow()
			off.disconnectNow()
			<-stayed
			<-stayed
		})
		ben.until(patience, "ben was reminded", func() bool { return len(ben.titles("repayment.due_today")) == 1 })
		l.must("PUT", "/v1/loans/L1/installments", due(30))
		ben.until(patience, "ben was told of the new date", func() bool { return len(ben.titles("repayment.rescheduled")) == 1 })
		off.until(patience, "off has a summary, a status change, a message and maybe a date", func() bool {
			return len(off.titles("repayment.summary")) == 1 && len(off.titles("application.")) == 1 && len(off.titles("bank.")) == 1
		})
		secrets := []string{"Lovelace", "ada@example.org", "her job"}
		shown := func(s *screen) (list []string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			text, err := json.Marshal(s.items)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets {
				if strings.Contains(string(text), secret) {
					list = append(list, secret)
				}
			}
			return list
		}
		if len(shown(off)) != len(secrets) || len(shown(ben)) == 0 {
			t.Fatalf("before the erasure off is shown only %q, ben %q", shown(off), shown(ben))
		}
		before, _ := off.state()

		l.must("DELETE", "/v1/users/ada", nil)
		ben.until(patience, "ben's screen has forgotten her", func() bool { return len(shown(ben)) == 0 })
		off.until(patience, "off's screen has forgotten her", func() bool { return len(shown(off)) == 0 })
		if after, _ := off.state(); after.Unread != before.Unread || after.Total != before.Total || after.Rev == before.Rev {
			t.Errorf("off had %+v and has %+v", before, after)
		}
		if n := ben.resetCount() + off.resetCount(); n > 0 {
			t.Errorf("%d resets", n)
		}
	})
}
