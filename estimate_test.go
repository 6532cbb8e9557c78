package eryxon_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// factory is a dataset without a fault, of so many jobs with their parts and
// operations, in which nothing is left out.
func factory(jobs, parts, ops int) (cs []eryxon.Cell, rs []eryxon.Resource, js []eryxon.Job, ps []eryxon.Part, os []eryxon.Operation) {
	cs = []eryxon.Cell{{ExternalID: "C-1", Name: "Cutting", Color: eryxon.Some("#3b82f6"), Active: eryxon.Some(true)}}
	rs = []eryxon.Resource{{ExternalID: "R-1", Name: "Mill", Type: eryxon.ResourceEquipment, Status: eryxon.Some(eryxon.ResourceAvailable)}}
	js = someJobs(jobs)
	for i, j := range js {
		for k := range parts {
			id := fmt.Sprintf("P-%d-%d", i, k)
			ps = append(ps, eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: j.ExternalID, Material: eryxon.Some("steel"), Quantity: eryxon.Some(1)})
			for m := range ops {
				id := fmt.Sprintf("O-%d-%d-%d", i, k, m)
				os = append(os, eryxon.Operation{ExternalID: id, OperationName: "Cut", PartExternalID: ps[len(ps)-1].ExternalID, CellName: "Cutting",
					Sequence: eryxon.Some(m + 1), EstimatedTimeMinutes: eryxon.Some(1.5)})
			}
		}
	}
	return cs, rs, js, ps, os
}

func sliced(cs []eryxon.Cell, rs []eryxon.Resource, js []eryxon.Job, ps []eryxon.Part, os []eryxon.Operation) eryxon.Dataset {
	return eryxon.Dataset{Cells: eryxon.FromSlice(cs), Resources: eryxon.FromSlice(rs), Jobs: eryxon.FromSlice(js), Parts: eryxon.FromSlice(ps), Operations: eryxon.FromSlice(os)}
}

func TestACleanRunCostsWhatIsEstimated(t *testing.T) {
	for _, limit := range []int{7, 10, 50, 100, 1000} {
		for _, concurrency := range []int{1, 4} {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				data := sliced(factory(41, 3, 3))
				opts := []eryxon.SyncAllOption{eryxon.WithMaxRequestRecords(limit), eryxon.WithConcurrency(concurrency)}
				estimate, err := client.EstimateRequests(data.Count(), opts...)
				require.NoError(t, err)
				ceil := func(n int) int { return (n + limit - 1) / limit }
				assert.Equal(t, eryxon.RecordCounts{Cells: 1, Resources: 1, Jobs: ceil(41), Parts: ceil(123), Operations: ceil(369)}, estimate.Requests)
				assert.Empty(t, srv.Requests(), "the estimate costs none")
				report, err := client.SyncAll(t.Context(), data, opts...)
				require.NoError(t, err)
				assert.Len(t, srv.Requests(), estimate.Requests.Total())
				assert.Equal(t, eryxon.RecordCounts{Cells: report.Cells.Requests, Resources: report.Resources.Requests,
					Jobs: report.Jobs.Requests, Parts: report.Parts.Requests, Operations: report.Operations.Requests}, estimate.Requests)
				assert.Empty(t, srv.Orphans())
			}, eryxontest.WithLatency(50*time.Millisecond, time.Millisecond))
		}
	}
}

func TestCountKnowsWhatIsNested(t *testing.T) {
	op := eryxon.Operation{ExternalID: "o"}
	part := eryxon.Part{ExternalID: "p", Operations: []eryxon.Operation{op, op}}
	n := eryxon.Dataset{
		Cells:      eryxon.FromSlice(make([]eryxon.Cell, 2)),
		Resources:  eryxon.FromSeq(seqOf(make([]eryxon.Resource, 9))),
		Jobs:       eryxon.FromSlice([]eryxon.Job{{Parts: []eryxon.Part{part, part}}, {}}),
		Parts:      eryxon.FromSlice([]eryxon.Part{part}),
		Operations: eryxon.FromSlice([]eryxon.Operation{op}),
	}.Count()
	assert.Equal(t, eryxon.RecordCounts{Cells: 2, Jobs: 2, Parts: 3, Operations: 7}, n, "a sequence counts as nothing")
	assert.Equal(t, 14, n.Total())
}

func TestTheEstimateIsHeldAgainstTheQuota(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *eryxontest.Server, client *eryxon.Client) {
		e, err := client.EstimateRequests(eryxon.RecordCounts{Jobs: 1})
		require.NoError(t, err)
		assert.False(t, e.QuotaKnown)
		assert.False(t, e.Fits, "what is not known is not promised")
		_, err = client.Jobs.BulkSync(t.Context(), someJobs(1))
		require.NoError(t, err)
		for records, fits := range map[int]bool{0: true, 1: true, 4000: true, 4001: false} {
			e, err = client.EstimateRequests(eryxon.RecordCounts{Jobs: records})
			require.NoError(t, err)
			assert.True(t, e.QuotaKnown)
			assert.Equal(t, 4, e.Remaining)
			assert.Equal(t, fits, e.Fits, records)
			assert.WithinDuration(t, time.Now().Add(time.Hour), e.Reset, time.Second)
		}
		e, err = client.EstimateRequests(eryxon.RecordCounts{Jobs: 1001, Parts: 1, Operations: 1, Cells: 1})
		require.NoError(t, err)
		assert.Equal(t, 5, e.Requests.Total(), "each entity has requests of its own")
		assert.False(t, e.Fits)
		e, err = client.EstimateRequests(eryxon.RecordCounts{Jobs: 3000}, eryxon.WithQuotaReserve(2))
		require.NoError(t, err)
		assert.False(t, e.Fits, "two are for others")
		time.Sleep(2 * time.Hour)
		e, err = client.EstimateRequests(eryxon.RecordCounts{Jobs: 3000}, eryxon.WithDailyQuota(4)) // one is spent
		require.NoError(t, err)
		assert.True(t, e.QuotaKnown, "the run's own options tell")
		assert.True(t, e.Fits)
		e, err = client.EstimateRequests(eryxon.RecordCounts{Jobs: 1})
		require.NoError(t, err)
		assert.False(t, e.QuotaKnown, "of the next window nothing is known")
	}, eryxontest.WithQuota(5, time.Hour))
	client, err := eryxon.New("https://erp.example/v1", "key")
	require.NoError(t, err)
	_, err = client.EstimateRequests(eryxon.RecordCounts{Parts: -1})
	require.Error(t, err)
	_, err = client.EstimateRequests(eryxon.RecordCounts{}, eryxon.WithMaxRequestRecords(0))
	require.Error(t, err)
}

func TestValidateTellsWithoutARequestWhatSyncAllWouldRefuse(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		data := eryxon.Dataset{
			Operations: eryxon.FromSlice([]eryxon.Operation{{ExternalID: "O-1", OperationName: "Cut", PartExternalID: "P-1", CellName: "Cutting"}, {ExternalID: "O-2"}}),
			Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P-1", PartNumber: "1", JobExternalID: "SO-1", Quantity: eryxon.Some(0)}}),
			Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"}, {ExternalID: "SO-2", JobNumber: "J-2"}, {ExternalID: "SO-2", JobNumber: "J-3"},
				{ExternalID: "SO-4", JobNumber: "J-4"}, {ExternalID: "SO-4", JobNumber: "J-4"}}),
			Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C-1", Name: "Cutting"}}),
		}
		var places []string
		for _, err := range client.Validate(data) {
			require.ErrorIs(t, err, eryxon.ErrValidation)
			var e *eryxon.RecordError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, eryxon.StatusFailed, e.Status)
			var invalid *eryxon.ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.True(t, invalid.Local)
			assert.Equal(t, e.Index, invalid.Index)
			assert.Equal(t, e.Key, invalid.Key)
			places = append(places, fmt.Sprintf("%s %d", e.Entity, e.Index))
		}
		assert.Equal(t, []string{"jobs 1", "jobs 2", "parts 0", "operations 1"}, places, "each record once, in the documented order")
		assert.Empty(t, srv.Requests())
		report, err := client.SyncAll(t.Context(), data)
		require.Error(t, err)
		assert.Equal(t, 4, report.Total().Counts.Failed, "the same ones")
		assert.Empty(t, client.Validate(eryxon.Dataset{Jobs: eryxon.FromSlice(someJobs(3))}))
		assert.Len(t, client.Validate(eryxon.Dataset{}, eryxon.WithMaxRequestRecords(0)), 1, "an option that can't be is told")
		bare, err := eryxon.New(srv.URL, srv.Key)
		require.NoError(t, err)
		assert.Len(t, bare.Validate(eryxon.Dataset{Jobs: eryxon.FromSlice(someJobs(3))}), 3, "no source")
		assert.Empty(t, bare.Validate(eryxon.Dataset{Jobs: eryxon.FromSlice(someJobs(3))}, eryxon.WithSource("SAP")))
		broken := errors.New("not read")
		assert.Empty(t, client.Validate(eryxon.Dataset{Jobs: eryxon.FromSeq(func(yield func(eryxon.Job, error) bool) { yield(eryxon.Job{}, broken) })}))
	})
}
