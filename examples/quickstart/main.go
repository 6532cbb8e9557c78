// Command quickstart sends every record of the Eryxon API reference, in the
// order that the reference recommends, and prints what became of each.
//
//	go run ./examples/quickstart
//
// On its own it starts the SDK's built-in server and talks to that. Where
// ERYXON_BASE_URL and ERYXON_API_KEY are set it talks to the installation they
// name, and leaves the reference's sample records there under the source "SAP":
// use a test installation.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run syncs everything. Its error is nil if all went as it should, refusals
// that are part of the show included.
func run(ctx context.Context, out io.Writer) error {
	opts := []eryxon.Option{eryxon.WithSource("SAP"), eryxon.WithUserAgent("eryxon-quickstart/1.0")}
	var client *eryxon.Client
	var err error
	if baseURL := os.Getenv(eryxon.EnvBaseURL); baseURL != "" || os.Getenv(eryxon.EnvAPIKey) != "" {
		if client, err = eryxon.NewFromEnv(opts...); err != nil {
			return err
		}
		fmt.Fprintf(out, "Syncing with %s\n", baseURL)
	} else {
		srv := eryxontest.New(eryxontest.WithQuota(100, 24*time.Hour))
		defer srv.Close()
		if _, err = srv.Start(); err != nil {
			return err
		}
		if client, err = eryxon.New(srv.URL, srv.Key, opts...); err != nil {
			return err
		}
		fmt.Fprintf(out, "Syncing with the built-in server at %s\n", srv.URL)
	}
	defer client.CloseIdleConnections()

	p := &printer{out: out}
	for _, step := range []func(context.Context, *eryxon.Client, *printer){
		syncCells, syncResources, syncJobs, syncParts, syncOperations, showRefusals,
	} {
		if step(ctx, client, p); p.hopeless() {
			break
		}
	}
	p.summary(client.RateLimit())
	return p.verdict()
}

func syncCells(ctx context.Context, client *eryxon.Client, p *printer) {
	p.title("Cells (work centers)")
	cutting := eryxon.Cell{
		ExternalID: "WC-CUTTING", Name: "Cutting", Color: eryxon.Some("#3b82f6"),
		Sequence: eryxon.Some(1), Active: eryxon.Some(true),
	}
	p.single(of(client.Cells.Sync(ctx, cutting)))
	p.bulk(client.Cells.BulkSync(ctx, []eryxon.Cell{
		cutting,
		{ExternalID: "WC-BENDING", Name: "Bending", Color: eryxon.Some("#f59e0b"), Sequence: eryxon.Some(2), Active: eryxon.Some(true)},
	}))
}

func syncResources(ctx context.Context, client *eryxon.Client, p *printer) {
	p.title("Resources (equipment, tooling)")
	mill := eryxon.Resource{
		ExternalID: "TOOL-001", Name: "CNC Mill #1", Type: eryxon.ResourceEquipment,
		Description: eryxon.Some("5-axis CNC milling machine"), Identifier: eryxon.Some("MILL-001"),
		Location: eryxon.Some("Building A, Bay 3"), Status: eryxon.Some(eryxon.ResourceAvailable),
	}
	p.single(of(client.Resources.Sync(ctx, mill)))
	p.bulk(client.Resources.BulkSync(ctx, []eryxon.Resource{
		mill,
		{ExternalID: "FIX-001", Name: "Welding Fixture A", Type: eryxon.ResourceFixture, Status: eryxon.Some(eryxon.ResourceInUse)},
		{ExternalID: "MOLD-001", Name: "Injection Mold 7", Type: eryxon.ResourceMold, Status: eryxon.Some(eryxon.ResourceMaintenance)},
	}))
}

func syncJobs(ctx context.Context, client *eryxon.Client, p *printer) {
	p.title("Jobs (sales orders)")
	p.single(of(client.Jobs.Sync(ctx, eryxon.Job{
		ExternalID: "SO-12345", JobNumber: "JOB-2024-001", Customer: eryxon.Some("Acme Corp"),
		DueDate:  eryxon.Some(eryxon.NewDate(2024, time.December, 31)),
		Priority: eryxon.Some(5), Notes: eryxon.Some("Synced from SAP"),
	})))
	// Parts and operations may travel inside their job. Nested ones need no
	// source and no link: they inherit both.
	p.single(of(client.Jobs.Sync(ctx, eryxon.Job{
		ExternalID: "SO-12345", JobNumber: "JOB-2024-001", Customer: eryxon.Some("Acme Corp"),
		Parts: []eryxon.Part{{
			ExternalID: "SO-12345-10", PartNumber: "BRACKET-A",
			Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(25),
			Operations: []eryxon.Operation{
				{
					ExternalID: "SO-12345-10-010", OperationName: "Laser Cut", CellName: "Cutting",
					Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(30.0),
				},
				{
					ExternalID: "SO-12345-10-020", OperationName: "Bend 90°", CellName: "Bending",
					Sequence: eryxon.Some(2), EstimatedTimeMinutes: eryxon.Some(15.0),
				},
			},
		}},
	})))
	p.bulk(client.Jobs.BulkSync(ctx, []eryxon.Job{
		{ExternalID: "SO-001", JobNumber: "JOB-001", Customer: eryxon.Some("Customer A")},
		{ExternalID: "SO-002", JobNumber: "JOB-002", Customer: eryxon.Some("Customer B")},
	}))
}

func syncParts(ctx context.Context, client *eryxon.Client, p *printer) {
	p.title("Parts (work orders)")
	p.single(of(client.Parts.Sync(ctx, eryxon.Part{
		ExternalID: "SO-12345-10", JobExternalID: "SO-12345", PartNumber: "BRACKET-A",
		Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(25), Notes: eryxon.Some("Handle with care"),
	})))
	p.bulk(client.Parts.BulkSync(ctx, []eryxon.Part{
		{ExternalID: "SO-001-10", JobExternalID: "SO-001", PartNumber: "PART-A", Quantity: eryxon.Some(10)},
	}))
}

func syncOperations(ctx context.Context, client *eryxon.Client, p *printer) {
	p.title("Operations (routing steps)")
	cut := eryxon.Operation{
		ExternalID: "SO-12345-10-010", PartExternalID: "SO-12345-10", OperationName: "Laser Cut", CellName: "Cutting",
		Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(30.0), Notes: eryxon.Some("Use 1000W laser"),
	}
	p.single(of(client.Operations.Sync(ctx, cut)))
	p.bulk(client.Operations.BulkSync(ctx, []eryxon.Operation{
		cut,
		{
			ExternalID: "SO-001-10-010", PartExternalID: "SO-001-10", OperationName: "Deburr", CellName: "Bending",
			Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(5.0),
		},
	}))
}

// showRefusals sends what has to be refused.
func showRefusals(ctx context.Context, client *eryxon.Client, p *printer) {
	p.title("Refused, as they should be")
	// The SDK's own rules refuse this job: no request is made.
	_, err := client.Jobs.Sync(ctx, eryxon.Job{JobNumber: "JOB-003"})
	p.refused("sync", "job without an id", err, eryxon.ErrValidation)
	// Sent past those rules, it is the server that refuses it.
	_, err = client.Do(ctx, "PUT", "/api-jobs/sync", map[string]string{"external_source": "SAP", "job_number": "JOB-003"}, nil)
	p.refused("do", "the same, unchecked", err, eryxon.ErrValidation)
	// One of these parts names a job that is nowhere. The other arrives.
	p.partial(client.Parts.BulkSync(ctx, []eryxon.Part{
		{ExternalID: "SO-002-10", JobExternalID: "SO-002", PartNumber: "PART-B", Quantity: eryxon.Some(3)},
		{ExternalID: "SO-404-10", JobExternalID: "SO-404", PartNumber: "PART-C", Quantity: eryxon.Some(7)},
	}))
}
