package eryxon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// erpRun is one request to the unified endpoint.
type erpRun struct {
	co      *core
	cfg     config
	batches [3]erpBatch
	options ERPOptions
	out     *result
	answer  *erpAnswer
	keys    *keySet
}

// erpBatch is one entity's records of such a request. Of those that local rules
// refuse the outcome is settled at once.
type erpBatch struct {
	entity   Entity
	outcomes []Outcome
	sent     []*sentRecord[any]
	body     []byte
	taken    func(*Outcome) // adds to a collision of natural keys which one it is
}

func (s *ERPService) prepare(req ERPRequest, opts []CallOption, writes bool) (*erpRun, error) {
	cfg, err := s.co.callConfig(opts)
	run := &erpRun{co: s.co, cfg: cfg, options: req.Options, out: &result{}, keys: newKeySet()}
	run.batches = [3]erpBatch{
		gather(run, EntityJobs, req.Jobs, func(c *checker, j *Job) {
			if len(j.Parts) > 0 {
				c.complain("parts", "NESTED", "would be dropped without a word: put them into the request's own list", nil)
			}
			if writes {
				c.kept("customer", j.Customer.state, j.Customer.value == "")
				c.kept("due_date", j.DueDate.state, false)
				c.kept("priority", j.Priority.state, false)
				c.kept("notes", j.Notes.state, j.Notes.value == "")
				c.untouched("status", j.Status.IsSet())
				c.writable(j.Extra)
			}
		}),
		gather(run, EntityParts, req.Parts, func(c *checker, p *Part) {
			if len(p.Operations) > 0 {
				c.complain("operations", "NESTED", "would be dropped without a word: sync them on their own", nil)
			}
			if writes {
				c.kept("material", p.Material.state, p.Material.value == "")
				c.kept("quantity", p.Quantity.state, false)
				c.kept("notes", p.Notes.state, p.Notes.value == "")
				c.untouched("status", p.Status.IsSet())
				c.writable(p.Extra)
			}
		}),
		gather(run, EntityResources, req.Resources, func(c *checker, r *Resource) {
			if writes {
				c.kept("description", r.Description.state, r.Description.value == "")
				c.kept("identifier", r.Identifier.state, r.Identifier.value == "")
				c.kept("location", r.Location.state, r.Location.value == "")
				c.kept("status", r.Status.state, r.Status.value == "")
				c.kept("active", r.Active.state, false)
				c.writable(r.Extra)
			}
		}),
	}
	if err != nil {
		return run, err
	}
	return run, run.oneSource()
}

// kept demands that a field is not asked to be cleared.
func (c *checker) kept(field string, state optState, empty bool) {
	switch {
	case state == optNull:
		c.complain(field, "NULL", "is null, which this endpoint does not clear: use the entity's own service", nil)
	case state == optValue && empty:
		c.complain(field, "EMPTY", "is empty, which this endpoint does not write: leave it unset or use the entity's own service", "")
	}
}

// untouched demands that a field is left alone.
func (c *checker) untouched(field string, set bool) {
	if set {
		c.complain(field, "COLUMN", "would be dropped without a word on an update: leave it unset or use the entity's own service", nil)
	}
}

// writable demands that no column is given which would be dropped.
func (c *checker) writable(extra map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		switch {
		case name != "metadata":
			c.complain("Extra["+name+"]", "COLUMN", "would be dropped without a word: use the entity's own service", nil)
		case extra[name] == nil:
			c.kept("Extra["+name+"]", optNull, false)
		}
	}
}

// gather applies the local rules to one entity's records and encodes the rest.
func gather[R any, P recordPtr[R]](run *erpRun, entity Entity, records []R, rules func(*checker, P)) erpBatch {
	b := erpBatch{entity: entity, outcomes: make([]Outcome, len(records))}
	b.taken = func(o *Outcome) { o.nameTaken(P(&records[o.Index])) }
	source := run.cfg.source
	verdict := screenSlice[R, P](records, source)
	for i := range records {
		r := P(&records[i])
		o := &b.outcomes[i]
		*o = Outcome{Entity: entity, Index: i, Key: r.recordKey(source), Status: StatusNotSent}
		var c checker
		checkRecord(&c, r, source)
		rules(&c, r)
		if !lookable(o.Key.ExternalID) || !parentLookable(r) {
			c.complain("external_id", "LOOKUP", "its or its job's holds a quotation mark or a backslash, which this endpoint mistakes, for the records beside it too: use the entity's own service", o.Key.ExternalID)
		}
		if verdict != nil {
			v := verdict(i)
			if v.err != nil {
				v.err(&c)
			}
			if v.superseded && len(c.details) == 0 {
				o.Status = StatusSuperseded
				continue
			}
		}
		err := c.err(i, o.Key)
		start := len(b.body)
		if err == nil {
			if start > 0 {
				b.body = append(b.body, ',')
			}
			b.body, err = r.appendJSON(b.body, source)
		}
		if err != nil {
			b.body = b.body[:start]
			o.Status, o.Record = StatusFailed, *r
			_ = o.close(err) // the outcome keeps it
			continue
		}
		b.sent = append(b.sent, &sentRecord[any]{record: *r, key: o.Key, index: i})
		run.keys.add(entityKey{entity, o.Key})
	}
	return b
}

// oneSource demands that all records of the request have the same source.
func (run *erpRun) oneSource() error {
	first := ""
	for i := range run.batches {
		for _, s := range run.batches[i].sent {
			first = cmpOr(first, s.key.Source)
			if s.key.Source != first {
				var c checker
				c.complain("external_source", "ONE_SOURCE", fmt.Sprintf("is %q beside records of %q, and the server would confuse them: make one request for each source", s.key.Source, first), s.key.Source)
				return c.err(s.index, s.key)
			}
		}
	}
	return nil
}

func (run *erpRun) records() int {
	n := 0
	for i := range run.batches {
		n += len(run.batches[i].sent)
	}
	return n
}

// send makes the request and returns its error.
func (run *erpRun) send(ctx context.Context, path string) error {
	body := []byte{'{'}
	for i := range run.batches {
		if b := &run.batches[i]; len(b.sent) > 0 {
			body = append(appendKey(body, `"`+string(b.entity)+`":[`), b.body...)
			body = append(body, ']')
		}
	}
	body = append(run.options.append(body), '}')
	n := run.records()
	cl := call{method: http.MethodPost, path: path, body: body, records: n, bulk: path == erpSyncPath, split: n > 1, repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			var err error
			run.answer, err = readERP(body, run.co.redact)
			return &run.answer.envelope, err
		}}
	run.out = run.co.do(ctx, &run.cfg, &cl)
	if run.out.fate != fateAnswered {
		run.out.err = run.co.unsupported("", run.out)
	}
	return run.out.err
}

// differences are what the answer says of a batch; err is why there is none.
func (run *erpRun) differences(b *erpBatch, err error) []ERPDifference {
	if len(b.outcomes) == 0 {
		return nil
	}
	diffs := make([]ERPDifference, len(b.outcomes))
	for i := range b.outcomes {
		o := &b.outcomes[i]
		diffs[i] = ERPDifference{Entity: o.Entity, Index: i, Key: o.Key, Err: o.Err}
		if o.Status == StatusFailed {
			diffs[i].Status = DiffError
		}
	}
	want := make([]Key, len(b.sent))
	for i, s := range b.sent {
		want[i] = s.key
		diffs[s.index].Err = err
	}
	places := make(map[Key]int, len(want))
	if err == nil && len(want) > 0 {
		for i, r := range matchDiff(want, run.answer.entity(b.entity)) {
			d := &diffs[b.sent[i].index]
			places[d.Key] = d.Index
			d.Status, d.ID, d.Changes = r.status, r.id, r.changes
			switch r.status {
			case DiffUnknown:
				d.Err = run.co.apiError(&call{method: http.MethodPost, path: erpDiffPath}, run.out, ErrBadAnswer, "", fmt.Sprintf("%s %s: %s", b.entity.singular(), d.Key, r.doubt), nil, nil)
			case DiffError:
				o := Outcome{Entity: d.Entity, Index: d.Index, Key: d.Key, Status: StatusFailed, RequestID: run.out.requestID}
				o.fail(recordError(&finding{status: StatusFailed, message: r.message}, false, run.co.redact))
				d.Err = o.Err
			}
		}
	}
	// What stands there twice was asked for once.
	for i := range b.outcomes {
		if d := &diffs[i]; b.outcomes[i].Status == StatusSuperseded {
			d.Err = err
			if at, ok := places[d.Key]; ok {
				*d = diffs[at]
				d.Index = i
			}
		}
	}
	return diffs
}

// settle gives every record of a batch its outcome; err is why nothing was
// sent.
func (run *erpRun) settle(b *erpBatch, err error) []Outcome {
	if len(b.sent) == 0 {
		return b.outcomes
	}
	if err != nil || run.out.fate != fateAnswered {
		status := StatusNotSent
		if err == nil {
			status, err = statusOf(run.out.fate), run.out.err
			if status == StatusFailed && errors.Is(err, ErrUnsupported) {
				status = StatusNotSent // nobody has read it
			}
		}
		for _, s := range b.sent {
			o := run.outcome(b, s, status)
			o.Record = s.record
			_ = o.close(err) // the outcome keeps it
		}
		return b.outcomes
	}
	answer := run.answer.entity(b.entity)
	found := reconcile(b.sent, &answer.bulkAnswer, run.out.ambiguous)
	skipped, told := 0, toldOfAll(found)
	same := make(map[string]int) // records by the reason that they failed for
	for i := range found {
		switch found[i].status {
		case StatusUnchanged:
			skipped++
		case StatusFailed:
			same[found[i].message]++
		}
	}
	for i, s := range b.sent {
		f := &found[i]
		if f.status == StatusUnchanged && answer.skipped >= 0 && answer.skipped != skipped && !run.out.ambiguous {
			f.status, f.doubtful = StatusUnknown, "the answer's counts contradict its list of results"
		}
		o := run.outcome(b, s, f.status)
		o.ID = f.id
		e := recordError(f, false, run.co.redact)
		if e == nil {
			continue
		}
		alone := same[f.message] == 1 && told
		if f.status == StatusFailed && !alone && !reNoParent.MatchString(f.message) {
			said := "the answer does not tell of all records"
			if n := same[f.message]; n > 1 {
				said = fmt.Sprintf("said of %d records", n)
			}
			e.Message += " (" + said + ": the server fails all new ones together, so this one may be innocent)"
			var invalid *ValidationError
			if errors.As(e.cause, &invalid) {
				invalid.Message = e.Message
			}
		}
		o.Record = s.record
		o.fail(e)
		if alone { // of several it may be another's
			b.taken(o)
		}
	}
	return b.outcomes
}

func (run *erpRun) outcome(b *erpBatch, s *sentRecord[any], status Status) *Outcome {
	o := &b.outcomes[s.index]
	o.Status, o.RequestID, o.Attempts = status, run.out.requestID, run.out.attempts
	return o
}
