package eryxon

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// shop is a dataset of n jobs, each with a part with an operation, and of n
// cells and resources.
func shop(n int) Dataset {
	var cells []Cell
	var resources []Resource
	var orders []Job
	for i := range n {
		id := fmt.Sprint(i)
		cells = append(cells, Cell{ExternalID: "C" + id, Name: "Cell " + id, Color: Some("#123456"), Sequence: Some(i), Active: Some(true)})
		resources = append(resources, Resource{ExternalID: "R" + id, Name: "Mill " + id, Type: ResourceEquipment, Location: Some("Hall"), Status: Some(ResourceInUse), Active: Some(true)})
		orders = append(orders, Job{ExternalID: "J" + id, JobNumber: "J" + id, Parts: []Part{{
			ExternalID: "P" + id, PartNumber: "P", Material: Some("Steel"), Quantity: Some(1), Operations: []Operation{
				{ExternalID: "O" + id, OperationName: "Cut", CellName: "Cell " + id, Sequence: Some(1), EstimatedTimeMinutes: Some(5.0)},
			},
		}}})
	}
	return Dataset{Cells: FromSlice(cells), Resources: FromSlice(resources), Jobs: FromSlice(orders)}
}

func disappearedIDs(d *Disappeared) (ids []string) {
	for _, r := range d.Records {
		ids = append(ids, r.Key.ExternalID)
	}
	return ids
}

func TestDisappearedFromACompleteExport(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, WithSource("SAP"))
			st := newMemState()
			_, err := c.SyncAll(t.Context(), shop(12), WithState(st))
			require.NoError(t, err)
			_, err = c.SyncAll(t.Context(), Dataset{Jobs: FromSlice([]Job{{ExternalID: "X", ExternalSource: "other", JobNumber: "X"}})}, WithState(st))
			require.NoError(t, err)

			before := posts(srv)
			report, err := c.SyncAll(t.Context(), shop(11), WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
			require.NoError(t, err)
			require.NotNil(t, report.Disappeared)
			assert.Equal(t, []string{"O11", "P11", "J11", "R11", "C11"}, disappearedIDs(report.Disappeared), "children first")
			assert.Equal(t, before, posts(srv))
			assert.Contains(t, report.String(), "disappeared from the export: 5")

			done, err := c.Deactivate(t.Context(), report.Disappeared, Deactivation{
				Job: func(k Key) (Job, bool) {
					return Job{ExternalID: k.ExternalID, ExternalSource: k.Source, JobNumber: "J11", Status: Some(WorkOnHold)}, true
				},
				Part: func(Key) (Part, bool) { return Part{}, false },
			}, WithState(st))
			require.NoError(t, err)
			assert.Equal(t, 3, done.Total().Counts.Succeeded())
			cell, _ := srv.Row(eryxontest.Cells, "SAP", "C11")
			assert.Equal(t, false, cell["active"])
			assert.Equal(t, "#123456", cell["color"])
			assert.EqualValues(t, 11, cell["sequence"])
			mill, _ := srv.Row(eryxontest.Resources, "SAP", "R11")
			assert.Equal(t, false, mill["active"])
			assert.Equal(t, "Hall", mill["location"])
			assert.Equal(t, "in_use", mill["status"])
			order, _ := srv.Row(eryxontest.Jobs, "SAP", "J11")
			assert.Equal(t, "on_hold", order["status"])

			// It is told once, and comes back whole.
			report, err = c.SyncAll(t.Context(), shop(11), WithState(st), WithCompleteExport("SAP", nil))
			require.NoError(t, err)
			assert.Equal(t, []string{"O11", "P11"}, disappearedIDs(report.Disappeared))
			report, err = c.SyncAll(t.Context(), shop(12), WithState(st), WithCompleteExport("SAP", nil))
			require.NoError(t, err)
			assert.Empty(t, report.Disappeared.Records)
			assert.Equal(t, 1, report.Cells.Counts.Succeeded()-report.Cells.Counts.Unchanged)
			cell, _ = srv.Row(eryxontest.Cells, "SAP", "C11")
			assert.Equal(t, true, cell["active"])
		})
	}
}

func TestDisappearedWithinAWindow(t *testing.T) {
	c := onServer(t, eryxontest.New(), WithSource("SAP"))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(12), WithState(st))
	require.NoError(t, err)
	within := func(e Entity, k Key) bool { return e == EntityJobs && k.ExternalID != "J10" }
	report, err := c.SyncAll(t.Context(), shop(10), WithState(st), WithCompleteExport("SAP", within), WithDryRun(nil))
	require.NoError(t, err)
	assert.Equal(t, []string{"J11"}, disappearedIDs(report.Disappeared))
}

func TestDeactivateHoldsTheBrake(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(10), WithState(st))
	require.NoError(t, err)
	before := len(srv.Requests())
	dry := func(n int) *Disappeared {
		t.Helper()
		report, err := c.SyncAll(t.Context(), shop(n), WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
		require.NoError(t, err)
		return report.Disappeared
	}
	_, err = c.Deactivate(t.Context(), dry(8), Deactivation{}, WithState(st))
	require.ErrorIs(t, err, ErrTooManyDisappeared)
	require.ErrorContains(t, err, "2 of 10")
	_, err = c.Deactivate(t.Context(), dry(0), Deactivation{MaxShare: 1}, WithState(st))
	require.ErrorIs(t, err, ErrTooManyDisappeared, "an empty export is no reason")
	_, err = c.Deactivate(t.Context(), dry(9), Deactivation{MaxShare: 1.5}, WithState(st))
	require.ErrorContains(t, err, "MaxShare")
	_, err = c.Deactivate(t.Context(), dry(9), Deactivation{})
	require.ErrorContains(t, err, "WithState")

	report, err := c.SyncAll(t.Context(), shop(9), WithState(st), WithCompleteExport("SAP", nil))
	require.NoError(t, err)
	_, err = c.Deactivate(t.Context(), report.Disappeared, Deactivation{}, WithState(st))
	require.ErrorContains(t, err, "dry run")
	assert.Len(t, srv.Requests(), before, "nothing was sent")

	done, err := c.Deactivate(t.Context(), dry(8), Deactivation{MaxShare: 0.2}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 2}, done.Cells.Counts)
}

func TestDeactivateLeavesAloneWhatCameBack(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(12), WithState(st))
	require.NoError(t, err)
	report, err := c.SyncAll(t.Context(), shop(11), WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
	require.NoError(t, err)
	for k, entry := range st.entries { // a later run has acknowledged all of it again
		entry.Time = entry.Time.Add(1e9)
		st.entries[k] = entry
	}
	done, err := c.Deactivate(t.Context(), report.Disappeared, Deactivation{}, WithState(st))
	require.NoError(t, err)
	assert.Zero(t, done.Total().Read)
}

func TestDisappearedOfAnInputThatBreaksOff(t *testing.T) {
	c := onServer(t, eryxontest.New(), WithSource("SAP"))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(5), WithState(st))
	require.NoError(t, err)
	broken := func(yield func(Job, error) bool) {
		_ = yield(Job{ExternalID: "J0", JobNumber: "J0"}, nil) && yield(Job{}, fmt.Errorf("the disk is gone"))
	}
	report, err := c.SyncAll(t.Context(), Dataset{Jobs: FromSeq(broken), Cells: shop(4).Cells}, WithState(st), WithCompleteExport("SAP", nil))
	require.ErrorContains(t, err, "the disk is gone")
	assert.Equal(t, []string{"C4"}, disappearedIDs(report.Disappeared), "nothing is said of jobs")
}

func TestDeactivateOverwritesNothingElse(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	c := onServer(t, srv)
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(12), WithState(st))
	require.NoError(t, err)
	report, err := c.SyncAll(t.Context(), shop(11), WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
	require.NoError(t, err)
	how := Deactivation{Part: func(k Key) (Part, bool) {
		return Part{ExternalID: k.ExternalID, ExternalSource: k.Source, PartNumber: "P", JobExternalID: "J11", Status: Some(WorkOnHold)}, true
	}}
	done, err := c.Deactivate(t.Context(), report.Disappeared, how, WithState(st))
	require.ErrorIs(t, err, ErrValidation, "the server would fill what it leaves out")
	assert.Equal(t, Counts{Failed: 1}, done.Parts.Counts)
	assert.Equal(t, Counts{Updated: 1}, done.Cells.Counts)
	part, _ := srv.Row(eryxontest.Parts, "SAP", "P11")
	assert.Equal(t, "Steel", part["material"])
}

func TestRecordsOfAnotherSourceDoNotLoosenTheBrake(t *testing.T) {
	c := onServer(t, eryxontest.New())
	st := newMemState()
	_, err := c.Jobs.BulkSync(t.Context(), jobs(3), WithState(st))
	require.NoError(t, err)
	other := Dataset{Jobs: FromSlice([]Job{{ExternalID: "X", ExternalSource: "other", JobNumber: "X"}})}
	report, err := c.SyncAll(t.Context(), other, WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
	require.NoError(t, err)
	how := Deactivation{MaxShare: 1, Job: func(Key) (Job, bool) { return Job{}, false }}
	_, err = c.Deactivate(t.Context(), report.Disappeared, how, WithState(st))
	require.ErrorIs(t, err, ErrTooManyDisappeared, "the export held nothing of SAP")
}

func TestDeactivateWantsAFreshDryRun(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(12), WithState(st))
	require.NoError(t, err)
	report, err := c.SyncAll(t.Context(), shop(11), WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
	require.NoError(t, err)
	_, err = c.SyncAll(t.Context(), shop(12), WithState(st)) // all of it is back
	require.NoError(t, err)
	done, err := c.Deactivate(t.Context(), report.Disappeared, Deactivation{}, WithState(st))
	require.ErrorContains(t, err, "another run has used the state")
	assert.Zero(t, done.Total().Read)
	row, _ := srv.Row(eryxontest.Cells, "SAP", "C11")
	assert.Equal(t, true, row["active"])
}

// What is left alone does not hold the brake for what is not.
func TestDeactivateBrakesForWhatItTouches(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), shop(12), WithState(st))
	require.NoError(t, err)
	data := shop(11)
	data.Jobs = FromSlice([]Job{{ExternalID: "J0", JobNumber: "J0"}})
	report, err := c.SyncAll(t.Context(), data, WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
	require.NoError(t, err)
	done, err := c.Deactivate(t.Context(), report.Disappeared, Deactivation{}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1}, done.Cells.Counts)
	report, err = c.SyncAll(t.Context(), data, WithState(st), WithCompleteExport("SAP", nil), WithDryRun(nil))
	require.NoError(t, err)
	_, err = c.Deactivate(t.Context(), report.Disappeared, Deactivation{Job: func(Key) (Job, bool) { return Job{}, false }}, WithState(st))
	require.ErrorIs(t, err, ErrTooManyDisappeared)
}
