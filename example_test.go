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
// and need no links. The answer does not tell what became of them.
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
	if _, err := client.Cells.Sync(ctx, eryxon.Cell{ExternalID: "WC-CUTTING", Name: "Cutting"}); err != nil {
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
	cells := []eryxon.Cell{{ExternalID: "WC-CUTTING", Name: "Cutting"}, {ExternalID: "WC-BENDING", Name: "Bending"}}
	for _, cell := range cells {
		_, err := client.Cells.Sync(ctx, cell)
		var limited *eryxon.RateLimitError
		if errors.As(err, &limited) {
			fmt.Println(cell.Name, "waits", limited.RetryAfter.Round(time.Hour), "- request made:", limited.Sent)
		}
	}
	// Output:
	// Bending waits 24h0m0s - request made: false
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
		fmt.Println("try later:", err)
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
	_, err = client.Cells.Sync(context.Background(), eryxon.Cell{ExternalID: "WC-CUTTING", ExternalSource: "SAP", Name: "Cutting"})
	fmt.Println(err)
	// Output:
	// PUT /functions/v1/api-cells/sync key in sight: false
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
		res, err := client.Cells.Sync(context.Background(), eryxon.Cell{ExternalID: "1", Name: "Cutting"})
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
	client, err := eryxon.New(srv.URL, srv.Key)
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
