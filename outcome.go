package eryxon

import (
	"fmt"
	"math"
	"strings"
)

// Entity is one of the five kinds of record. ("Resource" is a piece of
// equipment, so the kinds together are called entities.)
type Entity string

// The entities, by the name that the API has for them.
const (
	EntityCells      Entity = "cells"      // work centers
	EntityResources  Entity = "resources"  // equipment, tooling
	EntityJobs       Entity = "jobs"       // sales orders
	EntityParts      Entity = "parts"      // work orders
	EntityOperations Entity = "operations" // routing steps
)

func (e Entity) singular() string { return strings.TrimSuffix(string(e), "s") }

func (e Entity) path() string       { return "/api-" + string(e) }
func (e Entity) singlePath() string { return e.path() + "/sync" }
func (e Entity) bulkPath() string   { return e.path() + "/bulk-sync" }

// Key identifies a record: the ERP system's name and its identifier there.
type Key struct {
	Source     string `json:"external_source"`
	ExternalID string `json:"external_id"`
}

// String returns the key as SOURCE/EXTERNAL-ID, for people.
func (k Key) String() string {
	if k.ExternalID == "" {
		k.ExternalID = "(no external id)"
	}
	if k.Source == "" {
		return k.ExternalID
	}
	return k.Source + "/" + k.ExternalID
}

// Status says what became of a record. Each record handed to the SDK ends in
// exactly one.
type Status uint8

// The statuses. The zero Status is unknown: an outcome that nobody has proven
// is never a success.
const (
	// StatusUnknown: sent, and no trustworthy answer came. Sync it again.
	StatusUnknown Status = iota
	// StatusCreated: the server made a new row.
	StatusCreated
	// StatusUpdated: the server changed an existing row.
	StatusUpdated
	// StatusSynced: the row is there with this content, and it can't be told
	// whether it was created or updated, for example because a first attempt's
	// answer was lost.
	StatusSynced
	// StatusUnchanged: the server holds this content already, and it was
	// skipped: by the server, or, where the outcome's RequestID is empty,
	// without a request because the state of [WithState] says so.
	StatusUnchanged
	// StatusFailed: refused, by the server or by a local rule. Nothing was
	// written. The error says what has to change before it is sent again: the
	// record, or the key, the plan, the server that refused the whole request.
	StatusFailed
	// StatusParentFailed: never sent, because its job, part or cell failed.
	StatusParentFailed
	// StatusSuperseded: never sent, because a later record of the same input
	// has the same key.
	StatusSuperseded
	// StatusNotSent: never sent, or turned away unread: the quota was used up,
	// the context ended, or an earlier error ended the run. It can be sent as
	// it is.
	StatusNotSent

	statusCount = int(StatusNotSent) + 1
)

var statusNames = [statusCount]string{"unknown", "created", "updated", "synced", "unchanged", "failed", "parent failed", "superseded", "not sent"}

// String returns the status in lower case, such as "not sent".
func (s Status) String() string {
	if int(s) < statusCount {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// Success reports whether the server is known to hold the record's content:
// created, updated, synced or unchanged.
func (s Status) Success() bool { return s >= StatusCreated && s <= StatusUnchanged }

// MarshalText returns what String does.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statusNames {
		if name == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("eryxon: %.40q is not a status", text)
}

// Outcome is what became of one record.
type Outcome struct {
	Entity    Entity
	Index     int // of the record in the input, from 0; -1 for one that SyncAll lifted out of another
	Key       Key
	Status    Status
	ID        string // the row's UUID, where the server told it
	RequestID string // of the request that decided the outcome, "" if none was made
	Attempts  int    // requests on the wire of the call that decided the outcome, 0 if none was made
	// Changed names the fields that differ from what was last acknowledged, in
	// a dry run (see [WithDryRun]) where that is known; else nil.
	Changed []string
	// Err says why Status is not a success; it is a [*RecordError], or nil
	// for successes, superseded records, and nested ones of which the answer
	// does not speak.
	Err error
	// Record is the record itself (a Job, Part, Operation, Cell or Resource)
	// where it came in bulk and Status is not a success; else nil.
	Record any
	// Nested accounts for the parts and operations that a job or part carried
	// inside it, depth first; their Index counts within the list they came in.
	// The documented answer does not speak of them: sent inside it they are
	// unknown, whatever became of the record that carried them. Where a server
	// takes no nested records, or drops some without a word, they are sent on
	// their own, and each has a true outcome.
	Nested []Outcome

	there bool // its row was seen after all, whatever became of the record
}

// recordError is Err with its type; ok where there is one. It is not looked for in
// what Err wraps, which may be another record's.
func (o *Outcome) recordError() (e *RecordError, ok bool) {
	e, ok = o.Err.(*RecordError) //nolint:errorlint // Err is a RecordError itself by its definition
	return e, ok
}

// doubt makes a failed outcome unknown: an earlier request has written part of it.
func (o *Outcome) doubt() {
	o.Status = StatusUnknown
	if e, ok := o.recordError(); ok {
		e.Status = StatusUnknown
	}
}

// moved gives the outcome another place in the input; -1 is that of a record
// that was nested in another, and has none.
func (o *Outcome) moved(to int) {
	o.Index = to
	e, ok := o.recordError()
	if !ok {
		return
	}
	e.Index = to
	if invalid, ok := e.cause.(*ValidationError); ok && invalid.Local { //nolint:errorlint // only the record's own, not its parent's
		invalid.Index = to
		for i := range invalid.Details {
			invalid.Details[i].EntityIndex = to
		}
	}
}

// Counts holds a number of records for each [Status].
type Counts struct {
	Unknown      int `json:"unknown"`
	Created      int `json:"created"`
	Updated      int `json:"updated"`
	Synced       int `json:"synced"`
	Unchanged    int `json:"unchanged"`
	Failed       int `json:"failed"`
	ParentFailed int `json:"parent_failed"`
	Superseded   int `json:"superseded"`
	NotSent      int `json:"not_sent"`
}

func (c *Counts) add(s Status) {
	switch s {
	case StatusCreated:
		c.Created++
	case StatusUpdated:
		c.Updated++
	case StatusSynced:
		c.Synced++
	case StatusUnchanged:
		c.Unchanged++
	case StatusFailed:
		c.Failed++
	case StatusParentFailed:
		c.ParentFailed++
	case StatusSuperseded:
		c.Superseded++
	case StatusNotSent:
		c.NotSent++
	default:
		c.Unknown++
	}
}

// Total is the number of records counted.
func (c Counts) Total() int {
	return c.Succeeded() + c.Unknown + c.Failed + c.ParentFailed + c.Superseded + c.NotSent
}

// Succeeded is the number of records that the server is known to hold.
func (c Counts) Succeeded() int { return c.Created + c.Updated + c.Synced + c.Unchanged }

// String tells the counts that are not zero, such as "2 created, 1 failed".
func (c Counts) String() string {
	var parts []string
	for _, p := range []struct {
		n int
		s Status
	}{
		{c.Created, StatusCreated}, {c.Updated, StatusUpdated}, {c.Synced, StatusSynced}, {c.Unchanged, StatusUnchanged},
		{c.Failed, StatusFailed}, {c.ParentFailed, StatusParentFailed}, {c.Superseded, StatusSuperseded},
		{c.NotSent, StatusNotSent}, {c.Unknown, StatusUnknown},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.s))
		}
	}
	if len(parts) == 0 {
		return "no records"
	}
	return strings.Join(parts, ", ")
}

// SyncResult is what became of a single sync. Row is of the entity's row type.
type SyncResult[Row any] struct {
	Outcome
	Row      *Row      // as the server stores it, where it sent one; else nil
	Response *Response // of the call; Attempts is 0 where nothing was sent
}

// BulkResult is what became of a bulk sync: one outcome for each record handed
// in, in the order of the input.
type BulkResult struct {
	Outcomes []Outcome
	Counts   Counts // of the records handed in
	Nested   Counts // of the parts and operations that they carried
	Requests int    // bulk requests that were made, each of at most 1000 records
	Attempts int    // requests on the wire, retries included
}

// count fills in the counts once all outcomes are in place.
func (r *BulkResult) count() {
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		r.Counts.add(o.Status)
		for j := range o.Nested {
			r.Nested.add(o.Nested[j].Status)
		}
	}
}

// Err returns the [*PartialError] for the records that did not succeed, nil if
// there are none. Superseded records don't count: they were replaced by the
// caller's own later record. Nor do nested ones of which the answer does not
// speak; one that is known to have failed does.
func (r *BulkResult) Err() error {
	var partial PartialError
	for i := range r.Outcomes {
		partial.take(&r.Outcomes[i], math.MaxInt)
	}
	if partial.Failed == 0 {
		return nil
	}
	return &partial
}

// supersede settles a record that a later one of the same key replaces, with
// all that it carries.
func (o *Outcome) supersede(nested []Outcome) {
	o.Status, o.Nested = StatusSuperseded, nested
	for i := range nested {
		nested[i].Status = StatusSuperseded
	}
}
