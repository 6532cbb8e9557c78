package main

import (
	"errors"
	"strings"

	"github.com/eryxon/eryxon-go"
)

// entities are the five kinds of record, parents first.
var entities = []eryxon.Entity{
	eryxon.EntityCells, eryxon.EntityResources, eryxon.EntityJobs, eryxon.EntityParts, eryxon.EntityOperations,
}

func fileName(e eryxon.Entity) string { return string(e) + ".csv" }
func singular(e eryxon.Entity) string { return strings.TrimSuffix(string(e), "s") }

// schema is what a file of records R may hold.
type schema[R any] struct {
	entity  eryxon.Entity
	columns []column[R]
	needs   []string // columns that must be there; "a|b": one of them
	nested  string   // a field of the record that no cell can hold
	id      func(*R) *string
	source  func(*R) *string
	extra   func(*R) *map[string]any
}

// column is a field of the record that a column of the file fills.
type column[R any] struct {
	name string
	set  func(*R, value) error
}

// plain is a field that is a string itself, and can't be null.
func plain[R any, S ~string](name string, field func(*R) *S) column[R] {
	return column[R]{name, func(r *R, v value) error {
		if v.text == null {
			return errors.New(`\N: this field can't be cleared`)
		}
		*field(r) = S(v.text)
		return nil
	}}
}

// optional is a field that may be unset, null or a value.
func optional[R, T any](name string, parse func(value) (T, error), field func(*R) *eryxon.Opt[T]) column[R] {
	return column[R]{name, func(r *R, v value) error {
		if v.text == null {
			*field(r) = eryxon.Null[T]()
			return nil
		}
		parsed, err := parse(v)
		if err == nil {
			*field(r) = eryxon.Some(parsed)
		}
		return err
	}}
}

func workStatus(v value) (eryxon.WorkStatus, error) { return eryxon.WorkStatus(v.text), nil }

func resourceStatus(v value) (eryxon.ResourceStatus, error) {
	return eryxon.ResourceStatus(v.text), nil
}

var cellSchema = schema[eryxon.Cell]{
	entity: eryxon.EntityCells,
	needs:  []string{"external_id", "name"},
	id:     func(r *eryxon.Cell) *string { return &r.ExternalID },
	source: func(r *eryxon.Cell) *string { return &r.ExternalSource },
	extra:  func(r *eryxon.Cell) *map[string]any { return &r.Extra },
	columns: []column[eryxon.Cell]{
		plain("external_id", func(r *eryxon.Cell) *string { return &r.ExternalID }),
		plain("external_source", func(r *eryxon.Cell) *string { return &r.ExternalSource }),
		plain("name", func(r *eryxon.Cell) *string { return &r.Name }),
		optional("color", value.string, func(r *eryxon.Cell) *eryxon.Opt[string] { return &r.Color }),
		optional("sequence", value.int, func(r *eryxon.Cell) *eryxon.Opt[int] { return &r.Sequence }),
		optional("active", value.bool, func(r *eryxon.Cell) *eryxon.Opt[bool] { return &r.Active }),
	},
}

var resourceSchema = schema[eryxon.Resource]{
	entity: eryxon.EntityResources,
	needs:  []string{"external_id", "name", "type"},
	id:     func(r *eryxon.Resource) *string { return &r.ExternalID },
	source: func(r *eryxon.Resource) *string { return &r.ExternalSource },
	extra:  func(r *eryxon.Resource) *map[string]any { return &r.Extra },
	columns: []column[eryxon.Resource]{
		plain("external_id", func(r *eryxon.Resource) *string { return &r.ExternalID }),
		plain("external_source", func(r *eryxon.Resource) *string { return &r.ExternalSource }),
		plain("name", func(r *eryxon.Resource) *string { return &r.Name }),
		plain("type", func(r *eryxon.Resource) *eryxon.ResourceType { return &r.Type }),
		optional("description", value.string, func(r *eryxon.Resource) *eryxon.Opt[string] { return &r.Description }),
		optional("identifier", value.string, func(r *eryxon.Resource) *eryxon.Opt[string] { return &r.Identifier }),
		optional("location", value.string, func(r *eryxon.Resource) *eryxon.Opt[string] { return &r.Location }),
		optional("status", resourceStatus, func(r *eryxon.Resource) *eryxon.Opt[eryxon.ResourceStatus] { return &r.Status }),
		optional("active", value.bool, func(r *eryxon.Resource) *eryxon.Opt[bool] { return &r.Active }),
	},
}

var jobSchema = schema[eryxon.Job]{
	entity: eryxon.EntityJobs,
	needs:  []string{"external_id", "job_number"},
	nested: "parts",
	id:     func(r *eryxon.Job) *string { return &r.ExternalID },
	source: func(r *eryxon.Job) *string { return &r.ExternalSource },
	extra:  func(r *eryxon.Job) *map[string]any { return &r.Extra },
	columns: []column[eryxon.Job]{
		plain("external_id", func(r *eryxon.Job) *string { return &r.ExternalID }),
		plain("external_source", func(r *eryxon.Job) *string { return &r.ExternalSource }),
		plain("job_number", func(r *eryxon.Job) *string { return &r.JobNumber }),
		optional("customer", value.string, func(r *eryxon.Job) *eryxon.Opt[string] { return &r.Customer }),
		optional("due_date", value.date, func(r *eryxon.Job) *eryxon.Opt[eryxon.Date] { return &r.DueDate }),
		optional("priority", value.int, func(r *eryxon.Job) *eryxon.Opt[int] { return &r.Priority }),
		optional("notes", value.string, func(r *eryxon.Job) *eryxon.Opt[string] { return &r.Notes }),
		optional("status", workStatus, func(r *eryxon.Job) *eryxon.Opt[eryxon.WorkStatus] { return &r.Status }),
	},
}

var partSchema = schema[eryxon.Part]{
	entity: eryxon.EntityParts,
	needs:  []string{"external_id", "part_number", "job_external_id|job_id"},
	nested: "operations",
	id:     func(r *eryxon.Part) *string { return &r.ExternalID },
	source: func(r *eryxon.Part) *string { return &r.ExternalSource },
	extra:  func(r *eryxon.Part) *map[string]any { return &r.Extra },
	columns: []column[eryxon.Part]{
		plain("external_id", func(r *eryxon.Part) *string { return &r.ExternalID }),
		plain("external_source", func(r *eryxon.Part) *string { return &r.ExternalSource }),
		plain("job_external_id", func(r *eryxon.Part) *string { return &r.JobExternalID }),
		plain("job_id", func(r *eryxon.Part) *string { return &r.JobID }),
		plain("part_number", func(r *eryxon.Part) *string { return &r.PartNumber }),
		optional("material", value.string, func(r *eryxon.Part) *eryxon.Opt[string] { return &r.Material }),
		optional("quantity", value.int, func(r *eryxon.Part) *eryxon.Opt[int] { return &r.Quantity }),
		optional("notes", value.string, func(r *eryxon.Part) *eryxon.Opt[string] { return &r.Notes }),
		optional("status", workStatus, func(r *eryxon.Part) *eryxon.Opt[eryxon.WorkStatus] { return &r.Status }),
	},
}

var operationSchema = schema[eryxon.Operation]{
	entity: eryxon.EntityOperations,
	needs:  []string{"external_id", "operation_name", "part_external_id|part_id", "cell_name|cell_id"},
	id:     func(r *eryxon.Operation) *string { return &r.ExternalID },
	source: func(r *eryxon.Operation) *string { return &r.ExternalSource },
	extra:  func(r *eryxon.Operation) *map[string]any { return &r.Extra },
	columns: []column[eryxon.Operation]{
		plain("external_id", func(r *eryxon.Operation) *string { return &r.ExternalID }),
		plain("external_source", func(r *eryxon.Operation) *string { return &r.ExternalSource }),
		plain("part_external_id", func(r *eryxon.Operation) *string { return &r.PartExternalID }),
		plain("part_id", func(r *eryxon.Operation) *string { return &r.PartID }),
		plain("operation_name", func(r *eryxon.Operation) *string { return &r.OperationName }),
		plain("cell_name", func(r *eryxon.Operation) *string { return &r.CellName }),
		plain("cell_id", func(r *eryxon.Operation) *string { return &r.CellID }),
		optional("sequence", value.int, func(r *eryxon.Operation) *eryxon.Opt[int] { return &r.Sequence }),
		optional("estimated_time_minutes", value.float, func(r *eryxon.Operation) *eryxon.Opt[float64] { return &r.EstimatedTimeMinutes }),
		optional("notes", value.string, func(r *eryxon.Operation) *eryxon.Opt[string] { return &r.Notes }),
		optional("status", workStatus, func(r *eryxon.Operation) *eryxon.Opt[eryxon.WorkStatus] { return &r.Status }),
	},
}
