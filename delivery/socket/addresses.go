package socket

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"duebell/internal/ratelimit"
)

// defaultPerAddress is for public addresses where Config sets no limit.
const defaultPerAddress = 1000

// addresses counts the connections of each client's address: those that are open, and those whose request isn't whole, which
// have the same limit of their own, so that nobody who only begins can crowd out the others. What is counted as open goes
// from the verdict to the end of a WebSocket or of a net/http connection.
type addresses struct {
	limit    int32
	everyone bool // else only public addresses are limited: others may be a proxy that nobody named
	trusted  []netip.Prefix
	last     func(list string) (hop, rest string) // takes the last hop off what the proxies wrote
	pace     *ratelimit.Limiter[uint64]           // of what an address begins
	shards   [16]addressShard
}

type addressShard struct {
	mu     sync.Mutex
	counts map[uint64]addressCount
	_      [48]byte // a cache line for each
}

type addressCount struct{ open, pending int32 }

func newAddresses(cfg *Config) *addresses {
	limit := cfg.MaxPerAddress
	a := &addresses{limit: int32(limit), everyone: limit > 0, trusted: cfg.TrustedProxies, last: lastForwardedFor}
	if cfg.ReadForwarded {
		a.last = lastForwarded
	}
	if limit <= 0 {
		a.limit = defaultPerAddress
	}
	a.pace = ratelimit.New[uint64](cfg.MaxConnectsPerSecond, max(int(a.limit), 2*cfg.MaxConnectsPerSecond)) // all may come back at once
	for i := range a.shards {
		a.shards[i].counts = make(map[uint64]addressCount)
	}
	return a
}

// client is whose connection it is: of the peer, or of the right-most address in what proxies wrote that isn't a trusted
// proxy's, as long as trusted proxies have written all to the right of it. What others claim there is worth nothing, so it is
// read from its end, and what may be garbage only as far as it matters.
func (a *addresses) client(peer netip.Addr, written string) netip.Addr {
	for peer = peer.Unmap(); written != "" && a.isTrusted(peer); {
		var last string
		last, written = a.last(written)
		hop, ok := parseHop(last)
		if !ok { // the proxy doesn't say
			break
		}
		peer = hop
	}
	return peer
}

// lastForwardedFor is for X-Forwarded-For, a list of addresses.
func lastForwardedFor(list string) (hop, rest string) {
	comma := strings.LastIndexByte(list, ',')
	return strings.Trim(list[comma+1:], " \t"), list[:max(comma, 0)]
}

// lastForwarded is for Forwarded (RFC 7239): the for= of the last element, "" if that has none, several or garbage.
func lastForwarded(list string) (hop, rest string) {
	element, rest := cutLast(list, ',')
	found := false
	for more := element; more != ""; {
		var pair string
		pair, more = cutLast(more, ';')
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if found {
			return "", rest
		}
		hop, found = value, true
	}
	if n := len(hop); n >= 2 && hop[0] == '"' && hop[n-1] == '"' {
		hop = hop[1 : n-1] // an address needs no escapes: one that has some is none
	}
	return hop, rest
}

// cutLast cuts a list at its last separator that isn't within a quoted string. It reads from the end, where a proxy wrote:
// quotes that a client left open before that change nothing.
func cutLast(list string, separator byte) (last, rest string) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch c := list[i]; {
		case c == '"':
			before := strings.TrimRight(list[:i], `\`)
			if quoted && (i-len(before))%2 == 1 { // escaped
				continue
			}
			quoted = !quoted
		case c == separator && !quoted:
			return list[i+1:], list[:i]
		}
	}
	return list, ""
}

// parseHop reads an address as proxies write it, some with a port.
func parseHop(s string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

func (a *addresses) isTrusted(addr netip.Addr) bool {
	for _, proxies := range a.trusted {
		if proxies.Contains(addr) {
			return true
		}
	}
	return false
}

// count returns what the address is counted under, or nil if it isn't limited. One IPv6 client has a /64 to choose from, so
// that is what counts. An IPv4 address is among those of ::/32, which nobody has.
func (a *addresses) count(addr netip.Addr) (shard *addressShard, key uint64) {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid() || addr.IsUnspecified() || a.isTrusted(addr):
		return nil, 0
	case !a.everyone && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()):
		return nil, 0
	case addr.Is4():
		b := addr.As4()
		key = uint64(binary.BigEndian.Uint32(b[:]))
	default:
		b := addr.As16()
		key = binary.BigEndian.Uint64(b[:])
	}
	return &a.shards[(key^key>>16^key>>32)*0x9e3779b97f4a7c15>>60], key
}

// change adds to the counts of an address; false: nothing was changed, a limit would be passed.
func (a *addresses) change(addr netip.Addr, open, pending int32) bool {
	shard, key := a.count(addr)
	if shard == nil {
		return true
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.counts[key]
	n.open += open
	n.pending += pending
	if open > 0 && n.open > a.limit || pending > 0 && n.pending > a.limit {
		return false
	}
	if n == (addressCount{}) {
		delete(shard.counts, key)
	} else {
		shard.counts[key] = n
	}
	return true
}

// arrive counts a connection whose request isn't whole, until settle.
func (a *addresses) arrive(peer netip.Addr) bool { return a.change(peer, 0, 1) }

func (a *addresses) settle(peer netip.Addr) { a.change(peer, 0, -1) }

// enter counts a connection as open, until leave; unless it is to be turned away.
func (a *addresses) enter(client netip.Addr) turnedAway {
	if _, ok := a.begin(client); !ok {
		return hasty
	}
	if !a.change(client, 1, 0) {
		return crowded
	}
	return entered
}

// begin takes one from what the address may begin now; not ok: it has to wait.
func (a *addresses) begin(client netip.Addr) (wait time.Duration, ok bool) {
	shard, key := a.count(client)
	if shard == nil {
		return 0, true
	}
	return a.pace.Allow(key)
}

// turnedAway is why a connection is.
type turnedAway uint8

const (
	entered turnedAway = iota
	crowded            // its address has as many as one may have
	hasty              // its address opens them faster than one may
)

func (a *addresses) leave(client netip.Addr) { a.change(client, -1, 0) }

// turnAway notes that a connection was refused for its address. A proxy that isn't in TrustedProxies gets there soon, and
// then many are refused, so somebody must hear of it.
func (s *Server) turnAway(c *counters, client netip.Addr, why turnedAway) {
	if why == hasty {
		c.hasty.Add(1)
	} else {
		c.crowded.Add(1)
	}
	now := time.Since(s.started)
	if last := s.warned.Load(); last == 0 || now-time.Duration(last) >= time.Minute {
		if s.warned.CompareAndSwap(last, int64(now)) {
			s.log.Warn("an address has as many connections as one may have, or opens them too fast; is it a proxy that TRUSTED_PROXIES doesn't name?",
				"address", client, "limit", s.addresses.limit, "opened_per_second", s.cfg.MaxConnectsPerSecond)
		}
	}
}

// clientOf is where a request of net/http comes from. forwarded: not from the connection's own address.
func (s *Server) clientOf(r *http.Request) (client netip.Addr, forwarded bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !s.addresses.isTrusted(peer.Addr().Unmap()) {
		return peer.Addr(), false
	}
	return s.addresses.client(peer.Addr(), strings.Join(r.Header.Values(s.cfg.proxyHeader()), ",")), true
}

// Begin takes one from what the address of a request may begin now, as a connection does: for what costs and leads to nothing. Not
// ok: it has to wait.
func (s *Server) Begin(r *http.Request) (wait time.Duration, ok bool) {
	client, _ := s.clientOf(r)
	return s.addresses.begin(client)
}

// Enter counts a request that stays open as a connection of its client's address where that isn't the connection's own
// address, which is counted already: behind trusted proxies. Not ok: it is to be refused. Else leave must be called at its
// end.
func (s *Server) Enter(r *http.Request) (leave func(), ok bool) {
	client, forwarded := s.clientOf(r)
	if !forwarded {
		return func() {}, true
	}
	if why := s.addresses.enter(client); why != entered {
		s.mu.Lock()
		loops := s.loops
		s.mu.Unlock()
		s.turnAway(&loops[len(loops)-1].count, client, why)
		return nil, false
	}
	return func() { s.addresses.leave(client) }, true
}
