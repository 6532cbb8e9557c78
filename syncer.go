package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// recordPtr is what the core needs of a record.
type recordPtr[R any] interface {
	*R
	// recordKey returns the key, with the default source where the record
	// gives none.
	recordKey(source string) Key
	// appendJSON appends the record as it goes on the wire.
	appendJSON(b []byte, source string) ([]byte, error)
	// rules demands the required fields and links, values that every value
	// can be written; both look into nested records.
	rules(*checker)
	values(*checker)
	// nested lists the records inside, depth first; nil for most.
	nested(source string) []Outcome
}

// syncer is the core behind the five services.
type syncer[R any, P recordPtr[R], Row any] struct {
	co     *core
	entity Entity
}

func newSyncer[R any, P recordPtr[R], Row any](co *core) syncer[R, P, Row] {
	return syncer[R, P, Row]{co: co, entity: entityOf[R]()}
}

func entityOf[R any]() Entity {
	switch any((*R)(nil)).(type) {
	case *Job:
		return EntityJobs
	case *Part:
		return EntityParts
	case *Operation:
		return EntityOperations
	case *Cell:
		return EntityCells
	default:
		return EntityResources
	}
}

// rowPtr is a row that keeps the columns that the SDK does not know.
type rowPtr interface {
	columns() map[string]int
	unknown() *map[string]json.RawMessage
}

// close gives the outcome the error that its cause makes, and the nested
// records what is known of them. It returns the error, nil without a cause.
func (o *Outcome) close(cause error) error {
	if cause == nil {
		o.settleNested()
		return nil
	}
	e := &RecordError{cause: cause}
	if o.Status == StatusParentFailed {
		o.fail(e) // code, field and message would be the parent's
		return e
	}
	e.Message = strings.TrimPrefix(cause.Error(), "eryxon: ")
	var api *APIError
	if errors.As(cause, &api) {
		e.Code, e.Field, e.Message = api.Code, api.field, api.Message
	}
	var invalid *ValidationError
	if errors.As(cause, &invalid) {
		e.Code, e.Field, e.Message = invalid.Code, invalid.Field, invalid.Message
	}
	var reference *errReference
	if errors.As(cause, &reference) {
		e.Field = reference.field
	}
	o.fail(e)
	return e
}

// fail gives the outcome its error.
func (o *Outcome) fail(e *RecordError) {
	e.Entity, e.Index, e.Key, e.Status, e.RequestID = o.Entity, o.Index, o.Key, o.Status, o.RequestID
	o.Err = e
	o.settleNested()
}

// settleNested tells of nested records what is known without an answer that
// speaks of them.
func (o *Outcome) settleNested() {
	for i := range o.Nested {
		n := &o.Nested[i]
		n.Status, n.RequestID = StatusUnknown, o.RequestID
		switch {
		case o.Status == StatusNotSent:
			n.Status = StatusNotSent
		case o.Attempts == 0 && o.Status != StatusUnknown:
			n.Status = StatusParentFailed
		}
		if o.Err != nil {
			n.fail(&RecordError{cause: o.Err})
		}
	}
}

// failures is the outcome itself if it has an error, or of what it carried what
// failed by itself: the rest is told of with its carrier.
func (o *Outcome) failures() (list []*Outcome) {
	if o.Err != nil {
		return []*Outcome{o}
	}
	for i := range o.Nested {
		if n := &o.Nested[i]; n.failed() {
			list = append(list, n)
		}
	}
	return list
}

// failed reports a nested record that did not succeed by itself.
func (o *Outcome) failed() bool { return o.Err != nil && o.Record != nil }

func statusOf(f fate) Status {
	switch f {
	case fateNotSent:
		return StatusNotSent
	case fateRefused:
		return StatusFailed
	default:
		return StatusUnknown
	}
}

func cmpOr(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}

// bulkSync is the slice form of a stream.
func (s *syncer[R, P, Row]) bulkSync(ctx context.Context, records []R, opts []BulkOption) (*BulkResult, error) {
	result := &BulkResult{Outcomes: make([]Outcome, len(records))}
	cfg := s.co.cfg
	if err := applyAll(&cfg, opts); err != nil {
		s.unsent(result, records, cfg.source, 0, err)
		result.count()
		return result, err
	}
	var order []int
	input := func(yield func(R, error) bool) {
		for i := range records {
			if order != nil {
				i = order[i]
			}
			if !yield(records[i], nil) {
				return
			}
		}
	}
	// One at a time keeps the order of the input on the server.
	st := s.stream(ctx, input, 1, opts, func(e *engine[R, P]) {
		e.screen, e.expected = screenSlice[R, P](records, cfg.source), len(records)
		e.finite = cfg.state != nil
		if e.cfg.rationed() {
			order = e.byUrgency(records)
			e.order = order
		}
	})
	taken := 0
	for o := range st.All() {
		result.Outcomes[o.Index] = o
		taken = max(taken, o.Index+1)
	}
	result.Requests = st.stats.requests
	result.Attempts = st.stats.attempts
	if taken < len(records) {
		s.unsent(result, records, cfg.source, taken, st.err)
	}
	result.count()
	if err := result.Err(); err != nil {
		return result, err
	}
	return result, st.err // all of it arrived, and the state could not be told
}

// byUrgency returns the places of a slice's records, the most urgent first.
func (e *engine[R, P]) byUrgency(records []R) []int {
	list := make([]Pending, len(records))
	for i := range records {
		r := P(&records[i])
		var err error
		if list[i], err = e.delta.pending(r, r.recordKey(e.cfg.source)); err != nil {
			e.end = err
			return nil
		}
	}
	return e.cfg.byUrgency(list)
}

// unsent settles the records from the given index on, which were never tried.
func (s *syncer[R, P, Row]) unsent(result *BulkResult, records []R, source string, from int, cause error) {
	for i := from; i < len(records); i++ {
		r := P(&records[i])
		o := &result.Outcomes[i]
		*o = Outcome{Entity: s.entity, Index: i, Key: r.recordKey(source), Status: StatusNotSent, Record: *r, Nested: r.nested(source)}
		_ = o.close(cause) // the outcome keeps it
	}
}

// screenSlice is screenAll of a slice that the caller knows the places of.
func screenSlice[R any, P recordPtr[R]](records []R, source string) func(int) screen {
	return screenAll[R, P](records, source, placeList)
}

// screenAll looks through records for repeated keys. Of records with the same
// content the last is sent; of records with different content none is, for
// nothing tells which is right. Where says of some of them where they stand.
func screenAll[R any, P recordPtr[R]](records []R, source string, where func([]int) string) func(int) screen {
	places := make(map[Key][]int, len(records))
	for i := range records {
		k := P(&records[i]).recordKey(source)
		places[k] = append(places[k], i)
	}
	verdicts := make(map[int]screen)
	for k, at := range places {
		if len(at) == 1 || k.ExternalID == "" {
			continue
		}
		first, err := P(&records[at[0]]).appendJSON(nil, source)
		same := err == nil
		for _, i := range at[1:] {
			other, err := P(&records[i]).appendJSON(nil, source)
			same = same && err == nil && bytes.Equal(first, other)
		}
		for n, i := range at {
			switch {
			case !same:
				verdicts[i] = screen{err: func(c *checker) {
					c.complain("external_id", "UNIQUE", fmt.Sprintf("%q stands on %d records of different content (%s): send one of them", k.ExternalID, len(at), where(at)), k.ExternalID)
				}}
			case n < len(at)-1:
				verdicts[i] = screen{superseded: true}
			}
		}
	}
	if len(verdicts) == 0 {
		return nil
	}
	return func(i int) screen { return verdicts[i] }
}

// placeList names the first places where a key stands.
func placeList(at []int) string {
	const shown = 4
	text := "records "
	for n, i := range at {
		if n == shown {
			return text + ", …"
		}
		if n > 0 {
			text += ", "
		}
		text += strconv.Itoa(i)
	}
	return text
}
