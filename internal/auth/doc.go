// Package auth says who is calling. Tokens are JWTs (RFC 7519): a user token opens that user's inbox, a service token
// opens the internal APIs that its scope names, and neither opens what the other does.
//
//	verifier.go  Verifier: what a good token is
//	keys.go      which key may verify which algorithm
//	jwks.go      keys from AUTH_JWKS_URL, fetched beside the requests
//	user.go      what a user id may look like
//	mint.go      tokens for `duebell token`, the demo and tests
//	http.go      the Authorization header, RequireService
package auth
