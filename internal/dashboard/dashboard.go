package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"duebell/internal/auth"
	"duebell/internal/problem"
)

// Root is the path that the dashboard lives under.
const Root = "/asynqmon"

const cookieName = "duebell_admin"

// Authorize tells until when a token opens the dashboard; the error wraps auth.ErrForbidden for one that never will.
type Authorize func(ctx context.Context, token string) (expires time.Time, err error)

// Options of the dashboard.
type Options struct {
	Redis     redis.UniversalClient // stays the caller's
	Authorize Authorize
	Write     bool // lets it change queues
	Log       *slog.Logger
}

type dashboard struct {
	authorize Authorize
	log       *slog.Logger
	pages     http.Handler
	write     bool
}

// shared hands asynqmon the program's own client; asynqmon never closes it, because its handler is never closed.
type shared struct{ client redis.UniversalClient }

func (s shared) MakeRedisClient() any { return s.client }

// New returns the handler for Root and everything below it.
func New(opt Options) http.Handler {
	d := &dashboard{
		authorize: opt.Authorize,
		log:       opt.Log,
		write:     opt.Write,
		pages: asynqmon.New(asynqmon.Options{
			RootPath:     Root,
			RedisConnOpt: shared{opt.Redis},
			ReadOnly:     !opt.Write,
		}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Root+"/login", d.showLogin)
	mux.HandleFunc("POST "+Root+"/login", d.login)
	mux.HandleFunc("POST "+Root+"/logout", d.logout)
	mux.Handle("GET "+Root, http.RedirectHandler(Root+"/", http.StatusMovedPermanently))
	mux.HandleFunc(Root+"/", d.guard)
	return mux
}

func (d *dashboard) guard(w http.ResponseWriter, r *http.Request) {
	token, fromCookie := auth.BearerFromRequest(r), false
	if token == "" {
		if c, err := r.Cookie(cookieName); err == nil {
			token, fromCookie = c.Value, true
		}
	}
	if token == "" {
		d.turnAway(w, r, problem.Unauthorized("a service token with scope duebell:admin is needed"))
		return
	}
	if _, err := d.authorize(r.Context(), token); err != nil {
		if errors.Is(err, auth.ErrForbidden) && !fromCookie {
			problem.Write(w, problem.Forbidden("this token does not have the scope duebell:admin"))
			return
		}
		d.turnAway(w, r, problem.Unauthorized("the token is not valid or has expired"))
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && fromCookie && !ownPage(r) {
		problem.Write(w, problem.Forbidden("this request does not come from the dashboard's own pages"))
		return
	}
	servePage(w, r, d.pages)
}

// turnAway shows a browser the login page and gives a program the problem.
func (d *dashboard) turnAway(w http.ResponseWriter, r *http.Request, p problem.Problem) {
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, Root+"/login", http.StatusSeeOther)
		return
	}
	problem.Write(w, p)
}

// ownPage tells whether a browser sent the request from a page of this origin. A cookie alone proves nothing, and SameSite
// does not keep out other ports of the same host.
func ownPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}

func (d *dashboard) login(w http.ResponseWriter, r *http.Request) {
	if !ownPage(r) {
		problem.Write(w, problem.Forbidden("this request does not come from the login page"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	token := strings.TrimSpace(r.PostFormValue("token"))
	expires, err := d.authorize(r.Context(), token)
	if err != nil {
		d.log.Warn("dashboard login refused", "remote", r.RemoteAddr)
		writeLogin(w, http.StatusUnauthorized, "This token does not open the dashboard: it is not valid, has expired, or lacks the scope duebell:admin.")
		return
	}
	setCookie(w, r, token, expires)
	http.Redirect(w, r, Root+"/", http.StatusSeeOther)
}

func (d *dashboard) logout(w http.ResponseWriter, r *http.Request) {
	if !ownPage(r) {
		problem.Write(w, problem.Forbidden("this request does not come from the dashboard's own pages"))
		return
	}
	setCookie(w, r, "", time.Unix(1, 0))
	http.Redirect(w, r, Root+"/login", http.StatusSeeOther)
}

func (d *dashboard) showLogin(w http.ResponseWriter, _ *http.Request) {
	writeLogin(w, http.StatusOK, "")
}

// setCookie keeps the token itself: nothing has to be remembered on this side, and it ends when the token does.
func setCookie(w http.ResponseWriter, r *http.Request, token string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: Root, Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}
