package delivery

import (
	"encoding/binary"
	"errors"
	"strconv"
	"unsafe"
)

// shards is how many channels the recipients are spread over. It is fixed: publishers and pushers of all versions must
// agree on who is where.
const shards = 64

// controlChannel carries what isn't about a shard: revocations, and that there are other pushers.
const controlChannel = "duebell:control"

var shardChannels = func() (names [shards]string) {
	for i := range names {
		names[i] = "duebell:inbox:" + strconv.Itoa(i)
	}
	return names
}()

// hashOf is FNV-1a, 64 bits: the same in every process.
func hashOf(recipient string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(recipient) {
		h = (h ^ uint64(recipient[i])) * prime
	}
	return h ^ h>>32 // the low bits choose shards
}

func shardOf(recipient string) int { return int(hashOf(recipient) % shards) }

// change is what one transaction did to one inbox, as it travels: a frame that leads from one rev to another.
type change struct {
	epoch     string // "": the publisher doesn't know
	recipient string
	from, rev int64
	frame     frame // empty: only a hint that sessions must read the store
}

// A batch is the payload of one PUBLISH: changes of one shard. It is a version byte, the epoch, the publisher's wall clock
// in microseconds, and then each change: recipient, from, rev - from, frame; lengths and numbers are uvarints.
const batchVersion = 1

func appendBatchHead(dst []byte, epoch string, sentAt int64) []byte {
	dst = append(dst, batchVersion)
	dst = binary.AppendUvarint(dst, uint64(len(epoch)))
	dst = append(dst, epoch...)
	return binary.AppendUvarint(dst, uint64(sentAt))
}

func appendChange(dst []byte, c *change) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.recipient)))
	dst = append(dst, c.recipient...)
	dst = binary.AppendUvarint(dst, uint64(c.from))
	dst = binary.AppendUvarint(dst, uint64(c.rev-c.from))
	dst = binary.AppendUvarint(dst, uint64(len(c.frame)))
	return append(dst, c.frame...)
}

var errBatch = errors.New("not a batch of this version")

// batchReader takes a batch apart. Changes share the payload's bytes; nothing is allocated.
type batchReader struct {
	rest   string
	epoch  string
	sentAt int64 // microseconds since 1970
	err    error
}

func readBatch(payload string) batchReader {
	r := batchReader{rest: payload}
	if len(payload) == 0 || payload[0] != batchVersion {
		r.err = errBatch
		return r
	}
	r.rest = payload[1:]
	r.epoch = r.text()
	r.sentAt = r.number()
	return r
}

// next fills c; false at the end, or when err is set: what came before was whole.
func (r *batchReader) next(c *change) bool {
	if r.err != nil || r.rest == "" {
		return false
	}
	c.epoch = r.epoch
	c.recipient = r.text()
	c.from = r.number()
	c.rev = c.from + r.number()
	f := r.text()
	c.frame = nil
	if f != "" {
		// Frames are only ever read, as strings are.
		c.frame = unsafe.Slice(unsafe.StringData(f), len(f))
	}
	if r.err != nil || c.rev < c.from || !c.frame.valid() {
		r.err = errBatch
		return false
	}
	return true
}

// valid says whether the frame is whole enough for text, or none.
func (f frame) valid() bool {
	switch {
	case len(f) == 0:
		return true
	case len(f) < 2 || f[0] != 0x81: // a final text frame
		return false
	case f[1] == 126:
		return len(f) >= 4
	case f[1] == 127:
		return len(f) >= 10
	}
	return f[1] < 126
}

func (r *batchReader) number() int64 {
	var value uint64
	for i := range len(r.rest) {
		b := r.rest[i]
		if i == 9 { // 63 bits have been read: more isn't one of our numbers
			break
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.rest = r.rest[i+1:]
			return int64(value)
		}
	}
	r.err = errBatch
	return 0
}

func (r *batchReader) text() string {
	n := r.number()
	if r.err != nil || n > int64(len(r.rest)) {
		r.err = errBatch
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
