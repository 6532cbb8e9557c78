package eryxon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Dataset is what [Client.SyncAll] brings to the server: any of the five
// inputs may be left out.
type Dataset struct {
	Cells      Input[Cell]
	Resources  Input[Resource]
	Jobs       Input[Job]
	Parts      Input[Part]
	Operations Input[Operation]
}

// Input is the records of one entity: [FromSlice] or [FromSeq]. The zero Input
// has none.
type Input[R any] struct {
	slice []R
	seq   iter.Seq2[R, error]
	given bool
}

// FromSlice is an input that is known as a whole, so that the order of the
// dataset is found record by record: each is sent as soon as its parents are
// acknowledged. The slice is not changed, and must not be during the run.
func FromSlice[R any](records []R) Input[R] { return Input[R]{slice: records, given: true} }

// FromSeq is an input of any length, read once and in bounded memory. A
// dataset with such an input is synced entity after entity. An error in it ends
// the run; what was read before is sent.
func FromSeq[R any](records iter.Seq2[R, error]) Input[R] { return Input[R]{seq: records, given: true} }

// SyncAllOption varies [Client.SyncAll]. Each is an [Option] too.
type SyncAllOption interface {
	Option
	syncAllOption()
}

type syncAllOption func(*config) error

func (o syncAllOption) applyOption(c *config) error { return o(c) }
func (syncAllOption) syncAllOption()                {}

// WithStrictParents keeps back the children of every record that failed. By
// default those of a job or part whose row the server shows are sent although
// its update failed, or may not have arrived.
func WithStrictParents() SyncAllOption {
	return syncAllOption(func(c *config) error { c.strictParents = true; return nil })
}

// WithParentsInDataset refuses, before the first request, a child whose parent
// is not in the dataset. By default it is left to the server, which may know
// the parent from earlier runs. It needs inputs that are slices.
func WithParentsInDataset() SyncAllOption {
	return syncAllOption(func(c *config) error { c.parentsInDataset = true; return nil })
}

// WithNested sends parts and operations that are nested in a job or part
// inside it, where requests matter more than outcomes: what became of them is
// then unknown, unless the server takes none; some servers drop what they can't
// store without a word. By default SyncAll lifts them out and syncs them as
// records of their own, counted after those of the entity's own input.
func WithNested() SyncAllOption {
	return syncAllOption(func(c *config) error { c.keepNested = true; return nil })
}

// WithOutcomes hands every outcome that is not a success to sink while the run
// goes on, on the goroutine of the run; of nested records those that failed by
// themselves. An error of the sink is returned by
// SyncAll in the end; the run goes on.
func WithOutcomes(sink func(Outcome) error) SyncAllOption {
	return syncAllOption(func(c *config) error {
		if sink == nil {
			return errors.New("eryxon: WithOutcomes: nil sink")
		}
		c.sinks = append(c.sinks[:len(c.sinks):len(c.sinks)], sinkFunc{name: "WithOutcomes", failures: true, write: func(_ string, o Outcome) error { return sink(o) }})
		return nil
	})
}

// WithDryRun sends nothing: SyncAll tells what it would do instead, each
// record's outcome to tell where that is not nil, on the goroutine of the run.
// Created, updated (with the fields in [Outcome.Changed]) and unchanged are what
// the state has it that the record would be (see [WithState]); without a state,
// or where it is in doubt, the record is synced. Records that break a local rule
// fail, with their children, as they would. The report's Requests are those that
// it takes at least.
func WithDryRun(tell func(Outcome)) SyncAllOption {
	return syncAllOption(func(c *config) error {
		c.dryRun, c.tell = true, tell
		return nil
	})
}

// sinkFunc takes in outcomes of a run: the failures or the successes.
type sinkFunc struct {
	name     string // of the option
	failures bool
	write    func(runID string, o Outcome) error
}

// SyncAll brings a dataset to the server in the order of its dependencies:
// cells, resources and jobs side by side, parts when their job, operations
// when their part and their cell (by name) are acknowledged. A child whose
// parent failed is not sent and ends as parent failed, with the parent's error
// as its cause; where only the update of a job or part failed, or is unknown, and
// the server shows its row, it is sent (see [WithStrictParents]).
//
// The report is never nil and accounts for every record that was read. The
// error is a [*PartialError] if any did not succeed, joined with what ended
// the run early and with errors of sinks.
func (c *Client) SyncAll(ctx context.Context, data Dataset, opts ...SyncAllOption) (*Report, error) {
	cfg := c.core.cfg
	if err := applyAll(&cfg, opts); err != nil {
		return newReport(), err
	}
	if cfg.parentsInDataset && !data.sliced() {
		return newReport(), errors.New("eryxon: WithParentsInDataset needs inputs that are slices: nothing was sent")
	}
	if cfg.complete != "" && cfg.state == nil {
		return newReport(), errors.New("eryxon: WithCompleteExport needs WithState, which knows what was there: nothing was sent")
	}
	return c.account(ctx, &cfg, func(ctx context.Context, co *core, run *syncRun) {
		if data.sliced() {
			run.slices(ctx, co, data)
		} else {
			run.sequences(ctx, co, data)
		}
		if cfg.complete == "" {
			return
		}
		gone, err := run.disappeared(&data)
		if err != nil {
			run.ended(err)
		}
		run.report.Disappeared = gone
	})
}

// account runs work as one run, with its state, its progress and its report.
func (c *Client) account(ctx context.Context, cfg *config, work func(context.Context, *core, *syncRun)) (*Report, error) {
	if cfg.concurrency == 0 {
		cfg.concurrency = streamConcurrency
	}
	cfg.startBudget()
	run := &syncRun{cfg: cfg, report: newReport(), present: newPresence()}
	run.report.DryRun = cfg.dryRun
	end, err := c.core.beginState(ctx, cfg, true)
	if err != nil {
		run.report.Ended = err
		return run.report, err
	}
	run.progress = startProgress(cfg, run.report)
	defer run.progress.stop()
	cfg.seen = newSightings()
	variant := *c.core
	variant.cfg = *cfg
	func() {
		defer func() { err = end() }() // also where the input or a sink panics
		work(ctx, &variant, run)
	}()
	if err != nil {
		run.ended(err)
	}
	run.report.Duration, run.report.Ended, run.report.Release = time.Since(run.report.Started), run.end, c.Release()
	return run.report, run.err()
}

// sliced reports whether all inputs are known as a whole.
func (d *Dataset) sliced() bool {
	return d.Cells.seq == nil && d.Resources.seq == nil && d.Jobs.seq == nil && d.Parts.seq == nil && d.Operations.seq == nil
}

// listedFailures is how many of a run's failures its error lists.
const listedFailures = 100

// syncRun keeps the account of a run. It lives in one goroutine.
type syncRun struct {
	cfg      *config
	report   *Report
	failures PartialError
	end      error
	sinkErrs []sinkError // by sink, nil while none has failed
	progress *progressReporter
	present  *presence
}

// account takes in one outcome.
func (r *syncRun) account(o *Outcome) {
	e := r.report.of(o.Entity)
	e.Read++
	e.Counts.add(o.Status)
	for i := range o.Nested {
		e.Nested.add(o.Nested[i].Status)
	}
	if r.cfg.complete != "" {
		r.saw(o)
		for i := range o.Nested {
			r.saw(&o.Nested[i])
		}
	}
	r.failures.take(o, listedFailures)
	if r.cfg.tell != nil {
		r.cfg.tell(*o)
	}
	r.hand(o)
	r.handNested(o)
	r.progress.update(false)
}

// handNested gives the outcomes of what a record carried to the sinks. A record that
// failed, and was handed over, carries what failed of it still.
func (r *syncRun) handNested(o *Outcome) {
	carried := 0
	if !o.Status.Success() {
		carried = len(o.Nested)
	}
	for i := range o.Nested {
		n := &o.Nested[i]
		within := carried > 0
		if within {
			carried--
		}
		switch {
		case n.Status.Success():
			r.hand(n)
		case n.failed() && !within:
			r.hand(n)
			if p, ok := n.Record.(Part); ok {
				carried = len(p.Operations)
			}
		}
	}
}

// hand gives an outcome to the sinks that it is for.
func (r *syncRun) hand(o *Outcome) {
	for i, s := range r.cfg.sinks {
		if r.cfg.dryRun && !s.failures {
			continue // nothing was acknowledged
		}
		if s.failures == o.Status.Success() {
			continue
		}
		if err := s.write(r.report.RunID, *o); err != nil {
			if r.sinkErrs == nil {
				r.sinkErrs = make([]sinkError, len(r.cfg.sinks))
			}
			if r.sinkErrs[i].n++; r.sinkErrs[i].n == 1 {
				r.sinkErrs[i].first = fmt.Errorf("eryxon: %s: outcome of %s %s not written: %w", s.name, o.Entity.singular(), o.Key, err)
			}
		}
	}
}

// saw notes a record of the complete export. Those of other sources are not of
// it: they must not make it look less empty than it is.
func (r *syncRun) saw(o *Outcome) {
	if o.Key.Source == r.cfg.complete {
		r.present.saw(o.Entity, o.Key)
	}
}

func (r *syncRun) err() error {
	var errs []error
	if r.failures.Failed > 0 {
		errs = append(errs, &r.failures)
	}
	errs = append(errs, r.end)
	for _, s := range r.sinkErrs {
		if s.n > 1 {
			s.first = fmt.Errorf("%w (and %d more)", s.first, s.n-1)
		}
		errs = append(errs, s.first)
	}
	return errors.Join(errs...)
}

// sinkError is what a sink has failed to take: the first, and how many.
type sinkError struct {
	first error
	n     int
}

func (r *syncRun) ended(err error) {
	if r.end == nil {
		r.end = err
	}
}

// lane is the part of a run that belongs to one entity.
type lane interface {
	entity() Entity
	size() int
	key(i int) Key
	pending(i int) (Pending, error)
	// feed gives the lane its i-th record; withhold settles it unsent.
	feed(i int)
	withhold(i int, s Status, cause error)
	// next starts a worker for the next chunk, if there is one, its keys are
	// free, and it is full or flushing is wanted.
	next(flush bool) (started bool, wait <-chan struct{})
	// idle reports that no chunk is ready to be sent.
	idle() bool
	finish(*finishedChunk)
	halt(error)
	ending() error
	outcomes() []Outcome
	settled() int // how many outcomes there are
	cost() tally
}

// sliceLane is the lane of a slice.
type sliceLane[R any, P recordPtr[R]] struct {
	*engine[R, P]
	records []R
}

func newLane[R any, P recordPtr[R]](co *core, f *flight, records []R) *sliceLane[R, P] {
	e := newEngine[R, P](co, &co.cfg, f)
	e.screen, e.expected = screenSlice[R, P](records, co.cfg.source), len(records)
	return &sliceLane[R, P]{engine: e, records: records}
}

func (l *sliceLane[R, P]) entity() Entity { return l.engine.entity }
func (l *sliceLane[R, P]) size() int      { return len(l.records) }
func (l *sliceLane[R, P]) key(i int) Key  { return P(&l.records[i]).recordKey(l.cfg.source) }
func (l *sliceLane[R, P]) pending(i int) (Pending, error) {
	return l.delta.pending(P(&l.records[i]), l.key(i))
}

func (l *sliceLane[R, P]) feed(i int) {
	l.engine.next = i
	l.take(P(&l.records[i]))
}

func (l *sliceLane[R, P]) withhold(i int, s Status, cause error) {
	l.refuse(Outcome{Entity: l.engine.entity, Index: i, Key: l.key(i)}, P(&l.records[i]), s, cause)
}

func (l *sliceLane[R, P]) idle() bool { return len(l.full) == 0 }

func (l *sliceLane[R, P]) next(flush bool) (bool, <-chan struct{}) {
	if flush {
		l.flush()
	}
	if len(l.full) == 0 || l.flight.running > 0 && l.co.release() == ReleaseUnknown { // one answer tells how the others are made
		return false, nil
	}
	if wait := l.flight.keys.hold(l.full[0]); wait != nil {
		return false, wait
	}
	c := l.pop()
	l.flight.launch(func() *finishedChunk {
		f := l.work(c)
		f.lane = l
		return f
	})
	return true, nil
}

func (l *sliceLane[R, P]) finish(f *finishedChunk) { l.settle(f) }
func (l *sliceLane[R, P]) ending() error           { return l.end }

func (l *sliceLane[R, P]) halt(cause error) {
	if l.end == nil {
		l.end = cause
	}
	l.abandonOpen(l.end)
}

func (l *sliceLane[R, P]) settled() int { return len(l.ready) - l.head }

func (l *sliceLane[R, P]) outcomes() []Outcome {
	out := l.ready[l.head:]
	l.ready, l.head = nil, 0
	return out
}

// slices syncs a dataset that is known as a whole. One goroutine, the
// caller's, owns the lanes and the account; workers send.
func (r *syncRun) slices(ctx context.Context, co *core, data Dataset) {
	f := newFlight(ctx, co, &co.cfg)
	defer f.close()
	f.seen.keepMade() // in a sequence one may come twice
	jobs, parts, ops := data.Jobs.slice, data.Parts.slice, data.Operations.slice
	if !co.cfg.keepNested {
		jobs, parts, ops = lift(jobs, parts, ops)
	}
	g := &graph{run: r, cfg: &co.cfg, flight: f}
	// Where workers are scarce, the lane that most depends on goes first; the
	// cells, few as they are, before the jobs.
	g.cells = g.add(newLane[Cell](co, f, data.Cells.slice), len(data.Cells.slice))
	jobLane, partLane := newLane[Job](co, f, jobs), newLane[Part](co, f, parts)
	g.jobs = g.add(jobLane, len(data.Jobs.slice))
	g.parts = g.add(partLane, len(data.Parts.slice))
	jobLane.isParent, partLane.isParent = g.jobs.isParent, g.parts.isParent
	g.ops = g.add(newLane[Operation](co, f, ops), len(data.Operations.slice))
	g.add(newLane[Resource](co, f, data.Resources.slice), len(data.Resources.slice))
	for _, n := range g.nodes {
		r.report.of(n.lane.entity()).expected = n.lane.size()
	}
	g.link(jobs, data.Cells.slice, parts, ops)
	if co.cfg.rationed() {
		if err := g.rank(); err != nil {
			g.halt(err)
		}
	}
	g.begin()
	g.execute()
}
