package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"duebell/delivery/socket"
	"duebell/store"
)

// frame is a message to a client: one WebSocket text frame, header and JSON. It is encoded once and shared by all sessions
// that get it, so nobody changes it.
type frame []byte

// text is the JSON without the WebSocket header (RFC 6455, 5.2; a server's frames have no mask).
func (f frame) text() []byte {
	switch f[1] {
	case 126:
		return f[4:]
	case 127:
		return f[10:]
	}
	return f[2:]
}

// The messages to a client, as contract and docs/asyncapi.yaml have them; changes are in changes.go.
type (
	helloMessage struct {
		Type   string `json:"type"`
		User   string `json:"user"`
		Epoch  string `json:"epoch"`
		Rev    int64  `json:"rev"`
		Unread int64  `json:"unread"`
		Unseen int64  `json:"unseen"`
		Total  int64  `json:"total"`
		PingS  int    `json:"ping_s"`
	}
	resetMessage struct {
		Type   string `json:"type"`
		Epoch  string `json:"epoch"`
		Rev    int64  `json:"rev"`
		Unread int64  `json:"unread"`
		Unseen int64  `json:"unseen"`
		Total  int64  `json:"total"`
	}
	okMessage struct {
		Type string `json:"type"`
		Ref  string `json:"ref,omitempty"`
	}
	errorMessage struct {
		Type    string `json:"type"`
		Ref     string `json:"ref,omitempty"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	goawayMessage struct {
		Type        string `json:"type"`
		ReconnectMS int64  `json:"reconnect_ms"`
	}
)

func helloFrame(user, epoch string, c store.Counts, pingSeconds int) frame {
	return encode(helloMessage{"hello", user, epoch, c.Rev, c.Unread, c.Unseen, c.Total, pingSeconds})
}

func resetFrame(epoch string, c store.Counts) frame {
	return encode(resetMessage{"reset", epoch, c.Rev, c.Unread, c.Unseen, c.Total})
}

func okFrame(ref string) frame { return encode(okMessage{"ok", ref}) }

func errorFrame(ref, code, message string) frame {
	return encode(errorMessage{"error", ref, code, message})
}

func goawayFrame(reconnectMS int64) frame { return encode(goawayMessage{"goaway", reconnectMS}) }

func encode(message any) frame {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.text.Reset()
	if err := e.Encode(message); err != nil {
		panic(fmt.Sprintf("encode %T: %v", message, err))
	}
	return socket.AppendText(nil, bytes.TrimSuffix(e.text.Bytes(), []byte("\n")))
}

type encoder struct {
	*json.Encoder
	text bytes.Buffer
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.Encoder = json.NewEncoder(&e.text)
	e.SetEscapeHTML(false) // this is no HTML, and & in a URL stays short
	return e
}}

// The types of client messages.
const (
	requestRead    = "read"
	requestReadAll = "read_all"
	requestSeen    = "seen"
	requestAuth    = "auth"
	requestPing    = "ping"
)

// request is a client's message.
type request struct {
	kind  string
	ref   string // "" if the client doesn't want an answer to what works
	ids   []string
	upTo  *int64
	token string
}

// maxRef is the most bytes of a ref: it is kept and sent back.
const maxRef = 128

// decodeRequest reads a client's message strictly: the error says what makes it none, and the connection is closed for it.
// Whether its values can be acted upon is another question (request.check).
func decodeRequest(text []byte) (request, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return request{}, errors.New("not a JSON object")
	}
	var r request
	if err := decodeField(fields["type"], &r.kind); err != nil {
		return request{}, errors.New("type is missing or no string")
	}
	delete(fields, "type")
	for name, raw := range fields {
		var err error
		switch {
		case name == "ref":
			if err = decodeField(raw, &r.ref); err == nil && len(r.ref) > maxRef {
				err = fmt.Errorf("longer than %d bytes", maxRef)
			}
		case name == "ids" && r.kind == requestRead:
			err = decodeField(raw, &r.ids)
		case name == "up_to_rev" && (r.kind == requestReadAll || r.kind == requestSeen):
			r.upTo = new(int64)
			err = decodeField(raw, r.upTo)
		case name == "token" && r.kind == requestAuth:
			err = decodeField(raw, &r.token)
		default:
			err = errors.New("not a field of this message")
		}
		if err != nil {
			return request{}, fmt.Errorf("%.40q: %w", name, err)
		}
	}
	switch r.kind {
	case requestRead:
		if fields["ids"] == nil {
			return request{}, errors.New("ids is missing")
		}
	case requestAuth:
		if fields["token"] == nil {
			return request{}, errors.New("token is missing")
		}
	case requestReadAll, requestSeen, requestPing:
	default:
		return request{}, fmt.Errorf("unknown type %.40q", r.kind)
	}
	return r, nil
}

// decodeField doesn't take null for a value, which encoding/json would.
func decodeField[T any](raw json.RawMessage, dst *T) error {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return errors.New("has no value")
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		return errors.New("has the wrong type")
	}
	return nil
}

const (
	maxIDs = 100 // of a read
	maxID  = 128 // bytes
)

// check says what is wrong with the values of a request, in a sentence for its error answer.
func (r request) check() string {
	switch {
	case r.kind == requestRead && len(r.ids) == 0:
		return "ids is empty"
	case r.kind == requestRead && len(r.ids) > maxIDs:
		return fmt.Sprintf("ids has more than %d entries", maxIDs)
	case r.upTo != nil && *r.upTo < 0:
		return "up_to_rev is negative"
	}
	for _, id := range r.ids {
		if len(id) > maxID || !utf8.ValidString(id) {
			return "an id is too long"
		}
	}
	return ""
}
