package eryxon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// What may pass is retried; what can't is not, and spends one request only.
func TestWhatIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			reply   httpmock.Responder
			retried bool
		}{
			"no connection":     {broken(), true},
			"cut short":         {cutShort(200, createdJob[:20], io.ErrUnexpectedEOF), true},
			"truncated":         {answer(200, createdJob[:20]), true},
			"408":               {answer(408, ""), true},
			"425":               {answer(425, ""), true},
			"429":               {answer(429, ""), true},
			"502":               {answer(502, gatewayPage), true},
			"503":               {answer(503, ""), true},
			"504":               {answer(504, ""), true},
			"546":               {answer(546, "WORKER_LIMIT"), true},
			"503 with envelope": {refusal(503, "UNAVAILABLE", "maintenance"), true},
			"400":               {refusal(400, "BAD_REQUEST", "no"), false},
			"401":               {answer(401, ""), false},
			"402":               {answer(402, ""), false},
			"403":               {answer(403, ""), false},
			"404":               {answer(404, ""), false},
			"409":               {answer(409, ""), false},
			"413":               {answer(413, ""), false},
			"422":               {answer(422, ""), false},
			"500 HTML":          {answer(500, gatewayPage), false},
			"500 envelope":      {refusal(500, "INTERNAL_ERROR", "Cannot read properties of null"), false},
			"500 column":        {refusal(500, "INTERNAL_ERROR", "Could not find the 'x' column of 'jobs' in the schema cache"), false},
			"501":               {answer(501, ""), false},
			"HTML on 200":       {answer(200, gatewayPage), false},
			"empty 200":         {answer(200, ""), false},
			"302":               {answer(302, "", "Location", "/"), false},
		} {
			var w watch
			c, s := scripted(t, []httpmock.Responder{tt.reply}, w.option())
			start := time.Now()
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.Error(t, err, name)
			want := 1
			if tt.retried {
				want = DefaultRetryPolicy().MaxAttempts
			}
			assert.Lenf(t, s.requests(), want, "%s", name)
			assert.Equal(t, want, res.Attempts)
			assert.Equal(t, want, res.Response.Attempts)
			var api *APIError
			require.ErrorAs(t, err, &api)
			assert.Equal(t, want, api.Attempts)
			assert.Contains(t, err.Error(), counted(want, "attempt"))
			// 500 ms, 1 s, 2 s at most.
			assert.LessOrEqual(t, time.Since(start), 3500*time.Millisecond)

			require.Len(t, w.all(), want)
			for i, a := range w.all() {
				assert.Equal(t, i+1, a.Number)
				assert.Errorf(t, a.Err, "%s", name)
				if i+1 < want {
					assert.LessOrEqual(t, a.RetryIn, DefaultRetryPolicy().BaseDelay<<i)
				} else {
					assert.Equal(t, time.Duration(-1), a.RetryIn)
				}
			}
			for _, r := range s.requests() {
				assert.Equal(t, s.requests()[0], r, "each attempt is the same request: body, headers, request id")
			}
		}
	})
}

func TestARetryThatSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for first, tt := range map[string]struct {
			first  httpmock.Responder
			second string
			status int
			want   Status
		}{
			// The first attempt may have been carried out: an update can then
			// be one of the row that it made.
			"lost answer, updated":  {broken(), updatedJob, 200, StatusSynced},
			"lost answer, created":  {broken(), createdJob, 201, StatusCreated},
			"gateway, updated":      {answer(504, ""), updatedJob, 200, StatusSynced},
			"truncated, updated":    {answer(201, createdJob[:30]), updatedJob, 200, StatusSynced},
			"lost answer, skipped":  {broken(), strings.Replace(updatedJob, "updated", "skipped", 1), 200, StatusSynced},
			"turned away, updated":  {answer(429, "", "Retry-After", "1"), updatedJob, 200, StatusUpdated},
			"never sent, updated":   {httpmock.NewErrorResponder(&net.OpError{Op: "dial", Err: errors.New("refused")}), updatedJob, 200, StatusUpdated},
			"turned away, created":  {answer(429, ""), createdJob, 201, StatusCreated},
			"never sent, unchanged": {httpmock.NewErrorResponder(&net.OpError{Op: "dial", Err: errors.New("refused")}), strings.Replace(updatedJob, "updated", "skipped", 1), 200, StatusUnchanged},
		} {
			c, s := scripted(t, []httpmock.Responder{tt.first, answer(tt.status, tt.second)})
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.NoError(t, err, first)
			assert.Equalf(t, tt.want, res.Status, "%s", first)
			assert.Equal(t, 2, res.Attempts)
			assert.Equal(t, s.requests()[0].header.Get("X-Request-Id"), s.requests()[1].header.Get("X-Request-Id"), "the server's log shows one call")

			bulkOf := func(action string) string {
				return `{"success":true,"data":{"total":1,"created":` + map[bool]string{true: "1", false: "0"}[action == "created"] +
					`,"updated":` + map[bool]string{true: "1", false: "0"}[action == "updated"] + `,"errors":0,"results":[{"external_id":"SO-1","id":"u","action":"` + action + `"}]}}`
			}
			action := "updated"
			for _, a := range []string{"created", "skipped"} {
				if strings.Contains(tt.second, a) {
					action = a
				}
			}
			c, _ = scripted(t, []httpmock.Responder{tt.first, answer(200, bulkOf(action))})
			bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("SO-1")})
			require.NoError(t, err, first)
			assert.Equalf(t, tt.want, bulk.Outcomes[0].Status, "bulk: %s", first)
			assert.Equal(t, 2, bulk.Attempts)
			assert.Equal(t, 1, bulk.Requests)
		}
	})
}

func TestALostAnswerIsFoundOutOnTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		srv.Script("", eryxontest.LoseAnswer(), eryxontest.Status(502).After())
		c := onServer(t, srv)
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Equal(t, StatusSynced, res.Status, "not updated: this call itself created it")
		assert.Equal(t, 3, res.Attempts)
		assert.Len(t, srv.Rows(eryxontest.Jobs), 1)
	})
}

// TestTheBodyIsWholeOnEveryAttempt runs over connections as real ones are:
// kept open and reused, closed by the server while idle, and fresh.
func TestTheBodyIsWholeOnEveryAttempt(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		var mu sync.Mutex
		var bodies []string
		var conns []string
		answers := []int{201, 503, 502, 201, -1, 429, 201, -1, -1, 504, 201}
		srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			mu.Lock()
			bodies, conns = append(bodies, string(body)), append(conns, r.RemoteAddr)
			status := answers[len(bodies)-1]
			mu.Unlock()
			switch status {
			case -1: // the connection breaks after the request was read
				panic(http.ErrAbortHandler)
			case 201:
				w.WriteHeader(201)
				_, _ = io.WriteString(w, createdJob)
			case 502: // and one that will not be reused
				w.Header().Set("Connection", "close")
				w.WriteHeader(status)
			default:
				w.WriteHeader(status)
			}
		})}
		srv.ErrorLog = discardLog()
		go func() { _ = srv.Serve(ln) }()
		transport := &http.Transport{DialContext: ln.dial}
		c, err := New("http://localhost/functions/v1", testKey, WithHTTPClient(&http.Client{Transport: transport}), WithSource("SAP"))
		require.NoError(t, err)

		j := job("SO-1")
		j.Notes = Some(strings.Repeat("x", 100<<10)) // more than any buffer
		for _, attempts := range []int{1, 3, 3, 4} {
			res, err := c.Jobs.Sync(t.Context(), j)
			require.NoError(t, err)
			assert.Equal(t, attempts, res.Attempts)
		}
		want, err := j.MarshalJSON()
		require.NoError(t, err)
		require.Len(t, bodies, len(answers))
		for i, b := range bodies {
			assert.Equalf(t, strings.Replace(string(want), `"SO-1",`, `"SO-1","external_source":"SAP",`, 1), b, "attempt %d", i)
		}
		assert.Equal(t, conns[0], conns[1], "a retry over a reused connection is among them")
		assert.NotEqual(t, conns[2], conns[3], "and one over a fresh connection")
		transport.CloseIdleConnections()
		require.NoError(t, srv.Shutdown(context.Background()))
	})
}

func TestCancellationWakesAWaitingRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(503, "", "Retry-After", "20")})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(7*time.Second, cancel)
		start := time.Now()
		res, err := c.Jobs.Sync(ctx, job("SO-1"))
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 7*time.Second, time.Since(start), "at once")
		assert.Equal(t, StatusUnknown, res.Status, "the 503 may have come after the write")
		assert.Contains(t, err.Error(), "gave up waiting for a retry: context canceled")
		assert.Equal(t, 1, res.Attempts)
		assert.Len(t, s.requests(), 1)

		// Turned away unread, and then given up: nothing was sent in effect.
		c, _ = scripted(t, []httpmock.Responder{answer(429, "", "Retry-After", "20")})
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(7*time.Second, cancel)
		res, err = c.Jobs.Sync(ctx, job("SO-1"))
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, StatusNotSent, res.Status)
	})
}

func TestARetryThatTheDeadlineForbidsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(503, "", "Retry-After", "20")})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Jobs.Sync(ctx, job("SO-1"))
		require.ErrorIs(t, err, ErrServer, "the server's own error, not the deadline's")
		assert.Zero(t, time.Since(start))
		assert.Len(t, s.requests(), 1)
	})
}

func TestRetryAfterIsAFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			header   func() string
			at       int
			min, max time.Duration
		}{
			"seconds":               {func() string { return "7" }, 503, 7 * time.Second, 7*time.Second + 500*time.Millisecond},
			"seconds, 429":          {func() string { return "7" }, 429, 7 * time.Second, 7*time.Second + 500*time.Millisecond},
			"fraction":              {func() string { return "1.5" }, 503, 1500 * time.Millisecond, 1500 * time.Millisecond},
			"HTTP-date":             {func() string { return time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat) }, 503, 8 * time.Second, 9 * time.Second},
			"HTTP-date in the past": {func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, 503, 0, 500 * time.Millisecond},
			"zero":                  {func() string { return "0" }, 503, 0, 500 * time.Millisecond},
			"garbage":               {func() string { return "soon" }, 503, 0, 500 * time.Millisecond},
			"negative":              {func() string { return "-5" }, 503, 0, 500 * time.Millisecond},
			"on a 504":              {func() string { return "3" }, 504, 3 * time.Second, 3 * time.Second},
			"exactly MaxDelay":      {func() string { return "30" }, 503, 30 * time.Second, 30 * time.Second},
		} {
			time.Sleep(300 * time.Millisecond) // not on a full second
			c, s := scripted(t, []httpmock.Responder{answer(tt.at, "", "Retry-After", tt.header()), answer(201, createdJob)})
			start := time.Now()
			_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.NoError(t, err, name)
			assert.GreaterOrEqualf(t, time.Since(start), tt.min, "%s", name)
			assert.LessOrEqualf(t, time.Since(start), max(tt.max, 500*time.Millisecond), "%s", name)
			assert.Len(t, s.requests(), 2)
		}
	})
}

func TestALongRetryAfterEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(429, "", "Retry-After", "86399")})
		start := time.Now()
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		var limited *RateLimitError
		require.ErrorAs(t, err, &limited)
		assert.True(t, limited.Sent)
		assert.Equal(t, 86399*time.Second, limited.RetryAfter)
		assert.Equal(t, StatusNotSent, res.Status)
		assert.ErrorContains(t, err, "23h59m59s")
		assert.Len(t, s.requests(), 1)

		c, s = scripted(t, []httpmock.Responder{answer(503, "", "Retry-After", "31"), answer(201, createdJob)})
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrServer)
		assert.Zero(t, time.Since(start), "neither is waited for")
		assert.Len(t, s.requests(), 1)

		// With a longer patience it is.
		c, _ = scripted(t, []httpmock.Responder{answer(503, "", "Retry-After", "31"), answer(201, createdJob)})
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"), WithMaxWait(time.Minute))
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(start), 31*time.Second)
	})
}

func TestTheDuplicateKeyRaceIsRepeatedOnce(t *testing.T) {
	race := refusal(500, "INTERNAL_ERROR", `Failed to sync jobs: duplicate key value violates unique constraint "idx_jobs_external_sync"`)
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{race, answer(200, updatedJob)})
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Equal(t, StatusUpdated, res.Status)
		assert.Len(t, s.requests(), 2)

		// The same a second time means a row that was deleted on the server.
		c, s = scripted(t, []httpmock.Responder{race})
		res, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrDeletedOnServer)
		assert.Equal(t, StatusFailed, res.Status)
		assert.Len(t, s.requests(), 2, "never a third time")
		assert.ErrorContains(t, err, "restore the row in the MES")

		// After a lost answer too: the lost attempt can have made the row.
		c, s = scripted(t, []httpmock.Responder{broken(), race, answer(200, updatedJob)})
		res, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		assert.Equal(t, StatusSynced, res.Status)
		assert.Len(t, s.requests(), 3)

		// No policy is overruled.
		c, s = scripted(t, []httpmock.Responder{race}, once())
		res, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrConflict)
		assert.Equal(t, StatusFailed, res.Status)
		assert.Len(t, s.requests(), 1, "one attempt is one attempt")
	})
}

func TestARowDeletedOnTheServer(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, hasty(4))
			_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.NoError(t, err)
			require.True(t, srv.Delete(eryxontest.Jobs, "SAP", "SO-1"))
			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.ErrorIs(t, err, ErrDeletedOnServer)
			assert.Equal(t, StatusFailed, res.Status)
		})
	}
}

func TestTheRetryBudgetKeepsAClientFromHammering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(503, "")})
		calls := 40
		for range calls {
			_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.ErrorIs(t, err, ErrServer)
		}
		assert.Len(t, s.requests(), calls+retryTokens, "the retries of all calls together")
		child, err := c.With(WithSource("Infor"))
		require.NoError(t, err)
		_, err = child.Jobs.Sync(t.Context(), job("SO-1"))
		require.Error(t, err)
		assert.Len(t, s.requests(), calls+retryTokens+1, "a variant shares the budget")

		// Successes fill it up again, half a retry each.
		s.mu.Lock()
		s.answers = []httpmock.Responder{answer(200, updatedJob)}
		s.mu.Unlock()
		for range 6 {
			_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.NoError(t, err)
		}
		before := len(s.requests())
		s.mu.Lock()
		s.answers = []httpmock.Responder{answer(503, "")}
		s.mu.Unlock()
		for range 3 {
			_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			require.Error(t, err)
		}
		assert.Equal(t, 3+3, len(s.requests())-before)
	})
}

func TestTheBudgetNeverGrowsBeyondItsSize(t *testing.T) {
	var b retryBudget
	for range 100 {
		b.refund()
	}
	for range retryTokens {
		require.True(t, b.take())
	}
	assert.False(t, b.take())
}

func TestBackoffIsJitteredAndBounded(t *testing.T) {
	p := RetryPolicy{MaxAttempts: 20, BaseDelay: 100 * time.Millisecond, MaxDelay: time.Second}
	for retry, ceiling := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 5: time.Second, 19: time.Second, 64: time.Second, 1000: time.Second} {
		var least, most time.Duration = ceiling, 0
		for range 2000 {
			d := p.backoff(retry)
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.LessOrEqual(t, d, ceiling)
			least, most = min(least, d), max(most, d)
		}
		assert.Less(t, least, ceiling/10, "the whole range is drawn from")
		assert.Greater(t, most, ceiling*9/10)
	}
	assert.LessOrEqual(t, RetryPolicy{1, 10 * time.Minute, 10 * time.Minute}.backoff(40), 10*time.Minute, "no overflow")
}

func TestSleepObeysTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, sleep(t.Context(), 0))
		require.NoError(t, sleep(t.Context(), -1))
		require.NoError(t, sleep(t.Context(), time.Second))
		assert.Equal(t, time.Second, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.ErrorIs(t, sleep(ctx, 0), context.DeadlineExceeded, "a dead context is seen without waiting")
		assert.Equal(t, time.Second+time.Minute, time.Since(start))
	})
}

// pipeListener is a network within the process, of which a synctest bubble
// knows when it is idle.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	n      int
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	l.n++
	select {
	case l.conns <- namedConn{server, fmt.Sprint("conn-", l.n)}:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return pipeAddr("pipe") }

type namedConn struct {
	net.Conn
	name string
}

func (c namedConn) RemoteAddr() net.Addr { return pipeAddr(c.name) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
