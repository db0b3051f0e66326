package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/golang-jwt/jwt/v5"

	"duebell/docs"
	"duebell/internal/testenv"
)

// operation is a call of openapi.yaml. Its door is what opens it: "user", or the scope of a service token.
type operation struct {
	method, path, door string
	content            string // type of its body, "" for none
}

const userDoor = "user"

// operations lists all calls of the published document, so that a new one is tried by being published.
func operations(t *testing.T) []operation {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	doors := map[string]string{"inbox": userDoor, "ingest": "duebell:ingest", "operator": "duebell:admin"}
	var list []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{method: method, path: path}
			if len(op.Tags) == 1 {
				o.door = doors[op.Tags[0]]
			}
			scheme := "service"
			if o.door == userDoor {
				scheme = "user"
			}
			if o.door == "" || op.Security == nil || len(*op.Security) != 1 || (*op.Security)[0][scheme] == nil || len((*op.Security)[0]) != 1 {
				t.Errorf("%s %s doesn't say who may call it: tags %v, security %v", method, path, op.Tags, op.Security)
				continue
			}
			if op.RequestBody != nil {
				for content := range op.RequestBody.Value.Content {
					o.content = content
				}
			}
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(list) < 25 {
		t.Fatalf("openapi.yaml has %d calls: the test doesn't read it", len(list))
	}
	return list
}

// A path that the programs know and the document doesn't would be tried by nobody.
func TestEveryPathIsPublished(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	plain := func(path string) string { return regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "{}") }
	published := map[string]bool{"/v1/ws": true} // in asyncapi.yaml
	for path := range doc.Paths.Map() {
		published[plain(path)] = true
	}
	found := 0
	for _, folder := range []string{"../../../jobs/ingest", "../../../delivery", "."} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			named := map[string]string{} // constants and variables that begin as a text
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok {
					for i, value := range spec.Values {
						if text, ok := literal(value); ok && len(spec.Names) == len(spec.Values) {
							named[spec.Names[i].Name] = text
						}
					}
				}
				return true
			})
			ast.Inspect(file, func(n ast.Node) bool {
				if sum, ok := n.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
					for _, part := range []ast.Expr{sum.X, sum.Y} {
						path, _ := literal(part)
						if name, ok := part.(*ast.Ident); ok {
							path = named[name.Name]
						}
						if strings.HasPrefix(path, "/v1/") {
							t.Errorf("%s makes a path of %s and something else: nobody can hold that against a document", name, path)
						}
					}
				}
				expr, _ := n.(ast.Expr)
				path, ok := literal(expr)
				if !ok || !strings.HasPrefix(path, "/v1/") || path == "/v1/" {
					return true
				}
				found++
				if !published[plain(path)] {
					t.Errorf("%s has %s, which is in no document", name, path)
				}
				return true
			})
		}
	}
	if found < 24 {
		t.Errorf("only %d paths were found: the test doesn't read the programs", found)
	}
}

func literal(e ast.Expr) (string, bool) {
	text, ok := e.(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(text.Value)
	return value, err == nil
}

func (o operation) String() string { return o.method + " " + o.path }

// at is the operation's path about somebody's things.
func (o operation) at(t *testing.T, things map[string]string) string {
	t.Helper()
	path := o.path
	for strings.Contains(path, "{") {
		before, rest, _ := strings.Cut(path, "{")
		name, after, _ := strings.Cut(rest, "}")
		value, ok := things[before]
		if !ok {
			value, ok = things[name]
		}
		if !ok {
			t.Fatalf("%s: nothing is known to put for {%s}", o, name)
		}
		path = before + url.PathEscape(value) + after
	}
	return path
}

// call answers the status and what of the body came at once: a stream doesn't end.
func (o operation) call(t *testing.T, base, path, authorization string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var body io.Reader
	if o.content != "" {
		body = strings.NewReader(`{}`)
	}
	req, err := http.NewRequestWithContext(ctx, o.method, base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if o.content != "" {
		req.Header.Set("Content-Type", o.content)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", o, err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" {
		first := make([]byte, 4096)
		n, _ := res.Body.Read(first)
		return res.StatusCode, string(first[:n])
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", o, err)
	}
	return res.StatusCode, string(text)
}

// bearer signs claims; exp is in an hour unless they say otherwise.
func bearer(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	text, err := jwt.NewWithClaims(method, all).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + text
}

// forged are tokens for claims that would open a door, were they real.
func forged(t *testing.T, claims jwt.MapClaims) map[string]string {
	t.Helper()
	with := func(name string, value any) jwt.MapClaims {
		more := jwt.MapClaims{name: value}
		for key, v := range claims {
			if key != name {
				more[key] = v
			}
		}
		return more
	}
	key := []byte(secret)
	good := bearer(t, jwt.SigningMethodHS256, key, claims)
	parts := strings.Split(good, ".")
	tail := "A" // another last character of the payload's signature
	if strings.HasPrefix(parts[2], tail) {
		tail = "B"
	}
	return map[string]string{
		"no token":              "",
		"an empty one":          "Bearer ",
		"garbage":               "Bearer garbage",
		"dots":                  "Bearer a.b.c",
		"another scheme":        strings.Replace(good, "Bearer", "Basic", 1),
		"two tokens":            good + ", " + good,
		"expired":               bearer(t, jwt.SigningMethodHS256, key, with("exp", time.Now().Add(-time.Minute).Unix())),
		"without an end":        bearer(t, jwt.SigningMethodHS256, key, with("exp", nil)),
		"not yet valid":         bearer(t, jwt.SigningMethodHS256, key, with("nbf", time.Now().Add(time.Hour).Unix())),
		"by another secret":     bearer(t, jwt.SigningMethodHS256, []byte("another secret, as long as the one of these tests"), claims),
		"by no secret":          bearer(t, jwt.SigningMethodHS256, []byte{}, claims),
		"alg none":              bearer(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims),
		"another signature":     parts[0] + "." + parts[1] + "." + tail + parts[2][1:],
		"without its signature": parts[0] + "." + parts[1] + ".",
	}
}

// A user who forges, replays or guesses gets nothing of another's, and changes nothing: every call of the published
// document, on the real programs, with every kind of token.
func TestNobodyGetsWhatIsAnothers(t *testing.T) {
	t.Run("sqlite+embedded", func(t *testing.T) { nobodyGetsWhatIsAnothers(t, testenv.SQLite(t), "embedded") })
	t.Run("postgres+redis", func(t *testing.T) { nobodyGetsWhatIsAnothers(t, testenv.Postgres(t), testenv.RedisServer(t).URL) })
}

func nobodyGetsWhatIsAnothers(t *testing.T, database, redis string) {
	one := together(t, database, redis, "MAX_REQUESTS_PER_SECOND=100000", "MAX_INGEST_REQUESTS_PER_SECOND=100000")
	l := one.lender
	ops := operations(t)
	const words = "only-ada-may-read-this"
	l.borrower("ada", "Europe/Prague", 30)
	l.borrower("eve", "Europe/Prague", 30)
	l.must("POST", "/v1/payments", object{"id": "p1", "loan_id": "loan-of-ada", "amount": "1.00", "paid_at": time.Now().UTC().Format(time.RFC3339)})
	for i := range 3 {
		l.must("POST", "/v1/notifications", object{"id": fmt.Sprint("n", i), "user_id": "ada", "kind": "lender.news", "title": words, "body": words})
	}
	l.must("POST", "/v1/notifications", object{"id": "e", "user_id": "eve", "kind": "lender.news", "title": "for eve", "body": "for eve"})
	ada, eve := newScreen(t, one.socket, userToken("ada")), newScreen(t, one.socket, userToken("eve"))
	for _, s := range []*screen{ada, eve} {
		if err := s.connect(await(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.disconnect)
	}
	ada.until(patience, "three notifications", func() bool { return len(ada.titles("")) == 3 })
	eve.until(patience, "one notification", func() bool { return len(eve.titles("")) == 1 })

	me := &person{t: t, base: one.inbox, token: userToken("ada")}
	var page struct {
		Items []struct{ ID string }
		Next  string `json:"next_cursor"`
	}
	if err := json.Unmarshal(me.call("GET", "/v1/notifications?limit=1", "", 200), &page); err != nil || len(page.Items) != 1 || page.Next == "" {
		t.Fatalf("ada's first page: %+v %v", page, err)
	}
	adas := map[string]string{"/v1/notifications/": page.Items[0].ID, "/v1/users/": "ada", "/v1/loans/": "loan-of-ada", "/v1/payments/": "p1", "collection": "users"}
	bases := map[bool]string{true: one.inbox, false: l.base}

	// Everything of ada's that can be read, and what the lender has.
	state := func() string {
		t.Helper()
		text := string(me.call("GET", "/v1/notifications?status=all", "", 200)) + string(me.call("GET", "/v1/notifications?status=archived", "", 200)) +
			string(me.call("GET", "/v1/preferences", "", 200))
		for _, path := range []string{"/v1/explain?loan_id=loan-of-ada", "/v1/explain?loan_id=loan-of-eve"} {
			status, body := l.try("GET", path, nil)
			text += fmt.Sprint(status, string(body))
		}
		status, body := l.try("GET", "/v1/status", nil)
		var counts struct{ Users, Loans, Notifications int }
		if err := json.Unmarshal(body, &counts); err != nil {
			t.Fatalf("status: %d %s", status, body)
		}
		return text + fmt.Sprint(counts)
	}
	for _, user := range []string{"ada", "eve"} { // the due queue follows a policy that came after the book
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			_, body := l.try("GET", "/v1/explain?loan_id=loan-of-"+user, nil)
			if bytes.Contains(body, []byte(`"recipient":"`+user+`","role"`)) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("nothing of %s gets due: %s", user, body)
			}
		}
	}
	before := state()
	unchanged := func(t *testing.T, after string) {
		t.Helper()
		if now := state(); now != before {
			t.Fatalf("%s changed something:\n%s\n%s", after, before, now)
		}
	}
	refused := func(t *testing.T, o operation, name string, status int, body string) {
		t.Helper()
		if status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("%s with %s: %d %s", o, name, status, body)
		}
		if strings.Contains(body, words) {
			t.Errorf("%s with %s says %s", o, name, body)
		}
	}

	t.Run("Forged", func(t *testing.T) {
		service := func(scope string, more jwt.MapClaims) string {
			claims := jwt.MapClaims{"sub": "x", "aud": "duebell-internal", "scope": scope}
			for name, value := range more {
				claims[name] = value
			}
			return bearer(t, jwt.SigningMethodHS256, []byte(secret), claims)
		}
		other := map[string]string{"duebell:ingest": "duebell:admin", "duebell:admin": "duebell:ingest"}
		for _, o := range ops {
			var claims jwt.MapClaims
			tokens := map[string]string{}
			if o.door == userDoor {
				claims = jwt.MapClaims{"sub": "ada"}
				tokens["a service token"] = service("duebell:ingest duebell:admin", nil)
				tokens["a service token of her name"] = service("duebell:ingest duebell:admin", jwt.MapClaims{"sub": "ada"})
			} else {
				claims = jwt.MapClaims{"sub": "x", "aud": "duebell-internal", "scope": o.door}
				tokens["her user token"] = "Bearer " + userToken("ada")()
				tokens["a user token with a scope"] = service(o.door, jwt.MapClaims{"aud": nil})
				tokens["another audience"] = service(o.door, jwt.MapClaims{"aud": "duebell"})
				for _, scope := range []string{"", other[o.door], o.door + "s", "duebell", "duebell:*", "*", strings.ToUpper(o.door), strings.Replace(o.door, ":", " ", 1)} {
					tokens["scope "+scope] = service(scope, nil)
				}
			}
			for name, text := range forged(t, claims) {
				tokens[name] = text
			}
			base, path := bases[o.door == userDoor], o.at(t, adas)
			for name, text := range tokens {
				status, body := o.call(t, base, path, text)
				refused(t, o, name, status, body)
			}
			good := strings.TrimPrefix(bearer(t, jwt.SigningMethodHS256, []byte(secret), claims), "Bearer ")
			for _, parameter := range []string{"access_token", "token", "bearer", "authorization"} {
				status, body := o.call(t, base, path+"?"+parameter+"="+good, "")
				refused(t, o, "a good token in the URL as "+parameter, status, body)
			}
			// The other program has another door.
			status, body := o.call(t, bases[o.door != userDoor], path, "Bearer "+good)
			if status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusNotFound && status != http.StatusMethodNotAllowed ||
				strings.Contains(body, words) {
				t.Errorf("%s at the other program: %d %s", o, status, body)
			}
			unchanged(t, o.String())
		}
	})

	t.Run("Replayed", func(t *testing.T) {
		old := bearer(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "mallory"})
		l.must("POST", "/v1/sessions/revoke", object{"user_id": "mallory"})
		for _, o := range ops {
			if o.door == userDoor {
				status, body := o.call(t, one.inbox, o.at(t, adas), old)
				refused(t, o, "a revoked token", status, body)
			}
		}
		unchanged(t, "a revoked token")
	})

	t.Run("Guessed", func(t *testing.T) {
		id := page.Items[0].ID
		for _, user := range []string{"eve", "Ada", "ada ", "ada/", "%61da"} {
			theirs := "Bearer " + userToken(user)()
			for _, o := range ops {
				if o.door != userDoor {
					continue
				}
				status, body := o.call(t, one.inbox, o.at(t, adas), theirs)
				if strings.Contains(o.path, "{id}") && status != http.StatusNotFound {
					t.Errorf("%s of ada's by %q: %d %s", o, user, status, body)
				}
				if status >= 500 || strings.Contains(body, words) || strings.Contains(body, id) {
					t.Errorf("%s by %q: %d %s", o, user, status, body)
				}
				unchanged(t, fmt.Sprintf("%s by %q", o, user))
			}
			them := &person{t: t, base: one.inbox, token: userToken(user)}
			them.call("GET", "/v1/notifications?limit=1&cursor="+page.Next, "", 400)
			for _, path := range []string{"?user=ada", "?user_id=ada", "?recipient=ada", "?sub=ada"} {
				if body := them.call("GET", "/v1/notifications"+path, "", 200); bytes.Contains(body, []byte(words)) {
					t.Errorf("%s by %q: %s", path, user, body)
				}
			}
		}
		unchanged(t, "guessing")
	})

	t.Run("OnTheSocket", func(t *testing.T) {
		ada.mu.Lock()
		epoch, rev := ada.epoch, ada.rev
		ada.mu.Unlock()
		at := newScreen(t, one.socket, userToken("eve"))
		at.epoch, at.rev, at.astray = epoch, rev, true
		if err := at.connect(await(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(at.disconnect)
		for i, s := range []*screen{eve, at} {
			answers := s.answers()
			s.send(`{"type":"read","ids":["` + page.Items[0].ID + `"],"ref":"1"}`)
			s.send(`{"type":"auth","token":"` + strings.TrimPrefix(forged(t, jwt.MapClaims{"sub": "ada"})["expired"], "Bearer ") + `","ref":"2"}`)
			s.until(patience, "both are answered", func() bool { return s.answers() == answers+2 })
			unchanged(t, "a message on the socket")
			l.must("POST", "/v1/notifications", object{"id": fmt.Sprint("more", i), "user_ids": []string{"ada", "eve"}, "kind": "lender.news", "title": "for both", "body": "for both"})
			s.until(patience, "it is told", func() bool { return slices.Contains(s.titles(""), "for both") })
			ada.until(patience, "and so is ada", func() bool { return len(ada.titles("")) == 4+i })
			before = state()
			if titles := s.titles(""); slices.Contains(titles, words) {
				t.Errorf("eve's socket shows %q", titles)
			}
			// A good one of ada's, stolen or left behind by a log-out: whoever sits there now sees nothing of hers.
			s.send(`{"type":"auth","token":"` + userToken("ada")() + `"}`)
			select {
			case <-s.done:
			case <-time.After(patience):
				t.Error("another user's token leaves the connection open")
			}
			if titles := s.titles(""); slices.Contains(titles, words) {
				t.Errorf("eve's socket shows %q", titles)
			}
		}
	})

	t.Run("OnThePublicPort", func(t *testing.T) {
		for _, path := range []string{"/metrics", "/readyz", "/livez", "/debug/pprof/", "/debug/pprof/heap", "/asynqmon/", "/asynqmon", "/v1/status", "/v1/"} {
			for _, shown := range []string{"", "Bearer " + serviceToken("duebell:ingest duebell:admin"), "Bearer " + userToken("ada")()} {
				if status, body := (operation{method: "GET"}).call(t, one.inbox, path, shown); status < 400 {
					t.Errorf("%s: %d %.200s", path, status, body)
				}
			}
		}
		for name, shown := range map[string]string{"nothing": "", "her user token": "Bearer " + userToken("ada")(), "ingest": "Bearer " + serviceToken("duebell:ingest")} {
			if status, body := (operation{method: "GET"}).call(t, l.base, "/asynqmon/api/queues", shown); status < 400 {
				t.Errorf("the dashboard with %s: %d %.200s", name, status, body)
			}
		}
	})

	// The same calls do open with the right token: what was refused above was refused for its token.
	t.Run("TheRightOneOpens", func(t *testing.T) {
		nothing := map[string]string{"id": "nothing", "collection": "users"}
		for _, o := range ops {
			base, right := l.base, "Bearer "+serviceToken(o.door)
			if o.door == userDoor {
				base, right = one.inbox, "Bearer "+userToken("ada")()
			}
			if status, body := o.call(t, base, o.at(t, nothing), right); status == 401 || status == 403 || status == 405 || status >= 500 {
				t.Errorf("%s with the right token: %d %s", o, status, body)
			}
		}
	})
}

// Whatever a name, an id or a text holds, it is only that, in every statement that it goes through.
func TestNamesAreNeverStatements(t *testing.T) {
	one := together(t, testenv.SQLite(t), "embedded")
	l := one.lender
	names := []string{`x'); DROP TABLE inboxes; --`, `' OR '1'='1`, `" OR 1=1 --`, `?`, `$1`, `%`, `_`, `\`, `a;b`, `null`, `{a}`, `[1]`, `*`, `:x`, `@x`}
	for i, name := range names {
		id := url.PathEscape(name)
		l.must("PUT", "/v1/users/"+id, object{"name": name, "time_zone": "UTC", "locale": "en"})
		l.must("PUT", "/v1/loans/"+id, object{"borrower_id": name, "product": name, "currency": "EUR", "status": "active"})
		l.must("PUT", "/v1/loans/"+id+"/installments", []object{{"number": 1, "due_date": day("UTC", 30), "amount_due": "1.00", "amount_paid": "0"}})
		l.must("POST", "/v1/payments", object{"id": name, "loan_id": name, "amount": "0.50", "paid_at": time.Now().UTC().Format(time.RFC3339)})
		l.must("POST", "/v1/notifications", object{"id": name, "user_id": name, "kind": "lender.news", "title": name, "body": name, "data": object{"i": i}})
		l.must("GET", "/v1/explain?loan_id="+url.QueryEscape(name), nil)
		l.must("GET", "/v1/preview?recipient="+url.QueryEscape(name), nil)
	}
	for _, name := range names {
		s := newScreen(t, one.socket, userToken(name))
		if err := s.connect(await(t)); err != nil {
			t.Fatal(err)
		}
		s.until(patience, "its own notification", func() bool { return len(s.titles("")) == 1 })
		s.refetch(one.inbox)
		if titles := s.titles(""); len(titles) != 1 || titles[0] != name {
			t.Errorf("%q has %q", name, titles)
		}
		s.disconnect()
		me := &person{t: t, base: one.inbox, token: userToken(name)}
		kind := string(me.call("GET", "/v1/notifications?kind="+url.QueryEscape(name), "", 200))
		if !strings.Contains(kind, `"items":[]`) {
			t.Errorf("a kind of that name: %s", kind)
		}
		me.call("POST", "/v1/notifications/"+url.PathEscape(name)+"/read", "", 404)
	}
	status, text := l.try("GET", "/v1/status", nil)
	var counts struct{ Users, Loans, Notifications int }
	if err := json.Unmarshal(text, &counts); err != nil || counts.Users != len(names) || counts.Loans != len(names) || counts.Notifications != len(names) {
		t.Errorf("at the end: %d %s", status, text)
	}
}
