package eryxon_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// What was left out of a carrier follows it, and nothing that it has carried: the shop
// floor may have begun with that.
func TestWhatWentNestedIsNotSentAgainWithItsStatus(t *testing.T) {
	srv, foreman := releaseClient(t, eryxontest.Documented)
	cut := false
	c := another(t, srv, eryxon.WithHTTPClient(cutOff(srv, "/", &cut)), eryxon.WithState(syncstate.NewMemory()))
	_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J1", JobNumber: "J1"})
	require.NoError(t, err)
	part := steel("P", "J1")
	part.Status = eryxon.Some(eryxon.WorkNotStarted)
	_, err = c.Parts.Sync(t.Context(), part)
	require.NoError(t, err)
	begun := part
	begun.Status = eryxon.Some(eryxon.WorkInProgress)
	_, err = foreman.Parts.Sync(t.Context(), begun)
	require.NoError(t, err)
	part.JobExternalID = ""
	job := eryxon.Job{ExternalID: "J2", JobNumber: "J2", Status: eryxon.Some(eryxon.WorkOnHold), Parts: []eryxon.Part{part}}
	cut = true
	_, err = c.Jobs.Sync(t.Context(), job) // from now on it may be there
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	cut = false
	_, err = c.Jobs.Sync(t.Context(), job)
	require.NoError(t, err)
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "J2")
	assert.Equal(t, "on_hold", row["status"])
	row, _ = srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, "in_progress", row["status"])
}

// That a part is refused by itself tells nothing of the carrier that may have brought it
// in: it is not held against the same rules.
func TestANestedPartOfAStatusThatNobodyKnows(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01)
	bad := steel("P", "")
	bad.Status = eryxon.Some(eryxon.WorkStatus("bad"))
	res, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{bad}})
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	_, there := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.True(t, there)
	assert.Equal(t, eryxon.StatusUnknown, res.Nested[0].Status)
}

// Records go without a column that the server lacks, whoever finds that out.
func TestSingleSyncsGoWithoutAMissingColumn(t *testing.T) {
	for name, tt := range map[string]struct {
		release eryxontest.Release
		known   eryxon.Release
	}{
		"not known":          {eryxontest.V08AsMigrated, eryxon.ReleaseUnknown},
		"known":              {eryxontest.V08AsMigrated, eryxon.ReleaseV08},
		"not to be written":  {eryxontest.V011, eryxon.ReleaseV08},
		"neither, not known": {eryxontest.V011, eryxon.ReleaseUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := releaseClient(t, tt.release)
			hc := srv.Client()
			next := hc.Transport
			var gate sync.WaitGroup
			gate.Add(2)
			var n atomic.Int32
			hc.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if n.Add(1) <= 2 { // both meet it before either has its answer
					gate.Done()
					gate.Wait()
				}
				return resp, err
			})
			c := another(t, srv, eryxon.WithHTTPClient(hc), eryxon.WithRelease(tt.known), eryxon.WithMissingColumnsOmitted())
			var both sync.WaitGroup
			for _, j := range heldJobs(2, eryxon.Some(eryxon.WorkOnHold)) {
				j.Priority = eryxon.Some(1)
				both.Go(func() {
					res, err := c.Jobs.Sync(t.Context(), j)
					assert.NoError(t, err)
					assert.Equal(t, eryxon.StatusCreated, res.Status)
				})
			}
			both.Wait()
			assert.Len(t, srv.Rows(eryxontest.Jobs), 2)
		})
	}
}

// Response, row and outcome of a single sync are of one request.
func TestTheResponseIsThatOfTheOutcome(t *testing.T) {
	_, c := releaseClient(t, eryxontest.V08)
	op := cuts("P", 1, whole)[0]
	res, err := c.Operations.Sync(t.Context(), op) // which tells what the server is
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Equal(t, eryxon.StatusFailed, res.Status)
	assert.Zero(t, res.Attempts)
	assert.Equal(t, eryxon.Response{}, *res.Response)
	assert.Nil(t, res.Record)
	made, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, made.Response.StatusCode)
	assert.Equal(t, made.RequestID, made.Response.RequestID)
	assert.Equal(t, made.ID, made.Row.ID)
}

// A cell that was there under another name is updated, not merely there.
func TestARenamedCellIsUpdated(t *testing.T) {
	srv, first := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := first.Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "Old", Color: eryxon.Some("#111111"), Active: eryxon.Some(false)})
	require.NoError(t, err)
	res, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01)).Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "New"})
	require.NoError(t, err)
	assert.Equal(t, eryxon.StatusUpdated, res.Status)
	row, _ := srv.Row(eryxontest.Cells, "SAP", "C")
	assert.Equal(t, []any{"New", "#111111", false}, []any{row["name"], row["color"], row["active"]})
	_, err = first.Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "Newer"}) // which knows that it is there
	require.ErrorIs(t, err, eryxon.ErrValidation)
}

// Where the server refuses to tell whether a row is there, nothing of it is overwritten.
func TestNothingIsOverwrittenWhereTheServerDoesNotTell(t *testing.T) {
	for _, fault := range []eryxontest.Fault{eryxontest.Status(404), eryxontest.Status(403)} {
		srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
		srv.Script("/diff", fault, fault)
		job := eryxon.Job{ExternalID: "J", JobNumber: "J", Notes: eryxon.Some("")}
		res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
		require.ErrorContains(t, err, "notes is empty")
		assert.Equal(t, eryxon.Counts{Failed: 1}, res.Counts)
	}
}

// Of the server's resources a single sync reads its own.
func TestASingleSyncReadsItsOwnResource(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Resources.Sync(t.Context(), eryxon.Resource{ExternalID: "R", Name: "Saw", Type: "machine", Status: eryxon.Some(eryxon.ResourceAvailable)})
	require.NoError(t, err)
	asked := srv.Requests()[0]
	assert.Equal(t, http.MethodGet, asked.Method)
	assert.True(t, strings.HasSuffix(asked.Path, "/api-resources"), asked.Path)
	assert.Equal(t, "R", asked.Query.Get("external_id"))
}

// Once the plan is full for a carrier, what it carries is not tried.
func TestWhatEndsACarrierEndsWhatItCarries(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
	require.NoError(t, err)
	srv.Script("/api-jobs/sync", eryxontest.Status(401))
	before := len(srv.Requests())
	res, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{steel("P", "")}})
	require.ErrorIs(t, err, eryxon.ErrUnauthorized)
	assert.Len(t, srv.Requests(), before+1)
	assert.False(t, res.Nested[0].Status.Success())
	assert.Empty(t, srv.Rows(eryxontest.Parts))
}
