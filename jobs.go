package eryxon

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Job is a sales order. Fields follow the documented table; see [Opt] for
// unset, null and value.
type Job struct {
	ExternalID     string `json:"external_id"`     // required, the ERP's id, such as SO-12345
	ExternalSource string `json:"external_source"` // the ERP system's name; empty: the client's [WithSource]
	JobNumber      string `json:"job_number"`      // required; unique in the installation, across sources

	Customer Opt[string] `json:"customer,omitzero"`
	DueDate  Opt[Date]   `json:"due_date,omitzero"`
	Priority Opt[int]    `json:"priority,omitzero"`
	Notes    Opt[string] `json:"notes,omitzero"`
	// Status is the shop floor's once work has begun: a record that sets it
	// puts a running job back. Leave it unset to leave it alone.
	Status Opt[WorkStatus] `json:"status,omitzero"`

	// Parts are upserted with the job and inherit its source. The server's
	// answer does not tell what became of them: see [Outcome.Nested]. A part
	// that disappears from the list stays on the server.
	Parts []Part `json:"parts,omitempty"`
	// Extra holds columns that the SDK does not know, by their wire name.
	Extra map[string]any `json:"-"`
}

// WorkStatus is how far a job, part or operation has come. Servers may know
// more values than these; any is sent as it is.
type WorkStatus string

// The statuses of work seen on servers.
const (
	WorkNotStarted WorkStatus = "not_started"
	WorkInProgress WorkStatus = "in_progress"
	WorkCompleted  WorkStatus = "completed"
	WorkOnHold     WorkStatus = "on_hold"
)

// JobsService syncs jobs: sales orders. They depend on nothing.
type JobsService struct {
	syncer[Job, *Job, JobRow]
}

// Sync creates or updates one job (PUT /api-jobs/sync) with the parts and
// operations nested in it. The result is never nil: its Status says what is
// known of the record. The error is nil if and only if that is a success and
// nothing nested in it is known to have failed. Otherwise it is the record's
// [*RecordError], which wraps the [*ValidationError], [*RateLimitError] or
// [*APIError] behind it, or a [*PartialError] of what was nested.
func (s *JobsService) Sync(ctx context.Context, job Job, opts ...CallOption) (*SyncResult[JobRow], error) {
	return s.sync(ctx, &job, opts)
}

// BulkSync creates or updates any number of jobs (POST /api-jobs/bulk-sync),
// in requests of at most 1000, in the order given. The result is never nil and
// holds one outcome for each job; the error is a [*PartialError] if any job
// did not succeed, or tells why nothing could be sent at all. Jobs of the same
// key and different content are refused locally, all of them; of the same
// content the last is sent and the others are superseded.
func (s *JobsService) BulkSync(ctx context.Context, jobs []Job, opts ...BulkOption) (*BulkResult, error) {
	return s.bulkSync(ctx, jobs, opts)
}

// Stream creates or updates jobs from an input of any length in bounded memory:
// see [Stream]. An error in the input ends the reading; what was taken before
// is sent. Among records of the same key that are not sent yet the later wins.
func (s *JobsService) Stream(ctx context.Context, jobs iter.Seq2[Job, error], opts ...BulkOption) *Stream {
	return s.stream(ctx, jobs, streamConcurrency, opts)
}

// JobListOptions choose the jobs to list. The server may pass over a filter
// that it does not know.
type JobListOptions struct {
	Status    WorkStatus `url:"status,omitempty"`
	Customer  string     `url:"customer,omitempty"`   // part of it, whatever the case
	JobNumber string     `url:"job_number,omitempty"` // part of it, whatever the case
	ListOptions
}

// List reads jobs (GET /api-jobs), page by page as the loop goes on. The rows
// have the columns that the server's list shows, which are not all: mostly
// without external ids. An error ends the list, with a row that is zero.
//
// No row comes twice, even where rows are added meanwhile; one that is deleted
// meanwhile can take another one's place on a page that was read already, and
// that one is then missed. Sorting ascending by created_at is the steadiest.
func (s *JobsService) List(ctx context.Context, options JobListOptions, opts ...CallOption) iter.Seq2[JobRow, error] {
	return s.list(ctx, options, options.PageSize, opts)
}

// Get reads one job by its UUID (GET /api-jobs?id=), which Sync and List tell.
// It fails with [ErrNotFound] where there is no such row.
func (s *JobsService) Get(ctx context.Context, id string, opts ...CallOption) (*JobRow, error) {
	return s.get(ctx, id, opts)
}

// Find reads one job by its key; an empty source is the client's [WithSource].
// It asks the unified endpoint for the row's UUID ([ERPService.Diff]) and then
// for the row, in two requests that change nothing. It fails with
// [ErrNotFound] where there is no such row, a deleted one included, and with
// [ErrUnsupported] where the server can't tell.
func (s *JobsService) Find(ctx context.Context, key Key, opts ...CallOption) (*JobRow, error) {
	return s.find(ctx, key, opts)
}

var jobFields = fieldTable[Job]()

// MarshalJSON returns the job as it goes on the wire, in the documented order
// of fields. It fails on values that can't be written, such as a day that does
// not exist.
func (j Job) MarshalJSON() ([]byte, error) { return marshalRecord(&j) }

// UnmarshalJSON reads what MarshalJSON writes; other members go to Extra.
func (j *Job) UnmarshalJSON(data []byte) error {
	*j = Job{}
	return unmarshalRecord(data, j, jobFields, &j.Extra)
}

func (j *Job) recordKey(source string) Key {
	return Key{Source: cmpOr(j.ExternalSource, source), ExternalID: j.ExternalID}
}

func (j *Job) appendJSON(b []byte, source string) ([]byte, error) {
	b = append(b, '{')
	b = appendText(b, `"external_id":`, j.ExternalID)
	b = appendText(b, `"external_source":`, cmpOr(j.ExternalSource, source))
	b = appendText(b, `"job_number":`, j.JobNumber)
	b = appendOpt(b, `"customer":`, j.Customer, appendString)
	b = appendOpt(b, `"due_date":`, j.DueDate, appendDate)
	b = appendOpt(b, `"priority":`, j.Priority, appendInt)
	b = appendOpt(b, `"notes":`, j.Notes, appendString)
	b = appendOpt(b, `"status":`, j.Status, appendEnum)
	b, err := appendList(b, `"parts":`, j.Parts)
	if err != nil {
		return b, err
	}
	if b, err = appendExtra(b, j.Extra); err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

func (j *Job) rules(c *checker) {
	c.required("job_number", j.JobNumber)
	for i := range j.Parts {
		j.Parts[i].nestedRules(c.within("parts", i), j.ExternalSource, j.ExternalID)
	}
}

func (j *Job) values(c *checker) {
	c.text("external_id", j.ExternalID)
	c.text("external_source", j.ExternalSource)
	c.text("job_number", j.JobNumber)
	c.optText("customer", j.Customer)
	c.optDate("due_date", j.DueDate)
	c.optText("notes", j.Notes)
	c.text("status", string(j.Status.value))
	c.extra(j.Extra, jobFields)
	for i := range j.Parts {
		j.Parts[i].values(c.within("parts", i))
	}
}

func (j *Job) nested(source string) []Outcome {
	return nestedOutcomes(nil, EntityParts, j.Parts, cmpOr(j.ExternalSource, source))
}

// JobRow is a job as the server stores it. Columns of other releases, and any
// whose type is not the expected one, are in Unknown.
type JobRow struct {
	ID               string                     `json:"id"` // UUID
	TenantID         string                     `json:"tenant_id"`
	ExternalID       Opt[string]                `json:"external_id"`
	ExternalSource   Opt[string]                `json:"external_source"`
	JobNumber        string                     `json:"job_number"`
	Customer         Opt[string]                `json:"customer"`
	DueDate          Opt[time.Time]             `json:"due_date"` // midnight UTC of the day that was synced
	DueDateOverride  Opt[time.Time]             `json:"due_date_override"`
	Priority         Opt[int]                   `json:"priority"`
	Status           Opt[WorkStatus]            `json:"status"`
	CurrentCellID    Opt[string]                `json:"current_cell_id"`
	Notes            Opt[string]                `json:"notes"`
	Metadata         json.RawMessage            `json:"metadata"`
	DeliveryAddress  Opt[string]                `json:"delivery_address"`
	DeliveryCity     Opt[string]                `json:"delivery_city"`
	DeliveryPostcode Opt[string]                `json:"delivery_postal_code"`
	DeliveryCountry  Opt[string]                `json:"delivery_country"`
	DeliveryLat      Opt[float64]               `json:"delivery_lat"` // degrees
	DeliveryLng      Opt[float64]               `json:"delivery_lng"` // degrees
	TotalWeightKg    Opt[float64]               `json:"total_weight_kg"`
	TotalVolumeM3    Opt[float64]               `json:"total_volume_m3"`
	PackageCount     Opt[int]                   `json:"package_count"`
	CreatedAt        Opt[time.Time]             `json:"created_at"`
	UpdatedAt        Opt[time.Time]             `json:"updated_at"`
	SyncedAt         Opt[time.Time]             `json:"synced_at"`
	SyncHash         Opt[string]                `json:"sync_hash"`
	DeletedAt        Opt[time.Time]             `json:"deleted_at"`
	DeletedBy        Opt[string]                `json:"deleted_by"`
	Unknown          map[string]json.RawMessage `json:"-"`
}

var jobColumns = fieldTable[JobRow]()

func (r *JobRow) columns() map[string]int              { return jobColumns }
func (r *JobRow) unknown() *map[string]json.RawMessage { return &r.Unknown }
