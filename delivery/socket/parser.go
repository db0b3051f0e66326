package socket

import (
	"encoding/binary"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Close codes of RFC 6455, section 7.4.1, its registry, and of the contract.
const (
	CodeNormal     = 1000
	CodeGoingAway  = 1001
	CodeProtocol   = 1002
	CodeNotText    = 1003
	CodeNone       = 1005 // told to the handler: the close frame had no code
	CodeAbnormal   = 1006 // told to the handler: no close frame came
	CodeNotUTF8    = 1007
	CodePolicy     = 1008
	CodeTooLong    = 1009
	CodeInternal   = 1011
	CodeRestart    = 1012
	CodeTryLater   = 1013
	CodeSilent     = 4408
	CodeTooMany    = 4429
	maxControlSize = 125
)

// sink is told what the bytes were. A false answer ends parsing: the connection has ended or doesn't listen any more.
type sink interface {
	text(message []byte) bool                  // whole and valid UTF-8; the bytes are the parser's
	control(op ws.OpCode, payload []byte) bool // ping, pong or close; the bytes are the parser's
	fail(code int, reason string)              // nothing after this can be parsed
}

// limits of what a peer may make the parser keep.
type limits struct {
	message   int          // bytes of one message
	fragments int          // frames of one message
	all       int64        // bytes of unfinished messages over all connections
	held      atomic.Int64 // of all
}

// inbound is what has come of a message that isn't whole: fragments, and a frame cut short by the end of what was read.
type inbound struct {
	raw       []byte // of the frame, as it came
	message   []byte // payloads of the fragments before it
	fragments int    // how many; 0: no message is unfinished
}

// parse takes the next bytes of a connection, tells to what they complete and keeps the rest in *in, which is nil when
// nothing is left over. The payloads are unmasked in place. begun says that what is kept began in this call.
func parse(in **inbound, data []byte, lim *limits, to sink) (begun bool) {
	for len(data) > 0 {
		p := *in
		if p != nil && len(p.raw) > 0 {
			h, size, whole, ok := p.fill(&data, lim, to)
			if !ok {
				return begun
			}
			if !whole {
				return begun
			}
			ok = p.frame(h, p.raw[size:], lim, to)
			p.raw = p.raw[:0]
			if p.fragments == 0 {
				lim.release(in)
			}
			if !ok {
				return begun
			}
			continue
		}
		h, size, ok := header(data)
		if ok {
			if code, reason := p.check(h, lim); code != 0 {
				to.fail(code, reason)
				return begun
			}
		}
		if !ok || h.Length > int64(len(data)-size) {
			if p == nil {
				p = new(inbound)
				*in = p
			}
			if p.fragments == 0 {
				begun = true
			}
			most := ws.MaxHeaderSize
			if ok {
				most = size + int(h.Length)
			}
			if p.raw, ok = lim.grow(p.raw, len(data), most); !ok {
				to.fail(CodeTryLater, "too much is unfinished on this server")
				return begun
			}
			p.raw = append(p.raw, data...)
			return begun
		}
		payload := data[size : size+int(h.Length)]
		data = data[size+int(h.Length):]
		if h.OpCode == ws.OpText && !h.Fin {
			p = new(inbound)
			*in = p
			begun = true
		}
		ok = p.frame(h, payload, lim, to)
		if p != nil && p.fragments == 0 {
			lim.release(in)
			begun = false
		}
		if !ok {
			return begun
		}
	}
	return begun
}

// fill moves bytes from data until the frame in raw is whole. It checks the header as soon as that is there, so nothing of
// a payload is kept that would be too long. Not ok: the connection failed.
func (p *inbound) fill(data *[]byte, lim *limits, to sink) (h ws.Header, size int, whole, ok bool) {
	for {
		var known bool
		h, size, known = header(p.raw)
		total := size
		if known {
			if len(p.raw) == size { // else it was checked before
				if code, reason := p.check(h, lim); code != 0 {
					to.fail(code, reason)
					return h, size, false, false
				}
			}
			total += int(h.Length)
		}
		need := total - len(p.raw)
		if known && need == 0 {
			return h, size, true, true
		}
		n := min(need, len(*data))
		if n == 0 {
			return h, size, false, true
		}
		if p.raw, ok = lim.grow(p.raw, n, max(total, ws.MaxHeaderSize)); !ok {
			to.fail(CodeTryLater, "too much is unfinished on this server")
			return h, size, false, false
		}
		p.raw = append(p.raw, (*data)[:n]...)
		*data = (*data)[n:]
	}
}

// frame handles one whole frame whose header was checked. p is nil where the frame is a message by itself.
func (p *inbound) frame(h ws.Header, payload []byte, lim *limits, to sink) bool {
	ws.Cipher(payload, h.Mask, 0)
	switch {
	case h.OpCode.IsControl():
		return to.control(h.OpCode, payload)
	case h.Fin && h.OpCode == ws.OpText:
		return deliver(payload, to)
	}
	p.fragments++
	var ok bool
	if p.message, ok = lim.grow(p.message, len(payload), lim.message); !ok {
		to.fail(CodeTryLater, "too much is unfinished on this server")
		return false
	}
	p.message = append(p.message, payload...)
	if !h.Fin {
		return true
	}
	p.fragments = 0
	return deliver(p.message, to)
}

func deliver(message []byte, to sink) bool {
	if !utf8.Valid(message) {
		to.fail(CodeNotUTF8, "the text is not UTF-8")
		return false
	}
	return to.text(message)
}

// header reads a frame header: what it says, how long it is, and whether it is all there. What isn't there yet only makes
// size a lower bound.
func header(b []byte) (h ws.Header, size int, ok bool) {
	if len(b) < 2 {
		return h, 2, false
	}
	size = 2
	short := b[1] & 0x7f
	switch short {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if h.Masked = b[1]&0x80 != 0; h.Masked {
		size += 4
	}
	if len(b) < size {
		return h, size, false
	}
	h.Fin = b[0]&0x80 != 0
	h.Rsv = b[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(b[0] & 0x0f)
	switch short {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
	default:
		h.Length = int64(short)
	}
	if h.Masked {
		copy(h.Mask[:], b[size-4:size])
	}
	// Section 5.2: the shortest form must be used, and the highest bit of the longest must be 0. An impossible length
	// carries the mistake to check.
	if short == 126 && h.Length < 126 || short == 127 && h.Length < 1<<16 {
		h.Length = -1
	}
	return h, size, true
}

// check says with which close code the connection fails, before anything of the payload is kept; 0: the header is good.
func (p *inbound) check(h ws.Header, lim *limits) (code int, reason string) {
	state := ws.StateServerSide
	before, fragments := 0, 0
	if p != nil && p.fragments > 0 {
		state = state.Set(ws.StateFragmented)
		before, fragments = len(p.message), p.fragments
	}
	if h.Length < 0 {
		return CodeProtocol, "bad frame length"
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return CodeProtocol, err.Error()
	}
	if h.OpCode.IsControl() {
		return 0, ""
	}
	switch {
	case h.OpCode == ws.OpBinary:
		return CodeNotText, "only text messages are understood"
	case h.Length > int64(lim.message-before):
		return CodeTooLong, "the message is too long"
	case fragments >= lim.fragments:
		return CodePolicy, "the message has too many fragments"
	}
	return 0, ""
}

// grow makes room for n more bytes, without ever holding more than most, if all connections together may hold that much.
func (lim *limits) grow(b []byte, n, most int) ([]byte, bool) {
	if cap(b)-len(b) >= n {
		return b, true
	}
	size := max(len(b)+n, min(2*cap(b), most))
	if more := int64(size - cap(b)); lim.held.Add(more) > lim.all {
		lim.held.Add(-more)
		return b, false
	}
	grown := make([]byte, len(b), size)
	copy(grown, b)
	return grown, true
}

// release lets go of what was kept.
func (lim *limits) release(in **inbound) {
	if p := *in; p != nil {
		lim.held.Add(-int64(cap(p.raw) + cap(p.message)))
		*in = nil
	}
}

// goodCloseCode says whether a peer may send the code: section 7.4 and the registry of it.
func goodCloseCode(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// AppendText appends the frame of a server's text message: what Conn.Write takes.
func AppendText(dst, payload []byte) []byte {
	return append(appendHeader(dst, ws.OpText, len(payload)), payload...)
}

// appendHeader appends the header of an unfragmented, unmasked frame.
func appendHeader(dst []byte, op ws.OpCode, length int) []byte {
	first := 0x80 | byte(op)
	switch {
	case length <= maxControlSize:
		return append(dst, first, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(length))
}
