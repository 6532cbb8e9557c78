package eryxon

import (
	"fmt"
	"time"
)

// RecordCounts is a number for each entity.
type RecordCounts struct {
	Cells      int `json:"cells"`
	Resources  int `json:"resources"`
	Jobs       int `json:"jobs"`
	Parts      int `json:"parts"`
	Operations int `json:"operations"`
}

// Total is the sum over the entities.
func (n RecordCounts) Total() int {
	return n.Cells + n.Resources + n.Jobs + n.Parts + n.Operations
}

// Count returns how many records the dataset's slices hold, those nested in
// others included as [Client.SyncAll] lifts them out. Inputs that are
// sequences count as nothing.
func (d Dataset) Count() RecordCounts {
	n := RecordCounts{Cells: len(d.Cells.slice), Resources: len(d.Resources.slice), Jobs: len(d.Jobs.slice),
		Parts: len(d.Parts.slice), Operations: len(d.Operations.slice)}
	count := func(parts []Part) {
		for i := range parts {
			n.Operations += len(parts[i].Operations)
		}
	}
	for i := range d.Jobs.slice {
		n.Parts += len(d.Jobs.slice[i].Parts)
		count(d.Jobs.slice[i].Parts)
	}
	count(d.Parts.slice)
	return n
}

// Estimate is what a run will cost at least: see [Client.EstimateRequests].
type Estimate struct {
	Requests RecordCounts `json:"requests"` // bulk requests for each entity
	// QuotaKnown tells whether the server has told what is left of the
	// window; Remaining, Reset and Fits say nothing without it.
	QuotaKnown bool      `json:"quota_known"`
	Remaining  int       `json:"remaining"`
	Reset      time.Time `json:"reset"`
	Fits       bool      `json:"fits"` // the window takes all of it, and what WithQuotaReserve leaves to others
}

// EstimateRequests tells, without a request, how many requests a [Client.SyncAll]
// of so many records takes when all goes well: each full one holds what
// [WithMaxRequestRecords] says. Records too long for that, retries and the
// search for bad records come on top.
func (c *Client) EstimateRequests(n RecordCounts, opts ...SyncAllOption) (Estimate, error) {
	cfg := c.core.cfg
	if err := applyAll(&cfg, opts); err != nil {
		return Estimate{}, err
	}
	requests := func(records int) int { return (records + cfg.maxRecords - 1) / cfg.maxRecords }
	for _, k := range []int{n.Cells, n.Resources, n.Jobs, n.Parts, n.Operations} {
		if k < 0 {
			return Estimate{}, fmt.Errorf("eryxon: EstimateRequests: %d records: want 0 or more", k)
		}
	}
	return c.core.estimate(&cfg, RecordCounts{
		Cells: requests(n.Cells), Resources: requests(n.Resources), Jobs: requests(n.Jobs),
		Parts: requests(n.Parts), Operations: requests(n.Operations),
	}), nil
}

// estimate holds requests against what is known of the quota, without what is left for
// others.
func (co *core) estimate(cfg *config, requests RecordCounts) Estimate {
	limit := co.shared.limiter.snapshot(cfg.allowance(), time.Now())
	return Estimate{
		Requests: requests, QuotaKnown: limit.Known, Remaining: limit.Remaining, Reset: limit.Reset,
		Fits: limit.Known && requests.Total() <= limit.Remaining-cfg.reserve,
	}
}

// Validate applies the local rules to the dataset's slices without a request
// and returns the [*RecordError] of each record that breaks one, in the
// documented order of entities. Inputs that are sequences are not read.
func (c *Client) Validate(d Dataset, opts ...SyncAllOption) []error {
	cfg := c.core.cfg
	if err := applyAll(&cfg, opts); err != nil {
		return []error{err}
	}
	var errs []error
	errs = validate[Cell](errs, cfg.source, d.Cells.slice)
	errs = validate[Resource](errs, cfg.source, d.Resources.slice)
	errs = validate[Job](errs, cfg.source, d.Jobs.slice)
	errs = validate[Part](errs, cfg.source, d.Parts.slice)
	return validate[Operation](errs, cfg.source, d.Operations.slice)
}

func validate[R any, P recordPtr[R]](errs []error, source string, records []R) []error {
	seen := screenSlice[R, P](records, source)
	for i := range records {
		r := P(&records[i])
		var rules checker
		checkRecord(&rules, r, source)
		if seen != nil {
			if at := seen(i); at.err != nil {
				at.err(&rules)
			}
		}
		o := Outcome{Entity: entityOf[R](), Index: i, Key: r.recordKey(source), Status: StatusFailed}
		if err := rules.err(i, o.Key); err != nil {
			errs = append(errs, o.close(err))
		}
	}
	return errs
}
