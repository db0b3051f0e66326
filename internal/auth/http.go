package auth

import (
	"errors"
	"net/http"
	"strings"

	"duebell/internal/problem"
)

// BearerFromRequest returns the token of the Authorization header (RFC 6750), or "" if there is none, or more than one.
// Tokens in URLs are never looked at: they end up in logs.
func BearerFromRequest(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// RequireService lets a request through to next if it bears a service token with the scope, and answers 401 or 403 otherwise.
// busy, if given, may answer either with 429: it is asked with the token, and with the error where that was refused.
func RequireService(v *Verifier, scope string, busy func(*http.Request, ServiceToken, error) *problem.Problem, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := v.Service(r.Context(), BearerFromRequest(r), scope)
		if busy != nil {
			if p := busy(r, token, err); p != nil {
				problem.Write(w, *p)
				return
			}
		}
		if err != nil {
			problem.Write(w, Problem(r, err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Problem is the answer to a request whose token was refused with err.
func Problem(r *http.Request, err error) problem.Problem {
	switch {
	case errors.Is(err, ErrForbidden):
		return problem.Forbidden(err.Error())
	case BearerFromRequest(r) == "":
		return problem.Unauthorized("")
	case errors.Is(err, ErrToken):
		return problem.Unauthorized(err.Error())
	}
	return problem.Internal()
}
