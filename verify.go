package eryxon

import (
	"errors"
	"math"
	"slices"
)

// deliverTwice sends a bulk and the same bulk once more: what the second counts
// as created the first did not make. The first record goes by itself, where
// none of its entity has yet, for its answer tells whether the server can store
// the entity at all.
func (d *delivery[R, P]) deliverTwice(list []*sentRecord[R], ambiguous bool) {
	d.lookForLinks(list)
	var sure, odd []*sentRecord[R]
	for _, s := range list {
		switch {
		case d.c.entity != EntityCells && d.c.entity != EntityOperations:
			sure = append(sure, s)
		case !d.statusTaken(s), !d.linksSeen(s):
			// The single sync of the first that has a status, or an id of the
			// caller's, shows whether the server takes it.
			d.deliverSingly([]*sentRecord[R]{s}, ambiguous)
		case unprovable[R, P](s):
			odd = append(odd, s)
		default:
			sure = append(sure, s)
		}
	}
	d.deliverSure(sure, ambiguous)
	// Of these twice proves what it makes; an update only a single sync.
	there, odd := partition(odd, d.isKnown)
	if len(odd) <= fewOdd || ambiguous {
		there, odd = append(there, odd...), nil
	}
	d.deliverSingly(there, ambiguous)
	if len(odd) > 0 && !d.storable() {
		d.deliverSingly(odd[:1], ambiguous)
		odd = odd[1:]
	}
	if lack := d.lack(); lack != nil {
		d.refuse(odd, lack)
		return
	}
	d.deliverBlindly(odd, ambiguous)
}

// provable reports whether an update of the record can only succeed once its
// references are known to lead to rows, its columns known to exist and its
// status known to be one that the column takes: then the count of a bulk answer
// tells enough.
func provable(r any) bool {
	small := func(o Opt[int]) bool { n, ok := o.Get(); return !ok || n >= math.MinInt32 && n <= math.MaxInt32 }
	switch r := r.(type) {
	case *Operation:
		return len(r.Extra) == 0 && !r.Sequence.IsNull() && small(r.Sequence) && !r.EstimatedTimeMinutes.IsNull()
	case *Cell:
		return len(r.Extra) == 0 && !r.Sequence.IsNull() && small(r.Sequence)
	}
	return false
}

// storable reports whether the server has stored a record of the entity, or of a
// like one: databases that lack a column of operations lack that of cells and
// resources, too.
func (d *delivery[R, P]) storable() bool {
	proven := &d.dialect().proven
	return marked(d.dialect(), proven, d.c.entity) ||
		d.c.entity == EntityOperations && (marked(d.dialect(), proven, EntityCells) || marked(d.dialect(), proven, EntityResources))
}

// fewOdd is up to how many records, of which an update may fail without a word, are
// synced one by one without finding out whether they are new.
const fewOdd = 5

func unprovable[R any, P recordPtr[R]](s *sentRecord[R]) bool { return !provable(P(&s.record)) }

// deliverSure delivers records by bulks that are sent twice.
func (d *delivery[R, P]) deliverSure(sure []*sentRecord[R], ambiguous bool) {
	existed := ambiguous
	if len(sure) > 0 && !d.storable() {
		first := len(d.done.outcomes)
		d.deliverSingly(sure[:1], ambiguous)
		sure = sure[1:]
		existed = existed || d.done.outcomes[first].Status == StatusUpdated
	}
	if d.c.entity == EntityCells && len(sure) <= maxSingleCells && (existed || d.remembered(sure)) {
		// As twice would find, at the price of the bulk.
		d.deliverSingly(sure, ambiguous)
		return
	}
	for len(sure) > 0 {
		if lack := d.lack(); lack != nil {
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

// statusTaken reports whether the server is known to store an operation's
// status, null included: no update with it can fail for it, then.
func (d *delivery[R, P]) statusTaken(s *sentRecord[R]) bool {
	o, ok := any(P(&s.record)).(*Operation)
	return !ok || !o.Status.IsSet() || marked(d.dialect(), &d.dialect().statuses, o.Status)
}

// linksSeen reports whether the ids that the caller gave an operation are known
// to be rows.
func (d *delivery[R, P]) linksSeen(s *sentRecord[R]) bool {
	o, ok := any(P(&s.record)).(*Operation)
	seen := d.e.flight.seen
	return !ok || (o.PartID == "" || seen.isRow(EntityParts, o.PartID)) && (o.CellID == "" || seen.isRow(EntityCells, o.CellID))
}

// lookForLinks lists parts and cells where that spares single syncs of
// operations that name them by ids of the caller's.
func (d *delivery[R, P]) lookForLinks(list []*sentRecord[R]) {
	seen := d.e.flight.seen
	parts, cells := map[string]bool{}, map[string]bool{}
	for _, s := range list {
		o, ok := any(P(&s.record)).(*Operation)
		if !ok {
			return
		}
		if o.PartID != "" && !seen.isRow(EntityParts, o.PartID) {
			parts[o.PartID] = true
		}
		if o.CellID != "" && !seen.isRow(EntityCells, o.CellID) {
			cells[o.CellID] = true
		}
	}
	if d.done.end == nil && len(cells) > singleRecords {
		// What the lists don't show the single syncs do.
		byName, _ := d.e.co.cellsByName(d.e.flight.goOn, d.e.cfg, seen, nil)
		for _, ids := range byName {
			for _, id := range ids {
				seen.sawRow(EntityCells, id)
			}
		}
	}
	if d.done.end == nil && len(parts) > singleRecords {
		rows, _ := d.recentRows(EntityParts, parts)
		for id := range rows {
			seen.sawRow(EntityParts, id)
		}
	}
}

// twice sends a bulk and the same once more.
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
	if !first.addsUp(len(list)) { // of which nothing is to be believed
		d.recount(d.settleListed(list, out, first), out, 0, len(list), true)
		return
	}
	d.recount(d.settleListed(list, out, first), out, first.created, first.updated, ambiguous)
}

// remembered reports whether all the records are known to have had rows.
func (d *delivery[R, P]) remembered(list []*sentRecord[R]) bool {
	return !slices.ContainsFunc(list, func(s *sentRecord[R]) bool {
		return !d.dialect().isThere(d.c.entity, s.key) && d.e.cfg.run.id(d.c.entity, s.key) == ""
	})
}

// isKnown reports whether the id of the record's row is known.
func (d *delivery[R, P]) isKnown(s *sentRecord[R]) bool {
	return cmpOr(d.dialect().id(d.c.entity, s.key), d.e.cfg.run.id(d.c.entity, s.key)) != ""
}

// foreign reports a record that went out with fields for which servers that count
// have no column: none stores it so.
func (d *delivery[R, P]) foreign(s *sentRecord[R]) bool {
	sent := s.alone()
	switch r := any(P(&sent)).(type) {
	case *Job:
		return len(r.Parts) > 0
	case *Part:
		return r.JobID == "" || len(r.Operations) > 0
	case *Operation:
		return r.PartID == "" || r.CellID == "" || r.EstimatedTimeMinutes.IsSet()
	}
	return false
}

// deliverMisread delivers once more what was sent as documented, and turned out to
// have gone to a server that counts. What that claims proves nothing, and it may not
// even have understood the references.
func (d *delivery[R, P]) deliverMisread(list []*sentRecord[R], out *result, answer *bulkAnswer) {
	found := reconcile(list, answer, out.ambiguous)
	written := false
	var never, bare []*sentRecord[R] // what it has no columns for, and what it refused for lack of a field
	open := list[:0:0]
	for i, s := range list {
		switch f := &found[i]; {
		case d.foreign(s):
			never = append(never, s)
			continue
		case d.provenNew(s, f.message):
			bare = append(bare, s)
			continue
		case f.status == StatusFailed && d.goesOtherwise(s, f.message):
			never = append(never, s)
			continue
		case f.status != StatusFailed:
			written = true
		default:
			if e := recordError(f, false, d.e.co.redact); refusesContent(e) {
				d.fail(s, out, f.status, e)
				continue
			}
		}
		open = append(open, s)
	}
	if written && answer.created == len(open)+len(never) && answer.addsUp(len(list)) && !out.ambiguous {
		open, written = d.shownMade(open, out)
	}
	if !written { // together: that takes fewer requests
		open, never = append(open, never...), nil
	}
	d.deliverCounted(never, false)
	d.deliverCounted(open, written)
	d.deliverBare(bare)
}

// shownMade settles the records that have a row now, of which there was none before a
// bulk. It returns the others, and whether some of them may have one, too.
func (d *delivery[R, P]) shownMade(list []*sentRecord[R], out *result) (others []*sentRecord[R], written bool) {
	if !d.e.co.asksRows(d.c.entity) {
		return list, true
	}
	keys := make([]Key, len(list))
	for i, s := range list {
		keys[i] = s.key
	}
	found, _, err := d.e.co.diffKeys(d.e.flight.goOn, d.e.cfg, d.c.entity, keys, true)
	for _, s := range list {
		switch r := found[s.key]; {
		case r.exists() && r.id != "":
			d.arrive(s, out, StatusCreated, r.id)
		default:
			others = append(others, s)
			written = written || err != nil || r.status != DiffCreate
		}
	}
	return others, written
}

// deliverToFind delivers a few cells to a server that may be one that counts, where
// updates of so few go one by one: the first tells. Elsewhere that costs a request.
func (d *delivery[R, P]) deliverToFind(list []*sentRecord[R], ambiguous bool) {
	for len(list) > 0 {
		d.deliverSingly(list[:1], ambiguous)
		list = list[1:]
		d.dialect().sawPages(false) // they have told what they can
		if lack := d.lack(); lack != nil {
			d.refuse(list, lack)
			return
		}
		if !d.e.co.countsOnly() || d.done.outcomes[len(d.done.outcomes)-1].Status == StatusCreated {
			break // new ones are cheaper together
		}
	}
	if len(list) > 0 {
		d.deliverOne(list, ambiguous)
	}
}

// newCells finds out what became of cells of which a server that was not known
// yet said that it made them all, and reports whether it could. Cells are written
// alike for every server, so that their request need not be made once more for
// that.
func (d *delivery[R, P]) newCells(list []*sentRecord[R], out *result, answer *bulkAnswer) bool {
	if d.c.entity != EntityCells || answer.created != len(list) || !answer.addsUp(len(list)) || out.ambiguous ||
		slices.ContainsFunc(list, unprovable[R, P]) {
		return false
	}
	d.deliverSingly(list[:1], true)
	list = list[1:]
	if lack := d.lack(); lack != nil {
		d.refuse(list, lack)
		return true
	}
	d.recount(list, out, len(list), 0, false)
	return true
}

// recount sends a bulk once more, of which the counts of the first time are
// given.
func (d *delivery[R, P]) recount(list []*sentRecord[R], out *result, created, updated int, ambiguous bool) {
	if d.done.end != nil {
		d.doubt(list, out, d.done.end)
		return
	}
	if updated > 0 && !ambiguous && !out.ambiguous && slices.ContainsFunc(list, func(s *sentRecord[R]) bool { return s.isNew }) {
		// New ones go apart from others; which of them were there is not told.
		for _, s := range list {
			d.strange(s, out, "")
		}
		return
	}
	switch {
	case len(list) == 0:
		return
	case updated > 0 && diffable(d.c.entity):
		d.giveReason(list, out, errUpdateUntold)
		return
	case updated > 0 && (d.c.entity == EntityCells && len(list) <= maxSingleCells || slices.ContainsFunc(list, unprovable[R, P])):
		d.deliverSingly(list, true)
		return
	}
	if updated > 0 && !marked(d.dialect(), &d.dialect().proven, d.c.entity) {
		// What like tables have shown says nothing of one that was not written yet.
		if d.take(1) == 0 {
			d.doubt(list, out, errUpdateUntold)
			return
		}
		d.deliverSingly(list[:1], true)
		list = list[1:]
		switch lack := d.lack(); {
		case lack != nil:
			d.refuse(list, lack)
		case updated > len(list): // all of them
			d.recount(list, out, 0, len(list), ambiguous)
		default: // which of the two the first was is not known
			d.recount(list, out, 0, 1, true)
		}
		return
	}
	if created == len(list) && marked(d.dialect(), &d.dialect().wants, d.c.entity) {
		// There was a row of none, and those that lack something have none now.
		var bare []*sentRecord[R]
		bare, list = partition(list, d.asNew)
		created = len(list)
		if d.deliverBare(bare); created == 0 {
			return
		}
	}
	again, second := d.send(list, false)
	if again.fate != fateAnswered || !second.counted() || second.failed > 0 || second.created+second.updated != len(list) {
		d.doubt(list, out, again.err)
		return
	}
	if second.created < created { // it has made rows
		mark(d.dialect(), &d.dialect().proven, d.c.entity, true)
	}
	if few := min(second.created, second.updated); d.c.entity == EntityCells && len(list) <= maxMixedCells && few > singleRecords {
		d.deliverSingly(list, true)
		return
	}
	status := StatusSynced
	switch {
	case ambiguous || out.ambiguous:
	case created == len(list) && second.created == 0:
		status = StatusCreated
	case updated == len(list) && second.created == 0:
		status = StatusUpdated
	}
	first := len(d.done.outcomes)
	d.findLost(list, again, second.created, status)
	if status == StatusSynced {
		d.tellRemade(list, first, created-second.created)
	}
}

// tellRemade finds out which of the records that went, from an outcome on, as updates of
// rows that were there the server has made anew, for their rows were gone: those lack
// what the shop floor owns. Only a row shows it. It has made the given number of rows,
// which may all be of records that had none.
func (d *delivery[R, P]) tellRemade(list []*sentRecord[R], first, made int) {
	had := make(map[int]bool, len(list))
	lean := make(map[int]*sentRecord[R])
	for _, s := range list {
		had[s.index] = s.hadRow()
		if s.hadRow() && s.memory.given != nil && d.lacksMore(s) {
			lean[s.index] = s
		}
	}
	for _, o := range d.done.outcomes[first:] {
		if !had[o.Index] && (o.Status == StatusSynced || o.Status == StatusUnknown) {
			made--
		}
	}
	if made <= 0 {
		return
	}
	var open []*sentRecord[R]
	d.done.outcomes = append(d.done.outcomes[:first], slices.DeleteFunc(d.done.outcomes[first:], func(o Outcome) bool {
		s := lean[o.Index]
		if s == nil || o.Status != StatusSynced {
			return false
		}
		s.mayBeRemade = true
		open = append(open, s)
		return true
	})...)
	few := d.take(len(open))
	d.deliverSingly(open[:few], true)
	d.doubt(open[few:], &result{}, errRemade)
}

var errRemade = errors.New("some of the rows were gone, and the server made them anew without telling which: what is the shop floor's, such as the status, may be missing; set it in the MES, or sync it with WithoutCreateOnly")
