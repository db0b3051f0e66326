package dashboard_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"duebell/internal/auth"
	"duebell/internal/dashboard"
)

func setup(t *testing.T, write bool) (base string, client *redis.Client) {
	t.Helper()
	client = redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { client.Close() })
	tasks := asynq.NewClientFromRedisClient(client)
	if _, err := tasks.Enqueue(asynq.NewTask("reminder:run", nil)); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(dashboard.New(dashboard.Options{
		Redis: client, Write: write, Log: slog.New(slog.DiscardHandler),
		Authorize: func(_ context.Context, token string) (time.Time, error) {
			switch token {
			case "admin":
				return time.Now().Add(time.Hour), nil
			case "ingest":
				return time.Time{}, auth.ErrForbidden
			}
			return time.Time{}, auth.ErrToken
		},
	}))
	t.Cleanup(srv.Close)
	return srv.URL, client
}

func browser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func call(t *testing.T, c *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func login(t *testing.T, c *http.Client, base, token string) (*http.Response, string) {
	return call(t, c, "POST", base+"/asynqmon/login", url.Values{"token": {token}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "Origin", base)
}

func TestDashboard(t *testing.T) {
	t.Run("AProgramNeedsTheAdminScope", func(t *testing.T) {
		base, _ := setup(t, false)
		for token, want := range map[string]int{"": 401, "rubbish": 401, "ingest": 403, "admin": 200} {
			header := []string{}
			if token != "" {
				header = []string{"Authorization", "Bearer " + token}
			}
			res, _ := call(t, http.DefaultClient, "GET", base+"/asynqmon/api/queues", "", header...)
			if res.StatusCode != want {
				t.Errorf("token %q: %d, want %d", token, res.StatusCode, want)
			}
		}
	})
	t.Run("ABrowserLogsIn", func(t *testing.T) {
		base, _ := setup(t, false)
		c := browser(t)
		res, page := call(t, c, "GET", base+"/asynqmon/", "", "Accept", "text/html")
		if res.Request.URL.Path != "/asynqmon/login" || !strings.Contains(page, "duebell:admin") {
			t.Fatalf("no login page at %s", res.Request.URL)
		}
		if res, page = login(t, c, base, "ingest"); res.StatusCode != 401 || !strings.Contains(page, `role="alert"`) {
			t.Fatalf("a token without the scope: %d", res.StatusCode)
		}
		if res, page = login(t, c, base, "admin"); res.StatusCode != 200 || !strings.Contains(page, "Asynq - Monitoring") {
			t.Fatalf("after the login: %d at %s", res.StatusCode, res.Request.URL)
		}
		if strings.Contains(page, "googleapis") {
			t.Error("the page loads from elsewhere")
		}
		policy := res.Header.Get("Content-Security-Policy")
		if n := len(regexp.MustCompile(`<script>`).FindAllString(page, -1)); n == 0 || strings.Count(policy, "'sha256-") != n {
			t.Errorf("%d inline scripts, policy %s", n, policy)
		}
		if strings.Contains(policy, "script-src 'self' 'unsafe-inline'") {
			t.Errorf("policy lets any script run: %s", policy)
		}
		script := regexp.MustCompile(`src="([^"]+)"`).FindStringSubmatch(page)[1]
		if res, _ := call(t, c, "GET", base+script, ""); res.StatusCode != 200 {
			t.Errorf("%s: %d", script, res.StatusCode)
		}
	})
	t.Run("ReadOnlyUnlessWritingIsAllowed", func(t *testing.T) {
		base, _ := setup(t, false)
		if res, _ := call(t, http.DefaultClient, "POST", base+"/asynqmon/api/queues/default:pause", "", "Authorization", "Bearer admin"); res.StatusCode != 405 {
			t.Errorf("read-only pause: %d", res.StatusCode)
		}
		base, client := setup(t, true)
		if res, _ := call(t, http.DefaultClient, "POST", base+"/asynqmon/api/queues/default:pause", "", "Authorization", "Bearer admin"); res.StatusCode != 204 {
			t.Errorf("pause: %d", res.StatusCode)
		}
		if info, err := asynq.NewInspectorFromRedisClient(client).GetQueueInfo("default"); err != nil || !info.Paused {
			t.Errorf("the queue is not paused: %v", err)
		}
	})
	t.Run("ACookieFromAnotherPageChangesNothing", func(t *testing.T) {
		base, client := setup(t, true)
		c := browser(t)
		login(t, c, base, "admin")
		for _, header := range [][]string{
			{"Origin", "https://elsewhere.example"}, {"Sec-Fetch-Site", "cross-site"}, {}, {"Origin", base, "Sec-Fetch-Site", "same-site"},
		} {
			if res, _ := call(t, c, "POST", base+"/asynqmon/api/queues/default:pause", "", header...); res.StatusCode != 403 {
				t.Errorf("%v: %d", header, res.StatusCode)
			}
		}
		if info, _ := asynq.NewInspectorFromRedisClient(client).GetQueueInfo("default"); info.Paused {
			t.Error("the queue was paused")
		}
		if res, _ := call(t, c, "POST", base+"/asynqmon/api/queues/default:pause", "", "Origin", base); res.StatusCode != 204 {
			t.Errorf("own page: %d", res.StatusCode)
		}
	})
	t.Run("LoggingOutClosesIt", func(t *testing.T) {
		base, _ := setup(t, false)
		c := browser(t)
		login(t, c, base, "admin")
		call(t, c, "POST", base+"/asynqmon/logout", "", "Origin", base)
		if res, _ := call(t, c, "GET", base+"/asynqmon/api/queues", ""); res.StatusCode != 401 {
			t.Errorf("after the logout: %d", res.StatusCode)
		}
	})
}
