package eryxon

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// carries reports a record with others inside it.
func carries(o *Outcome) bool { return len(o.Nested) > 0 }

// leaveNested takes out of a record what it carries.
func leaveNested(r any) {
	switch r := r.(type) {
	case *Job:
		r.Parts = nil
	case *Part:
		r.Operations = nil
	}
}

// leavesNested reports that nested records are to go in their carriers where the server
// takes them, though nobody learns what becomes of them.
func (c *config) leavesNested() bool { return c.noChecks || c.keepNested }

// unload has carriers go without what they carry where the server would drop some of
// it without a word. It is theirs to go afterwards.
func (d *delivery[R, P]) unload(list []*sentRecord[R]) {
	if d.e.cfg.leavesNested() || !d.e.co.isFilling() {
		return
	}
	for _, s := range list {
		if len(s.nested) > 0 {
			d.e.flight.seen.keepMade()
			s.lifted, s.owes = true, true
			alone := s.alone()
			s.own, _ = P(&alone).appendJSON(nil, d.e.cfg.source) // which it was with all that it carries
		}
	}
}

// deliverOwed delivers what the records that have been unloaded carried.
func (d *delivery[R, P]) deliverOwed(list []*sentRecord[R], outcomes []Outcome, ambiguous bool) {
	if owing, _ := partition(list, func(s *sentRecord[R]) bool { return s.owes }); len(owing) > 0 {
		d.showRows(outcomes, carries)
		d.deliverNested(owing, outcomes, ambiguous)
	}
}

// deliverDropped delivers once more what records have carried to a server that was not
// known, where it turns out to be one that may have dropped some of it.
func (d *delivery[R, P]) deliverDropped(list []*sentRecord[R], outcomes []Outcome) {
	arrived := make(map[int]bool)
	for i := range outcomes {
		if o := &outcomes[i]; carries(o) && o.Status.Success() {
			arrived[o.Index] = true
		}
	}
	loaded, _ := partition(list, func(s *sentRecord[R]) bool { return !s.lifted && arrived[s.index] })
	if len(loaded) == 0 || d.e.cfg.leavesNested() || d.e.co.countsOnly() || d.byItself && !d.e.co.isFilling() { // its answer has told
		return
	}
	fills, _, untold := d.fills()
	for _, s := range loaded {
		s.lifted = true // once is enough
	}
	switch {
	case fills:
		d.deliverNested(loaded, outcomes, true)
	case untold != nil:
		for i := range outcomes {
			if arrived[outcomes[i].Index] {
				for k := range outcomes[i].Nested {
					outcomes[i].Nested[k].fail(&RecordError{cause: untold})
				}
			}
		}
	}
}

// showRows finds out which of the records that others belong to have a row although
// they were refused, or may not have been updated: those can be sent, then.
func (d *delivery[R, P]) showRows(outcomes []Outcome, isParent func(*Outcome) bool) {
	if !d.e.co.asksRows(d.c.entity) || d.e.cfg.noChecks || d.e.cfg.strictParents || d.done.end != nil {
		return
	}
	open := make(map[Key]*Outcome)
	var keys []Key
	for i := range outcomes {
		o := &outcomes[i]
		refused := o.Status == StatusFailed && refusesContent(o.Err) && !errors.Is(o.Err, ErrDeletedOnServer)
		if !o.there && (refused || o.Status == StatusUnknown && errors.Is(o.Err, ErrBadAnswer)) && isParent(o) {
			keys, open[o.Key] = append(keys, o.Key), o
		}
	}
	if len(keys) == 0 {
		return
	}
	if fills, _, _ := d.fills(); !fills && !d.e.co.countsOnly() { // as documented, it can't be asked
		return
	}
	found, _, _ := d.e.co.diffKeys(d.e.flight.goOn, d.e.cfg, d.c.entity, keys, true) // what it does not tell stays as it is
	for key, o := range open {
		r := found[key]
		o.show(&r)
		if r.exists() && r.id != "" {
			d.dialect().remember(d.c.entity, key, r.id)
			d.dialect().sawThere(d.c.entity, key, r.id)
		}
	}
}

// show says that a record's row is there, which has just been asked.
func (o *Outcome) show(row *diffRecord) {
	if row.exists() {
		o.there, o.ID = true, cmpOr(o.ID, row.id)
	}
}

// deliverNested delivers what the records carried inside them, as records of
// their own, once their carriers are through.
func (d *delivery[R, P]) deliverNested(list []*sentRecord[R], outcomes []Outcome, ambiguous bool) {
	carriers := make(map[int]*sentRecord[R])
	for _, s := range list {
		if len(s.nested) > 0 {
			carriers[s.index] = s
			s.owes = false
		}
	}
	if len(carriers) == 0 {
		return
	}
	var parts []Part
	var ops []Operation
	var waiting []*Outcome
	for i := range outcomes {
		o := &outcomes[i]
		s, carries := carriers[o.Index]
		if !carries {
			continue
		}
		if status, cause := childStatus(o, d.e.cfg.strictParents); cause != nil {
			if ambiguous && d.e.co.isFilling() { // it may have brought them in
				status = StatusUnknown
			}
			for k := range o.Nested {
				n := &o.Nested[k]
				n.Status, n.RequestID = status, ""
				n.fail(&RecordError{cause: cause})
			}
			continue
		}
		copied := s.record
		if d.carried != nil { // what of it is sent each tells by its own entry
			copied = s.given()
		}
		switch r := any(P(&copied)).(type) {
		case *Job:
			r.ExternalSource = s.key.Source
			parts = append(parts, liftParts(r)...)
		case *Part:
			r.ExternalSource = s.key.Source
			ops = append(ops, liftOperations(r)...)
		}
		for k := range o.Nested {
			waiting = append(waiting, &o.Nested[k])
		}
	}
	settled := make(map[entityKey][]*Outcome) // in the order of the records
	deliverLifted[Part, *Part](d, parts, ambiguous, settled)
	deliverLifted[Operation, *Operation](d, ops, ambiguous, settled)
	for _, n := range waiting {
		key := entityKey{n.Entity, n.Key}
		if len(settled[key]) == 0 {
			continue
		}
		o := settled[key][0]
		settled[key] = settled[key][1:]
		n.Status, n.ID, n.Err, n.Record, n.RequestID, n.Attempts = o.Status, o.ID, o.Err, o.Record, o.RequestID, o.Attempts
		if e, ok := n.recordError(); ok {
			e.Index = n.Index
		}
	}
}

// deliverLifted delivers lifted records as a part of another delivery. Of those that
// share an external id, of several sources, each has a request of its own.
func deliverLifted[C any, PC recordPtr[C], R any, P recordPtr[R]](of *delivery[R, P], list []C, ambiguous bool, settled map[entityKey][]*Outcome) {
	source := of.e.cfg.source
	list = screenLifted[C, PC](of.e, list, ambiguous, settled)
	for len(list) > 0 {
		e := newEngine[C, PC](of.e.co, of.e.cfg, of.e.flight)
		d := e.delivery(newChunk[C](e.entity))
		d.carried, d.done.end = of.carried, of.done.end
		var later []C
		for i := range list {
			r := PC(&list[i])
			key := r.recordKey(source)
			if _, there := d.c.ids[key.ExternalID]; there {
				later = append(later, list[i])
				continue
			}
			m, send := d.recallNested(r, key)
			if _, err := add(d.c, send, key, i, source, math.MaxInt); err != nil {
				o := Outcome{Entity: e.entity, Index: i, Key: key, Status: StatusFailed, Record: list[i], Nested: r.nested(source)}
				_ = o.close(err) // the outcome keeps it
				d.done.outcomes = append(d.done.outcomes, o)
			} else {
				d.c.sent[len(d.c.sent)-1].memory = m
			}
		}
		all := d.c.live()
		d.deliver(all, ambiguous)
		if d.carried != nil {
			d.completeNew(all)
			d.giveBack(all)
		}
		of.done.requests += d.done.requests
		of.done.bytes += d.done.bytes
		if of.done.end == nil {
			of.done.end = d.done.end
		}
		slices.SortStableFunc(d.done.outcomes, func(a, b Outcome) int { return a.Index - b.Index })
		for i := range d.done.outcomes {
			d.done.outcomes[i].settleInto(settled)
		}
		list = later
	}
}

// screenLifted settles lifted records whose key stands on others, too, as in a slice,
// and returns the rest.
func screenLifted[C any, PC recordPtr[C], R any, P recordPtr[R]](e *engine[R, P], list []C, ambiguous bool, settled map[entityKey][]*Outcome) (rest []C) {
	seen := screenAll[C, PC](list, e.cfg.source, func([]int) string { return "nested in others" })
	if seen == nil {
		return list
	}
	for i := range list {
		r := PC(&list[i])
		o := Outcome{Entity: entityOf[C](), Index: i, Key: r.recordKey(e.cfg.source), Nested: r.nested(e.cfg.source)}
		switch v := seen(i); {
		case v.superseded:
			o.supersede(o.Nested)
		case v.err != nil:
			var rules checker
			v.err(&rules)
			o.Status, o.Record = StatusFailed, list[i]
			_ = o.close(rules.err(i, o.Key)) // the outcome keeps it
			if ambiguous {                   // their carriers may have brought them in
				o.doubt()
				for k := range o.Nested {
					o.Nested[k].doubt()
				}
			}
		default:
			rest = append(rest, list[i])
			continue
		}
		o.settleInto(settled)
	}
	return rest
}

// settleInto puts the outcome, and those of what the record carries, where they are
// looked for by their keys.
func (o *Outcome) settleInto(settled map[entityKey][]*Outcome) {
	key := entityKey{o.Entity, o.Key}
	settled[key] = append(settled[key], o)
	for k := range o.Nested {
		o.Nested[k].settleInto(settled)
	}
}

// lift takes nested records out of their carriers, on copies.
func lift(jobs []Job, parts []Part, ops []Operation) ([]Job, []Part, []Operation) {
	copied := false
	for i := range jobs {
		if len(jobs[i].Parts) == 0 {
			continue
		}
		if !copied {
			jobs, copied = slices.Clone(jobs), true
			parts = slices.Clip(parts)
		}
		parts = append(parts, liftParts(&jobs[i])...)
	}
	copied = false
	for i := range parts {
		if len(parts[i].Operations) == 0 {
			continue
		}
		if !copied {
			parts, copied = slices.Clone(parts), true
			ops = slices.Clip(ops)
		}
		ops = append(ops, liftOperations(&parts[i])...)
	}
	return jobs, parts, ops
}

// liftParts takes the parts out of a job.
func liftParts(j *Job) []Part {
	lifted := slices.Clone(j.Parts)
	for i := range lifted {
		p := &lifted[i]
		p.ExternalSource = cmpOr(p.ExternalSource, j.ExternalSource)
		if p.JobID == "" {
			p.JobExternalID = cmpOr(p.JobExternalID, j.ExternalID)
		}
	}
	j.Parts = nil
	return lifted
}

// liftOperations takes the operations out of a part.
func liftOperations(p *Part) []Operation {
	lifted := slices.Clone(p.Operations)
	for i := range lifted {
		o := &lifted[i]
		o.ExternalSource = cmpOr(o.ExternalSource, p.ExternalSource)
		if o.PartID == "" {
			o.PartExternalID = cmpOr(o.PartExternalID, p.ExternalID)
		}
	}
	p.Operations = nil
	return lifted
}

// appendList appends records nested in another.
func appendList[R any, P recordPtr[R]](b []byte, name string, list []R) ([]byte, error) {
	if len(list) == 0 {
		return b, nil
	}
	b = append(appendKey(b, name), '[')
	var err error
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = P(&list[i]).appendJSON(b, ""); err != nil {
			return b, fmt.Errorf("%s%d: %w", name, i, err)
		}
	}
	return append(b, ']'), nil
}

// nestedOutcomes lists nested records depth first; their fate is settled when
// their carrier's is.
func nestedOutcomes[R any, P recordPtr[R]](out []Outcome, e Entity, list []R, source string) []Outcome {
	for i := range list {
		r := P(&list[i])
		out = append(out, Outcome{Entity: e, Index: i, Key: r.recordKey(source)})
		out = append(out, r.nested(source)...)
	}
	return out
}
