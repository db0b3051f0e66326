package delivery

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// event is one Server-Sent Event.
type event struct{ id, name, data string }

// openStream reads a stream into a channel, which is closed at its end.
func (r *rig) openStream(t *testing.T, user, path string, headers ...string) <-chan event {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token(t, user))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	events := make(chan event, 1000)
	go func() {
		defer close(events)
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 16<<20)
		var e event
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e != (event{}) {
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan event, kind string) (event, clientMessage) {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatalf("the stream ended before %s", kind)
		}
		if e.name == kind {
			return e, clientMessage{}
		}
		var m clientMessage
		if err := json.Unmarshal([]byte(e.data), &m); err != nil {
			t.Fatalf("%q: %v", e.data, err)
		}
		if m.Type != kind {
			t.Fatalf("%s instead of %s", e.data, kind)
		}
		return e, m
	case <-time.After(waitTime):
		t.Fatalf("no %s", kind)
	}
	panic("not reached")
}

func TestStreamIsTheSocketsFeed(t *testing.T) {
	backends(t, func(t *testing.T, dbURL, redisURL string) {
		r := start(t, dbURL, redisURL, func(o *Options) { o.PingInterval = 20 * time.Millisecond })
		mustTell(t, r.db, 2, "sse")
		events := r.openStream(t, "sse", "/v1/stream")
		first, hello := next(t, events, "hello")
		if hello.Rev != 2 || first.id != hello.Epoch+".2" {
			t.Errorf("%+v", first)
		}
		mustTell(t, r.db, 1, "sse")
		e, m := next(t, events, "changes")
		if m.From != 2 || m.Rev != 3 || len(m.Items) != 1 || e.id != hello.Epoch+".3" {
			t.Errorf("%+v", e)
		}
		r.call(t, "sse", "POST", "/v1/notifications/"+m.Items[0].ID+"/read", "")
		if e, m := next(t, events, "changes"); m.From != 3 || m.Items[0].ReadAt == nil || e.id != hello.Epoch+".4" {
			t.Errorf("%+v", e)
		}

		// It goes on where Last-Event-ID says. The id of hello is the cursor that was given: who loses the connection right
		// after it misses nothing.
		events = r.openStream(t, "sse", "/v1/stream?rev=0", "Last-Event-ID", first.id)
		if e, m := next(t, events, "hello"); m.Rev != 4 || e.id != first.id {
			t.Errorf("%+v", e)
		}
		if e, m := next(t, events, "changes"); m.From != 2 || m.Rev != 4 || len(m.Items) != 1 || e.id != hello.Epoch+".4" {
			t.Errorf("%+v", e)
		}
		for id, want := range map[string]string{"zz.2": "reset", hello.Epoch + ".999": "reset", ".2": "changes"} {
			events = r.openStream(t, "sse", "/v1/stream", "Last-Event-ID", id)
			next(t, events, "hello")
			if e, _ := next(t, events, want); e.id != hello.Epoch+".4" {
				t.Errorf("%s: %+v", id, e)
			}
		}
		for _, path := range []string{"/v1/stream?rev=x", "/v1/stream?rev=1&rev=2"} {
			if a := r.call(t, "sse", "GET", path, ""); a.status != 400 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
		if a := r.call(t, "sse", "GET", "/v1/stream", "", "Last-Event-ID", "garbage"); a.status != 400 {
			t.Errorf("garbage: %d", a.status)
		}
		if a := r.call(t, "sse", "HEAD", "/v1/stream", ""); a.status != 200 {
			t.Errorf("HEAD: %d", a.status)
		}
		if a := r.call(t, "", "GET", "/v1/stream", ""); a.status != 401 {
			t.Errorf("no token: %d", a.status)
		}

		// Streams live as long as their token, and say why they end.
		short := r.openStream(t, "sse", "/v1/stream", "Authorization", "Bearer "+tokenAt(t, "sse", time.Now(), time.Second))
		next(t, short, "hello")
		if e, _ := next(t, short, "close"); e.name != "close" || !strings.Contains(e.data, `"code":4401`) {
			t.Errorf("%+v", e)
		}
		if _, open := <-short; open {
			t.Error("more comes after close")
		}
		// So they do when the server goes away.
		last := r.openStream(t, "sse", "/v1/stream")
		next(t, last, "hello")
		r.stop()
		next(t, last, "goaway")
		if e, _ := next(t, last, "close"); !strings.Contains(e.data, `"code":1012`) {
			t.Errorf("%+v", e)
		}
	})
}

func TestEventStreamOfManyFrames(t *testing.T) {
	e := &eventStream{wake: make(chan struct{}, 1)}
	long := errorFrame("", "c", strings.Repeat("x", 300))
	if !e.write(append(append(frame{}, okFrame("1")...), long...), cursor{}) {
		t.Fatal("not taken")
	}
	if e.write(okFrame("2"), cursor{"k3", 7}) {
		t.Error("a second piece was taken")
	}
	text, refused, last := e.take()
	want := "data: {\"type\":\"ok\",\"ref\":\"1\"}\n\ndata: " + string(long.text()) + "\n\n"
	if string(text) != want || !refused || last {
		t.Errorf("got %q, refused %v, last %v", text, refused, last)
	}
	if !e.write(okFrame("2"), cursor{"k3", 7}) {
		t.Error("not taken when empty")
	}
	e.close(4401, "gone")
	text, _, last = e.take()
	if want := "id: k3.7\ndata: {\"type\":\"ok\",\"ref\":\"2\"}\n\nevent: close\ndata: {\"code\":4401,\"reason\":\"gone\"}\n\n"; string(text) != want || !last {
		t.Errorf("got %q", text)
	}
}
