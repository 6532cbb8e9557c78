package eryxontest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLatencyIsVirtualInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithLatency(time.Second, 100*time.Millisecond))
		start := time.Now()
		require.Equal(t, 200, in(srv).bulk(eryxontest.Jobs, job("1"), job("2"), job("3")).status)
		assert.Equal(t, 1300*time.Millisecond, time.Since(start))
		log := srv.Requests()[0]
		assert.Equal(t, 1300*time.Millisecond, log.End.Sub(log.Start))
		row, _ := srv.Row(eryxontest.Jobs, "SAP", "1")
		assert.Equal(t, "2000-01-01T00:00:01.3+00:00", row["created_at"])
	})
}

func TestCancelReturnsAtOnceAndTheWriteStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("", eryxontest.Delay(time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		r := in(srv).do(ctx, "PUT", "/api-jobs/sync", job("1"))
		require.ErrorIs(t, r.err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		_, ok := srv.Row(eryxontest.Jobs, "SAP", "1")
		assert.False(t, ok)
		assert.True(t, srv.Requests()[0].End.IsZero())
		time.Sleep(time.Minute)
		synctest.Wait()
		_, ok = srv.Row(eryxontest.Jobs, "SAP", "1")
		assert.True(t, ok, "a client that gave up does not undo the write")
		assert.Equal(t, 201, srv.Requests()[0].Status)
	})
}

func TestServerMadeOutsideTheBubble(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithLatency(time.Hour, 0))
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			require.NoError(t, in(srv).put("/api-jobs/sync", job("1")).err)
			assert.Equal(t, time.Hour, time.Since(start))
		})
	}
	srv.Close()
}

func TestAbandonedRequestsNeedNoTidyingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it would panic at the end if a goroutine stayed
		srv := eryxontest.New(eryxontest.WithLatency(time.Hour, 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, in(srv).do(ctx, "PUT", "/api-jobs/sync", job("1")).err)
	})
}

func TestWithDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("", eryxontest.Status(504).WithDelay(150*time.Second), eryxontest.Delay(time.Second).WithDelay(time.Second))
		start := time.Now()
		assert.Equal(t, 504, in(srv).put("/api-jobs/sync", job("1")).status)
		assert.Equal(t, 150*time.Second, time.Since(start))
		assert.Equal(t, 201, in(srv).put("/api-jobs/sync", job("1")).status)
		assert.Equal(t, 152*time.Second, time.Since(start))
	})
}

func TestCancelledBeforeItStartsNeverArrives(t *testing.T) {
	srv := eryxontest.New()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	r := in(srv).do(ctx, "PUT", "/api-jobs/sync", job("1"))
	require.ErrorIs(t, r.err, cause)
	assert.Empty(t, srv.Requests())
}

func TestDelayAfterTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("", eryxontest.Delay(time.Minute).After())
		client := srv.Client()
		client.Timeout = time.Second
		r := caller{srv, client}.put("/api-jobs/sync", job("1"))
		require.Error(t, r.err)
		_, ok := srv.Row(eryxontest.Jobs, "SAP", "1")
		assert.True(t, ok)
	})
}

func TestStallIsSeenWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("", eryxontest.StallMidAnswer(time.Minute), eryxontest.StallMidAnswer(time.Minute))
		start := time.Now()
		r := in(srv).put("/api-jobs/sync", job("1"))
		require.NoError(t, r.err)
		assert.NotNil(t, r.body)
		assert.Equal(t, time.Minute, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r = in(srv).do(ctx, "PUT", "/api-jobs/sync", job("1"))
		assert.Equal(t, 200, r.status)
		require.ErrorIs(t, r.err, context.DeadlineExceeded)
		assert.NotEmpty(t, r.text, "the first half came")
	})
}

func TestCloseWakesWhatIsDelayed(t *testing.T) {
	both(t, func(t *testing.T, c caller) {
		c.srv.Script("", eryxontest.Delay(time.Hour))
		failed := make(chan error)
		go func() { failed <- c.put("/api-jobs/sync", job("1")).err }()
		for len(c.srv.Requests()) == 0 { // it arrives in a moment
			runtime.Gosched()
		}
		c.srv.Close()
		require.Error(t, <-failed)
		assert.Empty(t, c.srv.Rows(eryxontest.Jobs))
	})
}

func TestOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithLatency(time.Second, 0))
		c := in(srv)
		go c.bulk(eryxontest.Jobs, job("1"), job("2"))
		synctest.Wait()
		go c.bulk(eryxontest.Jobs, job("2"), job("3"))
		go c.put("/api-cells/sync", cell("2", "another entity"))
		go c.put("/api-jobs/sync", job("2", object{"external_source": "Odoo"}))
		time.Sleep(2 * time.Second)
		assert.Equal(t, []string{"jobs SAP/2"}, srv.Overlaps())
		c.put("/api-jobs/sync", job("2"))
		assert.Len(t, srv.Overlaps(), 1, "one after the other is none")

		// Asking what would change is no write.
		asking := in(eryxontest.New(eryxontest.WithRelease(eryxontest.V08), eryxontest.WithLatency(time.Second, 0)))
		go asking.bulk(eryxontest.Jobs, job("1"))
		synctest.Wait()
		asking.do(t.Context(), "POST", "/api-erp-sync/diff", object{"jobs": []any{job("1")}})
		assert.Empty(t, asking.srv.Overlaps())

		// What a client has given up on is no longer in flight.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		c.do(ctx, "PUT", "/api-jobs/sync", job("9"))
		c.put("/api-jobs/sync", job("9"))
		assert.Len(t, srv.Overlaps(), 1)
	})
}

func TestOtherHostsDoNotExist(t *testing.T) {
	srv := eryxontest.New()
	for _, url := range []string{"http://example.com/functions/v1/api-jobs", "https://localhost/functions/v1/api-jobs"} {
		_, err := srv.Client().Get(url)
		require.ErrorContains(t, err, "eryxontest: no server at")
	}
	assert.Empty(t, srv.Requests())
}

func TestBodiesThatDoNotArrive(t *testing.T) {
	srv := eryxontest.New()
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		body   io.Reader
		length int64
		want   string
	}{
		"fails":     {io.MultiReader(strings.NewReader("{"), failing{broken}), -1, "broken"},
		"too short": {strings.NewReader("{}"), 5, "ContentLength=5 with Body length 2"},
		"too long":  {strings.NewReader("{} and more"), 2, "ContentLength=2 with Body length 3"},
	} {
		req, err := http.NewRequest("PUT", srv.URL+"/api-jobs/sync", tc.body)
		require.NoError(t, err)
		req.ContentLength = tc.length
		_, err = srv.Client().Do(req)
		require.ErrorContains(t, err, tc.want, name)
	}
	assert.Empty(t, srv.Requests(), "a request that is not all there never arrived")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestBodyAfterClose(t *testing.T) {
	srv := eryxontest.New()
	res, err := srv.Client().Get(srv.URL + "/api-jobs")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	_, err = res.Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
}
