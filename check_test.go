package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

var testEntities = []eryxontest.Entity{eryxontest.Cells, eryxontest.Resources, eryxontest.Jobs, eryxontest.Parts, eryxontest.Operations}

// inMES changes rows behind the API's back: edit returns what becomes of a row,
// nil where it is lost without a trace, as in the restore of an old backup. The
// server's log begins anew.
func inMES(srv *eryxontest.Server, edit func(e eryxontest.Entity, row eryxontest.Row) eryxontest.Row) {
	all := make(map[eryxontest.Entity][]eryxontest.Row)
	for _, e := range testEntities {
		all[e] = srv.Rows(e)
	}
	srv.Reset()
	for _, e := range testEntities {
		for _, row := range all[e] {
			if row = edit(e, row); row != nil {
				srv.Seed(e, row)
			}
		}
	}
}

// inOneRow changes the row of one key.
func inOneRow(srv *eryxontest.Server, e eryxontest.Entity, id string, edit func(row eryxontest.Row) eryxontest.Row) {
	inMES(srv, func(of eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
		if of == e && row["external_id"] == id {
			return edit(row)
		}
		return row
	})
}

// workshop is a dataset of n jobs and as many of everything else, in which
// nothing is left out that a server would fill.
func workshop(n int) (cells []Cell, resources []Resource, jobs []Job, parts []Part, ops []Operation) {
	for i := range n {
		id := fmt.Sprint(i)
		cells = append(cells, Cell{ExternalID: "C" + id, Name: "Cell " + id, Color: Some("#112233"), Sequence: Some(i + 1), Active: Some(true)})
		resources = append(resources, Resource{ExternalID: "R" + id, Name: "Mill " + id, Type: ResourceEquipment, Location: Some("Hall " + id), Status: Some(ResourceAvailable), Active: Some(true)})
		jobs = append(jobs, Job{ExternalID: "J" + id, JobNumber: "JOB-" + id, Customer: Some("Söhne & Co <" + id + ">"), DueDate: Some(NewDate(2027, 3, 1+i%28)), Notes: Some("a\nb")})
		parts = append(parts, Part{ExternalID: "P" + id, JobExternalID: "J" + id, PartNumber: "PART-" + id, Material: Some("Steel"), Quantity: Some(i + 1)})
		ops = append(ops, Operation{ExternalID: "O" + id, PartExternalID: "P" + id, OperationName: "Cut " + id, CellName: "Cell " + id, Sequence: Some(1), EstimatedTimeMinutes: Some(5.0)})
	}
	return cells, resources, jobs, parts, ops
}

// stocked is a server that a client has synced n of everything to, with the
// state of it.
func stocked(t *testing.T, release eryxontest.Release, n int) (*eryxontest.Server, *memState, Dataset) {
	t.Helper()
	srv := eryxontest.New(eryxontest.WithRelease(release))
	st := newMemState()
	cells, resources, jobs, parts, ops := workshop(n)
	data := Dataset{Jobs: FromSlice(jobs), Parts: FromSlice(parts)}
	if release != eryxontest.V08AsMigrated { // it can't store these
		data.Cells, data.Resources, data.Operations = FromSlice(cells), FromSlice(resources), FromSlice(ops)
	}
	c := onServer(t, srv, WithState(st))
	for i := range data.Cells.slice { // so that their ids are told
		_, err := c.Cells.Sync(t.Context(), cells[i])
		require.NoError(t, err)
	}
	_, err := c.SyncAll(t.Context(), data)
	require.NoError(t, err)
	return srv, st, data
}

var readable = CheckOptions{Entities: []Entity{EntityParts, EntityJobs, EntityCells, EntityResources}}

// onlyAsked demands that requests have changed nothing.
func onlyAsked(t *testing.T, requests []eryxontest.Request) {
	t.Helper()
	for _, r := range requests {
		assert.True(t, r.Method == http.MethodGet || r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/diff"), "%s %s", r.Method, r.Path)
	}
}

// addsUp demands that every record that is known is counted once more.
func addsUp(t *testing.T, r *CheckReport) {
	t.Helper()
	for _, e := range entityOrder {
		n := r.of(e)
		assert.Equal(t, n.Known, n.Present+n.Gone+n.Differs+n.NotTold+n.InDoubt+n.NotReached, "%s: %+v", e, n)
		assert.LessOrEqual(t, n.Compared, n.Present, e)
	}
}

func entryOf(st *memState, e Entity, id string) StateEntry {
	return st.entries[entityKey{e, Key{"SAP", id}}]
}

// Of a server that nobody has touched everything is found right, at the price
// that was estimated, and a run after it has nothing to send.
func TestCheckOfAnUntouchedServer(t *testing.T) {
	for _, release := range allReleases {
		for _, existenceOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s existence %t", release, existenceOnly), func(t *testing.T) {
				srv, st, data := stocked(t, release, 3)
				c := onServer(t, srv)
				before := len(srv.Requests())
				options := readable
				options.ExistenceOnly = existenceOnly
				estimate, err := c.EstimateCheck(options, WithState(st))
				require.NoError(t, err)
				assert.Len(t, srv.Requests(), before, "the estimate costs none")
				report, err := c.Check(t.Context(), options, WithState(st))
				require.NoError(t, err)
				asked := srv.Requests()[before:]
				onlyAsked(t, asked)
				addsUp(t, report)
				assert.Len(t, asked, report.Requests)
				assert.Equal(t, report.Requests, report.Total().Requests)
				switch {
				case release == eryxontest.Documented:
					assert.Len(t, asked, len(readable.Entities)+1, "one to learn that keys can't be asked about")
				case release == eryxontest.V01 && !existenceOnly: // what is deleted is asked first, once the release is known
					assert.LessOrEqual(t, report.Requests, estimate.Requests.Total()+2)
				default:
					assert.Equal(t, estimate.Requests.Total(), report.Requests)
				}
				for _, e := range readable.Entities {
					n := report.of(e)
					want := EntityCheck{Known: 3, Present: 3, Compared: 3, Requests: n.Requests}
					if release == eryxontest.V08AsMigrated && !askedByKey(e) {
						want = EntityCheck{}
					}
					if existenceOnly {
						want.Compared = 0
					}
					assert.Equal(t, want, *n, e)
				}
				assert.Empty(t, report.Findings)
				assert.Empty(t, report.Warnings)

				before = len(srv.Requests())
				run, err := onServer(t, srv).SyncAll(t.Context(), data, WithState(st))
				require.NoError(t, err)
				assert.Equal(t, run.Total().Read, run.Total().Counts.Unchanged)
				assert.Len(t, srv.Requests(), before)
			})
		}
	}
}

// Rows that are gone or were edited are found and marked, the others are not.
func TestCheckFindsWhatIsGoneAndWhatDiffers(t *testing.T) {
	for _, release := range allReleases {
		t.Run(string(release), func(t *testing.T) {
			srv, st, data := stocked(t, release, 6)
			inMES(srv, func(e eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
				id := row["external_id"]
				switch {
				case e == eryxontest.Operations && id == "O0":
					return nil
				case id == "C0" || id == "R0" || id == "P0": // J0 is deleted below
					return nil
				case id == "C1":
					row["color"] = "#000000"
				case id == "R1":
					row["location"], row["status"] = "yard", "in_use"
				case id == "J1":
					row["customer"], row["status"] = "Other", "in_progress"
				case id == "P1":
					row["material"], row["quantity"] = nil, 99.0
				}
				return row
			})
			require.True(t, srv.Delete(eryxontest.Jobs, "SAP", "J0"))
			for k, entry := range st.entries {
				// Bulk answers tell no ids there.
				if k.entity == EntityCells && k.key.ExternalID != "C0" && release == eryxontest.V08 {
					entry.ID = ""
					st.entries[k] = entry
				}
			}
			c := onServer(t, srv)
			estimate, err := c.EstimateCheck(CheckOptions{}, WithState(st))
			require.NoError(t, err)
			report, err := c.Check(t.Context(), CheckOptions{}, WithState(st))
			require.NoError(t, err)
			onlyAsked(t, srv.Requests())
			assert.Len(t, srv.Requests(), report.Requests)
			assert.GreaterOrEqual(t, report.Requests, estimate.Requests.Total())
			addsUp(t, report)

			var texts []string
			for _, f := range report.Findings {
				texts = append(texts, f.String())
				assert.NotEmpty(t, f.ID)
			}
			want := []string{"job SAP/J0: gone", "job SAP/J1: customer differs", "part SAP/P0: gone", "part SAP/P1: material, quantity differ"}
			if release != eryxontest.V08AsMigrated {
				want = append(want, "resource SAP/R0: gone", "resource SAP/R1: location differs")
				assert.Equal(t, EntityCheck{Known: 6, Present: 4, Compared: 4, Gone: 1, Differs: 1, Requests: 1}, report.Cells)
				want = append(want, "cell SAP/C0: gone", "cell SAP/C1: color differs")
				assert.Equal(t, EntityCheck{Known: 6, NotTold: 6}, report.Operations)
				assert.Equal(t, 6, report.Resources.Known)
				assert.Equal(t, 4, report.Resources.Compared)
			}
			assert.ElementsMatch(t, want, texts)
			assert.Equal(t, 4, report.Jobs.Compared)
			assert.Equal(t, 4, report.Parts.Compared)

			gone := entryOf(st, EntityJobs, "J0")
			assert.Zero(t, gone.Digest)
			assert.Empty(t, gone.ID)
			assert.Zero(t, gone.flags()&flagExists)
			differs := entryOf(st, EntityJobs, "J1")
			assert.Zero(t, differs.Digest)
			assert.NotEmpty(t, differs.ID)
			assert.NotZero(t, differs.flags()&flagExists)
			assert.NotZero(t, entryOf(st, EntityJobs, "J2").Digest)

			// A second check finds nothing that is not marked already.
			again, err := c.Check(t.Context(), CheckOptions{}, WithState(st))
			require.NoError(t, err)
			assert.Empty(t, again.Findings)
			assert.Equal(t, report.Total().Differs+report.Total().NotTold, again.Total().InDoubt)
			assert.Equal(t, report.Total().Known-report.Total().Gone, again.Total().Known)

			var failed []string
			_, err = onServer(t, srv).SyncAll(t.Context(), data, WithState(st), WithOutcomes(func(o Outcome) error {
				failed = append(failed, o.Key.ExternalID)
				return nil
			}))
			require.ErrorIs(t, err, ErrDeletedOnServer, "its external id is burnt")
			assert.ElementsMatch(t, failedWith(release), failed)
			row, ok := srv.Row(eryxontest.Jobs, "SAP", "J1")
			require.True(t, ok)
			assert.Equal(t, "Söhne & Co <1>", row["customer"])
			assert.Equal(t, "in_progress", row["status"], "the shop floor's")
			row, _ = srv.Row(eryxontest.Parts, "SAP", "P1")
			assert.Equal(t, "Steel", row["material"])
		})
	}
}

// failedWith is what fails with the job that was deleted.
func failedWith(release eryxontest.Release) []string {
	if release == eryxontest.V08AsMigrated {
		return []string{"J0", "P0"}
	}
	return []string{"J0", "P0", "O0"}
}

// A row of the same key under another id is found, and its id kept.
func TestCheckFindsRowsThatWereMadeAnew(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		for _, existenceOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s existence %t", release, existenceOnly), func(t *testing.T) {
				srv, st, data := stocked(t, release, 3)
				inMES(srv, func(e eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
					if id := row["external_id"]; id == "J1" || id == "R1" {
						delete(row, "id")
					}
					return row
				})
				old := entryOf(st, EntityJobs, "J1").ID
				c := onServer(t, srv)
				options := readable
				options.ExistenceOnly = existenceOnly
				report, err := c.Check(t.Context(), options, WithState(st))
				require.NoError(t, err)
				addsUp(t, report)
				row, _ := srv.Row(eryxontest.Jobs, "SAP", "J1")
				require.NotEqual(t, old, row["id"])
				assert.Equal(t, []CheckFinding{
					{Entity: EntityResources, Key: Key{"SAP", "R1"}, ID: entryOf(st, EntityResources, "R1").ID, Fields: []string{"id"}},
					{Entity: EntityJobs, Key: Key{"SAP", "J1"}, ID: row["id"].(string), Fields: []string{"id"}},
				}, report.Findings)
				assert.Equal(t, row["id"], entryOf(st, EntityJobs, "J1").ID)
				assert.Equal(t, row["id"], c.core.shared.dialect.id(EntityJobs, Key{"SAP", "J1"}))

				run, err := c.SyncAll(t.Context(), data, WithState(st))
				require.NoError(t, err)
				assert.Equal(t, 2, run.Total().Counts.Updated)
			})
		}
	}
}

func TestCheckOfExistenceAlone(t *testing.T) {
	for _, release := range allReleases {
		t.Run(string(release), func(t *testing.T) {
			srv, st, _ := stocked(t, release, 4)
			inMES(srv, func(_ eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
				switch row["external_id"] {
				case "J0", "P0", "R0":
					return nil
				case "J1":
					row["customer"] = "Other"
				case "R1":
					row["location"] = "yard"
				}
				return row
			})
			options := CheckOptions{Entities: []Entity{EntityJobs, EntityParts, EntityResources}, ExistenceOnly: true}
			report, err := onServer(t, srv).Check(t.Context(), options, WithState(st))
			require.NoError(t, err)
			onlyAsked(t, srv.Requests())
			for _, e := range options.Entities {
				if e == EntityResources && release == eryxontest.V08AsMigrated {
					continue
				}
				assert.Equal(t, EntityCheck{Known: 4, Present: 3, Gone: 1, Requests: report.of(e).Requests}, *report.of(e), e)
			}
		})
	}
}

// A lost row comes back whole, with what only new rows get.
func TestCheckHasLostRowsSentAsNew(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, WithState(newMemState()))
			list := jobs(4)
			for i := range list {
				list[i].Status = Some(WorkOnHold)
			}
			_, err := c.Jobs.BulkSync(t.Context(), list)
			require.NoError(t, err)
			inOneRow(srv, eryxontest.Jobs, list[2].ExternalID, func(eryxontest.Row) eryxontest.Row { return nil })
			report, err := c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			assert.Equal(t, 1, report.Jobs.Gone)
			assert.Equal(t, 3, report.Jobs.Compared)
			assert.Empty(t, c.core.shared.dialect.id(EntityJobs, Key{"SAP", list[2].ExternalID}), "parts would be given it")
			res, err := c.Jobs.BulkSync(t.Context(), list)
			require.NoError(t, err)
			assert.Equal(t, Counts{Unchanged: 3, Created: 1}, Counts{Unchanged: res.Counts.Unchanged, Created: res.Counts.Created + res.Counts.Synced})
			row, _ := srv.Row(eryxontest.Jobs, "SAP", list[2].ExternalID)
			assert.Equal(t, "on_hold", row["status"])
		})
	}
}

// A check that is ended keeps what it found and leaves the rest as it was.
func TestCheckThatEndsEarly(t *testing.T) {
	for name, test := range map[string]struct {
		opts   []BulkOption
		faults []eryxontest.Fault
		is     error
	}{
		"budget": {[]BulkOption{WithRequestBudget(3)}, nil, ErrRequestBudget},
		"quota":  {[]BulkOption{WithDailyQuota(3)}, nil, ErrRateLimited},
		"key":    {nil, []eryxontest.Fault{eryxontest.StatusJSON(401, "UNAUTHORIZED", "no")}, ErrUnauthorized},
		"denied": {nil, []eryxontest.Fault{eryxontest.StatusJSON(403, "FORBIDDEN", "no")}, ErrForbidden},
		"429":    {nil, []eryxontest.Fault{eryxontest.TooManyRequests(http.Header{"Retry-After": {"86399"}})}, ErrRateLimited},
		"broken": {nil, []eryxontest.Fault{eryxontest.StatusJSON(500, "INTERNAL_ERROR", "boom")}, ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			srv, st, data := stocked(t, eryxontest.V01, 3)
			inMES(srv, func(_ eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
				switch row["external_id"] {
				case "C1":
					row["color"] = "#000000"
				case "P1":
					row["material"] = "Brass"
				}
				return row
			})
			srv.Script("/api-parts", test.faults...)
			before := maps.Clone(st.entries)
			h := st.of(t)
			h.Quota = spending{} // of the sync
			st.header, _ = json.Marshal(h)
			c := onServer(t, srv, once())
			report, err := c.Check(t.Context(), CheckOptions{}, append(test.opts, WithState(st))...)
			require.ErrorIs(t, err, test.is)
			require.ErrorIs(t, report.Err, test.is)
			assert.False(t, st.locked)
			onlyAsked(t, srv.Requests())
			addsUp(t, report)
			assert.Equal(t, 3, report.Parts.NotReached)
			assert.Equal(t, 3, report.Operations.NotReached)
			assert.Equal(t, 1, report.Cells.Differs)
			assert.Zero(t, entryOf(st, EntityCells, "C1").Digest, "what was found is marked")
			for k, entry := range before {
				if k.entity == EntityParts || k.entity == EntityOperations {
					assert.Equal(t, entry, st.entries[k], "not reached")
				}
			}
			assert.Contains(t, report.String(), "ended early")
			assert.Len(t, srv.Requests(), report.Requests)

			h = st.of(t)
			h.Quota = spending{} // what the 429 asked for is over
			st.header, _ = json.Marshal(h)
			run, err := onServer(t, srv).SyncAll(t.Context(), data, WithState(st))
			require.NoError(t, err)
			assert.Equal(t, 1, run.Total().Counts.Updated)
		})
	}
}

// Where a question about keys fails half way, what the answers before it told
// is kept.
func TestCheckThatEndsBetweenQuestions(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	st := newMemState()
	c := onServer(t, srv, WithState(st))
	list := jobs(2000)
	for i := range list {
		list[i].ExternalID = fmt.Sprint(10_000 + i) // short enough for 500 in a request
	}
	_, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	srv.Reset() // every row is lost
	estimate, err := c.EstimateCheck(CheckOptions{ExistenceOnly: true})
	require.NoError(t, err)
	assert.Equal(t, RecordCounts{Jobs: 4}, estimate.Requests)
	report, err := c.Check(t.Context(), CheckOptions{ExistenceOnly: true}, WithRequestBudget(3))
	require.ErrorIs(t, err, ErrRequestBudget)
	addsUp(t, report)
	assert.Equal(t, EntityCheck{Known: 2000, Gone: 1500, NotReached: 500, Requests: 3}, report.Jobs)
	assert.Len(t, report.Findings, maxFindings)
	marked := 0
	for _, entry := range st.entries {
		if entry.flags() == 0 {
			marked++
		}
	}
	assert.Equal(t, 1500, marked)
	assert.Contains(t, report.String(), "and 1490 more")

	report, err = c.Check(t.Context(), CheckOptions{ExistenceOnly: true})
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 500, Gone: 500, Requests: 1}, report.Jobs)
}

func TestCheckObeysTheContext(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V08, 3)
	ctx, cancel := context.WithCancel(t.Context())
	c := onServer(t, srv, WithObserver(func(context.Context, Attempt) { cancel() }))
	report, err := c.Check(ctx, CheckOptions{}, WithState(st))
	require.ErrorIs(t, err, context.Canceled)
	addsUp(t, report)
	assert.Equal(t, 1, report.Requests)
	assert.Equal(t, 9, report.Total().NotReached-report.Resources.NotReached)
	assert.False(t, st.locked)
}

func TestCheckNeedsAState(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv)
	report, err := c.Check(t.Context(), CheckOptions{})
	require.ErrorContains(t, err, "WithState")
	assert.Equal(t, err, report.Err)
	_, err = c.EstimateCheck(CheckOptions{})
	require.ErrorContains(t, err, "WithState")
	_, err = c.Check(t.Context(), CheckOptions{Entities: []Entity{"machines"}}, WithState(newMemState()))
	require.ErrorContains(t, err, `"machines" is no entity`)
	_, err = c.EstimateCheck(CheckOptions{}, WithRequestBudget(0), WithState(newMemState()))
	require.ErrorContains(t, err, "WithRequestBudget")

	st := newMemState()
	require.NoError(t, st.Lock())
	_, err = c.Check(t.Context(), CheckOptions{}, WithState(st))
	require.ErrorIs(t, err, ErrStateInUse)
	_, err = c.EstimateCheck(CheckOptions{}, WithState(st))
	require.ErrorIs(t, err, ErrStateInUse)
	require.NoError(t, st.Unlock())

	_, err = c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.NoError(t, err)
	h := st.of(t)
	h.BaseURL = "https://elsewhere.example"
	st.header, err = json.Marshal(h)
	require.NoError(t, err)
	before := len(srv.Requests())
	report, err = c.Check(t.Context(), CheckOptions{}, WithState(st))
	require.ErrorIs(t, err, ErrStateMismatch)
	assert.Zero(t, report.Total())
	assert.Len(t, srv.Requests(), before)
	assert.False(t, st.locked)
}

func TestCheckEstimate(t *testing.T) {
	srv := eryxontest.New()
	st := newMemState()
	c := onServer(t, srv, WithState(st))
	add := func(e Entity, n int, digest digest, flags entryFlags) {
		for range n {
			k := Key{"SAP", fmt.Sprint(len(st.entries))}
			entry := StateEntry{Entity: e, Key: k, Digest: digest}
			entry.Detail = entry.withFlags(flags)
			st.entries[entityKey{e, k}] = entry
		}
	}
	some := digest{1}
	add(EntityJobs, 1001, some, flagExists)
	add(EntityParts, 1000, some, flagExists)
	add(EntityParts, 500, digest{}, flagExists)
	add(EntityCells, 2500, some, flagExists)
	add(EntityResources, 7, some, flagExists|flagInactive)
	add(EntityOperations, 3, some, flagExists)
	estimate, err := c.EstimateCheck(CheckOptions{}, WithDailyQuota(4))
	require.NoError(t, err)
	assert.Equal(t, Estimate{Requests: RecordCounts{Cells: 1, Jobs: 2, Parts: 1}, QuotaKnown: true, Remaining: 4, Fits: true}, estimate)
	estimate, err = c.EstimateCheck(CheckOptions{ExistenceOnly: true, Entities: []Entity{EntityParts, EntityJobs}}, WithDailyQuota(5), WithQuotaReserve(1))
	require.NoError(t, err)
	assert.Equal(t, RecordCounts{Jobs: 3, Parts: 2}, estimate.Requests)
	assert.False(t, estimate.Fits, "one is for others")
	assert.Empty(t, srv.Requests())
	assert.False(t, st.locked)
	assert.Nil(t, st.header)
	assert.Zero(t, st.puts)

	// What earlier runs have spent counts.
	_, err = c.Jobs.BulkSync(t.Context(), jobs(1))
	require.NoError(t, err)
	estimate, err = onServer(t, srv, WithState(st)).EstimateCheck(CheckOptions{}, WithDailyQuota(4))
	require.NoError(t, err)
	assert.Equal(t, 3, estimate.Remaining)
	assert.False(t, estimate.Fits)
	st.header = []byte("{")
	_, err = onServer(t, srv, WithState(st)).EstimateCheck(CheckOptions{})
	require.ErrorIs(t, err, ErrStateDamaged)
	st.header = nil

	// A state that a call of the same client has open can be looked into.
	end, err := c.core.beginState(t.Context(), &c.core.cfg, false)
	require.NoError(t, err)
	_, err = c.EstimateCheck(CheckOptions{})
	require.NoError(t, err)
	require.NoError(t, end())
}

// A list that the server does not have leaves the question whether rows exist,
// and where that can't be asked either nothing is told.
func TestCheckWithoutAList(t *testing.T) {
	for i := range 2 * len(allReleases) {
		release := allReleases[i/2]
		fault := []eryxontest.Fault{eryxontest.StatusJSON(404, "NOT_FOUND", "Endpoint not found"), eryxontest.NotJSON()}[i%2]
		t.Run(fmt.Sprint(release, " ", i%2), func(t *testing.T) {
			srv, st, data := stocked(t, release, 4)
			inMES(srv, func(_ eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
				if id := row["external_id"]; id == "J0" || id == "P0" || id == "R0" || id == "O0" {
					return nil
				}
				return row
			})
			for _, path := range []string{"/api-jobs", "/api-parts", "/api-resources", "/api-cells"} {
				srv.Script(path, fault)
			}
			c := onServer(t, srv)
			report, err := c.Check(t.Context(), CheckOptions{}, WithState(st))
			require.NoError(t, err)
			onlyAsked(t, srv.Requests())
			addsUp(t, report)
			assert.GreaterOrEqual(t, len(report.Warnings), 2)
			assert.Contains(t, report.String(), "warning: jobs were not all compared")
			told := EntityCheck{Known: 4, Present: 3, Gone: 1, Requests: 2}
			resources := told
			if release == eryxontest.V01 {
				told.Requests = 3 // before the list, which shows deleted rows, and after it
			}
			untold := EntityCheck{Known: 4, NotTold: 4, Requests: 1}
			switch release {
			case eryxontest.Documented:
				untold.Requests = report.Jobs.Requests
				assert.Equal(t, untold, report.Jobs)
			default:
				if release == eryxontest.V08AsMigrated { // where it can't be told which row it is
					assert.Equal(t, EntityCheck{Known: 4, Gone: 1, NotTold: 3, Requests: 2}, report.Jobs)
				} else {
					assert.Equal(t, told, report.Jobs)
				}
				assert.Equal(t, told, report.Parts)
			}
			if release == eryxontest.V01 {
				assert.Equal(t, resources, report.Resources)
				assert.Equal(t, EntityCheck{Known: 4, NotTold: 4, Requests: 1}, report.Cells)
			}
			run, err := onServer(t, srv).SyncAll(t.Context(), data, WithState(st))
			require.NoError(t, err)
			assert.Equal(t, run.Total().Read, run.Total().Counts.Succeeded())
			assert.Equal(t, report.Total().Present, run.Total().Counts.Unchanged)
		})
	}
}

// acked is the entry of a record that was acknowledged with that row.
func acked[R any, P recordPtr[R]](t *testing.T, r R, id string) StateEntry {
	t.Helper()
	sum, canonical, err := digestOf[R, P](&r, "SAP", nil)
	require.NoError(t, err)
	entry := StateEntry{Entity: entityOf[R](), Key: P(&r).recordKey("SAP"), ID: id, Time: time.Now(), Digest: sum}
	entry.Detail = appendDetail([]byte{}, entry.Entity, canonical[1:])
	return entry
}

// A cell whose id was not told is told by its name, where one row has it that is
// nobody else's, and where one record does.
func TestCheckOfCellsByName(t *testing.T) {
	row := func(n int, name, more string) string {
		return fmt.Sprintf(`{"id":"%08d-0000-4000-8000-000000000000","name":%q%s}`, n, name, more)
	}
	a, b := Cell{ExternalID: "A", Name: "Cut"}, Cell{ExternalID: "B", Name: "Bend"}
	named := b
	named.Name = "Cut"
	for name, test := range map[string]struct {
		cells []Cell
		rows  []string
		want  EntityCheck
	}{
		"one each":                {[]Cell{a, b}, []string{row(1, "Bend", ""), row(2, "Cut", ""), row(3, "Weld", "")}, EntityCheck{Present: 2, Compared: 2}},
		"renamed":                 {[]Cell{a, b}, []string{row(1, "Bend 2", ""), row(2, "Cut", "")}, EntityCheck{Present: 1, Compared: 1, NotTold: 1}},
		"two rows of the name":    {[]Cell{a, b}, []string{row(1, "Bend", ""), row(2, "Cut", ""), row(3, "Cut", "")}, EntityCheck{Present: 1, Compared: 1, NotTold: 1}},
		"two records of the name": {[]Cell{a, named}, []string{row(1, "Cut", ""), row(2, "Weld", "")}, EntityCheck{NotTold: 2}},
		"a row of another key":    {[]Cell{a, b}, []string{row(1, "Bend", `,"external_source":"SAP","external_id":"Z"`), row(2, "Cut", "")}, EntityCheck{Present: 1, Compared: 1, NotTold: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			st := newMemState()
			for _, cell := range test.cells {
				st.entries[entityKey{EntityCells, Key{"SAP", cell.ExternalID}}] = acked(t, cell, "")
			}
			list := answer(200, `{"success":true,"data":{"cells":[`+strings.Join(test.rows, ",")+`]}}`)
			c, _ := scripted(t, []httpmock.Responder{list}, WithState(st))
			report, err := c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			test.want.Known, test.want.Requests = 2, 1
			assert.Equal(t, test.want, report.Cells)
		})
	}
}

// Where the database lacks the column that the question about keys uses, it says
// of every resource that there is none: only the list proves it.
func TestCheckOfResourcesThatCanNotBeAskedAbout(t *testing.T) {
	setup := func() (*eryxontest.Server, *memState) {
		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08AsMigrated))
		st := newMemState()
		_, resources, _, _, _ := workshop(4)
		for i, r := range resources {
			r.Status, r.Active = Opt[ResourceStatus]{}, Opt[bool]{}
			id := "10000000-0000-4000-8000-00000000000" + fmt.Sprint(i)
			if i == 3 {
				id = "" // not told yet
			}
			st.entries[entityKey{EntityResources, Key{"SAP", r.ExternalID}}] = acked(t, r, id)
			row := eryxontest.Row{"external_source": "SAP", "external_id": r.ExternalID, "name": r.Name, "type": "equipment", "location": r.Location.value, "active": true}
			if id != "" {
				row["id"] = id
			}
			if i > 0 {
				srv.Seed(eryxontest.Resources, row)
			}
		}
		return srv, st
	}
	srv, st := setup()
	report, err := onServer(t, srv).Check(t.Context(), CheckOptions{}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 4, Present: 3, Compared: 3, Gone: 1, Requests: 2}, report.Resources)
	row, _ := srv.Row(eryxontest.Resources, "SAP", "R3")
	assert.Equal(t, row["id"], entryOf(st, EntityResources, "R3").ID, "it is learned")

	srv, st = setup()
	srv.Script("/api-resources", eryxontest.StatusJSON(404, "NOT_FOUND", "Endpoint not found"))
	report, err = onServer(t, srv).Check(t.Context(), CheckOptions{}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 4, NotTold: 4, Requests: 2}, report.Resources)
	for _, entry := range st.entries {
		assert.NotZero(t, entry.flags()&flagExists)
		assert.Zero(t, entry.Digest)
	}
}

// What a row says of its key counts for more than its id, and a row that is
// deleted is none.
func TestCheckBelievesRowsAboutTheirKeys(t *testing.T) {
	const a, b = "10000000-0000-4000-8000-0000000000a1", "10000000-0000-4000-8000-0000000000b1"
	row := func(id, more string) string { return `{"id":"` + id + `","name":"N","type":"mold"` + more + `}` }
	keyed := func(id string) string { return `,"external_source":"SAP","external_id":"` + id + `"` }
	const deleted = `,"deleted_at":"2026-11-23T10:53:22+00:00"`
	create := answer(200, `{"success":true,"data":{"entities":{"resources":{"records":[
		{"external_id":"A","status":"create"},{"external_id":"B","status":"create"}]}}}}`)
	for name, test := range map[string]struct {
		rows []string
		want EntityCheck
	}{
		"both":                       {[]string{row(a, keyed("A")), row(b, keyed("B"))}, EntityCheck{Present: 2, Compared: 2, Requests: 1}},
		"no keys":                    {[]string{row(a, ""), row(strings.ToUpper(b), "")}, EntityCheck{Present: 2, Compared: 2, Requests: 1}},
		"one deleted":                {[]string{row(a, keyed("A")), row(b, keyed("B")+deleted)}, EntityCheck{Present: 1, Compared: 1, Gone: 1, Requests: 2}},
		"one deleted, no keys":       {[]string{row(a, ""), row(b, deleted)}, EntityCheck{Present: 1, Compared: 1, NotTold: 1, Requests: 2}},
		"one deleted and made anew":  {[]string{row(a, keyed("A")), row(b, keyed("B")+deleted), row(seedParent[:35]+"f", keyed("B"))}, EntityCheck{Present: 1, Compared: 1, Differs: 1, Requests: 1}},
		"one given another key":      {[]string{row(a, keyed("A")), row(b, keyed("Z"))}, EntityCheck{Present: 1, Compared: 1, Gone: 1, Requests: 2}},
		"keys exchanged":             {[]string{row(a, keyed("B")), row(b, keyed("A"))}, EntityCheck{Differs: 2, Requests: 1}},
		"a missing one, and by hand": {[]string{row(a, keyed("A")), row(seedParent[:35]+"f", `,"external_source":null,"external_id":null`)}, EntityCheck{Present: 1, Compared: 1, Gone: 1, Requests: 2}},
		"a missing one, and no key":  {[]string{row(a, keyed("A")), row(seedParent[:35]+"f", "")}, EntityCheck{Present: 1, Compared: 1, NotTold: 1, Requests: 2}},
		"none at all":                {nil, EntityCheck{Gone: 2, Requests: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			st := newMemState()
			for id, key := range map[string]string{a: "A", b: "B"} {
				st.entries[entityKey{EntityResources, Key{"SAP", key}}] = acked(t, Resource{ExternalID: key, Name: "N", Type: ResourceMold}, id)
			}
			list := answer(200, `{"success":true,"data":{"resources":[`+strings.Join(test.rows, ",")+`]}}`)
			c, _ := scripted(t, []httpmock.Responder{list, create}, WithState(st))
			report, err := c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			test.want.Known = 2
			assert.Equal(t, test.want, report.Resources)
		})
	}
}

// Two records can't have the same row, whatever the state says.
func TestCheckOfTwoRecordsWithOneID(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V01, 2)
	a, b := entryOf(st, EntityJobs, "J0"), entryOf(st, EntityJobs, "J1")
	ids := []string{a.ID, b.ID}
	b.ID = a.ID
	st.entries[entityKey{EntityJobs, b.Key}] = b
	report, err := onServer(t, srv).Check(t.Context(), CheckOptions{Entities: []Entity{EntityJobs}}, WithState(st))
	require.NoError(t, err)
	addsUp(t, report)
	assert.Equal(t, 2, report.Jobs.Known)
	assert.Zero(t, report.Jobs.Gone)
	assert.Positive(t, report.Jobs.Differs)
	for _, f := range report.Findings {
		assert.Contains(t, ids, f.ID)
	}
}

// Where keys can't be asked about, a row that is gone may have been made anew:
// its status is not overwritten.
func TestCheckDoesNotTakeForNewWhatMayBeThere(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithState(newMemState()))
	list := jobs(2)
	list[0].Status = Some(WorkNotStarted)
	_, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	inOneRow(srv, eryxontest.Jobs, list[0].ExternalID, func(row eryxontest.Row) eryxontest.Row {
		delete(row, "id")
		row["status"] = "in_progress"
		return row
	})
	report, err := c.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	assert.Equal(t, 1, report.Jobs.Gone)
	res, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	assert.Equal(t, Counts{Unchanged: 1, Updated: 1}, res.Counts)
	row, _ := srv.Row(eryxontest.Jobs, "SAP", list[0].ExternalID)
	assert.Equal(t, "in_progress", row["status"])
}

// A row that slips to a page that was read already is not taken for gone.
func TestCheckOfRowsThatMoveBetweenPages(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			st := newMemState()
			list := jobs(1100)
			_, err := onServer(t, srv).Jobs.BulkSync(t.Context(), list, WithState(st))
			require.NoError(t, err)
			pages := 0
			c := onServer(t, srv, WithState(st), WithObserver(func(_ context.Context, a Attempt) {
				if strings.HasPrefix(a.Path, "/api-jobs?") {
					if pages++; pages == 1 {
						srv.Delete(eryxontest.Jobs, "SAP", list[5].ExternalID)
						srv.Delete(eryxontest.Jobs, "SAP", list[1050].ExternalID)
					}
				}
			}))
			estimate, err := c.EstimateCheck(CheckOptions{})
			require.NoError(t, err)
			report, err := c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			addsUp(t, report)
			assert.GreaterOrEqual(t, report.Requests, estimate.Requests.Total())
			// The list has shown 1098: with the first one that is deleted, and
			// without the second and the one that moved.
			switch release {
			case eryxontest.Documented:
				assert.Equal(t, EntityCheck{Known: 1100, Present: 1098, Compared: 1098, NotTold: 2, Requests: 3}, report.Jobs)
				return
			case eryxontest.V01: // whose lists show deleted rows: it was asked before they were
				assert.Equal(t, EntityCheck{Known: 1100, Present: 1100, Compared: 1100, Requests: 5}, report.Jobs)
				return
			}
			assert.Equal(t, EntityCheck{Known: 1100, Present: 1099, Compared: 1098, Gone: 1, Requests: 3}, report.Jobs)
			assert.Equal(t, list[1050].ExternalID, report.Findings[0].Key.ExternalID)
		})
	}
}

// The list is read no further than the state's records go.
func TestCheckReadsNoMoreThanItNeeds(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V08, 2)
	for i := range 1500 {
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": fmt.Sprint("by hand ", i)})
	}
	report, err := onServer(t, srv).Check(t.Context(), CheckOptions{Entities: []Entity{EntityJobs}}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 2, Present: 2, Compared: 2, Requests: 1}, report.Jobs)
}

// failingState can't be read to its end.
type failingState struct {
	*memState
	after int
}

func (s *failingState) Entries(e Entity) iter.Seq2[StateEntry, error] {
	return func(yield func(StateEntry, error) bool) {
		for entry, err := range s.memState.Entries(e) {
			if s.after--; s.after < 0 {
				yield(StateEntry{}, errors.New("bad sector"))
				return
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

func TestCheckOfAStateThatCanNotBeReadToItsEnd(t *testing.T) {
	for after, requests := range []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 2} {
		srv, st, _ := stocked(t, eryxontest.V01, 1)
		before := len(srv.Requests())
		c := onServer(t, srv)
		report, err := c.Check(t.Context(), CheckOptions{}, WithState(&failingState{st, after}))
		if after < 10 {
			require.ErrorContains(t, err, "bad sector")
		}
		assert.LessOrEqual(t, report.Requests, requests+after)
		assert.LessOrEqual(t, len(srv.Requests())-before, 5)
		assert.False(t, st.locked)
		_, err = c.EstimateCheck(CheckOptions{}, WithState(&failingState{st, 0}))
		require.ErrorContains(t, err, "bad sector")
	}
}

// More entries than are held at once, of two sources.
func TestCheckInBatches(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	st := newMemState()
	const n = checkBatch + 300
	for i := range n {
		j := Job{ExternalID: fmt.Sprint(10_000 + i), ExternalSource: []string{"SAP", "Oracle"}[i/checkBatch], JobNumber: fmt.Sprint(i)}
		entry := acked(t, j, "")
		if i%100 > 0 { // the others are lost
			id := srv.Seed(eryxontest.Jobs, eryxontest.Row{"external_source": j.ExternalSource, "external_id": j.ExternalID, "job_number": j.JobNumber})
			if i%100 > 1 { // the others' ids were not told
				entry.ID = id
			}
		}
		st.entries[entityKey{EntityJobs, entry.Key}] = entry
	}
	c := onServer(t, srv, WithState(st))
	entries := maps.Clone(st.entries)
	for _, options := range []CheckOptions{{}, {ExistenceOnly: true}} {
		st.entries = maps.Clone(entries)
		estimate, err := c.EstimateCheck(options)
		require.NoError(t, err)
		report, err := c.Check(t.Context(), options)
		require.NoError(t, err)
		want := EntityCheck{Known: n, Present: n - n/100, Gone: n / 100, Requests: report.Requests}
		if !options.ExistenceOnly {
			want.Compared = want.Present
		}
		assert.Equal(t, want, report.Jobs)
		assert.GreaterOrEqual(t, report.Requests, estimate.Requests.Total())
		assert.LessOrEqual(t, report.Requests, estimate.Requests.Total()+2)
		for _, entry := range st.entries {
			assert.Equal(t, entry.Digest != digest{}, entry.ID != "", "ids are learned")
		}
	}
}

// Jobs whose id is not known are asked for it, so that their rows can be told.
func TestCheckLearnsIDs(t *testing.T) {
	for _, release := range allReleases {
		t.Run(string(release), func(t *testing.T) {
			srv, st, _ := stocked(t, release, 5)
			ids := map[entityKey]string{}
			for k, entry := range st.entries {
				ids[k] = entry.ID
				if entry.ID = ""; k.key.ExternalID != "J4" {
					st.entries[k] = entry
				}
			}
			inOneRow(srv, eryxontest.Jobs, "J1", func(row eryxontest.Row) eryxontest.Row {
				row["notes"] = "edited"
				return row
			})
			inMES(srv, func(_ eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
				if id := row["external_id"]; id == "J0" || id == "P0" || id == "O0" {
					return nil
				}
				return row
			})
			report, err := onServer(t, srv).Check(t.Context(), readable, WithState(st))
			require.NoError(t, err)
			addsUp(t, report)
			if release == eryxontest.Documented {
				// Where nothing was missed, a list tells no more than that.
				assert.Equal(t, EntityCheck{Known: 5, Present: 1, Compared: 1, NotTold: 4, Requests: 2}, report.Jobs)
				assert.Equal(t, 5, report.Cells.Present, "their names tell them")
				assert.Equal(t, 5, report.Resources.Compared, "their rows show keys")
				return
			}
			if release != eryxontest.V08AsMigrated { // where keys of jobs can't be looked up
				assert.Equal(t, EntityCheck{Known: 5, Present: 3, Compared: 3, Differs: 1, Gone: 1, Requests: report.Jobs.Requests}, report.Jobs)
				assert.Equal(t, ids[entityKey{EntityJobs, Key{"SAP", "J2"}}], entryOf(st, EntityJobs, "J2").ID)
			}
			assert.Equal(t, EntityCheck{Known: 5, Present: 4, Compared: 4, Gone: 1, Requests: report.Parts.Requests}, report.Parts)
		})
	}
}

// What is in doubt is sent anyway, what was taken out of use is not to be there.
func TestCheckLeavesOutWhatNeedsNoAsking(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V01, 3)
	for i, change := range []func(*StateEntry){
		func(e *StateEntry) { e.Digest = digest{} },
		func(e *StateEntry) { e.Detail = e.withFlags(flagExists | flagInactive) },
	} {
		k := entityKey{EntityJobs, Key{"SAP", fmt.Sprint("J", i)}}
		entry := st.entries[k]
		change(&entry)
		st.entries[k] = entry
	}
	srv.Reset()
	report, err := onServer(t, srv).Check(t.Context(), CheckOptions{Entities: []Entity{EntityJobs, EntityJobs}}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 2, Gone: 1, InDoubt: 1, Requests: 2}, report.Jobs)
	assert.Zero(t, report.Parts)
	assert.NotEmpty(t, entryOf(st, EntityJobs, "J0").ID)
	assert.NotEmpty(t, entryOf(st, EntityJobs, "J1").ID)

	before := len(srv.Requests())
	report, err = onServer(t, srv).Check(t.Context(), CheckOptions{Entities: []Entity{EntityJobs}}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 1, InDoubt: 1}, report.Jobs)
	assert.Len(t, srv.Requests(), before, "nothing is left to ask about")
}

// A record that was compared counts as acknowledged just now; one whose fields
// are not all shown does not.
func TestCheckSparesWhatIsOld(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			st := newMemState()
			c := onServer(t, srv, WithState(st), WithMaxAge(time.Hour))
			list := jobs(2)
			list[1].Priority = Some(3)
			_, err := c.Jobs.BulkSync(t.Context(), list)
			require.NoError(t, err)
			old := time.Now().Add(-2 * time.Hour)
			for k, entry := range st.entries {
				entry.Time = old
				st.entries[k] = entry
			}
			report, err := c.Check(t.Context(), CheckOptions{ExistenceOnly: true})
			require.NoError(t, err)
			assert.Equal(t, 2, report.Jobs.Present)
			assert.Equal(t, old, entryOf(st, EntityJobs, list[0].ExternalID).Time, "nothing was compared")

			report, err = c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			assert.Equal(t, 2, report.Jobs.Compared)
			res, err := c.Jobs.BulkSync(t.Context(), list)
			require.NoError(t, err)
			if release == eryxontest.V01 {
				assert.Empty(t, report.Jobs.NotCompared)
				assert.Equal(t, Counts{Unchanged: 2}, res.Counts)
				return
			}
			assert.Equal(t, []string{"priority"}, report.Jobs.NotCompared)
			assert.Contains(t, report.String(), "jobs: not compared, for the server's list does not show it: priority")
			assert.Equal(t, Counts{Unchanged: 1, Updated: 1}, res.Counts)
		})
	}
}

// What a single sync of the same client has acknowledged meanwhile is left
// alone.
func TestCheckBesideASingleSync(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	st := newMemState()
	list := jobs(3)
	var c *Client
	c = onServer(t, srv, WithState(st), WithObserver(func(ctx context.Context, a Attempt) {
		if strings.HasSuffix(a.Path, "/diff") { // the answer is here already, and says "create"
			_, err := c.Jobs.Sync(ctx, list[1])
			assert.NoError(t, err)
		}
	}))
	_, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	old := entryOf(st, EntityJobs, list[1].ExternalID)
	inOneRow(srv, eryxontest.Jobs, list[1].ExternalID, func(eryxontest.Row) eryxontest.Row { return nil })
	report, err := c.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	addsUp(t, report)
	assert.Equal(t, EntityCheck{Known: 3, Present: 3, Compared: 2, Requests: 3}, report.Jobs)
	row, ok := srv.Row(eryxontest.Jobs, "SAP", list[1].ExternalID)
	require.True(t, ok)
	now := entryOf(st, EntityJobs, list[1].ExternalID)
	assert.NotEqual(t, old.ID, now.ID)
	assert.Equal(t, row["id"], now.ID)
	assert.Equal(t, old.Digest, now.Digest)
}

// A single sync waits while what the state has of its key is being judged.
func TestCheckHoldsTheKeysThatItJudges(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V01, 1)
	c := onServer(t, srv, WithState(st))
	cfg := c.core.cfg
	end, err := c.core.beginState(t.Context(), &cfg, true)
	require.NoError(t, err)
	r := &checkRun{co: c.core, cfg: &cfg, report: &CheckReport{}, at: &EntityCheck{}, shown: make(map[Entity]Key)}
	entry := entryOf(st, EntityJobs, "J0")
	judged := false
	require.NoError(t, r.settle(t.Context(), []StateEntry{entry}, func(int, *StateEntry) {
		judged = true
		assert.True(t, c.core.shared.inFlight.held(entityKey{EntityJobs, entry.Key}))
	}))
	assert.True(t, judged)
	assert.False(t, c.core.shared.inFlight.held(entityKey{EntityJobs, entry.Key}))

	// What a sync has changed meanwhile is not judged.
	now := entry
	now.Digest = digest{}
	require.NoError(t, st.Put(nil, []StateEntry{now}))
	require.NoError(t, r.settle(t.Context(), []StateEntry{entry}, func(int, *StateEntry) { t.Error("it is not judged") }))
	assert.Equal(t, EntityCheck{InDoubt: 1}, *r.at)

	// And it waits for a sync that is under way.
	other := keysOf(&Outcome{Entity: EntityJobs, Key: entry.Key})
	require.Nil(t, c.core.shared.inFlight.hold(other))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = r.settle(ctx, []StateEntry{entry}, func(int, *StateEntry) { t.Error("it is not judged") })
	require.ErrorIs(t, err, context.Canceled)
	c.core.shared.inFlight.release(other)
	require.NoError(t, end())
}

// Values that mean the same are not taken for different ones.
func TestCheckComparesByMeaning(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			st := newMemState()
			c := onServer(t, srv, WithState(st), WithOverwritingUpdates())
			j := Job{ExternalID: "J", JobNumber: "1 < 2 & 3 > 2", Customer: Some("\u2028\"\\/\t\x01é😀"), DueDate: Some(NewDate(2028, 2, 29)), Notes: Some(""),
				Extra: map[string]any{"metadata": map[string]any{"b": []any{1.50, "x&y", nil}, "a": map[string]any{"d": true, "c": 1e3}}}}
			p := Part{ExternalID: "P", JobExternalID: "J", PartNumber: "№ 1", Material: Some("4°"), Quantity: Some(12), Notes: Null[string](),
				Extra: map[string]any{"drawing_no": "D&1"}}
			if release == eryxontest.V01 {
				delete(p.Extra, "drawing_no") // it drops that column
			}
			_, err := c.SyncAll(t.Context(), Dataset{Jobs: FromSlice([]Job{j}), Parts: FromSlice([]Part{p})})
			require.NoError(t, err)
			report, err := c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			assert.Empty(t, report.Findings)
			assert.Equal(t, 2, report.Total().Compared, "%s", report)
			inOneRow(srv, eryxontest.Parts, "P", func(row eryxontest.Row) eryxontest.Row {
				row["notes"] = "" // as forms do
				return row
			})
			report, err = c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			assert.Empty(t, report.Findings)
			if release == eryxontest.V08 {
				inOneRow(srv, eryxontest.Parts, "P", func(row eryxontest.Row) eryxontest.Row {
					row["drawing_no"] = "D&2"
					return row
				})
			} else {
				inOneRow(srv, eryxontest.Parts, "P", func(row eryxontest.Row) eryxontest.Row {
					row["notes"] = " "
					return row
				})
			}
			report, err = c.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			require.Len(t, report.Findings, 1)
			assert.Len(t, report.Findings[0].Fields, 1)
		})
	}
}

// A column that the SDK does not know, and no list shows, has no name.
func TestCheckOfExtraColumns(t *testing.T) {
	c := onServer(t, eryxontest.New(eryxontest.WithRelease(eryxontest.V08)), WithState(newMemState()))
	list := jobs(1)
	list[0].Extra = map[string]any{"package_count": 3}
	_, err := c.Jobs.BulkSync(t.Context(), list)
	require.NoError(t, err)
	report, err := c.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 1, Present: 1, Compared: 1, Requests: 1, NotCompared: []string{"Extra"}}, report.Jobs)
}

// The shop floor's fields are looked at where the ERP claims them.
func TestCheckOfTheShopFloorsFields(t *testing.T) {
	for _, owned := range []bool{false, true} {
		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
		opts := []Option{WithState(newMemState())}
		if owned {
			opts = append(opts, WithoutCreateOnly("jobs.status"))
		}
		c := onServer(t, srv, opts...)
		list := jobs(1)
		list[0].Status = Some(WorkNotStarted)
		_, err := c.Jobs.BulkSync(t.Context(), list)
		require.NoError(t, err)
		inOneRow(srv, eryxontest.Jobs, list[0].ExternalID, func(row eryxontest.Row) eryxontest.Row {
			row["status"] = "in_progress"
			return row
		})
		report, err := c.Check(t.Context(), CheckOptions{})
		require.NoError(t, err)
		if !owned {
			assert.Equal(t, 1, report.Jobs.Compared)
			continue
		}
		require.Len(t, report.Findings, 1)
		assert.Equal(t, []string{"status"}, report.Findings[0].Fields)
	}
}

// Records that were sent nested in others, and links to others, are not taken
// for columns.
func TestCheckPassesOverNestedRecords(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	st := newMemState()
	c := onServer(t, srv, WithState(st))
	j := job("1")
	j.Parts = []Part{{ExternalID: "P", PartNumber: "P", Material: Some("x"), Quantity: Some(1)}}
	res, err := c.Jobs.BulkSync(t.Context(), []Job{j})
	require.NoError(t, err)
	require.Equal(t, StatusSynced, res.Outcomes[0].Nested[0].Status)
	report, err := c.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	assert.Empty(t, report.Findings)
	assert.Equal(t, EntityCheck{Known: 1, Present: 1, Compared: 1, Requests: 2}, report.Jobs)
}

// Of a part that was sent nested in its job it is known whether it is there. One
// that is lost has the job sent again, with it.
func TestCheckOfNestedRecords(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	st := newMemState()
	c := onServer(t, srv, WithState(st))
	j := job("1")
	for i := range 2 {
		id := fmt.Sprint("P", i)
		j.Parts = append(j.Parts, Part{ExternalID: id, ExternalSource: "SAP", PartNumber: id, Material: Some("x"), Quantity: Some(1)})
	}
	_, err := c.Jobs.BulkSync(t.Context(), []Job{j})
	require.NoError(t, err)
	old := time.Now().Add(-time.Hour)
	for k, entry := range st.entries {
		entry.Time = old
		st.entries[k] = entry
	}
	inOneRow(srv, eryxontest.Parts, "P1", func(eryxontest.Row) eryxontest.Row { return nil })
	report, err := c.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	assert.Equal(t, EntityCheck{Known: 1, Present: 1, Compared: 1, Requests: 1}, report.Jobs)
	assert.Equal(t, EntityCheck{Known: 2, Present: 1, Gone: 1, Requests: 2}, report.Parts)
	assert.Equal(t, old, entryOf(st, EntityParts, "P0").Time, "nothing of it was compared")
	res, err := c.Jobs.BulkSync(t.Context(), []Job{j})
	require.NoError(t, err)
	assert.Equal(t, 1, res.Counts.Updated)
	_, ok := srv.Row(eryxontest.Parts, "SAP", "P1")
	assert.True(t, ok)
	report, err = c.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	assert.Empty(t, report.Findings)
}

// Names are kept as two bytes: those that are known are told apart by them.
func TestFieldNamesAreToldApart(t *testing.T) {
	columns := map[Entity]map[string]int{EntityCells: cellColumns, EntityResources: resourceColumns, EntityJobs: jobColumns,
		EntityParts: partColumns, EntityOperations: operationColumns}
	for e, list := range columns {
		names := map[uint16]string{}
		for name := range recordFields(e) {
			other, taken := names[nameDigest(name)]
			require.False(t, taken, "%s: %s and %s", e, name, other)
			names[nameDigest(name)] = name
		}
		for name := range list {
			if field, taken := names[nameDigest(name)]; taken {
				assert.Equal(t, field, name, e)
			}
		}
		for name := range noFields {
			if _, isField := recordFields(e)[name]; !isField {
				assert.NotContains(t, names, nameDigest(name))
			}
		}
	}
}

func TestCheckOfAStateThatCanNotBeUsed(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V08, 3)
	inOneRow(srv, eryxontest.Jobs, "J1", func(row eryxontest.Row) eryxontest.Row {
		row["customer"] = "Other"
		return row
	})
	c := onServer(t, srv)
	st.failPut = errors.New("disk full")
	report, err := c.Check(t.Context(), CheckOptions{}, WithState(st))
	require.ErrorContains(t, err, "disk full")
	assert.NotNil(t, report)
	assert.False(t, st.locked)
	st.failPut, st.failGet = nil, errors.New("bad sector")
	_, err = onServer(t, srv).Check(t.Context(), CheckOptions{}, WithState(st))
	require.ErrorContains(t, err, "bad sector")
	st.failGet = nil

	// A client that sends nothing marks nothing.
	dry, err := c.With(WithDryRun(nil), WithState(st))
	require.NoError(t, err)
	puts := st.puts
	report, err = dry.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	assert.Equal(t, 1, report.Jobs.Differs)
	assert.Equal(t, puts, st.puts)
}

// Rows of another tenant are nobody's finding.
func TestCheckOfAnotherTenant(t *testing.T) {
	srv, st, _ := stocked(t, eryxontest.V01, 3)
	h := st.of(t)
	h.TenantID = "00000002-0000-4000-8000-000000000002"
	var err error
	st.header, err = json.Marshal(h)
	require.NoError(t, err)
	before := maps.Clone(st.entries)
	report, err := onServer(t, srv).Check(t.Context(), CheckOptions{Entities: []Entity{EntityResources, EntityJobs}}, WithState(st))
	require.ErrorIs(t, err, ErrStateMismatch)
	assert.Equal(t, 3, report.Jobs.NotReached)
	assert.Equal(t, before, st.entries)
}

func TestCheckReportPrints(t *testing.T) {
	r := &CheckReport{
		Jobs:  EntityCheck{Known: 1204, Present: 1201, Compared: 1200, Gone: 1, Differs: 2, Requests: 3},
		Parts: EntityCheck{Known: 4, NotReached: 4}, Requests: 4,
		Findings: []CheckFinding{
			{Entity: EntityJobs, Key: Key{"SAP", "SO-1"}, Gone: true},
			{Entity: EntityJobs, Key: Key{"SAP", "SO-2"}, ID: seedParent, Fields: []string{"customer", "notes"}},
			{Entity: EntityJobs, Key: Key{"SAP", "SO-3"}, Fields: []string{"id"}},
		},
		Err: errors.New("no more"),
	}
	text := r.String()
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	require.Len(t, lines, 11, text)
	for _, line := range lines[1:7] {
		assert.Len(t, []rune(line), len([]rune(lines[0])), "columns stand under each other")
	}
	assert.Equal(t, []string{"jobs", "1204", "1201", "1200", "1", "2", "0", "0", "0", "3"}, strings.Fields(lines[3]))
	assert.Equal(t, []string{"total", "1208", "1201", "1200", "1", "2", "0", "0", "4", "3"}, strings.Fields(lines[6]))
	assert.Equal(t, []string{"job SAP/SO-1: gone", "job SAP/SO-2: customer, notes differ", "job SAP/SO-3: id differs", "ended early: no more"}, lines[7:])
	raw, err := json.Marshal(r)
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"not_reached":4`)
	assert.Contains(t, string(raw), `{"entity":"jobs","key":{"external_source":"SAP","external_id":"SO-1"},"gone":true}`)
}

// plant is a server and what the ERP says of it, under random change.
type plant struct {
	release   eryxontest.Release
	rng       *rand.Rand
	srv       *eryxontest.Server
	cells     []Cell
	resources []Resource
	jobs      []Job
	parts     []Part
	ops       []Operation
}

func (p *plant) text() string { return fmt.Sprintf("<%d> & \"%d\"", p.rng.IntN(5), p.rng.IntN(5)) }

// inERP edits some records.
func (p *plant) inERP() {
	hit := func() bool { return p.rng.IntN(4) == 0 }
	for i := range p.cells {
		if hit() {
			p.cells[i].Color, p.cells[i].Sequence = Some(fmt.Sprintf("#%06d", p.rng.IntN(9))), Some(p.rng.IntN(9))
		}
	}
	for i := range p.resources {
		if hit() {
			p.resources[i].Location = Some("L" + p.text())
		}
	}
	for i := range p.jobs {
		if hit() {
			p.jobs[i].Customer, p.jobs[i].DueDate = Some("C"+p.text()), Some(NewDate(2027, 1, 1+p.rng.IntN(28)))
		}
	}
	for i := range p.parts {
		if hit() {
			p.parts[i].Material, p.parts[i].Quantity = Some("M"+p.text()), Some(1+p.rng.IntN(9))
		}
	}
	for i := range p.ops {
		if hit() {
			p.ops[i].OperationName = "Op" + p.text()
		}
	}
}

// onFloor edits, loses, remakes and deletes some rows. A lost row takes its
// children with it, as do those that were deleted before and are lost now, and a
// remade one keeps them, as a database would have it.
func (p *plant) onFloor() {
	hit := func(n int) bool { return p.rng.IntN(n) == 0 }
	lost, remade := map[any]bool{}, map[any]any{}
	live := map[any]bool{nil: true}
	for _, e := range testEntities {
		for _, row := range p.srv.Rows(e) {
			live[row["id"]] = true
		}
	}
	inMES(p.srv, func(e eryxontest.Entity, row eryxontest.Row) eryxontest.Row {
		for _, link := range []string{"job_id", "part_id", "cell_id"} {
			if lost[row[link]] || !live[row[link]] {
				lost[row["id"]] = true
				return nil
			}
			if id := remade[row[link]]; id != nil {
				row[link] = id
			}
		}
		if hit(12) {
			lost[row["id"]] = true
			return nil
		}
		if hit(12) && (e == eryxontest.Jobs || e == eryxontest.Resources || e == eryxontest.Parts) {
			id := fmt.Sprintf("%08x-0000-4000-8000-%012x", p.rng.Uint32(), p.rng.Uint32())
			remade[row["id"]], row["id"] = id, id
		}
		if hit(4) {
			edits := map[eryxontest.Entity][]string{
				eryxontest.Cells: {"name", "color"}, eryxontest.Resources: {"location", "name"}, eryxontest.Jobs: {"customer", "notes", "job_number"},
				eryxontest.Parts: {"material", "part_number"}, eryxontest.Operations: {"operation_name"},
			}[e]
			row[edits[p.rng.IntN(len(edits))]] = "by hand " + fmt.Sprint(p.rng.Uint32())
		}
		return row
	})
	for _, e := range testEntities {
		for _, row := range p.srv.Rows(e) {
			// Deleted cells are listed there, and can't be told.
			if hit(20) && (e != eryxontest.Cells || p.release == eryxontest.Documented) {
				p.srv.Delete(e, "SAP", row["external_id"].(string))
			}
		}
	}
}

// holds demands that the server has what the ERP says of a record.
func (p *plant) holds(t *testing.T, e Entity, id string, want map[string]any) {
	t.Helper()
	row, ok := p.srv.Row(eryxontest.Entity(e), "SAP", id)
	if !assert.True(t, ok, "%s %s is reported as a success and is not there", e, id) {
		return
	}
	for name, v := range want {
		got := row[name]
		if text, is := got.(string); is && name == "due_date" {
			got = text[:len("2006-01-02")]
		}
		assert.EqualValues(t, v, got, "%s %s: %s", e, id, name)
	}
}

func (p *plant) idOf(e eryxontest.Entity, id string) any {
	row, _ := p.srv.Row(e, "SAP", id)
	return row["id"]
}

// After a check and a run every record that is reported as a success is on the
// server, as the ERP has it, whatever was done to the rows.
func TestCheckAndRunBringBackTheTruth(t *testing.T) {
	for _, release := range allReleases {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(release, " ", seed), func(t *testing.T) {
				p := &plant{release: release, rng: rand.New(rand.NewPCG(seed, 7)), srv: eryxontest.New(eryxontest.WithRelease(release))}
				p.cells, p.resources, p.jobs, p.parts, p.ops = workshop(6)
				st := newMemState()
				sync := func() map[Key]bool {
					failed := map[Key]bool{}
					data := Dataset{Cells: FromSlice(p.cells), Resources: FromSlice(p.resources), Jobs: FromSlice(p.jobs), Parts: FromSlice(p.parts), Operations: FromSlice(p.ops)}
					report, err := onServer(t, p.srv).SyncAll(t.Context(), data, WithState(st), WithOutcomes(func(o Outcome) error {
						failed[o.Key] = true
						return nil
					}))
					if len(failed) == 0 {
						require.NoError(t, err)
					}
					require.NoError(t, report.Ended)
					return failed
				}
				sync()
				for range 5 {
					p.inERP()
					p.onFloor()
					options := CheckOptions{}
					c := onServer(t, p.srv)
					if p.rng.IntN(3) == 0 { // in two goes
						_, _ = c.Check(t.Context(), options, WithState(st), WithRequestBudget(1+p.rng.IntN(4)))
					}
					report, err := c.Check(t.Context(), options, WithState(st))
					require.NoError(t, err)
					addsUp(t, report)
					onlyAsked(t, p.srv.Requests())
					failed := sync()
					for _, r := range p.cells {
						if !failed[Key{"SAP", r.ExternalID}] {
							p.holds(t, EntityCells, r.ExternalID, map[string]any{"name": r.Name, "color": r.Color.value, "sequence": r.Sequence.value})
						}
					}
					for _, r := range p.resources {
						if !failed[Key{"SAP", r.ExternalID}] {
							p.holds(t, EntityResources, r.ExternalID, map[string]any{"name": r.Name, "location": r.Location.value})
						}
					}
					for _, r := range p.jobs {
						if !failed[Key{"SAP", r.ExternalID}] {
							p.holds(t, EntityJobs, r.ExternalID, map[string]any{"job_number": r.JobNumber, "customer": r.Customer.value, "notes": r.Notes.value, "due_date": r.DueDate.value.String()})
						}
					}
					for _, r := range p.parts {
						if !failed[Key{"SAP", r.ExternalID}] && !failed[Key{"SAP", r.JobExternalID}] {
							p.holds(t, EntityParts, r.ExternalID, map[string]any{"part_number": r.PartNumber, "material": r.Material.value, "quantity": r.Quantity.value,
								"job_id": p.idOf(eryxontest.Jobs, r.JobExternalID)})
						}
					}
					for _, r := range p.ops {
						if !failed[Key{"SAP", r.ExternalID}] && !failed[Key{"SAP", r.PartExternalID}] {
							p.holds(t, EntityOperations, r.ExternalID, map[string]any{"operation_name": r.OperationName, "part_id": p.idOf(eryxontest.Parts, r.PartExternalID)})
						}
					}
					assert.Less(t, len(failed), 30, "%v", slices.Collect(maps.Keys(failed)))
				}
			})
		}
	}
}
