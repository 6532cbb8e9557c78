package eryxon

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net/url"
	"strings"
)

// checkRun is a check under way. It lives in the caller's goroutine.
type checkRun struct {
	co            *core
	cfg           *config
	existenceOnly bool
	report        *CheckReport
	at            *EntityCheck // of the entity that is being checked

	asked, notAskable bool           // the unified endpoint has answered, is not there
	shown             map[Entity]Key // a row that a list has shown
	marks             []StateEntry
}

func (r *checkRun) all(ctx context.Context, entities []Entity) error {
	for _, e := range entities {
		var err error
		n := r.report.of(e)
		if n.Known, n.InDoubt, err = countKnown(r.cfg.state, e); err != nil {
			return err
		}
		defer func() {
			// Single syncs may have made entries meanwhile.
			n.NotReached = max(0, n.Known-n.Present-n.Gone-n.Differs-n.NotTold-n.InDoubt)
		}()
	}
	for _, e := range entities {
		r.at = r.report.of(e)
		if err := r.entity(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *checkRun) entity(ctx context.Context, e Entity) error {
	switch {
	case r.at.Known == r.at.InDoubt:
		return nil
	case e == EntityOperations:
		return r.inBatches(r.entries(e), func(batch []StateEntry) error {
			return r.settle(ctx, batch, func(_ int, entry *StateEntry) { r.notTold(entry) })
		})
	case r.existenceOnly && askedByKey(e):
		err := r.ask(ctx, r.entries(e), func(entry *StateEntry, d diffRecord) { r.judgeKey(entry, d, false) })
		if !errors.Is(err, errNotAskable) {
			return err
		}
	}
	return r.byList(ctx, e)
}

// entries are those that are to be checked.
func (r *checkRun) entries(e Entity) iter.Seq2[StateEntry, error] {
	return func(yield func(StateEntry, error) bool) {
		for entry, err := range r.cfg.state.Entries(e) {
			if (err != nil || checkable(&entry) && !doubtful(&entry)) && !yield(entry, err) {
				return
			}
		}
	}
}

func (r *checkRun) inBatches(entries iter.Seq2[StateEntry, error], f func([]StateEntry) error) error {
	var batch []StateEntry
	for entry, err := range entries {
		if err != nil {
			return err
		}
		if batch = append(batch, entry); len(batch) < checkBatch {
			continue
		}
		if err := f(batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return f(batch)
}

// ask asks the unified endpoint which entries have a row. It judges those that
// an answer speaks of, also where a later request fails.
func (r *checkRun) ask(ctx context.Context, entries iter.Seq2[StateEntry, error], judge func(*StateEntry, diffRecord)) error {
	return r.inBatches(entries, func(batch []StateEntry) error {
		if r.notAskable {
			return errNotAskable
		}
		if len(batch) == 0 {
			return nil
		}
		keys := make([]Key, 0, len(batch)+1)
		if key, ok := r.shown[batch[0].Entity]; ok && !r.co.findsRows(batch[0].Entity) {
			keys = append(keys, key) // it shows whether the endpoint finds any
		}
		for i := range batch {
			keys = append(keys, batch[i].Key)
		}
		found, out, err := r.co.diffKeys(ctx, r.cfg, batch[0].Entity, keys, false)
		if err != nil && !r.asked && unsupportedUnified(out) {
			r.notAskable = true
			return errNotAskable
		}
		r.asked = true
		settled := r.settle(ctx, batch, func(_ int, entry *StateEntry) {
			if d := found[entry.Key]; err == nil || d.status != DiffUnknown {
				judge(entry, d)
			}
		})
		if err != nil {
			return err
		}
		return settled
	})
}

// judgeKey judges an entry by what the unified endpoint says of its key. Unlisted
// means that all rows were listed, with their keys, and this was not among them.
func (r *checkRun) judgeKey(entry *StateEntry, d diffRecord, unlisted bool) {
	told := d.exists() && (d.id == "" || isUUID(d.id))
	switch {
	case told && entry.ID != "" && d.id != "" && !strings.EqualFold(d.id, entry.ID):
		r.madeAnew(entry, d.id)
	case told:
		r.present(entry, d.id)
	case d.status == DiffCreate, d.status == DiffUnknown && unlisted:
		r.gone(entry, true)
	default:
		r.notTold(entry)
	}
}

// settle judges entries that were read before the server was asked. Meanwhile a
// single sync of this client may have changed some, and none does while they are
// judged: an acknowledgement must not be overwritten by an older one.
func (r *checkRun) settle(ctx context.Context, batch []StateEntry, judge func(int, *StateEntry)) error {
	if len(batch) == 0 {
		return nil
	}
	held := newKeySet()
	for i := range batch {
		held.add(entityKey{batch[i].Entity, batch[i].Key})
	}
	flight := &r.co.shared.inFlight
	if err := flight.await(ctx, held); err != nil {
		return err
	}
	defer flight.release(held)
	for i := range batch {
		entry, err := r.cfg.run.get(batch[i].Entity, batch[i].Key)
		if err != nil {
			return errors.Join(err, r.mark())
		}
		if !sameEntry(&entry, &batch[i]) || !checkable(&entry) || doubtful(&entry) {
			r.meanwhile(&entry)
			continue
		}
		judge(i, &entry)
	}
	return r.mark()
}

func sameEntry(a, b *StateEntry) bool {
	return a.ID == b.ID && a.Digest == b.Digest && a.Time.Equal(b.Time) && bytes.Equal(a.Detail, b.Detail)
}

// mark writes what was found into the state.
func (r *checkRun) mark() error {
	marks := r.marks
	r.marks = nil
	if len(marks) == 0 || r.cfg.dryRun {
		return nil
	}
	return r.cfg.run.put(marks)
}

// meanwhile counts an entry that a single sync has changed during the check.
func (r *checkRun) meanwhile(entry *StateEntry) {
	if doubtful(entry) {
		r.at.InDoubt++
	} else {
		r.at.Present++
	}
}

// present counts an entry that has a row, and learns the row's UUID.
func (r *checkRun) present(entry *StateEntry, id string) {
	r.at.Present++
	if entry.ID == "" && id != "" {
		entry.ID = id
		r.marks = append(r.marks, *entry)
	}
}

// gone marks an entry as if its record had never been sent. Where it is not
// certain that the key has no other row, a run must not take it for new
// altogether: it would write over what is the shop floor's.
func (r *checkRun) gone(entry *StateEntry, certain bool) {
	r.at.Gone++
	r.find(CheckFinding{Entity: entry.Entity, Key: entry.Key, ID: entry.ID, Gone: true})
	r.co.shared.dialect.forget([]entityKey{{entry.Entity, entry.Key}})
	mark := StateEntry{Entity: entry.Entity, Key: entry.Key}
	if !certain {
		mark.Detail = mark.withFlags(flagTried)
	}
	r.marks = append(r.marks, mark)
}

func (r *checkRun) madeAnew(entry *StateEntry, id string) {
	entry.ID = id
	r.co.shared.dialect.remember(entry.Entity, entry.Key, id)
	r.differs(entry, "id")
}

func (r *checkRun) differs(entry *StateEntry, fields ...string) {
	r.at.Differs++
	r.find(CheckFinding{Entity: entry.Entity, Key: entry.Key, ID: entry.ID, Fields: fields})
	entry.Digest = digest{}
	r.marks = append(r.marks, *entry)
}

func (r *checkRun) notTold(entry *StateEntry) {
	r.at.NotTold++
	entry.Digest = digest{}
	r.marks = append(r.marks, *entry)
}

func (r *checkRun) find(f CheckFinding) {
	if len(r.report.Findings) < maxFindings {
		r.report.Findings = append(r.report.Findings, f)
	}
}

// shownRow is a row of a list of any entity.
type shownRow struct {
	rowIdentity
	raw    []byte
	offset int // of the page that showed it
}

// shownRows reads the list of an entity in the order that is the steadiest
// while rows come and go.
func (co *core) shownRows(ctx context.Context, cfg *config, e Entity) iter.Seq2[shownRow, error] {
	switch e {
	case EntityCells:
		return listRows[Cell, *Cell, CellRow](ctx, co, cfg)
	case EntityResources:
		return listRows[Resource, *Resource, ResourceRow](ctx, co, cfg)
	case EntityJobs:
		return listRows[Job, *Job, JobRow](ctx, co, cfg)
	default:
		return listRows[Part, *Part, PartRow](ctx, co, cfg)
	}
}

func listRows[R any, P recordPtr[R], Row any](ctx context.Context, co *core, cfg *config) iter.Seq2[shownRow, error] {
	s := newSyncer[R, P, Row](co)
	return func(yield func(shownRow, error) bool) {
		steadiest := url.Values{"sort": {"created_at"}, "order": {string(Ascending)}}
		for l, err := range s.rows(ctx, cfg, steadiest, 0) {
			if !yield(shownRow{l.rowIdentity, l.raw, l.offset}, err) {
				return
			}
		}
	}
}

// The columns of a row that are no field of a record: the server's own, and
// the rows of other records. An extra column could be taken for one of them,
// for names are kept as two bytes each.
var noFields = map[string]bool{
	"id": true, "tenant_id": true, "external_id": true, "external_source": true, "parts": true, "operations": true,
	"job": true, "part": true, "cell": true, "created_at": true, "updated_at": true, "synced_at": true,
	"sync_hash": true, "deleted_at": true, "deleted_by": true, "search_vector": true,
}

// unlisted are the fields of records that lists don't show as such: links and
// nested records.
var unlisted = map[string]bool{
	"job_external_id": true, "job_id": true, "part_external_id": true, "part_id": true,
	"cell_name": true, "cell_id": true, "parts": true, "operations": true,
}

// compareRow names the fields of an acknowledged record that a row shows with
// another value, in the row's order, and those that it does not show.
func compareRow(e Entity, kept fieldDigests, row []byte) (differ, unseen []string) {
	members(row, func(name string, value []byte) {
		at := nameDigest(name)
		sum, given := kept[at]
		if noFields[name] || !given {
			return
		}
		delete(kept, at)
		if !sameField(e, name, value, sum) {
			differ = append(differ, name)
		}
	})
	for name := range recordFields(e) {
		if _, left := kept[nameDigest(name)]; left {
			delete(kept, nameDigest(name))
			if !unlisted[name] {
				unseen = append(unseen, name)
			}
		}
	}
	if len(kept) > 0 {
		unseen = append(unseen, "Extra")
	}
	return differ, unseen
}

// sameField reports whether a row's value is the one of that digest. Null and
// an empty text count as the same: servers store the one for the other.
func sameField(e Entity, name string, value []byte, sum uint32) bool {
	const null, empty = "null", `""`
	switch fieldDigest(e, name, value) {
	case sum:
		return true
	case fieldDigest(e, name, []byte(null)):
		return sum == fieldDigest(e, name, []byte(empty))
	case fieldDigest(e, name, []byte(empty)):
		return sum == fieldDigest(e, name, []byte(null))
	}
	return false
}
