package eryxon_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// A call that waits for the quota, with a request that makes rows, holds up no other.
func TestOneThatWaitsForTheQuotaHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08), eryxontest.WithQuota(1, 24*time.Hour))
		t.Cleanup(srv.Close)
		client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08))
		some := heldJobs(15, eryxon.Opt[eryxon.WorkStatus]{})
		_, err := client.Jobs.BulkSync(t.Context(), some[:5])
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = client.Jobs.BulkSync(t.Context(), some[5:10], eryxon.WithMaxWait(48*time.Hour))
		}()
		synctest.Wait()
		time.Sleep(time.Minute) // the first has its 429 and waits for the window
		start := time.Now()
		_, err = client.Jobs.BulkSync(t.Context(), some[10:])
		require.ErrorIs(t, err, eryxon.ErrRateLimited)
		assert.Less(t, time.Since(start), time.Minute)
		<-done
	})
}

// Nothing is sent while it waits for its turn: neither is that unknown after a cancel,
// nor does the wait count as the attempt's.
func TestWaitingForATurnSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08), eryxontest.WithLatency(10*time.Second, 0))
		defer srv.Close()
		client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithMaxRequestRecords(10))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		res, err := client.Jobs.BulkSync(ctx, heldJobs(80, eryxon.Opt[eryxon.WorkStatus]{}), eryxon.WithConcurrency(4))
		require.ErrorIs(t, err, context.Canceled)
		assert.Len(t, srv.Requests(), 1)
		assert.Zero(t, res.Counts.Unknown)
	})
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08), eryxontest.WithLatency(time.Minute, 0))
		defer srv.Close()
		client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithMaxRequestRecords(10))
		res, err := client.Jobs.BulkSync(t.Context(), heldJobs(40, eryxon.Opt[eryxon.WorkStatus]{}), eryxon.WithAttemptTimeout(150*time.Second), eryxon.WithConcurrency(4))
		require.NoError(t, err)
		assert.Equal(t, 40, res.Counts.Created)
	})
}

// Records that the bulk has had, after the unified endpoint refused them together, are
// not told to be unsent where there is no request left to find out.
func TestWhatABulkHasHadIsNotUnsent(t *testing.T) {
	for budget := 1; budget < 8; budget++ {
		srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J0"})
		srv.Script("/api-erp-sync/sync", eryxontest.Fault{}, eryxontest.Status(413)) // so that it takes two
		res, err := client.Jobs.BulkSync(t.Context(), heldJobs(6, eryxon.Opt[eryxon.WorkStatus]{}), eryxon.WithRequestBudget(budget))
		require.Error(t, err)
		for _, o := range res.Outcomes {
			_, there := srv.Row(eryxontest.Jobs, "SAP", o.Key.ExternalID)
			assert.False(t, there && (o.Status == eryxon.StatusNotSent || o.Status == eryxon.StatusFailed), "budget %d: %s is %s", budget, o.Key, o.Status)
		}
	}
}

// A priority that the server lets the unified endpoint alone write arrives, whatever
// meets the server first; beside a status, which that endpoint drops, it can't.
func TestPriorityThatOnlyTheUnifiedEndpointWrites(t *testing.T) {
	urgent := func(n int) []eryxon.Job {
		list := heldJobs(n, eryxon.Opt[eryxon.WorkStatus]{})
		for i := range list {
			list[i].Priority = eryxon.Some(7)
		}
		return list
	}
	arrived := func(t *testing.T, srv *eryxontest.Server, jobs []eryxon.Job) {
		for _, j := range jobs {
			row, ok := srv.Row(eryxontest.Jobs, "SAP", j.ExternalID)
			require.True(t, ok)
			assert.EqualValues(t, 7, row["priority"])
		}
	}
	for _, omit := range []bool{false, true} {
		var opts []eryxon.Option
		if omit {
			opts = append(opts, eryxon.WithMissingColumnsOmitted())
		}
		srv, _ := releaseClient(t, eryxontest.V011)
		client := another(t, srv, opts...)
		res, err := client.Jobs.BulkSync(t.Context(), urgent(5))
		require.NoError(t, err)
		assert.Equal(t, eryxon.Counts{Created: 5}, res.Counts)
		arrived(t, srv, urgent(5))
		assert.Len(t, srv.Requests(), 2, "the one that was refused, and the unified endpoint's")

		client = another(t, srv, opts...)
		before := len(srv.Requests())
		for _, j := range urgent(7)[4:] {
			_, err := client.Jobs.Sync(t.Context(), j)
			require.NoError(t, err)
		}
		arrived(t, srv, urgent(7))
		assert.Len(t, srv.Requests()[before:], 4, "one was refused")

		known := another(t, srv, append(opts, eryxon.WithRelease(eryxon.ReleaseV08))...)
		before = len(srv.Requests())
		for _, j := range urgent(9)[7:] {
			res, err := known.Jobs.Sync(t.Context(), j)
			require.NoError(t, err)
			assert.NotZero(t, res.Response.Attempts)
			assert.NotEmpty(t, res.Response.RequestID)
		}
		arrived(t, srv, urgent(9))
		assert.Len(t, srv.Requests()[before:], 3, "one was refused")

		held := urgent(3)
		for i := range held {
			held[i].Status = eryxon.Some(eryxon.WorkOnHold)
		}
		_, err = another(t, srv, opts...).Jobs.BulkSync(t.Context(), held)
		row, _ := srv.Row(eryxontest.Jobs, "SAP", held[0].ExternalID)
		if omit {
			require.NoError(t, err)
			assert.Equal(t, "on_hold", row["status"])
			odd := eryxon.Job{ExternalID: `5" pipe`, JobNumber: "5", Priority: eryxon.Some(7)} // which that endpoint would not find
			_, err = another(t, srv, opts...).Jobs.BulkSync(t.Context(), []eryxon.Job{odd})
			require.NoError(t, err)
			_, found := srv.Row(eryxontest.Jobs, "SAP", odd.ExternalID)
			assert.True(t, found)
			_, err = client.Jobs.BulkSync(t.Context(), urgent(12)[9:], eryxon.WithoutChecks())
			require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
			_, found = srv.Row(eryxontest.Jobs, "SAP", urgent(12)[11].ExternalID)
			assert.True(t, found)
			continue
		}
		require.ErrorIs(t, err, eryxon.ErrMissingColumn)
		assert.ErrorContains(t, err, "priority")
		assert.NotEqual(t, "on_hold", row["status"])
	}
}
