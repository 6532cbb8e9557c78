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

// What the shop floor has put back is not taken for a row that has just been made.
func TestARowThatWasPutBackIsNotTakenForNew(t *testing.T) {
	srv, foreman := releaseClient(t, eryxontest.V08)
	c := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(syncstate.NewMemory()))
	job := heldJobs(1, eryxon.Some(eryxon.WorkOnHold))[0]
	_, err := c.Jobs.Sync(t.Context(), job)
	require.NoError(t, err)
	_, err = foreman.Jobs.Sync(t.Context(), heldJobs(1, eryxon.Some(eryxon.WorkNotStarted))[0])
	require.NoError(t, err)
	srv.Script("/api-jobs/sync", eryxontest.LoseAnswer())
	res, err := c.Jobs.Sync(t.Context(), job)
	require.NoError(t, err)
	assert.Equal(t, eryxon.StatusSynced, res.Status)
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "J0")
	assert.Equal(t, "not_started", row["status"])
}

// A record that goes back to what the state has, while another is on its way, leaves the
// shop floor what is the shop floor's.
func TestARecordThatGoesBackUndoesNothing(t *testing.T) {
	srv, foreman := releaseClient(t, eryxontest.V08)
	c := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(syncstate.NewMemory()))
	was := heldJobs(1, eryxon.Some(eryxon.WorkOnHold))[0]
	_, err := c.Jobs.Sync(t.Context(), was)
	require.NoError(t, err)
	_, err = foreman.Jobs.Sync(t.Context(), heldJobs(1, eryxon.Some(eryxon.WorkInProgress))[0])
	require.NoError(t, err)
	changed := was
	changed.Customer = eryxon.Some("Acme")
	statuses := map[int]eryxon.Status{}
	for o := range c.Jobs.Stream(t.Context(), seqOf([]eryxon.Job{changed, was})).All() {
		statuses[o.Index] = o.Status
	}
	assert.Equal(t, map[int]eryxon.Status{0: eryxon.StatusSuperseded, 1: eryxon.StatusUpdated}, statuses)
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "J0")
	assert.Equal(t, "in_progress", row["status"])
}

// The id of a row that is gone is nobody's.
func TestARowThatIsMadeAnewHasAnotherID(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08)
	c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
	_, err := setup.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	ops := cuts("P", 4, whole)
	old := map[string]bool{}
	for _, op := range ops {
		res, err := c.Operations.Sync(t.Context(), op)
		require.NoError(t, err)
		require.NotEmpty(t, res.ID)
		old[res.ID] = true
	}
	parents := map[eryxontest.Entity][]eryxontest.Row{}
	for _, e := range []eryxontest.Entity{eryxontest.Cells, eryxontest.Jobs, eryxontest.Parts} {
		parents[e] = srv.Rows(e)
	}
	srv.Reset()
	for e, rows := range parents {
		for _, row := range rows {
			srv.Seed(e, row)
		}
	}
	for i := range ops {
		ops[i].Notes = eryxon.Some("changed")
	}
	for _, want := range []eryxon.Counts{{Created: 4}, {Unchanged: 4}} {
		res, err := c.Operations.BulkSync(t.Context(), ops)
		require.NoError(t, err)
		assert.Equal(t, want, res.Counts)
		for _, o := range res.Outcomes {
			assert.False(t, old[o.ID], "%s %s", o.Key, o.ID)
		}
	}
}

// New records beside others make none of those new.
func TestNewRecordsMakeNoOthersNew(t *testing.T) {
	srv, foreman := releaseClient(t, eryxontest.V08)
	c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
	_, err := foreman.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	ops := cuts("P", 12, func(o *eryxon.Operation) { whole(o); o.Status = eryxon.Some(eryxon.WorkOnHold) })
	_, err = c.Operations.BulkSync(t.Context(), ops[:10])
	require.NoError(t, err)
	back := ops[3]
	back.Status = eryxon.Some(eryxon.WorkNotStarted)
	_, err = foreman.Operations.Sync(t.Context(), back)
	require.NoError(t, err)
	require.True(t, srv.Delete(eryxontest.Operations, "SAP", ops[5].ExternalID)) // which counts as made each time
	for i := range ops {
		ops[i].Notes = eryxon.Some("changed")
	}
	res, err := c.Operations.BulkSync(t.Context(), ops)
	require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
	assert.Equal(t, 11, res.Counts.Succeeded(), res.Counts)
	assert.Equal(t, 1, res.Counts.Failed, res.Counts)
	for i, op := range ops {
		if i == 5 {
			continue
		}
		row, _ := srv.Row(eryxontest.Operations, "SAP", op.ExternalID)
		assert.Equal(t, i == 3, row["status"] == "not_started", "%d: %s", i, row["status"])
	}
}

// A number that is taken may be so by the record's own row, which was deleted: nothing is
// linked to it without asking, by no later call either.
func TestNoChildIsLinkedToARowWhoseNumberIsTaken(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08)
	_, err := setup.SyncAll(t.Context(), shopFloor("Q"))
	require.NoError(t, err)
	st := syncstate.NewMemory()
	part := steel("P", "J")
	_, err = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(st)).Parts.Sync(t.Context(), part)
	require.NoError(t, err)
	part.PartNumber = "Q"
	_, err = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(st)).Parts.Sync(t.Context(), part)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	require.True(t, srv.Delete(eryxontest.Parts, "SAP", "P"))
	_, err = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(st)).Operations.Sync(t.Context(), cuts("P", 1, whole)[0])
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
}
