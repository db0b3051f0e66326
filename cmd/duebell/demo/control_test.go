package demo

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"duebell/internal/civil"
	"duebell/internal/clock"
)

// onItsOwn is a demo without the programs, whose book is in.
func onItsOwn(t *testing.T) *Demo {
	t.Helper()
	d := justMade(t)
	close(d.imported)
	return d
}

func justMade(t *testing.T) *Demo {
	t.Helper()
	d, err := New(Options{
		IngestURL:    func() string { return "http://127.0.0.1:1" },
		PusherURL:    func() string { return "http://127.0.0.1:1" },
		ServiceToken: func() (string, error) { return "service", nil },
		UserToken:    func(string) (string, time.Time, error) { return "user", time.Now().Add(time.Minute), nil },
		Clock:        clock.NewSimulated(Start, clock.MinSpeed),
		Log:          slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestButtonsWaitForTheLoanBook(t *testing.T) {
	d := justMade(t)
	press := func(ctx context.Context) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/demo/jump", strings.NewReader(`{"days":99}`))
		r.RemoteAddr, r.Host = "127.0.0.1:5000", "127.0.0.1:8080"
		r.Header.Set("Content-Type", "application/json")
		d.Handler().ServeHTTP(w, r)
		return w.Code
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if code := press(gone); code != http.StatusBadGateway {
		t.Errorf("before: %d", code)
	}
	answered := make(chan int)
	go func() { answered <- press(t.Context()) }()
	close(d.imported)
	if code := <-answered; code != http.StatusConflict { // 99 days are too many
		t.Errorf("after: %d", code)
	}
}

func TestOnlyThePageOnThisMachineIsAnswered(t *testing.T) {
	h := onItsOwn(t).Handler()
	for _, c := range []struct {
		name, remote, host, origin, site, media string
		want                                    int
	}{
		{"the page", "127.0.0.1:5000", "127.0.0.1:8080", "http://127.0.0.1:8080", "same-origin", "application/json", 200},
		{"by name", "127.0.0.1:5000", "localhost:8080", "http://localhost:8080", "same-origin", "application/json", 200},
		{"IPv6", "[::1]:5000", "[::1]:8080", "http://[::1]:8080", "same-origin", "application/json", 200},
		{"a command line", "127.0.0.1:5000", "127.0.0.1:8080", "", "", "application/json; charset=utf-8", 200},
		{"another machine", "192.0.2.1:5000", "127.0.0.1:8080", "http://127.0.0.1:8080", "same-origin", "application/json", 403},
		{"a rebound name", "127.0.0.1:5000", "rebound.example:8080", "http://rebound.example:8080", "same-origin", "application/json", 403},
		{"another page", "127.0.0.1:5000", "127.0.0.1:8080", "https://evil.example", "cross-site", "application/json", 403},
		{"another port", "127.0.0.1:5000", "127.0.0.1:8080", "http://127.0.0.1:9090", "same-site", "application/json", 403},
		{"no origin", "127.0.0.1:5000", "127.0.0.1:8080", "null", "", "application/json", 403},
		{"an origin left out", "127.0.0.1:5000", "127.0.0.1:8080", "", "cross-site", "application/json", 403},
		{"a form", "127.0.0.1:5000", "127.0.0.1:8080", "", "", "text/plain", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/demo/token", strings.NewReader(`{"user":"maya"}`))
			r.RemoteAddr, r.Host = c.remote, c.host
			r.Header.Set("Content-Type", c.media)
			for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.want)
			}
			if c.want != 200 && strings.Contains(w.Body.String(), `"token"`) {
				t.Error("and it answers a token")
			}
		})
	}
}

func TestBadCallsAreRefused(t *testing.T) {
	h := onItsOwn(t).Handler()
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/demo/token", `{"user":"borrower-S002"}`, 409}, // not of the cast
		{"/demo/token", `{"user":`, 400},
		{"/demo/token", `{"user":"` + strings.Repeat("x", 2000) + `"}`, 400},
		{"/demo/jump", `{"days":0}`, 409},
		{"/demo/jump", `{"days":10000}`, 409},
		{"/demo/pay", `{"user":"olivia"}`, 409},
		{"/demo/pay", `{"user":"nobody"}`, 409},
		{"/demo/pay", `null`, 409},
		{"/demo/status", `{"user":"nobody"}`, 409},
		{"/demo/status", `{}`, 409},
		{"/demo/status", `[]`, 400},
		{"/demo/jump", `{"days":-3}`, 409},
		{"/demo/jump", `{"days":"3"}`, 400},
		{"/demo/nothing", `{}`, 404},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
		r.RemoteAddr, r.Host = "127.0.0.1:5000", "127.0.0.1:8080"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want && !(c.want == 404 && w.Code == 405) {
			t.Errorf("%s %.40s: %d %s, want %d", c.path, c.body, w.Code, w.Body, c.want)
		}
	}
}

func TestPageNeedsNothingFromElsewhere(t *testing.T) {
	h := onItsOwn(t).Handler()
	get := func(path string) string {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, w.Code)
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %q", path, policy)
		}
		return w.Body.String()
	}
	// What the policy would refuse, and what it lets through must be there.
	refused := regexp.MustCompile(`<style|<script>|<script [^>]*>[^<]|\sstyle=|\son[a-z]+=|javascript:`)
	loaded := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`)
	for _, path := range []string{"/", "/device.html"} {
		html := get(path)
		if found := refused.FindString(html); found != "" {
			t.Errorf("%s has %q in it", path, found)
		}
		files := loaded.FindAllStringSubmatch(html, -1)
		if len(files) < 4 {
			t.Errorf("%s loads %v", path, files)
		}
		for _, f := range files {
			get(f[1])
		}
	}
	// All files, also those that others load. Vue names the namespaces of its elements, and where its errors are explained.
	names := strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://www.w3.org/1998/Math/MathML", "", "http://www.w3.org/1999/xlink", "",
		"https://vuejs.org/error-reference/", "")
	outside := regexp.MustCompile(`https?://[a-z0-9][^"'\s` + "`" + `]*|url\(|@import|insertAdjacentHTML|\beval\(|new Function|sourceMappingURL|data:[a-z]+/`)
	err := fs.WalkDir(pageFiles, "page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(pageFiles, path)
		if found := outside.Find([]byte(names.Replace(string(text)))); found != nil {
			t.Errorf("%s has %q in it", path, found)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLedger(t *testing.T) {
	day := civil.MustParse("2026-03-10")
	a, b := &loan{ID: "A", Borrower: person{ID: "maya"}}, &loan{ID: "B", Borrower: person{ID: "maya"}}
	var g ledger
	next := func(want string, number int, open int64) {
		t.Helper()
		d, ok := g.next("maya", day)
		if want == "" && ok || want != "" && (!ok || d.loan.ID != want || d.Number != number || d.Outstanding != open) {
			t.Errorf("next is %+v (%v), want %s %d with %d", d, ok, want, number, open)
		}
	}
	next("", 0, 0)
	for _, l := range []*loan{a, b} {
		g.put(step{loan: l, change: &changeRow{To: approved}}) // before there is a loan
		g.put(step{loan: l, head: &loanRow{Status: active}})
	}
	next("", 0, 0)
	g.put(step{loan: a, schedule: []installment{{1, day.AddDays(-40), 50, 0, 50}, {2, day.AddDays(20), 50, 0, 50}}})
	g.put(step{loan: b, schedule: []installment{{1, day.AddDays(-1), 50, 0, 50}, {2, day, 70, 0, 70}}})
	next("B", 2, 70) // today is not late
	g.put(step{loan: b, paid: 30, payment: &paymentRow{Installment: 2}})
	next("B", 2, 40)
	g.put(step{loan: b, paid: 40, payment: &paymentRow{Installment: 2}})
	next("A", 2, 50)
	g.put(step{loan: a, paid: 60, payment: &paymentRow{Installment: 2}})
	next("B", 1, 50) // the last one due, since nothing is to come
	g.put(step{loan: b, head: &loanRow{Status: closed}})
	next("A", 1, 50)
	if d, _ := g.next("maya", day); !d.last {
		t.Error("it isn't the last one of its loan")
	}
}

func TestPressedButtonsReachTheIngestAPI(t *testing.T) {
	d := onItsOwn(t)
	var got []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer service" {
			t.Error("no token")
		}
		got = append(got, r.Method+" "+r.URL.Path)
		if len(got) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable) // called again
		}
	}))
	defer api.Close()
	d.api.url = func() string { return api.URL }
	d.begin(Start)
	for _, stage := range append(stages, stages[0]) {
		result, err := d.changeStatus(context.Background(), request{User: "maya"})
		if err != nil || !strings.Contains(result.(did).Message, strings.ReplaceAll(stage, "_", " ")) {
			t.Errorf("%v, %v; want %s", result, err, stage)
		}
	}
	if _, err := d.pay(context.Background(), request{User: "maya"}); err != nil {
		t.Error(err)
	}
	want := strings.Repeat("POST /v1/status-changes,", 6) + "POST /v1/payments"
	if strings.Join(got, ",") != want {
		t.Errorf("calls %v", got)
	}
}

func TestReadsAreRefusedToo(t *testing.T) {
	h := onItsOwn(t).Handler()
	get := func(path, remote, origin, site string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr, r.Host = remote, "127.0.0.1:8080"
		r.Header.Set("Sec-Fetch-Site", site)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/demo/state", "/demo/loans", "/demo/loans?user=maya", "/demo/mail?user=maya", "/demo/mail/n1?user=maya"} {
		for _, c := range []struct{ name, remote, origin, site string }{
			{"another machine", "192.0.2.1:5000", "", "same-origin"},
			{"another page", "127.0.0.1:5000", "https://evil.example", "cross-site"},
			{"another port", "127.0.0.1:5000", "", "same-site"},
		} {
			if w := get(path, c.remote, c.origin, c.site); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "Maya") {
				t.Errorf("%s by %s: %d %s", path, c.name, w.Code, w.Body)
			}
		}
	}
	for path, want := range map[string]int{
		"/demo/loans?user=nobody": 404, "/demo/loans?user=": 404, "/demo/loans?user=olivia": 404, "/demo/loans?user=borrower-S002": 404,
		"/demo/mail": 404, "/demo/mail?user=nobody": 404, "/demo/mail/n1": 404, "/demo/mail/n1?user=borrower-S002": 404,
		"/demo/mail?user=maya": 502, "/demo/mail/n1?user=maya": 502, // no program listens
		"/demo/loans": 200, "/demo/loans?user=maya": 200,
	} {
		if w := get(path, "127.0.0.1:5000", "", "same-origin"); w.Code != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
}

func TestLoansAreWhatTheLedgerHas(t *testing.T) {
	d := onItsOwn(t)
	today := civil.Of(Start)
	old, fresh, gone := &loan{ID: "OLD", Product: "Car loan"}, &loan{ID: "NEW", Product: "Study loan"}, &loan{ID: "GONE", Product: "Card loan"}
	for _, l := range []*loan{old, fresh, gone} {
		l.Borrower = cast[0].person
		d.ledger.put(step{loan: l, head: &loanRow{Status: active}})
	}
	d.ledger.put(step{loan: fresh, schedule: []installment{{1, today, 5000, 0, 5000}, {2, today.AddDays(30), 5000, 0, 5000}}})
	d.ledger.put(step{loan: old, schedule: []installment{{1, today.AddDays(-40), 5000, 5000, 0}, {2, today.AddDays(-10), 5000, 1000, 4000}, {3, today.AddDays(20), 5000, 0, 5000}}})
	d.ledger.put(step{loan: gone, schedule: []installment{{1, today.AddDays(-60), 700, 700, 0}}})
	d.ledger.put(step{loan: gone, head: &loanRow{Status: closed}})
	d.applications["maya"] = &application{number: 2, stage: 1}

	c, err := d.customer(cast[0], Start)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"maya","name":"Maya Collins","time_zone":"Europe/London","locale":"en-GB","today":"2026-03-02","currency":"EUR",` +
		`"outstanding":"190.00","overdue":"40.00","next":{"loan_id":"NEW","product":"Study loan","number":1,"due_date":"2026-03-02","amount":"50.00","days":0},"loans":[` +
		`{"id":"OLD","product":"Car loan","status":"active","total":"150.00","paid":"60.00","outstanding":"90.00","open":2,` +
		`"next":{"loan_id":"OLD","product":"Car loan","number":2,"due_date":"2026-02-20","amount":"40.00","days":-10}},` +
		`{"id":"NEW","product":"Study loan","status":"active","total":"100.00","paid":"0.00","outstanding":"100.00","open":2,` +
		`"next":{"loan_id":"NEW","product":"Study loan","number":1,"due_date":"2026-03-02","amount":"50.00","days":0}},` +
		`{"id":"GONE","product":"Card loan","status":"closed","total":"7.00","paid":"7.00","outstanding":"0.00","open":0,"next":null}],` +
		`"application":{"id":"A-MAYA-2","status":"under_review"}}`
	if string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	if c, err = d.customer(cast[1], Start); err != nil || c.Next != nil || c.Application != nil || len(c.Loans) != 0 || c.Outstanding != "0.00" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestMailbox is which notifications become letters, by an inbox API that answers what it is told.
func TestMailbox(t *testing.T) {
	d := onItsOwn(t)
	const at = `"created_at":"2026-03-02T09:00:00Z"`
	inbox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer user" || r.Method != http.MethodGet {
			t.Errorf("%s %s without the user's token", r.Method, r.URL)
		}
		if r.URL.Path == "/v1/preferences" {
			_, _ = w.Write([]byte(`{"channels":{"repayment.overdue":{"push":true,"email":false},"repayment.upcoming":{"push":false}},"locale":"cs"}`))
			return
		}
		_, _ = w.Write([]byte(`{"items":[
			{"id":"off","kind":"repayment.overdue","title":"off",` + at + `},
			{"id":"on","kind":"repayment.upcoming","title":"on <b>","body":"<script>x</script>","url":"/loans/L-1",` + at + `},
			{"id":"settled","kind":"repayment.due_today","title":"paid","resolved_at":"2026-03-02T10:00:00Z",` + at + `},
			{"id":"quiet","kind":"card.shipped","title":"quiet\r\nBcc: all","quiet":true,` + at + `},
			{"id":"both","kind":"repayment.rescheduled","title":"both","quiet":true,"resolved_at":"2026-03-02T10:00:00Z",` + at + `}]}`))
	}))
	defer inbox.Close()
	d.opt.PusherURL = func() string { return inbox.URL }

	box, err := d.readMailbox(context.Background(), cast[0])
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, l := range box.Letters {
		subjects = append(subjects, l.ID+": "+l.Subject)
		if l.To != "maya@example.com" || !strings.Contains(l.Text, "Lakeside Lending") || !strings.Contains(l.html, `lang="cs"`) {
			t.Errorf("letter %+v", l)
		}
	}
	if got := strings.Join(subjects, "|"); got != "on: on <b>|settled: paid|quiet: quiet Bcc: all" || box.Off != 1 || box.Settled != 1 {
		t.Errorf("letters %s, %d off, %d settled", got, box.Off, box.Settled)
	}

	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr, r.Host = "127.0.0.1:5000", "127.0.0.1:8080"
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, r)
		return w
	}
	w := get("/demo/mail/on?user=maya")
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || strings.Contains(w.Body.String(), "<script") ||
		!strings.HasPrefix(policy, "default-src 'none'; style-src 'unsafe-inline'; ") || !strings.HasSuffix(policy, "; sandbox") {
		t.Errorf("preview: %d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, id := range []string{"off", "both", "none"} { // a letter that isn't written has no preview
		if w := get("/demo/mail/" + id + "?user=maya"); w.Code != 404 {
			t.Errorf("preview of %s: %d %s", id, w.Code, w.Body)
		}
	}
}
