package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"duebell/internal/testenv"
	"duebell/store"
)

func TestPutAnswersWithWhatIsStored(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		a := s.ok(201, "PUT", "/v1/users/Ana%2F1", `{"name":"Ana","email":"ana@example.org","time_zone":"Europe/Prague","locale":"CS_cz","as_of":"2026-03-01T10:00:00+02:00"}`)
		if want := `{"id":"Ana/1","name":"Ana","email":"ana@example.org","time_zone":"Europe/Prague","locale":"cs-CZ","as_of":"2026-03-01T08:00:00Z"}`; a.body != want {
			t.Errorf("got %s\nwant %s", a.body, want)
		}
		s.ok(200, "PUT", "/v1/users/Ana%2F1", `{"name":"Ana","time_zone":"UTC","locale":"en"}`)
		u, err := s.db.GetUser(t.Context(), "Ana/1")
		if err != nil || u.TimeZone != "UTC" || u.Email != "" {
			t.Errorf("stored %+v, %v", u, err)
		}

		s.ok(201, "PUT", "/v1/users/o", userJSON)
		a = s.ok(201, "PUT", "/v1/loans/l", `{"borrower_id":"Ana/1","product":"car","currency":"KWD","status":"active","parties":[{"user_id":"o","role":"officer","notify":["repayment.overdue"]}]}`)
		if want := `{"id":"l","borrower_id":"Ana/1","product":"car","currency":"KWD","digits":3,"status":"active","parties":[{"user_id":"o","role":"officer","notify":["repayment.overdue"]}]}`; a.body != want {
			t.Errorf("got %s\nwant %s", a.body, want)
		}
		a = s.ok(200, "PUT", "/v1/loans/l/installments", `[{"number":1,"due_date":"2026-03-10","amount_due":"10.13","amount_paid":"0"},{"number":2,"due_date":"2026-04-10","amount_due":"20","amount_paid":"5.5","outstanding":"9.500"}]`)
		if want := `{"loan_id":"l","installments":[{"number":1,"due_date":"2026-03-10","amount_due":"10.130","amount_paid":"0.000","outstanding":"10.130"},{"number":2,"due_date":"2026-04-10","amount_due":"20.000","amount_paid":"5.500","outstanding":"9.500"}]}`; a.body != want {
			t.Errorf("got %s\nwant %s", a.body, want)
		}
	})
}

// TestOlderAsOfChangesNothing: a late copy of yesterday's state never overwrites today's.
func TestOlderAsOfChangesNothing(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.book()
		loan := func(status, asOf string) string {
			return `{"borrower_id":"ana","product":"car","currency":"EUR","status":"` + status + `","as_of":"` + asOf + `"}`
		}
		s.ok(200, "PUT", "/v1/loans/eur", loan("closed", "2026-03-01T10:00:00Z"))
		if p := s.ok(409, "PUT", "/v1/loans/eur", loan("active", "2026-03-01T09:59:59Z")).problem(t); p.Code != "stale" {
			t.Errorf("code %q", p.Code)
		}
		if l, err := s.db.GetLoan(t.Context(), "eur"); err != nil || l.Status != "closed" {
			t.Errorf("an older as_of changed the loan: %+v, %v", l, err)
		}
		s.ok(200, "PUT", "/v1/loans/eur", loan("active", "2026-03-01T10:00:00Z")) // equal is fine

		schedule := `[{"number":1,"due_date":"2026-03-10","amount_due":"10","amount_paid":"0"}]`
		s.ok(200, "PUT", "/v1/loans/eur/installments", schedule, asOfHeader, "2026-03-01T10:00:00Z")
		s.ok(409, "PUT", "/v1/loans/eur/installments", `[]`, asOfHeader, "2026-03-01T09:00:00Z")
		s.ok(200, "PUT", "/v1/users/ana", userJSON, asOfHeader, "2026-03-01T10:00:00Z")
		s.ok(409, "PUT", "/v1/users/ana", userJSON, asOfHeader, "2026-02-01T10:00:00Z")
		if a := s.do("PUT", "/v1/users/ana", `{"name":"Ana","time_zone":"UTC","locale":"en","as_of":"2026-03-01T11:00:00Z"}`, asOfHeader, "2026-03-01T10:00:00Z"); a.status != 422 {
			t.Errorf("two different as_of: %d %s", a.status, a.body)
		}
	})
}

// TestPostIsKeyedByItsID: the same again is the first result; something else under the same id is a conflict.
func TestPostIsKeyedByItsID(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.book()
		tests := []struct{ path, first, same, other string }{
			{"/v1/payments",
				`{"id":"p1","loan_id":"eur","amount":"40.00","paid_at":"2026-03-01T10:00:00Z"}`,
				` { "amount" : "40", "paid_at":"2026-03-01T11:00:00+01:00" ,"loan_id":"eur","id":"p1","installment":null}`,
				`{"id":"p1","loan_id":"eur","amount":"40.01","paid_at":"2026-03-01T10:00:00Z"}`},
			{"/v1/status-changes",
				`{"id":"c1","application_id":"a","borrower_id":"ana","from":"pending","to":"approved","occurred_at":"2026-03-01T10:00:00Z"}`,
				`{"to":"approved","id":"c1","application_id":"a","borrower_id":"ana","from":"pending","occurred_at":"2026-03-01T10:00:00.000Z"}`,
				`{"id":"c1","application_id":"a","borrower_id":"ana","from":"pending","to":"rejected","occurred_at":"2026-03-01T10:00:00Z"}`},
			{"/v1/notifications",
				`{"id":"n1","user_id":"ana","kind":"card.shipped","title":"Sent","body":"On its way","data":{"a":1,"b":{"c":[1.50,2]}}}`,
				`{"id":"n1","user_ids":["ana"],"kind":"card.shipped","title":"Sent","body":"On its way","data":{"b":{"c":[1.50,2]},"a":1}}`,
				`{"id":"n1","user_id":"ana","kind":"card.shipped","title":"Sent","body":"On its way","data":{"a":2}}`},
		}
		for _, test := range tests {
			first := s.ok(201, "POST", test.path, test.first)
			again := s.ok(200, "POST", test.path, test.same)
			if again.body != first.body {
				t.Errorf("%s again: %s\nfirst: %s", test.path, again.body, first.body)
			}
			if p := s.ok(409, "POST", test.path, test.other).problem(t); p.Code != "id_reused" {
				t.Errorf("%s with another body: code %q", test.path, p.Code)
			}
		}
		if want := []store.Claim{{Kind: store.ClaimStatus, Key: "a"}, {Kind: store.ClaimRequest, Key: "n1"}}; !slices.Equal(s.claims, want) {
			t.Errorf("claims %v, want %v", s.claims, want)
		}
		if s.nudges != 0 {
			t.Errorf("%d nudges for what is claimed", s.nudges)
		}
	})
}

func TestReversal(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.book()
		s.ok(201, "POST", "/v1/payments", `{"id":"p/1","loan_id":"eur","amount":"40","paid_at":"2026-03-01T10:00:00Z"}`)
		for range 2 {
			if a := s.ok(200, "POST", "/v1/payments/p%2F1/reverse", ``, "Content-Type", ""); a.body != `{"id":"p/1","reversed":true}` {
				t.Error(a.body)
			}
		}
		s.ok(404, "POST", "/v1/payments/nope/reverse", ``)
	})
}

func TestEraseIsFinalAndRepeatable(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.book()
		s.ok(204, "DELETE", "/v1/users/ana", ``)
		s.ok(204, "DELETE", "/v1/users/ana", ``)
		s.ok(204, "DELETE", "/v1/users/never-known", ``)
	})
}

// An erasure that takes longer than its caller waits is finished all the same.
func TestEraseGoesOnWithoutItsCaller(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	s := setup(t, url, nil)
	s.book()
	other, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	sql := func(query string) {
		t.Helper()
		if _, err := other.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	sql("BEGIN")
	sql("SELECT 1 FROM users WHERE id = 'ana' FOR UPDATE")
	impatient := &http.Client{Timeout: 300 * time.Millisecond}
	r, err := http.NewRequestWithContext(t.Context(), "DELETE", s.url+"/v1/users/ana", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token[ScopeIngest])
	if answer, err := impatient.Do(r); err == nil {
		answer.Body.Close()
		t.Fatalf("it was answered %s beside whoever holds her row", answer.Status)
	}
	time.Sleep(300 * time.Millisecond) // the server has learnt that the caller is gone
	sql("COMMIT")
	for range 100 {
		if _, err := s.db.GetUser(t.Context(), "ana"); errors.Is(err, store.ErrNotFound) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("she is still there")
}

func TestImportNamesBadLinesAndWritesTheGood(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		s.book()
		ndjson := []string{"Content-Type", "application/x-ndjson; charset=utf-8"}
		lines := func(rows ...string) string { return strings.Join(rows, "\n") }
		type result struct {
			Accepted, Rejected int
			Errors             []RowError
		}
		load := func(path string, rows ...string) result {
			t.Helper()
			return decode[result](t, s.ok(200, "POST", "/v1/import/"+path, lines(rows...), ndjson...).body)
		}
		where := func(r result) (at []string) {
			for _, e := range r.Errors {
				at = append(at, strings.TrimSpace(itoa(e.Line)+" "+e.Field))
			}
			return at
		}

		r := load("users", user1("u1"), ``, `{"id":"u2","name":"","time_zone":"UTC","locale":"xx-"}`, `not json`, user1("u3")+"\r", `[1]`, user1("u1"))
		if r.Accepted != 3 || r.Rejected != 3 || !slices.Equal(where(r), []string{"3 name", "3 locale", "4", "6"}) {
			t.Errorf("users: %+v", r)
		}

		r = load("loans", `{"id":"l1","borrower_id":"u1","product":"car","currency":"EUR","status":"active"}`,
			`{"id":"l2","borrower_id":"u1","product":"car","currency":"EUR","status":"activ"}`,
			`{"id":"l3","borrower_id":"u1","product":"car","currency":"JPY","status":"active","as_of":"2026-03-01T10:00:00Z"}`)
		if r.Accepted != 2 || r.Rejected != 1 || !slices.Equal(where(r), []string{"2 status"}) {
			t.Errorf("loans: %+v", r)
		}

		in := func(loan, number, date, amount string) string {
			return `{"loan_id":"` + loan + `","number":` + number + `,"due_date":"` + date + `","amount_due":"` + amount + `","amount_paid":"0"}`
		}
		r = load("installments",
			in("l1", "1", "2026-03-10", "10.50"), in("l1", "2", "2026-04-10", "10.50"), // good
			in("l3", "1", "2026-03-10", "1235"), in("l3", "1", "2026-04-10", "12.35"), in("l3", "2", "2026-05-10", "1"), // bad
			in("nope", "1", "2026-03-10", "1"),
			in("l1", "3", "2026-05-10", "10.50")) // apart from the others of l1
		if r.Accepted != 2 || r.Rejected != 5 || !slices.Equal(where(r), []string{"3 loan_id", "4 amount_due", "4 number", "6 loan_id", "7 loan_id"}) {
			t.Errorf("installments: %+v", r)
		}

		r = load("payments", `{"id":"p1","loan_id":"l1","amount":"1","paid_at":"2026-03-01T10:00:00Z"}`,
			`{"id":"p2","loan_id":"nope","amount":"-1","paid_at":"2026-03-01T10:00:00Z"}`,
			`{"id":"p1","loan_id":"l1","amount":"1.00","paid_at":"2026-03-01T10:00:00Z"}`,
			`{"id":"p1","loan_id":"l1","amount":"2","paid_at":"2026-03-01T10:00:00Z"}`)
		if r.Accepted != 2 || r.Rejected != 2 || !slices.Equal(where(r), []string{"2 loan_id", "2 amount", "4 id"}) {
			t.Errorf("payments: %+v", r)
		}

		r = load("status-changes?backfill=false", `{"id":"c1","application_id":"a","borrower_id":"u1","from":"","to":"approved","occurred_at":"2026-03-01T10:00:00Z"}`,
			`{"id":"c2","application_id":"a","borrower_id":"u1","from":"approved","occurred_at":"2026-03-01T10:00:00Z"}`)
		if r.Accepted != 1 || r.Rejected != 1 || !slices.Equal(where(r), []string{"2 to"}) || s.nudges == 0 {
			t.Errorf("status changes: %+v", r)
		}

		// An older as_of is a bad line.
		r = load("loans", `{"id":"l3","borrower_id":"u1","product":"car","currency":"JPY","status":"closed","as_of":"2026-03-01T09:00:00Z"}`)
		if r.Accepted != 0 || r.Rejected != 1 || !slices.Equal(where(r), []string{"1 as_of"}) {
			t.Errorf("stale loan: %+v", r)
		}
	})
}

// TestImportOfThousandsOfRows goes through several transactions, a loan's schedule across the border of one.
func TestImportOfThousandsOfRows(t *testing.T) {
	databases(t, func(t *testing.T, s *service) {
		ndjson := []string{"Content-Type", "application/x-ndjson"}
		var users, loans, installments strings.Builder
		const n = 1100
		rows := 0
		for i := range n {
			users.WriteString(user1("u"+itoa(i)) + "\n")
			loans.WriteString(`{"id":"l` + itoa(i) + `","borrower_id":"u` + itoa(i) + `","product":"car","currency":"EUR","status":"active"}` + "\n")
			numbers := 1
			if i > 980 && i < 1000 {
				numbers = 3
			}
			for number := 1; number <= numbers; number++ {
				rows++
				installments.WriteString(`{"loan_id":"l` + itoa(i) + `","number":` + itoa(number) + `,"due_date":"2026-0` + itoa(number+2) + `-10","amount_due":"10.00","amount_paid":"0"}` + "\n")
			}
		}
		for _, load := range []struct {
			path, body string
			want       string
		}{
			{"users", users.String(), `{"accepted":1100,"rejected":0,"errors":[]}`},
			{"loans", loans.String(), `{"accepted":1100,"rejected":0,"errors":[]}`},
			{"installments", installments.String(), fmt.Sprintf(`{"accepted":%d,"rejected":0,"errors":[]}`, rows)},
		} {
			if a := s.ok(200, "POST", "/v1/import/"+load.path, load.body, ndjson...); a.body != load.want {
				t.Errorf("%s: %.300s", load.path, a.body)
			}
		}
	})
}

func user1(id string) string {
	return `{"id":"` + id + `","name":"Ana","time_zone":"UTC","locale":"en"}`
}
