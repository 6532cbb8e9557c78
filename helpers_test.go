package eryxon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

const (
	testURL = "https://erp.example/functions/v1"
	testKey = "ery_live_0123456789abcdef"
)

// once is a retry policy without retries.
func once() CallOption {
	return WithRetryPolicy(RetryPolicy{MaxAttempts: 1, BaseDelay: 1, MaxDelay: 1})
}

// hasty is a retry policy that does not wait noticeably.
func hasty(attempts int) CallOption {
	return WithRetryPolicy(RetryPolicy{MaxAttempts: attempts, BaseDelay: 1, MaxDelay: 1})
}

// onWire is a client whose requests end in a mock transport; a request that
// nothing was registered for fails the test.
func onWire(t testing.TB, opts ...Option) (*Client, *httpmock.MockTransport) {
	t.Helper()
	wire := httpmock.NewMockTransport()
	wire.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		t.Errorf("unexpected request %s %s", r.Method, r.URL)
		return nil, errors.New("unexpected request")
	})
	all := append([]Option{WithHTTPClient(&http.Client{Transport: wire}), WithSource("SAP")}, opts...)
	c, err := New(testURL, testKey, all...)
	require.NoError(t, err)
	return c, wire
}

// onServer is a client of an in-memory server, without sockets.
func onServer(t testing.TB, srv *eryxontest.Server, opts ...Option) *Client {
	t.Helper()
	all := append([]Option{WithHTTPClient(srv.Client()), WithSource("SAP")}, opts...)
	c, err := New(srv.URL, srv.Key, all...)
	require.NoError(t, err)
	return c
}

// sentRequest is a request as it came out of the client.
type sentRequest struct {
	method, path string
	header       http.Header
	body         string
}

// script answers one request after the other and keeps what was asked.
type script struct {
	mu      sync.Mutex
	answers []httpmock.Responder
	sent    []sentRequest
}

// scripted is a client whose n-th request gets the n-th answer, and the last
// one from then on.
func scripted(t testing.TB, answers []httpmock.Responder, opts ...Option) (*Client, *script) {
	t.Helper()
	s := &script{answers: answers}
	c, wire := onWire(t, opts...)
	wire.RegisterNoResponder(s.respond)
	return c, s
}

func (s *script) respond(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	s.mu.Lock()
	n := len(s.sent)
	s.sent = append(s.sent, sentRequest{r.Method, strings.TrimPrefix(r.URL.String(), testURL), r.Header.Clone(), string(body)})
	answer := s.answers[min(n, len(s.answers)-1)]
	s.mu.Unlock()
	return answer(r)
}

func (s *script) requests() []sentRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// answer is an answer with a body of JSON and, in pairs, headers.
func answer(status int, body string, headers ...string) httpmock.Responder {
	r := httpmock.NewStringResponder(status, body)
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return r.HeaderSet(h)
}

// refusal is an answer in the server's own form.
func refusal(status int, code, message string) httpmock.Responder {
	body, _ := json.Marshal(map[string]any{"success": false, "error": map[string]any{"code": code, "message": message, "statusCode": status}})
	return answer(status, string(body))
}

// broken is no answer at all.
func broken() httpmock.Responder {
	return httpmock.NewErrorResponder(errors.New("connection reset by peer"))
}

const (
	createdJob = `{"success":true,"data":{"action":"created","id":"550e8400-e29b-41d4-a716-446655440000","external_id":"SO-1"}}`
	updatedJob = `{"success":true,"data":{"action":"updated","id":"550e8400-e29b-41d4-a716-446655440000","external_id":"SO-1"}}`
)

// job is a job that is complete.
func job(id string) Job { return Job{ExternalID: id, JobNumber: "JOB-" + id} }

func jobs(n int) []Job {
	list := make([]Job, n)
	for i := range list {
		list[i] = job(fmt.Sprintf("SO-%05d", i))
	}
	return list
}

// canonical is JSON with sorted keys and nothing else changed.
func canonical(t testing.TB, raw []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	require.NoError(t, dec.Decode(&v), "%s", raw)
	out, err := json.Marshal(v)
	require.NoError(t, err)
	return string(out)
}

// watch collects what an observer is told.
type watch struct {
	mu       sync.Mutex
	attempts []Attempt
}

func (w *watch) option() CallOption {
	return WithObserver(func(_ context.Context, a Attempt) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.attempts = append(w.attempts, a)
	})
}

func (w *watch) all() []Attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempts
}

// discardLog is for servers whose complaints are part of the test.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
