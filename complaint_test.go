package eryxon

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// recordErrorOf is the record's error in err.
func recordErrorOf(t *testing.T, err error) *RecordError {
	t.Helper()
	var e *RecordError
	require.ErrorAs(t, err, &e)
	return e
}

// What the SDK finds out about a reference is told as what a server says of one:
// by message and field.
func TestAnErrorOfAReferenceHasMessageAndField(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	jobID := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "P", "job_id": jobID, "material": "S", "external_id": "P", "external_source": "SAP"})
	for range 2 {
		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 1})
	}
	c := onServer(t, srv, WithRelease(ReleaseV08))
	operation := func(id, part, cell string) Operation {
		return Operation{ExternalID: id, OperationName: "Bend", PartExternalID: part, CellName: cell}
	}
	res, _ := c.Operations.BulkSync(t.Context(), []Operation{operation("1", "NOPE", "Twin"), operation("2", "P", "Nope"), operation("3", "P", "Twin")})
	for i, want := range []struct {
		field, message string
		kind           error
	}{
		{"part_external_id", "part_external_id: the server has no part SAP/NOPE; sync it first, under the same external source", ErrParentNotFound},
		{"cell_name", `cell_name: the server has no cell "Nope"; sync it first, or check the spelling`, ErrParentNotFound},
		{"cell_name", `cell_name: the server has 2 cells named "Twin"; give CellID, or rename all but one`, ErrConflict},
	} {
		require.ErrorIs(t, res.Outcomes[i].Err, want.kind)
		e := recordErrorOf(t, res.Outcomes[i].Err)
		assert.Equal(t, want.field, e.Field)
		assert.Equal(t, want.message, e.Message)
		assert.Equal(t, StatusFailed, e.Status)
	}
	_, err := c.Parts.Sync(t.Context(), Part{ExternalID: "Q", PartNumber: "Q", JobExternalID: "NOPE"})
	require.ErrorIs(t, err, ErrParentNotFound)
	assert.Equal(t, "job_external_id", recordErrorOf(t, err).Field)
	_, err = c.Parts.Sync(t.Context(), Part{ExternalID: "Q", PartNumber: "Q", JobExternalID: `NO"PE`})
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Equal(t, "job_external_id", recordErrorOf(t, err).Field)
	assert.NotEmpty(t, recordErrorOf(t, err).Message)

	c = onServer(t, eryxontest.New(eryxontest.WithRelease(eryxontest.V08AsMigrated)))
	cells, _ := c.Cells.BulkSync(t.Context(), []Cell{{ExternalID: "A", Name: "A"}, {ExternalID: "B", Name: "B"}})
	for i := range cells.Outcomes {
		e := recordErrorOf(t, cells.Outcomes[i].Err)
		assert.Contains(t, e.Message, "lacks the column sync_hash")
		assert.NotContains(t, e.Message, "eryxon:")
		assert.Equal(t, "sync_hash", e.Field)
	}
	_, err = c.Jobs.BulkSync(t.Context(), []Job{job("A")})
	require.NoError(t, err)
	for range 2 { // the second is refused without being sent
		jobs, _ := c.Jobs.BulkSync(t.Context(), []Job{{ExternalID: "B", JobNumber: "B", Priority: Some(5)}})
		e := recordErrorOf(t, jobs.Outcomes[0].Err)
		assert.NotEmpty(t, e.Message)
		assert.Equal(t, "priority", e.Field)
	}
}

func TestARefusedSingleSyncNamesTheField(t *testing.T) {
	for _, tt := range []struct {
		status               int
		code, message, field string
		kind                 error
	}{
		{500, "INTERNAL_ERROR", "Failed to sync jobs: Could not find the 'priority' column of 'jobs' in the schema cache", "priority", ErrMissingColumn},
		{500, "INTERNAL_ERROR", "Failed to sync jobs: column jobs.priority does not exist", "priority", ErrMissingColumn},
		{400, "BAD_REQUEST", "job_id or job_external_id is required", "job_external_id", ErrParentNotFound},
		{404, "NOT_FOUND", `Part with external_id "P" not found`, "part_external_id", ErrParentNotFound},
		{500, "INTERNAL_ERROR", `insert or update on table "operations" violates foreign key constraint "operations_cell_id_fkey"`, "cell_id", ErrParentNotFound},
		{400, "BAD_REQUEST", "Invalid due_date format", "due_date", ErrValidation},
		{500, "INTERNAL_ERROR", `cannot insert a non-DEFAULT value into column "search_vector"`, "search_vector", ErrValidation},
		{500, "INTERNAL_ERROR", `insert or update on table "jobs" violates foreign key constraint "jobs_tenant_id_fkey"`, "tenant_id", ErrValidation},
	} {
		c, _ := scripted(t, []httpmock.Responder{refusal(tt.status, tt.code, tt.message)}, once())
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, tt.kind, tt.message)
		assert.Equal(t, StatusFailed, res.Status)
		e := recordErrorOf(t, err)
		assert.Equal(t, tt.field, e.Field, tt.message)
		assert.Equal(t, tt.message, e.Message)

		// And where the refusal is one of the record, in an answer of 200.
		c, _ = scripted(t, []httpmock.Responder{answer(200, fmt.Sprintf(`{"success":true,"data":{"action":"error","external_id":"SO-1","error":%q}}`, tt.message))}, once())
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, tt.kind, tt.message)
		assert.Equal(t, tt.field, recordErrorOf(t, err).Field, tt.message)
		if tt.kind == ErrValidation {
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, tt.field, invalid.Field)
		}
	}
}

func TestOnlyNaturalKeysAreCalledTaken(t *testing.T) {
	for _, constraint := range []string{"jobs_pkey", "idx_jobs_sync_hash"} {
		c, _ := scripted(t, []httpmock.Responder{refusal(500, "INTERNAL_ERROR", `duplicate key value violates unique constraint "`+constraint+`"`)}, once())
		_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrConflict)
		assert.NotErrorIs(t, err, ErrNaturalKeyTaken)
		assert.Empty(t, recordErrorOf(t, err).Field)
	}
	// One of a record inside it: the job's own number is free.
	c, _ := scripted(t, []httpmock.Responder{refusal(500, "INTERNAL_ERROR", `duplicate key value violates unique constraint "parts_job_id_part_number_key"`)}, once())
	_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorIs(t, err, ErrNaturalKeyTaken)
	assert.Equal(t, "part_number", recordErrorOf(t, err).Field)
	assert.NotContains(t, err.Error(), "JOB-SO-1")
}

func TestTheUnifiedEndpointNamesTheNaturalKeyThatIsTaken(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	c := onServer(t, srv)
	res, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{{ExternalID: "X", JobNumber: "TAKEN"}}})
	require.ErrorIs(t, err, ErrNaturalKeyTaken)
	e := recordErrorOf(t, res.Jobs[0].Err)
	assert.Equal(t, "job_number", e.Field)
	assert.Contains(t, e.Message, `job_number "TAKEN" belongs to another row`)

	// Of records that failed together it is not told whose number it is.
	res, err = c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{{ExternalID: "X", JobNumber: "TAKEN"}, {ExternalID: "Y", JobNumber: "FREE"}}})
	require.ErrorIs(t, err, ErrNaturalKeyTaken)
	for _, o := range res.Jobs {
		e := recordErrorOf(t, o.Err)
		assert.Equal(t, "job_number", e.Field)
		assert.NotContains(t, e.Message, "belongs to another row")
		assert.Contains(t, e.Message, "may be innocent")
	}
}

func TestTheUnifiedEndpointsMissingFieldsAreOfTheRecord(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{erpAnswerOf(`"total":1,"created":0,"updated":0,"skipped":0,"errors":1,"results":[{"external_id":"A","action":"error","error":"Missing required fields"}]`)}, once())
	_, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A")}})
	assert.ErrorIs(t, err, ErrValidation)
}

func TestOneRowThatIsNotThereIsNotFound(t *testing.T) {
	for _, text := range []string{"JSON object requested, multiple (or no) rows returned", "Failed to fetch job: Cannot coerce the result to a single JSON object"} {
		c, _ := scripted(t, []httpmock.Responder{refusal(500, "INTERNAL_ERROR", text)}, once())
		_, err := c.Jobs.Get(t.Context(), "550e8400-e29b-41d4-a716-446655440000")
		require.ErrorIs(t, err, ErrNotFound)
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrServer, "a look-up of the server's own says nothing of the record")
		assert.Equal(t, StatusUnknown, res.Status)
	}
}

// A refusal that is about the record as far as one can tell does not prove that
// an attempt before it was refused, too.
func TestABadRequestAfterALostAnswerProvesNothing(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{broken(), refusal(http.StatusBadRequest, "BAD_REQUEST", "not today")}, hasty(2))
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorIs(t, err, ErrValidation)
	assert.Equal(t, StatusUnknown, res.Status)
}
