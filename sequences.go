package eryxon

import (
	"context"
	"errors"
	"iter"
)

// sequences syncs a dataset of which an input has no known end: entity after
// entity, in the documented order.
func (r *syncRun) sequences(ctx context.Context, co *core, data Dataset) {
	w := &windows{run: r, ctx: ctx, co: co, failed: make(map[entityKey]*Outcome)}
	runSequence[Cell, *Cell, CellRow](w, data.Cells, false, nil)
	runSequence[Resource, *Resource, ResourceRow](w, data.Resources, false, nil)
	runSequence[Job, *Job, JobRow](w, data.Jobs, false, func(j *Job) { w.parts = append(w.parts, liftParts(j)...) })
	w.drain()
	runSequence[Part, *Part, PartRow](w, data.Parts, false, w.liftOperations)
	w.drain()
	runSequence[Operation, *Operation, OperationRow](w, data.Operations, false, nil)
}

// windows keeps the memory of such a run bounded. Records that were lifted out
// of others wait in windows until their carriers are through.
type windows struct {
	run    *syncRun
	ctx    context.Context //nolint:containedctx // the run's own
	co     *core
	failed map[entityKey]*Outcome // records that can't be parents, cells by name
	parts  []Part                 // lifted, not synced yet
	ops    []Operation            // lifted, not synced yet
	closed error                  // why no input is read any more
	fatal  error                  // why nothing is sent any more
}

// windowSize is how many lifted records may wait before they go first.
const windowSize = 10 * maxRecords

func (w *windows) crowded() bool { return len(w.parts)+len(w.ops) >= windowSize }

func (w *windows) liftOperations(p *Part) { w.ops = append(w.ops, liftOperations(p)...) }

// drain syncs what has been lifted out so far.
func (w *windows) drain() {
	if parts := w.parts; len(parts) > 0 {
		w.parts = nil
		runSequence[Part, *Part, PartRow](w, FromSlice(parts), true, w.liftOperations)
	}
	if ops := w.ops; len(ops) > 0 {
		w.ops = nil
		runSequence[Operation, *Operation, OperationRow](w, FromSlice(ops), true, nil)
	}
}

// runSequence streams one input. Children of failed parents are settled
// without being sent.
func runSequence[R any, P recordPtr[R], Row any](w *windows, in Input[R], lifted bool, lift func(P)) {
	s := newSyncer[R, P, Row](w.co)
	if w.co.cfg.keepNested {
		lift = nil
	}
	if cause := w.fatal; cause != nil || w.closed != nil && !lifted {
		if cause == nil {
			cause = w.closed
		}
		w.cutShort(in.seq != nil, s.entity)
		settleUnread(w, s.entity, in.slice, 0, lifted, lift, cause)
		return
	}
	var seen func(int) screen
	if !lifted {
		seen = screenSlice[R, P](in.slice, w.co.cfg.source)
	}
	next, stop := iter.Pull2(in.all())
	defer stop()
	first := 0 // index of the stream's first record in the input
	for more := true; more; {
		taken := 0
		// One stream lasts until lifted records crowd: then they go first.
		input := func(yield func(R, error) bool) {
			for !w.crowded() {
				r, err, ok := next()
				if !ok {
					more = false
					return
				}
				if err == nil {
					taken++
					if lift != nil {
						lift(P(&r))
					}
				}
				if !yield(r, err) {
					return
				}
			}
		}
		var running *engine[R, P]
		st := s.stream(w.ctx, input, streamConcurrency, nil, func(e *engine[R, P]) {
			running = e
			if s.entity == EntityJobs || s.entity == EntityParts {
				e.isParent = func(int) bool { return true } // it is not known yet which are
			}
			e.withheld = func(r P) (Status, error) { return w.withheld(r) }
			if seen != nil {
				e.screen = func(i int) screen { return seen(first + i) }
			}
		})
		report := w.run.report.of(s.entity)
		before := report.tally()
		for o := range st.All() {
			o.moved(first + o.Index)
			w.remember(&o)
			if lifted {
				o.moved(-1)
			}
			if cost := running.cost().plus(before); cost != report.tally() {
				report.setCost(cost, w.run.report.Started)
			}
			w.run.account(&o)
		}
		first += taken
		report.setCost(st.stats.plus(before), w.run.report.Started)
		if err := st.Err(); err != nil {
			w.run.ended(err)
			if st.inputFailed {
				w.closed = err
			}
			if st.sendErr != nil && !endsEntityOnly(st.sendErr) {
				w.closed, w.fatal = st.sendErr, st.sendErr
			}
			w.cutShort(in.seq != nil, s.entity)
			settleUnread(w, s.entity, in.slice, first, lifted, lift, err)
			return
		}
		if more {
			w.drain()
		}
	}
}

// cutShort notes an input that was not read to its end.
func (w *windows) cutShort(sequence bool, e Entity) {
	if sequence {
		w.run.present.cutShort(e)
	}
}

// all is the input as a sequence.
func (in Input[R]) all() iter.Seq2[R, error] {
	if in.seq != nil {
		return in.seq
	}
	return func(yield func(R, error) bool) {
		for _, r := range in.slice {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// settleUnread accounts for records that the SDK has in hand and does not send.
func settleUnread[R any, P recordPtr[R]](w *windows, e Entity, records []R, from int, lifted bool, lift func(P), cause error) {
	for i, r := range records[min(from, len(records)):] {
		if lift != nil {
			lift(&r)
		}
		o := Outcome{Entity: e, Index: from + i, Key: P(&r).recordKey(w.co.cfg.source), Status: StatusNotSent, Record: r, Nested: P(&r).nested(w.co.cfg.source)}
		_ = o.close(cause) // the outcome keeps it
		w.remember(&o)
		if lifted {
			o.moved(-1)
		}
		w.run.account(&o)
	}
}

// endsEntityOnly reports an end that concerns no other entity: the plan's
// limit on this one.
func endsEntityOnly(err error) bool { return errors.Is(err, ErrQuotaExceeded) }

// remember keeps what became of possible parents.
func (w *windows) remember(o *Outcome) {
	ref := entityKey{o.Entity, o.Key}
	switch o.Entity {
	case EntityJobs, EntityParts:
	case EntityCells:
		cell, ok := o.Record.(Cell)
		if !ok {
			return
		}
		ref.key = Key{ExternalID: cell.Name}
	default:
		return
	}
	if _, cause := childStatus(o, w.co.cfg.strictParents); cause != nil {
		kept := *o
		kept.Record, kept.Nested = nil, nil
		w.failed[ref] = &kept
	} else if o.Status.Success() || o.there {
		delete(w.failed, ref)
	}
}

// withheld tells why a child is not sent; the error is nil if it is.
func (w *windows) withheld(r any) (Status, error) {
	if len(w.failed) == 0 {
		return 0, nil
	}
	var refs []entityKey
	switch r := r.(type) {
	case *Part:
		if r.JobID == "" {
			refs = append(refs, entityKey{EntityJobs, Key{r.recordKey(w.co.cfg.source).Source, r.JobExternalID}})
		}
	case *Operation:
		if r.PartID == "" {
			refs = append(refs, entityKey{EntityParts, Key{r.recordKey(w.co.cfg.source).Source, r.PartExternalID}})
		}
		if r.CellID == "" {
			refs = append(refs, entityKey{EntityCells, Key{ExternalID: r.CellName}})
		}
	}
	for _, ref := range refs {
		if parent, ok := w.failed[ref]; ok {
			return childStatus(parent, w.co.cfg.strictParents)
		}
	}
	return 0, nil
}
