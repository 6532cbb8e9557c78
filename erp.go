package eryxon

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/google/go-querystring/query"
)

const (
	erpDiffPath   = "/api-erp-sync/diff"
	erpSyncPath   = "/api-erp-sync/sync"
	erpStatusPath = "/api-erp-sync/status"
)

// ERPService is the unified endpoint, /api-erp-sync, which takes jobs, parts
// and resources in one request. It is not documented, and servers may lack it:
// its calls then fail with [ErrUnsupported]. It knows no cells and no
// operations.
//
// The services of the single entities are the usual way to sync. This one tells
// what exists (Diff), is faster by far (Sync), and shows past imports (Status),
// at the price of the traps that its methods name.
//
// All records of a request must have the same external source: the server
// looks up every part's job under the first part's source, and its answers name
// none. A request is sent as it is, in one piece; there is no limit of 1000.
// Yet smaller ones are safer: the server puts all external ids into a URL of
// its own, and where a gateway refuses a long one, rows that exist look as if
// they did not. A few hundred records of an entity are safe.
type ERPService struct{ co *core }

// ERPRequest is what a request to the unified endpoint carries.
//
// Jobs are handled before parts, so parts may refer to jobs of the same
// request. Parts nested in jobs and operations nested in parts would be dropped
// without a word; local rules refuse records that hold any.
type ERPRequest struct {
	Jobs      []Job
	Parts     []Part
	Resources []Resource
	Options   ERPOptions
}

// ERPOptions are passed on as they are. One that is unset is not sent, and the
// server's default holds.
type ERPOptions struct {
	// SkipUnchanged, by default on, passes over records whose content was
	// synced before, as the server's hash tells it. The hash does not follow
	// changes made inside the MES: such a row still counts as unchanged.
	SkipUnchanged Opt[bool]
	// ContinueOnError is on record in requests; no effect of it was ever seen.
	ContinueOnError Opt[bool]
	// RecordHistory, by default on, makes an entry for Status.
	RecordHistory Opt[bool]
}

func (o ERPOptions) append(b []byte) []byte {
	if o == (ERPOptions{}) {
		return b
	}
	b = append(appendKey(b, `"options":`), '{')
	b = appendOpt(b, `"skip_unchanged":`, o.SkipUnchanged, appendBool)
	b = appendOpt(b, `"continue_on_error":`, o.ContinueOnError, appendBool)
	b = appendOpt(b, `"record_history":`, o.RecordHistory, appendBool)
	return append(b, '}')
}

// ERPDiff tells what a sync would do: one difference for each record handed in,
// in the order of the input.
type ERPDiff struct {
	Jobs      []ERPDifference
	Parts     []ERPDifference
	Resources []ERPDifference
	Response  *Response // of the call; Attempts is 0 where nothing was sent
}

// ERPDifference is what a sync would do with one record.
type ERPDifference struct {
	Entity  Entity
	Index   int // of the record in its list, from 0
	Key     Key
	Status  DiffStatus
	ID      string   // the existing row's UUID, where the server told it
	Changes []string // in the server's words, where it names any
	Err     error    // why Status is DiffError or DiffUnknown, else nil
}

// ERPSyncResult is what became of a request: one outcome for each record handed
// in, in the order of the input.
type ERPSyncResult struct {
	Jobs      []Outcome
	Parts     []Outcome
	Resources []Outcome
	Counts    Counts    // of all of them
	Response  *Response // of the call; Attempts is 0 where nothing was sent
}

// Err returns the [*PartialError] for the records that did not succeed, nil if
// there are none.
func (r *ERPSyncResult) Err() error {
	var partial PartialError
	for _, list := range [][]Outcome{r.Jobs, r.Parts, r.Resources} {
		for i := range list {
			partial.take(&list[i], math.MaxInt)
		}
	}
	if partial.Failed == 0 {
		return nil
	}
	return &partial
}

// Diff asks what [ERPService.Sync] would do (POST /api-erp-sync/diff) and
// changes nothing. It is the call that turns the external ids of jobs and parts
// into UUIDs, many at a time. The result is never nil. The error is that of the
// call; what is wrong with a record is in its difference.
//
// It tells whether a row exists, not whether it is current: it compares the
// hash of the record with that of the last sync, of which a change made inside
// the MES knows nothing, and other ways to sync may have hashed the same content
// differently. Of jobs and resources it may say [DiffCreate] though the row
// exists, where the server's database lacks a column that it looks for, and of
// any record beyond the 1000th of its entity in a request. A part that refers to a
// job of the same request, which does not exist yet, is a [DiffError].
func (s *ERPService) Diff(ctx context.Context, req ERPRequest, opts ...CallOption) (*ERPDiff, error) {
	run, err := s.prepare(req, opts, false)
	if err == nil && run.records() > 0 {
		err = run.send(ctx, erpDiffPath)
	}
	diff := &ERPDiff{Response: run.out.response()}
	for i, list := range []*[]ERPDifference{&diff.Jobs, &diff.Parts, &diff.Resources} {
		*list = run.differences(&run.batches[i], err)
	}
	return diff, err
}

// Sync creates or updates all records of the request
// (POST /api-erp-sync/sync). The result is never nil; the error is a
// [*PartialError] if any record did not succeed, or tells why nothing could be
// sent at all.
//
// Know what it does before it replaces a bulk sync:
//
//   - All new records of an entity are one insert: a bad one fails every other
//     new one beside it, and the server gives each the same reason. Updates
//     fare one by one.
//   - It writes these columns and no others. Jobs: job_number, customer,
//     due_date, priority, notes, metadata. Parts: job_id, part_number,
//     material, quantity, notes, metadata. Resources: name, type, description,
//     identifier, location, status, metadata, active. The server says "updated"
//     of a record whose other fields it dropped; local rules therefore refuse
//     other columns in Extra, and the Status of jobs and parts, which it writes
//     on a create only.
//   - What a record leaves out is overwritten on an update: a part's material
//     with "Unknown" and quantity with 1, a resource's status with available
//     and active with true.
//   - Null and the empty string don't clear a column, they leave it as it is or
//     put the default there. Local rules refuse both.
//   - A part's job is looked up under the source of the request. With a job of
//     another source, give its JobID.
//   - Where the database lacks a column that the endpoint writes (priority of
//     jobs, sync_hash of resources), all creates of that entity fail with
//     [ErrMissingColumn], also where no record gives that field.
//   - A key whose row was deleted in the MES fails, and so do all creates
//     beside it, with [ErrConflict].
func (s *ERPService) Sync(ctx context.Context, req ERPRequest, opts ...CallOption) (*ERPSyncResult, error) {
	run, err := s.prepare(req, opts, true)
	if err == nil && run.records() > 0 {
		err = s.co.shared.inFlight.await(ctx, run.keys)
		if err == nil {
			defer s.co.shared.inFlight.release(run.keys)
			_ = run.send(ctx, erpSyncPath) // each record's outcome tells
		}
	}
	result := &ERPSyncResult{Response: run.out.response()}
	for i, list := range []*[]Outcome{&result.Jobs, &result.Parts, &result.Resources} {
		*list = run.settle(&run.batches[i], err)
		for j := range *list {
			result.Counts.add((*list)[j].Status)
		}
	}
	if err != nil {
		return result, err
	}
	return result, result.Err()
}

// ERPStatusOptions choose the imports to show.
type ERPStatusOptions struct {
	Entity Entity `url:"entity_type,omitempty"` // empty: all
	Source string `url:"source,omitempty"`      // the way it came, such as api_erp_sync; not the external source
	Limit  int    `url:"limit,omitempty"`       // imports to show, 1 to 100; 0: the server's default
}

// ERPStatus is the history of imports. Servers add an entry for each entity of
// a Sync; not all of them do so for bulk syncs.
type ERPStatus struct {
	Stats    ERPStats
	History  []ERPImport // the latest first
	Response *Response
}

// ERPStats sums up the imports that are shown.
type ERPStats struct {
	Syncs      int `json:"total_syncs"`
	Successful int `json:"successful"`
	Failed     int `json:"failed"`
	Created    int `json:"total_created"`
	Updated    int `json:"total_updated"`
	Errors     int `json:"total_errors"` // records
}

// ERPImport is one entity's part of a past import. Columns of other releases,
// and any whose type is not the expected one, are in Unknown.
type ERPImport struct {
	ID           string                     `json:"id"` // UUID
	TenantID     string                     `json:"tenant_id"`
	Entity       Entity                     `json:"entity_type"`
	Source       Opt[string]                `json:"source"` // the way it came, such as api_erp_sync
	Operation    Opt[string]                `json:"operation"`
	Status       Opt[string]                `json:"status"` // such as completed or failed
	TotalRecords Opt[int]                   `json:"total_records"`
	Created      Opt[int]                   `json:"created_count"`
	Updated      Opt[int]                   `json:"updated_count"`
	Skipped      Opt[int]                   `json:"skipped_count"`
	ErrorCount   Opt[int]                   `json:"error_count"`
	Errors       []ERPImportError           `json:"errors"`
	StartedAt    Opt[time.Time]             `json:"started_at"`
	CompletedAt  Opt[time.Time]             `json:"completed_at"`
	CreatedAt    Opt[time.Time]             `json:"created_at"`
	Unknown      map[string]json.RawMessage `json:"-"`
}

// ERPImportError is a record that failed in a past import.
type ERPImportError struct {
	ExternalID string `json:"external_id"`
	Action     string `json:"action"`
	Error      string `json:"error"`
}

var (
	importColumns = fieldTable[ERPImport]()
	statsColumns  = fieldTable[ERPStats]()
)

func (r *ERPImport) columns() map[string]int              { return importColumns }
func (r *ERPImport) unknown() *map[string]json.RawMessage { return &r.Unknown }

// Status shows past imports (GET /api-erp-sync/status).
func (s *ERPService) Status(ctx context.Context, options ERPStatusOptions, opts ...CallOption) (*ERPStatus, error) {
	cfg, err := s.co.callConfig(opts)
	if err != nil {
		return nil, err
	}
	if options.Limit < 0 || options.Limit > 100 {
		var rules checker
		rules.complain("limit", "RANGE", fmt.Sprintf("is %d: want 1 to 100, or 0 for the server's default", options.Limit), options.Limit)
		return nil, rules.err(0, Key{})
	}
	values, err := query.Values(options)
	if err != nil {
		return nil, err
	}
	path := erpStatusPath
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	var data struct {
		Stats   json.RawMessage   `json:"stats"`
		History []json.RawMessage `json:"history"`
	}
	cl := call{method: http.MethodGet, path: path, repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			env, err := readEnvelope(body)
			if err == nil && env.succeeded() {
				err = env.decodeData(&data)
			}
			return &env, err
		}}
	out := s.co.do(ctx, &cfg, &cl)
	if out.fate != fateAnswered {
		return nil, s.co.unsupported("", out)
	}
	status := &ERPStatus{Response: out.response()}
	_, _ = decodeFields(data.Stats, &status.Stats, statsColumns, true) // what can be read of it
	for i, raw := range data.History {
		entry := decodeRow[ERPImport](raw)
		if entry == nil {
			return nil, s.co.apiError(&cl, out, ErrBadAnswer, "", fmt.Sprintf("entry %d of the history is not an object", i), nil, nil)
		}
		status.History = append(status.History, *entry)
	}
	return status, nil
}
