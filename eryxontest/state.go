package eryxontest

import (
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// key is what a record is found again by.
type key struct{ source, ext string }

// record is one stored row. fields holds what was written; columns that were
// never written have their default, which is added when the row is read.
type record struct {
	id        string
	tenant    string
	n         int // its place in order of creation
	key       key
	fields    map[string]any
	natural   string // its entry in table.byNatural, or its name in byName
	created   time.Time
	updated   time.Time
	synced    bool // written by a sync, not by hand
	deleted   bool
	deletedAt time.Time
}

// table holds the rows of one entity. Its maps are made on first use: making a
// server must cost nothing.
type table struct {
	rows      []*record // in order of creation, deleted ones included
	byKey     map[key]*record
	byID      map[string]*record
	byNatural map[string]*record   // jobs, parts, resources: unique over all sources
	byName    map[string][]*record // cells: names may repeat
	sources   []string             // of the keys, in order of first use
}

var allEntities = [5]Entity{Jobs, Parts, Operations, Cells, Resources}

func (e Entity) index() int {
	switch e {
	case Jobs:
		return 0
	case Parts:
		return 1
	case Operations:
		return 2
	case Cells:
		return 3
	case Resources:
		return 4
	}
	return -1
}

// table returns the entity's table; the caller holds s.mu.
func (s *Server) table(e Entity) *table {
	t := &s.tables[e.index()]
	if t.byKey == nil {
		t.byKey = map[key]*record{}
		t.byID = map[string]*record{}
		switch e {
		case Cells:
			t.byName = map[string][]*record{}
		case Jobs, Parts, Resources:
			t.byNatural = map[string]*record{}
		}
	}
	return t
}

// constraints are the unique indexes, as the database names them.
var constraints = map[Entity][2]string{
	Jobs:       {"idx_jobs_external_sync", "jobs_tenant_id_job_number_key"},
	Parts:      {"idx_parts_external_sync", "parts_job_id_part_number_key"},
	Operations: {"idx_operations_external_sync", ""},
	Cells:      {"idx_cells_external_sync", ""},
	Resources:  {"idx_resources_external_sync", "resources_tenant_id_name_key"},
}

func duplicateKey(constraint string) string {
	return `duplicate key value violates unique constraint "` + constraint + `"`
}

// naturalOf is the value under which a row of these fields is unique ("" if
// its entity has no such rule, or the field is not set).
func naturalOf(e Entity, fields map[string]any) string {
	switch e {
	case Jobs:
		return text(fields["job_number"])
	case Resources, Cells:
		return text(fields["name"])
	case Parts:
		if n := text(fields["part_number"]); n != "" {
			return text(fields["job_id"]) + "\x00" + n
		}
	}
	return ""
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// idText is an external id or source as the database stores it; "" if it is
// none. Servers in the field take numbers as well.
func idText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		if v != 0 {
			return formatNumber(v)
		}
	}
	return ""
}

func keyOf(rec map[string]any) key {
	return key{idText(rec["external_source"]), idText(rec["external_id"])}
}

// v08 says whether the release is one of those that share the code of v0.8.
func (s *Server) v08() bool {
	return s.cfg.release == V08 || s.cfg.release == V08AsMigrated || s.cfg.release == V011
}

// find returns the row of a key, a deleted one too.
func (s *Server) find(e Entity, k key) *record {
	return s.tables[e.index()].byKey[k]
}

// live is find without deleted rows.
func (s *Server) live(e Entity, k key) *record {
	if r := s.find(e, k); r != nil && !r.deleted {
		return r
	}
	return nil
}

// cellNamed returns the live cell of a name; n is how many bear it.
func (s *Server) cellNamed(name string) (cell *record, n int) {
	for _, r := range s.tables[Cells.index()].byName[name] {
		if !r.deleted {
			cell = r
			n++
		}
	}
	return cell, n
}

// conflict is the text of the unique violation that writing fields to self
// (nil: a new row) would be, or "".
func (s *Server) conflict(e Entity, k key, fields map[string]any, self *record) string {
	t := s.table(e)
	if self == nil && k.ext != "" {
		if t.byKey[k] != nil {
			return duplicateKey(constraints[e][0])
		}
	}
	if t.byNatural != nil {
		if n := naturalOf(e, fields); n != "" {
			if other := t.byNatural[n]; other != nil && other != self {
				return duplicateKey(constraints[e][1])
			}
		}
	}
	return ""
}

// insert adds a row; the caller has looked for conflicts. The fields become
// the row's own.
func (s *Server) insert(e Entity, k key, fields map[string]any, now time.Time) *record {
	t := s.table(e)
	r := &record{id: s.newID(), tenant: s.cfg.tenant, n: len(t.rows), key: k, fields: fields, created: now, updated: now}
	if id := text(fields["id"]); id != "" {
		r.id = id
	}
	t.rows = append(t.rows, r)
	t.byID[r.id] = r
	if k.ext != "" {
		t.byKey[k] = r
		if !slices.Contains(t.sources, k.source) {
			t.sources = append(t.sources, k.source)
		}
	}
	s.name(e, t, r)
	if s.undoing {
		s.undo = append(s.undo, func() {
			t.rows = t.rows[:len(t.rows)-1]
			delete(t.byID, r.id)
			if t.byKey[k] == r {
				delete(t.byKey, k)
			}
			s.unname(e, t, r)
		})
	}
	return r
}

// update writes fields over the row's; a nil value clears.
func (s *Server) update(e Entity, r *record, fields map[string]any, now time.Time) {
	t := s.table(e)
	if s.undoing {
		old, oldFields := *r, maps.Clone(r.fields)
		s.undo = append(s.undo, func() {
			s.unname(e, t, r)
			*r = old
			r.fields = oldFields
			s.name(e, t, r)
		})
	}
	maps.Copy(r.fields, fields)
	r.updated = now
	if n := naturalOf(e, r.fields); n != r.natural {
		s.unname(e, t, r)
		s.name(e, t, r)
	}
}

// name enters the row under its natural key; the first of several keeps it.
func (s *Server) name(e Entity, t *table, r *record) {
	r.natural = naturalOf(e, r.fields)
	switch {
	case r.natural == "":
	case e == Cells:
		t.byName[r.natural] = append(t.byName[r.natural], r)
	case t.byNatural != nil && t.byNatural[r.natural] == nil:
		t.byNatural[r.natural] = r
	}
}

func (s *Server) unname(e Entity, t *table, r *record) {
	if e == Cells {
		list := t.byName[r.natural]
		for i, other := range list {
			if other == r {
				t.byName[r.natural] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
	} else if t.byNatural != nil && t.byNatural[r.natural] == r {
		delete(t.byNatural, r.natural)
	}
}

// atomically runs write; if it returns false, everything it wrote is undone.
func (s *Server) atomically(write func() bool) {
	s.undoing = true
	if !write() {
		for i := len(s.undo) - 1; i >= 0; i-- {
			s.undo[i]()
		}
	}
	s.undoing = false
	s.undo = nil
}

// newID makes the next row id: a valid random-looking UUID, the same in every
// run, and another for each tenant.
func (s *Server) newID() string {
	s.ids++
	return uuidOf(s.ids + s.cfg.idsFrom)
}

func uuidOf(n uint64) string {
	a, b := mix(2*n), mix(2*n+1)
	var raw [16]byte
	for i := range 8 {
		raw[i] = byte(a >> (8 * i))
		raw[8+i] = byte(b >> (8 * i))
	}
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], raw[0:4])
	hex.Encode(out[9:13], raw[4:6])
	hex.Encode(out[14:18], raw[6:8])
	hex.Encode(out[19:23], raw[8:10])
	hex.Encode(out[24:36], raw[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// mix is the output function of SplitMix64.
func mix(n uint64) uint64 {
	n = (n + 1) * 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
