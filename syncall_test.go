package eryxon_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
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
