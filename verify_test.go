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
