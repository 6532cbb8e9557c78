package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// recordPtr is what the core needs of a record.
type recordPtr[R any] interface {
	*R
	// recordKey returns the key, with the default source where the record
	// gives none.
	recordKey(source string) Key
	// appendJSON appends the record as it goes on the wire.
	appendJSON(b []byte, source string) ([]byte, error)
	// rules demands the required fields and links, values that every value
	// can be written; both look into nested records.
	rules(*checker)
	values(*checker)
	// nested lists the records inside, depth first; nil for most.
	nested(source string) []Outcome
}

// endpoint is where an entity lives.
type endpoint struct {
	entity     Entity
	singlePath string
	bulkPath   string
	container  string // the bulk request's key
	row        string // the single answer's key of the row
}

func newEndpoint(e Entity) endpoint {
	return endpoint{
		entity:     e,
		singlePath: "/api-" + string(e) + "/sync",
		bulkPath:   "/api-" + string(e) + "/bulk-sync",
		container:  string(e),
		row:        e.singular(),
	}
}

// syncer is the core behind the five services.
type syncer[R any, P recordPtr[R], Row any] struct {
	co *core
	at endpoint
}

func newSyncer[R any, P recordPtr[R], Row any](co *core) syncer[R, P, Row] {
	return syncer[R, P, Row]{co: co, at: newEndpoint(entityOf[R]())}
}

func entityOf[R any]() Entity {
	switch any((*R)(nil)).(type) {
	case *Job:
		return EntityJobs
	case *Part:
		return EntityParts
	case *Operation:
		return EntityOperations
	case *Cell:
		return EntityCells
	default:
		return EntityResources
	}
}

// rowPtr is a row that keeps the columns that the SDK does not know.
type rowPtr interface {
	columns() map[string]int
	unknown() *map[string]json.RawMessage
}

// sync is the single upsert.
func (s *syncer[R, P, Row]) sync(ctx context.Context, r P, opts []CallOption) (*SyncResult[Row], error) {
	res := &SyncResult[Row]{Response: &Response{}}
	cfg, err := s.co.callConfig(opts)
	res.Outcome = Outcome{Entity: s.at.entity, Key: r.recordKey(cfg.source), Status: StatusNotSent}
	res.Nested = r.nested(cfg.source)
	if err != nil {
		return res, res.close(err)
	}
	var rules checker
	checkRecord(&rules, r, cfg.source)
	if err := rules.err(0, res.Key); err != nil {
		res.Status = StatusFailed
		return res, res.close(err)
	}
	body, err := r.appendJSON(nil, cfg.source)
	if err != nil {
		res.Status = StatusFailed
		return res, res.close(err)
	}
	held := oneKey{&res.Outcome}
	for wait := s.co.shared.inFlight.hold(held); wait != nil; wait = s.co.shared.inFlight.hold(held) {
		select {
		case <-wait:
		case <-ctx.Done():
			return res, res.close(ctx.Err())
		}
	}
	defer s.co.shared.inFlight.release(held)
	if s.co.countsOnly() {
		return res, s.syncCounted(ctx, &cfg, r, res)
	}
	if !cfg.overwrite && s.co.knownToFill() {
		hazards(&rules, r)
		if err := rules.err(0, res.Key); err != nil {
			res.Status = StatusFailed
			return res, res.close(err)
		}
	}
	out, status, id, cause := s.co.putOne(ctx, nil, &cfg, s.at, res.Key, body, false)
	s.co.shared.dialect.sawSingle(out)
	if cause != nil && s.co.shared.dialect.sawRefusal(cause) {
		return res, s.syncCounted(ctx, &cfg, r, res)
	}
	res.Response = out.response()
	res.RequestID, res.Attempts = out.requestID, out.attempts
	res.Status, res.ID, res.Row = status, id, decodeRow[Row](out.row)
	err = res.close(cause)
	res.nameTaken(r)
	return res, err
}

// close gives the outcome the error that its cause makes, and the nested
// records what is known of them. It returns the error, nil without a cause.
func (o *Outcome) close(cause error) error {
	if cause == nil {
		o.settleNested()
		return nil
	}
	e := &RecordError{cause: cause}
	if o.Status == StatusParentFailed {
		o.fail(e) // code, field and message would be the parent's
		return e
	}
	var api *APIError
	if errors.As(cause, &api) {
		e.Code, e.Message = api.Code, api.Message
	}
	var invalid *ValidationError
	if errors.As(cause, &invalid) {
		e.Code, e.Field, e.Message = invalid.Code, invalid.Field, invalid.Message
	}
	o.fail(e)
	return e
}

// fail gives the outcome its error.
func (o *Outcome) fail(e *RecordError) {
	e.Entity, e.Index, e.Key, e.Status, e.RequestID = o.Entity, o.Index, o.Key, o.Status, o.RequestID
	o.Err = e
	o.settleNested()
}

// settleNested tells of nested records what is known without an answer that
// speaks of them.
func (o *Outcome) settleNested() {
	for i := range o.Nested {
		n := &o.Nested[i]
		n.Status, n.RequestID = StatusUnknown, o.RequestID
		if o.Attempts == 0 || o.Status == StatusNotSent {
			n.Status = StatusNotSent
		}
	}
}

func statusOf(f fate) Status {
	switch f {
	case fateNotSent:
		return StatusNotSent
	case fateRefused:
		return StatusFailed
	default:
		return StatusUnknown
	}
}

// singleAnswer is the answer to a single sync, in the documented shape or in
// those of servers that send the row.
type singleAnswer struct {
	envelope
	action     string
	id         string
	externalID string
	source     string
	message    string
	deleted    bool
	row        json.RawMessage
}

// looseText reads a JSON string, or a number by its digits.
type looseText string

func (t *looseText) UnmarshalJSON(data []byte) error {
	var s string
	switch {
	case json.Unmarshal(data, &s) == nil:
		*t = looseText(s)
	case len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9'):
		*t = looseText(data)
	}
	return nil
}

func readSingle(body []byte, rowKey string) (singleAnswer, error) {
	env, err := readEnvelope(body)
	a := singleAnswer{envelope: env}
	if err != nil || !env.succeeded() {
		return a, err
	}
	var members map[string]json.RawMessage
	if env.data == nil || env.decodeData(&members) != nil {
		return a, errors.New("a success without data")
	}
	var flat, row struct {
		Action     looseText       `json:"action"`
		ID         looseText       `json:"id"`
		ExternalID looseText       `json:"external_id"`
		Source     looseText       `json:"external_source"`
		Error      looseText       `json:"error"`
		DeletedAt  json.RawMessage `json:"deleted_at"`
	}
	if err := env.decodeData(&flat); err != nil {
		return a, err
	}
	a.action, a.message = string(flat.Action), string(flat.Error)
	row = flat
	if raw, ok := members[rowKey]; ok && json.Unmarshal(raw, &row) == nil && string(raw) != "null" {
		a.row = raw
	}
	a.id, a.externalID, a.source = string(row.ID), string(row.ExternalID), string(row.Source)
	a.deleted = a.row != nil && len(row.DeletedAt) > 0 && string(row.DeletedAt) != "null"
	return a, nil
}

// strike removes the key from what errors may repeat.
func (a *singleAnswer) strike(redact func([]byte) []byte) {
	for _, text := range []*string{&a.action, &a.externalID, &a.source, &a.message} {
		*text = string(redact([]byte(*text)))
	}
}

const deletedComplaint = "the row was deleted on the server, which still says it synced it"

// judge tells what the answer proves about the record with the given key, and
// if it proves no success, why.
func (a *singleAnswer) judge(key Key, httpStatus int, ambiguous bool) (Status, string, string) {
	switch {
	case a.externalID != "" && a.externalID != key.ExternalID:
		return StatusUnknown, "", fmt.Sprintf("the answer speaks of another record, %.80q", a.externalID)
	case a.source != "" && a.source != key.Source:
		return StatusUnknown, "", fmt.Sprintf("the answer speaks of another source, %.80q", a.source)
	case a.action == "error" || a.action == "failed":
		return StatusFailed, a.id, cmpOr(a.message, "the server gave no reason")
	case a.externalID == "" && a.id == "":
		return StatusUnknown, "", "the answer names no record"
	case a.deleted:
		return StatusFailed, a.id, deletedComplaint
	}
	status := actionStatus(a.action)
	switch {
	case a.action == "" && a.row != nil:
		status = StatusSynced
	case status == StatusUnknown:
		return status, a.id, fmt.Sprintf("the answer's action is %.40q", a.action)
	case status == StatusCreated && httpStatus == http.StatusOK, status == StatusUpdated && httpStatus == http.StatusCreated:
		status = StatusSynced // status and action contradict each other on which
	}
	return afterAmbiguous(status, ambiguous), a.id, ""
}

// actionStatus reads the action that a server names.
func actionStatus(action string) Status {
	switch action {
	case "created":
		return StatusCreated
	case "updated":
		return StatusUpdated
	case "skipped", "unchanged":
		return StatusUnchanged
	case "synced":
		return StatusSynced
	default:
		return StatusUnknown
	}
}

// afterAmbiguous corrects an update that may be of the row which a lost
// attempt of the same call has created.
func afterAmbiguous(s Status, ambiguous bool) Status {
	if ambiguous && (s == StatusUpdated || s == StatusUnchanged) {
		return StatusSynced
	}
	return s
}

func decodeRow[Row any](raw json.RawMessage) *Row {
	if raw == nil {
		return nil
	}
	row := new(Row)
	r, ok := any(row).(rowPtr)
	if !ok {
		return nil
	}
	unknown, err := decodeFields(raw, row, r.columns(), true)
	if err != nil {
		return nil
	}
	if len(unknown) > 0 {
		*r.unknown() = unknown
	}
	return row
}

// checker collects what the local rules complain about. The zero checker is
// ready; without a complaint it allocates nothing.
type checker struct {
	carrier *checker // of a nested record: where its complaints go
	list    string   // that the nested record is in
	index   int
	details []FieldError
}

func (c *checker) complain(field, constraint, message string, value any) {
	if c.carrier != nil {
		c.carrier.complain(fmt.Sprintf("%s[%d].%s", c.list, c.index, field), constraint, message, value)
		return
	}
	c.details = append(c.details, FieldError{Field: field, Message: message, Constraint: constraint, Value: value})
}

// err returns the complaints as a local *ValidationError, or nil.
func (c *checker) err(index int, key Key) error {
	if len(c.details) == 0 {
		return nil
	}
	for i := range c.details {
		c.details[i].EntityIndex = index
	}
	first := c.details[0]
	return &ValidationError{
		Code: "VALIDATION_ERROR", Message: first.Field + " " + first.Message, Field: first.Field,
		Details: c.details, Local: true, Index: index, Key: key,
	}
}

// required demands a value and that it can be written.
func (c *checker) required(field, s string) {
	if s == "" {
		c.complain(field, "NOT_NULL", "is required", nil)
	}
}

// Complaints about a record that JSON can't hold as it is.
const (
	notUTF8      = "is not valid UTF-8: convert it from the ERP's code page first"
	extraIsField = "is a field of the record: set it there"
)

// text demands what a database column of text can hold.
func (c *checker) text(field, s string) {
	if !utf8.ValidString(s) {
		c.complain(field, "UTF8", notUTF8, nil)
	} else if strings.IndexByte(s, 0) >= 0 {
		c.complain(field, "UTF8", "holds a NUL character, which no text column takes: remove it", nil)
	}
}

func (c *checker) optText(field string, o Opt[string]) { c.text(field, o.value) }

func (c *checker) optDate(field string, o Opt[Date]) {
	if d, ok := o.Get(); ok && !d.IsValid() {
		c.complain(field, "DATE_FORMAT", "is not a day that exists: want YYYY-MM-DD", d.String())
	}
}

func (c *checker) atLeast(field string, o Opt[int], least int) {
	if n, ok := o.Get(); ok && n < least {
		c.complain(field, "MINIMUM", fmt.Sprintf("is %d: want at least %d", n, least), n)
	}
}

func (c *checker) optFloat(field string, o Opt[float64]) {
	if f, ok := o.Get(); ok && (math.IsNaN(f) || math.IsInf(f, 0) || f < 0) {
		c.complain(field, "NUMBER", fmt.Sprintf("is %v: want a number of 0 or more", f), nil)
	}
}

// extra demands that no extra column hides a field of the record, and that all
// of them can be written.
func (c *checker) extra(extra map[string]any, table map[string]int) {
	if len(extra) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if _, known := table[name]; known || name == "" {
			c.complain("Extra["+name+"]", "UNIQUE", extraIsField, nil)
			continue
		}
		c.text("Extra["+name+"]", name)
		raw, err := json.Marshal(extra[name])
		switch {
		case err != nil:
			c.complain("Extra["+name+"]", "JSON", "can't be written as JSON: "+printable(err.Error()), nil)
		case !utf8.Valid(raw):
			c.text("Extra["+name+"]", string(raw))
		default:
			c.extraText("Extra["+name+"]", extra[name])
		}
	}
}

// extraText demands of the texts in an extra column what text does: JSON
// packages replace what is not UTF-8 without a word.
func (c *checker) extraText(field string, v any) {
	switch v := v.(type) {
	case string:
		c.text(field, v)
	case []string:
		for _, s := range v {
			c.text(field, s)
		}
	case []any:
		for _, e := range v {
			c.extraText(field, e)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			c.text(field, name)
			c.extraText(field, v[name])
		}
	}
}

// checkRecord applies the local rules to a record that is to be sent.
func checkRecord[R any, P recordPtr[R]](c *checker, r P, source string) {
	c.required("external_id", r.recordKey("").ExternalID)
	c.required("external_source", r.recordKey(source).Source)
	r.rules(c)
	r.values(c)
}

func cmpOr(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}

// within is a checker for a nested record, whose complaints join c's.
func (c *checker) within(list string, i int) *checker {
	return &checker{carrier: c, list: list, index: i}
}

// inherits demands that a nested record says nothing else than its carrier.
func (c *checker) inherits(field, own, carrier string) {
	if own != "" && carrier != "" && own != carrier {
		c.complain(field, "NESTED", fmt.Sprintf("is %q, but the record it is nested in says %q: leave it empty or sync it on its own", own, carrier), own)
	}
}

// probeFrom is from how many full requests on an empty one beforehand, to
// recognise the server, is worth its price.
const probeFrom = 5

// bulkSync is the slice form of a stream.
func (s *syncer[R, P, Row]) bulkSync(ctx context.Context, records []R, opts []BulkOption) (*BulkResult, error) {
	result := &BulkResult{Outcomes: make([]Outcome, len(records))}
	cfg := s.co.cfg
	if err := applyAll(&cfg, opts); err != nil {
		s.unsent(result, records, cfg.source, 0, err)
		result.count()
		return result, err
	}
	cfg.startBudget()
	if len(records) >= probeFrom*cfg.maxRecords && s.co.release() == ReleaseUnknown {
		s.co.probe(ctx, &cfg, s.at)
	}
	input := func(yield func(R, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
	// One at a time keeps the order of the input on the server.
	st := s.stream(ctx, input, 1, opts, func(e *engine[R, P]) {
		e.screen = s.screen(records, cfg.source)
		e.cfg.spent = cfg.spent // the probe's request is one of the budget's
	})
	taken := 0
	for o := range st.All() {
		result.Outcomes[o.Index] = o
		taken = max(taken, o.Index+1)
	}
	result.Requests, result.Attempts = st.stats.requests, st.stats.attempts
	if taken < len(records) {
		s.unsent(result, records, cfg.source, taken, st.err)
	}
	result.count()
	return result, result.Err()
}

// unsent settles the records from the given index on, which were never tried.
func (s *syncer[R, P, Row]) unsent(result *BulkResult, records []R, source string, from int, cause error) {
	for i := from; i < len(records); i++ {
		r := P(&records[i])
		o := &result.Outcomes[i]
		*o = Outcome{Entity: s.at.entity, Index: i, Key: r.recordKey(source), Status: StatusNotSent, Record: *r, Nested: r.nested(source)}
		_ = o.close(cause) // the outcome keeps it
	}
}

// screen looks through a slice for repeated keys. Of records with the same
// content the last is sent; of records with different content none is, for
// nothing tells which is right.
func (s *syncer[R, P, Row]) screen(records []R, source string) func(int) screen {
	places := make(map[Key][]int, len(records))
	for i := range records {
		k := P(&records[i]).recordKey(source)
		places[k] = append(places[k], i)
	}
	verdicts := make(map[int]screen)
	for k, at := range places {
		if len(at) == 1 || k.ExternalID == "" {
			continue
		}
		first, err := P(&records[at[0]]).appendJSON(nil, source)
		same := err == nil
		for _, i := range at[1:] {
			other, err := P(&records[i]).appendJSON(nil, source)
			same = same && err == nil && bytes.Equal(first, other)
		}
		for n, i := range at {
			switch {
			case !same:
				verdicts[i] = screen{err: func(c *checker) {
					c.complain("external_id", "UNIQUE", fmt.Sprintf("%q stands on %d records of different content (%s): send one of them", k.ExternalID, len(at), placeList(at)), k.ExternalID)
				}}
			case n < len(at)-1:
				verdicts[i] = screen{superseded: true}
			}
		}
	}
	if len(verdicts) == 0 {
		return nil
	}
	return func(i int) screen { return verdicts[i] }
}

// placeList names the first places where a key stands.
func placeList(at []int) string {
	const shown = 4
	text := "records "
	for n, i := range at {
		if n == shown {
			return text + ", …"
		}
		if n > 0 {
			text += ", "
		}
		text += strconv.Itoa(i)
	}
	return text
}
