package eryxon

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

func headerOf(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestResetIsReadInEveryFormat(t *testing.T) {
	reset := noon.Add(86399 * time.Second)
	for text, want := range map[string]time.Time{
		"2026-11-24T11:59:59Z":             reset,
		"2026-11-24T11:59:59.866Z":         reset.Add(866 * time.Millisecond),
		"2026-11-24T12:59:59+01:00":        reset,
		"2026-11-24T11:59:59.123456+00:00": reset.Add(123456 * time.Microsecond),
		`"2026-11-24T11:59:59Z"`:           reset,
		"2026-11-24T11:59:59":              reset, // without a zone: UTC
		"2026-11-24T11:59:59.866":          reset.Add(866 * time.Millisecond),
		"2026-11-24 12:59:59+01":           reset,
		" 2026-11-24T11:59:59Z ":           reset,
		"Tue, 24 Nov 2026 11:59:59 GMT":    reset,
		"Tuesday, 24-Nov-26 11:59:59 GMT":  reset,
		"Tue Nov 24 11:59:59 2026":         reset,
		"1795521599":                       reset,
		"1795521599.5":                     reset.Add(500 * time.Millisecond),
		"1795521599000":                    reset,
		"1795521599866":                    reset.Add(866 * time.Millisecond),
		"86399":                            reset,
		"86399.25":                         reset.Add(250 * time.Millisecond),
		"0":                                noon,
	} {
		got, ok := parseMoment(text, noon, 0)
		require.Truef(t, ok, "%q", text)
		assert.WithinDurationf(t, want, got, time.Microsecond, "%q", text)
	}
	for _, text := range []string{
		"", " ", "soon", "-1", "NaN", "Inf", "+Inf", "1e400", "1e15", "99999999999999999999", "2026-11-24", "24.11.2026 12:00", "tomorrow", "null", "12:00",
		"2026-11-24T25:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2000-01-01T00:00:00Z", "99999999", "200000000000000", "0x", "\x00", "½",
	} {
		got, ok := parseMoment(text, noon, 0)
		assert.Falsef(t, ok, "%q was read as %v", text, got)
	}
}

func TestRetryAfterFormats(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, " 86399 ": 86399 * time.Second, "1.5": 1500 * time.Millisecond,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"": -1, "soon": -1, "-1": -1, "NaN": -1, "Inf": -1, "1e300": -1, "99999999999": -1, "2026-11-24T12:00:00Z": -1,
	} {
		assert.Equalf(t, want, parseRetryAfter(text, noon, 0), "%q", text)
	}
}

func TestCounts(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "100": 100, " 7 ": 7, "100, 100;w=86400": 100, "100;w=86400": 100} {
		n, ok := parseCount(text)
		assert.True(t, ok)
		assert.Equal(t, want, n)
	}
	for _, text := range []string{"", "-1", "many", "1.5", "1e3", "0x10", ",", "99999999999999999999"} {
		_, ok := parseCount(text)
		assert.Falsef(t, ok, "%q", text)
	}
}

func TestLimitHeaders(t *testing.T) {
	r := readLimit(headerOf("X-RateLimit-Limit", "100", "X-RateLimit-Remaining", "41", "X-RateLimit-Reset", "2026-11-24T10:52:29.866Z", "Retry-After", "86399"), noon)
	assert.Equal(t, 100, r.limit)
	assert.Equal(t, 41, r.left)
	assert.Equal(t, time.Date(2026, time.November, 24, 10, 52, 29, 866e6, time.UTC), r.reset)
	assert.Equal(t, 86399*time.Second, r.retryAfter)
	assert.False(t, r.silent())

	for _, h := range []http.Header{{}, headerOf("X-RateLimit-Limit", "lots", "X-RateLimit-Remaining", "-1", "X-RateLimit-Reset", "never", "Retry-After", "later")} {
		r = readLimit(h, noon)
		assert.True(t, r.silent(), "garbage is not said")
		assert.Equal(t, time.Duration(-1), r.retryAfter)
	}
	assert.False(t, readLimit(headerOf("X-RateLimit-Remaining", "0"), noon).silent())
}

func TestClockSkewIsCorrected(t *testing.T) {
	for name, tt := range map[string]struct {
		date string
		skew time.Duration
	}{
		"an hour ahead":  {"Mon, 23 Nov 2026 13:00:00 GMT", time.Hour},
		"a day behind":   {"Sun, 22 Nov 2026 12:00:00 GMT", -24 * time.Hour},
		"within reason":  {"Mon, 23 Nov 2026 12:00:02 GMT", 0},
		"no date":        {"", 0},
		"unreadable one": {"today", 0},
	} {
		t.Run(name, func(t *testing.T) {
			// The window ends an hour from now by any clock.
			for _, reset := range []string{
				noon.Add(time.Hour + tt.skew).Format(time.RFC3339), noon.Add(time.Hour + tt.skew).Format(http.TimeFormat),
				strconv.FormatInt(noon.Add(time.Hour+tt.skew).Unix(), 10), strconv.FormatInt(noon.Add(time.Hour+tt.skew).UnixMilli(), 10), "3600",
			} {
				r := readLimit(headerOf("Date", tt.date, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", reset), noon)
				assert.Equalf(t, noon.Add(time.Hour), r.reset.UTC(), "%s", reset)
			}
			r := readLimit(headerOf("Date", tt.date, "Retry-After", noon.Add(time.Minute+tt.skew).Format(http.TimeFormat)), noon)
			assert.Equal(t, time.Minute, r.retryAfter)
		})
	}
}

// say has the limiter observe what one answer says, at a time after noon.
func say(l *limiter, seq int64, after time.Duration, left int, reset time.Duration) {
	r := limitReport{left: left, retryAfter: -1}
	if reset != 0 {
		r.reset = noon.Add(reset)
	}
	l.observe(seq, r, noon.Add(after))
}

// refuse has it observe a 429 that tells nothing but when to come again.
func refuse(l *limiter, after, wait time.Duration) {
	now := noon.Add(after)
	l.observe(1, limitReport{left: -1, retryAfter: wait}.completed(nil, now), now)
}

func TestTheTrackerKeepsTheTruestReport(t *testing.T) {
	hour := time.Hour
	for name, tt := range map[string]struct {
		do    func(l *limiter)
		at    time.Duration
		known bool
		left  int
		reset time.Duration
	}{
		"nothing said":                          {func(*limiter) {}, 0, false, 0, 0},
		"first report":                          {func(l *limiter) { say(l, 1, 0, 42, hour) }, 0, true, 42, hour},
		"the lower wins in a window":            {func(l *limiter) { say(l, 2, 0, 41, hour); say(l, 1, 1, 42, hour) }, 1, true, 41, hour},
		"a lower one that comes later too":      {func(l *limiter) { say(l, 1, 0, 42, hour); say(l, 2, 1, 41, hour) }, 1, true, 41, hour},
		"a little jitter is one window":         {func(l *limiter) { say(l, 2, 0, 41, hour); say(l, 1, 1, 99, hour+time.Second) }, 1, true, 41, hour},
		"a newer window replaces":               {func(l *limiter) { say(l, 1, 0, 0, hour); say(l, 2, 1, 99, 2*hour) }, 1, true, 99, 2 * hour},
		"an older window is ignored":            {func(l *limiter) { say(l, 2, 0, 99, 2*hour); say(l, 1, 1, 0, hour) }, 1, true, 99, 2 * hour},
		"the window ends":                       {func(l *limiter) { say(l, 1, 0, 0, hour) }, hour, false, 0, 0},
		"just before it does":                   {func(l *limiter) { say(l, 1, 0, 0, hour) }, hour - 1, true, 0, hour},
		"a report of the window that has ended": {func(l *limiter) { say(l, 1, 0, 5, hour); say(l, 2, hour+1, 3, hour) }, hour + 2, false, 0, 0},
		"without a reset, the newer attempt":    {func(l *limiter) { say(l, 1, 0, 3, 0); say(l, 2, 1, 99, 0) }, 1, true, 99, 0},
		"without one, an older attempt":         {func(l *limiter) { say(l, 2, 0, 3, 0); say(l, 1, 1, 99, 0) }, 1, true, 3, 0},
		"without one, an older, lower one":      {func(l *limiter) { say(l, 2, 0, 3, 0); say(l, 1, 1, 1, 0) }, 1, true, 1, 0},
		"the reset comes later":                 {func(l *limiter) { say(l, 1, 0, 3, 0); say(l, 2, 1, 2, hour) }, 1, true, 2, hour},
		"a silent answer changes nothing":       {func(l *limiter) { say(l, 1, 0, 3, hour); say(l, 2, 1, -1, 0) }, 1, true, 3, hour},
		"a reset alone":                         {func(l *limiter) { say(l, 1, 0, -1, hour) }, 1, false, 0, hour},
		"a refusal alone":                       {func(l *limiter) { refuse(l, 0, hour) }, 1, true, 0, hour},
		"until it ends":                         {func(l *limiter) { refuse(l, 0, hour) }, hour, false, 0, 0},
		"of two refusals the later end":         {func(l *limiter) { refuse(l, 0, hour); refuse(l, 1, time.Minute) }, 1, true, 0, hour},
		"a refusal stops what is left":          {func(l *limiter) { say(l, 1, 0, 3, hour); refuse(l, 0, time.Minute) }, 1, true, 0, time.Minute},
		"and what is left comes back":           {func(l *limiter) { say(l, 1, 0, 3, hour); refuse(l, 0, time.Minute) }, time.Minute, true, 3, hour},
		"a refusal opens no window":             {func(l *limiter) { say(l, 1, 0, 0, hour); refuse(l, 0, time.Minute) }, 1, true, 0, hour},
		"an absurd one that a state has kept":   {func(l *limiter) { l.resume(spending{Paused: noon.Add(2 * farthest)}, noon) }, 1, false, 0, 0},
		"a reset alone keeps what is known":     {func(l *limiter) { say(l, 1, 0, 3, hour); say(l, 2, 1, -1, 2*hour) }, 1, true, 3, hour},
	} {
		t.Run(name, func(t *testing.T) {
			var l limiter
			tt.do(&l)
			got := l.snapshot(allowance{}, noon.Add(tt.at))
			assert.Equal(t, tt.known, got.Known)
			assert.Equal(t, tt.left, got.Remaining)
			if tt.reset == 0 {
				assert.True(t, got.Reset.IsZero())
			} else {
				assert.Equal(t, noon.Add(tt.reset), got.Reset)
			}
		})
	}
}

func TestRateLimitTellsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, []httpmock.Responder{
			answer(201, createdJob), // as servers in the field: no headers
			answer(200, updatedJob, "X-RateLimit-Limit", "100", "X-RateLimit-Remaining", "10", "X-RateLimit-Reset", "3600"),
			answer(502, ""), answer(200, updatedJob),
		}, hasty(2))
		assert.Equal(t, RateLimit{}, c.RateLimit(), "without a request")
		_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Equal(t, RateLimit{Requests: 1}, c.RateLimit())

		start := time.Now()
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		want := RateLimit{Known: true, Limit: 100, Remaining: 10, Reset: start.Add(time.Hour), ObservedAt: start, Requests: 2}
		assert.Equal(t, want, c.RateLimit())

		// A gateway's bare 502 does not make the client forget, and its own
		// attempts are counted.
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		want.Remaining, want.Requests = 8, 4
		assert.Equal(t, want, c.RateLimit())

		time.Sleep(time.Hour)
		got := c.RateLimit()
		assert.False(t, got.Known, "the window has ended; what the next one holds is not known")
		assert.Zero(t, got.Remaining)
		assert.Equal(t, 100, got.Limit)
	})
}

func TestAKnownExhaustionCostsNoRequest(t *testing.T) {
	for _, format := range []eryxontest.ResetFormat{eryxontest.ResetISO8601, eryxontest.ResetHTTPDate, eryxontest.ResetEpochSeconds, eryxontest.ResetEpochMillis, eryxontest.ResetDeltaSeconds} {
		for _, always := range []bool{true, false} {
			t.Run(fmt.Sprint(format, always), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := eryxontest.New(eryxontest.WithQuota(3, 24*time.Hour), eryxontest.WithResetFormat(format), eryxontest.WithHeadersAlways(always))
					c := onServer(t, srv)
					start := time.Now()
					for i := range 3 {
						_, err := c.Jobs.Sync(t.Context(), job(fmt.Sprint("SO-", i)))
						require.NoError(t, err)
					}
					arrived := 3
					if !always { // only the 429 tells
						_, err := c.Jobs.Sync(t.Context(), job("SO-3"))
						var limited *RateLimitError
						require.ErrorAs(t, err, &limited)
						assert.True(t, limited.Sent)
						arrived++
					}
					res, err := c.Jobs.Sync(t.Context(), job("SO-4"))
					var limited *RateLimitError
					require.ErrorAs(t, err, &limited)
					assert.False(t, limited.Sent)
					assert.WithinDuration(t, start.Add(24*time.Hour), limited.Reset, time.Second)
					assert.Equal(t, time.Until(limited.Reset), limited.RetryAfter)
					assert.Zero(t, limited.Remaining)
					assert.ErrorContains(t, err, "sync again after "+limited.Reset.UTC().Format(time.RFC3339))
					assert.Equal(t, StatusNotSent, res.Status)
					assert.Zero(t, res.Attempts)
					assert.Empty(t, res.RequestID, "no request was made")

					bulk, err := c.Jobs.BulkSync(t.Context(), jobs(5))
					require.ErrorIs(t, err, ErrRateLimited)
					assert.Equal(t, Counts{NotSent: 5}, bulk.Counts)
					_, err = c.Do(t.Context(), "GET", "/api-jobs", nil, nil)
					require.ErrorIs(t, err, ErrRateLimited)
					assert.Len(t, srv.Requests(), arrived)
					assert.Zero(t, time.Since(start), "and no waiting")

					// The next window is open.
					time.Sleep(time.Until(limited.Reset))
					_, err = c.Jobs.Sync(t.Context(), job("SO-4"))
					require.NoError(t, err)
				})
			})
		}
	}
}

func TestMaxWaitWaitsForTheNextWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithQuota(2, time.Minute))
		c := onServer(t, srv)
		start := time.Now()
		for i := range 2 {
			_, err := c.Jobs.Sync(t.Context(), job(fmt.Sprint("SO-", i)))
			require.NoError(t, err)
		}
		_, err := c.Jobs.Sync(t.Context(), job("SO-2"), WithMaxWait(59*time.Second))
		require.ErrorIs(t, err, ErrRateLimited, "too short a patience does not wait at all")
		assert.Zero(t, time.Since(start))

		// Nor does a context that will not live to see it.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err = c.Jobs.Sync(ctx, job("SO-2"), WithMaxWait(time.Hour))
		require.ErrorIs(t, err, ErrRateLimited)
		assert.Zero(t, time.Since(start))

		res, err := c.Jobs.Sync(t.Context(), job("SO-2"), WithMaxWait(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, StatusCreated, res.Status)
		assert.Equal(t, time.Minute, time.Since(start))
		assert.Equal(t, time.Minute, res.Response.Duration, "waits included")
		assert.Equal(t, 1, res.Attempts)
		assert.Len(t, srv.Requests(), 3, "none of them a 429")

		// The wait obeys the context.
		_, err = c.Jobs.Sync(t.Context(), job("SO-3"))
		require.NoError(t, err)
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		_, err = c.Jobs.Sync(ctx, job("SO-4"), WithMaxWait(time.Minute))
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, time.Minute+5*time.Second, time.Since(start))
	})
}

// A server in the field rounds Retry-After down and sends a reset in
// milliseconds: waiting for the one alone would wake up before the other.
func TestA429WithinThePatienceIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		limited := func(r *http.Request) (*http.Response, error) {
			reset := start.Add(5866 * time.Millisecond).UTC().Format("2006-01-02T15:04:05.000Z")
			return answer(429, fmt.Sprintf(`{"success":false,"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Rate limit exceeded.","statusCode":429,"rateLimitInfo":{"remaining":0,"resetAt":%q,"retryAfter":5}}}`, reset),
				"Retry-After", "5", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", reset)(r)
		}
		c, s := scripted(t, []httpmock.Responder{limited, answer(201, createdJob)})
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Equal(t, StatusCreated, res.Status)
		assert.Len(t, s.requests(), 2)
		assert.GreaterOrEqual(t, time.Since(start), 5866*time.Millisecond)
		assert.Less(t, time.Since(start), 7*time.Second)
	})
}

func TestEveryAttemptIsCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithQuota(100, time.Hour), eryxontest.WithHeadersAlways(false))
		srv.Script("", eryxontest.Status(503), eryxontest.CloseBefore(), eryxontest.LoseAnswer())
		c := onServer(t, srv)
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Equal(t, 4, res.Attempts)
		assert.EqualValues(t, 4, c.RateLimit().Requests)

		// Retries stop where the known quota does.
		srv = eryxontest.New()
		srv.Script("", eryxontest.Answer(503, headerOf("X-RateLimit-Remaining", "1", "X-RateLimit-Reset", "3600"), ""), eryxontest.Status(503))
		c = onServer(t, srv)
		res, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrRateLimited)
		assert.Equal(t, 2, res.Attempts)
		assert.Len(t, srv.Requests(), 2)
		assert.Equal(t, StatusUnknown, res.Status, "what was sent was sent")
		assert.ErrorContains(t, err, "request quota used up before a retry")
	})
}

func TestA429IsReadFromHeadersOrBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reset := time.Now().Add(86399 * time.Second).UTC()
		body := `{"success":false,"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Rate limit exceeded.","statusCode":429,"rateLimitInfo":%s}}`
		for name, tt := range map[string]struct {
			info    string
			headers []string
			reset   bool
			blocks  bool
		}{
			"body alone":               {`{"remaining":0,"resetAt":"` + reset.Format(time.RFC3339Nano) + `","retryAfter":86399}`, nil, true, true},
			"body without resetAt":     {`{"remaining":0,"retryAfter":86399}`, nil, true, true},
			"body without retryAfter":  {`{"remaining":0,"resetAt":"` + reset.Format(time.RFC3339Nano) + `"}`, nil, true, true},
			"headers alone":            {`null`, []string{"Retry-After", "86399", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", reset.Format(time.RFC3339Nano)}, true, true},
			"headers without reset":    {`null`, []string{"Retry-After", "86399", "X-RateLimit-Remaining", "0"}, true, true},
			"Retry-After alone":        {`null`, []string{"Retry-After", "86399"}, true, true},
			"reset alone":              {`null`, []string{"X-RateLimit-Reset", reset.Format(time.RFC3339)}, true, true},
			"reset alone, in seconds":  {`null`, []string{"X-RateLimit-Reset", "86399"}, true, true},
			"reset without a zone":     {`null`, []string{"X-RateLimit-Reset", reset.Format("2006-01-02T15:04:05")}, true, true},
			"resetAt alone":            {`{"resetAt":"` + reset.Format(time.RFC3339) + `"}`, nil, true, true},
			"resetAt in epoch seconds": {`{"remaining":0,"resetAt":` + strconv.FormatInt(reset.Unix(), 10) + `}`, nil, true, true},
			"resetAt in epoch millis":  {`{"resetAt":` + strconv.FormatInt(reset.UnixMilli(), 10) + `,"retryAfter":86398}`, nil, true, true},
			"retryAfter alone":         {`{"retryAfter":86399}`, nil, true, true},
			"retryAfter in a string":   {`{"remaining":0,"retryAfter":"86399"}`, nil, true, true},
			"odd remaining":            {`{"remaining":{"day":0},"retryAfter":86399}`, nil, true, true},
			"odd resetAt":              {`{"remaining":0,"resetAt":["tomorrow"],"retryAfter":86399}`, nil, true, true},
			"odd retryAfter":           {`{"remaining":"0","resetAt":"` + reset.Format(time.RFC3339) + `","retryAfter":true}`, nil, true, true},
			"odd types in the body":    {`{"remaining":"none","resetAt":7,"retryAfter":"long"}`, []string{"Retry-After", "86399"}, true, true},
			"negative values":          {`{"remaining":-1,"retryAfter":-1}`, []string{"Retry-After", "86399"}, true, true},
			"the later one counts":     {`null`, []string{"Retry-After", "86399", "X-RateLimit-Reset", "60"}, true, true},
			"something is left":        {`{"remaining":7}`, []string{"Retry-After", "86399"}, false, false},
			"headers win over body":    {`{"remaining":7,"retryAfter":1}`, []string{"Retry-After", "86399", "X-RateLimit-Remaining", "0"}, true, true},
			"a body that says nothing": {`7`, []string{"Retry-After", "86399", "X-RateLimit-Remaining", "0"}, true, true},
		} {
			c, s := scripted(t, []httpmock.Responder{answer(429, fmt.Sprintf(body, tt.info), tt.headers...)})
			start := time.Now()
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			var limited *RateLimitError
			require.ErrorAs(t, err, &limited, name)
			assert.True(t, limited.Sent)
			assert.Equalf(t, 86399*time.Second, limited.RetryAfter, "%s", name)
			assert.Zero(t, time.Since(start))
			assert.Equal(t, StatusNotSent, res.Status)
			if tt.reset {
				assert.WithinDurationf(t, reset, limited.Reset, time.Second, "%s", name)
			} else {
				assert.Truef(t, limited.Reset.IsZero(), "%s", name)
			}
			_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
			require.ErrorAs(t, err, &limited)
			assert.Equalf(t, tt.blocks, !limited.Sent, "%s: a known end of the window spares the request", name)
			assert.Len(t, s.requests(), map[bool]int{true: 1, false: 2}[tt.blocks])
		}
	})
}

// The body's resetAt is of the server's clock, as the headers' is.
func TestResetInTheBodyIsCorrectedForClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		r := readLimit(headerOf("Date", noon.Add(skew).Format(http.TimeFormat)), noon)
		r = r.completed(fmt.Appendf(nil, `{"error":{"rateLimitInfo":{"resetAt":%q}}}`, noon.Add(skew+time.Minute).Format(time.RFC3339)), noon)
		assert.Equal(t, noon.Add(time.Minute), r.reset)
		assert.Equal(t, time.Minute, r.retryAfter)
	}
}

// A 429 that tells nothing but when to come again holds the whole client back
// till then. Short of what a retry would wait, its calls wait.
func TestA429WithoutRemainingHoldsTheClientBack(t *testing.T) {
	for _, header := range []string{"Retry-After", "X-RateLimit-Reset"} {
		limited := answer(429, "", header, "5")
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				empty := answer(200, `{"success":true,"data":{"jobs":[]}}`)
				c, s := scripted(t, []httpmock.Responder{limited, empty})
				read := func(opts ...CallOption) (int, error) {
					var w watch
					_, err := collect(c.Jobs.List(t.Context(), JobListOptions{}, append(opts, w.option())...))
					return len(w.all()), err
				}
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					attempts, err := read()
					assert.NoError(t, err)
					assert.Equal(t, 2, attempts, "turned away, and retried")
				})
				synctest.Wait()
				assert.Len(t, s.requests(), 1)
				assert.Equal(t, RateLimit{Known: true, Reset: start.Add(5 * time.Second), ObservedAt: start, Requests: 1}, c.RateLimit())

				for _, impatient := range []CallOption{hasty(4), WithRetryPolicy(RetryPolicy{1, time.Second, time.Minute})} {
					_, err := read(impatient)
					var limited *RateLimitError
					if assert.ErrorAs(t, err, &limited) {
						assert.Equal(t, RateLimitError{Reset: start.Add(5 * time.Second), RetryAfter: 5 * time.Second}, *limited)
					}
				}
				for _, patient := range [][]CallOption{nil, {once(), WithMaxWait(5 * time.Second)}} {
					wg.Go(func() {
						attempts, err := read(patient...)
						assert.NoError(t, err)
						assert.Equal(t, 1, attempts)
						assert.Equal(t, 5*time.Second, time.Since(start))
					})
				}
				synctest.Wait()
				assert.Len(t, s.requests(), 1, "none is sent before")
				wg.Wait()
				assert.Len(t, s.requests(), 4)
				assert.False(t, c.RateLimit().Known)
			})
		})
	}
}

// It says nothing of the window that other answers have told of.
func TestA429WithoutRemainingKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{
			answer(200, updatedJob, "X-RateLimit-Remaining", "50", "X-RateLimit-Reset", "3600"),
			answer(429, "", "Retry-After", "60"), answer(200, updatedJob),
		}, hasty(4))
		end := time.Now().Add(time.Hour)
		_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		for range 3 {
			_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
			require.ErrorIs(t, err, ErrRateLimited)
		}
		assert.Len(t, s.requests(), 2)
		assert.Zero(t, c.RateLimit().Remaining)
		assert.Equal(t, time.Now().Add(time.Minute), c.RateLimit().Reset)
		time.Sleep(time.Minute)
		assert.Equal(t, 49, c.RateLimit().Remaining)
		assert.Equal(t, end, c.RateLimit().Reset)
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
	})
}

// A process that starts anew does not ask before its predecessor might.
func TestA429WithoutRemainingHoldsTheNextProcessBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("/api-jobs/bulk-sync", eryxontest.Answer(429, headerOf("Retry-After", "18000"), ""))
		st := newMemState()
		for range 5 {
			_, err := onServer(t, srv).Jobs.BulkSync(t.Context(), jobs(1), WithState(st))
			require.ErrorIs(t, err, ErrRateLimited)
			assert.Len(t, srv.Requests(), 1)
			time.Sleep(time.Hour)
		}
		_, err := onServer(t, srv).Jobs.BulkSync(t.Context(), jobs(1), WithState(st))
		require.NoError(t, err)
	})
}

func TestTheLimiterHoldsUnderConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithQuota(20, time.Minute), eryxontest.WithLatency(10*time.Millisecond, 0))
		c := onServer(t, srv, WithRetryPolicy(RetryPolicy{20, time.Millisecond, time.Second}))
		_, err := c.Jobs.Sync(t.Context(), job("first")) // the quota is known from here on
		require.NoError(t, err)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var done, refused int
		for i := range 50 {
			wg.Go(func() {
				_, err := c.Jobs.Sync(t.Context(), job(fmt.Sprint(i)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					done++
				} else if assert.ErrorIs(t, err, ErrRateLimited) {
					refused++
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 19, done)
		assert.Equal(t, 31, refused)
		assert.Len(t, srv.Requests(), 20, "not one request too many")

		// With patience all of them get through, window after window.
		for i := range 50 {
			wg.Go(func() {
				_, err := c.Jobs.Sync(t.Context(), job(fmt.Sprint("p", i)), WithMaxWait(time.Hour))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Len(t, srv.Rows(eryxontest.Jobs), 1+19+50)
	})
}

func TestTheTrackerUnderTheRaceDetector(t *testing.T) {
	var l limiter
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				seq, _, err := l.acquire(t.Context(), allowance{})
				if err == nil {
					l.observe(seq, limitReport{limit: 1 << 20, left: 1<<20 - i*8 - g, reset: noon.Add(1000 * time.Hour), retryAfter: -1}, noon)
				}
				l.snapshot(allowance{}, noon)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1600, l.snapshot(allowance{}, noon).Requests)
}

func FuzzReadLimit(f *testing.F) {
	for _, s := range []string{"", "0", "100", "86399", "1795521599", "1795521599866", "2026-11-24T10:52:29.866Z", "Tue, 24 Nov 2026 11:59:59 GMT", "-1", "NaN", "1e308", "100;w=1", `"7"`} {
		f.Add(s, s, s, s, "Mon, 23 Nov 2026 12:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, limit, left, reset, retryAfter, date string) {
		h := http.Header{"X-Ratelimit-Limit": {limit}, "X-Ratelimit-Remaining": {left}, "X-Ratelimit-Reset": {reset}, "Retry-After": {retryAfter}, "Date": {date}}
		r := readLimit(h, noon)
		if r.limit < 0 || r.left < -1 {
			t.Errorf("a negative number of requests: %+v", r)
		}
		if r.retryAfter < -1 {
			t.Errorf("a negative wait: %+v", r)
		}
		if !r.reset.IsZero() && (r.reset.Sub(noon) > farthest || r.reset.Sub(noon) < -farthest) {
			t.Errorf("a reset that nobody can mean: %v", r.reset)
		}
		var l limiter
		l.observe(1, r, noon)
		got := l.snapshot(allowance{}, noon)
		if got.Known && (got.Remaining != r.left || !got.Reset.IsZero() && !got.Reset.After(noon)) {
			t.Errorf("%+v was made of %+v", got, r)
		}
	})
}

// FuzzReadRefusal: whatever a 429 says, the client is held back for as long as
// its error tells, and no longer than anybody can mean.
func FuzzReadRefusal(f *testing.F) {
	for _, info := range []string{`{"remaining":0,"resetAt":"2026-11-24T10:52:29.866Z","retryAfter":86399}`, `{"resetAt":1795521599866,"retryAfter":"7"}`, `{"remaining":[],"resetAt":{},"retryAfter":1e400}`, `7`} {
		body := []byte(`{"success":false,"error":{"rateLimitInfo":` + info + `}}`)
		f.Add(body, "", "", "", "Mon, 23 Nov 2026 12:00:00 GMT")
		f.Add(body, "0", "3600", "5", "Mon, 23 Nov 2026 13:00:00 GMT")
		f.Add(body, "3", "2026-11-24T10:52:29", "1.5", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, left, reset, retryAfter, date string) {
		h := http.Header{"X-Ratelimit-Remaining": {left}, "X-Ratelimit-Reset": {reset}, "Retry-After": {retryAfter}, "Date": {date}}
		r := readLimit(h, noon).completed(body, noon)
		if again := r.completed(body, noon); again != r {
			t.Errorf("%+v became %+v", r, again)
		}
		if r.retryAfter < -1 || r.retryAfter > farthest {
			t.Errorf("a wait that nobody can mean: %+v", r)
		}
		if r.left <= 0 && r.retryAfter > 0 && !r.reset.Equal(noon.Add(r.retryAfter)) {
			t.Errorf("a wait that ends at another time: %+v", r)
		}
		var l limiter
		l.observe(1, r, noon)
		got := l.snapshot(allowance{}, noon)
		held := got.Known && got.Remaining == 0 && got.Reset.After(noon)
		if held != (r.left <= 0 && r.retryAfter > 0) || held && !got.Reset.Equal(r.reset) {
			t.Errorf("%+v was made of %+v", got, r)
		}
	})
}

func FuzzParseMoment(f *testing.F) {
	for _, s := range []string{"", "0", "86399.5", "1795521599", "1795521599866", "2026-11-24T10:52:29.866Z", "Tue, 24 Nov 2026 11:59:59 GMT", "1e9", "0x1p40"} {
		f.Add(s, int64(0))
		f.Add(s, int64(time.Hour))
	}
	f.Fuzz(func(t *testing.T, s string, skew int64) {
		if skew == math.MinInt64 {
			return
		}
		got, ok := parseMoment(s, noon, time.Duration(skew))
		if !ok && !got.IsZero() {
			t.Errorf("%q: %v, but not read", s, got)
		}
		if d := got.Sub(noon); ok && (d > farthest || d < -farthest) {
			t.Errorf("%q: %v is absurdly far", s, got)
		}
	})
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "1.5", "86399", "Tue, 24 Nov 2026 11:59:59 GMT", "-1", "Inf", "1e99"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := parseRetryAfter(s, noon, 0); d < -1 {
			t.Errorf("%q: %s", s, d)
		}
	})
}

func TestARetryAfterThatNobodyCanMeanIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(429, "", "Retry-After", "Wed, 21 Oct 2099 07:28:00 GMT"), answer(200, updatedJob)})
		_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Len(t, s.requests(), 2)
	})
}
