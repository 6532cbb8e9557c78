package eryxon_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// What the table of cells has shows nothing of the operations'.
func TestCellsProveNothingOfOperations(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	d := shopFloor("P")
	d.Operations = eryxon.FromSlice(cuts("P", 5, whole))
	_, err := setup.SyncAll(t.Context(), d)
	require.NoError(t, err)
	client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, status := `{"success":true,"data":{"results":{"created":0,"updated":5,"failed":0,"errors":[]},"total":5}}`, 200
			switch {
			case strings.HasSuffix(r.URL.Path, "/api-operations/bulk-sync"): // what v0.8 says where the column is missing
			case strings.HasSuffix(r.URL.Path, "/api-operations/sync"):
				answer, status = `{"success":false,"error":{"code":"INTERNAL_ERROR","message":"Could not find the 'sync_hash' column of 'operations' in the schema cache"}}`, 500
			default:
				return next.RoundTrip(r)
			}
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
		})
	}))
	d.Operations = eryxon.FromSlice(cuts("P", 5, func(o *eryxon.Operation) { whole(o); o.Notes = eryxon.Some("new") }))
	report, _ := client.SyncAll(t.Context(), d)
	assert.Zero(t, report.Operations.Counts.Succeeded(), "%v, and no row was changed", report.Operations.Counts)
}

// What there is to find out costs few requests also in odd mixtures.
func TestFindingOutCostsFewRequests(t *testing.T) {
	cells := func(n int, place bool) []eryxon.Cell {
		list := make([]eryxon.Cell, n)
		for i := range list {
			list[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("C", i), Color: eryxon.Some("#111111"), Active: eryxon.Some(true)}
			if place {
				list[i].Sequence = eryxon.Some(i)
			}
		}
		return list
	}
	for _, c := range []struct {
		name                string
		old, n              int
		oldPlace, newPlaces bool
		most                int
	}{
		{"100 cells, the last is new", 99, 100, true, true, 5},
		{"100 cells without a place, the last is new", 99, 100, true, false, 15},
		{"100 cells without a place, the first is old", 1, 100, true, false, 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
			_, err := client.Cells.BulkSync(t.Context(), cells(c.old, c.oldPlace))
			require.NoError(t, err)
			before := len(srv.Requests())
			res, err := client.Cells.BulkSync(t.Context(), cells(c.n, c.newPlaces))
			require.NoError(t, err)
			assert.LessOrEqual(t, len(srv.Requests())-before, c.most, "%v", res.Counts)
		})
	}
	t.Run("20 new cells on v0.11", func(t *testing.T) {
		srv, client := releaseClient(t, eryxontest.V011)
		_, err := client.Cells.BulkSync(t.Context(), cells(20, false))
		require.NoError(t, err)
		assert.LessOrEqual(t, len(srv.Requests()), 8)
	})
	t.Run("statuses of 300 operations, one 503", func(t *testing.T) {
		srv, setup := releaseClient(t, eryxontest.Documented)
		d := shopFloor("P")
		ops := cuts("P", 300, func(o *eryxon.Operation) { whole(o); o.Status = eryxon.Some(eryxon.WorkCompleted) })
		d.Operations = eryxon.FromSlice(ops)
		_, err := setup.SyncAll(t.Context(), d)
		require.NoError(t, err)
		srv.Script("/api-cells", eryxontest.Status(503), eryxontest.Status(503))
		before := len(srv.Requests())
		_, _ = another(t, srv).Operations.BulkSync(t.Context(), ops)
		assert.Less(t, len(srv.Requests())-before, 20)
	})
	t.Run("a passing loss", func(t *testing.T) {
		srv, setup := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
		_, err := setup.SyncAll(t.Context(), shopFloor("P"))
		require.NoError(t, err)
		n := 0
		client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/api-operations/bulk-sync") {
					return next.RoundTrip(r)
				}
				if n++; n > 1 {
					return next.RoundTrip(r)
				}
				_, err := setup.Operations.BulkSync(r.Context(), cuts("P", 4, whole)[3:]) // the other three are lost, for once
				answer := `{"success":true,"data":{"results":{"created":4,"updated":0,"failed":0,"errors":[]},"total":4}}`
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, err
			})
		}))
		_, err = client.Operations.BulkSync(t.Context(), cuts("P", 1, func(o *eryxon.Operation) { whole(o); o.ExternalID = "X" })) // known by now
		require.NoError(t, err)
		before := len(srv.Requests())
		res, _ := client.Operations.BulkSync(t.Context(), cuts("P", 4, whole))
		assert.LessOrEqual(t, len(srv.Requests())-before, 10, "%v", res.Counts)
		assert.Zero(t, res.Counts.Unknown)
	})
}

// A row that the server has lost gets what the record gives when it is new, also
// where that is left out of updates.
func TestWhatANewRowGetsSurvivesALostAnswer(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	state := syncstate.NewMemory()
	sync := func(client *eryxon.Client, notes string) (*eryxon.Report, error) {
		d := shopFloor("P")
		d.Operations = eryxon.FromSlice(cuts("P", 4, func(o *eryxon.Operation) { whole(o); o.Notes = eryxon.Some(notes) }))
		return client.SyncAll(t.Context(), d, eryxon.WithState(state), eryxon.WithCreateOnly("operations.sequence", "operations.estimated_time_minutes"), eryxon.WithFull())
	}
	_, err := sync(client, "a")
	require.NoError(t, err)
	srv.Reset()
	lossy := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Body == nil {
				return next.RoundTrip(r)
			}
			body, _ := io.ReadAll(r.Body)
			r = r.Clone(r.Context())
			r.Body = io.NopCloser(bytes.NewReader(body))
			resp, err := next.RoundTrip(r)
			if err == nil && strings.Contains(r.URL.Path, "/api-operations/") && bytes.Contains(body, []byte(`"sequence":`)) {
				_ = resp.Body.Close()
				return nil, io.ErrUnexpectedEOF
			}
			return resp, err
		})
	}))
	_, err = sync(lossy, "b") // unknown, as it should be
	require.Error(t, err)
	report, err := sync(another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08)), "c")
	require.NoError(t, err)
	row, _ := srv.Row(eryxontest.Operations, "SAP", "O0")
	assert.Equal(t, []any{50.0, 30.0}, []any{row["sequence"], row["estimated_time"]}, "%v", report.Operations.Counts)
}

// New records that are completed go apart from the others, whose counts they would
// blur.
func TestCountsOfAllAreNotThoseOfTheRest(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V011)
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	part := srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "P", "job_id": job, "material": "S", "external_id": "P", "external_source": "SAP"})
	cell := srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cut", "sequence": 1})
	var ops []eryxon.Operation
	for i := range 3 {
		if i < 2 {
			srv.Seed(eryxontest.Operations, eryxontest.Row{"operation_name": "x", "part_id": part, "cell_id": cell, "sequence": 9, "estimated_time": 8, "external_id": fmt.Sprint("OLD", i), "external_source": "SAP"})
			ops = append(ops, eryxon.Operation{ExternalID: fmt.Sprint("OLD", i), OperationName: "x", PartExternalID: "P", CellName: "Cut", Sequence: eryxon.Some(2)})
		}
		ops = append(ops, eryxon.Operation{ExternalID: fmt.Sprint("NEW", i), OperationName: "x", PartID: part, CellID: cell, Sequence: eryxon.Some(2)})
	}
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	assert.Zero(t, res.Counts.Unknown)
	for i := range 2 {
		row, _ := srv.Row(eryxontest.Operations, "SAP", fmt.Sprint("OLD", i))
		assert.EqualValues(t, 8, row["estimated_time"])
	}
}

// A record that is refused does not hide that another was made meanwhile.
func TestAFailureHidesNoRace(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V011)
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "E", "job_id": job, "material": "S", "external_id": "E", "external_source": "SAP"})
	client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), afterAnswer("/api-erp-sync/diff", 1, func() {
		srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "N0", "job_id": job, "material": "Steel", "external_id": "N0", "external_source": "SAP"})
	}))
	var parts []eryxon.Part
	for _, id := range []string{"N0", "N1", "N2", "E"} {
		parts = append(parts, eryxon.Part{ExternalID: id, PartNumber: id, JobID: job, Status: eryxon.Some(eryxon.WorkOnHold)})
	}
	parts[3].Extra = map[string]any{"no_such": 1}
	res, err := client.Parts.BulkSync(t.Context(), parts)
	require.Error(t, err)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Status)
}

// What went as documented to a server that counts, among records that it may have
// written, was not.
func TestWhatCanNotHaveBeenWrittenIsFailedAmongOthers(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "P1", "job_id": job, "material": "S", "external_id": "P1", "external_source": "SAP"})
	res, err := client.Parts.BulkSync(t.Context(), []eryxon.Part{
		{ExternalID: "P1", PartNumber: "P1", JobID: job, Material: eryxon.Some("S"), Quantity: eryxon.Some(1)},
		{ExternalID: "P2", PartNumber: "P2", JobExternalID: "NOPE", Material: eryxon.Some("S"), Quantity: eryxon.Some(1), Status: eryxon.Some(eryxon.WorkOnHold)},
	})
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[1].Status)
}

// Counts that contradict each other prove nothing, not even of new rows.
func TestCountsThatDoNotAddUpProveNothing(t *testing.T) {
	for _, known := range []eryxon.Release{eryxon.ReleaseUnknown, eryxon.ReleaseV08} {
		srv, c := releaseClient(t, eryxontest.V08)
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
		_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J0", JobNumber: "J0"})
		require.NoError(t, err)
		cells := []eryxon.Cell{{ExternalID: "C0", Name: "C0"}, {ExternalID: "C1", Name: "C1"}, {ExternalID: "C2", Name: "C2"}, {ExternalID: "C3", Name: "C3"}}
		for i := range cells {
			cells[i].Color, cells[i].Active, cells[i].Sequence = eryxon.Some("#111111"), eryxon.Some(true), eryxon.Some(i+1)
		}
		_, err = c.Cells.BulkSync(t.Context(), cells[1:2])
		require.NoError(t, err)

		jobs := heldJobs(3, eryxon.Opt[eryxon.WorkStatus]{})
		jobs[0].JobNumber = "TAKEN"
		srv.Script("/api-jobs/bulk-sync", eryxontest.ContradictCounts())
		res, err := another(t, srv, eryxon.WithRelease(known)).Jobs.BulkSync(t.Context(), jobs)
		require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
		assert.False(t, res.Outcomes[0].Status.Success(), res.Outcomes[0].Status)

		srv.Script("/api-cells/bulk-sync", eryxontest.ContradictCounts())
		cellsRes, err := another(t, srv, eryxon.WithRelease(known)).Cells.BulkSync(t.Context(), cells)
		require.NoError(t, err)
		assert.NotEqual(t, eryxon.StatusCreated, cellsRes.Outcomes[1].Status, "it was there")
	}

	srv, c := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	_, err := c.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	ops := cuts("P", 4, whole)
	_, err = c.Operations.Sync(t.Context(), ops[2])
	require.NoError(t, err)
	_, err = c.Operations.BulkSync(t.Context(), cuts("P", 8, whole)[4:])
	require.NoError(t, err)
	srv.Script("/api-operations/bulk-sync", eryxontest.ContradictCounts())
	res, err := c.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	assert.NotEqual(t, eryxon.StatusCreated, res.Outcomes[2].Status, "it was there")
}

// A record in doubt goes without its status first: where the whole of it is refused then,
// its row was made all the same.
func TestARowThatWasMadeWithoutItsStatusIsNotFailed(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	state := syncstate.NewMemory()
	jobs := heldJobs(4, eryxon.Some(eryxon.WorkStatus("bogus")))
	lost := eryxontest.CloseBefore()
	srv.Script("", lost, lost, lost, lost, lost, lost, lost, lost)
	_, err := c.Jobs.BulkSync(t.Context(), jobs, eryxon.WithState(state))
	require.Error(t, err)
	srv.Script("", make([]eryxontest.Fault, 8)...)
	res, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01)).Jobs.BulkSync(t.Context(), jobs, eryxon.WithState(state))
	require.Error(t, err)
	for i, o := range res.Outcomes {
		_, there := srv.Row(eryxontest.Jobs, "SAP", jobs[i].ExternalID)
		assert.False(t, there && (o.Status == eryxon.StatusFailed || o.Status == eryxon.StatusNotSent), "%s is %s", o.Key, o.Status)
	}
	assert.NotEmpty(t, srv.Rows(eryxontest.Jobs), "some were made")
}
