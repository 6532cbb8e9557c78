package eryxon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"time"
)

// WithCompleteExport declares that the dataset holds every record that the ERP
// has under source, of each entity that it has an input for (or has nested in
// others). The report's Disappeared then lists what the state knows (see
// [WithState]) and the dataset lacks. Where the export is complete within a
// window only, such as orders due this month, within tells of a key whether it
// belongs there; nil: all do. It is asked of every key that the state has under
// the source.
func WithCompleteExport(source string, within func(Entity, Key) bool) SyncAllOption {
	return syncAllOption(func(c *config) error {
		if source == "" {
			return errors.New("eryxon: WithCompleteExport: empty source: want the ERP system's name, such as SAP")
		}
		if within == nil {
			within = func(Entity, Key) bool { return true }
		}
		c.complete, c.within = source, within
		return nil
	})
}

// Disappeared is what a complete export lacks: see [WithCompleteExport].
// Nothing has been done about it; [Client.Deactivate] can.
type Disappeared struct {
	Source  string              `json:"source"`
	Records []DisappearedRecord `json:"records"` // children before parents, then by external id

	dry         bool
	runs        int            // of the state, when this was found
	known, read map[Entity]int // in the state, in the dataset
}

// DisappearedRecord is a record that the server holds and the export lacks.
type DisappearedRecord struct {
	Entity       Entity    `json:"entity"`
	Key          Key       `json:"key"`
	ID           string    `json:"id,omitempty"` // the row's UUID, where known
	Acknowledged time.Time `json:"acknowledged"` // by the server, the last time
}

// childrenFirst is the order in which records are taken out of use.
var childrenFirst = [...]Entity{EntityOperations, EntityParts, EntityJobs, EntityResources, EntityCells}

// presence collects the keys of a complete export, 8 bytes for each. Of two keys
// with the same hash, one in 10^19, one may be missed.
type presence struct {
	seed   maphash.Seed
	keys   map[Entity][]uint64
	partly map[Entity]bool // not read to the end
}

func newPresence() *presence {
	return &presence{seed: maphash.MakeSeed(), keys: make(map[Entity][]uint64), partly: make(map[Entity]bool)}
}

func (p *presence) hash(k Key) uint64 { return maphash.Comparable(p.seed, k) }

func (p *presence) saw(e Entity, k Key) { p.keys[e] = append(p.keys[e], p.hash(k)) }

// cutShort notes that an input was not read to its end: nothing can be said of
// what it may hold, and what may be nested in it.
func (p *presence) cutShort(e Entity) {
	switch p.partly[e] = true; e {
	case EntityJobs:
		p.partly[EntityParts], p.partly[EntityOperations] = true, true
	case EntityParts:
		p.partly[EntityOperations] = true
	}
}

// disappeared finds what the state has and the dataset lacks.
func (r *syncRun) disappeared(data *Dataset) (*Disappeared, error) {
	found := &Disappeared{Source: r.cfg.complete, dry: r.cfg.dryRun, runs: r.cfg.run.runs(), known: make(map[Entity]int), read: make(map[Entity]int)}
	given := map[Entity]bool{
		EntityCells: data.Cells.given, EntityResources: data.Resources.given, EntityJobs: data.Jobs.given,
		EntityParts: data.Parts.given, EntityOperations: data.Operations.given,
	}
	for _, e := range childrenFirst {
		keys := r.present.keys[e]
		if !given[e] && len(keys) == 0 || r.present.partly[e] {
			continue
		}
		slices.Sort(keys)
		found.read[e] = len(keys)
		first := len(found.Records)
		for entry, err := range r.cfg.run.st.Entries(e) {
			if err != nil {
				return nil, err
			}
			if entry.Key.Source != found.Source || entry.flags()&(flagExists|flagInactive) != flagExists {
				continue
			}
			_, there := slices.BinarySearch(keys, r.present.hash(entry.Key))
			if !r.cfg.within(e, entry.Key) {
				continue
			}
			found.known[e]++
			if !there {
				found.Records = append(found.Records, DisappearedRecord{e, entry.Key, entry.ID, entry.Time})
			}
		}
		slices.SortFunc(found.Records[first:], func(a, b DisappearedRecord) int { return compareKeys(a.Key, b.Key) })
	}
	return found, nil
}

// Deactivation says how records that have disappeared are taken out of use.
// Cells and resources get active false and keep all else. Of the others the
// caller knows what that means: each function turns a key into the record to
// sync, such as one with a status, or returns false to leave it alone; nil
// leaves all of them. What such a record leaves out, and the server would fill,
// is guarded as in every sync: see [WithOverwritingUpdates]. Nothing is ever deleted: on these servers a deleted row's
// external id can't be used again.
type Deactivation struct {
	Job       func(Key) (Job, bool)
	Part      func(Key) (Part, bool)
	Operation func(Key) (Operation, bool)
	// MaxShare is how large a part of an entity's records may have
	// disappeared, above 0 up to 1; 0 is 0.1, a tenth. Where it is more of any
	// entity that is not left alone, or the export held no record of that
	// entity at all, nothing is done.
	MaxShare float64
}

// defaultMaxShare is the brake where the caller sets none.
const defaultMaxShare = 0.1

// Deactivate takes what has disappeared out of use, children before parents.
// It wants the Disappeared of a dry run (see [WithDryRun]), so that somebody, or
// a program, has looked at it before, and the same state among the options.
// Where another run has used the state since, it wants another dry run: what
// had disappeared may be back. It fails with
// [ErrTooManyDisappeared], and does nothing, where more has disappeared than the
// Deactivation allows. A record that appears in a later export is sent whole,
// its status and active included.
func (c *Client) Deactivate(ctx context.Context, gone *Disappeared, how Deactivation, opts ...SyncAllOption) (*Report, error) {
	cfg := c.core.cfg
	if err := applyAll(&cfg, opts); err != nil {
		return newReport(), err
	}
	if err := how.check(gone, &cfg); err != nil {
		return newReport(), err
	}
	cfg.deactivate = true // what the shop floor owns is what this is about
	return c.account(ctx, &cfg, func(ctx context.Context, co *core, run *syncRun) {
		if cfg.run.runs() != gone.runs {
			run.ended(errors.New("eryxon: Deactivate: another run has used the state since the dry run, so what had disappeared may be back: nothing was done; make the dry run again"))
			return
		}
		for _, e := range childrenFirst {
			run.deactivate(ctx, co, e, gone, &how)
		}
	})
}

// check holds the brake.
func (how *Deactivation) check(gone *Disappeared, cfg *config) error {
	most := how.MaxShare
	if most == 0 {
		most = defaultMaxShare
	}
	switch {
	case gone == nil || !gone.dry:
		return errors.New("eryxon: Deactivate: want the Disappeared of a dry run: call SyncAll with WithDryRun and WithCompleteExport first, and look at it")
	case cfg.state == nil:
		return errors.New("eryxon: Deactivate: want WithState with the state of the dry run")
	case !(most > 0 && most <= 1):
		return fmt.Errorf("eryxon: Deactivate: MaxShare %v: want more than 0, at most 1", how.MaxShare)
	}
	for _, e := range childrenFirst {
		n := 0
		if !how.touches(e) {
			continue
		}
		for i := range gone.Records {
			if gone.Records[i].Entity == e {
				n++
			}
		}
		switch {
		case n == 0:
		case gone.read[e] == 0:
			return fmt.Errorf("eryxon: the export held no %s at all, so nothing was deactivated: %w; look at the export", e, ErrTooManyDisappeared)
		case float64(n) > most*float64(gone.known[e]):
			return fmt.Errorf("eryxon: %d of %d %s have disappeared, more than the share of %v, so nothing was deactivated: %w; look at the export, or raise MaxShare", n, gone.known[e], e, most, ErrTooManyDisappeared)
		}
	}
	return nil
}

// goneRecord is a record that is to be taken out of use.
type goneRecord struct {
	DisappearedRecord
	fields fieldDigests
}

// touches reports whether anything is to be done about an entity.
func (how *Deactivation) touches(e Entity) bool {
	switch e {
	case EntityJobs:
		return how.Job != nil
	case EntityParts:
		return how.Part != nil
	case EntityOperations:
		return how.Operation != nil
	}
	return true
}

// deactivate takes one entity's records out of use.
func (r *syncRun) deactivate(ctx context.Context, co *core, e Entity, gone *Disappeared, how *Deactivation) {
	var keys []*goneRecord
	for _, g := range gone.Records {
		if g.Entity != e {
			continue
		}
		entry, err := r.cfg.run.get(e, g.Key)
		if err != nil {
			r.ended(err)
			return
		}
		if entry.flags()&flagExists != 0 && entry.Time.Equal(g.Acknowledged) {
			keys = append(keys, &goneRecord{g, entry.fields()})
		}
	}
	if len(keys) == 0 || r.end != nil {
		return
	}
	switch e {
	case EntityOperations:
		deactivateEach[Operation, *Operation, OperationRow](ctx, co, r, turned(keys, how.Operation))
	case EntityParts:
		deactivateEach[Part, *Part, PartRow](ctx, co, r, turned(keys, how.Part))
	case EntityJobs:
		deactivateEach[Job, *Job, JobRow](ctx, co, r, turned(keys, how.Job))
	case EntityResources:
		cfg := r.cfg.counting()
		list, err := idleResources(newClient(co).Resources.List(ctx, ResourceListOptions{ExternalSource: gone.Source}, withConfig(cfg)), keys)
		r.report.of(e).setCost(cfg.wire.cost(), r.report.Started)
		if err != nil {
			r.ended(err)
			return
		}
		settleRowless(r, keys, list)
		deactivateEach[Resource, *Resource, ResourceRow](ctx, overwriting(co), r, list)
	case EntityCells:
		cfg := r.cfg.counting()
		list, err := idleCells(newClient(co).Cells.List(ctx, CellListOptions{}, withConfig(cfg)), keys)
		r.report.of(e).setCost(cfg.wire.cost(), r.report.Started)
		if err != nil {
			r.ended(err)
			return
		}
		settleRowless(r, keys, list)
		deactivateEach[Cell, *Cell, CellRow](ctx, overwriting(co), r, list)
	}
}

// overwriting is for records that were read from the server: they leave nothing
// out that it has.
func overwriting(co *core) *core {
	variant := *co
	variant.cfg.overwrite = true
	return &variant
}

// turned has the caller turn keys into records.
func turned[R any](keys []*goneRecord, turn func(Key) (R, bool)) []R {
	var list []R
	if turn == nil {
		return nil
	}
	for _, g := range keys {
		if r, ok := turn(g.Key); ok {
			list = append(list, r)
		}
	}
	return list
}

// idleResources makes of rows the records that leave them as they are, but not
// active.
func idleResources(rows iter.Seq2[ResourceRow, error], keys []*goneRecord) (list []Resource, err error) {
	err = matchRows(rows, keys, func(row ResourceRow) (rowIdentity, string) { return row.identity(), row.Name }, func(k Key, row ResourceRow) {
		list = append(list, Resource{
			ExternalID: k.ExternalID, ExternalSource: k.Source, Name: row.Name, Type: row.Type,
			Description: given(row.Description), Identifier: given(row.Identifier), Location: given(row.Location),
			Status: given(row.Status), Active: Some(false),
		})
	})
	return list, err
}

func idleCells(rows iter.Seq2[CellRow, error], keys []*goneRecord) (list []Cell, err error) {
	err = matchRows(rows, keys, func(row CellRow) (rowIdentity, string) { return row.identity(), row.Name }, func(k Key, row CellRow) {
		list = append(list, Cell{
			ExternalID: k.ExternalID, ExternalSource: k.Source, Name: row.Name,
			Color: given(row.Color), Sequence: Some(row.Sequence), Active: Some(false),
		})
	})
	return list, err
}

// matchRows finds the rows of records: by id, by the key that rows show, or,
// where neither is known, by the name that was synced, if one row has it.
func matchRows[Row any](rows iter.Seq2[Row, error], keys []*goneRecord, tell func(Row) (rowIdentity, string), found func(Key, Row)) error {
	matches := make(map[*goneRecord][]Row)
	for row, err := range rows {
		if err != nil {
			return err
		}
		identity, name := tell(row)
		for _, g := range keys {
			if g.has(identity, name) {
				matches[g] = append(matches[g], row)
			}
		}
	}
	for _, g := range keys {
		if len(matches[g]) == 1 {
			found(g.Key, matches[g][0])
		}
	}
	return nil
}

func (g *goneRecord) has(row rowIdentity, name string) bool {
	switch {
	case g.ID != "":
		return g.ID == row.id
	case row.shown():
		return row.is(g.Key)
	}
	synced, known := g.fields[nameDigest("name")]
	return known && synced == fieldDigest(g.Entity, "name", appendString(nil, name))
}

// settleRowless accounts for records whose rows the server does not list.
func settleRowless[R any, P interface {
	*R
	recordKey(source string) Key
}](r *syncRun, keys []*goneRecord, found []R) {
	there := make(map[Key]bool, len(found))
	for i := range found {
		there[P(&found[i]).recordKey("")] = true
	}
	for _, g := range keys {
		if there[g.Key] {
			continue
		}
		o := Outcome{Entity: g.Entity, Index: -1, Key: g.Key, Status: StatusFailed, ID: g.ID}
		_ = o.close(&errReference{ErrNotFound, "", "the server lists no row of it, so it was not deactivated; Check tells whether it is gone"}) // the outcome keeps it
		r.account(&o)
	}
}

// given is a column's value, left out where it is null.
func given[T any](o Opt[T]) Opt[T] {
	if o.IsNull() {
		return Opt[T]{}
	}
	return o
}

// deactivateEach syncs the records that take rows out of use.
func deactivateEach[R any, P recordPtr[R], Row any](ctx context.Context, co *core, run *syncRun, list []R) {
	s := newSyncer[R, P, Row](co)
	report := run.report.of(s.entity)
	before := report.tally()
	report.expected = len(list)
	st := s.stream(ctx, FromSlice(list).all(), 1, nil, func(e *engine[R, P]) { e.finite = true })
	for o := range st.All() {
		run.account(&o)
	}
	report.setCost(st.stats.plus(before), run.report.Started)
	if err := st.Err(); err != nil {
		run.ended(err)
	}
}

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.ExternalID, b.ExternalID))
}
