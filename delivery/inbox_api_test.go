package delivery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"duebell/internal/auth"
	"duebell/internal/policy"
	"duebell/internal/problem"
	"duebell/store"
)

// answered is an HTTP answer, its body decoded as far as it is known.
type answered struct {
	status int
	header http.Header
	text   string
	countsBody
	Total      int64                 `json:"total"`
	Items      []clientNotification  `json:"items"`
	NextCursor *string               `json:"next_cursor"`
	Code       string                `json:"code"`
	Errors     []problem.FieldError  `json:"errors"`
	Channels   map[string]channelsOf `json:"channels"`
}

type clientNotification struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Rev   int64  `json:"rev"`
}

type channelsOf struct{ Push, Email bool }

// call makes a request as a user; headers are name, value, name, value…
func (r *rig) call(t testing.TB, user, method, path, body string, headers ...string) answered {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		request.Header.Set("Authorization", "Bearer "+r.token(t, user))
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answered{status: response.StatusCode, header: response.Header, text: string(text)}
	if media := response.Header.Get("Content-Type"); len(text) > 0 && strings.Contains(media, "json") {
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
		if (a.status >= 400) != (media == problem.ContentType) {
			t.Errorf("%s %s: %d as %s", method, path, a.status, media)
		}
	}
	return a
}

func TestInboxAPI(t *testing.T) {
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		r := start(t, dbURL, redisURL, nil)
		const list = "/v1/notifications"

		t.Run("ListsAndChanges", func(t *testing.T) {
			if a := r.call(t, "ana", "GET", list, ""); a.status != 200 || a.text != `{"items":[],"next_cursor":null,"total":0,"unread":0,"unseen":0,"rev":0}`+"\n" {
				t.Errorf("an empty inbox: %d %s", a.status, a.text)
			}
			for range 5 {
				mustTell(t, r.db, 1, "ana")
			}
			a := r.call(t, "ana", "GET", list+"?limit=2", "")
			if a.status != 200 || len(a.Items) != 2 || a.Total != 5 || a.countsBody != (countsBody{5, 5, 5}) || a.NextCursor == nil {
				t.Fatalf("%d %s", a.status, a.text)
			}
			if a.header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			var ids []string
			for _, n := range a.Items {
				ids = append(ids, n.ID)
			}
			for a.NextCursor != nil {
				a = r.call(t, "ana", "GET", list+"?limit=2&cursor="+*a.NextCursor, "")
				for _, n := range a.Items {
					ids = append(ids, n.ID)
				}
			}
			if len(ids) != 5 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 5 {
				t.Errorf("pages gave %v", ids)
			}
			if a := r.call(t, "ana", "GET", list+"?limit=2&page=3", ""); len(a.Items) != 1 || a.Items[0].ID != ids[4] {
				t.Errorf("page 3: %s", a.text)
			}
			for _, step := range []struct {
				method, path, body string
				want               countsBody
			}{
				{"GET", "/unread-count", "", countsBody{5, 5, 5}},
				{"POST", "/" + ids[0] + "/read", "", countsBody{4, 5, 6}},
				{"POST", "/" + ids[0] + "/read", "", countsBody{4, 5, 6}},
				{"POST", "/" + ids[0] + "/unread", "", countsBody{5, 5, 7}},
				{"POST", "/" + ids[1] + "/archive", "", countsBody{4, 4, 8}},
				{"POST", "/" + ids[1] + "/archive", "", countsBody{4, 4, 8}},
				{"POST", "/" + ids[1] + "/unarchive", "", countsBody{5, 5, 9}},
				{"POST", "/seen", `{"up_to_rev":2}`, countsBody{5, 3, 10}},
				{"POST", "/seen", "", countsBody{5, 0, 11}},
				{"POST", "/seen", "{}", countsBody{5, 0, 11}},
				{"POST", "/read-all", `{"up_to_rev":3}`, countsBody{2, 0, 12}},
				{"DELETE", "/" + ids[0], "", countsBody{1, 0, 13}},
				{"POST", "/read-all", `{"up_to_rev":null}`, countsBody{0, 0, 14}},
				{"GET", "/unread-count", "", countsBody{0, 0, 14}},
			} {
				a := r.call(t, "ana", step.method, list+step.path, step.body)
				if a.status != 200 || a.countsBody != step.want {
					t.Errorf("%s %s: %d %s", step.method, step.path, a.status, a.text)
				}
			}
			if a := r.call(t, "ana", "DELETE", list+"/"+ids[0], ""); a.status != 404 || a.Code != "not_found" {
				t.Errorf("deleted before: %d %s", a.status, a.text)
			}
			r.call(t, "ana", "POST", list+"/"+ids[2]+"/archive", "")
			if a := r.call(t, "ana", "GET", list+"?status=archived", ""); len(a.Items) != 1 || a.Total != 1 {
				t.Errorf("archived: %s", a.text)
			}
			if a := r.call(t, "ana", "GET", list+"?status=unread", ""); len(a.Items) != 0 || a.Total != 0 {
				t.Errorf("unread: %s", a.text)
			}
			if a := r.call(t, "ana", "GET", list+"?kind=repayment.upcoming&kind=other", ""); len(a.Items) != 3 {
				t.Errorf("by kind: %s", a.text)
			}
			if a := r.call(t, "ana", "GET", list+"?kind=other", ""); len(a.Items) != 0 {
				t.Errorf("by another kind: %s", a.text)
			}
		})

		t.Run("AnothersNotificationIsNotFound", func(t *testing.T) {
			mustTell(t, r.db, 1, "owner")
			id := r.call(t, "owner", "GET", list, "").Items[0].ID
			for _, c := range [][2]string{{"POST", "/read"}, {"POST", "/unread"}, {"POST", "/archive"}, {"POST", "/unarchive"}, {"DELETE", ""}} {
				theirs := r.call(t, "stranger", c[0], list+"/"+id+c[1], "")
				none := r.call(t, "stranger", c[0], list+"/nothing"+c[1], "")
				if theirs.status != 404 || theirs.text != none.text {
					t.Errorf("%s %s: %d %s", c[0], c[1], theirs.status, theirs.text)
				}
			}
			if a := r.call(t, "owner", "GET", list, ""); a.countsBody != (countsBody{1, 1, 1}) {
				t.Errorf("it was touched: %s", a.text)
			}
			c := r.connect(t, newReplica(r.db, "stranger"))
			c.send(`{"type":"read","ids":["` + id + `"],"ref":"x"}`)
			if m := c.wait("an answer", func(m clientMessage) bool { return m.Ref == "x" }); m.Code != codeNotFound {
				t.Errorf("%+v", m)
			}
		})

		t.Run("CountsSayHowNewTheyAre", func(t *testing.T) {
			mustTell(t, r.db, 2, "badge")
			c := r.connect(t, newReplica(r.db, "badge"))
			c.waitType("hello")
			before := r.call(t, "badge", "GET", list+"/unread-count", "")
			mustTell(t, r.db, 1, "badge")
			c.waitRev(3)
			live := c.waitType("changes")
			// The first answer, arriving only now, is older by its rev: a client keeps what the socket said.
			if before.Rev >= live.Rev || before.Unread != 2 || live.Unread != 3 {
				t.Errorf("%+v, then %+v", before.countsBody, live)
			}
			if after := r.call(t, "badge", "GET", list+"/unread-count", ""); after.Rev != live.Rev || after.Unread != live.Unread {
				t.Errorf("%+v", after.countsBody)
			}
			// What the API changes comes over the socket.
			a := r.call(t, "badge", "POST", list+"/read-all", `{"up_to_rev":2}`)
			m := c.wait("the read-all", func(m clientMessage) bool { return m.Rev == a.Rev })
			if m.ReadThrough != 2 || m.Unread != 1 || len(m.Items) > 0 {
				t.Errorf("%+v", m)
			}
			if err := c.compare(); err != nil {
				t.Error(err)
			}
		})

		t.Run("BadRequests", func(t *testing.T) {
			for _, c := range []struct {
				method, path, body string
				status             int
				field              string
			}{
				{"GET", list + "?limit=0", "", 422, "limit"},
				{"GET", list + "?limit=101", "", 422, "limit"},
				{"GET", list + "?limit=x", "", 422, "limit"},
				{"GET", list + "?page=0", "", 422, "page"},
				{"GET", list + "?page=101", "", 422, "page"},
				{"GET", list + "?status=old", "", 422, "status"},
				{"GET", list + "?kind=", "", 422, "kind"},
				{"GET", list + "?cursor=garbage", "", 400, "cursor"},
				{"POST", list + "/read-all", `{"up_to_rev":-1}`, 422, "up_to_rev"},
				{"POST", list + "/read-all", `{"up_to_rev":"x"}`, 422, "up_to_rev"},
				{"POST", list + "/seen", `{"upto":1}`, 422, "upto"},
				{"POST", list + "/seen", `{`, 400, ""},
				{"POST", list + "/seen", `{}{}`, 400, ""},
				{"POST", list + "/seen", strings.Repeat(" ", 2<<20), 413, ""},
				{"POST", list, "", 405, ""},
				{"GET", list + "/x/read", "", 405, ""},
				{"GET", list + "/x", "", 405, ""},
				{"DELETE", list + "/read-all", "", 405, ""},
				{"PATCH", "/v1/preferences", "{}", 405, ""},
				{"GET", "/", "", 404, ""},
				{"GET", "/v1/nothing", "", 404, ""},
				{"GET", list + "/", "", 404, ""},
				{"GET", "/v1/ws", "", 426, ""},
			} {
				a := r.call(t, "bad", c.method, c.path, c.body)
				if a.status != c.status || (len(a.Errors) > 0) != (c.field != "") || c.field != "" && a.Errors[0].Field != c.field {
					t.Errorf("%s %s %.20s: %d %s", c.method, c.path, c.body, a.status, a.text)
				}
				if a.status == 405 && a.header.Get("Allow") == "" {
					t.Errorf("%s %s: 405 without Allow", c.method, c.path)
				}
			}
			if a := r.call(t, "bad", "POST", list+"/seen", "up_to_rev=1", "Content-Type", "application/x-www-form-urlencoded"); a.status != 415 {
				t.Errorf("a form: %d", a.status)
			}
			// A cursor of another's list opens nothing.
			mustTell(t, r.db, 3, "bad2")
			cursor := *r.call(t, "bad2", "GET", list+"?limit=1", "").NextCursor
			if a := r.call(t, "bad", "GET", list+"?cursor="+cursor, ""); a.status != 400 {
				t.Errorf("another's cursor: %d %s", a.status, a.text)
			}
		})

		t.Run("Tokens", func(t *testing.T) {
			if a := r.call(t, "", "GET", list, ""); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("none: %d %v", a.status, a.header)
			}
			service, _ := auth.MintService(secret, "", audience, "duebell:admin", time.Hour, time.Now())
			for name, c := range map[string]struct {
				token  string
				status int
			}{
				"expired": {tokenAt(t, "t", time.Now().Add(-time.Hour), time.Minute), 401},
				"service": {service, 403},
				"garbage": {"x", 401},
			} {
				if a := r.call(t, "", "GET", list, "", "Authorization", "Bearer "+c.token); a.status != c.status {
					t.Errorf("%s: %d %s", name, a.status, a.text)
				}
			}
			if a := r.call(t, "", "GET", list+"?access_token="+r.token(t, "t"), ""); a.status != 401 {
				t.Errorf("in the URL: %d", a.status)
			}
			at := time.Now()
			if err := r.db.Revoke(t.Context(), "t", at); err != nil {
				t.Fatal(err)
			}
			if a := r.call(t, "t", "GET", list, ""); a.status != 401 || !strings.Contains(a.text, "revoked") {
				t.Errorf("revoked: %d %s", a.status, a.text)
			}
			if a := r.call(t, "", "GET", list, "", "Authorization", "Bearer "+tokenAt(t, "t", at, time.Hour)); a.status != 200 {
				t.Errorf("issued in the same second: %d %s", a.status, a.text)
			}
		})

		t.Run("CORS", func(t *testing.T) {
			a := r.call(t, "", "OPTIONS", list+"/read-all", "", "Origin", pageOrigin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
			h := a.header
			if a.status != 204 || h.Get("Access-Control-Allow-Origin") != pageOrigin || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") ||
				!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("preflight: %d %v", a.status, h)
			}
			if a := r.call(t, "cors", "GET", list, "", "Origin", pageOrigin); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != pageOrigin {
				t.Errorf("allowed: %d %v", a.status, a.header)
			}
			if a := r.call(t, "", "GET", list, "", "Origin", pageOrigin); a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != pageOrigin {
				t.Errorf("the page must be able to read why: %d %v", a.status, a.header)
			}
			for _, method := range []string{"GET", "OPTIONS"} {
				a := r.call(t, "cors", method, list, "", "Origin", "https://evil.example")
				if a.status != 403 || a.header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s from elsewhere: %d %v", method, a.status, a.header)
				}
			}
			if a := r.call(t, "cors", "GET", list, "", "Origin", r.url); a.status != 200 {
				t.Errorf("same origin: %d", a.status)
			}
		})

		t.Run("Preferences", func(t *testing.T) {
			const path = "/v1/preferences"
			const none = `{"channels":{},"quiet_hours":null,"no_quiet_hours":false,"time_zone":null,"locale":null,"digest":null,` +
				`"kinds":[],"lender":{"quiet_hours":null,"time_zone":"UTC","locale":"en","send_at":null}}` + "\n"
			if a := r.call(t, "pref", "GET", path, ""); a.status != 200 || a.text != none {
				t.Errorf("%d %s", a.status, a.text)
			}
			body := `{"channels":{"repayment.upcoming":{"push":true,"email":false},"x":{"email":false}},"quiet_hours":{"from":"22:00","to":"07:30"},` +
				`"time_zone":"Europe/Prague","locale":"cs-cz","digest":"daily"}`
			put := r.call(t, "pref", "PUT", path, body)
			got := r.call(t, "pref", "GET", path, "")
			if put.status != 200 || got.text != put.text || !strings.Contains(got.text, `"quiet_hours":{"from":"22:00","to":"07:30"}`) ||
				!strings.Contains(got.text, `"locale":"cs-CZ"`) || !got.Channels["x"].Push || got.Channels["x"].Email {
				t.Errorf("%d %s, then %s", put.status, put.text, got.text)
			}
			if a := r.call(t, "pref", "PUT", path, got.text); a.status != 200 || a.text != got.text {
				t.Errorf("what was read can't be written: %s", a.text)
			}
			if a := r.call(t, "pref", "PUT", path, `{"no_quiet_hours":true}`); a.status != 200 || !strings.Contains(a.text, `"quiet_hours":null,"no_quiet_hours":true`) {
				t.Errorf("%d %s", a.status, a.text)
			}
			for field, body := range map[string]string{
				"quiet_hours.from": `{"quiet_hours":{"from":"25:00","to":"07:00"}}`,
				"quiet_hours.to":   `{"quiet_hours":{"from":"22:00"}}`,
				"quiet_hours":      `{"quiet_hours":{"from":"22:00","to":"22:00"}}`,
				"no_quiet_hours":   `{"quiet_hours":{"from":"22:00","to":"07:00"},"no_quiet_hours":true}`,
				"time_zone":        `{"time_zone":"Mars/Base"}`,
				"locale":           `{"locale":"no such tag"}`,
				"digest":           `{"digest":"hourly"}`,
				"channels":         `{"channels":{"":{"push":true}}}`,
				"unknown":          `{"unknown":1}`,
			} {
				a := r.call(t, "pref", "PUT", path, body)
				if a.status != 422 || len(a.Errors) != 1 || a.Errors[0].Field != field {
					t.Errorf("%s: %d %s", field, a.status, a.text)
				}
			}
		})

		// Policies are activated by another program than the pusher.
		t.Run("PreferencesByTheActivePolicy", func(t *testing.T) {
			const path = "/v1/preferences"
			worker := openStore(t, r.dbURL, func([]store.Change) {})
			activate := func(text string) {
				t.Helper()
				p, err := policy.Parse([]byte(text), "test policy")
				if err != nil {
					t.Fatal(err)
				}
				if _, changed, err := worker.ActivatePolicy(t.Context(), p); err != nil || !changed {
					t.Fatal(changed, err)
				}
			}
			wants := func(what string, a answered, terms string) {
				t.Helper()
				if _, got, _ := strings.Cut(strings.TrimSpace(a.text), `"digest":null,`); a.status != 200 || got != terms+"}" {
					t.Errorf("%s: %d %s\nwant %s", what, a.status, got, terms)
				}
			}
			if err := worker.PutUser(t.Context(), borrower("ana")); err != nil {
				t.Fatal(err)
			}
			activate("reminders: [{kind: repayment.upcoming, at: [-1d, -7d]}, {kind: repayment.overdue, at: 3d}]\nquiet_hours: {from: '21:00', to: '08:00'}\n")
			const open = `"kinds":[{"kind":"repayment.upcoming","offsets":[-7,-1],"mandatory":[]},{"kind":"repayment.overdue","offsets":[3],"mandatory":[]},` +
				`{"kind":"repayment.rescheduled","offsets":[],"mandatory":[]},{"kind":"application.status_changed","offsets":[],"mandatory":[]}],` +
				`"lender":{"quiet_hours":{"from":"21:00","to":"08:00"},"time_zone":"Europe/Prague","locale":"cs","send_at":"09:00"}`
			wants("before anything is stored", r.call(t, "ana", "GET", path, ""), open)
			before := `{"channels":{"repayment.overdue":{"push":false,"email":false},"repayment.upcoming":{"push":false}},"time_zone":"Asia/Tokyo"}`
			wants("nothing is mandatory", r.call(t, "ana", "PUT", path, before), open)

			activate("reminders: [{kind: repayment.overdue, at: 3d}]\nsend_at: '10:30'\n" +
				"mandatory: [{kind: repayment.overdue, channels: [push]}, {kind: application.status_changed}]\n")
			const closed = `"kinds":[{"kind":"repayment.overdue","offsets":[3],"mandatory":["push"]},{"kind":"repayment.rescheduled","offsets":[],"mandatory":[]},` +
				`{"kind":"application.status_changed","offsets":[],"mandatory":["push","email"]}],` +
				`"lender":{"quiet_hours":null,"time_zone":"Europe/Prague","locale":"cs","send_at":"10:30"}`
			got := r.call(t, "ana", "GET", path, "")
			wants("the new policy", got, closed)
			shown := map[string]channelsOf{"repayment.overdue": {Push: true}, "repayment.upcoming": {Email: true}}
			if !maps.Equal(got.Channels, shown) {
				t.Errorf("what was switched off before it was mandatory is shown as %v", got.Channels)
			}
			wants("sent back as it was read", r.call(t, "ana", "PUT", path, got.text), closed)
			wants("with other terms, which nobody looks at", r.call(t, "ana", "PUT", path, `{"kinds":"none","lender":{"send_at":"03:00"}}`), closed)
			wants("what isn't mandatory is switched off", r.call(t, "ana", "PUT", path, `{"channels":{"repayment.overdue":{"push":true,"email":false}}}`), closed)

			stored := r.call(t, "ana", "GET", path, "").text
			refused := r.call(t, "ana", "PUT", path,
				`{"channels":{"application.status_changed":{"push":false,"email":false},"repayment.overdue":{"push":false}},"time_zone":"Asia/Tokyo","digest":"hourly"}`)
			fields := map[string]string{}
			for _, e := range refused.Errors {
				fields[e.Field] = e.Message
			}
			if wanted := []string{"channels.application.status_changed.email", "channels.application.status_changed.push", "channels.repayment.overdue.push", "digest"}; refused.status != 422 ||
				!slices.Equal(slices.Sorted(maps.Keys(fields)), wanted) || !strings.Contains(fields[wanted[2]], "leave it out, or say true") {
				t.Errorf("%d %s", refused.status, refused.text)
			}
			if after := r.call(t, "ana", "GET", path, "").text; after != stored {
				t.Errorf("a refused change was stored: %s", after)
			}
		})

		t.Run("AHalfBodyIsNotActedUpon", func(t *testing.T) {
			mustTell(t, r.db, 1, "half")
			request, _ := http.NewRequest("POST", r.url+list+"/read-all", io.MultiReader(bytes.NewReader([]byte(`{"up_to`)), brokenBody{}))
			request.Header.Set("Authorization", "Bearer "+r.token(t, "half"))
			request.Header.Set("Content-Type", "application/json")
			request.ContentLength = 100
			if response, err := http.DefaultClient.Do(request); err == nil {
				response.Body.Close()
			}
			if a := r.call(t, "half", "GET", list+"/unread-count", ""); a.Unread != 1 {
				t.Errorf("%s", a.text)
			}
		})
	})
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, fmt.Errorf("the client breaks off") }
