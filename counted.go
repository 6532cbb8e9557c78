package eryxon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
)

// This file delivers chunks to servers whose bulk answers are counts that prove
// nothing. A record is reported as arrived only when something else has shown
// it: the unified endpoint's answer, a single sync's, or the same bulk once
// more, which counts as created what the first did not make.

// fewRecords is up to how many records of a chunk are synced one by one where
// no bulk can prove their outcome.
const fewRecords = 20

// singleRecords is up to how many are synced one by one although a bulk and a
// look at the rows could prove their outcome: these would cost as much.
const singleRecords = 2

// deliverCounted delivers records and finds out what became of each. Ambiguous
// means that an earlier request may have written some of them.
func (d *delivery[R, P]) deliverCounted(list []*sentRecord[R], ambiguous bool) {
	if len(list) == 0 {
		return
	}
	if lack := marked(d.dialect(), &d.dialect().lacking, d.c.entity); lack != nil {
		d.refuse(list, lack)
		return
	}
	first := len(d.done.outcomes)
	ready := d.translateAll(list, ambiguous)
	switch {
	case len(ready) == 0:
	case d.e.cfg.noChecks:
		d.deliverUnchecked(ready, ambiguous)
	case d.c.entity == EntityCells || d.c.entity == EntityOperations:
		d.deliverTwice(ready, ambiguous)
	default:
		d.deliverUnified(ready, ambiguous)
	}
	d.deliverNested(list, d.done.outcomes[first:], ambiguous)
}

// deliverNested delivers what the records carried inside them, as records of
// their own, once their carriers are through.
func (d *delivery[R, P]) deliverNested(list []*sentRecord[R], outcomes []Outcome, ambiguous bool) {
	carriers := make(map[int]*sentRecord[R])
	for _, s := range list {
		if len(s.nested) > 0 {
			carriers[s.index] = s
		}
	}
	if len(carriers) == 0 {
		return
	}
	var parts []Part
	var ops []Operation
	for i := range outcomes {
		o := &outcomes[i]
		s, carries := carriers[o.Index]
		if !carries {
			continue
		}
		if status, cause := childStatus(o, d.e.cfg.strictParents); cause != nil {
			for k := range o.Nested {
				n := &o.Nested[k]
				n.Status, n.RequestID = status, ""
				n.fail(&RecordError{cause: cause})
			}
			continue
		}
		copied := s.record
		switch r := any(P(&copied)).(type) {
		case *Job:
			r.ExternalSource = s.key.Source
			parts = append(parts, liftParts(r)...)
		case *Part:
			r.ExternalSource = s.key.Source
			ops = append(ops, liftOperations(r)...)
		}
	}
	settled := make(map[entityKey]*Outcome)
	deliverLifted[Part, *Part](d.e, &d.done, parts, ambiguous, settled)
	deliverLifted[Operation, *Operation](d.e, &d.done, ops, ambiguous, settled)
	for i := range outcomes {
		for k := range outcomes[i].Nested {
			n := &outcomes[i].Nested[k]
			if o, ok := settled[entityKey{n.Entity, n.Key}]; ok {
				n.Status, n.ID, n.Err, n.Record, n.RequestID, n.Attempts = o.Status, o.ID, o.Err, o.Record, o.RequestID, o.Attempts
			}
		}
	}
}

// deliverLifted delivers lifted records as a part of another delivery.
func deliverLifted[C any, PC recordPtr[C], R any, P recordPtr[R]](carrier *engine[R, P], done *finishedChunk, list []C, ambiguous bool, settled map[entityKey]*Outcome) {
	if len(list) == 0 {
		return
	}
	e := newEngine[C, PC](carrier.co, newEndpoint(entityOf[C]()), carrier.cfg, carrier.flight)
	d := &delivery[C, PC]{e: e, c: newChunk[C](e.at.entity), left: searchRequests}
	d.done.end = done.end
	for i := range list {
		r := PC(&list[i])
		if _, err := add(d.c, r, r.recordKey(carrier.cfg.source), i, carrier.cfg.source, math.MaxInt); err != nil {
			o := Outcome{Entity: e.at.entity, Index: i, Key: r.recordKey(carrier.cfg.source), Status: StatusFailed}
			_ = o.close(err) // the outcome keeps it
			d.done.outcomes = append(d.done.outcomes, o)
		}
	}
	d.deliverCounted(d.c.live(), ambiguous)
	done.stats.add(d.done.stats)
	if done.end == nil {
		done.end = d.done.end
	}
	for i := range d.done.outcomes {
		o := &d.done.outcomes[i]
		settled[entityKey{o.Entity, o.Key}] = o
		for k := range o.Nested {
			settled[entityKey{o.Nested[k].Entity, o.Nested[k].Key}] = &o.Nested[k]
		}
	}
}

func (d *delivery[R, P]) dialect() *dialect { return &d.e.co.shared.dialect }

// translateAll rewrites the records for the server. Those whose references lead
// nowhere are settled; the others are returned.
func (d *delivery[R, P]) translateAll(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	co, cfg, ctx := d.e.co, d.e.cfg, d.e.flight.goOn
	var partKeys []Key
	var names []string
	jobs, parts := map[Key]string{}, map[Key]string{}
	var cells map[string][]string
	unified := d.c.entity == EntityParts && co.unifiedEntity(EntityParts) && !cfg.noChecks
	var jobKeys []Key
	for _, s := range list {
		switch r := any(P(&s.record)).(type) {
		case *Part:
			if r.JobID == "" && !unified {
				jobKeys = append(jobKeys, Key{s.key.Source, r.JobExternalID})
			}
		case *Operation:
			if r.PartID == "" {
				partKeys = append(partKeys, Key{s.key.Source, r.PartExternalID})
			}
			if r.CellID == "" {
				names = append(names, r.CellName)
			}
		}
	}
	var out *result
	var err error
	if len(jobKeys) > 0 {
		jobs, out, err = co.resolve(ctx, cfg, EntityJobs, jobKeys)
	}
	if len(partKeys) > 0 && err == nil {
		parts, out, err = co.resolve(ctx, cfg, EntityParts, partKeys)
	}
	if len(names) > 0 && err == nil {
		cells, err = co.cellsByName(ctx, cfg, names)
	}
	if err != nil {
		d.undeliver(list, out, err, ambiguous)
		return nil
	}
	ready := make([]*sentRecord[R], 0, len(list))
	for _, s := range list {
		copied := s.record
		err := error(nil)
		if p, ok := any(P(&copied)).(*Part); ok && unified && p.JobID == "" {
			p.Operations = nil // the unified endpoint finds the job itself
		} else {
			err = co.translate(P(&copied), cfg.source, jobs, parts, cells)
		}
		if err == nil && cfg.omitMissing {
			omitAbsent(d.dialect(), any(P(&copied)))
		}
		if err == nil {
			s.own, err = P(&copied).appendJSON(nil, cfg.source)
		}
		if err != nil {
			o := d.outcome(s, &result{}, StatusFailed)
			o.Record = s.record
			_ = o.close(err) // the outcome keeps it
			d.done.outcomes = append(d.done.outcomes, o)
			continue
		}
		ready = append(ready, s)
	}
	return ready
}

// undeliver settles records whose references could not be looked up.
func (d *delivery[R, P]) undeliver(list []*sentRecord[R], out *result, err error, ambiguous bool) {
	if out != nil && out.err != nil {
		if ending(out) && d.done.end == nil {
			d.done.end = err
		}
		d.done.barren = err
	}
	for _, s := range list {
		d.settleUndelivered(s, err, ambiguous)
	}
}

// deliverUnchecked sends and believes nothing.
func (d *delivery[R, P]) deliverUnchecked(list []*sentRecord[R], ambiguous bool) {
	out, answer := d.send(list, ambiguous)
	if out.fate != fateAnswered {
		d.settleFailed(list, out)
		return
	}
	d.settleAnswered(list, out, answer, false)
}

// refuse settles records that can't be written at all.
func (d *delivery[R, P]) refuse(list []*sentRecord[R], cause error) {
	for _, s := range list {
		o := d.outcome(s, &result{}, StatusFailed)
		o.Record = s.record
		_ = o.close(cause) // the outcome keeps it
		d.done.outcomes = append(d.done.outcomes, o)
	}
}

// arrive settles a record that is known to have arrived.
func (d *delivery[R, P]) arrive(s *sentRecord[R], out *result, status Status, id string) {
	o := d.outcome(s, out, status)
	o.ID = id
	_ = o.close(nil) // nothing to keep
	d.landed = true
	d.dialect().remember(d.c.entity, s.key, id)
	d.done.outcomes = append(d.done.outcomes, o)
}

// fail settles a record that the server refused in so many words.
func (d *delivery[R, P]) fail(s *sentRecord[R], out *result, status Status, e *RecordError) {
	o := d.outcome(s, out, status)
	o.Record = s.record
	o.fail(e)
	o.nameTaken(P(&s.record))
	d.landed = true // the server is well, the record is not
	d.done.outcomes = append(d.done.outcomes, o)
}

// deliverUnified takes the fast route for the records that it can carry.
func (d *delivery[R, P]) deliverUnified(list []*sentRecord[R], ambiguous bool) {
	var carried, partial, others []*sentRecord[R]
	for _, s := range list {
		ok, part := unifiable(P(&s.record))
		switch {
		case !ok || !d.e.co.unifiedEntity(d.c.entity):
			others = append(others, s)
		case part:
			partial = append(partial, s)
		default:
			carried = append(carried, s)
		}
	}
	existing, absent, ids := d.existence(partial)
	carried = append(carried, absent...)
	for _, group := range bySource(carried) {
		for len(group) > 0 && d.done.end == nil {
			n := d.fitting(group)
			others = append(others, d.unified(group[:n], ambiguous, false)...)
			group = group[n:]
		}
		if len(group) > 0 {
			d.settleUnsent(group, ambiguous)
		}
	}
	d.deliverProven(append(existing, others...), ids, ambiguous)
}

// existence tells rows that exist from those that do not. What can't be told
// counts as existing, for which no field may be overwritten.
func (d *delivery[R, P]) existence(list []*sentRecord[R]) (existing, absent []*sentRecord[R], ids map[Key]string) {
	if len(list) == 0 {
		return nil, nil, nil
	}
	keys := make([]Key, len(list))
	for i, s := range list {
		keys[i] = s.key
	}
	found, out, err := d.e.co.diffKeys(d.e.flight.goOn, d.e.cfg, d.c.entity, keys)
	if out != nil {
		d.done.stats.attempts += out.attempts
		d.done.stats.requests += out.attempts
		d.done.stats.waited += out.waited
	}
	ids = make(map[Key]string, len(list))
	for _, s := range list {
		r := found[s.key]
		if err == nil && r.status == DiffCreate {
			absent = append(absent, s)
			continue
		}
		existing = append(existing, s)
		ids[s.key] = r.id
		d.dialect().remember(d.c.entity, s.key, r.id)
	}
	return existing, absent, ids
}

func bySource[R any](list []*sentRecord[R]) [][]*sentRecord[R] {
	var groups [][]*sentRecord[R]
	at := make(map[string]int, 1)
	for _, s := range list {
		i, ok := at[s.key.Source]
		if !ok {
			i = len(groups)
			at[s.key.Source] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

// unified sends records of one source through the unified endpoint and returns
// those that need another route. With hasBad, one of them is known to make the
// server refuse all creates.
func (d *delivery[R, P]) unified(list []*sentRecord[R], ambiguous, hasBad bool) (others []*sentRecord[R]) {
	if len(list) == 0 {
		return nil
	}
	if hasBad && len(list) > 1 {
		half := len(list) / 2
		before := d.refusedTogether
		others = d.unified(list[:half], ambiguous, false)
		// Where the first half is clean the bad one is in the second, which
		// need not be sent as a whole again.
		return append(others, d.unified(list[half:], ambiguous, d.refusedTogether == before)...)
	}
	if d.done.end != nil {
		d.settleUnsent(list, ambiguous)
		return nil
	}
	body := d.c.appendArray(append(append([]byte(`{"`), d.c.entity...), `":`...), list)
	// Its own hash does not follow changes made inside the MES.
	body = append(body, `,"options":{"skip_unchanged":false}}`...)
	var answer *erpAnswer
	out := d.post(erpSyncPath, body, list, ambiguous, func(b []byte) (*envelope, error) {
		var err error
		answer, err = readERP(b, d.e.co.redact)
		return &answer.envelope, err
	})
	switch {
	case out.fate != fateAnswered && unsupportedUnified(out):
		mark(d.dialect(), &d.dialect().noUnified, d.c.entity, true)
		return list
	case out.fate != fateAnswered && len(list) > 1 && d.tooLarge(list, out):
		half := len(list) / 2
		others = d.unified(list[:half], out.mayHaveWritten(), false)
		return append(others, d.unified(list[half:], out.mayHaveWritten(), false)...)
	case out.fate != fateAnswered && len(list) > 1 && wholeRefusal(out) && d.left > 0:
		d.left--
		d.refusedTogether++
		return d.unified(list, out.mayHaveWritten(), true)
	case out.fate != fateAnswered:
		d.settleFailed(list, out)
		return nil
	}
	found := reconcile(list, &answer.entity(d.c.entity).bulkAnswer, out.ambiguous)
	together := make(map[string][]*sentRecord[R])
	var texts []string
	for i, s := range list {
		f := &found[i]
		said := understand(f.message)
		switch {
		case f.status.Success():
			d.arrive(s, out, f.status, f.id)
		case f.status == StatusFailed && said.kind == ErrMissingColumn:
			others = append(others, d.lacks(s, out, f, said.field)...)
		case f.status == StatusFailed && said.kind != ErrParentNotFound && f.message != "" && f.message != "Missing required fields":
			if together[f.message] == nil {
				texts = append(texts, f.message)
			}
			together[f.message] = append(together[f.message], s)
		case f.status == StatusFailed && said.kind == ErrParentNotFound:
			if p, ok := any(P(&s.record)).(*Part); ok {
				d.dialect().forget(EntityJobs, Key{s.key.Source, p.JobExternalID})
			}
			d.fail(s, out, f.status, recordError(f, false, d.e.co.redact))
		default:
			d.fail(s, out, f.status, recordError(f, false, d.e.co.redact))
		}
	}
	for _, text := range texts {
		group := together[text]
		f := &finding{status: StatusFailed, message: text, seen: true}
		switch {
		case len(group) == 1:
			d.fail(group[0], out, StatusFailed, recordError(f, isDuplicateExternalKey(text), d.e.co.redact))
		case d.left == 0:
			for _, s := range group {
				d.fail(s, out, StatusFailed, recordError(f, false, d.e.co.redact))
			}
		default:
			// All creates are one insert: one bad record fails every one.
			d.left--
			d.refusedTogether++
			others = append(others, d.unified(group, ambiguous, true)...)
		}
	}
	return others
}

// lacks deals with a column that the server's database does not have.
func (d *delivery[R, P]) lacks(s *sentRecord[R], out *result, f *finding, column string) []*sentRecord[R] {
	if column == "priority" && d.c.entity == EntityJobs {
		mark(d.dialect(), &d.dialect().noUnified, d.c.entity, true)
		return []*sentRecord[R]{s} // the endpoint writes it always, other routes where it is given
	}
	if column == "sync_hash" {
		lack := missingColumnError(d.c.entity, column, f.message)
		mark(d.dialect(), &d.dialect().lacking, d.c.entity, lack)
		d.refuse([]*sentRecord[R]{s}, lack)
		return nil
	}
	d.fail(s, out, StatusFailed, recordError(f, false, d.e.co.redact))
	return nil
}

// missingColumnError tells once for all records of an entity why none can be
// written.
func missingColumnError(e Entity, column, message string) error {
	return &errReference{ErrMissingColumn, fmt.Sprintf(
		"the server's table %s lacks the column %s, which the server itself writes: no record of this kind can be stored until the server's owner adds it (the server said: %s)",
		e, column, printable(message))}
}

// deliverProven delivers records whose outcome only a single sync or a second
// look can show. Of some the row's id is known already.
func (d *delivery[R, P]) deliverProven(list []*sentRecord[R], ids map[Key]string, ambiguous bool) {
	if len(list) == 0 {
		return
	}
	if d.c.entity == EntityParts {
		list = d.translateParts(list, ambiguous)
	}
	if len(list) <= singleRecords {
		d.deliverSingly(list, ambiguous)
		return
	}
	var existing, open []*sentRecord[R]
	for _, s := range list {
		if ids[s.key] != "" {
			existing = append(existing, s)
		} else {
			open = append(open, s)
		}
	}
	found, absent, more := d.existence(open)
	existing = append(existing, found...)
	if ids == nil {
		ids = more
	}
	maps.Copy(ids, more)
	d.deliverTwice(absent, ambiguous)
	if len(existing) <= singleRecords {
		d.deliverSingly(existing, ambiguous)
		return
	}
	d.deliverUpdates(existing, ids, ambiguous)
}

// translateParts finishes the translation of parts that leave the unified
// route: the others want their job's id.
func (d *delivery[R, P]) translateParts(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	var keys []Key
	for _, s := range list {
		if p, ok := any(P(&s.record)).(*Part); ok && p.JobID == "" {
			keys = append(keys, Key{s.key.Source, p.JobExternalID})
		}
	}
	jobs, out, err := d.e.co.resolve(d.e.flight.goOn, d.e.cfg, EntityJobs, keys)
	if err != nil {
		d.undeliver(list, out, err, ambiguous)
		return nil
	}
	ready := list[:0:0]
	for _, s := range list {
		copied := s.record
		err := d.e.co.translate(P(&copied), d.e.cfg.source, jobs, nil, nil)
		if err == nil {
			s.own, err = P(&copied).appendJSON(nil, d.e.cfg.source)
		}
		if err != nil {
			d.refuse([]*sentRecord[R]{s}, err)
			continue
		}
		ready = append(ready, s)
	}
	return ready
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
	if lack := marked(d.dialect(), &d.dialect().lacking, d.c.entity); lack != nil {
		d.refuse([]*sentRecord[R]{s}, lack)
		return
	}
	out, status, id, cause := d.e.co.putOne(d.e.flight.goOn, d.e.flight.wire, d.e.cfg, d.e.at, s.key, d.c.json(s), ambiguous)
	d.count(out, len(d.c.json(s)))
	if cause == nil {
		mark(d.dialect(), &d.dialect().proven, d.c.entity, true)
		d.arrive(s, out, status, id)
		return
	}
	if said := understand(messageOf(cause)); said.kind == ErrMissingColumn {
		switch {
		case said.field == "sync_hash":
			cause = missingColumnError(d.c.entity, said.field, messageOf(cause))
			mark(d.dialect(), &d.dialect().lacking, d.c.entity, cause)
		case d.e.cfg.omitMissing && optionalColumn(said.field) && !marked(d.dialect(), &d.dialect().absent, string(d.c.entity)+"."+said.field):
			mark(d.dialect(), &d.dialect().absent, string(d.c.entity)+"."+said.field, true)
			if again := d.translateAll([]*sentRecord[R]{s}, ambiguous); len(again) == 1 {
				d.single(s, ambiguous)
			}
			return
		}
	}
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

// optionalColumn reports a field that a record can do without.
func optionalColumn(column string) bool { return column == "priority" }

// omitAbsent leaves out the fields whose columns the server is known to lack.
func omitAbsent(d *dialect, r any) {
	if j, ok := r.(*Job); ok && marked(d, &d.absent, string(EntityJobs)+".priority") {
		j.Priority = Opt[int]{}
	}
}

// deliverTwice sends a bulk and the same bulk once more: what the second counts
// as created the first did not make. The first record goes by itself, where
// none of its entity has yet, for its answer tells whether the server can store
// the entity at all.
func (d *delivery[R, P]) deliverTwice(list []*sentRecord[R], ambiguous bool) {
	var sure []*sentRecord[R]
	for _, s := range list {
		if d.c.entity == EntityCells || d.c.entity == EntityOperations {
			if !provable(P(&s.record)) {
				d.deliverSingly([]*sentRecord[R]{s}, ambiguous)
				continue
			}
		}
		sure = append(sure, s)
	}
	if len(sure) > 0 && !marked(d.dialect(), &d.dialect().proven, d.c.entity) {
		d.deliverSingly(sure[:1], ambiguous)
		sure = sure[1:]
	}
	for len(sure) > 0 {
		if lack := marked(d.dialect(), &d.dialect().lacking, d.c.entity); lack != nil {
			d.refuse(sure, lack)
			return
		}
		if len(sure) <= 2 {
			d.deliverSingly(sure, ambiguous)
			return
		}
		n := d.fitting(sure)
		d.twice(sure[:n], ambiguous)
		sure = sure[n:]
	}
}

func (d *delivery[R, P]) twice(list []*sentRecord[R], ambiguous bool) {
	if d.done.end != nil {
		d.settleUnsent(list, ambiguous)
		return
	}
	out, first := d.send(list, ambiguous)
	if out.fate != fateAnswered {
		if len(list) > 1 && d.tooLarge(list, out) {
			d.deliverTwice(list, out.mayHaveWritten())
			return
		}
		d.settleFailed(list, out)
		return
	}
	list = d.settleListed(list, out, first)
	if len(list) == 0 {
		return
	}
	again, second := d.send(list, false)
	if again.fate != fateAnswered || !second.counted() || second.failed > 0 || second.created+second.updated != len(list) {
		d.doubt(list, out, again.err)
		return
	}
	status := StatusSynced
	switch {
	case ambiguous || out.ambiguous:
	case first.created == len(list) && second.created == 0:
		status = StatusCreated
	case first.updated == len(list) && second.created == 0:
		status = StatusUpdated
	}
	d.findLost(list, again, second.created, status)
}

// settleListed settles what a counting answer names as failed and returns the
// others.
func (d *delivery[R, P]) settleListed(list []*sentRecord[R], out *result, answer *bulkAnswer) []*sentRecord[R] {
	found := reconcile(list, answer, out.ambiguous)
	rest := list[:0:0]
	for i, s := range list {
		if f := &found[i]; f.status == StatusFailed {
			d.fail(s, out, f.status, recordError(f, false, d.e.co.redact))
		} else {
			rest = append(rest, s)
		}
	}
	return rest
}

// doubt settles records that were sent and can't be checked.
func (d *delivery[R, P]) doubt(list []*sentRecord[R], out *result, cause error) {
	text := "the answer gives counts only, and the check of them brought no answer that tells"
	if cause != nil {
		text += ": " + cause.Error()
	}
	for _, s := range list {
		o := d.outcome(s, out, StatusUnknown)
		o.Record = s.record
		o.fail(&RecordError{Message: text, kind: ErrBadAnswer})
		d.done.outcomes = append(d.done.outcomes, o)
	}
}

// findLost settles records of which the given number did not arrive, by asking
// again for halves. A single sync of a lost one gives the reason, which the
// others of its group share.
func (d *delivery[R, P]) findLost(list []*sentRecord[R], out *result, lost int, status Status) {
	switch {
	case len(list) == 0:
	case d.done.end != nil:
		d.doubt(list, out, d.done.end)
	case lost == 0:
		for _, s := range list {
			d.arrive(s, out, status, "")
		}
	case lost == len(list):
		d.settleLost(list)
	case d.left == 0:
		d.doubt(list, out, errors.New("too many records were lost to look for each"))
	default:
		d.left--
		half := len(list) / 2
		again, answer := d.send(list[:half], false)
		if again.fate != fateAnswered || !answer.counted() || answer.created > min(half, lost) || answer.created+answer.updated != half {
			d.doubt(list, out, again.err)
			return
		}
		d.findLost(list[:half], again, answer.created, status)
		d.findLost(list[half:], out, lost-answer.created, status)
	}
}

// settleLost settles records that the server claimed and did not store.
func (d *delivery[R, P]) settleLost(list []*sentRecord[R]) {
	d.single(list[0], true)
	rest := list[1:]
	if len(rest) == 0 {
		return
	}
	last := d.done.outcomes[len(d.done.outcomes)-1]
	if last.Status != StatusFailed {
		// The one alone went through: there is no common reason.
		d.deliverSingly(rest, true)
		return
	}
	for _, s := range rest {
		o := d.outcome(s, &result{requestID: last.RequestID, attempts: last.Attempts}, StatusFailed)
		o.Record = s.record
		_ = o.close(errors.Unwrap(&sharedReason{last.Err})) // the outcome keeps it
		d.done.outcomes = append(d.done.outcomes, o)
	}
}

// sharedReason takes the reason out of another record's error.
type sharedReason struct{ err error }

func (s *sharedReason) Error() string { return s.err.Error() }

func (s *sharedReason) Unwrap() error {
	var e *RecordError
	if errors.As(s.err, &e) && e.cause != nil {
		return e.cause
	}
	return s.err
}

// count adds a call to the account.
func (d *delivery[R, P]) count(out *result, size int) {
	d.done.stats.attempts += out.attempts
	d.done.stats.bytes += int64(out.attempts) * int64(size)
	d.done.stats.waited += out.waited
	if out.attempts > 0 {
		d.done.stats.requests++
	}
}

// post makes a bulk call with its own body.
func (d *delivery[R, P]) post(path string, body []byte, list []*sentRecord[R], ambiguous bool, decode func([]byte) (*envelope, error)) *result {
	cl := call{
		method: http.MethodPost, path: path, body: body, records: len(list),
		bulk: true, repeatable: true, split: len(list) > 1, wire: d.e.flight.wire, decode: decode,
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
func (co *core) putOne(ctx, wire context.Context, cfg *config, at endpoint, key Key, body []byte, ambiguous bool) (*result, Status, string, error) {
	var answer singleAnswer
	cl := call{method: http.MethodPut, path: at.singlePath, body: body, records: 1, repeatable: true, wire: wire,
		decode: func(body []byte) (*envelope, error) {
			var err error
			answer, err = readSingle(body, at.row)
			answer.strike(co.redact)
			return &answer.envelope, err
		}}
	out := co.do(ctx, cfg, &cl)
	out.row = answer.row
	if ambiguous {
		out.ambiguous = true
		out.settle()
	}
	if out.fate != fateAnswered {
		return out, statusOf(out.fate), "", out.err
	}
	status, id, complaint := answer.judge(key, out.status, out.ambiguous)
	kind := ErrBadAnswer
	switch {
	case complaint == "":
		return out, status, id, nil
	case complaint == deletedComplaint:
		kind = ErrDeletedOnServer
	case status == StatusFailed:
		kind = understand(complaint).kind
	}
	return out, status, id, co.apiError(&cl, out, kind, "", complaint, nil, nil)
}

// syncCounted is the single sync on a server that takes UUIDs for references:
// the record is translated first, and what is nested in it goes afterwards.
func (s *syncer[R, P, Row]) syncCounted(ctx context.Context, cfg *config, r P, res *SyncResult[Row]) error {
	f := newFlight(ctx, s.co, cfg)
	defer f.close()
	e := newEngine[R, P](s.co, s.at, cfg, f)
	d := &delivery[R, P]{e: e, c: newChunk[R](s.at.entity), left: searchRequests}
	if _, err := add(d.c, r, res.Key, 0, cfg.source, math.MaxInt); err != nil {
		res.Status = StatusFailed
		return res.close(err)
	}
	list := d.c.live()
	if s.at.entity == EntityParts {
		list = d.translateParts(list, false)
	} else {
		list = d.translateAll(list, false)
	}
	if len(list) == 0 {
		res.Outcome = d.done.outcomes[0]
		res.Record = nil
		return res.Err
	}
	out, status, id, cause := s.co.putOne(ctx, ctx, cfg, s.at, res.Key, d.c.json(list[0]), false)
	res.Response = out.response()
	res.RequestID, res.Attempts = out.requestID, out.attempts
	res.Status, res.ID, res.Row = status, id, decodeRow[Row](out.row)
	s.co.shared.dialect.remember(s.at.entity, res.Key, id)
	err := res.close(cause)
	outcomes := []Outcome{res.Outcome}
	d.deliverNested(list, outcomes, false)
	res.Outcome = outcomes[0]
	res.nameTaken(r)
	return err
}

// nameTaken adds to a collision of natural keys which one it is.
func (o *Outcome) nameTaken(r any) {
	e, ok := o.Err.(*RecordError) //nolint:errorlint // Err is a RecordError itself by its definition
	if !ok || !errors.Is(e, ErrNaturalKeyTaken) {
		return
	}
	var value string
	switch r := r.(type) {
	case *Job:
		e.Field, value = "job_number", r.JobNumber
	case *Part:
		e.Field, value = "part_number", r.PartNumber
	case *Operation:
		e.Field, value = "operation_name", r.OperationName
	case *Cell:
		e.Field, value = "name", r.Name
	case *Resource:
		e.Field, value = "name", r.Name
	}
	e.Message = fmt.Sprintf("%s %q belongs to another row: %s", e.Field, value, e.Message)
}
