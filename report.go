package eryxon

import (
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the account of a [Client.SyncAll]: it prints as a table and
// marshals to JSON. Every record that was read is counted in exactly one
// status.
type Report struct {
	RunID      string        `json:"run_id"` // a UUID, also in audit logs
	Started    time.Time     `json:"started"`
	Duration   time.Duration `json:"duration_ns"`
	Cells      EntityReport  `json:"cells"`
	Resources  EntityReport  `json:"resources"`
	Jobs       EntityReport  `json:"jobs"`
	Parts      EntityReport  `json:"parts"`
	Operations EntityReport  `json:"operations"`
	Release    Release       `json:"release"` // what the server was recognised as
	// Disappeared is what a complete export lacks (see [WithCompleteExport]),
	// else nil.
	Disappeared *Disappeared `json:"disappeared,omitempty"`
	// DryRun: nothing was sent, and the counts are what would have become of
	// the records.
	DryRun bool `json:"dry_run,omitempty"`
	// Ended is what ended the run early, or kept it from beginning, nil if it
	// ran to its end. JSON leaves it out.
	Ended error `json:"-"`
	// Warnings tell what looked wrong in the dataset before the first
	// request, a line for each kind of finding.
	Warnings []string `json:"warnings,omitempty"`
}

// EntityReport is the part of a [Report] on one entity, or the sum of them.
type EntityReport struct {
	Read     int           `json:"read"` // records taken from the input, and lifted out of others
	Counts   Counts        `json:"counts"`
	Nested   Counts        `json:"nested"`   // records sent inside of them, with WithNested
	Requests int           `json:"requests"` // bulk requests made
	Attempts int           `json:"attempts"` // requests on the wire, retries included
	Bytes    int64         `json:"bytes"`    // of request bodies, retries included
	Time     time.Duration `json:"time_ns"`  // from the start of the run to the entity's last answer
	Waited   time.Duration `json:"waited_ns"`

	expected int // records, where known beforehand
}

func newReport() *Report { return &Report{RunID: newRequestID(), Started: time.Now()} }

func (r *Report) of(e Entity) *EntityReport {
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

// entityOrder is the documented order of an initial sync.
var entityOrder = [...]Entity{EntityCells, EntityResources, EntityJobs, EntityParts, EntityOperations}

// Total sums up all entities. Its Time is the longest.
func (r *Report) Total() EntityReport {
	var t EntityReport
	for _, e := range entityOrder {
		o := r.of(e)
		t.Read += o.Read
		t.Counts.sum(o.Counts)
		t.Nested.sum(o.Nested)
		t.Requests += o.Requests
		t.Attempts += o.Attempts
		t.Bytes += o.Bytes
		t.Waited += o.Waited
		t.Time = max(t.Time, o.Time)
		t.expected += o.expected
	}
	return t
}

func (e *EntityReport) setCost(t tally, started time.Time) {
	e.Requests, e.Attempts, e.Bytes, e.Waited = t.requests, t.attempts, t.bytes, t.waited
	e.Time = time.Since(started)
}

func (e *EntityReport) tally() tally {
	return tally{requests: e.Requests, attempts: e.Attempts, bytes: e.Bytes, waited: e.Waited}
}

// String returns the report as a table for people.
func (r *Report) String() string {
	var b strings.Builder
	if r.DryRun {
		b.WriteString("dry run: nothing was sent\n")
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tread\tcreated\tupdated\tsynced\tunchanged\tfailed\tparent failed\tsuperseded\tnot sent\tunknown\trequests\tattempts\tkB\ttime\twaited\t")
	line := func(name string, e EntityReport) {
		c := e.Counts
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t\n", name, e.Read,
			c.Created, c.Updated, c.Synced, c.Unchanged, c.Failed, c.ParentFailed, c.Superseded, c.NotSent, c.Unknown,
			e.Requests, e.Attempts, (e.Bytes+999)/1000, round(e.Time), round(e.Waited))
	}
	for _, e := range entityOrder {
		line(string(e), *r.of(e))
	}
	total := r.Total()
	line("total", total)
	_ = w.Flush() // a strings.Builder takes everything
	if total.Nested.Total() > 0 {
		fmt.Fprintf(&b, "nested in other records: %s\n", total.Nested)
	}
	if r.Disappeared != nil && len(r.Disappeared.Records) > 0 {
		fmt.Fprintf(&b, "disappeared from the export: %d\n", len(r.Disappeared.Records))
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", text)
	}
	return b.String()
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// sum adds another entity's counts.
func (c *Counts) sum(o Counts) {
	c.Unknown += o.Unknown
	c.Created += o.Created
	c.Updated += o.Updated
	c.Synced += o.Synced
	c.Unchanged += o.Unchanged
	c.Failed += o.Failed
	c.ParentFailed += o.ParentFailed
	c.Superseded += o.Superseded
	c.NotSent += o.NotSent
}

// warn tells what looks wrong before the first request.
func (r *syncRun) warn(text string) {
	r.report.Warnings = append(r.report.Warnings, text)
	r.cfg.logger.Warn("eryxon: dataset", slog.String("finding", text))
}
