package ingest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"duebell/internal/problem"
	"duebell/internal/testenv"
)

const userJSON = `{"name":"Ana","time_zone":"Europe/Prague","locale":"en"}`

// TestEveryBadFieldIsNamed: one answer names all that is wrong, by the path that the caller wrote.
func TestEveryBadFieldIsNamed(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	s.book()
	installment := func(fields string) string { return `[{"number":1,"due_date":"2026-03-10",` + fields + `}]` }
	tests := []struct {
		name, method, path, body string
		fields                   string // "field: part of the message", joined by newlines; in any order
	}{
		{"user without anything", "PUT", "/v1/users/u", `{}`, "name: missing\ntime_zone: missing\nlocale: missing"},
		{"user of wrong types", "PUT", "/v1/users/u", `{"name":7,"time_zone":[],"locale":{},"email":true}`,
			"name: must be a string, not a number\ntime_zone: not an array\nlocale: not an object\nemail: not true or false"},
		{"zone, locale and address that don't exist", "PUT", "/v1/users/u", `{"name":" ","time_zone":"Mars/Base","locale":"not a locale","email":"nobody"}`,
			"name: empty\ntime_zone: IANA\nlocale: BCP 47\nemail: e-mail"},
		{"zone of the machine", "PUT", "/v1/users/u", `{"name":"A","time_zone":"Local","locale":"en"}`, "time_zone: IANA"},
		{"control characters", "PUT", "/v1/users/u", `{"name":"A\u0000","time_zone":"UTC","locale":"en"}`, "name: control"},
		{"display name in the address", "PUT", "/v1/users/u", `{"name":"A","time_zone":"UTC","locale":"en","email":"Ana <a@example.org>"}`, "email: plain"},
		{"unknown fields", "PUT", "/v1/users/u", `{"name":"A","time_zone":"UTC","locale":"en","timezone":"UTC","phone":"1"}`,
			"timezone: not a field\nphone: not a field"},
		{"a field twice", "PUT", "/v1/users/u", `{"name":"A","name":"B","time_zone":"UTC","locale":"en"}`, "name: twice"},
		{"another id than in the path", "PUT", "/v1/users/u", `{"id":"v","name":"A","time_zone":"UTC","locale":"en"}`, "id: path"},
		{"id with a control character", "PUT", "/v1/users/a%07b", userJSON, "id: control"},
		{"id too long", "PUT", "/v1/users/" + strings.Repeat("x", 129), userJSON, "id: 128"},
		{"as_of that is no time", "PUT", "/v1/users/u", `{"name":"A","time_zone":"UTC","locale":"en","as_of":"yesterday"}`, "as_of: time like"},
		{"as_of without an offset", "PUT", "/v1/users/u", `{"name":"A","time_zone":"UTC","locale":"en","as_of":"2026-03-01T00:00:00"}`, "as_of: time like"},
		{"as_of far ahead", "PUT", "/v1/users/u", `{"name":"A","time_zone":"UTC","locale":"en","as_of":"2027-03-01T00:00:00Z"}`, "as_of: future"},

		{"loan without anything", "PUT", "/v1/loans/l", `{}`, "borrower_id: missing\nproduct: missing\ncurrency: missing\nstatus: missing"},
		{"loan of an unknown currency and status", "PUT", "/v1/loans/l",
			`{"borrower_id":"","product":"car","currency":"EURO","digits":7,"status":"open","parties":[{"user_id":"x","role":"boss","notify":["Repayment"]},7]}`,
			"borrower_id: empty\ncurrency: ISO 4217\ndigits: from 0 to 6\nstatus: one of\nparties[0].role: one of\nparties[0].notify[0]: lower-case\nparties[1]: object\nparties[1].user_id: missing\nparties[1].role: missing"},
		{"lower-case currency", "PUT", "/v1/loans/l", `{"borrower_id":"a","product":"car","currency":"eur","status":"active"}`, "currency: ISO 4217"},
		{"digits as a fraction", "PUT", "/v1/loans/l", `{"borrower_id":"a","product":"car","currency":"EUR","digits":1.5,"status":"active"}`, "digits: whole number"},
		{"a party twice", "PUT", "/v1/loans/l",
			`{"borrower_id":"a","product":"car","currency":"EUR","status":"active","parties":[{"user_id":"x","role":"officer"},{"user_id":"x","role":"officer"}]}`, "parties[1]: again"},

		{"amount as a number", "PUT", "/v1/loans/eur/installments", installment(`"amount_due":100,"amount_paid":"0"`), `[0].amount_due: decimal string like "1234.50", not a number`},
		{"amount that is no decimal", "PUT", "/v1/loans/eur/installments", installment(`"amount_due":"1,000.00","amount_paid":"1e3"`), "[0].amount_due: amount like\n[0].amount_paid: amount like"},
		{"too many digits", "PUT", "/v1/loans/eur/installments", installment(`"amount_due":"1.234","amount_paid":"0"`), "[0].amount_due: at most 2 decimals"},
		{"decimals of a currency that has none", "PUT", "/v1/loans/jpy/installments", installment(`"amount_due":"1235.5","amount_paid":"0"`), "[0].amount_due: no decimals"},
		{"too large", "PUT", "/v1/loans/eur/installments", installment(`"amount_due":"12345678901234567890","amount_paid":"0"`), "[0].amount_due: digits"},
		{"negative", "PUT", "/v1/loans/eur/installments", installment(`"amount_due":"-1","amount_paid":"-0.01","outstanding":"-5"`),
			"[0].amount_due: negative\n[0].amount_paid: negative\n[0].outstanding: negative"},
		{"a day that doesn't exist", "PUT", "/v1/loans/eur/installments", `[{"number":1,"due_date":"2026-02-30","amount_due":"1","amount_paid":"0"},{"number":2,"due_date":"10.03.2026","amount_due":"1","amount_paid":"0"}]`,
			"[0].due_date: not a day\n[1].due_date: date like"},
		{"numbers negative, zero and repeated", "PUT", "/v1/loans/eur/installments",
			`[{"number":-1,"due_date":"2026-03-10","amount_due":"1","amount_paid":"0"},{"number":0,"due_date":"2026-03-11","amount_due":"1","amount_paid":"0"},
			  {"number":3,"due_date":"2026-03-12","amount_due":"1","amount_paid":"0"},{"number":3,"due_date":"2026-03-13","amount_due":"1","amount_paid":"0"}]`,
			"[0].number: from 1\n[1].number: from 1\n[3].number: there already ([2].number)"},
		{"an object for the array", "PUT", "/v1/loans/eur/installments", `{"installments":[]}`, ": array of all installments"},
		{"null for the array", "PUT", "/v1/loans/eur/installments", `null`, ": array of all installments"},
		{"a text among the installments", "PUT", "/v1/loans/eur/installments", `["x"]`, "[0]: object"},
		{"a sum that overflows", "PUT", "/v1/loans/ugx/installments",
			`[{"number":1,"due_date":"2026-03-10","amount_due":"92233720368547758","amount_paid":"0"},{"number":2,"due_date":"2026-03-11","amount_due":"92233720368547758","amount_paid":"0"}]`,
			"[0].amount_due: digits\n[1].amount_due: digits"},

		{"payment without anything", "POST", "/v1/payments", `{}`, "id: missing\nloan_id: missing\namount: missing\npaid_at: missing"},
		{"payment for an unknown loan", "POST", "/v1/payments", `{"id":"p","loan_id":"nope","amount":"1.00","paid_at":"2026-03-01T10:00:00Z"}`, "loan_id: not a loan that is known"},
		{"payment of nothing", "POST", "/v1/payments", `{"id":"p","loan_id":"eur","amount":"0.00","paid_at":"2026-03-01T10:00:00Z","installment":0}`,
			"amount: more than 0\ninstallment: from 1"},
		{"payment with a date for a time", "POST", "/v1/payments", `{"id":"p","loan_id":"eur","amount":"1","paid_at":"2026-03-01"}`, "paid_at: time like"},
		{"payment at an hour that doesn't exist", "POST", "/v1/payments", `{"id":"p","loan_id":"eur","amount":"1","paid_at":"2026-02-29T10:00:00Z"}`, "paid_at: time like"},

		{"status change without anything", "POST", "/v1/status-changes", `{}`, "id: missing\napplication_id: missing\nborrower_id: missing\nfrom: missing\nto: missing\noccurred_at: missing"},
		{"status change that notifies wrongly", "POST", "/v1/status-changes",
			`{"id":"c","application_id":"a","borrower_id":"ana","from":"","to":"approved","occurred_at":"2026-03-01T10:00:00Z","notify":["officer","officer",7,""]}`,
			"notify[1]: twice\nnotify[2]: must be a string\nnotify[3]: empty"},

		{"message without anything", "POST", "/v1/notifications", `{}`, "id: missing\nuser_id: missing\nkind: missing\ntitle: missing\nbody: missing"},
		{"message with a bad link and data", "POST", "/v1/notifications", `{"id":"n","user_id":"ana","kind":"x","title":"t","body":"b","url":"javascript:alert(1)","data":[1]}`,
			"url: https\ndata: must be an object"},
		{"message with a link of another scheme", "POST", "/v1/notifications", `{"id":"n","user_id":"ana","kind":"x","title":"t","body":"b","url":"http://example.org/"}`, "url: https"},
		{"message with a link to another host", "POST", "/v1/notifications", `{"id":"n","user_id":"ana","kind":"x","title":"t","body":"b","url":"//evil.example"}`, "url: https"},
		{"message with a backslash in the link", "POST", "/v1/notifications", `{"id":"n","user_id":"ana","kind":"x","title":"t","body":"b","url":"/\\evil.example"}`, "url: https"},
		{"message to one and many", "POST", "/v1/notifications", `{"id":"n","user_id":"a","user_ids":["b"],"kind":"x","title":"t","body":"b"}`, "user_ids: beside"},
		{"message to nobody", "POST", "/v1/notifications", `{"id":"n","user_ids":[],"kind":"x","title":"t","body":"b"}`, "user_ids: nobody"},
		{"message with an id of ours", "POST", "/v1/notifications", `{"id":"duebell:rescheduled:1","user_id":"a","kind":"x","title":"t\nu","body":"b"}`, "id: kept\ntitle: control"},
		{"message with a kind that is none", "POST", "/v1/notifications", `{"id":"n","user_id":"a","kind":"A B","title":"t","body":"b"}`, "kind: like"},

		{"reversal with a body", "POST", "/v1/payments/p/reverse", `{"amount":"1"}`, "amount: not a field"},
		{"import with an unknown parameter", "POST", "/v1/import/users?backfil=true", ``, "backfil: not a parameter"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var headers []string
			if strings.HasPrefix(test.path, "/v1/import/") {
				headers = []string{"Content-Type", "application/x-ndjson"}
			}
			a := s.do(test.method, test.path, test.body, headers...)
			if a.status != http.StatusUnprocessableEntity {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			p := a.problem(t)
			var want []string
			for _, line := range strings.Split(test.fields, "\n") {
				field, part, _ := strings.Cut(line, ": ")
				want = append(want, field)
				if !slices.ContainsFunc(p.Errors, func(e problem.FieldError) bool { return e.Field == field && strings.Contains(e.Message, part) }) {
					t.Errorf("no error of %q says %q: %s", field, part, a.body)
				}
			}
			if len(p.Errors) != len(want) {
				t.Errorf("%d errors, want %d: %s", len(p.Errors), len(want), a.body)
			}
		})
	}
}

func TestBodiesThatCantBeRead(t *testing.T) {
	s := setup(t, testenv.SQLite(t), func(o *Options) { o.MaxBody = 1000; o.MaxImport = 5000 })
	long := strings.Repeat("x", 2000)
	tests := []struct {
		name, method, path, body, media string
		status                          int
		code                            string
	}{
		{"no JSON", "PUT", "/v1/users/u", `name=Ana`, "application/json", 400, "bad_request"},
		{"half a JSON", "PUT", "/v1/users/u", `{"name":"Ana",`, "application/json", 400, "bad_request"},
		{"nothing", "PUT", "/v1/users/u", ``, "application/json", 400, "bad_request"},
		{"two values", "PUT", "/v1/users/u", userJSON + userJSON, "application/json", 400, "bad_request"},
		{"an array", "PUT", "/v1/users/u", `[]`, "application/json", 422, "invalid"},
		{"a form", "PUT", "/v1/users/u", userJSON, "application/x-www-form-urlencoded", 415, "unsupported_media_type"},
		{"no content type", "PUT", "/v1/users/u", userJSON, "", 415, "unsupported_media_type"},
		{"over the limit", "PUT", "/v1/users/u", `{"name":"` + long + `"}`, "application/json", 413, "too_large"},
		{"JSON for an import", "POST", "/v1/import/users", `[]`, "application/json", 415, "unsupported_media_type"},
		{"an import over the limit", "POST", "/v1/import/users", long + long + long, "application/x-ndjson", 413, "too_large"},
		{"an import of something else", "POST", "/v1/import/cats", ``, "application/x-ndjson", 404, "not_found"},
		{"an unknown call", "POST", "/v1/loan", `{}`, "application/json", 404, "not_found"},
		{"a method that the call hasn't", "POST", "/v1/users/u", userJSON, "application/json", 405, "method_not_allowed"},
		{"installments of an unknown loan", "PUT", "/v1/loans/nope/installments", `[]`, "application/json", 404, "not_found"},
		{"reversal of an unknown payment", "POST", "/v1/payments/nope/reverse", ``, "application/json", 404, "not_found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.do(test.method, test.path, test.body, "Content-Type", test.media)
			if p := a.problem(t); a.status != test.status || p.Code != test.code {
				t.Errorf("status %d, code %q, want %d, %q: %s", a.status, p.Code, test.status, test.code, a.body)
			}
		})
	}
	// Without a Content-Length the limit counts what comes.
	if a := s.send("PUT", "/v1/users/u", io.MultiReader(strings.NewReader(`{"name":"`), strings.NewReader(long))); a.status != 413 {
		t.Errorf("chunked body over the limit: status %d: %s", a.status, a.body)
	}
	if a := s.do("POST", "/v1/users/u", userJSON); a.header.Get("Allow") == "" {
		t.Error("405 without Allow")
	}
}

// TestHalfABody: a client that dies in the middle has changed nothing; of an import the whole lines count.
func TestHalfABody(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	row := `{"id":"%s","name":"Ana","time_zone":"UTC","locale":"en"}` + "\n"
	for _, test := range []struct{ method, path, media, body string }{
		{"PUT", "/v1/users/half", "application/json", `{"name":"Ana","time_zone":"UTC",`},
		{"POST", "/v1/import/users", "application/x-ndjson", fmt.Sprintf(row, "whole") + fmt.Sprintf(row, "cut")[:40]},
	} {
		u, _ := url.Parse(s.url)
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n%s",
			test.method, test.path, s.token[ScopeIngest], test.media, test.body)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(conn)
		if err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.1 400 ")) {
			t.Errorf("%s: %v %.300s", test.path, err, text)
		}
	}
	if _, err := s.db.GetUser(t.Context(), "half"); err == nil {
		t.Error("half a body wrote a user")
	}
	if _, err := s.db.GetUser(t.Context(), "whole"); err != nil {
		t.Errorf("the whole line of a broken import: %v", err)
	}
	if _, err := s.db.GetUser(t.Context(), "cut"); err == nil {
		t.Error("a cut line wrote a user")
	}
}

func TestEveryCallAsksForItsScope(t *testing.T) {
	s := setup(t, testenv.SQLite(t), nil)
	calls := map[string]string{
		"PUT /v1/users/u": ScopeIngest, "DELETE /v1/users/u": ScopeIngest, "PUT /v1/loans/l": ScopeIngest, "PUT /v1/loans/l/installments": ScopeIngest,
		"POST /v1/payments": ScopeIngest, "POST /v1/payments/p/reverse": ScopeIngest, "POST /v1/status-changes": ScopeIngest,
		"POST /v1/notifications": ScopeIngest, "POST /v1/import/users": ScopeIngest, "GET /v1/import/users": ScopeIngest,
		"POST /v1/sessions/revoke": ScopeAdmin, "GET /v1/status": ScopeAdmin, "GET /v1/explain": ScopeAdmin, "GET /v1/preview": ScopeAdmin,
	}
	for call, scope := range calls {
		method, path, _ := strings.Cut(call, " ")
		other := s.token[map[string]string{ScopeIngest: ScopeAdmin, ScopeAdmin: ScopeIngest}[scope]]
		if a := s.do(method, path, `{}`, "Authorization", "Bearer "+other); a.status != 403 {
			t.Errorf("%s with the other scope: %d", call, a.status)
		}
		if a := s.do(method, path, `{}`, "Authorization", ""); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a token: %d", call, a.status)
		}
	}
}
