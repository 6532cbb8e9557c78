package eryxon

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// withoutHazards settles the records that must not go to the server by this
// route, and returns the others.
func (d *delivery[R, P]) withoutHazards(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	risky := func(s *sentRecord[R]) bool {
		return d.hazards(s) != nil || d.lacksFloor(s)
	}
	if !d.e.co.knownToFill() && !slices.ContainsFunc(list, risky) {
		return list
	}
	// The read is the client's, made once: it counts for no entity.
	fills, cells, out, err := d.e.co.fills(d.e.flight.goOn, d.e.cfg, d.e.flight.seen)
	if !fills && err == nil {
		return list
	}
	if err != nil && ending(out) {
		d.done.end = out.err
		d.settleUnsent(list, ambiguous)
		return nil
	}
	var safe, doubtful []*sentRecord[R]
	if err == nil {
		d.unload(list)
		safe, list = d.keepFloor(list, ambiguous)
	}
	for _, s := range list {
		switch {
		case err != nil && risky(s):
			d.settleUndelivered(s, err, ambiguous)
		case onlyOnUpdate(d.hazards(s)) && d.madeWithParent(s) && parentLookable(P(&s.record)): // others go one by one
			s.vetted = true
			safe = append(safe, s)
		case onlyOnUpdate(d.hazards(s)) && (diffable(d.c.entity) || d.c.entity == EntityCells):
			doubtful = append(doubtful, s)
		case d.hazards(s) != nil:
			d.refuseHazard(s, ambiguous)
		case statusSet(P(&s.record)) && !knownStatus(P(&s.record)):
			first := len(d.done.outcomes)
			d.deliverSingly([]*sentRecord[R]{s}, ambiguous)
			if ambiguous { // the request that may have written it has not looked at the status
				d.doubtFailed(first)
			}
		default:
			safe = append(safe, s)
		}
	}
	existing, absent := d.existence(doubtful, cells, ambiguous)
	for _, s := range existing {
		d.refuseHazard(s, ambiguous)
	}
	for _, s := range absent {
		s.vetted = true
	}
	return append(safe, absent...)
}

// madeWithParent reports an operation of a part that this run has made: there is
// nothing of it to overwrite.
func (d *delivery[R, P]) madeWithParent(s *sentRecord[R]) bool {
	parent, ok := d.parent(s)
	return ok && parent.entity == EntityParts && d.e.flight.seen.isMade(parent.key)
}

// hazards is what the server would do to the record if it exists; nil if
// nothing.
func (d *delivery[R, P]) hazards(s *sentRecord[R]) []FieldError {
	if d.e.cfg.overwrite {
		return nil
	}
	d.scratch = checker{}
	if s.lifted {
		alone := s.alone()
		hazards(&d.scratch, P(&alone))
	} else {
		hazards(&d.scratch, P(&s.record))
	}
	if s.vetted {
		d.scratch.details = slices.DeleteFunc(d.scratch.details, overUpdates)
	}
	if len(d.scratch.details) == 0 {
		return nil
	}
	return d.scratch.details
}

func (d *delivery[R, P]) refuseHazard(s *sentRecord[R], ambiguous bool) {
	d.hazards(s)
	err := d.scratch.err(s.index, s.key)
	if ambiguous {
		d.settleUndelivered(s, err, ambiguous)
		return
	}
	d.refuse([]*sentRecord[R]{s}, err)
	d.done.outcomes[len(d.done.outcomes)-1].show(&s.before)
}

// hazards complains of what a filling server would do to a record that
// exists, and of values that it does not store.
func hazards(c *checker, r any) {
	keeps := func(name string, null bool) {
		if null {
			c.complain(name, "NOT_CLEARED", "is null, and this server keeps the old value: clear it in the MES, or say WithOverwritingUpdates", nil)
		}
	}
	keepsText := func(name string, o Opt[string]) {
		keeps(name, o.IsNull())
		if emptied(o) {
			c.complain(name, "NOT_CLEARED", "is empty, and this server keeps the old value: leave it out, clear it in the MES, or say WithOverwritingUpdates", "")
		}
	}
	never := func(name string, nothing bool) { // not even in a new row, which gets a default
		if nothing {
			c.complain(name, "REPLACED", "is null or empty, and this server keeps the old value, or stores a default in a new row: leave it out, or say WithOverwritingUpdates", nil)
		}
	}
	keepsStatus := func(o Opt[WorkStatus]) {
		s, ok := o.Get()
		never("status", o.IsNull() || ok && s == "")
	}
	drops := func(extra map[string]any, kept string) {
		if len(extra) == 0 {
			return // sorting no names would cost as much as the record
		}
		for _, name := range slices.Sorted(maps.Keys(extra)) {
			if name != kept {
				c.complain("Extra["+name+"]", "DROPPED", "is a column that this server drops without a word: leave it out, or say WithOverwritingUpdates", nil)
			}
		}
	}
	switch r := r.(type) {
	case *Job:
		keepsText("customer", r.Customer)
		keeps("due_date", r.DueDate.IsNull())
		if r.Priority.IsNull() {
			replaces(c, "priority", r.Priority)
		}
		keepsText("notes", r.Notes)
		keepsStatus(r.Status)
		drops(r.Extra, "metadata")
		for i := range r.Parts {
			hazards(c.within("parts", i), &r.Parts[i])
		}
	case *Part:
		replaces(c, "material", r.Material)
		replaces(c, "quantity", r.Quantity)
		keepsText("notes", r.Notes)
		keepsStatus(r.Status)
		drops(r.Extra, "metadata")
		for i := range r.Operations {
			hazards(c.within("operations", i), &r.Operations[i])
		}
	case *Operation:
		replaces(c, "sequence", r.Sequence)
		if r.EstimatedTimeMinutes.state != optValue {
			replaces(c, "estimated_time_minutes", r.EstimatedTimeMinutes)
		}
		keepsText("notes", r.Notes)
		keepsStatus(r.Status)
		drops(r.Extra, "")
	case *Cell:
		replaces(c, "color", r.Color)
		if r.Active.state != optValue {
			replaces(c, "active", r.Active)
		}
		never("sequence", r.Sequence.IsNull())
		drops(r.Extra, "")
	case *Resource:
		replaces(c, "status", r.Status)
		if r.Active.IsNull() {
			replaces(c, "active", r.Active)
		}
		keepsText("description", r.Description)
		keepsText("identifier", r.Identifier)
		keepsText("location", r.Location)
		drops(r.Extra, "metadata")
	}
}

// replaces complains of a field for which a filling server has a default that it
// takes for a value of nothing, too.
func replaces[T comparable](c *checker, name string, o Opt[T]) {
	var zero T
	switch {
	case !o.IsSet():
		c.complain(name, "OVERWRITTEN", "is left out, and this server overwrites it with a default on an update: give it, or say WithOverwritingUpdates", nil)
	case o.IsNull():
		c.complain(name, "REPLACED", "is null, and this server stores a default instead: give it, or say WithOverwritingUpdates", nil)
	case any(zero) == any("") || any(zero) == any(ResourceStatus("")):
		if o.value == zero {
			c.complain(name, "REPLACED", "is empty, and this server stores a default instead: give a value, or say WithOverwritingUpdates", "")
		}
	case o.value == zero:
		c.complain(name, "ZERO", fmt.Sprintf("is %#v, and this server stores a default instead: give another, or say WithOverwritingUpdates", zero), zero)
	}
}

// onlyOnUpdate reports hazards, at least one, to rows that exist: a new row has
// nothing to overwrite or to clear.
func onlyOnUpdate(details []FieldError) bool {
	return len(details) > 0 && !slices.ContainsFunc(details, always)
}

// always reports what a server does to a new row, too.
func always(e FieldError) bool { return !overUpdates(e) }

// overUpdates reports what a server does to a row that exists alone.
func overUpdates(e FieldError) bool {
	return e.Constraint == "OVERWRITTEN" || e.Constraint == "NOT_CLEARED"
}

// workStatus is a record's work status; cells and resources have none.
func workStatus(r any) (o Opt[WorkStatus]) {
	switch r := r.(type) {
	case *Job:
		o = r.Status
	case *Part:
		o = r.Status
	case *Operation:
		o = r.Status
	}
	return o
}

// statusSet reports a record whose work status a filling server's bulk would
// pass over on an update; its single sync does not.
func statusSet(r any) bool { return workStatus(r).IsSet() }

// knownStatus reports a work status that every server takes, so that nothing
// can be wrong with it.
func knownStatus(r any) bool {
	s, _ := workStatus(r).Get()
	return s == WorkNotStarted || s == WorkInProgress || s == WorkCompleted || s == WorkOnHold
}

// passesOverStatus reports whether the server's bulk has not written the work
// statuses of records that it updated; the error says why that can't be told now.
// Only where there are any is it asked.
func (d *delivery[R, P]) passesOverStatus(list []*sentRecord[R], found []finding) (bool, error) {
	for i, s := range list {
		if statusSet(P(&s.record)) && found[i].wasThere() {
			fills, _, _, err := d.e.co.fills(d.e.flight.goOn, d.e.cfg, d.e.flight.seen)
			return fills, err
		}
	}
	return false, nil
}

// settleStatus settles records that a filling server's bulk updated but for
// their work status: that takes single syncs, except where the row shows it.
func (d *delivery[R, P]) settleStatus(list []*sentRecord[R], out *result, ids map[Key]string) {
	wanted := make(map[string]bool)
	if len(list) > singleRecords {
		for _, s := range list {
			if id := ids[s.key]; id != "" {
				wanted[id] = true
			}
		}
	}
	rows, _ := d.recentRows(d.c.entity, wanted) // what they don't show the single syncs do
	status := afterAmbiguous(StatusUpdated, out.ambiguous)
	var open []*sentRecord[R]
	for _, s := range list {
		var sent struct {
			Status json.RawMessage `json:"status"`
		}
		row := rows[ids[s.key]]
		if row != nil && json.Unmarshal(d.c.json(s), &sent) == nil && sameValue(sent.Status, row["status"]) {
			d.arrive(s, out, status, ids[s.key])
			continue
		}
		open = append(open, s)
	}
	d.finishSingly(open, status)
}
