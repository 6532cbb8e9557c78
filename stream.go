package eryxon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Stream is a bulk sync under way. Nothing happens until [Stream.All] is
// ranged over; the loop's own goroutine reads the input, so that a slow
// consumer slows the reading, and a panic in the input surfaces in the loop.
type Stream struct {
	run    func(st *Stream, yield func(Outcome) bool)
	ranged bool
	err    error
	rest   []Outcome
	stats  tally
	// inputFailed: it was the input's own error that ended the reading.
	inputFailed bool
	sendErr     error // what ended the sending, nil if nothing did
}

// All yields one outcome for each record taken from the input, in the order in
// which they become known; [Outcome.Index] tells the place in the input. When
// the loop is left early, what is in flight gets the grace period (see
// [WithGracePeriod]) to finish, and [Stream.Rest] accounts for what was taken
// and not yielded. All can be ranged over once; a second time yields nothing
// and makes [Stream.Err] say so.
func (st *Stream) All() iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		if st.ranged {
			st.err = errors.New("eryxon: a Stream can be ranged over once")
			return
		}
		st.ranged = true
		st.run(st, yield)
	}
}

// Err returns what ended the stream before the input did: an error of the
// input, the context's, or one after which no further request could succeed,
// such as a revoked key or a used-up quota. It is nil where the input was read
// to its end, whatever became of its records, and where the loop was left.
func (st *Stream) Err() error { return st.err }

// Rest returns the outcomes of records that were taken from the input and not
// yielded because the loop was left early; else nil. Their Status tells
// whether they were sent.
func (st *Stream) Rest() []Outcome { return st.rest }

// tally counts what a run has cost.
type tally struct {
	requests int
	attempts int
	bytes    int64 // of request bodies, retries included
	waited   time.Duration
}

func (t tally) plus(o tally) tally {
	return tally{t.requests + o.requests, t.attempts + o.attempts, t.bytes + o.bytes, t.waited + o.waited}
}

// screen is the verdict on a record that comes from looking at the whole input
// beforehand.
type screen struct {
	superseded bool
	err        func(*checker)
}

// errLeft is why records were not sent when the consumer left the loop.
var errLeft = errors.New("the loop over the stream was left before they were sent")

// streamConcurrency is how many requests of a stream are in flight at once
// where [WithConcurrency] does not say.
const streamConcurrency = 4

// barrenLimit is after how many chunks in a row of which nothing landed the
// run ends: the server is gone, or refuses everything.
const barrenLimit = 3

// engine runs one stream. All of it but the workers lives in the goroutine
// that ranges over the stream: it reads the input, packs, and yields. Workers
// send one chunk each and hand back its outcomes through a channel that has
// room for all of them.
type engine[R any, P recordPtr[R]] struct {
	co     *core
	entity Entity
	cfg    *config
	screen func(index int) screen // nil: nothing is known beforehand
	// expected is how many records the input has; 0: that is not known.
	expected int
	probed   bool // while the server is not known there is one worker
	// withheld tells of a record that is not to be sent, and why; nil: none.
	withheld func(P) (Status, error)
	// isParent reports whether records of the run belong to that of an index, and
	// are sent if its row is there; nil: none do.
	isParent func(index int) bool

	delta *delta[R, P] // nil without a state
	// finite: the input is at hand, so that each of its records is accounted
	// for, also once no more is sent.
	finite bool
	// order are the places of the input's records in the caller's slice, where
	// they do not come in its order.
	order []int

	flight *flight
	sizes  sizes

	open  []*chunk[R] // still taking records
	full  []*chunk[R] // to be sent, in this order
	ready []Outcome   // settled; those from head on are not yielded yet
	head  int
	next  int // index of the next record of the input
	// current and rules are here to be allocated once, not once a record.
	current  R
	rules    checker
	free     []*chunk[R] // finished chunks, to be filled again
	streak   int         // chunks in a row of which nothing landed
	end      error       // why no more is sent
	inputErr error       // why no more is read
	requests int         // bulk requests and single syncs that were made
	bytes    int64       // of their bodies, retries included
}

func (s *syncer[R, P, Row]) stream(ctx context.Context, seq iter.Seq2[R, error], concurrency int, opts []BulkOption, prepare ...func(*engine[R, P])) *Stream {
	if seq == nil {
		seq = func(func(R, error) bool) {}
	}
	return &Stream{run: func(st *Stream, yield func(Outcome) bool) {
		cfg := s.co.cfg
		if err := applyAll(&cfg, opts); err != nil {
			st.err = err
			return
		}
		if cfg.concurrency == 0 {
			cfg.concurrency = concurrency
		}
		cfg.startBudget()
		end, err := s.co.beginState(ctx, &cfg, true)
		if err != nil {
			st.err = err
			return
		}
		defer func() {
			if err := end(); st.err == nil {
				st.err = err
			}
		}()
		e := newEngine[R, P](s.co, &cfg, newFlight(ctx, s.co, &cfg))
		for _, p := range prepare {
			p(e)
		}
		e.run(st, seq, yield)
	}}
}

func newEngine[R any, P recordPtr[R]](co *core, cfg *config, f *flight) *engine[R, P] {
	if cfg.wire == nil { // what is delivered as a part of another's counts as the other's
		cfg = cfg.counting()
	}
	e := &engine[R, P]{co: co, entity: entityOf[R](), cfg: cfg, flight: f}
	e.sizes.records.Store(int64(cfg.maxRecords))
	e.sizes.bytes.Store(int64(cfg.maxBytes))
	if n := marked(&co.shared.dialect, &co.shared.dialect.limits, e.entity); n > 0 {
		lower(&e.sizes.records, n)
	}
	if cfg.run != nil {
		e.delta = newDelta[R, P](co, cfg, e.entity)
	}
	return e
}

// cost is what the run has cost till now.
func (e *engine[R, P]) cost() tally {
	return e.cfg.wire.cost().plus(tally{requests: e.requests, bytes: e.bytes})
}

func (e *engine[R, P]) run(st *Stream, seq iter.Seq2[R, error], yield func(Outcome) bool) {
	// Runs too when the loop is left, and when the input or the consumer
	// panics.
	defer func() {
		ended := e.end // before it is stopped here
		e.flight.stop()
		e.abandonOpen(errLeft)
		for e.flight.running > 0 {
			e.settle(e.flight.receive())
		}
		e.flight.close()
		st.err, st.stats, st.sendErr = ended, e.cost(), ended
		if e.inputErr != nil {
			st.err = e.inputErr
		}
		if e.head < len(e.ready) {
			st.rest = e.ready[e.head:]
		}
	}()
	for r, err := range seq {
		if err != nil {
			st.inputFailed = true
			e.inputErr = fmt.Errorf("eryxon: the input of %s ended early, at record %d: %w", e.entity, e.next, err)
			break
		}
		e.current = r
		e.take(&e.current)
		for len(e.full) > 0 {
			e.dispatch(e.pop())
		}
		e.collect()
		if !e.drain(yield) {
			return
		}
		if e.end != nil && !e.finite {
			break
		}
	}
	for e.flush(); len(e.full) > 0 && e.sending(); {
		e.dispatch(e.pop())
		if !e.drain(yield) {
			return
		}
	}
	e.abandonOpen(e.end)
	for e.flight.running > 0 {
		e.settle(e.flight.receive())
		if !e.drain(yield) {
			return
		}
	}
	e.drain(yield)
}

// sending reports whether more requests may be made. An input that ended early
// does not keep what was taken before from being sent.
func (e *engine[R, P]) sending() bool {
	if err := e.flight.goOn.Err(); err != nil {
		if e.end == nil {
			e.end = fmt.Errorf("eryxon: the run of %s was ended: %w", e.entity, err)
		}
		return false
	}
	return e.end == nil
}

// drain yields what is settled and reports whether the consumer wants more.
func (e *engine[R, P]) drain(yield func(Outcome) bool) bool {
	for e.head < len(e.ready) {
		o := e.ready[e.head]
		e.ready[e.head] = Outcome{}
		e.head++
		if !yield(o) {
			return false
		}
	}
	e.ready, e.head = e.ready[:0], 0
	return true
}

// take gives a record of the input its place: in a chunk, or among the settled.
func (e *engine[R, P]) take(r P) {
	o := Outcome{Entity: e.entity, Index: e.next, Key: r.recordKey(e.cfg.source)}
	if e.order != nil {
		o.Index = e.order[e.next]
	}
	e.next++
	var seen screen
	if e.screen != nil {
		seen = e.screen(o.Index)
	}
	if seen.superseded {
		o.supersede(r.nested(e.cfg.source))
		e.ready = append(e.ready, o)
		return
	}
	if e.withheld != nil {
		if status, cause := e.withheld(r); cause != nil {
			e.refuse(o, r, status, cause)
			return
		}
	}
	e.rules = checker{}
	checkRecord(&e.rules, r, e.cfg.source)
	if seen.err != nil {
		seen.err(&e.rules)
	}
	if err := e.rules.err(o.Index, o.Key); err != nil {
		e.refuse(o, r, StatusFailed, err)
		return
	}
	var m *memory[R]
	send := r
	if e.delta != nil {
		var unchanged bool
		if m, send, unchanged = e.recall(r, &o); unchanged {
			return
		}
	}
	if !e.sending() {
		e.refuse(o, r, StatusNotSent, e.end)
		return
	}
	at, err := e.pack(send, o)
	if err != nil {
		e.refuse(o, r, StatusFailed, err)
		return
	}
	c := e.open[at]
	c.sent[len(c.sent)-1].memory = m
	if len(c.sent)-c.dead >= int(e.sizes.records.Load()) {
		e.fill(at)
	}
}

// fill declares an open chunk full.
func (e *engine[R, P]) fill(at int) {
	e.full = append(e.full, e.open[at])
	e.open = slices.Delete(e.open, at, at+1)
}

// flush declares all open chunks full.
func (e *engine[R, P]) flush() {
	e.full = append(e.full, e.open...)
	e.open = nil
}

// pop takes the next chunk that is to be sent.
func (e *engine[R, P]) pop() *chunk[R] {
	c := e.full[0]
	e.full = slices.Delete(e.full, 0, 1)
	return c
}

// refuse settles a record that is not sent.
func (e *engine[R, P]) refuse(o Outcome, r P, s Status, cause error) {
	if e.delta != nil && (s == StatusNotSent || s == StatusParentFailed && !e.cfg.strictParents) {
		if _, _, unchanged := e.recall(r, &o); unchanged {
			return
		}
	}
	o.Status, o.Record, o.Nested = s, *r, r.nested(e.cfg.source)
	_ = o.close(cause) // the outcome keeps it
	e.ready = append(e.ready, o)
}

// pack puts a record into an open chunk and returns its place in e.open. The
// later of two records that have the same key and are not sent yet wins.
func (e *engine[R, P]) pack(r P, o Outcome) (int, error) {
	at := -1
	for i, c := range e.open {
		there, ok := c.ids[o.Key.ExternalID]
		if ok && c.sent[there].key == o.Key {
			old := &c.sent[there]
			old.superseded = true
			c.dead++
			delete(c.ids, o.Key.ExternalID)
			earlier := Outcome{Entity: o.Entity, Index: old.index, Key: old.key}
			earlier.supersede(old.nested)
			e.ready = append(e.ready, earlier)
			at = i
			break
		}
		if !ok && at < 0 {
			at = i
		}
	}
	for {
		if at < 0 {
			at = len(e.open)
			e.open = append(e.open, e.newChunk())
		}
		c := e.open[at]
		// What a server refused of many records it may take of one.
		room := e.cfg.maxBytes
		if len(c.sent) > 0 {
			room = int(e.sizes.bytes.Load())
		}
		added, err := add(c, r, o.Key, o.Index, e.cfg.source, room)
		if added {
			return at, nil
		}
		if err == nil && len(c.sent) > 0 {
			e.fill(at)
			at = -1
			continue
		}
		if len(c.sent) == 0 {
			e.open = slices.Delete(e.open, at, at+1)
		}
		if err == nil {
			err = &recordTooLarge{limit: room}
		}
		return 0, err
	}
}

func (e *engine[R, P]) newChunk() *chunk[R] {
	n := len(e.free)
	if n == 0 {
		return newChunk[R](e.entity)
	}
	c := e.free[n-1]
	e.free = e.free[:n-1]
	return c
}

// recordTooLarge is a record that does not fit into a request of its own.
type recordTooLarge struct{ limit int }

func (e *recordTooLarge) Error() string {
	return fmt.Sprintf("eryxon: the record alone is over the limit of %d bytes a request: shorten it, or raise the limit with WithMaxRequestBytes if the server takes more", e.limit)
}

func (e *recordTooLarge) Unwrap() error { return ErrTooLarge }

// dispatch starts a worker for the chunk as soon as there is one to spare and
// none of its keys is in flight.
func (e *engine[R, P]) dispatch(c *chunk[R]) {
	for {
		if !e.sending() {
			e.abandon(c, e.end)
			return
		}
		// A server that is not known yet gets one request first: what its
		// answer looks like decides how the others are made.
		unknown := e.flight.running > 0 && e.co.release() == ReleaseUnknown
		if unknown || e.flight.running == cap(e.flight.finished) {
			e.settle(e.flight.receive())
			continue
		}
		wait := e.flight.keys.hold(c)
		if wait == nil {
			break
		}
		select {
		case f := <-e.flight.finished:
			e.settle(e.flight.landed(f))
		case <-wait:
		case <-e.flight.goOn.Done():
		}
	}
	e.flight.launch(func() *finishedChunk { return e.work(c) })
}

// collect takes in what workers have finished, without waiting.
func (e *engine[R, P]) collect() {
	for e.flight.running > 0 {
		select {
		case f := <-e.flight.finished:
			e.settle(e.flight.landed(f))
		default:
			return
		}
	}
}

// settle takes in a finished chunk.
func (e *engine[R, P]) settle(f *finishedChunk) {
	e.ready = append(e.ready, f.outcomes...)
	e.requests += f.requests
	e.bytes += f.bytes
	if c, ok := f.holder.(*chunk[R]); ok {
		c.reset()
		e.free = append(e.free, c)
	}
	if f.barren == nil {
		e.streak = 0
	} else if e.streak++; e.streak == barrenLimit && f.end == nil {
		f.end = f.barren
	}
	if f.end != nil && e.end == nil {
		e.end = fmt.Errorf("eryxon: the run of %s was ended, what is left is not sent: %w", e.entity, f.end)
	}
}

func (e *engine[R, P]) abandonOpen(cause error) {
	e.flush()
	for _, c := range e.full {
		e.abandon(c, cause)
	}
	e.full = nil
}

// abandon settles the records of a chunk that is not sent.
func (e *engine[R, P]) abandon(c *chunk[R], cause error) {
	for _, s := range c.live() {
		o := Outcome{Entity: c.entity, Index: s.index, Key: s.key, Status: StatusNotSent, Record: s.given(), Nested: s.nested}
		_ = o.close(cause) // the outcome keeps it
		e.ready = append(e.ready, o)
	}
}
