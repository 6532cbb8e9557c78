package eryxon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

func steel(id, job string) eryxon.Part {
	return eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: job, Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}
}

func TestNoPartIsLinkedToADeletedJob(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
	require.NoError(t, err)
	srv.Delete(eryxontest.Jobs, "SAP", "J")
	_, err = c.Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J")})
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
}

// ofTwoSources is a job of one external id in each of two sources.
func ofTwoSources(t *testing.T) *eryxontest.Server {
	t.Helper()
	srv, _ := releaseClient(t, eryxontest.V01)
	for _, s := range []string{"SAP", "ODOO"} {
		_, err := another(t, srv, eryxon.WithSource(s)).Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: s}})
		require.NoError(t, err)
	}
	return srv
}

func TestNoForeignParentIsTaken(t *testing.T) {
	for name, before := range map[string]func(c *eryxon.Client) error{
		"nothing known": func(*eryxon.Client) error { return nil },
		"a single sync": func(c *eryxon.Client) error {
			_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "SAP"})
			return err
		},
		"a bulk": func(c *eryxon.Client) error {
			_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "SAP"}})
			return err
		},
	} {
		srv := ofTwoSources(t)
		c := another(t, srv)
		require.NoError(t, before(c))
		_, err := c.Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J")})
		require.NoError(t, err)
		job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
		part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
		assert.Equal(t, job["id"], part["job_id"], name)
	}
}

func TestParentsOfTheRunAreNotAskedFor(t *testing.T) {
	srv := ofTwoSources(t)
	before := len(srv.Requests())
	_, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{
		Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "SAP"}}),
		Parts: eryxon.FromSlice([]eryxon.Part{steel("P", "J")}),
	})
	require.NoError(t, err)
	assert.Len(t, srv.Requests(), before+2)
	job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
	part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, job["id"], part["job_id"])
}

func TestAServerOfWhichRateLimitHeadersTellIsNotAsked(t *testing.T) {
	for metered, want := range map[bool]int{false: 3, true: 2} {
		srv := eryxontest.NewServer(t, eryxontest.WithQuota(100, time.Hour), eryxontest.WithHeadersAlways(metered))
		c := another(t, srv)
		_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
		require.NoError(t, err)
		_, err = c.Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J")})
		require.NoError(t, err)
		assert.Len(t, srv.Requests(), want, "metered %v", metered)
		_, err = c.Parts.BulkSync(t.Context(), []eryxon.Part{steel("Q", "J")})
		require.NoError(t, err)
		assert.Len(t, srv.Requests(), want+1, "once a client")
		assert.NotContains(t, string(srv.Requests()[want].Body), "job_id")
	}
}

func TestBelieversAreNotAskedFor(t *testing.T) {
	srv := ofTwoSources(t)
	before := len(srv.Requests())
	_, err := another(t, srv).Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J")}, eryxon.WithoutChecks())
	require.NoError(t, err)
	assert.Len(t, srv.Requests(), before+1)
}

func TestASingleSyncOverwritesNothingWhereItCantAsk(t *testing.T) {
	for _, status := range []int{403, 429, 500, 503} {
		srv, c := releaseClient(t, eryxontest.V01)
		_, err := c.Cells.BulkSync(t.Context(), []eryxon.Cell{{ExternalID: "C", Name: "C", Color: eryxon.Some("#111111"), Active: eryxon.Some(true)}})
		require.NoError(t, err)
		f := eryxontest.StatusJSON(status, "X", "no")
		srv.Script("/api-cells", f, f, f)
		res, err := another(t, srv).Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "C", Active: eryxon.Some(true)})
		row, _ := srv.Row(eryxontest.Cells, "SAP", "C")
		assert.Equal(t, "#111111", row["color"], "%d: %s, %v", status, res.Status, err)
	}
}

func TestAnUnknownCellIsNotThePartsFault(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	st, data := syncstate.NewMemory(), shopFloor("P")
	_, err := c.SyncAll(t.Context(), data, eryxon.WithState(st))
	require.NoError(t, err)
	before := len(srv.Requests())
	_, err = c.Operations.BulkSync(t.Context(), cuts("P", 2, func(o *eryxon.Operation) { whole(o); o.CellName = "Nowhere" }), eryxon.WithState(st))
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Len(t, srv.Requests(), before+3, "the cells, the part and the bulk")
	report, err := c.SyncAll(t.Context(), data, eryxon.WithState(st))
	require.NoError(t, err)
	assert.Equal(t, eryxon.Counts{Unchanged: 3}, report.Total().Counts)
}

func TestNobodyLooksAtCellsThatNobodyNames(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	cell, _ := srv.Row(eryxontest.Cells, "SAP", "C")
	before := len(srv.Requests())
	_, err = c.Operations.BulkSync(t.Context(), cuts("P", 3, func(o *eryxon.Operation) { whole(o); o.CellName, o.CellID = "", cell["id"].(string) }))
	require.NoError(t, err)
	assert.Len(t, srv.Requests(), before+2, "the part and the bulk")
}

func TestTwinsAreNotPickedWhereCellsCantBeRead(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
	f := eryxontest.Status(503)
	srv.Script("/api-cells", f, f, f, f, f, f)
	before := len(srv.Requests())
	res, err := c.Operations.BulkSync(t.Context(), cuts("P", 3, whole), eryxon.WithMaxRequestRecords(1))
	assert.Error(t, err, "%s, %d requests", res.Counts, len(srv.Requests())-before)
}

func TestARetriedDuplicateAsksForNoParent(t *testing.T) {
	for release, want := range map[eryxontest.Release]int{eryxontest.Documented: 3, eryxontest.V01: 4} { // what the server is, on v0.1 the job, and two bulks
		srv, c := releaseClient(t, release)
		_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
		require.NoError(t, err)
		before := len(srv.Requests())
		srv.FailRecord(eryxontest.Parts, "X", `duplicate key value violates unique constraint "idx_parts_external_sync"`)
		_, err = another(t, srv).Parts.BulkSync(t.Context(), []eryxon.Part{steel("X", "J"), steel("Y", "J")})
		require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
		assert.Len(t, srv.Requests(), before+want, release)
	}
}

func TestABrokenQuestionKeepsNoPartsBack(t *testing.T) {
	for _, tt := range []struct {
		path    string
		release eryxon.Release
	}{{"/api-erp-sync/diff", eryxon.ReleaseV01}, {"/api-cells", eryxon.ReleaseUnknown}} {
		for _, status := range []int{400, 403, 414, 500} {
			srv, c := releaseClient(t, eryxontest.V01)
			_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
			require.NoError(t, err)
			f := eryxontest.StatusJSON(status, "X", "no")
			srv.Script(tt.path, f, f, f, f, f, f)
			_, err = another(t, srv, eryxon.WithRelease(tt.release)).Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J"), steel("Q", "J")})
			assert.NoError(t, err, "%s, %d", tt.path, status)
		}
	}
}

// Where no answer at all comes to what the server is, nothing may be linked to a parent
// of any source.
func TestNoAnswerToAQuestionKeepsPartsBack(t *testing.T) {
	srv := ofTwoSources(t)
	f := eryxontest.Status(503)
	srv.Script("/api-cells", f, f, f, f)
	res, err := another(t, srv).Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J")})
	require.Error(t, err)
	assert.Equal(t, eryxon.Counts{NotSent: 1}, res.Counts)
	assert.Empty(t, srv.Rows(eryxontest.Parts))
}

func TestOneOfTwoCellsIsNotPickedByAServerThatIsNotKnown(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V01)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 3})
	data := shopFloor("P")
	data.Cells = eryxon.Input[eryxon.Cell]{}
	data.Operations = eryxon.FromSlice(cuts("P", 2, whole))
	_, err := another(t, srv).SyncAll(t.Context(), data)
	require.ErrorIs(t, err, eryxon.ErrConflict)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
}

// What a run has seen and made holds for its sequences, too.
func TestASequenceKnowsWhatItsRunHasMade(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	data := shopFloor("P")
	data.Operations = eryxon.FromSeq(seqOf(cuts("P", 3, nil)))
	report, err := c.SyncAll(t.Context(), data)
	require.NoError(t, err)
	assert.Equal(t, 3, report.Operations.Counts.Created, "they have nothing to be overwritten")
	for _, r := range srv.Requests() {
		assert.NotContains(t, r.Path, "diff", "the run has seen job and part")
	}
}
