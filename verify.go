package eryxon

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// deliverUpdates updates rows that exist, of the given ids, by bulk, and reads
// the rows back: a failed update is counted like any other. What the rows do not
// show is synced singly.
func (d *delivery[R, P]) deliverUpdates(list []*sentRecord[R], ids map[Key]string, ambiguous bool) {
	for len(list) > 0 {
		if d.done.end != nil {
			d.settleUnsent(list, ambiguous)
			return
		}
		n := d.fitting(list)
		d.updateAndLook(list[:n], ids, ambiguous)
		list = list[n:]
	}
}

func (d *delivery[R, P]) updateAndLook(list []*sentRecord[R], ids map[Key]string, ambiguous bool) {
	out, answer := d.send(list, ambiguous)
	switch {
	case out.fate == fateAnswered:
	case len(list) > 1 && d.tooLarge(list, out):
		d.deliverUpdates(list, ids, out.mayHaveWritten())
		return
	default:
		d.settleFailed(list, out)
		return
	}
	list = d.settleListed(list, out, answer)
	rows, err := d.recentRows(len(list))
	status := StatusUpdated
	if ambiguous || out.ambiguous {
		status = StatusSynced
	}
	var unseen []*sentRecord[R]
	for _, s := range list {
		if row := rows[ids[s.key]]; row != nil && shows(row, d.c.json(s)) {
			d.arrive(s, out, status, ids[s.key])
		} else {
			unseen = append(unseen, s)
		}
	}
	few := min(len(unseen), fewRecords)
	d.deliverSingly(unseen[:few], true)
	if err == nil {
		err = errors.New("the list of rows does not show what was sent")
	}
	d.doubt(unseen[few:], out, err)
}

// recentRows lists the rows that were changed last, by id: after an update of n
// rows those n come first.
func (d *delivery[R, P]) recentRows(n int) (map[string]map[string]json.RawMessage, error) {
	if n == 0 {
		return nil, nil
	}
	query := url.Values{"sort": {"updated_at"}, "order": {"desc"}, "limit": {strconv.Itoa(maxRecords)}}
	var list []map[string]json.RawMessage
	cl := call{method: http.MethodGet, path: "/api-" + string(d.c.entity) + "?" + query.Encode(), repeatable: true, wire: d.e.flight.wire,
		decode: func(body []byte) (*envelope, error) {
			env, err := readEnvelope(body)
			if err == nil && env.succeeded() {
				var page map[string]json.RawMessage
				if env.decodeData(&list) != nil && env.decodeData(&page) == nil {
					err = json.Unmarshal(page[string(d.c.entity)], &list)
				}
			}
			return &env, err
		}}
	out := d.e.co.do(d.e.flight.goOn, d.e.cfg, &cl)
	d.count(out, 0)
	rows := make(map[string]map[string]json.RawMessage, len(list))
	for _, row := range list {
		var id string
		if json.Unmarshal(row["id"], &id) == nil {
			rows[id] = row
		}
	}
	return rows, out.err
}

// shows reports whether a row holds everything that a record, as it was sent,
// says.
func shows(row map[string]json.RawMessage, sent []byte) bool {
	var want map[string]json.RawMessage
	if json.Unmarshal(sent, &want) != nil {
		return false
	}
	for name, value := range want {
		if name == "external_id" || name == "external_source" {
			continue
		}
		got, ok := row[name]
		if carrier, isLink := strings.CutSuffix(name, "_id"); !ok && isLink {
			var linked map[string]json.RawMessage
			ok = json.Unmarshal(row[carrier], &linked) == nil
			got = linked["id"]
		}
		if !ok || !sameValue(value, got) {
			return false
		}
	}
	return true
}

// sameValue compares JSON values as the database stores them: numbers by
// value, days as the moment that they begin.
func sameValue(want, got []byte) bool {
	if bytes.Equal(want, got) {
		return true
	}
	var a, b any
	if json.Unmarshal(want, &a) != nil || json.Unmarshal(got, &b) != nil {
		return false
	}
	switch a := a.(type) {
	case string:
		text, ok := b.(string)
		return ok && (text == a || len(a) == len("2006-01-02") && text == a+"T00:00:00+00:00")
	case float64, bool, nil:
		return a == b
	}
	return false
}
