package eryxon

import (
	"fmt"
	"strings"
)

// trusted tells how far the list of results agrees with the counts beside it.
type trusted struct{ created, updated, any bool }

// consistency holds the counts against the list and what was found in it. They
// may differ by what the list omits, repeats and invents, but by no more: a
// server that forgets one record does not make the others doubtful.
func (a *bulkAnswer) consistency(found []finding) trusted {
	var created, updated, failed int // as listed
	for i := range a.entries {
		switch a.entries[i].action {
		case "created":
			created++
		case "updated":
			updated++
		case "error", "failed":
			failed++
		}
	}
	var proven [statusCount]int
	unsure := 0
	for i := range found {
		if f := &found[i]; f.seen && f.doubtful == "" {
			proven[f.status]++
		} else {
			unsure++
		}
	}
	t := trusted{
		created: a.created < 0 || a.created >= proven[StatusCreated] && a.created <= created+unsure,
		updated: a.updated < 0 || a.updated >= proven[StatusUpdated] && a.updated <= updated+unsure,
		any:     a.total < 0 || a.total == len(found) || a.total == len(a.entries),
	}
	// More failures than the list tells, though it tells of every record.
	if a.failed > failed && len(a.entries) >= len(found) {
		t.any = false
	}
	return t
}

// finding is what an answer proves about one record of a chunk.
type finding struct {
	status   Status
	id       string
	seen     bool // an entry spoke of it
	code     string
	message  string
	details  []FieldError
	doubtful string // why an entry proves nothing
}

// wasThere reports a success that may have been an update.
func (f *finding) wasThere() bool { return f.status == StatusUpdated || f.status == StatusSynced }

// reconcile holds an answer against what was sent, record by record. A record
// that the answer omits, repeats or contradicts is unknown; so is every record
// of an answer that gives only counts.
func reconcile[R any](sent []*sentRecord[R], a *bulkAnswer, ambiguous bool) []finding {
	found := make([]finding, len(sent))
	ids := sharedText(a.entries)
	var places map[string]int
	for i := range a.entries {
		e := &a.entries[i]
		id := ids.next(e.id)
		at := i
		if i >= len(sent) || sent[i].key.ExternalID != string(e.externalID) {
			// Not in the order sent.
			if places == nil {
				places = make(map[string]int, len(sent))
				for place, s := range sent {
					places[s.key.ExternalID] = place
				}
			}
			place, ok := places[string(e.externalID)]
			if !ok {
				continue // invented, or named too badly to be found
			}
			at = place
		}
		f := &found[at]
		if f.seen {
			f.status, f.doubtful = StatusUnknown, "the answer speaks of it more than once"
			continue
		}
		f.seen, f.code, f.message, f.details = true, e.code, e.message, e.details
		f.id = id
		f.status = actionStatus(e.action)
		switch {
		case e.source != nil && string(e.source) != sent[at].key.Source:
			f.status, f.doubtful = StatusUnknown, "the answer gives it another source"
		case e.action == "error" || e.action == "failed":
			f.status = StatusFailed
		case f.status == StatusUnknown:
			f.doubtful = fmt.Sprintf("the answer's action is %.40q", e.action)
		case e.told():
			f.status, f.doubtful = StatusUnknown, "the answer says "+e.action+" and gives an error"
		}
	}
	trust := a.consistency(found)
	for i := range found {
		switch f := &found[i]; {
		case !f.seen && !a.listed:
			f.doubtful = "the answer gives counts only, which prove nothing about a record"
		case !f.seen:
			f.doubtful = "the answer does not mention it"
		case f.status.Success() && !trust.any, f.status == StatusCreated && !trust.created, f.status == StatusUpdated && !trust.updated:
			f.status, f.doubtful = StatusUnknown, "the answer's counts contradict its list of results"
		default:
			f.status = afterAmbiguous(f.status, ambiguous)
		}
	}
	return found
}

// idText hands out the ids of an answer as parts of one string.
type idText struct{ rest string }

func sharedText(entries []bulkEntry) *idText {
	size := 0
	for i := range entries {
		size += len(entries[i].id)
	}
	var all strings.Builder
	all.Grow(size)
	for i := range entries {
		all.Write(entries[i].id)
	}
	return &idText{rest: all.String()}
}

// next returns the id of the next entry.
func (t *idText) next(id []byte) string {
	s := t.rest[:len(id)]
	t.rest = t.rest[len(id):]
	return s
}
