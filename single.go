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
)

// sync is the single upsert: a delivery of one record, which goes by itself.
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
	untold := func(err error) {
		if err != nil {
			cfg.logger.Error("eryxon: sync state", slog.Any("error", err))
		}
	}
	defer func() { untold(end()) }()
	held := keysOf(&res.Outcome)
	if err := s.co.shared.inFlight.await(ctx, held); err != nil {
		return res, res.close(err)
	}
	defer s.co.shared.inFlight.release(held)
	f := newFlight(ctx, s.co, &cfg)
	defer f.close()
	f.wire, f.seen.single = nil, true // it ends with its context
	e := newEngine[R, P](s.co, &cfg, f)
	send, known := r, (*memory[R])(nil)
	if e.delta != nil { // which has it sent, unchanged or not
		m, some, unchanged, err := e.delta.look(r, res.Key)
		if err == nil && unchanged {
			some, err = e.delta.less(&m, r, e.delta.ownedByERP(r))
		}
		if err != nil {
			return res, res.close(err)
		}
		send, known = some, &m
	}
	c := newChunk[R](s.entity)
	if _, err := add(c, send, res.Key, 0, cfg.source, math.MaxInt); err != nil {
		res.Status = StatusFailed
		return res, res.close(err)
	}
	c.sent[0].memory = known
	d := e.delivery(c)
	d.byItself = true
	if e.delta != nil {
		untold(d.deliverRemembered(c.live()))
	} else {
		d.deliver(c.live(), false)
	}
	res.Outcome = d.done.outcomes[0]
	res.Record = nil
	res.Response = &Response{RequestID: res.RequestID, Attempts: res.Attempts}
	if d.answer != nil && d.answer.requestID == res.RequestID { // else another has decided the outcome
		res.Response, res.Row = d.answer.response(), decodeRow[Row](d.answer.row)
	}
	if res.Err != nil {
		return res, res.Err
	}
	return res, (&BulkResult{Outcomes: []Outcome{res.Outcome}}).Err() // of what it carried
}

// deliverSingly syncs records one by one: each answer carries the row or the
// database's error.
func (d *delivery[R, P]) deliverSingly(list []*sentRecord[R], ambiguous bool) {
	for i, s := range list {
		if d.done.end != nil {
			d.settleUnsent(list[i:], ambiguous)
			return
		}
		d.single(s, ambiguous)
	}
}

// single syncs one record by itself and settles it.
func (d *delivery[R, P]) single(s *sentRecord[R], ambiguous bool) {
	if lack := d.lack(); lack != nil {
		d.refuse([]*sentRecord[R]{s}, lack)
		return
	}
	// The transport may read a body after the answer came, when the chunk's
	// memory holds other records.
	body := bytes.Clone(d.c.json(s))
	d.noteNumbers([]*sentRecord[R]{s})
	counted := d.e.co.countsOnly()
	out, status, id, cause := d.e.co.putOne(d.e.flight.goOn, d.e.flight.wire, d.e.cfg, d.c.entity, s.key, body, ambiguous || s.maybeWritten, d.knownLost)
	d.count(out, len(body))
	d.answer = out
	if cause == nil {
		d.stored(s, out, status, id)
		return
	}
	if d.goesOn(s, status, cause, counted, ambiguous) {
		return
	}
	if said := understand(messageOf(cause)); said.kind == ErrMissingColumn && said.field == "sync_hash" {
		cause = missingColumnError(d.c.entity, "sync_hash", messageOf(cause))
		mark(d.dialect(), &d.dialect().lacking, d.c.entity, cause)
	}
	d.forgetDeleted(s, cause)
	if out.fate == fateAnswered {
		out.fate, out.err = fateRefused, cause
	}
	if ending(out) && d.done.end == nil && status != StatusFailed {
		d.done.end = cause
	}
	o := d.outcome(s, out, status)
	o.Record, o.ID = s.record, id
	_ = o.close(cause) // the outcome keeps it
	o.nameTaken(P(&s.record))
	if status == StatusFailed {
		d.landed = true
	} else {
		d.done.barren = cause
	}
	d.done.outcomes = append(d.done.outcomes, o)
}

// stored settles a record of which a single sync's answer is a success.
func (d *delivery[R, P]) stored(s *sentRecord[R], out *result, status Status, id string) {
	mark(d.dialect(), &d.dialect().proven, d.c.entity, true)
	d.e.co.sawSingle(out)
	s.remade = s.mayBeRemade && isAsMade(P(&s.record), out.row)
	if s.isNew && status == StatusUpdated {
		d.strange(s, out, id)
		return
	}
	if s.vetted && status != StatusCreated && d.restores(s, id) {
		d.finishSingly([]*sentRecord[R]{s}, StatusUpdated)
		return
	}
	if o, ok := any(P(&s.record)).(*Operation); ok {
		if o.Status.IsSet() {
			mark(d.dialect(), &d.dialect().statuses, o.Status, true)
		}
		d.e.flight.seen.sawRow(EntityParts, o.PartID)
		d.e.flight.seen.sawRow(EntityCells, o.CellID)
	}
	d.arrive(s, out, status, id)
}

// goesOn delivers a record once more whose single sync was refused for what can be
// helped, and reports whether it could be. Counted is whether the server was known, when
// the record went, to be one that counts.
func (d *delivery[R, P]) goesOn(s *sentRecord[R], status Status, cause error, counted, ambiguous bool) bool {
	list, refusal := []*sentRecord[R]{s}, messageOf(cause)
	missing := understand(refusal).kind == ErrMissingColumn
	d.dialect().sawAbsent(d.c.entity, refusal)
	recognised := d.dialect().sawRefusal(cause) && !counted && d.e.co.countsOnly()
	helped := status == StatusFailed && d.relink(s, cause) || d.provenNew(s, refusal) // whichever way it goes
	switch {
	case recognised:
		d.deliverCounted(list, ambiguous)
	case d.byItself && counted && missing && d.unifiedOnly(s):
		d.unify(list, ambiguous)
	case helped:
		d.single(s, ambiguous)
	case missing && d.e.cfg.omitMissing && d.c.entity == EntityJobs:
		return d.goWithout(s, counted, ambiguous)
	default:
		return false
	}
	return true
}

// goWithout delivers a job without what the server is known to lack, and reports whether
// there was something to leave out: it may have gone with it while another call found
// that out.
func (d *delivery[R, P]) goWithout(s *sentRecord[R], counted, ambiguous bool) bool {
	was, list := d.c.json(s), []*sentRecord[R]{s}
	if counted {
		list = d.translateAll(list, ambiguous)
	} else {
		list = d.withoutOmitted(list, ambiguous)
	}
	if len(list) > 0 && bytes.Equal(was, d.c.json(s)) {
		return false
	}
	d.deliverSingly(list, ambiguous)
	return true
}

// finishSingly syncs records by themselves of which an earlier request has written all
// but something; the status is what became of those that succeed.
func (d *delivery[R, P]) finishSingly(list []*sentRecord[R], status Status) {
	first := len(d.done.outcomes)
	d.deliverSingly(list, true)
	d.doubtFailed(first)
	d.synced(first, status)
}

// doubtFailed makes failed outcomes unknown, from one on: another request has written
// part of the records, or may have.
func (d *delivery[R, P]) doubtFailed(first int) {
	for i := range d.done.outcomes[first:] {
		if o := &d.done.outcomes[first+i]; o.Status == StatusFailed {
			o.doubt()
		}
	}
}

// unify delivers a single sync's record by the unified endpoint, since no other takes it.
func (d *delivery[R, P]) unify(list []*sentRecord[R], ambiguous bool) {
	d.byItself = false
	d.deliverUnified(d.translateAll(list, ambiguous), ambiguous)
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
	if status == StatusUnknown && id == "" {
		out.row = nil // it is another record's
	}
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
