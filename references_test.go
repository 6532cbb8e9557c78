package eryxon_test

import (
	"testing"

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

func TestAServerThatIsKnownToFillTakesNoForeignParent(t *testing.T) {
	for _, asked := range []bool{false, true} {
		srv, _ := releaseClient(t, eryxontest.V01)
		for _, s := range []string{"SAP", "ODOO"} {
			_, err := another(t, srv, eryxon.WithSource(s)).Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: s}})
			require.NoError(t, err)
		}
		c, p := another(t, srv), steel("P", "J")
		if asked {
			p.Quantity = eryxon.Opt[int]{} // which asks the server what it is
		} else {
			_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "SAP"}) // whose answer tells
			require.NoError(t, err)
		}
		_, err := c.Parts.BulkSync(t.Context(), []eryxon.Part{p})
		require.NoError(t, err)
		job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
		part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
		assert.Equal(t, job["id"], part["job_id"], "asked %v", asked)
	}
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
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01} {
		srv, c := releaseClient(t, release)
		_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
		require.NoError(t, err)
		srv.FailRecord(eryxontest.Parts, "X", `duplicate key value violates unique constraint "idx_parts_external_sync"`)
		before := len(srv.Requests())
		_, err = another(t, srv).Parts.BulkSync(t.Context(), []eryxon.Part{steel("X", "J"), steel("Y", "J")})
		require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
		assert.Len(t, srv.Requests(), before+2, release)
	}
}

func TestABrokenQuestionKeepsNoPartsBack(t *testing.T) {
	for _, status := range []int{400, 403, 414, 500} {
		srv, c := releaseClient(t, eryxontest.V01)
		_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
		require.NoError(t, err)
		f := eryxontest.StatusJSON(status, "X", "no")
		srv.Script("/api-erp-sync/diff", f, f, f, f, f, f)
		_, err = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01)).Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J"), steel("Q", "J")})
		assert.NoError(t, err, status)
	}
}
