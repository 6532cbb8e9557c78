package eryxon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

// mortal is a state whose process dies after some writes: from then on nothing
// reaches it, while requests in flight go on.
type mortal struct {
	eryxon.State
	mu   sync.Mutex
	left int
}

var errDead = errors.New("the process is dead")

func (m *mortal) Put(header []byte, entries []eryxon.StateEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left < 0 {
		return errDead
	}
	return m.State.Put(header, entries)
}

// order is a job of the ERP with what hangs on it.
type order struct {
	job  eryxon.Job
	part eryxon.Part
	op   eryxon.Operation
}

func randomText(r *rand.Rand) eryxon.Opt[string] {
	return eryxon.Some(fmt.Sprint("text ", r.IntN(4))) // few, so that edits are taken back
}

func (o *order) edit(r *rand.Rand) {
	switch r.IntN(6) {
	case 0:
		o.job.Customer = randomText(r)
	case 1:
		o.job.Notes = randomText(r)
	case 2:
		o.job.DueDate = eryxon.Some(eryxon.NewDate(2026, time.December, 1+r.IntN(3)))
	case 3:
		o.part.Material = randomText(r)
	case 4:
		o.part.Quantity = eryxon.Some(1 + r.IntN(3))
	default:
		o.op.Notes = randomText(r)
	}
}

// erp is what an ERP exports.
type erp struct {
	cells  []eryxon.Cell
	orders []order
}

func newERP(r *rand.Rand) *erp {
	e := &erp{cells: []eryxon.Cell{
		{ExternalID: "C1", Name: "Cutting", Color: eryxon.Some("#111111"), Sequence: eryxon.Some(1), Active: eryxon.Some(true)},
		{ExternalID: "C2", Name: "Bending", Color: eryxon.Some("#222222"), Sequence: eryxon.Some(2), Active: eryxon.Some(true)},
	}}
	for range 2 + r.IntN(8) {
		e.add(r)
	}
	return e
}

func (e *erp) add(r *rand.Rand) {
	id := fmt.Sprint(len(e.orders))
	o := order{
		job:  eryxon.Job{ExternalID: "J" + id, JobNumber: "N" + id, Customer: randomText(r), Notes: randomText(r)},
		part: eryxon.Part{ExternalID: "P" + id, PartNumber: "B" + id, JobExternalID: "J" + id, Material: randomText(r), Quantity: eryxon.Some(1)},
		op: eryxon.Operation{ExternalID: "O" + id, OperationName: "Cut", PartExternalID: "P" + id, CellName: "Cutting",
			Sequence: eryxon.Some(1), EstimatedTimeMinutes: eryxon.Some(float64(1 + r.IntN(3))), Notes: randomText(r)},
	}
	e.orders = append(e.orders, o)
}

func (e *erp) export() eryxon.Dataset {
	var jobs []eryxon.Job
	var parts []eryxon.Part
	var ops []eryxon.Operation
	for _, o := range e.orders {
		jobs, parts, ops = append(jobs, o.job), append(parts, o.part), append(ops, o.op)
	}
	return eryxon.Dataset{Cells: eryxon.FromSlice(slices.Clone(e.cells)), Jobs: eryxon.FromSlice(jobs), Parts: eryxon.FromSlice(parts), Operations: eryxon.FromSlice(ops)}
}

// acks are the statuses of successes by external id.
type acks map[eryxon.Entity]map[string]string

// differs tells what of an order the server does not hold although a record
// was reported as there.
func (e *erp) differs(srv *eryxontest.Server, ok acks) (found []string) {
	compare := func(entity eryxon.Entity, kind eryxontest.Entity, id string, want map[string]any) {
		status, success := ok[entity][id]
		if !success {
			return
		}
		row, there := srv.Row(kind, "SAP", id)
		if !there {
			found = append(found, fmt.Sprintf("%s %s is said to be %s and is not there", entity, id, status))
			return
		}
		for name, v := range want {
			if fmt.Sprint(row[name]) != fmt.Sprint(v) {
				found = append(found, fmt.Sprintf("%s %s is said to be %s: %s is %v, want %v", entity, id, status, name, row[name], v))
			}
		}
	}
	for _, o := range e.orders {
		compare(eryxon.EntityJobs, eryxontest.Jobs, o.job.ExternalID, map[string]any{"customer": o.job.Customer.Or(""), "notes": o.job.Notes.Or(""), "job_number": o.job.JobNumber})
		compare(eryxon.EntityParts, eryxontest.Parts, o.part.ExternalID, map[string]any{"material": o.part.Material.Or(""), "quantity": o.part.Quantity.Or(0)})
		compare(eryxon.EntityOperations, eryxontest.Operations, o.op.ExternalID, map[string]any{"notes": o.op.Notes.Or(""), "estimated_time": o.op.EstimatedTimeMinutes.Or(0)})
	}
	return found
}

// acknowledged reads the successes out of an audit log.
func acknowledged(t *testing.T, log *bytes.Buffer) acks {
	t.Helper()
	ok := acks{}
	for line := range bytes.Lines(log.Bytes()) {
		var ack struct {
			Entity     eryxon.Entity
			ExternalID string `json:"external_id"`
			Status     string
		}
		require.NoError(t, json.Unmarshal(line, &ack))
		if ok[ack.Entity] == nil {
			ok[ack.Entity] = map[string]string{}
		}
		ok[ack.Entity][ack.ExternalID] = ack.Status
	}
	return ok
}

// Whatever happens to runs and to the process, what is reported as there is
// there, with the content of the input, and the run after the trouble brings
// everything.
func TestStateHistories(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			for seed := range runs(t, 25) {
				synctest.Test(t, func(t *testing.T) { stateHistory(t, release, uint64(seed)) })
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func stateHistory(t *testing.T, release eryxontest.Release, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	srv := eryxontest.New(eryxontest.WithRelease(release))
	defer srv.Close()
	memory := syncstate.NewMemory()
	e := newERP(r)
	run := func(state eryxon.State, client *eryxon.Client) acks {
		var log bytes.Buffer
		opts := []eryxon.SyncAllOption{eryxon.WithState(state), eryxon.WithAuditLog(&log), eryxon.WithMaxRequestRecords(1 + r.IntN(6)), eryxon.WithConcurrency(1 + r.IntN(3))}
		if r.IntN(6) == 0 {
			opts = append(opts, eryxon.WithRequestBudget(1+r.IntN(12)))
		}
		if r.IntN(8) == 0 {
			opts = append(opts, eryxon.WithFull())
		}
		report, err := client.SyncAll(t.Context(), e.export(), opts...)
		ok := acknowledged(t, &log)
		if err == nil {
			assert.Equal(t, report.Total().Read, report.Total().Counts.Succeeded())
		}
		return ok
	}
	client := clientOf(t, srv)
	for range 3 + r.IntN(6) {
		for range r.IntN(5) {
			e.orders[r.IntN(len(e.orders))].edit(r)
		}
		if r.IntN(4) == 0 {
			e.add(r)
		}
		if r.IntN(2) == 0 {
			srv.Chaos(r.Uint64(), r.Float64()*0.6, allFaults()...)
		}
		state := eryxon.State(memory)
		crash := r.IntN(3) == 0
		if crash {
			state = &mortal{State: memory, left: r.IntN(12)}
		}
		if r.IntN(2) == 0 {
			client = clientOf(t, srv) // another process
		}
		ok := run(state, client)
		if crash {
			// Nobody has heard the outcomes; what was in flight goes on.
			time.Sleep(2 * time.Hour)
			client = clientOf(t, srv)
		} else {
			assert.Empty(t, e.differs(srv, ok))
		}
		srv.Chaos(0, 0)
	}
	var log bytes.Buffer
	report, err := clientOf(t, srv).SyncAll(t.Context(), e.export(), eryxon.WithState(memory), eryxon.WithAuditLog(&log))
	require.NoError(t, err)
	assert.Empty(t, e.differs(srv, acknowledged(t, &log)))
	assert.Equal(t, report.Total().Read, report.Total().Counts.Succeeded())

	before := len(srv.Requests())
	report, err = clientOf(t, srv).SyncAll(t.Context(), e.export(), eryxon.WithState(memory))
	require.NoError(t, err)
	assert.Equal(t, report.Total().Read, report.Total().Counts.Unchanged)
	assert.Len(t, srv.Requests(), before)
}

// A record of which nobody knows whether its first try made a row goes without its
// status. Where that, in turn, may have made the row, the status goes after it: no
// success leaves it out for good.
func TestAStatusIsNotLeftOutForGood(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		for way := range ways(nil) {
			t.Run(string(release)+" "+way, func(t *testing.T) {
				srv, _ := releaseClient(t, release)
				client := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
				_, err := client.Jobs.BulkSync(t.Context(), heldJobs(2, eryxon.Opt[eryxon.WorkStatus]{})) // which tells the release
				require.NoError(t, err)
				job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold)}
				srv.Script("", eryxontest.CloseBefore(), eryxontest.CloseBefore())
				o, _ := ways(client)[way](t.Context(), job)
				require.Equal(t, eryxon.StatusUnknown, o.Status)
				srv.Script("", eryxontest.LoseAnswer())
				o, _ = ways(client)[way](t.Context(), job)
				require.Equal(t, eryxon.StatusSynced, o.Status)
				row, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
				assert.Equal(t, "on_hold", row["status"])

				job.ExternalID, job.JobNumber = "K", "K"
				srv.Script("", eryxontest.CloseBefore(), eryxontest.CloseBefore())
				_, _ = ways(client)[way](t.Context(), job)
				srv.Script("", eryxontest.LoseAnswer(), eryxontest.CloseBefore())
				o, _ = ways(client)[way](t.Context(), job)
				require.Equal(t, eryxon.StatusUnknown, o.Status)
				o, err = ways(client)[way](t.Context(), job)
				require.NoError(t, err)
				row, _ = srv.Row(eryxontest.Jobs, "SAP", "K")
				assert.Equal(t, "on_hold", row["status"])
			})
		}
	}
}

// cutOff is a client that gets no answer to requests of a path, and does not reach the
// server with them, while cut is set.
func cutOff(srv *eryxontest.Server, path string, cut *bool) *http.Client {
	hc := srv.Client()
	next := hc.Transport
	hc.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if *cut && strings.HasPrefix(r.URL.Path, path) {
			return nil, io.ErrUnexpectedEOF
		}
		return next.RoundTrip(r)
	})
	return hc
}

// What is doubtful goes without its status, in one request with what is there; where
// the answer does not tell the two apart, no success leaves a status out.
func TestAStatusIsNotLeftOutWhereNewAndOldAreNotToldApart(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08)
	_, err := setup.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	ops := cuts("P", 40, func(o *eryxon.Operation) { whole(o); o.Status = eryxon.Some(eryxon.WorkOnHold) })
	cut, st := false, syncstate.NewMemory()
	client := another(t, srv, eryxon.WithHTTPClient(cutOff(srv, "/functions/v1/api-operations", &cut)), eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(st))
	cut = true
	res, err := client.Operations.BulkSync(t.Context(), ops)
	require.Error(t, err)
	require.Equal(t, 40, res.Counts.Unknown)
	_, err = setup.Operations.BulkSync(t.Context(), ops[:20]) // as if half of them had arrived
	require.NoError(t, err)
	cut = false
	res, err = client.Operations.BulkSync(t.Context(), ops)
	require.NoError(t, err)
	assert.Equal(t, 40, res.Counts.Succeeded())
	for _, o := range ops {
		row, _ := srv.Row(eryxontest.Operations, "SAP", o.ExternalID)
		assert.Equal(t, "on_hold", row["status"], o.ExternalID)
	}
}

// A list that shows deleted rows proves nothing of records that can't be asked about.
func TestCheckBelievesNoListThatShowsDeletedRows(t *testing.T) {
	for name, tt := range map[string]struct {
		id     string
		faults []eryxontest.Fault
	}{
		"a quotation mark": {id: `5" pipe`},
		"a backslash":      {id: `a\b`},
		"no question":      {"J", []eryxontest.Fault{eryxontest.Status(404), eryxontest.Status(404)}},
	} {
		t.Run(name, func(t *testing.T) {
			srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithState(syncstate.NewMemory()))
			list := []eryxon.Job{{ExternalID: tt.id, JobNumber: "J"}}
			_, err := c.Jobs.BulkSync(t.Context(), list)
			require.NoError(t, err)
			require.True(t, srv.Delete(eryxontest.Jobs, "SAP", tt.id))
			srv.Script("/diff", tt.faults...)
			report, err := c.Check(t.Context(), eryxon.CheckOptions{Entities: []eryxon.Entity{eryxon.EntityJobs}})
			require.NoError(t, err)
			assert.Zero(t, report.Jobs.Present)
			assert.Equal(t, 1, report.Jobs.NotTold)
			_, err = c.Jobs.BulkSync(t.Context(), list)
			require.ErrorIs(t, err, eryxon.ErrDeletedOnServer)
		})
	}
}

// What the shop floor has begun is not put back where the status that is in doubt is
// the one that a new row has anyway.
func TestWhatHasBegunIsNotPutBack(t *testing.T) {
	srv, setup := releaseClient(t, eryxontest.V08)
	_, err := setup.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	status := func(s eryxon.WorkStatus) func(*eryxon.Operation) {
		return func(o *eryxon.Operation) { whole(o); o.Status = eryxon.Some(s) }
	}
	ops := cuts("P", 40, status(eryxon.WorkNotStarted))
	cut := true
	client := another(t, srv, eryxon.WithHTTPClient(cutOff(srv, "/functions/v1/api-operations", &cut)), eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(syncstate.NewMemory()))
	_, err = client.Operations.BulkSync(t.Context(), ops)
	require.Error(t, err)
	_, err = setup.Operations.BulkSync(t.Context(), ops[:20]) // half of them had arrived
	require.NoError(t, err)
	_, err = setup.Operations.BulkSync(t.Context(), cuts("P", 20, status(eryxon.WorkInProgress)))
	require.NoError(t, err)
	cut = false
	for range 2 {
		_, err = client.Operations.BulkSync(t.Context(), ops)
		require.NoError(t, err)
		for i, o := range ops {
			row, _ := srv.Row(eryxontest.Operations, "SAP", o.ExternalID)
			assert.Equal(t, i < 20, row["status"] == "in_progress", "%d: %s", i, row["status"])
		}
	}
}

// A row that the run has just seen is an update, also where the answer to it got lost:
// nothing that it leaves to the shop floor is sent.
func TestARowThatWasSeenIsNotTakenForNew(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V08)
	client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV08), eryxon.WithState(syncstate.NewMemory()))
	list := heldJobs(5, eryxon.Some(eryxon.WorkOnHold))
	for i := range list {
		list[i].Customer = eryxon.Null[string]() // which keeps them off the unified endpoint
	}
	srv.Script("/api-jobs/bulk-sync", eryxontest.LoseAnswer(), eryxontest.LoseAnswer())
	res, err := client.Jobs.BulkSync(t.Context(), list)
	require.Error(t, err)
	require.Equal(t, 5, res.Counts.Unknown)
	begun := heldJobs(5, eryxon.Some(eryxon.WorkInProgress))
	_, err = another(t, srv).Jobs.BulkSync(t.Context(), begun)
	require.NoError(t, err)
	srv.Script("/api-jobs/bulk-sync", eryxontest.LoseAnswer())
	_, err = client.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	for _, j := range list {
		row, _ := srv.Row(eryxontest.Jobs, "SAP", j.ExternalID)
		assert.Equal(t, "in_progress", row["status"], j.ExternalID)
	}
}

// A cell that is there under another name, of which no try was answered, keeps what the
// shop floor has made of it.
func TestARenamedCellInDoubtKeepsWhatItHas(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V01)
	client := another(t, srv, eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithState(syncstate.NewMemory()))
	cell := eryxon.Cell{ExternalID: "C", Name: "Old", Color: eryxon.Some("#111111"), Sequence: eryxon.Some(1), Active: eryxon.Some(false)}
	srv.Script("/api-cells/bulk-sync", eryxontest.LoseAnswer(), eryxontest.LoseAnswer())
	res, err := client.Cells.BulkSync(t.Context(), []eryxon.Cell{cell})
	require.Error(t, err)
	require.Equal(t, 1, res.Counts.Unknown)
	cell.Name, cell.Active = "New", eryxon.Opt[bool]{}
	res, err = client.Cells.BulkSync(t.Context(), []eryxon.Cell{cell})
	require.NoError(t, err)
	assert.Equal(t, 1, res.Counts.Updated)
	row, _ := srv.Row(eryxontest.Cells, "SAP", "C")
	assert.Equal(t, "New", row["name"])
	assert.Equal(t, false, row["active"])
}

// Whichever way an answer is missing, a status that may not have been written follows.
func TestAStatusFollowsWhicheverWayTheAnswerIsMissing(t *testing.T) {
	for name, lose := range map[string]func(*http.Response) (*http.Response, error){
		"connection": func(*http.Response) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"timeout":    func(*http.Response) (*http.Response, error) { return nil, os.ErrDeadlineExceeded },
		"server": func(r *http.Response) (*http.Response, error) {
			r.StatusCode = http.StatusServiceUnavailable
			return r, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _ := releaseClient(t, eryxontest.V01)
			hc := srv.Client()
			next, run := hc.Transport, 1
			hc.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if run == 1 {
					return nil, io.ErrUnexpectedEOF
				}
				resp, err := next.RoundTrip(r)
				if run == 2 && err == nil {
					_ = resp.Body.Close()
					resp.Body = http.NoBody
					return lose(resp)
				}
				return resp, err
			})
			client := another(t, srv, eryxon.WithHTTPClient(hc), eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithState(syncstate.NewMemory()))
			for ; run <= 2; run++ {
				res, err := client.Jobs.BulkSync(t.Context(), heldJobs(1, eryxon.Some(eryxon.WorkOnHold)))
				require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
				require.Equal(t, 1, res.Counts.Unknown)
			}
			_, err := client.Jobs.BulkSync(t.Context(), heldJobs(1, eryxon.Some(eryxon.WorkOnHold)))
			require.NoError(t, err)
			row, _ := srv.Row(eryxontest.Jobs, "SAP", "J0")
			assert.Equal(t, "on_hold", row["status"])
		})
	}
}

// A single sync always goes, and leaves the shop floor what is the shop floor's all the
// same, unchanged or not.
func TestASingleSyncUndoesNothing(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv, foreman := releaseClient(t, release)
			c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
			job := heldJobs(1, eryxon.Some(eryxon.WorkOnHold))[0]
			res, err := c.Jobs.Sync(t.Context(), job)
			require.NoError(t, err)
			require.Equal(t, eryxon.StatusCreated, res.Status)
			_, err = foreman.Jobs.Sync(t.Context(), heldJobs(1, eryxon.Some(eryxon.WorkInProgress))[0])
			require.NoError(t, err)
			before := len(srv.Requests())
			res, err = c.Jobs.Sync(t.Context(), job)
			require.NoError(t, err)
			assert.Equal(t, eryxon.StatusUpdated, res.Status)
			assert.Greater(t, len(srv.Requests()), before)
			row, _ := srv.Row(eryxontest.Jobs, "SAP", "J0")
			assert.Equal(t, "in_progress", row["status"])
		})
	}
}

// Rows that were there and are gone are made anew: with all that a new one has, while what
// the shop floor has made of the others stays.
func TestARowThatIsMadeAnewHasItsStatus(t *testing.T) {
	for _, n := range []int{3, 10, 40} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			srv, setup := releaseClient(t, eryxontest.V08)
			c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
			_, err := setup.SyncAll(t.Context(), shopFloor("P"))
			require.NoError(t, err)
			ops := cuts("P", n, func(o *eryxon.Operation) { whole(o); o.Status = eryxon.Some(eryxon.WorkOnHold) })
			_, err = c.Operations.BulkSync(t.Context(), ops)
			require.NoError(t, err)
			rows := map[eryxontest.Entity][]eryxontest.Row{}
			for _, e := range []eryxontest.Entity{eryxontest.Cells, eryxontest.Jobs, eryxontest.Parts, eryxontest.Operations} {
				rows[e] = srv.Rows(e)
			}
			srv.Reset()
			for e, list := range rows {
				for _, row := range list {
					switch row["external_id"] {
					case "O1":
						continue // as if it had never been
					case "O2":
						row["status"] = "in_progress"
					}
					srv.Seed(e, row)
				}
			}
			for i := range ops {
				ops[i].Notes = eryxon.Some("changed")
			}
			res, _ := c.Operations.BulkSync(t.Context(), ops)
			for i, o := range res.Outcomes {
				row, _ := srv.Row(eryxontest.Operations, "SAP", o.Key.ExternalID)
				want := "on_hold"
				if i == 2 {
					want = "in_progress"
				}
				if o.Status.Success() {
					assert.Equal(t, want, row["status"], "%s %s", o.Key, o.Status)
				} else {
					assert.ErrorContains(t, o.Err, "WithoutCreateOnly")
				}
				assert.Equal(t, "changed", row["notes"])
			}
			if n <= 20 {
				assert.Equal(t, n, res.Counts.Succeeded(), res.Counts)
			}
		})
	}
}
