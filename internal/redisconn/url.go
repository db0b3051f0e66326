package redisconn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Embedded as a URL means a Redis inside the process that keeps nothing.
const Embedded = "embedded"

type kind int

const (
	single kind = iota
	sentinel
	cluster
	embedded
)

// target is a parsed URL.
type target struct {
	kind               kind
	addrs              []string // host:port
	username, password string
	db                 int
	tls                bool

	master                             string // Sentinel's name of it
	sentinelUsername, sentinelPassword string
}

// ParseURL says what is wrong with a REDIS_URL, or nil. The error never shows a password. Accepted are
//
//	redis://[user:password@]host[:6379][/db]   rediss:// the same with TLS
//	redis+sentinel://[user:password@]host[:26379],host…[/db]?master=NAME[&sentinel_username=…&sentinel_password=…][&tls=true]
//	redis+cluster://[user:password@]host[:6379],host…[?tls=true]
//	embedded
func ParseURL(text string) error {
	_, err := parse(text)
	return err
}

func parse(text string) (target, error) {
	if text == Embedded {
		return target{kind: embedded}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return target{}, errors.New("not a URL: write redis://HOST:6379/0, rediss://…, redis+sentinel://…, redis+cluster://… or embedded")
	}
	var t target
	allowed := []string{}
	port := "6379"
	switch scheme {
	case "redis":
	case "rediss":
		t.tls = true
	case "redis+sentinel":
		t.kind, port = sentinel, "26379"
		allowed = []string{"master", "sentinel_username", "sentinel_password", "tls"}
	case "redis+cluster":
		t.kind = cluster
		allowed = []string{"tls"}
	default:
		return target{}, fmt.Errorf("unknown scheme %q: use redis, rediss, redis+sentinel or redis+cluster", scheme)
	}

	// The hosts are taken out first, since net/url knows of one only.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	hosts, login := authority, ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		login, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse(scheme + "://" + login + "host" + tail)
	if err != nil { // its text would show the password
		return target{}, errors.New("not a URL: special characters in user, password and options need percent-encoding")
	}
	t.username = u.User.Username()
	t.password, _ = u.User.Password()

	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := address(host, port)
		if err != nil {
			return target{}, err
		}
		t.addrs = append(t.addrs, addr)
	}
	if t.kind == single && len(t.addrs) > 1 {
		return target{}, fmt.Errorf("%s:// takes one host; use redis+sentinel or redis+cluster for several", scheme)
	}

	if path := strings.Trim(u.Path, "/"); path != "" {
		t.db, err = strconv.Atoi(path)
		if err != nil || t.db < 0 {
			return target{}, fmt.Errorf("the path is the number of a database, such as /0, not /%s", path)
		}
		if t.kind == cluster && t.db != 0 {
			return target{}, errors.New("a cluster has only database 0")
		}
	}

	options := u.Query()
	for name := range options {
		if !slices.Contains(allowed, name) {
			return target{}, fmt.Errorf("%s:// has no option %q", scheme, name)
		}
	}
	t.master = options.Get("master")
	t.sentinelUsername, t.sentinelPassword = options.Get("sentinel_username"), options.Get("sentinel_password")
	if value := options.Get("tls"); value != "" {
		if t.tls, err = strconv.ParseBool(value); err != nil {
			return target{}, errors.New("tls is true or false")
		}
	}
	if t.kind == sentinel && t.master == "" {
		return target{}, errors.New("redis+sentinel:// needs the master's name: ?master=NAME")
	}
	return t, nil
}

// address completes host, host:port, [v6] or [v6]:port.
func address(host, port string) (string, error) {
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("%q isn't host:port", host)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("port %q isn't a number from 1 to 65535", port)
	}
	if host == "" || strings.ContainsAny(host, " \t@") {
		return "", errors.New("a host is missing")
	}
	return net.JoinHostPort(host, port), nil
}
