package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// algorithms are all that are ever accepted; which of them depends on the keys.
var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// minSecret is the length of a SHA-256, below which HS256 is weaker than it looks (RFC 7518, 3.2).
const minSecret = 32

// unverifiable says why a token can't be verified at all. It quotes nothing of the token.
type unverifiable string

func (e unverifiable) Error() string { return string(e) }

// keyring holds each key under the one algorithm that it serves, so that no key is ever used in another's place
// (the classic: an RSA public key taken for an HMAC secret).
type keyring struct {
	secrets []jwt.VerificationKey // HS256 only
	public  crypto.PublicKey      // publicAlg only
	alg     string
	set     *keySet // nil without a JWK set
}

func newKeyring(cfg Config) (keyring, error) {
	var ring keyring
	for _, secret := range [][]byte{cfg.Secret, cfg.PreviousSecret} {
		if len(secret) == 0 {
			continue
		}
		if len(secret) < minSecret {
			return keyring{}, fmt.Errorf("a secret needs at least %d bytes", minSecret)
		}
		ring.secrets = append(ring.secrets, secret)
	}
	if len(cfg.PublicKeyPEM) > 0 {
		key, err := ParsePublicKey(cfg.PublicKeyPEM)
		if err != nil {
			return keyring{}, err
		}
		ring.public = key
		ring.alg, _ = algorithmOf(key)
	}
	if cfg.JWKSURL != "" {
		set, err := newKeySet(cfg.JWKSURL, cfg.Log)
		if err != nil {
			return keyring{}, err
		}
		ring.set = set
	}
	if ring.secrets == nil && ring.public == nil && ring.set == nil {
		return keyring{}, errors.New("no secret, public key or JWK set to verify tokens with")
	}
	return ring, nil
}

// lookup returns the keys that may verify a token of this algorithm and key id. Both come from the token: not to be trusted.
func (r keyring) lookup(ctx context.Context, alg, kid string) (any, error) {
	if alg == "HS256" {
		if len(r.secrets) == 0 {
			return nil, unverifiable("HS256 isn't accepted here")
		}
		return jwt.VerificationKeySet{Keys: r.secrets}, nil
	}
	var keys []jwt.VerificationKey
	if r.set != nil {
		for _, key := range r.set.find(ctx, alg, kid) {
			keys = append(keys, key)
		}
	}
	if r.public != nil && r.alg == alg {
		keys = append(keys, r.public)
	}
	if len(keys) == 0 {
		return nil, unverifiable("no key here fits its algorithm and key id")
	}
	return jwt.VerificationKeySet{Keys: keys}, nil
}

// ParsePublicKey reads a PEM public key (PKIX or PKCS #1) or certificate of a kind that tokens may be signed with.
func ParsePublicKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the public key isn't PEM (-----BEGIN PUBLIC KEY-----)")
	}
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, fmt.Errorf("the PEM block is a %q, not a public key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	if _, err := algorithmOf(key); err != nil {
		return nil, err
	}
	return key, nil
}

// algorithmOf is the one algorithm that a public key serves.
func algorithmOf(key crypto.PublicKey) (string, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return "", fmt.Errorf("an RSA key of %d bits is too short: 2048 at least", key.N.BitLen())
		}
		return "RS256", nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return "", fmt.Errorf("curve %s isn't supported: ES256 takes P-256", key.Curve.Params().Name)
		}
		return "ES256", nil
	case ed25519.PublicKey:
		return "EdDSA", nil
	}
	return "", fmt.Errorf("a %T can't verify tokens: RSA, P-256 and Ed25519 keys can", key)
}
