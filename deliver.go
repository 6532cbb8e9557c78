package eryxon

import (
	"net/http"
	"strconv"
	"strings"
)

// searchRequests bounds the search for bad records in a chunk that the server
// refuses as a whole, and searchDepth is after how many halvings in a row with
// both halves refused it stops: then it is not about single records.
const (
	searchRequests = 50
	searchDepth    = 5
)

// delivery is a worker's job: to get one chunk through, in one request or in
// as many as it takes, and to settle each of its records once.
type delivery[R any, P recordPtr[R]] struct {
	e        *engine[R, P]
	c        *chunk[R]
	done     finishedChunk
	byItself bool    // it is a single sync's record, and goes by one unless nothing but a bulk takes it
	answer   *result // to the last single sync
	landed   bool    // something of the chunk is known to have arrived
	left     int     // requests that the search may still make
	doubts   int     // requests that may still be made to find out what a bulk has not written
	scratch  checker // allocated once, not once a record
	// refusedTogether counts answers that refused records for another's fault,
	// searched the requests that looked for it.
	refusedTogether, searched int
	knownLost                 bool // what is synced singly is known not to be there
	stale                     bool // ids that were remembered turned out to be old
	// carried is what the state had of the records nested in others.
	carried map[entityKey]StateEntry
	cells   cellRows // as they were before partial ones were sent
}

func (e *engine[R, P]) delivery(c *chunk[R]) *delivery[R, P] {
	return &delivery[R, P]{e: e, c: c, left: searchRequests, doubts: doubtRequests}
}

func (e *engine[R, P]) work(c *chunk[R]) *finishedChunk {
	list := c.live()
	d := e.delivery(c)
	d.done.holder = c
	d.done.outcomes = make([]Outcome, 0, len(list))
	if e.probes(len(list)) {
		e.probed = true
		e.co.probe(e.flight.goOn, e.cfg, e.entity)
	}
	switch {
	case e.cfg.dryRun:
		d.plan(list)
	case e.delta != nil:
		if err := d.deliverRemembered(list); err != nil && d.done.end == nil {
			d.done.end = err
		}
	default:
		d.deliver(list, false)
	}
	if d.landed {
		d.done.barren = nil
	}
	if e.isParent != nil {
		d.showRows(d.done.outcomes, func(o *Outcome) bool { return !carries(o) && e.isParent(o.Index) })
	}
	return &d.done
}

// probeFrom is from how many full requests on an empty one beforehand, to
// recognise the server, is worth its price.
const probeFrom = 5

// probes reports whether the server is to be recognised before a chunk of n
// records goes out. Of an input of unknown length as many as a request takes let
// expect more, as they do with a state, for which most may not be sent.
func (e *engine[R, P]) probes(n int) bool {
	switch {
	case e.probed || e.cfg.dryRun || e.co.release() != ReleaseUnknown:
		return false
	case e.expected == 0:
		return n == maxRecords
	default:
		return e.expected >= probeFrom*e.cfg.maxRecords && (e.delta == nil || n >= e.cfg.maxRecords)
	}
}

// deliver sends records in requests no larger than servers have shown to take.
// Ambiguous means that an earlier request may have written some of them.
func (d *delivery[R, P]) deliver(list []*sentRecord[R], ambiguous bool) {
	for len(list) > 0 {
		n := d.fitting(list)
		d.deliverOne(list[:n], ambiguous)
		list = list[n:]
	}
}

// fitting is how many of the records the next request takes.
func (d *delivery[R, P]) fitting(list []*sentRecord[R]) int {
	most := min(len(list), int(d.e.sizes.records.Load()))
	room := int(d.e.sizes.bytes.Load())
	size := 0
	for i, s := range list[:most] {
		size += len(d.c.json(s))
		if i > 0 && requestSize(d.c.entity, size, i+1) > room {
			return i
		}
	}
	return most
}

func (d *delivery[R, P]) deliverOne(list []*sentRecord[R], ambiguous bool) {
	if d.done.end != nil {
		d.settleUnsent(list, ambiguous)
		return
	}
	first := len(d.done.outcomes)
	d.unload(list)
	d.deliverBulk(list, ambiguous)
	d.deliverOwed(list, d.done.outcomes[first:], ambiguous)
	d.deliverDropped(list, d.done.outcomes[first:])
}

// deliverBulk sends records in one request, and as many as that takes.
func (d *delivery[R, P]) deliverBulk(list []*sentRecord[R], ambiguous bool) {
	if !d.e.co.countsOnly() || d.e.co.onlyAssumed() { // it may be one by now that overwrites
		if list = d.withoutHazards(list, ambiguous); len(list) == 0 {
			return
		}
	}
	if d.e.co.countsOnly() {
		d.deliverCounted(list, ambiguous)
		return
	}
	if d.byItself {
		d.deliverSingly(d.withoutOmitted(list, ambiguous), ambiguous)
		return
	}
	if list = d.withoutMistakes(list, ambiguous); len(list) == 0 {
		return
	}
	if d.c.entity == EntityCells && len(list) > 1 && len(list) <= maxSingleCells && d.e.co.mayCount() {
		d.deliverToFind(list, ambiguous)
		return
	}
	if d.e.co.countsOnly() { // another call's answer has told meanwhile
		d.deliverCounted(list, ambiguous)
		return
	}
	out, answer := d.send(list, ambiguous)
	switch {
	case out.fate == fateAnswered && answer.counted() && !d.e.cfg.noChecks:
		if !d.newCells(list, out, answer) {
			d.deliverMisread(list, out, answer)
		}
	case out.fate == fateAnswered:
		d.settleAnswered(list, out, answer, true)
	case len(list) > 1 && d.tooLarge(list, out):
		d.deliver(list, out.mayHaveWritten())
	case len(list) > 1 && wholeRefusal(out):
		d.search(list, out, 0)
	default:
		d.settleFailed(list, out)
	}
}

// partition splits a list in two, in order.
func partition[T any](list []T, f func(T) bool) (with, without []T) {
	for i, v := range list {
		switch yes := f(v); {
		case yes && with == nil:
			with, without = append(with, v), append(without, list[:i]...)
		case yes:
			with = append(with, v)
		case with != nil:
			without = append(without, v)
		}
	}
	if with == nil {
		return nil, list
	}
	return with, without
}

// send makes one bulk request.
func (d *delivery[R, P]) send(list []*sentRecord[R], ambiguous bool) (*result, *bulkAnswer) {
	var answer *bulkAnswer
	out := d.post(d.c.entity.bulkPath(), d.c.request(list), list, ambiguous, nil, func(body []byte) (*envelope, error) {
		var err error
		answer, err = readBulk(body)
		answer.strike(d.e.co.redact)
		return &answer.envelope, err
	})
	if out.fate == fateAnswered {
		d.e.co.shared.dialect.sawBulk(answer)
	}
	return out, answer
}

// tooLarge reports an answer that smaller requests may avoid, and has all that
// follow be smaller.
func (d *delivery[R, P]) tooLarge(list []*sentRecord[R], out *result) bool {
	sizes := &d.e.sizes
	switch {
	case out.status == http.StatusRequestEntityTooLarge:
		size := 0
		for _, s := range list {
			size += len(d.c.json(s))
		}
		lower(&sizes.bytes, size/2)
	case tookTooLong(out.kind, out.status):
		lower(&sizes.records, len(list)/2)
	case out.status == http.StatusBadRequest:
		m := reTooMany.FindStringSubmatch(messageOf(out.err))
		if m == nil {
			return false
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n < 1 || n >= len(list) {
			n = len(list) / 2
		}
		lower(&sizes.records, n)
		mark(d.dialect(), &d.dialect().limits, d.c.entity, n)
	default:
		return false
	}
	return d.e.flight.goOn.Err() == nil
}

// wholeRefusal reports an answer that refuses a request as a whole for what
// may be a single record's fault.
func wholeRefusal(out *result) bool {
	if !out.own || ending(out) {
		return false
	}
	switch out.status {
	case http.StatusOK, http.StatusCreated, http.StatusBadRequest, http.StatusNotFound, http.StatusConflict,
		http.StatusUnprocessableEntity, http.StatusInternalServerError:
		return true
	}
	return false
}

// ending reports a failure after which no further request can succeed.
func ending(out *result) bool {
	switch out.kind {
	case ErrUnauthorized, ErrForbidden, ErrQuotaExceeded, ErrRateLimited, ErrNotFound, ErrRedirect:
		return true
	}
	return out.fate == fateNotSent
}

// search finds the bad records of a list that the server refused as a whole,
// by halving, while the others land. A half that is sure to hold the bad one is
// not sent as a whole again.
func (d *delivery[R, P]) search(list []*sentRecord[R], refusal *result, depth int) {
	if depth == searchDepth {
		d.done.barren = refusal.err
		d.settleFailed(list, refusal)
		return
	}
	half := len(list) / 2
	left, right := list[:half], list[half:]
	badLeft := d.try(left, refusal)
	if badLeft == nil && len(right) > 1 {
		d.search(right, refusal, 0)
		return
	}
	badRight := d.try(right, refusal)
	if badLeft != nil && badRight != nil {
		depth++
	} else {
		depth = 0
	}
	if badLeft != nil && len(left) > 1 {
		d.search(left, badLeft, depth)
	}
	if badRight != nil && len(right) > 1 {
		d.search(right, badRight, depth)
	}
}

// try sends a part of a refused list. It returns the refusal if the part was
// refused as a whole in turn; it is settled then only if it is one record.
func (d *delivery[R, P]) try(list []*sentRecord[R], refusal *result) *result {
	if d.left == 0 || d.done.end != nil {
		d.settleFailed(list, refusal)
		return nil
	}
	d.left--
	out, answer := d.send(list, refusal.mayHaveWritten())
	switch {
	case out.fate == fateAnswered:
		d.settleAnswered(list, out, answer, true)
		return nil
	case !wholeRefusal(out):
		d.settleFailed(list, out)
		return nil
	case len(list) == 1:
		d.settleFailed(list, out)
	}
	return out
}

// settleAnswered settles records by what the answer proves of each. A lost
// race between two first syncs is repeated once, as one request; a record that
// loses again is one whose row was deleted.
func (d *delivery[R, P]) settleAnswered(list []*sentRecord[R], out *result, answer *bulkAnswer, first bool) {
	found := reconcile(list, answer, out.ambiguous)
	var again, relinked, restored, statusOpen []*sentRecord[R]
	var ids map[Key]string
	passedOver, untold := d.passesOverStatus(list, found)
	for i, s := range list {
		f := &found[i]
		if f.status.Success() && diffable(d.c.entity) { // of the others servers tell nothing anyway, or by their list
			d.dialect().sawThere(d.c.entity, s.key, f.id)
		}
		if s.vetted && first && f.wasThere() {
			if d.madeWithParent(s) {
				text := "it was there, of another part, and the server has overwritten with defaults what the record leaves out"
				if out.ambiguous {
					text = "an answer was lost, after which it was there: if it was before, of another part, the server has overwritten with defaults what the record leaves out"
				}
				d.unknown(s, out, f.id, &RecordError{Message: text, kind: ErrConflict})
				continue
			}
			if d.restores(s, f.id) {
				restored = append(restored, s)
				continue
			}
		}
		if untold != nil && statusSet(P(&s.record)) && f.wasThere() && len(statusOpen) == fewOdd {
			d.unknown(s, out, f.id, &RecordError{Message: "it was there, and whether its status was written the server could not be asked: " + untold.Error(), kind: ErrBadAnswer})
			continue
		}
		if (passedOver || untold != nil) && statusSet(P(&s.record)) && f.wasThere() { // single syncs tell
			if ids == nil {
				ids = make(map[Key]string)
			}
			statusOpen = append(statusOpen, s)
			ids[s.key] = f.id
			continue
		}
		if f.status == StatusFailed && s.pinned && first && refusesParent(f.message) {
			parent, _ := d.parent(s) // it is another row now
			d.forget(parent)
			relinked = append(relinked, s)
			continue
		}
		deleted := f.status == StatusFailed && isDuplicateExternalKey(f.message)
		if deleted && first && !s.vetted { // of which it was seen already that there is no row
			again = append(again, s)
			continue
		}
		o := d.outcome(s, out, f.status)
		o.ID = f.id
		if e := recordError(f, deleted, d.e.co.redact); e != nil {
			o.Record = s.record
			o.fail(e)
			o.nameTaken(P(&s.record))
			if deleted {
				d.forgetDeleted(s, e)
			}
		} else {
			_ = o.close(nil) // nothing to keep
			d.landed = true
		}
		if f.status == StatusFailed {
			d.landed = true // the server is well, the record is not
		}
		if f.status == StatusCreated && (len(s.nested) == 0 || s.lifted) && d.c.entity == EntityParts {
			d.e.flight.seen.sawMade(s.key)
		}
		if cell, ok := any(P(&s.record)).(*Cell); ok && f.status.Success() && f.id != "" {
			d.e.flight.seen.sawName(f.id, cell.Name)
		}
		d.done.outcomes = append(d.done.outcomes, o)
	}
	d.settleStatus(statusOpen, out, ids)
	if len(restored) > 0 { // the bulk has written them: they can't end as not sent any more
		at := len(d.done.outcomes)
		if out2, answer2 := d.send(restored, true); out2.fate == fateAnswered {
			d.settleAnswered(restored, out2, answer2, false)
		} else {
			d.settleFailed(restored, out2)
		}
		d.synced(at, StatusUpdated)
	}
	if again = append(again, d.pinParents(relinked, false)...); len(again) == 0 {
		return
	}
	out2, answer2 := d.send(again, false)
	if out2.fate == fateAnswered {
		d.settleAnswered(again, out2, answer2, false)
		return
	}
	d.settleFailed(again, out2)
}

// refusesParent reports a refusal for the parent's id, not the cell's.
func refusesParent(message string) bool {
	said := understand(message)
	return said.kind == ErrParentNotFound && !strings.HasPrefix(said.field, "cell_")
}

// unknown settles a record of which the answer tells too little.
func (d *delivery[R, P]) unknown(s *sentRecord[R], out *result, id string, e *RecordError) {
	o := d.outcome(s, out, StatusUnknown)
	o.Record, o.ID = s.record, id
	o.fail(e)
	d.done.outcomes = append(d.done.outcomes, o)
}

// synced says which success it was of those that a second request has made sure
// of, from an outcome on.
func (d *delivery[R, P]) synced(first int, status Status) {
	for i := range d.done.outcomes[first:] {
		if o := &d.done.outcomes[first+i]; o.Status == StatusSynced {
			o.Status = status
		}
	}
}

// recordError puts into words why a finding is not a success; nil if it is.
func recordError(f *finding, deleted bool, redact func([]byte) []byte) *RecordError {
	if f.status.Success() {
		return nil
	}
	e := &RecordError{Code: f.code, Message: printable(string(redact([]byte(f.message))))}
	switch said := (&fault{f.code, f.message, f.details}).understood(); {
	case f.doubtful != "":
		e.Message, e.kind = f.doubtful, ErrBadAnswer
	case deleted:
		e.kind = ErrDeletedOnServer
	case said.kind == ErrValidation:
		v := &ValidationError{Code: cmpOr(f.code, "VALIDATION_ERROR"), Message: e.Message, Field: said.field, Details: f.details}
		e.Code, e.Field, e.cause = v.Code, v.Field, v
	default:
		e.kind, e.Field = said.kind, said.field
		e.Message = cmpOr(e.Message, "the server gave no reason")
	}
	return e
}

// settleFailed settles records of a call that brought no answer about them.
func (d *delivery[R, P]) settleFailed(list []*sentRecord[R], out *result) {
	if ending(out) && d.done.end == nil {
		d.done.end = out.err
	}
	if !wholeRefusal(out) && out.kind != ErrTooLarge {
		d.done.barren = out.err
	}
	for _, s := range list {
		of := *out
		of.ambiguous = of.ambiguous || s.maybeWritten
		of.settle()
		d.settle(s, &of, statusOf(of.fate), of.err)
	}
}

// settleUnsent settles records that are not tried any more.
func (d *delivery[R, P]) settleUnsent(list []*sentRecord[R], ambiguous bool) {
	for _, s := range list {
		d.settleUndelivered(s, d.done.end, ambiguous)
	}
}

// settleUndelivered settles a record that is not sent, at least not again.
func (d *delivery[R, P]) settleUndelivered(s *sentRecord[R], cause error, ambiguous bool) {
	out := &result{fate: fateNotSent, err: cause, ambiguous: ambiguous || s.maybeWritten}
	out.settle()
	d.settle(s, out, statusOf(out.fate), cause)
}

// settle settles a record by what ended its call.
func (d *delivery[R, P]) settle(s *sentRecord[R], out *result, status Status, cause error) {
	o := d.outcome(s, out, status)
	o.Record = s.record
	_ = o.close(cause) // the outcome keeps it
	d.done.outcomes = append(d.done.outcomes, o)
}

func (d *delivery[R, P]) outcome(s *sentRecord[R], out *result, status Status) Outcome {
	return Outcome{
		Entity: d.c.entity, Index: s.index, Key: s.key, Status: status, Nested: s.nested,
		RequestID: out.requestID, Attempts: out.attempts,
	}
}
