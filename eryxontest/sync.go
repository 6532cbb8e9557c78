package eryxontest

import (
	"net/http"
	"strconv"
	"time"
)

// verdict is what became of one record.
type verdict struct {
	action string // "created" or "updated"
	row    *record
	failed *refusal
}

// single is PUT …/sync, or POST, which the servers in the field take for an
// insert.
func (s *Server) single(c *call) answer {
	switch {
	case s.schema(c.entity) == nil:
		return s.documentedSingle(c)
	case c.method == http.MethodPost:
		return s.v08Create(c)
	case s.v08():
		return s.v08Single(c)
	}
	return s.v01Single(c)
}

// bulk is POST …/bulk-sync.
func (s *Server) bulk(c *call) answer {
	switch {
	case s.schema(c.entity) == nil:
		return s.documentedBulk(c)
	case s.v08():
		return s.v08Bulk(c)
	}
	return s.v01Bulk(c)
}

// whole runs a bulk's work, which says whether all went well. If failures are
// to be refused as a whole, and there was one, what it wrote is undone.
func (s *Server) whole(work func() bool) {
	if s.refusals.whole != nil {
		s.atomically(work)
		return
	}
	work()
}

// documentedSingle is a single sync as documented.
func (s *Server) documentedSingle(c *call) answer {
	if c.bad || c.doc == nil {
		return s.fail(c, http.StatusBadRequest, "VALIDATION_ERROR", "Invalid JSON in request body")
	}
	rec, ok := c.doc.(map[string]any)
	if !ok {
		return s.fail(c, http.StatusBadRequest, "VALIDATION_ERROR", "The request body must be an object")
	}
	if r := s.planLimit(c.entity, []any{c.doc}); r != nil {
		return s.refused(c, r)
	}
	v := s.documentedUpsert(c.entity, rec, nil, time.Now())
	if v.failed != nil {
		return s.refused(c, v.failed)
	}
	status := http.StatusOK
	if v.action == "created" {
		status = http.StatusCreated
	}
	b := append(make([]byte, 0, 128), '{')
	b = appendMember(b, "action", v.action)
	b = appendMember(b, "id", v.row.id)
	b = appendMember(b, "external_id", v.row.key.ext)
	return success(status, append(b, '}'))
}

// maxBulk is how many records a bulk may hold.
const maxBulk = 1000

// documentedBulk is a bulk sync as documented.
func (s *Server) documentedBulk(c *call) answer {
	object, _ := c.doc.(map[string]any)
	list, ok := object[string(c.entity)].([]any)
	switch {
	case c.bad:
		return s.fail(c, http.StatusBadRequest, "VALIDATION_ERROR", "Invalid JSON in request body")
	case !ok:
		return s.fail(c, http.StatusBadRequest, "VALIDATION_ERROR", string(c.entity)+" must be an array")
	case len(list) > maxBulk:
		return s.fail(c, http.StatusBadRequest, "VALIDATION_ERROR",
			"Maximum "+strconv.Itoa(maxBulk)+" "+string(c.entity)+" per bulk-sync request")
	}
	if r := s.planLimit(c.entity, list); r != nil {
		return s.refused(c, r)
	}
	var rep *report
	s.whole(func() bool {
		rep = s.work(c, list)
		return rep.errors == 0
	})
	if s.refusals.whole != nil && rep.errors > 0 {
		return s.refused(c, s.refusals.whole)
	}
	return success(http.StatusOK, rep.json())
}

// report is a documented bulk answer in the making.
type report struct {
	total, created, updated, errors int
	results                         []byte
	failures                        []byte // as the import history has them
}

func (s *Server) work(c *call, list []any) *report {
	now := time.Now()
	rep := &report{total: len(list), results: make([]byte, 0, 96*len(list)+2)}
	for _, item := range list {
		rec, ok := item.(map[string]any)
		v := verdict{failed: refuse(http.StatusBadRequest, "VALIDATION_ERROR", "The record must be an object")}
		if ok {
			v = s.documentedUpsert(c.entity, rec, nil, now)
		}
		rep.add(rec["external_id"], v)
	}
	return rep
}

func (rep *report) add(externalID any, v verdict) {
	b := rep.results
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(b, '{')
	if externalID != nil {
		b = appendMember(b, "external_id", externalID)
	}
	switch {
	case v.failed != nil:
		rep.errors++
		rep.failures = appendFailure(rep.failures, externalID, v.failed.message)
		b = appendMember(b, "action", "error")
		b = appendMember(b, "error", v.failed.message)
	default:
		if v.action == "created" {
			rep.created++
		} else {
			rep.updated++
		}
		b = appendMember(b, "id", v.row.id)
		b = appendMember(b, "action", v.action)
	}
	rep.results = append(b, '}')
}

func (rep *report) json() []byte {
	b := append(make([]byte, 0, len(rep.results)+96), '{')
	b = appendMember(b, "total", rep.total)
	b = appendMember(b, "created", rep.created)
	b = appendMember(b, "updated", rep.updated)
	b = appendMember(b, "errors", rep.errors)
	b = append(b, `,"results":[`...)
	b = append(b, rep.results...)
	return append(b, ']', '}')
}
