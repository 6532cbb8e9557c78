package eryxon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
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
// yet and whose name tells no row; and where there is no unified endpoint, rows
// that a list of several pages does not show.
//
// What it can't see: fields that lists do not show ([EntityCheck].NotCompared),
// such as a job's priority on some servers; links to other records; what rows
// hold whose records were sent nested in others; cells that are deleted, where
// the server lists them all the same. A record whose every field but links and
// nested records was compared, and is right, counts as acknowledged just now
// (see [WithMaxAge]).
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
	r := &checkRun{co: c.core, cfg: &cfg, existenceOnly: options.ExistenceOnly, report: report, at: &EntityCheck{}, shown: make(map[Entity]Key)}
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
	err = r.all(ctx, entities)
	slices.SortStableFunc(report.Findings, func(a, b CheckFinding) int {
		return cmp.Or(cmp.Compare(slices.Index(entityOrder[:], a.Entity), slices.Index(entityOrder[:], b.Entity)), compareKeys(a.Key, b.Key))
	})
	return report, err
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
			n := options.requests(e, known-doubtful)
			if !options.ExistenceOnly && askedByKey(e) && c.core.listsDeleted() {
				n += CheckOptions{ExistenceOnly: true}.requests(e, known-doubtful)
			}
			requests.of(e).Requests = n
		}
		return nil
	})
	if err != nil {
		return Estimate{}, err
	}
	return c.core.estimate(&cfg, RecordCounts{
		Cells: requests.Cells.Requests, Resources: requests.Resources.Requests, Jobs: requests.Jobs.Requests,
		Parts: requests.Parts.Requests, Operations: requests.Operations.Requests,
	}), nil
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

// askedByKey reports that existence is asked by key alone: lists of resources
// show keys.
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
