package auth

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MintUser makes an HS256 user token. Issuer and audience are left out if empty; userClaim is "sub" if empty.
func MintUser(secret []byte, issuer, audience, userClaim, user string, ttl time.Duration, now time.Time) (string, error) {
	if err := CheckUserID(user); err != nil {
		return "", fmt.Errorf("the user id %w", err)
	}
	if userClaim == "" {
		userClaim = "sub"
	}
	return mint(secret, jwt.MapClaims{userClaim: user}, issuer, audience, ttl, now)
}

// MintService makes an HS256 service token with one scope, or several with spaces between.
func MintService(secret []byte, issuer, serviceAudience, scope string, ttl time.Duration, now time.Time) (string, error) {
	return mint(secret, jwt.MapClaims{"sub": "duebell-token", "scope": scope}, issuer, serviceAudience, ttl, now)
}

func mint(secret []byte, all jwt.MapClaims, issuer, audience string, ttl time.Duration, now time.Time) (string, error) {
	if len(secret) < minSecret {
		return "", fmt.Errorf("a secret needs at least %d bytes", minSecret)
	}
	if ttl < time.Second {
		return "", fmt.Errorf("a token that lives %s is of no use: a second at least", ttl)
	}
	all["iat"] = now.Unix()
	all["exp"] = now.Add(ttl).Unix()
	if issuer != "" {
		all["iss"] = issuer
	}
	if audience != "" {
		all["aud"] = audience
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}
