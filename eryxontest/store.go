package eryxontest

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// This file is the database of the releases in the field: what it refuses, and
// in whose words. The fields handed in become the row's.

// insertRow adds a row. A text that is not empty is the database's refusal.
func (s *Server) insertRow(e Entity, fields map[string]any, now time.Time) (*record, string) {
	t := s.schema(e)
	if refused := t.cast(fields); refused != "" {
		return nil, refused
	}
	for _, c := range t.columns {
		if c.notNull && fields[c.name] == nil && c.name != "id" && c.name != "tenant_id" {
			return nil, t.nullIn(c.name)
		}
	}
	k := keyOf(fields)
	if refused := s.conflict(e, k, fields, nil); refused != "" {
		return nil, refused
	}
	if refused := s.brokenLink(e, k, fields); refused != "" {
		return nil, refused
	}
	r := s.insert(e, k, fields, now)
	r.synced = true
	return r, ""
}

// updateRow writes fields over a row's.
func (s *Server) updateRow(e Entity, r *record, fields map[string]any, now time.Time) string {
	t := s.schema(e)
	if refused := t.cast(fields); refused != "" {
		return refused
	}
	for _, c := range t.columns {
		if v, given := fields[c.name]; c.notNull && given && v == nil {
			return t.nullIn(c.name)
		}
	}
	if refused := s.conflict(e, r.key, naturalAfter(e, r, fields), r); refused != "" {
		return refused
	}
	if refused := s.brokenLink(e, r.key, fields); refused != "" {
		return refused
	}
	s.update(e, r, fields, now)
	return ""
}

func (t *schema) nullIn(name string) string {
	return `null value in column "` + name + `" of relation "` + string(t.table) + `" violates not-null constraint`
}

// naturalAfter is what a row is unique by once fields are written over it.
func naturalAfter(e Entity, r *record, fields map[string]any) map[string]any {
	if e != Parts || r == nil || fields["job_id"] != nil && fields["part_number"] != nil {
		return fields
	}
	after := map[string]any{"job_id": r.fields["job_id"], "part_number": r.fields["part_number"]}
	for name := range after {
		if v := fields[name]; v != nil {
			after[name] = v
		}
	}
	return after
}

// links are the columns that refer to rows.
var links = map[Entity][]struct {
	column string
	of     Entity
}{
	Jobs:       {{"current_cell_id", Cells}},
	Parts:      {{"job_id", Jobs}, {"parent_part_id", Parts}, {"current_cell_id", Cells}},
	Operations: {{"part_id", Parts}, {"cell_id", Cells}},
}

func (s *Server) brokenLink(e Entity, k key, fields map[string]any) string {
	for _, l := range links[e] {
		id := text(fields[l.column])
		if id == "" || s.table(l.of).byID[id] != nil {
			continue
		}
		s.orphan(e, k, l.of.singular()+" "+id)
		return `insert or update on table "` + string(e) + `" violates foreign key constraint "` +
			string(e) + "_" + l.column + `_fkey"`
	}
	return ""
}

// cast turns the values of fields into those of their columns.
func (t *schema) cast(fields map[string]any) string {
	unknown := ""
	for name := range fields {
		if _, ok := t.index[name]; !ok && (unknown == "" || name < unknown) {
			unknown = name // the gateway names the first by name
		}
	}
	if unknown != "" {
		return "Could not find the '" + unknown + "' column of '" + string(t.table) + "' in the schema cache"
	}
	first, refusal := len(t.columns), ""
	for name, v := range fields {
		i := t.index[name]
		stored, refused := t.columns[i].cast(v)
		if refused != "" {
			if i < first {
				first, refusal = i, refused
			}
			continue
		}
		fields[name] = stored
	}
	return refusal
}

// cast is the value as the column stores it, or the database's refusal.
func (c column) cast(v any) (any, string) {
	if v == nil {
		return nil, ""
	}
	if c.kind == "json" {
		return v, ""
	}
	if c.kind == "list" {
		if _, ok := v.([]any); ok {
			return v, ""
		}
		return nil, "expected JSON array"
	}
	in := asText(v)
	switch c.kind {
	case "int":
		return castInteger(in)
	case "num":
		if f, err := strconv.ParseFloat(strings.TrimSpace(in), 64); err == nil {
			return f, ""
		}
		return nil, syntax("numeric", in)
	case "bool":
		switch strings.ToLower(strings.TrimSpace(in)) {
		case "true", "t", "yes", "y", "on", "1":
			return true, ""
		case "false", "f", "no", "n", "off", "0":
			return false, ""
		}
		return nil, syntax("boolean", in)
	case "time":
		return castTime(in)
	case "uuid":
		if !isUUID(in) {
			return nil, syntax("uuid", in)
		}
		return strings.ToLower(in), ""
	case "job_status", "task_status":
		switch in {
		case "not_started", "in_progress", "completed", "on_hold":
			return in, ""
		}
		return nil, `invalid input value for enum ` + c.kind + `: "` + in + `"`
	case "gen":
		return nil, `cannot insert a non-DEFAULT value into column "` + c.name + `"`
	}
	if strings.ContainsRune(in, 0) {
		return nil, `unsupported Unicode escape sequence`
	}
	if _, ok := v.(string); ok {
		return v, ""
	}
	return in, ""
}

func syntax(kind, in string) string {
	return "invalid input syntax for type " + kind + `: "` + in + `"`
}

// asText is how a JSON value reaches a column that holds no JSON.
func asText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(appendValue(nil, v))
}

func castInteger(in string) (any, string) {
	n, err := strconv.ParseInt(strings.TrimSpace(in), 10, 64)
	if err != nil && strings.ContainsAny(in, "eE") {
		if f, ferr := strconv.ParseFloat(in, 64); ferr == nil && math.Abs(f) > math.MaxInt32 {
			return nil, `value "` + in + `" is out of range for type integer`
		}
	}
	if err != nil {
		return nil, syntax("integer", in)
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return nil, `value "` + in + `" is out of range for type integer`
	}
	return float64(n), ""
}

var timeLayouts = []string{
	time.DateOnly, time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700",
}

func castTime(in string) (any, string) {
	trimmed := strings.TrimSpace(in)
	for _, layout := range timeLayouts {
		if layout == time.DateOnly && len(trimmed) != len(time.DateOnly) {
			continue
		}
		if t, err := time.Parse(layout, trimmed); err == nil {
			return stamp(t), ""
		}
	}
	if looksLikeDate(trimmed) {
		return nil, `date/time field value out of range: "` + in + `"`
	}
	return nil, syntax("timestamp with time zone", in)
}

// looksLikeDate says whether in starts with digits as in YYYY-MM-DD.
func looksLikeDate(in string) bool {
	if len(in) < len(time.DateOnly) {
		return false
	}
	for i, want := range "dddd-dd-dd" {
		if c := in[i]; want == '-' && c != '-' || want == 'd' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func isUUID(in string) bool {
	if len(in) != 36 {
		return false
	}
	for i := range len(in) {
		c := in[i] | ' '
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if in[i] != '-' {
				return false
			}
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		default:
			return false
		}
	}
	return true
}
