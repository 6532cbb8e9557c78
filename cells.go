package eryxon

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Cell is a work center. Fields follow the documented table; see [Opt] for
// unset, null and value.
type Cell struct {
	ExternalID     string `json:"external_id"`     // required, the ERP's id, such as WC-CUTTING
	ExternalSource string `json:"external_source"` // the ERP system's name; empty: the client's [WithSource]
	Name           string `json:"name"`            // required; operations refer to the cell by it

	// Overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	Color    Opt[string] `json:"color,omitzero"`    // such as #3b82f6
	Sequence Opt[int]    `json:"sequence,omitzero"` // position on the board; a new cell without it is the last
	// Active is the shop floor's once the cell is in use: true switches on
	// what a foreman has switched off. Leave it unset to leave it alone.
	// It is overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	Active Opt[bool] `json:"active,omitzero"`

	// Extra holds columns that the SDK does not know, by their wire name.
	Extra map[string]any `json:"-"`
}

// CellsService syncs cells: work centers. They depend on nothing.
type CellsService struct {
	syncer[Cell, *Cell, CellRow]
}

// Sync creates or updates one cell (PUT /api-cells/sync). Result and error are
// as for [JobsService.Sync].
func (s *CellsService) Sync(ctx context.Context, cell Cell, opts ...CallOption) (*SyncResult[CellRow], error) {
	return s.sync(ctx, &cell, opts)
}

// BulkSync creates or updates any number of cells (POST /api-cells/bulk-sync),
// in requests of at most 1000, in the order given. Result and error are as for
// [JobsService.BulkSync].
//
// Servers whose bulk answers are counts take a cell that was deleted under an
// older release for one that is there. Up to 20 updates in a request are looked at
// one by one, so that such a cell fails with [ErrDeletedOnServer]; among more it
// is updated like the others.
func (s *CellsService) BulkSync(ctx context.Context, cells []Cell, opts ...BulkOption) (*BulkResult, error) {
	return s.bulkSync(ctx, cells, opts)
}

// Stream creates or updates cells from an input of any length, as
// [JobsService.Stream] does.
func (s *CellsService) Stream(ctx context.Context, cells iter.Seq2[Cell, error], opts ...BulkOption) *Stream {
	return s.stream(ctx, cells, streamConcurrency, opts)
}

// CellListOptions choose the cells to list. The server may pass over a filter
// that it does not know.
type CellListOptions struct {
	Active Opt[bool] `url:"active,omitempty"`
	ListOptions
}

// List reads cells (GET /api-cells), as [JobsService.List] does. Servers may
// send all of them whatever page was asked for, and may list deleted ones
// without saying so.
func (s *CellsService) List(ctx context.Context, options CellListOptions, opts ...CallOption) iter.Seq2[CellRow, error] {
	return s.list(ctx, options, options.PageSize, opts)
}

// Get reads one cell by its UUID (GET /api-cells?id=), as [JobsService.Get]
// does.
func (s *CellsService) Get(ctx context.Context, id string, opts ...CallOption) (*CellRow, error) {
	return s.get(ctx, id, opts)
}

// Find always fails with [ErrUnsupported], without a request: no call of the
// API leads from a cell's key to its row but a sync. It is here to say so.
// Where the name will do, List and compare names.
func (s *CellsService) Find(ctx context.Context, key Key, opts ...CallOption) (*CellRow, error) {
	return s.find(ctx, key, opts)
}

var cellFields = fieldTable[Cell]()

// MarshalJSON returns the cell as it goes on the wire, in the documented order
// of fields. It fails on values that can't be written.
func (c Cell) MarshalJSON() ([]byte, error) { return marshalRecord(&c) }

// UnmarshalJSON reads what MarshalJSON writes; other members go to Extra.
func (c *Cell) UnmarshalJSON(data []byte) error {
	*c = Cell{}
	return unmarshalRecord(data, c, cellFields, &c.Extra)
}

func (c *Cell) recordKey(source string) Key {
	return Key{Source: cmpOr(c.ExternalSource, source), ExternalID: c.ExternalID}
}

func (c *Cell) appendJSON(b []byte, source string) ([]byte, error) {
	b = append(b, '{')
	b = appendText(b, `"external_id":`, c.ExternalID)
	b = appendText(b, `"external_source":`, cmpOr(c.ExternalSource, source))
	b = appendText(b, `"name":`, c.Name)
	b = appendOpt(b, `"color":`, c.Color, appendString)
	b = appendOpt(b, `"sequence":`, c.Sequence, appendInt)
	b = appendOpt(b, `"active":`, c.Active, appendBool)
	b, err := appendExtra(b, c.Extra)
	if err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

func (c *Cell) rules(k *checker) {
	k.required("name", c.Name)
}

func (c *Cell) values(k *checker) {
	k.text("external_id", c.ExternalID)
	k.text("external_source", c.ExternalSource)
	k.text("name", c.Name)
	k.optText("color", c.Color)
	k.extra(c.Extra, cellFields)
}

func (c *Cell) nested(string) []Outcome { return nil }

// CellRow is a cell as the server stores it. Columns of other releases, and
// any whose type is not the expected one, are in Unknown.
type CellRow struct {
	ID                  string                     `json:"id"` // UUID
	TenantID            string                     `json:"tenant_id"`
	ExternalID          Opt[string]                `json:"external_id"`
	ExternalSource      Opt[string]                `json:"external_source"`
	Name                string                     `json:"name"`
	Description         Opt[string]                `json:"description"`
	Color               Opt[string]                `json:"color"`
	ImageURL            Opt[string]                `json:"image_url"`
	IconName            Opt[string]                `json:"icon_name"`
	Sequence            int                        `json:"sequence"`
	Active              Opt[bool]                  `json:"active"`
	WIPLimit            Opt[int]                   `json:"wip_limit"`
	WIPWarningThreshold Opt[int]                   `json:"wip_warning_threshold"`
	EnforceWIPLimit     Opt[bool]                  `json:"enforce_wip_limit"`
	ShowCapacityWarning Opt[bool]                  `json:"show_capacity_warning"`
	CapacityHoursPerDay Opt[float64]               `json:"capacity_hours_per_day"`
	CreatedAt           Opt[time.Time]             `json:"created_at"`
	UpdatedAt           Opt[time.Time]             `json:"updated_at"`
	SyncedAt            Opt[time.Time]             `json:"synced_at"`
	SyncHash            Opt[string]                `json:"sync_hash"`
	DeletedAt           Opt[time.Time]             `json:"deleted_at"`
	DeletedBy           Opt[string]                `json:"deleted_by"`
	Unknown             map[string]json.RawMessage `json:"-"`
}

var cellColumns = fieldTable[CellRow]()

func (r *CellRow) columns() map[string]int              { return cellColumns }
func (r *CellRow) unknown() *map[string]json.RawMessage { return &r.Unknown }
