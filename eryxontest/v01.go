package eryxontest

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// v01Limit is how many records a bulk may hold.
func v01Limit(e Entity) int {
	if e == Cells {
		return 100
	}
	return maxBulk
}

// falsy is what JavaScript takes for no value.
func falsy(v any) bool {
	return v == nil || v == "" || v == false || v == 0.0
}

// v01Single is PUT …/sync.
func (s *Server) v01Single(c *call) answer {
	rec, _ := c.doc.(map[string]any)
	switch {
	case c.bad || len(c.body) == 0:
		return s.badRequest(c, "Invalid JSON in request body")
	case c.doc == nil:
		return s.crash(c, nullRecord)
	case falsy(rec["external_id"]):
		return s.badRequest(c, "external_id is required for sync operations")
	case falsy(rec["external_source"]):
		return s.badRequest(c, "external_source is required for sync operations")
	}
	for _, name := range naturalFields[c.entity] {
		if falsy(rec[name]) {
			return s.badRequest(c, name+" is required")
		}
	}
	k := keyOf(rec)
	if r := s.ordered(c.entity, k.ext); r != nil {
		return s.refused(c, r)
	}
	if missing := s.v01Link(c.entity, k, rec, nil); missing != "" {
		return s.badRequest(c, missing)
	}
	if r := s.planLimit(c.entity, []any{c.doc}); r != nil {
		return s.refused(c, r)
	}
	p := parser{s: c.text}
	row, action, refused := s.v01Write(c.entity, rec, syncHash(p.canonical(nil, false)), false)
	if refused != "" {
		return s.crash(c, "Failed to "+action[:len(action)-1]+" "+c.entity.singular()+": "+refused)
	}
	status := http.StatusOK
	if action == "created" {
		status = http.StatusCreated
	}
	b := append(make([]byte, 0, 1024), '{')
	b = appendMember(b, "action", action)
	b = append(b, `,"`...)
	b = append(b, c.entity.singular()...)
	b = append(b, `":`...)
	b = s.schema(c.entity).appendRow(b, row)
	return success(status, append(b, '}'))
}

// v01Bulk is POST …/bulk-sync.
func (s *Server) v01Bulk(c *call) answer {
	object, _ := c.doc.(map[string]any)
	list, ok := object[string(c.entity)].([]any)
	switch {
	case c.bad || len(c.body) == 0:
		return s.badRequest(c, "Invalid JSON in request body")
	case c.doc == nil:
		return s.crash(c, "Cannot destructure property '"+string(c.entity)+"' of 'body' as it is null.")
	case !ok:
		return s.badRequest(c, string(c.entity)+" must be an array")
	case len(list) > v01Limit(c.entity):
		return s.badRequest(c, "Maximum "+strconv.Itoa(v01Limit(c.entity))+" "+string(c.entity)+" per bulk-sync request")
	}
	if r := s.planLimit(c.entity, list); r != nil {
		return s.refused(c, r)
	}
	parents, ok := s.v01LookUp(c.entity, list)
	if !ok { // before anything is written
		return s.crash(c, "Cannot read properties of null (reading '"+v01Above[c.entity].singular()+"_external_id')")
	}
	texts := elements(c.text, string(c.entity))
	rep := &report{}
	crashed := false
	s.whole(func() bool {
		crashed = s.v01Work(c.entity, list, texts, parents, rep)
		return !crashed && rep.errors == 0
	})
	switch {
	case s.refusals.whole != nil && (crashed || rep.errors > 0):
		return s.refused(c, s.refusals.whole)
	case crashed:
		return s.crash(c, nullRecord) // what came before stays written
	}
	if rep.total > 0 {
		s.remember(importOf(c.entity, "api", rep.total, rep.created, rep.updated, 0, rep.failures))
	}
	return success(http.StatusOK, rep.json())
}

// v01Work works a bulk off; true means that it broke off at a null.
func (s *Server) v01Work(e Entity, list []any, texts []string, parents *v01Parents, rep *report) bool {
	rep.total = len(list)
	for i, item := range list {
		if item == nil {
			return true
		}
		rec, _ := item.(map[string]any)
		given := rec["external_id"]
		v := verdict{}
		if message := s.v01Refuses(e, rec, parents); message != "" {
			v.failed = &refusal{message: message}
		} else {
			p := parser{s: texts[i]}
			var refused string
			v.row, v.action, refused = s.v01Write(e, rec, syncHash(p.canonical(nil, false)), true)
			if refused != "" {
				v.failed = &refusal{message: refused}
			}
		}
		rep.add(given, v)
	}
	return false
}

// v01Refuses is what a bulk of v0.1 finds wrong with a record, or "".
func (s *Server) v01Refuses(e Entity, rec map[string]any, parents *v01Parents) string {
	if falsy(rec["external_id"]) || falsy(rec["external_source"]) {
		return "external_id and external_source are required"
	}
	for _, name := range naturalFields[e] {
		if falsy(rec[name]) {
			return name + " is required"
		}
	}
	k := keyOf(rec)
	if r := s.ordered(e, k.ext); r != nil {
		return r.message
	}
	return s.v01Link(e, k, rec, parents)
}

// v01Above is the entity that a record names its parent in.
var v01Above = map[Entity]Entity{Parts: Jobs, Operations: Parts}

// v01Parents are the rows that a bulk found for the parents of its records.
type v01Parents struct {
	rows  map[string]*record // by external id, whatever the source
	cells map[string]*record // by name
}

// v01LookUp looks the parents of a bulk's records up, once for all. Of several
// rows of one external id, or name, the last one counts. It breaks off at a
// null; ok is false then.
func (s *Server) v01LookUp(e Entity, list []any) (found *v01Parents, ok bool) {
	found = &v01Parents{map[string]*record{}, map[string]*record{}}
	above := v01Above[e]
	if above == "" {
		return found, true
	}
	var ids, names []string
	for _, item := range list {
		if item == nil {
			return nil, false
		}
		rec, _ := item.(map[string]any)
		if ext := idText(rec[above.singular()+"_external_id"]); ext != "" {
			ids = append(ids, ext)
		}
		if name := text(rec["cell_name"]); name != "" && e == Operations {
			names = append(names, name)
		}
	}
	for _, r := range s.lookUp(above, s.table(above).sources, ids) {
		found.rows[r.key.ext] = r
	}
	for _, r := range s.lookUpCells(names) {
		found.cells[r.natural] = r
	}
	return found, true
}

// v01Link resolves the names of a record's parents, in a bulk by what it found
// for all. It returns what is missing, or "".
func (s *Server) v01Link(e Entity, k key, rec map[string]any, bulk *v01Parents) string {
	valid := ""
	if bulk != nil {
		valid = "valid "
	}
	switch e {
	case Parts:
		if s.v01Parent(e, k, rec, bulk) == "" {
			return "job_id or " + valid + "job_external_id is required"
		}
	case Operations:
		if s.v01Parent(e, k, rec, bulk) == "" {
			return "part_id or " + valid + "part_external_id is required"
		}
		if !falsy(rec["cell_id"]) {
			return ""
		}
		name := text(rec["cell_name"])
		named := s.table(Cells).byName[name] // deleted ones too
		var cell *record
		switch {
		case bulk != nil:
			cell = bulk.cells[name]
		case len(named) == 1:
			cell = named[0]
		}
		if cell != nil {
			rec["cell_id"] = cell.id
			return ""
		}
		if len(named) == 0 {
			s.orphan(e, k, "cell "+name)
		}
		return "cell_id or " + valid + "cell_name is required"
	}
	return ""
}

func (s *Server) v01Parent(e Entity, k key, rec map[string]any, bulk *v01Parents) any {
	of := v01Above[e]
	idField := of.singular() + "_id"
	given := rec[of.singular()+"_external_id"]
	if ext := idText(given); falsy(rec[idField]) && ext != "" {
		here := s.live(of, key{k.source, ext})
		row := here
		if bulk != nil {
			row = bulk.rows[text(given)] // a number is not recognised
		}
		if row == nil {
			if here == nil {
				s.orphan(e, k, of.singular()+" "+ext)
			}
			return ""
		}
		rec[idField] = row.id
	}
	if falsy(rec[idField]) {
		return ""
	}
	return rec[idField]
}

// v01Write writes the record's known fields, then what lies in it.
func (s *Server) v01Write(e Entity, rec map[string]any, hash string, bulk bool) (row *record, action, refused string) {
	now := time.Now()
	k := keyOf(rec)
	row, action = s.live(e, k), "updated"
	if row == nil {
		action = "created"
	}
	fields := s.v01Fields(e, rec, row == nil)
	if row != nil && !bulk && e != Cells && e != Resources && !falsy(rec["status"]) {
		fields["status"] = rec["status"]
	}
	fields["synced_at"] = isoMillis(now)
	if e != Cells && e != Operations && hash != "" {
		fields["sync_hash"] = hash
	}
	if row != nil {
		refused = s.updateRow(e, row, fields, now)
	} else {
		fields["external_id"], fields["external_source"] = k.ext, k.source
		row, refused = s.insertRow(e, fields, now)
	}
	if refused == "" && e == Jobs {
		s.v01Nested(Parts, row, k.source, rec["parts"])
	}
	return row, action, refused
}

// v01Nested writes records that lie in another. What is wrong with one is
// never told.
func (s *Server) v01Nested(e Entity, parent *record, source string, list any) {
	items, _ := list.([]any)
	for _, item := range items {
		rec, _ := item.(map[string]any)
		if falsy(rec["external_id"]) || falsy(rec[naturalFields[e][0]]) {
			continue
		}
		rec["external_source"] = source
		delete(rec, "status")
		if e == Parts {
			rec["job_id"] = parent.id
		} else {
			rec["part_id"] = parent.id
			if s.v01Link(e, keyOf(rec), rec, nil) != "" {
				continue
			}
		}
		row, _, refused := s.v01Write(e, rec, "", true)
		if refused == "" && e == Parts {
			s.v01Nested(Operations, row, source, rec["operations"])
		}
	}
}

// v01Fields is the fixed list of columns that v0.1 writes, with its defaults;
// the unified endpoint of both releases has the same list. What a record
// leaves empty keeps its old value where there is no default.
func (s *Server) v01Fields(e Entity, rec map[string]any, creating bool) map[string]any {
	f := make(map[string]any, 12)
	keep := func(names ...string) {
		for _, name := range names {
			if v := rec[name]; v != nil && v != "" {
				f[name] = v
			}
		}
	}
	either := func(name string, others ...any) {
		f[name] = rec[name]
		for _, other := range others {
			if falsy(f[name]) {
				f[name] = other
			}
		}
	}
	status := func(initial string) {
		if creating {
			either("status", initial)
		}
	}
	switch e {
	case Jobs:
		keep("job_number", "customer", "due_date", "priority", "notes", "metadata")
		if v := rec["customer_name"]; !falsy(v) {
			f["customer"] = v
		}
		if v := rec["description"]; !falsy(v) && f["notes"] == nil {
			f["notes"] = v
		}
		if creating {
			either("priority", 0.0)
		}
		status("not_started")
	case Parts:
		keep("job_id", "part_number", "notes", "metadata", "file_paths")
		either("material", "Unknown")
		either("quantity", 1.0)
		status("not_started")
	case Operations:
		keep("part_id", "cell_id", "operation_name", "notes", "assigned_operator_id")
		either("sequence", 1.0)
		f["estimated_time"] = rec["estimated_time_minutes"]
		if falsy(f["estimated_time"]) {
			either("estimated_time", 0.0)
		}
		status("not_started")
	case Cells:
		keep("name", "sequence")
		either("color", "#3B82F6")
		f["active"] = true
		keep("active")
		if creating && f["sequence"] == nil {
			f["sequence"] = s.nextSequence()
		}
	case Resources:
		keep("name", "type", "description", "identifier", "location", "metadata")
		either("status", "available")
		f["active"] = true
		keep("active")
	}
	return f
}

// nextSequence is one more than any cell's.
func (s *Server) nextSequence() float64 {
	highest := 0.0
	for _, r := range s.table(Cells).rows {
		if n, ok := r.fields["sequence"].(float64); ok {
			highest = math.Max(highest, n)
		}
	}
	return highest + 1
}
