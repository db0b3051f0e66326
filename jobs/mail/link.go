package mail

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

// link is where a notification's url leads: https, or a path of the lender's site. Anything else is "", whatever the loan
// system sent: javascript:, data:, //host, or characters that mail programs skip.
func (c *Composer) link(address string) string {
	if address == "" || strings.ContainsFunc(address, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || turns(r) || r == '\\' || r == unicode.ReplacementChar
	}) {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil {
		return ""
	}
	if strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") {
		u = c.site.ResolveReference(u)
		if u.Host != c.site.Host || u.Scheme != c.site.Scheme {
			return ""
		}
		return u.String()
	}
	if u.Scheme != "https" || u.Host == "" || u.Opaque != "" {
		return ""
	}
	return u.String()
}

// secure says whether an address is https, or http on this machine, for trying it out.
func secure(u *url.URL) bool {
	switch {
	case u.Host == "" || u.Opaque != "":
		return false
	case u.Scheme == "https":
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}
