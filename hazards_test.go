package eryxon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// afterAnswer runs f after the n-th answer of a path, before the client sees it.
func afterAnswer(path string, n int, f func()) eryxon.Option {
	return eryxon.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if strings.HasSuffix(r.URL.Path, path) {
				if n--; n == 0 {
					f()
				}
			}
			return resp, err
		})
	})
}

func shopFloor(parts ...string) eryxon.Dataset {
	var list []eryxon.Part
	for _, p := range parts {
		list = append(list, eryxon.Part{ExternalID: p, PartNumber: p, JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(2)})
	}
	return eryxon.Dataset{
		Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#111111"), Active: eryxon.Some(true), Sequence: eryxon.Some(1)}}),
		Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts: eryxon.FromSlice(list),
	}
}

func cuts(part string, n int, vary func(*eryxon.Operation)) []eryxon.Operation {
	ops := make([]eryxon.Operation, n)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: part, CellName: "Cutting"}
		if vary != nil {
			vary(&ops[i])
		}
	}
	return ops
}

func whole(o *eryxon.Operation) {
	o.Sequence, o.EstimatedTimeMinutes = eryxon.Some(50), eryxon.Some(30.0)
}

func heldJobs(n int, status eryxon.Opt[eryxon.WorkStatus]) []eryxon.Job {
	jobs := make([]eryxon.Job, n)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprint("J", i), JobNumber: fmt.Sprint("J", i), Status: status}
	}
	return jobs
}

// A status that the bulk passed over is no success, whatever became of the question
// whether it does.
func TestAStatusPassedOverIsNoSuccess(t *testing.T) {
	for _, name := range []string{"connection", "context"} {
		t.Run(name, func(t *testing.T) {
			for range 12 { // the select in fills is a coin toss
				srv, setup := releaseClient(t, eryxontest.V01)
				_, err := setup.Jobs.BulkSync(t.Context(), heldJobs(5, eryxon.Opt[eryxon.WorkStatus]{}))
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				client := another(t, srv)
				if name == "connection" {
					srv.Script("/api-cells", eryxontest.CloseBefore(), eryxontest.CloseBefore())
				} else {
					client = another(t, srv, afterAnswer("/api-jobs/bulk-sync", 1, cancel))
				}
				res, _ := client.Jobs.BulkSync(ctx, heldJobs(5, eryxon.Some(eryxon.WorkOnHold)))
				for _, o := range res.Outcomes {
					row, _ := srv.Row(eryxontest.Jobs, "SAP", o.Key.ExternalID)
					require.False(t, o.Status.Success() && row["status"] != "on_hold", "%s is %s, its row %s", o.Key, o.Status, row["status"])
				}
			}
		})
	}
}

// Where the server can't be asked whether it overwrites, nothing is sent that it would.
func TestAQuestionWithoutAnswerOverwritesNothing(t *testing.T) {
	part := eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}
	for name, fault := range map[string]eryxontest.Fault{"503": eryxontest.Status(503), "connection": eryxontest.CloseBefore()} {
		for _, single := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " single=", single), func(t *testing.T) {
				srv, setup := releaseClient(t, eryxontest.V01)
				_, err := setup.SyncAll(t.Context(), shopFloor("P"))
				require.NoError(t, err)
				client := another(t, srv)
				srv.Script("/api-cells", fault, fault)
				if single {
					_, err = client.Parts.Sync(t.Context(), part)
				} else {
					_, err = client.Parts.BulkSync(t.Context(), []eryxon.Part{part})
				}
				row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
				assert.Equal(t, []any{"Steel", 2.0}, []any{row["material"], row["quantity"]}, "%v", err)
			})
		}
	}
}

// Neither is an operation that moves to a new part, with a lost answer, or to one
// whose id holds a quotation mark.
func TestAMovedOperationIsNoSuccessWhereItWasOverwritten(t *testing.T) {
	for part, lost := range map[string]bool{"P2": true, `P2 1/2"`: false} {
		srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
		d := shopFloor("P1")
		d.Operations = eryxon.FromSlice(cuts("P1", 1, whole))
		_, err := client.SyncAll(t.Context(), d)
		require.NoError(t, err)
		if lost {
			srv.Script("/api-operations/bulk-sync", eryxontest.LoseAnswer())
		}
		d = shopFloor(part)
		d.Operations = eryxon.FromSlice(cuts(part, 1, nil))
		report, err := client.SyncAll(t.Context(), d)
		row, _ := srv.Row(eryxontest.Operations, "SAP", "O0")
		assert.False(t, report.Operations.Counts.Succeeded() == 1 && row["sequence"] != 50.0, "%s: %v %v, sequence %v", part, report.Operations.Counts, err, row["sequence"])
	}
}

// Another process makes the rows once they were found to be new.
func TestNewOnesThatAreThereAfterAllAreNoSuccess(t *testing.T) {
	for _, path := range []string{"/api-operations/sync", "/api-operations/bulk-sync"} {
		srv, setup := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
		_, err := setup.SyncAll(t.Context(), shopFloor("P"))
		require.NoError(t, err)
		client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), afterAnswer(path, 1, func() {
			_, err := setup.Operations.BulkSync(context.Background(), cuts("P", 5, whole))
			require.NoError(t, err)
		}))
		res, _ := client.Operations.BulkSync(t.Context(), cuts("P", 5, nil))
		for _, o := range res.Outcomes {
			row, _ := srv.Row(eryxontest.Operations, "SAP", o.Key.ExternalID)
			assert.False(t, o.Status.Success() && row["sequence"] != 50.0, "%s %s: %s, sequence %v", path, o.Key, o.Status, row["sequence"])
		}
	}
	// The same on a server that fills, where the refusal says that the row is there.
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	t.Cleanup(srv.Close)
	srv.FailRecord(eryxontest.Parts, "P", `duplicate key value violates unique constraint "idx_parts_external_sync"`)
	client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01), afterAnswer("/api-parts/bulk-sync", 1, func() {
		srv.FailRecord(eryxontest.Parts, "P", "")
		_, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01)).SyncAll(context.Background(), shopFloor("P"))
		require.NoError(t, err)
	}))
	_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
	require.NoError(t, err)
	res, _ := client.Parts.BulkSync(t.Context(), []eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}})
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.False(t, res.Outcomes[0].Status.Success() && row["material"] != "Steel", "%s, material %v", res.Outcomes[0].Status, row["material"])
}

// Behind a gateway that takes very short URLs rows look new. What is overwritten then
// is at least not called a success.
func TestAShortGatewayMakesNoSuccess(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	parts := make([]eryxon.Part, 60)
	for i := range parts {
		id := fmt.Sprintf("P%s%03d", strings.Repeat("x", 60), i)
		parts[i] = eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(7)}
	}
	d := shopFloor()
	d.Parts = eryxon.FromSlice(parts)
	_, err := setup.SyncAll(t.Context(), d)
	require.NoError(t, err)
	srv.RefuseLongLookUps(4000)
	for i := range parts {
		parts[i].Material, parts[i].Quantity, parts[i].Status = eryxon.Opt[string]{}, eryxon.Opt[int]{}, eryxon.Some(eryxon.WorkCompleted)
	}
	res, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08)).Parts.BulkSync(t.Context(), parts)
	require.Error(t, err)
	for _, o := range res.Outcomes {
		row, _ := srv.Row(eryxontest.Parts, "SAP", o.Key.ExternalID)
		assert.False(t, o.Status.Success() && row["material"] != "Steel", "%s is %s", o.Key, o.Status)
	}
}

// Of rows that the client has synced itself it is known that they are there.
func TestKnownRowsAreNotAskedAbout(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	ctx := t.Context()
	_, err := client.SyncAll(ctx, shopFloor("P1", "P2"))
	require.NoError(t, err)
	whole := eryxon.Part{ExternalID: "P3", PartNumber: "P3", JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(2)}
	_, err = client.Parts.Sync(ctx, whole)
	require.NoError(t, err)
	part := func(id string) eryxon.Part { return eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: "J"} }

	before := len(srv.Requests())
	res, err := client.Parts.BulkSync(ctx, []eryxon.Part{part("P1"), part("P2"), part("P3")})
	require.ErrorIs(t, err, eryxon.ErrValidation)
	assert.Equal(t, 3, res.Counts.Failed)
	_, err = client.Parts.Sync(ctx, part("P1"))
	require.ErrorIs(t, err, eryxon.ErrValidation)
	assert.Len(t, srv.Requests(), before, "what would be overwritten is refused without a request")

	res, err = client.Parts.BulkSync(ctx, []eryxon.Part{part("P1"), part("P4")})
	require.Error(t, err)
	assert.Equal(t, eryxon.StatusCreated, res.Outcomes[1].Status, "a new one is asked about")
	assert.Len(t, srv.Requests(), before+3, "and its job, which may have been deleted")
}

// Once the server has said that a row was deleted it is not taken for one that an
// update would overwrite.
func TestADeletedRowIsNotCalledOverwritten(t *testing.T) {
	for _, single := range []bool{true, false} {
		srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
		sync := func(p eryxon.Part) error {
			if single {
				_, err := client.Parts.Sync(t.Context(), p)
				return err
			}
			_, err := client.Parts.BulkSync(t.Context(), []eryxon.Part{p})
			return err
		}
		_, err := client.SyncAll(t.Context(), shopFloor())
		require.NoError(t, err)
		whole := eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(2)}
		require.NoError(t, sync(whole))
		require.True(t, srv.Delete(eryxontest.Parts, "SAP", "P"))
		require.ErrorIs(t, sync(whole), eryxon.ErrDeletedOnServer)
		require.ErrorIs(t, sync(eryxon.Part{ExternalID: "P", PartNumber: "P", JobExternalID: "J"}), eryxon.ErrDeletedOnServer)
	}
}

// Also the very first sync of a client that knows nothing of its server overwrites
// nothing that the record leaves out, and makes rows that do.
func TestAFirstSingleSyncOverwritesNothing(t *testing.T) {
	full := eryxon.Dataset{
		Cells:     eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "C", Color: eryxon.Some("#111111"), Active: eryxon.Some(false), Sequence: eryxon.Some(7)}}),
		Resources: eryxon.FromSlice([]eryxon.Resource{{ExternalID: "R", Name: "R", Type: eryxon.ResourceEquipment, Status: eryxon.Some(eryxon.ResourceMaintenance), Active: eryxon.Some(false)}}),
		Jobs:      eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J", Customer: eryxon.Some("Acme"), DueDate: eryxon.Some(eryxon.NewDate(2026, 12, 24))}}),
		Parts:     eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(25)}}),
		Operations: eryxon.FromSlice([]eryxon.Operation{{
			ExternalID: "O", OperationName: "Cut", PartExternalID: "P", CellName: "C", Sequence: eryxon.Some(20), EstimatedTimeMinutes: eryxon.Some(30.0),
		}}),
	}
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		for entity, sync := range map[eryxontest.Entity]func(ctx context.Context, c *eryxon.Client, id string) (eryxon.Outcome, error){
			eryxontest.Cells: func(ctx context.Context, c *eryxon.Client, id string) (eryxon.Outcome, error) {
				res, err := c.Cells.Sync(ctx, eryxon.Cell{ExternalID: id, Name: id})
				return res.Outcome, err
			},
			eryxontest.Resources: func(ctx context.Context, c *eryxon.Client, id string) (eryxon.Outcome, error) {
				res, err := c.Resources.Sync(ctx, eryxon.Resource{ExternalID: id, Name: id, Type: eryxon.ResourceEquipment})
				return res.Outcome, err
			},
			eryxontest.Jobs: func(ctx context.Context, c *eryxon.Client, id string) (eryxon.Outcome, error) {
				res, err := c.Jobs.Sync(ctx, eryxon.Job{ExternalID: id, JobNumber: id})
				return res.Outcome, err
			},
			eryxontest.Parts: func(ctx context.Context, c *eryxon.Client, id string) (eryxon.Outcome, error) {
				res, err := c.Parts.Sync(ctx, eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: "J"})
				return res.Outcome, err
			},
			eryxontest.Operations: func(ctx context.Context, c *eryxon.Client, id string) (eryxon.Outcome, error) {
				res, err := c.Operations.Sync(ctx, eryxon.Operation{ExternalID: id, OperationName: "Cut", PartExternalID: "P", CellName: "C"})
				return res.Outcome, err
			},
		} {
			t.Run(string(release)+"/"+string(entity), func(t *testing.T) {
				srv, client := releaseClient(t, release)
				_, err := client.SyncAll(t.Context(), full)
				require.NoError(t, err)
				before := srv.Rows(entity)[0]
				id := before["external_id"].(string)
				o, err := sync(t.Context(), another(t, srv), id)
				after := srv.Rows(entity)[0]
				for _, row := range []eryxontest.Row{before, after} {
					delete(row, "updated_at")
					delete(row, "synced_at")
					delete(row, "sync_hash")
				}
				assert.Equal(t, before, after)
				if release != eryxontest.V01 || entity == eryxontest.Jobs {
					require.NoError(t, err)
					assert.Equal(t, eryxon.StatusUpdated, o.Status)
				} else {
					require.ErrorIs(t, err, eryxon.ErrValidation)
					assert.Equal(t, eryxon.StatusFailed, o.Status)
				}
				if entity == eryxontest.Operations && release == eryxontest.V01 {
					return // which does not tell whether one is new
				}
				o, err = sync(t.Context(), another(t, srv), "new")
				require.NoError(t, err)
				assert.Equal(t, eryxon.StatusCreated, o.Status)
			})
		}
	}
}

// An update that is refused here, because the server would overwrite what it leaves
// out, keeps no children back: its row is there.
func TestAnUpdateRefusedHereKeepsNoChildrenBack(t *testing.T) {
	inputs := map[string]func([]eryxon.Operation) eryxon.Input[eryxon.Operation]{
		"slices": eryxon.FromSlice[eryxon.Operation],
		"sequences": func(ops []eryxon.Operation) eryxon.Input[eryxon.Operation] {
			return eryxon.FromSeq(func(yield func(eryxon.Operation, error) bool) {
				for _, o := range ops {
					if !yield(o, nil) {
						return
					}
				}
			})
		},
	}
	for name, input := range inputs {
		for _, same := range []bool{true, false} {
			t.Run(fmt.Sprint(name, "/same client ", same), func(t *testing.T) {
				srv, client := releaseClient(t, eryxontest.V01)
				_, err := client.SyncAll(t.Context(), shopFloor("P"))
				require.NoError(t, err)
				if !same {
					client = another(t, srv)
				}
				data := eryxon.Dataset{
					Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Quantity: eryxon.Some(5)}}),
					Operations: input(cuts("P", 3, whole)),
				}
				report, err := client.SyncAll(t.Context(), data, eryxon.WithStrictParents())
				require.ErrorIs(t, err, eryxon.ErrValidation)
				assert.Equal(t, 3, report.Operations.Counts.ParentFailed, report)

				before := len(srv.Requests())
				report, err = client.SyncAll(t.Context(), data)
				require.ErrorIs(t, err, eryxon.ErrValidation)
				if name == "slices" {
					assert.Equal(t, 1, asked(srv.Requests()[before:]), "what has told that the part is there links its operations, too")
				}
				assert.Equal(t, 1, report.Parts.Counts.Failed, report)
				assert.Equal(t, 3, report.Operations.Counts.Created, report)
				cell, _ := srv.Row(eryxontest.Cells, "SAP", "C")
				part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
				op, _ := srv.Row(eryxontest.Operations, "SAP", "O0")
				assert.Equal(t, []any{2.0, cell["id"], part["id"]}, []any{part["quantity"], op["cell_id"], op["part_id"]})
			})
		}
	}
}

// What belongs to a job whose new number another row has is linked to the job that is
// there; nothing is to one that was deleted, whose number is taken by itself.
func TestATakenNumberKeepsNoChildrenBack(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V08, eryxontest.V011} {
		for _, carried := range []bool{false, true} {
			t.Run(fmt.Sprint(release, carried), func(t *testing.T) {
				srv, client := releaseClient(t, release)
				srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
				jobs := append(heldJobs(5, eryxon.Opt[eryxon.WorkStatus]{}), eryxon.Job{ExternalID: "J", JobNumber: "J"})
				_, err := client.Jobs.BulkSync(t.Context(), jobs)
				require.NoError(t, err)
				require.True(t, srv.Delete(eryxontest.Jobs, "SAP", "J0"))
				jobs[5].JobNumber = "TAKEN"
				own, others := steel("P", "J"), steel("P0", "J0")
				data := eryxon.Dataset{Parts: eryxon.FromSlice([]eryxon.Part{own, others})}
				opts := []eryxon.SyncAllOption{}
				if carried {
					jobs[0].Parts, jobs[5].Parts = []eryxon.Part{others}, []eryxon.Part{own}
					data.Parts = eryxon.Input[eryxon.Part]{}
					opts = append(opts, eryxon.WithNested())
				}
				data.Jobs = eryxon.FromSlice(jobs)
				_, err = client.SyncAll(t.Context(), data, opts...)
				require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
				job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
				part, there := srv.Row(eryxontest.Parts, "SAP", "P")
				require.True(t, there)
				assert.Equal(t, []any{"J", job["id"]}, []any{job["job_number"], part["job_id"]})
				assert.Len(t, srv.Rows(eryxontest.Parts), 1)
			})
		}
	}
}

// asked counts the questions about rows.
func asked(requests []eryxontest.Request) (n int) {
	for _, r := range requests {
		if strings.HasSuffix(r.Path, "/api-erp-sync/diff") {
			n++
		}
	}
	return n
}

// Whether a row is there is asked once, and only where records that wait for it would
// be sent.
func TestParentsAreAskedAfterForTheirChildrenAlone(t *testing.T) {
	bare := steel("P", "J")
	bare.Material = eryxon.Opt[string]{}
	for name, c := range map[string]struct {
		part   eryxon.Part
		opt    eryxon.SyncAllOption
		want   eryxon.Counts // of the parts
		asked  int
		failed error
	}{
		"a child":               {bare, eryxon.WithConcurrency(1), eryxon.Counts{Created: 1}, 2, eryxon.ErrNaturalKeyTaken}, // also whether the part is new
		"a deleted job's child": {steel("P", "J0"), eryxon.WithConcurrency(1), eryxon.Counts{ParentFailed: 1}, 0, eryxon.ErrDeletedOnServer},
		"another's child":       {steel("P", "J1"), eryxon.WithRequestBudget(2), eryxon.Counts{Created: 1}, 0, eryxon.ErrNaturalKeyTaken},
		"strict parents":        {bare, eryxon.WithStrictParents(), eryxon.Counts{ParentFailed: 1}, 0, eryxon.ErrNaturalKeyTaken},
		"checks are not wanted": {bare, eryxon.WithoutChecks(), eryxon.Counts{ParentFailed: 1}, 0, eryxon.ErrBadAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			srv, client := releaseClient(t, eryxontest.V08)
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
			jobs := append(heldJobs(5, eryxon.Opt[eryxon.WorkStatus]{}), eryxon.Job{ExternalID: "J", JobNumber: "J"})
			_, err := client.Jobs.BulkSync(t.Context(), jobs)
			require.NoError(t, err)
			if errors.Is(c.failed, eryxon.ErrDeletedOnServer) {
				require.True(t, srv.Delete(eryxontest.Jobs, "SAP", "J0"))
			} else {
				jobs[5].JobNumber = "TAKEN"
			}
			before := len(srv.Requests())
			report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice([]eryxon.Part{c.part})}, c.opt)
			require.ErrorIs(t, err, c.failed)
			assert.Equal(t, c.want, report.Parts.Counts, report)
			assert.Equal(t, c.asked, asked(srv.Requests()[before:]))
		})
	}
}

// The last of a key in a sequence decides over its children.
func TestALaterRecordOfTheKeyFreesItsChildren(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
	require.NoError(t, err)
	srv.Script("/api-erp-sync/diff", eryxontest.StatusJSON(500, "INTERNAL_ERROR", "no"))
	report, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Jobs: eryxon.FromSeq(func(yield func(eryxon.Job, error) bool) {
			for range 2 {
				if !yield(eryxon.Job{ExternalID: "J", JobNumber: "TAKEN"}, nil) {
					return
				}
			}
		}),
		Parts: eryxon.FromSlice([]eryxon.Part{steel("P", "J")}),
	}, eryxon.WithMaxRequestRecords(1), eryxon.WithConcurrency(1))
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	assert.Equal(t, eryxon.Counts{Failed: 2}, report.Jobs.Counts)
	assert.Equal(t, eryxon.Counts{Created: 1}, report.Parts.Counts)
}

// A single sync that was turned away asks nothing more.
func TestASingleSyncThatWasTurnedAwayAsksNothing(t *testing.T) {
	for _, status := range []int{401, 402, 503} {
		srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
		_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
		require.NoError(t, err)
		fault := eryxontest.StatusJSON(status, "X", "no")
		srv.Script("/api-jobs/sync", fault, fault)
		_, err = client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{steel("P", "")}})
		require.Error(t, err)
		assert.Zero(t, asked(srv.Requests()), status)
		assert.Empty(t, srv.Rows(eryxontest.Parts))
	}
}

func TestNestedRecordsAreLinkedToTheRowThatIsThere(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		for way := range ways(nil) {
			srv, client := releaseClient(t, release)
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
			_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
			require.NoError(t, err)
			o, _ := ways(client)[way](t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "TAKEN", Parts: []eryxon.Part{steel("P", "")}})
			require.ErrorIs(t, o.Err, eryxon.ErrNaturalKeyTaken)
			assert.Equal(t, []eryxon.Status{eryxon.StatusFailed, eryxon.StatusCreated}, []eryxon.Status{o.Status, o.Nested[0].Status}, "%s %s", release, way)
			job, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
			part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
			assert.Equal(t, []any{"J", job["id"]}, []any{job["job_number"], part["job_id"]})
		}
	}
}

// The same of a part in a dataset, whether or not the server was known before.
func TestChildrenOfARefusedUpdateArrive(t *testing.T) {
	for _, release := range []eryxon.Release{eryxon.ReleaseUnknown, eryxon.ReleaseV01} {
		srv, setup := releaseClient(t, eryxontest.V01)
		_, err := setup.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "A", JobNumber: "RA"}, {ExternalID: "B", JobNumber: "RB"}})
		require.NoError(t, err)
		data := eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "B", JobNumber: "RA"}}), Parts: eryxon.FromSlice([]eryxon.Part{steel("P", "B")})}
		report, err := another(t, srv, eryxon.WithRelease(release)).SyncAll(t.Context(), data, eryxon.WithStrictParents())
		require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
		assert.Equal(t, eryxon.Counts{ParentFailed: 1}, report.Parts.Counts)
		report, err = another(t, srv, eryxon.WithRelease(release)).SyncAll(t.Context(), data)
		require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
		assert.Equal(t, eryxon.Counts{Created: 1}, report.Parts.Counts, release)
		job, _ := srv.Row(eryxontest.Jobs, "SAP", "B")
		part, _ := srv.Row(eryxontest.Parts, "SAP", "P")
		assert.Equal(t, job["id"], part["job_id"])
	}
}

// A row that is there has its children, though it can't be told whether its update
// has arrived.
func TestChildrenOfUnknownUpdatesArrive(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08AsMigrated)
	jobs := heldJobs(40, eryxon.Opt[eryxon.WorkStatus]{})
	_, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.NoError(t, err)
	parts := make([]eryxon.Part, len(jobs))
	for i := range jobs {
		jobs[i].Notes = eryxon.Null[string]()
		parts[i] = steel(fmt.Sprint("P", i), jobs[i].ExternalID)
	}
	no := eryxontest.StatusJSON(500, "INTERNAL_ERROR", "no list today")
	srv.Script("/api-jobs", no, no, no, no)
	report, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts)})
	require.ErrorIs(t, err, eryxon.ErrBadAnswer)
	assert.NotZero(t, report.Jobs.Counts.Unknown, report)
	assert.Equal(t, 40, report.Parts.Counts.Created, report)
}

// What another call has learned of the server while one was asking is made use of.
func TestWhatAnotherCallLearnsIsNotAskedAgain(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08)
	cells := make([]eryxon.Cell, 4)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("Cell ", i)}
	}
	_, err := setup.Cells.BulkSync(t.Context(), cells)
	require.NoError(t, err)
	var client *eryxon.Client
	client = another(t, srv, afterAnswer("/api-cells", 1, func() {
		_, err := client.Jobs.BulkSync(t.Context(), heldJobs(3, eryxon.Opt[eryxon.WorkStatus]{}))
		require.NoError(t, err)
	}))
	before := len(srv.Requests())
	res, err := client.Cells.BulkSync(t.Context(), cells)
	require.NoError(t, err)
	assert.Equal(t, eryxon.Counts{Updated: 4}, res.Counts)
	for _, r := range srv.Requests()[before:] {
		assert.NotEqual(t, "/functions/v1/api-cells/bulk-sync", r.Path, "four cells are synced one by one there")
	}
}

// Children of rows that are gone are kept back or refused.
func TestChildrenOfRowsThatAreGoneDoNotArrive(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	_, err := client.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	require.True(t, srv.Delete(eryxontest.Parts, "SAP", "P"))
	report, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Quantity: eryxon.Some(5)}}),
		Operations: eryxon.FromSlice(cuts("P", 3, whole)),
	})
	require.Error(t, err)
	assert.Equal(t, 1, report.Parts.Counts.Failed, report)
	assert.Equal(t, 3, report.Operations.Counts.Failed+report.Operations.Counts.ParentFailed, report)
	assert.Empty(t, srv.Rows(eryxontest.Operations))

	// Of a server that lists deleted cells, and lets operations be linked to them.
	srv, client = releaseClient(t, eryxontest.V08)
	_, err = client.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	require.True(t, srv.Delete(eryxontest.Cells, "SAP", "C"))
	data := shopFloor("P")
	data.Operations = eryxon.FromSlice(cuts("P", 3, whole))
	report, err = client.SyncAll(t.Context(), data)
	require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
	assert.Equal(t, 3, report.Operations.Counts.ParentFailed, report)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
}

// New records that give what matters for updates only arrive, also where the request
// that made them has to be made again, and what is not known has a reason.
func TestNewRecordsWithUpdatesHazardsArrive(t *testing.T) {
	for name, r := range map[string]eryxon.Resource{
		"null and no active":  {Location: eryxon.Null[string](), Status: eryxon.Some(eryxon.ResourceMaintenance)},
		"empty and no active": {Location: eryxon.Some(""), Status: eryxon.Some(eryxon.ResourceMaintenance)},
		"nothing":             {},
	} {
		for _, gateway := range []bool{false, true} {
			t.Run(fmt.Sprint(name, gateway), func(t *testing.T) {
				srv, client := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
				if gateway {
					srv.Script("/api-resources/bulk-sync", eryxontest.Status(504).After())
				}
				list := []eryxon.Resource{r, r}
				for i := range list {
					list[i].ExternalID, list[i].Name, list[i].Type = fmt.Sprint("R", i), fmt.Sprint("Mill ", i), eryxon.ResourceEquipment
				}
				res, err := client.Resources.BulkSync(t.Context(), list)
				assert.Len(t, srv.Rows(eryxontest.Resources), 2)
				if !gateway {
					require.NoError(t, err)
					assert.Equal(t, eryxon.Counts{Created: 2}, res.Counts)
					return
				}
				for _, o := range res.Outcomes {
					assert.Contains(t, []eryxon.Status{eryxon.StatusSynced, eryxon.StatusUnknown}, o.Status)
					assert.Equal(t, o.Status.Success(), o.Err == nil, "%s", o.Status)
				}
			})
		}
	}
}

// What a new row can't hold is no success, either.
func TestANewRowGetsNoDefaultForANull(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	report, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Cells: eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#111111"), Active: eryxon.Some(true), Sequence: eryxon.Null[int]()}}),
		Jobs:  eryxon.FromSlice(append(heldJobs(3, eryxon.Null[eryxon.WorkStatus]()), eryxon.Job{ExternalID: "J", JobNumber: "J"})),
	})
	var invalid *eryxon.ValidationError
	require.ErrorAs(t, err, &invalid)
	assert.Equal(t, eryxon.Counts{Failed: 1}, report.Cells.Counts)
	assert.Equal(t, eryxon.Counts{Failed: 3, Created: 1}, report.Jobs.Counts)
	assert.Len(t, srv.Rows(eryxontest.Jobs), 1)
	assert.ErrorContains(t, err, "status is null or empty")
}

// Whether a row is there the server could not be asked: that is no fault of the record.
func TestARecordThatNobodyCouldLookForIsNotSent(t *testing.T) {
	for _, entity := range []eryxon.Entity{eryxon.EntityCells, eryxon.EntityJobs} {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprint(entity, " single=", single), func(t *testing.T) {
				srv, _ := releaseClient(t, eryxontest.V01)
				cut := true
				path := map[eryxon.Entity]string{eryxon.EntityCells: "/functions/v1/api-cells", eryxon.EntityJobs: "/functions/v1/api-erp-sync"}[entity]
				c := another(t, srv, eryxon.WithHTTPClient(cutOff(srv, path, &cut)), eryxon.WithRelease(eryxon.ReleaseV01))
				cell, job := eryxon.Cell{ExternalID: "C", Name: "C"}, eryxon.Job{ExternalID: "J", JobNumber: "J", Notes: eryxon.Some("")}
				status := func() eryxon.Status {
					var err error
					var one eryxon.Outcome
					var many *eryxon.BulkResult
					switch {
					case single && entity == eryxon.EntityCells:
						res, e := c.Cells.Sync(t.Context(), cell)
						one, err = res.Outcome, e
					case single:
						res, e := c.Jobs.Sync(t.Context(), job)
						one, err = res.Outcome, e
					case entity == eryxon.EntityCells:
						many, err = c.Cells.BulkSync(t.Context(), []eryxon.Cell{cell})
						one = many.Outcomes[0]
					default:
						many, err = c.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
						one = many.Outcomes[0]
					}
					if cut {
						require.ErrorIs(t, err, eryxon.ErrConnection)
					}
					return one.Status
				}
				assert.Equal(t, eryxon.StatusNotSent, status())
				cut = false
				assert.Equal(t, eryxon.StatusCreated, status())
			})
		}
	}
}

// To a new state every record is new; a resource that was there before stays switched off.
func TestANewStateSwitchesNoResourceOn(t *testing.T) {
	for _, single := range []bool{false, true} {
		srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
		saw := eryxon.Resource{ExternalID: "R", Name: "Saw", Type: "machine", Status: eryxon.Some(eryxon.ResourceAvailable), Active: eryxon.Some(false)}
		_, err := c.Resources.Sync(t.Context(), saw)
		require.NoError(t, err)
		saw.Active = eryxon.Opt[bool]{}
		c = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithState(syncstate.NewMemory()))
		if single {
			_, err = c.Resources.Sync(t.Context(), saw)
		} else {
			_, err = c.Resources.BulkSync(t.Context(), []eryxon.Resource{saw})
		}
		require.NoError(t, err)
		row, _ := srv.Row(eryxontest.Resources, "SAP", "R")
		assert.Equal(t, false, row["active"], "single=%v", single)
	}
}

// What no row could help is refused without a look at it.
func TestNoRowIsLookedAtForNothing(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Resources.BulkSync(t.Context(), []eryxon.Resource{{ExternalID: "R", Name: "Saw", Type: "machine", Status: eryxon.Null[eryxon.ResourceStatus]()}})
	require.ErrorContains(t, err, "status is null")
	assert.Empty(t, srv.Requests())
}

// What an operation's status is now the list of parts shows: only those that differ go by
// themselves.
func TestStatusesOfOperationsAreLookedAtTogether(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	ops := cuts("P", 30, func(o *eryxon.Operation) { whole(o); o.Status = eryxon.Some(eryxon.WorkOnHold) })
	_, err = c.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	begun := ops[7]
	begun.Status = eryxon.Some(eryxon.WorkInProgress)
	_, err = c.Operations.Sync(t.Context(), begun)
	require.NoError(t, err)
	before := len(srv.Requests())
	res, err := c.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	assert.Equal(t, eryxon.Counts{Updated: 30}, res.Counts)
	puts := 0
	for _, r := range srv.Requests()[before:] {
		if r.Method == http.MethodPut {
			puts++
			assert.Equal(t, "O7", r.Keys[0].ExternalID)
		}
	}
	assert.Equal(t, 1, puts)
	for _, row := range srv.Rows(eryxontest.Operations) {
		assert.Equal(t, "on_hold", row["status"])
	}
}
