package eryxon_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

func TestNestedRecordsThatFailedWithWhatTheyCarryCanBeReplayed(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08)
	_, err := c.SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells})
	require.NoError(t, err)
	p := steel("bad", "")
	p.Extra, p.Operations = map[string]any{"no_column": 1}, cuts("", 2, whole)
	var file strings.Builder
	_, err = c.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{p}}})}, eryxon.WithNested(), eryxon.WithFailedRecords(&file))
	require.Error(t, err)
	again, err := eryxon.ReadFailedRecords(strings.NewReader(strings.ReplaceAll(file.String(), "no_column", "drawing_no")))
	require.NoError(t, err)
	_, err = another(t, srv).SyncAll(t.Context(), again)
	require.NoError(t, err)
}

func TestASingleSyncsNestedFailureIsInItsError(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08AsMigrated)
	_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
	require.NoError(t, err)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
	p := steel("P", "J")
	p.Operations = cuts("", 1, whole)
	res, err := another(t, srv).Parts.Sync(t.Context(), p)
	require.Equal(t, eryxon.StatusFailed, res.Nested[0].Status)
	require.Error(t, err)
}

func TestNestedErrorsHaveTheirOutcomesIndex(t *testing.T) {
	_, c := releaseClient(t, eryxontest.V08)
	bad := steel("P2", "")
	bad.Extra = map[string]any{"no_column": 1}
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J0", JobNumber: "J0"},
		{ExternalID: "J1", JobNumber: "J1", Parts: []eryxon.Part{steel("P1", "")}}, {ExternalID: "J2", JobNumber: "J2", Parts: []eryxon.Part{bad}}})
	var failed *eryxon.RecordError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, res.Outcomes[2].Nested[0].Index, failed.Index)
}

func TestAJobThatIsSyncedOnceMoreIsStillCreated(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V08)
	c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
	bad := steel("P", "")
	bad.Extra = map[string]any{"no_column": 1}
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold), Parts: []eryxon.Part{bad}}
	srv.Script("/api-jobs/sync", eryxontest.CloseBefore(), eryxontest.CloseBefore())
	_, err := c.Jobs.Sync(t.Context(), job)
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	res, _ := c.Jobs.Sync(t.Context(), job)
	assert.Equal(t, eryxon.StatusCreated, res.Status)
}

// A bulk that passes over a status has written what the job carried, whether or not the
// single sync of the status is made.
func TestWhatAPassedOverStatusCarriedIsNotUnsent(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
	require.NoError(t, err)
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold), Parts: []eryxon.Part{steel("P", "")}}
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{job}, eryxon.WithRequestBudget(1))
	require.ErrorIs(t, err, eryxon.ErrRequestBudget)
	require.Len(t, srv.Rows(eryxontest.Parts), 1)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Status)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Nested[0].Status)
}

func TestOneKeyTwiceInACarrierHasTwoOutcomes(t *testing.T) {
	_, c := releaseClient(t, eryxontest.V08)
	_, err := c.SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells, Jobs: shopFloor().Jobs})
	require.NoError(t, err)
	p := steel("P", "J")
	p.Operations = append(cuts("", 1, nil), cuts("", 1, func(o *eryxon.Operation) { o.EstimatedTimeMinutes = eryxon.Null[float64]() })...)
	res, err := c.Parts.Sync(t.Context(), p)
	require.Error(t, err)
	assert.Equal(t, eryxon.StatusCreated, res.Nested[0].Status)
	assert.Equal(t, eryxon.StatusFailed, res.Nested[1].Status)
	require.ErrorContains(t, res.Nested[1].Err, "estimated_time")
}
