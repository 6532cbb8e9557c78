package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Release is a family of server releases that answer alike.
type Release string

// The releases that the SDK tells apart.
const (
	// ReleaseUnknown: no answer has told yet.
	ReleaseUnknown Release = ""
	// ReleaseV01: bulk answers list every record, as documented. The release
	// of January 2026; what follows the documentation is recognised as it, too,
	// but given to [WithRelease] it is the release that overwrites what an
	// update leaves out.
	ReleaseV01 Release = "v0.1"
	// ReleaseV08: bulk answers give counts that prove nothing, references are
	// UUIDs. Every release since late January 2026, up to the July 2026 one
	// that this SDK was written against.
	ReleaseV08 Release = "v0.8"
)

// WithRelease says which release the server is, where waiting for its first
// answer is not wanted. By default it is recognised.
func WithRelease(r Release) Option {
	return clientOption(func(c *config) error {
		switch r {
		case ReleaseUnknown, ReleaseV01, ReleaseV08:
			c.release = r
			return nil
		}
		return fmt.Errorf("eryxon: WithRelease: %.40q: want one of the Release constants", string(r))
	})
}

// WithoutChecks believes nothing and checks nothing: where a server's bulk
// answers prove nothing, the records' outcomes are unknown, at no more requests
// than it takes to send them; a server that is not known is not asked whether it
// takes parents of any source (v0.1 does); and nested records that a server might
// drop without a word (likewise) go in their carrier and are unknown. By default the
// SDK finds all of it out.
func WithoutChecks() BulkOption {
	return bulkOption(func(c *config) error { c.noChecks = true; return nil })
}

// WithMissingColumnsOmitted leaves out a record's optional field, such as
// priority, where the server's database lacks the column, instead of failing
// the record. The outcome then speaks of the record without it.
func WithMissingColumnsOmitted() CallOption {
	return callOption(func(c *config) error { c.omitMissing = true; return nil })
}

// Release returns which release the server was recognised as, without a
// request.
func (c *Client) Release() Release { return c.core.release() }

func (co *core) release() Release {
	if co.cfg.release != ReleaseUnknown {
		return co.cfg.release
	}
	d := &co.shared.dialect
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.release
}

// learned is how the server answers. All of it falls where it turns out to be another
// than an earlier run has met.
type learned struct {
	release    Release
	filling    filling
	noUnified  map[Entity]bool // the unified endpoint does not take the entity
	noDiff     map[Entity]bool // it can't be asked
	finds      map[Entity]bool // it has shown rows of the entity, or stored them
	proven     map[Entity]bool // a single sync of the entity has worked
	absent     map[string]bool // optional columns that the server lacks, as entity.column
	unwritable map[string]bool // those that it lets the unified endpoint alone write, likewise
	limits     map[Entity]int  // records that a bulk takes, where fewer than documented
	seen       time.Time       // when the first of it was learned
}

// dialect is what a client has learned of its server.
type dialect struct {
	mu sync.Mutex
	learned
	assumed  bool                     // it comes from an earlier run and no answer has borne it out
	paged    bool                     // it lists cells in pages
	wants    map[Entity]bool          // no row is stored without what records may leave out
	statuses map[Opt[WorkStatus]]bool // work statuses that one of an operation has written
	lacking  map[Entity]error         // nothing of the entity can be written, and why
	makes    map[Entity]makes
	reach    diffReach

	ids        map[entityKey]string
	there      map[uint64]sighting  // rows that are there, by hashes of their entityKeys
	seed       maphash.Seed         // of these hashes
	numbers    map[uint64]uint64    // jobs by number, by their hashes
	numberSeed maphash.Seed         // of these
	unnamed    map[Key]bool         // jobs that are there, by ids that the server does not tell
	untold     map[entityKey]string // rows of which an answer did not tell whether they are there

	cells     map[string][]string // ids by name, nil where they were changed since
	cellsRead time.Time
	cellCalls int // that may have changed cells

	asking chan struct{} // has room for the one call that asks the server
	making chan struct{} // has room for the one request that makes rows

	source  string // of the first record
	sources bool   // there were records of others
}

func (d *dialect) saw(r Release) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.assumed && d.release != ReleaseUnknown && d.release != r {
		d.learned = learned{}
	}
	d.assumed = false
	if d.release == ReleaseUnknown {
		d.release = r
	}
}

// onlyAssumed reports a server that is known from an earlier run alone.
func (co *core) onlyAssumed() bool {
	d := &co.shared.dialect
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.assumed && co.cfg.release == ReleaseUnknown
}

// sawBulk recognises the server by the shape of a bulk answer.
func (d *dialect) sawBulk(a *bulkAnswer) {
	if a.listed {
		d.saw(ReleaseV01)
	} else if a.counted() {
		d.saw(ReleaseV08)
	}
}

// counted reports an answer of counts alone, as servers that count give it: the
// documented counts without their list prove no less, and are of another server.
func (a *bulkAnswer) counted() bool {
	return a.nested && !a.listed && a.created >= 0 && a.updated >= 0 && a.failed >= 0 && a.total >= 0
}

// addsUp reports counts that are those of n records.
func (a *bulkAnswer) addsUp(n int) bool { return a.created+a.updated+a.failed == n }

// sawRefusal recognises the server by its complaint about a documented field.
func (d *dialect) sawRefusal(err error) bool {
	// One that looks into nested records stores none.
	var invalid *ValidationError
	if errors.As(err, &invalid) && !invalid.Local && slices.ContainsFunc(invalid.Details, func(f FieldError) bool { return strings.HasPrefix(f.Field, "parts") }) {
		d.saw(ReleaseV08)
		return true
	}
	// One that stores no row without what it was not given fills nothing.
	if m := reNotNull.FindStringSubmatch(messageOf(err)); m != nil && (m[1] == "sequence" || m[1] == "estimated_time" || m[1] == "material") {
		d.saw(ReleaseV08)
		return true
	}
	if !errors.Is(err, ErrMissingColumn) {
		return false
	}
	switch field := understand(messageOf(err)).field; field {
	case "priority":
		if reUnwritable.MatchString(messageOf(err)) { // which others store, or ignore
			d.saw(ReleaseV08)
			d.sawAbsent(EntityJobs, messageOf(err))
			return true
		}
	case "job_external_id", "part_external_id", "cell_name", "estimated_time_minutes", "parts", "operations":
		d.saw(ReleaseV08)
		return true
	}
	return false
}

// countsOnly reports a server whose bulk answers prove nothing and that takes
// UUIDs for references.
func (co *core) countsOnly() bool { return co.release() == ReleaseV08 }

// sawSource learns whether the client has records of more than one source.
func (d *dialect) sawSource(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.source = cmpOr(d.source, s)
	d.sources = d.sources || s != d.source
}

func (d *dialect) severalSources() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sources
}

func mark[K comparable, V any](d *dialect, m *map[K]V, k K, v V) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

func marked[K comparable, V any](d *dialect, m *map[K]V, k K) V {
	d.mu.Lock()
	defer d.mu.Unlock()
	return (*m)[k]
}

// unifiedEntity reports whether the unified endpoint takes the entity at all.
func (co *core) unifiedEntity(e Entity) bool {
	return diffable(e) && !marked(&co.shared.dialect, &co.shared.dialect.noUnified, e)
}

// findsRows reports whether the unified endpoint is known to find the entity's
// rows. It does not say when its look-up fails, for a column that the database
// lacks: then it finds none.
func (co *core) findsRows(e Entity) bool {
	return e == EntityParts || co.release() == ReleaseV01 || co.knownToFill() || marked(&co.shared.dialect, &co.shared.dialect.finds, e)
}

// looksParentsUpTogether reports a server whose bulk looks up what its records
// are linked to by external id alone, of whatever source, and in one look-up.
func (co *core) looksParentsUpTogether() bool {
	switch r := co.release(); {
	case co.knownToFill():
		return r != ReleaseV08
	default:
		return r == ReleaseV01 && co.shared.dialect.known() == fillingUnknown
	}
}

// listsDeleted reports a server whose lists of jobs and parts show deleted rows,
// too.
func (co *core) listsDeleted() bool { return co.release() == ReleaseV01 }

// asksRows reports whether the unified endpoint can be asked about rows of the
// entity.
func (co *core) asksRows(e Entity) bool {
	return diffable(e) && !marked(&co.shared.dialect, &co.shared.dialect.noDiff, e)
}

// WithOverwritingUpdates lets a record that leaves fields out be sent to a
// server that fills them with defaults on an update (v0.1 does: a part's
// material and quantity, an operation's sequence and time, a cell's color and
// active, a resource's status), keeps what null should clear, and drops columns
// it does not know. Without it such a record is refused locally there, naming
// the fields; one that is known to be new is not, but for what even a new row
// does not store.
func WithOverwritingUpdates() CallOption {
	return callOption(func(c *config) error { c.overwrite = true; return nil })
}

// filling is whether a server fills what a record leaves out.
type filling uint8

const (
	fillingUnknown filling = iota
	fillingYes
	fillingNo
)

// fills reports whether the server overwrites with defaults what an update
// leaves out. Bulk answers do not tell, so the first record for which it
// matters costs one read: only a server that fills lists its cells without
// paging.
//
// The result is that of the read, nil where none was made, and the rows are all
// cells that it has shown; the error says why it can't be told now.
func (co *core) fills(ctx context.Context, cfg *config, cells *sightings) (fills bool, rows cellRows, asked *result, err error) {
	switch {
	case co.cfg.release == ReleaseV01:
		return true, nil, nil, nil
	case co.countsOnly() && !co.onlyAssumed():
		return false, nil, nil, nil
	}
	d := &co.shared.dialect
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	case <-ctx.Done():
		return false, nil, &result{fate: fateNotSent, err: ctx.Err()}, ctx.Err()
	}
	if known := d.known(); known != fillingUnknown {
		return known == fillingYes, nil, nil, nil
	}
	var page struct {
		Cells      []json.RawMessage `json:"cells"`
		Pagination json.RawMessage   `json:"pagination"`
	}
	cl := call{method: http.MethodGet, path: "/api-cells?limit=1", repeatable: true, bodiless: true, decode: func(body []byte) (*envelope, error) {
		yes := true
		var plain []json.RawMessage
		if json.Unmarshal(body, &plain) == nil && plain != nil { // those that fill have an envelope
			return &envelope{success: &yes}, nil
		}
		env, err := readEnvelope(body)
		if err != nil || env.success != nil && !env.succeeded() {
			return &env, err
		}
		_ = env.decodeData(&page) // another shape is another server's
		if env.success != nil && env.data == nil || env.success == nil && page.Cells == nil && complainsOnly(body) {
			return &env, errors.New("it lists no cells")
		}
		env.success = &yes
		return &env, nil
	}}
	out := co.do(ctx, cfg, &cl)
	switch {
	case out.fate == fateAnswered && page.Cells != nil && page.Pagination == nil:
		if co.onlyAssumed() {
			d.saw(ReleaseV01)
		}
		d.learn(fillingYes)
		rows = make(cellRows, len(page.Cells))
		for _, raw := range page.Cells {
			if row := decodeRow[CellRow](raw); row != nil {
				rows[row.ID] = row
			}
		}
		if len(rows) == 1 {
			rows = nil // it may be one of many, as was asked for
		} else {
			cells.sawAll(rows)
		}
	case out.fate == fateAnswered, readless(out.status):
		d.learn(fillingNo)
		d.sawPages(page.Cells != nil && page.Pagination != nil)
	case out.kind == ErrConnection && !ofNetwork(out.err):
		// A transport of the caller's has no such read, either.
	default:
		return false, nil, out, out.err
	}
	return d.known() == fillingYes, rows, out, nil
}

// complainsOnly reports an answer that is null, or a complaint of something before
// the server: it tells nothing of the server.
func complainsOnly(body []byte) bool {
	var said map[string]json.RawMessage
	if json.Unmarshal(body, &said) != nil {
		return false
	}
	return said == nil || said["message"] != nil || said["error"] != nil || said["msg"] != nil
}

// readless reports a status of a server that has no such read: it is none of those
// that fill.
func readless(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

func (d *dialect) known() filling {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.filling
}

// learn keeps the first that is learned.
func (d *dialect) learn(f filling) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.filling == fillingUnknown {
		d.filling = f
	}
}

// knownToFill is fills without asking.
func (co *core) knownToFill() bool {
	if co.cfg.release == ReleaseV01 {
		return true
	}
	return co.shared.dialect.known() == fillingYes
}

// isFilling reports a server that is known to fill, and not to count: it drops nested
// records without a word, too.
func (co *core) isFilling() bool { return co.knownToFill() && !co.countsOnly() }

// mightFill reports a server that has not shown yet whether it fills. The documented
// one, whose bulk answers are the same, tells the limit of its quota with every answer.
func (co *core) mightFill() bool {
	return co.cfg.release != ReleaseV01 && co.shared.dialect.known() == fillingUnknown && !co.shared.limiter.metered()
}

// sawPages learns whether the server lists cells in pages.
func (d *dialect) sawPages(paged bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paged = paged
}

// mayCount reports a server that lists as those do that count, and has not shown yet
// how it answers a bulk.
func (co *core) mayCount() bool {
	d := &co.shared.dialect
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.paged && d.release == ReleaseUnknown && co.cfg.release == ReleaseUnknown && !co.shared.limiter.metered()
}

// sawSingle recognises a server by the answer to a single sync: of those that list in
// pages the one that counts alone sends the row; of the others, the one that fills, which
// takes no request ids.
func (co *core) sawSingle(out *result) {
	if out.row == nil {
		return
	}
	d := &co.shared.dialect
	d.mu.Lock()
	paged := d.paged
	d.mu.Unlock()
	if paged {
		d.saw(ReleaseV08)
	}
	if !co.countsOnly() && out.header.Get("X-Request-Id") == "" {
		d.learn(fillingYes)
	}
}

// diffable reports whether the unified endpoint can tell of the entity's keys
// which exist.
func diffable(e Entity) bool { return e == EntityJobs || e == EntityParts || e == EntityResources }

// probe recognises the server by an empty bulk, which changes nothing. What it
// can't tell the run itself will.
func (co *core) probe(ctx context.Context, cfg *config, e Entity) *result {
	cl := call{method: http.MethodPost, path: e.bulkPath(), body: []byte(`{"` + e + `":[]}`), bulk: true, repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			a, err := readBulk(body)
			if err == nil && a.succeeded() {
				co.shared.dialect.sawBulk(a)
			}
			return &a.envelope, err
		}}
	return co.do(ctx, cfg, &cl)
}

// unsupportedUnified reports an answer of a server, or a gateway, that has no
// unified endpoint.
func unsupportedUnified(out *result) bool {
	return out.status == http.StatusNotFound || out.status == http.StatusMethodNotAllowed || out.status == http.StatusNotImplemented
}

// release tells what the server is.
func (x *examination) release(cells *page) {
	known := x.co.release()
	if cells != nil {
		x.cells = x.co.shared.dialect.sawCells(cells)
	}
	name := "recognised as " + string(known) + " by an earlier answer"
	if x.cfg.release != ReleaseUnknown {
		name = string(known) + ", as WithRelease says"
	}
	switch {
	case known == ReleaseV08 && x.cells == cellsUnpaged:
		x.add(warning(checkRelease, fmt.Sprintf("%s, and yet it lists cells as %s does", name, ReleaseV01),
			"leave WithRelease away, or make a new client where the server was changed: its answers then tell", nil))
	case known != ReleaseUnknown:
		x.add(fine(checkRelease, name))
	case cells == nil:
		x.add(unchecked(checkRelease, "there is no usable answer to tell it by"))
	case x.cells == cellsUnpaged:
		x.add(fine(checkRelease, fmt.Sprintf("lists as %s does; the first sync tells for certain", ReleaseV01)))
	case x.cells == cellsPaged:
		x.add(fine(checkRelease, fmt.Sprintf("lists as %s does; the first sync tells for certain", ReleaseV08)))
	default:
		x.add(unchecked(checkRelease, "reads don't tell it; the first sync will"))
	}
}

// hashesAll reports a server that, as far as is known, writes a sync_hash to the
// tables of all entities.
func (co *core) hashesAll(shape cellsShape) bool {
	return co.countsOnly() || co.release() == ReleaseUnknown && shape == cellsPaged
}
