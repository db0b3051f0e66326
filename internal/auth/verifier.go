package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var (
	// ErrToken is a token that proves nothing: malformed, badly signed, expired or incomplete. The error that wraps it says
	// which in plain words, and never shows the token.
	ErrToken = errors.New("token refused")
	// ErrForbidden is a good token for something else: another scope, a user token on an internal API, a service token on an inbox.
	ErrForbidden = errors.New("token not allowed here")
)

const (
	// MaxTokenBytes is the length from which a token is refused unread.
	MaxTokenBytes = 8 << 10
	// leeway forgives clocks that differ, where a token was just made. An expired token gets none.
	leeway = 5 * time.Second
	// lastDate is the end of year 9999, the last that RFC 3339 can write.
	lastDate = 253402300799
)

// Config says how tokens are verified. At least one of Secret, PublicKeyPEM and JWKSURL is needed.
type Config struct {
	// Secret and PreviousSecret (during a rotation) verify HS256; at least 32 bytes each.
	Secret, PreviousSecret []byte
	// PublicKeyPEM is a PEM public key or certificate: RSA (from 2048 bits) verifies RS256, P-256 ES256, Ed25519 EdDSA.
	PublicKeyPEM []byte
	// JWKSURL names a JWK set (RFC 7517), whose public keys verify what their type says, as PublicKeyPEM.
	JWKSURL string
	// Issuer and Audience, if set, must be in a user token. A service token may leave its issuer out, not name another.
	Issuer, Audience string
	// UserClaim holds the user id; "sub" if empty.
	UserClaim string
	// ServiceAudience in `aud` makes a token a service token.
	ServiceAudience string
	// Log hears about a JWK set that can't be fetched; nil: nobody does.
	Log *slog.Logger
}

// UserToken is what a verified user token says.
type UserToken struct {
	UserID string
	// IssuedAt is zero if the token doesn't say.
	IssuedAt, ExpiresAt time.Time
}

// ServiceToken is what a verified service token says.
type ServiceToken struct {
	Subject   string
	ExpiresAt time.Time
}

// Verifier checks tokens. It is safe for concurrent use; Close it to stop its fetching of keys.
type Verifier struct {
	cfg    Config
	keys   keyring
	parser *jwt.Parser
	now    func() time.Time
}

// NewVerifier reads the keys of cfg. It doesn't wait for the JWK set, which may be down at the start.
func NewVerifier(cfg Config) (*Verifier, error) {
	if cfg.UserClaim == "" {
		cfg.UserClaim = "sub"
	}
	if cfg.ServiceAudience == "" {
		return nil, errors.New("auth: no service audience")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	keys, err := newKeyring(cfg)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return &Verifier{
		cfg:  cfg,
		keys: keys,
		// Dates are checked below: the library's leeway would let expired tokens live on.
		parser: jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
		now:    time.Now,
	}, nil
}

// Close stops fetching keys and waits until that has ended.
func (v *Verifier) Close() {
	if v.keys.set != nil {
		v.keys.set.close()
	}
}

// Ready says what is missing before tokens can be verified: the first answer of AUTH_JWKS_URL, if that is the only key.
func (v *Verifier) Ready(context.Context) error {
	if v.keys.set != nil && len(v.keys.secrets) == 0 && v.keys.public == nil && v.keys.set.empty() {
		return errors.New("no keys from AUTH_JWKS_URL yet")
	}
	return nil
}

// User verifies a user token. The error wraps ErrToken or ErrForbidden. With a JWK set a key that isn't known yet is fetched
// within ctx, for some seconds at most.
func (v *Verifier) User(ctx context.Context, token string) (UserToken, error) {
	c, err := v.verify(ctx, token)
	if err != nil {
		return UserToken{}, err
	}
	switch {
	case slices.Contains(c.audience, v.cfg.ServiceAudience):
		return UserToken{}, fmt.Errorf("%w: a service token opens no inbox", ErrForbidden)
	case v.cfg.Audience != "" && !slices.Contains(c.audience, v.cfg.Audience):
		return UserToken{}, refused("it is for another audience")
	case v.cfg.Issuer != "" && c.issuer != v.cfg.Issuer:
		return UserToken{}, refused("it has another issuer")
	}
	user, ok := c.all[v.cfg.UserClaim].(string)
	if !ok {
		return UserToken{}, refused("it has no text in the claim " + v.cfg.UserClaim + ", which names the user")
	}
	if err := CheckUserID(user); err != nil {
		return UserToken{}, refused("the user id in claim " + v.cfg.UserClaim + " " + err.Error())
	}
	return UserToken{UserID: user, IssuedAt: c.issuedAt, ExpiresAt: c.expiresAt}, nil
}

// Service verifies a service token that has the scope. The error wraps ErrToken or ErrForbidden.
func (v *Verifier) Service(ctx context.Context, token, scope string) (ServiceToken, error) {
	c, err := v.verify(ctx, token)
	if err != nil {
		return ServiceToken{}, err
	}
	switch {
	case !slices.Contains(c.audience, v.cfg.ServiceAudience):
		return ServiceToken{}, fmt.Errorf("%w: this needs a service token (aud %s)", ErrForbidden, v.cfg.ServiceAudience)
	case v.cfg.Issuer != "" && c.issuer != "" && c.issuer != v.cfg.Issuer:
		return ServiceToken{}, refused("it has another issuer")
	case scope == "" || !slices.Contains(c.scopes(), scope):
		return ServiceToken{}, fmt.Errorf("%w: the token lacks the scope %s", ErrForbidden, scope)
	}
	subject, _ := c.all["sub"].(string)
	return ServiceToken{Subject: subject, ExpiresAt: c.expiresAt}, nil
}

// claims are those of a token whose signature and dates are good.
type claims struct {
	all                 jwt.MapClaims
	issuer              string
	audience            []string
	issuedAt, expiresAt time.Time
}

// scopes are the space-separated ones of RFC 8693, or an array, as some issuers write them.
func (c claims) scopes() []string {
	switch scope := c.all["scope"].(type) {
	case string:
		return strings.Fields(scope)
	case []any:
		var all []string
		for _, s := range scope {
			if s, ok := s.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

func (v *Verifier) verify(ctx context.Context, token string) (claims, error) {
	switch {
	case token == "":
		return claims{}, refused("there is none")
	case len(token) > MaxTokenBytes:
		return claims{}, refused(fmt.Sprintf("it is longer than %d bytes", MaxTokenBytes))
	case strings.ContainsAny(token, "\r\n"): // which base64 would pass over: one token, many spellings
		return claims{}, refused("it isn't a JWT")
	}
	all := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, all, func(t *jwt.Token) (any, error) {
		// RFC 7515, 4.1.11: what must be understood and isn't makes the token invalid. We understand no extension.
		if _, ok := t.Header["crit"]; ok {
			return nil, unverifiable("it has critical headers, which are not supported")
		}
		kid, _ := t.Header["kid"].(string)
		return v.keys.lookup(ctx, t.Method.Alg(), kid)
	})
	if err != nil {
		return claims{}, refused(reason(err))
	}

	c := claims{all: all}
	now := v.now()
	var given bool
	if c.expiresAt, given, err = date(all, "exp"); err != nil {
		return claims{}, refused(err.Error())
	} else if !given {
		return claims{}, refused("it has no exp: one that never ends is not accepted")
	} else if !now.Before(c.expiresAt) {
		return claims{}, refused("it has expired")
	}
	if c.issuedAt, _, err = date(all, "iat"); err != nil {
		return claims{}, refused(err.Error())
	} else if c.issuedAt.After(now.Add(leeway)) {
		return claims{}, refused("it is from the future (iat)")
	}
	if notBefore, _, err := date(all, "nbf"); err != nil {
		return claims{}, refused(err.Error())
	} else if notBefore.After(now.Add(leeway)) {
		return claims{}, refused("it isn't valid yet (nbf)")
	}
	if c.issuer, err = all.GetIssuer(); err != nil {
		return claims{}, refused("iss isn't text")
	}
	if c.audience, err = all.GetAudience(); err != nil {
		return claims{}, refused("aud isn't text or an array of text")
	}
	return c, nil
}

// date reads a claim of seconds since 1970, which may have a fraction (RFC 7519, NumericDate).
func date(all jwt.MapClaims, name string) (at time.Time, given bool, err error) {
	value, given := all[name]
	if !given {
		return time.Time{}, false, nil
	}
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds > lastDate {
		return time.Time{}, true, errors.New(name + " isn't a date in seconds since 1970")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true, nil
}

func refused(why string) error {
	return fmt.Errorf("%w: %s", ErrToken, why)
}

// reason puts the library's errors into plain words; they can quote parts of the token, which these never do.
func reason(err error) string {
	if why, ok := errors.AsType[unverifiable](err); ok {
		return string(why)
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "it isn't a JWT"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "its signature is wrong, or its algorithm isn't accepted"
	}
	return "its algorithm isn't accepted"
}
