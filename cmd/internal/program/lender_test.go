package program_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"duebell/internal/auth"
)

const secret = "a secret of these tests, long enough for HS256"

// lender is a loan system that talks to the ingest API.
type lender struct {
	t     testing.TB
	base  string // http://host:port of the scheduler
	check func(*http.Request, *http.Response, []byte) error
}

func userToken(user string) func() string {
	return func() string {
		token, err := auth.MintUser([]byte(secret), "", "", "sub", user, time.Hour, time.Now())
		if err != nil {
			panic(err)
		}
		return token
	}
}

func serviceToken(scope string) string {
	token, err := auth.MintService([]byte(secret), "", "duebell-internal", scope, time.Hour, time.Now())
	if err != nil {
		panic(err)
	}
	return token
}

// try calls the ingest API and answers the status; 0 where nobody answered.
func (l *lender) try(method, path string, body any) (int, []byte) {
	l.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		var err error
		if raw, err = json.Marshal(b); err != nil {
			l.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, l.base+path, bytes.NewReader(raw))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+serviceToken("duebell:ingest duebell:admin"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	if l.check != nil {
		req.Body = io.NopCloser(bytes.NewReader(raw))
		if err := l.check(req, res, text); err != nil {
			l.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	return res.StatusCode, text
}

// must calls until it succeeds, as a loan system repeats a call that nobody answered.
func (l *lender) must(method, path string, body any) {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		status, text := l.try(method, path, body)
		if status >= 200 && status < 300 {
			return
		}
		if status != 0 && status < 500 || time.Now().After(deadline) {
			l.t.Fatalf("%s %s: %d %s", method, path, status, text)
		}
		time.Sleep(20 * time.Millisecond) // the program is restarting
	}
}

type object map[string]any

// borrower makes a person with a loan that has something due in so many days.
func (l *lender) borrower(id, zone string, dueIn ...int) (loan string) {
	l.t.Helper()
	loan = "loan-of-" + id
	l.must("PUT", "/v1/users/"+id, object{"name": "Ada of " + id, "time_zone": zone, "locale": "en"})
	l.must("PUT", "/v1/loans/"+loan, object{"borrower_id": id, "product": "Home loan", "currency": "EUR", "status": "active"})
	var schedule []object
	for i, days := range dueIn {
		schedule = append(schedule, object{"number": i + 1, "due_date": day(zone, days), "amount_due": "100.00", "amount_paid": "0"})
	}
	l.must("PUT", "/v1/loans/"+loan+"/installments", schedule)
	return loan
}

func day(zone string, ahead int) string {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	return time.Now().In(loc).AddDate(0, 0, ahead).Format("2006-01-02")
}

func (l *lender) status(id, application, borrower, from, to string) {
	l.t.Helper()
	l.must("POST", "/v1/status-changes", object{"id": id, "application_id": application, "borrower_id": borrower, "from": from, "to": to,
		"occurred_at": time.Now().UTC().Format(time.RFC3339)})
}
