// Package dashboard puts asynqmon behind a login.
//
// asynqmon has no login, no CSRF protection and no content security policy of its own, and its page loads fonts from elsewhere.
// Here it opens with a service token: as a bearer token from a program, or through a login page that keeps the token in a cookie that
// scripts can't read. It changes nothing unless writing is allowed, and then only for requests that come from its own pages.
//
// dashboard.go: routes and the guard. page.go: the login page and the policy of the pages behind it.
package dashboard
