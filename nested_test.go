package eryxon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
	"github.com/eryxon/eryxon-go/syncstate"
)

func TestNestedRecordsThatFailedWithWhatTheyCarryCanBeReplayed(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08)
	_, err := c.SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells})
	require.NoError(t, err)
	p := steel("bad", "")
	p.Extra, p.Operations = map[string]any{"no_column": 1}, cuts("", 2, whole)
	var file strings.Builder
	_, err = c.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{p}}})}, eryxon.WithNested(), eryxon.WithFailedRecords(&file))
	require.Error(t, err)
	again, err := eryxon.ReadFailedRecords(strings.NewReader(strings.ReplaceAll(file.String(), "no_column", "drawing_no")))
	require.NoError(t, err)
	_, err = another(t, srv).SyncAll(t.Context(), again)
	require.NoError(t, err)
}

func TestASingleSyncsNestedFailureIsInItsError(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08AsMigrated)
	_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
	require.NoError(t, err)
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
	p := steel("P", "J")
	p.Operations = cuts("", 1, whole)
	res, err := another(t, srv).Parts.Sync(t.Context(), p)
	require.Equal(t, eryxon.StatusFailed, res.Nested[0].Status)
	require.Error(t, err)
}

func TestNestedErrorsHaveTheirOutcomesIndex(t *testing.T) {
	_, c := releaseClient(t, eryxontest.V08)
	bad := steel("P2", "")
	bad.Extra = map[string]any{"no_column": 1}
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J0", JobNumber: "J0"},
		{ExternalID: "J1", JobNumber: "J1", Parts: []eryxon.Part{steel("P1", "")}}, {ExternalID: "J2", JobNumber: "J2", Parts: []eryxon.Part{bad}}})
	var failed *eryxon.RecordError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, res.Outcomes[2].Nested[0].Index, failed.Index)
}

func TestAJobThatIsSyncedOnceMoreIsStillCreated(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V08)
	c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
	bad := steel("P", "")
	bad.Extra = map[string]any{"no_column": 1}
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold), Parts: []eryxon.Part{bad}}
	srv.Script("/api-jobs/sync", eryxontest.CloseBefore(), eryxontest.CloseBefore())
	_, err := c.Jobs.Sync(t.Context(), job)
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	res, _ := c.Jobs.Sync(t.Context(), job)
	assert.Equal(t, eryxon.StatusCreated, res.Status)
}

// A job whose row was made, and what was left out of it then refused, is not failed.
func TestAJobThatWasMadeBareIsNotFailed(t *testing.T) {
	srv := eryxontest.NewServer(t)
	c := another(t, srv, eryxon.WithState(syncstate.NewMemory()))
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold)}
	srv.Script("/api-jobs/sync", eryxontest.CloseBefore(), eryxontest.CloseBefore())
	_, err := c.Jobs.Sync(t.Context(), job)
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	srv.Script("/api-jobs/sync", eryxontest.Fault{}, eryxontest.Status(413))
	res, err := c.Jobs.Sync(t.Context(), job)
	require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
	assert.Equal(t, eryxon.StatusUnknown, res.Status)
	require.Len(t, srv.Rows(eryxontest.Jobs), 1)
	res, err = c.Jobs.Sync(t.Context(), job)
	require.NoError(t, err)
	assert.True(t, res.Status.Success())
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
	assert.Equal(t, "on_hold", row["status"], "goes with the next")
}

// A bulk that passes over a status has written what the job carried, whether or not the
// single sync of the status is made.
func TestWhatAPassedOverStatusCarriedIsNotUnsent(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
	require.NoError(t, err)
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold), Parts: []eryxon.Part{steel("P", "")}}
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{job}, eryxon.WithRequestBudget(1), eryxon.WithoutChecks())
	require.ErrorIs(t, err, eryxon.ErrRequestBudget)
	require.Len(t, srv.Rows(eryxontest.Parts), 1)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Status)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Nested[0].Status)
}

// Nested records of one key are told apart as those of a slice are: of the same content
// the last is sent, of different content none.
func TestOneNestedKeyOnSeveralRecords(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv, c := releaseClient(t, release, eryxon.WithRelease(eryxon.Release(release)))
			_, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells, Jobs: shopFloor().Jobs})
			require.NoError(t, err)
			p := steel("P", "J")
			p.Operations = append(cuts("", 1, whole), cuts("", 1, whole)...)
			res, err := c.Parts.Sync(t.Context(), p)
			require.NoError(t, err)
			assert.Equal(t, []eryxon.Status{eryxon.StatusSuperseded, eryxon.StatusCreated}, []eryxon.Status{res.Nested[0].Status, res.Nested[1].Status})

			jobs := make([]eryxon.Job, 20) // an ERP that numbers items within their order
			for i := range jobs {
				jobs[i] = eryxon.Job{ExternalID: fmt.Sprint("J", i), JobNumber: fmt.Sprint("J", i), Parts: []eryxon.Part{steel("10", "")}}
				jobs[i].Parts[0].Operations = cuts("", 1, func(o *eryxon.Operation) { whole(o); o.ExternalID = fmt.Sprint("N", i) })
			}
			before := len(srv.Requests())
			bulk, err := c.Jobs.BulkSync(t.Context(), jobs)
			require.ErrorContains(t, err, `"10" stands on 20 records of different content (nested in others)`)
			assert.Equal(t, eryxon.Counts{Failed: 20, ParentFailed: 20}, bulk.Nested)
			assert.Equal(t, 20, bulk.Counts.Succeeded())
			assert.Len(t, srv.Rows(eryxontest.Parts), 1)
			assert.LessOrEqual(t, len(srv.Requests())-before, 2)
			if release == eryxontest.V01 { // which gets them in their carriers while it is not known
				bulk, err = another(t, srv).Jobs.BulkSync(t.Context(), jobs)
				require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
				assert.Equal(t, eryxon.Counts{Unknown: 40}, bulk.Nested)
			}
		})
	}
}

// ways are those to hand in one job, with what became of it.
func ways(c *eryxon.Client, opts ...eryxon.BulkOption) map[string]func(context.Context, eryxon.Job) (eryxon.Outcome, error) {
	return map[string]func(context.Context, eryxon.Job) (eryxon.Outcome, error){
		"Sync": func(ctx context.Context, j eryxon.Job) (eryxon.Outcome, error) {
			res, err := c.Jobs.Sync(ctx, j)
			return res.Outcome, err
		},
		"BulkSync": func(ctx context.Context, j eryxon.Job) (eryxon.Outcome, error) {
			res, err := c.Jobs.BulkSync(ctx, []eryxon.Job{j}, opts...)
			return res.Outcomes[0], err
		},
		"Stream": func(ctx context.Context, j eryxon.Job) (o eryxon.Outcome, err error) {
			st := c.Jobs.Stream(ctx, func(yield func(eryxon.Job, error) bool) { yield(j, nil) }, opts...)
			for out := range st.All() {
				o = out
			}
			return o, st.Err()
		},
	}
}

// A server that drops nested records without a word is sent them on their own, whether
// or not it was known to be one: each has a true outcome.
func TestNestedRecordsThatAServerDropsAreToldOf(t *testing.T) {
	for known, release := range map[string]eryxon.Release{"known": eryxon.ReleaseV01, "met": eryxon.ReleaseUnknown} {
		for _, way := range []string{"Sync", "BulkSync", "Stream"} {
			t.Run(known+" "+way, func(t *testing.T) {
				srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(release))
				_, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells})
				require.NoError(t, err)
				good, twin := steel("GOOD", ""), steel("TWIN", "")
				twin.PartNumber = good.PartNumber
				good.Operations = cuts("", 2, whole)
				good.Operations[1].CellName = "Nowhere"
				twin.Operations = cuts("", 1, whole)
				twin.Operations[0].ExternalID = "O2"
				o, _ := ways(c)[way](t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{good, twin}})
				assert.Equal(t, eryxon.StatusCreated, o.Status)
				require.Len(t, o.Nested, 5)
				for _, n := range o.Nested {
					_, stored := srv.Row(eryxontest.Entity(n.Entity), n.Key.Source, n.Key.ExternalID)
					assert.Equal(t, stored, n.Status.Success(), "%s %s: %s", n.Entity, n.Key, n.Status)
				}
				assert.ErrorIs(t, o.Nested[2].Err, eryxon.ErrParentNotFound)
				assert.ErrorIs(t, o.Nested[3].Err, eryxon.ErrNaturalKeyTaken)
				last := eryxon.StatusParentFailed
				if known == "met" {
					last = eryxon.StatusUnknown // it was sent, in its carrier
				}
				assert.Equal(t, last, o.Nested[4].Status)
			})
		}
	}
}

// What a nested record would overwrite is its own matter there, not its carrier's.
func TestNestedRecordsOfAServerThatFillsAreRefusedByThemselves(t *testing.T) {
	for _, way := range []string{"Sync", "BulkSync", "Stream"} {
		t.Run(way, func(t *testing.T) {
			srv, c := releaseClient(t, eryxontest.V01)
			_, err := another(t, srv).SyncAll(t.Context(), shopFloor("OLD"))
			require.NoError(t, err)
			bare := func(id string) eryxon.Part { return eryxon.Part{ExternalID: id, PartNumber: id} }
			o, err := ways(c)[way](t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Customer: eryxon.Some("Acme"), Parts: []eryxon.Part{bare("OLD"), bare("NEW")}})
			if way != "Stream" { // whose outcomes tell
				require.ErrorIs(t, err, eryxon.ErrValidation)
			}
			assert.Equal(t, []eryxon.Status{eryxon.StatusUpdated, eryxon.StatusFailed, eryxon.StatusCreated}, []eryxon.Status{o.Status, o.Nested[0].Status, o.Nested[1].Status})
			old, _ := srv.Row(eryxontest.Parts, "SAP", "OLD")
			assert.Equal(t, "Steel", old["material"])
		})
	}
}

// As documented, nested records go in their carrier's one request; a server that does
// not tell its limits is asked once whether it drops some.
func TestNestedRecordsTravelInTheirCarrier(t *testing.T) {
	limits := func(always bool) []eryxontest.Option {
		return []eryxontest.Option{eryxontest.WithQuota(100, time.Hour), eryxontest.WithHeadersAlways(always)}
	}
	v01 := []eryxontest.Option{eryxontest.WithRelease(eryxontest.V01)}
	for name, tt := range map[string]struct {
		server           []eryxontest.Option
		opts             []eryxon.BulkOption
		first, afterward int // requests
	}{
		"as documented":  {limits(true), nil, 1, 1},
		"of no limits":   {limits(false), nil, 2, 1},
		"without checks": {v01, []eryxon.BulkOption{eryxon.WithoutChecks()}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := eryxontest.NewServer(t, tt.server...)
			bulk := ways(another(t, srv), tt.opts...)["BulkSync"]
			for i, want := range []int{tt.first, tt.afterward} {
				before := len(srv.Requests())
				o, err := bulk(t.Context(), eryxon.Job{ExternalID: fmt.Sprint(i), JobNumber: fmt.Sprint(i), Parts: []eryxon.Part{steel(fmt.Sprint("P", i), "")}})
				require.NoError(t, err)
				assert.Len(t, srv.Requests()[before:], want)
				assert.Equal(t, eryxon.StatusUnknown, o.Nested[0].Status)
				assert.Len(t, srv.Rows(eryxontest.Parts), i+1)
			}
		})
	}
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithoutChecks())
	_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{steel("P", "")}})
	require.NoError(t, err)
	assert.Len(t, srv.Requests(), 1, "a single sync, without checks")
	srv, c = releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01), eryxon.WithNested())
	for way, sync := range ways(c) {
		before := len(srv.Requests())
		o, err := sync(t.Context(), laden("W"))
		require.NoError(t, err)
		assert.Len(t, srv.Requests()[before:], 1, way)
		assert.Equal(t, eryxon.StatusUnknown, o.Nested[0].Status, way)
	}
	srv, c = releaseClient(t, eryxontest.V01)
	data := eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{steel("P", "")}}})}
	_, err = c.SyncAll(t.Context(), data, eryxon.WithNested())
	require.NoError(t, err)
	assert.Len(t, srv.Requests(), 1, "the caller wants no more")
}

// Nested records whose ids are equal, of two sources, go in requests of their own:
// answers name no source.
func TestNestedRecordsOfTwoSourcesAreNotMixedUp(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells})
	require.NoError(t, err)
	srv.Script("/api-parts/bulk-sync", eryxontest.OmitRecord())
	twin, carrier := steel("T", ""), steel("P", "")
	twin.PartNumber, carrier.Operations = "P", cuts("", 1, whole)
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{
		{ExternalID: "A", JobNumber: "A", Parts: []eryxon.Part{twin, carrier}},
		{ExternalID: "B", ExternalSource: "OTHER", JobNumber: "B", Parts: []eryxon.Part{steel("P", "")}}})
	require.Error(t, err)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Nested[1].Status, "the answer does not mention it")
	assert.Equal(t, eryxon.StatusCreated, res.Outcomes[1].Nested[0].Status)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
}

// One nested key in two carriers has the outcome, in each, of what was sent for it.
func TestOneNestedKeyInTwoCarriers(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		srv, c := releaseClient(t, release)
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
		_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "0", JobNumber: "0"})
		require.NoError(t, err)
		res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{
			{ExternalID: "A", JobNumber: "TAKEN", Parts: []eryxon.Part{steel("P", "")}},
			{ExternalID: "B", JobNumber: "B", Parts: []eryxon.Part{steel("P", "")}}})
		require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
		assert.Equal(t, eryxon.StatusParentFailed, res.Outcomes[0].Nested[0].Status, release)
		assert.Equal(t, eryxon.StatusCreated, res.Outcomes[1].Nested[0].Status, release)
	}
}

// The same in a request that the server has divided.
func TestNestedRecordsOfADividedRequestAreSettledOnce(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "H", JobNumber: "H"})
	require.NoError(t, err)
	srv.Script("/api-jobs/bulk-sync", eryxontest.Status(413))
	bare := eryxon.Part{ExternalID: "P", PartNumber: "P"}
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{
		{ExternalID: "H", JobNumber: "H", Customer: eryxon.Null[string](), Parts: []eryxon.Part{bare}},
		{ExternalID: "B", JobNumber: "B", Parts: []eryxon.Part{steel("P", "")}}, {ExternalID: "C", JobNumber: "C"}})
	require.ErrorIs(t, err, eryxon.ErrValidation)
	assert.Equal(t, eryxon.StatusFailed, res.Outcomes[0].Nested[0].Status)
	assert.Equal(t, eryxon.StatusCreated, res.Outcomes[1].Nested[0].Status)
}

// What has gone nested to a server that was not known goes once more, not once more
// for every time the request was divided.
func TestWhatWasNestedGoesOnceMore(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01)
	srv.Script("/api-jobs/bulk-sync", eryxontest.Status(413), eryxontest.Status(413))
	jobs := make([]eryxon.Job, 8)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprint(i), JobNumber: fmt.Sprint(i), Parts: []eryxon.Part{steel(fmt.Sprint("P", i), "")}}
	}
	res, err := c.Jobs.BulkSync(t.Context(), jobs)
	require.NoError(t, err)
	assert.Equal(t, 8, res.Nested.Succeeded())
	sent := 0
	for _, r := range srv.Requests() {
		if strings.HasSuffix(r.Path, "/api-parts/bulk-sync") {
			sent += strings.Count(string(r.Body), `"part_number"`)
		}
	}
	assert.Equal(t, 8, sent)
}

// A server that is taken for one that fills, and counts, has stored the job that went
// without its parts.
func TestAJobThatWentAloneIsNotUnsent(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV01))
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{steel("P", "")}}
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{job}, eryxon.WithRequestBudget(1))
	require.ErrorIs(t, err, eryxon.ErrRequestBudget)
	_, stored := srv.Row(eryxontest.Jobs, "SAP", "J")
	require.True(t, stored)
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Status)
}

// Nothing nested loses its outcome where its carrier can't be sent.
func TestWhatAnUntranslatableCarrierHasKeepsItsOutcomes(t *testing.T) {
	_, c := releaseClient(t, eryxontest.V08, eryxon.WithRelease(eryxon.ReleaseV01))
	p := steel("P", "nojob")
	p.Operations = cuts("", 2, whole)
	res, err := c.Parts.Sync(t.Context(), p)
	require.Error(t, err)
	require.Len(t, res.Nested, 2)
	assert.False(t, res.Nested[0].Status.Success())
}

// New operations may leave fields out, nested in a new part too.
func TestNestedOperationsOfANewPartMayLeaveFieldsOut(t *testing.T) {
	for _, way := range []string{"Sync", "BulkSync", "Stream"} {
		srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
		_, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells, Jobs: shopFloor().Jobs})
		require.NoError(t, err)
		p := steel("P", "")
		p.Operations = cuts("", 2, nil)
		o, err := ways(c)[way](t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{p}})
		require.NoError(t, err, way)
		assert.Len(t, srv.Rows(eryxontest.Operations), 2, way)
		assert.True(t, o.Nested[2].Status.Success(), way)
		p.ExternalID, p.PartNumber, p.JobExternalID = "Q", "Q", "J"
		for i := range p.Operations {
			p.Operations[i].ExternalID = fmt.Sprint("Q", i)
		}
		_, err = c.Parts.Sync(t.Context(), p)
		require.NoError(t, err, "in a part of its own")
	}
}

// A single sync of a job with all that it carries takes a request for each kind, and
// one for the cells.
func TestASingleSyncsNestedRecordsTakeARequestAKind(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells})
	require.NoError(t, err)
	for i, want := range []int{4, 3, 3} {
		before := len(srv.Requests())
		_, err := c.Jobs.Sync(t.Context(), laden(fmt.Sprint(i)))
		require.NoError(t, err)
		assert.Len(t, srv.Requests()[before:], want)
	}
}

// laden is a job with a part, with an operation.
func laden(id string) eryxon.Job {
	p := steel("P"+id, "")
	p.Operations = cuts("", 1, whole)
	p.Operations[0].ExternalID = "O" + id
	return eryxon.Job{ExternalID: id, JobNumber: id, Parts: []eryxon.Part{p}}
}

func TestTheCellsOfNestedOperationsAreLookedAtEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c := releaseClient(t, eryxontest.V01, eryxon.WithRelease(eryxon.ReleaseV01))
		_, err := another(t, srv).SyncAll(t.Context(), eryxon.Dataset{Cells: shopFloor().Cells})
		require.NoError(t, err)
		_, err = c.Jobs.Sync(t.Context(), laden("1"))
		require.NoError(t, err)
		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 2})
		time.Sleep(time.Minute)
		_, err = c.Jobs.Sync(t.Context(), laden("2"))
		require.ErrorIs(t, err, eryxon.ErrConflict, "two of the name by now")
	})
}

// Where it can't be found out whether the server has dropped some, nested records are
// unknown, and say why.
func TestNestedRecordsOfWhichNothingCanBeFoundOutSayWhy(t *testing.T) {
	_, c := releaseClient(t, eryxontest.V01)
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J", Parts: []eryxon.Part{steel("P", "")}}}, eryxon.WithRequestBudget(1))
	require.NoError(t, err, "the job has arrived")
	assert.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Nested[0].Status)
	require.ErrorIs(t, res.Outcomes[0].Nested[0].Err, eryxon.ErrRequestBudget)
}

// With a state, what the shop floor owns of a nested record is left out of updates and
// goes with what is new, whatever its carrier is.
func TestTheShopFloorsFieldsOfNestedRecords(t *testing.T) {
	held := func(id, job string) eryxon.Part {
		p := steel(id, job)
		p.Status = eryxon.Some(eryxon.WorkOnHold)
		return p
	}
	for release, path := range map[eryxontest.Release]string{eryxontest.V01: "/api-parts/bulk-sync", eryxontest.V08: "/api-parts/sync"} {
		for _, way := range []string{"Sync", "BulkSync"} {
			t.Run(string(release)+" "+way, func(t *testing.T) {
				srv, _ := releaseClient(t, release)
				c := another(t, srv, eryxon.WithState(syncstate.NewMemory()), eryxon.WithRelease(eryxon.Release(release)))
				sync := ways(c)[way]
				floor := func(id string) {
					p := steel(id, "J")
					p.Status = eryxon.Some(eryxon.WorkInProgress)
					_, err := another(t, srv).Parts.Sync(t.Context(), p)
					require.NoError(t, err)
				}
				status := func(id string) any {
					row, _ := srv.Row(eryxontest.Parts, "SAP", id)
					return row["status"]
				}
				job := func(parts ...eryxon.Part) eryxon.Job {
					return eryxon.Job{ExternalID: "J", JobNumber: "J", Parts: parts}
				}
				_, err := another(t, srv).Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
				require.NoError(t, err)
				_, err = c.Parts.BulkSync(t.Context(), []eryxon.Part{held("KNOWN", "J")})
				require.NoError(t, err)
				floor("KNOWN")
				_, err = sync(t.Context(), job(held("KNOWN", ""), held("NEW", "")))
				require.NoError(t, err)
				assert.Equal(t, []any{"in_progress", "on_hold"}, []any{status("KNOWN"), status("NEW")}, "of a job that the state does not know")

				lost := eryxontest.CloseBefore()
				srv.Script(path, lost, lost)
				o, err := sync(t.Context(), job(held("TRIED", "")))
				require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
				require.Equal(t, eryxon.StatusUnknown, o.Nested[0].Status)
				require.Nil(t, status("TRIED"))
				o, err = sync(t.Context(), job(held("TRIED", "")))
				require.NoError(t, err)
				assert.Equal(t, eryxon.StatusCreated, o.Nested[0].Status)
				assert.Equal(t, "on_hold", status("TRIED"), "of a part that was tried in vain")
				floor("TRIED")
				o, err = sync(t.Context(), job(held("TRIED", ""), held("NEW", "")))
				require.NoError(t, err)
				assert.True(t, o.Nested[0].Status.Success())
				assert.Equal(t, "in_progress", status("TRIED"))

				if release != eryxontest.V01 {
					return // its updates go another way
				}
				srv.Script(path, lost, lost)
				changed := held("TRIED", "")
				changed.Quantity = eryxon.Some(9)
				o, err = sync(t.Context(), job(changed))
				require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
				assert.Equal(t, changed.Status, o.Nested[0].Record.(eryxon.Part).Status, "handed back as it was given")
			})
		}
	}
}

// A part that went after a job that was refused, and whose answer was lost, may be
// there: its next update leaves out what the shop floor owns.
func TestThePartOfARefusedJobIsInDoubt(t *testing.T) {
	srv, _ := releaseClient(t, eryxontest.V01)
	c := another(t, srv, eryxon.WithState(syncstate.NewMemory()), eryxon.WithRelease(eryxon.ReleaseV01))
	_, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "J", JobNumber: "J"}})
	require.NoError(t, err)
	p := steel("P", "")
	p.Status = eryxon.Some(eryxon.WorkNotStarted)
	job := eryxon.Job{ExternalID: "J", JobNumber: "J", Customer: eryxon.Null[string](), Parts: []eryxon.Part{p}}
	srv.Script("/api-parts/bulk-sync", eryxontest.LoseAnswer(), eryxontest.CloseBefore())
	res, err := c.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
	require.ErrorIs(t, err, eryxon.ErrValidation)
	require.Equal(t, eryxon.StatusUnknown, res.Outcomes[0].Nested[0].Status)
	p.JobExternalID, p.Status = "J", eryxon.Some(eryxon.WorkInProgress)
	_, err = another(t, srv).Parts.Sync(t.Context(), p)
	require.NoError(t, err)
	job.Customer = eryxon.Some("Acme")
	_, err = c.Jobs.BulkSync(t.Context(), []eryxon.Job{job})
	require.NoError(t, err)
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, "in_progress", row["status"])
}

// What a job carries goes once, though the job, which turns out to be new, goes twice.
func TestWhatANewJobCarriesGoesOnce(t *testing.T) {
	for _, way := range []string{"Sync", "BulkSync"} {
		for release, path := range map[eryxontest.Release]string{eryxontest.V01: "/api-jobs/bulk-sync", eryxontest.V08: "/api-jobs/sync"} {
			if way == "Sync" {
				path = "/api-jobs/sync"
			}
			srv, _ := releaseClient(t, release)
			c := another(t, srv, eryxon.WithState(syncstate.NewMemory()), eryxon.WithRelease(eryxon.Release(release)))
			sync := ways(c)[way]
			job := eryxon.Job{ExternalID: "J", JobNumber: "J", Status: eryxon.Some(eryxon.WorkOnHold), Parts: []eryxon.Part{steel("P", "")}}
			srv.Script(path, eryxontest.CloseBefore(), eryxontest.CloseBefore())
			_, err := sync(t.Context(), job)
			require.ErrorIs(t, err, eryxon.ErrUnknownOutcome)
			before := len(srv.Requests())
			o, err := sync(t.Context(), job)
			require.NoError(t, err)
			assert.Equal(t, []eryxon.Status{eryxon.StatusCreated, eryxon.StatusCreated}, []eryxon.Status{o.Status, o.Nested[0].Status}, "%s %s", release, way)
			row, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
			assert.Equal(t, "on_hold", row["status"])
			sent := 0
			for _, r := range srv.Requests()[before:] {
				sent += strings.Count(string(r.Body), `"material"`)
			}
			assert.Equal(t, 1, sent, "%s %s", release, way)
		}
	}
}

// A nested record belongs to the one that carries it, whatever ids it gives.
func TestNestedRecordsNameNoCarriersByTheirIDs(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V01)
	j := laden("1")
	j.Parts[0].JobID, j.Parts[0].Operations[0].PartID = "7f0c2a52-3c1c-4a11-9c63-0d5a3b0f4a10", "7f0c2a52-3c1c-4a11-9c63-0d5a3b0f4a11"
	_, err := c.Jobs.Sync(t.Context(), j)
	require.ErrorIs(t, err, eryxon.ErrValidation)
	require.ErrorContains(t, err, "parts[0].job_id")
	require.ErrorContains(t, err, "parts[0].operations[0].part_id")
	assert.Empty(t, srv.Requests())
}

// A failed record that is handed back carries what failed of it: each record stands in
// the file once. What has arrived is in the audit log, whatever became of its carrier.
func TestNestedRecordsAreHandedOverOnce(t *testing.T) {
	srv, c := releaseClient(t, eryxontest.V08)
	_, err := c.SyncAll(t.Context(), shopFloor("P"))
	require.NoError(t, err)
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
	bad := func(o *eryxon.Operation) { whole(o); o.Extra = map[string]any{"no_column": 1} }
	refused := steel("P", "")
	refused.Material, refused.Operations = eryxon.Null[string](), cuts("", 1, bad)
	for name, tt := range map[string]struct {
		number string
		part   eryxon.Part
		failed []string // kinds of records in the file
		log    int
	}{
		"the part is refused": {"J", refused, []string{"parts"}, 1},
		"the job is":          {"TAKEN", steel("P", ""), []string{"jobs"}, 1},
	} {
		var file, log strings.Builder
		data := eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "J", JobNumber: tt.number, Parts: []eryxon.Part{tt.part}}})}
		_, err := another(t, srv).SyncAll(t.Context(), data, eryxon.WithNested(), eryxon.WithFailedRecords(&file), eryxon.WithAuditLog(&log))
		require.Error(t, err, name)
		var kinds []string
		for line := range strings.Lines(file.String()) {
			_, rest, _ := strings.Cut(line, `"entity":"`)
			kind, _, _ := strings.Cut(rest, `"`)
			kinds = append(kinds, kind)
		}
		assert.Equal(t, tt.failed, kinds, name)
		assert.Equal(t, tt.log, strings.Count(log.String(), "\n"), name)
	}
}

// As in bulks, what a single sync's record carries arrives if the record's row is there,
// though the record itself was refused.
func TestASingleSyncsNestedRecordsArriveWithoutIt(t *testing.T) {
	for release, known := range map[eryxontest.Release]eryxon.Release{eryxontest.V01: eryxon.ReleaseV01, eryxontest.V08: eryxon.ReleaseV08} {
		t.Run(string(release), func(t *testing.T) {
			srv, c := releaseClient(t, release, eryxon.WithRelease(known))
			cell, err := c.Cells.Sync(t.Context(), eryxon.Cell{ExternalID: "C", Name: "Cutting", Color: eryxon.Some("#111111"), Active: eryxon.Some(true)})
			require.NoError(t, err)
			_, err = c.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "J", JobNumber: "J"})
			require.NoError(t, err)
			part, err := c.Parts.Sync(t.Context(), steel("P", "J"))
			require.NoError(t, err)
			refused := steel("P", "No such job")
			refused.Operations = cuts("", 1, whole)
			res, err := c.Parts.Sync(t.Context(), refused)
			require.ErrorIs(t, err, eryxon.ErrParentNotFound)
			assert.Equal(t, eryxon.StatusFailed, res.Status)
			assert.Equal(t, eryxon.StatusCreated, res.Nested[0].Status)
			op, ok := srv.Row(eryxontest.Operations, "SAP", "O0")
			require.True(t, ok)
			assert.Equal(t, part.ID, op["part_id"])
			assert.Equal(t, cell.ID, op["cell_id"])
		})
	}
}
