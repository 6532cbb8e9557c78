package eryxon

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Operation is a routing step. Fields follow the documented table; see [Opt]
// for unset, null and value.
type Operation struct {
	ExternalID     string `json:"external_id"`     // required, the ERP's id, such as SO-12345-10-010
	ExternalSource string `json:"external_source"` // the ERP system's name; empty: the client's [WithSource], or the part's where nested
	// PartExternalID links the operation to its part of the same source.
	// Required, unless PartID is given or the operation is nested in its part.
	PartExternalID string `json:"part_external_id"`
	// PartID is the part's UUID on the server, for a part of another source. A
	// nested operation has none: it belongs to the part that carries it.
	PartID        string `json:"part_id"`
	OperationName string `json:"operation_name"` // required, such as Laser Cut
	// CellName is the name of the cell (work center) as it stands in the MES.
	// Required, unless CellID is given.
	CellName string `json:"cell_name"`
	// CellID is the cell's UUID on the server.
	CellID string `json:"cell_id"`

	// Overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	Sequence Opt[int] `json:"sequence,omitzero"` // position in the routing; 1 for a new operation without it
	// Overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	EstimatedTimeMinutes Opt[float64] `json:"estimated_time_minutes,omitzero"` // minutes, 0 or more, 0 for a new operation without it; servers in the field take whole ones only
	Notes                Opt[string]  `json:"notes,omitzero"`
	// Status is the shop floor's once work has begun: a record that sets it
	// puts a running operation back. Leave it unset to leave it alone.
	Status Opt[WorkStatus] `json:"status,omitzero"`

	// Extra holds columns that the SDK does not know, by their wire name.
	Extra map[string]any `json:"-"`

	// wholeMinutes: the server knows the time under another name.
	wholeMinutes bool
}

// OperationsService syncs operations: routing steps. Their parts and cells
// must be on the server.
type OperationsService struct {
	syncer[Operation, *Operation, OperationRow]
}

// Sync creates or updates one operation (PUT /api-operations/sync). Result and
// error are as for [JobsService.Sync].
func (s *OperationsService) Sync(ctx context.Context, op Operation, opts ...CallOption) (*SyncResult[OperationRow], error) {
	return s.sync(ctx, &op, opts)
}

// BulkSync creates or updates any number of operations
// (POST /api-operations/bulk-sync), in requests of at most 1000, in the order
// given. Result and error are as for [JobsService.BulkSync].
func (s *OperationsService) BulkSync(ctx context.Context, ops []Operation, opts ...BulkOption) (*BulkResult, error) {
	return s.bulkSync(ctx, ops, opts)
}

// Stream creates or updates operations from an input of any length, as
// [JobsService.Stream] does.
func (s *OperationsService) Stream(ctx context.Context, ops iter.Seq2[Operation, error], opts ...BulkOption) *Stream {
	return s.stream(ctx, ops, streamConcurrency, opts)
}

// OperationListOptions choose the operations to list. The server may pass over
// a filter that it does not know.
type OperationListOptions struct {
	PartID string     `url:"part_id,omitempty"` // UUID
	CellID string     `url:"cell_id,omitempty"` // UUID
	Status WorkStatus `url:"status,omitempty"`
	ListOptions
}

// List reads operations (GET /api-operations), as [JobsService.List] does. The
// servers in the field can't: their own query fails, and the list ends with
// [ErrUnsupported].
func (s *OperationsService) List(ctx context.Context, options OperationListOptions, opts ...CallOption) iter.Seq2[OperationRow, error] {
	return s.list(ctx, options, options.PageSize, opts)
}

// Get reads one operation by its UUID (GET /api-operations?id=), as
// [JobsService.Get] does. The servers in the field can't: their own query
// fails, and so does Get, with [ErrUnsupported]. Sync returns the row.
func (s *OperationsService) Get(ctx context.Context, id string, opts ...CallOption) (*OperationRow, error) {
	return s.get(ctx, id, opts)
}

// Find always fails with [ErrUnsupported], without a request: no call of the
// API leads from an operation's key to its row but a sync. It is here to say
// so.
func (s *OperationsService) Find(ctx context.Context, key Key, opts ...CallOption) (*OperationRow, error) {
	return s.find(ctx, key, opts)
}

var operationFields = fieldTable[Operation]()

// MarshalJSON returns the operation as it goes on the wire, in the documented
// order of fields. It fails on values that can't be written.
func (o Operation) MarshalJSON() ([]byte, error) { return marshalRecord(&o) }

// UnmarshalJSON reads what MarshalJSON writes; other members go to Extra.
func (o *Operation) UnmarshalJSON(data []byte) error {
	*o = Operation{}
	return unmarshalRecord(data, o, operationFields, &o.Extra)
}

func (o *Operation) recordKey(source string) Key {
	return Key{Source: cmpOr(o.ExternalSource, source), ExternalID: o.ExternalID}
}

func (o *Operation) appendJSON(b []byte, source string) ([]byte, error) {
	b = append(b, '{')
	b = appendText(b, `"external_id":`, o.ExternalID)
	b = appendText(b, `"external_source":`, cmpOr(o.ExternalSource, source))
	b = appendText(b, `"part_external_id":`, o.PartExternalID)
	b = appendText(b, `"part_id":`, o.PartID)
	b = appendText(b, `"operation_name":`, o.OperationName)
	b = appendText(b, `"cell_name":`, o.CellName)
	b = appendText(b, `"cell_id":`, o.CellID)
	b = appendOpt(b, `"sequence":`, o.Sequence, appendInt)
	minutes := `"estimated_time_minutes":`
	if o.wholeMinutes {
		minutes = `"estimated_time":`
	}
	b = appendOpt(b, minutes, o.EstimatedTimeMinutes, appendFloat)
	b = appendOpt(b, `"notes":`, o.Notes, appendString)
	b = appendOpt(b, `"status":`, o.Status, appendEnum)
	b, err := appendExtra(b, o.Extra)
	if err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

func (o *Operation) rules(c *checker) {
	if o.PartExternalID == "" && o.PartID == "" {
		c.complain("part_external_id", "NOT_NULL", "is required: it links the operation to its part", nil)
	}
	o.ownRules(c)
}

// nestedRules are those of an operation inside a part.
func (o *Operation) nestedRules(c *checker, source, partExternalID string) {
	c.inherits("external_source", o.ExternalSource, source)
	c.inherits("part_external_id", o.PartExternalID, partExternalID)
	c.belongs("part_id", o.PartID)
	c.required("external_id", o.ExternalID)
	o.ownRules(c)
}

func (o *Operation) ownRules(c *checker) {
	c.required("operation_name", o.OperationName)
	if o.CellName == "" && o.CellID == "" {
		c.complain("cell_name", "NOT_NULL", "is required: it names the work center", nil)
	}
}

func (o *Operation) values(c *checker) {
	c.text("external_id", o.ExternalID)
	c.text("external_source", o.ExternalSource)
	c.text("part_external_id", o.PartExternalID)
	c.text("part_id", o.PartID)
	c.text("operation_name", o.OperationName)
	c.text("cell_name", o.CellName)
	c.text("cell_id", o.CellID)
	c.optFloat("estimated_time_minutes", o.EstimatedTimeMinutes)
	c.optText("notes", o.Notes)
	c.text("status", string(o.Status.value))
	c.extra(o.Extra, operationFields)
}

func (o *Operation) nested(string) []Outcome { return nil }

// OperationRow is an operation as the server stores it. Columns of other
// releases, and any whose type is not the expected one, are in Unknown.
type OperationRow struct {
	ID                   string                     `json:"id"` // UUID
	TenantID             string                     `json:"tenant_id"`
	ExternalID           Opt[string]                `json:"external_id"`
	ExternalSource       Opt[string]                `json:"external_source"`
	PartID               string                     `json:"part_id"` // UUID
	CellID               string                     `json:"cell_id"` // UUID
	AssignedOperatorID   Opt[string]                `json:"assigned_operator_id"`
	OperationName        string                     `json:"operation_name"`
	Sequence             int                        `json:"sequence"`
	EstimatedTime        Opt[float64]               `json:"estimated_time"` // minutes
	ActualTime           Opt[float64]               `json:"actual_time"`    // minutes
	Status               Opt[WorkStatus]            `json:"status"`
	CompletionPercentage Opt[float64]               `json:"completion_percentage"` // 0 to 100
	Notes                Opt[string]                `json:"notes"`
	Metadata             json.RawMessage            `json:"metadata"`
	IconName             Opt[string]                `json:"icon_name"`
	SetupTime            Opt[float64]               `json:"setup_time"`        // minutes
	RunTimePerUnit       Opt[float64]               `json:"run_time_per_unit"` // minutes
	WaitTime             Opt[float64]               `json:"wait_time"`         // minutes
	ChangeoverTime       Opt[float64]               `json:"changeover_time"`   // minutes
	PlannedStart         Opt[time.Time]             `json:"planned_start"`
	PlannedEnd           Opt[time.Time]             `json:"planned_end"`
	CreatedAt            Opt[time.Time]             `json:"created_at"`
	UpdatedAt            Opt[time.Time]             `json:"updated_at"`
	CompletedAt          Opt[time.Time]             `json:"completed_at"`
	SyncedAt             Opt[time.Time]             `json:"synced_at"`
	SyncHash             Opt[string]                `json:"sync_hash"`
	DeletedAt            Opt[time.Time]             `json:"deleted_at"`
	DeletedBy            Opt[string]                `json:"deleted_by"`
	Unknown              map[string]json.RawMessage `json:"-"`
}

var operationColumns = fieldTable[OperationRow]()

func (r *OperationRow) columns() map[string]int              { return operationColumns }
func (r *OperationRow) unknown() *map[string]json.RawMessage { return &r.Unknown }
