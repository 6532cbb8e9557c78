package eryxon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

func TestSyncAllAccountsForEveryRecordTruthfully(t *testing.T) {
	n := runs(t, 300)
	for seed := range n {
		ok := t.Run(strconv.Itoa(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomSyncAll(t, uint64(seed)) })
		})
		if !ok && seed > 5 {
			t.FailNow()
		}
	}
}

// randomData makes a dataset with its share of trouble: repeated keys, missing
// parents, records that are refused locally or by the server.
func randomData(r *rand.Rand, srv *eryxontest.Server, nested bool) (cells []eryxon.Cell, jobs []eryxon.Job, parts []eryxon.Part, ops []eryxon.Operation) {
	note := func(i int) eryxon.Opt[string] { return eryxon.Some(fmt.Sprintf("v%d", i)) }
	scale := 1 + r.IntN(25)
	for i := range r.IntN(4) + 1 {
		cells = append(cells, eryxon.Cell{ExternalID: "C" + strconv.Itoa(i), Name: "Cell " + strconv.Itoa(i)})
		if r.IntN(12) == 0 {
			srv.FailRecord(eryxontest.Cells, "C"+strconv.Itoa(i), "value too long")
		}
	}
	for i := range scale {
		id := strconv.Itoa(i)
		if r.IntN(15) == 0 && i > 0 {
			id = strconv.Itoa(r.IntN(i))
		}
		j := eryxon.Job{ExternalID: id, JobNumber: "N" + id, Notes: note(i)}
		if r.IntN(15) == 0 {
			j.JobNumber = ""
		}
		if r.IntN(15) == 0 {
			srv.FailRecord(eryxontest.Jobs, id, "Invalid due_date format")
		}
		jobs = append(jobs, j)
	}
	for i := range r.IntN(3 * scale) {
		id := "P" + strconv.Itoa(i)
		p := eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: strconv.Itoa(r.IntN(scale)), Notes: note(i)}
		if r.IntN(20) == 0 {
			p.JobExternalID = "nowhere"
		}
		if r.IntN(20) == 0 {
			srv.FailRecord(eryxontest.Parts, id, "Invalid quantity")
		}
		parts = append(parts, p)
	}
	for i := range r.IntN(6 * scale) {
		id := "O" + strconv.Itoa(i)
		o := eryxon.Operation{ExternalID: id, OperationName: "x", PartExternalID: "P" + strconv.Itoa(r.IntN(len(parts)+1)),
			CellName: pick(r, cells).Name, Notes: note(i)}
		if r.IntN(20) == 0 {
			o.CellName = "no such cell"
		}
		ops = append(ops, o)
	}
	if nested {
		for i := range jobs {
			for k := range r.IntN(3) {
				id := fmt.Sprintf("L%d-%d", i, k)
				jobs[i].Parts = append(jobs[i].Parts, eryxon.Part{ExternalID: id, PartNumber: id, Operations: []eryxon.Operation{
					{ExternalID: "LO" + id, OperationName: "x", CellName: pick(r, cells).Name}}})
			}
		}
	}
	return cells, jobs, parts, ops
}

func randomSyncAll(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	srv := eryxontest.New()
	defer srv.Close()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"),
		eryxon.WithAttemptTimeout(time.Minute), eryxon.WithRetryPolicy(eryxon.RetryPolicy{MaxAttempts: 1 + r.IntN(3), BaseDelay: time.Millisecond, MaxDelay: time.Second}))
	require.NoError(t, err)
	nested := r.IntN(3) == 0
	cells, jobs, parts, ops := randomData(r, srv, nested)
	torment(r, srv)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if r.IntN(5) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(5000))*time.Millisecond)
		defer cancel()
	}

	total := len(cells) + len(jobs) + len(parts) + len(ops)
	if nested {
		for _, j := range jobs {
			total += 2 * len(j.Parts)
		}
	}
	data := eryxon.Dataset{Cells: eryxon.FromSlice(cells), Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts), Operations: eryxon.FromSlice(ops)}
	asSeq := r.IntN(2) == 0
	taken := map[eryxon.Entity]int{}
	if asSeq {
		data.Jobs = eryxon.FromSeq(func(yield func(eryxon.Job, error) bool) {
			for i, j := range jobs {
				taken[eryxon.EntityJobs] = i + 1
				if !yield(j, nil) {
					return
				}
			}
		})
	}
	failures := map[eryxon.Entity][]eryxon.Outcome{}
	opts := []eryxon.SyncAllOption{eryxon.WithConcurrency(1 + r.IntN(5)), eryxon.WithMaxRequestRecords(1 + r.IntN(20)),
		eryxon.WithOutcomes(func(o eryxon.Outcome) error { failures[o.Entity] = append(failures[o.Entity], o); return nil })}
	if r.IntN(6) == 0 {
		opts = append(opts, eryxon.WithRequestBudget(1+r.IntN(30)))
	}
	report, err := client.SyncAll(ctx, data, opts...)

	if asSeq {
		total -= len(jobs) - taken[eryxon.EntityJobs]
		for _, j := range jobs[taken[eryxon.EntityJobs]:] {
			total -= 2 * len(j.Parts)
		}
	}
	sum := report.Total()
	assert.Equal(t, total, sum.Read, "every record is read once")
	assert.Equal(t, total, sum.Counts.Total(), "every record ends in one status")
	n := 0
	for _, list := range failures {
		n += len(list)
	}
	assert.Equal(t, sum.Counts.Total()-sum.Counts.Succeeded(), n, "every outcome that is not a success reaches the sink")
	if sum.Counts.Succeeded()+sum.Counts.Superseded < total {
		var partial *eryxon.PartialError
		require.ErrorAs(t, err, &partial)
		assert.Equal(t, total-sum.Counts.Succeeded()-sum.Counts.Superseded, partial.Failed)
	} else if !asSeq {
		assert.NoError(t, err)
	}
	time.Sleep(3 * time.Hour)
	// What is not a failure must be there.
	failed := map[string]bool{}
	for e, list := range failures {
		for _, o := range list {
			failed[string(e)+o.Key.String()] = true
			if o.Status == eryxon.StatusParentFailed || o.Status == eryxon.StatusNotSent && errors.Is(o.Err, context.DeadlineExceeded) {
				assert.Error(t, o.Err)
			}
			if o.Status == eryxon.StatusParentFailed {
				_, there := srv.Row(eryxontest.Entity(e), o.Key.Source, o.Key.ExternalID)
				assert.Falsef(t, there, "%v %v was never sent", e, o.Key)
			}
		}
	}
	present := func(e eryxon.Entity, id string) {
		if !failed[string(e)+"SAP/"+id] {
			_, there := srv.Row(eryxontest.Entity(e), "SAP", id)
			assert.Truef(t, there, "%s %s is no failure, and is not there", e, id)
		}
	}
	for _, p := range parts {
		present(eryxon.EntityParts, p.ExternalID)
	}
	for _, o := range ops {
		present(eryxon.EntityOperations, o.ExternalID)
	}
	for _, j := range jobs[:takenOr(taken, asSeq, len(jobs))] {
		present(eryxon.EntityJobs, j.ExternalID)
		for _, p := range j.Parts {
			present(eryxon.EntityParts, p.ExternalID)
		}
	}
	assert.Empty(t, srv.Overlaps(), "no two requests in flight hold the same key")
	known := map[string]bool{}
	for _, j := range jobs {
		known["job "+j.ExternalID] = true
		for _, p := range j.Parts {
			known["part "+p.ExternalID] = true
		}
	}
	for _, p := range parts {
		known["part "+p.ExternalID] = true
	}
	for _, c := range cells {
		known["cell "+c.Name] = true
	}
	for _, orphan := range srv.Orphans() {
		_, parent, ok := strings.Cut(orphan, ": ")
		require.True(t, ok)
		assert.Falsef(t, known[parent], "a child arrived before its parent: %s", orphan)
	}
}

func takenOr(taken map[eryxon.Entity]int, asSeq bool, all int) int {
	if asSeq {
		return taken[eryxon.EntityJobs]
	}
	return all
}

func TestAParentsFailureIsTheCauseOfItsChildren(t *testing.T) {
	for name, asSeq := range map[string]bool{"slices": false, "sequences": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				srv.FailRecord(eryxontest.Jobs, "SO-0001", "Invalid priority")
				srv.FailRecord(eryxontest.Parts, "P-2-0", "Invalid quantity")
				cs, rs, js, ps, ops := factory(3, 1, 2)
				data := sliced(cs, rs, js, ps, ops)
				if asSeq {
					data.Jobs = eryxon.FromSeq(seqOf(js)) // the others remain slices
				}
				outcomes := map[string]eryxon.Outcome{}
				report, err := client.SyncAll(t.Context(), data, eryxon.WithOutcomes(func(o eryxon.Outcome) error {
					outcomes[o.Key.ExternalID] = o
					return nil
				}))
				require.ErrorIs(t, err, eryxon.ErrValidation)
				assert.Equal(t, eryxon.Counts{Created: 7, Failed: 2, ParentFailed: 5}, report.Total().Counts)
				for id, text := range map[string]string{"P-1-0": "priority", "O-1-0-0": "priority", "O-1-0-1": "priority", "O-2-0-0": "quantity", "O-2-0-1": "quantity"} {
					o := outcomes[id]
					assert.Equal(t, eryxon.StatusParentFailed, o.Status, id)
					require.ErrorIs(t, o.Err, eryxon.ErrValidation, id)
					var invalid *eryxon.ValidationError
					require.ErrorAs(t, o.Err, &invalid, id)
					assert.Contains(t, invalid.Message, text, "down to the parent's cause")
					assert.NotNil(t, o.Record)
					assert.Empty(t, o.RequestID)
					assert.Zero(t, o.Attempts)
					var e *eryxon.RecordError
					require.ErrorAs(t, o.Err, &e)
					assert.Equal(t, id, e.Key.ExternalID, "the error is the record's own")
					assert.Empty(t, e.Field, "the parent's field is not the child's")
				}
				assert.Contains(t, outcomes["O-1-0-0"].Err.Error(), "SO-0001", "the text leads to the one at fault")
				assert.Empty(t, srv.Orphans(), "no request in vain")
			})
		})
	}
}

func TestStrictParentsKeepBackChildrenOfFailedUpdates(t *testing.T) {
	for _, strict := range []bool{false, true} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			cs, rs, js, ps, ops := factory(1, 1, 1)
			_, err := client.SyncAll(t.Context(), sliced(cs, rs, js, ps, ops))
			require.NoError(t, err)
			row, _ := srv.Row(eryxontest.Jobs, "SAP", "SO-0000")
			id := row["id"].(string)
			// The update fails, and the answer tells that the row is there.
			srv.Script("/api-jobs/bulk-sync", eryxontest.Answer(200, map[string][]string{"Content-Type": {"application/json"}},
				`{"success":true,"data":{"total":1,"created":0,"updated":0,"errors":1,"results":[{"external_id":"SO-0000","id":"`+id+`","action":"error","error":"Invalid priority"}]}}`))
			var opts []eryxon.SyncAllOption
			want := eryxon.Counts{Updated: 4, Failed: 1}
			if strict {
				opts, want = append(opts, eryxon.WithStrictParents()), eryxon.Counts{Updated: 2, Failed: 1, ParentFailed: 2}
			}
			report, err := client.SyncAll(t.Context(), sliced(cs, rs, js, ps, ops), opts...)
			require.ErrorIs(t, err, eryxon.ErrValidation)
			assert.Equal(t, want, report.Total().Counts)
		})
	}
}

func TestParentsInDatasetRefusesBeforeTheFirstRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		data := eryxon.Dataset{
			Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "P-1", PartNumber: "1", JobExternalID: "SO-1"}, {ExternalID: "P-2", PartNumber: "2", JobID: "a-uuid", Material: eryxon.Some("x"), Quantity: eryxon.Some(1)}}),
			Operations: eryxon.FromSlice([]eryxon.Operation{{ExternalID: "O-1", OperationName: "Cut", PartExternalID: "P-1", CellID: "a-uuid"},
				{ExternalID: "O-2", OperationName: "Cut", PartExternalID: "P-9", CellName: "Cutting"}}),
		}
		outcomes := map[string]eryxon.Outcome{}
		report, err := client.SyncAll(t.Context(), data, eryxon.WithParentsInDataset(), eryxon.WithOutcomes(func(o eryxon.Outcome) error {
			outcomes[o.Key.ExternalID] = o
			return nil
		}))
		require.ErrorIs(t, err, eryxon.ErrValidation)
		assert.Equal(t, eryxon.Counts{Failed: 3, ParentFailed: 1}, report.Total().Counts, "P-2 goes, and the server refuses it")
		for _, id := range []string{"P-1", "O-2"} {
			var invalid *eryxon.ValidationError
			require.ErrorAs(t, outcomes[id].Err, &invalid, id)
			assert.True(t, invalid.Local)
			assert.Equal(t, outcomes[id].Key, invalid.Key)
			assert.Equal(t, outcomes[id].Index, invalid.Index)
			assert.Contains(t, invalid.Error(), "not in the dataset")
		}
		assert.Equal(t, eryxon.StatusParentFailed, outcomes["O-1"].Status)
		for _, r := range srv.Requests() {
			assert.Equal(t, []eryxontest.Key{{Entity: eryxontest.Parts, Source: "SAP", ExternalID: "P-2"}}, r.Keys)
		}

		srv.Reset()
		data.Jobs = eryxon.FromSeq(seqOf(someJobs(1)))
		report, err = client.SyncAll(t.Context(), data, eryxon.WithParentsInDataset())
		require.Error(t, err, "it can't be told of a sequence")
		assert.Zero(t, report.Total().Read)
		assert.Empty(t, srv.Requests())
	})
}

func TestWhatLooksWrongIsToldBeforeTheFirstRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		var told []string
		watch := eryxon.WithLogger(slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			if text := string(p); strings.Contains(text, "eryxon: dataset") {
				assert.Empty(t, srv.Requests(), "before the first request")
				told = append(told, text)
			}
			return len(p), nil
		}), nil)))
		loud := clientOf(t, srv, watch)
		jobs := []eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"}, {ExternalID: "SO-2", JobNumber: "J-2"}, {ExternalID: "SO-2", JobNumber: "J-3"}}
		parts := []eryxon.Part{{ExternalID: "P-1", ExternalSource: "Odoo", PartNumber: "1", JobExternalID: "SO-1"}, {ExternalID: "P-2", PartNumber: "2", JobExternalID: "SO-2"}}
		report, err := loud.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts)})
		require.ErrorIs(t, err, eryxon.ErrParentNotFound)
		require.Len(t, report.Warnings, 1)
		assert.Contains(t, report.Warnings[0], "another source")
		assert.Contains(t, report.Warnings[0], "Odoo/SO-1")
		assert.Len(t, told, 1)
		assert.Equal(t, eryxon.Counts{Created: 1, Failed: 2}, report.Jobs.Counts, "a repeated key of different content is refused, all of them")
		assert.Equal(t, eryxon.Counts{Failed: 1, ParentFailed: 1}, report.Parts.Counts)
		for _, r := range srv.Requests() {
			assert.NotContains(t, string(r.Body), "SO-2", "neither of them is sent, nor their children")
		}
		// A dataset without any jobs is an increment: nothing looks wrong.
		report, err = client.SyncAll(t.Context(), eryxon.Dataset{Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "P-3", PartNumber: "3", JobExternalID: "SO-1"}})})
		require.NoError(t, err)
		assert.Empty(t, report.Warnings)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRepeatedKeysInASliceAreRefusedBesideASequenceToo(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		jobs := []eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"}, {ExternalID: "SO-2", JobNumber: "J-2"}, {ExternalID: "SO-2", JobNumber: "J-3"}, {ExternalID: "SO-1", JobNumber: "J-1"}}
		data := eryxon.Dataset{Jobs: eryxon.FromSlice(jobs), Cells: eryxon.FromSeq(seqOf([]eryxon.Cell{{ExternalID: "C", Name: "C"}}))}
		report, err := client.SyncAll(t.Context(), data)
		require.ErrorIs(t, err, eryxon.ErrValidation)
		assert.Equal(t, eryxon.Counts{Created: 1, Failed: 2, Superseded: 1}, report.Jobs.Counts)
		assert.Len(t, srv.Rows(eryxontest.Jobs), 1)
	})
}

// nestedFactory is two jobs with two parts of two operations each inside.
func nestedFactory() []eryxon.Job {
	jobs := someJobs(2)
	for i := range jobs {
		for k := range 2 {
			id := fmt.Sprintf("%d-%d", i, k)
			p := eryxon.Part{ExternalID: "P-" + id, PartNumber: id, Material: eryxon.Some("steel"), Quantity: eryxon.Some(1)}
			for m := range 2 {
				p.Operations = append(p.Operations, eryxon.Operation{ExternalID: fmt.Sprintf("O-%s-%d", id, m), OperationName: "Cut", CellName: "Cutting",
					Sequence: eryxon.Some(m), EstimatedTimeMinutes: eryxon.Some(1.0)})
			}
			jobs[i].Parts = append(jobs[i].Parts, p)
		}
	}
	return jobs
}

func TestNestedRecordsAreLiftedOutUnlessAskedOtherwise(t *testing.T) {
	for _, asSeq := range []bool{false, true} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting"})
			srv.FailRecord(eryxontest.Parts, "P-1-1", "Invalid quantity")
			jobs := nestedFactory()
			jobs[0].Parts[0].Operations[1].OperationName = "" // refused locally
			jobs[0].ExternalSource = "Odoo"
			data := eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)}
			if asSeq {
				data.Jobs = eryxon.FromSeq(seqOf(jobs))
			}
			var failed []eryxon.Outcome
			sink := eryxon.WithOutcomes(func(o eryxon.Outcome) error {
				failed = append(failed, o)
				return nil
			})
			report, err := client.SyncAll(t.Context(), data, sink)
			require.Error(t, err)
			assert.Equal(t, eryxon.Counts{Created: 2}, report.Jobs.Counts)
			assert.Equal(t, eryxon.Counts{Created: 3, Failed: 1}, report.Parts.Counts)
			assert.Equal(t, eryxon.Counts{Created: 5, Failed: 1, ParentFailed: 2}, report.Operations.Counts)
			assert.Zero(t, report.Total().Nested.Total())
			require.Len(t, failed, 4)
			for _, o := range failed {
				assert.Equal(t, -1, o.Index, "it has no place in an input")
				var e *eryxon.RecordError
				require.ErrorAs(t, o.Err, &e)
				assert.Equal(t, -1, e.Index)
				assert.NotContains(t, o.Err.Error(), "(record")
				var invalid *eryxon.ValidationError
				require.ErrorAs(t, o.Err, &invalid)
				if invalid.Local {
					assert.Equal(t, -1, invalid.Index)
				}
			}
			_, ok := srv.Row(eryxontest.Operations, "Odoo", "O-0-0-0")
			assert.True(t, ok, "they inherit the source")
			assert.Len(t, jobs[0].Parts, 2, "the caller's records are not changed")
			assert.Len(t, jobs[1].Parts[0].Operations, 2)
			assert.Empty(t, srv.Orphans())

			srv.Reset()
			srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting"})
			report, err = client.SyncAll(t.Context(), eryxon.Dataset{Jobs: data.Jobs}, eryxon.WithNested())
			require.Error(t, err, "the job that carries what breaks a rule is refused")
			assert.Equal(t, eryxon.Counts{Created: 1, Failed: 1}, report.Total().Counts)
			assert.Equal(t, eryxon.Counts{Unknown: 6, ParentFailed: 6}, report.Total().Nested, "no answer tells of them")
			assert.Len(t, srv.Requests(), 1)
			assert.Contains(t, report.String(), "nested in other records: 6 parent failed, 6 unknown")
		})
	}
}

// Where nested records go by themselves a run tells of those that failed as it does
// of others, so that they can be corrected.
func TestNestedRecordsThatFailedAreToldOf(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	client := another(t, srv)
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{
		{ExternalID: "good", PartNumber: "good", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)},
		{ExternalID: "bad", PartNumber: "bad", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1), Extra: map[string]any{"no_column": 1}},
	}}
	var file strings.Builder
	var told []eryxon.Outcome
	report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{job})}, eryxon.WithNested(), eryxon.WithFailedRecords(&file),
		eryxon.WithOutcomes(func(o eryxon.Outcome) error { told = append(told, o); return nil }))
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Equal(t, eryxon.Counts{Created: 1}, report.Jobs.Counts)
	assert.Equal(t, eryxon.Counts{Created: 1, Failed: 1}, report.Jobs.Nested)
	require.Len(t, told, 1)
	assert.Equal(t, "bad", told[0].Key.ExternalID)

	again, err := eryxon.ReadFailedRecords(strings.NewReader(strings.ReplaceAll(file.String(), "no_column", "drawing_no")))
	require.NoError(t, err)
	report, err = another(t, srv).SyncAll(t.Context(), again)
	require.NoError(t, err, "corrected, it is synced by itself")
	assert.Equal(t, eryxon.Counts{Created: 1}, report.Total().Counts)
	part, _ := srv.Row(eryxontest.Parts, "SAP", "bad")
	owner, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
	assert.Equal(t, owner["id"], part["job_id"])
}

func TestAPlanLimitEndsItsEntityOnly(t *testing.T) {
	for name, seq := range map[string]bool{"slices": false, "beside a sequence": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				srv.SetQuotaExceeded(eryxontest.Jobs, true)
				cs, rs, js, ps, ops := factory(30, 1, 1)
				js[29].Parts = []eryxon.Part{{ExternalID: "P-in", PartNumber: "in"}}
				data := sliced(cs, rs, js, ps, ops)
				if seq {
					data.Cells = eryxon.FromSeq(seqOf(cs))
				}
				report, err := client.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(10), eryxon.WithConcurrency(1))
				require.ErrorIs(t, err, eryxon.ErrQuotaExceeded)
				require.ErrorIs(t, report.Ended, eryxon.ErrQuotaExceeded)
				assert.Equal(t, eryxon.Counts{Failed: 10, NotSent: 20}, report.Jobs.Counts)
				assert.Equal(t, 2, report.Cells.Counts.Created+report.Resources.Counts.Created, "the others go on")
				assert.Equal(t, eryxon.Counts{ParentFailed: 10, NotSent: 21}, report.Parts.Counts)
				assert.Equal(t, 30, report.Operations.Counts.Total())
				assert.Len(t, srv.Requests(), 3, "nothing is sent in vain")
				assert.Empty(t, srv.Orphans())
			})
		})
	}
}

func TestARunThatCannotGoOnSendsNoMore(t *testing.T) {
	for name, seq := range map[string]bool{"slices": false, "sequences": true} {
		for what, tt := range map[string]struct {
			fault eryxontest.Fault
			want  error
		}{
			"key revoked": {eryxontest.StatusJSON(401, "UNAUTHORIZED", "Invalid or revoked API key"), eryxon.ErrUnauthorized},
			"quota used up": {eryxontest.TooManyRequests(map[string][]string{"Retry-After": {"86400"}, "X-Ratelimit-Remaining": {"0"},
				"X-Ratelimit-Reset": {"86400"}}), eryxon.ErrRateLimited},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
					// cells, resources and the first parts pass
					srv.Script("/api-parts/bulk-sync", eryxontest.Fault{}, tt.fault)
					cs, rs, js, ps, ops := factory(10, 3, 2)
					data := sliced(cs, rs, js, ps, ops)
					if seq {
						data.Parts = eryxon.FromSeq(seqOf(ps))
					}
					report, err := client.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(10), eryxon.WithConcurrency(1))
					require.ErrorIs(t, err, tt.want)
					require.ErrorIs(t, report.Ended, tt.want)
					requests := srv.Requests()
					assert.NotEqual(t, 200, requests[len(requests)-1].Status, "the refused one is the last")
					total := report.Total()
					assert.Equal(t, total.Read, total.Counts.Total())
					created := 0
					for _, e := range []eryxontest.Entity{eryxontest.Jobs, eryxontest.Parts, eryxontest.Operations, eryxontest.Cells, eryxontest.Resources} {
						created += len(srv.Rows(e))
					}
					assert.Equal(t, created, total.Counts.Created)
					assert.Zero(t, total.Counts.Unknown)
					assert.Positive(t, total.Counts.NotSent)
				})
			})
		}
	}
}

func TestABudgetHoldsForTheWholeRun(t *testing.T) {
	for _, seq := range []bool{false, true} {
		for budget := 1; budget < 12; budget++ {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				cs, rs, js, ps, ops := factory(20, 1, 2)
				data := sliced(cs, rs, js, ps, ops)
				if seq {
					data.Operations = eryxon.FromSeq(seqOf(ops))
				}
				report, err := client.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(10), eryxon.WithRequestBudget(budget))
				assert.Len(t, srv.Requests(), min(budget, 10))
				total := report.Total()
				if budget >= 10 {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, eryxon.ErrRequestBudget)
				require.ErrorIs(t, report.Ended, eryxon.ErrRequestBudget)
				assert.Equal(t, total.Read-total.Counts.Created, total.Counts.NotSent)
			}, eryxontest.WithLatency(time.Second, 0))
		}
	}
}

func TestARunThatIsCancelledInTheMiddle(t *testing.T) {
	for _, seq := range []bool{false, true} {
		for _, grace := range []time.Duration{0, time.Minute} {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
				defer cancel()
				start := time.Now()
				cs, rs, js, ps, ops := factory(50, 1, 2)
				data := sliced(cs, rs, js, ps, ops)
				if seq {
					data.Cells = eryxon.FromSeq(seqOf(cs))
				}
				report, err := client.SyncAll(ctx, data, eryxon.WithMaxRequestRecords(5), eryxon.WithConcurrency(2), eryxon.WithGracePeriod(grace))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, report.Ended, context.DeadlineExceeded)
				counts := report.Total().Counts
				assert.Equal(t, 202, counts.Total(), "every record of a slice is accounted for")
				if grace == 0 {
					assert.Equal(t, 3500*time.Millisecond, time.Since(start))
					assert.Positive(t, counts.Unknown)
				} else {
					assert.Equal(t, 4*time.Second, time.Since(start), "what is in flight comes back")
					assert.Zero(t, counts.Unknown)
				}
				assert.Equal(t, 202-counts.Created-counts.Unknown, counts.NotSent+counts.ParentFailed)
				time.Sleep(time.Minute)
				for _, r := range srv.Requests() {
					assert.Less(t, r.Start.Sub(start), 3500*time.Millisecond, "no new ones are made")
				}
			}, eryxontest.WithLatency(time.Second, 0))
		}
	}
}

func TestAnErrorOfASequenceEndsTheRunAfterWhatWasRead(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		broken := errors.New("the ERP's cursor was closed")
		cs, rs, js, ps, ops := factory(20, 1, 1)
		js[3].Parts = []eryxon.Part{{ExternalID: "P-in", PartNumber: "in", Material: eryxon.Some("x"), Quantity: eryxon.Some(1)}}
		data := sliced(cs, rs, js, ps, ops)
		data.Jobs = eryxon.FromSeq(func(yield func(eryxon.Job, error) bool) {
			for _, j := range js[:15] {
				if !yield(j, nil) {
					return
				}
			}
			yield(eryxon.Job{}, broken)
		})
		opened := false
		data.Operations = eryxon.FromSeq(func(func(eryxon.Operation, error) bool) { opened = true })
		report, err := client.SyncAll(t.Context(), data)
		require.ErrorIs(t, err, broken)
		require.ErrorIs(t, report.Ended, broken)
		assert.Contains(t, err.Error(), "at record 15")
		assert.Equal(t, eryxon.Counts{Created: 15}, report.Jobs.Counts, "what was read is sent")
		assert.Equal(t, eryxon.Counts{Created: 1, NotSent: 20}, report.Parts.Counts, "with what it carried")
		assert.False(t, opened, "no further input is read")
		_, ok := srv.Row(eryxontest.Parts, "SAP", "P-in")
		assert.True(t, ok)
	})
}

func TestPlacesInASequenceAreThoseOfTheInputHoweverMuchItCarries(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		// What is lifted out of the first jobs goes before the last are read.
		jobs := someJobs(13)
		for i := range jobs {
			for k := range 1000 {
				id := fmt.Sprintf("%d-%d", i, k)
				jobs[i].Parts = append(jobs[i].Parts, eryxon.Part{ExternalID: id, PartNumber: id, Material: eryxon.Some("x"), Quantity: eryxon.Some(1)})
			}
		}
		jobs[12].JobNumber, jobs[12].Parts = "", nil
		report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSeq(seqOf(jobs))})
		var e *eryxon.RecordError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 12, e.Index)
		var invalid *eryxon.ValidationError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, 12, invalid.Index)
		assert.Equal(t, 12, invalid.Details[0].EntityIndex)
		assert.Equal(t, 12_000, report.Parts.Counts.Created)
		assert.Equal(t, 12, report.Parts.Requests)
		assert.Equal(t, 2, report.Jobs.Requests, "memory stays bounded: the jobs go in two windows")
		assert.Len(t, srv.Requests(), 14)
		assert.Empty(t, srv.Orphans())
	})
}

func TestARefusedKeyStopsARunWhoseInputBrokeOffToo(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		// It comes once the input has broken off.
		srv.Script("", eryxontest.Fault{}, eryxontest.StatusJSON(401, "UNAUTHORIZED", "Invalid or revoked API key").WithDelay(time.Minute))
		broken := errors.New("the ERP's cursor was closed")
		report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSeq(func(yield func(eryxon.Job, error) bool) {
			for _, j := range nestedFactory() {
				yield(j, nil)
			}
			yield(eryxon.Job{}, broken)
		})}, eryxon.WithMaxRequestRecords(1), eryxon.WithConcurrency(1))
		require.ErrorIs(t, err, broken)
		require.ErrorIs(t, err, eryxon.ErrUnauthorized)
		assert.Len(t, srv.Requests(), 2, "what the jobs carried is not sent in vain")
		assert.Equal(t, 14, report.Total().Counts.Total())
		assert.Equal(t, 1, report.Total().Counts.Succeeded())
	})
}

func TestAServerThatIsGoneCostsARunFewRequests(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	client, err := eryxon.New("http://"+listener.Addr().String(), "key", eryxon.WithSource("SAP"),
		eryxon.WithRetryPolicy(eryxon.RetryPolicy{MaxAttempts: 2, BaseDelay: 1, MaxDelay: 1}))
	require.NoError(t, err)
	for _, seq := range []bool{false, true} {
		cs, rs, js, ps, ops := factory(50, 2, 2)
		data := sliced(cs, rs, js, ps, ops)
		if seq {
			data.Cells = eryxon.FromSeq(seqOf(cs))
		}
		before := client.RateLimit().Requests
		report, err := client.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(10))
		require.ErrorIs(t, err, eryxon.ErrConnection)
		require.ErrorIs(t, report.Ended, eryxon.ErrConnection)
		assert.Equal(t, eryxon.Counts{NotSent: 352}, report.Total().Counts, "nothing left, and all of it can be sent as it is")
		assert.LessOrEqual(t, client.RateLimit().Requests-before, int64(8), "what is in flight at once, with its retries")
	}
	client.CloseIdleConnections()
}

// A run that is ended, wherever it is, says so, counts what it has sent, and fails no
// child for a parent of which nobody got to know.
func TestARunThatIsEndedAnywhere(t *testing.T) {
	ends := map[string]func(ctx context.Context, n int) (context.Context, context.CancelFunc, []eryxon.SyncAllOption){
		"budget": func(ctx context.Context, n int) (context.Context, context.CancelFunc, []eryxon.SyncAllOption) {
			return ctx, func() {}, []eryxon.SyncAllOption{eryxon.WithRequestBudget(n)}
		},
		"quota": func(ctx context.Context, n int) (context.Context, context.CancelFunc, []eryxon.SyncAllOption) {
			return ctx, func() {}, []eryxon.SyncAllOption{eryxon.WithState(syncstate.NewMemory()), eryxon.WithDailyQuota(n)}
		},
		"context": func(ctx context.Context, n int) (context.Context, context.CancelFunc, []eryxon.SyncAllOption) {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(n)*100*time.Millisecond-50*time.Millisecond)
			return ctx, cancel, []eryxon.SyncAllOption{eryxon.WithMaxRequestRecords(2)}
		},
	}
	for name, end := range ends {
		for _, release := range releases() {
			t.Run(name+" "+string(release), func(t *testing.T) {
				ended := 0
				for n := 1; n <= 12; n++ {
					synctest.Test(t, func(t *testing.T) {
						srv := eryxontest.New(eryxontest.WithRelease(release), eryxontest.WithLatency(100*time.Millisecond, 0))
						defer srv.Close()
						data := sliced(factory(5, 1, 1))
						_, _ = another(t, srv).SyncAll(t.Context(), sliced(factory(2, 1, 1))) // some are there
						before := len(srv.Requests())
						ctx, cancel, opts := end(t.Context(), n)
						defer cancel()
						report, err := another(t, srv).SyncAll(ctx, data, opts...)
						total := report.Total()
						assert.Len(t, srv.Requests()[before:], total.Attempts, "%d: %v", n, report)
						if total.Counts.NotSent == 0 {
							return
						}
						ended++
						require.Error(t, report.Ended, "%d: %v: %v", n, report, err)
						if release != eryxontest.V08AsMigrated { // which fails parents
							assert.Zero(t, total.Counts.ParentFailed, "%d: %v: %v", n, report, err)
						}
					})
				}
				assert.NotZero(t, ended)
			})
		}
	}
}

// What a run has waited for the quota is in its report.
func TestTheReportTellsWhatWasWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithQuota(2, time.Hour), eryxontest.WithHeadersAlways(true))
		defer srv.Close()
		_, _, jobs, _, _ := factory(3, 1, 1)
		report, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)},
			eryxon.WithMaxRequestRecords(1), eryxon.WithConcurrency(1), eryxon.WithMaxWait(2*time.Hour))
		require.NoError(t, err)
		assert.Greater(t, report.Jobs.Waited, 50*time.Minute)
	})
}
