package eryxon

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Resource is a piece of equipment or tooling. Fields follow the documented
// table; see [Opt] for unset, null and value.
type Resource struct {
	ExternalID     string       `json:"external_id"`     // required, the ERP's id, such as TOOL-001
	ExternalSource string       `json:"external_source"` // the ERP system's name; empty: the client's [WithSource]
	Name           string       `json:"name"`            // required; unique in the installation, across sources
	Type           ResourceType `json:"type"`            // required

	Description Opt[string] `json:"description,omitzero"`
	Identifier  Opt[string] `json:"identifier,omitzero"` // such as MILL-001
	Location    Opt[string] `json:"location,omitzero"`   // such as Building A, Bay 3
	// Status and Active are the shop floor's once the resource is in use: a
	// record that sets them undoes what was set there. Leave them unset to
	// leave them alone.
	// Status is overwritten with a default by some servers where an update leaves it out: see [WithOverwritingUpdates].
	Status Opt[ResourceStatus] `json:"status,omitzero"`
	// Active is turned on by some servers where an update leaves it out. A client that
	// knows such a server by then, as [WithRelease] makes sure, keeps it as it is.
	Active Opt[bool] `json:"active,omitzero"`

	// Extra holds columns that the SDK does not know, by their wire name.
	Extra map[string]any `json:"-"`
}

// ResourceType is the kind of a resource. Servers accept more than the
// documented ones; any is sent as it is.
type ResourceType string

// The documented types of resources, and one more that servers use.
const (
	ResourceTooling   ResourceType = "tooling"
	ResourceFixture   ResourceType = "fixture"
	ResourceMold      ResourceType = "mold"
	ResourceMaterial  ResourceType = "material"
	ResourceEquipment ResourceType = "equipment"
	ResourceMachine   ResourceType = "machine" // not documented, in the vendor's sample data
)

// ResourceStatus tells whether a resource can be used. Servers accept more
// than the documented ones; any is sent as it is.
type ResourceStatus string

// The documented statuses of resources.
const (
	ResourceAvailable   ResourceStatus = "available"
	ResourceInUse       ResourceStatus = "in_use"
	ResourceMaintenance ResourceStatus = "maintenance"
)

// ResourcesService syncs resources: equipment and tooling. They depend on
// nothing.
type ResourcesService struct {
	syncer[Resource, *Resource, ResourceRow]
}

// Sync creates or updates one resource (PUT /api-resources/sync). Result and
// error are as for [JobsService.Sync].
func (s *ResourcesService) Sync(ctx context.Context, resource Resource, opts ...CallOption) (*SyncResult[ResourceRow], error) {
	return s.sync(ctx, &resource, opts)
}

// BulkSync creates or updates any number of resources
// (POST /api-resources/bulk-sync), in requests of at most 1000, in the order
// given. Result and error are as for [JobsService.BulkSync].
func (s *ResourcesService) BulkSync(ctx context.Context, resources []Resource, opts ...BulkOption) (*BulkResult, error) {
	return s.bulkSync(ctx, resources, opts)
}

// Stream creates or updates resources from an input of any length, as
// [JobsService.Stream] does.
func (s *ResourcesService) Stream(ctx context.Context, resources iter.Seq2[Resource, error], opts ...BulkOption) *Stream {
	return s.stream(ctx, resources, streamConcurrency, opts)
}

// ResourceListOptions choose the resources to list. The server may pass over a
// filter that it does not know.
type ResourceListOptions struct {
	Type           ResourceType   `url:"type,omitempty"`
	Status         ResourceStatus `url:"status,omitempty"`
	Active         Opt[bool]      `url:"active,omitempty"`
	ExternalSource string         `url:"external_source,omitempty"`
	ExternalID     string         `url:"external_id,omitempty"`
	ListOptions
}

// List reads resources (GET /api-resources), as [JobsService.List] does. Their
// rows are whole and show their external ids.
func (s *ResourcesService) List(ctx context.Context, options ResourceListOptions, opts ...CallOption) iter.Seq2[ResourceRow, error] {
	return s.list(ctx, options, options.PageSize, opts)
}

// Get reads one resource by its UUID (GET /api-resources?id=), as
// [JobsService.Get] does.
func (s *ResourcesService) Get(ctx context.Context, id string, opts ...CallOption) (*ResourceRow, error) {
	return s.get(ctx, id, opts)
}

// Find reads one resource by its key; an empty source is the client's
// [WithSource]. It filters the list and believes what the rows themselves say.
// It fails with [ErrNotFound] where there is no such row, a deleted one
// included, and with [ErrUnsupported] where the rows don't tell.
func (s *ResourcesService) Find(ctx context.Context, key Key, opts ...CallOption) (*ResourceRow, error) {
	return s.find(ctx, key, opts)
}

var resourceFields = fieldTable[Resource]()

// MarshalJSON returns the resource as it goes on the wire, in the documented
// order of fields. It fails on values that can't be written.
func (r Resource) MarshalJSON() ([]byte, error) { return marshalRecord(&r) }

// UnmarshalJSON reads what MarshalJSON writes; other members go to Extra.
func (r *Resource) UnmarshalJSON(data []byte) error {
	*r = Resource{}
	return unmarshalRecord(data, r, resourceFields, &r.Extra)
}

func (r *Resource) recordKey(source string) Key {
	return Key{Source: cmpOr(r.ExternalSource, source), ExternalID: r.ExternalID}
}

func (r *Resource) appendJSON(b []byte, source string) ([]byte, error) {
	b = append(b, '{')
	b = appendText(b, `"external_id":`, r.ExternalID)
	b = appendText(b, `"external_source":`, cmpOr(r.ExternalSource, source))
	b = appendText(b, `"name":`, r.Name)
	b = appendText(b, `"type":`, string(r.Type))
	b = appendOpt(b, `"description":`, r.Description, appendString)
	b = appendOpt(b, `"identifier":`, r.Identifier, appendString)
	b = appendOpt(b, `"location":`, r.Location, appendString)
	b = appendOpt(b, `"status":`, r.Status, appendEnum)
	b = appendOpt(b, `"active":`, r.Active, appendBool)
	b, err := appendExtra(b, r.Extra)
	if err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

func (r *Resource) rules(c *checker) {
	c.required("name", r.Name)
	c.required("type", string(r.Type))
}

func (r *Resource) values(c *checker) {
	c.text("external_id", r.ExternalID)
	c.text("external_source", r.ExternalSource)
	c.text("name", r.Name)
	c.text("type", string(r.Type))
	c.optText("description", r.Description)
	c.optText("identifier", r.Identifier)
	c.optText("location", r.Location)
	c.text("status", string(r.Status.value))
	c.extra(r.Extra, resourceFields)
}

func (r *Resource) nested(string) []Outcome { return nil }

// ResourceRow is a resource as the server stores it. Columns of other
// releases, and any whose type is not the expected one, are in Unknown.
type ResourceRow struct {
	ID             string                     `json:"id"` // UUID
	TenantID       string                     `json:"tenant_id"`
	ExternalID     Opt[string]                `json:"external_id"`
	ExternalSource Opt[string]                `json:"external_source"`
	Name           string                     `json:"name"`
	Type           ResourceType               `json:"type"`
	Description    Opt[string]                `json:"description"`
	Identifier     Opt[string]                `json:"identifier"`
	Location       Opt[string]                `json:"location"`
	Status         Opt[ResourceStatus]        `json:"status"`
	Active         Opt[bool]                  `json:"active"`
	Metadata       json.RawMessage            `json:"metadata"`
	CreatedAt      Opt[time.Time]             `json:"created_at"`
	UpdatedAt      Opt[time.Time]             `json:"updated_at"`
	SyncedAt       Opt[time.Time]             `json:"synced_at"`
	SyncHash       Opt[string]                `json:"sync_hash"`
	DeletedAt      Opt[time.Time]             `json:"deleted_at"`
	DeletedBy      Opt[string]                `json:"deleted_by"`
	Unknown        map[string]json.RawMessage `json:"-"`
}

var resourceColumns = fieldTable[ResourceRow]()

func (r *ResourceRow) columns() map[string]int              { return resourceColumns }
func (r *ResourceRow) unknown() *map[string]json.RawMessage { return &r.Unknown }
