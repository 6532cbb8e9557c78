package eryxon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxRecords is the documented limit of records in a bulk request.
const maxRecords = 1000

// chunk is the records of one bulk request. Servers answer by external id
// alone, so a chunk never holds the same one twice, not even of two sources.
type chunk[R any] struct {
	entity Entity
	sent   []sentRecord[R]
	body   []byte         // the records' JSON, one after the other
	ids    map[string]int // places in sent by external id
	dead   int            // superseded records
	nested map[entityKey]struct{}
}

// sentRecord is a record as it went into a chunk.
type sentRecord[R any] struct {
	record     R
	key        Key
	index      int // in the input
	start, end int // of its JSON in the chunk's body
	nested     []Outcome
	superseded bool
	own        []byte // its JSON where that is not the chunk's
}

// entityKey is a key within the installation.
type entityKey struct {
	entity Entity
	key    Key
}

func newChunk[R any](e Entity) *chunk[R] {
	return &chunk[R]{entity: e, ids: make(map[string]int)}
}

// reset empties the chunk for other records. Nothing refers to its memory any
// more: requests and outcomes hold copies.
func (c *chunk[R]) reset() {
	clear(c.sent)
	clear(c.ids)
	c.sent, c.body, c.dead, c.nested = c.sent[:0], c.body[:0], 0, nil
}

// add encodes a record into the chunk, unless that would take the request over
// maxBytes. On an error, or where it returns false, the chunk is as before.
func add[R any, P recordPtr[R]](c *chunk[R], r P, key Key, index int, source string, maxBytes int) (bool, error) {
	start := len(c.body)
	body, err := r.appendJSON(c.body, source)
	c.body = body
	if err != nil || requestSize(c.entity, len(body), len(c.sent)+1) > maxBytes {
		c.body = c.body[:start]
		return false, err
	}
	c.ids[key.ExternalID] = len(c.sent)
	c.sent = append(c.sent, sentRecord[R]{record: *r, key: key, index: index, start: start, end: len(body), nested: r.nested(source)})
	for _, n := range c.sent[len(c.sent)-1].nested {
		if c.nested == nil {
			c.nested = make(map[entityKey]struct{})
		}
		c.nested[entityKey{n.Entity, n.Key}] = struct{}{}
	}
	return true, nil
}

// requestSize is the exact size in bytes of a request of n records whose JSON
// takes the given number of bytes.
func requestSize(e Entity, bytes, n int) int {
	return len(`{"":[]}`) + len(e) + bytes + max(0, n-1)
}

// live lists the records that are to be sent.
func (c *chunk[R]) live() []*sentRecord[R] {
	list := make([]*sentRecord[R], 0, len(c.sent))
	for i := range c.sent {
		if !c.sent[i].superseded {
			list = append(list, &c.sent[i])
		}
	}
	return list
}

// json returns the record as it is sent.
func (c *chunk[R]) json(s *sentRecord[R]) []byte {
	if s.own != nil {
		return s.own
	}
	return c.body[s.start:s.end]
}

// request returns the body of a bulk request of some of the records.
func (c *chunk[R]) request(list []*sentRecord[R]) []byte {
	size := 0
	for _, s := range list {
		size += len(c.json(s))
	}
	b := make([]byte, 0, requestSize(c.entity, size, len(list)))
	b = append(append(append(b, `{"`...), c.entity...), `":`...)
	return append(c.appendArray(b, list), '}')
}

// appendArray appends some of the records as a JSON array.
func (c *chunk[R]) appendArray(b []byte, list []*sentRecord[R]) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, c.json(s)...)
	}
	return append(b, ']')
}

// holds and each make the chunk a keyHolder.
func (c *chunk[R]) holds(k entityKey) bool {
	if k.entity == c.entity {
		if at, ok := c.ids[k.key.ExternalID]; ok && c.sent[at].key == k.key {
			return true
		}
	}
	_, ok := c.nested[k]
	return ok
}

func (c *chunk[R]) each(yield func(entityKey) bool) {
	for i := range c.sent {
		if !yield(entityKey{c.entity, c.sent[i].key}) {
			return
		}
	}
	for k := range c.nested {
		if !yield(k) {
			return
		}
	}
}

// bulkAnswer is the answer to a bulk sync in any of the shapes seen. Its
// entries hold views of the body that it was read from.
type bulkAnswer struct {
	envelope
	hasData bool
	// Counts, -1 where the answer does not give them.
	total, created, updated, failed int
	listed                          bool // a list of results came, not counts alone
	entries                         []bulkEntry
}

// bulkEntry is what an answer says of one record.
type bulkEntry struct {
	externalID []byte // nil where it names none
	source     []byte // nil where it names none
	id         []byte
	action     string
	message    string
	details    []FieldError
}

// readBulk reads a bulk answer: the documented one with its list of results,
// or the one with counts and a list of errors. It is lenient: what is odd in
// one entry spoils that entry alone.
func readBulk(body []byte) (*bulkAnswer, error) {
	a := &bulkAnswer{total: -1, created: -1, updated: -1, failed: -1}
	d := answerReader{
		body: body,
		dec: jsontext.NewDecoder(bytes.NewBuffer(body),
			jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
	}
	d.object(func(name string) {
		switch name {
		case "success":
			if raw := d.value(); string(raw) == "true" || string(raw) == "false" {
				success := string(raw) == "true"
				a.success = &success
			}
		case "error":
			a.readError(d.value())
		case "data":
			a.hasData = d.dec.PeekKind() == '{'
			d.object(func(name string) { a.readData(&d, name) })
		default:
			d.value()
		}
	})
	if d.err == nil {
		if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
			d.err = errors.New("more than one JSON value")
		}
	}
	switch {
	case d.err != nil:
		return a, d.err
	case a.succeeded() && !a.hasData:
		return a, errors.New("a success without data")
	}
	return a, nil
}

func (a *bulkAnswer) readData(d *answerReader, name string) {
	switch name {
	case "total":
		a.total = d.count()
	case "created":
		a.created = d.count()
	case "updated":
		a.updated = d.count()
	case "errors", "failed":
		// A list of errors stands where the documentation has their number.
		if d.dec.PeekKind() == '[' {
			d.array(func() { a.readEntry(d, "error") })
			return
		}
		a.failed = d.count()
	case "results":
		if d.dec.PeekKind() == '{' {
			d.object(func(name string) { a.readData(d, name) })
			return
		}
		a.listed = d.dec.PeekKind() == '['
		d.array(func() { a.readEntry(d, "") })
	default:
		d.value()
	}
}

func (a *bulkAnswer) readEntry(d *answerReader, action string) {
	e := bulkEntry{action: action}
	d.object(func(name string) {
		switch name {
		case "external_id":
			e.externalID = d.text()
		case "external_source":
			e.source = d.text()
		case "id":
			e.id = d.text()
		case "action":
			e.action = internAction(d.text())
		case "error":
			if d.dec.PeekKind() == '[' {
				e.details = readDetails(d.value())
				return
			}
			e.message = string(d.text())
		case "item":
			d.object(func(name string) {
				switch name {
				case "external_id":
					e.externalID = d.text()
				case "external_source":
					e.source = d.text()
				default:
					d.value()
				}
			})
		default:
			d.value()
		}
	})
	a.entries = append(a.entries, e)
}

// strike removes the key from what errors may repeat.
func (a *bulkAnswer) strike(redact func([]byte) []byte) {
	for i := range a.entries {
		e := &a.entries[i]
		if e.message != "" {
			e.message = string(redact([]byte(e.message)))
		}
		if actionStatus(e.action) == StatusUnknown {
			e.action = string(redact([]byte(e.action)))
		}
		redactDetails(e.details, redact)
	}
}

// internAction saves an allocation for the actions that servers use.
func internAction(b []byte) string {
	switch string(b) {
	case "created":
		return "created"
	case "updated":
		return "updated"
	case "error":
		return "error"
	}
	return string(b)
}

// answerReader walks over an answer. After an error it reads nothing more.
type answerReader struct {
	body []byte
	dec  *jsontext.Decoder
	err  error
}

// value reads any value. It is a view of the body.
func (d *answerReader) value() []byte {
	if d.err != nil {
		return nil
	}
	v, err := d.dec.ReadValue()
	if err != nil {
		d.fail(err)
		return nil
	}
	end := d.dec.InputOffset()
	return d.body[end-int64(len(v)) : end]
}

func (d *answerReader) fail(err error) {
	d.err = err
	if errors.Is(err, io.EOF) {
		d.err = io.ErrUnexpectedEOF
	}
}

// object calls member for each member's name; member reads its value. What is
// not an object is passed over.
func (d *answerReader) object(member func(name string)) {
	d.each('{', func() {
		name := d.text()
		if d.err == nil {
			member(string(name))
		}
	})
}

func (d *answerReader) array(element func()) { d.each('[', element) }

func (d *answerReader) each(kind jsontext.Kind, read func()) {
	if d.err != nil {
		return
	}
	if d.dec.PeekKind() != kind {
		d.value()
		return
	}
	if _, err := d.dec.ReadToken(); err != nil {
		d.fail(err)
		return
	}
	for d.err == nil {
		switch d.dec.PeekKind() {
		case '}', ']':
			if _, err := d.dec.ReadToken(); err != nil {
				d.fail(err)
			}
			return
		case 0:
			d.value() // brings the error
			return
		}
		read()
	}
}

// text reads a string, or a number by its digits; nil for anything else.
func (d *answerReader) text() []byte {
	v := d.value()
	switch {
	case len(v) < 1:
		return nil
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		return v
	case v[0] != '"':
		return nil
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1 : len(v)-1]
	}
	unquoted, _ := jsontext.AppendUnquote(nil, v) // an error leaves a replacement character in it
	return unquoted
}

// count reads a number of records; -1 for anything else.
func (d *answerReader) count() int {
	if n, ok := parseCount(string(d.value())); ok {
		return n
	}
	return -1
}

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
	message  string
	details  []FieldError
	doubtful string // why an entry proves nothing
}

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
		f.seen, f.details, f.message = true, e.details, e.message
		f.id = id
		f.status = actionStatus(e.action)
		switch {
		case e.source != nil && string(e.source) != sent[at].key.Source:
			f.status, f.doubtful = StatusUnknown, "the answer gives it another source"
		case e.action == "error" || e.action == "failed":
			f.status = StatusFailed
		case f.status == StatusUnknown:
			f.doubtful = fmt.Sprintf("the answer's action is %.40q", e.action)
		case e.message != "" || len(e.details) > 0:
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

// keyHolder is a request in flight, or about to be.
type keyHolder interface {
	holds(entityKey) bool
	each(yield func(entityKey) bool)
}

// oneKey holds the keys of a single sync.
type oneKey struct{ *Outcome }

func (o oneKey) holds(k entityKey) bool {
	if k == (entityKey{o.Entity, o.Key}) {
		return true
	}
	for i := range o.Nested {
		if k == (entityKey{o.Nested[i].Entity, o.Nested[i].Key}) {
			return true
		}
	}
	return false
}

func (o oneKey) each(yield func(entityKey) bool) {
	if !yield(entityKey{o.Entity, o.Key}) {
		return
	}
	for i := range o.Nested {
		if !yield(entityKey{o.Nested[i].Entity, o.Nested[i].Key}) {
			return
		}
	}
}

// inFlight keeps one client and its variants from having the same key in two
// requests at once: an old request that is retried would overwrite newer data.
type inFlight struct {
	mu       sync.Mutex
	holders  []keyHolder
	released chan struct{} // closed when a holder lets go
}

// hold registers h. Where another request holds one of its keys it returns the
// channel that closes when it is worth trying again.
func (f *inFlight) hold(h keyHolder) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.holders {
		for k := range h.each {
			if other.holds(k) {
				if f.released == nil {
					f.released = make(chan struct{})
				}
				return f.released
			}
		}
	}
	f.holders = append(f.holders, h)
	return nil
}

func (f *inFlight) release(h keyHolder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holders = slices.DeleteFunc(f.holders, func(o keyHolder) bool { return o == h })
	if f.released != nil {
		close(f.released)
		f.released = nil
	}
}
