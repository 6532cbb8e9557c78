package eryxon

import (
	"context"
	"fmt"
	"net/http"
)

// Bounds of one question about keys. The server puts all external ids of a
// request into a URL of its own; where a gateway cuts that short, rows that
// exist look as if they did not.
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
}

// exists reports that a row of the key is known to exist.
func (r *diffRecord) exists() bool { return r.status == DiffUpdate || r.status == DiffUnchanged }

// diffKeys asks which of the keys have a row, without changing anything. Every
// key of the input is in the map; one that the answer omits, repeats or
// contradicts is DiffUnknown there. The keys' sources may differ: each request
// has one. The result is the last request's, with the attempts and waits of all
// of them; it is nil where there was none to make. On an error the map holds
// what was learned before it.
//
// Two things it can't tell. Of resources, "create" proves nothing: a database
// whose table lacks a column that the question itself uses says it of all. And
// the content is not compared, so "update" and "unchanged" mean the same.
func (co *core) diffKeys(ctx context.Context, cfg *config, entity Entity, keys []Key) (map[Key]diffRecord, *result, error) {
	found := make(map[Key]diffRecord, len(keys))
	var bySource map[string][]string
	var sources []string
	for _, k := range keys {
		if _, ok := found[k]; ok {
			continue
		}
		found[k] = diffRecord{doubt: "nothing was asked about it"}
		if bySource == nil {
			bySource = make(map[string][]string, 1)
		}
		if _, ok := bySource[k.Source]; !ok {
			sources = append(sources, k.Source)
		}
		bySource[k.Source] = append(bySource[k.Source], k.ExternalID)
	}
	var total *result
	for _, source := range sources {
		for ids := bySource[source]; len(ids) > 0; {
			n := askable(ids)
			answers, out := co.diffSome(ctx, cfg, entity, source, ids[:n])
			if total != nil {
				out.attempts += total.attempts
				out.waited += total.waited
			}
			total = out
			if out.err != nil {
				return found, total, out.err
			}
			for i, id := range ids[:n] {
				found[Key{Source: source, ExternalID: id}] = answers[i]
			}
			ids = ids[n:]
		}
	}
	return found, total, nil
}

// askable is how many of the external ids one request may ask about.
func askable(ids []string) int {
	room := maxDiffURL
	for i, id := range ids[:min(len(ids), maxDiffKeys)] {
		room -= len(`%2C`)
		for _, c := range []byte(id) {
			room--
			if c < '0' || c > 'z' || c > '9' && c < 'A' || c > 'Z' && c < 'a' {
				room -= 2
			}
		}
		if room < 0 && i > 0 {
			return i
		}
	}
	return min(len(ids), maxDiffKeys)
}

func (co *core) diffSome(ctx context.Context, cfg *config, entity Entity, source string, ids []string) ([]diffRecord, *result) {
	body := append(append([]byte(`{"`), entity...), `":[`...)
	want := make([]Key, len(ids))
	for i, id := range ids {
		if i > 0 {
			body = append(body, ',')
		}
		want[i] = Key{Source: source, ExternalID: id}
		body = appendProbe(body, entity, want[i])
	}
	body = append(body, "]}"...)
	var answer *erpAnswer
	cl := call{method: http.MethodPost, path: erpDiffPath, body: body, records: len(ids), repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			var err error
			answer, err = readERP(body, co.redact)
			return &answer.envelope, err
		}}
	out := co.do(ctx, cfg, &cl)
	if out.fate != fateAnswered {
		return nil, out
	}
	return matchDiff(want, answer.entity(entity)), out
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
