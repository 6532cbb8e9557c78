package eryxontest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestQuotaIsAFixedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithQuota(3, time.Hour))
		c := in(srv)
		srv.Script("", eryxontest.Fault{}, eryxontest.CloseBefore(), eryxontest.TooManyRequests(nil))
		time.Sleep(time.Minute) // the window starts with the first request
		r := c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, "3", r.header.Get("X-RateLimit-Limit"))
		assert.Equal(t, "2", r.header.Get("X-RateLimit-Remaining"))
		assert.Equal(t, "2000-01-01T01:01:00.000Z", r.header.Get("X-RateLimit-Reset"))
		assert.Empty(t, r.header.Get("Retry-After"))
		time.Sleep(30 * time.Minute)
		require.Error(t, c.put("/api-jobs/sync", job("1")).err) // charged
		r = c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, 429, r.status) // not charged
		assert.Equal(t, "1", r.header.Get("X-RateLimit-Remaining"))
		assert.Equal(t, 404, c.put("/nowhere", nil).status) // charged
		for range 2 {
			r = c.put("/api-jobs/sync", job("1", object{"customer": "x"}))
			assert.Equal(t, 429, r.status)
			assert.Equal(t, "RATE_LIMIT_EXCEEDED", r.fault()["code"])
			assert.Equal(t, object{"remaining": 0.0, "resetAt": "2000-01-01T01:01:00.000Z", "retryAfter": 1800.0}, r.fault()["rateLimitInfo"])
			assert.Equal(t, "0", r.header.Get("X-RateLimit-Remaining"))
			assert.Equal(t, "1800", r.header.Get("Retry-After"))
		}
		row, _ := srv.Row(eryxontest.Jobs, "SAP", "1")
		assert.NotContains(t, row, "customer", "what is refused is not written")
		time.Sleep(30*time.Minute - 1)
		assert.Equal(t, 429, c.put("/api-jobs/sync", job("1")).status)
		time.Sleep(1)
		r = c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, 200, r.status)
		assert.Equal(t, "2", r.header.Get("X-RateLimit-Remaining"))
		assert.Equal(t, "2000-01-01T02:01:00.000Z", r.header.Get("X-RateLimit-Reset"), "the next window starts now")
	})
}

func TestResetFormats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for f, want := range map[eryxontest.ResetFormat]string{
			eryxontest.ResetISO8601:      "2000-01-01T01:00:00.250Z",
			eryxontest.ResetHTTPDate:     "Sat, 01 Jan 2000 01:00:01 GMT",
			eryxontest.ResetEpochSeconds: "946688401",
			eryxontest.ResetEpochMillis:  "946688400250",
			eryxontest.ResetDeltaSeconds: "3601",
		} {
			srv := eryxontest.New(eryxontest.WithQuota(3, time.Hour+250*time.Millisecond), eryxontest.WithResetFormat(f))
			r := in(srv).put("/api-jobs/sync", job("1"))
			assert.Equal(t, want, r.header.Get("X-RateLimit-Reset"))
			parsed, err := http.ParseTime(r.header.Get("Date"))
			require.NoError(t, err)
			assert.True(t, parsed.Equal(time.Now()))
		}
	})
}

func TestHeadersOnlyWithThe429(t *testing.T) {
	for name, opt := range map[string]eryxontest.Option{
		"asked for":          eryxontest.WithHeadersAlways(false),
		"as the real server": eryxontest.WithRelease(eryxontest.V08),
	} {
		c := in(eryxontest.New(eryxontest.WithQuota(1, time.Hour), opt))
		r := c.put("/api-jobs/sync", job("1"))
		require.Equal(t, 201, r.status, name)
		for _, h := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			assert.Empty(t, r.header.Get(h), name)
		}
		r = c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, 429, r.status, name)
		assert.Empty(t, r.header.Get("X-RateLimit-Limit"), name)
		assert.Equal(t, "0", r.header.Get("X-RateLimit-Remaining"), name)
		assert.NotEmpty(t, r.header.Get("X-RateLimit-Reset"), name)
	}
	c := in(eryxontest.New(eryxontest.WithHeadersAlways(true)))
	assert.Empty(t, c.put("/api-jobs/sync", job("1")).header.Get("X-RateLimit-Limit"), "no quota, no headers")
}
