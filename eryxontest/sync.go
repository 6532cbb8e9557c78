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

// upsert carries out one record by the rules of the release. raw tells that
// the record came alone: v0.8 validates such a one differently.
func (s *Server) upsert(e Entity, rec map[string]any, now time.Time) verdict {
	return s.documentedUpsert(e, rec, nil, now)
}

// single is PUT …/sync.
func (s *Server) single(c *call) answer {
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
	v := s.upsert(c.entity, rec, time.Now())
	if v.failed != nil {
		return s.refused(c, v.failed)
	}
	status := http.StatusOK
	if v.action == "created" {
		status = http.StatusCreated
	}
	return success(status, s.singleData(c, v))
}

func (s *Server) singleData(_ *call, v verdict) []byte {
	b := append(make([]byte, 0, 128), '{')
	b = appendMember(b, "action", v.action)
	b = appendMember(b, "id", v.row.id)
	b = appendMember(b, "external_id", v.row.key.ext)
	return append(b, '}')
}

// maxBulk is how many records a bulk may hold.
const maxBulk = 1000

// bulk is POST …/bulk-sync as documented, and as v0.1 answers it too.
func (s *Server) bulk(c *call) answer {
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
	if s.refusals.whole == nil {
		return success(http.StatusOK, s.work(c, list).json())
	}
	var rep *report
	s.atomically(func() bool {
		rep = s.work(c, list)
		return rep.errors == 0
	})
	if rep.errors > 0 {
		return s.refused(c, s.refusals.whole)
	}
	return success(http.StatusOK, rep.json())
}

// report is a documented bulk answer in the making.
type report struct {
	total, created, updated, errors int
	results                         []byte
}

func (s *Server) work(c *call, list []any) *report {
	now := time.Now()
	rep := &report{total: len(list), results: make([]byte, 0, 96*len(list)+2)}
	for _, item := range list {
		rec, ok := item.(map[string]any)
		v := verdict{failed: refuse(http.StatusBadRequest, "VALIDATION_ERROR", "The record must be an object")}
		if ok {
			v = s.upsert(c.entity, rec, now)
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

// erp is the unified endpoint, which the documentation does not have.
func (s *Server) erp(c *call) answer {
	return s.fail(c, http.StatusNotFound, "NOT_FOUND", "Endpoint not found")
}

// read is a GET.
func (s *Server) read(c *call) answer {
	return s.fail(c, http.StatusNotFound, "NOT_FOUND", "Endpoint not found")
}
