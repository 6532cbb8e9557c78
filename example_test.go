package eryxon_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// A first sync: one work center, one order with its part and routing, in the
// order in which they depend on each other.
func Example() {
	srv := eryxontest.New() // in place of an installation
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	cell, err := client.Cells.Sync(ctx, eryxon.Cell{ExternalID: "WC-CUTTING", Name: "Cutting"})
	if err != nil {
		log.Fatal(err)
	}
	job, err := client.Jobs.Sync(ctx, eryxon.Job{
		ExternalID: "SO-12345", JobNumber: "JOB-2024-001",
		Customer: eryxon.Some("Acme Corp"), DueDate: eryxon.Some(eryxon.NewDate(2024, time.December, 31)),
	})
	if err != nil {
		log.Fatal(err)
	}
	part, err := client.Parts.Sync(ctx, eryxon.Part{
		ExternalID: "SO-12345-10", JobExternalID: "SO-12345", PartNumber: "BRACKET-A", Quantity: eryxon.Some(25),
	})
	if err != nil {
		log.Fatal(err)
	}
	operation, err := client.Operations.Sync(ctx, eryxon.Operation{
		ExternalID: "SO-12345-10-010", PartExternalID: "SO-12345-10",
		OperationName: "Laser Cut", CellName: "Cutting", EstimatedTimeMinutes: eryxon.Some(30.0),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cell.Key, cell.Status)
	fmt.Println(job.Key, job.Status)
	fmt.Println(part.Key, part.Status)
	fmt.Println(operation.Key, operation.Status)
	// Output:
	// SAP/WC-CUTTING created
	// SAP/SO-12345 created
	// SAP/SO-12345-10 created
	// SAP/SO-12345-10-010 created
}

func ExampleNew() {
	client, err := eryxon.New("https://PROJECT.supabase.co/functions/v1", "ery_live_your_api_key_here",
		eryxon.WithSource("SAP"),
		eryxon.WithUserAgent("acme-erp-bridge/2.1"),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()

	// What can't work is refused here, before any request.
	_, err = eryxon.New("http://mes.example.com/functions/v1", "ery_live_your_api_key_here")
	fmt.Println(err)
	// Output:
	// eryxon: base URL of mes.example.com is plain http, which shows the API key to the network: use https, or say WithPlainHTTPAllowed
}

func ExampleNewFromEnv() {
	client, err := eryxon.NewFromEnv(eryxon.WithSource("SAP")) // ERYXON_BASE_URL, ERYXON_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
}

// firstSync is the overview's snippet.
func firstSync(ctx context.Context) error {
	client, err := eryxon.NewFromEnv(eryxon.WithSource("SAP"))
	if err != nil {
		return err
	}
	res, err := client.Jobs.Sync(ctx, eryxon.Job{
		ExternalID: "SO-12345",
		JobNumber:  "JOB-2024-001",
		Customer:   eryxon.Some("Acme Corp"),
		DueDate:    eryxon.Some(eryxon.NewDate(2024, time.December, 31)),
	})
	if err != nil {
		return err
	}
	fmt.Println(res.Key, res.Status) // SAP/SO-12345 created
	return nil
}

func TestFirstSync(t *testing.T) {
	srv := eryxontest.NewServer(t)
	t.Setenv(eryxon.EnvBaseURL, srv.URL)
	t.Setenv(eryxon.EnvAPIKey, srv.Key)
	require.NoError(t, firstSync(t.Context()))
	assert.Len(t, srv.Rows(eryxontest.Jobs), 1)
}

func ExampleJobsService_Sync() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()))
	if err != nil {
		log.Fatal(err)
	}
	job := eryxon.Job{
		ExternalID: "SO-12345", ExternalSource: "SAP", JobNumber: "JOB-2024-001",
		Customer: eryxon.Some("Acme Corp"), Priority: eryxon.Some(5), Notes: eryxon.Some("Synced from SAP"),
	}
	for range 2 {
		res, err := client.Jobs.Sync(context.Background(), job)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Key, res.Status, res.Response.StatusCode)
	}
	// Output:
	// SAP/SO-12345 created 201
	// SAP/SO-12345 updated 200
}

// Parts and operations may travel inside their job. They inherit its source
// and need no links. The documented answer does not tell what became of them.
func ExampleJobsService_Sync_nested() {
	srv := eryxontest.New()
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting"})
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Jobs.Sync(context.Background(), eryxon.Job{
		ExternalID: "SO-12345", JobNumber: "JOB-2024-001",
		Parts: []eryxon.Part{{
			ExternalID: "SO-12345-10", PartNumber: "BRACKET-A", Quantity: eryxon.Some(25),
			Operations: []eryxon.Operation{
				{ExternalID: "SO-12345-10-010", OperationName: "Laser Cut", CellName: "Cutting"},
			},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Entity, res.Key, res.Status)
	for _, nested := range res.Nested {
		fmt.Println(nested.Entity, nested.Key, nested.Status)
	}
	// Output:
	// jobs SAP/SO-12345 created
	// parts SAP/SO-12345-10 unknown
	// operations SAP/SO-12345-10-010 unknown
}

func ExampleCellsService_Sync() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()))
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Cells.Sync(context.Background(), eryxon.Cell{
		ExternalID: "WC-CUTTING", ExternalSource: "SAP", Name: "Cutting",
		Color: eryxon.Some("#3b82f6"), Sequence: eryxon.Some(1),
	})
	fmt.Println(res.Status, err)
	// Output:
	// created <nil>
}

func ExampleResourcesService_Sync() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()))
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Resources.Sync(context.Background(), eryxon.Resource{
		ExternalID: "TOOL-001", ExternalSource: "SAP", Name: "CNC Mill #1", Type: eryxon.ResourceEquipment,
		Identifier: eryxon.Some("MILL-001"), Location: eryxon.Some("Building A, Bay 3"),
	})
	fmt.Println(res.Status, err)
	// Output:
	// created <nil>
}

// A part whose job is not on the server does not keep the others away.
func ExamplePartsService_BulkSync() {
	srv := eryxontest.New()
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"external_source": "SAP", "external_id": "SO-001", "job_number": "JOB-001"})
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Parts.BulkSync(context.Background(), []eryxon.Part{
		{ExternalID: "SO-001-10", JobExternalID: "SO-001", PartNumber: "PART-A", Quantity: eryxon.Some(10)},
		{ExternalID: "SO-404-10", JobExternalID: "SO-404", PartNumber: "PART-B", Quantity: eryxon.Some(20)},
	})
	for _, outcome := range res.Outcomes {
		fmt.Println(outcome.Key, outcome.Status)
	}
	fmt.Println("parent missing:", errors.Is(err, eryxon.ErrParentNotFound))
	// Output:
	// SAP/SO-001-10 created
	// SAP/SO-404-10 failed
	// parent missing: true
}

func ExampleOperationsService_Sync() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	// An operation names its part by external id and its cell by name.
	res, err := client.Operations.Sync(context.Background(), eryxon.Operation{
		ExternalID: "SO-12345-10-010", PartExternalID: "SO-12345-10", OperationName: "Laser Cut", CellName: "Cutting",
	})
	fmt.Println(res.Status, errors.Is(err, eryxon.ErrParentNotFound))
	// Output:
	// failed true
}

// Any number of records: requests are of at most 1000.
func ExampleJobsService_BulkSync() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	jobs := make([]eryxon.Job, 2500)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprintf("SO-%04d", i), JobNumber: fmt.Sprintf("JOB-%04d", i)}
	}
	res, err := client.Jobs.BulkSync(context.Background(), jobs)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Counts, "in", res.Requests, "requests")
	// Output:
	// 2500 created in 3 requests
}

func ExamplePartialError() {
	ctx := context.Background()
	srv := eryxontest.New()
	srv.FailRecord(eryxontest.Jobs, "SO-002", "Invalid due_date format")
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	jobs := []eryxon.Job{
		{ExternalID: "SO-001", JobNumber: "JOB-001"},
		{ExternalID: "SO-002", JobNumber: "JOB-002"},
		{ExternalID: "SO-003"}, // no job number: refused before it is sent
	}

	res, err := client.Jobs.BulkSync(ctx, jobs)
	var partial *eryxon.PartialError
	switch {
	case errors.As(err, &partial):
		for _, failure := range partial.Failures {
			fmt.Println(failure.Key, failure.Status, failure.Field, failure.Message)
		}
	case err != nil:
		log.Fatal(err) // nothing could be sent
	}
	fmt.Println(res.Counts)
	// Output:
	// SAP/SO-002 failed due_date Invalid due_date format
	// SAP/SO-003 failed job_number job_number is required
	// 1 created, 2 failed
}

// ordersFrom reads jobs, one a line, from the ERP's export. It stands for any
// input that is too large to be held in memory: a file, a query's rows.
func ordersFrom(export io.Reader) iter.Seq2[eryxon.Job, error] {
	return func(yield func(eryxon.Job, error) bool) {
		lines := csv.NewReader(export)
		for {
			line, err := lines.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(eryxon.Job{}, err)
				return
			}
			if !yield(eryxon.Job{ExternalID: line[0], JobNumber: line[1], Customer: eryxon.Some(line[2])}, nil) {
				return
			}
		}
	}
}

func ExampleJobsService_Stream() {
	ctx := context.Background()
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	export := strings.NewReader("SO-001,JOB-001,Customer A\nSO-002,,Customer B\nSO-003,JOB-003,Customer C\n")

	stream := client.Jobs.Stream(ctx, ordersFrom(export))
	for outcome := range stream.All() {
		if !outcome.Status.Success() {
			fmt.Println(outcome.Err)
		}
	}
	if err := stream.Err(); err != nil {
		fmt.Println("ended early:", err)
	}
	// Output:
	// eryxon: job SAP/SO-002 (record 1): failed: not sent: VALIDATION_ERROR: job_number is required
}

// An unset field is left alone on the server, null clears it, and a value is
// sent even if it is zero.
func ExampleOpt() {
	job := eryxon.Job{
		ExternalID: "SO-12345", ExternalSource: "SAP", JobNumber: "JOB-2024-001",
		Priority: eryxon.Some(0),        // set to 0
		Notes:    eryxon.Null[string](), // clear
		// Customer and DueDate are unset: leave them alone
	}
	body, err := job.MarshalJSON()
	fmt.Println(string(body), err)
	fmt.Println(job.Priority, job.Notes, job.Customer)
	fmt.Println(job.Customer.Or("no customer"))
	// Output:
	// {"external_id":"SO-12345","external_source":"SAP","job_number":"JOB-2024-001","priority":0,"notes":null} <nil>
	// 0 null unset
	// no customer
}

func ExampleDate() {
	fmt.Println(eryxon.NewDate(2024, time.December, 31))

	due, err := eryxon.ParseDate("2025-02-30")
	fmt.Println(due.IsValid(), err)
	// Output:
	// 2024-12-31
	// false eryxon: "2025-02-30" is not a date: want YYYY-MM-DD and a day that exists
}

func ExampleClient_RateLimit() {
	ctx := context.Background()
	srv := eryxontest.New(eryxontest.WithQuota(100, 24*time.Hour))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Jobs.Sync(ctx, eryxon.Job{ExternalID: "SO-001", JobNumber: "JOB-001"}); err != nil {
		log.Fatal(err)
	}

	if limit := client.RateLimit(); limit.Known {
		fmt.Printf("%d of %d requests left\n", limit.Remaining, limit.Limit)
	}
	// Output:
	// 99 of 100 requests left
}

// A used-up quota fails at once, without a request, and says when to go on.
func ExampleRateLimitError() {
	ctx := context.Background()
	srv := eryxontest.New(eryxontest.WithQuota(1, 24*time.Hour))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	jobs := []eryxon.Job{{ExternalID: "SO-001", JobNumber: "JOB-001"}, {ExternalID: "SO-002", JobNumber: "JOB-002"}}
	for _, job := range jobs {
		_, err := client.Jobs.Sync(ctx, job)
		var limited *eryxon.RateLimitError
		if errors.As(err, &limited) {
			fmt.Println(job.JobNumber, "waits", limited.RetryAfter.Round(time.Hour), "- request made:", limited.Sent)
		}
	}
	// Output:
	// JOB-002 waits 24h0m0s - request made: false
}

// Kinds say what to do, types carry the particulars.
func Example_errors() {
	ctx := context.Background()
	srv := eryxontest.New()
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "JOB-001"}) // typed in by hand
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	job := eryxon.Job{ExternalID: "SO-001", JobNumber: "JOB-001"}

	_, err = client.Jobs.Sync(ctx, job)
	switch {
	case err == nil:
	case errors.Is(err, eryxon.ErrValidation):
		fmt.Println("correct the record:", err)
	case errors.Is(err, eryxon.ErrNaturalKeyTaken):
		fmt.Println("somebody else's job has the number", job.JobNumber)
	case errors.Is(err, eryxon.ErrUnknownOutcome):
		fmt.Println("sync it again:", err)
	default:
		fmt.Println(err) // its text says what to do
	}

	var api *eryxon.APIError
	if errors.As(err, &api) {
		fmt.Println(api.Method, api.Path, api.StatusCode, api.Code)
	}
	// Output:
	// somebody else's job has the number JOB-001
	// PUT /api-jobs/sync 500 INTERNAL_ERROR
}

func ExampleValidationError() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Parts.Sync(context.Background(), eryxon.Part{ExternalID: "SO-001-10", JobExternalID: "SO-001", Quantity: eryxon.Some(0)})
	var invalid *eryxon.ValidationError
	if errors.As(err, &invalid) {
		for _, detail := range invalid.Details {
			fmt.Println(detail.Field, detail.Message)
		}
		fmt.Println("refused by the SDK:", invalid.Local)
	}
	// Output:
	// part_number is required
	// quantity is 0: want at least 1
	// refused by the SDK: true
}

// An observer is told of every request on the wire, for metrics and traces.
func ExampleWithObserver() {
	srv := eryxontest.New()
	srv.Script("/api-jobs/sync", eryxontest.Status(503)) // the first request fails
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"),
		eryxon.WithRetryPolicy(eryxon.RetryPolicy{MaxAttempts: 3, BaseDelay: time.Millisecond, MaxDelay: time.Second}),
		eryxon.WithObserver(func(_ context.Context, a eryxon.Attempt) {
			fmt.Println(a.Method, a.Path, "attempt", a.Number, "status", a.StatusCode, "retried:", a.RetryIn >= 0)
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Jobs.Sync(context.Background(), eryxon.Job{ExternalID: "SO-001", JobNumber: "JOB-001"})
	fmt.Println(res.Status, err)
	// Output:
	// PUT /api-jobs/sync attempt 1 status 503 retried: true
	// PUT /api-jobs/sync attempt 2 status 201 retried: false
	// created <nil>
}

func ExampleWithLogger() {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client, err := eryxon.NewFromEnv(eryxon.WithLogger(logger)) // each attempt, never the key or a body
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
}

// roundTrip makes a function an [http.RoundTripper].
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Middleware sees each attempt, without the API key.
func ExampleWithMiddleware() {
	srv := eryxontest.New()
	trace := func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			fmt.Println(req.Method, req.URL.Path, "key in sight:", req.Header.Get("Authorization") != "")
			return next.RoundTrip(req)
		})
	}
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithMiddleware(trace))
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Jobs.Sync(context.Background(), eryxon.Job{ExternalID: "SO-001", ExternalSource: "SAP", JobNumber: "JOB-001"})
	fmt.Println(err)
	// Output:
	// PUT /functions/v1/api-jobs/sync key in sight: false
	// <nil>
}

// A variant for a second ERP system shares the first one's quota and
// connections.
func ExampleClient_With() {
	srv := eryxontest.New()
	sap, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	odoo, err := sap.With(eryxon.WithSource("Odoo"))
	if err != nil {
		log.Fatal(err)
	}
	for _, client := range []*eryxon.Client{sap, odoo} {
		res, err := client.Cells.Sync(context.Background(), eryxon.Cell{
			ExternalID: "1", Name: "Cutting", Color: eryxon.Some("#3b82f6"), Active: eryxon.Some(true),
		})
		fmt.Println(res.Key, res.Status, err)
	}
	fmt.Println(sap.RateLimit().Requests, "requests in all")
	// Output:
	// SAP/1 created <nil>
	// Odoo/1 created <nil>
	// 2 requests in all
}

// A call that the SDK has no method for still gets the key, the limits and the
// retries.
func ExampleClient_Do() {
	srv := eryxontest.New()
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "JOB-001"})
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()))
	if err != nil {
		log.Fatal(err)
	}
	var data struct {
		Jobs []eryxon.JobRow `json:"jobs"`
	}
	res, err := client.Do(context.Background(), http.MethodGet, "/api-jobs?limit=10", nil, &data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.StatusCode, data.Jobs[0].JobNumber)
	// Output:
	// 200 JOB-001
}

// pushOrder stands for code of your own that is to be tested.
func pushOrder(ctx context.Context, client *eryxon.Client, number string) error {
	_, err := client.Jobs.Sync(ctx, eryxon.Job{ExternalID: "SO-" + number, ExternalSource: "SAP", JobNumber: "JOB-" + number})
	return err
}

func TestPushOrder(t *testing.T) {
	srv := eryxontest.NewServer(t)
	// Retries that a test need not wait for.
	quick := eryxon.RetryPolicy{MaxAttempts: 4, BaseDelay: 1, MaxDelay: 1} // nanoseconds
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithRetryPolicy(quick))
	if err != nil {
		t.Fatal(err)
	}
	if err := pushOrder(t.Context(), client, "12345"); err != nil {
		t.Fatal(err)
	}
	row, found := srv.Row(eryxontest.Jobs, "SAP", "SO-12345")
	if !found || row["job_number"] != "JOB-12345" {
		t.Errorf("the server has %v", row)
	}

	// The answer to the next request gets lost on the way.
	srv.Script("/api-jobs/sync", eryxontest.LoseAnswer())
	if err := pushOrder(t.Context(), client, "12346"); err != nil {
		t.Error("not tried again:", err)
	}
	if n := len(srv.Rows(eryxontest.Jobs)); n != 2 {
		t.Errorf("%d jobs, want 2", n)
	}
}

// The options of one call win over the client's.
func ExampleCallOption() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Cells.Sync(context.Background(), eryxon.Cell{ExternalID: "1", Name: "Cutting"},
		eryxon.WithSource("Odoo"), eryxon.WithAttemptTimeout(30*time.Second))
	fmt.Println(res.Key, err)
	// Output:
	// Odoo/1 <nil>
}

// All entities at once, in the order of their dependencies.
func ExampleClient_SyncAll() {
	ctx := context.Background()
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	report, err := client.SyncAll(ctx, eryxon.Dataset{
		Operations: eryxon.FromSlice([]eryxon.Operation{
			{ExternalID: "10-010", PartExternalID: "10", OperationName: "Laser Cut", CellName: "Cutting"},
			{ExternalID: "20-010", PartExternalID: "20", OperationName: "Laser Cut", CellName: "Cutting"},
		}),
		Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "WC-CUTTING", Name: "Cutting"}}),
		Jobs: eryxon.FromSlice([]eryxon.Job{{
			ExternalID: "SO-001", JobNumber: "JOB-001",
			Parts: []eryxon.Part{{ExternalID: "10", PartNumber: "BRACKET-A"}}, // lifted out
		}}),
		Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "20", JobExternalID: "SO-001"}}), // no part number
	})
	fmt.Println("jobs:", report.Jobs.Counts)
	fmt.Println("parts:", report.Parts.Counts)
	fmt.Println("operations:", report.Operations.Counts)
	var partial *eryxon.PartialError
	if errors.As(err, &partial) {
		for _, failure := range partial.Failures {
			fmt.Println(failure.Entity, failure.Key, failure.Status)
		}
	}
	// Output:
	// jobs: 1 created
	// parts: 1 created, 1 failed
	// operations: 1 created, 1 parent failed
	// parts SAP/20 failed
	// operations SAP/20-010 parent failed
}

// syncEverything is the README's snippet on whole datasets.
func syncEverything(ctx context.Context, client *eryxon.Client, cells []eryxon.Cell, jobs []eryxon.Job, parts []eryxon.Part, operations []eryxon.Operation, failed, audit io.Writer) error {
	report, err := client.SyncAll(ctx, eryxon.Dataset{
		Cells:      eryxon.FromSlice(cells),
		Jobs:       eryxon.FromSlice(jobs), // nested parts and operations are lifted out
		Parts:      eryxon.FromSlice(parts),
		Operations: eryxon.FromSlice(operations),
	},
		eryxon.WithFailedRecords(failed),
		eryxon.WithAuditLog(audit),
		eryxon.WithProgress(func(p eryxon.Progress) { fmt.Fprintf(os.Stderr, "\r%d of %d", p.Done, p.Total) }),
	)
	fmt.Print(report) // a table; it marshals to JSON too
	return err
}

// replay is the README's snippet on failed records.
func replay(ctx context.Context, client *eryxon.Client, failed io.Reader) error {
	var report *eryxon.Report
	corrected, err := eryxon.ReadFailedRecords(failed)
	if err != nil {
		return err
	}
	report, err = client.SyncAll(ctx, corrected)
	fmt.Println(report.Total().Counts)
	return err
}

// withinQuota is the README's snippet on what a run costs.
func withinQuota(ctx context.Context, client *eryxon.Client, data eryxon.Dataset) error {
	estimate, err := client.EstimateRequests(data.Count())
	if err != nil {
		return err
	}
	if estimate.QuotaKnown && !estimate.Fits {
		return fmt.Errorf("%d requests or more are needed, %d are left until %s", estimate.Requests.Total(), estimate.Remaining, estimate.Reset)
	}
	report, err := client.SyncAll(ctx, data, eryxon.WithRequestBudget(2*estimate.Requests.Total()))
	fmt.Println(report.Total().Counts)
	return err
}

// nightly is the README's snippet on sync states.
func nightly(ctx context.Context, client *eryxon.Client, data eryxon.Dataset) error {
	state, err := syncstate.Open("/var/lib/erp-sync/eryxon.state")
	if err != nil {
		return err
	}
	defer state.Close()
	report, err := client.SyncAll(ctx, data, eryxon.WithState(state), eryxon.WithDailyQuota(100))
	fmt.Print(report)
	return err
}

// tidyUp is the README's snippet on what has disappeared.
func tidyUp(ctx context.Context, client *eryxon.Client, state eryxon.State, data eryxon.Dataset, numbers map[eryxon.Key]string) error {
	plan, err := client.SyncAll(ctx, data, eryxon.WithState(state), eryxon.WithCompleteExport("SAP", nil), eryxon.WithDryRun(nil))
	if plan.Disappeared == nil {
		return err // records that would fail keep nothing from being found
	}
	for _, gone := range plan.Disappeared.Records {
		fmt.Println(gone.Entity, gone.Key)
	}
	report, err := client.Deactivate(ctx, plan.Disappeared, eryxon.Deactivation{
		Job: func(key eryxon.Key) (eryxon.Job, bool) {
			return eryxon.Job{ExternalID: key.ExternalID, ExternalSource: key.Source, JobNumber: numbers[key], Status: eryxon.Some(eryxon.WorkOnHold)}, true
		},
	}, eryxon.WithState(state))
	fmt.Println(report.Total().Counts)
	return err
}

// whatIsWrong is the README's snippet on diagnoses.
func whatIsWrong(ctx context.Context, client *eryxon.Client, state eryxon.State) error {
	diagnosis := client.Doctor(ctx, eryxon.WithState(state))
	fmt.Print(diagnosis)
	return diagnosis.Err()
}

func ExampleWithState() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	state := syncstate.NewMemory() // or syncstate.Open
	jobs := []eryxon.Job{{ExternalID: "SO-001", JobNumber: "JOB-001"}, {ExternalID: "SO-002", JobNumber: "JOB-002"}}
	for _, customer := range []string{"Acme", "Acme", "Apex"} {
		jobs[0].Customer = eryxon.Some(customer)
		result, err := client.Jobs.BulkSync(context.Background(), jobs, eryxon.WithState(state))
		fmt.Println(result.Counts, err, len(srv.Requests()), "requests in all")
	}
	// Output:
	// 2 created <nil> 1 requests in all
	// 2 unchanged <nil> 1 requests in all
	// 1 updated, 1 unchanged <nil> 2 requests in all
}

// A dry run tells what would be done, and sends nothing.
func ExampleWithDryRun() {
	ctx := context.Background()
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	state := syncstate.NewMemory()
	jobs := []eryxon.Job{{ExternalID: "SO-001", JobNumber: "JOB-001"}, {ExternalID: "SO-002", JobNumber: "JOB-002"}}
	if _, err := client.Jobs.BulkSync(ctx, jobs, eryxon.WithState(state)); err != nil {
		log.Fatal(err)
	}
	jobs[1].Priority = eryxon.Some(1)
	jobs = append(jobs, eryxon.Job{ExternalID: "SO-003", JobNumber: "JOB-003"})
	_, err = client.SyncAll(ctx, eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)}, eryxon.WithState(state),
		eryxon.WithDryRun(func(o eryxon.Outcome) { fmt.Println(o.Key, o.Status, o.Changed) }))
	fmt.Println(err)
	// Output:
	// SAP/SO-001 unchanged []
	// SAP/SO-002 updated [priority]
	// SAP/SO-003 created []
	// <nil>
}

func TestStateSnippets(t *testing.T) {
	srv := eryxontest.NewServer(t)
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithSource("SAP"))
	require.NoError(t, err)
	require.ErrorIs(t, nightly(t.Context(), client, eryxon.Dataset{}), os.ErrNotExist)
	state := syncstate.NewMemory()
	require.NoError(t, whatIsWrong(t.Context(), client, state))
	jobs := make([]eryxon.Job, 20)
	numbers := map[eryxon.Key]string{}
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprint("SO-", i), JobNumber: fmt.Sprint("JOB-", i)}
		numbers[eryxon.Key{Source: "SAP", ExternalID: jobs[i].ExternalID}] = jobs[i].JobNumber
	}
	_, err = client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)}, eryxon.WithState(state))
	require.NoError(t, err)
	require.NoError(t, tidyUp(t.Context(), client, state, eryxon.Dataset{Jobs: eryxon.FromSlice(jobs[:19])}, numbers))
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "SO-19")
	assert.Equal(t, "on_hold", row["status"])
}

// syncOrders is the overview's snippet on whole datasets.
func syncOrders(ctx context.Context, client *eryxon.Client, orders iter.Seq2[eryxon.Job, error], parts []eryxon.Part) error {
	report, err := client.SyncAll(ctx, eryxon.Dataset{
		Jobs:  eryxon.FromSeq(orders), // nested parts and operations are lifted out
		Parts: eryxon.FromSlice(parts),
	})
	fmt.Print(report) // also where err is not nil
	return err
}

func TestDatasetSnippets(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithQuota(100, 24*time.Hour))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithSource("SAP"))
	require.NoError(t, err)
	cells := []eryxon.Cell{{ExternalID: "WC-CUTTING", Name: "Cutting"}}
	jobs := []eryxon.Job{{ExternalID: "SO-001", JobNumber: "JOB-001"}, {ExternalID: "SO-002"}}
	parts := []eryxon.Part{{ExternalID: "10", JobExternalID: "SO-001", PartNumber: "A"}}
	operations := []eryxon.Operation{{ExternalID: "10-010", PartExternalID: "10", OperationName: "Cut", CellName: "Cutting"}}
	var failed, audit strings.Builder
	require.Error(t, syncEverything(t.Context(), client, cells, jobs, parts, operations, &failed, &audit))
	assert.Equal(t, 1, strings.Count(failed.String(), "\n"))
	assert.Equal(t, 4, strings.Count(audit.String(), "\n"))

	corrected := strings.Replace(failed.String(), `"record":{`, `"record":{"job_number":"JOB-002",`, 1)
	require.NotEqual(t, failed.String(), corrected)
	require.NoError(t, replay(t.Context(), client, strings.NewReader(corrected)))
	require.NoError(t, withinQuota(t.Context(), client, eryxon.Dataset{Cells: eryxon.FromSlice(cells)}))
	require.NoError(t, syncOrders(t.Context(), client, ordersFrom(strings.NewReader("SO-003,JOB-003,A\n")), parts))
	assert.Len(t, srv.Rows(eryxontest.Jobs), 3)
}

// What did not arrive is written to a file, corrected there, and sent again.
func ExampleReadFailedRecords() {
	ctx := context.Background()
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	var file strings.Builder
	report, _ := client.SyncAll(ctx, eryxon.Dataset{Parts: eryxon.FromSlice([]eryxon.Part{
		{ExternalID: "10", JobExternalID: "SO-0O1", PartNumber: "BRACKET-A"}, // a letter for a digit
	})}, eryxon.WithFailedRecords(&file)) // the report tells
	fmt.Println(report.Total().Counts)

	corrected := strings.ReplaceAll(file.String(), "SO-0O1", "SO-001")
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"external_source": "SAP", "external_id": "SO-001", "job_number": "JOB-001"})
	again, err := eryxon.ReadFailedRecords(strings.NewReader(corrected))
	if err != nil {
		log.Fatal(err)
	}
	report, err = client.SyncAll(ctx, again)
	fmt.Println(report.Total().Counts, err)
	// Output:
	// 1 failed
	// 1 created <nil>
}

func ExampleClient_EstimateRequests() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	estimate, err := client.EstimateRequests(eryxon.RecordCounts{Jobs: 1200, Parts: 8000, Operations: 40_000})
	fmt.Println(estimate.Requests.Total(), "requests", err)
	// Output:
	// 50 requests <nil>
}

func ExampleWithRequestBudget() {
	srv := eryxontest.New()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	jobs := make([]eryxon.Job, 2500)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprintf("SO-%04d", i), JobNumber: fmt.Sprintf("JOB-%04d", i)}
	}
	report, err := client.SyncAll(context.Background(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)},
		eryxon.WithRequestBudget(2), eryxon.WithConcurrency(1))
	fmt.Println(report.Jobs.Counts)
	fmt.Println("budget spent:", errors.Is(err, eryxon.ErrRequestBudget))
	// Output:
	// 2000 created, 500 not sent
	// budget spent: true
}

// look is the README's snippet on reads.
func look(ctx context.Context, client *eryxon.Client) error {
	row, err := client.Jobs.Find(ctx, eryxon.Key{ExternalID: "SO-12345"}) // source: the client's
	if errors.Is(err, eryxon.ErrNotFound) {
		fmt.Println("not there")
	}
	for job, err := range client.Jobs.List(ctx, eryxon.JobListOptions{Status: eryxon.WorkInProgress}) {
		if err != nil {
			return err // the list ends here
		}
		fmt.Println(job.JobNumber, job.Customer)
	}
	if row != nil {
		fmt.Println(row.JobNumber, "is", row.Status)
	}
	return nil
}

func ExampleJobsService_Find() {
	ctx := context.Background()
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	if err := look(ctx, client); err != nil {
		log.Fatal(err)
	}
	srv.Seed(eryxontest.Jobs, eryxontest.Row{
		"external_source": "SAP", "external_id": "SO-12345",
		"job_number": "JOB-2024-001", "customer": "Acme Corp", "status": "in_progress",
	})
	if err := look(ctx, client); err != nil {
		log.Fatal(err)
	}
	// Output:
	// not there
	// JOB-2024-001 Acme Corp
	// JOB-2024-001 is in_progress
}

// preview is the README's snippet on the unified endpoint.
func preview(ctx context.Context, client *eryxon.Client, jobs []eryxon.Job) error {
	diff, err := client.ERP.Diff(ctx, eryxon.ERPRequest{Jobs: jobs})
	if err != nil {
		return err
	}
	for _, d := range diff.Jobs {
		fmt.Println(d.Key, d.Status, d.ID)
	}
	return nil
}

func ExampleERPService_Diff() {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	if err := preview(context.Background(), client, []eryxon.Job{{ExternalID: "SO-001", JobNumber: "JOB-001"}}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// SAP/SO-001 create
}

// Servers of this release want UUIDs and count what they never wrote. The
// records are the same, and so are the outcomes.
func ExampleClient_Release() {
	ctx := context.Background()
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", client.Release())
	if _, err := client.Cells.Sync(ctx, eryxon.Cell{ExternalID: "WC-CUTTING", Name: "Cutting", Sequence: eryxon.Some(1)}); err != nil {
		log.Fatal(err)
	}
	res, err := client.Jobs.Sync(ctx, eryxon.Job{
		ExternalID: "SO-001", JobNumber: "JOB-001",
		Parts: []eryxon.Part{{
			ExternalID: "10", PartNumber: "BRACKET-A",
			Operations: []eryxon.Operation{{
				ExternalID: "10-010", OperationName: "Laser Cut", CellName: "Cutting",
				Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(30.0),
			}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Key, res.Status)
	for _, nested := range res.Nested {
		fmt.Println(nested.Key, nested.Status)
	}
	fmt.Printf("%q\n", client.Release())
	// Output:
	// ""
	// SAP/SO-001 created
	// SAP/10 created
	// SAP/10-010 created
	// "v0.8"
}

// A server whose database lacks the column of jobs' priority: the jobs can do
// without.
func ExampleWithMissingColumnsOmitted() {
	ctx := context.Background()
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08AsMigrated))
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"), eryxon.WithRelease(eryxon.ReleaseV08))
	if err != nil {
		log.Fatal(err)
	}
	jobs := []eryxon.Job{{ExternalID: "SO-001", JobNumber: "JOB-001", Priority: eryxon.Some(5)}}
	res, err := client.Jobs.BulkSync(ctx, jobs)
	fmt.Println(res.Counts, "- missing column:", errors.Is(err, eryxon.ErrMissingColumn))

	res, err = client.Jobs.BulkSync(ctx, jobs, eryxon.WithMissingColumnsOmitted())
	fmt.Println(res.Counts, err)
	// Output:
	// 1 failed - missing column: true
	// 1 created <nil>
}

// A server that overwrites with defaults what an update leaves out: the SDK
// refuses to let it.
func ExampleWithOverwritingUpdates() {
	ctx := context.Background()
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"external_source": "SAP", "external_id": "SO-001", "job_number": "JOB-001"})
	srv.Seed(eryxontest.Parts, eryxontest.Row{"external_source": "SAP", "external_id": "10", "job_id": job, "part_number": "BRACKET-A", "material": "Steel 304"})
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	if err != nil {
		log.Fatal(err)
	}
	parts := []eryxon.Part{{ExternalID: "10", JobExternalID: "SO-001", PartNumber: "BRACKET-A", Quantity: eryxon.Some(25)}}
	_, err = client.Parts.BulkSync(ctx, parts)
	var invalid *eryxon.ValidationError
	if errors.As(err, &invalid) {
		fmt.Println(invalid.Message)
	}
	res, err := client.Parts.BulkSync(ctx, parts, eryxon.WithOverwritingUpdates())
	fmt.Println(res.Counts, err)
	// Output:
	// material is left out, and this server overwrites it with a default on an update: give it, or say WithOverwritingUpdates
	// 1 updated <nil>
}
