package eryxon_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// releases are what a program must run on unchanged.
func releases() []eryxontest.Release {
	return []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08, eryxontest.V08AsMigrated, eryxontest.V011}
}

func releaseClient(t *testing.T, release eryxontest.Release, opts ...eryxon.Option) (*eryxontest.Server, *eryxon.Client) {
	t.Helper()
	srv := eryxontest.New(eryxontest.WithRelease(release))
	t.Cleanup(srv.Close)
	return srv, another(t, srv, opts...)
}

// another is one more client of a server.
func another(t *testing.T, srv *eryxontest.Server, opts ...eryxon.Option) *eryxon.Client {
	t.Helper()
	client, err := eryxon.New(srv.URL, srv.Key, append([]eryxon.Option{eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"),
		eryxon.WithRetryPolicy(eryxon.RetryPolicy{MaxAttempts: 2, BaseDelay: time.Millisecond, MaxDelay: time.Second})}, opts...)...)
	require.NoError(t, err)
	return client
}

// TestOutcomesAreTrueOnEveryRelease syncs random datasets, updates of part of
// the fields and faults included, and holds every outcome against the rows.
func TestOutcomesAreTrueOnEveryRelease(t *testing.T) {
	onEveryRelease(t, randomProgram)
}

func onEveryRelease(t *testing.T, program func(t *testing.T, release eryxontest.Release, seed uint64)) {
	t.Helper()
	for _, release := range releases() {
		t.Run(string(release), func(t *testing.T) {
			for seed := range runs(t, 15) {
				ok := t.Run(strconv.Itoa(seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { program(t, release, uint64(seed)) })
				})
				if !ok {
					t.FailNow()
				}
			}
		})
	}
}

// wanted is what a record says of its row: the columns it gives, and those it
// clears.
type wanted map[string]any

func maybe[T any](r *rand.Rand, w wanted, column string, v T, nullable bool) eryxon.Opt[T] {
	switch n := r.IntN(8); {
	case n == 0 && nullable:
		w[column] = nil
		return eryxon.Null[T]()
	case n < 5:
		w[column] = v
		return eryxon.Some(v)
	}
	return eryxon.Opt[T]{}
}

type program struct {
	data   eryxon.Dataset
	cells  []eryxon.Cell
	jobs   []eryxon.Job
	parts  []eryxon.Part
	ops    []eryxon.Operation
	wanted map[string]wanted // by entity and external id
	links  map[string]string // part → job, operation → part
}

// randomRound makes one round of records. Full gives every field, as a first
// sync does; else some are left out or null.
func randomRound(r *rand.Rand, round int, size int, full bool) *program {
	p := &program{wanted: map[string]wanted{}, links: map[string]string{}}
	w := func(e eryxon.Entity, id string) wanted {
		w := wanted{}
		p.wanted[string(e)+" "+id] = w
		return w
	}
	text := func() string { return fmt.Sprintf("t%d-%d", round, r.IntN(1000)) }
	if full {
		// All given, so that no release has anything to fill in.
		r = rand.New(rand.NewPCG(r.Uint64(), 9))
	}
	opt := func(m wanted, column string, nullable bool) eryxon.Opt[string] {
		if full {
			s := text()
			m[column] = s
			return eryxon.Some(s)
		}
		return maybe(r, m, column, text(), nullable)
	}
	number := func(m wanted, column string) eryxon.Opt[int] {
		n := 1 + r.IntN(50)
		if full {
			m[column] = n
			return eryxon.Some(n)
		}
		return maybe(r, m, column, n, false)
	}
	work := func(m wanted) eryxon.Opt[eryxon.WorkStatus] {
		if r.IntN(5) > 0 {
			return eryxon.Opt[eryxon.WorkStatus]{}
		}
		s := pick(r, []eryxon.WorkStatus{eryxon.WorkNotStarted, eryxon.WorkInProgress, eryxon.WorkOnHold, eryxon.WorkCompleted})
		m["status"] = string(s)
		return eryxon.Some(s)
	}
	extra := r.IntN(4) == 0
	var cells []eryxon.Cell
	var resources []eryxon.Resource
	var jobs []eryxon.Job
	var parts []eryxon.Part
	var ops []eryxon.Operation
	for i := range 3 {
		id := "C" + strconv.Itoa(i)
		m := w(eryxon.EntityCells, id)
		c := eryxon.Cell{ExternalID: id, Name: "Cell " + strconv.Itoa(i), Color: opt(m, "color", false), Sequence: number(m, "sequence")}
		if full || r.IntN(2) == 0 {
			c.Active = eryxon.Some(r.IntN(2) == 0)
			m["active"] = c.Active.Or(false)
		}
		cells = append(cells, c)
	}
	for i := range 2 + r.IntN(4) {
		id := "R" + strconv.Itoa(i)
		m := w(eryxon.EntityResources, id)
		res := eryxon.Resource{ExternalID: id, Name: "Res " + strconv.Itoa(i), Type: eryxon.ResourceTooling,
			Description: opt(m, "description", true), Location: opt(m, "location", true)}
		if full || r.IntN(3) == 0 {
			res.Status = eryxon.Some(pick(r, []eryxon.ResourceStatus{eryxon.ResourceAvailable, eryxon.ResourceInUse}))
			m["status"] = string(res.Status.Or(""))
		}
		if r.IntN(12) == 0 {
			res.Name = "Taken resource"
		}
		resources = append(resources, res)
	}
	for i := range size {
		id := "J" + strconv.Itoa(i)
		m := w(eryxon.EntityJobs, id)
		j := eryxon.Job{ExternalID: id, JobNumber: "N" + strconv.Itoa(i), Customer: opt(m, "customer", true), Notes: opt(m, "notes", true), Status: work(m)}
		if r.IntN(3) == 0 {
			j.DueDate = eryxon.Some(eryxon.NewDate(2024, time.December, 1+r.IntN(28)))
			m["due_date"] = j.DueDate.Or(eryxon.Date{}).String()
		}
		if r.IntN(15) == 0 {
			j.JobNumber = "TAKEN"
		}
		if r.IntN(20) == 0 {
			j.JobNumber = ""
		}
		if r.IntN(4) == 0 {
			pid, oid := "NP"+strconv.Itoa(i), "NO"+strconv.Itoa(i)
			pm, om := w(eryxon.EntityParts, pid), w(eryxon.EntityOperations, oid)
			p.links["parts "+pid], p.links["operations "+oid] = "jobs "+id, "parts "+pid
			minutes := r.IntN(9)
			om["sequence"], om["estimated_time"] = 1, minutes
			j.Parts = []eryxon.Part{{ExternalID: pid, PartNumber: pid, Material: opt(pm, "material", false), Quantity: number(pm, "quantity"),
				Operations: []eryxon.Operation{{ExternalID: oid, OperationName: "Saw", CellName: "Cell " + strconv.Itoa(r.IntN(3)),
					Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(float64(minutes)), Notes: opt(om, "notes", true)}}}}
		}
		jobs = append(jobs, j)
	}
	for i := range 2 * size {
		id, job := "P"+strconv.Itoa(i), "J"+strconv.Itoa(i%size)
		m := w(eryxon.EntityParts, id)
		p.links["parts "+id] = "jobs " + job
		part := eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: job, Material: opt(m, "material", false), Quantity: number(m, "quantity"), Notes: opt(m, "notes", true), Status: work(m)}
		parts = append(parts, part)
	}
	for i := range 4 * size {
		id, part := "O"+strconv.Itoa(i), "P"+strconv.Itoa(i%(2*size))
		m := w(eryxon.EntityOperations, id)
		p.links["operations "+id] = "parts " + part
		o := eryxon.Operation{ExternalID: id, OperationName: "Bend", PartExternalID: part, CellName: "Cell " + strconv.Itoa(r.IntN(3)),
			Sequence: number(m, "sequence"), Notes: opt(m, "notes", true), Status: work(m)}
		if full || r.IntN(2) == 0 {
			o.EstimatedTimeMinutes = eryxon.Some(float64(r.IntN(90)))
			m["estimated_time"] = int(o.EstimatedTimeMinutes.Or(0))
		}
		switch r.IntN(40) {
		case 0:
			o.CellName = "no such cell"
		case 1:
			o.EstimatedTimeMinutes = eryxon.Some(12.5)
			m["estimated_time"] = 12.5
		case 2:
			o.CellName = "Twin"
		case 3:
			o.Extra = map[string]any{"no_such_column": true}
		}
		if extra && o.Extra == nil {
			o.Extra = map[string]any{"metadata": map[string]any{"lot": r.IntN(9)}}
			m["metadata"] = o.Extra["metadata"]
		}
		ops = append(ops, o)
	}
	p.cells, p.jobs, p.parts, p.ops = cells, jobs, parts, ops
	p.data = eryxon.Dataset{Cells: eryxon.FromSlice(cells), Resources: eryxon.FromSlice(resources), Jobs: eryxon.FromSlice(jobs),
		Parts: eryxon.FromSlice(parts), Operations: eryxon.FromSlice(ops)}
	return p
}

func randomProgram(t *testing.T, release eryxontest.Release, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	opts := []eryxon.Option{eryxon.WithAttemptTimeout(time.Minute), eryxon.WithMaxRequestRecords(5 + r.IntN(40))}
	faulty := r.IntN(2) == 0
	if faulty && release == eryxontest.V01 {
		// Only a server that answers can be recognised.
		opts = append(opts, eryxon.WithRelease(eryxon.ReleaseV01))
	}
	srv, client := releaseClient(t, release, opts...)
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	srv.Seed(eryxontest.Resources, eryxontest.Row{"name": "Taken resource", "type": "tooling"})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 1})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 2})
	size := 1 + r.IntN(20)
	for round := range 3 {
		if round == 2 {
			srv.Delete(eryxontest.Jobs, "SAP", "J0")
		}
		if round == 1 && faulty {
			torment(r, srv)
		}
		p := randomRound(r, round, size, round == 0 && r.IntN(3) > 0)
		before := rowsByName(srv)
		statuses := map[string]eryxon.Outcome{}
		opts := []eryxon.SyncAllOption{eryxon.WithOutcomes(func(o eryxon.Outcome) error {
			assert.Equal(t, o.Status == eryxon.StatusSuperseded, o.Err == nil, "%s is %s: why?", o.Key, o.Status)
			statuses[string(o.Entity)+" "+o.Key.ExternalID] = o
			return nil
		}), eryxon.WithConcurrency(1 + r.IntN(4))}
		report, _ := client.SyncAll(t.Context(), p.data, opts...) // what failed is looked at record by record
		time.Sleep(3 * time.Hour)
		require.Equal(t, p.data.Count().Total(), report.Total().Counts.Total(), "every record ends in one status")
		p.holdAgainstRows(t, srv, round, before, statuses)
		assert.Empty(t, srv.Overlaps())
		if t.Failed() {
			return
		}
	}
}

// rowsByName are all rows, by entity and external id.
func rowsByName(srv *eryxontest.Server) map[string]eryxontest.Row {
	rows := map[string]eryxontest.Row{}
	for _, e := range []eryxontest.Entity{eryxontest.Cells, eryxontest.Resources, eryxontest.Jobs, eryxontest.Parts, eryxontest.Operations} {
		for _, row := range srv.Rows(e) {
			if id, ok := row["external_id"].(string); ok {
				rows[string(e)+" "+id] = row
			}
		}
	}
	return rows
}

// holdAgainstRows compares outcomes, those that are no success by entity and external
// id, with the rows.
func (p *program) holdAgainstRows(t *testing.T, srv *eryxontest.Server, round int, before map[string]eryxontest.Row, statuses map[string]eryxon.Outcome) {
	t.Helper()
	for name, want := range p.wanted {
		e, id, _ := strings.Cut(name, " ")
		row, there := srv.Row(eryxontest.Entity(e), "SAP", id)
		o, failed := statuses[name]
		switch {
		case !failed:
			require.Truef(t, there, "round %d: %s is reported as arrived, and is not there", round, name)
			checkRow(t, round, name, row, want, before[name], srv, p.links[name])
		case o.Status == eryxon.StatusUnknown:
		case o.Status == eryxon.StatusSuperseded:
		default:
			old := before[name]
			assert.Equalf(t, old != nil, there, "round %d: %s is %s, and its row came or went: %v", round, name, o.Status, o.Err)
			for column, v := range old {
				if column == "updated_at" || column == "synced_at" || column == "sync_hash" {
					continue
				}
				assert.Equalf(t, v, row[column], "round %d: %s is %s, and its %s changed: %v", round, name, o.Status, column, o.Err)
			}
		}
	}
}

// TestNestedOutcomesAreTrueOnEveryRelease does the same entity by entity, with parts
// and operations nested in others: only of the documented server's nested records
// nothing is known.
func TestNestedOutcomesAreTrueOnEveryRelease(t *testing.T) {
	onEveryRelease(t, randomNested)
}

func randomNested(t *testing.T, release eryxontest.Release, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 4))
	srv, client := releaseClient(t, release, eryxon.WithAttemptTimeout(time.Minute), eryxon.WithMaxRequestRecords(5+r.IntN(40)))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 1})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 2})
	size := 1 + r.IntN(12)
	for round := range 3 {
		if r.IntN(2) == 0 || round == 2 {
			client = another(t, srv)
		}
		if round == 2 { // which a client that remembers its id would link to
			srv.Delete(eryxontest.Jobs, "SAP", "J0")
		}
		p := randomRound(r, round, size, round == 0 && r.IntN(3) > 0)
		before := rowsByName(srv)
		statuses := map[string]eryxon.Outcome{}
		unknown := 0
		note := func(outcomes []eryxon.Outcome) {
			for _, o := range outcomes {
				for _, n := range append(o.Nested, o) {
					if !n.Status.Success() {
						statuses[string(n.Entity)+" "+n.Key.ExternalID] = n
					}
					if n.Status == eryxon.StatusUnknown && n.Err == nil {
						unknown++
					}
				}
			}
		}
		jobs, parts, ops := nest(r, p)
		res, _ := client.Cells.BulkSync(t.Context(), p.cells) // what failed is looked at record by record
		note(res.Outcomes)
		if r.IntN(3) == 0 {
			for _, j := range jobs {
				one, _ := client.Jobs.Sync(t.Context(), j)
				note([]eryxon.Outcome{one.Outcome})
			}
		} else {
			res, _ = client.Jobs.BulkSync(t.Context(), jobs)
			note(res.Outcomes)
		}
		res, _ = client.Parts.BulkSync(t.Context(), parts)
		note(res.Outcomes)
		res, _ = client.Operations.BulkSync(t.Context(), ops)
		note(res.Outcomes)
		for name := range p.wanted {
			if strings.HasPrefix(name, "resources ") {
				delete(p.wanted, name) // not of this test
			}
		}
		p.holdAgainstRows(t, srv, round, before, statuses)
		if release != eryxontest.Documented {
			assert.Zero(t, unknown, "round %d: records of which nothing is known, and nothing says why", round)
		}
		if t.Failed() {
			return
		}
	}
}

// nest puts some of a program's parts into their jobs, and some of the operations into
// their parts.
func nest(r *rand.Rand, p *program) (jobs []eryxon.Job, parts []eryxon.Part, ops []eryxon.Operation) {
	inPart := map[string][]eryxon.Operation{}
	for _, o := range p.ops {
		if part := o.PartExternalID; r.IntN(2) == 0 {
			o.PartExternalID = ""
			inPart[part] = append(inPart[part], o)
		} else {
			ops = append(ops, o)
		}
	}
	inJob := map[string][]eryxon.Part{}
	for _, part := range p.parts {
		part.Operations = inPart[part.ExternalID]
		if job := part.JobExternalID; r.IntN(2) == 0 {
			part.JobExternalID = ""
			inJob[job] = append(inJob[job], part)
		} else {
			parts = append(parts, part)
		}
	}
	for _, j := range p.jobs {
		j.Parts = append(j.Parts, inJob[j.ExternalID]...)
		jobs = append(jobs, j)
	}
	return jobs, parts, ops
}

// checkRow demands that the row says what the record gave and kept what it
// left out.
func checkRow(t *testing.T, round int, name string, row eryxontest.Row, want wanted, old eryxontest.Row, srv *eryxontest.Server, parent string) {
	t.Helper()
	for column, v := range want {
		got := row[column]
		if s, ok := got.(string); ok && column == "due_date" {
			got, _, _ = strings.Cut(s, "T")
		}
		assert.Equalf(t, fmt.Sprint(v), fmt.Sprint(got), "round %d: %s was synced, and its %s differs", round, name, column)
	}
	for column, v := range old {
		switch column {
		case "updated_at", "synced_at", "sync_hash", "search_vector", "cell_id", "job_number", "name", "parts", "operations", "cell_name":
			continue
		}
		if _, given := want[column]; !given {
			assert.Equalf(t, v, row[column], "round %d: %s left %s out, and it was overwritten", round, name, column)
		}
	}
	if parent != "" {
		e, id, _ := strings.Cut(parent, " ")
		p, ok := srv.Row(eryxontest.Entity(e), "SAP", id)
		require.Truef(t, ok, "%s arrived without its parent", name)
		column := map[string]string{"jobs": "job_id", "parts": "part_id"}[e]
		if _, has := row[column]; has {
			assert.Equalf(t, p["id"], row[column], "%s is linked to its parent", name)
		}
	}
}

func TestReferencesBecomeRowsOnEveryRelease(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release, eryxon.WithRelease(eryxon.ReleaseUnknown))
			ctx := t.Context()
			_, err := client.Cells.Sync(ctx, eryxon.Cell{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#3b82f6"), Sequence: eryxon.Some(1), Active: eryxon.Some(true)})
			require.NoError(t, err)
			job, err := client.Jobs.Sync(ctx, eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1"})
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusCreated, job.Status)
			part, err := client.Parts.Sync(ctx, eryxon.Part{ExternalID: "P-1", PartNumber: "BR", JobExternalID: "SO-1", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(2)})
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusCreated, part.Status)
			op, err := client.Operations.Sync(ctx, eryxon.Operation{ExternalID: "O-1", OperationName: "Cut", PartExternalID: "P-1", CellName: "Cutting", Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(30.0)})
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusCreated, op.Status)
			row, ok := srv.Row(eryxontest.Operations, "SAP", "O-1")
			require.True(t, ok)
			assert.EqualValues(t, 30, row["estimated_time"])
			assert.Equal(t, part.ID, row["part_id"])
		})
	}
}

func TestNestedRecordsGetOutcomesWhereTheyAreLiftedOut(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 1})
	job := eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1", Parts: []eryxon.Part{{ExternalID: "P-1", PartNumber: "BR", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1),
		Operations: []eryxon.Operation{
			{ExternalID: "O-1", OperationName: "Cut", CellName: "Cutting", Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(3.0)},
			{ExternalID: "O-2", OperationName: "Cut", CellName: "nowhere", Sequence: eryxon.Some(2), EstimatedTimeMinutes: eryxon.Some(3.0)}}}}}
	for _, how := range []string{"single", "bulk"} {
		var o eryxon.Outcome
		var err error
		if how == "single" {
			var res *eryxon.SyncResult[eryxon.JobRow]
			res, err = client.Jobs.Sync(t.Context(), job)
			o = res.Outcome
		} else {
			var res *eryxon.BulkResult
			res, err = client.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
			o = res.Outcomes[0]
		}
		var partial *eryxon.PartialError
		require.ErrorAs(t, err, &partial, "who looks at the error only must learn it, too")
		assert.Equal(t, 1, partial.Failed)
		assert.Equal(t, o.Nested[2].Err, partial.Failures[0])
		assert.True(t, o.Status.Success())
		require.NoError(t, o.Err)
		require.Len(t, o.Nested, 3, how)
		assert.Truef(t, o.Nested[0].Status.Success(), "%s: %v", how, o.Nested[0])
		assert.Truef(t, o.Nested[1].Status.Success(), "%s: %v", how, o.Nested[1])
		assert.Equal(t, eryxon.StatusFailed, o.Nested[2].Status)
		require.ErrorIs(t, o.Nested[2].Err, eryxon.ErrParentNotFound)
	}
	assert.Len(t, srv.Rows(eryxontest.Parts), 1)
	assert.Len(t, srv.Rows(eryxontest.Operations), 1)
}

func TestAServerThatCanStoreNothingIsFoundOutCheaply(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08AsMigrated, eryxon.WithRelease(eryxon.ReleaseV08))
	cells := make([]eryxon.Cell, 1000)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: "C" + strconv.Itoa(i), Name: "Cell " + strconv.Itoa(i), Sequence: eryxon.Some(i)}
	}
	res, err := client.Cells.BulkSync(t.Context(), cells)
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Equal(t, 1000, res.Counts.Failed)
	assert.Len(t, srv.Requests(), 1, "one request tells it of all")
	assert.ErrorContains(t, res.Outcomes[999].Err, "sync_hash")
	assert.ErrorContains(t, res.Outcomes[999].Err, "server's owner")
}

func TestAMissingOptionalColumnFailsTheRecordOrIsLeftOut(t *testing.T) {
	job := eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1", Priority: eryxon.Some(5), Customer: eryxon.Some("Acme")}
	srv, client := releaseClient(t, eryxontest.V08AsMigrated, eryxon.WithRelease(eryxon.ReleaseV08))
	res, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Equal(t, 1, res.Counts.Failed)
	assert.ErrorContains(t, err, "priority")
	assert.Empty(t, srv.Rows(eryxontest.Jobs))

	res, err = client.Jobs.BulkSync(t.Context(), []eryxon.Job{job}, eryxon.WithMissingColumnsOmitted())
	require.NoError(t, err)
	assert.Equal(t, 1, res.Counts.Succeeded())
	row, ok := srv.Row(eryxontest.Jobs, "SAP", "SO-1")
	require.True(t, ok)
	assert.Equal(t, "Acme", row["customer"])

	for _, release := range []eryxon.Release{eryxon.ReleaseUnknown, eryxon.ReleaseV08} {
		_, client := releaseClient(t, eryxontest.V08AsMigrated, eryxon.WithRelease(release))
		_, err := client.Jobs.Sync(t.Context(), job)
		require.ErrorIs(t, err, eryxon.ErrMissingColumn)
		one, err := client.Jobs.Sync(t.Context(), job, eryxon.WithMissingColumnsOmitted())
		require.NoError(t, err)
		assert.Equal(t, eryxon.StatusCreated, one.Status)
		other := eryxon.Job{ExternalID: "SO-2", JobNumber: "J-2", Priority: eryxon.Some(5)}
		one, err = client.Jobs.Sync(t.Context(), other, eryxon.WithMissingColumnsOmitted())
		require.NoError(t, err, "the next goes without, too")
		assert.Equal(t, eryxon.StatusCreated, one.Status)
	}
}

func TestACellNameThatFitsTwoCellsIsNeverPicked(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 1})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 2})
	res, err := client.Operations.Sync(t.Context(), eryxon.Operation{ExternalID: "O-1", OperationName: "x", PartID: "10000000-0000-4000-8000-0000000000b1", CellName: "Twin"})
	require.ErrorContains(t, err, `2 cells named "Twin"`)
	assert.Equal(t, eryxon.StatusFailed, res.Status)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
}

func TestConflictsAreToldApart(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, client := releaseClient(t, release)
				srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
				_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "SO-9", JobNumber: "GONE"})
				require.NoError(t, err)
				require.True(t, srv.Delete(eryxontest.Jobs, "SAP", "SO-9"))
				jobs := []eryxon.Job{{ExternalID: "SO-1", JobNumber: "TAKEN"}, {ExternalID: "SO-2", JobNumber: "FREE"}, {ExternalID: "SO-9", JobNumber: "GONE"}}
				res, err := client.Jobs.BulkSync(t.Context(), jobs)
				require.Error(t, err)
				require.ErrorIs(t, res.Outcomes[0].Err, eryxon.ErrNaturalKeyTaken)
				assert.ErrorContains(t, res.Outcomes[0].Err, "TAKEN")
				assert.True(t, res.Outcomes[1].Status.Success(), "the good one beside them lands: %v", res.Outcomes[1])
				require.ErrorIs(t, res.Outcomes[2].Err, eryxon.ErrDeletedOnServer)
				one, err := client.Jobs.Sync(t.Context(), jobs[2])
				require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
				assert.Equal(t, eryxon.StatusFailed, one.Status)
			})
		})
	}
}

func TestWithoutChecksCostsNothingAndClaimsNothing(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	jobs := make([]eryxon.Job, 1500)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
	}
	res, err := client.Jobs.BulkSync(t.Context(), jobs, eryxon.WithoutChecks())
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	assert.Equal(t, 1500, res.Counts.Unknown)
	assert.Len(t, srv.Requests(), 2)
}

func benchlessJob(i int) eryxon.Job {
	return eryxon.Job{ExternalID: "SO-" + strconv.Itoa(i), JobNumber: "J-" + strconv.Itoa(i), Customer: eryxon.Some("Acme")}
}

func TestManyJobsTakeTheFastRouteWithTrueOutcomes(t *testing.T) {
	jobs := make([]eryxon.Job, 10_000)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
	}
	dataset := func(input eryxon.Input[eryxon.Job]) func(context.Context, *eryxon.Client) (int, error) {
		return func(ctx context.Context, client *eryxon.Client) (int, error) {
			report, err := client.SyncAll(ctx, eryxon.Dataset{Jobs: input})
			return report.Jobs.Counts.Created, err
		}
	}
	for name, run := range map[string]func(context.Context, *eryxon.Client) (created int, err error){
		"BulkSync": func(ctx context.Context, client *eryxon.Client) (int, error) {
			res, err := client.Jobs.BulkSync(ctx, jobs)
			assert.NotEmpty(t, res.Outcomes[77].ID)
			return res.Counts.Created, err
		},
		"SyncAll of a slice":    dataset(eryxon.FromSlice(jobs)),
		"SyncAll of a sequence": dataset(eryxon.FromSeq(seqOf(jobs))),
		"Stream": func(ctx context.Context, client *eryxon.Client) (created int, err error) {
			st := client.Jobs.Stream(ctx, seqOf(jobs))
			for o := range st.All() {
				assert.NotEmpty(t, o.ID)
				if o.Status == eryxon.StatusCreated {
					created++
				}
			}
			return created, st.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, client := releaseClient(t, eryxontest.V08)
			created, err := run(t.Context(), client)
			require.NoError(t, err)
			assert.Equal(t, 10_000, created)
			slow := 0
			for _, r := range srv.Requests() {
				if strings.HasSuffix(r.Path, "/bulk-sync") && r.Records > 0 {
					slow++
				}
			}
			assert.Zero(t, slow, "none goes the slow way")
			assert.Len(t, srv.Requests(), 11, "an empty one to recognise the server, and ten")
			assert.Equal(t, eryxon.ReleaseV08, client.Release())
		})
	}
}

// A server counts the rows that a request makes in one row of its own, for which
// others wait: side by side they take longer than one after the other.
func TestNewRowsOfTheFastRouteDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		slow := eryxon.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/api-erp-sync/sync") {
					n := running.Add(1)
					defer running.Add(-1)
					most.Store(max(most.Load(), n))
					time.Sleep(time.Second)
				}
				return next.RoundTrip(r)
			})
		})
		srv, client := releaseClient(t, eryxontest.V08, slow)
		jobs := make([]eryxon.Job, 10_000)
		for i := range jobs {
			jobs[i] = benchlessJob(i)
		}
		report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)})
		require.NoError(t, err)
		assert.Equal(t, 10_000, report.Jobs.Counts.Created)
		assert.EqualValues(t, 1, most.Load())
		assert.Len(t, srv.Requests(), 11, "an empty one to recognise the server, and ten")

		// What a bulk has made before the server was known is no sign of updates to come.
		_, stranger := releaseClient(t, eryxontest.V08, slow)
		st := stranger.Jobs.Stream(t.Context(), seqOf(jobs), eryxon.WithMaxRequestRecords(500))
		for o := range st.All() {
			require.True(t, o.Status.Success())
		}
		require.NoError(t, st.Err())
		assert.EqualValues(t, 1, most.Load())

		// Updates wait for nobody, once the first has shown that they are such.
		_, err = client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(jobs)})
		require.NoError(t, err)
		assert.EqualValues(t, 4, most.Load())
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestUpdatesThatWouldOverwriteAreRefused(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	ctx := t.Context()
	full := eryxon.Part{ExternalID: "P-1", PartNumber: "BR", JobExternalID: "SO-1", Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(25)}
	_, err := client.Jobs.BulkSync(ctx, []eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"}})
	require.NoError(t, err)
	_, err = client.Parts.BulkSync(ctx, []eryxon.Part{full})
	require.NoError(t, err)
	partial := full
	partial.Material, partial.Quantity, partial.Notes = eryxon.Opt[string]{}, eryxon.Opt[int]{}, eryxon.Some("new")
	res, err := client.Parts.BulkSync(ctx, []eryxon.Part{partial})
	var invalid *eryxon.ValidationError
	require.ErrorAs(t, err, &invalid)
	assert.True(t, invalid.Local)
	assert.Equal(t, []string{"material", "quantity"}, []string{invalid.Details[0].Field, invalid.Details[1].Field})
	assert.Equal(t, 1, res.Counts.Failed)
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P-1")
	assert.Equal(t, "Steel 304", row["material"])

	_, err = client.Parts.BulkSync(ctx, []eryxon.Part{partial}, eryxon.WithOverwritingUpdates())
	require.NoError(t, err)
	row, _ = srv.Row(eryxontest.Parts, "SAP", "P-1")
	assert.Equal(t, "Unknown", row["material"], "the caller said so")
}

func TestLostRecordsAmongAChunkAreFoundWithTheirReason(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08AsMigrated, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	jobs := make([]eryxon.Job, 500)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
	}
	jobs[321].JobNumber = "TAKEN"
	res, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	assert.Equal(t, 499, res.Counts.Succeeded())
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[321].Status)
	assert.Len(t, srv.Rows(eryxontest.Jobs), 500)
	assert.LessOrEqual(t, len(srv.Requests()), 24, "a few to take the route, twenty to search")
}

func TestUpdatesOfPartOfTheFieldsAreProvenByTheirHash(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1"})
	require.NoError(t, err)
	parts := make([]eryxon.Part, 200)
	for i := range parts {
		id := "P-" + strconv.Itoa(i)
		parts[i] = eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: "SO-1", Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(25)}
	}
	_, err = client.Parts.BulkSync(t.Context(), parts)
	require.NoError(t, err)
	before := len(srv.Requests())
	for i := range parts {
		parts[i].Material, parts[i].Quantity, parts[i].Notes = eryxon.Opt[string]{}, eryxon.Opt[int]{}, eryxon.Some("rush")
	}
	res, err := client.Parts.BulkSync(t.Context(), parts)
	require.NoError(t, err)
	assert.Equal(t, 200, res.Counts.Updated)
	assert.LessOrEqual(t, len(srv.Requests())-before, 4, "what exists, the job's id at most, the bulk, and what has changed")
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P-77")
	assert.Equal(t, []any{"Steel 304", "rush"}, []any{row["material"], row["notes"]})
}

func TestManyTakenNumbersCostTheInnocentNothing(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	jobs := make([]eryxon.Job, 1000)
	taken := map[int]bool{}
	for i := range jobs {
		jobs[i] = benchlessJob(i)
		if i%100 == 7 {
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": jobs[i].JobNumber})
			taken[i] = true
		}
	}
	res, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	for i, o := range res.Outcomes {
		require.Equalf(t, taken[i], o.Status == eryxon.StatusFailed, "%d: %v", i, o.Err)
		require.Equalf(t, !taken[i], o.Status.Success(), "%d: %v", i, o.Err)
	}
	assert.LessOrEqual(t, len(srv.Requests()), 60)
}

// shift is a dataset of all five entities, of which all rounds but the first give part
// of the fields.
func shift(round int) eryxon.Dataset {
	full := round == 0
	given := func(v string) (o eryxon.Opt[string]) {
		if full {
			o = eryxon.Some(v)
		}
		return o
	}
	cells := make([]eryxon.Cell, 8)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("Cell ", i), Color: eryxon.Some(fmt.Sprintf("#00000%d", round))}
		if full {
			cells[i].Sequence, cells[i].Active = eryxon.Some(i+1), eryxon.Some(true)
		}
	}
	resources := make([]eryxon.Resource, 10)
	for i := range resources {
		resources[i] = eryxon.Resource{ExternalID: fmt.Sprint("M", i), Name: fmt.Sprint("Mill ", i), Type: "tooling", Description: eryxon.Some(fmt.Sprint("round ", round)), Location: given("Hall 1")}
		if full {
			resources[i].Status = eryxon.Some(eryxon.ResourceAvailable)
		}
	}
	jobs := make([]eryxon.Job, 50)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprint("J", i), JobNumber: fmt.Sprint("J", i), Customer: eryxon.Some(fmt.Sprint("customer ", round)), Notes: given("urgent")}
	}
	parts := make([]eryxon.Part, 200)
	for i := range parts {
		parts[i] = eryxon.Part{ExternalID: fmt.Sprint("P", i), PartNumber: fmt.Sprint("P", i), JobExternalID: jobs[i/4].ExternalID, Quantity: eryxon.Some(1 + i + round), Material: given("Steel")}
	}
	ops := make([]eryxon.Operation, 600)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: parts[i/3].ExternalID, CellName: cells[i%8].Name, Notes: eryxon.Some(fmt.Sprint("round ", round))}
		if full {
			ops[i].Sequence, ops[i].EstimatedTimeMinutes = eryxon.Some(i%3+1), eryxon.Some(30.0)
		}
	}
	return eryxon.Dataset{Cells: eryxon.FromSlice(cells), Resources: eryxon.FromSlice(resources), Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts), Operations: eryxon.FromSlice(ops)}
}

// Believing a server costs five requests. Where nothing is lost, being sure costs one
// more for each of the five chunks and ten look-ups at most, one of which is a new
// client's look at what the server is; one that lists what it has done costs five.
func TestBeingSureCostsAFewRequests(t *testing.T) {
	for _, same := range []bool{true, false} {
		srv, client := releaseClient(t, eryxontest.V08)
		for round := range 3 {
			if !same {
				client = another(t, srv)
			}
			before := len(srv.Requests())
			report, err := client.SyncAll(t.Context(), shift(round))
			require.NoError(t, err)
			assert.Equal(t, 868, report.Total().Counts.Succeeded(), report)
			most := 19
			if !same {
				most++
			}
			assert.LessOrEqual(t, len(srv.Requests())-before, most, "round %d, same client: %v", round, same)
		}
	}
	srv, client := releaseClient(t, eryxontest.V01)
	for range 2 {
		before := len(srv.Requests())
		report, err := client.SyncAll(t.Context(), shift(0))
		require.NoError(t, err)
		assert.Equal(t, 868, report.Total().Counts.Succeeded(), report)
		assert.Len(t, srv.Requests()[before:], 5)
	}
	before := len(srv.Requests())
	_, err := another(t, srv).SyncAll(t.Context(), shift(1))
	require.ErrorIs(t, err, eryxon.ErrValidation, "it would overwrite what is left out")
	looks := 0
	for _, r := range srv.Requests()[before:] {
		if r.Method == http.MethodGet {
			looks++
		}
	}
	assert.Equal(t, 1, looks, "one look at the cells tells that, and which there are")
}

// Operations go to the cell that has the name once the run has renamed cells,
// whichever way it has read and renamed them.
func TestOperationsFollowCellsThatTheRunRenames(t *testing.T) {
	for _, n := range []int{4, 30} {
		t.Run(fmt.Sprint(n, " cells"), func(t *testing.T) {
			srv, setup := releaseClient(t, eryxontest.V08)
			cells := make([]eryxon.Cell, n)
			ops := make([]eryxon.Operation, n)
			for i := range cells {
				cells[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("Cell ", i)}
				ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: cells[i].Name}
				whole(&ops[i])
			}
			data := shopFloor("P")
			data.Cells, data.Operations = eryxon.FromSlice(cells), eryxon.FromSlice(ops)
			_, err := setup.SyncAll(t.Context(), data)
			require.NoError(t, err)
			for i := range cells { // each has the next one's name
				cells[i].Name = ops[(i+1)%n].CellName
			}
			data.Cells = eryxon.FromSlice(cells)
			_, err = another(t, srv).SyncAll(t.Context(), data)
			require.NoError(t, err)
			for i := range ops {
				op, _ := srv.Row(eryxontest.Operations, "SAP", fmt.Sprint("O", i))
				cell, _ := srv.Row(eryxontest.Cells, "SAP", fmt.Sprint("C", (i+n-1)%n))
				require.Equal(t, ops[i].CellName, cell["name"])
				assert.Equal(t, cell["id"], op["cell_id"], "operation %d", i)
			}
		})
	}
}

// A few cells that leave fields out are preceded by a look at the server. Where it lists
// as those do that count, the first of the cells tells whether it is one: no bulk goes
// there that would have to be made once more.
func TestTheFirstOfAFewCellsTellsWhatTheServerIs(t *testing.T) {
	cells := make([]eryxon.Cell, 6)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("Cell ", i)}
	}
	for name, tt := range map[string]struct {
		release eryxontest.Release
		opts    []eryxontest.Option
		want    map[string]int // of the second sync, by method
		is      eryxon.Release
	}{
		"counts":                {eryxontest.V08, nil, map[string]int{"GET": 1, "PUT": 6}, eryxon.ReleaseV08},
		"as documented":         {eryxontest.Documented, []eryxontest.Option{eryxontest.WithQuota(100, time.Hour), eryxontest.WithHeadersAlways(false)}, map[string]int{"GET": 1, "PUT": 1, "POST": 1}, eryxon.ReleaseV01},
		"documented, of limits": {eryxontest.Documented, []eryxontest.Option{eryxontest.WithQuota(100, time.Hour), eryxontest.WithHeadersAlways(true)}, map[string]int{"GET": 1, "POST": 1}, eryxon.ReleaseV01},
	} {
		t.Run(name, func(t *testing.T) {
			srv := eryxontest.NewServer(t, append(tt.opts, eryxontest.WithRelease(tt.release))...)
			_, err := another(t, srv).Cells.BulkSync(t.Context(), cells)
			require.NoError(t, err)
			before, c := len(srv.Requests()), another(t, srv)
			res, err := c.Cells.BulkSync(t.Context(), cells)
			require.NoError(t, err)
			assert.Equal(t, eryxon.Counts{Updated: len(cells)}, res.Counts)
			assert.Equal(t, tt.is, c.Release())
			got := make(map[string]int)
			for _, r := range srv.Requests()[before:] {
				got[r.Method]++
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

// New cells beside one that is there go together, once one has shown that they are new;
// and none goes where the server can store none.
func TestFewCellsOfWhichTheFirstIsThere(t *testing.T) {
	cells := make([]eryxon.Cell, 20)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: fmt.Sprint("C", i), Name: fmt.Sprint("Cell ", i)}
	}
	srv, setup := releaseClient(t, eryxontest.V011)
	_, err := setup.Cells.BulkSync(t.Context(), cells[:1])
	require.NoError(t, err)
	before := len(srv.Requests())
	res, err := another(t, srv).Cells.BulkSync(t.Context(), cells)
	require.NoError(t, err)
	assert.Equal(t, eryxon.Counts{Created: 19, Updated: 1}, res.Counts)
	assert.LessOrEqual(t, len(srv.Requests())-before, 10)

	srv, c := releaseClient(t, eryxontest.V08AsMigrated)
	_, err = c.Cells.BulkSync(t.Context(), cells)
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Len(t, srv.Requests(), 2)
}

func TestCellsAreLookedUpAnewForEveryRun(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	cells := []eryxon.Cell{{ExternalID: "c1", Name: "A", Sequence: eryxon.Some(1)}, {ExternalID: "c2", Name: "B", Sequence: eryxon.Some(2)}}
	_, err := client.SyncAll(t.Context(), eryxon.Dataset{Cells: eryxon.FromSlice(cells),
		Jobs:  eryxon.FromSlice([]eryxon.Job{{ExternalID: "j", JobNumber: "j"}}),
		Parts: eryxon.FromSlice([]eryxon.Part{{ExternalID: "p", PartNumber: "p", JobExternalID: "j", Material: eryxon.Some("m"), Quantity: eryxon.Some(1)}})})
	require.NoError(t, err)
	ops := make([]eryxon.Operation, 5)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: strconv.Itoa(i), OperationName: "x", PartExternalID: "p", CellName: "A", Sequence: eryxon.Some(i), EstimatedTimeMinutes: eryxon.Some(1.0)}
	}
	_, err = client.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	cells[0].Name, cells[1].Name = "B", "A"
	_, err = client.Cells.BulkSync(t.Context(), cells)
	require.NoError(t, err)
	_, err = client.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	now, _ := srv.Row(eryxontest.Cells, "SAP", "c2")
	row, _ := srv.Row(eryxontest.Operations, "SAP", "3")
	assert.Equal(t, now["id"], row["cell_id"], "the cell that has the name now")
}

// One single sync after the other does not list the cells each time, but looks again
// before long, and at once where a name is missing or this client has changed cells.
func TestSingleSyncsShareALookAtTheCells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, client := releaseClient(t, eryxontest.V08)
		_, err := client.SyncAll(t.Context(), shopFloor("P"))
		require.NoError(t, err)
		reads := func() (n int) {
			for _, r := range srv.Requests() {
				if r.Method == http.MethodGet && strings.HasSuffix(r.Path, "/api-cells") {
					n++
				}
			}
			return n
		}
		next := 0
		sync := func(cell string) error {
			next++
			_, err := client.Operations.Sync(t.Context(), eryxon.Operation{ExternalID: strconv.Itoa(next), OperationName: "Cut", PartExternalID: "P", CellName: cell, Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(1.0)})
			return err
		}
		before := reads()
		for range 10 {
			require.NoError(t, sync("Cutting"))
		}
		assert.Equal(t, before+1, reads())

		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Bending", "sequence": 2})
		require.NoError(t, sync("Bending"), "made on the shop floor meanwhile")
		assert.Equal(t, before+2, reads())

		_, err = client.Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "Sawing"})
		require.NoError(t, err)
		require.ErrorIs(t, sync("Cutting"), eryxon.ErrParentNotFound, "renamed by this client")
		assert.Equal(t, before+3, reads())

		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Bending", "sequence": 3})
		time.Sleep(time.Minute)
		require.ErrorIs(t, sync("Bending"), eryxon.ErrConflict, "two by now")
	})
}

// What a list has shown is not remembered where the client has changed cells before
// it came.
func TestALateListIsNotRemembered(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08)
	cells := []eryxon.Cell{{ExternalID: "C0", Name: "A", Sequence: eryxon.Some(1)}, {ExternalID: "C1", Name: "B", Sequence: eryxon.Some(2)}, {ExternalID: "C2", Name: "Cutting", Sequence: eryxon.Some(3)}}
	data := shopFloor("P")
	data.Cells = eryxon.FromSlice(cells)
	_, err := setup.SyncAll(t.Context(), data)
	require.NoError(t, err)
	var client *eryxon.Client
	client = another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), afterAnswer("/api-cells", 1, func() {
		for _, c := range []eryxon.Cell{{ExternalID: "C0", Name: "B"}, {ExternalID: "C1", Name: "A"}} {
			_, err := client.Cells.Sync(t.Context(), c)
			require.NoError(t, err)
		}
	}))
	ops := cuts("P", 2, whole)
	ops[1].CellName = "A"
	for _, o := range ops {
		_, err := client.Operations.Sync(t.Context(), o)
		require.NoError(t, err)
	}
	op, _ := srv.Row(eryxontest.Operations, "SAP", "O1")
	cell, _ := srv.Row(eryxontest.Cells, "SAP", "C1")
	assert.Equal(t, []any{"A", cell["id"]}, []any{cell["name"], op["cell_id"]})
}

func TestADeletedCellIsNoUpdate(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08)
	cells := make([]eryxon.Cell, 20)
	for i := range cells {
		cells[i] = eryxon.Cell{ExternalID: "c" + strconv.Itoa(i), Name: "Cell " + strconv.Itoa(i), Sequence: eryxon.Some(i)}
	}
	_, err := client.Cells.BulkSync(t.Context(), cells)
	require.NoError(t, err)
	require.True(t, srv.Delete(eryxontest.Cells, "SAP", "c5"))
	res, err := client.Cells.BulkSync(t.Context(), cells)
	require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[5].Status)
	assert.Equal(t, 19, res.Counts.Succeeded())
}

func TestIdsThatTheCallerGivesAreNotTakenOnTrust(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	cell := srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "A", "sequence": 1})
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "j"})
	part := srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "p", "job_id": job, "material": "m"})
	ops := make([]eryxon.Operation, 6)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: strconv.Itoa(i), OperationName: "x", PartID: part, CellID: cell, Sequence: eryxon.Some(i), EstimatedTimeMinutes: eryxon.Some(1.0)}
	}
	_, err := client.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	ops[3].OperationName, ops[3].CellID = "renamed", "00000000-0000-4000-8000-0000000000ff"
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[3].Status)
	row, _ := srv.Row(eryxontest.Operations, "SAP", "3")
	assert.Equal(t, "x", row["operation_name"])

	parts := make([]eryxon.Part, 50)
	for i := range parts {
		parts[i] = eryxon.Part{ExternalID: "p" + strconv.Itoa(i), PartNumber: "p" + strconv.Itoa(i), JobID: job, Material: eryxon.Some("m"), Quantity: eryxon.Some(1)}
	}
	parts[20].JobID = "00000000-0000-4000-8000-0000000000ff"
	bulk, err := client.Parts.BulkSync(t.Context(), parts)
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Equal(t, 49, bulk.Counts.Succeeded(), "the others land")
}

func TestACallFromTheConsumersLoopIsNotHeldUpByItsOwnStream(t *testing.T) {
	_, client := releaseClient(t, eryxontest.Documented)
	jobs := func(yield func(eryxon.Job, error) bool) {
		for i := range 40 {
			if !yield(benchlessJob(i), nil) {
				return
			}
		}
	}
	n := 0
	for o := range client.Jobs.Stream(t.Context(), jobs, eryxon.WithMaxRequestRecords(10), eryxon.WithConcurrency(4)).All() {
		n++
		if o.Index == 0 {
			_, err := client.Jobs.Sync(t.Context(), benchlessJob(15))
			require.NoError(t, err)
		}
	}
	assert.Equal(t, 40, n)
}

func TestAParentThatIsAnotherRowNowIsLookedUpAgain(t *testing.T) {
	job := eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1"}
	part := eryxon.Part{ExternalID: "P-1", PartNumber: "BR", JobExternalID: "SO-1", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}
	cell := eryxon.Cell{ExternalID: "C", Name: "Cutting", Sequence: eryxon.Some(1)}
	ops := make([]eryxon.Operation, 50)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: strconv.Itoa(i), OperationName: "x", PartExternalID: "P-1", CellName: "Cutting", Sequence: eryxon.Some(i), EstimatedTimeMinutes: eryxon.Some(1.0)}
	}
	build := func(client *eryxon.Client) {
		_, err := client.Cells.BulkSync(t.Context(), []eryxon.Cell{cell})
		require.NoError(t, err)
		_, err = client.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
		require.NoError(t, err)
		_, err = client.Parts.BulkSync(t.Context(), []eryxon.Part{part})
		require.NoError(t, err)
	}
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	anew := func() {
		srv.Reset()
		stranger, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"), eryxon.WithRelease(eryxon.ReleaseV08))
		require.NoError(t, err)
		build(stranger)
	}
	build(client)

	anew()
	one, err := client.Operations.Sync(t.Context(), ops[0])
	require.NoError(t, err)
	assert.Equal(t, eryxon.StatusCreated, one.Status)

	anew()
	before := len(srv.Requests())
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	assert.Equal(t, 50, res.Counts.Succeeded())
	assert.LessOrEqual(t, len(srv.Requests())-before, 15)
	now, _ := srv.Row(eryxontest.Parts, "SAP", "P-1")
	for i := range ops {
		row, ok := srv.Row(eryxontest.Operations, "SAP", ops[i].ExternalID)
		require.True(t, ok)
		assert.Equal(t, now["id"], row["part_id"])
	}

	anew()
	part.Notes = eryxon.Null[string]() // not for the fast route
	bulk, err := client.Parts.BulkSync(t.Context(), []eryxon.Part{part})
	require.NoError(t, err)
	assert.Equal(t, 1, bulk.Counts.Succeeded())

	srv.Reset()
	gone, err := client.Operations.BulkSync(t.Context(), ops[:2])
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Equal(t, 2, gone.Counts.Failed)
}

func TestNothingIsLinkedToADeletedRow(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	_, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"}})
	require.NoError(t, err)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 1})
	part := eryxon.Part{ExternalID: "P-1", PartNumber: "BR", JobExternalID: "SO-1", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}
	for range 2 {
		_, err = client.Parts.BulkSync(t.Context(), []eryxon.Part{part})
		srv.Delete(eryxontest.Parts, "SAP", "P-1")
	}
	require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
	op := eryxon.Operation{ExternalID: "O-1", OperationName: "x", PartExternalID: "P-1", CellName: "Cutting", Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(1.0)}
	res, err := client.Operations.BulkSync(t.Context(), []eryxon.Operation{op})
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	assert.Equal(t, 1, res.Counts.Failed)
}

// A number that is taken may be the deleted row's own.
func TestNothingIsLinkedToARowWhoseNumberIsTaken(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	job := eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1"}
	_, err := client.Jobs.Sync(t.Context(), job)
	require.NoError(t, err)
	require.True(t, srv.Delete(eryxontest.Jobs, "SAP", "SO-1"))
	srv.FailRecord(eryxontest.Jobs, "SO-1", `duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`)
	_, err = client.Jobs.Sync(t.Context(), job)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	_, err = client.Parts.Sync(t.Context(), eryxon.Part{ExternalID: "P-1", PartNumber: "P-1", JobExternalID: "SO-1", Material: eryxon.Some("Steel")})
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
}

func TestAnOperationsStatusIsShownToBeTakenByOneSync(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	cell := srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "A", "sequence": 1})
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "j"})
	srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "p", "job_id": job, "material": "m", "external_source": "SAP", "external_id": "p"})
	ops := make([]eryxon.Operation, 200)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: strconv.Itoa(i), OperationName: "x", PartExternalID: "p", CellName: "A", Sequence: eryxon.Some(i), EstimatedTimeMinutes: eryxon.Some(1.0)}
		if i%2 == 0 {
			ops[i].Status = eryxon.Some(eryxon.WorkInProgress)
		}
	}
	for round := range 2 {
		before := len(srv.Requests())
		res, err := client.Operations.BulkSync(t.Context(), ops)
		require.NoError(t, err)
		assert.Equal(t, 200, res.Counts.Succeeded())
		assert.LessOrEqual(t, len(srv.Requests())-before, 5, "the part, the cells, one for the status, the bulk twice")
		for i := range ops {
			row, _ := srv.Row(eryxontest.Operations, "SAP", ops[i].ExternalID)
			require.Equal(t, cell, row["cell_id"])
			if i%2 == 0 {
				require.Equalf(t, string(ops[i].Status.Or("")), row["status"], "round %d: %d", round, i)
			}
			ops[i].Status = eryxon.Some(eryxon.WorkOnHold)
		}
	}
	ops = ops[:30]
	for i := range ops {
		ops[i].Status = eryxon.Null[eryxon.WorkStatus]()
		if i%3 == 0 {
			ops[i].Status = eryxon.Some(eryxon.WorkStatus("on fire"))
		}
		if i%3 == 1 {
			ops[i].Status = eryxon.Some(eryxon.WorkStatus(""))
		}
	}
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.ErrorIs(t, err, eryxon.ErrValidation)
	for i := range ops {
		row, _ := srv.Row(eryxontest.Operations, "SAP", ops[i].ExternalID)
		if i%3 == 2 {
			assert.Nil(t, row["status"])
			assert.True(t, res.Outcomes[i].Status.Success())
			continue
		}
		assert.Equal(t, eryxon.StatusFailed, res.Outcomes[i].Status)
		assert.Equal(t, "on_hold", row["status"])
	}
}

// Columns that the SDK does not know don't make every record a request of its own
// while it is new; that an update has written them only its own row shows.
func TestNewOperationsWithColumnsOfTheirOwnGoInBulk(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	ops := make([]eryxon.Operation, 60)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting", Sequence: eryxon.Some(i),
			Extra: map[string]any{"metadata": map[string]any{"line": i}}}
	}
	ops[33].Extra = map[string]any{"no_such_column": 1}
	data := eryxon.Dataset{
		Cells:      eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting", Sequence: eryxon.Some(1)}}),
		Jobs:       eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: eryxon.Some("Steel"), Quantity: eryxon.Some(1)}}),
		Operations: eryxon.FromSlice(ops),
	}
	report, err := client.SyncAll(t.Context(), data)
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Equal(t, eryxon.Counts{Created: 59, Failed: 1}, counts(report.Operations.Counts.Created+report.Operations.Counts.Synced, report.Operations.Counts.Failed))
	assert.Len(t, srv.Rows(eryxontest.Operations), 59)
	assert.LessOrEqual(t, len(srv.Requests()), 20)

	before := len(srv.Requests())
	report, err = client.SyncAll(t.Context(), data)
	require.ErrorIs(t, err, eryxon.ErrMissingColumn)
	assert.Equal(t, 59, report.Operations.Counts.Updated+report.Operations.Counts.Synced)
	assert.Equal(t, 1, report.Operations.Counts.Failed)
	assert.GreaterOrEqual(t, len(srv.Requests())-before, 60, "each shows its row")
}

func counts(created, failed int) eryxon.Counts {
	return eryxon.Counts{Created: created, Failed: failed}
}

func TestUpdatesOfOldRowsAreProven(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	jobs := make([]eryxon.Job, 2300)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
	}
	_, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.NoError(t, err)
	before := len(srv.Requests())
	old := jobs[:400]
	for i := range old {
		old[i].Notes = eryxon.Null[string]()
	}
	res, err := client.Jobs.BulkSync(t.Context(), old)
	require.NoError(t, err)
	assert.Equal(t, 400, res.Counts.Updated)
	assert.LessOrEqual(t, len(srv.Requests())-before, 5, "what exists, the bulk, and what has changed")
}

func TestAColumnThatNoListShowsDoesNotHideAnUpdate(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V08, eryxontest.V08AsMigrated} {
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release, eryxon.WithRelease(eryxon.ReleaseV08))
			jobs := make([]eryxon.Job, 200)
			for i := range jobs {
				jobs[i] = benchlessJob(i)
			}
			_, err := client.Jobs.BulkSync(t.Context(), jobs)
			require.NoError(t, err)
			for i := range jobs {
				jobs[i].Priority, jobs[i].Status = eryxon.Some(i), eryxon.Some(eryxon.WorkNotStarted)
			}
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
			jobs[50].JobNumber = "TAKEN"
			before := len(srv.Requests())
			res, err := client.Jobs.BulkSync(t.Context(), jobs)
			require.Error(t, err)
			if release == eryxontest.V08 {
				assert.Equal(t, 199, res.Counts.Succeeded())
				require.ErrorIs(t, res.Outcomes[50].Err, eryxon.ErrNaturalKeyTaken)
				assert.LessOrEqual(t, len(srv.Requests())-before, 5, "what exists, the bulk, what has changed, and the bad one")
				row, _ := srv.Row(eryxontest.Jobs, "SAP", "SO-77")
				assert.EqualValues(t, 77, row["priority"])
				return
			}
			assert.Zero(t, res.Counts.Succeeded(), "the rows looked so before")
			_, err = client.Jobs.Sync(t.Context(), jobs[0], eryxon.WithMissingColumnsOmitted())
			require.NoError(t, err)
			before = len(srv.Requests())
			res, err = client.Jobs.BulkSync(t.Context(), jobs, eryxon.WithMissingColumnsOmitted())
			require.Error(t, err)
			assert.Equal(t, 180, res.Counts.Unknown, "updates can't be told in bulk where jobs can't be compared and looked the same before")
			assert.Equal(t, 20, res.Counts.Succeeded())
			assert.LessOrEqual(t, len(srv.Requests())-before, 5+20)
		})
	}
}

func TestIdsThatTheCallerGivesAreLookedForInLists(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	const nowhere = "00000000-0000-4000-8000-0000000000ff"
	job := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "j"})
	var cells, parts []string
	for i := range 5 {
		cells = append(cells, srv.Seed(eryxontest.Cells, eryxontest.Row{"name": strconv.Itoa(i), "sequence": 1}))
	}
	for i := range 100 {
		parts = append(parts, srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": strconv.Itoa(i), "job_id": job, "material": "m"}))
	}
	ops := make([]eryxon.Operation, 600)
	for i := range ops {
		ops[i] = eryxon.Operation{ExternalID: strconv.Itoa(i), OperationName: "x", PartID: parts[i%100], CellID: cells[i%5], Sequence: eryxon.Some(i), EstimatedTimeMinutes: eryxon.Some(1.0)}
	}
	for range 2 {
		before := len(srv.Requests())
		res, err := client.Operations.BulkSync(t.Context(), ops)
		require.NoError(t, err)
		assert.Equal(t, 600, res.Counts.Succeeded())
		assert.LessOrEqual(t, len(srv.Requests())-before, 5)
	}
	for i := range ops {
		ops[i].Notes = eryxon.Some("new")
	}
	ops[3].CellID = nowhere
	ops[4].PartID, ops[5].PartID = nowhere, cells[0]
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.ErrorIs(t, err, eryxon.ErrParentNotFound)
	for i, o := range res.Outcomes {
		row, _ := srv.Row(eryxontest.Operations, "SAP", ops[i].ExternalID)
		if i >= 3 && i <= 5 {
			assert.Equal(t, eryxon.StatusFailed, o.Status)
			assert.Nil(t, row["notes"])
			continue
		}
		require.True(t, o.Status.Success())
		require.Equal(t, "new", row["notes"])
	}
}

func TestAnUnknownServerIsAskedByOneRequestOfADatasetOnly(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseUnknown))
	_, err := client.SyncAll(t.Context(), eryxon.Dataset{
		Cells:     eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#3b82f6"), Sequence: eryxon.Some(1), Active: eryxon.Some(true)}}),
		Resources: eryxon.FromSlice([]eryxon.Resource{{ExternalID: "R", Name: "Mill", Type: eryxon.ResourceEquipment, Status: eryxon.Some(eryxon.ResourceInUse), Active: eryxon.Some(true)}}),
		Jobs:      eryxon.FromSlice([]eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"}}),
	})
	require.NoError(t, err)
	var paths []string
	for _, r := range srv.Requests() {
		paths = append(paths, strings.TrimPrefix(r.Path, "/functions/v1"))
	}
	assert.ElementsMatch(t, []string{"/api-cells/bulk-sync", "/api-cells/sync", "/api-erp-sync/sync", "/api-erp-sync/sync"}, paths)
}

func TestNewCellsCostLittleOnAServerThatIsNotKnownYet(t *testing.T) {
	for release, most := range map[eryxontest.Release]int{eryxontest.V08: 3, eryxontest.V08AsMigrated: 2} {
		srv, client := releaseClient(t, release)
		cells := make([]eryxon.Cell, 60)
		for i := range cells {
			cells[i] = eryxon.Cell{ExternalID: "c" + strconv.Itoa(i), Name: "Cell " + strconv.Itoa(i), Color: eryxon.Some("#3b82f6"), Sequence: eryxon.Some(i), Active: eryxon.Some(true)}
		}
		res, _ := client.Cells.BulkSync(t.Context(), cells)
		assert.Len(t, srv.Requests(), most, release)
		assert.Len(t, srv.Rows(eryxontest.Cells), res.Counts.Succeeded(), release)
		assert.Zero(t, res.Counts.Unknown)

		// A second time they cost the same, however many they are.
		before := len(srv.Requests())
		res, _ = client.Cells.BulkSync(t.Context(), cells)
		assert.Len(t, srv.Rows(eryxontest.Cells), res.Counts.Succeeded(), release)
		assert.Zero(t, res.Counts.Unknown)
		assert.LessOrEqual(t, len(srv.Requests())-before, 2, release)
	}
}

func TestOneQuestionTellsOfAllRecordsThatNeedIt(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	_, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{benchlessJob(0)})
	require.NoError(t, err)
	parts := make([]eryxon.Part, 90)
	for i := range parts {
		id := "P-" + strconv.Itoa(i)
		parts[i] = eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: "SO-0", Material: eryxon.Some("Steel 304"), Quantity: eryxon.Some(25)}
		switch i % 3 {
		case 1:
			parts[i].Status = eryxon.Some(eryxon.WorkInProgress)
		case 2:
			parts[i].Quantity = eryxon.Opt[int]{}
		}
	}
	for round := range 2 {
		before := len(srv.Requests())
		res, err := client.Parts.BulkSync(t.Context(), parts)
		require.NoError(t, err)
		assert.Equal(t, 90, res.Counts.Succeeded())
		assert.LessOrEqual(t, len(srv.Requests())-before, 5-round, "what exists, the fast route, the job's id, the bulk, and what has changed")
		for i := range parts {
			row, _ := srv.Row(eryxontest.Parts, "SAP", parts[i].ExternalID)
			if i%3 == 1 {
				require.Equal(t, "in_progress", row["status"])
			}
		}
	}
}

func TestABadRecordAmongNewOnesIsFoundInFewRequests(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	jobs := make([]eryxon.Job, 500)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
	}
	jobs[77].JobNumber = "TAKEN"
	res, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
	assert.Equal(t, 499, res.Counts.Created)
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[77].Status)
	assert.NotEmpty(t, res.Outcomes[78].ID)
	assert.Len(t, srv.Requests(), 3, "all together, each by itself, and what became of them")

	parts := make([]eryxon.Part, 300)
	for i := range parts {
		id := "P-" + strconv.Itoa(i)
		parts[i] = eryxon.Part{ExternalID: id, PartNumber: id, JobExternalID: "SO-" + strconv.Itoa(i), Material: eryxon.Some("Steel")}
	}
	for _, i := range []int{20, 30} { // deleted rows, which fail all creates beside them
		srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "old" + strconv.Itoa(i), "job_id": res.Outcomes[0].ID, "material": "m", "external_source": "SAP", "external_id": parts[i].ExternalID})
		require.True(t, srv.Delete(eryxontest.Parts, "SAP", parts[i].ExternalID))
	}
	parts[40].JobExternalID, parts[40].JobID = "", "00000000-0000-4000-8000-0000000000ff"
	before := len(srv.Requests())
	res, err = client.Parts.BulkSync(t.Context(), parts)
	require.Error(t, err)
	for i, o := range res.Outcomes {
		want := map[int]error{20: eryxon.ErrDeletedOnServer, 30: eryxon.ErrDeletedOnServer, 40: eryxon.ErrParentNotFound, 77: eryxon.ErrParentNotFound}[i]
		if want != nil {
			require.ErrorIs(t, o.Err, want)
			require.Equal(t, eryxon.StatusFailed, o.Status)
			continue
		}
		require.Truef(t, o.Status.Success(), "%d: %v", i, o.Err)
		row, ok := srv.Row(eryxontest.Parts, "SAP", parts[i].ExternalID)
		require.True(t, ok)
		require.Equal(t, "Steel", row["material"])
	}
	assert.LessOrEqual(t, len(srv.Requests())-before, 9)
}

func TestWhatAFillingServerWouldKeepIsNotReportedAsCleared(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	full := eryxon.Job{ExternalID: "j", JobNumber: "j", Customer: eryxon.Some("Acme"), Notes: eryxon.Some("n"), Status: eryxon.Some(eryxon.WorkInProgress)}
	_, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{full})
	require.NoError(t, err)
	for name, change := range map[string]func(*eryxon.Job){
		"empty customer": func(j *eryxon.Job) { j.Customer = eryxon.Some("") },
		"null notes":     func(j *eryxon.Job) { j.Notes = eryxon.Null[string]() },
		"null status":    func(j *eryxon.Job) { j.Status = eryxon.Null[eryxon.WorkStatus]() },
		"empty status":   func(j *eryxon.Job) { j.Status = eryxon.Some(eryxon.WorkStatus("")) },
	} {
		job := full
		change(&job)
		_, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
		require.ErrorIs(t, err, eryxon.ErrValidation, name)
		require.ErrorContains(t, err, "WithOverwritingUpdates", name)
		_, err = client.Jobs.Sync(t.Context(), job)
		require.ErrorIs(t, err, eryxon.ErrValidation, name)
		row, _ := srv.Row(eryxontest.Jobs, "SAP", "j")
		assert.Equal(t, []any{"Acme", "n", "in_progress"}, []any{row["customer"], row["notes"], row["status"]}, name)
		_, err = client.Jobs.BulkSync(t.Context(), []eryxon.Job{job}, eryxon.WithOverwritingUpdates())
		require.NoError(t, err, name)
		job.ExternalID, job.JobNumber = "new "+name, "new "+name
		res, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
		if job.Status != full.Status {
			require.ErrorIs(t, err, eryxon.ErrValidation, "a new row would get a default")
			continue
		}
		require.NoError(t, err, "a new row has nothing to clear")
		assert.Equal(t, 1, res.Counts.Created)
	}
}

func TestAStatusCostsAFillingServerNoMoreThanItMust(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V01)
	jobs := make([]eryxon.Job, 100)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
		if i%2 == 0 {
			jobs[i].Status = eryxon.Some(eryxon.WorkInProgress)
		}
	}
	check := func(most int, want eryxon.Status) {
		t.Helper()
		before := len(srv.Requests())
		res, err := client.Jobs.BulkSync(t.Context(), jobs)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(srv.Requests())-before, most)
		for i, o := range res.Outcomes {
			require.Equal(t, want, o.Status)
			require.NotEmpty(t, o.ID)
			row, _ := srv.Row(eryxontest.Jobs, "SAP", jobs[i].ExternalID)
			if s, ok := jobs[i].Status.Get(); ok {
				require.Equal(t, string(s), row["status"])
			}
		}
	}
	check(1, eryxon.StatusCreated)
	check(3, eryxon.StatusUpdated) // the server is asked whether it fills, the rows show it
	jobs[4].Status, jobs[6].Status = eryxon.Some(eryxon.WorkCompleted), eryxon.Some(eryxon.WorkOnHold)
	check(4, eryxon.StatusUpdated)
	jobs[8].Status = eryxon.Some(eryxon.WorkStatus("on fire"))
	res, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, eryxon.ErrValidation)
	assert.Equal(t, 1, res.Counts.Failed)
}

// A single sync's row tells whether a field was cleared, whatever its action says.
func TestAFieldThatIsNotClearedIsNoSuccess(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv, client := releaseClient(t, release)
			cell := eryxon.Cell{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#123456"), Sequence: eryxon.Some(1), Active: eryxon.Some(true)}
			_, err := client.Cells.Sync(t.Context(), cell)
			require.NoError(t, err)
			cell.Color = eryxon.Null[string]()
			res, err := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08)).Cells.Sync(t.Context(), cell) // which it may not be
			if release == eryxontest.V08 {
				require.NoError(t, err)
				assert.Equal(t, eryxon.StatusUpdated, res.Status)
				return
			}
			require.ErrorContains(t, err, "color")
			assert.Equal(t, eryxon.StatusUnknown, res.Status, "the rest of it arrived")
		})
	}
}

// What a bulk may have made, beside bad records, is not said to have been there.
func TestNewRowsBesideBadOnesAreNotUpdates(t *testing.T) {
	srv, client := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV08))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	jobs := make([]eryxon.Job, 6)
	for i := range jobs {
		jobs[i] = benchlessJob(i)
	}
	jobs[2].JobNumber = "TAKEN"
	jobs[4].Priority = eryxon.Some(3_000_000_000) // beyond what the column takes
	jobs[5].JobNumber = strings.Repeat("x", 300)  // which a bulk names, and does not try
	res, err := client.Jobs.BulkSync(t.Context(), jobs)
	require.Error(t, err)
	for i, o := range res.Outcomes {
		if i == 2 || i == 4 {
			assert.Equal(t, eryxon.StatusFailed, o.Status)
			continue
		}
		assert.NotEqual(t, eryxon.StatusUpdated, o.Status, "record %d is new", i)
	}
}
