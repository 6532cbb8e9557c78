package eryxon_test

import (
	"net/http"
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

// A question that the server refuses keeps parts back where the server is known to
// confuse their jobs, but for those who want no checks.
func TestABrokenQuestionKeepsPartsBackOfAServerThatConfusesThem(t *testing.T) {
	for name, tt := range map[string]struct {
		path string
		opts []eryxon.Option
		want eryxon.Counts
	}{
		"what the server is":    {"/api-cells", nil, eryxon.Counts{Created: 2}},
		"its jobs":              {"/api-erp-sync/diff", []eryxon.Option{eryxon.WithRelease(eryxon.ReleaseV01)}, eryxon.Counts{NotSent: 2}},
		"its jobs, for nothing": {"/api-erp-sync/diff", []eryxon.Option{eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithoutChecks()}, eryxon.Counts{Created: 2}},
	} {
		for _, status := range []int{400, 403, 414, 500} {
			srv, c := releaseClient(t, eryxontest.V01)
			_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
			require.NoError(t, err)
			f := eryxontest.StatusJSON(status, "X", "no")
			srv.Script(tt.path, f, f, f, f, f, f)
			res, err := another(t, srv, tt.opts...).Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J"), steel("Q", "J")})
			assert.Equal(t, tt.want, res.Counts, "%s, %d", name, status)
			assert.Equal(t, tt.want.NotSent > 0, err != nil)
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

// What a run has seen holds for its sequences, too.
func TestASequenceKnowsWhatItsRunHasSeen(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	data := shopFloor("P")
	data.Operations = eryxon.FromSeq(seqOf(cuts("P", 3, whole)))
	report, err := c.SyncAll(t.Context(), data)
	require.NoError(t, err)
	assert.Equal(t, 3, report.Operations.Counts.Created)
	for _, r := range srv.Requests() {
		assert.NotContains(t, r.Path, "diff", "the run has seen job and part")
	}
}

// An operation that comes twice in a sequence is no new one the second time, though its
// part was made by the same run.
func TestAnOperationThatComesTwiceIsNotOverwritten(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	data := shopFloor("P")
	data.Operations = eryxon.FromSeq(seqOf(append(cuts("P", 1, whole), cuts("P", 1, nil)...)))
	_, err := c.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(1), eryxon.WithConcurrency(1))
	require.ErrorIs(t, err, eryxon.ErrValidation)
	row, _ := srv.Row(eryxontest.Operations, "SAP", "O0")
	assert.Equal(t, []any{50.0, 30.0}, []any{row["sequence"], row["estimated_time"]})
}

// Cells that the run has synced are named by their ids, whatever else has their name and
// however odd it is.
func TestOperationsGoToTheCellsOfTheRun(t *testing.T) {
	for _, name := range []string{"Cutting", `"Saw"`, `Saw (3")`, `Saw \3`, `Saw, 3"`} {
		srv, _ := releaseClient(t, eryxontest.V01)
		data := shopFloor("P")
		data.Cells = eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: name, Color: eryxon.Some("#111111"), Active: eryxon.Some(true), Sequence: eryxon.Some(1)}})
		_, err := another(t, srv).SyncAll(t.Context(), data)
		require.NoError(t, err)
		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": name, "sequence": 2})
		data.Operations = eryxon.FromSlice(cuts("P", 2, func(o *eryxon.Operation) { whole(o); o.CellName = name }))
		_, err = another(t, srv).SyncAll(t.Context(), data)
		require.NoError(t, err, name)
		cell, _ := srv.Row(eryxontest.Cells, "SAP", "C")
		require.Len(t, srv.Rows(eryxontest.Operations), 2)
		for _, row := range srv.Rows(eryxontest.Operations) {
			assert.Equal(t, cell["id"], row["cell_id"], name)
		}
	}
}

// A 429 of a gateway has no header of the limit: it tells nothing of what is behind it.
func TestAGatewaysThrottleMakesNoServerADocumentedOne(t *testing.T) {
	srv := ofTwoSources(t)
	c := another(t, srv)
	srv.Script("/api-jobs/bulk-sync", eryxontest.TooManyRequests(http.Header{"Retry-After": {"0.01"}}))
	_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "SAP"}})
	require.NoError(t, err)
	_, err = c.Parts.BulkSync(t.Context(), []eryxon.Part{steel("P", "J")})
	require.NoError(t, err)
	job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
	part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, job["id"], part["job_id"])
}

func TestAServerThatDoesNotTellIsAskedOnce(t *testing.T) {
	for name, fault := range map[string]eryxontest.Fault{
		"refused": eryxontest.StatusJSON(500, "X", "no"), "forbidden": eryxontest.StatusJSON(403, "X", "no"), "forbidden by a gateway": eryxontest.Status(403),
	} {
		srv, c := releaseClient(t, eryxontest.Documented)
		_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
		require.NoError(t, err)
		srv.Script("/api-cells", fault, fault, fault, fault)
		before := len(srv.Requests())
		parts := []eryxon.Part{steel("1", "J"), steel("2", "J"), steel("3", "J")}
		_, err = another(t, srv).Parts.BulkSync(t.Context(), parts, eryxon.WithMaxRequestRecords(1), eryxon.WithConcurrency(1))
		require.NoError(t, err, name)
		assert.Len(t, srv.Requests(), before+4, name)
	}
}

// What has been learned of the server for the sake of parents holds for the fields of the
// same request.
func TestWhatIsLearnedHoldsForTheSameRequest(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V01)
	_, err := setup.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	ops := cuts("P", 4, func(o *eryxon.Operation) { whole(o); o.Sequence = eryxon.Some(0) }) // of which it would make 1
	res, err := another(t, srv).Operations.BulkSync(t.Context(), ops, eryxon.WithMaxRequestRecords(2))
	require.ErrorIs(t, err, eryxon.ErrValidation)
	assert.Equal(t, eryxon.Counts{Failed: 4}, res.Counts)
}

// A zero that some servers take for nothing is worth finding out whether this one does.
func TestZerosAreNotStoredAsDefaults(t *testing.T) {
	for release, want := range map[eryxontest.Release]error{eryxontest.V01: eryxon.ErrValidation, eryxontest.V08: nil, eryxontest.Documented: nil} {
		srv, c := releaseClient(t, release)
		data := shopFloor("P")
		data.Operations = eryxon.FromSlice(cuts("P", 1, func(o *eryxon.Operation) { whole(o); o.Sequence = eryxon.Some(0) }))
		_, err := c.SyncAll(t.Context(), data)
		require.ErrorIs(t, err, want, release)
		row, stored := srv.Row(eryxontest.Operations, "SAP", "O0")
		assert.Equal(t, want == nil, stored, release)
		if stored {
			assert.EqualValues(t, 0, row["sequence"], release)
		}
	}
}

// A run may go on for hours: what it has seen long ago is asked for again.
func TestAParentThatWasSeenLongAgoIsAskedFor(t *testing.T) {
	for pause, want := range map[time.Duration]error{time.Minute: nil, time.Hour: eryxon.ErrParentNotFound} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, _ *eryxon.Client) {
			data := shopFloor()
			data.Parts = eryxon.FromSeq(func(yield func(eryxon.Part, error) bool) {
				time.Sleep(pause)
				if want != nil {
					srv.Delete(eryxontest.Jobs, "SAP", "J")
				}
				yield(steel("P", "J"), nil)
			})
			_, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01)).SyncAll(t.Context(), data)
			require.ErrorIs(t, err, want)
		}, eryxontest.WithRelease(eryxontest.V01))
	}
}

func TestADocumentedServerIsNotAskedForParents(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.Documented)
	for _, source := range []string{"SAP", "ODOO"} {
		_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", ExternalSource: source, JobNumber: source}})
		require.NoError(t, err)
		p := steel("P", "J")
		p.ExternalSource = source
		_, err = c.Parts.BulkSync(t.Context(), []eryxon.Part{p})
		require.NoError(t, err)
	}
	assert.Zero(t, asked(srv.Requests()))
}

// Each stream of a run looks at the cells anew: it may be hours after the one before.
func TestATwinThatIsMadeDuringARunIsSeen(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	data := shopFloor("P")
	data.Cells = eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}) // for which all are listed
	data.Operations = eryxon.FromSeq(func(yield func(eryxon.Operation, error) bool) {
		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
		yield(cuts("P", 1, whole)[0], nil)
	})
	_, err := c.SyncAll(t.Context(), data)
	require.ErrorIs(t, err, eryxon.ErrConflict)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
}
