package eryxon

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
)

// Bounds of one question about keys. The server puts all external ids of a
// request into a URL of its own; where a gateway cuts that short, rows that
// exist look as if they did not. A longer one is trusted once it has shown rows.
const (
	maxDiffKeys = 500
	maxDiffURL  = 6000 // bytes that the external ids take in it
)

// DiffStatus is what the server says a sync would do with a record.
type DiffStatus string

// What a diff says of a record.
const (
	DiffUnknown   DiffStatus = ""          // the answer tells nothing that can be trusted
	DiffCreate    DiffStatus = "create"    // there is no row of that key
	DiffUpdate    DiffStatus = "update"    // there is a row
	DiffUnchanged DiffStatus = "unchanged" // there is a row, and it was synced with this content
	DiffError     DiffStatus = "error"     // the record would fail
)

// diffRecord is what a diff says of one record.
type diffRecord struct {
	status  DiffStatus
	id      string // of the row that exists, where it was told
	changes []string
	message string // the server's, of an error
	doubt   string // why the status is unknown
	blind   bool   // there is a row, but it was not compared, and its id can't be told
}

// disbelieve makes nothing of an answer that there is no row, unless something
// else has borne it out.
func (r *diffRecord) disbelieve(e Entity) {
	if r.status == DiffCreate && e != EntityJobs {
		*r = diffRecord{doubt: "the server finds no row of any key asked about, which it also does where its database lacks a column"}
	}
}

// asParent corrects what is said of a job by what is said of a part that names
// it as its own: for that the server looks for no column that may be missing. It
// tells whether there is a row, not which.
func (r *diffRecord) asParent(part diffRecord) {
	missing := part.status == DiffError && understand(part.message).kind == ErrParentNotFound
	switch {
	case r.status != DiffCreate, missing:
	case part.status == DiffCreate, part.exists():
		*r = diffRecord{status: DiffUpdate, blind: true}
	default:
		*r = diffRecord{doubt: cmpOr(part.doubt, "the server neither finds its row nor says that there is none: "+part.message)}
	}
}

// exists reports that a row of the key is known to exist.
func (r *diffRecord) exists() bool { return r.status == DiffUpdate || r.status == DiffUnchanged }

// untold is why nothing tells whether there is a row, or which; "" where it is told.
func (r *diffRecord) untold() string {
	switch {
	case r.status == DiffCreate, r.blind, r.exists() && r.id != "":
		return ""
	case r.exists():
		return "it says that there is one and gives no id"
	default:
		return cmpOr(r.doubt, cmpOr(r.message, "it gives no reason"))
	}
}

// question asks about a key. A record that goes with it is compared with what
// the row was last synced with; without one the least is asked that the server
// looks up.
type question struct {
	key    Key
	record []byte
}

// diffKeys is diff for keys alone: the content is not compared, so "update" and
// "unchanged" mean the same.
func (co *core) diffKeys(ctx context.Context, cfg *config, entity Entity, keys []Key, expected bool) (map[Key]diffRecord, *result, error) {
	questions := make([]question, len(keys))
	for i, k := range keys {
		questions[i].key = k
	}
	return co.diff(ctx, cfg, entity, questions, expected)
}

// diff asks which of the keys have a row, without changing anything. Every
// key of the input is in the map; one that the answer omits, repeats or
// contradicts is DiffUnknown there. The keys' sources may differ: each request
// has one. Rows that are expected are asked about in longer requests. The
// result is the last request's, with the attempts of all of them; it
// is nil where there was none to make. On an error the map holds what was learned
// before it.
//
// That there is no row proves nothing before the server has shown one of the
// entity, or stored one: it also finds none where its database lacks a column that
// it looks for. Jobs are asked about as parents of parts, too, until then.
func (co *core) diff(ctx context.Context, cfg *config, entity Entity, questions []question, expected bool) (map[Key]diffRecord, *result, error) {
	found := make(map[Key]diffRecord, len(questions))
	var bySource map[string][]question
	var sources []string
	for _, q := range questions {
		if _, ok := found[q.key]; ok {
			continue
		}
		if !lookable(q.key.ExternalID) {
			found[q.key] = diffRecord{doubt: "its external id holds a quotation mark or a backslash, which the server's look-up mistakes"}
			continue
		}
		found[q.key] = diffRecord{doubt: "nothing was asked about it"}
		if bySource == nil {
			bySource = make(map[string][]question, 1)
		}
		if _, ok := bySource[q.key.Source]; !ok {
			sources = append(sources, q.key.Source)
		}
		bySource[q.key.Source] = append(bySource[q.key.Source], q)
	}
	d := &co.shared.dialect
	var total *result
	for _, source := range sources {
		for list := bySource[source]; len(list) > 0; {
			n, size := d.askable(list, expected)
			answers, out := co.diffSome(ctx, cfg, entity, list[:n])
			if total != nil {
				out.attempts += total.attempts
			}
			total = out
			if unsupportedUnified(out) {
				mark(d, &d.noDiff, entity, true)
			}
			if out.err != nil {
				return found, total, out.err
			}
			shown := slices.ContainsFunc(answers, func(r diffRecord) bool { return r.exists() && !r.blind })
			if !d.reached(n, size, shown) {
				continue // with fewer keys
			}
			if shown {
				mark(d, &d.finds, entity, true)
			} else if !co.findsRows(entity) {
				for i := range answers {
					answers[i].disbelieve(entity)
				}
			}
			for i, q := range list[:n] {
				found[q.key] = answers[i]
			}
			list = list[n:]
		}
	}
	return found, total, nil
}

// diffReach is how long a URL the server is known to look keys up with.
type diffReach struct {
	proven int  // bytes; a question of that length has shown rows
	short  bool // a longer one has shown none, though they were expected
}

// askable is how many of the keys one request may ask about, and how many bytes
// they take in a URL. Rows that are expected may be asked about at any length,
// until that has failed: their answer shows whether they could be looked up.
func (d *dialect) askable(list []question, expected bool) (n, size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	room, most := max(maxDiffURL, d.reach.proven), maxRecords
	switch {
	case expected && !d.reach.short:
		room = math.MaxInt
	case d.reach.proven <= maxDiffURL:
		most = maxDiffKeys
	}
	for _, q := range list[:min(len(list), most)] {
		more := urlSize(q.key.ExternalID)
		if n > 0 && size+more > room {
			break
		}
		n, size = n+1, size+more
	}
	return n, size
}

// reached learns from an answer whether so many keys, of that many bytes, can be
// looked up at once. It reports whether what the answer says is to be trusted.
func (d *dialect) reached(n, size int, shown bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r := &d.reach; {
	case shown:
		r.proven = max(r.proven, size)
	case n > 1 && size > max(maxDiffURL, r.proven):
		r.short = true
		return false
	}
	return true
}

// looksUpLess reports that a long look-up has failed.
func (d *dialect) looksUpLess() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reach.short
}

// lookable reports whether servers can look the external id up among others:
// they don't escape these characters, so that neither it nor some of those that
// follow it are found. Single syncs find it.
func lookable(id string) bool { return !strings.ContainsAny(id, "\"\\") }

// parentLookable reports whether servers can look up what a record is linked to.
func parentLookable(r any) bool {
	switch r := r.(type) {
	case *Part:
		return r.JobID != "" || lookable(r.JobExternalID)
	case *Operation:
		return (r.PartID != "" || lookable(r.PartExternalID)) && (r.CellID != "" || lookable(r.CellName))
	}
	return true
}

// urlSize is how many bytes an external id takes in a list within a URL.
func urlSize(id string) int {
	size := len(`%2C`)
	for _, c := range []byte(id) {
		size++
		if c < '0' || c > 'z' || c > '9' && c < 'A' || c > 'Z' && c < 'a' {
			size += 2
		}
	}
	return size
}

func (co *core) diffSome(ctx context.Context, cfg *config, entity Entity, list []question) ([]diffRecord, *result) {
	body := append(append([]byte(`{"`), entity...), `":[`...)
	want := make([]Key, len(list))
	for i, q := range list {
		want[i] = q.key
		if i > 0 {
			body = append(body, ',')
		}
		if q.record != nil {
			body = append(body, q.record...)
		} else {
			body = appendProbe(body, entity, q.key)
		}
	}
	asParents := entity == EntityJobs && !co.findsRows(entity)
	if asParents {
		body = append(body, `],"parts":[`...)
		for i, k := range want {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, '{')
			body = appendText(body, `"external_id":`, k.ExternalID)
			body = appendText(body, `"external_source":`, k.Source)
			body = appendText(body, `"part_number":`, "-")
			body = append(appendText(body, `"job_external_id":`, k.ExternalID), '}')
		}
	}
	body = append(body, "]}"...)
	var answer *erpAnswer
	cl := call{method: http.MethodPost, path: erpDiffPath, body: body, records: len(list), repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			var err error
			answer, err = readERP(body, co.redact)
			return &answer.envelope, err
		}}
	out := co.do(ctx, cfg, &cl)
	if out.fate != fateAnswered {
		return nil, out
	}
	found := matchDiff(want, answer.entity(entity))
	if parts := answer.entity(EntityParts); asParents && len(parts.diffs) > 0 {
		for i, part := range matchDiff(want, parts) {
			found[i].asParent(part)
		}
	}
	return found, out
}

// appendProbe appends the least record that the server will look up.
func appendProbe(b []byte, entity Entity, key Key) []byte {
	b = append(b, '{')
	b = appendText(b, `"external_id":`, key.ExternalID)
	b = appendText(b, `"external_source":`, key.Source)
	switch entity {
	case EntityJobs:
		b = appendText(b, `"job_number":`, "-")
	case EntityParts:
		b = appendText(b, `"part_number":`, "-")
		b = appendText(b, `"job_id":`, "-")
	default:
		b = appendText(b, `"name":`, "-")
		b = appendText(b, `"type":`, "-")
	}
	return append(b, '}')
}

// matchDiff holds what an answer says against the keys that were asked about,
// which hold no external id twice.
func matchDiff(want []Key, answer *erpEntity) []diffRecord {
	found := make([]diffRecord, len(want))
	places := make(map[string]int, len(want))
	for i, k := range want {
		places[k.ExternalID] = i
		found[i].doubt = "the answer does not mention it"
	}
	seen := make([]bool, len(want))
	for _, e := range answer.diffs {
		i, ok := places[e.externalID]
		if !ok {
			continue
		}
		r := &found[i]
		switch {
		case seen[i]:
			*r = diffRecord{doubt: "the answer speaks of it more than once"}
			continue
		case e.source != "" && e.source != want[i].Source:
			*r = diffRecord{doubt: "the answer gives it another source"}
		case e.status == DiffCreate && e.id != "":
			*r = diffRecord{doubt: "the answer says that there is no row, and gives the row's id"}
		case e.status != DiffError && e.message != "":
			*r = diffRecord{doubt: fmt.Sprintf("the answer says %.40q and gives an error", string(e.status))}
		case e.status == DiffCreate, e.status == DiffUpdate, e.status == DiffUnchanged, e.status == DiffError:
			*r = e.diffRecord
		default:
			*r = diffRecord{doubt: fmt.Sprintf("the answer's status is %.40q", string(e.status))}
		}
		seen[i] = true
	}
	return found
}
