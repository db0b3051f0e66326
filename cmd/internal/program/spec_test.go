package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"duebell/docs"
	"duebell/internal/testenv"
)

// openAPI answers a check of requests and responses against the published document.
func openAPI(t *testing.T) func(*http.Request, *http.Response, []byte) error {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // any address
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.FileBodyDecoder)
	return func(req *http.Request, res *http.Response, body []byte) error {
		asked := req.Clone(context.Background())
		asked.Body = req.Body
		asked.Host = ""
		asked.URL.Host, asked.URL.Scheme = "", ""
		route, params, err := router.FindRoute(asked)
		if err != nil {
			return fmt.Errorf("not in openapi.yaml: %w", err)
		}
		in := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route,
			// What is readOnly may be sent back: it is ignored.
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true, ExcludeReadOnlyValidations: true}}
		if res.StatusCode < 400 { // a request that was taken must be one that the document allows
			if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
				return fmt.Errorf("request: %w", err)
			}
		}
		return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(body)),
			Options: &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true},
		})
	}
}

// asyncAPI answers a check of socket messages against the published document. seen has the types that were checked.
func asyncAPI(t *testing.T) (check func(message []byte) error, seen func(kind string) bool) {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(docs.AsyncAPI, &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("asyncapi.json", doc); err != nil {
		t.Fatal(err)
	}
	schemas := map[string]*jsonschema.Schema{}
	for name := range doc.(map[string]any)["components"].(map[string]any)["messages"].(map[string]any) {
		if schemas[name], err = compiler.Compile("asyncapi.json#/components/messages/" + name + "/payload"); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string]bool{}
	var mu sync.Mutex // the screens read while the test sends
	return func(message []byte) error {
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
			if err != nil {
				return err
			}
			kind, _ := v.(map[string]any)["type"].(string)
			schema := schemas[kind]
			if schema == nil {
				return fmt.Errorf("type %q is not in asyncapi.yaml", kind)
			}
			mu.Lock()
			kinds[kind] = true
			mu.Unlock()
			return schema.Validate(v)
		}, func(kind string) bool {
			mu.Lock()
			defer mu.Unlock()
			return kinds[kind]
		}
}

// person calls the inbox API as one user.
type person struct {
	t     testing.TB
	base  string
	token func() string
	check func(*http.Request, *http.Response, []byte) error
}

func (p *person) call(method, path, body string, want int) []byte {
	p.t.Helper()
	req, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+p.token())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if res.StatusCode != want {
		p.t.Fatalf("%s %s: %d, want %d: %s", method, path, res.StatusCode, want, text)
	}
	if p.check != nil {
		req.Body = io.NopCloser(strings.NewReader(body))
		if err := p.check(req, res, text); err != nil {
			p.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	return text
}

// TestProgramsKeepToTheirSpecifications drives every call and message of the published documents.
func TestProgramsKeepToTheirSpecifications(t *testing.T) {
	one := together(t, testenv.SQLite(t), "embedded")
	rest := openAPI(t)
	one.lender.check = rest
	socket, seen := asyncAPI(t)
	l := one.lender

	ada := newScreen(t, one.socket, userToken("ada"))
	ada.check = socket
	if err := ada.connect(await(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ada.disconnect)

	l.borrower("ada", "Asia/Tokyo", 0, 1)
	l.must("PUT", "/v1/users/officer", object{"name": "Olga", "email": "olga@example.com", "time_zone": "Asia/Tokyo", "locale": "cs"})
	l.must("PUT", "/v1/loans/loan-of-ada", object{"borrower_id": "ada", "product": "Home loan", "currency": "EUR", "digits": 2, "status": "active",
		"parties": []object{{"user_id": "officer", "role": "officer", "notify": []string{"repayment.overdue"}}}})
	l.status("c1", "a1", "ada", "under_review", "approved")
	l.must("POST", "/v1/notifications", object{"id": "n1", "user_id": "ada", "kind": "lender.news", "title": "New branch", "body": "Opposite the station.",
		"data": object{"branch": 7}, "url": "/branches/7"})
	l.must("POST", "/v1/payments", object{"id": "p1", "loan_id": "loan-of-ada", "amount": "40.00", "paid_at": time.Now().UTC().Format(time.RFC3339)})
	l.must("POST", "/v1/payments/p1/reverse", nil)
	ada.until(patience, "four notifications", func() bool { return len(ada.titles("")) == 4 })

	me := &person{t: t, base: one.inbox, token: userToken("ada"), check: rest}
	var page struct {
		Items []struct{ ID string }
		Rev   int64
	}
	if err := json.Unmarshal(me.call("GET", "/v1/notifications?limit=3", "", 200), &page); err != nil || len(page.Items) != 3 {
		t.Fatalf("first page: %+v %v", page, err)
	}
	id := page.Items[0].ID
	for _, call := range []string{"read", "unread", "archive", "unarchive"} {
		me.call("POST", "/v1/notifications/"+id+"/"+call, "", 200)
	}
	me.call("POST", "/v1/notifications/seen", `{}`, 200)
	me.call("POST", "/v1/notifications/read-all", fmt.Sprintf(`{"up_to_rev":%d}`, page.Rev), 200)
	me.call("DELETE", "/v1/notifications/"+id, "", 200)
	me.call("GET", "/v1/notifications/unread-count", "", 200)
	me.call("GET", "/v1/notifications?status=archived&kind=lender.news&page=1", "", 200)
	me.call("GET", "/v1/notifications?status=odd", "", 422)
	me.call("POST", "/v1/notifications/nothing/read", "", 404)
	preferences := me.call("GET", "/v1/preferences", "", 200)
	me.call("PUT", "/v1/preferences", string(preferences), 200)
	me.call("PUT", "/v1/preferences", `{"quiet_hours":{"from":"22:00","to":"07:00"},"time_zone":"Europe/Prague","channels":{"repayment.upcoming":{"push":false}}}`, 200)
	me.call("PUT", "/v1/preferences", `{"time_zone":"Mars/Olympus"}`, 422)

	for _, message := range []string{
		`{"type":"seen","ref":"1"}`, `{"type":"read_all","ref":"2"}`, `{"type":"read","ids":["` + page.Items[1].ID + `"],"ref":"3"}`, `{"type":"ping","ref":"4"}`,
		`{"type":"auth","token":"` + userToken("ada")() + `","ref":"5"}`, `{"type":"read","ids":["nothing"],"ref":"6"}`,
	} {
		if err := socket([]byte(message)); err != nil {
			t.Errorf("%s: %v", message, err)
		}
		ada.send(message)
	}
	ada.until(patience, "every message is answered", func() bool { return ada.answers() == 6 })

	// A cursor that is of another history is answered with a reset.
	astray := newScreen(t, one.socket, userToken("ada"))
	astray.check, astray.epoch, astray.rev = socket, "another", 1
	astray.astray = true
	if err := astray.connect(await(t)); err != nil {
		t.Fatal(err)
	}
	astray.until(patience, "a reset", func() bool { return astray.resetCount() == 1 })
	astray.disconnect()

	for _, bad := range []struct {
		method, path string
		body         any
		want         int
	}{
		{"PUT", "/v1/users/x", object{"name": "X", "time_zone": "Mars/Olympus", "locale": "en"}, 422},
		{"PUT", "/v1/loans/x", object{"borrower_id": "nobody", "product": "P", "currency": "EUR", "status": "active"}, 422},
		{"POST", "/v1/payments", object{"id": "p2", "loan_id": "unknown", "amount": "1.00", "paid_at": "2026-01-01T00:00:00Z"}, 422},
		{"POST", "/v1/status-changes", `{"id":`, 400},
	} {
		if status, text := l.try(bad.method, bad.path, bad.body); status != bad.want {
			t.Errorf("%s %s %v: %d, want %d: %s", bad.method, bad.path, bad.body, status, bad.want, text)
		}
	}
	for _, path := range []string{"/v1/status", "/v1/explain?loan_id=loan-of-ada", "/v1/explain?notification_id=" + id, "/v1/preview?recipient=ada"} {
		l.must("GET", path, nil)
	}
	l.must("POST", "/v1/sessions/revoke", object{"user_id": "officer"})
	l.must("DELETE", "/v1/users/officer", nil)

	one.stop() // drains
	ada.until(patience, "goodbye", func() bool { return seen("goaway") })
	for _, kind := range []string{"hello", "changes", "reset", "ok", "error", "goaway"} {
		if !seen(kind) {
			t.Errorf("no %s was checked", kind)
		}
	}
}
