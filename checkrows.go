package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// unmet are the entries whose row no list has shown yet.
type unmet struct {
	ids  map[string]Key // by the row's UUID, in lower case
	keys map[Key]string // the UUIDs, of entries that can be found by key alone "" among them
}

func (u *unmet) add(entry *StateEntry) {
	id := strings.ToLower(entry.ID)
	if _, taken := u.ids[id]; taken {
		id = "" // of two entries with one row at most one is right
	}
	if id != "" {
		u.ids[id] = entry.Key
	}
	if id == "" || entry.Entity == EntityResources { // their rows show keys
		u.keys[entry.Key] = id
	}
}

// meet takes out the entry whose row it is. What the row itself says of its key
// counts for more than its id.
func (u *unmet) meet(row *rowIdentity) (Key, bool) {
	id := strings.ToLower(row.id)
	key, ok := u.ids[id]
	if row.shown() {
		said := Key{Source: row.source.value, ExternalID: row.extern.value}
		if known, has := u.keys[said]; has {
			key, id, ok = said, known, true
		} else if ok && said != key {
			return Key{}, false
		}
	}
	if ok {
		delete(u.ids, id)
		delete(u.keys, key)
	}
	return key, ok
}

func (u *unmet) empty() bool { return len(u.ids) == 0 && len(u.keys) == 0 }

// all are the entries left, as the state has them now.
func (u *unmet) all(run *stateRun, e Entity) iter.Seq2[StateEntry, error] {
	return func(yield func(StateEntry, error) bool) {
		for _, key := range u.ids {
			if !yield(run.get(e, key)) {
				return
			}
		}
		for key, id := range u.keys {
			if id == "" && !yield(run.get(e, key)) {
				return
			}
		}
	}
}

// listing is how far a list can be believed.
type listing struct {
	whole bool // it was read to its end
	keyed bool // all rows told their keys
	paged bool // it took several requests, between which rows may have moved
}

// byList reads all rows of an entity and then asks about the entries whose row
// was not among them.
func (r *checkRun) byList(ctx context.Context, e Entity) error {
	left := &unmet{ids: make(map[string]Key), keys: make(map[Key]string)}
	unsure, err := r.unsure(ctx, e)
	if err != nil {
		return err
	}
	for entry, err := range r.entries(e) {
		if err != nil {
			return err
		}
		if !unsure[entry.Key] {
			left.add(&entry)
		}
	}
	if err := r.identify(ctx, e, left); err != nil {
		return err
	}
	var seen listing
	if !left.empty() {
		seen, err = r.readList(ctx, e, left)
	}
	if err != nil {
		if !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrBadAnswer) {
			return err
		}
		r.report.Warnings = append(r.report.Warnings, fmt.Sprintf("%s were not all compared: %s", e, strings.TrimPrefix(err.Error(), "eryxon: ")))
	}
	for key := range unsure {
		entry, err := r.cfg.run.get(e, key)
		if err != nil {
			return err
		}
		left.add(&entry)
	}
	if diffable(e) {
		err := r.ask(ctx, left.all(r.cfg.run, e), func(entry *StateEntry, d diffRecord) {
			if d.blind { // it may be another row than the one that is known
				r.notTold(entry)
				return
			}
			r.judgeKey(entry, d, seen.whole && seen.keyed)
		})
		if !errors.Is(err, errNotAskable) {
			return err
		}
	}
	return r.inBatches(left.all(r.cfg.run, e), func(batch []StateEntry) error {
		return r.settle(ctx, batch, func(_ int, entry *StateEntry) { r.judgeUnlisted(entry, seen) })
	})
}

// unsure are the keys whose row in a list proves nothing, for it shows deleted rows like
// others: those that the server does not say are there.
func (r *checkRun) unsure(ctx context.Context, e Entity) (map[Key]bool, error) {
	if !askedByKey(e) || !r.co.listsDeleted() {
		return nil, nil
	}
	unsure := make(map[Key]bool)
	return unsure, r.inBatches(r.entries(e), func(batch []StateEntry) error {
		if len(batch) == 0 {
			return nil
		}
		keys := make([]Key, len(batch))
		for i := range batch {
			keys[i] = batch[i].Key
		}
		var found map[Key]diffRecord
		if !r.notAskable {
			var out *result
			var err error
			found, out, err = r.co.diffKeys(ctx, r.cfg, e, keys, false)
			r.notAskable = err != nil && unsupportedUnified(out)
			if err != nil && !r.notAskable {
				return err
			}
		}
		if r.notAskable && !r.co.isFilling() { // as documented, nothing is asked and lists show what is there
			return nil
		}
		for _, key := range keys {
			if d := found[key]; !d.exists() {
				unsure[key] = true
			}
		}
		return nil
	})
}

// judgeUnlisted judges an entry whose row the list does not show, where nothing
// else can be asked.
func (r *checkRun) judgeUnlisted(entry *StateEntry, seen listing) {
	switch {
	case seen.whole && seen.keyed:
		r.gone(entry, true)
	case !seen.whole || entry.ID == "":
		r.notTold(entry)
	case entry.Entity == EntityCells:
		r.gone(entry, true)
	case !seen.paged:
		r.gone(entry, false)
	default:
		r.notTold(entry)
	}
}

// identify finds out the UUIDs of jobs and parts by which their rows can be
// told in a list that shows no keys. Those that have no row are settled.
func (r *checkRun) identify(ctx context.Context, e Entity, left *unmet) error {
	if !askedByKey(e) || len(left.keys) == 0 {
		return nil
	}
	nameless := func(yield func(StateEntry, error) bool) {
		for key := range left.keys {
			if !yield(r.cfg.run.get(e, key)) {
				return
			}
		}
	}
	known := make(map[Key]string)
	err := r.ask(ctx, nameless, func(entry *StateEntry, d diffRecord) {
		switch {
		case d.exists() && isUUID(d.id):
			known[entry.Key] = d.id
		case d.blind: // its row can't be told among those of the list
			r.notTold(entry)
		default:
			r.judgeKey(entry, d, false)
		}
	})
	switch {
	case errors.Is(err, errNotAskable):
		return nil
	case err != nil:
		return err
	}
	clear(left.keys) // all but those known are settled
	for key, id := range known {
		left.add(&StateEntry{Entity: e, Key: key, ID: id})
	}
	return nil
}

// hit is a row of the list, and the entry that it is the row of.
type hit struct {
	key Key
	row shownRow
}

// readList compares the rows of a list with the entries, as it is read.
func (r *checkRun) readList(ctx context.Context, e Entity, left *unmet) (listing, error) {
	seen := listing{keyed: true}
	var hits []hit
	var strangers []shownRow // cells, which are few, that no id has told
	for row, err := range r.co.shownRows(ctx, r.cfg, e) {
		if err != nil {
			return seen, errors.Join(r.meet(ctx, e, hits), err)
		}
		seen.paged = seen.paged || row.offset > 0
		if row.deleted {
			continue
		}
		seen.keyed = seen.keyed && row.shown()
		key, ok := left.meet(&row.rowIdentity)
		if !ok {
			if e == EntityCells && !row.shown() {
				strangers = append(strangers, row)
			}
			continue
		}
		hits = append(hits, hit{key, row})
		if done := left.empty(); done || len(hits) == maxRecords {
			if err := r.meet(ctx, e, hits); err != nil || done {
				return seen, err
			}
			hits = hits[:0]
		}
	}
	seen.whole = true
	named, err := r.byName(left, strangers)
	if err != nil {
		return seen, err
	}
	return seen, r.meet(ctx, e, append(hits, named...))
}

// byName finds the rows of cells whose id the server has not told: by the name
// that was synced, where one row has it.
func (r *checkRun) byName(left *unmet, rows []shownRow) ([]hit, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	have := make(map[uint32][]shownRow)
	for _, row := range rows {
		var cell struct {
			Name json.RawMessage `json:"name"`
		}
		if json.Unmarshal(row.raw, &cell) == nil {
			sum := fieldDigest(EntityCells, "name", cell.Name)
			have[sum] = append(have[sum], row)
		}
	}
	want := make(map[uint32][]Key)
	for key := range left.keys {
		entry, err := r.cfg.run.get(EntityCells, key)
		if err != nil {
			return nil, err
		}
		if sum, ok := entry.field("name"); ok {
			want[sum] = append(want[sum], key)
		}
	}
	var hits []hit
	for sum, keys := range want {
		if len(keys) == 1 && len(have[sum]) == 1 {
			hits = append(hits, hit{keys[0], have[sum][0]})
			delete(left.keys, keys[0])
		}
	}
	return hits, nil
}

// meet judges entries whose rows the list has shown.
func (r *checkRun) meet(ctx context.Context, e Entity, hits []hit) error {
	batch := make([]StateEntry, len(hits))
	for i := range hits {
		var err error
		if batch[i], err = r.cfg.run.get(e, hits[i].key); err != nil {
			return err
		}
		r.shown[e] = hits[i].key
	}
	return r.settle(ctx, batch, func(i int, entry *StateEntry) {
		row := &hits[i].row
		switch {
		case entry.ID != "" && !strings.EqualFold(entry.ID, row.id):
			r.madeAnew(entry, row.id)
		case r.existenceOnly:
			r.present(entry, row.id)
		default:
			r.compare(entry, row)
		}
	})
}

// compare holds a row against what was acknowledged of it.
func (r *checkRun) compare(entry *StateEntry, row *shownRow) {
	kept := entry.fields()
	if len(kept) == 0 { // it was acknowledged within another record
		r.present(entry, row.id)
		return
	}
	differ, unseen := compareRow(entry.Entity, kept, row.raw)
	for _, name := range unseen {
		if !slices.Contains(r.at.NotCompared, name) {
			r.at.NotCompared = append(r.at.NotCompared, name)
			slices.Sort(r.at.NotCompared)
		}
	}
	if len(differ) > 0 {
		entry.ID = cmpOr(entry.ID, row.id)
		r.differs(entry, differ...)
		return
	}
	r.at.Compared++
	if len(unseen) == 0 {
		entry.ID, entry.Time = cmpOr(entry.ID, row.id), time.Now().UTC().Truncate(time.Second)
		r.marks = append(r.marks, *entry)
		r.at.Present++
		return
	}
	r.present(entry, row.id)
}
