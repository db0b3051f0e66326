package problem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
)

// DecodeJSON reads the whole body of r, at most maxBytes, into dst, and returns a Problem when anything is wrong with it:
// 415 for another content type, 413 over the limit, 400 for what isn't one whole JSON value, 422 for an unknown field or a
// value of the wrong type, named by its path. On an error dst may be half filled. Repeated names are taken as encoding/json
// takes them: the last one counts.
func DecodeJSON(r *http.Request, maxBytes int64, dst any) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || (media != "application/json" && !(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))) {
		return UnsupportedMedia("application/json")
	}
	body, err := ReadBody(r, maxBytes)
	if err != nil {
		return err
	}
	return Unmarshal(body, dst)
}

// ReadBody reads the whole body of r, or returns a Problem: 413 when it is longer than maxBytes, 400 when it breaks off.
func ReadBody(r *http.Request, maxBytes int64) ([]byte, error) {
	if r.ContentLength > maxBytes {
		return nil, TooLarge(maxBytes)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBytes+1))
	switch {
	case int64(len(body)) > maxBytes:
		return nil, TooLarge(maxBytes)
	case err != nil:
		return nil, BadRequest("the body broke off before its end")
	}
	return body, nil
}

// Unmarshal is DecodeJSON for bytes that were read already, such as one line of NDJSON.
func Unmarshal(body []byte, dst any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return BadRequest("the body is empty")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(dst); err != nil {
		return decodeProblem(err, body)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return BadRequest("there is more than one JSON value in the body")
	}
	return nil
}

func decodeProblem(err error, body []byte) Problem {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Unprocessable(FieldError{Field: wrong.Field, Message: fmt.Sprintf("must be %s, not %s", jsonName(wrong.Type), wrong.Value)})
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		if errors.Is(err, io.ErrUnexpectedEOF) || syntax.Offset >= int64(len(body)) {
			return BadRequest("the JSON breaks off before its end")
		}
		line, column := position(body, syntax.Offset)
		return BadRequest(fmt.Sprintf("not JSON: line %d, column %d: %s", line, column, syntax.Error()))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return BadRequest("the JSON breaks off before its end")
	}
	// encoding/json has no type for an unknown field, only this text.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Unprocessable(FieldError{Field: strings.Trim(name, `"`), Message: "is not a field of this call"})
	}
	// What an UnmarshalJSON or UnmarshalText of a field said.
	return Unprocessable(FieldError{Message: strings.TrimPrefix(err.Error(), "json: ")})
}

// position is where the byte before offset stands, both from 1.
func position(body []byte, offset int64) (line, column int) {
	before := body[:min(max(offset-1, 0), int64(len(body)))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}

// jsonName says in the words of JSON what a Go type is decoded from.
func jsonName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return t.String()
}
