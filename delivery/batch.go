package delivery

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// shards is how many parts the recipients are in. Within one, changes stay in order; pushers work on several at once, and
// have one compared with the store when a message of it was lost. It is fixed: publishers and pushers of all versions must
// agree on who is where.
const shards = 64

const (
	// inboxChannel carries changes of all shards: every pusher needs all of them, and each message costs each pusher.
	inboxChannel = "duebell:inbox"
	// controlChannel carries what isn't about inboxes: revocations, and that there are other pushers.
	controlChannel = "duebell:control"
)

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

// A message is the payload of one PUBLISH on inboxChannel: a version byte and then batches, each behind its shard and its
// length. A batch is changes of one shard: a version byte, the epoch, the publisher's wall clock in microseconds, and then
// each change: recipient, from, rev - from, frame. Lengths and numbers are uvarints.
const (
	messageVersion = 1
	batchVersion   = 1

	// About what stands before a batch's changes and a change's frame, besides the recipient.
	batchHead  = 48
	changeHead = 12
)

func appendBatch(dst []byte, shard int, batch []byte) []byte {
	if len(dst) == 0 {
		dst = append(dst, messageVersion)
	}
	dst = binary.AppendUvarint(dst, uint64(shard))
	dst = binary.AppendUvarint(dst, uint64(len(batch)))
	return append(dst, batch...)
}

// messageReader takes a message apart. Batches share its bytes.
type messageReader struct {
	fields batchReader
	shard  int
	batch  string
}

func readMessage(payload string) messageReader {
	var m messageReader
	if len(payload) == 0 || payload[0] != messageVersion {
		m.fields.err = errBatch
		return m
	}
	m.fields.rest = payload[1:]
	return m
}

// next moves on to the next batch; false at the end, or when fields.err is set.
func (m *messageReader) next() bool {
	if m.fields.err != nil || m.fields.rest == "" {
		return false
	}
	shard := m.fields.number()
	m.batch = m.fields.text()
	if shard >= shards {
		m.fields.err = errBatch
	}
	m.shard = int(shard)
	return m.fields.err == nil
}

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
