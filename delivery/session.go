package delivery

import (
	"sync"
	"sync/atomic"
	"time"

	"duebell/delivery/socket"
)

// Close codes of sockets, as the contract has them; RFC 6455, 7.4.2 leaves the range from 4000 to applications.
const (
	closeBadFrame   = 4400
	closeToken      = 4401
	closeForbidden  = 4403
	closeTooMany    = 4429
	closeRestarting = 1012
)

// output is what a session writes to: a socket or an event stream. It keeps no queue.
type output interface {
	// write hands over one frame, or several ok and error frames in one piece. False means that nothing was taken because
	// one is in flight still; then the session's writable is called later. It never blocks, and calls nothing back. The
	// cursor is where the client is once it has read the frame.
	write(f frame, at cursor) bool
	// close ends the connection with a close code, after what is in flight.
	close(code int, reason string)
}

// cursor is what a client resumes from.
type cursor struct {
	epoch string
	rev   int64
}

// A session is one connection of a recipient. Its chain: sent is the rev that its client has reached, and a frame is
// written only if it starts there. Nothing is queued for it: while its frames can't be written, or one was missed, sent
// stays, and a worker reads what lies behind it from the store (catchup.go).
type session struct {
	recipient string
	next      *session // of the same recipient, opened before; the hub's lock guards it
	issued    atomic.Int64
	expires   atomic.Int64 // of the token; microseconds since 1970, issued 0 if the token doesn't say

	// mu also orders writes to out, which is the only thing done under it that takes microseconds.
	mu      sync.Mutex
	out     output
	epoch   string
	sent    int64
	heard   int64 // newest rev that a message told of since the store was last asked
	more    *sessionMore
	state   sessionState
	resumes bool // starting: the client gave a cursor, which is in epoch and sent
	refused bool // starting: the socket was full when hello came
	tries   uint8
	opened  uint32 // when, in openedUnit since the process started; set before it joins the hub
}

// openedUnit makes four bytes last for four years.
const openedUnit = time.Second / 32

var processStarted = time.Now()

// openedAt is when the session was opened, in milliseconds since 1970.
func (s *session) openedAt() int64 {
	return processStarted.UnixMilli() + int64(time.Duration(s.opened)*openedUnit/time.Millisecond)
}

// sessionMore is what few sessions have at a time.
type sessionMore struct {
	inside   position // catching up inside of a rev that fills more than a page; zero: not
	answers  []byte   // ok and error frames that the socket didn't take
	requests []request
	working  bool // requests are being done, or wait for a worker
}

// position is a place between the changed rows of an inbox.
type position struct {
	rev int64
	id  string
}

type sessionState uint8

const (
	starting sessionState = iota // it has joined the hub; no hello yet
	live                         // the next frame is written as it comes
	behind                       // a worker reads the store for it, or will
	full                         // behind, and waits for its socket
	ended
)

func newSession(recipient string, issuedAt, expiresAt time.Time) *session {
	s := &session{recipient: recipient}
	s.setToken(issuedAt, expiresAt)
	return s
}

func (s *session) setToken(issuedAt, expiresAt time.Time) {
	s.expires.Store(expiresAt.UnixMicro())
	if issuedAt.IsZero() {
		s.issued.Store(0)
	} else {
		s.issued.Store(issuedAt.UnixMicro())
	}
}

// resumeAt says where the client wants to go on, before the session joins the hub.
func (s *session) resumeAt(at cursor) {
	s.epoch, s.sent, s.resumes = at.epoch, at.rev, true
}

// deliver writes a change that came live, if it is the next one, to a socket by the batch. behindNow: the caller queues the
// session for catching up.
func (s *session) deliver(c *change, by *socket.Batch) (written, behindNow bool) {
	if o, ok := s.out.(socketOutput); ok {
		by.Release(o.conn) // who has the session's lock may wait for its connection's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != live {
		s.heard = max(s.heard, c.rev)
		return false, false
	}
	switch {
	case c.epoch != "" && c.epoch != s.epoch:
	case c.rev <= s.sent: // doubled, or older than what a catch-up has brought
		return false, false
	case c.from != s.sent || len(c.frame) == 0:
	case !s.writeBy(by, c):
		s.state = full
		return false, false
	default:
		s.sent = c.rev
		return true, false
	}
	s.state = behind
	return false, true
}

// writeBy writes a change's frame. Under mu.
func (s *session) writeBy(by *socket.Batch, c *change) bool {
	if o, ok := s.out.(socketOutput); ok {
		return by.Write(o.conn, c.frame)
	}
	return s.out.write(c.frame, cursor{s.epoch, c.rev})
}

// fallBehind makes a live session read the store, whether or not it has missed anything. The caller queues it if true.
func (s *session) fallBehind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != live {
		return false
	}
	s.state = behind
	return true
}

// reached is where a live session is; ok is false in all other states, in which it will read the store anyway.
func (s *session) reached() (at cursor, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cursor{s.epoch, s.sent}, s.state == live
}

// writable is called when the socket was full and isn't any more. It says for what the caller queues the session.
func (s *session) writable() (start, catchUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != starting && !s.writeAnswers() {
		return false, false
	}
	switch {
	case s.state == full:
		s.state = behind
		return false, true
	case s.state == starting && s.refused:
		s.refused = false
		return true, false
	}
	return false, false
}

// maxAnswers is how many bytes of answers wait for a client that asks and doesn't read.
const maxAnswers = 16 << 10

// answer writes the answer to a request, after hello. False: the client doesn't read its answers, and must go.
func (s *session) answer(f frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == ended {
		return true
	}
	if s.state != starting && (s.more == nil || len(s.more.answers) == 0) && s.out.write(f, cursor{}) {
		return true
	}
	m := s.extra()
	if len(m.answers)+len(f) > maxAnswers {
		return false
	}
	m.answers = append(m.answers, f...)
	return true
}

// writeAnswers writes those that wait, in one piece; false if the socket is full. Under mu.
func (s *session) writeAnswers() bool {
	if s.state == ended || s.more == nil || s.more.answers == nil {
		return true
	}
	if !s.out.write(s.more.answers, cursor{}) {
		return false
	}
	s.more.answers = nil
	s.tidy()
	return true
}

// extra is s.more, made if needed. Under mu.
func (s *session) extra() *sessionMore {
	if s.more == nil {
		s.more = new(sessionMore)
	}
	return s.more
}

// tidy lets go of more when nothing is in it. Under mu.
func (s *session) tidy() {
	if m := s.more; m != nil && m.inside == (position{}) && m.answers == nil && len(m.requests) == 0 && !m.working {
		s.more = nil
	}
}

// finish ends the session once; false if it had ended. Nothing is written after it.
func (s *session) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == ended {
		return false
	}
	s.state = ended
	if m := s.more; m != nil {
		m.answers, m.inside = nil, position{}
		s.tidy()
	}
	return true
}

func (s *session) expired(now time.Time) bool { return now.UnixMicro() >= s.expires.Load() }

// revoked says whether the session's token was issued before the instant from which a user's tokens count.
func (s *session) revoked(notBefore time.Time) bool {
	var issuedAt time.Time
	if issued := s.issued.Load(); issued != 0 {
		issuedAt = time.UnixMicro(issued)
	}
	return revoked(issuedAt, notBefore)
}

// revoked is the rule for tokens and revocations. A token that doesn't say when it was issued can't show that it is newer,
// so one revocation refuses it for ever. Most issuers write iat in whole seconds: such a token may have been issued at
// any time within that second, and one that was fetched right after the revocation must work. So seconds are compared:
// what was issued in the second of the revocation is accepted, before and after it alike.
func revoked(issuedAt, notBefore time.Time) bool {
	switch {
	case notBefore.IsZero():
		return false
	case issuedAt.IsZero():
		return true
	case issuedAt.Nanosecond() == 0:
		notBefore = notBefore.Truncate(time.Second)
	}
	return issuedAt.Before(notBefore)
}
