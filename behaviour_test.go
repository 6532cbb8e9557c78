package eryxon_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// behaviour is what a program may rely on with every server. It runs against
// each emulated release and, with the build tag live, against a real one. Its
// records' external source is source, which nothing else uses; it returns how
// many records it left behind.
func behaviour(t *testing.T, client *eryxon.Client, source string) (left int) {
	t.Helper()
	ctx := t.Context()
	client, err := client.With(eryxon.WithSource(source))
	require.NoError(t, err)
	name := func(what string) string { return what + " " + source }
	// Servers confuse what has the same external id in two sources.
	id := func(what string) string { return what + "-" + source }

	data := eryxon.Dataset{
		Cells:     eryxon.FromSlice([]eryxon.Cell{{ExternalID: id("C-1"), Name: name("Cutting"), Color: eryxon.Some("#3b82f6"), Sequence: eryxon.Some(901), Active: eryxon.Some(true)}}),
		Resources: eryxon.FromSlice([]eryxon.Resource{{ExternalID: id("R-1"), Name: name("Mill"), Type: eryxon.ResourceEquipment, Status: eryxon.Some(eryxon.ResourceAvailable)}}),
		Jobs: eryxon.FromSlice([]eryxon.Job{
			{ExternalID: id("SO-1"), JobNumber: name("J-1"), Customer: eryxon.Some("Acme Corp"), DueDate: eryxon.Some(eryxon.NewDate(2030, time.December, 31))},
			{ExternalID: id("SO-2"), JobNumber: name("J-2"), Parts: []eryxon.Part{{ExternalID: id("SO-2-10"), PartNumber: "BRACKET-B", Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(2)}}},
		}),
		Parts: eryxon.FromSlice([]eryxon.Part{
			{ExternalID: id("SO-1-10"), JobExternalID: id("SO-1"), PartNumber: "BRACKET-A", Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(25)},
			{ExternalID: id("SO-9-10"), JobExternalID: id("SO-9"), PartNumber: "BRACKET-C", Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(1)},
		}),
		Operations: eryxon.FromSlice([]eryxon.Operation{
			{ExternalID: id("SO-1-10-010"), PartExternalID: id("SO-1-10"), OperationName: "Laser Cut", CellName: name("Cutting"), Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(30.0)},
		}),
	}
	failures := map[string]eryxon.Outcome{}
	sink := eryxon.WithOutcomes(func(o eryxon.Outcome) error { failures[o.Key.ExternalID] = o; return nil })
	report, err := client.SyncAll(ctx, data, sink)
	require.Error(t, err, "a part names a job that nobody has")
	total := report.Total()
	assert.Equal(t, data.Count().Total(), total.Counts.Total(), "every record ends in one status")
	assert.Zero(t, total.Counts.Updated, "nothing of this source was there before")
	assert.Zero(t, total.Counts.Unknown, "every outcome is known: %v", failures)
	assert.Equal(t, eryxon.StatusFailed, failures[id("SO-9-10")].Status)
	assert.ErrorIs(t, failures[id("SO-9-10")].Err, eryxon.ErrParentNotFound)
	assert.Equal(t, 2, report.Jobs.Counts.Succeeded())
	// A server may lack columns, and then says so of every record of the kind.
	for failed, o := range failures {
		if failed != id("SO-9-10") {
			assert.Truef(t, errors.Is(o.Err, eryxon.ErrMissingColumn) || o.Status == eryxon.StatusParentFailed, "%s: %v", failed, o.Err)
		}
	}

	again, _ := client.SyncAll(ctx, data) // its failures are the same
	assert.Zero(t, again.Total().Counts.Created, "the second time nothing is new")
	assert.Equal(t, total.Counts.Succeeded(), again.Total().Counts.Succeeded())

	one, err := client.Jobs.Sync(ctx, eryxon.Job{ExternalID: id("SO-1"), JobNumber: name("J-1"), Notes: eryxon.Some("rush")})
	require.NoError(t, err)
	assert.Equal(t, eryxon.StatusUpdated, one.Status)
	if one.Row != nil {
		customer, _ := one.Row.Customer.Get()
		assert.Equal(t, "Acme Corp", customer, "what a record leaves out stays")
	}

	clash, err := client.Jobs.Sync(ctx, eryxon.Job{ExternalID: id("SO-3"), JobNumber: name("J-1")})
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	assert.Equal(t, eryxon.StatusFailed, clash.Status)

	if report.Resources.Counts.Succeeded() == 1 {
		if row, err := client.Resources.Find(ctx, eryxon.Key{Source: source, ExternalID: id("R-1")}); err == nil {
			assert.Equal(t, name("Mill"), row.Name)
		} else {
			assert.ErrorIs(t, err, eryxon.ErrUnsupported, "it is found, or the server can't tell")
		}
	}
	return total.Counts.Succeeded()
}

func TestBehaviourOnEveryRelease(t *testing.T) {
	for _, release := range releases() {
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release)
			left := behaviour(t, client, "TEST-1")
			rows := 0
			for _, e := range []string{"cells", "resources", "jobs", "parts", "operations"} {
				rows += len(srv.Rows(eryxontest.Entity(e)))
			}
			assert.Equal(t, left, rows, fmt.Sprint("what is reported is what is there, on ", release))
		})
	}
}
