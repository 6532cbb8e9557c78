package eryxontest

import (
	"net/http"
	"strconv"
	"time"
)

// The unified endpoint, POST /api-erp-sync/diff and /sync and GET /status, is
// the same in both releases in the field; the documentation has none.

// erpEntities are what it takes, in the order in which it works.
var erpEntities = [3]Entity{Jobs, Parts, Resources}

func (s *Server) erp(c *call) answer {
	if s.schema(Jobs) == nil || !c.known {
		return s.fail(c, http.StatusNotFound, "NOT_FOUND", "Endpoint not found")
	}
	method := http.MethodPost
	if c.action == "status" {
		method = http.MethodGet
	}
	object, _ := c.doc.(map[string]any)
	switch {
	case c.method != method:
		return s.fail(c, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Method not allowed. Supported methods: "+method)
	case c.action == "status":
		return s.erpStatus(c)
	case c.bad || len(c.body) == 0:
		return s.badRequest(c, "Invalid JSON in request body")
	case c.doc == nil:
		return s.crash(c, "Cannot read properties of null (reading 'jobs')")
	}
	for _, e := range erpEntities {
		list, _ := object[string(e)].([]any)
		for _, item := range list {
			if item == nil {
				return s.crash(c, nullRecord)
			}
		}
	}
	if c.action == "diff" {
		return s.erpDiff(c, object)
	}
	return s.erpSync(c, object)
}

// erpRecord is a record of such a request, with its hash and its links known.
type erpRecord struct {
	rec      map[string]any
	key      key
	existing *record
	hash     string
	missing  string // what is wrong with it by itself
}

// erpRecords looks the records of a request up. sync words what is missing as
// /sync does, where /diff says it at more length.
func (s *Server) erpRecords(c *call, e Entity, list []any, sync bool) []erpRecord {
	texts := elements(c.text, string(e))
	existing := s.erpExisting(e, list, sync)
	var jobs map[string]*record
	primary := ""
	if e == Parts {
		jobs, primary = s.erpJobs(list)
	}
	out := make([]erpRecord, len(list))
	for i, item := range list {
		rec, _ := item.(map[string]any)
		p := parser{s: texts[i]}
		r := erpRecord{rec: rec, key: keyOf(rec), hash: syncHash(p.canonical(nil, true))}
		r.missing = s.erpMissing(e, rec, jobs, primary, sync)
		if r.missing == "" {
			r.existing = existing[r.key.joined()]
		}
		out[i] = r
	}
	return out
}

// erpExisting looks the rows of the records up, once for each source, in order
// of their first records.
func (s *Server) erpExisting(e Entity, list []any, sync bool) map[string]*record {
	found := make(map[string]*record, len(list))
	if !s.erpFinds(e, sync) {
		return found
	}
	var sources []string
	ids := map[string][]string{}
	for _, item := range list {
		rec, _ := item.(map[string]any)
		if k := keyOf(rec); k.source != "" && k.ext != "" {
			if ids[k.source] == nil {
				sources = append(sources, k.source)
			}
			ids[k.source] = append(ids[k.source], k.ext)
		}
	}
	for _, source := range sources {
		for _, r := range s.lookUp(e, []string{source}, ids[source]) {
			found[r.key.joined()] = r
		}
	}
	return found
}

// joined is what the unified endpoint tells rows by, with a colon that sources
// and ids may hold as well.
func (k key) joined() string { return k.source + ":" + k.ext }

// erpJobs looks the jobs of parts up, all of them in the first part's source,
// which it returns as well.
func (s *Server) erpJobs(list []any) (jobs map[string]*record, source string) {
	var ids []string
	for i, item := range list {
		rec, _ := item.(map[string]any)
		if i == 0 {
			source = idText(rec["external_source"])
		}
		if ext := idText(rec["job_external_id"]); ext != "" {
			ids = append(ids, ext)
		}
	}
	jobs = map[string]*record{}
	for _, r := range s.lookUp(Jobs, []string{source}, ids) {
		jobs[r.key.ext] = r
	}
	return jobs, source
}

// erpFinds reports whether the look-up of rows names columns only that the table
// has; otherwise it fails, which the server doesn't mention, and finds none.
func (s *Server) erpFinds(e Entity, sync bool) bool {
	return s.hasColumn(e, "sync_hash") && (sync || e != Jobs || s.hasColumn(e, "priority"))
}

func (s *Server) hasColumn(e Entity, name string) bool {
	_, ok := s.schema(e).column(name)
	return ok
}

func (s *Server) erpMissing(e Entity, rec map[string]any, jobs map[string]*record, primary string, sync bool) string {
	short := ""
	for _, name := range append([]string{"external_id", "external_source"}, naturalFields[e]...) {
		if falsy(rec[name]) {
			short = name
			break
		}
	}
	switch {
	case short == "":
	case sync && e == Resources:
		return "Missing required fields (external_id, external_source, name, type)"
	case sync:
		return "Missing required fields"
	case short == "external_id" || short == "external_source":
		return "external_id and external_source are required"
	case e == Resources:
		return "name and type are required"
	default:
		return short + " is required"
	}
	if e != Parts || !falsy(rec["job_id"]) {
		return ""
	}
	// A number is looked up, and not recognised in what comes back.
	if job := jobs[text(rec["job_external_id"])]; job != nil {
		rec["job_id"] = job.id
		return ""
	}
	ext := idText(rec["job_external_id"])
	if ext != "" && s.live(Jobs, key{primary, ext}) == nil {
		s.orphan(e, keyOf(rec), "job "+ext)
	}
	switch {
	case sync:
		return "job_id or valid job_external_id required"
	case ext != "":
		return `Job with external_id "` + ext + `" not found`
	}
	return "job_id or job_external_id is required"
}

// erpDiff says what /sync would do; it changes nothing.
func (s *Server) erpDiff(c *call, object map[string]any) answer {
	var sum struct{ entities, records, create, update, unchanged, errors int }
	var entities []byte
	for _, e := range erpEntities {
		list, ok := object[string(e)].([]any)
		if !ok {
			continue
		}
		var n struct{ create, update, unchanged, errors int }
		var records []byte
		for _, r := range s.erpRecords(c, e, list, false) {
			records = appendComma(records)
			records = append(records, '{')
			records = appendMember(records, "external_id", orUnknown(r.rec["external_id"]))
			records = appendMember(records, "external_source", orUnknown(r.rec["external_source"]))
			switch {
			case r.missing != "":
				n.errors++
				records = appendMember(records, "status", "error")
				records = appendMember(records, "error", r.missing)
			case r.existing == nil:
				n.create++
				records = appendMember(records, "status", "create")
			case r.existing.fields["sync_hash"] == r.hash:
				n.unchanged++
				records = appendMember(records, "status", "unchanged")
				records = appendMember(records, "existing_id", r.existing.id)
			default:
				n.update++
				records = appendMember(records, "status", "update")
				records = appendMember(records, "existing_id", r.existing.id)
				records = appendMember(records, "changes", s.erpChanges(e, r))
			}
			records = append(records, '}')
		}
		entities = appendComma(entities)
		entities = appendString(entities, string(e))
		entities = append(entities, ":{"...)
		entities = appendMember(entities, "entity_type", string(e))
		entities = appendMember(entities, "total", len(list))
		entities = appendMember(entities, "to_create", n.create)
		entities = appendMember(entities, "to_update", n.update)
		entities = appendMember(entities, "unchanged", n.unchanged)
		entities = appendMember(entities, "errors", n.errors)
		entities = append(entities, `,"records":[`...)
		entities = append(entities, records...)
		entities = append(entities, "]}"...)
		sum.entities++
		sum.records += len(list)
		sum.create += n.create
		sum.update += n.update
		sum.unchanged += n.unchanged
		sum.errors += n.errors
	}
	b := []byte(`{"summary":{`)
	b = appendMember(b, "total_entities", sum.entities)
	b = appendMember(b, "total_records", sum.records)
	b = appendMember(b, "total_to_create", sum.create)
	b = appendMember(b, "total_to_update", sum.update)
	b = appendMember(b, "total_unchanged", sum.unchanged)
	b = appendMember(b, "total_errors", sum.errors)
	b = append(b, `},"entities":{`...)
	b = append(b, entities...)
	return success(http.StatusOK, append(b, "}}"...))
}

func appendComma(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	return b
}

func orUnknown(v any) any {
	if falsy(v) {
		return "unknown"
	}
	return v
}

// erpChanges names what a record would change.
func (s *Server) erpChanges(e Entity, r erpRecord) []any {
	var out []any
	table := s.schema(e)
	compare := map[Entity][]string{
		Jobs:      {"job_number", "customer", "due_date", "priority", "status"},
		Parts:     {"part_number", "material", "quantity", "status"},
		Resources: {"name", "type", "status"},
	}[e]
	for _, name := range compare {
		c, ok := table.column(name)
		if !ok {
			continue
		}
		now := c.value(r.existing)
		then, given := r.rec[name]
		optional := name != "job_number" && name != "customer" && name != "due_date"
		switch {
		case !given && !optional:
			out = append(out, name+": "+quoted(now)+` -> "undefined"`)
		case given && now != then && !(optional && then == nil):
			out = append(out, name+": "+quoted(now)+" -> "+quoted(then))
		}
	}
	for _, name := range []string{"notes", "description", "metadata"} {
		if !falsy(r.rec[name]) {
			out = append(out, name+" updated")
		}
	}
	if out == nil {
		out = []any{"data changed (hash mismatch)"}
	}
	return out
}

func quoted(v any) string {
	if f, ok := v.(float64); ok {
		return formatNumber(f)
	}
	return `"` + asText(v) + `"`
}

// erpReport is one entity's part of a /sync answer in the making.
type erpReport struct {
	total, created, updated, skipped, errors int
	results, failures                        []byte
}

func (rep *erpReport) add(externalID any, id, action, failed string) {
	b := append(appendComma(rep.results), '{')
	b = appendMember(b, "external_id", externalID)
	if id != "" {
		b = appendMember(b, "id", id)
	}
	b = appendMember(b, "action", action)
	switch action {
	case "created":
		rep.created++
	case "updated":
		rep.updated++
	case "skipped":
		rep.skipped++
	default:
		rep.errors++
		b = appendMember(b, "error", failed)
		rep.failures = appendFailure(rep.failures, externalID, failed)
	}
	rep.results = append(b, '}')
}

// erpSync writes.
func (s *Server) erpSync(c *call, object map[string]any) answer {
	start := time.Now()
	options, _ := object["options"].(map[string]any)
	skip := options["skip_unchanged"] != false
	history := options["record_history"] != false
	var sum erpReport
	n := 0
	var entities []byte
	for _, e := range erpEntities {
		list, _ := object[string(e)].([]any)
		if len(list) == 0 {
			continue
		}
		rep := s.erpWork(e, s.erpRecords(c, e, list, true), skip)
		if history {
			s.remember(importOf(e, "api_erp_sync", rep.total, rep.created, rep.updated, rep.skipped, rep.failures))
		}
		n++
		sum.total += rep.total
		sum.created += rep.created
		sum.updated += rep.updated
		sum.skipped += rep.skipped
		sum.errors += rep.errors
		entities = appendComma(entities)
		entities = appendString(entities, string(e))
		entities = append(entities, ":{"...)
		entities = appendMember(entities, "total", rep.total)
		entities = appendMember(entities, "created", rep.created)
		entities = appendMember(entities, "updated", rep.updated)
		entities = appendMember(entities, "skipped", rep.skipped)
		entities = appendMember(entities, "errors", rep.errors)
		entities = append(entities, `,"results":[`...)
		entities = append(entities, rep.results...)
		entities = append(entities, ']')
		entities = appendMember(entities, "duration_ms", int(time.Since(start).Milliseconds()))
		entities = append(entities, '}')
	}
	b := []byte(`{"summary":{`)
	b = appendMember(b, "total_entities", n)
	b = appendMember(b, "total_records", sum.total)
	b = appendMember(b, "total_created", sum.created)
	b = appendMember(b, "total_updated", sum.updated)
	b = appendMember(b, "total_skipped", sum.skipped)
	b = appendMember(b, "total_errors", sum.errors)
	b = appendMember(b, "duration_ms", int(time.Since(start).Milliseconds()))
	b = append(b, `},"entities":{`...)
	b = append(b, entities...)
	return success(http.StatusOK, append(b, "}}"...))
}

// erpWork writes one entity's records: what is wrong or unchanged first, then
// all creates as one insert, then the updates one by one.
func (s *Server) erpWork(e Entity, records []erpRecord, skip bool) *erpReport {
	now := time.Now()
	rep := &erpReport{total: len(records)}
	var creates, updates []erpRecord
	for _, r := range records {
		switch {
		case r.missing != "":
			rep.add(orUnknown(r.rec["external_id"]), "", "error", r.missing)
		case r.existing == nil:
			creates = append(creates, r)
		case skip && r.existing.fields["sync_hash"] == r.hash:
			rep.add(r.rec["external_id"], r.existing.id, "skipped", "")
		default:
			updates = append(updates, r)
		}
	}
	failed := ""
	ids := make([]string, len(creates))
	s.atomically(func() bool {
		for i, r := range creates {
			fields := s.erpFields(e, r, true, now)
			fields["external_id"], fields["external_source"] = r.key.ext, r.key.source
			if ordered := s.ordered(e, r.key.ext); ordered != nil {
				failed = ordered.message
				return false
			}
			row, refused := s.insertRow(e, fields, now)
			if failed = refused; failed != "" {
				return false
			}
			ids[i] = row.id
		}
		return true
	})
	for i, r := range creates {
		if failed != "" {
			rep.add(r.key.ext, "", "error", failed)
			continue
		}
		rep.add(r.key.ext, ids[i], "created", "")
	}
	for _, r := range updates {
		refused := ""
		if ordered := s.ordered(e, r.key.ext); ordered != nil {
			refused = ordered.message
		} else {
			refused = s.updateRow(e, r.existing, s.erpFields(e, r, false, now), now)
		}
		if refused != "" {
			rep.add(r.rec["external_id"], "", "error", refused)
			continue
		}
		rep.add(r.existing.key.ext, r.existing.id, "updated", "")
	}
	return rep
}

// erpFields is the fixed list of columns that /sync writes.
func (s *Server) erpFields(e Entity, r erpRecord, creating bool, now time.Time) map[string]any {
	f := s.v01Fields(e, r.rec, creating)
	delete(f, "file_paths")
	f["synced_at"] = isoMillis(now)
	f["sync_hash"] = r.hash
	return f
}

// erpStatus is GET …/status.
func (s *Server) erpStatus(c *call) answer {
	limit, err := strconv.Atoi(c.query.Get("limit"))
	if err != nil {
		limit = 20
	}
	limit = min(limit, 100)
	var n struct{ total, completed, failed, created, updated, errors int }
	var history []byte
	for i := len(s.imports) - 1; i >= 0 && n.total < limit; i-- {
		entry := &s.imports[i]
		if q := c.query.Get("entity_type"); q != "" && q != string(entry.entity) {
			continue
		}
		if q := c.query.Get("source"); q != "" && q != entry.source {
			continue
		}
		n.total++
		if entry.status() == "failed" {
			n.failed++
		} else {
			n.completed++
		}
		n.created += entry.created
		n.updated += entry.updated
		n.errors += entry.errors()
		history = entry.append(appendComma(history), s.v08())
	}
	b := []byte(`{"stats":{`)
	b = appendMember(b, "total_syncs", n.total)
	b = appendMember(b, "successful", n.completed)
	b = appendMember(b, "failed", n.failed)
	b = appendMember(b, "total_created", n.created)
	b = appendMember(b, "total_updated", n.updated)
	b = appendMember(b, "total_errors", n.errors)
	b = append(b, `},"history":[`...)
	b = append(b, history...)
	return success(http.StatusOK, append(b, "]}"...))
}
