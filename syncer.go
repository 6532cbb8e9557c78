package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
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
	if cfg.dryRun {
		return res, res.close(errors.New("eryxon: not sent: the client is of a dry run (WithDryRun)"))
	}
	end, err := s.co.beginState(ctx, &cfg, false)
	if err != nil {
		return res, res.close(err)
	}
	defer func() {
		if err := end(); err != nil {
			cfg.logger.Error("eryxon: sync state", slog.Any("error", err))
		}
	}()
	held := newOneKey(&res.Outcome)
	for wait := s.co.shared.inFlight.hold(held); wait != nil; wait = s.co.shared.inFlight.hold(held) {
		select {
		case <-wait:
		case <-ctx.Done():
			return res, res.close(ctx.Err())
		}
	}
	defer s.co.shared.inFlight.release(held)
	if cfg.run != nil {
		return s.syncRemembered(ctx, &cfg, r, res)
	}
	return s.send(ctx, &cfg, r, res)
}

// syncRemembered syncs a record of which the state has to know.
func (s *syncer[R, P, Row]) syncRemembered(ctx context.Context, cfg *config, r P, res *SyncResult[Row]) (*SyncResult[Row], error) {
	f := newFlight(ctx, s.co, cfg)
	defer f.close()
	e := newEngine[R, P](s.co, s.at, cfg, f)
	known, send, _, err := e.delta.look(r, res.Key)
	if err != nil {
		return res, res.close(err)
	}
	d := &delivery[R, P]{e: e, c: newChunk[R](s.at.entity)}
	if _, err := add(d.c, send, res.Key, 0, cfg.source, math.MaxInt); err != nil {
		res.Status = StatusFailed
		return res, res.close(err)
	}
	list := d.c.live()
	list[0].memory = &known
	if d.lacksFloor(list[0]) {
		fills, _, _, err := s.co.fills(ctx, cfg, new(cellList))
		if err != nil {
			return res, res.close(err)
		}
		if fills {
			d.keepFloor(list, false) // what it can't keep is refused as a hazard
		}
		if len(d.done.outcomes) > 0 { // the server could not be asked
			res.Outcome = d.done.outcomes[0]
			res.Record = nil
			return res, res.Err
		}
	}
	before, err := d.doubtful(list)
	if err == nil && len(before) > 0 {
		err = cfg.run.put(before)
	}
	if err != nil {
		return res, res.close(err)
	}
	record := list[0].record
	_, err = s.send(ctx, cfg, P(&record), res)
	if res.Status == StatusCreated && list[0].memory.given != nil {
		// It was new after all: what was left out goes now.
		record = list[0].complete(res.ID)
		if _, err = s.send(ctx, cfg, P(&record), res); err == nil {
			res.Status = StatusCreated
		}
	}
	d.done.outcomes = []Outcome{res.Outcome}
	if err := cfg.run.put(d.acknowledge(list, true)); err != nil {
		cfg.logger.Error("eryxon: sync state", slog.Any("error", err))
	}
	return res, err
}

// vet refuses a record that the server would not store as it is, or that would
// overwrite what it leaves out; the error is the server's, which could not be asked.
// Of a cell that seems to be new it returns the cells there are.
func (s *syncer[R, P, Row]) vet(ctx context.Context, cfg *config, r P, key Key) (cells cellRows, refused, err error) {
	var rules checker
	if !cfg.overwrite {
		hazards(&rules, r)
	}
	// The very first sync, of a lone cell, resource or bare job, is not worth a
	// request more.
	worth := worthAsking(rules.details) && (s.co.lists() || s.at.entity == EntityParts || s.at.entity == EntityOperations) || overwritesNested(rules.details)
	if len(rules.details) == 0 || !worth && !s.co.knownToFill() {
		return nil, nil, nil
	}
	fills, cells, _, err := s.co.fills(ctx, cfg, new(cellList))
	if !fills || err != nil {
		return nil, nil, err
	}
	switch refused := rules.err(0, key); {
	case !onlyOnUpdate(rules.details):
		return nil, refused, nil
	case s.at.entity == EntityCells:
		if cells == nil {
			cells, err = s.co.allCells(ctx, cfg)
		}
		if err != nil || cells.named(naturalName(r)) {
			return nil, refused, err
		}
		return cells, nil, nil
	case diffable(s.at.entity) && !s.co.shared.dialect.isThere(s.at.entity, key):
		found, _, err := s.co.diffKeys(ctx, cfg, s.at.entity, []Key{key}, false)
		if err == nil && found[key].status == DiffCreate {
			return nil, nil, nil
		}
		return nil, refused, nil
	default:
		return nil, refused, nil
	}
}

// keepActive gives a resource the field as the server has it now, where it is known
// that the server would switch on what leaves it out. It reports whether it had to.
func (s *syncer[R, P, Row]) keepActive(ctx context.Context, cfg *config, r P, key Key) (kept bool, err error) {
	res, ok := any(r).(*Resource)
	if !ok || !leavesActive(res) || cfg.overwrite || !s.co.knownToFill() {
		return false, nil
	}
	switch row, err := newClient(s.co).Resources.Find(ctx, key, withConfig(cfg)); {
	case err == nil:
		res.Active = row.Active
		return true, nil
	case errors.Is(err, ErrNotFound):
		return false, nil
	default:
		return false, err
	}
}

// send sends one record whose key is held.
func (s *syncer[R, P, Row]) send(ctx context.Context, cfg *config, r P, res *SyncResult[Row]) (*SyncResult[Row], error) {
	body, err := r.appendJSON(nil, cfg.source)
	if err != nil {
		res.Status = StatusFailed
		return res, res.close(err)
	}
	if s.co.countsOnly() {
		return res, s.syncCounted(ctx, cfg, r, res)
	}
	cells, refused, err := s.vet(ctx, cfg, r, res.Key)
	switch {
	case err != nil:
		return res, res.close(err)
	case refused != nil:
		res.Status = StatusFailed
		return res, res.close(refused)
	}
	kept, err := s.keepActive(ctx, cfg, r, res.Key)
	if err == nil && kept {
		body, err = r.appendJSON(nil, cfg.source)
	}
	if err != nil {
		return res, res.close(err)
	}
	out, status, id, cause := s.co.putOne(ctx, nil, cfg, s.at, res.Key, body, false, false)
	s.co.shared.dialect.sawSingle(out)
	if copied := *r; (status == StatusUpdated || status == StatusSynced) && cells.restore(any(P(&copied)), id) { // it was there under another name
		if body, err = P(&copied).appendJSON(nil, cfg.source); err == nil {
			if out, status, id, cause = s.co.putOne(ctx, nil, cfg, s.at, res.Key, body, true, false); status == StatusSynced {
				status = StatusUpdated
			}
		}
	}
	if cause != nil && s.co.shared.dialect.sawRefusal(cause) {
		return res, s.syncCounted(ctx, cfg, r, res)
	}
	if cause != nil && cfg.omitMissing && s.co.shared.dialect.sawAbsent(s.at.entity, cause) {
		copied := *r
		omitAbsent(&s.co.shared.dialect, P(&copied))
		if body, err = P(&copied).appendJSON(nil, cfg.source); err == nil {
			out, status, id, cause = s.co.putOne(ctx, nil, cfg, s.at, res.Key, body, false, false)
		}
	}
	res.Response = out.response()
	res.RequestID, res.Attempts = out.requestID, out.attempts
	res.Status, res.ID, res.Row = status, id, decodeRow[Row](out.row)
	if status.Success() && diffable(s.at.entity) {
		s.co.shared.dialect.sawThere(s.at.entity, res.Key)
	}
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
	e.Message = strings.TrimPrefix(cause.Error(), "eryxon: ")
	var api *APIError
	if errors.As(cause, &api) {
		e.Code, e.Field, e.Message = api.Code, api.field, api.Message
	}
	var invalid *ValidationError
	if errors.As(cause, &invalid) {
		e.Code, e.Field, e.Message = invalid.Code, invalid.Field, invalid.Message
	}
	var reference *errReference
	if errors.As(cause, &reference) {
		e.Field = reference.field
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
	if err != nil || unknown == nil { // null is no row
		return nil
	}
	fields := reflect.ValueOf(row).Elem()
	for name, i := range r.columns() {
		field := fields.Field(i).Addr().Interface()
		if raw, odd := unknown[name]; odd && readColumn(raw, field) {
			delete(unknown, name)
		}
		if t, ok := field.(*Opt[time.Time]); ok {
			t.value = t.value.UTC()
		}
	}
	if len(unknown) > 0 {
		*r.unknown() = unknown
	}
	return row
}

// readColumn reads a column in a form that is not the usual one of its type: a
// time in any that databases print, a whole number as 5.0 or as a string.
func readColumn(raw json.RawMessage, field any) bool {
	switch f := field.(type) {
	case *Opt[time.Time]:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return false
		}
		t, err := parseTime(text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
		if err != nil {
			return false
		}
		*f = Some(t)
		return true
	case *Opt[int]:
		n, ok := wholeNumber(raw)
		if ok {
			*f = Some(n)
		}
		return ok
	case *int:
		n, ok := wholeNumber(raw)
		if ok {
			*f = n
		}
		return ok
	}
	return false
}

func wholeNumber(raw json.RawMessage) (int, bool) {
	var text json.Number // takes a number in a string, too
	if json.Unmarshal(raw, &text) != nil {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(text.String(), ".")
	n, err := strconv.Atoi(whole)
	return n, err == nil && strings.Trim(fraction, "0") == ""
}

// Complaints about a record that JSON can't hold as it is.

func cmpOr(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}

// bulkSync is the slice form of a stream.
func (s *syncer[R, P, Row]) bulkSync(ctx context.Context, records []R, opts []BulkOption) (*BulkResult, error) {
	result := &BulkResult{Outcomes: make([]Outcome, len(records))}
	cfg := s.co.cfg
	if err := applyAll(&cfg, opts); err != nil {
		s.unsent(result, records, cfg.source, 0, err)
		result.count()
		return result, err
	}
	var order []int
	input := func(yield func(R, error) bool) {
		for i := range records {
			if order != nil {
				i = order[i]
			}
			if !yield(records[i], nil) {
				return
			}
		}
	}
	// One at a time keeps the order of the input on the server.
	st := s.stream(ctx, input, 1, opts, func(e *engine[R, P]) {
		e.screen, e.expected = s.screen(records, cfg.source), len(records)
		e.finite = cfg.state != nil
		if e.cfg.rationed() {
			order = e.byUrgency(records)
			e.order = order
		}
	})
	taken := 0
	for o := range st.All() {
		result.Outcomes[o.Index] = o
		taken = max(taken, o.Index+1)
	}
	result.Requests = st.stats.requests
	result.Attempts = st.stats.attempts
	if taken < len(records) {
		s.unsent(result, records, cfg.source, taken, st.err)
	}
	result.count()
	if err := result.Err(); err != nil {
		return result, err
	}
	return result, st.err // all of it arrived, and the state could not be told
}

// byUrgency returns the places of a slice's records, the most urgent first.
func (e *engine[R, P]) byUrgency(records []R) []int {
	list := make([]Pending, len(records))
	for i := range records {
		r := P(&records[i])
		var err error
		if list[i], err = e.delta.pending(r, r.recordKey(e.cfg.source)); err != nil {
			e.end = err
			return nil
		}
	}
	return e.cfg.byUrgency(list)
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
