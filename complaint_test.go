package eryxon

import (
	"testing"

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
