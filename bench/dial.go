package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// secret signs the tokens of all users and is known to all servers.
const secret = "a-secret-for-benchmarks-a-secret-for-benchmarks"

// speech is how a server is talked to.
type speech struct {
	// request is the opening handshake.
	request func(dst []byte, user int, query string) []byte
	// greet is sent after the handshake; nil: nothing. The session stands when the server's first message has come.
	greet func(dst []byte, user int) []byte
	// first says whether that message is to be waited for.
	first bool
	// ping is a message of the application that has to be answered by pong; nil: there is none.
	ping, pong []byte
	chained    bool // messages say from which rev to which they lead
	// marker stands before the time in a message; no two messages have the same if they are single.
	marker []byte
	single bool
}

var speeches = map[string]speech{
	"duebell": {request: askDuebell, first: true, chained: true, marker: sentAt},
	"status":  {request: askDuebell, first: true, chained: true, marker: appliedAt, single: true},
	"centrifugo": {
		request: func(dst []byte, _ int, _ string) []byte { return upgrade(dst, "/connection/websocket", "") },
		greet: func(dst []byte, user int) []byte {
			return masked(dst, 1, []byte(`{"id":1,"connect":{"token":"`+token(user)+`"}}`))
		},
		first: true, ping: []byte("{}"), pong: []byte("{}"), marker: sentAt,
	},
	"gorilla": {
		request: func(dst []byte, user int, _ string) []byte {
			return upgrade(dst, "/ws", "Authorization: Bearer "+token(user)+"\r\n")
		},
		marker: sentAt,
	},
}

func askDuebell(dst []byte, user int, query string) []byte {
	return upgrade(dst, "/v1/ws"+query, "Sec-WebSocket-Protocol: duebell.v1, bearer."+token(user)+"\r\n")
}

func userName(n int) string { return fmt.Sprintf("u%07d", n) }

func upgrade(dst []byte, path, header string) []byte {
	dst = append(dst, "GET "+path+" HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"...)
	return append(append(dst, header...), "\r\n"...)
}

var tokenHead = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))

// token is a user's for the next hours.
func token(user int) string {
	now := time.Now().Unix()
	body := fmt.Sprintf(`{"sub":"%s","iat":%d,"exp":%d}`, userName(user), now-1, now+6*3600)
	text := tokenHead + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// masked is a frame of a client; its mask is zero.
func masked(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	if n := len(payload); n < 126 {
		dst = append(dst, 0x80|byte(n))
	} else {
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	}
	return append(append(dst, 0, 0, 0, 0), payload...)
}

// connect opens connections of users one after the other, some at a time.
func (l *loop) connect(o order) answer {
	s, ok := speeches[o.Speech]
	if !ok {
		return answer{Error: "no such speech: " + o.Speech}
	}
	l.speech = s
	to, err := socketAddress(o.Address)
	if err != nil {
		return answer{Error: err.Error()}
	}
	from, err := socketAddress(o.Source + ":0")
	if err != nil {
		return answer{Error: err.Error()}
	}
	before := [2]int{l.opened, l.failed}
	for next := o.First; next < o.First+o.Count || l.flight > 0; {
		for l.flight < window && next < o.First+o.Count {
			if err := l.dial(from, to, next, o.Query); err != nil {
				return answer{Error: fmt.Sprintf("connection %d: %v", next-o.First, err)}
			}
			next++
		}
		l.poll(100)
	}
	return answer{Connected: l.opened - before[0], Failed: l.failed - before[1]}
}

func socketAddress(text string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
}

// dial begins a connection: what it has to say waits in it until the socket stands.
func (l *loop) dial(from, to *unix.SockaddrInet4, user int, query string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		l.bind(fd, from)); err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return err
	}
	l.conns[fd] = conn{opening: &opening{user: user, query: query}}
	l.flight++
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP, Fd: int32(fd)})
}

// bind gives a socket the next port of the client's address. Left to the kernel, that search takes most of the time of a
// connect when half of the ports are taken: it tries all even ones before the first odd one.
func (l *loop) bind(fd int, from *unix.SockaddrInet4) error {
	for range maxPort - minPort {
		l.port = max((l.port+1)%maxPort, minPort)
		err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.Addr, Port: l.port})
		if err != unix.EADDRINUSE {
			return err
		}
	}
	return unix.EADDRINUSE
}

// opening is a connection until its session stands.
type opening struct {
	user  int
	query string
	sent  bool
	head  []byte // of the answer, until it is whole
	shook bool   // it was
}

// greet goes on with a connection whose socket has become writable or has received something.
func (l *loop) open(fd int, c *conn, received []byte) (rest []byte, ok bool) {
	o := c.opening
	if !o.sent {
		o.sent = true
		if !l.send(fd, l.speech.request(nil, o.user, o.query)) {
			return nil, false
		}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}); err != nil {
			return nil, false
		}
	}
	if o.shook {
		return received, true
	}
	o.head = append(o.head, received...)
	end := bytes.Index(o.head, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, true
	}
	if !bytes.HasPrefix(o.head, []byte("HTTP/1.1 101")) {
		l.refusals++
		if l.refusals == 1 {
			l.complain("refused: %.200s", o.head)
		}
		return nil, false
	}
	rest, o.head, o.shook = o.head[end+4:], nil, true
	if l.speech.greet != nil && !l.send(fd, l.speech.greet(nil, o.user)) {
		return nil, false
	}
	if !l.speech.first {
		l.stands(c)
	}
	return rest, true
}

func (l *loop) stands(c *conn) {
	c.opening = nil
	l.opened++
	l.flight--
}
