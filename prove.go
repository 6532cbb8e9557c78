package eryxon

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// This file proves what a bulk has done that is answered by counts. With a row
// the server keeps a hash of the record that it was last synced with, and the
// unified endpoint tells whether a record has that hash: asked before and after
// the bulk, it tells whether the bulk was written.
//
// A bulk's hash is over the fields as they were sent, the endpoint's over sorted
// ones. So a record goes out sorted, and its hash is found afterwards; but where
// it was found before, out of order, and its hash is not found any more.

// doubtRequests is how many requests a chunk may take to find out what became
// of records that a bulk has not, or not provably, written.
const doubtRequests = 20

// take is how many of n requests are left to find out what became of records.
func (d *delivery[R, P]) take(n int) int {
	n = min(n, d.doubts)
	d.doubts -= n
	return n
}

// deliverProven delivers records that the unified endpoint can't carry.
func (d *delivery[R, P]) deliverProven(list []*sentRecord[R], ambiguous bool) {
	if list = d.withoutAbsent(list, ambiguous); len(list) == 0 {
		return
	}
	if d.done.end != nil {
		d.settleUnsent(list, ambiguous)
		return
	}
	if len(list) <= singleRecords {
		d.deliverSingly(list, ambiguous)
		return
	}
	odd, list := partition(list, func(s *sentRecord[R]) bool { return !lookable(s.key.ExternalID) })
	few := d.take(len(odd))
	d.deliverSingly(odd[:few], ambiguous)
	d.deliverBlindly(odd[few:], ambiguous)
	canary := 0
	if d.c.entity == EntityResources {
		// A row that is known to be there shows whether the endpoint finds any.
		for canary < min(singleRecords, len(list)) && !d.e.co.findsRows(d.c.entity) && d.e.co.asksRows(d.c.entity) {
			d.deliverSingly(list[canary:canary+1], ambiguous)
			canary++
			_, _ = d.ask(list[canary-1:canary], true) // what it does not show is not known
		}
		if lack := d.lack(); lack != nil {
			d.refuse(list[canary:], lack)
			return
		}
		list = list[canary:]
	}
	open, told := partition(list, func(s *sentRecord[R]) bool { return s.before.status == DiffUnknown })
	var out *result
	err := error(nil)
	if d.e.co.asksRows(d.c.entity) {
		out, err = d.ask(open, false)
	}
	switch {
	case !d.e.co.asksRows(d.c.entity), d.c.entity == EntityResources && !d.e.co.findsRows(d.c.entity):
		d.deliverBlindly(list, ambiguous)
		return
	case err != nil:
		d.undeliver(open, out, err, ambiguous)
		list = told
	}
	for len(list) > 0 {
		n := d.fitting(list)
		d.prove(list[:n], ambiguous)
		list = list[n:]
	}
}

// ask asks the unified endpoint about records as they are sent.
func (d *delivery[R, P]) ask(list []*sentRecord[R], expected bool) (*result, error) {
	if len(list) == 0 || d.done.end != nil {
		return nil, d.done.end
	}
	questions := make([]question, len(list))
	for i, s := range list {
		questions[i] = question{s.key, d.c.json(s)}
	}
	found, out, err := d.e.co.diff(d.e.flight.goOn, d.e.cfg, d.c.entity, questions, expected)
	for _, s := range list {
		s.before = found[s.key]
		if s.before.exists() {
			d.dialect().remember(d.c.entity, s.key, s.before.id)
		}
	}
	return out, err
}

// prove sends records, of which it is known what the endpoint says of them, and
// asks again.
func (d *delivery[R, P]) prove(list []*sentRecord[R], ambiguous bool) {
	if d.done.end != nil {
		d.settleUnsent(list, ambiguous)
		return
	}
	before := make(map[Key]diffRecord, len(list))
	for _, s := range list {
		if s.before.status == DiffCreate {
			d.asNew(s)
		}
		before[s.key] = s.before
		s.own = inOrder(d.c.json(s), s.before.status != DiffUnchanged)
	}
	were := d.listBlind(list, singleRecords)
	out, answer := d.send(list, ambiguous)
	switch {
	case out.fate == fateAnswered:
	case len(list) > 1 && d.tooLarge(list, out):
		for _, s := range list {
			s.before = diffRecord{}
		}
		d.deliverProven(list, ambiguous || out.mayHaveWritten())
		return
	default:
		d.settleFailed(list, out)
		return
	}
	list = d.settleListed(list, out, answer)
	fresh, _ := partition(list, func(s *sentRecord[R]) bool { return s.before.status == DiffCreate })
	raced := !ambiguous && !out.ambiguous && answer.counted() && answer.created < len(fresh)
	_, err := d.ask(list, true)
	page := d.listBlind(list, 0)
	var lost, refused, unproven []*sentRecord[R]
	for _, s := range list {
		was, is := before[s.key], s.before
		status := StatusUpdated
		switch {
		case ambiguous, out.ambiguous && !was.exists():
			status = StatusSynced
		case was.status == DiffCreate:
			status = StatusCreated
		}
		switch {
		case s.isNew && raced: // which of them it were is not told
			d.strange(s, out, is.id)
		case was.exists() && is.exists() && was.id != is.id:
			unproven = append(unproven, s)
		case was.status == DiffCreate && is.blind:
			d.arrive(s, out, status, d.idOf(s, page))
		case was.blind && d.written(s, were, page) != "":
			d.arrive(s, out, status, d.idOf(s, page))
		case was.status == DiffUnchanged && is.status == DiffUpdate,
			(was.status == DiffUpdate || was.status == DiffCreate) && is.status == DiffUnchanged:
			d.arrive(s, out, status, is.id)
		case err == nil && was.status == DiffCreate && is.status == DiffCreate:
			lost = append(lost, s)
		case was.status == DiffUpdate && is.status == DiffUpdate && !is.blind:
			refused = append(refused, s)
		default:
			unproven = append(unproven, s)
		}
	}
	d.knownLost = true
	d.giveReason(lost, out, nil)
	d.knownLost = false
	d.giveReason(refused, out, nil)
	if err == nil {
		err = errUpdateUntold
	}
	d.giveReason(unproven, out, err)
}

// noteNumbers remembers which job has which number, where nothing but the number
// tells the rows of jobs apart.
func (d *delivery[R, P]) noteNumbers(list []*sentRecord[R]) {
	if d.c.entity != EntityJobs || d.e.co.findsRows(EntityJobs) {
		return
	}
	for _, s := range list {
		if j, ok := any(P(&s.record)).(*Job); ok {
			d.dialect().sawNumber(j.JobNumber, s.key)
		}
	}
}

// sawNumber remembers a job's number, in a few bytes, and which job has it: none where
// two have had it.
func (d *dialect) sawNumber(number string, job Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.numbers == nil {
		d.numbers, d.numberSeed = make(map[uint64]uint64), maphash.MakeSeed()
	}
	at, is := maphash.String(d.numberSeed, number), maphash.Comparable(d.numberSeed, job)
	switch was, seen := d.numbers[at]; {
	case seen && was != is:
		d.numbers[at] = 0
	case !seen && len(d.numbers) < knownIDs:
		d.numbers[at] = is
	}
}

// isNumberOf reports whether the job has the number and no other has had it.
func (d *dialect) isNumberOf(number string, job Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.numbers != nil && d.numbers[maphash.String(d.numberSeed, number)] == maphash.Comparable(d.numberSeed, job)
}

// lookPages is up to how many pages of a list are read to find rows.
const lookPages = 5

// recentRows lists rows, those that were changed last first where the server
// sorts so, and returns the wanted ones by id. It reads on while more are
// missing than single syncs would find at the same price.
func (d *delivery[R, P]) recentRows(e Entity, wanted map[string]bool) (map[string]map[string]json.RawMessage, error) {
	rows := make(map[string]map[string]json.RawMessage, len(wanted))
	for page := range lookPages {
		if len(rows) == len(wanted) || page > 0 && len(wanted)-len(rows) <= singleRecords {
			break
		}
		list, err := d.listPage(e, page*maxRecords)
		if err != nil && page == 0 {
			return nil, err
		}
		more := len(list) == maxRecords
		if e == EntityOperations {
			list = operationsOf(list)
		}
		for _, row := range list {
			var id string
			if json.Unmarshal(row["id"], &id) == nil && wanted[id] {
				rows[id] = row
			}
		}
		if !more {
			break // the last, or one beyond it, which servers refuse
		}
	}
	return rows, nil
}

// operationsOf are the operations that filling servers show with their parts, and nowhere
// else: id, name, status and cell.
func operationsOf(parts []map[string]json.RawMessage) (ops []map[string]json.RawMessage) {
	for _, part := range parts {
		var own []map[string]json.RawMessage
		if json.Unmarshal(part[string(EntityOperations)], &own) == nil {
			ops = append(ops, own...)
		}
	}
	return ops
}

// listPage reads a page of an entity's rows; of operations, of the parts.
func (d *delivery[R, P]) listPage(e Entity, offset int) ([]map[string]json.RawMessage, error) {
	query := url.Values{"sort": {"updated_at"}, "order": {"desc"}, "limit": {strconv.Itoa(maxRecords)}}
	if offset > 0 {
		query.Set("offset", strconv.Itoa(offset))
	}
	if e == EntityOperations {
		e = EntityParts
	}
	var list []map[string]json.RawMessage
	cl := call{method: http.MethodGet, path: e.path() + "?" + query.Encode(), repeatable: true, wire: d.e.flight.wire,
		decode: func(body []byte) (*envelope, error) {
			env, err := readEnvelope(body)
			if err == nil && env.succeeded() {
				var page map[string]json.RawMessage
				if env.decodeData(&list) != nil && env.decodeData(&page) == nil {
					err = json.Unmarshal(page[string(e)], &list)
				}
			}
			return &env, err
		}}
	out := d.e.co.do(d.e.flight.goOn, d.e.cfg, &cl)
	d.count(out, 0)
	return list, out.err
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

// listedRow is a row as a list shows it.
type listedRow map[string]json.RawMessage

func (row listedRow) text(column string) (v string) {
	_ = json.Unmarshal(row[column], &v) // what is no text is none
	return v
}

// jobPage is the jobs that were changed last, by id and by number, of which no two
// have the same.
type jobPage struct {
	byID, byNumber map[string]listedRow
}

// listBlind lists jobs, where there are more than a few of which the endpoint tells
// that they are there, and not what they hold; nil where it can't.
func (d *delivery[R, P]) listBlind(list []*sentRecord[R], few int) *jobPage {
	blind, _ := partition(list, func(s *sentRecord[R]) bool { return s.before.blind })
	if len(blind) <= few {
		return nil
	}
	rows, err := d.listPage(d.c.entity, 0)
	if err != nil {
		return nil
	}
	page := &jobPage{make(map[string]listedRow, len(rows)), make(map[string]listedRow, len(rows))}
	for _, row := range rows {
		r := listedRow(row)
		page.byID[r.text("id")], page.byNumber[r.text("job_number")] = r, r
	}
	return page
}

// idOf is the id of the row with the job's number, where the page shows it and no
// other record that was sent has had the number.
func (d *delivery[R, P]) idOf(s *sentRecord[R], page *jobPage) string {
	j, ok := any(P(&s.record)).(*Job)
	if !ok || page == nil || !d.dialect().isNumberOf(j.JobNumber, s.key) {
		return ""
	}
	return page.byNumber[j.JobNumber].text("id")
}

// written returns the id of the row with the job's number, if it holds all that was
// sent and did not before: another job's that has the number was not written.
func (d *delivery[R, P]) written(s *sentRecord[R], before, after *jobPage) string {
	id := d.idOf(s, after)
	if id == "" || before == nil || before.byID[id] == nil || !after.byID[id].holds(d.c.json(s)) || before.byID[id].holds(d.c.json(s)) {
		return ""
	}
	return id
}

// holds reports whether a row has all the fields that were sent, but for its key,
// which no list shows.
func (row listedRow) holds(sent []byte) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(sent, &fields) != nil {
		return false
	}
	delete(fields, "external_id")
	delete(fields, "external_source")
	for name, want := range fields {
		if got, shown := row[name]; !shown || !sameValue(want, got) {
			return false
		}
	}
	return true
}

var errUpdateUntold = errors.New("an update that fails is counted like any other")

// giveReason settles records that a bulk has not written, as far as can be told:
// single syncs give the reason, which those share that there are no requests for.
func (d *delivery[R, P]) giveReason(list []*sentRecord[R], out *result, cause error) {
	few := d.take(len(list))
	first := len(d.done.outcomes)
	d.deliverSingly(list[:few], true)
	rest := list[few:]
	if len(rest) == 0 {
		return
	}
	if refused := sharedRefusal(d.done.outcomes[first:]); refused != nil && cause == nil {
		d.shareRefusal(rest, refused)
		return
	}
	if cause == nil {
		cause = errors.New("single syncs of some showed no reason that all share")
	}
	d.doubt(rest, out, cause)
}

// deliverBlindly delivers records of which the unified endpoint tells nothing:
// that they are new can be proven by the same bulk once more, an update by
// single syncs only.
func (d *delivery[R, P]) deliverBlindly(list []*sentRecord[R], ambiguous bool) {
	for len(list) > 0 {
		n := d.fitting(list)
		d.twice(list[:n], ambiguous)
		list = list[n:]
	}
}

// inOrder sorts the fields of a JSON object as the unified endpoint does for
// its hash, or puts them into another order.
func inOrder(object []byte, sorted bool) []byte {
	v := jsontext.Value(bytes.Clone(object))
	if v.Format(jsontext.ReorderRawObjects(true)) != nil || sorted {
		return v
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	for range 2 { // the brace and the first name
		if _, err := dec.ReadToken(); err != nil {
			return v
		}
	}
	if dec.SkipValue() != nil {
		return v
	}
	first, rest := v[1:dec.InputOffset()], v[dec.InputOffset():len(v)-1]
	if len(rest) == 0 {
		return v
	}
	moved := append(make([]byte, 0, len(v)), '{')
	moved = append(append(moved, rest[1:]...), ',')
	return append(append(moved, first...), '}')
}
