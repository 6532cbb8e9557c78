package eryxontest

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// syncHash is the hash of a record's canonical text.
func syncHash(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:16])
}

const nullRecord = "Cannot read properties of null (reading 'external_id')"

// crash is an exception that the release did not foresee.
func (s *Server) crash(c *call, message string) answer {
	return s.fail(c, http.StatusInternalServerError, "INTERNAL_ERROR", message)
}

func (s *Server) badRequest(c *call, message string) answer {
	return s.fail(c, http.StatusBadRequest, "BAD_REQUEST", message)
}

// v08Existing is the row that a sync takes for the record's. Cells are looked
// up without regard to deletion.
func (s *Server) v08Existing(e Entity, k key) *record {
	if e == Cells {
		return s.find(e, k)
	}
	return s.live(e, k)
}

// v08Write writes the record's members as columns, whatever they are. It
// returns the row, if there is one, and the database's refusal.
func (s *Server) v08Write(e Entity, rec map[string]any, hash string, now time.Time) (row *record, action, refused string) {
	k := keyOf(rec)
	rec["tenant_id"] = s.cfg.tenant
	rec["synced_at"] = isoMillis(now)
	rec["sync_hash"] = hash
	if row = s.v08Existing(e, k); row != nil {
		return row, "updated", s.updateRow(e, row, rec, now)
	}
	row, refused = s.insertRow(e, rec, now)
	return row, "created", refused
}

// v08Single is PUT …/sync.
func (s *Server) v08Single(c *call) answer {
	rec, ok := c.doc.(map[string]any)
	if c.bad || len(c.body) == 0 {
		return s.crash(c, "Unexpected token in JSON")
	}
	if refused := s.v011Refuses(c.entity, c.doc, c.text); refused != "" {
		return s.badRequest(c, refused)
	}
	switch {
	case c.doc == nil:
		return s.crash(c, nullRecord)
	case !ok || idText(rec["external_id"]) == "":
		return s.badRequest(c, "external_id is required for sync operations")
	case idText(rec["external_source"]) == "":
		return s.badRequest(c, "external_source is required for sync operations")
	}
	if c.entity == Jobs {
		if problems, n := v08CheckJob(rec); n > 0 {
			return s.refused(c, &refusal{
				http.StatusUnprocessableEntity, "VALIDATION_ERROR",
				"✗ " + strconv.Itoa(n) + " validation error(s) in job", "[" + problems + "]",
			})
		}
	}
	if r := s.ordered(c.entity, idText(rec["external_id"])); r != nil {
		return s.refused(c, r)
	}
	p := parser{s: c.text}
	row, action, refused := s.v08Write(c.entity, rec, syncHash(p.canonical(nil, false)), time.Now())
	if refused != "" {
		return s.crash(c, "Failed to sync "+string(c.entity)+": "+refused)
	}
	status := http.StatusOK
	if action == "created" {
		status = http.StatusCreated
	}
	b := append(make([]byte, 0, 1024), `{"`...)
	b = append(b, c.entity.singular()...)
	b = append(b, `":`...)
	b = s.schema(c.entity).appendRow(b, row)
	b = appendMember(b, "action", action)
	return success(status, append(b, '}'))
}

// v08Create is POST, which inserts without looking for the row.
func (s *Server) v08Create(c *call) answer {
	if c.entity != Jobs && !c.bad && len(c.body) > 0 {
		if refused := s.v011Refuses(c.entity, c.doc, c.text); refused != "" {
			return s.badRequest(c, refused)
		}
	}
	rec, ok := c.doc.(map[string]any)
	if !ok {
		return s.crash(c, "Unexpected token in JSON")
	}
	if c.entity == Jobs {
		if problems, n := v08CheckJob(rec); n > 0 {
			return s.refused(c, &refusal{
				http.StatusUnprocessableEntity, "VALIDATION_ERROR",
				"✗ " + strconv.Itoa(n) + " validation error(s) in job", "[" + problems + "]",
			})
		}
	}
	delete(rec, string(nestedUnder[c.entity]))
	rec["tenant_id"] = s.cfg.tenant
	row, refused := s.insertRow(c.entity, rec, time.Now())
	if refused != "" {
		return s.crash(c, "Failed to create "+c.entity.singular()+": "+refused)
	}
	b := append(make([]byte, 0, 1024), `{"`...)
	b = append(b, c.entity.singular()...)
	b = append(b, `":`...)
	b = s.schema(c.entity).appendRow(b, row)
	return success(http.StatusCreated, append(b, '}'))
}

// v08Bulk is POST …/bulk-sync.
func (s *Server) v08Bulk(c *call) answer {
	object, _ := c.doc.(map[string]any)
	container := "items"
	list, ok := object[container].([]any)
	if !ok {
		container = string(c.entity)
		list, ok = object[container].([]any)
	}
	switch {
	case c.bad || len(c.body) == 0:
		return s.crash(c, "Unexpected token in JSON")
	case c.doc == nil:
		return s.crash(c, "Cannot read properties of null (reading 'items')")
	case !ok:
		return s.badRequest(c, `Request body must contain either "items" array or "`+string(c.entity)+`" array`)
	case len(list) > maxBulk:
		return s.badRequest(c, "Maximum "+strconv.Itoa(maxBulk)+" items per bulk-sync request")
	}
	texts := elements(c.text, container)
	var rep v08Report
	s.whole(func() bool {
		rep = s.v08Work(c.entity, list, texts)
		return rep.failed == 0 && rep.lost == 0
	})
	if s.refusals.whole != nil && rep.failed+rep.lost > 0 {
		return s.refused(c, s.refusals.whole)
	}
	return success(http.StatusOK, rep.json(len(list)))
}

// v08Report is a bulk answer of v0.8 in the making.
type v08Report struct {
	created, updated, failed int
	errors                   []byte
	lost                     int // what the database refused, which the answer hides
}

// v08Work counts what it meant to do: it never looks at the database's answer.
// V011 does.
func (s *Server) v08Work(e Entity, list []any, texts []string) (rep v08Report) {
	now := time.Now()
	var canonical []byte
	for i, item := range list {
		p := parser{s: texts[i]}
		canonical = p.canonical(canonical[:0], false)
		rec, _ := item.(map[string]any)
		if refused := s.v011Refuses(e, item, texts[i]); refused != "" {
			rep.fail(canonical, string(appendString(nil, refused)))
			continue
		}
		if failed := s.v08Refuses(e, item, rec); failed != "" {
			rep.fail(canonical, failed)
			continue
		}
		_, action, refused := s.v08Write(e, rec, syncHash(canonical), now)
		if refused != "" && s.cfg.release == V011 {
			rep.fail(canonical, string(appendString(nil, "Failed to sync "+string(e)+": "+refused)))
			continue
		}
		if action == "created" {
			rep.created++
		} else {
			rep.updated++
		}
		if refused != "" {
			rep.lost++
		}
	}
	return rep
}

// v08Refuses is what v0.8 itself finds wrong with a record, as JSON, or "".
func (s *Server) v08Refuses(e Entity, item any, rec map[string]any) string {
	switch {
	case item == nil:
		return `"` + nullRecord + `"`
	case idText(rec["external_id"]) == "":
		return `"external_id is required"`
	case idText(rec["external_source"]) == "":
		return `"external_source is required"`
	}
	if r := s.ordered(e, idText(rec["external_id"])); r != nil {
		return string(appendString(nil, r.message))
	}
	if e == Jobs {
		if problems, n := v08CheckJob(rec); n > 0 {
			return "[" + problems + "]"
		}
	}
	return ""
}

func (rep *v08Report) fail(item []byte, failed string) {
	if rep.failed++; rep.failed > 1 {
		rep.errors = append(rep.errors, ',')
	}
	rep.errors = append(rep.errors, `{"item":`...)
	rep.errors = append(rep.errors, item...)
	rep.errors = append(rep.errors, `,"error":`...)
	rep.errors = append(rep.errors, failed...)
	rep.errors = append(rep.errors, '}')
}

func (rep *v08Report) json(total int) []byte {
	b := append(make([]byte, 0, len(rep.errors)+96), `{"results":{`...)
	b = appendMember(b, "created", rep.created)
	b = appendMember(b, "updated", rep.updated)
	b = appendMember(b, "failed", rep.failed)
	b = append(b, `,"errors":[`...)
	b = append(b, rep.errors...)
	b = append(b, `]},"total":`...)
	b = strconv.AppendInt(b, int64(total), 10)
	return append(b, '}')
}

// v08CheckJob is the one validator that v0.8 has for syncs: the problems as
// JSON objects with commas between them, and how many they are.
func v08CheckJob(rec map[string]any) (problems string, n int) {
	var b []byte
	add := func(field, message, constraint string) {
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = appendMember(b, "field", field)
		b = appendMember(b, "message", message)
		if v, ok := rec[field]; ok {
			b = appendMember(b, "value", v)
		}
		b = appendMember(b, "constraint", constraint)
		b = appendMember(b, "entityType", "job")
		b = appendMember(b, "entityIndex", 0)
		b = append(b, '}')
	}
	given := func(field string) (any, bool) {
		v := rec[field]
		return v, v != nil && v != ""
	}
	checkText := func(field string, longest int) {
		v, _ := given(field)
		t, ok := v.(string)
		switch {
		case v == nil || v == "":
		case !ok:
			add(field, "Invalid string for "+field, "TYPE_MISMATCH")
		case longest > 0 && len([]rune(t)) > longest:
			add(field, field+" must be at most "+strconv.Itoa(longest)+" characters", "MAX_LENGTH")
		}
	}
	if _, ok := given("job_number"); !ok {
		add("job_number", "Missing required string field: job_number", "NOT_NULL")
	}
	checkText("job_number", 255)
	if v, ok := given("current_cell_id"); ok && !isUUID(text(v)) {
		add("current_cell_id", "Invalid UUID format for current_cell_id", "UUID_FORMAT")
	}
	if v, ok := given("status"); ok {
		switch v {
		case "not_started", "in_progress", "on_hold", "completed":
		default:
			add("status", "Invalid value for status. Must be one of: not_started, in_progress, on_hold, completed", "ENUM_CONSTRAINT")
		}
	}
	if v := rec["priority"]; v != nil {
		f, ok := v.(float64)
		switch {
		case !ok:
			add("priority", "Invalid number for priority", "TYPE_MISMATCH")
		case f != math.Trunc(f):
			add("priority", "priority must be an integer", "TYPE_MISMATCH")
		case f < 0:
			add("priority", "priority must be >= 0", "MIN_VALUE")
		}
	}
	if v, ok := given("due_date"); ok && !javaScriptDate(v) {
		add("due_date", "Invalid date format for due_date", "DATE_FORMAT")
	}
	checkText("customer_name", 255)
	checkText("description", 0)
	if v, ok := rec["parts"]; ok {
		if list, isList := v.([]any); isList && len(list) == 0 {
			add("parts", "parts must have at least 1 items", "MIN_LENGTH")
		} else if v != nil && !isList {
			add("parts", "Invalid array for parts", "TYPE_MISMATCH")
		} else if v == nil {
			add("parts", "Missing required array field: parts", "NOT_NULL")
		}
	}
	return string(b), n
}

// javaScriptDate says whether JavaScript makes a date of v, roughly: it takes
// 2025-02-30, which the database then refuses.
func javaScriptDate(v any) bool {
	in, ok := v.(string)
	if !ok {
		_, number := v.(float64)
		return number
	}
	if len(in) >= len(time.DateOnly) && looksLikeDate(in) {
		month, _ := strconv.Atoi(in[5:7])
		day, _ := strconv.Atoi(in[8:10])
		return month >= 1 && month <= 12 && day >= 1 && day <= 31
	}
	_, err := time.Parse("2006-1-2", strings.TrimSpace(in))
	return err == nil
}
