package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// rowOf is a job's row as servers in the field send it.
func rowOf(externalID string, more ...string) string {
	row := `{"id":"813b2a91-c34d-4799-b626-9c4b5dd61113","tenant_id":"00000001-0000-4000-8000-000000000001","job_number":"JOB-1","customer":"Acme",` +
		`"due_date":"2025-01-31T00:00:00+00:00","due_date_override":null,"status":"not_started","notes":null,"metadata":{"a":1},` +
		`"created_at":"2026-11-23T10:53:23.288724+00:00","search_vector":"'-1':2A","delivery_country":"NL","delivery_lat":null,"package_count":1,` +
		`"external_id":"` + externalID + `","external_source":"SAP","sync_hash":"17d8","priority":0`
	deleted := `,"deleted_at":null,"deleted_by":null`
	for _, m := range more {
		deleted = m
	}
	return row + deleted + "}"
}

func TestASinglesAnswerInEveryShape(t *testing.T) {
	const id = "813b2a91-c34d-4799-b626-9c4b5dd61113"
	documented := func(action string) string {
		return `{"success":true,"data":{"action":"` + action + `","id":"` + id + `","external_id":"SO-1"}}`
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   Status
		row    bool
	}{
		"documented, created":             {201, documented("created"), StatusCreated, false},
		"documented, updated":             {200, documented("updated"), StatusUpdated, false},
		"skipped":                         {200, documented("skipped"), StatusUnchanged, false},
		"unchanged":                       {200, documented("unchanged"), StatusUnchanged, false},
		"synced":                          {200, documented("synced"), StatusSynced, false},
		"created, and the status says no": {200, documented("created"), StatusSynced, false},
		"updated, and the status says no": {201, documented("updated"), StatusSynced, false},
		"January's row":                   {201, `{"success":true,"data":{"action":"created","job":` + rowOf("SO-1") + `}}`, StatusCreated, true},
		"July's row":                      {200, `{"success":true,"data":{"job":` + rowOf("SO-1") + `,"action":"updated"}}`, StatusUpdated, true},
		"a row without action":            {200, `{"success":true,"data":{"job":` + rowOf("SO-1") + `}}`, StatusSynced, true},
		"more members":                    {201, `{"success":true,"data":{"action":"created","id":"` + id + `","external_id":"SO-1","x":[1]},"meta":{}}`, StatusCreated, false},
		"white space":                     {201, " \n" + documented("created") + "\r\n", StatusCreated, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := scripted(t, []httpmock.Responder{answer(tt.status, tt.body)}, once())
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.NoError(t, err)
			assert.Equal(t, tt.want, res.Status)
			assert.Equal(t, id, res.ID)
			assert.Equal(t, EntityJobs, res.Entity)
			assert.Equal(t, Key{"SAP", "SO-1"}, res.Key)
			assert.NoError(t, res.Err)
			assert.Nil(t, res.Record)
			assert.Equal(t, tt.status, res.Response.StatusCode)
			if !tt.row {
				assert.Nil(t, res.Row)
				return
			}
			require.NotNil(t, res.Row)
			assert.Equal(t, id, res.Row.ID)
			assert.Equal(t, Some("Acme"), res.Row.Customer)
			assert.True(t, res.Row.Notes.IsNull())
			assert.False(t, res.Row.DeliveryCity.IsSet(), "what the row lacks is unset")
			due, _ := res.Row.DueDate.Get()
			assert.Equal(t, NewDate(2025, time.January, 31), DateOf(due.UTC()))
			assert.Equal(t, Some(WorkNotStarted), res.Row.Status)
			assert.Equal(t, Some(0), res.Row.Priority)
			assert.JSONEq(t, `{"a":1}`, string(res.Row.Metadata))
			assert.Equal(t, map[string]json.RawMessage{"search_vector": json.RawMessage(`"'-1':2A"`)}, res.Row.Unknown)
		})
	}
}

// An answer that does not prove the success of this very record is none.
func TestASinglesAnswerThatProvesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		data string
		want Status
		kind error
		text string
	}{
		"another record":             {`{"action":"created","id":"u","external_id":"SO-2"}`, StatusUnknown, ErrBadAnswer, `another record, "SO-2"`},
		"another record's row":       {`{"action":"created","job":` + rowOf("SO-2") + `}`, StatusUnknown, ErrBadAnswer, `another record, "SO-2"`},
		"another case":               {`{"action":"created","id":"u","external_id":"so-1"}`, StatusUnknown, ErrBadAnswer, "another record"},
		"another source":             {`{"action":"created","id":"u","external_id":"SO-1","external_source":"Infor"}`, StatusUnknown, ErrBadAnswer, `another source, "Infor"`},
		"another entity's row":       {`{"action":"created","part":` + rowOf("SO-1") + `}`, StatusUnknown, ErrBadAnswer, "names no record"},
		"no record at all":           {`{"action":"created"}`, StatusUnknown, ErrBadAnswer, "names no record"},
		"a null row":                 {`{"action":"created","job":null}`, StatusUnknown, ErrBadAnswer, "names no record"},
		"a row as text":              {`{"action":"created","job":"SO-1"}`, StatusUnknown, ErrBadAnswer, "names no record"},
		"null id":                    {`{"action":"created","id":null,"external_id":null}`, StatusUnknown, ErrBadAnswer, "names no record"},
		"no action":                  {`{"id":"u","external_id":"SO-1"}`, StatusUnknown, ErrBadAnswer, `action is ""`},
		"an odd action":              {`{"action":"queued","id":"u","external_id":"SO-1"}`, StatusUnknown, ErrBadAnswer, `action is "queued"`},
		"an odd action beside a row": {`{"action":"queued","job":` + rowOf("SO-1") + `}`, StatusUnknown, ErrBadAnswer, `action is "queued"`},
		"action in capitals":         {`{"action":"CREATED","id":"u","external_id":"SO-1"}`, StatusUnknown, ErrBadAnswer, `action is "CREATED"`},
		"a list as action":           {`{"action":["created"],"id":"u","external_id":"SO-1"}`, StatusUnknown, ErrBadAnswer, `action is ""`},
		"an error":                   {`{"action":"error","external_id":"SO-1","error":"Invalid due_date format"}`, StatusFailed, ErrValidation, "Invalid due_date format"},
		"an error without words":     {`{"action":"error","external_id":"SO-1"}`, StatusFailed, nil, "the server gave no reason"},
		"a failure":                  {`{"action":"failed","external_id":"SO-1","error":"Job with external_id \"X\" not found"}`, StatusFailed, ErrParentNotFound, "not found"},
		"a deleted row, updated":     {`{"job":` + rowOf("SO-1", `,"deleted_at":"2026-11-23T10:53:23+00:00"`) + `,"action":"updated"}`, StatusFailed, ErrDeletedOnServer, "the row was deleted on the server"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":`+tt.data+`}`)})
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.Error(t, err)
			assert.Equal(t, tt.want, res.Status)
			if tt.kind != nil {
				require.ErrorIs(t, err, tt.kind)
			}
			assert.ErrorContains(t, err, tt.text)
			assert.Equal(t, tt.want == StatusUnknown, errors.Is(err, ErrUnknownOutcome))
			assert.Len(t, s.requests(), 1, "what the server answered once it would answer again")
		})
	}
}

func TestANumericExternalIDIsTheSameID(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(201, `{"success":true,"data":{"action":"created","id":7,"external_id":4711}}`)})
	res, err := c.Jobs.Sync(t.Context(), Job{ExternalID: "4711", JobNumber: "N"})
	require.NoError(t, err)
	assert.Equal(t, "7", res.ID)
	res, err = c.Jobs.Sync(t.Context(), Job{ExternalID: "04711", JobNumber: "N"})
	require.ErrorIs(t, err, ErrUnknownOutcome)
	assert.Equal(t, StatusUnknown, res.Status)
}

// A column of an unexpected type must not spoil the outcome.
func TestOddColumnsAreKeptAsTheyCame(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"action":"updated","job":{"id":"u","external_id":"SO-1","external_source":"SAP",`+
		`"job_number":12,"due_date":"soon","priority":"high","package_count":1.5,"status":"sleeping","delivery_lat":"52.1","Customer":"X"}}}`)})
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.Equal(t, StatusUpdated, res.Status)
	assert.Equal(t, &JobRow{
		ID: "u", ExternalID: Some("SO-1"), ExternalSource: Some("SAP"), Status: Some(WorkStatus("sleeping")),
		Unknown: map[string]json.RawMessage{
			"job_number": json.RawMessage(`12`), "due_date": json.RawMessage(`"soon"`), "priority": json.RawMessage(`"high"`),
			"package_count": json.RawMessage(`1.5`), "delivery_lat": json.RawMessage(`"52.1"`), "Customer": json.RawMessage(`"X"`),
		},
	}, res.Row)
}

// The five services against the server in each of its releases: what they say
// is what happened.
func TestEachServiceInEachRelease(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, hasty(2), WithOverwritingUpdates())
			ctx := t.Context()
			for _, want := range []Status{StatusCreated, StatusUpdated} {
				cell, err := c.Cells.Sync(ctx, documentedCell)
				require.NoError(t, err)
				resource, err := c.Resources.Sync(ctx, documentedResource)
				require.NoError(t, err)
				j, err := c.Jobs.Sync(ctx, documentedJob)
				require.NoError(t, err)
				part, err := c.Parts.Sync(ctx, documentedPart)
				require.NoError(t, err)
				op, err := c.Operations.Sync(ctx, documentedOperation)
				require.NoError(t, err)
				for _, o := range []Outcome{cell.Outcome, resource.Outcome, j.Outcome, part.Outcome, op.Outcome} {
					assert.Equal(t, want, o.Status, o.Entity)
					row, ok := srv.Row(eryxontest.Entity(o.Entity), o.Key.Source, o.Key.ExternalID)
					require.True(t, ok, o.Entity)
					assert.Equal(t, row["id"], o.ID)
				}
				if release == eryxontest.V01 {
					assert.Equal(t, "Cutting", cell.Row.Name)
					assert.Equal(t, Some(true), cell.Row.Active)
					assert.Equal(t, ResourceEquipment, resource.Row.Type)
					assert.Equal(t, j.ID, part.Row.JobID)
					assert.Equal(t, Some(25), part.Row.Quantity)
					assert.Equal(t, part.ID, op.Row.PartID)
					assert.Equal(t, cell.ID, op.Row.CellID)
					assert.Equal(t, Some(30.0), op.Row.EstimatedTime)
				}
			}
			bulk, err := c.Cells.BulkSync(ctx, []Cell{{ExternalID: "WC-2", Name: "Bending"}, documentedCell})
			require.NoError(t, err)
			assert.Equal(t, Counts{Created: 1, Updated: 1}, bulk.Counts)
			resources, err := c.Resources.BulkSync(ctx, []Resource{documentedResource, {ExternalID: "T-2", Name: "Fixture", Type: ResourceFixture}})
			require.NoError(t, err)
			assert.Equal(t, Counts{Created: 1, Updated: 1}, resources.Counts)
			parts, err := c.Parts.BulkSync(ctx, []Part{documentedPart, {ExternalID: "P-2", JobExternalID: "SO-12345", PartNumber: "B"}})
			require.NoError(t, err)
			assert.Equal(t, Counts{Created: 1, Updated: 1}, parts.Counts)
			ops, err := c.Operations.BulkSync(ctx, []Operation{documentedOperation, {ExternalID: "O-2", PartExternalID: "P-2", OperationName: "Bend", CellName: "Bending"}})
			require.NoError(t, err)
			assert.Equal(t, Counts{Created: 1, Updated: 1}, ops.Counts)
		})
	}
}

func TestStreamsOfEachService(t *testing.T) {
	defer goleak.VerifyNone(t)
	srv := eryxontest.New()
	c := onServer(t, srv)
	ctx := t.Context()
	for _, st := range []*Stream{
		c.Cells.Stream(ctx, just(documentedCell)), c.Resources.Stream(ctx, just(documentedResource)), c.Jobs.Stream(ctx, just(documentedJob)),
		c.Parts.Stream(ctx, just(documentedPart)), c.Operations.Stream(ctx, just(documentedOperation)),
	} {
		n := 0
		for o := range st.All() {
			assert.Equal(t, StatusCreated, o.Status, o.Entity)
			n++
		}
		require.NoError(t, st.Err())
		assert.Equal(t, 1, n)
	}
}

func just[R any](r R) func(func(R, error) bool) {
	return func(yield func(R, error) bool) { yield(r, nil) }
}

func TestRulesSpareTheRequest(t *testing.T) {
	c, wire := onWire(t)
	bare, _ := New(testURL, testKey)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		sync   func() (Outcome, error)
		fields []string
	}{
		"job":                {func() (Outcome, error) { r, err := c.Jobs.Sync(ctx, Job{}); return r.Outcome, err }, []string{"external_id", "job_number"}},
		"part":               {func() (Outcome, error) { r, err := c.Parts.Sync(ctx, Part{}); return r.Outcome, err }, []string{"external_id", "job_external_id", "part_number"}},
		"operation":          {func() (Outcome, error) { r, err := c.Operations.Sync(ctx, Operation{}); return r.Outcome, err }, []string{"external_id", "part_external_id", "operation_name", "cell_name"}},
		"cell":               {func() (Outcome, error) { r, err := c.Cells.Sync(ctx, Cell{}); return r.Outcome, err }, []string{"external_id", "name"}},
		"resource":           {func() (Outcome, error) { r, err := c.Resources.Sync(ctx, Resource{}); return r.Outcome, err }, []string{"external_id", "name", "type"}},
		"no source anywhere": {func() (Outcome, error) { r, err := bare.Jobs.Sync(ctx, job("SO-1")); return r.Outcome, err }, []string{"external_source"}},
		"nested without ids": {func() (Outcome, error) {
			r, err := c.Jobs.Sync(ctx, Job{ExternalID: "J", JobNumber: "N", Parts: []Part{{Operations: []Operation{{}}}}})
			return r.Outcome, err
		}, []string{"parts[0].external_id", "parts[0].part_number", "parts[0].operations[0].external_id", "parts[0].operations[0].operation_name", "parts[0].operations[0].cell_name"}},
		"nested of another source": {func() (Outcome, error) {
			r, err := c.Jobs.Sync(ctx, Job{ExternalID: "J", ExternalSource: "SAP", JobNumber: "N", Parts: []Part{{ExternalID: "P", ExternalSource: "Infor", PartNumber: "N"}}})
			return r.Outcome, err
		}, []string{"parts[0].external_source"}},
		"nested of another job": {func() (Outcome, error) {
			r, err := c.Jobs.Sync(ctx, Job{ExternalID: "J", JobNumber: "N", Parts: []Part{{ExternalID: "P", PartNumber: "N", JobExternalID: "K"}}})
			return r.Outcome, err
		}, []string{"parts[0].job_external_id"}},
		"nested of another part": {func() (Outcome, error) {
			r, err := c.Parts.Sync(ctx, Part{ExternalID: "P", JobID: "u", PartNumber: "N", Operations: []Operation{{ExternalID: "O", OperationName: "N", CellName: "C", PartExternalID: "Q"}}})
			return r.Outcome, err
		}, []string{"operations[0].part_external_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := tt.sync()
			assert.Equal(t, StatusFailed, o.Status)
			assert.Zero(t, o.Attempts)
			assert.Empty(t, o.RequestID)
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.True(t, invalid.Local)
			assert.Equal(t, "VALIDATION_ERROR", invalid.Code)
			assert.Equal(t, o.Key, invalid.Key)
			var fields []string
			for _, d := range invalid.Details {
				fields = append(fields, d.Field)
				assert.ErrorContains(t, err, d.Field+" "+d.Message)
			}
			assert.Equal(t, tt.fields, fields, "all complaints at once")
			assert.ErrorContains(t, err, "not sent")
			for _, n := range o.Nested {
				assert.Equal(t, StatusParentFailed, n.Status)
				require.ErrorIs(t, n.Err, ErrValidation, "it says why")
			}
		})
	}
	assert.Zero(t, wire.GetTotalCallCount())

	// Links by UUID stand in for those by name.
	c, _ = scripted(t, []httpmock.Responder{answer(201, `{"success":true,"data":{"action":"created","id":"u","external_id":"X"}}`)})
	_, err := c.Parts.Sync(ctx, Part{ExternalID: "X", PartNumber: "N", JobID: "u"})
	require.NoError(t, err)
	_, err = c.Operations.Sync(ctx, Operation{ExternalID: "X", OperationName: "N", PartID: "u", CellID: "u"})
	require.NoError(t, err)
}

func TestTheSourceByDefault(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(201, createdJob)})
	for _, tt := range []struct {
		job  Job
		opts []CallOption
		want string
	}{
		{job("SO-1"), nil, "SAP"},
		{Job{ExternalID: "SO-1", ExternalSource: "Infor", JobNumber: "N"}, nil, "Infor"},
		{job("SO-1"), []CallOption{WithSource("proALPHA")}, "proALPHA"},
		{Job{ExternalID: "SO-1", ExternalSource: "Infor", JobNumber: "N"}, []CallOption{WithSource("proALPHA")}, "Infor"},
	} {
		res, err := c.Jobs.Sync(t.Context(), tt.job, tt.opts...)
		require.NoError(t, err)
		assert.Equal(t, tt.want, res.Key.Source)
		sent := s.requests()[len(s.requests())-1].body
		assert.Contains(t, sent, `"external_source":"`+tt.want+`"`)
	}
}

func TestNestedRecordsAreAccountedFor(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, once())
	_, err := c.Cells.BulkSync(t.Context(), []Cell{{ExternalID: "C1", Name: "Cutting"}, {ExternalID: "C2", Name: "Bending"}})
	require.NoError(t, err)
	res, err := c.Jobs.Sync(t.Context(), documentedNested)
	require.NoError(t, err)
	want := []Outcome{
		{Entity: EntityParts, Index: 0, Key: Key{"SAP", "SO-12345-10"}, RequestID: res.RequestID},
		{Entity: EntityOperations, Index: 0, Key: Key{"SAP", "SO-12345-10-010"}, RequestID: res.RequestID},
		{Entity: EntityOperations, Index: 1, Key: Key{"SAP", "SO-12345-10-020"}, RequestID: res.RequestID},
	}
	assert.Equal(t, want, res.Nested, "unknown: the answer does not speak of them")

	srv.FailRecord(eryxontest.Jobs, "SO-12345", "no")
	bulk, err := c.Jobs.BulkSync(t.Context(), []Job{documentedNested, job("SO-2")})
	require.Error(t, err)
	assert.Equal(t, Counts{Failed: 1, Created: 1}, bulk.Counts)
	assert.Equal(t, Counts{Unknown: 3}, bulk.Nested)

	srv.RevokeKey()
	bulk, err = c.Jobs.BulkSync(t.Context(), []Job{documentedNested, documentedNested, {ExternalID: "x", Parts: []Part{{ExternalID: "p"}}}})
	require.Error(t, err)
	assert.Equal(t, 3, bulk.Counts.Total())
}

func TestABulkIsSentInOrderInRequestsOfAThousand(t *testing.T) {
	srv := eryxontest.New()
	var w watch
	c := onServer(t, srv, w.option())
	list := jobs(2500)
	bulk, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	assert.Equal(t, 3, bulk.Requests)
	assert.Equal(t, 3, bulk.Attempts)
	assert.Equal(t, Counts{Created: 2500}, bulk.Counts)
	var arrived []string
	for i, r := range srv.Requests() {
		assert.Equal(t, []int{1000, 1000, 500}[i], r.Records)
		assert.Equal(t, r.Records, w.all()[i].Records)
		for _, k := range r.Keys {
			arrived = append(arrived, k.ExternalID)
		}
	}
	require.Len(t, bulk.Outcomes, 2500)
	for i, o := range bulk.Outcomes {
		require.Equal(t, i, o.Index)
		require.Equal(t, list[i].ExternalID, o.Key.ExternalID)
		require.Equal(t, list[i].ExternalID, arrived[i], "in the order given")
		require.NotEmpty(t, o.ID)
		require.Equal(t, srv.Requests()[i/1000].RequestID, o.RequestID)
		require.Equal(t, 1, o.Attempts)
	}
}

func TestAnEmptyBulkSendsNothing(t *testing.T) {
	c, wire := onWire(t)
	for _, list := range [][]Job{nil, {}} {
		bulk, err := c.Jobs.BulkSync(t.Context(), list)
		require.NoError(t, err)
		assert.Equal(t, &BulkResult{Outcomes: []Outcome{}}, bulk)
	}
	assert.Zero(t, wire.GetTotalCallCount())
}

func TestRepeatedKeysInASlice(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv)
	same := func() Job {
		return Job{ExternalID: "SAME", JobNumber: "S", Notes: Some("equal"), Extra: map[string]any{"a": 1, "b": 2}}
	}
	spelled := same()
	spelled.ExternalSource = "SAP" // the same key: the source by default
	bulk, err := c.Jobs.BulkSync(t.Context(), []Job{
		same(),
		{ExternalID: "DIFF", JobNumber: "D1"},
		job("SO-1"),
		spelled,
		{ExternalID: "DIFF", JobNumber: "D2"},
		{ExternalID: "SAME", ExternalSource: "Infor", JobNumber: "I"},
		same(),
		{ExternalID: "DIFF", JobNumber: "D1"},
	})
	require.Error(t, err)
	var statuses []string
	for _, o := range bulk.Outcomes {
		statuses = append(statuses, o.Status.String())
	}
	assert.Equal(t, []string{"superseded", "failed", "created", "superseded", "failed", "created", "created", "failed"}, statuses,
		"of the same content the last is sent; of different content none, for nothing tells which is right")
	var partial *PartialError
	require.ErrorAs(t, err, &partial)
	assert.Len(t, partial.Failures, 3)
	for _, f := range partial.Failures {
		var invalid *ValidationError
		require.ErrorAs(t, f, &invalid)
		assert.True(t, invalid.Local)
		assert.Equal(t, "external_id", invalid.Field)
		assert.Equal(t, "UNIQUE", invalid.Details[0].Constraint)
		assert.ErrorContains(t, f, `"DIFF" stands on 3 records of different content (records 1, 4, 7)`)
	}
	_, there := srv.Row(eryxontest.Jobs, "SAP", "DIFF")
	assert.False(t, there)
	assert.Len(t, srv.Rows(eryxontest.Jobs), 3)

	// Many places are not all listed, and missing ids are no repeated key.
	many := make([]Job, 6)
	for i := range many {
		many[i] = Job{ExternalID: "M", JobNumber: fmt.Sprint(i)}
	}
	_, err = c.Jobs.BulkSync(t.Context(), append(many, Job{JobNumber: "a"}, Job{JobNumber: "b"}))
	require.ErrorContains(t, err, "records 0, 1, 2, 3, …")
	require.ErrorAs(t, err, &partial)
	assert.Len(t, partial.Failures, 8)
	assert.ErrorContains(t, partial.Failures[6], "external_id is required")
	assert.NotContains(t, partial.Failures[6].Error(), "stands on")
}

// Servers answer by external id alone: two records that share it and differ in
// their source must not share a request.
func TestTheSameExternalIDOfTwoSources(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv)
	var list []Job
	for i := range 10 {
		for _, source := range []string{"SAP", "Infor"} {
			list = append(list, Job{ExternalID: fmt.Sprint(i), ExternalSource: source, JobNumber: fmt.Sprint(source, i)})
		}
	}
	bulk, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	assert.Equal(t, Counts{Created: 20}, bulk.Counts)
	for _, r := range srv.Requests() {
		seen := map[string]bool{}
		for _, k := range r.Keys {
			assert.False(t, seen[k.ExternalID])
			seen[k.ExternalID] = true
		}
	}
	for _, o := range bulk.Outcomes {
		row, ok := srv.Row(eryxontest.Jobs, o.Key.Source, o.Key.ExternalID)
		require.True(t, ok)
		assert.Equal(t, row["id"], o.ID, "each has its own row's id")
	}
}

// One client never has the same key in two requests at once: a retried old
// request would overwrite newer data.
func TestOneKeyIsNeverInTwoRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithLatency(time.Second, time.Millisecond))
		srv.Chaos(7, 0.3, eryxontest.Status(503), eryxontest.LoseAnswer(), eryxontest.Delay(time.Second).After())
		c := onServer(t, srv, WithRetryPolicy(RetryPolicy{20, time.Millisecond, 10 * time.Millisecond}))
		variant, err := c.With(WithUserAgent("variant/1"))
		require.NoError(t, err)
		_, err = c.Cells.BulkSync(t.Context(), []Cell{{ExternalID: "C1", Name: "Cutting"}, {ExternalID: "C2", Name: "Bending"}})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for g := range 6 {
			client := []*Client{c, variant}[g%2]
			wg.Go(func() {
				_, err := client.Jobs.Sync(t.Context(), job("SO-00001"))
				assert.NoError(t, err)
			})
			wg.Go(func() {
				_, err := client.Jobs.BulkSync(t.Context(), jobs(5))
				assert.NoError(t, err)
			})
			wg.Go(func() {
				_, err := client.Jobs.Sync(t.Context(), documentedNested)
				assert.NoError(t, err)
			})
			wg.Go(func() {
				_, err := client.Jobs.BulkSync(t.Context(), []Job{documentedNested, job("SO-00003")})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Empty(t, srv.Overlaps())
		assert.Greater(t, len(srv.Requests()), 24)
	})
}

func TestWaitingForAKeyObeysTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithLatency(time.Minute, 0))
		c := onServer(t, srv)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			assert.NoError(t, err)
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		res, err := c.Jobs.Sync(ctx, job("SO-1"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, StatusNotSent, res.Status)
		assert.Equal(t, time.Second, time.Since(start))
		// Another entity's record of the same id is not in the way.
		_, err = c.Cells.Sync(t.Context(), Cell{ExternalID: "SO-1", Name: "C", Color: Some("#3b82f6"), Active: Some(true)})
		require.NoError(t, err)
		wg.Wait()
		assert.Len(t, srv.Requests(), 2)
	})
}

func TestARevokedKeyEndsABulk(t *testing.T) {
	srv := eryxontest.New()
	srv.RevokeKey()
	c := onServer(t, srv)
	bulk, err := c.Jobs.BulkSync(t.Context(), jobs(2500))
	require.ErrorIs(t, err, ErrUnauthorized)
	requests := len(srv.Requests())
	assert.Equal(t, 1, requests, "a revoked key must not burn the quota")
	assert.Equal(t, 2500, bulk.Counts.Total())
	assert.Zero(t, bulk.Counts.Succeeded())
	assert.Equal(t, 1500, bulk.Counts.NotSent)
	for i, o := range bulk.Outcomes {
		require.Equal(t, i, o.Index)
		require.ErrorIs(t, o.Err, ErrUnauthorized, "each says why")
		require.NotNil(t, o.Record)
	}
	assert.Less(t, len(err.Error()), 2000, "the text stays short")
	assert.Equal(t, 1, strings.Count(err.Error(), "and 2497 more"))
}
