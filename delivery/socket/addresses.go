package socket

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
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
	shards   [16]addressShard
}

type addressShard struct {
	mu     sync.Mutex
	counts map[uint64]addressCount
	_      [48]byte // a cache line for each
}

type addressCount struct{ open, pending int32 }

func newAddresses(limit int, trusted []netip.Prefix) *addresses {
	a := &addresses{limit: int32(limit), everyone: limit > 0, trusted: trusted}
	if limit <= 0 {
		a.limit = defaultPerAddress
	}
	for i := range a.shards {
		a.shards[i].counts = make(map[uint64]addressCount)
	}
	return a
}

// client is whose connection it is: of the peer, or of the right-most address in X-Forwarded-For that isn't a trusted
// proxy's, as long as trusted proxies have written all to the right of it. What others claim there is worth nothing.
func (a *addresses) client(peer netip.Addr, forwardedFor string) netip.Addr {
	for peer = peer.Unmap(); forwardedFor != "" && a.isTrusted(peer); {
		comma := strings.LastIndexByte(forwardedFor, ',')
		hop, ok := parseHop(strings.Trim(forwardedFor[comma+1:], " \t"))
		if !ok { // the proxy doesn't say
			break
		}
		peer = hop
		forwardedFor = forwardedFor[:max(comma, 0)]
	}
	return peer
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

// enter counts a connection as open, until leave.
func (a *addresses) enter(client netip.Addr) bool { return a.change(client, 1, 0) }

func (a *addresses) leave(client netip.Addr) { a.change(client, -1, 0) }

// crowded notes that a connection was refused for its address. A proxy that isn't in TrustedProxies gets there soon, and
// then many are refused, so somebody must hear of it.
func (s *Server) crowded(c *counters, client netip.Addr) {
	c.crowded.Add(1)
	now := time.Since(s.started)
	if last := s.warned.Load(); last == 0 || now-time.Duration(last) >= time.Minute {
		if s.warned.CompareAndSwap(last, int64(now)) {
			s.log.Warn("an address has as many connections as one may have; is it a proxy that TRUSTED_PROXIES doesn't name?",
				"address", client, "limit", s.addresses.limit)
		}
	}
}

// Enter counts a request that stays open as a connection of its client's address where that isn't the connection's own
// address, which is counted already: behind trusted proxies. Not ok: it is to be refused. Else leave must be called at its
// end.
func (s *Server) Enter(r *http.Request) (leave func(), ok bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !s.addresses.isTrusted(peer.Addr().Unmap()) {
		return func() {}, true
	}
	client := s.addresses.client(peer.Addr(), strings.Join(r.Header.Values("X-Forwarded-For"), ","))
	if !s.addresses.enter(client) {
		s.mu.Lock()
		loops := s.loops
		s.mu.Unlock()
		s.crowded(&loops[len(loops)-1].count, client)
		return nil, false
	}
	return func() { s.addresses.leave(client) }, true
}
