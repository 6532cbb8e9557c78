package eryxon

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func jobDigest(t *testing.T, j Job) digest {
	t.Helper()
	d, _, err := digestOf[Job](&j, "SAP", nil)
	require.NoError(t, err)
	return d
}

func TestDigestKnowsContentNotForm(t *testing.T) {
	moment := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	base := Job{ExternalID: "1", JobNumber: "1", Extra: map[string]any{
		"weight": 1.5, "pieces": 100, "planned": moment, "day": "2026-11-23",
		"metadata": map[string]any{"a": 1, "b": []any{"x", nil, true}},
	}}
	same := Job{ExternalID: "1", ExternalSource: "SAP", JobNumber: "1", Extra: map[string]any{
		"metadata": json.RawMessage(`{ "b":["x",null,true], "a":1.0}`), "day": "2026-11-23T00:00:00+00:00",
		"planned": moment.In(time.FixedZone("CET", 3600)).Format(time.RFC3339), "pieces": json.Number("1e2"), "weight": json.Number("1.50"),
	}}
	assert.Equal(t, jobDigest(t, base), jobDigest(t, same))

	edits := map[string]func(*Job){
		"number":        func(j *Job) { j.JobNumber = "2" },
		"null":          func(j *Job) { j.Notes = Null[string]() },
		"empty":         func(j *Job) { j.Notes = Some("") },
		"zero":          func(j *Job) { j.Priority = Some(0) },
		"date":          func(j *Job) { j.DueDate = Some(NewDate(2026, 11, 23)) },
		"text of a day": func(j *Job) { j.Customer = Some("2026-11-23") },
		"same as text":  func(j *Job) { j.Customer = Some("2026-11-23T00:00:00Z") },
		"extra":         func(j *Job) { j.Extra = map[string]any{"weight": 1.5} },
		"large number":  func(j *Job) { j.Extra = map[string]any{"n": json.Number("9007199254740993")} },
		"its neighbour": func(j *Job) { j.Extra = map[string]any{"n": json.Number("9007199254740992")} },
		"number's text": func(j *Job) { j.Extra = map[string]any{"n": "9007199254740992"} },
		"nested":        func(j *Job) { j.Parts = []Part{{ExternalID: "P", PartNumber: "P"}} },
		"nested extra": func(j *Job) {
			j.Parts = []Part{{ExternalID: "P", PartNumber: "P", Extra: map[string]any{"n": 1}}}
		},
	}
	seen := map[digest]string{jobDigest(t, base): "base"}
	for name, edit := range edits {
		j := base
		edit(&j)
		d := jobDigest(t, j)
		assert.NotContainsf(t, seen, d, "%s looks like %s", name, seen[d])
		seen[d] = name
	}
}

func TestCanonicalNumbers(t *testing.T) {
	for _, same := range [][]string{
		{"0", "-0", "0.0", "0e5", "-0.00E-3"},
		{"1", "1.0", "10e-1", "0.1E+1", "100e-2"},
		{"-120", "-1.2e2", "-120.00", "-12e1"},
		{"0.001", "1e-3", "0.0010"},
		{"123456789012345678901234567890", "1.23456789012345678901234567890e29"},
		{"1e400", "10e399"},
	} {
		for _, s := range same {
			assert.Equal(t, canonicalNumber(same[0]), canonicalNumber(s), s)
		}
	}
	assert.NotEqual(t, canonicalNumber("9007199254740993"), canonicalNumber("9007199254740992"))
	assert.Equal(t, "1e99999999999999999999", canonicalNumber("1e99999999999999999999"))
}

func TestFieldDigestsMatchRowsInAnyForm(t *testing.T) {
	for _, tt := range []struct{ name, sent, row string }{
		{"due_date", `"2026-12-31"`, `"2026-12-31T00:00:00+00:00"`},
		{"priority", `5`, `5.0`},
		{"customer", `"A \u0026 B \u003c"`, `"A & B <"`},
		{"customer", `"Größe"`, `"Gr\u00f6\u00dfe"`},
		{"notes", `null`, ` null`},
	} {
		assert.Equal(t, fieldDigest(EntityJobs, tt.name, []byte(tt.sent)), fieldDigest(EntityJobs, tt.name, []byte(tt.row)), tt.row)
	}
	assert.NotEqual(t, fieldDigest(EntityJobs, "customer", []byte(`"2026-12-31"`)), fieldDigest(EntityJobs, "customer", []byte(`"2026-12-31T00:00:00+00:00"`)), "a text is not a date")
}

func TestNoTwoFieldsHaveTheSameNameDigest(t *testing.T) {
	for _, e := range entityOrder {
		seen := map[uint16]string{}
		for name := range recordFields(e) {
			assert.Empty(t, seen[nameDigest(name)], name)
			seen[nameDigest(name)] = name
		}
	}
}

func FuzzCanonicalValue(f *testing.F) {
	for _, s := range []string{`1.0e5`, `"2026-11-23T00:00:00Z"`, `{"b":[1,{"c":null}],"a":"\u003c"}`, `-`, `"`, `nul`, ``} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, moments bool) {
		once, err := canonicalValue(raw, moments)
		if err != nil || !json.Valid(raw) {
			return
		}
		require.True(t, json.Valid(once))
		twice, err := canonicalValue(once, moments)
		require.NoError(t, err)
		assert.Equal(t, string(once), string(twice))
	})
}

func FuzzStateHeaderAndDetail(f *testing.F) {
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte{1, 3, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = readStateHeader(b)
		e := StateEntry{Detail: b}
		e.Detail = e.withFlags(e.flags() | flagTried)
		_ = e.fields().changed(EntityJobs, b)
	})
}

func TestDigestKeepsTextInsideColumnsOfObjects(t *testing.T) {
	a, b := job("1"), job("1")
	a.Extra = map[string]any{"metadata": map[string]any{"planned": "2026-11-23T00:00:00Z"}}
	b.Extra = map[string]any{"metadata": map[string]any{"planned": "2026-11-23"}}
	assert.NotEqual(t, jobDigest(t, a), jobDigest(t, b), "the column holds it as text")
}
