package eryxontest

import "time"

// importEntry is a row of the import history.
type importEntry struct {
	id       string
	tenant   string
	entity   Entity
	source   string
	total    int
	created  int
	updated  int
	skipped  int
	failures []byte // JSON objects with commas between them
	at       time.Time
}

// maxImports bounds the history: /status shows at most 100.
const maxImports = 1000

func importOf(e Entity, source string, total, created, updated, skipped int, failures []byte) importEntry {
	return importEntry{
		entity: e, source: source, total: total, created: created, updated: updated, skipped: skipped,
		failures: failures, at: time.Now(),
	}
}

func (s *Server) remember(entry importEntry) {
	entry.id, entry.tenant = s.newID(), s.cfg.tenant
	if len(s.imports) >= 2*maxImports {
		s.imports = append(s.imports[:0], s.imports[maxImports:]...)
	}
	s.imports = append(s.imports, entry)
}

func (e *importEntry) errors() int { return e.total - e.created - e.updated - e.skipped }

func (e *importEntry) status() string {
	if e.errors() > 0 && e.created+e.updated == 0 {
		return "failed"
	}
	return "completed"
}

// append appends the row; the two releases have different columns.
func (e *importEntry) append(b []byte, v08 bool) []byte {
	b = append(b, '{')
	b = appendMember(b, "id", e.id)
	b = appendMember(b, "tenant_id", e.tenant)
	if v08 {
		b = appendMember(b, "entity_type", string(e.entity))
		b = appendMember(b, "operation", "upsert")
		b = appendMember(b, "source", e.source)
	} else {
		b = appendMember(b, "source", e.source)
		b = appendMember(b, "entity_type", string(e.entity))
	}
	b = appendMember(b, "status", e.status())
	if v08 {
		b = appendMember(b, "record_count", 0)
	}
	b = appendMember(b, "total_records", e.total)
	b = appendMember(b, "created_count", e.created)
	b = appendMember(b, "updated_count", e.updated)
	b = appendMember(b, "skipped_count", e.skipped)
	b = appendMember(b, "error_count", e.errors())
	if v08 {
		b = appendMember(b, "sync_hash", nil)
	}
	b = append(b, `,"errors":`...)
	if len(e.failures) == 0 {
		b = append(b, "null"...)
	} else {
		b = append(b, '[')
		b = append(b, e.failures...)
		b = append(b, ']')
	}
	if v08 {
		b = append(b, `,"metadata":{}`...)
	} else {
		b = appendMember(b, "file_name", nil)
	}
	at := stamp(e.at)
	b = appendMember(b, "started_at", at)
	b = appendMember(b, "completed_at", at)
	if !v08 {
		b = appendMember(b, "created_by", nil)
	}
	b = appendMember(b, "created_at", at)
	if !v08 {
		b = appendMember(b, "updated_at", at)
	}
	return append(b, '}')
}

// appendFailure appends a failed record as the history has it.
func appendFailure(b []byte, externalID any, message string) []byte {
	b = append(appendComma(b), '{')
	b = appendMember(b, "error", message)
	b = appendMember(b, "action", "error")
	if externalID != nil {
		b = appendMember(b, "external_id", externalID)
	}
	return append(b, '}')
}
