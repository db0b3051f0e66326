package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"duebell/internal/auth"
)

const minSecret = 32

// checkTogether finds what is wrong between variables.
func (c *Config) checkTogether(o Options, report func(name, text string)) {
	if o.NeedsAuth && c.JWTSecret == "" && c.JWTPublicKeyFile == "" && c.JWKSURL == "" {
		report("AUTH_JWT_SECRET", "set it (32 bytes or more, for example from `openssl rand -base64 32`), AUTH_JWT_PUBLIC_KEY_FILE or AUTH_JWKS_URL: "+
			"without one no token can be verified")
	}
	if c.JWTSecretPrevious != "" && c.JWTSecret == "" {
		report("AUTH_JWT_SECRET_PREVIOUS", "set AUTH_JWT_SECRET too, or leave both out")
	}
	if c.Audience != "" && c.Audience == c.ServiceAudience {
		report("AUTH_AUDIENCE", "must differ from AUTH_SERVICE_AUDIENCE, which tells service tokens from user tokens")
	}
	switch {
	case c.SMTPURL != "" && c.EmailFrom == "":
		report("EMAIL_FROM", "set it: SMTP_URL is set, and e-mail needs a sender")
	case c.SMTPURL == "" && c.EmailFrom != "":
		report("SMTP_URL", "set it, or leave EMAIL_FROM out: there is no server to send e-mail by")
	}
	switch cert, key := c.PusherTLSCert, c.PusherTLSKey; {
	case cert != "" && key == "":
		report("PUSHER_TLS_KEY", "set it: PUSHER_TLS_CERT is set, and TLS needs both")
	case cert == "" && key != "":
		report("PUSHER_TLS_CERT", "set it: PUSHER_TLS_KEY is set, and TLS needs both")
	case cert != "" && readableFile(cert) == nil && readableFile(key) == nil:
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			report("PUSHER_TLS_CERT", "not a pair with PUSHER_TLS_KEY: "+err.Error())
		}
	}
	if c.DrainWindow >= c.ShutdownTimeout && c.ShutdownTimeout > 0 {
		report("DRAIN_WINDOW", fmt.Sprintf("%s must be shorter than SHUTDOWN_TIMEOUT (%s)", c.DrainWindow, c.ShutdownTimeout))
	}
	if c.PongTimeout >= c.PingInterval && c.PingInterval > 0 {
		report("PONG_TIMEOUT", fmt.Sprintf("%s must be shorter than PING_INTERVAL (%s)", c.PongTimeout, c.PingInterval))
	}
	if c.MaxImportBytes > 0 && c.MaxImportBytes < c.MaxBodyBytes {
		report("MAX_IMPORT_BYTES", "must be at least MAX_BODY_BYTES")
	}
}

func databaseURL(value string) error {
	if path, ok := strings.CutPrefix(value, "sqlite:"); ok {
		if path == "" || strings.HasPrefix(path, "//") {
			return errors.New("write sqlite:PATH, such as sqlite:data/duebell.db or sqlite:/var/lib/duebell/duebell.db")
		}
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil: // its text would show the password
		return errors.New("not a URL: special characters in user and password need percent-encoding")
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return errors.New("write postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH")
	case strings.Trim(u.Path, "/") == "" && u.Query().Get("dbname") == "":
		return errors.New("it names no database: postgres://USER:PASSWORD@HOST/DATABASE")
	}
	return nil
}

func secret(value string) error {
	if len(value) < minSecret {
		return fmt.Errorf("%d bytes are too few: %d at least, for example from `openssl rand -base64 32`", len(value), minSecret)
	}
	return nil
}

func (c *Config) publicKeyFile(value string) (err error) {
	c.JWTPublicKeyFile = value
	if c.JWTPublicKey, err = readFile(value); err != nil {
		return err
	}
	_, err = auth.ParsePublicKey(c.JWTPublicKey)
	return err
}

func readableFile(value string) error {
	_, err := readFile(value)
	return err
}

func webURL(value string) error {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return errors.New("write an https:// URL")
	}
	return nil
}

func smtpURL(value string) error {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "smtp" && u.Scheme != "smtps") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return errors.New("write smtp://USER:PASSWORD@HOST:587 or smtps://…, special characters percent-encoded")
	}
	return nil
}

func emailAddress(value string) error {
	if _, err := mail.ParseAddress(value); err != nil {
		return fmt.Errorf("%q isn't an address such as Lender <loans@lender.example>", value)
	}
	return nil
}

func origin(value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(value, "#") || strings.HasSuffix(value, "?") {
		return "", fmt.Errorf("%q isn't an origin: scheme://host[:port] without a path, several with commas between", value)
	}
	if strings.Contains(u.Host, "*") {
		return "", fmt.Errorf("%q: name each host, there are no wildcards", value)
	}
	// Browsers leave the default port out of what they send.
	host := strings.ToLower(u.Host)
	if port := u.Port(); (u.Scheme == "https" && port == "443") || (u.Scheme == "http" && port == "80") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + host, nil
}

// network is a CIDR block, or an address alone. One of IPv4 that is written as IPv6 is what it stands for.
func network(value string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(value); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err == nil && prefix.Addr().Is4In6() {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	if err != nil || !prefix.IsValid() {
		return netip.Prefix{}, fmt.Errorf("%q isn't a network such as 10.0.0.0/8 or 2001:db8::/32, nor an address; several with commas between", value)
	}
	return prefix.Masked(), nil
}

func listenAddr(value string) error {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return fmt.Errorf("%q isn't an address to listen on: HOST:PORT or :PORT", value)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port is a number up to 65535", value)
	}
	if strings.ContainsAny(host, "/ ") {
		return fmt.Errorf("%q: the host is a name or an IP address", value)
	}
	return nil
}

// Auth is how the tokens of this configuration are verified.
func (c Config) Auth() auth.Config {
	return auth.Config{
		Secret:          []byte(c.JWTSecret),
		PreviousSecret:  []byte(c.JWTSecretPrevious),
		PublicKeyPEM:    c.JWTPublicKey,
		JWKSURL:         c.JWKSURL,
		Issuer:          c.Issuer,
		Audience:        c.Audience,
		UserClaim:       c.UserClaim,
		ServiceAudience: c.ServiceAudience,
	}
}
