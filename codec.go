package eryxon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The encoders append to a buffer, so that a bulk of a thousand records is one
// allocation. Strings are escaped as encoding/json does by default (<, >, &
// and the two line separators included): a record then has the same bytes
// whichever package marshals it.

const hexDigits = "0123456789abcdef"

// plain holds the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			case '\b':
				b = append(b, '\\', 'b')
			case '\f':
				b = append(b, '\\', 'f')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// appendKey appends a member's name, given quoted and with its colon.
func appendKey(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(b, name...)
}

// appendText appends a required string; an empty one is left out.
func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(appendKey(b, name), s)
}

func appendOpt[T any](b []byte, name string, o Opt[T], value func([]byte, T) []byte) []byte {
	switch o.state {
	case optNull:
		return append(appendKey(b, name), "null"...)
	case optValue:
		return value(appendKey(b, name), o.value)
	}
	return b
}

func appendEnum[T ~string](b []byte, v T) []byte { return appendString(b, string(v)) }
func appendInt(b []byte, n int) []byte           { return strconv.AppendInt(b, int64(n), 10) }
func appendBool(b []byte, v bool) []byte         { return strconv.AppendBool(b, v) }
func appendDate(b []byte, d Date) []byte         { return append(d.append(append(b, '"')), '"') }

// appendFloat writes numbers as encoding/json does.
func appendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

// appendExtra merges the columns that the SDK does not know, sorted by name.
func appendExtra(b []byte, extra map[string]any) ([]byte, error) {
	if len(extra) == 0 {
		return b, nil
	}
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, err := json.Marshal(extra[name])
		if err != nil {
			return b, fmt.Errorf("eryxon: Extra[%q]: %w", name, err)
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(appendString(b, name), ':'), value...)
	}
	return b, nil
}

// marshalRecord is the MarshalJSON of every record. It refuses what can't be
// represented, as the local rules do before sending.
func marshalRecord[R any, P recordPtr[R]](r P) ([]byte, error) {
	var rules checker
	r.values(&rules)
	if err := rules.err(0, r.recordKey("")); err != nil {
		return nil, err
	}
	return r.appendJSON(nil, "")
}

// fieldTable maps the JSON names of a struct's fields to their indexes.
func fieldTable[T any]() map[string]int {
	t := reflect.TypeFor[T]()
	table := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			table[name] = i
		}
	}
	return table
}

// decodeFields decodes an object into the fields of the struct that target
// points to and returns the members that it has no field for. With lenient, a
// member of the wrong type is one of those instead of an error: a server's odd
// column must not spoil the outcome of its row.
func decodeFields(data []byte, target any, table map[string]int, lenient bool) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	fields := reflect.ValueOf(target).Elem()
	for name, raw := range members {
		i, known := table[name]
		if !known {
			continue
		}
		field := fields.Field(i)
		// Decoding null into a plain Go value would pass it over in silence.
		err := error(nil)
		if string(raw) != "null" || field.Kind() == reflect.Struct {
			err = json.Unmarshal(raw, field.Addr().Interface())
		} else if !lenient && field.Kind() == reflect.String {
			err = errors.New("null: want a string")
		}
		switch {
		case err == nil:
			delete(members, name)
		case lenient:
			field.SetZero()
		default:
			return nil, fmt.Errorf("eryxon: %s: %w", name, err)
		}
	}
	return members, nil
}

// unmarshalRecord is the UnmarshalJSON of every record. Members that the
// record has no field for go to Extra, numbers as json.Number.
func unmarshalRecord(data []byte, target any, table map[string]int, extra *map[string]any) error {
	members, err := decodeFields(data, target, table, false)
	if err != nil {
		return err
	}
	for name, raw := range members {
		var v any
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			return fmt.Errorf("eryxon: %s: %w", name, err)
		}
		if *extra == nil {
			*extra = make(map[string]any, len(members))
		}
		(*extra)[name] = v
	}
	return nil
}

func decodeRow[Row any](raw json.RawMessage) *Row {
	if raw == nil {
		return nil
	}
	row := new(Row)
	r, ok := any(row).(rowPtr)
	if !ok {
		return nil
	}
	unknown, err := decodeFields(raw, row, r.columns(), true)
	if err != nil || unknown == nil { // null is no row
		return nil
	}
	fields := reflect.ValueOf(row).Elem()
	for name, i := range r.columns() {
		field := fields.Field(i).Addr().Interface()
		if raw, odd := unknown[name]; odd && readColumn(raw, field) {
			delete(unknown, name)
		}
		if t, ok := field.(*Opt[time.Time]); ok {
			t.value = t.value.UTC()
		}
	}
	if len(unknown) > 0 {
		*r.unknown() = unknown
	}
	return row
}

// readColumn reads a column in a form that is not the usual one of its type: a
// time in any that databases print, a whole number as 5.0 or as a string.
func readColumn(raw json.RawMessage, field any) bool {
	switch f := field.(type) {
	case *Opt[time.Time]:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return false
		}
		t, err := parseTime(text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
		if err != nil {
			return false
		}
		*f = Some(t)
		return true
	case *Opt[int]:
		n, ok := wholeNumber(raw)
		if ok {
			*f = Some(n)
		}
		return ok
	case *int:
		n, ok := wholeNumber(raw)
		if ok {
			*f = n
		}
		return ok
	}
	return false
}

func wholeNumber(raw json.RawMessage) (int, bool) {
	var text json.Number // takes a number in a string, too
	if json.Unmarshal(raw, &text) != nil {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(text.String(), ".")
	n, err := strconv.Atoi(whole)
	return n, err == nil && strings.Trim(fraction, "0") == ""
}

// Complaints about a record that JSON can't hold as it is.
