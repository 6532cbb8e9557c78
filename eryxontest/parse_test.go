package eryxontest

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
)

var jsonSeeds = []string{
	``, ` `, `null`, `true`, `false`, `nul`, `truex`, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5e3`, `1e`, `1e+`, `1E-2`, `1e999`,
	`123456789012345678901234567890`, `"a"`, `"a`, `"\u00e9\n\\\""`, `"\ud800"`, `"\x"`, "\"\x01\"", "\"\xff\"", `"é"`, "\"\xc3\"",
	`{}`, `{ }`, `{"a":1}`, `{"a":1,"a":2}`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":[1, 2 ,{"b":null}]} `, `{"a":1} x`, `{"a":1}{`,
	`[]`, `[1,]`, `[1 2]`, `[[[[]]]]`, "\ufeff{}", `{"a":{"b":"c"},"jobs":[{"x":"]}"},null,5,"a,b",[1,2],{}]}`, `{"jobs":[1],"jobs":[2,3]}`, `{"jobs":7}`,
}

func FuzzParseLikeEncodingJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want any
		err := json.Unmarshal([]byte(s), &want)
		got, ok := parseJSON(s)
		if ok != (err == nil) {
			t.Fatalf("%q: ok %v, encoding/json says %v", s, ok, err)
		}
		if !ok {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %#v, want %#v", s, got, want)
		}
		if f, isNumber := got.(float64); isNumber && math.Signbit(f) != math.Signbit(want.(float64)) {
			t.Fatalf("%q: sign lost", s)
		}
		// The canonical forms are JSON of the same value.
		for _, sorted := range []bool{false, true} {
			p := parser{s: s}
			again, ok := parseJSON(string(p.canonical(nil, sorted)))
			if !ok || !sorted && !reflect.DeepEqual(again, want) {
				t.Fatalf("%q: canonical is %q", s, again)
			}
		}
		if m, isObject := want.(map[string]any); isObject {
			list, _ := m["jobs"].([]any)
			texts := elements(s, "jobs")
			if len(texts) != len(list) {
				t.Fatalf("%q: %d elements, want %d", s, len(texts), len(list))
			}
			for i, text := range texts {
				if v, ok := parseJSON(text); !ok || !reflect.DeepEqual(v, list[i]) {
					t.Fatalf("%q: element %d is %q", s, i, text)
				}
			}
		}
	})
}

func TestCanonical(t *testing.T) {
	canon := func(s string, sorted bool) string {
		p := parser{s: s}
		return string(p.canonical(nil, sorted))
	}
	const in = ` { "b" : [ 1.50 , { "z" : "<é\u00e9>", "y":null } ] , "id": "x", "a" : { } } `
	assert.Equal(t, `{"b":[1.5,{"z":"<éé>","y":null}],"id":"x","a":{}}`, canon(in, false))
	assert.Equal(t, `{"a":{},"b":[1.5,{"y":null,"z":"<éé>"}]}`, canon(in, true))
}

func TestIDsAreDistinctUUIDs(t *testing.T) {
	seen := map[string]bool{}
	for n := range uint64(10000) {
		id := uuidOf(n)
		assert.False(t, seen[id])
		seen[id] = true
	}
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, uuidOf(7))
}
