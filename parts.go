package eryxon

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Part is a work order. Fields follow the documented table; see [Opt] for
// unset, null and value.
type Part struct {
	ExternalID     string `json:"external_id"`     // required, the ERP's id, such as SO-12345-10
	ExternalSource string `json:"external_source"` // the ERP system's name; empty: the client's [WithSource], or the job's where nested
	// JobExternalID links the part to its job of the same source. Required,
	// unless JobID is given or the part is nested in its job.
	JobExternalID string `json:"job_external_id"`
	// JobID is the job's UUID on the server, for a job of another source. A
	// nested part has none: it belongs to the job that carries it.
	JobID      string `json:"job_id"`
	PartNumber string `json:"part_number"` // required; unique within its job, on some servers among all parts

	// Overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	Material Opt[string] `json:"material,omitzero"` // "Unknown" for a new part without it
	// Overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	Quantity Opt[int]    `json:"quantity,omitzero"` // pieces, at least 1
	Notes    Opt[string] `json:"notes,omitzero"`
	// Status is the shop floor's once work has begun: a record that sets it
	// puts a running part back. Leave it unset to leave it alone.
	Status Opt[WorkStatus] `json:"status,omitzero"`

	// Operations are upserted with the part and inherit its source. The
	// server's answer does not tell what became of them: see
	// [Outcome.Nested].
	Operations []Operation `json:"operations,omitempty"`
	// Extra holds columns that the SDK does not know, by their wire name.
	Extra map[string]any `json:"-"`
}

// PartsService syncs parts: work orders. Their jobs must be on the server.
type PartsService struct {
	syncer[Part, *Part, PartRow]
}

// Sync creates or updates one part (PUT /api-parts/sync) with the operations
// nested in it. Result and error are as for [JobsService.Sync].
func (s *PartsService) Sync(ctx context.Context, part Part, opts ...CallOption) (*SyncResult[PartRow], error) {
	return s.sync(ctx, &part, opts)
}

// BulkSync creates or updates any number of parts (POST /api-parts/bulk-sync),
// in requests of at most 1000, in the order given. Result and error are as for
// [JobsService.BulkSync].
func (s *PartsService) BulkSync(ctx context.Context, parts []Part, opts ...BulkOption) (*BulkResult, error) {
	return s.bulkSync(ctx, parts, opts)
}

// Stream creates or updates parts from an input of any length, as
// [JobsService.Stream] does.
func (s *PartsService) Stream(ctx context.Context, parts iter.Seq2[Part, error], opts ...BulkOption) *Stream {
	return s.stream(ctx, parts, streamConcurrency, opts)
}

// PartListOptions choose the parts to list. The server may pass over a filter
// that it does not know.
type PartListOptions struct {
	JobID    string     `url:"job_id,omitempty"` // UUID
	Status   WorkStatus `url:"status,omitempty"`
	Material string     `url:"material,omitempty"` // part of it, whatever the case
	ListOptions
}

// List reads parts (GET /api-parts), as [JobsService.List] does. Their job is
// in Unknown["job"] rather than in JobID.
func (s *PartsService) List(ctx context.Context, options PartListOptions, opts ...CallOption) iter.Seq2[PartRow, error] {
	return s.list(ctx, options, options.PageSize, opts)
}

// Get reads one part by its UUID (GET /api-parts?id=), as [JobsService.Get]
// does.
func (s *PartsService) Get(ctx context.Context, id string, opts ...CallOption) (*PartRow, error) {
	return s.get(ctx, id, opts)
}

// Find reads one part by its key, as [JobsService.Find] does.
func (s *PartsService) Find(ctx context.Context, key Key, opts ...CallOption) (*PartRow, error) {
	return s.find(ctx, key, opts)
}

var partFields = fieldTable[Part]()

// MarshalJSON returns the part as it goes on the wire, in the documented order
// of fields. It fails on values that can't be written.
func (p Part) MarshalJSON() ([]byte, error) { return marshalRecord(&p) }

// UnmarshalJSON reads what MarshalJSON writes; other members go to Extra.
func (p *Part) UnmarshalJSON(data []byte) error {
	*p = Part{}
	return unmarshalRecord(data, p, partFields, &p.Extra)
}

func (p *Part) recordKey(source string) Key {
	return Key{Source: cmpOr(p.ExternalSource, source), ExternalID: p.ExternalID}
}

func (p *Part) appendJSON(b []byte, source string) ([]byte, error) {
	b = append(b, '{')
	b = appendText(b, `"external_id":`, p.ExternalID)
	b = appendText(b, `"external_source":`, cmpOr(p.ExternalSource, source))
	b = appendText(b, `"job_external_id":`, p.JobExternalID)
	b = appendText(b, `"job_id":`, p.JobID)
	b = appendText(b, `"part_number":`, p.PartNumber)
	b = appendOpt(b, `"material":`, p.Material, appendString)
	b = appendOpt(b, `"quantity":`, p.Quantity, appendInt)
	b = appendOpt(b, `"notes":`, p.Notes, appendString)
	b = appendOpt(b, `"status":`, p.Status, appendEnum)
	b, err := appendList(b, `"operations":`, p.Operations)
	if err != nil {
		return b, err
	}
	if b, err = appendExtra(b, p.Extra); err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

func (p *Part) rules(c *checker) {
	if p.JobExternalID == "" && p.JobID == "" {
		c.complain("job_external_id", "NOT_NULL", "is required: it links the part to its job", nil)
	}
	p.ownRules(c)
}

// nestedRules are those of a part inside a job.
func (p *Part) nestedRules(c *checker, source, jobExternalID string) {
	c.inherits("external_source", p.ExternalSource, source)
	c.inherits("job_external_id", p.JobExternalID, jobExternalID)
	c.belongs("job_id", p.JobID)
	c.required("external_id", p.ExternalID)
	p.ownRules(c)
}

func (p *Part) ownRules(c *checker) {
	c.required("part_number", p.PartNumber)
	for i := range p.Operations {
		p.Operations[i].nestedRules(c.within("operations", i), p.ExternalSource, p.ExternalID)
	}
}

func (p *Part) values(c *checker) {
	c.text("external_id", p.ExternalID)
	c.text("external_source", p.ExternalSource)
	c.text("job_external_id", p.JobExternalID)
	c.text("job_id", p.JobID)
	c.text("part_number", p.PartNumber)
	c.optText("material", p.Material)
	c.atLeast("quantity", p.Quantity, 1)
	c.optText("notes", p.Notes)
	c.text("status", string(p.Status.value))
	c.extra(p.Extra, partFields)
	for i := range p.Operations {
		p.Operations[i].values(c.within("operations", i))
	}
}

func (p *Part) nested(source string) []Outcome {
	return nestedOutcomes(nil, EntityOperations, p.Operations, cmpOr(p.ExternalSource, source))
}

// PartRow is a part as the server stores it. Columns of other releases, and
// any whose type is not the expected one, are in Unknown.
type PartRow struct {
	ID                 string                     `json:"id"` // UUID
	TenantID           string                     `json:"tenant_id"`
	ExternalID         Opt[string]                `json:"external_id"`
	ExternalSource     Opt[string]                `json:"external_source"`
	JobID              string                     `json:"job_id"` // UUID
	ParentPartID       Opt[string]                `json:"parent_part_id"`
	PartNumber         string                     `json:"part_number"`
	Material           Opt[string]                `json:"material"`
	Quantity           Opt[int]                   `json:"quantity"` // pieces
	Status             Opt[WorkStatus]            `json:"status"`
	CurrentCellID      Opt[string]                `json:"current_cell_id"`
	FilePaths          []string                   `json:"file_paths"`
	ImagePaths         []string                   `json:"image_paths"`
	Notes              Opt[string]                `json:"notes"`
	Metadata           json.RawMessage            `json:"metadata"`
	MaterialLot        Opt[string]                `json:"material_lot"`
	MaterialSupplier   Opt[string]                `json:"material_supplier"`
	MaterialCertNumber Opt[string]                `json:"material_cert_number"`
	WeightKg           Opt[float64]               `json:"weight_kg"`
	LengthMm           Opt[float64]               `json:"length_mm"`
	WidthMm            Opt[float64]               `json:"width_mm"`
	HeightMm           Opt[float64]               `json:"height_mm"`
	DrawingNo          Opt[string]                `json:"drawing_no"`
	CNCProgramName     Opt[string]                `json:"cnc_program_name"`
	IsBulletCard       Opt[bool]                  `json:"is_bullet_card"`
	CreatedAt          Opt[time.Time]             `json:"created_at"`
	UpdatedAt          Opt[time.Time]             `json:"updated_at"`
	SyncedAt           Opt[time.Time]             `json:"synced_at"`
	SyncHash           Opt[string]                `json:"sync_hash"`
	DeletedAt          Opt[time.Time]             `json:"deleted_at"`
	DeletedBy          Opt[string]                `json:"deleted_by"`
	Unknown            map[string]json.RawMessage `json:"-"`
}

var partColumns = fieldTable[PartRow]()

func (r *PartRow) columns() map[string]int              { return partColumns }
func (r *PartRow) unknown() *map[string]json.RawMessage { return &r.Unknown }
