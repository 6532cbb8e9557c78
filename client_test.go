package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, tt := range map[string]struct {
		url, key string
		want     string
	}{
		"no URL":               {"", testKey, "empty base URL"},
		"blank URL":            {" \t", testKey, "empty base URL"},
		"relative URL":         {"/functions/v1", testKey, "not an absolute http or https URL"},
		"no scheme":            {"erp.example/functions/v1", testKey, "not an absolute http or https URL"},
		"no host":              {"https:///functions/v1", testKey, "not an absolute http or https URL"},
		"only a port":          {"https://:8080", testKey, "not an absolute http or https URL"},
		"opaque":               {"https:erp.example", testKey, "not an absolute http or https URL"},
		"another scheme":       {"ftp://erp.example", testKey, "not an absolute http or https URL"},
		"unparsable":           {"https://erp.example/%zz", testKey, "can't be parsed"},
		"line break":           {"https://erp.example\n", testKey, "can't be parsed"},
		"user info":            {"https://user:hunter2@erp.example", testKey, "holds user info"},
		"user":                 {"https://user@erp.example", testKey, "holds user info"},
		"query":                {"https://erp.example/v1?apikey=hunter2", testKey, "holds a query or fragment"},
		"empty query":          {"https://erp.example/v1?", testKey, "holds a query or fragment"},
		"fragment":             {"https://erp.example/v1#hunter2", testKey, "holds a query or fragment"},
		"plain http":           {"http://erp.example/v1", testKey, "plain http"},
		"plain http, private":  {"http://192.168.1.10/v1", testKey, "WithPlainHTTPAllowed"},
		"plain http, lookalik": {"http://localhost.example/v1", testKey, "plain http"},
		"no key":               {testURL, "", "empty API key"},
		"key with line break":  {testURL, "hunter2\n", "white space"},
		"key with space":       {testURL, "Bearer hunter2", "white space"},
		"key with tab":         {testURL, "hunter2\t", "white space"},
		"key with NUL":         {testURL, "hunter2\x00", "white space"},
		"key with BOM":         {testURL, "\ufeffhunter2", "another character"},
		"key with DEL":         {testURL, "hunter2\x7f", "another character"},
		"swapped arguments":    {"ery_live_hunter2", "https://erp.example", "not an absolute http or https URL"},
		"swapped with a colon": {"hunter2:x", "https://erp.example", "not an absolute http or https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(tt.url, tt.key)
			assert.Nil(t, c)
			require.ErrorContains(t, err, tt.want)
			assert.True(t, strings.HasPrefix(err.Error(), "eryxon: "))
			assert.NotContains(t, err.Error(), "hunter2", "secrets are not repeated")
		})
	}
}

func TestBaseURLWithAndWithoutSlashAndPath(t *testing.T) {
	for base, want := range map[string]string{
		"https://erp.example":                     "https://erp.example/api-jobs/sync",
		"https://erp.example/":                    "https://erp.example/api-jobs/sync",
		"https://erp.example/functions/v1":        "https://erp.example/functions/v1/api-jobs/sync",
		"https://erp.example/functions/v1///":     "https://erp.example/functions/v1/api-jobs/sync",
		"https://erp.example:8443/a%20b/":         "https://erp.example:8443/a%20b/api-jobs/sync",
		"HTTPS://erp.example":                     "https://erp.example/api-jobs/sync",
		"http://localhost:54321/functions/v1":     "http://localhost:54321/functions/v1/api-jobs/sync",
		"http://LOCALHOST/functions/v1":           "http://LOCALHOST/functions/v1/api-jobs/sync",
		"http://127.0.0.1:54321":                  "http://127.0.0.1:54321/api-jobs/sync",
		"http://127.8.9.10":                       "http://127.8.9.10/api-jobs/sync",
		"http://[::1]:54321/functions/v1":         "http://[::1]:54321/functions/v1/api-jobs/sync",
		"https://xn--mnchen-3ya.example/v1":       "https://xn--mnchen-3ya.example/v1/api-jobs/sync",
		"https://erp.example/functions/v1/..//x/": "https://erp.example/functions/v1/..//x/api-jobs/sync",
	} {
		var got string
		c, err := New(base, testKey, WithSource("SAP"), once(), WithHTTPClient(&http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return answer(201, createdJob)(r)
		})}))
		require.NoError(t, err, base)
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err, base)
		assert.Equal(t, want, got)
	}
	c, err := New("http://192.168.1.10/v1", testKey, WithPlainHTTPAllowed())
	require.NoError(t, err)
	assert.NotNil(t, c)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNewFromEnv(t *testing.T) {
	for _, tt := range []struct{ url, key, want string }{
		{"", "", "neither ERYXON_BASE_URL nor ERYXON_API_KEY"},
		{"", testKey, "no ERYXON_BASE_URL"},
		{testURL, "", "no ERYXON_API_KEY"},
		{"erp.example", testKey, "absolute"},
	} {
		t.Setenv("ERYXON_BASE_URL", tt.url)
		t.Setenv("ERYXON_API_KEY", tt.key)
		_, err := NewFromEnv()
		require.ErrorContains(t, err, tt.want)
		assert.NotContains(t, err.Error(), testKey)
	}
	srv := eryxontest.New(eryxontest.WithKey("ery_live_from_env"))
	t.Setenv("ERYXON_BASE_URL", srv.URL)
	t.Setenv("ERYXON_API_KEY", "ery_live_from_env")
	c, err := NewFromEnv(WithHTTPClient(srv.Client()), WithSource("SAP"))
	require.NoError(t, err)
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.Equal(t, StatusCreated, res.Status)
}

func TestEveryRequestCarriesTheDocumentedHeaders(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(201, createdJob)}, once(), WithUserAgent("acme-erp-bridge/2.1"))
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	h := s.requests()[0].header
	assert.Equal(t, "Bearer "+testKey, h.Get("Authorization"))
	assert.Equal(t, "application/json", h.Get("Content-Type"))
	assert.Equal(t, "application/json", h.Get("Accept"))
	assert.Equal(t, "acme-erp-bridge/2.1 eryxon-go/"+Version, h.Get("User-Agent"))
	assert.Equal(t, res.RequestID, h.Get("X-Request-Id"))
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, res.RequestID)

	_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.NotEqual(t, res.RequestID, s.requests()[1].header.Get("X-Request-Id"), "each call has its own request id")
}

func TestTheServersRequestIDWins(t *testing.T) {
	for id, taken := range map[string]bool{"server-7": true, "with space": false, strings.Repeat("x", 129): false, "": false} {
		c, s := scripted(t, []httpmock.Responder{answer(400, `{"success":false,"error":{"code":"BAD_REQUEST","message":"no"}}`, "X-Request-Id", id)}, once())
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.Error(t, err)
		want := s.requests()[0].header.Get("X-Request-Id")
		if taken {
			want = id
		}
		assert.Equal(t, want, res.RequestID)
		assert.Equal(t, want, res.Response.RequestID)
		assert.Contains(t, err.Error(), "request id "+want)
		var api *APIError
		require.ErrorAs(t, err, &api)
		assert.Equal(t, want, api.RequestID)
	}
}

func TestWithMakesAVariantAndLeavesTheParentAlone(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithQuota(3, time.Hour))
	var parentSaw, childSaw int
	count := func(n *int) func(http.RoundTripper) http.RoundTripper {
		return func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) { *n++; return next.RoundTrip(r) })
		}
	}
	parent := onServer(t, srv, WithMiddleware(count(&parentSaw)))
	child, err := parent.With(WithSource("Infor"), WithMiddleware(count(&childSaw)), WithUserAgent("child/1"))
	require.NoError(t, err)
	sibling, err := parent.With(WithSource("proALPHA"))
	require.NoError(t, err)

	for _, c := range []*Client{parent, child, sibling} {
		_, err := c.Cells.Sync(t.Context(), Cell{ExternalID: "WC-1", Name: "Cutting", Color: Some("#3b82f6"), Active: Some(true)})
		require.NoError(t, err)
	}
	assert.Equal(t, 3, parentSaw, "the parent's middleware is the variant's too")
	assert.Equal(t, 1, childSaw)
	for _, source := range []string{"SAP", "Infor", "proALPHA"} {
		_, ok := srv.Row(eryxontest.Cells, source, "WC-1")
		assert.True(t, ok, source)
	}
	assert.Contains(t, srv.Requests()[1].Header.Get("User-Agent"), "child/1")
	assert.NotContains(t, srv.Requests()[2].Header.Get("User-Agent"), "child/1")

	// The quota is the tenant's: what one variant learns and spends counts for
	// all of them.
	for _, c := range []*Client{parent, child, sibling} {
		assert.EqualValues(t, 3, c.RateLimit().Requests)
		assert.Equal(t, 0, c.RateLimit().Remaining)
		_, err := c.Cells.Sync(t.Context(), Cell{ExternalID: "WC-2", Name: "Bending"})
		require.ErrorIs(t, err, ErrRateLimited)
	}
	assert.Len(t, srv.Requests(), 3)

	_, err = parent.With(WithSource(""))
	require.Error(t, err)
	_, err = parent.With(nil)
	require.ErrorContains(t, err, "option 0 is nil")
}

func TestVariantsOfOneParentDoNotShareMiddleware(t *testing.T) {
	var saw []string
	mw := func(name string) Option {
		return WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				saw = append(saw, name)
				return next.RoundTrip(r)
			})
		})
	}
	c, _ := scripted(t, []httpmock.Responder{answer(201, createdJob)}, once(), mw("1"), mw("2"), mw("3"))
	a, err := c.With(mw("a"))
	require.NoError(t, err)
	_, err = c.With(mw("b"))
	require.NoError(t, err)
	_, err = a.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "2", "3", "a"}, saw, "the first given is the outermost")
}

func TestTheCallersHTTPClientIsKeptAndNotChanged(t *testing.T) {
	wire := httpmock.NewMockTransport()
	wire.RegisterNoResponder(answer(201, createdJob, "Set-Cookie", "session=1; Path=/"))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	redirects := func(*http.Request, []*http.Request) error { return errors.New("the caller's own policy") }
	hc := &http.Client{Transport: wire, Timeout: time.Minute, Jar: jar, CheckRedirect: redirects}
	before := *hc
	c, err := New(testURL, testKey, WithHTTPClient(hc), WithSource("SAP"), WithMiddleware(func(next http.RoundTripper) http.RoundTripper { return next }))
	require.NoError(t, err)
	_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)

	assert.Same(t, wire, hc.Transport)
	assert.Equal(t, before.Timeout, hc.Timeout)
	assert.Same(t, jar, hc.Jar)
	assert.ErrorContains(t, hc.CheckRedirect(nil, nil), "the caller's own policy")
	assert.Equal(t, time.Minute, c.core.http.Timeout, "and its settings are used")
	assert.Same(t, jar, c.core.http.Jar)

	// A plain request of the caller's carries no key.
	resp, err := hc.Get(testURL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Empty(t, resp.Request.Header.Get("Authorization"))
}

func TestTheDefaultTransportIsNotTouched(t *testing.T) {
	srv := eryxontest.NewServer(t)
	c, err := New(srv.URL, srv.Key, WithSource("SAP"))
	require.NoError(t, err)
	_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.NotSame(t, http.DefaultTransport, c.core.own)
	child, err := c.With(WithSource("Infor"))
	require.NoError(t, err)
	assert.Same(t, c.core.own, child.core.own, "variants share the connections")
	_, err = child.Jobs.Sync(t.Context(), Job{ExternalID: "X", JobNumber: "X"})
	require.NoError(t, err)
	child.CloseIdleConnections()
	_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err, "the client can be used after CloseIdleConnections")
	c.CloseIdleConnections()
}

type idleCloser struct {
	http.RoundTripper
	closed int
}

func (i *idleCloser) CloseIdleConnections() { i.closed++ }

func TestCloseIdleConnectionsReachesTheCallersTransport(t *testing.T) {
	transport := &idleCloser{RoundTripper: httpmock.NewMockTransport()}
	c, err := New(testURL, testKey, WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	c.CloseIdleConnections()
	assert.Equal(t, 1, transport.closed)
}

func TestOptionsSayWhatTheyWant(t *testing.T) {
	for name, tt := range map[string]struct {
		o    Option
		want string
	}{
		"nil":                   {nil, "option 0 is nil"},
		"nil HTTP client":       {WithHTTPClient(nil), "WithHTTPClient: nil client"},
		"nil logger":            {WithLogger(nil), "WithLogger: nil logger"},
		"nil middleware":        {WithMiddleware(nil), "WithMiddleware: nil middleware"},
		"middleware of none":    {WithMiddleware(func(http.RoundTripper) http.RoundTripper { return nil }), "returned no http.RoundTripper"},
		"nil observer":          {WithObserver(nil), "WithObserver: nil observer"},
		"empty user agent":      {WithUserAgent(""), "acme-erp-bridge/2.1"},
		"user agent with break": {WithUserAgent("a\r\nX-Evil: 1"), "printable ASCII"},
		"empty source":          {WithSource(""), "such as SAP"},
		"source not UTF-8":      {WithSource("S\xfcD"), "such as SAP"},
		"no attempts":           {WithRetryPolicy(RetryPolicy{0, 1, 1}), "MaxAttempts is 0: want 1 to 20"},
		"too many attempts":     {WithRetryPolicy(RetryPolicy{21, 1, 1}), "MaxAttempts is 21: want 1 to 20"},
		"no base delay":         {WithRetryPolicy(RetryPolicy{3, 0, 1}), "BaseDelay is 0s: want more than 0"},
		"max below base":        {WithRetryPolicy(RetryPolicy{3, 2, 1}), "want BaseDelay to 10 minutes"},
		"max above 10 minutes":  {WithRetryPolicy(RetryPolicy{3, 1, 11 * time.Minute}), "want BaseDelay to 10 minutes"},
		"no attempt timeout":    {WithAttemptTimeout(0), "WithAttemptTimeout: 0s: want more than 0"},
		"negative wait":         {WithMaxWait(-1), "want 0 or more"},
		"no concurrency":        {WithConcurrency(0), "want 1 to 64"},
		"too much concurrency":  {WithConcurrency(65), "want 1 to 64"},
		"no records":            {WithMaxRequestRecords(0), "want 1 to 1000"},
		"too many records":      {WithMaxRequestRecords(1001), "want 1 to 1000"},
		"too few bytes":         {WithMaxRequestBytes(1023), "want at least 1024"},
		"negative grace":        {WithGracePeriod(-1), "want 0 or more"},
		"no requests":           {WithRequestBudget(0), "want at least 1"},
		"unknown release":       {WithRelease("v9"), "want one of the Release constants"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(testURL, testKey, tt.o)
			require.ErrorContains(t, err, tt.want)
			c, wire := onWire(t)
			_, err = c.With(tt.o)
			require.ErrorContains(t, err, tt.want)

			// At a call it is an error of the call, and nothing is sent.
			if o, ok := tt.o.(CallOption); ok || tt.o == nil {
				res, err := c.Jobs.Sync(t.Context(), job("SO-1"), o)
				require.ErrorContains(t, err, tt.want)
				assert.Equal(t, StatusNotSent, res.Status)
				_, err = c.Do(t.Context(), "GET", "/api-jobs", nil, nil, o)
				require.ErrorContains(t, err, tt.want)
			}
			if o, ok := tt.o.(BulkOption); ok || tt.o == nil {
				bulk, err := c.Jobs.BulkSync(t.Context(), jobs(3), o)
				require.ErrorContains(t, err, tt.want)
				assert.Equal(t, Counts{NotSent: 3}, bulk.Counts)
				require.Len(t, bulk.Outcomes, 3)
				for i, out := range bulk.Outcomes {
					assert.Equal(t, i, out.Index)
					require.ErrorContains(t, out.Err, tt.want)
				}
				st := c.Jobs.Stream(t.Context(), func(yield func(Job, error) bool) { t.Error("the input is read") }, o)
				for range st.All() {
					t.Error("an outcome of nothing")
				}
				require.ErrorContains(t, st.Err(), tt.want)
			}
			assert.Zero(t, wire.GetTotalCallCount())
		})
	}
	_, err := New(testURL, testKey, WithRetryPolicy(DefaultRetryPolicy()), WithConcurrency(64), WithMaxRequestRecords(1000), WithMaxRequestBytes(1024),
		WithGracePeriod(0), WithMaxWait(0), WithAttemptTimeout(1), WithRetryPolicy(RetryPolicy{20, 1, 10 * time.Minute}))
	require.NoError(t, err, "the bounds themselves are allowed")
}

func TestRedirectsAreRefusedNamingBothEnds(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for location, want := range map[string]string{
			"https://login.example/sso?next=hunter2#top":   "https://login.example/sso",
			"https://user:hunter2@login.example/functions": "https://login.example/functions",
			"/elsewhere":  "https://erp.example/elsewhere",
			"":            "nowhere (no readable Location header)",
			"http://[::1": "nowhere (no readable Location header)",
		} {
			t.Run(fmt.Sprint(status, " ", location), func(t *testing.T) {
				c, s := scripted(t, []httpmock.Responder{answer(status, "<html>moved</html>", "Location", location)})
				res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
				require.ErrorIs(t, err, ErrRedirect)
				assert.False(t, res.Status.Success())
				assert.Contains(t, err.Error(), "redirect from https://erp.example/functions/v1 to "+want+" refused")
				assert.Contains(t, err.Error(), "set the base URL")
				assert.NotContains(t, err.Error(), "hunter2")
				assert.Equal(t, status, res.Response.StatusCode)

				bulk, err := c.Jobs.BulkSync(t.Context(), jobs(3))
				require.ErrorIs(t, err, ErrRedirect)
				assert.Zero(t, bulk.Counts.Succeeded())
				_, err = c.Do(t.Context(), "GET", "/api-jobs", nil, nil)
				require.ErrorIs(t, err, ErrRedirect)
				assert.Len(t, s.requests(), 3, "not followed and not retried")
			})
		}
	}
}

// leakCheck looks for the key, and for parts of it, in everything that a
// client prints, encodes or hands out.
type leakCheck struct {
	t    *testing.T
	keys []string
}

func (l leakCheck) text(where, s string) {
	l.t.Helper()
	for _, k := range l.keys {
		if strings.Contains(s, k) && !l.t.Failed() { // one is enough
			l.t.Errorf("the key shows in %s: %.2000s", where, s)
		}
	}
}

func (l leakCheck) value(where string, v any) {
	l.t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		l.text(where+" "+verb, fmt.Sprintf(verb, v))
	}
	raw, _ := json.Marshal(v)
	l.text(where+" as JSON", string(raw))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	l.text(where+" in a log", log.String())
}

func (l leakCheck) err(where string, err error) {
	l.t.Helper()
	l.value(where, err)
	l.text(where, err.Error())
	for _, e := range unwrapAll(err) {
		l.value(where+", unwrapped", e)
		var api *APIError
		if errors.As(e, &api) {
			l.text(where+", body", string(api.Body()))
			l.value(where+", API error", *api)
		}
		var invalid *ValidationError
		if errors.As(e, &invalid) {
			l.value(where+", validation error", *invalid)
		}
	}
}

func unwrapAll(err error) []error {
	all := []error{err}
	switch e := err.(type) { //nolint:errorlint // walking the tree itself
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			all = append(all, unwrapAll(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, unwrapAll(inner)...)
		}
	}
	return all
}

// TestTheKeyShowsNowhere lets a server, a proxy and a transport repeat the key
// in every way they can.
func TestTheKeyShowsNowhere(t *testing.T) {
	key := "ery_live_SECRET" + strings.Repeat("0123456789abcdef", 4)
	leak := leakCheck{t, []string{"SECRET", "0123456789abcdef", fmt.Sprintf("%x", "SECRET")}}
	pad := strings.Repeat("x", 60)
	for name, reply := range map[string]httpmock.Responder{
		"success":                    answer(201, createdJob),
		"message":                    answer(401, `{"success":false,"error":{"code":"UNAUTHORIZED","message":"Invalid API key Bearer `+key+`"}}`),
		"code":                       answer(400, `{"success":false,"error":{"code":"`+key+`","message":"no"}}`),
		"escaped in the message":     answer(400, `{"success":false,"error":{"code":"X","message":"\u0065`+key[1:]+`"}}`),
		"details":                    answer(422, `{"success":false,"error":{"code":"VALIDATION_ERROR","message":"no","details":[{"field":"`+key+`","message":"`+key+`","value":"`+key+`","constraint":"`+key+`","entityType":"`+key+`"},{"value":{"auth":["`+key+`"]}}]}}`),
		"bare string error":          answer(500, `{"success":false,"error":"`+key+`"}`),
		"plain text":                 answer(403, "forbidden for "+key),
		"plain text, cut in the key": answer(403, pad+pad[:30]+key+pad),
		"text of the SDK's limit":    answer(400, `{"success":false,"error":{"code":"X","message":"`+strings.Repeat("y", 470)+key+`"}}`),
		"HTML":                       answer(502, "<html>"+key+"</html>"),
		"body longer than is kept":   answer(500, strings.Repeat("z", maxKeptBody-40)+key),
		"HTML on 200":                answer(200, "<html>"+key+"</html>"),
		"not JSON":                   answer(200, key),
		"odd JSON":                   answer(200, `{"`+key+`": nope}`),
		"wrong types":                answer(200, `{"success":"`+key+`"}`),
		"another external id":        answer(200, `{"success":true,"data":{"action":"created","id":"1","external_id":"`+key+`"}}`),
		"another source":             answer(200, `{"success":true,"data":{"action":"created","id":"1","external_id":"SO-1","external_source":"`+key+`"}}`),
		"odd action":                 answer(200, `{"success":true,"data":{"action":"`+key+`","id":"1","external_id":"SO-1"}}`),
		"error action":               answer(200, `{"success":true,"data":{"action":"error","external_id":"SO-1","error":"for `+key+`"}}`),
		"redirect":                   answer(302, "", "Location", "https://login.example/"+key+"?k="+key),
		"rate limit":                 answer(429, `{"success":false,"error":{"code":"RATE_LIMIT_EXCEEDED","message":"`+key+`"}}`),
		"transport's error":          httpmock.NewErrorResponder(errors.New("proxy refused header Authorization: Bearer " + key)),
		"bulk error":                 answer(200, `{"success":true,"data":{"total":1,"created":0,"updated":0,"errors":1,"results":[{"external_id":"SO-1","action":"error","error":"for `+key+`"}]}}`),
		"bulk error details":         answer(200, `{"success":true,"data":{"results":{"created":0,"updated":0,"failed":1,"errors":[{"item":{"external_id":"SO-1"},"error":[{"field":"`+key+`","message":"`+key+`","value":"`+key+`","constraint":"`+key+`","entityType":"`+key+`"}]}]},"total":1}}`),
		"bulk odd action":            answer(200, `{"success":true,"data":{"total":1,"results":[{"external_id":"SO-1","action":"`+key+`"}]}}`),
	} {
		t.Run(name, func(t *testing.T) {
			leak := leakCheck{t, leak.keys}
			var log bytes.Buffer
			wire := httpmock.NewMockTransport()
			var keyed, requests int
			wire.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
				requests++
				if r.Header.Get("Authorization") == "Bearer "+key {
					keyed++
				}
				return reply(r)
			})
			spy := func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					leak.value("middleware's request", r)
					resp, err := next.RoundTrip(r)
					leak.value("middleware's request afterwards", r)
					if resp != nil {
						leak.value("the answer's request", resp.Request)
						assert.Empty(t, resp.Request.Header.Get("Authorization"))
					}
					return resp, err
				})
			}
			opts := []Option{
				WithHTTPClient(&http.Client{Transport: wire}), WithSource("SAP"), WithMiddleware(spy), hasty(2),
				WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
				WithObserver(func(_ context.Context, a Attempt) {
					leak.value("the observer's attempt", a)
					if a.Err != nil {
						leak.err("the attempt's error", a.Err)
					}
				}),
			}
			for _, o := range opts {
				leak.value("an option", o)
			}
			c, err := New(testURL, key, opts...)
			require.NoError(t, err)
			child, err := c.With(WithSource("SAP"))
			require.NoError(t, err)
			leak.value("the client", c)
			leak.value("the client", *c)
			leak.value("its core", c.core)
			leak.value("its core", *c.core)
			for _, s := range []any{c.Jobs, *c.Parts, c.Operations, c.Cells, *c.Resources, child} {
				leak.value("a service", s)
			}

			res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
			if name != "success" {
				require.Error(t, err)
				leak.err("the call's error", err)
			}
			leak.value("the result", res)
			leak.value("the response", res.Response.RequestID)
			bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("SO-1")})
			require.Error(t, err)
			leak.err("the bulk's error", err)
			leak.value("the bulk's result", bulk)
			if _, err := c.Do(t.Context(), "GET", "/api-jobs", nil, nil); err != nil {
				leak.err("the error of Do", err)
			}
			leak.text("the log", log.String())
			assert.NotEmpty(t, log.String())
			assert.Equal(t, requests, keyed, "the transport itself gets the key, on every attempt")
		})
	}
}

func TestThePathOfAnErrorDoesNotShowTheKey(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(404, "{}")}, once())
	_, err := c.Do(t.Context(), "GET", "/api-jobs?key="+testKey, nil, nil)
	require.ErrorIs(t, err, ErrNotFound)
	leakCheck{t, []string{testKey}}.err("error", err)
}

func TestDo(t *testing.T) {
	type page struct {
		Jobs []struct {
			JobNumber string `json:"job_number"`
		} `json:"jobs"`
	}
	t.Run("decodes the data", func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"jobs":[{"job_number":"N-1"}],"pagination":{"total":1}}}`)}, once())
		var out page
		resp, err := c.Do(t.Context(), http.MethodGet, "/api-jobs?limit=1&status=in_progress", nil, &out)
		require.NoError(t, err)
		assert.Equal(t, "N-1", out.Jobs[0].JobNumber)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, 1, resp.Attempts)
		assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		r := s.requests()[0]
		assert.Equal(t, "GET", r.method)
		assert.Equal(t, "/api-jobs?limit=1&status=in_progress", r.path)
		assert.Empty(t, r.body)
		assert.Empty(t, r.header.Get("Content-Type"), "there is no content")
		assert.Equal(t, "Bearer "+testKey, r.header.Get("Authorization"))
	})
	t.Run("sends any body", func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{}}`)}, once())
		for _, body := range []any{json.RawMessage(`{"jobs": []}`), []byte(`{"jobs": []}`), map[string][]Job{"jobs": {}}, []Job{job("SO-1")}} {
			_, err := c.Do(t.Context(), http.MethodPost, "/api-erp-sync/diff", body, nil)
			require.NoError(t, err)
		}
		assert.Equal(t, `{"jobs": []}`, s.requests()[0].body)
		assert.Equal(t, `{"jobs": []}`, s.requests()[1].body)
		assert.Equal(t, `{"jobs":[]}`, s.requests()[2].body)
		assert.Equal(t, `[{"external_id":"SO-1","job_number":"JOB-SO-1"}]`, s.requests()[3].body)
	})
	t.Run("refuses what cannot be sent", func(t *testing.T) {
		c, wire := onWire(t)
		for _, path := range []string{"", "api-jobs", "https://evil.example/api-jobs", "?x=1"} {
			resp, err := c.Do(t.Context(), "GET", path, nil, nil)
			require.ErrorContains(t, err, "begins with a slash")
			assert.Nil(t, resp)
		}
		_, err := c.Do(t.Context(), "POST", "/x", func() {}, nil)
		require.ErrorContains(t, err, "Do: body")
		_, err = c.Do(t.Context(), "GET", "/\x7f", nil, nil)
		require.ErrorContains(t, err, "can stand in a URL")
		_, err = c.Do(t.Context(), "G T", "/x", nil, nil)
		require.ErrorContains(t, err, "want an HTTP method")
		require.NotErrorAs(t, err, new(*APIError), "no request was made")
		assert.Zero(t, wire.GetTotalCallCount())
	})
	t.Run("a host in the path does not get the key", func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{}}`)}, once())
		_, err := c.Do(t.Context(), "GET", "//evil.example/api-jobs", nil, nil)
		require.NoError(t, err)
		assert.Equal(t, "//evil.example/api-jobs", s.requests()[0].path, "it is a path below the base URL")
	})
	t.Run("refusals and unusable answers are errors", func(t *testing.T) {
		for body, kind := range map[string]error{
			`{"success":false,"error":{"code":"NOT_FOUND","message":"no such job"}}`:  ErrNotFound,
			`{"success":false,"error":{"code":"FORBIDDEN","message":"not yours"}}`:    ErrForbidden,
			`{"success":false,"error":{"code":"CONFLICT","message":"already there"}}`: ErrConflict,
			`{"success":false,"error":{"code":"PAYMENT_REQUIRED","message":"full"}}`:  ErrQuotaExceeded,
			`{"success":false,"error":{"code":"UNAUTHORIZED","message":"who"}}`:       ErrUnauthorized,
			`{"success":false,"error":{"code":"VALIDATION_ERROR","message":"bad"}}`:   ErrValidation,
			`{"success":true}`:             ErrBadAnswer,
			`{"success":true,"data":null}`: ErrBadAnswer,
			`{"success":true,"data":[]}`:   ErrBadAnswer,
			`{"data":{}}`:                  ErrBadAnswer,
			`[]`:                           ErrBadAnswer,
			`{"success":true,"data":{}} {`: ErrBadAnswer,
			"":                             ErrBadAnswer,
			"ok":                           ErrBadAnswer,
			"<html>":                       ErrBadAnswer,
		} {
			c, _ := scripted(t, []httpmock.Responder{answer(200, body)}, once())
			var out page
			resp, err := c.Do(t.Context(), "GET", "/api-jobs", nil, &out)
			require.ErrorIsf(t, err, kind, "%s", body)
			assert.Equal(t, 200, resp.StatusCode)
		}
	})
	t.Run("an answer without a body", func(t *testing.T) {
		c, _ := scripted(t, []httpmock.Responder{answer(204, "")}, once())
		resp, err := c.Do(t.Context(), http.MethodDelete, "/api-jobs?id=1", nil, nil)
		require.NoError(t, err)
		assert.Equal(t, 204, resp.StatusCode)
		var out page
		_, err = c.Do(t.Context(), http.MethodDelete, "/api-jobs?id=1", nil, &out)
		require.ErrorIs(t, err, ErrBadAnswer, "but not where data is asked for")
		_, err = c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrUnknownOutcome, "nor for a record")

		c, _ = scripted(t, []httpmock.Responder{answer(200, "")}, once())
		_, err = c.Do(t.Context(), http.MethodHead, "/api-jobs", nil, nil)
		require.NoError(t, err)
		_, err = c.Do(t.Context(), http.MethodGet, "/api-jobs", nil, nil)
		require.ErrorIs(t, err, ErrBadAnswer)
	})
	t.Run("retries only what may be repeated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for method, attempts := range map[string]int{"GET": 4, "HEAD": 4, "PUT": 4, "DELETE": 4, "POST": 1, "PATCH": 1} {
				for name, reply := range map[string]httpmock.Responder{"broken": broken(), "502": answer(502, ""), "504": answer(504, "")} {
					c, s := scripted(t, []httpmock.Responder{reply})
					resp, err := c.Do(t.Context(), method, "/x", json.RawMessage(`{}`), nil)
					require.Error(t, err)
					assert.Equal(t, attempts, resp.Attempts, "%s %s", method, name)
					assert.Len(t, s.requests(), attempts)
				}
				// A request that was turned away unread may always be repeated.
				c, s := scripted(t, []httpmock.Responder{answer(429, ""), answer(204, "")})
				_, err := c.Do(t.Context(), method, "/x", nil, nil)
				require.NoError(t, err)
				assert.Len(t, s.requests(), 2)
			}
		})
	})
}

func TestLogTellsAttemptsAndRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, _ := scripted(t, []httpmock.Responder{answer(503, "busy"), answer(201, createdJob)},
			WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		res, err := c.Jobs.Sync(t.Context(), Job{ExternalID: "SO-1", JobNumber: "N", Notes: Some("confidential")})
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 2)
		var first, second map[string]any
		require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
		require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
		assert.Equal(t, "WARN", first["level"])
		assert.Equal(t, "eryxon: attempt failed, will retry", first["msg"])
		assert.EqualValues(t, 503, first["status"])
		assert.Equal(t, "PUT", first["method"])
		assert.Equal(t, "/api-jobs/sync", first["path"])
		assert.Contains(t, first, "retry_in")
		assert.Contains(t, first["error"], "503")
		assert.Equal(t, "DEBUG", second["level"])
		assert.EqualValues(t, 2, second["attempt"])
		assert.EqualValues(t, 201, second["status"])
		assert.NotContains(t, second, "error")
		for _, l := range []map[string]any{first, second} {
			assert.Equal(t, res.RequestID, l["request_id"])
			assert.EqualValues(t, 1, l["records"])
		}
		assert.NotContains(t, log.String(), "confidential", "bodies are not logged")
	})
}

func TestAPanickingObserverSpoilsNothing(t *testing.T) {
	var log bytes.Buffer
	c, _ := scripted(t, []httpmock.Responder{answer(201, createdJob)}, once(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
		WithObserver(func(context.Context, Attempt) { panic("observer's bug") }))
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.Equal(t, StatusCreated, res.Status)
	assert.Contains(t, log.String(), "observer's bug")
}

func TestObserverIsToldOfEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		slow := httpmock.Responder(func(r *http.Request) (*http.Response, error) {
			time.Sleep(250 * time.Millisecond)
			return answer(503, "busy", "X-RateLimit-Limit", "100", "X-RateLimit-Remaining", "42")(r)
		})
		c, s := scripted(t, []httpmock.Responder{slow, answer(201, createdJob)}, w.option())
		start := time.Now()
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.NoError(t, err)
		require.Len(t, w.all(), 2)
		a := w.all()[0]
		assert.Equal(t, "PUT", a.Method)
		assert.Equal(t, "/api-jobs/sync", a.Path)
		assert.Equal(t, 1, a.Number)
		assert.Equal(t, 1, a.Records)
		assert.Equal(t, 503, a.StatusCode)
		assert.Equal(t, len(s.requests()[0].body), a.BytesSent)
		assert.Equal(t, len("busy"), a.BytesReceived)
		assert.Equal(t, start, a.Start)
		assert.Equal(t, 250*time.Millisecond, a.Duration)
		assert.True(t, a.RateLimit.Known)
		assert.Equal(t, 42, a.RateLimit.Remaining)
		require.ErrorIs(t, a.Err, ErrServer)
		b := w.all()[1]
		assert.Equal(t, a.Start.Add(a.Duration+a.RetryIn), b.Start, "RetryIn is the delay that follows")
		assert.Equal(t, 2, b.Number)
		assert.NoError(t, b.Err)
		assert.Equal(t, time.Duration(-1), b.RetryIn)
		assert.Equal(t, res.RequestID, a.RequestID)
		assert.Equal(t, res.RequestID, b.RequestID)
		assert.Equal(t, time.Since(start), res.Response.Duration, "waits included")
	})
}

func TestMiddlewareMayChangeRequestAndAnswer(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(500, "broken by the server")}, once(), WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("X-Trace", "t-1")
			r.Header.Set("Authorization", "Bearer someone-elses")
			resp, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			_ = resp.Body.Close()
			resp.StatusCode, resp.Body = 201, io.NopCloser(strings.NewReader(createdJob))
			return resp, nil
		})
	}))
	res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.NoError(t, err)
	assert.Equal(t, StatusCreated, res.Status)
	assert.Equal(t, "t-1", s.requests()[0].header.Get("X-Trace"))
	assert.Equal(t, "Bearer "+testKey, s.requests()[0].header.Get("Authorization"), "the key is set innermost")
}

func TestOneClientServesManyGoroutines(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			v, err := c.With(WithUserAgent(fmt.Sprint("g/", g)))
			if !assert.NoError(t, err) {
				return
			}
			for i := range 5 {
				_, err := v.Jobs.Sync(t.Context(), job(fmt.Sprintf("SO-%d-%d", g, i)))
				assert.NoError(t, err)
				_ = c.RateLimit()
			}
			_, err = v.Jobs.BulkSync(t.Context(), []Job{job(fmt.Sprintf("B-%d", g))})
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Len(t, srv.Rows(eryxontest.Jobs), 16*6)
	assert.EqualValues(t, 16*6, c.RateLimit().Requests)
}
