package socket

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// The rules of RFC 6455 that a client can keep or break, each sent in one piece, byte by byte, and in uneven pieces.
func TestFrames(t *testing.T) {
	const text, cont, binaryOp, closeOp, ping, pong = ws.OpText, ws.OpContinuation, ws.OpBinary, ws.OpClose, ws.OpPing, ws.OpPong
	all := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	raw := func(first, second byte, rest ...byte) []byte { return append([]byte{first, second}, rest...) }
	long := func(n int) string { return strings.Repeat("x", n) }
	type want struct {
		op      ws.OpCode
		payload string
		code    int // of a close frame
	}
	say := func(s string) want { return want{op: text, payload: s} }
	pongs := func(s string) want { return want{op: pong, payload: s} }
	ends := func(code int) want { return want{op: closeOp, code: code} }
	bye := closing(1000, "")
	cases := []struct {
		name string
		send []byte
		want []want
	}{
		// 5.2, lengths
		{"Length0", all(text1(""), bye), []want{say(""), ends(1000)}},
		{"Length1", all(text1("a"), bye), []want{say("a"), ends(1000)}},
		{"Length125", all(text1(long(125)), bye), []want{say(long(125)), ends(1000)}},
		{"Length126", all(text1(long(126)), bye), []want{say(long(126)), ends(1000)}},
		{"Length127", all(text1(long(127)), bye), []want{say(long(127)), ends(1000)}},
		{"Length65535", all(text1(long(65535)), bye), []want{say(long(65535)), ends(1000)}},
		{"Length65536", all(text1(long(65536)), bye), []want{say(long(65536)), ends(1000)}},
		{"ManyInOne", all(text1("a"), text1("b"), text1("c"), bye), []want{say("a"), say("b"), say("c"), ends(1000)}},
		{"LongerThanAllowed", text1(long(65537)), []want{ends(1009)}},
		{"Length2To62", raw(0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), []want{ends(1009)}},
		{"LengthWithHighestBit", raw(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), []want{ends(1002)}},
		{"LengthNotShortest16", raw(0x81, 0xfe, 0, 125, 1, 2, 3, 4), []want{ends(1002)}},
		{"LengthNotShortest64", raw(0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4), []want{ends(1002)}},

		// 5.1, masking
		{"Unmasked", ws.MustCompileFrame(ws.NewTextFrame([]byte("hi"))), []want{ends(1002)}},
		{"UnmaskedPing", ws.MustCompileFrame(ws.NewPingFrame(nil)), []want{ends(1002)}},
		{"UnmaskedAfterMasked", all(text1("a"), ws.MustCompileFrame(ws.NewTextFrame([]byte("hi")))), []want{say("a"), ends(1002)}},
		{"MaskOfZeros", all(raw(0x81, 0x82, 0, 0, 0, 0, 'h', 'i'), bye), []want{say("hi"), ends(1000)}},

		// 5.2, reserved bits and opcodes; nobody negotiated compression
		{"RSV1", raw(0xc1, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"RSV2", raw(0xa1, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"RSV3", raw(0x91, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"RSV1OfPing", raw(0xc9, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"RSV1AfterMessage", all(text1("a"), raw(0xc1, 0x80, 1, 2, 3, 4)), []want{say("a"), ends(1002)}},
		{"Opcode3", raw(0x83, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"Opcode7", raw(0x87, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"OpcodeB", raw(0x8b, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"OpcodeF", raw(0x8f, 0x80, 1, 2, 3, 4), []want{ends(1002)}},
		{"Binary", masked(true, binaryOp, []byte("hi")), []want{ends(1003)}},
		{"BinaryFragment", masked(false, binaryOp, []byte("hi")), []want{ends(1003)}},

		// 5.4, fragments
		{"TwoFragments", all(masked(false, text, []byte("he")), masked(true, cont, []byte("llo")), bye), []want{say("hello"), ends(1000)}},
		{"EmptyFragments", all(masked(false, text, nil), masked(false, cont, nil), masked(true, cont, nil), bye), []want{say(""), ends(1000)}},
		{"EmptyFirstFragment", all(masked(false, text, nil), masked(true, cont, []byte("a")), bye), []want{say("a"), ends(1000)}},
		{"MessageAfterFragments", all(masked(false, text, []byte("a")), masked(true, cont, []byte("b")), text1("c"), bye),
			[]want{say("ab"), say("c"), ends(1000)}},
		{"PingBetweenFragments", all(masked(false, text, []byte("he")), masked(true, ping, []byte("p")), masked(true, cont, []byte("llo")), bye),
			[]want{pongs("p"), say("hello"), ends(1000)}},
		{"PongBetweenFragments", all(masked(false, text, []byte("he")), masked(true, pong, nil), masked(true, cont, []byte("llo")), bye),
			[]want{say("hello"), ends(1000)}},
		{"CloseBetweenFragments", all(masked(false, text, []byte("he")), bye), []want{ends(1000)}},
		{"ContinuationOfNothing", masked(true, cont, []byte("a")), []want{ends(1002)}},
		{"ContinuationAfterEnd", all(text1("a"), masked(false, cont, []byte("b"))), []want{say("a"), ends(1002)}},
		{"MessageWithinFragments", all(masked(false, text, []byte("a")), text1("b")), []want{ends(1002)}},
		{"FragmentsLongerThanAllowed", all(masked(false, text, []byte(long(40000))), masked(true, cont, []byte(long(25537)))), []want{ends(1009)}},
		{"FragmentsAsLongAsAllowed", all(masked(false, text, []byte(long(40000))), masked(true, cont, []byte(long(25536))), bye),
			[]want{say(long(65536)), ends(1000)}},
		{"AsManyFragmentsAsAllowed", all(masked(false, text, []byte("a")), bytes.Repeat(masked(false, cont, []byte("b")), 62), masked(true, cont, nil), bye),
			[]want{say("a" + strings.Repeat("b", 62)), ends(1000)}},
		{"TooManyFragments", all(masked(false, text, nil), bytes.Repeat(masked(false, cont, nil), 64)), []want{ends(1008)}},

		// 5.5, control frames
		{"Ping", all(masked(true, ping, nil), bye), []want{pongs(""), ends(1000)}},
		{"Ping125", all(masked(true, ping, []byte(long(125))), bye), []want{pongs(long(125)), ends(1000)}},
		{"Ping126", masked(true, ping, []byte(long(126))), []want{ends(1002)}},
		{"PingInFragments", masked(false, ping, nil), []want{ends(1002)}},
		{"CloseInFragments", masked(false, closeOp, nil), []want{ends(1002)}},
		{"PongNobodyAskedFor", all(masked(true, pong, []byte("x")), bye), []want{ends(1000)}},
		{"PingAfterClose", all(bye, masked(true, ping, nil)), []want{ends(1000)}},
		{"TextAfterClose", all(bye, text1("a")), []want{ends(1000)}},

		// 7.4, close codes
		{"CloseWithoutCode", masked(true, closeOp, nil), []want{ends(0)}},
		{"CloseOf1Byte", masked(true, closeOp, []byte{3}), []want{ends(1002)}},
		{"CloseWithReason", closing(1001, "bye"), []want{ends(1001)}},
		{"CloseWithLongestReason", closing(1000, long(123)), []want{ends(1000)}},
		{"CloseOf126", masked(true, closeOp, append([]byte{3, 0xe8}, long(124)...)), []want{ends(1002)}},
		{"CloseReasonNotUTF8", closing(1000, "\xce\xba\xff"), []want{ends(1007)}},
		{"Close3000", closing(3000, ""), []want{ends(3000)}},
		{"Close4999", closing(4999, ""), []want{ends(4999)}},
		{"Close0", closing(0, ""), []want{ends(1002)}},
		{"Close999", closing(999, ""), []want{ends(1002)}},
		{"Close1004", closing(1004, ""), []want{ends(1002)}},
		{"Close1005", closing(1005, ""), []want{ends(1002)}},
		{"Close1006", closing(1006, ""), []want{ends(1002)}},
		{"Close1015", closing(1015, ""), []want{ends(1002)}},
		{"Close1016", closing(1016, ""), []want{ends(1002)}},
		{"Close2999", closing(2999, ""), []want{ends(1002)}},
		{"Close5000", closing(5000, ""), []want{ends(1002)}},
		{"Close65535", closing(65535, ""), []want{ends(1002)}},

		// 8.1, UTF-8
		{"UTF8", all(text1("κόσμε 🚀"), bye), []want{say("κόσμε 🚀"), ends(1000)}},
		{"UTF8CutByFragments", all(masked(false, text, []byte("\xf0\x9f")), masked(true, cont, []byte("\x9a\x80")), bye), []want{say("🚀"), ends(1000)}},
		{"NotUTF8", text1("a\xff"), []want{ends(1007)}},
		{"Surrogate", text1("\xed\xa0\x80"), []want{ends(1007)}},
		{"Overlong", text1("\xc0\xaf"), []want{ends(1007)}},
		{"Above10FFFF", text1("\xf4\x90\x80\x80"), []want{ends(1007)}},
		{"NotUTF8OverFragments", all(masked(false, text, []byte("\xf0\x9f")), masked(true, cont, []byte("a"))), []want{ends(1007)}},
		{"UTF8CutByTheEnd", all(masked(false, text, []byte("a")), masked(true, cont, []byte("\xf0\x9f\x9a"))), []want{ends(1007)}},
	}
	pieces := []struct {
		name string
		cut  func([]byte) [][]byte
	}{
		{"Whole", func(b []byte) [][]byte { return [][]byte{b} }},
		{"Bytes", func(b []byte) [][]byte {
			if len(b) > 1000 { // the system calls would take too long
				return slices.Collect(slices.Chunk(b, len(b)/97+1))
			}
			return slices.Collect(slices.Chunk(b, 1))
		}},
		{"Uneven", func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 7+len(b)/5)) }},
	}
	onEachPath(t, func(t *testing.T, p path) {
		s := start(t, p, Config{MaxMessagesPerSecond: 1000, CloseTimeout: time.Minute}, new(app), nil)
		for _, c := range cases {
			for _, piece := range pieces {
				if p.tls && piece.name == "Bytes" {
					continue // a record for each is slow, and the parser is the same
				}
				t.Run(c.name+"/"+piece.name, func(t *testing.T) {
					t.Parallel()
					client := s.connect(t)
					go func() {
						for _, b := range piece.cut(c.send) {
							if _, err := client.Write(b); err != nil {
								return // the server has seen enough
							}
						}
					}()
					for _, w := range c.want {
						f := client.frame()
						code := 0
						if f.Header.OpCode == closeOp && len(f.Payload) >= 2 {
							code = int(binary.BigEndian.Uint16(f.Payload))
							f.Payload = nil
						}
						if f.Header.OpCode != w.op || code != w.code || string(f.Payload) != w.payload {
							t.Fatalf("got %v %d %.60q, want %v %d %.60q", f.Header.OpCode, code, f.Payload, w.op, w.code, w.payload)
						}
					}
					if !strings.Contains(c.name, "AfterClose") { // what follows a close frame may reset the connection
						client.wantEnd()
					}
				})
			}
		}
	})
}

func TestAppendTextWritesTheShortestLength(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		payload := bytes.Repeat([]byte{'x'}, n)
		if got, want := AppendText([]byte("before"), payload), append([]byte("before"), ws.MustCompileFrame(ws.NewTextFrame(payload))...); !bytes.Equal(got, want) {
			t.Errorf("length %d: got a header of % x, want % x", n, got[6:min(len(got), 20)], want[6:min(len(want), 20)])
		}
	}
}
