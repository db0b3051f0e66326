package ingest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"duebell/internal/testenv"
	"duebell/store"
)

func TestRevokingSessions(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		before := time.Now().Add(-time.Millisecond)
		s.ok(200, "POST", "/v1/sessions/revoke", `{"user_id":"ana"}`)
		at, err := s.db.NotBefore(t.Context(), "ana")
		if err != nil || at.Before(before) || at.After(time.Now()) {
			t.Errorf("not before %s, %v", at, err)
		}
		if len(s.revoked) != 1 || s.revoked[0] != "ana" {
			t.Errorf("told of %v", s.revoked)
		}
		s.ok(422, "POST", "/v1/sessions/revoke", `{}`)
	})
}

func TestStatusExplainAndPreview(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.book()
		s.ok(200, "PUT", "/v1/loans/eur/installments", `[{"number":1,"due_date":"2026-03-10","amount_due":"100.00","amount_paid":"40"}]`)

		status := decode[struct {
			Now   time.Time
			Loans int
		}](t, s.ok(200, "GET", "/v1/status", "").body)
		if status.Loans != 3 || !status.Now.Equal(s.now) {
			t.Errorf("status %+v", status)
		}

		preview := decode[struct{ Items []store.PreviewItem }](t, s.ok(200, "GET", "/v1/preview?loan_id=eur&until=2026-03-31T00:00:00Z", "").body)
		if len(preview.Items) != 7 { // -7 -3 -1 0 1 7 15, from 1 to 31 March
			t.Errorf("preview %+v", preview.Items)
		} else if first := preview.Items[0]; first.Amount != 6000 || first.Days != 7 || first.Recipient != "ana" {
			t.Errorf("first %+v", first)
		}
		if a := s.ok(200, "GET", "/v1/preview?recipient=nobody", ""); !strings.Contains(a.body, `"items":[]`) {
			t.Error(a.body)
		}

		explanation := decode[store.Explanation](t, s.ok(200, "GET", "/v1/explain?loan_id=eur&due_date=2026-03-10", "").body)
		if len(explanation.Due) != 1 || explanation.Loan == nil {
			t.Errorf("explanation %+v", explanation)
		}
		s.ok(404, "GET", "/v1/explain?notification_id=nope", "")

		for _, bad := range []string{"/v1/explain", "/v1/explain?loan=eur", "/v1/explain?loan_id=eur&due_date=2026-02-30", "/v1/explain?loan_id=a&loan_id=b",
			"/v1/preview?until=tomorrow", "/v1/preview?loan_id=eur&until=2020-01-01T00:00:00Z"} {
			s.ok(422, "GET", bad, "")
		}
	})
}

func TestStatusWithQueues(t *testing.T) {
	down := false
	s := setup(t, testenv.SQLite(t), func(o *Options) {
		o.Queues = func(context.Context) (any, error) {
			if down {
				return nil, errors.New("no Redis")
			}
			return map[string]int{"status": 7}, nil
		}
	})
	if a := s.ok(200, "GET", "/v1/status", ""); !strings.Contains(a.body, `"queues":{"status":7}`) {
		t.Error(a.body)
	}
	down = true
	if a := s.ok(200, "GET", "/v1/status", ""); strings.Contains(a.body, "queues") {
		t.Error(a.body)
	}
}
