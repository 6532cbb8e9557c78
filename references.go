package eryxon

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"
)

// errReference is a reference that leads nowhere, or to two places, or a column
// that is not there.
type errReference struct {
	kind  error
	field string // wire name, "" where it is none
	text  string
}

func (e *errReference) Error() string { return "eryxon: " + e.text }
func (e *errReference) Unwrap() error { return e.kind }

// knownIDs bounds the ids that a client remembers.
const knownIDs = 200_000

func (d *dialect) remember(e Entity, k Key, id string) {
	if id == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ids == nil || len(d.ids) >= knownIDs {
		d.ids = make(map[entityKey]string)
	}
	d.ids[entityKey{e, k}] = id
}

func (d *dialect) forget(keys []entityKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range keys {
		delete(d.ids, k)
		delete(d.there, maphash.Comparable(d.seed, k))
	}
}

// sawThere remembers that a row is there, and its id, in a few bytes: servers that
// list what they have done are asked about those alone of which nothing is known.
func (d *dialect) sawThere(e Entity, k Key, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.there == nil || len(d.there) >= knownIDs {
		d.there, d.seed = make(map[uint64]sighting), maphash.MakeSeed()
	}
	d.there[maphash.Comparable(d.seed, entityKey{e, k})] = sighting{packed(id), time.Now().UnixNano()}
}

// sighting is when a row was last seen, by which id.
type sighting struct {
	id uuid
	at int64 // nanoseconds since 1970
}

// seenAs is what sawThere has remembered.
func (d *dialect) seenAs(e Entity, k Key) (s sighting, there bool) {
	if len(d.there) > 0 {
		s, there = d.there[maphash.Comparable(d.seed, entityKey{e, k})]
	}
	return s, there
}

// isThere reports whether a row is known to be there.
func (d *dialect) isThere(e Entity, k Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, there := d.seenAs(e, k)
	return there || d.ids[entityKey{e, k}] != ""
}

// idSince is the id of a row that was seen since then.
func (d *dialect) idSince(then time.Time, e Entity, k Key) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, there := d.seenAs(e, k); there && s.at >= then.UnixNano() {
		return s.id.String()
	}
	return ""
}

func (d *dialect) id(e Entity, k Key) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ids[entityKey{e, k}]
}

// uuid is the id of a row in the form that servers in the field give it; zero where
// it has another.
type uuid [16]byte

func packed(id string) (u uuid) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return uuid{}
	}
	var digits [32]byte
	for at, part := range []string{id[:8], id[9:13], id[14:18], id[19:23], id[24:]} {
		copy(digits[[...]int{0, 8, 12, 16, 20}[at]:], part)
	}
	if _, err := hex.Decode(u[:], digits[:]); err != nil {
		return uuid{}
	}
	return u
}

// String returns the id, "" for the zero one.
func (u uuid) String() string {
	if u == (uuid{}) {
		return ""
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// sawUnnamed remembers a job that is there, by an id that the server does not
// tell.
func (d *dialect) sawUnnamed(job Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unnamed == nil || len(d.unnamed) >= knownIDs {
		d.unnamed = make(map[Key]bool)
	}
	d.unnamed[job] = true
}

// sawUntold remembers what the server has answered, in place of an answer, to the last
// question for a row; "" that it has answered.
func (d *dialect) sawUntold(row entityKey, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case why == "":
		delete(d.untold, row)
	case d.untold == nil || len(d.untold) >= knownIDs:
		d.untold = map[entityKey]string{row: why}
	default:
		d.untold[row] = why
	}
}

// resolve makes sure that the ids of rows are known, as far as the server can
// tell, and returns those that are.
func (co *core) resolve(ctx context.Context, cfg *config, e Entity, keys []Key) (map[Key]string, *result, error) {
	ids := make(map[Key]string, len(keys))
	var ask []Key
	for _, k := range keys {
		if id := cmpOr(co.shared.dialect.id(e, k), cfg.run.id(e, k)); id != "" {
			ids[k] = id
		} else {
			ask = append(ask, k)
		}
	}
	if len(ask) == 0 {
		return ids, nil, nil
	}
	if !co.asksRows(e) {
		return ids, nil, ErrUnsupported
	}
	found, out, err := co.diffKeys(ctx, cfg, e, ask, true)
	for k, r := range found {
		if r.blind {
			co.shared.dialect.sawUnnamed(k)
		}
		co.shared.dialect.sawUntold(entityKey{e, k}, r.untold())
		if r.exists() && r.id != "" {
			ids[k] = r.id
			co.shared.dialect.remember(e, k, r.id)
		}
	}
	return ids, out, err
}

// withConfig hands a run's settings to a call that is part of it.
func withConfig(cfg *config) CallOption {
	return callOption(func(c *config) error { *c = *cfg; return nil })
}

// translate rewrites a record for a server that takes UUIDs for references and
// knows no nested records. It changes the copy that it is given.
func (co *core) translate(r any, source string, jobs, parts map[Key]string, cells map[string][]string) error {
	leaveNested(r)
	switch r := r.(type) {
	case *Part:
		if r.JobID == "" {
			key := Key{r.recordKey(source).Source, r.JobExternalID}
			if r.JobID = jobs[key]; r.JobID == "" {
				return co.noParent(entityKey{EntityJobs, key})
			}
		}
		r.JobExternalID = ""
	case *Operation:
		if r.PartID == "" {
			key := Key{r.recordKey(source).Source, r.PartExternalID}
			if r.PartID = parts[key]; r.PartID == "" {
				return co.noParent(entityKey{EntityParts, key})
			}
		}
		if r.CellID == "" {
			switch ids := cells[r.CellName]; len(ids) {
			case 1:
				r.CellID = ids[0]
			case 0:
				return &errReference{ErrParentNotFound, "cell_name", fmt.Sprintf("cell_name: the server has no cell %q; sync it first, or check the spelling", r.CellName)}
			default:
				return &errReference{ErrConflict, "cell_name", fmt.Sprintf("cell_name: the server has %d cells named %q; give CellID, or rename all but one", len(ids), r.CellName)}
			}
		}
		if m, ok := r.EstimatedTimeMinutes.Get(); ok && (m != math.Trunc(m) || m > math.MaxInt32) {
			var c checker
			c.complain("estimated_time_minutes", "INTEGER", fmt.Sprintf("is %v: this server takes whole minutes only", m), m)
			return c.err(0, Key{})
		}
		r.PartExternalID, r.CellName, r.wholeMinutes = "", "", true
	}
	return nil
}

// noParent says that a record's parent was not found.
func (co *core) noParent(parent entityKey) error {
	key, name := parent.key, parent.entity.singular()
	field, id := name+"_external_id", map[Entity]string{EntityJobs: "JobID", EntityParts: "PartID"}[parent.entity]
	untold := marked(&co.shared.dialect, &co.shared.dialect.untold, parent)
	switch {
	case !lookable(key.ExternalID):
		return &errReference{ErrUnsupported, field, fmt.Sprintf("%s: the server can't look up %s %s, for the quotation mark or the backslash in its external id: give %s", field, name, key, id)}
	case marked(&co.shared.dialect, &co.shared.dialect.unnamed, key):
		return &errReference{ErrUnsupported, field, fmt.Sprintf("%s: the server has %s %s but, for a column that its database lacks, does not tell its id: give %s", field, name, key, id)}
	case untold != "":
		return &errReference{ErrBadAnswer, field, fmt.Sprintf("%s: the server does not tell whether it has %s %s (%s); sync again later", field, name, key, untold)}
	default:
		return &errReference{ErrParentNotFound, field, fmt.Sprintf("%s: the server has no %s %s; sync it first, under the same external source", field, name, key)}
	}
}

// parent is what a part or an operation names as its own by external id; ok where
// it does.
func (d *delivery[R, P]) parent(s *sentRecord[R]) (parent entityKey, ok bool) {
	switch r := any(P(&s.record)).(type) {
	case *Part:
		return entityKey{EntityJobs, Key{s.key.Source, r.JobExternalID}}, r.JobID == ""
	case *Operation:
		return entityKey{EntityParts, Key{s.key.Source, r.PartExternalID}}, r.PartID == ""
	}
	return entityKey{}, false
}

// namingCell is the record if it is an operation that names its cell by name.
func namingCell(r any) *Operation {
	if o, ok := r.(*Operation); ok && o.CellID == "" {
		return o
	}
	return nil
}

// withoutMistakes settles the records whose parents the server's bulk would
// mistake, and returns the others.
func (d *delivery[R, P]) withoutMistakes(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	for i, s := range list {
		if i == 0 || s.key.Source != list[i-1].key.Source {
			d.dialect().sawSource(s.key.Source)
		}
	}
	if d.c.entity != EntityParts && d.c.entity != EntityOperations {
		return list
	}
	if d.e.co.mightFill() && !d.e.cfg.noChecks && !d.e.flight.mute.Load() {
		ids, unseen := d.seenParents(list)
		if len(unseen) == 0 && !slices.ContainsFunc(list, d.namesUnseenCell) {
			return d.pin(list, ids, d.e.flight.seen.ownCell, false, ambiguous)
		}
		if list = d.askWhetherItFills(list, ambiguous); len(list) == 0 {
			return nil
		}
	}
	if !d.e.co.looksParentsUpTogether() {
		return list
	}
	named, others := partition(list, func(s *sentRecord[R]) bool { return namingCell(P(&s.record)) != nil })
	if len(named) > 0 && d.e.co.knownToFill() {
		names := make([]string, len(named))
		for i, s := range named {
			names[i] = namingCell(P(&s.record)).CellName
		}
		if err := d.e.co.lookForTwins(d.e.flight.goOn, d.e.cfg, d.e.flight.seen, names); err != nil {
			d.undeliver(named, nil, err, ambiguous)
			list = others
		}
	}
	twins, list := partition(list, func(s *sentRecord[R]) bool {
		o := namingCell(P(&s.record))
		return o != nil && d.e.flight.seen.isTwin(o.CellName)
	})
	for _, s := range twins {
		o := namingCell(P(&s.record))
		d.untranslatable(s, &errReference{ErrConflict, "cell_name", fmt.Sprintf("cell_name: the server has more than one cell named %q, and would pick one: give CellID, or rename all but one", o.CellName)}, ambiguous)
	}
	odd, list := partition(list, func(s *sentRecord[R]) bool { return !parentLookable(P(&s.record)) })
	d.deliverSingly(odd, ambiguous)
	if len(list) == 0 || !d.dialect().severalSources() && !d.e.co.knownToFill() {
		return list
	}
	return d.pinParents(list, ambiguous)
}

// askWhetherItFills finds out what the server is, for records that it might mistake,
// settles those that can't go then, and returns the others.
func (d *delivery[R, P]) askWhetherItFills(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	fills, out, err := d.fills()
	switch {
	case err != nil:
		d.undeliver(list, out, err, ambiguous)
		return nil
	case fills: // which matters to other fields, too
		return d.withoutHazards(list, ambiguous)
	}
	return list
}

// fills reports whether the server fills, which is found out where it might and has
// not shown. The error says why it can't be, where that may change.
func (d *delivery[R, P]) fills() (bool, *result, error) {
	if d.e.co.mightFill() && !d.e.flight.mute.Load() {
		_, _, out, err := d.e.co.fills(d.e.flight.goOn, d.e.cfg, d.e.flight.seen)
		switch {
		case err != nil && unasked(out): // and would not be the next time
			d.e.flight.mute.Store(true)
		case err != nil:
			return false, out, err
		}
	}
	return d.e.co.isFilling(), nil, nil
}

// namesUnseenCell reports an operation whose cell, by that name, the run has not seen,
// or not as the only one.
func (d *delivery[R, P]) namesUnseenCell(s *sentRecord[R]) bool {
	o := namingCell(P(&s.record))
	return o != nil && d.e.flight.seen.ownCell(o.CellName) == ""
}

// pinParents names the rows that records are linked to by their ids, for a server
// that would take one of another source. It asks for those that the run has not
// seen: one may have been deleted since, and an id leads to it all the same.
func (d *delivery[R, P]) pinParents(list []*sentRecord[R], ambiguous bool) []*sentRecord[R] {
	co := d.e.co
	ids, unseen := d.seenParents(list)
	told := false // otherwise it is no server that confuses them
	if len(unseen) > 0 && co.asksRows(unseen[0].entity) {
		entity := unseen[0].entity
		ask := make([]Key, len(unseen))
		for i, parent := range unseen {
			ask[i] = parent.key
		}
		found, out, err := co.diffKeys(d.e.flight.goOn, d.e.cfg, entity, ask, true)
		told = co.asksRows(entity)
		switch {
		case err == nil || !told:
		case unasked(out) && (d.e.cfg.noChecks || !d.dialect().severalSources() && !co.knownToFill()): // those may confuse them
			told = false
		default:
			d.undeliver(list, out, err, ambiguous)
			return nil
		}
		for key, r := range found {
			d.dialect().sawUntold(entityKey{entity, key}, r.untold())
			if r.exists() && r.id != "" {
				ids[key] = r.id
				d.dialect().sawThere(entity, key, r.id)
			}
		}
	}
	return d.pin(list, ids, nil, told, ambiguous)
}

// unasked reports a server that refuses a question alone, as far as one can tell. What
// is forbidden may be so by a gateway that lets pass what is documented.
func unasked(out *result) bool { return out.kind == ErrForbidden || out.own && !ending(out) }

// lately is for how long a row that the run has seen is linked to without asking: a
// run may go on for hours, in which rows are deleted.
const lately = 10 * time.Minute

// seenParents are the ids of rows that records name as their parents and that the run
// has seen, and the others.
func (d *delivery[R, P]) seenParents(list []*sentRecord[R]) (ids map[Key]string, unseen []entityKey) {
	ids = make(map[Key]string)
	since := d.e.flight.seen.began
	if bound := time.Now().Add(-lately); bound.After(since) {
		since = bound
	}
	for _, s := range list {
		parent, ok := d.parent(s)
		if !ok {
			continue
		}
		if id := d.dialect().idSince(since, parent.entity, parent.key); id != "" {
			ids[parent.key] = id
		} else {
			unseen = append(unseen, parent)
		}
	}
	return ids, unseen
}

// pin names parents by their ids, and settles records that have none where the server
// was asked for all. Cells, by name, are named by the ids that it is given, if it is.
func (d *delivery[R, P]) pin(list []*sentRecord[R], ids map[Key]string, cellID func(name string) string, askedAll, ambiguous bool) []*sentRecord[R] {
	pinned := list[:0:0]
	for _, s := range list {
		parent, ok := d.parent(s)
		id := ids[parent.key]
		if ok && id == "" && askedAll {
			d.untranslatable(s, d.e.co.noParent(parent), ambiguous)
			continue
		}
		copied := s.alone()
		s.own, s.pinned = nil, ok && id != "" // by no id that it was sent with before
		if s.pinned {
			switch r := any(P(&copied)).(type) {
			case *Part:
				r.JobID = id
			case *Operation:
				r.PartID = id
			}
		}
		cell := namingCell(P(&copied))
		if cell != nil && cellID != nil {
			cell.CellID = cellID(cell.CellName)
		}
		if s.pinned || s.lifted || cell != nil && cell.CellID != "" {
			var err error
			if s.own, err = P(&copied).appendJSON(nil, d.e.cfg.source); err != nil {
				d.untranslatable(s, err, ambiguous)
				continue
			}
		}
		pinned = append(pinned, s)
	}
	return pinned
}
