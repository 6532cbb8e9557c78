package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"
)

// sync is the single upsert.
func (s *syncer[R, P, Row]) sync(ctx context.Context, r P, opts []CallOption) (*SyncResult[Row], error) {
	res := &SyncResult[Row]{Response: &Response{}}
	cfg, err := s.co.callConfig(opts)
	res.Outcome = Outcome{Entity: s.entity, Key: r.recordKey(cfg.source), Status: StatusNotSent}
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
	held := keysOf(&res.Outcome)
	if err := s.co.shared.inFlight.await(ctx, held); err != nil {
		return res, res.close(err)
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
	e := newEngine[R, P](s.co, cfg, f)
	known, send, _, err := e.delta.look(r, res.Key)
	if err != nil {
		return res, res.close(err)
	}
	d := &delivery[R, P]{e: e, c: newChunk[R](s.entity)}
	if _, err := add(d.c, send, res.Key, 0, cfg.source, math.MaxInt); err != nil {
		res.Status = StatusFailed
		return res, res.close(err)
	}
	list := d.c.live()
	list[0].memory = &known
	if d.lacksFloor(list[0]) {
		fills, _, _, err := s.co.fills(ctx, cfg, newSightings())
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
	cfg.carrier = &carrier{entries: d.carried, given: list[0].memory.given}
	_, err = s.send(ctx, cfg, P(&record), res)
	if list[0].memory.given != nil && d.madeBare(list[0], &res.Outcome) {
		err = s.completeNew(ctx, cfg, list[0].complete(res.ID), res, err)
	}
	d.done.outcomes = []Outcome{res.Outcome}
	if err := cfg.run.put(d.acknowledge(list, true)); err != nil {
		cfg.logger.Error("eryxon: sync state", slog.Any("error", err))
	}
	return res, err
}

// completeNew sends what was left out of a record whose row was made without; what it
// carries has gone. The error is what the first call ended with, or else its own.
func (s *syncer[R, P, Row]) completeNew(ctx context.Context, cfg *config, record R, res *SyncResult[Row], first error) error {
	nested, status := res.Nested, res.Status
	res.Nested = nil
	leaveNested(P(&record))
	_, err := s.send(ctx, cfg, P(&record), res)
	res.Nested = nested
	if !res.Status.Success() {
		res.doubt() // its row was made
		return err
	}
	res.Status = status
	return first
}

// vet refuses a record that the server would not store as it is, or that would
// overwrite what it leaves out; the error is the server's, which could not be asked.
// Of a cell that seems to be new it returns the cells there are.
func (s *syncer[R, P, Row]) vet(ctx context.Context, cfg *config, r P, o *Outcome) (cells cellRows, refused, err error) {
	var rules checker
	if !cfg.overwrite {
		hazards(&rules, r)
	}
	if len(rules.details) == 0 {
		return nil, nil, nil
	}
	fills, cells, _, err := s.co.fills(ctx, cfg, newSightings())
	if !fills || err != nil {
		return nil, nil, err
	}
	switch refused := rules.err(0, o.Key); {
	case len(r.nested(cfg.source)) > 0 && !cfg.leavesNested(): // each goes on its own there
		return nil, nil, nil
	case !onlyOnUpdate(rules.details):
		return nil, refused, nil
	case s.entity == EntityCells:
		if cells == nil {
			cells, err = s.co.allCells(ctx, cfg)
		}
		if err != nil || cells.named(naturalName(r)) {
			return nil, refused, err
		}
		return cells, nil, nil
	case diffable(s.entity) && (len(o.Nested) > 0 || !s.co.shared.dialect.isThere(s.entity, o.Key)):
		found, _, err := s.co.diffKeys(ctx, cfg, s.entity, []Key{o.Key}, false)
		row := found[o.Key]
		if err == nil && row.status == DiffCreate {
			return nil, nil, nil
		}
		o.show(&row) // for what it carries
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
	loaded, began := len(r.nested(cfg.source)) > 0 && !cfg.leavesNested(), time.Now()
	cells, refused, err := s.vet(ctx, cfg, r, &res.Outcome)
	switch {
	case loaded && s.co.isFilling():
		return res, s.syncUnloaded(ctx, cfg, r, res)
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
	out, status, id, cause := s.co.putOne(ctx, nil, cfg, s.entity, res.Key, body, false, false)
	s.co.shared.dialect.sawSingle(out)
	copied := *r
	restored := (status == StatusUpdated || status == StatusSynced) && cells.restore(any(P(&copied)), id) // it was there under another name
	if restored {
		if body, err = P(&copied).appendJSON(nil, cfg.source); err == nil {
			if out, status, id, cause = s.co.putOne(ctx, nil, cfg, s.entity, res.Key, body, true, false); status == StatusSynced {
				status = StatusUpdated
			}
		}
	}
	if cause != nil && s.co.shared.dialect.sawRefusal(cause) {
		return res, s.syncCounted(ctx, cfg, r, res)
	}
	if cause != nil && cfg.omitMissing && s.co.shared.dialect.sawAbsent(s.entity, messageOf(cause)) {
		copied := *r
		omitAbsent(&s.co.shared.dialect, P(&copied))
		if body, err = P(&copied).appendJSON(nil, cfg.source); err == nil {
			out, status, id, cause = s.co.putOne(ctx, nil, cfg, s.entity, res.Key, body, false, false)
		}
	}
	res.Response = out.response()
	res.RequestID, res.Attempts = out.requestID, out.attempts
	res.Status, res.ID, res.Row = status, id, decodeRow[Row](out.row)
	switch {
	case status.Success() && diffable(s.entity):
		s.co.shared.dialect.sawThere(s.entity, res.Key, id)
	case errors.Is(cause, ErrDeletedOnServer):
		s.co.shared.dialect.forget([]entityKey{{s.entity, res.Key}})
	}
	err = res.close(cause)
	res.nameTaken(r)
	if restored && status == StatusFailed { // the first has written it
		res.doubt()
		err = res.Err
	}
	if loaded && err == nil && s.co.isFilling() { // as it turns out
		return res, s.syncNested(ctx, cfg, r, res, nil, began, true)
	}
	return res, err
}

// count adds a call to the account.
func (d *delivery[R, P]) count(out *result, size int) {
	if d.c.entity == EntityCells {
		d.forgetCells()
	}
	d.done.bytes += int64(out.attempts) * int64(size)
	if out.attempts > 0 {
		d.done.requests++
	}
}

// post makes a bulk call with its own body.
func (d *delivery[R, P]) post(path string, body []byte, list []*sentRecord[R], ambiguous bool, turn func(context.Context) (end func(), err error), decode func([]byte) (*envelope, error)) *result {
	d.noteNumbers(list)
	cl := call{
		method: http.MethodPost, path: path, body: body, records: len(list),
		bulk: true, repeatable: true, split: len(list) > 1, wire: d.e.flight.wire, turn: turn, decode: decode,
	}
	out := d.e.co.do(d.e.flight.goOn, d.e.cfg, &cl)
	if ambiguous {
		out.ambiguous = true
		out.settle()
	}
	d.count(out, len(body))
	return out
}

// putOne makes a single sync of an encoded record. The cause is nil if and only
// if the status is a success.
func (co *core) putOne(ctx, wire context.Context, cfg *config, e Entity, key Key, body []byte, ambiguous, raced bool) (*result, Status, string, error) {
	var answer singleAnswer
	cl := call{method: http.MethodPut, path: e.singlePath(), body: body, records: 1, repeatable: true, raced: raced, wire: wire,
		decode: func(body []byte) (*envelope, error) {
			var err error
			answer, err = readSingle(body, e.singular())
			answer.strike(co.redact)
			return &answer.envelope, err
		}}
	out := co.do(ctx, cfg, &cl)
	if e == EntityCells {
		co.shared.dialect.changedCells()
	}
	out.row = answer.row
	if cfg.run != nil {
		_ = cfg.run.sawTenant(rowTenant(out.row)) // kept: nothing is acknowledged after it
	}
	if ambiguous {
		out.ambiguous = true
		out.settle()
	}
	if out.fate != fateAnswered {
		return out, statusOf(out.fate), "", out.err
	}
	status, id, why := answer.judge(key, out.status, out.ambiguous)
	said := complaint{kind: ErrBadAnswer}
	switch {
	case why == "" && status != StatusCreated && !cfg.overwrite && notCleared(body, out.row) != "":
		// The row, not the action, says what became of it.
		status, said = StatusUnknown, complaint{ErrUnsupported, notCleared(body, out.row)}
		why = said.field + " was to be cleared, and the server has kept or stored a value in its row; the rest of the record arrived"
	case why == "":
		return out, status, id, nil
	case why == deletedComplaint:
		said.kind = ErrDeletedOnServer
	case status == StatusFailed:
		said = answer.record.understood()
	}
	api := co.apiError(&cl, out, said.kind, answer.record.code, why, nil, nil)
	api.field = said.field
	if said.kind == ErrValidation {
		return out, status, id, newValidationError(api, answer.record.details)
	}
	return out, status, id, api
}

// notCleared names a field that was sent as null, or as an empty text, and that
// has a value in the row all the same.
func notCleared(sent, row []byte) string {
	if row == nil || !bytes.Contains(sent, []byte("null")) && !bytes.Contains(sent, []byte(`""`)) {
		return ""
	}
	var want, got map[string]json.RawMessage
	if json.Unmarshal(sent, &want) != nil || json.Unmarshal(row, &got) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if v := string(want[name]); v != "null" && v != `""` {
			continue
		}
		if v, shown := got[name]; shown && string(v) != "null" && string(v) != `""` {
			return name
		}
	}
	return ""
}

// syncUnloaded syncs a record and then what it carries, for a server that would drop
// some of that without a word.
func (s *syncer[R, P, Row]) syncUnloaded(ctx context.Context, cfg *config, r P, res *SyncResult[Row]) error {
	alone, nested, began := *r, res.Nested, time.Now()
	leaveNested(P(&alone))
	_, err := s.send(ctx, cfg, P(&alone), res)
	res.Nested = nested
	return s.syncNested(ctx, cfg, r, res, err, began, false)
}

// syncNested syncs what a record carries, whose own sync began then and is through, with
// the given error. Ambiguous means that it may have brought some of it in.
func (s *syncer[R, P, Row]) syncNested(ctx context.Context, cfg *config, r P, res *SyncResult[Row], own error, began time.Time, ambiguous bool) error {
	f := newFlight(ctx, s.co, cfg)
	defer f.close()
	d, err := s.deliveryOf(f, cfg, r, res)
	if err != nil {
		return err
	}
	f.seen.began = began
	f.seen.keepMade()
	if res.Status == StatusCreated && s.entity == EntityParts && !ambiguous {
		f.seen.sawMade(res.Key)
	}
	outcomes := []Outcome{res.Outcome}
	if !ambiguous {
		d.showRows(outcomes, carries)
	}
	d.deliverNested(d.c.live(), outcomes, ambiguous)
	res.Outcome = outcomes[0]
	return res.err(own)
}

// deliveryOf is a delivery of one record.
func (s *syncer[R, P, Row]) deliveryOf(f *flight, cfg *config, r P, res *SyncResult[Row]) (*delivery[R, P], error) {
	f.seen.single = true
	d := &delivery[R, P]{e: newEngine[R, P](s.co, cfg, f), c: newChunk[R](s.entity), left: searchRequests, doubts: doubtRequests}
	if _, err := add(d.c, r, res.Key, 0, cfg.source, math.MaxInt); err != nil {
		res.Status = StatusFailed
		return nil, res.close(err)
	}
	if cfg.carrier != nil {
		d.carried = cfg.carrier.entries
		if given, ok := cfg.carrier.given.(*R); ok && given != nil {
			d.c.sent[0].memory = &memory[R]{given: given}
		}
	}
	return d, nil
}

// syncCounted is the single sync on a server that takes UUIDs for references:
// the record is translated first, and what is nested in it goes afterwards.
func (s *syncer[R, P, Row]) syncCounted(ctx context.Context, cfg *config, r P, res *SyncResult[Row]) error {
	f := newFlight(ctx, s.co, cfg)
	defer f.close()
	d, err := s.deliveryOf(f, cfg, r, res)
	if err != nil {
		return err
	}
	list := d.c.live()
	if s.entity == EntityParts {
		list = d.translateParts(list, false)
	} else {
		list = d.translateAll(list, false)
	}
	// The unified endpoint finds a job that it does not name.
	if len(list) == 0 && !(errors.Is(d.done.outcomes[0].Err, ErrUnsupported) && s.co.unifiedEntity(s.entity)) {
		return res.settle(&d.done.outcomes[0])
	}
	if len(list) == 0 || d.unifiedOnly(list[0]) {
		return d.unify(res.settle)
	}
	out, status, id, cause := s.co.putOne(ctx, nil, cfg, s.entity, res.Key, d.c.json(list[0]), false, false)
	if cause != nil && cfg.omitMissing && d.dialect().sawAbsent(s.entity, messageOf(cause)) && !d.unifiedOnly(list[0]) {
		if list = d.translateAll(list, false); len(list) == 1 {
			out, status, id, cause = s.co.putOne(ctx, nil, cfg, s.entity, res.Key, d.c.json(list[0]), false, false)
		}
	}
	for cause != nil && (status == StatusFailed && d.relink(list[0], cause) || d.provenNew(list[0], messageOf(cause))) {
		out, status, id, cause = s.co.putOne(ctx, nil, cfg, s.entity, res.Key, d.c.json(list[0]), false, false)
	}
	if cause != nil && d.goesOtherwise(list[0], messageOf(cause)) && d.unifiedOnly(list[0]) {
		return d.unify(res.settle)
	}
	res.Response = out.response()
	res.RequestID, res.Attempts = out.requestID, out.attempts
	res.Status, res.ID, res.Row = status, id, decodeRow[Row](out.row)
	if cause == nil {
		s.co.shared.dialect.remember(s.entity, res.Key, id)
	}
	d.forgetDeleted(list[0], cause)
	err = res.close(cause)
	outcomes := []Outcome{res.Outcome}
	d.showRows(outcomes, carries)
	d.deliverNested(list, outcomes, false)
	res.Outcome = outcomes[0]
	res.nameTaken(r)
	return res.err(err)
}

// unify delivers the one record by the unified endpoint, and what it carries after it.
func (d *delivery[R, P]) unify(settle func(*Outcome) error) error {
	d.done.outcomes = nil
	d.deliverCounted(d.c.live(), false)
	return settle(&d.done.outcomes[0])
}

// settle takes over the outcome of a delivery.
func (r *SyncResult[Row]) settle(o *Outcome) error {
	r.Outcome = *o
	r.Record = nil
	r.Response = &Response{RequestID: o.RequestID, Attempts: o.Attempts}
	return r.err(r.Err)
}

// err is the record's own error, or that of what it carried.
func (r *SyncResult[Row]) err(own error) error {
	if own != nil {
		return own
	}
	return (&BulkResult{Outcomes: []Outcome{r.Outcome}}).Err()
}

// nameTaken adds to a collision of natural keys which one it is.
func (o *Outcome) nameTaken(r any) {
	e, ok := o.recordError()
	if !ok || !errors.Is(e, ErrNaturalKeyTaken) {
		return
	}
	var field, value string
	switch r := r.(type) {
	case *Job:
		field, value = "job_number", r.JobNumber
	case *Part:
		field, value = "part_number", r.PartNumber
	case *Operation:
		field, value = "operation_name", r.OperationName
	case *Cell:
		field, value = "name", r.Name
	case *Resource:
		field, value = "name", r.Name
	}
	if e.Field != field { // it is of a record nested in this one
		return
	}
	e.kind = ErrNaturalKeyTaken
	e.Message = fmt.Sprintf("%s %q belongs to another row: %s", e.Field, value, e.Message)
}
