package eryxon_test

import (
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
