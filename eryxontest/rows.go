package eryxontest

import "time"

// Row is a stored row: column name to value, with the types of JSON as Go
// decodes it (string, float64, bool, nil, []any, map[string]any).
//
// With [Documented] a row has the fields that were written, under their
// documented names, except that links are stored as the server resolved them
// (job_id, part_id, cell_id) and estimated_time_minutes is stored as
// estimated_time. With the other releases it has every column of the release.
type Row map[string]any

// Row returns a copy of the live row of a key.
func (s *Server) Row(e Entity, source, externalID string) (Row, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.index() < 0 {
		return nil, false
	}
	r := s.live(e, key{source, externalID})
	if r == nil {
		return nil, false
	}
	return s.rowOf(e, r), true
}

// Rows returns copies of the entity's live rows, in order of creation.
func (s *Server) Rows(e Entity) []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.index() < 0 {
		return nil
	}
	var out []Row
	for _, r := range s.tables[e.index()].rows {
		if !r.deleted {
			out = append(out, s.rowOf(e, r))
		}
	}
	return out
}

// Seed puts a row in as if someone had typed it into the MES, or another
// system had sent it, and returns its id. Columns: see [Row]; an "id" is kept,
// external_id and external_source may be absent. Nothing is validated. It
// panics if the entity is none of the five.
func (s *Server) Seed(e Entity, row Row) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields := make(map[string]any, len(row))
	for k, v := range row {
		fields[k] = clone(v)
	}
	return s.insert(e, key{text(fields["external_source"]), text(fields["external_id"])}, fields, time.Now()).id
}

// Delete marks the live row of a key as deleted, as the MES does: it is gone
// from the lists (but v0.8's of cells, and v0.1's of jobs, parts and cells),
// while its key and its number stay taken. It reports whether there was such a
// row.
func (s *Server) Delete(e Entity, source, externalID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.index() < 0 {
		return false
	}
	r := s.live(e, key{source, externalID})
	if r == nil {
		return false
	}
	r.deleted = true
	r.deletedAt = time.Now()
	return true
}

// rowOf is the row as callers see it, every value a copy.
func (s *Server) rowOf(e Entity, r *record) Row {
	if t := s.schema(e); t != nil {
		row := make(Row, len(t.columns))
		for _, c := range t.columns {
			row[c.name] = clone(c.value(r))
		}
		return row
	}
	row := make(Row, len(r.fields)+3)
	for k, v := range r.fields {
		row[k] = clone(v)
	}
	row["id"] = r.id
	row["created_at"] = stamp(r.created)
	row["updated_at"] = stamp(r.updated)
	return row
}

// clone copies what JSON can hold, and turns Go's other numbers into JSON's.
func clone(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = clone(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = clone(x)
		}
		return out
	}
	return v
}
