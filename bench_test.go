package eryxon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
)

// nullServer answers bulk requests as documented, that every record was
// created, and does nothing else: what is measured is the client.
type nullServer struct {
	latency  time.Duration
	requests atomic.Int64
	buffers  sync.Pool
}

func (s *nullServer) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.latency > 0 {
		time.Sleep(s.latency) // virtual time only
	}
	if req.Method == http.MethodGet {
		// The one look at what kind of server this is.
		return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Request: req, Body: http.NoBody}, nil
	}
	s.requests.Add(1)
	in, _ := s.buffers.Get().(*bytes.Buffer)
	if in == nil {
		in = new(bytes.Buffer)
	}
	in.Reset()
	if _, err := in.ReadFrom(req.Body); err != nil {
		return nil, err
	}
	out, _ := s.buffers.Get().(*bytes.Buffer)
	if out == nil {
		out = new(bytes.Buffer)
	}
	out.Reset()
	n := bytes.Count(in.Bytes(), []byte(`"external_id":"`))
	fmt.Fprintf(out, `{"success":true,"data":{"total":%d,"created":%d,"updated":0,"errors":0,"results":[`, n, n)
	rest := in.Bytes()
	for i := range n {
		_, rest, _ = bytes.Cut(rest, []byte(`"external_id":"`))
		end := bytes.IndexByte(rest, '"')
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(`{"external_id":"`)
		out.Write(rest[:end])
		out.WriteString(`","id":"550e8400-e29b-41d4-a716-446655440000","action":"created"}`)
	}
	out.WriteString(`]}}`)
	s.buffers.Put(in)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req, ContentLength: int64(out.Len()),
		Body: &pooledBody{Reader: bytes.NewReader(out.Bytes()), done: func() { s.buffers.Put(out) }}}, nil
}

type pooledBody struct {
	io.Reader
	done func()
}

func (b *pooledBody) Close() error { b.done(); return nil }

func benchClient(tb testing.TB, rt http.RoundTripper, opts ...eryxon.Option) *eryxon.Client {
	tb.Helper()
	c, err := eryxon.New("http://localhost/functions/v1", "ery_live_bench", append(opts, eryxon.WithSource("SAP"),
		eryxon.WithHTTPClient(&http.Client{Transport: rt}))...)
	require.NoError(tb, err)
	return c
}

func benchJob(i int) eryxon.Job {
	return eryxon.Job{ExternalID: "SO-" + strconv.Itoa(i), ExternalSource: "SAP", JobNumber: "JOB-2024-001",
		Customer: eryxon.Some("Acme Corp"), DueDate: eryxon.Some(eryxon.NewDate(2024, time.December, 31)),
		Priority: eryxon.Some(5), Notes: eryxon.Some("Synced from SAP")}
}

func benchJobs(n int) func(func(eryxon.Job, error) bool) {
	return func(yield func(eryxon.Job, error) bool) {
		for i := range n {
			if !yield(benchJob(i), nil) {
				return
			}
		}
	}
}

// BenchmarkStream measures the client alone, a record an operation. The
// caller's own allocation is one a record, its external id.
func BenchmarkStream(b *testing.B) {
	c := benchClient(b, &nullServer{})
	b.ReportAllocs()
	n := 0
	for o := range c.Jobs.Stream(context.Background(), benchJobs(b.N)).All() {
		if o.Status == eryxon.StatusCreated {
			n++
		}
	}
	require.Equal(b, b.N, n)
}

// BenchmarkPlain is what Stream is measured against: the same bulks with
// net/http and encoding/json structs, and no account of anything.
func BenchmarkPlain(b *testing.B) {
	type job struct {
		ExternalID     string  `json:"external_id"`
		ExternalSource string  `json:"external_source"`
		JobNumber      string  `json:"job_number"`
		Customer       *string `json:"customer,omitempty"`
		DueDate        *string `json:"due_date,omitempty"`
		Priority       *int    `json:"priority,omitempty"`
		Notes          *string `json:"notes,omitempty"`
	}
	type answer struct {
		Success bool `json:"success"`
		Data    struct {
			Results []struct {
				ExternalID string `json:"external_id"`
				ID         string `json:"id"`
				Action     string `json:"action"`
			} `json:"results"`
		} `json:"data"`
	}
	hc := &http.Client{Transport: &nullServer{}}
	customer, due, priority, notes := "Acme Corp", "2024-12-31", 5, "Synced from SAP"
	b.ReportAllocs()
	for done := 0; done < b.N; done += 1000 {
		jobs := make([]job, min(1000, b.N-done))
		for i := range jobs {
			jobs[i] = job{ExternalID: "SO-" + strconv.Itoa(done+i), ExternalSource: "SAP", JobNumber: "JOB-2024-001",
				Customer: &customer, DueDate: &due, Priority: &priority, Notes: &notes}
		}
		body, err := json.Marshal(map[string]any{"jobs": jobs})
		require.NoError(b, err)
		resp, err := hc.Post("http://localhost/api-jobs/bulk-sync", "application/json", bytes.NewReader(body))
		require.NoError(b, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(b, err)
		require.NoError(b, resp.Body.Close())
		var a answer
		require.NoError(b, json.Unmarshal(raw, &a))
		require.Len(b, a.Data.Results, len(jobs))
	}
}

// BenchmarkStreamPeakHeap reports the peak of the live heap over inputs of
// growing length: it does not grow with them.
func BenchmarkStreamPeakHeap(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				c := benchClient(b, &nullServer{})
				var peak uint64
				var stats runtime.MemStats
				seen := 0
				for range c.Jobs.Stream(context.Background(), benchJobs(n)).All() {
					if seen++; seen%20_000 == 0 {
						runtime.ReadMemStats(&stats)
						peak = max(peak, stats.HeapInuse)
					}
				}
				require.Equal(b, n, seen)
				b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
			}
		})
	}
}

// BenchmarkSyncAllSchedule reports, in virtual time, how long a dataset of
// slices takes against the lower bound: all requests spread over the
// concurrency, or the longest chain of dependencies.
func BenchmarkSyncAllSchedule(b *testing.B) {
	const latency = time.Second
	const concurrency = 8
	cells := []eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}
	jobs := make([]eryxon.Job, 10_000)
	parts := make([]eryxon.Part, 30_000)
	ops := make([]eryxon.Operation, 60_000)
	for i := range jobs {
		jobs[i] = benchJob(i)
	}
	for i := range parts {
		parts[i] = eryxon.Part{ExternalID: "P-" + strconv.Itoa(i), PartNumber: "B", JobExternalID: jobs[i%len(jobs)].ExternalID}
	}
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: "O-" + strconv.Itoa(i), OperationName: "Bend", PartExternalID: parts[i%len(parts)].ExternalID, CellName: "Cutting"}
	}
	for b.Loop() {
		var took time.Duration
		var requests int64
		b.StopTimer()
		synctestRun(b, func() {
			srv := &nullServer{latency: latency}
			c := benchClient(b, srv)
			start := time.Now()
			_, err := c.SyncAll(context.Background(), eryxon.Dataset{Cells: eryxon.FromSlice(cells), Jobs: eryxon.FromSlice(jobs),
				Parts: eryxon.FromSlice(parts), Operations: eryxon.FromSlice(ops)}, eryxon.WithConcurrency(concurrency))
			require.NoError(b, err)
			took, requests = time.Since(start), srv.requests.Load()
		})
		b.StartTimer()
		least := int64(1 + 10 + 30 + 60)
		bound := max(float64(least)/concurrency, 3) * latency.Seconds()
		b.ReportMetric(took.Seconds()/bound, "of-bound")
		b.ReportMetric(float64(requests)/float64(least), "requests/least")
	}
}

// synctestRun runs f in a bubble of virtual time. synctest wants a *testing.T,
// which a benchmark has not.
func synctestRun(b *testing.B, f func()) {
	b.Helper()
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: "bubble", F: func(t *testing.T) { synctest.Test(t, func(*testing.T) { f() }) },
	}})
	require.True(b, ok)
}
