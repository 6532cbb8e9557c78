package eryxontest

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser reads JSON into the values that encoding/json gives for an any,
// several times faster: strings without escapes share the body's memory.
type parser struct {
	s     string
	i     int
	depth int
}

// maxDepth is where encoding/json gives up as well.
const maxDepth = 10000

// parseJSON parses all of s; false means that it is not JSON.
func parseJSON(s string) (any, bool) {
	p := parser{s: s}
	v, ok := p.value()
	if !ok {
		return nil, false
	}
	p.space()
	return v, p.i == len(s)
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// next skips space and says whether c follows; if so it is consumed.
func (p *parser) next(c byte) bool {
	p.space()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) word(w string) bool {
	if strings.HasPrefix(p.s[p.i:], w) {
		p.i += len(w)
		return true
	}
	return false
}

func (p *parser) value() (any, bool) {
	p.space()
	if p.i == len(p.s) {
		return nil, false
	}
	switch p.s[p.i] {
	case '"':
		return p.boxed()
	case '{':
		return p.object()
	case '[':
		return p.array()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	}
	return p.number()
}

func (p *parser) boxed() (any, bool) {
	s, ok := p.str()
	return s, ok
}

func (p *parser) object() (any, bool) {
	p.i++
	if p.depth++; p.depth > maxDepth {
		return nil, false
	}
	m := make(map[string]any, 8)
	if p.next('}') {
		p.depth--
		return m, true
	}
	for {
		p.space()
		name, ok := p.str()
		if !ok || !p.next(':') {
			return nil, false
		}
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		m[name] = v
		if p.next(',') {
			continue
		}
		p.depth--
		return m, p.next('}')
	}
}

func (p *parser) array() (any, bool) {
	p.i++
	if p.depth++; p.depth > maxDepth {
		return nil, false
	}
	list := []any{}
	if p.next(']') {
		p.depth--
		return list, true
	}
	for {
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		list = append(list, v)
		if p.next(',') {
			continue
		}
		p.depth--
		return list, p.next(']')
	}
}

func (p *parser) str() (string, bool) {
	if p.i >= len(p.s) || p.s[p.i] != '"' {
		return "", false
	}
	start := p.i
	plain := true
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			if inner := p.s[start+1 : p.i-1]; plain {
				return inner, true
			}
			return unescape(p.s[start:p.i])
		case c == '\\':
			plain = false
			p.i++
		case c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			if r, n := utf8.DecodeRuneInString(p.s[p.i:]); r != utf8.RuneError || n > 1 {
				p.i += n - 1
			} else {
				plain = false // invalid: encoding/json replaces it
			}
		}
	}
	return "", false
}

// unescape is the slow way, by encoding/json.
func unescape(literal string) (out string, ok bool) {
	err := json.Unmarshal([]byte(literal), &out)
	return out, err == nil
}

func (p *parser) number() (any, bool) {
	start := p.i
	p.sign("-")
	zero := p.i < len(p.s) && p.s[p.i] == '0'
	whole := p.digits()
	if whole == 0 || zero && whole > 1 {
		return nil, false
	}
	integer := true
	if p.i < len(p.s) && p.s[p.i] == '.' {
		integer = false
		p.i++
		if p.digits() == 0 {
			return nil, false
		}
	}
	if p.i < len(p.s) && p.s[p.i]|' ' == 'e' {
		integer = false
		p.i++
		p.sign("+-")
		if p.digits() == 0 {
			return nil, false
		}
	}
	text := p.s[start:p.i]
	if integer && len(text) < 16 && text != "-0" {
		n, err := strconv.ParseInt(text, 10, 64)
		return float64(n), err == nil
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

func (p *parser) sign(of string) {
	if p.i < len(p.s) && strings.IndexByte(of, p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *parser) digits() int {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	return p.i - start
}

// skip passes over a value of text that is known to be JSON.
func (p *parser) skip() {
	p.space()
	depth := 0
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case '"':
			for p.i++; p.s[p.i] != '"'; p.i++ {
				if p.s[p.i] == '\\' {
					p.i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return // the end of what the value lies in
			}
			depth--
		case ',':
			if depth == 0 {
				return
			}
		}
		p.i++
	}
}

// elements returns the text of each element of the array under name in the
// object s, which is JSON.
func elements(s, name string) []string {
	p := parser{s: s}
	var out []string
	if !p.next('{') || p.next('}') {
		return nil
	}
	for {
		p.space()
		member, _ := p.str()
		p.next(':')
		p.space()
		if member == name {
			out = nil // of two members of one name the last counts
			start := p
			if p.next('[') && !p.next(']') {
				for {
					p.space()
					from := p.i
					p.skip()
					out = append(out, s[from:p.i])
					if !p.next(',') {
						break
					}
				}
			}
			p = start
		}
		p.skip()
		if !p.next(',') {
			return out
		}
	}
}

// memberNames returns the names of the object's members in s, which is JSON, in
// order.
func memberNames(s string) (names []string) {
	p := parser{s: s}
	if !p.next('{') || p.next('}') {
		return nil
	}
	for {
		p.space()
		name, _ := p.str()
		names = append(names, name)
		p.next(':')
		p.skip()
		if !p.next(',') {
			return names
		}
	}
}

// unhashed are the fields that the unified endpoint leaves out of its hash.
var unhashed = []string{
	"id", "tenant_id", "created_at", "updated_at", "deleted_at", "deleted_by",
	"synced_at", "sync_hash", "cached_at",
}

// canonical appends the value at hand as JavaScript's JSON.stringify would
// write it; sorted, with the members of every object in order and the unhashed
// ones left out.
func (p *parser) canonical(b []byte, sorted bool) []byte {
	p.space()
	switch p.s[p.i] {
	case '{':
		return p.canonicalObject(b, sorted)
	case '[':
		p.i++
		b = append(b, '[')
		if p.next(']') {
			return append(b, ']')
		}
		for {
			b = p.canonical(b, sorted)
			if p.next(',') {
				b = append(b, ',')
				continue
			}
			p.next(']')
			return append(b, ']')
		}
	}
	v, _ := p.value()
	return appendValue(b, v)
}

func (p *parser) canonicalObject(b []byte, sorted bool) []byte {
	type member struct{ name, text string }
	var members []member
	p.i++
	b = append(b, '{')
	if p.next('}') {
		return append(b, '}')
	}
	start := len(b)
	for {
		p.space()
		name, _ := p.str()
		p.next(':')
		from := len(b)
		b = appendString(b, name)
		b = append(b, ':')
		b = p.canonical(b, sorted)
		if sorted {
			if !slices.Contains(unhashed, name) {
				members = append(members, member{name, string(b[from:])})
			}
			b = b[:from]
		} else {
			b = append(b, ',')
		}
		if !p.next(',') {
			break
		}
	}
	p.next('}')
	if !sorted {
		return append(b[:len(b)-1], '}')
	}
	slices.SortStableFunc(members, func(x, y member) int { return strings.Compare(x.name, y.name) })
	b = b[:start]
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m.text...)
	}
	return append(b, '}')
}

// formatNumber writes a number as JavaScript does.
func formatNumber(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return string(appendAny(nil, f))
}
