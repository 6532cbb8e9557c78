package eryxon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
)

// This file delivers chunks to servers whose bulk answers are counts that prove
// nothing. A record is reported as arrived only when something else has shown
// it: the unified endpoint's answer, the hash of a row's last sync, a single
// sync's answer, or the same bulk once more, which counts as created what the
// first did not make.

// singleRecords is up to how many are synced one by one although a bulk could
// be proven: that would cost as much.
const singleRecords = 2

// deliverCounted delivers records and finds out what became of each. Ambiguous
// means that an earlier request may have written some of them.
func (d *delivery[R, P]) deliverCounted(list []*sentRecord[R], ambiguous bool) {
	if len(list) == 0 {
		return
	}
	if d.done.end != nil {
		d.settleUnsent(list, ambiguous)
		return
	}
	if lack := d.lack(); lack != nil {
		d.refuse(list, lack)
		return
	}
	first := len(d.done.outcomes)
	ready := d.translateAll(list, ambiguous)
	switch {
	case len(ready) == 0 && d.byItself && errors.Is(d.done.outcomes[first].Err, ErrUnsupported) && d.e.co.unifiedEntity(d.c.entity):
		d.done.outcomes = d.done.outcomes[:first] // the unified endpoint finds a job that it does not name
		d.unify(list, ambiguous)
	case len(ready) == 0:
	case d.byItself && d.unifiedOnly(ready[0]):
		d.unify(ready, ambiguous)
	case d.byItself:
		d.deliverSingly(ready, ambiguous)
	case d.e.cfg.noChecks:
		d.deliverUnchecked(ready, ambiguous)
	case d.c.entity == EntityCells || d.c.entity == EntityOperations:
		d.deliverTwice(ready, ambiguous)
	default:
		d.deliverUnified(ready, ambiguous)
	}
	d.showRows(d.done.outcomes[first:], carries)
	d.deliverNested(list, d.done.outcomes[first:], ambiguous)
}

func (d *delivery[R, P]) dialect() *dialect { return &d.e.co.shared.dialect }

// lack is why nothing of the entity can be written, nil where it can.
func (d *delivery[R, P]) lack() error {
	return marked(d.dialect(), &d.dialect().lacking, d.c.entity)
}

// translateAll rewrites the records for the server. Those whose references lead
// nowhere are settled; the others are returned.
func (d *delivery[R, P]) translateAll(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	co, cfg, ctx := d.e.co, d.e.cfg, d.e.flight.goOn
	var partKeys []Key
	var names []string
	jobs, parts := map[Key]string{}, map[Key]string{}
	var cells map[string][]string
	unified := d.c.entity == EntityParts && co.unifiedEntity(EntityParts) && !cfg.noChecks && !d.byItself
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
		cells, err = co.cellsByName(ctx, cfg, d.e.flight.seen, names)
	}
	if err != nil {
		d.undeliver(list, out, err, ambiguous)
		return nil
	}
	return d.rewrite(list, ambiguous, func(r P) error {
		if p, ok := any(r).(*Part); ok && unified && p.JobID == "" {
			p.Operations = nil // the unified endpoint finds the job itself
			return nil
		}
		if cfg.omitMissing {
			omitAbsent(d.dialect(), r)
			d.omitUnwritable(r)
		}
		return co.translate(r, cfg.source, jobs, parts, cells)
	})
}

// rewrite has copies of the records translated, and encodes these. Those whose
// references lead nowhere are settled; the others are returned.
func (d *delivery[R, P]) rewrite(list []*sentRecord[R], ambiguous bool, translate func(P) error) []*sentRecord[R] {
	ready := make([]*sentRecord[R], 0, len(list))
	for _, s := range list {
		copied := s.alone()
		err := translate(P(&copied))
		if err == nil {
			s.own, err = d.encode(s, P(&copied))
		}
		if err != nil {
			d.untranslatable(s, err, ambiguous)
			continue
		}
		ready = append(ready, s)
	}
	return ready
}

// encode writes a translated record as it goes on the wire.
func (d *delivery[R, P]) encode(s *sentRecord[R], translated P) ([]byte, error) {
	b, err := translated.appendJSON(nil, d.e.cfg.source)
	if err == nil && s.isNew {
		b = withFields(b, d.required(s))
	}
	return b, err
}

// withFields adds fields, each with a comma before it, to a JSON object.
func withFields(object, fields []byte) []byte {
	return append(append(object[:len(object)-1], fields...), '}')
}

// required are the fields that a row can't be made without and that the record, as
// it is sent, leaves out.
func (d *delivery[R, P]) required(s *sentRecord[R]) []byte {
	given := s.given()
	return required(P(&s.record), P(&given), s.place)
}

// required are the fields of a record that servers which count store no row without,
// and that it leaves out, as they go on the wire: with what the caller gave, who may
// have given more than is sent, or with what the documented server gives a new row.
// The place is a cell's on the board.
func required(r, given any, place int) (fields []byte) {
	add := func(extra map[string]any, name string, value any) {
		if _, known := extra[name]; !known {
			b, _ := json.Marshal(value) // a number or a text
			fields = append(append(fields, `,"`+name+`":`...), b...)
		}
	}
	switch r := r.(type) {
	case *Part:
		if g, ok := given.(*Part); ok && !r.Material.IsSet() {
			add(r.Extra, "material", g.Material.Or("Unknown"))
		}
	case *Operation:
		g, ok := given.(*Operation)
		if ok && !r.Sequence.IsSet() {
			add(r.Extra, "sequence", g.Sequence.Or(1))
		}
		if ok && !r.EstimatedTimeMinutes.IsSet() {
			add(r.Extra, "estimated_time", g.EstimatedTimeMinutes.Or(0))
		}
	case *Cell:
		if g, ok := given.(*Cell); ok && !r.Sequence.IsSet() {
			add(r.Extra, "sequence", g.Sequence.Or(place))
		}
	}
	return fields
}

// asNew gives a record of which it is known that there is no row the fields that a
// new one can't do without. It reports whether there were any to give.
func (d *delivery[R, P]) asNew(s *sentRecord[R]) bool {
	if s.isNew || !d.e.co.countsOnly() || len(d.required(s)) == 0 {
		return false
	}
	s.isNew = true
	if d.c.entity == EntityCells {
		s.place = d.nextPlace()
	}
	s.own = withFields(bytes.Clone(d.c.json(s)), d.required(s))
	return true
}

// provenNew is asNew for a record that was refused for lack of such a field: only
// the making of a row can be.
func (d *delivery[R, P]) provenNew(s *sentRecord[R], refusal string) bool {
	m := reNotNull.FindStringSubmatch(refusal)
	if m == nil || !bytes.Contains(d.required(s), []byte(`"`+m[1]+`":`)) {
		return false
	}
	mark(d.dialect(), &d.dialect().wants, d.c.entity, true)
	return d.asNew(s)
}

// strange settles a record that was completed as a new one and met a row that
// somebody else has made meanwhile.
func (d *delivery[R, P]) strange(s *sentRecord[R], out *result, id string) {
	d.unknown(s, out, id, &RecordError{Message: "another sync made its row at the same time, and what the record leaves out may have been overwritten with defaults", kind: ErrConflict})
}

// nextPlace is the place on the board after those of all cells.
func (d *delivery[R, P]) nextPlace() int {
	l := d.e.flight.seen
	l.mu.Lock()
	known := l.place > 0
	l.mu.Unlock()
	last := 0
	if !known {
		rows, _ := d.e.co.allCells(d.e.flight.goOn, d.e.cfg) // in doubt the first place will do
		for _, row := range rows {
			last = max(last, row.Sequence)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.place = max(l.place, last) + 1
	return l.place
}

// undeliver settles records whose references could not be looked up.
func (d *delivery[R, P]) undeliver(list []*sentRecord[R], out *result, err error, ambiguous bool) {
	if out != nil && out.err != nil {
		if ending(out) && d.done.end == nil {
			d.done.end = err
		}
		d.done.barren = err
	}
	d.mind(err)
	for _, s := range list {
		d.settleUndelivered(s, err, ambiguous)
	}
}

// mind ends the sending where a look at the server failed for what no further request
// gets by. That the look alone is forbidden is nothing of the kind.
func (d *delivery[R, P]) mind(err error) {
	if endsSending(err) && d.done.end == nil {
		d.done.end = err
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
		d.settle(s, &result{}, StatusFailed, cause)
	}
}

// arrive settles a record that is known to have arrived.
func (d *delivery[R, P]) arrive(s *sentRecord[R], out *result, status Status, id string) {
	if status == StatusUpdated {
		status = cmp.Or(s.updated, status)
	}
	o := d.outcome(s, out, status)
	o.ID = id
	_ = o.close(nil) // nothing to keep
	d.landed = true
	d.dialect().remember(d.c.entity, s.key, id)
	// Where a server counts, the ids are remembered; but of cells a bulk tells none.
	if d.c.entity == EntityCells || diffable(d.c.entity) && !d.e.co.countsOnly() {
		d.dialect().sawThere(d.c.entity, s.key, id)
	}
	if status == StatusCreated && d.c.entity == EntityParts {
		d.e.flight.seen.sawMade(s.key)
	}
	d.done.outcomes = append(d.done.outcomes, o)
}

// fail settles a record that the server refused in so many words.
func (d *delivery[R, P]) fail(s *sentRecord[R], out *result, status Status, e *RecordError) {
	o := d.outcome(s, out, status)
	o.Record = s.record
	o.fail(e)
	o.nameTaken(P(&s.record))
	d.forgetDeleted(s, e)
	d.landed = true // the server is well, the record is not
	d.done.outcomes = append(d.done.outcomes, o)
}

// forgetDeleted drops the id of a row that the server has deleted: nothing is
// to be linked to it. A deleted row may also be what keeps a number taken.
func (d *delivery[R, P]) forgetDeleted(s *sentRecord[R], err error) {
	if errors.Is(err, ErrDeletedOnServer) || errors.Is(err, ErrNaturalKeyTaken) {
		d.forget(entityKey{d.c.entity, s.key})
	}
}

// forget drops the ids of rows that the server does not know by them, the
// state's too.
func (d *delivery[R, P]) forget(keys ...entityKey) {
	d.dialect().forget(keys)
	d.e.cfg.run.forget(keys)
}

// translateParts finishes the translation of parts that leave the unified
// route: the others want their job's id.
func (d *delivery[R, P]) translateParts(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	var keys []Key
	for _, s := range list {
		if job, ok := d.parent(s); ok {
			keys = append(keys, job.key)
		}
	}
	jobs, out, err := d.e.co.resolve(d.e.flight.goOn, d.e.cfg, EntityJobs, keys)
	if err != nil {
		d.undeliver(list, out, err, ambiguous)
		return nil
	}
	return d.rewrite(list, ambiguous, func(r P) error { return d.e.co.translate(r, d.e.cfg.source, jobs, nil, nil) })
}

// untranslatable settles a record whose references lead nowhere, or nobody tells where.
// An earlier request may have written it all the same.
func (d *delivery[R, P]) untranslatable(s *sentRecord[R], err error, ambiguous bool) {
	if ambiguous || s.maybeWritten || errors.Is(err, ErrBadAnswer) { // to the question for them
		d.settleUndelivered(s, err, ambiguous)
		return
	}
	d.refuse([]*sentRecord[R]{s}, err)
}

// relink asks again for the ids of the rows that a record is linked to, once the
// server has refused it because one of them is not there. It reports whether
// they are others now, so that another try is worth it.
func (d *delivery[R, P]) relink(s *sentRecord[R], refusal error) bool {
	if !d.e.co.countsOnly() || !errors.Is(refusal, ErrParentNotFound) || s.relinked || d.done.end != nil || !d.forgetParents([]*sentRecord[R]{s}) {
		return false
	}
	s.relinked = true
	co, cfg, ctx := d.e.co, d.e.cfg, d.e.flight.goOn
	var jobs, parts map[Key]string
	var cells map[string][]string
	var err error
	switch r := any(P(&s.record)).(type) {
	case *Part:
		jobs, _, err = co.resolve(ctx, cfg, EntityJobs, []Key{{s.key.Source, r.JobExternalID}})
	case *Operation:
		if r.PartID == "" {
			parts, _, err = co.resolve(ctx, cfg, EntityParts, []Key{{s.key.Source, r.PartExternalID}})
		}
		if r.CellID == "" && err == nil {
			cells, err = co.cellsByName(ctx, cfg, d.e.flight.seen, []string{r.CellName})
		}
	}
	copied := s.record
	if err != nil || co.translate(P(&copied), cfg.source, jobs, parts, cells) != nil {
		return false
	}
	own, err := d.encode(s, P(&copied))
	if err != nil || bytes.Equal(own, d.c.json(s)) {
		return false
	}
	s.own = own
	if !d.stale {
		d.stale = true
		d.forgetParents(d.c.live()) // they were remembered just as long
	}
	return true
}

// forgetParents drops what the records' references were resolved to, and
// reports whether there was anything.
func (d *delivery[R, P]) forgetParents(list []*sentRecord[R]) bool {
	var parents []entityKey
	had := false
	for _, s := range list {
		if parent, ok := d.parent(s); ok {
			parents = append(parents, parent)
		}
		if o, ok := any(P(&s.record)).(*Operation); ok && o.CellID == "" {
			had = true
			d.forgetCells()
		}
	}
	d.forget(parents...)
	return had || len(parents) > 0
}
