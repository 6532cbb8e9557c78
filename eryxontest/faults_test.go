package eryxontest_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// both runs a test over real sockets and in process: a fault must look the
// same from either.
func both(t *testing.T, f func(t *testing.T, c caller)) {
	t.Run("sockets", func(t *testing.T) {
		tr := &http.Transport{}
		t.Cleanup(tr.CloseIdleConnections)
		f(t, caller{eryxontest.NewServer(t), &http.Client{Transport: tr}})
	})
	t.Run("in process", func(t *testing.T) { f(t, in(eryxontest.New())) })
}

func TestFaults(t *testing.T) {
	type want struct {
		status  int   // 0: no answer
		readErr error // of the body
		json    bool  // the body is an envelope
		written bool
	}
	for name, tc := range map[string]struct {
		fault eryxontest.Fault
		want  want
	}{
		"none":                  {eryxontest.Fault{}, want{200, nil, true, true}},
		"status":                {eryxontest.Status(502), want{502, nil, false, false}},
		"status after":          {eryxontest.Status(504).After(), want{504, nil, false, true}},
		"status json":           {eryxontest.StatusJSON(500, "INTERNAL_ERROR", "x"), want{500, nil, true, false}},
		"status json after":     {eryxontest.StatusJSON(500, "INTERNAL_ERROR", "x").After(), want{500, nil, true, true}},
		"answer":                {eryxontest.Answer(418, http.Header{"X-Tea": {"pot"}}, "hi"), want{418, nil, false, false}},
		"delay":                 {eryxontest.Delay(1), want{200, nil, true, true}},
		"delay after":           {eryxontest.Delay(1).After(), want{200, nil, true, true}},
		"close before":          {eryxontest.CloseBefore(), want{0, nil, false, false}},
		"lose answer":           {eryxontest.LoseAnswer(), want{0, nil, false, true}},
		"close mid answer":      {eryxontest.CloseMidAnswer(), want{200, io.ErrUnexpectedEOF, false, true}},
		"stall mid answer":      {eryxontest.StallMidAnswer(1), want{200, nil, true, true}},
		"truncate":              {eryxontest.Truncate(20), want{200, nil, false, true}},
		"truncate beyond":       {eryxontest.Truncate(1e6), want{200, nil, true, true}},
		"not json":              {eryxontest.NotJSON(), want{200, nil, false, true}},
		"empty":                 {eryxontest.EmptyBody(), want{200, nil, false, true}},
		"too many":              {eryxontest.TooManyRequests(http.Header{"Retry-After": {"7"}}), want{429, nil, true, false}},
		"too many has no after": {eryxontest.TooManyRequests(nil).After(), want{429, nil, true, false}},
		"none has no after":     {eryxontest.Fault{}.After(), want{200, nil, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, c caller) {
				c.srv.Script("/api-jobs/bulk-sync", tc.fault)
				r := c.bulk(eryxontest.Jobs, job("1"), job("2"))
				assert.Equal(t, tc.want.status, r.status)
				if tc.want.status == 0 {
					require.ErrorIs(t, r.err, io.EOF)
				} else {
					assert.Equal(t, tc.want.readErr, r.err)
					assert.NotEmpty(t, r.header.Get("Date"))
				}
				assert.Equal(t, tc.want.json, r.body != nil, r.text)
				_, written := c.srv.Row(eryxontest.Jobs, "SAP", "2")
				assert.Equal(t, tc.want.written, written)
				assert.Len(t, c.srv.Requests(), 1)
				assert.Equal(t, tc.want.status, c.srv.Requests()[0].Status)

				// The next request fares well, on the same client.
				assert.Equal(t, 200, c.bulk(eryxontest.Jobs, job("1"), job("2")).status)
			})
		})
	}
}

func TestFaultsCarryWhatTheySay(t *testing.T) {
	both(t, func(t *testing.T, c caller) {
		c.srv.Script("", eryxontest.TooManyRequests(http.Header{"Retry-After": {"7"}, "x-ratelimit-reset": {"odd"}}),
			eryxontest.StatusJSON(409, "CONFLICT", "why"), eryxontest.Answer(302, http.Header{"Location": {"/x"}}, "body"),
			eryxontest.Truncate(9), eryxontest.EmptyBody())
		r := c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, "7", r.header.Get("Retry-After"))
		assert.Equal(t, "odd", r.header.Get("X-RateLimit-Reset"))
		assert.Equal(t, "RATE_LIMIT_EXCEEDED", r.fault()["code"])
		r = c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, object{"code": "CONFLICT", "message": "why"}, r.fault())
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		r = c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, "/x", r.header.Get("Location"))
		assert.Equal(t, "body", r.text)
		r = c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, "9", r.header.Get("Content-Length"))
		assert.Equal(t, `{"success`, r.text)
		r = c.put("/api-jobs/sync", job("1"))
		assert.Empty(t, r.text)
		assert.NoError(t, r.err)
	})
}

func TestSpoiledBulkAnswers(t *testing.T) {
	ids := func(r reply) (out []any) {
		for _, v := range r.results() {
			out = append(out, v.(object)["external_id"])
		}
		return out
	}
	for name, tc := range map[string]struct {
		fault   eryxontest.Fault
		ids     []any
		created float64
	}{
		"omit":       {eryxontest.OmitRecord(), []any{"1", "3"}, 3},
		"repeat":     {eryxontest.RepeatRecord(), []any{"1", "2", "3", "1"}, 3},
		"invent":     {eryxontest.InventRecord(), []any{"1", "2", "3", "INVENTED-1"}, 3},
		"contradict": {eryxontest.ContradictCounts(), []any{"1", "2", "3"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			c := in(eryxontest.New())
			c.srv.Script("bulk-sync", tc.fault)
			r := c.bulk(eryxontest.Jobs, job("1"), job("2"), job("3"))
			assert.Equal(t, 200, r.status)
			assert.Equal(t, tc.ids, ids(r))
			assert.InDelta(t, tc.created, r.data()["created"], 0)
			assert.InDelta(t, 3, r.data()["total"], 0)
			assert.Len(t, c.srv.Rows(eryxontest.Jobs), 3)
		})
	}
}

func TestScriptsMatchPathsInOrder(t *testing.T) {
	c := in(eryxontest.New())
	c.srv.Script("/api-jobs/sync", eryxontest.Status(501), eryxontest.Fault{}, eryxontest.Status(503))
	c.srv.Script("", eryxontest.Status(502))
	c.srv.Script("/api-jobs/sync")
	var got []int
	for _, path := range []string{"/api-jobs/sync", "/api-cells/sync", "/api-cells/sync", "/api-jobs/sync", "/api-jobs/sync", "/api-jobs/sync"} {
		rec := job("1")
		if path == "/api-cells/sync" {
			rec = cell("1", "c")
		}
		got = append(got, c.put(path, rec).status)
	}
	assert.Equal(t, []int{501, 502, 201, 201, 503, 200}, got)
}

func TestChaosIsDeterministic(t *testing.T) {
	run := func(seed uint64, concurrent bool) (out [200]int) {
		c := in(eryxontest.New())
		c.srv.Chaos(seed, 0.5, eryxontest.Status(502), eryxontest.Status(503))
		var wg sync.WaitGroup
		for i := range out {
			send := func() { out[i] = c.put("/api-cells/sync", cell(fmt.Sprint(i), fmt.Sprint(i))).status }
			if !concurrent {
				send()
				continue
			}
			wg.Go(send)
		}
		wg.Wait()
		return out
	}
	first := run(1, false)
	assert.Equal(t, first, run(1, true), "the order of arrival does not matter")
	assert.NotEqual(t, first, run(2, false))
	count := map[int]int{}
	for _, status := range first {
		count[status]++
	}
	assert.InDelta(t, 100, count[201], 30)
	assert.InDelta(t, 50, count[502], 25)
	assert.InDelta(t, 50, count[503], 25)
}

func TestChaosTreatsEachAttemptAnew(t *testing.T) {
	c := in(eryxontest.New())
	c.srv.Chaos(1, 0.5, eryxontest.Status(502))
	seen := map[int]int{}
	for range 50 {
		seen[c.put("/api-cells/sync", cell("1", "c")).status]++
	}
	assert.InDelta(t, 25, seen[502], 15)
	c.srv.Chaos(1, 1, eryxontest.Status(502))
	assert.Equal(t, 502, c.put("/api-cells/sync", cell("1", "c")).status)
	c.srv.Chaos(1, 0, eryxontest.Status(502))
	assert.Equal(t, 200, c.put("/api-cells/sync", cell("1", "c")).status)
}
