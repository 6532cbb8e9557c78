package eryxon

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The payloads of the vendor's reference, to the letter, and the records that
// are to give them.
var (
	documentedJob = Job{
		ExternalID: "SO-12345", ExternalSource: "SAP", JobNumber: "JOB-2024-001", Customer: Some("Acme Corp"),
		DueDate: Some(NewDate(2024, time.December, 31)), Priority: Some(5), Notes: Some("Synced from SAP"),
	}
	documentedNested = Job{
		ExternalID: "SO-12345", ExternalSource: "SAP", JobNumber: "JOB-2024-001", Customer: Some("Acme Corp"),
		Parts: []Part{{
			ExternalID: "SO-12345-10", PartNumber: "BRACKET-A", Material: Some("Steel 304"), Quantity: Some(25),
			Operations: []Operation{
				{ExternalID: "SO-12345-10-010", OperationName: "Laser Cut", CellName: "Cutting", Sequence: Some(1), EstimatedTimeMinutes: Some(30.0)},
				{ExternalID: "SO-12345-10-020", OperationName: "Bend 90°", CellName: "Bending", Sequence: Some(2), EstimatedTimeMinutes: Some(15.0)},
			},
		}},
	}
	documentedPart = Part{
		ExternalID: "SO-12345-10", ExternalSource: "SAP", JobExternalID: "SO-12345", PartNumber: "BRACKET-A",
		Material: Some("Steel 304"), Quantity: Some(25), Notes: Some("Handle with care"),
	}
	documentedOperation = Operation{
		ExternalID: "SO-12345-10-010", ExternalSource: "SAP", PartExternalID: "SO-12345-10", OperationName: "Laser Cut",
		CellName: "Cutting", Sequence: Some(1), EstimatedTimeMinutes: Some(30.0), Notes: Some("Use 1000W laser"),
	}
	documentedCell = Cell{
		ExternalID: "WC-CUTTING", ExternalSource: "SAP", Name: "Cutting", Color: Some("#3b82f6"), Sequence: Some(1), Active: Some(true),
	}
	documentedResource = Resource{
		ExternalID: "TOOL-001", ExternalSource: "SAP", Name: "CNC Mill #1", Type: ResourceEquipment,
		Description: Some("5-axis CNC milling machine"), Identifier: Some("MILL-001"), Location: Some("Building A, Bay 3"),
		Status: Some(ResourceAvailable),
	}
)

const (
	documentedJobJSON       = `{ "external_id": "SO-12345", "external_source": "SAP", "job_number": "JOB-2024-001", "customer": "Acme Corp", "due_date": "2024-12-31", "priority": 5, "notes": "Synced from SAP"}`
	documentedNestedJSON    = `{ "external_id": "SO-12345", "external_source": "SAP", "job_number": "JOB-2024-001", "customer": "Acme Corp", "parts": [ { "external_id": "SO-12345-10", "part_number": "BRACKET-A", "material": "Steel 304", "quantity": 25, "operations": [ { "external_id": "SO-12345-10-010", "operation_name": "Laser Cut", "cell_name": "Cutting", "sequence": 1, "estimated_time_minutes": 30 }, { "external_id": "SO-12345-10-020", "operation_name": "Bend 90°", "cell_name": "Bending", "sequence": 2, "estimated_time_minutes": 15 } ] } ]}`
	documentedPartJSON      = `{ "external_id": "SO-12345-10", "external_source": "SAP", "job_external_id": "SO-12345", "part_number": "BRACKET-A", "material": "Steel 304", "quantity": 25, "notes": "Handle with care"}`
	documentedOperationJSON = `{ "external_id": "SO-12345-10-010", "external_source": "SAP", "part_external_id": "SO-12345-10", "operation_name": "Laser Cut", "cell_name": "Cutting", "sequence": 1, "estimated_time_minutes": 30, "notes": "Use 1000W laser"}`
	documentedCellJSON      = `{ "external_id": "WC-CUTTING", "external_source": "SAP", "name": "Cutting", "color": "#3b82f6", "sequence": 1, "active": true}`
	documentedResourceJSON  = `{ "external_id": "TOOL-001", "external_source": "SAP", "name": "CNC Mill #1", "type": "equipment", "description": "5-axis CNC milling machine", "identifier": "MILL-001", "location": "Building A, Bay 3", "status": "available"}`
)

func TestDocumentedPayloadsArriveToTheLetter(t *testing.T) {
	c, wire := onWire(t, once())
	ctx := t.Context()
	for name, tt := range map[string]struct {
		entity  Entity
		record  any
		payload string
		sync    func() error
		bulk    func() error
	}{
		"job": {
			EntityJobs, documentedJob, documentedJobJSON,
			func() error { _, err := c.Jobs.Sync(ctx, documentedJob); return err },
			func() error { _, err := c.Jobs.BulkSync(ctx, []Job{documentedJob}); return err },
		},
		"job with parts and operations": {
			EntityJobs, documentedNested, documentedNestedJSON,
			func() error { _, err := c.Jobs.Sync(ctx, documentedNested); return err },
			func() error { _, err := c.Jobs.BulkSync(ctx, []Job{documentedNested}); return err },
		},
		"part": {
			EntityParts, documentedPart, documentedPartJSON,
			func() error { _, err := c.Parts.Sync(ctx, documentedPart); return err },
			func() error { _, err := c.Parts.BulkSync(ctx, []Part{documentedPart}); return err },
		},
		"operation": {
			EntityOperations, documentedOperation, documentedOperationJSON,
			func() error { _, err := c.Operations.Sync(ctx, documentedOperation); return err },
			func() error { _, err := c.Operations.BulkSync(ctx, []Operation{documentedOperation}); return err },
		},
		"cell": {
			EntityCells, documentedCell, documentedCellJSON,
			func() error { _, err := c.Cells.Sync(ctx, documentedCell); return err },
			func() error { _, err := c.Cells.BulkSync(ctx, []Cell{documentedCell}); return err },
		},
		"resource": {
			EntityResources, documentedResource, documentedResourceJSON,
			func() error { _, err := c.Resources.Sync(ctx, documentedResource); return err },
			func() error { _, err := c.Resources.BulkSync(ctx, []Resource{documentedResource}); return err },
		},
	} {
		t.Run(name, func(t *testing.T) {
			wire.Reset()
			s := &script{answers: []httpmock.Responder{answer(201,
				`{"success":true,"data":{"action":"created","id":"u-1","external_id":`+externalIDOf(t, tt.payload)+`}}`)}}
			wire.RegisterResponder("PUT", testURL+"/api-"+string(tt.entity)+"/sync", s.respond)
			b := &script{answers: []httpmock.Responder{answer(200,
				`{"success":true,"data":{"total":1,"created":1,"updated":0,"errors":0,"results":[{"action":"created","id":"u-1","external_id":`+externalIDOf(t, tt.payload)+`}]}}`)}}
			wire.RegisterResponder("POST", testURL+"/api-"+string(tt.entity)+"/bulk-sync", b.respond)
			require.NoError(t, tt.sync())
			require.NoError(t, tt.bulk())

			single := s.requests()[0]
			assert.Equal(t, canonical(t, []byte(tt.payload)), canonical(t, []byte(single.body)))
			assert.Equal(t, "application/json", single.header.Get("Content-Type"))
			bulk := b.requests()[0].body
			assert.Equal(t, `{"`+string(tt.entity)+`":[`+single.body+`]}`, bulk, "the same bytes, in the entity's container")

			// What other code marshals has the same bytes.
			for shape, v := range map[string]any{
				"%s":                       tt.record,
				"[%s]":                     []any{tt.record},
				`{"before":1,"record":%s}`: map[string]any{"before": 1, "record": tt.record},
				`{"R":%s}`:                 struct{ R any }{tt.record},
			} {
				raw, err := json.Marshal(v)
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprintf(shape, single.body), string(raw))
			}
			pointer := reflect.New(reflect.TypeOf(tt.record))
			pointer.Elem().Set(reflect.ValueOf(tt.record))
			raw, err := json.Marshal(pointer.Interface())
			require.NoError(t, err)
			assert.Equal(t, single.body, string(raw))

			// And the way back.
			back := reflect.New(reflect.TypeOf(tt.record))
			require.NoError(t, json.Unmarshal([]byte(tt.payload), back.Interface()))
			assert.Equal(t, tt.record, back.Elem().Interface())
		})
	}
}

func externalIDOf(t *testing.T, payload string) string {
	t.Helper()
	var r struct {
		ExternalID json.RawMessage `json:"external_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(payload), &r))
	return string(r.ExternalID)
}

func TestDocumentedBulkPayload(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(200, `{ "success": true, "data": { "total": 2, "created": 1, "updated": 1, "errors": 0, "results": [ { "external_id": "SO-001", "id": "uuid-1", "action": "created" }, { "external_id": "SO-002", "id": "uuid-2", "action": "updated" } ] }}`)}, once())
	res, err := c.Jobs.BulkSync(t.Context(), []Job{
		{ExternalID: "SO-001", ExternalSource: "SAP", JobNumber: "JOB-001", Customer: Some("Customer A")},
		{ExternalID: "SO-002", JobNumber: "JOB-002", Customer: Some("Customer B")}, // the source by default
	})
	require.NoError(t, err)
	assert.Equal(t, "1 created, 1 updated", res.Counts.String())
	assert.Equal(t, "uuid-2", res.Outcomes[1].ID)
	assert.Equal(t,
		canonical(t, []byte(`{ "jobs": [ { "external_id": "SO-001", "external_source": "SAP", "job_number": "JOB-001", "customer": "Customer A" }, { "external_id": "SO-002", "external_source": "SAP", "job_number": "JOB-002", "customer": "Customer B" } ]}`)),
		canonical(t, []byte(s.requests()[0].body)))
}

// filled is a record of each kind with every optional field set by set.
func filled(set func(optional any)) map[string]any {
	var (
		j = Job{ExternalID: "J", ExternalSource: "S", JobNumber: "N"}
		p = Part{ExternalID: "P", ExternalSource: "S", JobExternalID: "J", JobID: "JU", PartNumber: "N"}
		o = Operation{ExternalID: "O", ExternalSource: "S", PartExternalID: "P", PartID: "PU", OperationName: "N", CellName: "C", CellID: "CU"}
		c = Cell{ExternalID: "C", ExternalSource: "S", Name: "N"}
		r = Resource{ExternalID: "R", ExternalSource: "S", Name: "N", Type: "t"}
	)
	for _, rec := range []any{&j, &p, &o, &c, &r} {
		v := reflect.ValueOf(rec).Elem()
		for i := range v.NumField() {
			if strings.HasPrefix(v.Type().Field(i).Type.Name(), "Opt[") {
				set(v.Field(i).Addr().Interface())
			}
		}
	}
	return map[string]any{"job": j, "part": p, "operation": o, "cell": c, "resource": r}
}

func TestUnsetIsAbsentAndNullIsNull(t *testing.T) {
	want := map[string][2]string{
		"job": {
			`{"external_id":"J","external_source":"S","job_number":"N"`,
			`,"customer":null,"due_date":null,"priority":null,"notes":null,"status":null`,
		},
		"part": {
			`{"external_id":"P","external_source":"S","job_external_id":"J","job_id":"JU","part_number":"N"`,
			`,"material":null,"quantity":null,"notes":null,"status":null`,
		},
		"operation": {
			`{"external_id":"O","external_source":"S","part_external_id":"P","part_id":"PU","operation_name":"N","cell_name":"C","cell_id":"CU"`,
			`,"sequence":null,"estimated_time_minutes":null,"notes":null,"status":null`,
		},
		"cell": {
			`{"external_id":"C","external_source":"S","name":"N"`,
			`,"color":null,"sequence":null,"active":null`,
		},
		"resource": {
			`{"external_id":"R","external_source":"S","name":"N","type":"t"`,
			`,"description":null,"identifier":null,"location":null,"status":null,"active":null`,
		},
	}
	unset := filled(func(any) {})
	null := filled(func(o any) { require.NoError(t, json.Unmarshal([]byte("null"), o)) })
	for kind, text := range want {
		raw, err := json.Marshal(unset[kind])
		require.NoError(t, err)
		assert.Equal(t, text[0]+"}", string(raw))
		raw, err = json.Marshal(null[kind])
		require.NoError(t, err)
		assert.Equal(t, text[0]+text[1]+"}", string(raw))
	}
}

func TestZeroValuesAreSent(t *testing.T) {
	for text, rec := range map[string]any{
		`{"external_id":"J","job_number":"N","customer":"","priority":0,"notes":"","status":""}`: Job{ExternalID: "J", JobNumber: "N",
			Customer: Some(""), Priority: Some(0), Notes: Some(""), Status: Some(WorkStatus(""))},
		`{"external_id":"O","sequence":0,"estimated_time_minutes":0}`: Operation{ExternalID: "O", Sequence: Some(0), EstimatedTimeMinutes: Some(0.0)},
		`{"external_id":"C","color":"","sequence":-1,"active":false}`: Cell{ExternalID: "C", Color: Some(""), Sequence: Some(-1), Active: Some(false)},
		`{}`:                                       Job{},
		`{"external_id":"J","parts":[{},{}]}`:      Job{ExternalID: "J", Parts: []Part{{}, {}}},
		`{"external_id":"J"}`:                      Job{ExternalID: "J", Parts: []Part{}},
		`{"external_id":"P","operations":[{}]}`:    Part{ExternalID: "P", Operations: []Operation{{}}},
		`{"drawing_no":7,"weight":null}`:           Part{Extra: map[string]any{"weight": nil, "drawing_no": 7}},
		`{"type":"machine","status":"mothballed"}`: Resource{Type: ResourceMachine, Status: Some(ResourceStatus("mothballed"))},
	} {
		raw, err := json.Marshal(rec)
		require.NoError(t, err)
		assert.Equal(t, text, string(raw))
	}
}

func TestExtraColumnsAreMergedSortedByName(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(201, createdJob)}, once(), WithOverwritingUpdates())
	j := job("SO-1")
	j.Extra = map[string]any{
		"zone": "Nord", "delivery_city": "Köln", "a<b": 1, "metadata": map[string]any{"b": 2, "a": []int{1, 2}},
		"big": json.Number("123456789012345678901234567890"), "raw": json.RawMessage(`{"x": 1}`), "nil": nil, "Extra": true,
	}
	j.Parts = []Part{{ExternalID: "P-1", PartNumber: "A", Material: Some("Steel"), Quantity: Some(1), Extra: map[string]any{"drawing_no": "D-1"}}}
	_, err := c.Jobs.Sync(t.Context(), j)
	require.NoError(t, err)
	assert.Equal(t, `{"external_id":"SO-1","external_source":"SAP","job_number":"JOB-SO-1",`+
		`"parts":[{"external_id":"P-1","part_number":"A","material":"Steel","quantity":1,"drawing_no":"D-1"}],`+
		`"Extra":true,"a\u003cb":1,"big":123456789012345678901234567890,"delivery_city":"Köln","metadata":{"a":[1,2],"b":2},"nil":null,"raw":{"x":1},"zone":"Nord"}`,
		s.requests()[0].body)
}

// An extra column that hides a field of the record would send two values, and
// which of them wins is the server's whim.
// What the server keeps for itself is no record's to give.
func TestExtraColumnsOfTheServersOwn(t *testing.T) {
	for _, name := range []string{"", "id", "tenant_id", "created_at", "updated_at", "synced_at", "sync_hash", "deleted_at", "deleted_by"} {
		c, wire := onWire(t)
		_, err := c.Jobs.Sync(t.Context(), Job{ExternalID: "A", JobNumber: "A", Extra: map[string]any{name: "x"}})
		var invalid *ValidationError
		require.ErrorAs(t, err, &invalid, name)
		assert.True(t, invalid.Local, name)
		assert.Equal(t, "Extra["+name+"]", invalid.Field)
		assert.Zero(t, wire.GetTotalCallCount())
	}
}

func TestExtraMustNotHideAField(t *testing.T) {
	c, wire := onWire(t)
	for _, kind := range []struct {
		fields map[string]int
		sync   func(extra map[string]any) (*Outcome, error)
		direct func(extra map[string]any) any
	}{
		{jobFields, func(e map[string]any) (*Outcome, error) {
			j := documentedJob
			j.Extra = e
			res, err := c.Jobs.Sync(t.Context(), j)
			return &res.Outcome, err
		}, func(e map[string]any) any { return Job{Extra: e} }},
		{partFields, func(e map[string]any) (*Outcome, error) {
			p := documentedPart
			p.Extra = e
			res, err := c.Parts.Sync(t.Context(), p)
			return &res.Outcome, err
		}, func(e map[string]any) any { return Part{Extra: e} }},
		{operationFields, func(e map[string]any) (*Outcome, error) {
			o := documentedOperation
			o.Extra = e
			res, err := c.Operations.Sync(t.Context(), o)
			return &res.Outcome, err
		}, func(e map[string]any) any { return Operation{Extra: e} }},
		{cellFields, func(e map[string]any) (*Outcome, error) {
			x := documentedCell
			x.Extra = e
			res, err := c.Cells.Sync(t.Context(), x)
			return &res.Outcome, err
		}, func(e map[string]any) any { return Cell{Extra: e} }},
		{resourceFields, func(e map[string]any) (*Outcome, error) {
			r := documentedResource
			r.Extra = e
			res, err := c.Resources.Sync(t.Context(), r)
			return &res.Outcome, err
		}, func(e map[string]any) any { return Resource{Extra: e} }},
	} {
		require.NotEmpty(t, kind.fields)
		for _, name := range append(slices.Collect(maps.Keys(kind.fields)), "") {
			o, err := kind.sync(map[string]any{name: "x"})
			assert.Equal(t, StatusFailed, o.Status)
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.True(t, invalid.Local)
			assert.Equal(t, "Extra["+name+"]", invalid.Field)
			_, err = json.Marshal(kind.direct(map[string]any{name: "x"}))
			assert.ErrorIs(t, err, ErrValidation)
		}
	}
	assert.Zero(t, wire.GetTotalCallCount(), "nothing was sent")
}

func TestWhatCannotBeWrittenIsRefusedLocally(t *testing.T) {
	c, wire := onWire(t)
	with := func(change func(*Job)) Job {
		j := documentedNested
		j.Parts = []Part{documentedNested.Parts[0]}
		j.Parts[0].Operations = slices.Clone(j.Parts[0].Operations)
		change(&j)
		return j
	}
	for name, tt := range map[string]struct {
		job   Job
		field string
	}{
		"latin-1 in a text":           {with(func(j *Job) { j.Customer = Some("M\xfcller") }), "customer"},
		"latin-1 in the id":           {with(func(j *Job) { j.ExternalID = "SO-\xfc" }), "external_id"},
		"latin-1 in the source":       {with(func(j *Job) { j.ExternalSource = "S\xfcD" }), "external_source"},
		"latin-1 in the status":       {with(func(j *Job) { j.Status = Some(WorkStatus("\xff")) }), "status"},
		"NUL":                         {with(func(j *Job) { j.Notes = Some("a\x00b") }), "notes"},
		"half a rune":                 {with(func(j *Job) { j.JobNumber = "N°"[:2] }), "job_number"},
		"lone surrogate":              {with(func(j *Job) { j.Notes = Some("\xed\xa0\x80") }), "notes"},
		"a day that does not exist":   {with(func(j *Job) { j.DueDate = Some(NewDate(2025, time.February, 30)) }), "due_date"},
		"the zero date":               {with(func(j *Job) { j.DueDate = Some(Date{}) }), "due_date"},
		"in a nested part":            {with(func(j *Job) { j.Parts[0].Material = Some("\xff") }), "parts[0].material"},
		"no pieces":                   {with(func(j *Job) { j.Parts[0].Quantity = Some(0) }), "parts[0].quantity"},
		"NaN in a nested operation":   {with(func(j *Job) { j.Parts[0].Operations[1].EstimatedTimeMinutes = Some(math.NaN()) }), "parts[0].operations[1].estimated_time_minutes"},
		"infinity":                    {with(func(j *Job) { j.Parts[0].Operations[0].EstimatedTimeMinutes = Some(math.Inf(1)) }), "parts[0].operations[0].estimated_time_minutes"},
		"negative time":               {with(func(j *Job) { j.Parts[0].Operations[0].EstimatedTimeMinutes = Some(-1.0) }), "parts[0].operations[0].estimated_time_minutes"},
		"NaN in an extra column":      {with(func(j *Job) { j.Extra = map[string]any{"w": math.NaN()} }), "Extra[w]"},
		"a channel in one":            {with(func(j *Job) { j.Extra = map[string]any{"w": make(chan int)} }), "Extra[w]"},
		"broken raw JSON in one":      {with(func(j *Job) { j.Extra = map[string]any{"w": json.RawMessage(`{`)} }), "Extra[w]"},
		"latin-1 in one":              {with(func(j *Job) { j.Extra = map[string]any{"w": "M\xfcller"} }), "Extra[w]"},
		"latin-1 in raw JSON":         {with(func(j *Job) { j.Extra = map[string]any{"w": json.RawMessage("\"M\xfcller\"")} }), "Extra[w]"},
		"latin-1 deep in one":         {with(func(j *Job) { j.Extra = map[string]any{"w": map[string]any{"a": []any{1, "\xfc"}}} }), "Extra[w]"},
		"latin-1 in a list":           {with(func(j *Job) { j.Extra = map[string]any{"w": []string{"ok", "\xfc"}} }), "Extra[w]"},
		"latin-1 in a name in one":    {with(func(j *Job) { j.Extra = map[string]any{"w": map[string]any{"\xfc": 1}} }), "Extra[w]"},
		"latin-1 in an extra's name":  {with(func(j *Job) { j.Extra = map[string]any{"w\xfc": 1} }), "Extra[w\xfc]"},
		"NUL in an extra column":      {with(func(j *Job) { j.Extra = map[string]any{"w": "\x00"} }), "Extra[w]"},
		"extra column in nested part": {with(func(j *Job) { j.Parts[0].Extra = map[string]any{"quantity": 1} }), "parts[0].Extra[quantity]"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := c.Jobs.Sync(t.Context(), tt.job)
			assert.Equal(t, StatusFailed, res.Status)
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.True(t, invalid.Local)
			assert.Equal(t, tt.field, invalid.Field)
			assert.Len(t, invalid.Details, 1)

			_, err = json.Marshal(tt.job)
			require.ErrorIs(t, err, ErrValidation, "MarshalJSON does not write it either")

			bulk, err := c.Jobs.BulkSync(t.Context(), []Job{tt.job})
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, tt.field, invalid.Field)
			assert.Equal(t, Counts{Failed: 1}, bulk.Counts)
		})
	}
	assert.Zero(t, wire.GetTotalCallCount(), "nothing was sent")
}

// oddTexts are those whose encodings differ between JSON packages.
var oddTexts = []string{
	"", "plain", `<script>alert("&")</script>`, "\u2028\u2029", "\ufffd", "\x01\x1f\x7f\u0080", "\t\n\r\b\f", `\"/`, "Bend 90°",
	"日本語", "😀", "e\u0301", "\ufeff", "'", "a\u2028", "\u2029b",
}

func TestTextsHaveTheBytesOfEncodingJSON(t *testing.T) {
	for _, s := range oddTexts {
		want, err := json.Marshal(s)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(appendString(nil, s)))
	}
	for r := rune(1); r < 0x3000; r++ {
		s := "a" + string(r) + "b"
		if want, _ := json.Marshal(s); string(want) != string(appendString(nil, s)) {
			t.Errorf("%U: %s, want %s", r, appendString(nil, s), want)
		}
	}
	assert.Equal(t, `"\ufffda\ufffd"`, string(appendString(nil, "\xffa\xc3")), "what the local rules refuse gives valid JSON all the same")
}

func TestNumbersHaveTheBytesOfEncodingJSON(t *testing.T) {
	same := func(f float64) bool {
		want, err := json.Marshal(f)
		return err != nil || string(want) == string(appendFloat(nil, f))
	}
	for _, f := range []float64{0, 30, 12.5, 1e-6, 9.99e-7, 1e-9, 1e20, 1e21, 1.5e21, 1e-10, 1e-100, 5e-324, math.MaxFloat64, 0.1, 1.0 / 3, math.Copysign(0, -1)} {
		assert.Truef(t, same(f), "%g", f)
	}
	require.NoError(t, quick.Check(same, nil))
	require.NoError(t, quick.Check(func(bits uint64) bool { return same(math.Float64frombits(bits)) }, nil))
}

// randomOpt leaves a field unset, makes it null, or gives it a value.
func randomOpt[T any](r *rand.Rand, value func(*rand.Rand) T) Opt[T] {
	switch r.IntN(3) {
	case 0:
		return Opt[T]{}
	case 1:
		return Null[T]()
	}
	return Some(value(r))
}

func randomText(r *rand.Rand) string {
	s := oddTexts[r.IntN(len(oddTexts))]
	for range r.IntN(4) {
		s += string(rune(1 + r.IntN(0xd7ff)))
	}
	return s
}

func randomExtra(r *rand.Rand) map[string]any {
	if r.IntN(2) == 0 {
		return nil
	}
	return map[string]any{
		"x_" + randomText(r): randomText(r),
		"x_big":              json.Number("1234567890123456789012345678901234567890"),
		"x_exact":            json.Number("0.1000000000000000055511151231257827"),
		"x_nested":           map[string]any{"list": []any{json.Number("1"), nil, true, "x"}, "<": map[string]any{}},
		"x_nil":              nil,
	}
}

func randomStatus(r *rand.Rand) Opt[WorkStatus] {
	return randomOpt(r, func(r *rand.Rand) WorkStatus { return WorkStatus(randomText(r)) })
}

func randomOperation(r *rand.Rand) Operation {
	return Operation{
		ExternalID: randomText(r), ExternalSource: randomText(r), PartExternalID: randomText(r), PartID: randomText(r),
		OperationName: randomText(r), CellName: randomText(r), CellID: randomText(r), Sequence: randomOpt(r, (*rand.Rand).Int),
		EstimatedTimeMinutes: randomOpt(r, func(r *rand.Rand) float64 { return r.ExpFloat64() * 1e3 }), Notes: randomOpt(r, randomText),
		Status: randomStatus(r), Extra: randomExtra(r),
	}
}

func randomPart(r *rand.Rand) Part {
	p := Part{
		ExternalID: randomText(r), ExternalSource: randomText(r), JobExternalID: randomText(r), JobID: randomText(r), PartNumber: randomText(r),
		Material: randomOpt(r, randomText), Quantity: randomOpt(r, func(r *rand.Rand) int { return 1 + r.IntN(1e9) }), Notes: randomOpt(r, randomText),
		Status: randomStatus(r), Extra: randomExtra(r),
	}
	for range r.IntN(3) {
		p.Operations = append(p.Operations, randomOperation(r))
	}
	return p
}

func randomJob(r *rand.Rand) Job {
	j := Job{
		ExternalID: randomText(r), ExternalSource: randomText(r), JobNumber: randomText(r), Customer: randomOpt(r, randomText),
		DueDate:  randomOpt(r, func(r *rand.Rand) Date { return DateOf(time.Unix(r.Int64N(4e9), 0)) }),
		Priority: randomOpt(r, func(r *rand.Rand) int { return r.IntN(100) - 50 }), Notes: randomOpt(r, randomText),
		Status: randomStatus(r), Extra: randomExtra(r),
	}
	for range r.IntN(3) {
		j.Parts = append(j.Parts, randomPart(r))
	}
	return j
}

func randomCell(r *rand.Rand) Cell {
	return Cell{
		ExternalID: randomText(r), ExternalSource: randomText(r), Name: randomText(r), Color: randomOpt(r, randomText),
		Sequence: randomOpt(r, (*rand.Rand).Int), Active: randomOpt(r, func(r *rand.Rand) bool { return r.IntN(2) == 0 }), Extra: randomExtra(r),
	}
}

func randomResource(r *rand.Rand) Resource {
	return Resource{
		ExternalID: randomText(r), ExternalSource: randomText(r), Name: randomText(r), Type: ResourceType(randomText(r)),
		Description: randomOpt(r, randomText), Identifier: randomOpt(r, randomText), Location: randomOpt(r, randomText),
		Status: randomOpt(r, func(r *rand.Rand) ResourceStatus { return ResourceStatus(randomText(r)) }),
		Active: randomOpt(r, func(r *rand.Rand) bool { return r.IntN(2) == 0 }), Extra: randomExtra(r),
	}
}

// A record that is written and read again is the same record, extra columns
// and big numbers included, and has the same bytes again.
func TestRecordsSurviveTheRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		roundTrip(t, randomJob(r))
		roundTrip(t, randomPart(r))
		roundTrip(t, randomOperation(r))
		roundTrip(t, randomCell(r))
		roundTrip(t, randomResource(r))
	}
}

func roundTrip[R any](t *testing.T, rec R) {
	t.Helper()
	raw, err := json.Marshal(rec)
	require.NoError(t, err)
	var back R
	require.NoErrorf(t, json.Unmarshal(raw, &back), "%s", raw)
	require.Equal(t, rec, back)
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.Equal(t, string(raw), string(again))
}

func TestUnmarshalReplacesAndNamesTheFieldAtFault(t *testing.T) {
	j := Job{ExternalID: "old", Customer: Some("old"), Extra: map[string]any{"old": 1}}
	require.NoError(t, json.Unmarshal([]byte(`{"job_number":"N","zone":1}`), &j))
	assert.Equal(t, Job{JobNumber: "N", Extra: map[string]any{"zone": json.Number("1")}}, j, "nothing of the old record is left")

	for text, field := range map[string]string{
		`{"external_id":7}`:               "external_id",
		`{"external_id":null}`:            "external_id",
		`{"due_date":"2025-02-30"}`:       "due_date",
		`{"due_date":20250101}`:           "due_date",
		`{"priority":"high"}`:             "priority",
		`{"priority":1.5}`:                "priority",
		`{"parts":{}}`:                    "parts",
		`{"parts":[{"quantity":"many"}]}`: "quantity",
		`{"parts":[{"operations":[{"estimated_time_minutes":"30"}]}]}`: "estimated_time_minutes",
	} {
		var j Job
		require.ErrorContainsf(t, json.Unmarshal([]byte(text), &j), field, "%s", text)
	}
	for _, text := range []string{``, `[]`, `"x"`, `1`, `{`} {
		assert.Errorf(t, json.Unmarshal([]byte(text), &j), "%s", text)
		var r Resource
		assert.Error(t, r.UnmarshalJSON([]byte(text)))
		var c Cell
		assert.Error(t, c.UnmarshalJSON([]byte(text)))
	}
	var nulls Job
	require.NoError(t, json.Unmarshal([]byte(`{"customer":null,"parts":null,"due_date":null}`), &nulls))
	assert.Equal(t, Job{Customer: Null[string](), DueDate: Null[Date]()}, nulls)
}

// Ids that are remembered in few bytes come back as they were, or not at all.
func TestPackedIDs(t *testing.T) {
	const id = "550e8400-e29b-41d4-a716-446655440000"
	assert.Equal(t, id, packed(id).String())
	for _, odd := range []string{"", "uuid-1", id[1:], "550e8400-e29b-41d4-a716-44665544000g", "550e8400e29b-41d4-a716-4466554400000", "550e8400-e29b-41d4-a716+446655440000"} {
		assert.Empty(t, packed(odd).String(), odd)
	}
}
