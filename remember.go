package eryxon

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// recall holds a record of the input against the state. One that is unchanged
// is settled; of others it returns what is to be remembered of it, and what of
// it is to be sent.
func (e *engine[R, P]) recall(r P, o *Outcome) (m *memory[R], send P, unchanged bool) {
	underWay := e.underWay(o.Key) // before the look: it may be through right after it
	known, send, unchanged, err := e.delta.look(r, o.Key)
	if err == nil && unchanged && underWay {
		send, err = e.delta.less(&known, r, e.delta.ownedByERP(r))
	}
	if err != nil {
		if e.end == nil {
			e.end = err
		}
		return nil, r, false
	}
	if unchanged && !underWay {
		o.Status, o.ID, o.Nested = StatusUnchanged, known.entry.ID, r.nested(e.cfg.source)
		for i := range o.Nested {
			o.Nested[i].Status = StatusUnchanged
		}
		e.ready = append(e.ready, *o)
		return nil, r, true
	}
	return &known, send, false
}

// underWay reports that an earlier record of the key is about to be sent, or
// has been, so that what the state has of it is about to change.
func (e *engine[R, P]) underWay(k Key) bool {
	for _, list := range [][]*chunk[R]{e.open, e.full} {
		for _, c := range list {
			if at, ok := c.ids[k.ExternalID]; ok && c.sent[at].key == k {
				return true
			}
		}
	}
	return e.flight.keys.held(entityKey{e.entity, k})
}

// deliverRemembered delivers records of which the state has to know. Before
// they are sent the state calls what it has of them doubtful, for the server
// may have them and its answer may never arrive; afterwards it learns what was
// acknowledged. The error is that it could not; where it could not be asked beforehand
// nothing is sent.
func (d *delivery[R, P]) deliverRemembered(list []*sentRecord[R]) error {
	run := d.e.delta.run
	before, err := d.doubtful(list)
	if err == nil && len(before) > 0 {
		err = run.put(before)
	}
	if err != nil {
		d.done.end = err
		d.settleUnsent(list, false)
	} else {
		// Apart from the others, for some servers only tell whether all of a
		// request were new, or arrived.
		refused, others := partition(list, func(s *sentRecord[R]) bool {
			return d.e.co.countsOnly() && s.memory.entry.flags()&flagRefused != 0
		})
		suspect, others := partition(others, func(s *sentRecord[R]) bool { return s.memory.entry.flags()&flagSuspect != 0 })
		bare, others := partition(others, func(s *sentRecord[R]) bool {
			lacking := d.e.co.countsOnly() && s.memory.entry.flags()&flagExists == 0 && len(d.required(s)) > 0
			return lacking || s.isBare()
		})
		d.deliver(others, false)
		d.deliver(bare, false)
		d.deliver(refused, false)
		d.deliver(suspect, false)
		d.completeNew(list)
	}
	return run.put(d.acknowledge(list, err == nil))
}

// doubtful returns the entries of records that are about to be sent, as they
// are until an answer tells more.
func (d *delivery[R, P]) doubtful(list []*sentRecord[R]) ([]StateEntry, error) {
	var entries []StateEntry
	for _, s := range list {
		// Another record of the key may have been through since it was looked at.
		entry, err := d.e.delta.run.get(d.c.entity, s.key)
		if err != nil {
			return nil, err
		}
		s.memory.entry = entry
		switch {
		case entry.Digest != digest{}:
			entry.Digest = digest{}
		case s.memory.whole && d.hasFloor(P(&s.record)):
			// Whether the row is new the next run could not know.
			entry.Detail = entry.withFlags(entry.flags() | flagTried)
		default:
			continue
		}
		s.memory.doubted = true
		entries = append(entries, entry)
	}
	d.carried = make(map[entityKey]StateEntry, len(d.c.nested))
	for k := range d.c.nested {
		entry, err := d.e.delta.run.get(k.entity, k.key)
		if err != nil {
			return nil, err
		}
		doubted := entry.Digest != (digest{})
		entry.Digest = digest{}
		d.carried[k] = entry
		if entry.flags()&(flagExists|flagTried) == 0 {
			entry.Detail, doubted = entry.withFlags(flagTried), true
		}
		if doubted {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// hasFloor reports fields of the shop floor in a record.
func (d *delivery[R, P]) hasFloor(r P) bool {
	var lean R
	return leaveOut((*R)(r), &lean, d.e.delta.floors)
}

// hadRow reports a record that the state knows to have had a row.
func (s *sentRecord[R]) hadRow() bool {
	return s.memory != nil && s.memory.entry.flags()&flagExists != 0
}

// isBare reports a record that was sent without the shop floor's fields though
// its row may be new.
func (s *sentRecord[R]) isBare() bool { return s.memory.given != nil && !s.hadRow() }

// madeBare reports that a record's row was made without the shop floor's fields, or may
// have been: where the answer does not tell, they are sent rather than missing for good,
// if they are others than a new row has anyway.
func (d *delivery[R, P]) madeBare(s *sentRecord[R], o *Outcome) bool {
	return o.Status == StatusCreated || o.Status == StatusSynced && (s.remade || s.isBare() && d.lacksMore(s))
}

// lacksMore reports that what was left out of a record is not what servers give a new
// row by themselves.
func (d *delivery[R, P]) lacksMore(s *sentRecord[R]) bool {
	given := s.given()
	leaveNested(P(&given))
	switch r := any(P(&given)).(type) {
	case *Job:
		r.Status = unless(r.Status, WorkNotStarted)
	case *Part:
		r.Status = unless(r.Status, WorkNotStarted)
	case *Operation:
		r.Status = unless(r.Status, WorkNotStarted)
	case *Cell:
		r.Active = unless(r.Active, true)
	case *Resource:
		r.Status, r.Active = unless(r.Status, ResourceAvailable), unless(r.Active, true)
	}
	return d.hasFloor(P(&given))
}

// isAsMade reports a row that holds, of what the shop floor owns, what servers give a new
// one by themselves.
func isAsMade(r any, row json.RawMessage) bool {
	var has struct {
		Status string `json:"status"`
		Active bool   `json:"active"`
	}
	if json.Unmarshal(row, &has) != nil {
		return false
	}
	switch r.(type) {
	case *Cell:
		return has.Active
	case *Resource:
		return has.Active && has.Status == string(ResourceAvailable)
	default:
		return has.Status == string(WorkNotStarted)
	}
}

// unless returns the field, unset where it has the value.
func unless[T comparable](o Opt[T], value T) Opt[T] {
	if v, ok := o.Get(); ok && v == value {
		return Opt[T]{}
	}
	return o
}

// complete notes that a bare record's row, of the given id, is new, and returns
// the record as it is to be sent then.
func (s *sentRecord[R]) complete(id string) R {
	s.memory.entry.ID, s.memory.entry.Detail = id, s.memory.entry.withFlags(flagExists|flagBare)
	return *s.memory.given
}

// recallNested holds a record that another has carried against what the state had of
// it, as recall does. It returns nil without a state.
func (d *delivery[R, P]) recallNested(r P, key Key) (m *memory[R], send P) {
	if d.carried == nil {
		return nil, r
	}
	m = &memory[R]{entry: d.carried[entityKey{d.c.entity, key}]}
	flags := m.entry.flags()
	if m.whole = flags&(flagExists|flagTried) == 0 || flags&(flagInactive|flagBare) != 0; m.whole {
		return m, r
	}
	var lean R
	given := *r
	alone := given // what it carries goes by itself
	leaveNested(P(&alone))
	if !leaveOut(&alone, &lean, d.e.delta.floors) {
		return m, r
	}
	m.given = &given
	if part, ok := any(P(&lean)).(*Part); ok {
		part.Operations = any(r).(*Part).Operations
	}
	return m, P(&lean)
}

// giveBack hands failed records back as they were given.
func (d *delivery[R, P]) giveBack(list []*sentRecord[R]) {
	places := make(map[int]*sentRecord[R], len(list))
	for _, s := range list {
		places[s.index] = s
	}
	for i := range d.done.outcomes {
		if o := &d.done.outcomes[i]; o.Record != nil && places[o.Index] != nil {
			o.Record = places[o.Index].given()
		}
	}
}

// completeNew sends what was left out of records that turned out to be new, for
// nobody knew of them or because the server has lost their rows.
func (d *delivery[R, P]) completeNew(list []*sentRecord[R]) {
	lean := make(map[int]*sentRecord[R])
	for _, s := range list {
		if s.memory.given != nil {
			lean[s.index] = s
		}
	}
	if len(lean) == 0 {
		return
	}
	var again []*sentRecord[R]
	var bare []StateEntry
	was := make(map[int]Outcome) // what they carry has gone
	kept := d.done.outcomes[:0]
	for _, o := range d.done.outcomes {
		if s := lean[o.Index]; s != nil && d.madeBare(s, &o) {
			s.record = s.complete(o.ID)
			alone := s.record
			leaveNested(P(&alone))
			if own, err := P(&alone).appendJSON(nil, d.e.cfg.source); err == nil {
				s.own, s.isNew, s.nested, was[s.index] = own, false, nil, o
				again, bare = append(again, s), append(bare, s.memory.entry)
				continue
			}
		}
		kept = append(kept, o)
	}
	d.done.outcomes = kept
	if len(again) == 0 {
		return
	}
	if err := d.e.delta.run.put(bare); err != nil { // the next run could not know
		d.done.end = err
	}
	d.deliver(again, true) // their rows are there
	for i := len(kept); i < len(d.done.outcomes); i++ {
		o := &d.done.outcomes[i]
		o.Nested = was[o.Index].Nested
		switch {
		case o.Status.Success():
			o.Status = was[o.Index].Status
		case o.Status == StatusFailed: // though its row was made
			o.doubt()
		}
	}
}

// acknowledge returns the entries of records that have been through, and hands
// failed ones back as they were given.
func (d *delivery[R, P]) acknowledge(list []*sentRecord[R], sent bool) []StateEntry {
	d.giveBack(list)
	places := make(map[int]*sentRecord[R], len(list))
	for _, s := range list {
		places[s.index] = s
	}
	// The engine's own has its scratch memory in use.
	of := &delta[R, P]{run: d.e.delta.run, cfg: d.e.cfg, co: d.e.co, entity: d.c.entity, floors: d.e.delta.floors}
	now := time.Now().UTC().Truncate(time.Second)
	entries := make([]StateEntry, 0, len(list))
	for i := range d.done.outcomes {
		o := &d.done.outcomes[i]
		s := places[o.Index]
		var own digest // of the carrier
		if sent && o.Status.Success() {
			entry := of.acknowledged(s, o, now)
			own = entry.Digest
			entries = append(entries, entry)
		}
		for k := range o.Nested {
			entries = d.acknowledgeNested(entries, &o.Nested[k], own, o.Status == StatusFailed, now)
		}
		switch {
		case !sent, o.Status.Success():
		case errors.Is(o.Err, ErrDeletedOnServer):
			entries = append(entries, (&StateEntry{Entity: d.c.entity, Key: s.key}).flagged(flagRefused))
		case s.memory.entry.flags()&flagBare != 0:
			entries = append(entries, s.memory.entry)
		case s.isBare() && o.Status == StatusUnknown && lostAnswer(o.Err) && d.lacksMore(s): // to this, which may have made its row
			entries = append(entries, s.memory.entry.flagged(flagTried|flagBare))
		case o.Status == StatusFailed && refusesContent(o.Err):
			entry := s.memory.entry.flagged(flagRefused) // nothing was written: what it was holds
			if errors.Is(o.Err, ErrNaturalKeyTaken) {
				entry.ID = "" // its own deleted row may be what has the number
			}
			entries = append(entries, entry)
		case s.memory.doubted && (o.Status == StatusFailed || o.Status == StatusNotSent):
			entries = append(entries, s.memory.entry) // likewise
		case s.suspect && o.Status == StatusUnknown:
			if entry, err := d.e.delta.run.get(d.c.entity, s.key); err == nil {
				entries = append(entries, entry.flagged(flagSuspect))
			}
		}
	}
	if d.c.entity == EntityCells {
		entries = d.doubtOperations(entries, list)
	}
	return entries
}

// lostAnswer reports that no answer came, not one that tells too little.
func lostAnswer(err error) bool {
	return errors.Is(err, ErrConnection) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrServer)
}

// doubtOperations appends the entries of operations that say the name of a cell
// that was made or renamed, in doubt: the name means another row now than when
// they were acknowledged.
func (d *delivery[R, P]) doubtOperations(entries []StateEntry, list []*sentRecord[R]) []StateEntry {
	acked := make(map[Key]bool, len(entries))
	for i := range entries {
		acked[entries[i].Key] = entries[i].Digest != digest{}
	}
	moved := make(map[uint32]bool)
	for _, s := range list {
		was, had := s.memory.entry.field("name")
		is := fieldDigest(EntityCells, "name", appendString(nil, naturalName(P(&s.record))))
		if !acked[s.key] || had && was == is {
			continue
		}
		moved[is] = true
		if had {
			moved[was] = true
		}
	}
	if len(moved) == 0 {
		return entries
	}
	for op, err := range d.e.delta.run.st.Entries(EntityOperations) {
		if err != nil {
			if d.done.end == nil {
				d.done.end = err
			}
			return entries
		}
		if cell, ok := op.field("cell_name"); ok && moved[cell] && op.Digest != (digest{}) {
			op.Digest = digest{}
			entries = append(entries, op)
		}
	}
	return entries
}

// acknowledgeNested appends the entry of a record that was nested in another. It
// has the digest of its carrier: whichever of them is sent next without the
// other, the two differ from then on, and the carrier is not unchanged. A carrier that
// was refused has brought nothing in.
func (d *delivery[R, P]) acknowledgeNested(entries []StateEntry, o *Outcome, carrier digest, refused bool, now time.Time) []StateEntry {
	entry, ok := d.carried[entityKey{o.Entity, o.Key}]
	switch {
	case !ok || d.e.cfg.deactivate || o.Status == StatusUnknown && (!refused || o.failed()): // which went by itself
		return entries
	case o.Status.Success():
		entry.ID, entry.Time, entry.Digest = cmpOr(o.ID, entry.ID), now, carrier
		entry.Detail = []byte{detailVersion, byte(flagExists)}
	}
	return append(entries, entry)
}

// acknowledged is the entry of a record that the server is known to hold. What
// became of records nested in it must be known too, or they are sent again.
func (d *delta[R, P]) acknowledged(s *sentRecord[R], o *Outcome, now time.Time) StateEntry {
	entry := StateEntry{Entity: d.entity, Key: s.key, ID: o.ID, Time: now}
	if o.Status != StatusCreated || s.memory.entry.flags()&flagBare != 0 { // else the row that had the old one is gone
		entry.ID = cmpOr(o.ID, s.memory.entry.ID)
	}
	if d.cfg.deactivate {
		entry.Detail = entry.withFlags(flagExists | flagInactive)
		return entry
	}
	var err error
	if entry.Digest, d.buf, err = digestOf[R, P](d.ownedByERP(P(&s.record)), d.cfg.source, d.buf); err != nil ||
		slices.ContainsFunc(o.Nested, func(n Outcome) bool { return !n.Status.Success() }) {
		entry.Digest, entry.Detail = digest{}, entry.withFlags(flagExists)
		return entry
	}
	entry.Detail = appendDetail(nil, d.entity, d.buf[1:])
	return entry
}

// plan settles records of a dry run with what would become of them.
func (d *delivery[R, P]) plan(list []*sentRecord[R]) {
	d.done.requests++
	for _, s := range list {
		o := Outcome{Entity: d.c.entity, Index: s.index, Key: s.key, Status: StatusSynced, Nested: s.nested}
		if m := s.memory; m != nil && m.entry.flags()&flagExists != 0 {
			o.Status, o.ID = StatusUpdated, m.entry.ID
			if m.entry.Digest != (digest{}) {
				o.Changed = d.changed(s)
			}
		} else if m != nil && m.entry.flags()&flagTried == 0 {
			o.Status = StatusCreated
		}
		for i := range o.Nested {
			o.Nested[i].Status = o.Status
		}
		d.done.outcomes = append(d.done.outcomes, o)
	}
}

// changed names the fields of a record that differ from those acknowledged.
func (d *delivery[R, P]) changed(s *sentRecord[R]) []string {
	of := &delta[R, P]{cfg: d.e.cfg, co: d.e.co, floors: d.e.delta.floors}
	canonical, err := appendCanonical[R, P](of.ownedByERP(P(&s.record)), d.e.cfg.source, nil)
	if err != nil {
		return nil
	}
	return s.memory.entry.fields().changed(d.c.entity, canonical)
}
