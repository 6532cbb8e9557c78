package eryxontest

import (
	"math"
	"net/http"
	"time"
)

// fieldKind is what the documentation says of a field.
type fieldKind int

const (
	kindText fieldKind = iota
	kindInteger
	kindNumber
	kindBool
	kindDate
)

// documentedFields are the fields that have a documented type; others are
// stored as they come.
var documentedFields = map[Entity]map[string]fieldKind{
	Jobs: {
		"job_number": kindText, "customer": kindText, "due_date": kindDate,
		"priority": kindInteger, "notes": kindText,
	},
	Parts: {
		"job_external_id": kindText, "job_id": kindText, "part_number": kindText,
		"material": kindText, "quantity": kindInteger, "notes": kindText,
	},
	Operations: {
		"part_external_id": kindText, "part_id": kindText, "operation_name": kindText,
		"cell_name": kindText, "cell_id": kindText, "sequence": kindInteger,
		"estimated_time_minutes": kindNumber, "estimated_time": kindNumber, "notes": kindText,
	},
	Cells: {
		"name": kindText, "color": kindText, "sequence": kindInteger, "active": kindBool,
	},
	Resources: {
		"name": kindText, "type": kindText, "description": kindText,
		"identifier": kindText, "location": kindText, "status": kindText,
	},
}

// naturalFields are the fields that every record of the entity must have, next
// to its key and its links.
var naturalFields = map[Entity][]string{
	Jobs:       {"job_number"},
	Parts:      {"part_number"},
	Operations: {"operation_name"},
	Cells:      {"name"},
	Resources:  {"name", "type"},
}

// nestedUnder is the entity whose records may lie inside those of another.
var nestedUnder = map[Entity]Entity{Jobs: Parts, Parts: Operations}

func invalid(message string) verdict {
	return verdict{failed: refuse(http.StatusBadRequest, "VALIDATION_ERROR", message)}
}

// documentedUpsert carries out one record as documented. parent is the row
// that a nested record lies in. The record is taken apart: it becomes the row.
func (s *Server) documentedUpsert(e Entity, rec map[string]any, parent *record, now time.Time) verdict {
	k := key{text(rec["external_source"]), text(rec["external_id"])}
	if parent != nil && k.source == "" {
		k.source = parent.key.source
		rec["external_source"] = k.source
	}
	switch {
	case k.ext == "":
		return invalid("external_id is required for sync operations")
	case k.source == "":
		return invalid("external_source is required for sync operations")
	}
	if r := s.ordered(e, k.ext); r != nil {
		return verdict{failed: r}
	}
	if message := checkDocumented(e, rec); message != "" {
		return invalid(message)
	}
	if message := s.link(e, k, rec, parent); message != "" {
		return invalid(message)
	}
	nested, inner := nestedUnder[e], []any(nil)
	if nested != "" {
		inner, _ = rec[string(nested)].([]any)
		delete(rec, string(nested))
	}
	v := s.put(e, k, rec, now)
	if v.failed == nil {
		for _, item := range inner {
			if m, ok := item.(map[string]any); ok {
				s.documentedUpsert(nested, m, v.row, now) // a bad one is dropped without a word
			}
		}
	}
	return v
}

// put writes the fields over the row of the key, or makes the row.
func (s *Server) put(e Entity, k key, fields map[string]any, now time.Time) verdict {
	row, action := s.live(e, k), "updated"
	if message := s.conflict(e, k, naturalAfter(e, row, fields), row); message != "" {
		return verdict{failed: refuse(http.StatusInternalServerError, "INTERNAL_ERROR", message)}
	}
	if row == nil {
		row, action = s.insert(e, k, fields, now), "created"
	} else {
		s.update(e, row, fields, now)
	}
	row.synced = true
	return verdict{action: action, row: row}
}

// checkDocumented is the first thing wrong with a record's own fields, or "".
func checkDocumented(e Entity, rec map[string]any) string {
	for _, name := range naturalFields[e] {
		if text(rec[name]) == "" {
			return name + " is required"
		}
	}
	kinds := documentedFields[e]
	bad := ""
	for name, v := range rec {
		kind, ok := kinds[name]
		if ok && v != nil && !kind.holds(v) && (bad == "" || name < bad) {
			bad = name // the first by name: an answer must not depend on map order
		}
	}
	if bad != "" {
		return "Invalid " + bad + " format"
	}
	return ""
}

func (k fieldKind) holds(v any) bool {
	switch v := v.(type) {
	case string:
		return k == kindText || k == kindDate && realDate(v)
	case bool:
		return k == kindBool
	case float64:
		return k == kindNumber || k == kindInteger && v == math.Trunc(v) && math.Abs(v) <= math.MaxInt32
	}
	return false
}

// realDate says whether v is a day that exists, written YYYY-MM-DD, or a
// timestamp of RFC 3339.
func realDate(v string) bool {
	if len(v) == len(time.DateOnly) {
		_, err := time.Parse(time.DateOnly, v)
		return err == nil
	}
	_, err := time.Parse(time.RFC3339, v)
	return err == nil
}

// link replaces the names of a record's parents by their ids. It returns what
// is wrong, or "".
func (s *Server) link(e Entity, k key, rec map[string]any, parent *record) string {
	switch e {
	case Parts:
		return s.linkParent(e, k, rec, parent, Jobs, "Job")
	case Operations:
		if message := s.linkParent(e, k, rec, parent, Parts, "Part"); message != "" {
			return message
		}
		return s.linkCell(k, rec)
	}
	return ""
}

func (s *Server) linkParent(e Entity, k key, rec map[string]any, parent *record, of Entity, label string) string {
	idField := of.singular() + "_id"
	extField := of.singular() + "_external_id"
	ext := text(rec[extField])
	delete(rec, extField)
	if parent != nil {
		rec[idField] = parent.id
		return ""
	}
	if ext != "" {
		row := s.live(of, key{k.source, ext})
		if row == nil {
			s.orphan(e, k, of.singular()+" "+ext)
			return label + ` with external_id "` + ext + `" not found`
		}
		rec[idField] = row.id
		return ""
	}
	id := text(rec[idField])
	if id == "" {
		return extField + " is required"
	}
	if row := s.table(of).byID[id]; row == nil || row.deleted {
		s.orphan(e, k, of.singular()+" "+id)
		return label + ` with id "` + id + `" not found`
	}
	return ""
}

func (s *Server) linkCell(k key, rec map[string]any) string {
	if minutes, ok := rec["estimated_time_minutes"]; ok {
		rec["estimated_time"] = minutes
		delete(rec, "estimated_time_minutes")
	}
	name := text(rec["cell_name"])
	delete(rec, "cell_name")
	if name != "" {
		cell, n := s.cellNamed(name)
		switch n {
		case 0:
			s.orphan(Operations, k, "cell "+name)
			return `Cell with name "` + name + `" not found`
		case 1:
			rec["cell_id"] = cell.id
			return ""
		}
		return `Cell name "` + name + `" is not unique`
	}
	id := text(rec["cell_id"])
	if id == "" {
		return "cell_name is required"
	}
	if row := s.table(Cells).byID[id]; row == nil || row.deleted {
		s.orphan(Operations, k, "cell "+id)
		return `Cell with id "` + id + `" not found`
	}
	return ""
}
