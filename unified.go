package eryxon

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// makes is whether the unified endpoint's last answer for an entity made rows.
type makes uint8

const (
	makesUnknown makes = iota
	makesRows
	makesNone
)

// turnToMake makes an attempt wait until no other of the client's makes rows through the
// unified endpoint. All new rows of a request are one transaction there, which
// counts them in a row of the tenant's: two at once wait for that row, and take
// longer than one after the other. Updates are not counted, and wait for nobody.
func (co *core) turnToMake(e Entity) func(context.Context) (end func(), err error) {
	d := &co.shared.dialect
	return func(ctx context.Context) (func(), error) {
		if marked(d, &d.makes, e) == makesNone {
			return func() {}, nil
		}
		select {
		case d.making <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		end := func() { <-d.making }
		if err := ctx.Err(); err != nil {
			end()
			return nil, err
		}
		return end, nil
	}
}

// unifiable reports whether the unified endpoint writes every field that the
// record gives. Partial means that it would overwrite fields of an existing row
// that the record leaves out.
func unifiable(r any) (ok, partial bool) {
	switch r := r.(type) {
	case *Job:
		return len(r.Extra) == 0 && !r.Status.IsSet() &&
			!r.Customer.IsNull() && !r.DueDate.IsNull() && !r.Priority.IsNull() && !r.Notes.IsNull() &&
			!emptied(r.Customer) && !emptied(r.Notes), false
	case *Part:
		return len(r.Extra) == 0 && !r.Status.IsSet() &&
				!r.Material.IsNull() && !r.Quantity.IsNull() && !r.Notes.IsNull() && !emptied(r.Material) && !emptied(r.Notes),
			!r.Material.IsSet() || !r.Quantity.IsSet()
	case *Resource:
		return len(r.Extra) == 0 &&
				!r.Description.IsNull() && !r.Identifier.IsNull() && !r.Location.IsNull() && !r.Status.IsNull() && !r.Active.IsNull() &&
				!emptied(r.Description) && !emptied(r.Identifier) && !emptied(r.Location),
			!r.Status.IsSet() || !r.Active.IsSet()
	}
	return false, false
}

// unifiable is unifiable for a record that the endpoint also has to find, on this
// server.
func (d *delivery[R, P]) unifiable(r P) (ok, partial bool) {
	ok, partial = unifiable(r)
	return ok && d.e.co.unifiedEntity(d.c.entity) && lookable(r.recordKey("").ExternalID) && parentLookable(r), partial
}

// emptied reports an empty string, which the unified endpoint takes for one
// that is left out.
func emptied(o Opt[string]) bool { s, ok := o.Get(); return ok && s == "" }

// deliverUnified takes the fast route for the records that it can carry.
func (d *delivery[R, P]) deliverUnified(list []*sentRecord[R], ambiguous bool) {
	var carried, partial, updates, others []*sentRecord[R]
	noPriority := d.c.entity == EntityJobs && marked(d.dialect(), &d.dialect().absent, jobPriority)
	for _, s := range list {
		ok, part := d.unifiable(P(&s.record))
		switch {
		case !ok:
			others = append(others, s)
		case part:
			partial = append(partial, s)
		case noPriority: // which the endpoint writes whenever it makes a row
			updates = append(updates, s)
		default:
			carried = append(carried, s)
		}
	}
	if d.c.entity == EntityParts {
		partial, others = d.translateParts(partial, ambiguous), d.translateParts(others, ambiguous)
	}
	if updates = d.withoutAbsent(updates, ambiguous); len(updates) > 0 {
		_, _ = d.ask(slices.Concat(updates, others), false) // what is not told goes another way
		exist, absent := partition(updates, func(s *sentRecord[R]) bool { return s.before.exists() })
		carried, others = append(carried, exist...), append(others, absent...)
	}
	if len(partial) > 0 {
		// The others are asked about anyway, later.
		_, err := d.ask(slices.Concat(partial, others), false)
		if err == nil && d.e.co.asksRows(d.c.entity) && !d.e.co.findsRows(d.c.entity) && d.c.entity == EntityResources {
			partial, err = d.showFirst(partial, others, ambiguous)
		}
		for _, s := range partial {
			if err == nil && s.before.status == DiffCreate {
				carried = append(carried, s)
			} else {
				others = append(others, s)
			}
		}
	}
	for _, group := range bySource(carried) {
		for len(group) > 0 && d.done.end == nil {
			n := min(d.fitting(group), d.lookedUp(group))
			left := d.unified(group[:n], ambiguous, false)
			for _, s := range left {
				s.before = diffRecord{}
			}
			if d.c.entity == EntityParts {
				left = d.translateParts(left, ambiguous)
			}
			others = append(others, left...)
			group = group[n:]
		}
		if len(group) > 0 {
			d.settleUnsent(group, ambiguous)
		}
	}
	d.deliverProven(others, ambiguous)
}

// showFirst syncs the first of resources by itself, and asks again about all: a row
// that is known to be there shows whether the endpoint finds any. It returns the
// others.
func (d *delivery[R, P]) showFirst(list, others []*sentRecord[R], ambiguous bool) ([]*sentRecord[R], error) {
	d.deliverSingly(list[:1], ambiguous)
	if lack := d.lack(); lack != nil {
		d.refuse(list[1:], lack)
		return nil, nil
	}
	_, err := d.ask(slices.Concat(list, others), false)
	return list[1:], err
}

// existence tells rows that exist from those that do not. What the server does not tell
// counts as existing, for which no field may be overwritten; where it can't be asked
// now the records are settled. The cells are given where they have just been listed.
func (d *delivery[R, P]) existence(list []*sentRecord[R], cells cellRows, ambiguous bool) (existing, absent []*sentRecord[R]) {
	if d.c.entity == EntityCells && len(list) > 0 {
		if d.cells = cells; cells == nil {
			var err error
			if d.cells, err = d.e.co.allCells(d.e.flight.goOn, d.e.cfg); err != nil {
				d.undeliver(list, nil, err, ambiguous)
				return nil, nil
			}
			d.e.flight.seen.sawAll(d.cells)
		}
		return partition(list, func(s *sentRecord[R]) bool {
			return d.cells.named(naturalName(P(&s.record))) || d.cells[cmpOr(d.dialect().id(d.c.entity, s.key), d.e.cfg.run.id(d.c.entity, s.key))] != nil
		})
	}
	existing, list = partition(list, func(s *sentRecord[R]) bool {
		if s.lifted || d.e.isParent != nil && d.e.isParent(s.index) {
			return false // to send its children takes more than memory
		}
		return d.dialect().isThere(d.c.entity, s.key) || d.e.cfg.run.id(d.c.entity, s.key) != ""
	})
	if len(list) == 0 || d.done.end != nil {
		return append(existing, list...), nil
	}
	keys := make([]Key, len(list))
	for i, s := range list {
		keys[i] = s.key
	}
	found, out, err := d.e.co.diffKeys(d.e.flight.goOn, d.e.cfg, d.c.entity, keys, true)
	if err != nil && out != nil && !unasked(out) && d.e.co.asksRows(d.c.entity) {
		d.undeliver(list, out, err, ambiguous)
		return existing, nil
	}
	for _, s := range list {
		if r := found[s.key]; err == nil && r.status == DiffCreate {
			absent = append(absent, s)
		} else {
			s.before = r
			existing = append(existing, s)
			if r.exists() {
				d.dialect().sawThere(d.c.entity, s.key, r.id)
			}
		}
	}
	return existing, absent
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

// unifiedSearch is how many requests the search for records that make the
// server refuse others may take in a chunk: one bad record in a thousand takes
// no more.
const unifiedSearch = 20

// unified sends records of one source through the unified endpoint and returns
// those that need another route. With hasBad, one of them is known to make the
// server refuse all creates.
func (d *delivery[R, P]) unified(list []*sentRecord[R], ambiguous, hasBad bool) (others []*sentRecord[R]) {
	if len(list) == 0 {
		return nil
	}
	if hasBad && d.searched >= unifiedSearch {
		return list
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
	if d.refusedTogether > 0 {
		d.searched++
	}
	body := d.c.appendArray(append(append([]byte(`{"`), d.c.entity...), `":`...), list)
	// Its own hash does not follow changes made inside the MES.
	body = append(body, `,"options":{"skip_unchanged":false}}`...)
	var answer *erpAnswer
	out := d.post(erpSyncPath, body, list, ambiguous, d.e.co.turnToMake(d.c.entity), func(b []byte) (*envelope, error) {
		var err error
		answer, err = readERP(b, d.e.co.redact)
		return &answer.envelope, err
	})
	switch {
	case out.fate != fateAnswered && unsupportedUnified(out):
		mark(d.dialect(), &d.dialect().noUnified, d.c.entity, true)
		mark(d.dialect(), &d.dialect().noDiff, d.c.entity, true)
		return list
	case out.fate != fateAnswered && len(list) > 1 && d.tooLarge(list, out):
		mayBeWritten(list, out)
		half := len(list) / 2
		others = d.unified(list[:half], out.mayHaveWritten(), false)
		return append(others, d.unified(list[half:], out.mayHaveWritten(), false)...)
	case out.fate != fateAnswered && len(list) > 1 && wholeRefusal(out) && d.searched < unifiedSearch:
		d.refusedTogether++
		mayBeWritten(list, out)
		return d.unified(list, out.mayHaveWritten(), true)
	case out.fate != fateAnswered:
		d.settleFailed(list, out)
		return nil
	}
	found := reconcile(list, &answer.entity(d.c.entity).bulkAnswer, out.ambiguous)
	if d.lookUpFailed(list, found) {
		for len(list) > 0 {
			n := d.lookedUp(list)
			others = append(others, d.unified(list[:n], ambiguous, false)...)
			list = list[n:]
		}
		return others
	}
	together := make(map[string][]*sentRecord[R])
	var texts []string
	stored, made := false, false
	for i, s := range list {
		f := &found[i]
		said := understand(f.message)
		switch {
		case f.status.Success():
			stored, made = true, made || f.status == StatusCreated || s.updated == StatusCreated
			d.arrive(s, out, f.status, f.id)
		case f.status == StatusFailed && said.kind == ErrMissingColumn:
			others = append(others, d.lacks(s, out, f, said.field)...)
		case f.status == StatusFailed && f.message != "" && !reNoParent.MatchString(f.message) && !strings.HasPrefix(f.message, "Missing required fields"):
			if together[f.message] == nil {
				texts = append(texts, f.message)
			}
			together[f.message] = append(together[f.message], s)
		case f.status == StatusFailed && said.kind == ErrParentNotFound:
			if p, ok := any(P(&s.record)).(*Part); ok {
				d.forget(entityKey{EntityJobs, Key{s.key.Source, p.JobExternalID}})
			}
			d.fail(s, out, f.status, recordError(f, false, d.e.co.redact))
		default:
			d.fail(s, out, f.status, recordError(f, false, d.e.co.redact))
		}
	}
	switch {
	case made:
		mark(d.dialect(), &d.dialect().makes, d.c.entity, makesRows)
	case stored && !out.ambiguous: // what was sent before may have made the rows
		mark(d.dialect(), &d.dialect().makes, d.c.entity, makesNone)
	}
	if stored { // with all columns that the other routes write
		mark(d.dialect(), &d.dialect().proven, d.c.entity, true)
	}
	if made { // with all that look-ups use
		mark(d.dialect(), &d.dialect().finds, d.c.entity, true)
	}
	for _, text := range texts {
		group := together[text]
		f := &finding{status: StatusFailed, message: text, seen: true}
		switch {
		case len(group) == 1 && toldOfAll(found):
			d.fail(group[0], out, StatusFailed, recordError(f, isDuplicateExternalKey(text), d.e.co.redact))
		case d.searched >= unifiedSearch:
			// Other routes tell the bad ones from the innocent.
			others = append(others, group...)
		default:
			// All creates are one insert: one bad record fails every one.
			d.refusedTogether++
			if d.refusedTogether == 1 && len(group) > singleRecords+1 {
				group, doubtful := d.spread(group, ambiguous)
				others = append(others, d.unified(group, doubtful, false)...)
				continue
			}
			others = append(others, d.unified(group, ambiguous, true)...)
		}
	}
	return others
}

// toldOfAll reports an answer that speaks of every record. One that does not may have
// left out some that were refused with the same words.
func toldOfAll(found []finding) bool {
	return !slices.ContainsFunc(found, func(f finding) bool { return !f.seen || f.doubtful != "" })
}

// mayBeWritten notes that a request that brought no usable answer may have written
// records, for they may go on by another route.
func mayBeWritten[R any](list []*sentRecord[R], out *result) {
	for _, s := range list {
		if out.mayHaveWritten() {
			s.maybeWritten = true
			s.updated = cmp.Or(s.updated, StatusSynced)
		}
	}
}

// lookedUp is how many of the records the unified endpoint is trusted to look up
// at once, with what they are linked to.
func (d *delivery[R, P]) lookedUp(list []*sentRecord[R]) int {
	if !d.dialect().looksUpLess() {
		return len(list)
	}
	n, _ := d.dialect().askable(d.lookUps(list), false)
	return n
}

// lookUps are the longest external ids that are looked up for each record.
func (d *delivery[R, P]) lookUps(list []*sentRecord[R]) []question {
	ids := make([]question, len(list))
	for i, s := range list {
		ids[i].key = s.key
		if p, ok := any(P(&s.record)).(*Part); ok && p.JobID == "" && len(p.JobExternalID) > len(s.key.ExternalID) {
			ids[i].key.ExternalID = p.JobExternalID
		}
	}
	return ids
}

// lookUpFailed reports an answer that looks as if a long list of external ids
// had not been looked up: no record was stored, some for a row that is there or a
// parent that is not. Then fewer are sent at once.
func (d *delivery[R, P]) lookUpFailed(list []*sentRecord[R], found []finding) bool {
	if slices.ContainsFunc(found, func(f finding) bool { return f.status != StatusFailed }) ||
		!slices.ContainsFunc(found, func(f finding) bool {
			return isDuplicateExternalKey(f.message) || reNoParent.MatchString(f.message) || understand(f.message).kind == ErrNaturalKeyTaken
		}) {
		return false
	}
	size := 0
	for _, q := range d.lookUps(list) {
		size += urlSize(q.key.ExternalID)
	}
	return !d.dialect().reached(len(list), size, false)
}

// spread sends records that were refused together by bulk, which writes each by
// itself. The unified endpoint then finds the rows that it made, and refuses the
// bad ones alone: its answer, not the bulk's, tells what became of each.
func (d *delivery[R, P]) spread(list []*sentRecord[R], ambiguous bool) ([]*sentRecord[R], bool) {
	if d.c.entity == EntityParts {
		list = d.translateParts(list, ambiguous)
	}
	if len(list) == 0 {
		return nil, ambiguous
	}
	out, answer := d.send(list, ambiguous)
	if out.fate != fateAnswered {
		if ending(out) && d.done.end == nil {
			d.done.end = out.err
		}
		mayBeWritten(list, out)
		return list, ambiguous || out.mayHaveWritten()
	}
	found := reconcile(list, answer, out.ambiguous)
	for i, s := range list {
		s.maybeWritten = found[i].status != StatusFailed
		switch {
		case s.maybeWritten && answer.updated == 0 && !ambiguous && !out.ambiguous:
			s.updated = StatusCreated // of what it names as failed it has not looked for a row
		case answer.updated < len(list):
			s.updated = StatusSynced
		}
	}
	return list, ambiguous
}
