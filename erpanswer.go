package eryxon

import (
	"bytes"
	"errors"
)

// erpAnswer is an answer of the unified endpoint: to a diff or to a sync.
type erpAnswer struct {
	envelope
	entities map[Entity]*erpEntity
	redact   func([]byte) []byte
}

// erpEntity is what it says of one entity's records.
type erpEntity struct {
	bulkAnswer // of a sync
	skipped    int
	diffs      []diffEntry // of a diff
}

// diffEntry is what a diff says of one record.
type diffEntry struct {
	diffRecord
	externalID string
	source     string
}

// entity returns what the answer says of the entity, which may be nothing.
func (a *erpAnswer) entity(e Entity) *erpEntity {
	if found := a.entities[e]; found != nil {
		return found
	}
	none := newERPEntity()
	none.listed = true // an empty list, which mentions nobody
	return none
}

func newERPEntity() *erpEntity {
	return &erpEntity{bulkAnswer: bulkAnswer{total: -1, created: -1, updated: -1, failed: -1}, skipped: -1}
}

// readERP reads such an answer leniently: what is odd in one entry spoils that
// entry alone. The answer is never nil.
func readERP(body []byte, redact func([]byte) []byte) (*erpAnswer, error) {
	a := &erpAnswer{entities: make(map[Entity]*erpEntity, 3), redact: redact}
	told := false
	err := readMembers(body, &a.envelope, func(d *answerReader) {
		d.object(func(name string) {
			if name != "entities" {
				d.value()
				return
			}
			told = d.dec.PeekKind() == '{'
			d.object(func(name string) { a.readEntity(d, name) })
		})
	})
	if err == nil && a.succeeded() && !told {
		err = errors.New("a success without data.entities")
	}
	return a, err
}

func (a *erpAnswer) readEntity(d *answerReader, name string) {
	e := newERPEntity()
	d.object(func(name string) {
		switch name {
		case "skipped":
			e.skipped = d.count()
		case "records":
			d.array(func() { e.diffs = append(e.diffs, a.readDiff(d)) })
		default:
			e.readData(d, name)
		}
	})
	e.strike(a.redact)
	a.entities[Entity(name)] = e
}

func (a *erpAnswer) readDiff(d *answerReader) diffEntry {
	text := func() string { return string(a.redact(d.text())) }
	var e diffEntry
	d.object(func(name string) {
		switch name {
		case "external_id":
			e.externalID = string(d.text())
		case "external_source":
			e.source = string(d.text())
		case "status":
			e.status = DiffStatus(text())
		case "existing_id":
			e.id = string(d.text())
		case "error":
			e.message = text()
		case "changes":
			if d.dec.PeekKind() != '[' {
				if raw := d.value(); string(raw) != "null" {
					e.changes = []string{string(a.redact(bytes.Clone(raw)))}
				}
				return
			}
			d.array(func() {
				raw := []byte(nil)
				if d.dec.PeekKind() == '"' {
					raw = d.text()
				} else {
					raw = bytes.Clone(d.value())
				}
				e.changes = append(e.changes, string(a.redact(raw)))
			})
		default:
			d.value()
		}
	})
	return e
}
