package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// CheckOptions choose what [Client.Check] looks at.
type CheckOptions struct {
	// Entities are those to check, whatever their order; none means all.
	// Leave [EntityOperations] out where they need not be sent again: no call
	// of the API reads them, so a check marks every one.
	Entities []Entity
	// ExistenceOnly asks only whether rows exist, not what they hold: of jobs
	// and parts by their keys, at most 500 a request, in place of reading all
	// rows, 1000 a request. That is cheaper where most of the server's rows are
	// not this state's.
	ExistenceOnly bool
}

// CheckReport is the account of a [Client.Check]: it prints as a table and
// marshals to JSON.
type CheckReport struct {
	Cells      EntityCheck `json:"cells"`
	Resources  EntityCheck `json:"resources"`
	Jobs       EntityCheck `json:"jobs"`
	Parts      EntityCheck `json:"parts"`
	Operations EntityCheck `json:"operations"`
	Requests   int         `json:"requests"` // on the wire, retries included
	// Findings are the rows that are gone or differ, the first 1000 of them;
	// the counts have all.
	Findings []CheckFinding `json:"findings,omitempty"`
	// Warnings tell of lists that could not be read, so that of the rows it is
	// known at most whether they exist.
	Warnings []string `json:"warnings,omitempty"`
	// Err is what ended the check early, nil if it came to its end. What it
	// found before is marked; what it did not reach is as it was.
	Err error `json:"-"`
}

// EntityCheck is the part of a [CheckReport] on one entity, or the sum of them.
// Every record that is known is counted once more, in one of present, gone,
// differs, not told, in doubt and not reached.
type EntityCheck struct {
	Known   int `json:"known"`   // records that the server is known to have had
	Present int `json:"present"` // their row is there, and no field of it that was compared differs
	Gone    int `json:"gone"`    // their row is not there
	Differs int `json:"differs"` // their row holds something else, or was made anew under another id
	// NotTold: the server could not be asked about them. They are marked, too.
	NotTold    int `json:"not_told"`
	InDoubt    int `json:"in_doubt"`    // marked before, so not asked about
	NotReached int `json:"not_reached"` // the check ended before them
	// Compared is how many of those present had their fields compared; of the
	// others it is known only that there is a row.
	Compared int `json:"compared"`
	Requests int `json:"requests"` // on the wire, retries included
	// NotCompared names fields that records give and the server's list does
	// not show, "Extra" for any column of that. Links and nested records,
	// which are never compared, are not named.
	NotCompared []string `json:"not_compared,omitempty"`
}

// CheckFinding is a row that is gone or differs from what was acknowledged. The
// next run sends its record.
type CheckFinding struct {
	Entity Entity `json:"entity"`
	Key    Key    `json:"key"`
	ID     string `json:"id,omitempty"` // the row's UUID, of one that is gone the last known
	Gone   bool   `json:"gone"`
	// Fields are the columns that differ, by their wire name; "id" alone where
	// the row was made anew.
	Fields []string `json:"fields,omitempty"`
}

// String returns such as "job SAP/SO-1: customer, notes differ".
func (f CheckFinding) String() string {
	what := strings.Join(f.Fields, ", ") + " differ"
	switch {
	case f.Gone:
		what = "gone"
	case len(f.Fields) == 1:
		what += "s"
	}
	return fmt.Sprintf("%s %s: %s", f.Entity.singular(), f.Key, what)
}

// maxFindings bounds the findings of a report, and shownFindings those that it
// prints.
const (
	maxFindings   = 1000
	shownFindings = 10
)

func (r *CheckReport) of(e Entity) *EntityCheck {
	switch e {
	case EntityCells:
		return &r.Cells
	case EntityResources:
		return &r.Resources
	case EntityJobs:
		return &r.Jobs
	case EntityParts:
		return &r.Parts
	default:
		return &r.Operations
	}
}

// Total sums up all entities. Its NotCompared is nil.
func (r *CheckReport) Total() EntityCheck {
	var t EntityCheck
	for _, e := range entityOrder {
		o := r.of(e)
		t.Known += o.Known
		t.Present += o.Present
		t.Gone += o.Gone
		t.Differs += o.Differs
		t.NotTold += o.NotTold
		t.InDoubt += o.InDoubt
		t.NotReached += o.NotReached
		t.Compared += o.Compared
		t.Requests += o.Requests
	}
	return t
}

// String returns the report as a table for people, with the first findings.
func (r *CheckReport) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tknown\tpresent\tcompared\tgone\tdiffer\tnot told\tin doubt\tnot reached\trequests\t")
	line := func(name string, n EntityCheck) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name,
			n.Known, n.Present, n.Compared, n.Gone, n.Differs, n.NotTold, n.InDoubt, n.NotReached, n.Requests)
	}
	for _, e := range entityOrder {
		line(string(e), *r.of(e))
	}
	total := r.Total()
	line("total", total)
	_ = w.Flush() // a strings.Builder takes everything
	for _, f := range r.Findings[:min(len(r.Findings), shownFindings)] {
		fmt.Fprintf(&b, "%s\n", f)
	}
	if more := total.Gone + total.Differs - shownFindings; more > 0 {
		fmt.Fprintf(&b, "and %d more that are gone or differ\n", more)
	}
	for _, e := range entityOrder {
		if names := r.of(e).NotCompared; len(names) > 0 {
			fmt.Fprintf(&b, "%s: not compared, for the server's list does not show it: %s\n", e, strings.Join(names, ", "))
		}
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", text)
	}
	if r.Err != nil {
		fmt.Fprintf(&b, "ended early: %v\n", r.Err)
	}
	return b.String()
}

// Check holds the rows on the server against the sync state (see [WithState],
// which it needs among opts) and marks in the state what is gone or differs, so
// that the next run sends it: rows are deleted and edited inside the MES, and
// backups are restored. It writes nothing on the server.
//
// It reads the lists of cells, resources, jobs and parts, compares the fields
// that were acknowledged with the columns that the list shows, and asks the
// unified endpoint about the keys that the list did not show. What runs leave to
// the shop floor is not looked at (see [WithCreateOnly]). Records that the
// server could not be asked about are not told, and marked too: they are sent
// again rather than believed. Such are all operations, which no call of the API
// reads (see [CheckOptions].Entities); cells whose id the server has not told
// yet and whose name tells no row; and where there is no unified endpoint, rows that a list of several pages
// does not show.
//
// What it can't see: fields that lists do not show ([EntityCheck].NotCompared),
// such as a job's priority on some servers; links to other records; nested
// records; cells that are deleted, where the server lists them all the same. A
// record whose every field but links and nested records was compared, and is
// right, counts as acknowledged just now (see [WithMaxAge]).
//
// Each page of 1000 rows that the server holds costs a request, and each 500
// keys that no page showed, fewer where they are long, one more:
// [Client.EstimateCheck] tells how many at least. [WithRequestBudget] and
// [WithDailyQuota] hold. About 200 bytes of memory are used for each record of
// one entity. Single syncs of the client may go on meanwhile, other runs with
// the state may not.
//
// The report is never nil. The error is that in [CheckReport].Err: no state, one
// in use ([ErrStateInUse]) or of another installation ([ErrStateMismatch]), or
// what failed so that no further request would help.
func (c *Client) Check(ctx context.Context, options CheckOptions, opts ...BulkOption) (report *CheckReport, err error) {
	report = &CheckReport{}
	defer func() { report.Err = err }()
	cfg, entities, err := c.checkConfig("Check", options, opts)
	if err != nil {
		return report, err
	}
	cfg.startBudget()
	r := &checkRun{co: c.core, cfg: &cfg, existenceOnly: options.ExistenceOnly, report: report, at: &EntityCheck{}}
	told := cfg.observer
	cfg.observer = func(ctx context.Context, a Attempt) {
		r.report.Requests++
		r.at.Requests++
		if told != nil {
			told(ctx, a)
		}
	}
	end, err := c.core.beginState(ctx, &cfg, true)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, end()) }()
	return report, r.all(ctx, entities)
}

// EstimateCheck tells, without a request, how many requests a [Client.Check] of
// the same options takes at least, where the rows are there and the server has
// the calls that tell it: one for each 1000 jobs, parts and resources that the
// state knows (for each 500 jobs and parts with ExistenceOnly), one for the
// cells, none for operations. Rows of others, keys to ask about and retries come
// on top. It reads the state and fails with [ErrStateInUse] while another client
// has it.
func (c *Client) EstimateCheck(options CheckOptions, opts ...BulkOption) (Estimate, error) {
	cfg, entities, err := c.checkConfig("EstimateCheck", options, opts)
	if err != nil {
		return Estimate{}, err
	}
	var requests CheckReport
	err = c.core.lookInto(cfg.state, func() error {
		for _, e := range entities {
			known, doubtful, err := countKnown(cfg.state, e)
			if err != nil {
				return err
			}
			requests.of(e).Requests = options.requests(e, known-doubtful)
		}
		return nil
	})
	if err != nil {
		return Estimate{}, err
	}
	e := Estimate{Requests: RecordCounts{
		Cells: requests.Cells.Requests, Resources: requests.Resources.Requests, Jobs: requests.Jobs.Requests,
		Parts: requests.Parts.Requests, Operations: requests.Operations.Requests,
	}}
	limit := c.core.shared.limiter.snapshot(cfg.allowance(), time.Now())
	e.QuotaKnown, e.Remaining, e.Reset = limit.Known, limit.Remaining, limit.Reset
	e.Fits = limit.Known && e.Requests.Total() <= limit.Remaining-cfg.reserve
	return e, nil
}

// requests is how many requests n records of an entity take at least.
func (o CheckOptions) requests(e Entity, n int) int {
	size := maxRecords
	switch {
	case e == EntityOperations:
		return 0
	case e == EntityCells:
		return min(n, 1) // servers may send all of them at once
	case o.ExistenceOnly && askedByKey(e):
		size = maxDiffKeys
	}
	return (n + size - 1) / size
}

// askedByKey reports that existence is asked by key alone. Of resources that
// proves nothing, while their list shows keys.
func askedByKey(e Entity) bool { return e == EntityJobs || e == EntityParts }

func (c *Client) checkConfig(call string, options CheckOptions, opts []BulkOption) (cfg config, entities []Entity, err error) {
	cfg = c.core.cfg
	if err := applyAll(&cfg, opts); err != nil {
		return cfg, nil, err
	}
	if cfg.state == nil {
		return cfg, nil, fmt.Errorf("eryxon: %s needs a sync state to hold the rows against: give WithState", call)
	}
	for _, e := range options.Entities {
		if !slices.Contains(entityOrder[:], e) {
			return cfg, nil, fmt.Errorf("eryxon: %s: %.40q is no entity: want one such as EntityJobs", call, string(e))
		}
	}
	for _, e := range entityOrder {
		if len(options.Entities) == 0 || slices.Contains(options.Entities, e) {
			entities = append(entities, e)
		}
	}
	return cfg, entities, nil
}

// lookInto reads a state, which a call of this client may have open, and learns
// from it what of the quota is spent.
func (co *core) lookInto(st State, read func() error) (err error) {
	all := &co.shared.states
	all.opening <- struct{}{}
	defer func() { <-all.opening }()
	if all.open[st] != nil {
		return read()
	}
	if err := st.Lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Unlock()) }()
	raw, err := st.Header()
	if err != nil {
		return err
	}
	if raw != nil {
		header, err := readStateHeader(raw)
		if err != nil {
			return err
		}
		if header.BaseURL == co.base {
			co.shared.limiter.resume(header.Quota, time.Now())
		}
	}
	return read()
}

// checkable reports an entry of a record that is on the server, as far as the
// state knows, and not one that was taken out of use.
func checkable(entry *StateEntry) bool {
	return entry.flags()&(flagExists|flagInactive) == flagExists
}

// doubtful reports an entry that the next run sends anyway.
func doubtful(entry *StateEntry) bool { return entry.Digest == digest{} }

func countKnown(st State, e Entity) (known, inDoubt int, err error) {
	for entry, err := range st.Entries(e) {
		if err != nil {
			return 0, 0, err
		}
		if !checkable(&entry) {
			continue
		}
		if known++; doubtful(&entry) {
			inDoubt++
		}
	}
	return known, inDoubt, nil
}

// errNotAskable says that the server has no unified endpoint.
var errNotAskable = errors.New("the server can't be asked about keys")

// checkBatch is how many entries are held in memory and judged at once. It is a
// multiple of maxDiffKeys, so that batches of one source cost no request more.
const checkBatch = 8 * maxDiffKeys

// checkRun is a check under way. It lives in the caller's goroutine.
type checkRun struct {
	co            *core
	cfg           *config
	existenceOnly bool
	report        *CheckReport
	at            *EntityCheck // of the entity that is being checked

	asked, notAskable bool // the unified endpoint has answered, is not there
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
		keys := make([]Key, len(batch))
		for i := range batch {
			keys[i] = batch[i].Key
		}
		found, out, err := r.co.diffKeys(ctx, r.cfg, batch[0].Entity, keys)
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

// judgeKey judges an entry by what the unified endpoint says of its key. Of
// resources that a row is missing needs another proof.
func (r *checkRun) judgeKey(entry *StateEntry, d diffRecord, proven bool) {
	told := d.exists() && (d.id == "" || isUUID(d.id))
	switch {
	case told && entry.ID != "" && d.id != "" && !strings.EqualFold(d.id, entry.ID):
		r.madeAnew(entry, d.id)
	case told:
		r.present(entry, d.id)
	case d.status == DiffCreate && (askedByKey(entry.Entity) || proven):
		r.gone(entry, true)
	default:
		r.notTold(entry)
	}
}

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
	for entry, err := range r.entries(e) {
		if err != nil {
			return err
		}
		left.add(&entry)
	}
	if err := r.identify(ctx, e, left); err != nil {
		return err
	}
	seen, err := r.readList(ctx, e, left)
	if err != nil {
		if !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrBadAnswer) {
			return err
		}
		r.report.Warnings = append(r.report.Warnings, fmt.Sprintf("%s were not all compared: %s", e, strings.TrimPrefix(err.Error(), "eryxon: ")))
	}
	if diffable(e) {
		err := r.ask(ctx, left.all(r.cfg.run, e), func(entry *StateEntry, d diffRecord) {
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
		if d.exists() && isUUID(d.id) {
			known[entry.Key] = d.id
		} else {
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
			if e == EntityCells {
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
	differ, unseen := compareRow(entry.Entity, entry.fields(), row.raw)
	for _, name := range unseen {
		if !slices.Contains(r.at.NotCompared, name) {
			r.at.NotCompared = append(r.at.NotCompared, name)
			slices.Sort(r.at.NotCompared)
		}
	}
	if len(differ) > 0 {
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

// settle judges entries that were read before the server was asked. Meanwhile a
// single sync of this client may have changed some, and none does while they are
// judged: an acknowledgement must not be overwritten by an older one.
func (r *checkRun) settle(ctx context.Context, batch []StateEntry, judge func(int, *StateEntry)) error {
	if len(batch) == 0 {
		return nil
	}
	held := &heldKeys{keys: make(map[entityKey]struct{}, len(batch))}
	for i := range batch {
		held.keys[entityKey{batch[i].Entity, batch[i].Key}] = struct{}{}
	}
	flight := &r.co.shared.inFlight
	for wait := flight.hold(held); wait != nil; wait = flight.hold(held) {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
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

// heldKeys keeps others from syncing the keys.
type heldKeys struct{ keys map[entityKey]struct{} }

func (h *heldKeys) holds(k entityKey) bool {
	_, ok := h.keys[k]
	return ok
}

func (h *heldKeys) each(yield func(entityKey) bool) { maps.Keys(h.keys)(yield) }

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
	if bytes.HasPrefix(value, []byte(`"`)) {
		// Records escape some characters that a server need not.
		if text, err := jsontext.AppendUnquote(nil, value); err == nil {
			value = appendString(nil, string(text))
		}
	}
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
