package eryxontest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listing is how an entity's rows are read.
type listing struct {
	columns string   // "" is the whole row
	filters []string // exact
	fuzzy   []string // substring, whatever the case
	search  []string
	sorts   []string
	sort    string
	desc    bool
}

// listings are as v0.8 has them, which the documented release shows as well.
var listings = map[Entity]listing{
	Jobs: {
		columns: "id job_number customer due_date due_date_override status notes metadata created_at updated_at",
		filters: []string{"status"}, fuzzy: []string{"customer", "job_number"},
		search: []string{"job_number", "customer"},
		sorts:  []string{"job_number", "customer", "due_date", "created_at", "status"}, sort: "created_at", desc: true,
	},
	Parts: {
		columns: "id part_number material quantity status file_paths notes drawing_no cnc_program_name is_bullet_card created_at updated_at",
		filters: []string{"job_id", "status"}, fuzzy: []string{"material"},
		search: []string{"part_number", "material"},
		sorts:  []string{"part_number", "created_at", "status"}, sort: "created_at", desc: true,
	},
	Cells: {
		columns: "id name color sequence active created_at updated_at",
		filters: []string{"active"}, search: []string{"name"},
		sorts: []string{"name", "sequence", "created_at"}, sort: "sequence",
	},
	Resources: {
		filters: []string{"type", "status", "active", "external_source", "external_id"},
		search:  []string{"name", "description", "identifier"},
		sorts:   []string{"name", "type", "status", "created_at"}, sort: "name",
	},
}

// v01Columns are what v0.1 shows more, or elsewhere.
var v01Columns = map[Entity]string{
	Jobs: "id job_number customer due_date due_date_override status priority notes metadata created_at updated_at",
	Parts: "id part_number material quantity status file_paths notes metadata created_at updated_at parent_part_id " +
		"material_lot material_supplier material_cert_number drawing_no cnc_program_name is_bullet_card",
}

// read is a GET, of whatever path below the entity's.
func (s *Server) read(c *call) answer {
	l, ok := listings[c.entity]
	if !ok { // the list of operations asks for a column that does not exist
		return s.crash(c, "Failed to fetch operations: column operations.started_at does not exist")
	}
	// v0.1 reads resources by id; its other lists ignore the id.
	if id := c.query.Get("id"); id != "" && (s.cfg.release != V01 || c.entity == Resources) {
		return s.readOne(c, l, id)
	}
	rows := s.matching(c, l)
	s.order(c, l, rows)
	limit, err := strconv.Atoi(c.query.Get("limit"))
	if err != nil {
		limit = 100
	}
	limit = min(max(limit, 1), 1000)
	offset, err := strconv.Atoi(c.query.Get("offset"))
	if err != nil {
		offset = 0
	}
	if s.cfg.release == V011 {
		var whole bool
		if limit, offset, whole = c.v011Page(); !whole {
			return s.badRequest(c, "limit and offset must be integers; offset must be non-negative")
		}
		limit = min(max(limit, 1), 1000)
	}
	total := len(rows)
	v01 := s.cfg.release == V01
	switch {
	case v01 && c.entity == Cells: // all of them, always
	case offset > total || offset < 0:
		return s.crash(c, "Failed to fetch "+string(c.entity)+": Requested range not satisfiable")
	default:
		rows = rows[offset:min(offset+limit, total)]
	}
	b := []byte(`{"success":true,"data":`)
	wrapped := !v01 || c.entity == Cells || c.entity == Resources
	if wrapped {
		b = append(b, `{"`+string(c.entity)+`":`...)
	}
	b = append(b, '[')
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendListed(b, c.entity, l, r)
	}
	b = append(b, ']')
	if !v01 {
		b = append(b, `,"pagination":{`...)
		b = appendMember(b, "total", total)
		b = appendMember(b, "offset", offset)
		b = appendMember(b, "limit", limit)
		b = append(b, '}')
	}
	if wrapped {
		b = append(b, '}')
	}
	if v01 && c.entity != Cells {
		b = append(b, `,"meta":{"pagination":{`...)
		b = appendMember(b, "limit", limit)
		b = appendMember(b, "offset", offset)
		if c.entity == Resources {
			b = appendMember(b, "has_more", offset+len(rows) < total)
		} else {
			b = appendMember(b, "total", total)
		}
		b = append(b, '}', '}')
	}
	return jsonAnswer(http.StatusOK, append(b, '}'))
}

func (s *Server) readOne(c *call, l listing, id string) answer {
	name := string(c.entity)
	if s.cfg.release == V01 {
		name = c.entity.singular()
	}
	if !isUUID(id) {
		return s.crash(c, "Failed to fetch "+name+": "+syntax("uuid", id))
	}
	r := s.table(c.entity).byID[strings.ToLower(id)]
	if r == nil || !s.shown(c.entity, r) {
		return s.fail(c, http.StatusNotFound, "NOT_FOUND", name+" with ID "+id+" not found")
	}
	b := []byte(`{"` + c.entity.singular() + `":`)
	b = s.appendListed(b, c.entity, l, r)
	return success(http.StatusOK, append(b, '}'))
}

// matching are the rows that the query's filters leave.
func (s *Server) matching(c *call, l listing) []*record {
	var out []*record
	for _, r := range s.tables[c.entity.index()].rows {
		if s.shown(c.entity, r) && s.matches(c, l, r) {
			out = append(out, r)
		}
	}
	return out
}

// shown says whether lists show the row. v0.1's show deleted ones, but for
// resources; v0.8's show deleted cells.
func (s *Server) shown(e Entity, r *record) bool {
	switch {
	case !r.deleted:
		return true
	case s.cfg.release == V01:
		return e != Resources
	}
	return e == Cells && s.v08()
}

func (s *Server) matches(c *call, l listing, r *record) bool {
	contains := func(name, part string) bool {
		return strings.Contains(strings.ToLower(text(s.columnOf(c.entity, r, name))), strings.ToLower(part))
	}
	for _, name := range l.filters {
		if c.query.Has(name) && asText(s.columnOf(c.entity, r, name)) != c.query.Get(name) {
			return false
		}
	}
	for _, name := range l.fuzzy {
		if c.query.Has(name) && !contains(name, c.query.Get(name)) {
			return false
		}
	}
	search := c.query.Get("search")
	return search == "" || slices.ContainsFunc(l.search, func(name string) bool { return contains(name, search) })
}

// order sorts the rows as the query asks, or as the entity's listing does.
func (s *Server) order(c *call, l listing, rows []*record) {
	by, desc := l.sort, l.desc
	if name := c.query.Get("sort"); slices.Contains(l.sorts, name) {
		by = name
	}
	if order := c.query.Get("order"); order != "" {
		desc = order != "asc"
	}
	slices.SortStableFunc(rows, func(x, y *record) int {
		n := 0
		if by != "created_at" {
			n = compareValues(s.columnOf(c.entity, x, by), s.columnOf(c.entity, y, by))
		}
		if n == 0 {
			n = cmp.Compare(x.n, y.n)
		}
		if desc {
			return -n
		}
		return n
	})
}

func compareValues(x, y any) int {
	fx, okX := x.(float64)
	fy, okY := y.(float64)
	if okX && okY {
		return cmp.Compare(fx, fy)
	}
	return cmp.Compare(text(x), text(y))
}

// columnOf is a column of a row in any release.
func (s *Server) columnOf(e Entity, r *record, name string) any {
	t := s.schema(e)
	if t == nil {
		switch name {
		case "id":
			return r.id
		case "created_at":
			return stamp(r.created)
		case "updated_at":
			return stamp(r.updated)
		}
		return r.fields[name]
	}
	if c, ok := t.column(name); ok {
		return c.value(r)
	}
	return nil
}

// appendListed appends a row as lists show it.
func (s *Server) appendListed(b []byte, e Entity, l listing, r *record) []byte {
	columns := l.columns
	v01 := s.cfg.release == V01
	if v01 && v01Columns[e] != "" {
		columns = v01Columns[e]
	}
	if columns == "" {
		if t := s.schema(e); t != nil {
			return t.appendRow(b, r)
		}
		return appendValue(b, map[string]any(s.rowOf(e, r)))
	}
	b = s.appendColumns(b, e, r, columns)
	switch e {
	case Jobs:
		parts := "id part_number material quantity status"
		if v01 {
			parts += " file_paths notes metadata"
		}
		b = append(b, `,"parts":[`...)
		b = s.appendChildren(b, Parts, "job_id", r.id, parts, nil)
		b = append(b, ']')
	case Parts:
		b = append(b, `,"job":`...)
		if job := s.table(Jobs).byID[text(r.fields["job_id"])]; job != nil {
			b = append(s.appendColumns(b, Jobs, job, "id job_number customer"), '}')
		} else {
			b = append(b, "null"...)
		}
		if v01 {
			b = append(b, `,"operations":[`...)
			b = s.appendChildren(b, Operations, "part_id", r.id, "id operation_name status completion_percentage", s.appendCell)
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

// appendColumns opens an object and leaves it open.
func (s *Server) appendColumns(b []byte, e Entity, r *record, columns string) []byte {
	b = append(b, '{')
	for name := range strings.FieldsSeq(columns) {
		b = appendMember(b, name, s.columnOf(e, r, name))
	}
	return b
}

// appendChildren appends the rows whose link is id; more adds to each.
func (s *Server) appendChildren(b []byte, e Entity, link, id, columns string, more func([]byte, *record) []byte) []byte {
	first := true
	for _, child := range s.tables[e.index()].rows {
		if child.fields[link] != id {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = s.appendColumns(b, e, child, columns)
		if more != nil {
			b = more(b, child)
		}
		b = append(b, '}')
	}
	return b
}

func (s *Server) appendCell(b []byte, operation *record) []byte {
	cell := s.table(Cells).byID[text(operation.fields["cell_id"])]
	if cell == nil {
		return append(b, `,"cell":null`...)
	}
	b = append(b, `,"cell":`...)
	return append(s.appendColumns(b, Cells, cell, "id name color"), '}')
}

// stamp writes a time as the database does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999+00:00") }
