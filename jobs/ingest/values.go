package ingest

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"duebell/internal/auth"
	"duebell/internal/civil"
	"duebell/internal/money"
)

// Limits of single values, in characters. They are far above what real books have; without any, one row could fill a
// page of everybody's inbox.
const (
	maxName     = 200
	maxProduct  = 200
	maxStatus   = 64
	maxReason   = 2000
	maxTitle    = 200
	maxBodyText = 4000
	maxURL      = 2000
	maxData     = 8 << 10 // bytes
	maxNotify   = 100
	maxParties  = 100
	maxSchedule = 2000
	maxUsers    = 1000
)

// checkID says what is wrong with an id. All ids follow the rule for users.
func checkID(id string) error { return auth.CheckUserID(id) }

// checkText refuses what no screen shows well: nothing at all, control characters, broken bytes.
func checkText(s string, max int, lines bool) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New("is empty")
	case utf8.RuneCountInString(s) > max:
		return fmt.Errorf("is longer than %d characters", max)
	case !utf8.ValidString(s), strings.ContainsRune(s, utf8.RuneError):
		return errors.New("isn't valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) && !(lines && (r == '\n' || r == '\t' || r == '\r')) {
			return errors.New("has control characters")
		}
	}
	return nil
}

// checkKind refuses names of notifications that aren't like "repayment.overdue".
func checkKind(s string) error {
	if s == "" || len(s) > 64 {
		return errors.New("must have 1 to 64 characters")
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte("._-", c) >= 0) {
			return fmt.Errorf("must be like repayment.overdue: lower-case letters, digits, dots, dashes and underscores, not %.64q", s)
		}
	}
	return nil
}

func checkZone(s string) error {
	_, err := civil.LoadZone(s)
	return err
}

func checkCurrency(s string) error {
	if _, ok := money.ISODigits(s); !ok {
		return fmt.Errorf("%.16q is not a currency of ISO 4217 like EUR", s)
	}
	return nil
}

// canonicalLocale is the tag in its usual spelling: "EN_us" is "en-US".
func canonicalLocale(s string) (string, error) {
	tag, err := language.Parse(s)
	if err != nil || len(s) > 64 || tag == language.Und {
		return "", fmt.Errorf("%.64q is not a BCP 47 language tag like en-US", s)
	}
	return tag.String(), nil
}

func checkEmail(s string) error {
	address, err := mail.ParseAddress(s)
	if err != nil || address.Name != "" || address.Address != s || len(s) > 254 {
		return errors.New("is not a plain e-mail address like ana@example.org")
	}
	return nil
}

// checkURL lets through what a click may open: https, or a path of the lender's own site.
func checkURL(s string) error {
	wrong := errors.New("must begin with https:// or be a path like /loans/7")
	if len(s) > maxURL {
		return fmt.Errorf("is longer than %d characters", maxURL)
	}
	u, err := url.Parse(s)
	if err != nil || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' || r == utf8.RuneError
	}) {
		return wrong
	}
	switch {
	case u.Scheme == "https" && u.Host != "" && u.User == nil:
		return nil
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//"):
		return nil
	}
	return wrong
}

// parseInstant reads RFC 3339. The years are those of civil.Date.
func parseInstant(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is not a time like 2026-03-08T09:30:00Z", s)
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.Year() < 1900 || at.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%.40q is not between the years 1900 and 9999", s)
	}
	return at, nil
}
