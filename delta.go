package eryxon

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// WithState has BulkSync, Stream and SyncAll send only records whose content
// differs from what st has the server acknowledge: the others end as
// [StatusUnchanged] without a request, with an empty RequestID. What is
// acknowledged is written to st before its outcome is handed out, and nothing
// else is: after a crash the next run with the same input goes on.
//
// A run has the state for itself: a second one fails with [ErrStateInUse] and
// does nothing. A state of another installation or tenant is refused with
// [ErrStateMismatch]. Single syncs of a client with a state are always sent,
// and keep the state true; what other clients write it does not learn of (see
// [Client.Check]).
//
// With a state, statuses and active are the shop floor's once the record is
// on the server: see [WithCreateOnly]. To a new state every record is new: where
// the server is in use already, leave these fields out of the first run.
func WithState(st State) BulkOption {
	return bulkOption(func(c *config) error {
		if st == nil || !reflect.TypeOf(st).Comparable() {
			return errors.New("eryxon: WithState: want a state such as syncstate.Open returns")
		}
		c.state = st
		return nil
	})
}

// WithFull sends all records, whatever the state says of them.
func WithFull() BulkOption {
	return bulkOption(func(c *config) error { c.full = true; return nil })
}

// WithMaxAge sends records that are unchanged too, where the server last
// acknowledged them d or longer ago; d is above 0. A night's export spread over
// a week of such runs finds what was lost on the server.
func WithMaxAge(d time.Duration) BulkOption {
	return bulkOption(func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("eryxon: WithMaxAge: %s: want more than 0", d)
		}
		c.maxAge = d
		return nil
	})
}

// WithCreateOnly names optional fields that are sent when a record is new, and
// left out of updates, so that a run does not undo what the shop floor did:
// by their wire name for all entities ("notes"), of one ("jobs.notes"), or as
// extra columns ("jobs.Extra[planner]"). They do not count when a record is held
// against what was acknowledged. It works with a state (see [WithState]), which
// knows what is new; "status" and "active" are such fields by default.
// [WithoutCreateOnly] turns it off.
func WithCreateOnly(fields ...string) BulkOption { return createOnly("WithCreateOnly", fields, true) }

// WithoutCreateOnly names fields that updates write with a state too, such as
// "status" or "cells.active": see [WithCreateOnly].
func WithoutCreateOnly(fields ...string) BulkOption {
	return createOnly("WithoutCreateOnly", fields, false)
}

func createOnly(option string, fields []string, only bool) BulkOption {
	return bulkOption(func(c *config) error {
		said := maps.Clone(c.createOnly)
		if said == nil {
			said = make(map[string]bool, len(fields))
		}
		for _, name := range fields {
			if !optionalField(name) {
				return fmt.Errorf("eryxon: %s: %.60q is no optional field: want one such as status, jobs.notes or jobs.Extra[column]", option, name)
			}
			said[name] = only
		}
		c.createOnly = said
		return nil
	})
}

// optionalField reports the name of a field that a record may leave out.
func optionalField(name string) bool {
	entity, field := splitField(name)
	if _, ok := extraColumn(field); ok {
		return true
	}
	for _, e := range entityOrder {
		if entity != "" && entity != e {
			continue
		}
		if i, ok := recordFields(e)[field]; ok && isOpt(recordType(e).Field(i).Type) {
			return true
		}
	}
	return false
}

// splitField takes the entity off a field's name, "" where it gives none.
func splitField(name string) (Entity, string) {
	for _, e := range entityOrder {
		if field, ok := strings.CutPrefix(name, string(e)+"."); ok {
			return e, field
		}
	}
	return "", name
}

// extraColumn takes the column's name out of Extra[name].
func extraColumn(field string) (string, bool) {
	name, ok := strings.CutPrefix(field, "Extra[")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, "]")
}

func isOpt(t reflect.Type) bool { return strings.HasPrefix(t.Name(), "Opt[") }

func recordType(e Entity) reflect.Type {
	switch e {
	case EntityJobs:
		return reflect.TypeFor[Job]()
	case EntityParts:
		return reflect.TypeFor[Part]()
	case EntityOperations:
		return reflect.TypeFor[Operation]()
	case EntityCells:
		return reflect.TypeFor[Cell]()
	default:
		return reflect.TypeFor[Resource]()
	}
}

// shopFloors are the fields that an entity's updates leave out.
type shopFloors struct {
	fields []int // of the record's struct
	extra  []string
}

// shopFloorFields works out what the options say.
func (c *config) shopFloorFields(e Entity) shopFloors {
	said := map[string]bool{"status": true, "active": true}
	for _, qualified := range []bool{false, true} { // the more precise name wins
		for name, only := range c.createOnly {
			if entity, field := splitField(name); (entity != "") == qualified && (entity == e || !qualified) {
				said[field] = only
			}
		}
	}
	var f shopFloors
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if !said[name] {
			continue
		}
		if column, ok := extraColumn(name); ok {
			f.extra = append(f.extra, column)
		} else if i, ok := recordFields(e)[name]; ok {
			f.fields = append(f.fields, i)
		}
	}
	return f
}

// delta holds records against what a state has of them.
type delta[R any, P recordPtr[R]] struct {
	run    *stateRun
	cfg    *config
	co     *core
	entity Entity
	floors map[Entity]shopFloors
	lean   R // here to be allocated once, not once a record
	buf    []byte
}

func newDelta[R any, P recordPtr[R]](co *core, cfg *config, e Entity) *delta[R, P] {
	d := &delta[R, P]{run: cfg.run, cfg: cfg, co: co, entity: e, floors: make(map[Entity]shopFloors)}
	for _, within := range []Entity{e, EntityParts, EntityOperations} {
		d.floors[within] = cfg.shopFloorFields(within)
	}
	return d
}

// memory is what is known of a record that is to be sent.
type memory[R any] struct {
	entry StateEntry
	given *R // the record as the caller gave it, where less of it is sent
	whole bool
	// doubted: the state calls it doubtful while it is sent.
	doubted bool
}

// look holds a record against the state. Unchanged records need no sending (less is
// what of them is sent all the same); of the others only what the ERP owns is sent where
// their row may exist.
func (d *delta[R, P]) look(r P, key Key) (m memory[R], send P, unchanged bool, err error) {
	if m.entry, err = d.run.get(d.entity, key); err != nil {
		return m, r, false, err
	}
	lean := d.ownedByERP(r)
	var sum digest
	if sum, d.buf, err = digestOf[R, P](lean, d.cfg.source, d.buf); err != nil {
		return m, r, false, err
	}
	flags := m.entry.flags()
	if d.cfg.deactivate {
		m.whole = true
		return m, r, flags&flagInactive != 0, nil
	}
	unchanged = m.entry.Digest == sum && flags&flagExists != 0 && !d.cfg.full && !d.aged(&m.entry)
	if unchanged {
		if unchanged, err = d.carries(r, sum); err != nil {
			return m, r, false, err
		}
	}
	m.whole = flags&(flagExists|flagTried) == 0 || flags&(flagInactive|flagBare) != 0
	if unchanged {
		return m, r, true, nil
	}
	send, err = d.less(&m, r, lean)
	return m, send, false, err
}

// less is what of a record is sent, of which the lean one lacks what is the shop
// floor's.
func (d *delta[R, P]) less(m *memory[R], r, lean P) (send P, err error) {
	if m.whole || lean == r {
		return r, nil
	}
	given := *r
	m.given = &given
	return lean, d.keepNew(lean, r)
}

// carries reports whether the records nested in one have not been sent in
// another way since it was acknowledged.
func (d *delta[R, P]) carries(r P, sum digest) (bool, error) {
	for _, n := range r.nested(d.cfg.source) {
		if entry, err := d.run.get(n.Entity, n.Key); err != nil || entry.Digest != sum {
			return false, err
		}
	}
	return true, nil
}

// keepNew gives a copy of a record back what was left out of those nested in it
// that are new.
func (d *delta[R, P]) keepNew(lean, r P) error {
	switch r := any(r).(type) {
	case *Job:
		to, _ := any(lean).(*Job)
		return d.keepNewParts(to, r, cmpOr(r.ExternalSource, d.cfg.source))
	case *Part:
		to, _ := any(lean).(*Part)
		return d.keepNewOperations(to, r, cmpOr(r.ExternalSource, d.cfg.source))
	}
	return nil
}

func (d *delta[R, P]) keepNewParts(lean, r *Job, source string) error {
	lean.Parts = slices.Clone(lean.Parts)
	for i := range lean.Parts {
		p := &r.Parts[i]
		key := p.recordKey(source)
		if err := d.keepNewOperations(&lean.Parts[i], p, key.Source); err != nil {
			return err
		}
		isNew, err := d.isNew(EntityParts, key)
		if err != nil {
			return err
		}
		if isNew {
			ops := lean.Parts[i].Operations
			lean.Parts[i] = *p
			lean.Parts[i].Operations = ops
		}
	}
	return nil
}

func (d *delta[R, P]) keepNewOperations(lean, r *Part, source string) error {
	lean.Operations = slices.Clone(lean.Operations)
	for i := range lean.Operations {
		isNew, err := d.isNew(EntityOperations, r.Operations[i].recordKey(source))
		if err != nil {
			return err
		}
		if isNew {
			lean.Operations[i] = r.Operations[i]
		}
	}
	return nil
}

func (d *delta[R, P]) isNew(e Entity, k Key) (bool, error) {
	entry, err := d.run.get(e, k)
	return entry.flags()&(flagExists|flagTried) == 0 || entry.flags()&flagBare != 0, err
}

// aged reports an entry that is too old to be believed. One from the future was
// written under a clock that was wrong: how old it is nobody knows.
func (d *delta[R, P]) aged(entry *StateEntry) bool {
	if d.cfg.maxAge == 0 {
		return false
	}
	age := time.Since(entry.Time)
	return age < -clockStep || age >= d.cfg.maxAge
}

// clockStep is by how much clocks are set back in good order.
const clockStep = time.Minute

// ownedByERP returns the record without what is the shop floor's, and without
// columns that the server is known to lack: the record itself where it gives
// none of these.
func (d *delta[R, P]) ownedByERP(r P) P {
	changed := leaveOut((*R)(r), &d.lean, d.floors)
	if d.cfg.omitMissing {
		if !changed {
			d.lean = *r
		}
		omitAbsent(&d.co.shared.dialect, P(&d.lean))
		changed = true
	}
	if !changed {
		return r
	}
	return P(&d.lean)
}

// leaveOut copies the record without the shop floor's fields, those of records
// nested in it included. It reports whether there were any; else it copies
// nothing.
func leaveOut[R any](r, into *R, floors map[Entity]shopFloors) bool {
	floor := floors[entityOf[R]()]
	changed := false
	change := func() reflect.Value {
		if !changed {
			*into, changed = *r, true
		}
		return reflect.ValueOf(into).Elem()
	}
	from := reflect.ValueOf(r).Elem()
	for _, i := range floor.fields {
		if !from.Field(i).IsZero() {
			change().Field(i).SetZero()
		}
	}
	for _, name := range floor.extra {
		if _, ok := (*extraOf(r))[name]; ok {
			change()
			left := maps.Clone(*extraOf(into))
			delete(left, name)
			*extraOf(into) = left
		}
	}
	switch r := any(r).(type) {
	case *Job:
		if parts, ok := leaveOutOf(r.Parts, floors); ok {
			change().FieldByName("Parts").Set(reflect.ValueOf(parts))
		}
	case *Part:
		if ops, ok := leaveOutOf(r.Operations, floors); ok {
			change().FieldByName("Operations").Set(reflect.ValueOf(ops))
		}
	}
	return changed
}

// leaveOutOf does so in a list of nested records.
func leaveOutOf[R any](list []R, floors map[Entity]shopFloors) ([]R, bool) {
	copied := false
	for i := range list {
		var lean R
		if !leaveOut(&list[i], &lean, floors) {
			continue
		}
		if !copied {
			list, copied = slices.Clone(list), true
		}
		list[i] = lean
	}
	return list, copied
}

func extraOf(r any) *map[string]any {
	switch r := r.(type) {
	case *Job:
		return &r.Extra
	case *Part:
		return &r.Extra
	case *Operation:
		return &r.Extra
	case *Cell:
		return &r.Extra
	case *Resource:
		return &r.Extra
	}
	return new(map[string]any)
}
