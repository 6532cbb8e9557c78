package eryxon_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// On a database that lacks a column that is looked for, jobs can't be compared with
// what they were last synced with: the list shows what has become of them.
func TestTheListShowsUpdatesThatCantBeCompared(t *testing.T) {
	const n = 40
	for name, tt := range map[string]struct {
		vary  func(srv *eryxontest.Server, jobs []eryxon.Job)
		bad   []int
		fault error
		open  bool // whether the others arrived may not be told
	}{
		"all are written": {vary: func(*eryxontest.Server, []eryxon.Job) {}},
		"a number is another's, whose row looks the same": {func(srv *eryxontest.Server, jobs []eryxon.Job) {
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "HAND", "customer": "Acme", "status": "on_hold"})
			jobs[7].JobNumber = "HAND"
		}, []int{7}, eryxon.ErrNaturalKeyTaken, false},
		"two have the same number": {func(_ *eryxontest.Server, jobs []eryxon.Job) {
			jobs[7].JobNumber = jobs[8].JobNumber
		}, []int{7}, eryxon.ErrNaturalKeyTaken, false},
		"how they looked before is not told": {func(srv *eryxontest.Server, jobs []eryxon.Job) {
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "HAND", "customer": "Acme", "status": "on_hold"})
			jobs[37].JobNumber = "HAND"
			srv.Script("/api-jobs", eryxontest.StatusJSON(500, "INTERNAL_ERROR", "no list now"))
		}, []int{37}, eryxon.ErrBadAnswer, true},
	} {
		t.Run(name, func(t *testing.T) {
			srv, setup := releaseClient(t, eryxontest.V08AsMigrated)
			_, err := setup.Jobs.BulkSync(t.Context(), heldJobs(n, eryxon.Opt[eryxon.WorkStatus]{}))
			require.NoError(t, err)
			jobs := heldJobs(n, eryxon.Some(eryxon.WorkOnHold))
			for i := range jobs {
				jobs[i].Customer, jobs[i].Notes = eryxon.Some("Acme"), eryxon.Null[string]()
			}
			tt.vary(srv, jobs)
			res, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08)).Jobs.BulkSync(t.Context(), jobs)
			require.ErrorIs(t, err, tt.fault)
			for i, o := range res.Outcomes {
				row, _ := srv.Row(eryxontest.Jobs, "SAP", jobs[i].ExternalID)
				if slices.Contains(tt.bad, i) {
					require.ErrorIs(t, o.Err, tt.fault)
					assert.NotEqual(t, "on_hold", row["status"])
					continue
				}
				if tt.open && o.Status == eryxon.StatusUnknown {
					continue
				}
				assert.True(t, o.Status.Success(), o.Err)
				assert.Equal(t, []any{"on_hold", "Acme", row["id"]}, []any{row["status"], row["customer"], o.ID})
			}
		})
	}
}

// Two jobs of one number in requests that are under way at the same time: the list shows
// a row that was changed, of one of them.
func TestTheListShowsNoOtherJobsRow(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		jobs := heldJobs(8, eryxon.Opt[eryxon.WorkStatus]{})
		_, err := client.Jobs.BulkSync(t.Context(), jobs)
		require.NoError(t, err)
		jobs = heldJobs(8, eryxon.Some(eryxon.WorkOnHold))
		jobs[0].JobNumber = jobs[4].JobNumber
		client = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08))
		res, err := client.Jobs.BulkSync(t.Context(), jobs, eryxon.WithMaxRequestRecords(4), eryxon.WithConcurrency(2))
		require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
		assert.Equal(t, 7, res.Counts.Succeeded(), "%s", res.Counts)
		part := steel("P", "J0")
		_, err = client.Parts.Sync(t.Context(), part)
		require.NoError(t, err)
		job, _ := srv.Row(eryxontest.Jobs, "SAP", "J0")
		row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
		assert.Equal(t, job["id"], row["job_id"])
	}, eryxontest.WithRelease(eryxontest.V08AsMigrated), eryxontest.WithLatency(100*time.Millisecond, 0))
}

// Somebody types in a job with the number, between the list and the bulk.
func TestTheListShowsNoRowThatWasMadeMeanwhile(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08AsMigrated)
	_, err := setup.Jobs.BulkSync(t.Context(), heldJobs(5, eryxon.Opt[eryxon.WorkStatus]{}))
	require.NoError(t, err)
	jobs := heldJobs(5, eryxon.Some(eryxon.WorkOnHold))
	jobs[3].JobNumber = "NEW"
	c := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), afterAnswer("/api-jobs", 1, func() {
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "NEW", "status": "on_hold"})
	}))
	res, err := c.Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	assert.Equal(t, eryxon.Counts{Updated: 4, Failed: 1}, res.Counts)
}

// A record that was synced with the very same content before is updated all the
// same, for the row may have changed, and it is known whether it was.
func TestTheSameContentOnceMoreIsProven(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	jobs := make([]eryxon.Job, 50)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
		jobs[i].Status = eryxon.Some(eryxon.WorkOnHold)
		jobs[i].Extra = map[string]any{"delivery_city": "Köln", "metadata": map[string]any{"b": 1, "a": []int{2}}}
	}
	res, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.NoError(t, err)
	require.Equal(t, 50, res.Counts.Created)

	rows := srv.Rows(eryxontest.Jobs)
	srv.Reset()
	for _, row := range rows { // edited in the MES
		switch row["external_id"] {
		case jobs[7].ExternalID:
			row["delivery_city"] = "Bonn"
		case jobs[8].ExternalID:
			row["job_number"] = "by hand"
		}
		srv.Seed(eryxontest.Jobs, row)
	}
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": jobs[8].JobNumber})
	before := len(srv.Requests())
	res, err = client.Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	assert.Equal(t, eryxon.Counts{Updated: 49, Failed: 1}, res.Counts)
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[8].Status)
	assert.LessOrEqual(t, len(srv.Requests())-before, 4, "what exists, the bulk, what has changed, and the bad one")
	row, _ := srv.Row(eryxontest.Jobs, "SAP", jobs[7].ExternalID)
	assert.Equal(t, "Köln", row["delivery_city"])
}

// Where a gateway refuses long look-ups, shorter ones are made.
func TestLongLookUpsThatFailAreMadeShorter(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.RefuseLongLookUps(8000)
	id := func(kind string, i int) string { return fmt.Sprintf("%s-%s-%04d", kind, strings.Repeat("x", 30), i) }
	jobs := make([]eryxon.Job, 600)
	parts := make([]eryxon.Part, 600)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: id("J", i), JobNumber: id("J", i), Customer: eryxon.Some("Acme")}
		parts[i] = eryxon.Part{ExternalID: id("P", i), PartNumber: id("P", i), JobExternalID: id("J", i), Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}
	}
	for round := range 3 {
		for i := range jobs {
			if round == 1 {
				jobs[i].Customer, parts[i].Material = eryxon.Some("Other"), eryxon.Some("Brass")
			} else if round == 2 {
				jobs[i].Notes, parts[i].Notes = eryxon.Null[string](), eryxon.Null[string]()
			}
		}
		res, err := client.Jobs.BulkSync(t.Context(), jobs)
		require.NoError(t, err, "round %d", round)
		assert.Equal(t, 600, res.Counts.Succeeded())
		res, err = client.Parts.BulkSync(t.Context(), parts)
		require.NoError(t, err, "round %d", round)
		assert.Equal(t, 600, res.Counts.Succeeded())
	}
	assert.Len(t, srv.Rows(eryxontest.Jobs), 600)
	assert.Len(t, srv.Rows(eryxontest.Parts), 600)
}

// External ids that a server's look-ups mistake arrive, and do no harm to others.
func TestQuotedIDsAreNotMistaken(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release)
			var jobs []eryxon.Job
			var parts []eryxon.Part
			for i, id := range []string{"plain", `"quoted"`, `PIPE (3/4")`, `x"),y`, `a\,b`, "a,b", "(c)", "Ü 1"} {
				jobs = append(jobs, eryxon.Job{ExternalID: id, JobNumber: fmt.Sprint("J", i)})
				parts = append(parts, eryxon.Part{ExternalID: id, PartNumber: fmt.Sprint("P", i), JobExternalID: id, Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)})
			}
			for range 2 {
				report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts)})
				require.NoError(t, err)
				assert.Equal(t, 16, report.Total().Counts.Succeeded())
			}
			for _, j := range jobs {
				job, ok := srv.Row(eryxontest.Jobs, "SAP", j.ExternalID)
				require.True(t, ok, j.ExternalID)
				part, ok := srv.Row(eryxontest.Parts, "SAP", j.ExternalID)
				require.True(t, ok, j.ExternalID)
				assert.Equal(t, job["id"], part["job_id"], j.ExternalID)
			}
		})
	}
}

// Two ERPs may use the same ids.
func TestParentsAreThoseOfTheSameSource(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	var jobs []eryxon.Job
	var parts []eryxon.Part
	for i, source := range []string{"SAP", "ODOO"} {
		for n := range 5 {
			id := fmt.Sprint(n)
			jobs = append(jobs, eryxon.Job{ExternalSource: source, ExternalID: id, JobNumber: source + id})
			parts = append(parts, eryxon.Part{ExternalSource: source, ExternalID: id, JobExternalID: id, PartNumber: fmt.Sprint(i, "-", n), Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)})
		}
	}
	_, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts)})
	require.NoError(t, err)
	for _, p := range parts {
		job, _ := srv.Row(eryxontest.Jobs, p.ExternalSource, p.JobExternalID)
		part, _ := srv.Row(eryxontest.Parts, p.ExternalSource, p.ExternalID)
		assert.Equal(t, job["id"], part["job_id"], "%s %s", p.ExternalSource, p.ExternalID)
	}
}

// Nor does it matter that each ERP has a client of its own, which knows of no other,
// nor that a job is another row now than when it was remembered.
func TestParentsAreThoseOfTheClientsOwnSource(t *testing.T) {
	for name, opts := range map[string][]eryxon.Option{"recognised": nil, "said": {eryxon.WithRelease(eryxon.ReleaseV01)}} {
		t.Run(name, func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
			cells := []eryxon.Cell{{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#111111"), Active: eryxon.Some(true), Sequence: eryxon.Some(1)}}
			linked := func(source string) {
				t.Helper()
				job, _ := srv.Row(eryxontest.Jobs, source, "J")
				part, _ := srv.Row(eryxontest.Parts, source, "P")
				operation, _ := srv.Row(eryxontest.Operations, source, "O0")
				assert.Equal(t, job["id"], part["job_id"], source)
				assert.Equal(t, part["id"], operation["part_id"], source)
			}
			client := map[string]*eryxon.Client{}
			parts := map[string][]eryxon.Part{}
			sources := []string{"SAP", "ODOO"}
			for _, source := range sources {
				client[source] = another(t, srv, append(opts, eryxon.WithSource(source))...)
				parts[source] = []eryxon.Part{{ExternalID: "P", PartNumber: source, JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(2)}}
				bare := []eryxon.Part{{ExternalID: "P", PartNumber: source, JobExternalID: "J"}} // by which the server is known
				job := []eryxon.Job{{ExternalID: "J", JobNumber: source}}
				_, err := client[source].SyncAll(t.Context(), eryxon.Dataset{
					Cells: eryxon.FromSlice(cells), Jobs: eryxon.FromSlice(job), Parts: eryxon.FromSlice(bare), Operations: eryxon.FromSlice(cuts("P", 1, whole)),
				})
				require.NoError(t, err)
				linked(source)
				cells = nil
			}
			for _, source := range sources { // and once more, where each is one of two
				_, err := client[source].Parts.BulkSync(t.Context(), parts[source])
				require.NoError(t, err)
				_, err = client[source].Operations.BulkSync(t.Context(), cuts("P", 1, whole))
				require.NoError(t, err)
				linked(source)
			}

			srv.Reset()
			_, err := another(t, srv, eryxon.WithSource("SAP")).Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "SAP"}})
			require.NoError(t, err)
			res, err := client["SAP"].Parts.BulkSync(t.Context(), parts["SAP"])
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusCreated, res.Outcomes[0].Status)
			job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
			part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
			assert.Equal(t, job["id"], part["job_id"])
		})
	}
}

// A cell name that fits two cells is no pick of the server's, once it is known for
// one that would.
func TestAServerThatFillsPicksNoCell(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := client.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
	before := len(srv.Requests())
	res, err := client.Operations.BulkSync(t.Context(), cuts("P", 3, whole))
	require.ErrorIs(t, err, eryxon.ErrConflict)
	assert.Equal(t, 3, res.Counts.Failed)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
	assert.Len(t, srv.Requests(), before+1, "the cells are read, and nothing is sent")
}

// On a server that fills what is left out, cells and operations that are new may
// leave it out, and a cell that has a new name loses nothing.
func TestNewRecordsMayBePartialOnAServerThatFills(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	old := eryxon.Cell{ExternalID: "C1", Name: "Sawing", Color: eryxon.Some("#123456"), Sequence: eryxon.Some(1), Active: eryxon.Some(false)}
	_, err := client.Cells.BulkSync(t.Context(), []eryxon.Cell{old})
	require.NoError(t, err)
	before := len(srv.Requests())
	_, err = client.SyncAll(t.Context(), eryxon.Dataset{
		Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C1", Name: "Cutting"}, {ExternalID: "C2", Name: "Bending"}}),
		Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}}),
		Operations: eryxon.FromSlice([]eryxon.Operation{{ExternalID: "O", OperationName: "Bend", PartExternalID: "P", CellName: "Bending"}}),
	})
	require.NoError(t, err)
	cell, _ := srv.Row(eryxontest.Cells, "SAP", "C1")
	assert.Equal(t, []any{"Cutting", "#123456", false}, []any{cell["name"], cell["color"], cell["active"]})
	assert.Len(t, srv.Rows(eryxontest.Operations), 1)
	assert.LessOrEqual(t, len(srv.Requests()), before+8, "one bulk each, the cells, the part, and the renamed cell once more")

	_, err = client.Cells.BulkSync(t.Context(), []eryxon.Cell{{ExternalID: "C1", Name: "Cutting"}})
	require.ErrorContains(t, err, "color")
	res, err := client.Operations.BulkSync(t.Context(), []eryxon.Operation{{ExternalID: "O", OperationName: "Bend", PartExternalID: "P", CellName: "Bending"}})
	require.ErrorContains(t, err, "sequence")
	assert.Equal(t, 1, res.Counts.Failed)
}

// The first request to a server may be a single sync, of any documented record.
func TestDocumentedSinglesArriveOnAnUnknownServer(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V08, eryxontest.V011} {
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release)
			_, err := client.Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "Cutting", Sequence: eryxon.Some(1)})
			require.NoError(t, err)
			stranger := func() *eryxon.Client {
				c, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
				require.NoError(t, err)
				return c
			}
			job, err := stranger().Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{{
				ExternalID: "NP", PartNumber: "NP", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1),
			}}})
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusCreated, job.Nested[0].Status)
			_, err = stranger().Parts.Sync(t.Context(), eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)})
			require.NoError(t, err)
			_, err = stranger().Operations.Sync(t.Context(), eryxon.Operation{ExternalID: "O", OperationName: "Cut", PartExternalID: "P", CellName: "Cutting", Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(5.0)})
			require.NoError(t, err)
			assert.Len(t, srv.Rows(eryxontest.Operations), 1)
			assert.Len(t, srv.Rows(eryxontest.Parts), 2)
		})
	}
}

// A server that finds no jobs by their keys is not believed to have none, though
// it has updated some.
func TestUpdatesProveNoLookUps(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08AsMigrated)
	jobs := make([]eryxon.Job, 4)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprint("J", i), JobNumber: fmt.Sprint("J", i), Customer: eryxon.Some("Acme")}
	}
	for range 2 {
		res, err := client.Jobs.BulkSync(t.Context(), jobs)
		require.NoError(t, err)
		require.Equal(t, 4, res.Counts.Succeeded())
	}
	require.Len(t, srv.Rows(eryxontest.Jobs), 4)
	_, err := client.Jobs.Find(t.Context(), eryxon.Key{ExternalID: "J2"})
	require.ErrorIs(t, err, eryxon.ErrUnsupported)
	assert.NotErrorIs(t, err, eryxon.ErrNotFound)
}

// An operation that moves to a new part is not new, and no plain success where
// the server has overwritten what it leaves out.
func TestAnOperationThatMovesIsNotTakenForNew(t *testing.T) {
	_, client := releaseClient(t, eryxontest.V01)
	sync := func(part string, op eryxon.Operation) error {
		op.ExternalID, op.OperationName, op.PartExternalID, op.CellName = "O", "Cut", part, "Cutting"
		_, err := client.SyncAll(t.Context(), eryxon.Dataset{
			Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#123456"), Active: eryxon.Some(true)}}),
			Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
			Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: part, PartNumber: part, JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}}),
			Operations: eryxon.FromSlice([]eryxon.Operation{op}),
		})
		return err
	}
	require.NoError(t, sync("P1", eryxon.Operation{Sequence: eryxon.Some(7), EstimatedTimeMinutes: eryxon.Some(5.0)}))
	// The first partial record lets the client know its server.
	_, err := client.Cells.BulkSync(t.Context(), []eryxon.Cell{{ExternalID: "C2", Name: "Bending"}})
	require.NoError(t, err)
	err = sync("P2", eryxon.Operation{})
	require.ErrorIs(t, err, eryxon.ErrConflict)
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
}

// A part that moves to a new job is not taken for new at all: the server can be
// asked for it.
func TestAPartThatMovesKeepsWhatItsRecordLeavesOut(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	sync := func(job string, part eryxon.Part) error {
		part.ExternalID, part.PartNumber, part.JobExternalID = "P", "P", job
		_, err := client.SyncAll(t.Context(), eryxon.Dataset{
			Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: job, JobNumber: job}}),
			Parts: eryxon.FromSlice([]eryxon.Part{part}),
		})
		return err
	}
	require.NoError(t, sync("J1", eryxon.Part{Material: eryxon.Some("Steel"), Quantity: eryxon.Some(7)}))
	require.ErrorContains(t, sync("J2", eryxon.Part{}), "material is left out")
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, []any{"Steel", 7.0}, []any{row["material"], row["quantity"]})
}

// The server switches on every resource whose update does not say otherwise.
func TestASingleUpdateSwitchesNoResourceOn(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	mill := eryxon.Resource{ExternalID: "R", Name: "Mill", Type: eryxon.ResourceEquipment, Status: eryxon.Some(eryxon.ResourceInUse)}
	off := mill
	off.Active = eryxon.Some(false)
	_, err := client.Resources.Sync(t.Context(), off)
	require.NoError(t, err)
	mill.Location = eryxon.Some("Bay 3")
	res, err := client.Resources.Sync(t.Context(), mill)
	require.NoError(t, err)
	assert.Equal(t, eryxon.StatusUpdated, res.Status)
	row, _ := srv.Row(eryxontest.Resources, "SAP", "R")
	assert.Equal(t, []any{"Bay 3", false}, []any{row["location"], row["active"]})

	// One that is new is on, as anywhere.
	mill.ExternalID, mill.Name = "R2", "Lathe"
	_, err = client.Resources.Sync(t.Context(), mill)
	require.NoError(t, err)
	row, _ = srv.Row(eryxontest.Resources, "SAP", "R2")
	assert.Equal(t, true, row["active"])
}

// Once a bulk has shown a server that may fill, a single update is held against it,
// too.
func TestASingleUpdateAfterABulkOverwritesNothing(t *testing.T) {
	cell := eryxon.Cell{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#112233"), Sequence: eryxon.Some(1), Active: eryxon.Some(false)}
	mill := eryxon.Resource{ExternalID: "R", Name: "Mill", Type: eryxon.ResourceEquipment, Status: eryxon.Some(eryxon.ResourceInUse)}
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08, eryxontest.V011} { // all that store both
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release)
			ctx := t.Context()
			_, err := client.Cells.BulkSync(ctx, []eryxon.Cell{cell})
			require.NoError(t, err)
			_, err = client.Resources.BulkSync(ctx, []eryxon.Resource{mill})
			require.NoError(t, err)

			_, errCell := client.Cells.Sync(ctx, eryxon.Cell{ExternalID: "C", Name: "Cutting", Sequence: eryxon.Some(2)})
			_, errMill := client.Resources.Sync(ctx, eryxon.Resource{ExternalID: "R", Name: "Mill", Type: eryxon.ResourceEquipment, Location: eryxon.Some("Bay 3")})
			row, _ := srv.Row(eryxontest.Cells, "SAP", "C")
			assert.Equal(t, []any{"#112233", false}, []any{row["color"], row["active"]})
			row, _ = srv.Row(eryxontest.Resources, "SAP", "R")
			assert.Equal(t, "in_use", row["status"])
			if release == eryxontest.V01 {
				assert.ErrorIs(t, errCell, eryxon.ErrValidation)
				assert.ErrorIs(t, errMill, eryxon.ErrValidation)
			} else {
				assert.NoError(t, errCell)
				assert.NoError(t, errMill)
			}
		})
	}
}

// What the documentation lets a record leave out it may leave out on every server:
// those whose tables want a value get the documented server's for a new row, and
// nothing of a row that is there.
func TestMinimalRecordsArriveOnEveryServer(t *testing.T) {
	minimal := func(n int) eryxon.Dataset {
		var d eryxon.Dataset
		cells, ops := make([]eryxon.Cell, n), make([]eryxon.Operation, 3*n)
		jobs, parts := make([]eryxon.Job, n), make([]eryxon.Part, n)
		for i := range n {
			id := strconv.Itoa(i)
			cells[i] = eryxon.Cell{ExternalID: "C" + id, Name: "C" + id}
			jobs[i] = eryxon.Job{ExternalID: "J" + id, JobNumber: "J" + id}
			parts[i] = eryxon.Part{ExternalID: "P" + id, PartNumber: "P" + id, JobExternalID: "J" + id, Status: eryxon.Some(eryxon.WorkNotStarted)}
		}
		for i := range ops {
			ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: fmt.Sprint("P", i%n), CellName: fmt.Sprint("C", i%n)}
			if i%3 == 1 {
				ops[i].Sequence, ops[i].EstimatedTimeMinutes = eryxon.Some(7), eryxon.Some(5.0)
			}
		}
		tools := make([]eryxon.Resource, n)
		for i := range tools {
			tools[i] = eryxon.Resource{ExternalID: fmt.Sprint("R", i), Name: fmt.Sprint("Tool ", i), Type: eryxon.ResourceTooling}
		}
		d.Resources = eryxon.FromSlice(tools)
		d.Cells, d.Jobs, d.Parts, d.Operations = eryxon.FromSlice(cells), eryxon.FromSlice(jobs), eryxon.FromSlice(parts), eryxon.FromSlice(ops)
		return d
	}
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		for _, n := range []int{1, 40} {
			t.Run(fmt.Sprint(release, " ", n), func(t *testing.T) {
				srv, client := releaseClient(t, release)
				report, err := client.SyncAll(t.Context(), minimal(n))
				require.NoError(t, err)
				assert.Equal(t, 3*n, report.Operations.Counts.Succeeded())
				ops := srv.Rows(eryxontest.Operations)
				require.Len(t, ops, 3*n)
				for _, row := range ops {
					want := []any{1.0, 0.0}
					if i, _ := strconv.Atoi(strings.TrimPrefix(row["external_id"].(string), "O")); i%3 == 1 {
						want = []any{7.0, 5.0}
					}
					require.Equal(t, want, []any{row["sequence"], row["estimated_time"]})
				}
				places := map[any]bool{}
				for _, row := range srv.Rows(eryxontest.Cells) {
					places[row["sequence"]] = true
				}
				assert.Len(t, places, n, "one after the other")
				assert.Len(t, srv.Rows(eryxontest.Parts), n)
				assert.Len(t, srv.Rows(eryxontest.Resources), n)
				if n > 1 {
					assert.LessOrEqual(t, len(srv.Requests()), 21)
				}
			})
		}
	}
	t.Run("beside updates", func(t *testing.T) {
		srv, client := releaseClient(t, eryxontest.V08)
		data := minimal(40)
		_, err := client.SyncAll(t.Context(), data)
		require.NoError(t, err)
		// Every fourth operation and a cell are new, the others say otherwise by now.
		var ops []eryxon.Operation
		for i := range 120 {
			op := eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: fmt.Sprint("P", i%40), CellName: fmt.Sprint("C", i%40)}
			if i%4 > 0 {
				op.Sequence, op.EstimatedTimeMinutes = eryxon.Some(99), eryxon.Some(33.0)
				ops = append(ops, op)
			}
		}
		_, err = client.Operations.BulkSync(t.Context(), ops)
		require.NoError(t, err)
		for i := range ops {
			ops[i].Sequence, ops[i].EstimatedTimeMinutes = eryxon.Opt[int]{}, eryxon.Opt[float64]{}
		}
		for i := range 30 {
			ops = append(ops, eryxon.Operation{ExternalID: fmt.Sprint("N", i), OperationName: "Bend", PartExternalID: "P1", CellName: "C1"})
		}
		stranger, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
		require.NoError(t, err)
		res, err := stranger.Operations.BulkSync(t.Context(), ops)
		require.NoError(t, err)
		assert.Equal(t, len(ops), res.Counts.Succeeded())
		for _, op := range ops {
			row, there := srv.Row(eryxontest.Operations, "SAP", op.ExternalID)
			require.True(t, there)
			want := []any{99.0, 33.0}
			if op.OperationName == "Bend" {
				want = []any{1.0, 0.0}
			}
			require.Equal(t, want, []any{row["sequence"], row["estimated_time"]}, op.ExternalID)
		}
	})
	t.Run("singly", func(t *testing.T) {
		for _, release := range []eryxontest.Release{eryxontest.V08, eryxontest.V011} {
			srv, client := releaseClient(t, release)
			_, err := client.Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "Cutting"})
			require.NoError(t, err)
			_, err = client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
			require.NoError(t, err)
			_, err = client.Parts.Sync(t.Context(), eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "J"})
			require.NoError(t, err)
			res, err := client.Operations.Sync(t.Context(), eryxon.Operation{ExternalID: "O", OperationName: "Cut", PartExternalID: "P", CellName: "Cutting"})
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusCreated, res.Status)
			assert.Len(t, srv.Rows(eryxontest.Operations), 1)
		}
	})
}

// A field that the caller gives by its own name is given.
func TestWhatExtraGivesIsNotFilled(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V08, eryxontest.V011} {
		srv, client := releaseClient(t, release)
		_, err := client.SyncAll(t.Context(), eryxon.Dataset{
			Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
			Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
			Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}}),
		})
		require.NoError(t, err)
		ops := make([]eryxon.Operation, 10)
		for i := range ops {
			ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting", Extra: map[string]any{"estimated_time": 30}}
		}
		_, err = client.Operations.BulkSync(t.Context(), ops[1:])
		require.NoError(t, err)
		_, err = client.Operations.Sync(t.Context(), ops[0])
		require.NoError(t, err)
		for _, row := range srv.Rows(eryxontest.Operations) {
			require.Equal(t, []any{1.0, 30.0}, []any{row["sequence"], row["estimated_time"]})
		}
	}
}

// What only a new row is to get it gets, also where the server has lost the row
// that the state knows of.
func TestWhatANewRowGetsIsTheRecords(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	state := syncstate.NewMemory()
	op := func(i int, notes string) eryxon.Operation {
		return eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting",
			Sequence: eryxon.Some(5), EstimatedTimeMinutes: eryxon.Some(30.0), Notes: eryxon.Some(notes)}
	}
	sync := func(client *eryxon.Client, notes string) error {
		_, err := client.SyncAll(t.Context(), eryxon.Dataset{
			Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
			Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J", Notes: eryxon.Some(notes)}}),
			Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Notes: eryxon.Some(notes)}}),
			Operations: eryxon.FromSlice([]eryxon.Operation{op(0, notes), op(1, notes), op(2, notes), op(3, notes)}),
		}, eryxon.WithState(state), eryxon.WithCreateOnly("operations.sequence", "operations.estimated_time_minutes"), eryxon.WithFull())
		return err
	}
	require.NoError(t, sync(client, "a"))
	srv.Reset()
	stranger, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"))
	require.NoError(t, err)
	require.NoError(t, sync(stranger, "b"))
	require.Len(t, srv.Rows(eryxontest.Operations), 4)
	for _, row := range srv.Rows(eryxontest.Operations) {
		require.Equal(t, []any{5.0, 30.0}, []any{row["sequence"], row["estimated_time"]})
	}
}

// An operation that moves to a new part loses what its record leaves out. Where the
// answer was lost it can't be told from one that is new, so that neither is called a
// success.
func TestALostAnswerMakesNewOperationsUnknown(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	srv.Script("/api-operations/bulk-sync", eryxontest.LoseAnswer())
	ops := make([]eryxon.Operation, 10)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting"}
	}
	report, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
		Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}}),
		Operations: eryxon.FromSlice(ops),
	})
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	assert.Equal(t, 10, report.Operations.Counts.Unknown)
}

// A complaint about some other column says nothing of the row.
func TestOnlyItsOwnGapProvesARecordNew(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	data := eryxon.Dataset{
		Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
		Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}}),
		Operations: eryxon.FromSlice([]eryxon.Operation{{ExternalID: "O", OperationName: "Cut", PartExternalID: "P", CellName: "Cutting", Sequence: eryxon.Some(99)}}),
	}
	_, err := client.SyncAll(t.Context(), data)
	require.NoError(t, err)
	srv.Script("/api-operations/sync", eryxontest.StatusJSON(500, "INTERNAL_ERROR", `null value in column "actor" of relation "audit_log" violates not-null constraint`))
	_, err = client.Operations.Sync(t.Context(), eryxon.Operation{ExternalID: "O", OperationName: "Cut", PartExternalID: "P", CellName: "Cutting"})
	require.Error(t, err)
	row, _ := srv.Row(eryxontest.Operations, "SAP", "O")
	assert.EqualValues(t, 99, row["sequence"])
}

// New records that lack a field and stand among old ones arrive in the end.
func TestScatteredNewRecordsArriveInTheEnd(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	ops := make([]eryxon.Operation, 600)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting"}
	}
	_, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
		Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}}),
	})
	require.NoError(t, err)
	state := syncstate.NewMemory()
	for i, op := range ops {
		if i%60 == 7 {
			continue
		}
		op.Sequence, op.EstimatedTimeMinutes = eryxon.Some(9), eryxon.Some(9.0)
		ops[i] = op
	}
	old := slices.DeleteFunc(slices.Clone(ops), func(o eryxon.Operation) bool { return !o.Sequence.IsSet() })
	_, err = client.Operations.BulkSync(t.Context(), old)
	require.NoError(t, err)
	for i := range ops {
		ops[i].Sequence, ops[i].EstimatedTimeMinutes = eryxon.Opt[int]{}, eryxon.Opt[float64]{}
	}
	missing := 10
	for night := 0; missing > 0; night++ {
		require.Less(t, night, 10, "every run finds some")
		for i := range ops {
			ops[i].Notes = eryxon.Some(fmt.Sprint("night ", night))
		}
		_, _ = client.Operations.BulkSync(t.Context(), ops, eryxon.WithState(state)) // unknown ones until the last
		now := 600 - len(srv.Rows(eryxontest.Operations))
		require.Less(t, now, missing)
		missing = now
	}
	for i := range ops {
		row, _ := srv.Row(eryxontest.Operations, "SAP", fmt.Sprint("O", i))
		want := 9.0
		if i%60 == 7 {
			want = 1.0
		}
		require.Equal(t, want, row["sequence"])
	}
}

// New cells take the last places on the board, each its own, also beside cells that
// are there.
func TestNewCellsTakeThePlacesAfterTheOthers(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithMaxRequestRecords(30))
	cells := make([]eryxon.Cell, 90)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("Cell ", i)}
	}
	var old []eryxon.Cell
	for i := 0; i < len(cells); i += 2 {
		c := cells[i]
		c.Sequence = eryxon.Some(100 + i)
		old = append(old, c)
	}
	_, err := client.Cells.BulkSync(t.Context(), old)
	require.NoError(t, err)
	report, err := client.SyncAll(t.Context(), eryxon.Dataset{Cells: eryxon.FromSlice(cells)})
	require.NoError(t, err)
	assert.Equal(t, 90, report.Cells.Counts.Succeeded())
	places := map[any]bool{}
	for _, row := range srv.Rows(eryxontest.Cells) {
		places[row["sequence"]] = true
		i, _ := strconv.Atoi(strings.TrimPrefix(row["external_id"].(string), "C"))
		if i%2 == 0 {
			require.Equal(t, 100.0+float64(i), row["sequence"])
		} else {
			require.Greater(t, row["sequence"], 188.0)
		}
	}
	assert.Len(t, places, 90)
}

// A server that can store no operation is found out by one, whatever their columns.
func TestColumnsOfTheirOwnDoNotHideAMissingOne(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08AsMigrated, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 1})
	_, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}}),
	})
	require.NoError(t, err)
	before := len(srv.Requests())
	ops := make([]eryxon.Operation, 60)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting",
			Extra: map[string]any{"metadata": map[string]any{"line": i}}}
	}
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Equal(t, 60, res.Counts.Failed)
	assert.LessOrEqual(t, len(srv.Requests())-before, 2, "the cells, and one operation")
}

// A state tells which records are new, so that they need not be searched for.
func TestAStateTellsNewRecordsFromOthers(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	ops := make([]eryxon.Operation, 600)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting"}
	}
	data := func(ops []eryxon.Operation) eryxon.Dataset {
		return eryxon.Dataset{
			Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
			Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
			Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}}),
			Operations: eryxon.FromSlice(ops),
		}
	}
	state := syncstate.NewMemory()
	_, err := client.SyncAll(t.Context(), data(slices.DeleteFunc(slices.Clone(ops), func(o eryxon.Operation) bool { return strings.HasSuffix(o.ExternalID, "7") })), eryxon.WithState(state))
	require.NoError(t, err)
	for i := range ops {
		ops[i].Notes = eryxon.Some("night")
	}
	before := len(srv.Requests())
	report, err := client.SyncAll(t.Context(), data(ops), eryxon.WithState(state))
	require.NoError(t, err)
	assert.Equal(t, 600, report.Operations.Counts.Succeeded())
	assert.Len(t, srv.Rows(eryxontest.Operations), 600)
	assert.LessOrEqual(t, len(srv.Requests())-before, 8)
}

// What a part that the run has made lacks is looked for among its operations first.
func TestOperationsOfNewPartsAreFoundTogether(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	data := func(every int) eryxon.Dataset {
		var parts []eryxon.Part
		var ops []eryxon.Operation
		for i := range 600 {
			if i < 60 && i%every == 0 {
				parts = append(parts, eryxon.Part{ExternalID: fmt.Sprint("P", i), PartNumber: fmt.Sprint("P", i), JobExternalID: "J"})
			}
			if i%60%every == 0 {
				ops = append(ops, eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: fmt.Sprint("P", i%60), CellName: "Cutting"})
			}
		}
		return eryxon.Dataset{
			Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting"}}),
			Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
			Parts: eryxon.FromSlice(parts), Operations: eryxon.FromSlice(ops),
		}
	}
	_, err := client.SyncAll(t.Context(), data(3))
	require.NoError(t, err)
	before := len(srv.Requests())
	report, err := client.SyncAll(t.Context(), data(1))
	require.NoError(t, err)
	assert.Equal(t, 600, report.Operations.Counts.Succeeded())
	assert.Len(t, srv.Rows(eryxontest.Operations), 600)
	assert.LessOrEqual(t, len(srv.Requests())-before, 12)
}

// A part is no operation of the part that has its job's external id.
func TestAJobOfAPartsNameIsNoPart(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithMaxRequestRecords(1))
	steel := eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "A", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(7)}
	jobs := eryxon.FromSlice([]eryxon.Job{{ExternalID: "A", JobNumber: "A"}})
	_, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: jobs, Parts: eryxon.FromSlice([]eryxon.Part{steel})})
	require.NoError(t, err)
	of := eryxon.Part{ExternalID: "A", PartNumber: "A", JobExternalID: "A", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}
	bare := eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "A"}
	_, err = client.SyncAll(t.Context(), eryxon.Dataset{Jobs: jobs, Parts: eryxon.FromSlice([]eryxon.Part{bare, of})}, eryxon.WithConcurrency(1))
	require.ErrorContains(t, err, "material is left out")
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, []any{"Steel", 7.0}, []any{row["material"], row["quantity"]})
}
