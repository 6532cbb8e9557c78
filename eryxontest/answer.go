package eryxontest

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"
)

var jsonType = []string{"application/json"}

// jsonAnswer is an answer of ready JSON.
func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": jsonType}, body: body}
}

// success wraps data, which is JSON already.
func success(status int, data []byte) answer {
	body := make([]byte, 0, len(data)+32)
	body = append(body, `{"success":true,"data":`...)
	body = append(body, data...)
	return jsonAnswer(status, append(body, '}'))
}

// fail is the error envelope as the release writes it for this request.
func (s *Server) fail(c *call, status int, code, message string) answer {
	return s.failWith(c, status, code, message, "")
}

// failWith is fail with more members of the error object, as JSON that starts
// with a comma.
func (s *Server) failWith(c *call, status int, code, message, more string) answer {
	b := []byte(`{"success":false,"error":{"code":`)
	b = appendString(b, code)
	b = append(b, `,"message":`...)
	b = appendString(b, message)
	if s.cfg.release != Documented && (s.cfg.release != V01 || c.entity != Cells) {
		b = append(b, `,"statusCode":`...)
		b = strconv.AppendInt(b, int64(status), 10)
	}
	b = append(b, more...)
	return jsonAnswer(status, append(b, '}', '}'))
}

// appendString appends s as a JSON string, as JavaScript writes it.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		b = append(b, s[plain:i]...)
		b = appendEscape(b, c)
		i += n
		plain = i
	}
	b = append(b, s[plain:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	}
	if c >= utf8.RuneSelf {
		return append(b, "\uFFFD"...) // not UTF-8
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

func appendAny(b []byte, v any) []byte {
	out, err := json.Marshal(v)
	if err != nil { // a seeded value that is no JSON
		out = []byte("null")
	}
	return append(b, out...)
}

// appendValue appends a stored value; the common kinds without reflection.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.AppendInt(b, int64(v), 10)
		}
	}
	return appendAny(b, v)
}

// appendMember appends `"name":value` with a comma before it where needed.
func appendMember(b []byte, name string, v any) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = appendString(b, name)
	b = append(b, ':')
	return appendValue(b, v)
}
