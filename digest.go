package eryxon

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// digestVersion changes with the canonical form: what older versions have
// acknowledged then counts as changed and is sent once more.
const digestVersion = 1

// digest is 128 bits over a record in its canonical form.
type digest = [16]byte

// digestOf digests a record. The buffer is returned for the next one.
func digestOf[R any, P recordPtr[R]](r P, source string, buf []byte) (digest, []byte, error) {
	buf = append(buf[:0], digestVersion)
	buf, err := appendCanonical[R, P](r, source, buf)
	if err != nil {
		return digest{}, buf, err
	}
	sum := sha256.Sum256(buf)
	d := digest(sum[:16])
	if d == (digest{}) {
		d[0] = 1 // none is zero: that stands for no digest
	}
	return d, buf, nil
}

// appendCanonical appends a record so that equal content has equal bytes. The
// encoder writes fields in one order and form; only extra columns come as the
// caller has them.
func appendCanonical[R any, P recordPtr[R]](r P, source string, b []byte) ([]byte, error) {
	if !hasExtra(r) {
		return r.appendJSON(b, source)
	}
	copied := *r
	if err := canonicalExtra(P(&copied)); err != nil {
		return b, err
	}
	return P(&copied).appendJSON(b, source)
}

// hasExtra reports extra columns in a record or in those nested in it.
func hasExtra(r any) bool {
	if len(*extraOf(r)) > 0 {
		return true
	}
	switch r := r.(type) {
	case *Job:
		for i := range r.Parts {
			if hasExtra(&r.Parts[i]) {
				return true
			}
		}
	case *Part:
		for i := range r.Operations {
			if hasExtra(&r.Operations[i]) {
				return true
			}
		}
	}
	return false
}

// canonicalExtra brings the extra columns of a copy, and of copies of what is
// nested in it, into their canonical form.
func canonicalExtra(r any) (err error) {
	switch r := r.(type) {
	case *Job:
		r.Parts = slices.Clone(r.Parts)
		for i := range r.Parts {
			if err := canonicalExtra(&r.Parts[i]); err != nil {
				return err
			}
		}
	case *Part:
		r.Operations = slices.Clone(r.Operations)
		for i := range r.Operations {
			if err := canonicalExtra(&r.Operations[i]); err != nil {
				return err
			}
		}
	}
	extra := extraOf(r)
	*extra, err = canonicalColumns(*extra)
	return err
}

func canonicalColumns(extra map[string]any) (map[string]any, error) {
	canonical := make(map[string]any, len(extra))
	for name, v := range extra {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if raw, err = canonicalValue(raw, true); err != nil {
			return nil, err
		}
		canonical[name] = json.RawMessage(raw)
	}
	return canonical, nil
}

// canonicalValue brings a JSON value into its canonical form: members sorted,
// numbers by value, and with moments, text that is a date or a time by the
// moment that it means, as a database column of that type keeps it. A column of
// objects or lists keeps the text inside them as it came.
func canonicalValue(raw []byte, moments bool) ([]byte, error) {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 {
		switch c := raw[0]; {
		case c == '-' || c >= '0' && c <= '9':
			return []byte(canonicalNumber(string(raw))), nil
		case c == '"' && !moments && plainText(raw):
			return raw, nil
		case c == '"' && plainText(raw):
			text := string(raw[1 : len(raw)-1])
			if moment := canonicalMoment(text); moment != text {
				return appendString(nil, moment), nil
			}
			return raw, nil
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return appendValue(nil, v, moments), nil
}

// plainText reports a JSON string that every encoder writes alike.
func plainText(quoted []byte) bool {
	for _, c := range quoted[1:max(1, len(quoted)-1)] {
		if !plain[c] {
			return false
		}
	}
	return len(quoted) >= 2
}

func appendValue(b []byte, v any, moments bool) []byte {
	switch v := v.(type) {
	case json.Number:
		return append(b, canonicalNumber(string(v))...)
	case string:
		if moments {
			v = canonicalMoment(v)
		}
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, e, false)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(append(appendString(b, name), ':'), v[name], false)
		}
		return append(b, '}')
	default:
		return append(b, "null"...)
	}
}

// canonicalNumber writes a JSON number as an integer without trailing zeros and
// a power of ten, exactly: float64 would take neighbours for equal.
func canonicalNumber(s string) string {
	number, negative := strings.CutPrefix(s, "-")
	number, power, _ := strings.Cut(strings.ToLower(number), "e")
	whole, fraction, _ := strings.Cut(number, ".")
	exponent := 0
	if power != "" {
		n, err := strconv.Atoi(power)
		if err != nil {
			return s // beyond any number that is meant
		}
		exponent = n
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	short := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(short) - len(fraction)
	if negative {
		short = "-" + short
	}
	if exponent == 0 {
		return short
	}
	return short + "e" + strconv.Itoa(exponent)
}

// canonicalMoment writes a time of day as the moment that it is, and the first
// moment of a day in UTC as that day. Other text stays as it is.
func canonicalMoment(s string) string {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' {
		return s
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return s
	}
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339Nano)
}

// The detail of an entry: a version, flags, and for each field that the record
// gave a digest of its name and one of its value, to tell which has changed.
const (
	detailVersion = 1
	detailHead    = 2 // bytes before the fields
	fieldSize     = 6 // bytes: two of the name, four of the value
)

// entryFlags tell what is known of a record's row.
type entryFlags uint8

const (
	// flagExists: a row of the key has been seen.
	flagExists entryFlags = 1 << iota
	// flagTried: it was sent as new, and no trustworthy answer came.
	flagTried
	// flagInactive: it had disappeared from the export and was deactivated.
	flagInactive
	// flagBare: it was made without the shop floor's fields, which are to follow.
	flagBare
	// flagRefused: the server would not take it, and may again not.
	flagRefused
	// flagSuspect: it was among records of which the server lost some, which
	// could not all be found.
	flagSuspect
)

// flags returns the flags of an entry; of one that can't be read none.
func (e *StateEntry) flags() entryFlags {
	if len(e.Detail) < detailHead || e.Detail[0] != detailVersion {
		return 0
	}
	return entryFlags(e.Detail[1])
}

// flagged returns the entry with other flags, in place of the two of records that are
// kept apart.
func (e *StateEntry) flagged(f entryFlags) StateEntry {
	flagged := *e
	flagged.Detail = e.withFlags(e.flags()&^(flagRefused|flagSuspect) | f)
	return flagged
}

// withFlags returns the entry's detail with other flags.
func (e *StateEntry) withFlags(f entryFlags) []byte {
	if len(e.Detail) < detailHead || e.Detail[0] != detailVersion {
		return []byte{detailVersion, byte(f)}
	}
	b := bytes.Clone(e.Detail)
	b[1] = byte(f)
	return b
}

// fieldDigests are the digests of a record's fields by the digests of their
// names.
type fieldDigests map[uint16]uint32

// fields returns the digests of the fields that were acknowledged.
func (e *StateEntry) fields() fieldDigests {
	if len(e.Detail) < detailHead || e.Detail[0] != detailVersion {
		return nil
	}
	fields := make(fieldDigests)
	for b := e.Detail[detailHead:]; len(b) >= fieldSize; b = b[fieldSize:] {
		fields[binary.BigEndian.Uint16(b)] = binary.BigEndian.Uint32(b[2:])
	}
	return fields
}

// field returns the digest of a field that was acknowledged, and whether the
// record gave it.
func (e *StateEntry) field(name string) (uint32, bool) {
	if len(e.Detail) < detailHead || e.Detail[0] != detailVersion {
		return 0, false
	}
	wanted := nameDigest(name)
	for b := e.Detail[detailHead:]; len(b) >= fieldSize; b = b[fieldSize:] {
		if binary.BigEndian.Uint16(b) == wanted {
			return binary.BigEndian.Uint32(b[2:]), true
		}
	}
	return 0, false
}

// appendDetail appends the detail of a record that exists, in its canonical
// form.
func appendDetail(b []byte, e Entity, canonical []byte) []byte {
	b = append(b, detailVersion, byte(flagExists))
	members(canonical, func(name string, value []byte) {
		if name == "external_id" || name == "external_source" {
			return
		}
		b = binary.BigEndian.AppendUint16(b, nameDigest(name))
		b = binary.BigEndian.AppendUint32(b, fieldDigest(e, name, value))
	})
	return b
}

// members calls f for each member of a JSON object, as far as it can be read.
func members(object []byte, f func(name string, value []byte)) {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return
		}
		text := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return
		}
		f(text, value)
	}
}

func nameDigest(name string) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

// fieldDigest digests a field's value, as a record gives it or as the server's
// row shows it.
func fieldDigest(e Entity, name string, value []byte) uint32 {
	_, known := recordFields(e)[name]
	canonical, err := canonicalValue(value, !known || name == "due_date")
	if err != nil {
		canonical = value
	}
	sum := sha256.Sum256(canonical)
	return binary.BigEndian.Uint32(sum[:])
}

// recordFields are the fields of an entity's records.
func recordFields(e Entity) map[string]int {
	switch e {
	case EntityJobs:
		return jobFields
	case EntityParts:
		return partFields
	case EntityOperations:
		return operationFields
	case EntityCells:
		return cellFields
	default:
		return resourceFields
	}
}

// changed names the fields of a record, in its canonical form, that differ from
// those acknowledged, in the record's order; then those that it no longer
// gives.
func (acked fieldDigests) changed(e Entity, canonical []byte) []string {
	var names []string
	given := make(map[uint16]bool, len(acked))
	members(canonical, func(name string, value []byte) {
		if name == "external_id" || name == "external_source" {
			return
		}
		at := nameDigest(name)
		given[at] = true
		if sum, ok := acked[at]; !ok || sum != fieldDigest(e, name, value) {
			names = append(names, name)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(recordFields(e))) {
		if _, was := acked[nameDigest(name)]; was && !given[nameDigest(name)] {
			names = append(names, name)
		}
	}
	return names
}
